"""The Numba backend beside the compiled kernels and beside what one writes first in Numba.

    python bench/numba_backend.py [--seconds S] [--only NAME] [--write docs/numba.md]

Every call writes into `out`. Naive is the textbook formula under @vectorize(target="parallel",
fastmath=True). A cell holds nanoseconds an element, then how many times longer the compiled kernels and
naive take: above 1 Numba's kernel is faster. First calls are timed in processes of their own.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numba
import numpy as np
from speed import put_between

import fastrelu as fr
from fastrelu import machine

MARKS = "<!-- bench/numba_backend.py -->", "<!-- end -->"
SIZES = (1000, 100_000, 10_000_000)
ROOT_HALF, ROOT_2_OVER_PI = math.sqrt(0.5), math.sqrt(2 / math.pi)


def sigma(x):
    return 1 / (1 + math.exp(-x))


def bend(x):
    return math.tanh(math.log1p(math.exp(x)))


def cubic(x):
    return math.tanh(ROOT_2_OVER_PI * (x + 0.044715 * x**3))


# f and f' as they stand in the papers
NAIVE = {
    "relu": (lambda x: max(x, 0.0), lambda x: 1.0 if x > 0 else 0.0),
    "leaky_relu": (lambda x: x if x > 0 else 0.01 * x, lambda x: 1.0 if x > 0 else 0.01),
    "elu": (lambda x: x if x > 0 else math.exp(x) - 1, lambda x: 1.0 if x > 0 else math.exp(x)),
    "softplus": (lambda x: math.log(1 + math.exp(x)), lambda x: sigma(x)),
    "sigmoid": (lambda x: sigma(x), lambda x: sigma(x) * (1 - sigma(x))),
    "gelu": (
        lambda x: 0.5 * x * (1 + math.erf(x * ROOT_HALF)),
        lambda x: 0.5 * (1 + math.erf(x * ROOT_HALF)) + x * math.exp(-0.5 * x * x) * 0.3989422804014327,
    ),
    "gelu.tanh": (
        lambda x: 0.5 * x * (1 + cubic(x)),
        lambda x: (
            0.5 * (1 + cubic(x)) + 0.5 * x * (1 - cubic(x) ** 2) * ROOT_2_OVER_PI * (1 + 0.134145 * x * x)
        ),
    ),
    "silu": (lambda x: x * sigma(x), lambda x: sigma(x) * (1 + x * (1 - sigma(x)))),
    "mish": (lambda x: x * bend(x), lambda x: bend(x) + x * sigma(x) * (1 - bend(x) ** 2)),
    "tanh": (lambda x: math.tanh(x), lambda x: 1 - math.tanh(x) ** 2),
}
FIRST_CALL = """
import sys, time, numpy as np, numba, fastrelu as fr
x = np.ones(1000, sys.argv[2])
start = time.perf_counter()
family, _, variant = sys.argv[1].partition(".")
f = fr.ACTIVATIONS[family].variants[variant] if variant else fr.ACTIVATIONS[family]
with fr.use_backend("numba"):
    f(x)
print(time.perf_counter() - start)
"""


def parallel(function, dtype, gradient):
    """The naive kernel."""
    for helper in ("sigma", "bend", "cubic"):
        if not hasattr(globals()[helper], "py_func"):
            globals()[helper] = numba.njit(globals()[helper], fastmath=True)
    inner = numba.njit(function, fastmath=True)
    kind = numba.from_dtype(dtype)
    signatures = [kind(*(kind,) * (1 + gradient))]
    options = {"target": "parallel", "fastmath": True}
    if gradient:
        return numba.vectorize(signatures, **options)(lambda dy, x: dy * inner(x))
    return numba.vectorize(signatures, **options)(lambda x: inner(x))


def cell(function, arrays, out, naive, seconds):
    """The shortest times of Numba's kernel, the compiled one and naive, in turns so that load meets all."""

    def of(backend):
        def call():
            fr.set_backend(backend)  # the process's default: the fast path is open
            start = time.perf_counter_ns()
            function(*arrays, out=out)
            return time.perf_counter_ns() - start

        return call

    calls = [of("numba"), of("cython")]
    found, end = [math.inf] * 3, time.perf_counter() + seconds
    rounds = 0
    while time.perf_counter() < end or rounds < 2:
        rounds += 1
        for i, call in enumerate(calls):
            call()  # what was switched is warm again
            found[i] = min(found[i], call(), call())
        start = time.perf_counter_ns()
        naive(*arrays, out)
        found[2] = min(found[2], time.perf_counter_ns() - start)
    fr.set_backend("cython")
    return found


def table(names, seconds):
    """Markdown: a line for each pass and dtype, three columns for each size and number of threads."""
    threads = sorted({1, min(2, fr.get_num_threads())})
    heads = [f"{size:.0e} × {t}" for size in SIZES for t in threads]
    yield f"{machine.cpu_model()}, {date.today()}, Numba {numba.__version__}, NumPy {np.__version__}, "
    yield f"Python {platform.python_version()}. Columns: elements × threads; each cell: ns an element, "
    yield "the compiled kernels' time over it, naive's time over it.\n\n"
    yield f"| | dtype | {' | '.join(heads)} |\n| --- | --- |{' --- |' * len(heads)}\n"
    worst = {"cython": math.inf, "naive": math.inf}
    for name in names:
        f = fr.gelu.tanh if name == "gelu.tanh" else fr.ACTIVATIONS[name]
        for gradient in (False, True):
            for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
                naive = parallel(NAIVE[name][gradient], dtype, gradient)
                cells = [name + ".backward" * gradient, dtype.name]
                for size in SIZES:
                    x, dy = np.random.default_rng(0).normal(0, 3, (2, size)).astype(dtype)
                    out = np.empty_like(x)
                    arrays = (dy, x) if gradient else (x,)
                    for count in threads:
                        fr.set_num_threads(count)
                        numba.set_num_threads(count)
                        ours, compiled, plain = cell(
                            f.backward if gradient else f, arrays, out, naive, seconds
                        )
                        cells.append(f"{ours / size:.3g}, {compiled / ours:.2f}×, {plain / ours:.2f}×")
                        worst["cython"] = min(worst["cython"], compiled / ours)
                        worst["naive"] = min(worst["naive"], plain / ours)
                yield f"| {' | '.join(cells)} |\n"
    yield f"\nLowest ratio to the compiled kernels: {worst['cython']:.2f}; "
    yield f"to naive: {worst['naive']:.2f}.\n\n"


def first_calls(names):
    """Markdown: the first call of a process, without and with code on disk."""
    yield "| first call of | dtype | compiled | from the disk |\n| --- | --- | --- | --- |\n"
    for name in names:
        for dtype in ("float32", "float64"):
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-c", FIRST_CALL, name, dtype]
                environment = os.environ | {"NUMBA_CACHE_DIR": folder}
                times = [
                    float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
                    for _ in range(2)
                ]
            yield f"| {name} | {dtype} | {times[0]:.2f} s | {times[1] * 1e3:.0f} ms |\n"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.3, help="for each cell (default: 0.3)")
    parser.add_argument("--only", action="append", choices=NAIVE, help="activation (repeat for more)")
    parser.add_argument("--write", type=Path, help="a page with the marks between which the tables stand")
    options = parser.parse_args()
    names = options.only or list(NAIVE)
    made = "".join([*table(names, options.seconds), *first_calls(names)])
    if options.write is None:
        print(made)
        return
    put_between(MARKS, made, options.write)


if __name__ == "__main__":
    main()
