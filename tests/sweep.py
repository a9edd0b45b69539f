"""The command behind ``python -m tests.ulp``: the largest error of every kernel, and where it is.

float32: every `--stride`-th of the 2^32 bit patterns (`--exhaustive`: all of them), against the
reference in float64, beside a root of f' in long double.  float64: every binade, and dense points at
knots, roots, thresholds and in the tails, against the reference in long double.  Parameters take their
typical values, `dy` is 1, and of `y` only what the forward pass can give is looked at.

The result is one line for each kernel and set of parameters.  A region is a binade of one sign: the last
columns name the largest error outside the region of the worst, so that one bad spot hides nothing.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import signal
from pathlib import Path

PASSES = ("forward", "backward", "backward_from_y", "backward_at_zero", "backward_wrt")
BLOCK = 1 << 18  # float32 patterns at a time; a region, one sign and exponent, has 2^23
REGIONS_PER_TASK = 4
FLOAT64_PARTS = 8


def arguments():
    parser = argparse.ArgumentParser(prog="python -m tests.ulp", description=__doc__.partition("\n")[0])
    parser.add_argument("--op", action="append", help="activation (repeat for more; all by default)")
    parser.add_argument("--pass", dest="passes", action="append", choices=PASSES, help="all by default")
    parser.add_argument("--dtype", action="append", choices=("float32", "float64"), help="both by default")
    parser.add_argument("--stride", type=int, default=257, help="of float32 bit patterns (257)")
    parser.add_argument("--exhaustive", action="store_true", help="the same as --stride 1")
    parser.add_argument("--isa", help="instruction set to pin (FASTRELU_ISA)")
    parser.add_argument("--state", type=Path, help="a file that lets an interrupted sweep go on")
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


# Points


def float32_blocks(region, stride):
    """The patterns of one sign and exponent that are multiples of the stride."""
    import numpy as np

    start, end = region << 23, (region + 1) << 23
    first = -(-start // stride) * stride
    for low in range(first, end, BLOCK * stride):
        yield np.arange(low, min(end, low + BLOCK * stride), stride, dtype=np.uint32).view(np.float32)


def float64_blocks(row, part, parameters):
    """The structured points; the random ones among them differ from part to part."""
    import cases
    import numpy as np

    rng = np.random.default_rng(part)
    yield cases.sample(row, np.float64, each_exponent=16, ordinary=20_000, parameters=parameters)
    for end in (1, 6, 40, 110, 760):
        yield rng.uniform(-end, end, 20_000)
    places = cases.special_places(row, parameters)
    scales = np.ldexp(rng.uniform(0.5, 1, (200, 1)), rng.integers(-52, 0, (200, 1)))
    yield np.concatenate([places * (1 + scales), places * (1 - scales)]).ravel()
    if part == 0:
        yield cases.neighbours(places, np.float64, 2048)


# One task: some regions of one kernel with one set of parameters


def measure(task):
    """{region: (ULP, x in hex)}, how many points there were, and how many of them above the budget."""
    import cases
    import numpy as np
    from ulp import distances

    name, parameters, dtype, parts, stride = task
    row, kernel = cases.BY_NAME[name]
    limit, worst, points, above = cases.budget(row, kernel, dtype), {}, 0, 0
    for part in parts:
        wide = dtype == "float64"
        for x in float64_blocks(row, part, parameters) if wide else float32_blocks(part, stride):
            x = x[cases.in_domain(row, kernel, x, parameters)]
            if not x.size:
                continue
            inputs = cases.operands(row, kernel, x, parameters)
            true = cases.truth(kernel, inputs, np.longdouble if wide else np.float64)
            if not wide:
                true = beside_roots(row, kernel, inputs, x, parameters, true)
            floor = cases.unit_floor(row, kernel, x, parameters)
            error = distances(cases.function(kernel)(*inputs), true, floor)
            points += x.size
            above += int(np.count_nonzero(error > limit))
            keep_worst(worst, extremes(x, error))
    return task, worst, points, above


def extremes(x, error):
    """{region: (its largest error, where)}; a region is a sign and exponent."""
    import numpy as np

    regions = x.view(f"u{x.itemsize}") >> np.finfo(x.dtype).nmant
    if (regions == regions[0]).all():
        found = [np.argmax(error)]
    else:
        order = np.lexsort((error, regions))
        found = order[np.append(np.diff(regions[order]) != 0, True)]
    return {str(regions[i]): (float(error[i]), float(x[i]).hex()) for i in found}


def keep_worst(worst, found):
    for region, candidate in found.items():
        worst[region] = max(worst.get(region, candidate), candidate, key=lambda pair: pair[0])


def beside_roots(row, kernel, inputs, x, parameters, true):
    """`true`, from long double where a float64 cannot tell a float32's last place any more."""
    import cases
    import numpy as np

    with np.errstate(all="ignore"):
        position = x.astype(np.float64) * np.prod(parameters)
    for root in row.roots:
        near = abs(position - root) < 2.0**-10
        if near.any():
            some = [a if a.ndim == 0 else a[near] for a in inputs]
            true[near] = cases.truth(kernel, some).astype(np.float64)
    return true


