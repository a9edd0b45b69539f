"""Accuracy of the reductions: rows on which digits are lost, against references of 200 bits; the page.

    python tests/reduction_accuracy.py --write docs/reductions-accuracy.md

About two minutes and 3 GB of memory, for the rows of 100 million entries; `--long 1e6` takes shorter ones.
"""

import argparse
import sys
from pathlib import Path

import mpmath as mp
import numpy as np
from ulp import error, exact

import fastrelu as fr
from fastrelu.config import configuration

DIGITS = 60
DTYPES = (np.float32, np.float64, np.float16)
DEEP = {np.float16: 9, np.float32: 86, np.float64: 700, np.longdouble: 11000}  # exp(-DEEP) is still normal
STRICT = ("dominated", "deep")  # judged relatively, however small the result
BEGINNING = 100_000  # entries of a long row that have all of its numbers among them
BOUND = {"softmax": 2.0, "softmax0": 2.0}  # 1 for the others

# Rows


def families(dtype):
    """Name -> rows of one length."""
    rng = np.random.default_rng(11)
    deep, normal = DEEP[dtype], rng.normal(size=(6, 257))
    made = {
        "dominated": [[0, -deep / 2, -deep], [-deep, 0, -deep / 3], [0, -8, -deep], [3, -14, -14.5]],
        "deep": [[0, -share * deep] for share in (0.5, 0.8, 0.95, 1.0, 1.03)],
        "one": [[0.0], [-2.5], [1e4]],
        "two": [[0, 0], [0, -1e-3], [1, 1.5], [-30, -30.25], [0, -17], [5, -1e4]],
        "flat": [[v] * 100 for v in (0, 1, -1, 0.3, 77, -900)],
        "normal": normal,
        "wide": 20 * normal,
        "spread": [np.linspace(0, -1.03 * deep, 200), np.linspace(-1e3, -1e3 + deep, 200)],
        "high": 1e4 + normal,
        "low": -1e4 + normal,
        "alternating": [[40, -40] * 64, [1, 1 - 1e-3] * 64, [0, -1e-6] * 64],
        "cancelling": normal[:, :50] - np.log(np.exp(normal[:, :50]).sum(axis=1, keepdims=True)),
        "long": 3 * rng.normal(size=(1, 3001)),
        "subnormal": [np.arange(9) * np.finfo(dtype).smallest_subnormal],
        "infinities": [[-np.inf, 0.5, -np.inf, -3], [1, np.inf, -np.inf, 2], [-np.inf] * 4],
    }
    return {name: np.array(rows, dtype) for name, rows in made.items()}


def long_rows(dtype, size):
    """Name -> the numbers that a long row is made of, and how many it has of each; and the row."""
    rng = np.random.default_rng(12)
    values = {
        "equal": [0.3],
        "random": 3 * rng.normal(size=100),
        "alternating magnitudes": [4, -4, 4, -8],
        "one above all others": [12, *(-2 - rng.random(50))],
    }
    for name, numbers in values.items():
        numbers = np.unique(np.array(numbers, dtype))
        if name == "random":
            which = rng.integers(0, len(numbers), size, np.uint8)
        elif name == "one above all others":
            which = rng.integers(0, len(numbers) - 1, size, np.uint8)
            which[:BEGINNING][-1] = len(numbers) - 1
        else:
            which = np.resize(np.arange(len(numbers), dtype=np.uint8), size)
        yield name, numbers, np.bincount(which, minlength=len(numbers)), numbers[which]


# What is true


def true_parts(x, counts=None):
    """The largest entry, x - m, and the sum of exp(x - m) without one largest entry."""
    counts = [1] * len(x) if counts is None else counts
    i = max(range(len(x)), key=x.__getitem__)
    m = x[i]
    d = [v - m if mp.isfinite(m) else mp.mpf(0) if v == m else -mp.inf for v in x]
    return m, d, mp.fsum((c - (j == i)) * mp.exp(v) for j, (v, c) in enumerate(zip(d, counts, strict=True)))


def truth(name, x, counts=None):
    """The result of a function without weights: one number for sums, one an entry otherwise."""
    if name.endswith("0"):
        found = truth(name[:-1], [*x, mp.mpf(0)], None if counts is None else [*counts, 1])
        return found if name == "logsumexp0" else found[:-1]
    m, d, rest = true_parts(x, counts)
    if name == "logsumexp":
        return [m if not mp.isfinite(m) else m + mp.log1p(rest)]
    if m == -mp.inf:
        return [mp.nan] * len(x)
    if name == "softmax":
        return [mp.exp(v) / (1 + rest) for v in d]
    return [v - mp.log1p(rest) for v in d]


def judged(name, row, got, *, strict=False, counts=None):
    """The largest error of one row in ULP; not `strict`: with the unit floored at that of 1/2."""
    floor = 0 if strict or name in BOUND else 0.5
    true = truth(name, [exact(v) for v in row], counts)
    return max(error(g, t, floor=floor) for g, t in zip(np.atleast_1d(got), true, strict=True))


def judged_with_weights(row, weights, value, sign):
    """The same of logsumexp with weights, over the condition number; infinite if the sign is wrong."""
    terms = [exact(w) * mp.exp(exact(v)) for v, w in zip(row, weights, strict=True)]
    total = mp.fsum(terms)
    if sign != mp.sign(total):
        return np.inf
    if total == 0:
        return 0.0 if value == -np.inf else np.inf
    return error(value, mp.log(abs(total)), floor=0.5) / float(mp.fsum(map(abs, terms)) / abs(total))


