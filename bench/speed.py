"""Every operation × size × place of the result × {one thread, all} against the peers, and the page about it.

    python bench/speed.py --state speed.json --write docs/speed.md
    python bench/speed.py --state speed.json --op gelu --op tanh          # some of it, later the rest
    python bench/speed.py --state speed.json --write docs/speed.md --only-write

A cell is `fastrelu bench`'s: everybody takes turns on the same arrays, after the results were compared with
the reference.  NumPy, SciPy and PyTorch are whom to beat everywhere; ONNX Runtime and JAX are reported beside
them with their accuracy.  The state file is written after each operation, and the same command goes on from
there; an idle machine takes about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import math
import multiprocessing
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIZES = (16, 1_000, 30_000, 1_000_000, 20_000_000)
WITH_ACCURACY = ("onnxruntime", "jax")
PEERS = ("numpy", "scipy", "torch", *WITH_ACCURACY)
AT_LEAST, OF_THE_LIMIT, MEAN = 0.97, 0.95, 3.0  # the targets: of the best peer, of a copy, of all cells
AIM = 1.3
SHOWS_A_LIMIT = 1000  # elements; below, a copy is mostly the cost of a call
PAGE = """\
# Speed, measured

Written by `python bench/speed.py --state FILE --write docs/speed.md`, {date}: {cpu}, {isa},
{versions}.
Accuracy "high", {dtype}, standard normal inputs.

A cell is the best time of NumPy, SciPy and PyTorch over fastrelu's for one call, so above 1 fastrelu is
faster, and whose time that is (n, s, t); then, in brackets, fastrelu's share of the limit: the bytes that it
must move over those that a copy of the same size moves in the same time, be it through the cache or past it
(in place: a pass that turns every sign). `*`: the peer cannot write there and allocates. Everybody takes
turns on the same arrays. NumPy and SciPy run on one thread.

