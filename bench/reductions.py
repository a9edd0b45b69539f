"""logsumexp, the softmaxes, their gradients and cross entropy against the peers, and the page about it.

    python bench/reductions.py --state reductions.json --write docs/reductions.md
    python bench/reductions.py --state reductions.json --op softmax --shape 1000x1000 --dtype float32
    python bench/reductions.py --state reductions.json --write docs/reductions.md --only-write

A cell is an operation along one axis, or over all entries, of one shape.  Everybody takes turns on the same
arrays, after the results were compared with fastrelu's; the page has the best of the turns.  The state file
is written after each cell, and the same command goes on from there after `--minutes` or an interruption.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import cross_entropy
import numpy as np
from speed import AT_LEAST, in_processes, key, listed, load, mean, save, table

import fastrelu as fr
from fastrelu import peers
from fastrelu.cli.bench import duration
from fastrelu.peers.timing import interleaved

PEERS = ("scipy", "torch", "onnxruntime", "jax")
SHAPES = ((64, 10), (1000, 1000), (100_000, 10), (10, 100_000), (4096, 32_000))
AXES = {"last": -1, "first": 0, "all": None}
DTYPES = ("float32", "float64", "float16")
HUGE = 10_000_000  # entries: from here on float32 only, and without SciPy, of which a call takes seconds
PERIOD = 1_000_003  # a prime, so that no two rows are equal
CHECKED = 100_000  # entries of a result that are compared
PAGE = """\
# LogSumExp, softmax and their family: speed, measured

Written by `python bench/reductions.py --state FILE --write docs/reductions.md`, {date}:
{cpu}, {isa}, {versions}.
Standard normal inputs; "last" and "first" are the axis that is reduced, "all" is every entry at once.

A cell is the time of a call of fastrelu, then the time of the fastest peer ({peers})
over it, so above 1 fastrelu is faster, and the peer's initial. fastrelu and ONNX Runtime write into a given
array, PyTorch wherever it can, SciPy and JAX never. SciPy runs on one thread and is left out from {huge:,}
entries on. Gradients of the softmaxes are those from their result; SciPy and ONNX Runtime have none.
A result further from fastrelu's than {tolerance}, relative to the value plus
the typical value, is not timed. How exact the results are is on [its own page](reductions-accuracy.md).

