"""``python -m tests.ulp --write FILE --state ...``: the page of measured accuracy, from state files."""

import json
import textwrap
from pathlib import Path

SHOWN = {"avx2": "AVX2", "avx512": "AVX-512", "x86_64_v2": "x86-64-v2", "numba": "Numba"}
PASSES = {"backward_from_y": "backward from y", "backward_at_zero": "backward, `at_zero`"}
PEER_STRIDE = 4099
ORDINARY = 4.0  # the first figure of a peer is for inputs no larger than this

HEAD = """\
# Accuracy, measured

Written by `python -m tests.ulp --write`, from the files that its sweeps leave: nothing here is typed by
hand. Errors are in units in the last place (ULP) of the true result, the unit floored at the smallest
subnormal, with dy = 1; in float64, within 1/2 of an interior zero of f′, in units of the bound 2⁻⁵⁶. A NaN
on one side only, a wrong infinity, an overflow too early or too late and a zero of the wrong sign count as
infinite. "with" are the parameters, "next" is the largest error in another binade than the worst, so that
one bad spot hides nothing, and the last columns count the inputs above 0.75 and above 1 ULP. Instruction
sets with the same result share a line. At accuracy "fast" the budget is 4 ULP.

{verdict}

{machines}
"""
FLOAT32 = """
## float32

{coverage} The bulk is measured against the float64 kernel compiled for another instruction set, whose own
error is below 2⁻²⁸ float32 units and which is held against the reference in long double at the start of
every sweep; specials, overflows and the surroundings of f′'s zeros against the reference in double and long
double; and the {again} worst spots of every line are measured again with {bits} bits, in mpmath. From `y`,
only what the forward pass can give is looked at.

"""
FLOAT64 = """
## float64

"exact points" are structured and measured against {bits} bits (mpmath): every exponent of both signs, the
neighbours of every root, knot, threshold and underflow boundary from 1 to 2⁵² units away, cancellation
points, grids and tails. The other points are random, dense around the same places, and measured against the
reference in long double.

"""
PEERS = """
## The peers, float32 forward

Every {stride:,}th of the 2³² bit patterns against the reference in double, by the lines that `fastrelu
bench` times: {versions}. The first figure is the largest error for −4 ≤ x ≤ 4, the second over all inputs;
"!" marks a wrong NaN, infinity or signed zero, "–" a function that a peer does not have.

"""


def write(target, states, peers):
    """Write the page; the exit code."""
    from fastrelu.config import configuration

    given = [json.loads(path.read_text()) for path in states]
    records = [(_shown(s["kernels"]), r) for s in given for r in s["done"].values()]
    unfinished = [key for s in given for key, r in s["done"].items() if not r["complete"]]
    if unfinished:
        raise SystemExit(f"--write: {', '.join(unfinished)}: not finished; run the same sweep again first")
    text = _page([(isa, r) for isa, r in records if r["points"]], [s["configuration"] for s in given])
    if peers:
        text += _peers(configuration())
    Path(target).write_text("\n\n".join(map(_wrapped, text.strip().split("\n\n"))) + "\n")
    return 0


def _shown(kernels):
    """The instruction set, and the accuracy if it is not "high", that a sweep's fingerprint names."""
    isa, _, *accuracy = kernels.split()
    return " ".join([SHOWN.get(isa, isa), *(f'at "{level}"' for level in accuracy)])


def _wrapped(block):
    """A paragraph within 110 columns; headings and tables as they are."""
    return block if block[:1] in "#|" else textwrap.fill(" ".join(block.split()), 110, break_on_hyphens=False)


def _page(records, configurations):
    from sweep import MEASURED_AGAIN
    from truth import DIGITS

    bits = int(DIGITS * 3.32)
    narrow = [(isa, r) for isa, r in records if r["dtype"] == "float32"]
    wide = [(isa, r) for isa, r in records if r["dtype"] == "float64"]
    text = HEAD.format(verdict=_verdict(records), machines=_machines(configurations))
    if narrow:
        text += FLOAT32.format(coverage=_coverage(narrow), again=MEASURED_AGAIN, bits=bits)
        text += _table(narrow, exact=False)
    if wide:
        text += FLOAT64.format(bits=bits) + _table(wide, exact=True)
    return text


def _coverage(records):
    from measure import WINDOW

    text = 'Inputs "all": every float32 there is, of which `points` can come. '
    if any(r["stride"] > 1 for _, r in records):
        text += (
            f"Otherwise besides the stride dense windows: {WINDOW:,} neighbours on either side of each root, "
        )
        text += "knot, threshold and underflow. "
    return text.rstrip()