**Geometric mean of all {count} cells: {mean:.2f}** (target: {target_mean:g}). Below {at_least:g} of the best
peer and below {limit:g} of the limit: **{behind} cells**, listed at the end; below {aim:g} and not at the
limit: {short}.
"""


def parse(arguments):
    from fastrelu import get_num_threads, peers

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--state", type=Path, required=True, help="a JSON file with everything measured so far"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there")
    parser.add_argument("--only-write", action="store_true", help="measure nothing more")
    parser.add_argument("--op", action="append", help="activation (repeat for more; all by default)")
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32", "float64"), default="float32")
    parser.add_argument("--sizes", type=lambda text: [int(float(n)) for n in text.split(",")], default=SIZES)
    parser.add_argument("--threads", type=int, help="one number instead of one and all")
    parser.add_argument("--seconds", type=float, default=0.1, help="for each cell, all together (0.1)")
    options = parser.parse_args(arguments)
    try:
        chosen = peers.operations(options.op or ())
    except ValueError as error:
        parser.error(str(error))
    options.operations = [o for o in chosen if not o.is_reduction]
    options.threads = [options.threads] if options.threads else sorted({1, get_num_threads()})
    return options


def key(*cell):
    return " ".join(map(str, cell))


# Measuring


def load(path):
    """The state so far; never one that other kernels have left."""
    from fastrelu.config import configuration

    sys.path.insert(0, str(ROOT / "tests"))
    from sweep import fingerprint

    if not path.exists():
        about = {"kernels": fingerprint(), "configuration": configuration()}
        return about | {"date": f"{datetime.date.today()}", "cells": {}}
    state = json.loads(path.read_text())
    if state["kernels"] != fingerprint():
        raise SystemExit(f"--state: {path} belongs to other kernels; name another file to measure these")
    return state


def save(path, state):
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(state))
    temporary.replace(path)


def streaming_copy():
    """A function that copies one array to another past the cache, in C."""
    if not shutil.which("cc"):
        raise SystemExit("bench/speed.py: the limit is measured in C; there is no compiler 'cc'")
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "streaming_copy.so")
        source = Path(__file__).with_name("streaming_copy.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", str(source), "-o", str(built)], check=True)
        function = ctypes.CDLL(str(built)).streaming_copy
    function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t], None
    return lambda target, source: function(target.ctypes.data, source.ctypes.data, source.nbytes)


def measure_all(options, threads):
    """Every cell with this number of threads; a process of its own, for JAX keeps its first number."""
    from fastrelu import peers
    from fastrelu.cli.bench import measure

    copies = [streaming_copy()]
    state, names = load(options.state), [name for name in PEERS if name in peers.installed()]
    with peers.session(names, threads):
        for size in options.sizes:
            data = None
            for operation in options.operations:
                for mode in peers.MODES:
                    cell = key(operation, mode, size, threads, options.dtype)
                    if cell in state["cells"]:
                        continue
                    given = operation, options.dtype, size, names, threads, options.seconds, mode, data
                    state["cells"][cell], data = measure(*given, references=False, copies=copies)
                save(options.state, state)
            print(f"{threads} thread(s), {size:,} elements: done", file=sys.stderr, flush=True)


# The page


def judged(cells):
    """Add to each cell the best of the peers to beat, the ratio, and the share of the limit."""
    for cell in cells:
        ours = cell["results"]["fastrelu"]["seconds"]
        times = {n: r["seconds"] for n, r in cell["results"].items() if n in PEERS[:3] and r["seconds"]}
        cell["best"] = min(times, key=times.get, default=None)
        cell["ratio"] = times[cell["best"]] / ours if times else None
        copies = min(c["seconds"] for c in cell["copy"]["by threads"].values())
        limit = cell["bytes moved"] / cell["copy"]["bytes moved"] * copies
        cell["share"] = limit / ours if cell["size"] >= SHOWS_A_LIMIT else 0.0
    return cells


def shown(cell):
    if cell is None or not cell["ratio"]:
        return ""
    star = "*" if cell["mode"] != "fresh" and cell["results"][cell["best"]]["mode"] == "fresh" else ""
    share = f" [{cell['share']:.2f}]" if cell["share"] else ""
    return f"{cell['ratio']:.2f} {cell['best'][0]}{star}{share}"


def mean(ratios):
    ratios = list(ratios)
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def table(head, rows):
    return "\n".join(
        [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(r)} |" for r in rows)]
    )


def listed(head, rows):
    return table(head, rows) if rows else "None."


def named(cell):
    pass_ = cell["pass"].replace("backward_from_y", "backward from y")
    return f"{cell['function']} {pass_}"


def page(state, accuracy):
    cells = judged(list(state["cells"].values()))
    counted = [c for c in cells if c["ratio"]]
    not_at_limit = [c for c in counted if c["share"] < OF_THE_LIMIT]
    behind = sorted((c for c in not_at_limit if c["ratio"] < AT_LEAST), key=lambda c: c["ratio"])
    about = state["configuration"]
    names = [n for n in PEERS if n in about["versions"]]
    text = [
        PAGE.format(
            date=state["date"],
            cpu=about["machine"]["cpu"],
            isa=about["instruction sets"]["chosen"],
            versions=", ".join(f"{n} {about['versions'][n]}" for n in names),
            dtype=" and ".join(sorted({c["dtype"] for c in cells})),
            count=len(counted),
            mean=mean(c["ratio"] for c in counted),
            target_mean=MEAN,
            at_least=AT_LEAST,
            limit=OF_THE_LIMIT,
            behind=len(behind),
            aim=AIM,
            short=sum(c["ratio"] < AIM for c in not_at_limit),
        )
    ]
    for dtype, threads, mode in sorted({(c["dtype"], c["threads"], c["mode"]) for c in cells}):
        some = [c for c in cells if (c["dtype"], c["threads"], c["mode"]) == (dtype, threads, mode)]
        text += [f"## {dtype}, {mode.replace('out', '`out=`')}, {threads} thread{'s' * (threads > 1)}\n"]
        text += [of_peers(some), ""]
    text += ["## ONNX Runtime and JAX beside their accuracy\n", beside(cells, accuracy), ""]
    text += ["## Cells that miss the target\n"]
    rows = [[named(c), c["dtype"], f"{c['size']:,}", c["mode"], str(c["threads"]), shown(c)] for c in behind]
    text += [listed(["op", "dtype", "elements", "result", "threads", "best peer [limit]"], rows)]
    return "\n".join(text) + "\n"


def of_peers(cells):
    """A table of one number of threads and one place of the result."""
    sizes = sorted({c["size"] for c in cells})
    by_cell = {(named(c), c["size"]): c for c in cells}
    rows = [[n, *(shown(by_cell.get((n, s))) for s in sizes)] for n in dict.fromkeys(map(named, cells))]
    means = [mean(c["ratio"] for c in cells if c["size"] == s and c["ratio"]) for s in sizes]
    rows.append(["geometric mean", *(f"{m:.2f}" for m in means)])
    return table(["", *(f"{s:,}" for s in sizes)], rows)


def beside(cells, accuracy):
    """How many times longer ONNX Runtime (`out=`) and JAX (fresh) take, and their largest errors."""
    ways = [("onnxruntime", "out"), ("jax", "fresh")]
    some = [c for c in cells if c["dtype"] == "float32"]
    sizes, threads = sorted({c["size"] for c in some}), sorted({c["threads"] for c in some})
    by_cell = {(named(c), c["size"], c["threads"], c["mode"]): c["results"] for c in some}
    rows = []
    for name in dict.fromkeys(map(named, some)):
        row = [name]
        for peer, mode in ways:
            for count in threads:
                ratios = []
                for size in sizes:
                    results = by_cell.get((name, size, count, mode), {})
                    theirs = results.get(peer, {}).get("seconds")
                    ratios.append(f"{theirs / results['fastrelu']['seconds']:.2f}" if theirs else "–")
                row.append(" ".join(ratios) if set(ratios) != {"–"} else "–")
            row.append(accuracy.get(name, {}).get(peer, ""))
        rows.append([*row, accuracy.get(name, {}).get("fastrelu", "")])
    head = [""]
    for peer, _ in ways:
        head += [f"{peer}, {n} thread{'s' * (n > 1)}" for n in threads] + [f"{peer}, ULP"]
    at = ", ".join(f"{s:,}" for s in sizes)
    intro = f"Times over fastrelu's at {at} elements, ONNX Runtime's into `out=`, JAX's fresh.\n"
    intro += "ULP as in accuracy.md: for −4 ≤ x ≤ 4 / over all inputs.\n\n"
    return intro + table([*head, "fastrelu, ULP"], rows)


def errors(operations):
    """{operation: {library: its cell of the accuracy page}}, forward."""
    from accuracy_page import peer_error

    from fastrelu import peers

    names = [name for name in WITH_ACCURACY if name in peers.installed()]
    with peers.session(names, threads=1):
        return {
            str(o): {name: peer_error(name, o) for name in ("fastrelu", *names)}
            for o in operations
            if o.pass_ == "forward"
        }


def put_between(marks, made, path):
    """Replace what stands between two marks of a page."""
    begin, end = marks
    text, found = re.subn(
        f"{begin}.*?{end}", lambda _: f"{begin}\n\n{made}\n{end}", path.read_text(), flags=re.S
    )
    if not found:
        sys.exit(f"{path} has no line {begin!r}")
    path.write_text(text)


def in_processes(measure_all, options):
    """Run measure_all(options, threads) for each number of threads; the exit code."""
    for threads in options.threads:
        process = multiprocessing.get_context("spawn").Process(target=measure_all, args=(options, threads))
        process.start()
        process.join()
        if process.exitcode:
            return process.exitcode
    return 0


def main(arguments=None):
    options = parse(arguments)
    if failed := not options.only_write and in_processes(measure_all, options):
        return failed
    if options.write:
        options.write.write_text(page(load(options.state), errors(options.operations)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