**Geometric mean of all {count} cells: {mean:.2f}.** Below {at_least:g} of the best peer: **{behind} cells**,
listed at the end.
"""


def parse(arguments):
    names = list(dict.fromkeys(o.function for o in operations()))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--state", type=Path, required=True, help="a JSON file with everything measured so far"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there as well")
    parser.add_argument("--only-write", action="store_true", help="measure nothing more")
    parser.add_argument("--op", action="append", choices=names, help="repeat for more; all by default")
    parser.add_argument("--shape", action="append", type=shape, metavar="NxM", help="repeat for more")
    parser.add_argument("--dtype", action="append", choices=DTYPES, help="all by default")
    parser.add_argument("--threads", type=int, help="one number instead of one and all")
    parser.add_argument("--seconds", type=float, default=0.2, help="for each cell, all together (0.2)")
    parser.add_argument("--minutes", type=float, default=8, help="begin no cell after so many (8)")
    options = parser.parse_args(arguments)
    options.end = time.monotonic() + 60 * options.minutes
    options.operations = [o for o in operations() if o.function in (options.op or names)]
    options.threads = [options.threads] if options.threads else sorted({1, fr.get_num_threads()})
    return options


def shape(text):
    lengths = text.split("x")
    if len(lengths) != 2 or not all(n.isdecimal() and int(n) for n in lengths):
        raise argparse.ArgumentTypeError(f"got {text!r}; expected two lengths like 1000x10")
    return tuple(map(int, lengths))


def operations():
    """Every pass of the reductions and of cross entropy, along the last axis."""
    reductions = [o for o in peers.operations() if o.is_reduction]
    return [*reductions, *cross_entropy.operations()]


# Measuring


class Data(peers.Data):
    """As `peers.Data`, of any shape, and with labels for cross entropy."""

    def __init__(self, operation, dtype, shape):
        self.operation, self.dtype, self.shape = operation, np.dtype(dtype), shape
        of_rows = tuple(np.delete(shape, operation.axis).tolist())
        of_result = {"logsumexp": of_rows, "cross_entropy": ()}.get(operation.function, shape)
        self.x, self.dy, self.y = normal(shape, dtype, 0), None, None
        if operation.pass_.startswith("backward") and operation.function != "cross_entropy":
            self.dy = normal(of_result, dtype, 1)
        if operation.pass_ == "backward_from_y":
            forward, y = getattr(fr, operation.function), memory("y", shape, dtype)
            self.y = forward(self.x, axis=operation.axis, out=y)
        self.labels = np.random.default_rng(2).integers(0, shape[operation.axis], of_rows)
        self.out = memory("out", of_result if operation.pass_ == "forward" else shape, dtype)

    def sample(self, array):
        flat = array.reshape(-1)
        return flat[:: max(1, flat.size // CHECKED) | 1]


# Arrays serve again: to touch new memory takes longer than most cells.


def normal(shape, dtype, seed):
    return flat_normal(math.prod(shape), dtype, seed).reshape(shape)


def memory(name, shape, dtype):
    return flat_memory(name, math.prod(shape), dtype).reshape(shape)


@functools.lru_cache(maxsize=4)
def flat_normal(size, dtype, seed):
    numbers = np.random.default_rng(seed).standard_normal(PERIOD).astype(dtype)
    return np.resize(numbers, size)


@functools.lru_cache(maxsize=4)
def flat_memory(name, size, dtype):
    return np.full(size, 0, dtype)


def along(operation, axis):
    """The operation along this axis; over all entries the peers have one row."""
    statement = operation.statement.replace("axis=-1", f"axis={axis}")
    return replace(operation, statement=statement, axis=-1 if axis is None else axis)


def job(peer, operation, data, threads):
    """A library's way to do it, or None."""
    if operation.function == "cross_entropy":
        return cross_entropy.job(peer, operation, data, threads)
    return peers.prepare(peer, operation, data, threads)


def deviation(theirs, own, data):
    """How far a result is from fastrelu's."""
    if data.operation.function == "cross_entropy":
        return cross_entropy.deviation(theirs, own, data)
    return peers.deviation(theirs, data)


def measure(operation, axis, dtype, shape, names, threads, seconds):
    """One cell: {library: seconds, or None where its result is off}."""
    from fastrelu import peers

    operation = along(operation, axis)
    data = Data(operation, dtype, (math.prod(shape),) if axis is None else shape)
    own = job("fastrelu", operation, data, threads)
    data.expected = data.sample(own.result()).copy()
    jobs, found = {"fastrelu": own}, {}
    for name in names:
        if (theirs := job(name, operation, data, threads)) is None:
            continue
        found[name] = None
        if deviation(theirs, own, data) <= peers.TOLERANCE[dtype]:
            jobs[name] = theirs
    timings = interleaved(jobs, seconds, contenders=jobs.keys() - {"fastrelu"})
    return found | {name: timing.best for name, timing in timings.items()}


def measure_all(options, threads):
    """Every cell with this number of threads; a process of its own, for JAX keeps its first number."""
    state, names = load(options.state), [name for name in PEERS if name in peers.installed()]
    with peers.session(names, threads):
        for shape, dtype in itertools.product(options.shape or SHAPES, options.dtype or DTYPES):
            huge = math.prod(shape) >= HUGE
            if huge and dtype != "float32":
                continue
            some = [name for name in names if not (huge and name == "scipy")]
            for (axis, number), operation in itertools.product(AXES.items(), options.operations):
                cell = key(operation, axis, "×".join(map(str, shape)), dtype, threads)
                if cell in state["cells"] or (operation.function == "cross_entropy" and number is None):
                    continue
                if time.monotonic() > options.end:
                    print("time is up; the same command goes on", file=sys.stderr)
                    return
                seconds = measure(operation, number, dtype, shape, some, threads, options.seconds)
                about = {"function": operation.function, "pass": operation.pass_, "axis": axis}
                about |= {"shape": list(shape), "dtype": dtype, "threads": threads}
                state["cells"][cell] = about | {"seconds": seconds}
                save(options.state, state)
            print(f"{threads} thread(s), {shape}, {dtype}: done", file=sys.stderr, flush=True)