# The whole


def jobs(options):
    """(kernel's name, parameters, dtype) for everything that was asked for."""
    import cases

    known = {name for row, _ in cases.KERNELS for name in (row.qualname, row.family)}
    for name in set(options.op or ()) - known:
        raise SystemExit(f"--op: unknown activation {name!r}; expected one of {', '.join(sorted(known))}")
    for row, kernel in cases.KERNELS:
        pass_ = kernel.pass_ if "_wrt_" not in kernel.pass_ else "backward_wrt"
        if {row.qualname, row.family}.isdisjoint(options.op or known):
            continue
        if pass_ not in (options.passes or PASSES):
            continue
        for dtype in options.dtype or ("float32", "float64"):
            for parameters in cases.parameter_sets(row):
                yield kernel.name, parameters, dtype


def fingerprint():
    """The compiled kernels and the table, so that a state file is never continued on other ones."""
    import fastrelu.kernels
    from fastrelu import reference, table
    from fastrelu.backends import cython

    digest = hashlib.sha256()
    files = [table.__file__, reference.__file__]
    files += sorted(
        p for folder in fastrelu.kernels.__path__ for p in Path(folder).glob(f"*_{cython.ISA}.*so")
    )
    for path in files:
        digest.update(Path(path).read_bytes())
    return f"{cython.ISA} {digest.hexdigest()[:16]}"


def load_state(path, mark):
    if path is None or not path.exists():
        return {"kernels": mark, "done": {}}
    state = json.loads(path.read_text())
    if state["kernels"] != mark:
        raise SystemExit(f"--state: {path} belongs to other kernels ({state['kernels']}; these are {mark})")
    return state


def save_state(path, state):
    if path is not None:
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(state))
        temporary.replace(path)


def run(job, options, state, pool):
    """All parts of one job: the record that the state keeps."""
    name, parameters, dtype = job
    wide = dtype == "float64"
    stride = 0 if wide else options.stride
    record = state["done"].setdefault(
        f"{name} {parameters} {dtype} {stride}", {"next": 0, "worst": {}, "points": 0, "above": 0}
    )
    parts, step = range(record["next"], FLOAT64_PARTS if wide else 512), 1 if wide else REGIONS_PER_TASK
    tasks = [(*job, list(parts[i : i + step]), stride) for i in range(0, len(parts), step)]
    for task, worst, points, above in pool.imap(measure, tasks):
        keep_worst(record["worst"], worst)
        record["points"] += points
        record["above"] += above
        record["next"] = task[3][-1] + 1
        if stride == 1:
            save_state(options.state, state)
    save_state(options.state, state)
    return record


def line(job, isa, record):
    name, parameters, dtype = job
    ranked = sorted(record["worst"].values(), key=lambda w: -w[0]) + [(0.0, "nan")] * 2
    spots = "".join(f"{ulp:9.4f} {float.fromhex(x):<24.17g}" for ulp, x in ranked[:2])
    shown = ", ".join(f"{p:g}" for p in parameters)
    return f"{name:<40}{shown:<9}{dtype:<8} {isa:<10}{record['points']:>11}{spots}{record['above']:>8}"


def main():
    options = arguments()
    if options.exhaustive:
        options.stride = 1
    if options.isa:
        os.environ["FASTRELU_ISA"] = options.isa
    import fastrelu as fr
    from fastrelu.backends import cython

    fr.set_num_threads(1)
    isa = cython.ISA if fr.explain(fr.relu, [0.0]).backend == "cython" else "reference"
    state = load_state(options.state, fingerprint())
    head = f"{'kernel':<40}{'with':<9}{'dtype':<8} {'ISA':<10}{'points':>11}"
    bad, todo = 0, list(jobs(options))
    print(f"{head}{'max ULP':>9} {'at':<24}{'next':>9} {'at':<24}{'above':>8}")
    with multiprocessing.get_context("fork").Pool(options.processes, ignore_interrupts) as pool:
        try:
            for job in todo:
                record = run(job, options, state, pool)
                if record["points"]:
                    print(line(job, isa, record), flush=True)
                bad += record["above"]
        except KeyboardInterrupt:
            ignore_interrupts()  # a second one, while the pool ends
            again = f": the same command goes on from {options.state}" if options.state else ""
            print(f"interrupted{again}")
            return 130
    return 1 if bad else 0


def ignore_interrupts():
    """In workers always: the main process hears of them and ends the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
