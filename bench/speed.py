"""Every operation × size × place of the result × {one thread, all} against the peers, and the page about it.

    python bench/speed.py --state speed.json --write docs/speed.md
    python bench/speed.py --state speed.json --op gelu --op tanh          # some of it, later the rest
    python bench/speed.py --state speed.json --dtype float16 --sizes 1e3,1e6 --mode out
    python bench/speed.py --state speed.json --accuracy fast --mode out
    python bench/speed.py --state speed.json --write docs/speed.md --only-write

A cell is `fastrelu bench`'s: everybody takes turns on the same arrays, after the results were compared with
the reference.  NumPy, SciPy and PyTorch are whom to beat everywhere; ONNX Runtime and JAX are reported beside
them with their accuracy, and are to be beaten, too, where fastrelu runs at accuracy "fast", as exact as they
are.  That is measured of the operations that have a faster formula.  The state file is written after each
operation, and the same command goes on from there.
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
AT_LEAST, OF_THE_LIMIT = 0.97, 0.95  # the targets: of the best peer, of a copy
MEANS = {"high": 3.0, "fast": 4.0}  # and of all cells
RIVALS = {"high": PEERS[:3], "fast": PEERS}  # who are to be beaten
AIM = 1.3
SHOWS_A_LIMIT = 1000  # elements; below, a copy is mostly the cost of a call
PAGE = """\
# Speed, measured

Written by `python bench/speed.py --state FILE --write docs/speed.md`, {date}: {cpu}, {isa},
{versions}.
Standard normal inputs.

A cell is the best time of NumPy, SciPy and PyTorch over fastrelu's for one call, so above 1 fastrelu is
faster, and whose time that is (n, s, t); then, in brackets, fastrelu's share of the limit: the bytes that it
must move over those that a copy of the same size moves in the same time, be it through the cache or past it
(in place: a pass that turns every sign). `*`: the peer cannot write there and allocates. Everybody takes
turns on the same arrays. NumPy and SciPy run on one thread. Where fastrelu runs at accuracy "fast", ONNX
Runtime and JAX (o, j) count among the peers, and only operations with a faster formula are shown.

Cells below {at_least:g} of the best peer and below {limit:g} of the limit are behind; they are listed at the
end.

{summary}

