"""The command behind ``python -m tests.ulp``: the largest error of every kernel, and where it is.

float32: every `--stride`-th of the 2^32 bit patterns and dense windows around everything special, or with
`--exhaustive` all patterns.  float64: structured points against mpmath, and dense random ones.  Parameters
take their typical values (`--defaults`: the first of them only), `dy` is 1, and of `y` only what the forward
pass can give is looked at; of a gated unit every gate, for some values.  `tests/measure.py` says against
what.

The result is one line for each kernel and set of parameters.  A region is a binade of one sign: the last
columns name the largest error outside the region of the worst, so that one bad spot hides nothing.

    python -m tests.ulp --isa avx2 --dtype float32 --exhaustive --defaults --state avx2.json
    python -m tests.ulp --isa x86_64_v2 --state v2.json
    python -m tests.ulp --backend numba --defaults
    python -m tests.ulp --accuracy fast --state fast.json
    python -m tests.ulp --write docs/accuracy.md --peers --state avx2.json --state v2.json

The same command goes on where it was interrupted or killed; the last one sweeps nothing.
"""

import argparse
import datetime
import hashlib
import json
import multiprocessing
import os
import signal
from pathlib import Path

PASSES = ("forward", "backward", "backward_from_y", "backward_at_zero", "backward_wrt")
PASSES += ("backward_value", "backward_gate")
REGIONS_PER_TASK = 4
MEASURED_AGAIN = 64  # of the worst spots, in mpmath


def arguments(given=None):
    parser = argparse.ArgumentParser(
        prog="python -m tests.ulp", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--op", action="append", help="activation (repeat for more; all by default)")
    parser.add_argument("--pass", dest="passes", action="append", choices=PASSES, help="all by default")
    parser.add_argument("--dtype", action="append", choices=("float32", "float64"), help="both by default")
    parser.add_argument("--defaults", action="store_true", help="one set of parameters: the first typical")
    parser.add_argument("--stride", type=int, default=257, help="of float32 bit patterns (257)")
    parser.add_argument("--exhaustive", action="store_true", help="the same as --stride 1")
    parser.add_argument("--regions", metavar="A:B", default="0:512", help="a share of float32's 512 binades")
    parser.add_argument("--accuracy", choices=("high", "fast"), default="high", help="the setting (high)")
    parser.add_argument("--isa", help="instruction set to pin (FASTRELU_ISA)")
    parser.add_argument("--backend", help="backend to measure (FASTRELU_BACKEND)")
    parser.add_argument("--state", type=Path, action="append", help="a file that lets a sweep go on")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page from the --state files")
    parser.add_argument("--peers", action="store_true", help="on that page, the peers' errors too")
    options = parser.parse_args(given)
    if options.stride < 1 or options.processes < 1:
        parser.error("--stride and --processes: expected at least 1")
    if options.exhaustive:
        options.stride = 1
    try:
        first, last = map(int, options.regions.split(":"))
        options.regions = range(first, last)
        whole = 0 <= first < last <= 512
    except ValueError:
        whole = False
    if not whole:
        parser.error("--regions: expected A:B with 0 <= A < B <= 512")
    if not options.write and len(options.state or ()) > 1:
        parser.error("--state: one file for a sweep; several only with --write")
    if options.write and not options.state:
        parser.error("--write: expected at least one --state file to read")
    return options


def jobs(options):
    """(kernel's name, parameters, dtype) for everything that was asked for."""
    import cases

    known = {name for row, _ in cases.SWEPT.values() for name in (row.qualname, row.family)}
    for name in set(options.op or ()) - known:
        raise SystemExit(f"--op: unknown activation {name!r}; expected one of {', '.join(sorted(known))}")
    for row, kernel in cases.SWEPT.values():
        pass_ = kernel.pass_ if "_wrt_" not in kernel.pass_ else "backward_wrt"
        if {row.qualname, row.family}.isdisjoint(options.op or known):
            continue
        if pass_ not in (options.passes or PASSES):
            continue
        for dtype in options.dtype or ("float32", "float64"):
            for parameters in cases.parameter_sets(row)[: 1 if options.defaults else None]:
                yield kernel.name, parameters, dtype


# The state file


def fingerprint():
    """The kernels and the table, so that a state file is never continued on other ones."""
    import fastrelu as fr
    import fastrelu.kernels
    from fastrelu import control, reference, table
    from fastrelu.backends import cython

    digest = hashlib.sha256()
    files = [table.__file__, *sorted(Path(reference.__file__).parent.glob("*.py"))]
    files += sorted(
        p for folder in fastrelu.kernels.__path__ for p in Path(folder).glob(f"*_{cython.ISA}.*so")
    )
    if (backend := fr.explain(fr.relu, [0.0]).backend) == "numba":
        files += sorted(
            p for folder in fastrelu.kernels.__path__ for p in Path(folder).glob("numba/entries.py")
        )
    for path in files:
        digest.update(Path(path).read_bytes())
    level = "" if control.ACCURACY.get() == "high" else " fast"
    return f"{backend if backend == 'numba' else cython.ISA} {digest.hexdigest()[:16]}{level}"


def load_state(path, mark):
    from fastrelu.config import configuration

    if path is None or not path.exists():
        return {"kernels": mark, "configuration": configuration(), "done": {}}
    state = json.loads(path.read_text())
    if state["kernels"] != mark:
        raise SystemExit(f"--state: {path} belongs to other kernels ({state['kernels']}; these are {mark})")
    return state


def save_state(path, state):
    if path is not None:
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(state))
        temporary.replace(path)