# The page


def best(cell):
    """The fastest peer and its time over fastrelu's; (None, None) where there is none."""
    times = {n: s for n, s in cell["seconds"].items() if n != "fastrelu" and s is not None}
    name = min(times, key=times.get, default=None)
    return name, name and times[name] / cell["seconds"]["fastrelu"]


def behind(cells):
    """Those that miss the target, the worst first."""
    return sorted((c for c in cells if best(c)[1] < AT_LEAST), key=lambda c: best(c)[1])


def shown(cell):
    if cell is None:
        return ""
    name, ratio = best(cell)
    time = duration(cell["seconds"]["fastrelu"])
    return f"{time}, {ratio:.2f} {name[0]}" if name else time


def named(cell):
    passes = {"forward": "", "backward": ".backward", "backward_from_y": ".backward"}
    return cell["function"] + passes.get(cell["pass"], f".{cell['pass']}")


def page(state):
    cells = list(state["cells"].values())
    counted = [c for c in cells if best(c)[0]]
    about = state["configuration"]
    names = [n for n in PEERS if n in about["versions"]]
    text = [
        PAGE.format(
            date=state["date"],
            cpu=about["machine"]["cpu"],
            isa=about["instruction sets"]["chosen"],
            versions=", ".join(f"{n} {about['versions'][n]}" for n in names),
            peers=", ".join(names),
            huge=HUGE,
            tolerance=" or ".join(f"{peers.TOLERANCE[d]:g} ({d})" for d in DTYPES),
            count=len(counted),
            mean=mean(best(c)[1] for c in counted),
            at_least=AT_LEAST,
            behind=len(behind(counted)),
        )
    ]
    for dtype, threads in sorted({(c["dtype"], c["threads"]) for c in cells}):
        some = [c for c in cells if (c["dtype"], c["threads"]) == (dtype, threads)]
        text += [f"## {dtype}, {threads} thread{'s' * (threads > 1)}\n", of_shapes(some), ""]
    text += ["## Results of peers that are off\n", off(cells), "", "## Cells that miss the target\n"]
    text += [missed(behind(counted), names)]
    return "\n".join(text) + "\n"


def of_shapes(cells):
    """A table of one dtype and number of threads."""
    shapes = sorted({tuple(c["shape"]) for c in cells}, key=lambda s: (math.prod(s), s))
    by_cell = {(named(c), c["axis"], tuple(c["shape"])): c for c in cells}
    rows = [
        [name, axis, *(shown(by_cell.get((name, axis, s))) for s in shapes)]
        for name, axis in dict.fromkeys((named(c), c["axis"]) for c in cells)
    ]
    of_shape = [[best(c)[1] for c in cells if tuple(c["shape"]) == s and best(c)[0]] for s in shapes]
    rows.append(["geometric mean", "", *(f"{mean(ratios):.2f}" for ratios in of_shape)])
    return table(["", "axis", *("×".join(map(str, s)) for s in shapes)], rows)


def where(cell):
    lengths = "×".join(map(str, cell["shape"]))
    return [named(cell), cell["axis"], lengths, cell["dtype"], str(cell["threads"])]


def off(cells):
    rows = [[*where(c), name] for c in cells for name, s in c["seconds"].items() if s is None]
    return listed(["op", "axis", "shape", "dtype", "threads", "peer"], rows)


def missed(cells, names):
    """Those cells with everybody's time over fastrelu's."""
    rows = []
    for cell in cells:
        seconds = cell["seconds"]
        times = [seconds.get(name) for name in names]
        ratios = [f"{t / seconds['fastrelu']:.2f}" if t else "–" for t in times]
        rows.append([*where(cell), shown(cell), *ratios])
    head = ["op", "axis", "shape", "dtype", "threads", "fastrelu, best peer", *names]
    return listed(head, rows)


def main(arguments=None):
    options = parse(arguments)
    if failed := not options.only_write and in_processes(measure_all, options):
        return failed
    state = load(options.state)
    written = page(state)
    print(written, end="")
    if options.write:
        options.write.write_text(written)
    cells = [c for c in state["cells"].values() if best(c)[0]]
    print(f"{len(behind(cells))} of {len(cells)} cells below {AT_LEAST} of the best peer", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