Geometric mean of all {count} cells: {mean:.2f}.
"""


def parse(arguments):
    from fastrelu import get_num_threads, peers
    from fastrelu.cli.bench import modes as where

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
    parser.add_argument("--accuracy", choices=tuple(MEANS), default="high", help="fastrelu's (high)")
    parser.add_argument(
        "--mode", type=where, default=peers.MODES, help="out, in-place, fresh; all by default"
    )
    parser.add_argument("--sizes", type=lambda text: [int(float(n)) for n in text.split(",")], default=SIZES)
    parser.add_argument("--threads", type=int, help="one number instead of one and all")
    parser.add_argument("--seconds", type=float, default=0.1, help="for each cell, all together (0.1)")
    options = parser.parse_args(arguments)
    try:
        chosen = peers.operations(options.op or ())
    except ValueError as error:
        parser.error(str(error))
    options.operations = [o for o in chosen if not o.is_reduction]
    if options.accuracy == "fast":
        options.operations = [o for o in options.operations if has_faster_formula(o, options.dtype)]
    options.threads = [options.threads] if options.threads else sorted({1, get_num_threads()})
    return options


def has_faster_formula(operation, dtype):
    """Whether accuracy "fast" means another formula than "high" there."""
    from fastrelu.backends import cython
    from fastrelu.peers import named_dtype

    index = cython.KERNEL_INDEX[operation.kernel.name]
    return cython.ufuncs.has_faster_formula(index, named_dtype(dtype))


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
    from fastrelu import accuracy, peers
    from fastrelu.cli.bench import measure

    copies = [streaming_copy()]
    state, names = load(options.state), [name for name in PEERS if name in peers.installed()]
    setting = ["fast"] * (options.accuracy == "fast")
    with peers.session(names, threads), accuracy(options.accuracy):
        for size in options.sizes:
            data = None
            for operation in options.operations:
                for mode in options.mode:
                    cell = key(operation, mode, size, threads, options.dtype, *setting)
                    if cell in state["cells"]:
                        continue
                    given = operation, options.dtype, size, names, threads, options.seconds, mode, data
                    line, data = measure(*given, references=False, copies=copies)
                    state["cells"][cell] = line | {"accuracy": options.accuracy}
                save(options.state, state)
            print(f"{threads} thread(s), {size:,} elements: done", file=sys.stderr, flush=True)


# The page


def judged(cells):
    """Add to each cell the best of the peers to beat, the ratio, and the share of the limit."""
    for cell in cells:
        ours = cell["results"]["fastrelu"]["seconds"]
        cell.setdefault("accuracy", "high")
        rivals = RIVALS[cell["accuracy"]]
        times = {n: r["seconds"] for n, r in cell["results"].items() if n in rivals and r["seconds"]}
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


def page(state, errors):
    cells = judged(list(state["cells"].values()))
    counted = [c for c in cells if c["ratio"]]
    behind = sorted((c for c in counted if is_behind(c)), key=lambda c: c["ratio"])
    about = state["configuration"]
    names = [n for n in PEERS if n in about["versions"]]
    text = [
        PAGE.format(
            date=state["date"],
            cpu=about["machine"]["cpu"],
            isa=about["instruction sets"]["chosen"],
            versions=", ".join(f"{n} {about['versions'][n]}" for n in names),
            count=len(counted),
            mean=mean(c["ratio"] for c in counted),
            at_least=AT_LEAST,
            limit=OF_THE_LIMIT,
            summary=summary(counted),
        )
    ]
    for kind, some in grouped(cells, "dtype", "accuracy", "threads", "mode"):
        dtype, accuracy, threads, mode = kind
        fast = ', accuracy "fast"' * (accuracy == "fast")
        text += [
            f"## {dtype}, {mode.replace('out', '`out=`')}, {threads} thread{'s' * (threads > 1)}{fast}\n"
        ]
        text += [of_peers(some), ""]
    text += ["## ONNX Runtime and JAX beside their accuracy\n", beside(cells, errors), ""]
    text += ["## Cells that miss the target\n"]
    rows = [
        [named(c), c["dtype"], c["accuracy"], f"{c['size']:,}", c["mode"], str(c["threads"]), shown(c)]
        for c in behind
    ]
    text += [listed(["op", "dtype", "accuracy", "elements", "result", "threads", "best peer [limit]"], rows)]
    return "\n".join(text) + "\n"


def is_behind(cell, bar=AT_LEAST):
    return cell["ratio"] < bar and cell["share"] < OF_THE_LIMIT


def grouped(cells, *names):
    """(values of these fields, the cells that have them), sorted; accuracy "high" before "fast"."""
    groups = {}
    for cell in cells:
        groups.setdefault(tuple(cell[name] for name in names), []).append(cell)
    return sorted(groups.items(), key=lambda item: [(v == "fast", v) for v in item[0]])


def summary(counted):
    """For each dtype and accuracy how it went on the whole."""
    rows = [
        [dtype, accuracy, f"{len(some):,}", f"{mean(c['ratio'] for c in some):.2f}", f"{MEANS[accuracy]:g}"]
        + [str(sum(is_behind(c, bar) for c in some)) for bar in (AT_LEAST, AIM)]
        for (dtype, accuracy), some in grouped(counted, "dtype", "accuracy")
    ]
    head = ["dtype", "accuracy", "cells", "geometric mean", "target", "behind"]
    return table([*head, f"below {AIM:g} and not at the limit"], rows)


def of_peers(cells):
    """A table of one number of threads and one place of the result."""
    sizes = sorted({c["size"] for c in cells})
    by_cell = {(named(c), c["size"]): c for c in cells}
    rows = [[n, *(shown(by_cell.get((n, s))) for s in sizes)] for n in dict.fromkeys(map(named, cells))]
    means = [mean(c["ratio"] for c in cells if c["size"] == s and c["ratio"]) for s in sizes]
    rows.append(["geometric mean", *(f"{m:.2f}" for m in means)])
    return table(["", *(f"{s:,}" for s in sizes)], rows)


def beside(cells, errors):
    """How many times longer ONNX Runtime (`out=`) and JAX (fresh) take, and their largest errors."""
    ways = [("onnxruntime", "out"), ("jax", "fresh")]
    some = [c for c in cells if (c["dtype"], c["accuracy"]) == ("float32", "high")]
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
            row.append(errors.get(name, {}).get(peer, ""))
        rows.append([*row, errors.get(name, {}).get("fastrelu", "")])
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
