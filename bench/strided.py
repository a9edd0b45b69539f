"""What layouts and casts cost: the time of a call beside that of the contiguous one of the same size.

    python bench/strided.py [--json FILE]

Where the inner axis is contiguous the ratio should stay below 1.5.  NumPy's ratio, of np.maximum for the
same operands, stands beside; both are fresh results unless `out` is named.
"""

from __future__ import annotations

import argparse
import json
import sys
import timeit
from pathlib import Path

import numpy as np

import fastrelu as fr
from fastrelu.config import configuration
from fastrelu.peers.timing import interleaved

# name: (statement for an activation f, the same for NumPy); n by n elements, except what halves them
CASES = {
    "contiguous": ("f(x)", "np.maximum(x, zero)"),
    "x[:, :-1]": ("f(wide[:, :-1])", "np.maximum(wide[:, :-1], zero)"),
    "x[::2]": ("f(tall[::2])", "np.maximum(tall[::2], zero)"),
    "x[:, ::2]": ("f(broad[:, ::2])", "np.maximum(broad[:, ::2], zero)"),
    "x[::-1]": ("f(x[::-1])", "np.maximum(x[::-1], zero)"),
    "x[:, ::-1]": ("f(x[:, ::-1])", "np.maximum(x[:, ::-1], zero)"),
    "x.T": ("f(x.T)", "np.maximum(x.T, zero)"),
    "x.T, out": ("f(x.T, out=out)", "np.maximum(x.T, zero, out=out)"),
    "out[:, :-1]": ("f(x, out=wide_out[:, :-1])", "np.maximum(x, zero, out=wide_out[:, :-1])"),
    "a row for all": ("f(one_row)", "np.maximum(one_row, zero)"),
    "short rows": ("f(padded[..., :16])", "np.maximum(padded[..., :16], zero)"),
    "out float64": ("f(x, out=doubles)", "np.maximum(x, zero, out=doubles)"),
    "int32": ("f(integers)", "np.maximum(integers, 0)"),
    "int32[:, :-1]": ("f(integers[:, :-1])", "np.maximum(integers[:, :-1], 0)"),
    "float16": ("f(halves)", "np.maximum(halves, halves_zero)"),
    "float16[:, ::2]": ("f(broad_halves[:, ::2])", "np.maximum(broad_halves[:, ::2], halves_zero)"),
    "backward, x.T": ("f.backward(x, x.T, out=out)", "np.multiply(x, x.T > zero, out=out)"),
    "prelu, a weight": ("fr.prelu(images, 0.25)", "np.where(images > 0, images, 0.25 * images)"),
    "prelu, a weight each": ("fr.prelu(images, weight)", "np.where(images > 0, images, column * images)"),
    "prelu, last axis": ("fr.prelu(x, x[0], axis=-1)", "np.where(x > 0, x, x[0] * x)"),
    "prelu, 16 to a row": (
        "fr.prelu(sixteen, w16, axis=-1)",
        "np.where(sixteen > 0, sixteen, w16 * sixteen)",
    ),
    "prelu, a weight a row": (
        "fr.prelu(sixteen, column_of)",
        "np.where(sixteen > 0, sixteen, column_of * sixteen)",
    ),
}


def operands(n):
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape, np.float32)

    x, channels = normal(n, n), 16
    return {
        "fr": fr,
        "np": np,
        "x": x,
        "out": np.zeros_like(x),
        "wide": normal(n, n + 1),
        "wide_out": np.zeros((n, n + 1), np.float32),
        "one_row": np.broadcast_to(x[0], x.shape),
        "padded": normal(n * n // 16, 20),
        "doubles": np.zeros((n, n)),
        "sixteen": x.reshape(-1, 16),
        "w16": normal(16),
        "column_of": normal(n * n // 16, 1),
        "tall": normal(2 * n, n),
        "broad": normal(n, 2 * n),
        "integers": rng.integers(-100, 100, (n, n), np.int32),
        "halves": x.astype(np.float16),
        "broad_halves": normal(n, 2 * n).astype(np.float16),
        "images": x.reshape(-1, channels, n // channels),
        "weight": np.linspace(0, 1, channels, dtype=np.float32),
        "column": np.linspace(0, 1, channels, dtype=np.float32)[:, None],
        "zero": np.float32(0),
        "halves_zero": np.float16(0),
    }


def measure(n, function, seconds):
    """Best seconds by case, ours and NumPy's."""
    names = operands(n) | {"f": getattr(fr, function)}
    jobs = {}
    for case, (ours, numpys) in CASES.items():
        jobs["fastrelu", case] = timeit.Timer(ours, globals=names)
        jobs["numpy", case] = timeit.Timer(numpys, globals=names)
    return {key: timing.best for key, timing in interleaved(jobs, seconds).items()}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the times and settings there")
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 2048, 4096], help="of the matrices")
    parser.add_argument("--functions", nargs="+", default=["relu", "gelu"])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each table; default 10")
    options = parser.parse_args(arguments)
    record = {"configuration": configuration(), "seconds": {}}
    for function in options.functions:
        for n in options.sides:
            times = measure(n, function, options.seconds)
            print(f"\n{function}, {n} x {n}, {fr.get_num_threads()} threads")
            print(f"{'':24}{'microseconds':>14}{'ratio':>8}{'NumPy, µs':>14}{'ratio':>8}")
            for case in CASES:
                ours, numpys = times["fastrelu", case], times["numpy", case]
                ratios = ours / times["fastrelu", "contiguous"], numpys / times["numpy", "contiguous"]
                print(
                    f"{case:24}{ours * 1e6:14.1f}{ratios[0]:8.2f}{numpys * 1e6:14.1f}{ratios[1]:8.2f}",
                    flush=True,
                )
            record["seconds"][f"{function} {n}"] = {" ".join(key): best for key, best in times.items()}
    if options.json:
        options.json.write_text(json.dumps(record, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