# Measuring

PLAIN = ("logsumexp", "softmax", "log_softmax", "logsumexp0", "softmax0")
WEIGHTED = {"logsumexp, b > 0": False, "logsumexp, b of both signs": True}


def largest_error(name, rows, *, strict=False):
    """Of one function without weights over rows; what must be -inf or NaN and is not, is infinitely wrong."""
    got = getattr(fr, name)(rows, axis=1)
    with mp.workdps(DIGITS):
        return max(judged(name, row, values, strict=strict) for row, values in zip(rows, got, strict=True))


def largest_weighted_error(rows, signed):
    rng = np.random.default_rng(13)
    b = rng.lognormal(size=rows.shape) * (rng.choice([-1, 1], rows.shape) if signed else 1)
    b = b.astype(np.float32 if rows.dtype.itemsize == 2 else rows.dtype)
    got = fr.logsumexp(rows, axis=1, b=b, return_sign=True)
    with mp.workdps(DIGITS):
        return max(judged_with_weights(*row) for row in zip(rows, b, *got, strict=True))


def in_chunks(row):
    """logsumexp by LogSumExp, from chunks merged in another order."""
    parts = []
    for chunk in np.array_split(row, min(len(row), 10)):
        parts.append(fr.LogSumExp(dtype=row.dtype))
        parts[-1].update(chunk)
    whole = fr.LogSumExp(dtype=row.dtype)
    for part in reversed(parts):
        whole.merge(part)
    return whole.result()


def largest_streamed_error(rows, *, strict=False):
    with mp.workdps(DIGITS):
        return max(judged("logsumexp", row, in_chunks(row), strict=strict) for row in rows)


def of_families(dtype):
    """Yields family, {function: ULP}."""
    for name, rows in families(dtype).items():
        strict = name in STRICT
        found = {f: largest_error(f, rows, strict=strict and f != "logsumexp0") for f in PLAIN}
        if name != "infinities":
            found |= {f: largest_weighted_error(rows, signed) for f, signed in WEIGHTED.items()}
        yield name, found | {"LogSumExp": largest_streamed_error(rows, strict=strict)}


def of_long_rows(dtype, size):
    """The same of long rows; functions with a value an entry are judged at one entry of each number."""
    for name, numbers, counts, row in long_rows(dtype, size):
        some = [int(np.argmax(row[:BEGINNING] == v)) for v in numbers]
        found = {}
        with mp.workdps(DIGITS):
            for f in ("logsumexp", "softmax", "log_softmax"):
                got = getattr(fr, f)(row)
                got = got if f == "logsumexp" else got[some]
                found[f] = judged(f, numbers, got, counts=counts.tolist())
            found["LogSumExp"] = judged("logsumexp", numbers, in_chunks(row), counts=counts.tolist())
        yield name, found


# The page

HEAD = """\
# LogSumExp, softmax and their family: accuracy, measured

Written by `python tests/reduction_accuracy.py --write docs/reductions-accuracy.md`, {where}.

Largest errors in units in the last place (ULP) over rows of each family, against references of {bits} bits
(mpmath). The unit of logsumexp and log_softmax is floored at that of ½, but not on dominated and deep rows;
errors with weights are over the condition number. Long rows consist of few different numbers, so that their
references are sums of few terms. LogSumExp has seen the row in ten chunks, merged backwards. Bounds: 2 ULP
for softmax and softmax0, 1 for the others. Missed: {missed}.
"""


def table(found):
    names = list(dict.fromkeys(name for _, errors in found for name in errors))
    lines = ["| rows | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for family, errors in found:
        cells = [f"{errors[n]:.3f}" if n in errors else "" for n in names]
        lines.append(f"| {family} | {' | '.join(cells)} |")
    return "\n".join(lines)


def measured(size):
    """Yields the title of a table and its rows."""
    for dtype in DTYPES:
        name = np.dtype(dtype).name
        yield name, list(of_families(dtype))
        yield f"{name}, rows of {size:,} entries", list(of_long_rows(dtype, size))


def beyond(tables):
    """What is beyond its bound, in words."""
    for title, found in tables:
        for family, errors in found:
            for function, ulp in errors.items():
                if not ulp <= BOUND.get(function, 1.0):
                    yield f"{function} of {family}, {title}: {ulp:.3f}"


def page(tables):
    about = configuration()
    where = f"{about['machine']['cpu']}, {about['instruction sets']['chosen']}, NumPy {np.__version__}"
    with mp.workdps(DIGITS):
        text = [HEAD.format(where=where, bits=mp.mp.prec, missed="; ".join(beyond(tables)) or "none")]
    for title, found in tables:
        text += [f"## {title}\n", table(found), ""]
    return "\n".join(text)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="the page; printed unless given")
    parser.add_argument("--long", type=lambda n: int(float(n)), default=10**8, help="entries of a long row")
    options = parser.parse_args(arguments)
    tables = list(measured(options.long))
    text = page(tables)
    if options.write is None:
        print(text)
    else:
        options.write.write_text(text)
    missed = list(beyond(tables))
    print(*missed, sep="\n", file=sys.stderr)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
