"""Does the time of a call depend on the data?  Every operation on hard inputs, over its time on N(0, 1).

    python bench/data_dependence.py [--op NAME] [--dtype float32] [--size 30000] [--json FILE]

The targets: 1.3 where results are normal, NaN, zeros or infinities, 1.5 where the inputs spread over a whole
table, 3 where inputs or results are subnormal.  `dy` is N(0, 1) throughout; from `y`, the inputs are what
the forward pass makes of them, so a column says what the forward pass was given.  One thread, in cache.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from fastrelu import peers
from fastrelu.config import configuration
from fastrelu.peers.timing import interleaved

NORMAL, SPREAD, SUBNORMAL = 1.3, 1.5, 3.0


def constants(*values):
    return lambda rng, size, info: rng.choice(values, size)


def wide(rng, size, info):
    """The inner half of all exponents: their products with a slope stay normal."""
    return np.ldexp(rng.uniform(-1, 1, size), rng.integers(info.minexp // 2, info.maxexp // 2, size))


def tails(rng, size, info):
    """Negative arguments at which exp(x), or exp(-x**2 / 2), is subnormal."""
    low, high = np.log(float(info.smallest_subnormal)), np.log(float(info.tiny))
    ends = np.where(rng.random(size) < 0.5, 1, -1)
    far = rng.uniform(low, high, size)
    return np.where(rng.random(size) < 0.5, far, ends * np.sqrt(-2 * far))


# name: (how the input is made, the target)
INPUTS = {
    "N(0, 1)": (lambda rng, size, info: rng.normal(0, 1, size), None),
    "N(0, 3)": (lambda rng, size, info: rng.normal(0, 3, size), NORMAL),
    "N(0, 30)": (lambda rng, size, info: rng.normal(0, 30, size), SPREAD),
    "U(-100, 100)": (lambda rng, size, info: rng.uniform(-100, 100, size), SPREAD),
    "wide exponents": (wide, SPREAD),
    "NaN": (constants(np.nan), NORMAL),
    "±0": (constants(0.0, -0.0), NORMAL),
    "±inf": (constants(np.inf, -np.inf), NORMAL),
    "one lane NaN": (
        lambda rng, size, info: np.where(rng.random(size) < 1 / 16, np.nan, rng.normal(0, 1, size)),
        NORMAL,
    ),
    "subnormal": (lambda rng, size, info: rng.uniform(-1, 1, size) * info.tiny, SUBNORMAL),
    "subnormal results": (tails, SUBNORMAL),
}


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--op", action="append", help="activation (repeat for more; all by default)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--size", type=int, default=30_000, help="elements (30000)")
    parser.add_argument("--seconds", type=float, default=0.15, help="for each operation (0.15)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every ratio there")
    options = parser.parse_args(arguments)
    try:
        chosen = peers.operations(options.op or ())
    except ValueError as error:
        parser.error(str(error))
    options.operations = [o for o in chosen if not o.is_reduction]
    return options


def given(operation, dtype, size, make):
    """The data of one measurement, its x made by `make`, and y from that."""
    data = peers.Data(operation, dtype, size)
    with np.errstate(over="ignore"):
        data.x[...] = make(np.random.default_rng(1), size, np.finfo(dtype))
    if data.y is not None:
        data.y = data._forward()
    return data


def ratios(operation, options):
    """{kind of input: its time over N(0, 1)'s}, in the same run."""
    jobs = {
        name: peers.prepare("fastrelu", operation, given(operation, options.dtype, options.size, make), 1)
        for name, (make, _) in INPUTS.items()
    }
    times = {name: timing.best for name, timing in interleaved(jobs, options.seconds).items()}
    return {name: times[name] / times["N(0, 1)"] for name in INPUTS}


def main(arguments=None):
    options = parse(arguments)
    found, above = {}, 0
    print(
        f"{configuration()['machine']['cpu']}, {options.dtype}, {options.size:,} elements, one thread: time"
    )
    print("over that on N(0, 1); ! is above the target")
    print(f"{'':28}" + "".join(f"{name:>18}" for name in INPUTS if name != "N(0, 1)"))
    with peers.session([], threads=1):
        for operation in options.operations:
            found[str(operation)] = ratios(operation, options)
            cells = []
            for name, (_, target) in INPUTS.items():
                if target:
                    ratio = found[str(operation)][name]
                    above += ratio > target
                    cells.append(f"{ratio:17.2f}{'!' if ratio > target else ' '}")
            print(f"{operation!s:28}" + "".join(cells), flush=True)
    targets = {name: target for name, (_, target) in INPUTS.items() if target}
    print(f"{above} above {', '.join(f'{target:g} ({name})' for name, target in targets.items())}")
    if options.json:
        record = {"configuration": configuration(), "targets": targets, "ratios": found}
        options.json.write_text(json.dumps(record, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
