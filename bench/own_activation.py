"""A user's activation beside a loop written by hand for Numba: the time of a call over the loop's.

    python bench/own_activation.py [--op leaky] [--dtype float64] [--size 1000 ...] [--threads N]

Both compute the same function, written once: `fr.activation` makes one of it, ``numba.njit`` a loop, with
``prange`` for more than one thread.  Out of place into an array that is given, and in place; "soft" is bound
by the C library's exp and log1p.  The target is 1.2.  First calls, without a cache and with one, come last.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import timeit
from pathlib import Path

import numba
import numpy as np

import fastrelu as fr
from fastrelu import peers
from fastrelu.config import configuration
from fastrelu.peers.timing import interleaved

MOST = 1.2
SIZES = (1_000, 100_000, 20_000_000)


def leaky(x, a):
    return x if x > 0 else a * x


def squashed(x, a):
    return x / (1.0 + a * abs(x))


def squashed_slope(x, a):
    return 1.0 / (1.0 + a * abs(x)) ** 2


def soft(x, a):
    return math.log1p(math.exp(a * x)) / a


class Call:
    """A statement for `interleaved`; what threads there are may spin after it."""

    spins = True

    def __init__(self, statement, **names):
        self.timeit = timeit.Timer(statement, globals=names).timeit


def loops(function, parallel):
    """The same as a user of Numba writes it: f(x, a), and dy times f(x, a)."""
    value = numba.njit(error_model="numpy")(function)
    compiler = numba.njit(error_model="numpy", parallel=parallel)

    @compiler
    def forward(x, a, out):
        for i in numba.prange(x.size):
            out[i] = value(x[i], a)

    @compiler
    def backward(dy, x, a, out):
        for i in numba.prange(x.size):
            out[i] = dy[i] * value(x[i], a)

    return forward, backward


def functions():
    made = {}
    for function in (leaky, squashed, soft):
        f = fr.activation(function)
        made[f"{function.__name__} forward"] = function, "f(x, a, out={})", "loop(x, a, {})", f, 0
        if function is squashed:
            f.derivative(squashed_slope)
            by_hand = "loop(dy, x, a, {})"
            made["squashed backward"] = squashed_slope, "f.backward(dy, x, a=a, out={})", by_hand, f, 1
    return made


def measure(options, threads):
    """A line for each function, size and place of the result."""
    for name, (function, ours, by_hand, f, pass_) in functions().items():
        if options.op and not name.startswith(tuple(options.op)):
            continue
        loop = loops(function, threads > 1)[pass_]
        for size in options.size:
            rng = np.random.default_rng(0)
            x, dy = rng.normal(size=(2, size)).astype(options.dtype)
            out = np.full_like(x, 0)
            a = x.dtype.type(0.5)
            for place in ("out", "dy" if pass_ else "x"):
                names = {"f": f, "loop": loop, "x": x.copy(), "dy": dy.copy(), "out": out, "a": a}
                jobs = {
                    "fastrelu": Call(ours.format(place), **names),
                    "loop": Call(by_hand.format(place), **names),
                }
                times = {key: timing.best for key, timing in interleaved(jobs, options.seconds).items()}
                yield {
                    "function": name,
                    "size": size,
                    "threads": threads,
                    "in place": place != "out",
                    **times,
                    "ratio": times["fastrelu"] / times["loop"],
                }


MODULE = """
import fastrelu as fr
@fr.activation
def squashed(x, a=1.0):
    return x / (1.0 + a * abs(x))
"""
FIRST = """
import time, numpy as np
from module import squashed
import numba
start = time.perf_counter()
squashed(np.ones(3, np.float32))
print(time.perf_counter() - start)
"""


def first_calls(times=3):
    """Seconds of the first call in a process that has imported Numba: without a cache and with one."""
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "module.py").write_text(MODULE)
            command = [sys.executable, "-c", FIRST]
            runs = (subprocess.run(command, cwd=folder, capture_output=True, check=True) for _ in range(2))
            found.append([float(run.stdout) for run in runs])
    return [min(column) for column in zip(*found, strict=True)]


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--op", action="append", choices=("leaky", "squashed", "soft"), help="all by default")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--size", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=sorted({1, fr.get_num_threads()}), metavar="N"
    )
    parser.add_argument("--seconds", type=float, default=0.3, help="for each line (0.3)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    print(f"{configuration()['machine']['cpu']}, {options.dtype}, Numba {numba.__version__}")
    print(f"{'':20}{'elements':>12}{'threads':>9}{'place':>10}{'fastrelu':>12}{'loop':>12}{'ratio':>7}")
    lines = []
    for threads in options.threads:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        with peers.session([], threads):
            for line in measure(options, threads):
                lines.append(line)
                mine, theirs = (f"{1e6 * line[key]:.2f} µs" for key in ("fastrelu", "loop"))
                place = "in place" if line["in place"] else "out"
                print(
                    f"{line['function']:20}{line['size']:>12,}{threads:>9}{place:>10}"
                    f"{mine:>12}{theirs:>12}{line['ratio']:>7.2f}{' !' if line['ratio'] > MOST else ''}"
                )
    compiled, loaded = first_calls()
    print(f"first call {compiled:.3f} s, from the cache {loaded:.3f} s (Numba's import apart)")
    if options.json:
        report = {"configuration": configuration(), "measured": lines, "first call": [compiled, loaded]}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return int(any(line["ratio"] > MOST for line in lines))


if __name__ == "__main__":
    sys.exit(main())
