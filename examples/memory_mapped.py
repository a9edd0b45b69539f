"""A pipeline over a file that is larger than one wants to load: mapped into memory, changed in place.

The file holds handwritten digits, over and over; each block of rows is scaled, goes through `softplus` and
`tanh` in place, and its row sums into one streaming `LogSumExp`.  Beside it the same with NumPy's
expressions, whose temporaries are as large as a block.

    python examples/memory_mapped.py --megabytes 200
"""

import argparse
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
from digits import load

import fastrelu as fr

BLOCK = 1 << 14  # rows, 4 MB


def write(path, megabytes):
    """A file of digits, float32; the number of rows."""
    x = load(tested=0)[0]
    rows = megabytes * 2**20 // x[0].nbytes
    mapped = np.memmap(path, np.float32, "w+", shape=(rows, x.shape[1]))
    for start in range(0, rows, len(x)):
        mapped[start : start + len(x)] = x[: rows - start]
    return rows


def in_place(block):
    """What becomes of a block, written over it."""
    block *= 4
    block -= 2
    fr.softplus(block, out=block)
    fr.tanh(block, out=block)


def by_expressions(block):
    """The same in NumPy, as one writes it."""
    block[...] = np.tanh(np.log(1 + np.exp(4 * block - 2)))


def run(path, rows, change):
    """Seconds, the most memory that Python's arrays took, and the logsumexp of the file afterwards."""
    mapped = np.memmap(path, np.float32, "r+", shape=(rows, 64))
    total = fr.LogSumExp()
    tracemalloc.start()
    start = time.perf_counter()
    for first in range(0, rows, BLOCK):
        block = mapped[first : first + BLOCK].view(np.ndarray)
        change(block)
        total.update(block)
    took = time.perf_counter() - start
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return took, most, float(total.result())


def main(arguments=None):
    """Run both ways, print time and memory; return what each found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=200)
    options = parser.parse_args(arguments)
    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "digits.f32")
        for name, change in (("fastrelu, in place", in_place), ("NumPy's expressions", by_expressions)):
            rows = write(path, options.megabytes)
            took, most, total = run(path, rows, change)
            made.append((most, total))
            print(
                f"{name:20} {options.megabytes / took:6.0f} MB/s   "
                f"at most {most / 2**20:5.2f} MB beside the file   logsumexp {total:.6f}"
            )
    return made


if __name__ == "__main__":
    main()
