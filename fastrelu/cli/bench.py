"""``fastrelu bench``: a short side-by-side table of fastrelu and the installed peers.

Every line is one function and pass.  All who can do it take turns on the same arrays, after their results
were compared with the reference (`fastrelu.peers`); a copy of the same size takes its turns among them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from pathlib import Path

from .options import positive, whole

__all__ = ["add_parser", "duration", "measure", "modes", "run"]

PASSES = {
    "forward": ("forward",),
    "backward": ("backward", "backward_from_y"),
    "both": ("forward", "backward", "backward_from_y"),
}
SIZES = (16, 1_000, 1_000_000)
UNITS = {"ns": 1e9, "µs": 1e6, "ms": 1e3, "s": 1}
EPILOG = """\
The table: the time of a call of fastrelu, its elements a second, its share of the machine's copy speed in
bytes (np.copyto by one or all threads, the best of the table; blank where that is mostly call overhead),
then how many times longer each peer takes.
"*": the peer cannot write where it should and allocates its result.  "r": NumPy has no such function, so
the reference was timed; it does not count in the mean.  "off": the result is wrong by so much, relative to
the value plus the typical value, and was not timed.  "backward y" is the gradient from the saved output.
NumPy and SciPy run on one thread, the others on as many as fastrelu.
"""


def _function(text):
    from .. import peers

    try:
        peers.operations([text])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _peers(text):
    from .. import peers

    names = tuple(filter(None, text.split(",")))
    for name in names:
        if name not in peers.PEERS:
            known = ", ".join(peers.PEERS)
            raise argparse.ArgumentTypeError(f"unknown peer {name!r}; expected names among {known}")
        if name not in peers.installed():
            needs = " and ".join(peers.REQUIRED[name])
            raise argparse.ArgumentTypeError(f"peer {name!r} is not installed; it needs {needs}")
    return names


def modes(text):
    """Some of `peers.MODES` as the shell writes them, for argparse."""
    from .. import peers

    chosen = tuple(filter(None, text.replace("-", " ").split(",")))
    for mode in chosen:
        if mode not in peers.MODES:
            known = ", ".join(peers.MODES).replace(" p", "-p")
            raise argparse.ArgumentTypeError(f"unknown mode {mode!r}; expected some of {known}")
    return chosen


def _sizes(text):
    try:
        sizes = [float(part.replace("_", "")) for part in text.split(",")]
    except ValueError:
        sizes = [math.nan]
    if not all(1 <= size < math.inf and size == int(size) for size in sizes):
        raise argparse.ArgumentTypeError(f"got {text!r}; expected numbers of elements like 16,1000,1e6")
    return [int(size) for size in sizes]


def _file(text):
    if text != "-" and not Path(text).parent.is_dir():
        raise argparse.ArgumentTypeError(f"got {text!r}; there is no such folder")
    return text


def add_parser(subparsers):
    """Add ``bench`` to the command line."""
    parser = subparsers.add_parser(
        "bench",
        help="time fastrelu beside the installed peers",
        description="Time fastrelu beside the peers that are installed: NumPy, SciPy, PyTorch, ONNX Runtime, "
        "numexpr, JAX.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names",
        nargs="*",
        type=_function,
        metavar="NAME",
        help="functions (default: all); package.module:name for your own",
    )
    parser.add_argument("--pass", dest="pass_", choices=PASSES, default="both", help="default: both")
    parser.add_argument(
        "--dtype",
        choices=("float16", "bfloat16", "float32", "float64"),
        default="float32",
        help="default: float32; bfloat16 needs ml_dtypes",
    )
    parser.add_argument(
        "--sizes",
        type=_sizes,
        default=list(SIZES),
        metavar="N,N,...",
        help="elements; reductions run along rows of at most 1000 (default: 16,1000,1000000)",
    )
    parser.add_argument(
        "--mode",
        type=modes,
        default=("out",),
        metavar="MODE,...",
        help="where results go: out (an array given), in-place (over x or dy), fresh; default: out",
    )
    parser.add_argument("--threads", type=whole(1), metavar="N", help="default: fastrelu's")
    parser.add_argument(
        "--peers", type=_peers, metavar="NAME,...", help="default: all installed; '' for none"
    )
    parser.add_argument(
        "--json", type=_file, metavar="FILE", help="write every number to FILE, or to stdout: -"
    )
    parser.add_argument(
        "--seconds",
        type=positive,
        default=0.2,
        metavar="S",
        help="for each line of a table, shared by all (default: 0.2)",
    )
    return parser


def measure(
    operation,
    dtype,
    size,
    names,
    threads,
    seconds,
    mode="out",
    like=None,
    references=True,
    copies=(),
):
    """One line of a table: everybody's time for an operation, as plain values, and the data it was taken on.

    To be called within ``peers.session(names, threads)``.  `like` is data whose arrays may serve again;
    without `references` a library that lacks the function is left out; the fastest copy counts, by
    np.copyto or one of `copies`, functions of a target and a source.
    """
    from .. import peers
    from ..peers.timing import Copy, interleaved

    data = peers.Data(operation, dtype, size, like)
    jobs, reports = {}, {}
    for name in ("fastrelu", *names):
        job = peers.prepare(name, operation, data, threads, mode)
        if job is None or (job.mode == "reference" and not references):
            continue
        off = peers.deviation(job, data)
        reports[name] = {
            "statement": job.shown,
            "mode": job.mode,
            "deviation": off if math.isfinite(off) else None,
            "seconds": None,
        }
        if off <= peers.TOLERANCE[dtype]:
            jobs[name] = job
    counts, ways = sorted({1, threads}), [{}, *({"copy": function} for function in copies)]
    limits = {
        (n, i): Copy(data.x, n, mode == "in place", target=data.out, **way)
        for n in counts
        for i, way in enumerate(ways)
    }
    timings = interleaved(jobs | limits, seconds, contenders=jobs.keys() & peers.EAGER)
    for name in jobs:
        reports[name] |= _numbers(timings[name])
    return {
        "function": operation.function,
        "pass": operation.pass_,
        "dtype": dtype,
        "mode": mode,
        "size": data.x.size,
        "shape": list(data.shape),
        "threads": threads,
        "bytes moved": operation.arrays_moved() * data.x.nbytes,
        "copy": {
            "bytes moved": 2 * data.x.nbytes,
            "by threads": {
                str(n): _numbers(min((timings[n, i] for i in range(len(ways))), key=lambda t: t.best))
                for n in counts
            },
        },
        "results": reports,
    }, data


def _numbers(timing):
    return {"seconds": timing.best, "median seconds": timing.median, "turns": len(timing.turns)}


# --- the table --------------------------------------------------------------------------------------------


def duration(seconds):
    unit, scale = next(
        (unit, scale) for unit, scale in UNITS.items() if seconds * scale < 1000 or unit == "s"
    )
    return f"{seconds * scale:.3g} {unit}"


def _copy_speed(line):
    """Bytes a second of the fastest copy."""
    return line["copy"]["bytes moved"] / min(c["seconds"] for c in line["copy"]["by threads"].values())


def _share(line, ours, overhead, speed):
    if line["copy"]["by threads"]["1"]["seconds"] < 4 * overhead:
        return ""
    return f"{line['bytes moved'] / ours / speed:.0%}"


def _ratio(report, ours, mode="out"):
    """The cell of one peer, and the number in it if it counts in the mean."""
    if report is None:
        return "-", None
    if report["seconds"] is None:
        off = report["deviation"]
        return "off" if off is None else f"off {off:.0e}", None
    ratio = report["seconds"] / ours
    digits = f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
    mark = {"fresh": "" if mode == "fresh" else "*", "reference": "r"}.get(report["mode"], "")
    return digits + mark, ratio if mark != "r" else None


def _rows(lines, names, overhead):
    """Cells of the table as strings, a header first, and the geometric means last."""
    yield ["function", "pass", "fastrelu", "Gelem/s", "of copy", *names]
    speed = max(map(_copy_speed, lines))
    ratios = {name: [] for name in names}
    for line in lines:
        report = line["results"]["fastrelu"]
        shown = [line["function"], line["pass"].replace("backward_from_y", "backward y")]
        if (ours := report["seconds"]) is None:
            yield [*shown, _ratio(report, 1)[0], *[""] * (2 + len(names))]
            continue
        cells = []
        for name in names:
            text, ratio = _ratio(line["results"].get(name), ours, line["mode"])
            cells.append(text)
            if ratio:
                ratios[name].append(ratio)
        rate = f"{line['size'] / ours / 1e9:.3g}"
        yield [*shown, duration(ours), rate, _share(line, ours, overhead, speed), *cells]
    means = [f"{math.exp(sum(map(math.log, r)) / len(r)):.2f}" if r else "" for r in ratios.values()]
    yield ["geometric mean", "", "", "", "", *means]


def _title(lines):
    size, threads = max(line["size"] for line in lines), lines[0]["threads"]
    speed, mode = max(map(_copy_speed, lines)) / 1e9, lines[0]["mode"].replace("out", "out=")
    return (
        f"{lines[0]['dtype']}, {size:,} elements, {mode}, {threads} thread{'s' if threads > 1 else ''}, "
        f"copy {speed:.3g} GB/s: time of a call, and times longer the peers take"
    )


def _table(lines, names, overhead):
    """Print one table; with rich where it is installed."""
    title, rows = _title(lines), list(_rows(lines, names, overhead))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    try:
        from rich.console import Console
        from rich.table import Table
    except ModuleNotFoundError:
        return _plain_table(title, rows, widths)
    table = Table(title=title, title_justify="left", title_style="bold")
    header, *body, means = rows
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i < 2 else "right", no_wrap=True)
    for row in body:
        table.add_row(*row[:5], *map(_coloured, row[5:]))
    table.add_section()
    table.add_row(*means)
    console, needed = Console(), sum(widths) + 3 * len(widths) + 1
    # a narrow terminal breaks the lines, which is better than numbers cut off
    return (console if console.width >= needed else Console(width=needed)).print(table)


def _coloured(cell):
    try:
        ratio = float(cell.rstrip("*r"))
    except ValueError:
        return cell
    colour = "red" if ratio < 0.97 else "green" if ratio > 1.03 else ""
    return f"[{colour}]{cell}[/]" if colour else cell


def _plain_table(title, rows, widths):
    print(title)
    for row in rows:
        left, right = zip(row[:2], widths, strict=False), zip(row[2:], widths[2:], strict=True)
        cells = [c.ljust(w) for c, w in left] + [c.rjust(w) for c, w in right]
        print("  ".join(cells).rstrip())
    print()


# --- the command ------------------------------------------------------------------------------------------


def run(options) -> int:
    """Measure and print; the exit code: 1 if a result of fastrelu's own was off."""
    import numpy as np

    from .. import config, control, peers
    from ..peers.timing import Copy, interleaved

    chosen = peers.operations(options.names, PASSES[options.pass_])
    names = peers.installed() if options.peers is None else options.peers
    threads = options.threads or control.get_num_threads()
    lines = []
    with peers.session(names, threads):
        one = Copy(np.zeros(1, peers.named_dtype(options.dtype)), 1)
        overhead = interleaved({"copy": one}, 0.01)["copy"].best
        for size, mode in itertools.product(options.sizes, options.mode):
            table, data = [], None
            some = [o for o in chosen if mode == "out" or not o.is_reduction]
            for i, operation in enumerate(some):
                _progress(f"{size:,} elements, {mode}, {i + 1} of {len(some)}: {operation}")
                given = operation, options.dtype, size, names, threads, options.seconds, mode, data
                line, data = measure(*given)
                table.append(line)
            _progress("")
            if table and options.json != "-":
                _table(table, names, overhead)
            lines += table
        report = {
            "configuration": config.configuration(),
            "seconds of the smallest copy": overhead,
            "measured": lines,
        }
    if options.json:
        text = json.dumps(report, indent=2, allow_nan=False) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text)
    return int(any(line["results"]["fastrelu"]["seconds"] is None for line in lines))


def _progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