# The sweep


def todo(job, options):
    """The parts of a job, and how many make a task."""
    from measure import parts

    if job[2] == "float64":
        return list(range(parts("float64", 0))), 1
    windows = [512] if parts("float32", options.stride) > 512 else []
    return [*options.regions, *windows], REGIONS_PER_TASK if options.stride == 1 else 64


def run(job, options, state, pool, path):
    """All parts of one job: the record that the state keeps."""
    import cases
    from measure import Found, check_oracle, exact_error, measure

    name, parameters, dtype = job
    row, kernel = cases.SWEPT[name]
    stride = 0 if dtype == "float64" else options.stride
    share = (
        ""
        if stride == 0 or len(options.regions) == 512
        else f" of binades {options.regions.start} to {options.regions.stop - 1}"
    )
    record = state["done"].setdefault(
        f"{name} {parameters} {dtype} {stride}{share}",
        {"kernel": name, "parameters": parameters, "dtype": dtype, "stride": stride, "share": share}
        | {"parts done": 0, "complete": False}
        | Found().record,
    )
    if record["complete"]:
        return record
    if dtype == "float32":
        check_oracle(row, kernel, parameters)
    found, (parts, step) = Found(record), todo(job, options)
    parts = parts[record["parts done"] :]
    tasks = [(*job, parts[i : i + step], stride) for i in range(0, len(parts), step)]
    for task, more in pool.imap(measure, tasks):
        found.merge(more)
        record["parts done"] += len(task[3])
        if stride == 1:
            save_state(path, state)
    spots = [spot for spots in record["worst"].values() for spot in spots]
    for spot in sorted(spots, key=lambda s: -s[0])[:MEASURED_AGAIN]:
        x = float.fromhex(spot[1])
        if 0 < spot[0] < float("inf") and abs(x) < float("inf"):
            spot[0] = exact_error(row, kernel, x, parameters, dtype)
    for spots in record["worst"].values():
        spots.sort(key=lambda s: -s[0])
    record |= {"complete": True, "date": f"{datetime.date.today()}"}
    save_state(path, state)
    return record


def ranked(record):
    """[(ULP, x)], the worst of each region, the largest first."""
    worst = sorted((spots[0] for spots in record["worst"].values()), key=lambda s: -s[0])
    return [(ulp, float.fromhex(x)) for ulp, x in worst] + [(0.0, float("nan"))] * 2


def line(record, isa):
    (first, second), above = ranked(record)[:2], record["above"]
    spots = "".join(f"{ulp:9.4f} {x:<24.17g}" for ulp, x in (first, second))
    shown = ", ".join(f"{p:g}" for p in record["parameters"])
    counts = "".join(f"{above.get(name, 0):>8}" for name in ("0.75", "1", "budget"))
    head = f"{record['kernel']:<40}{shown:<9}{record['dtype']:<8} {isa:<10}{record['points']:>11}"
    return head + spots + counts


def main(given=None):
    options = arguments(given)
    if options.isa:
        os.environ["FASTRELU_ISA"] = options.isa
    if options.backend:
        os.environ["FASTRELU_BACKEND"] = options.backend
    if options.write:
        from accuracy_page import write

        return write(options.write, options.state, options.peers)
    import fastrelu as fr
    from fastrelu.backends import cython

    fr.set_num_threads(1)
    fr.set_accuracy(options.accuracy)
    backend = fr.explain(fr.relu, [0.0]).backend
    isa = {"cython": cython.ISA, "numpy": "reference"}.get(backend, backend)
    path = options.state[0] if options.state else None
    state = load_state(path, fingerprint())
    head = f"{'kernel':<40}{'with':<9}{'dtype':<8} {'ISA':<10}{'points':>11}"
    bad, planned = 0, list(jobs(options))
    print(f"{head}{'max ULP':>9} {'at':<24}{'next':>9} {'at':<24}{'>0.75':>8}{'>1':>8}{'above':>8}")
    with multiprocessing.get_context("fork").Pool(options.processes, ignore_interrupts) as pool:
        try:
            for job in planned:
                record = run(job, options, state, pool, path)
                if record["points"]:
                    print(line(record, isa), flush=True)
                bad += record["above"].get("budget", 0)
        except KeyboardInterrupt:
            ignore_interrupts()  # a second one, while the pool ends
            again = f": the same command goes on from {path}" if path else ""
            print(f"interrupted{again}")
            return 130
    return 1 if bad else 0


def ignore_interrupts():
    """In workers always: the main process hears of them and ends the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