def _verdict(records):
    above = [f"{r['kernel']} {r['dtype']} ({isa})" for isa, r in records if r["above"].get("budget")]
    if above:
        return f"**Above the budget of the table: {', '.join(dict.fromkeys(above))}.**"
    return "Nothing is above its budget, which stands in the table (`fastrelu/table.py`)."


def _machines(configurations):
    lines = {
        f"{c['machine']['cpu']}, NumPy {c['versions']['numpy']}, Python {c['versions']['python']}"
        for c in configurations
    }
    isas = dict.fromkeys(_kernels_of(c) for c in configurations)
    return f"Executed: {', '.join(isas)}, on {'; '.join(sorted(lines))}."


def _kernels_of(configuration):
    if configuration["settings"]["backend"] == "numba":
        return SHOWN["numba"]
    return SHOWN.get(configuration["instruction sets"]["chosen"], "reference")


def _table(records, exact):
    """One line for each kernel, set of parameters and distinct result."""
    from sweep import ranked

    lines = {}
    for isa, r in records:
        (worst, at), (second, there) = ranked(r)[:2]
        counts = [f"{r['above'].get(level, 0):,}" for level in ("0.75", "1")]
        points = f"{r['points']:,} | {r['exact points']:,}" if exact else f"{_inputs(r)} | {r['points']:,}"
        key = (
            *_named(r["kernel"]),
            ", ".join(f"{p:g}" for p in r["parameters"]),
            points,
            f"{worst:.4f}",
            _number(worst, at, r),
            f"{second:.4f}",
            _number(second, there, r),
            *counts,
        )
        lines.setdefault(key, []).append((isa, r["date"]))
    head = [
        "date",
        "ISA",
        "op",
        "pass",
        "with",
        *(["points", "exact points"] if exact else ["inputs", "points"]),
    ]
    head += ["max ULP", "at", "next", "at", "> 0.75", "> 1"]
    text = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    order = {r["kernel"]: i for i, (_, r) in enumerate(records)}
    for key, who in sorted(lines.items(), key=lambda item: order[_kernel(item[0])]):
        date, isas = max(date for _, date in who), ", ".join(dict.fromkeys(isa for isa, _ in who))
        text.append(f"| {date} | {isas} | {' | '.join(key)} |")
    return "\n".join(text) + "\n"


def _named(kernel):
    from cases import SWEPT

    row, k = SWEPT[kernel]
    pass_ = k.pass_
    if "_wrt_" in pass_:
        return row.qualname, f"backward, `{pass_.partition('_wrt_')[2]}`"
    return row.qualname, PASSES.get(pass_, pass_)


def _kernel(key):
    from cases import SWEPT

    return next(k.name for _, k in SWEPT.values() if _named(k.name) == key[:2])


def _inputs(record):
    every = f"every {record['stride']:,}th" if record["stride"] > 1 else "all"
    return every + record["share"]


def _number(ulp, x, record):
    digits = 9 if record["dtype"] == "float32" else 17
    return f"{x:.{digits}g}" if ulp else ""


# The peers


def _peers(configuration):
    from fastrelu import peers

    names = peers.installed()
    versions = ", ".join(f"{name} {configuration['versions'][name]}" for name in names)
    text = PEERS.format(stride=PEER_STRIDE, versions=versions)
    text += f"| | fastrelu | {' | '.join(names)} |\n|{' --- |' * (len(names) + 2)}\n"
    with peers.session(names, threads=1):
        for operation in peers.operations(passes=["forward"]):
            if not operation.is_reduction:
                cells = [peer_error(name, operation) for name in ("fastrelu", *names)]
                text += f"| {operation.function} | {' | '.join(cells)} |\n"
    return text


def peer_error(name, operation):
    """The cell of one peer."""
    import cases
    import numpy as np
    from ulp import distances

    from fastrelu import peers

    x = np.arange(0, 1 << 32, PEER_STRIDE, dtype=np.uint32).view(np.float32)
    data = peers.Data(operation, "float32", x.size)
    data.x[...] = x
    job = peers.prepare(name, operation, data, threads=1)
    if job is None or job.mode == "reference":
        return "–"
    with np.errstate(all="ignore"):
        got = job.result()
        values = list(operation.parameters.values())
        inputs = cases.operands(cases.BY_NAME[operation.kernel.name][0], operation.kernel, x, values)
        errors = distances(np.array(got), cases.truth(operation.kernel, inputs, np.float64))
        ordinary = abs(x) <= ORDINARY
    wrong = np.isinf(errors)
    near, all_ = (np.max(errors[keep & ~wrong], initial=0) for keep in (ordinary, np.isfinite(x)))
    return f"{near:.3g} / {all_:.3g}{' !' if wrong.any() else ''}"
