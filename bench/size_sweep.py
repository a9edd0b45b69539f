"""Time against size, from one element to 10^8, and whether there is a cliff anywhere.

    python bench/size_sweep.py [--json FILE] [--plot FILE.svg]

relu and gelu on float32, into `out=` and into a fresh array, on one thread and on all, beside np.copyto and
np.maximum in the same run.  A cliff is a size at which a call is slower than at the next larger size, or
slower than on one thread.  The largest size needs 1.2 GB of memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import timeit
from pathlib import Path

import numpy as np

import fastrelu as fr
from fastrelu.config import configuration
from fastrelu.peers.timing import interleaved

PER_DECADE = 3
FUNCTIONS = ("relu", "gelu")
PLACES = {"out=": "fr.{}(x, out=y)", "fresh": "fr.{}(x)"}
NUMPY = {"np.copyto": "np.copyto(y, x)", "np.maximum": "np.maximum(x, zero, out=y)"}


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the times and settings there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them: a .png or .svg")
    parser.add_argument("--largest", type=float, default=1e8, metavar="N", help="elements; default 1e8")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each size; default 4")
    parser.add_argument("--threads", type=int, default=fr.get_num_threads(), help="default: fastrelu's")
    parser.add_argument("--tolerance", type=float, default=0.05, help="what is noise; default 0.05")
    return parser.parse_args(arguments)


class Job:
    """A statement that is timed on a number of threads."""

    def __init__(self, statement, names, threads):
        self.timer = timeit.Timer(statement, globals=names)
        self.threads = threads

    def timeit(self, calls):
        fr.set_num_threads(self.threads)
        return self.timer.timeit(calls)


def sizes(largest):
    steps = itertools.count()
    return list(itertools.takewhile(lambda n: n <= largest, (round(10 ** (i / PER_DECADE)) for i in steps)))


def key(function, place, threads):
    return f"{function} {place} {threads}"


def measure(size, threads, seconds):
    """Best seconds by key, of a call on `size` elements."""
    x = np.random.default_rng(0).standard_normal(size, np.float32)
    names = {"fr": fr, "np": np, "x": x, "y": np.zeros_like(x), "zero": np.float32(0)}
    jobs = {name: Job(statement, names, 1) for name, statement in NUMPY.items()}
    for function, (place, statement) in itertools.product(FUNCTIONS, PLACES.items()):
        for count in sorted({1, threads}):
            jobs[key(function, place, count)] = Job(statement.format(function), names, count)
    return {name: timing.best for name, timing in interleaved(jobs, seconds).items()}


def cliffs(sizes, times, threads, tolerance):
    """(key, size, how many times slower, than what), the steepest first."""
    found = []
    for name, series in times.items():
        if name in NUMPY:
            continue
        for i, size in enumerate(sizes[:-1]):
            if series[i] > (1 + tolerance) * series[i + 1]:
                found.append((name, size, series[i] / series[i + 1], f"{sizes[i + 1]} elements"))
    if threads > 1:
        for function, place in itertools.product(FUNCTIONS, PLACES):
            many, one = times[key(function, place, threads)], times[key(function, place, 1)]
            for size, a, b in zip(sizes, many, one, strict=True):
                if a > (1 + tolerance) * b:
                    found.append((key(function, place, threads), size, a / b, "one thread"))
    return sorted(found, key=lambda cliff: -cliff[2])


def show_row(cells):
    print("".join(f"{cell:>16}" for cell in cells), flush=True)


def plot(path, sizes, times, threads, found):
    """Elements per second against size, a panel for each function; rings mark cliffs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from fastrelu.cli.plot import COLOURS, GREY, STYLE

    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, len(FUNCTIONS), figsize=(11, 4.6), sharey=True, layout="constrained")
        for panel, function in zip(panels, FUNCTIONS, strict=True):
            lines = [(name, name, GREY, dash) for name, dash in zip(NUMPY, (":", "--"), strict=True)]
            for place, colours in zip(PLACES, (COLOURS[0:2], COLOURS[2:4]), strict=True):
                for count, colour in zip(sorted({1, threads}), colours, strict=False):
                    threads_text = "1 thread" if count == 1 else f"{count} threads"
                    dash = "-" if count == threads else (0, (4, 1.5))
                    lines.append((key(function, place, count), f"{place} {threads_text}", colour, dash))
            for name, label, colour, dash in lines:
                rate = np.array(sizes) / np.array(times[name])
                panel.loglog(sizes, rate, color=colour, linestyle=dash, label=label, linewidth=1.5)
                steep = [sizes.index(cliff[1]) for cliff in found if cliff[0] == name]
                panel.loglog(np.array(sizes)[steep], rate[steep], "o", color=colour, mfc="none", ms=10)
            panel.set_title(f"{function}, float32", loc="left")
            panel.set_xlabel("elements")
            panel.legend(frameon=False, fontsize=8)
        panels[0].set_ylabel("elements per second")
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main(arguments=None):
    options = parse(arguments)
    threads, before = options.threads, fr.get_num_threads()
    counted, times = sizes(options.largest), {}
    print(f"microseconds a call, the best of some turns; {configuration()['machine']['cpu']}")
    try:
        for size in counted:
            row = measure(size, threads, options.seconds)
            if not times:
                show_row(["elements", *row])
            show_row([size, *(f"{seconds * 1e6:.3f}" for seconds in row.values())])
            for name, seconds in row.items():
                times.setdefault(name, []).append(seconds)
    finally:
        fr.set_num_threads(before)
    found = cliffs(counted, times, threads, options.tolerance)
    for name, size, factor, than in found:
        print(f"cliff: {name}, {size} elements: {factor:.2f} times as slow as {than}")
    print(f"{len(found)} cliffs beyond a tolerance of {options.tolerance:.0%}")
    if options.json:
        record = {"configuration": configuration(), "threads": threads, "sizes": counted, "seconds": times}
        options.json.write_text(json.dumps(record | {"cliffs": found}, indent=1))
    if options.plot:
        plot(options.plot, counted, times, threads, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
