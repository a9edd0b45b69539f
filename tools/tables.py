"""Fit the tables of kernels/math/tables.py and write their entries to kernels/math/tables.bin.

    python tools/tables.py                  rewrite all (a few minutes on two cores)
    python tools/tables.py --check [N]      refit every N-th entry (default 61), and fail if one differs

Each entry interpolates its function at Chebyshev nodes; the last coefficient is cut to the bits it has, the
others are refitted to what it became, and c0 is centred between the largest errors before its low part is
packed, which changes the last coefficient again: so three rounds, and the best is kept.
"""

import argparse
import importlib.util
import multiprocessing
import struct
import sys
from pathlib import Path

import mpmath as mp

MATH = Path(__file__).resolve().parent.parent / "kernels" / "math"
DIGITS = 40


def load(name):
    spec = importlib.util.spec_from_file_location(f"fastrelu_{name}", MATH / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SPEC = load("tables")
FLOAT, WORD = {"f": "<f", "d": "<d"}, {"f": "<I", "d": "<Q"}


# The functions

SELU_LAMBDA_ALPHA = load("coefficients").SELU_LAMBDA_ALPHA


def normal(x):
    """The standard normal distribution function."""
    return mp.erfc(-x / mp.sqrt(2)) / 2


def gelu_slope(x):
    return normal(x) + x * mp.npdf(x)


def sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def sqrt_sigmoid(x):
    return mp.sqrt(sigmoid(x))


def gelu_tanh_exponent(x):
    return 2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)


def gelu_tanh_ratio(x):
    """gelu_tanh(x) / x."""
    return sigmoid(gelu_tanh_exponent(x))


def gelu_tanh_slope(x):
    s = gelu_tanh_ratio(x)
    growth = 2 * mp.sqrt(2 / mp.pi) * (x + 3 * mp.mpf("0.044715") * x**3)
    return s + s * sigmoid(-gelu_tanh_exponent(x)) * growth


def sigmoid_slope(x):
    return sigmoid(x) * sigmoid(-x)


def silu_slope(x):
    return sigmoid(x) * (1 + x * sigmoid(-x))


def softplus(x):
    return mp.log1p(mp.exp(x))


def mish_ratio(x):
    """mish(x) / x = tanh(softplus(x))."""
    n = mp.exp(x) * (mp.exp(x) + 2)
    return n / (n + 2)


def mish_slope(x):
    ratio = mish_ratio(x)
    return ratio + x * (1 - ratio**2) * sigmoid(x)


def tanh_ratio(x):
    return mp.tanh(x) / x if x else mp.mpf(1)


def expm1_ratio(x):
    return mp.expm1(x) / x if x else mp.mpf(1)


def exp(x):
    return mp.exp(x)


def tanhshrink(x):
    return x - mp.tanh(x)


def tanhshrink_slope(x):
    return mp.tanh(x) ** 2


def log1mexp(x):
    return mp.log(-mp.expm1(-x))


def log1mexp_slope(x):
    return 1 / mp.expm1(x)


def softplus_inverse_ratio(x):
    """softplus_inverse(x) / (x - log(2)), which no table comes near the root of."""
    return mp.log(mp.expm1(x)) / (x - mp.log(2))


def softplus_inverse_slope(x):
    return -1 / mp.expm1(-x)


def selu_ratio(x):
    """selu(x) / x for x < 0."""
    return mp.fsum(SELU_LAMBDA_ALPHA) * expm1_ratio(x)


def selu_slope(x):
    """That of x < 0."""
    return mp.fsum(SELU_LAMBDA_ALPHA) * mp.exp(x)


# Words


def word(value, kind):
    return struct.unpack(WORD[kind], struct.pack(FLOAT[kind], float(value)))[0]


def unword(bits, kind):
    return mp.mpf(struct.unpack(FLOAT[kind], struct.pack(WORD[kind], bits))[0])


def rounded(value, kind):
    return unword(word(value, kind), kind)


def pack_last(last, low, kind):
    """The word nearest to `last` that carries the upper bits of `low`, and `low` as it will be read."""
    share = SPEC.LOW_BITS[kind]
    shift = 8 * struct.calcsize(WORD[kind]) - share
    low_bits = min((word(low, kind) + (1 << (shift - 1))) >> shift, (1 << share) - 1) if low else 0
    base = word(last, kind) >> share
    choices = [((base + step) << share) | low_bits for step in (-1, 0, 1) if base + step >= 0]
    return min(choices, key=lambda bits: abs(unword(bits, kind) - last)), unword(low_bits << shift, kind)


# Fitting


def fit(table, index):
    """The words of one entry, and its error at the nodes relative to the function."""
    kind, columns = table.type, SPEC.COLUMNS[table.type]
    if (table.zero_first and index == 0) or (table.one_last and index == table.entries - 1):
        return [word(1.0 if index else 0.0, kind)] + [0] * (columns - 1), mp.mpf(0)
    step, point = mp.mpf(table.step(index)), mp.mpf(table.point(index))
    scale = table.scale if point < table.scaled_below else 1
    f = globals()[table.function]
    unit = [mp.cos(mp.pi * (2 * i + 1) / (2 * columns)) for i in range(columns)]
    nodes = [u * step / 2 for u in unit]
    ends = [d ** (columns - 1) * ((point * d - table.bend) if table.bend else 1) for d in nodes]
    values = [f(point + d) * scale for d in nodes]
    powers = [[d**j for j in range(columns - 1)] for d in nodes]
    even = mp.matrix([[u**j for j in range(columns - 1)] for u in unit])  # well conditioned for any step
    interpolant = mp.lu_solve(
        mp.matrix([[*row, end] for row, end in zip(powers, ends, strict=True)]), mp.matrix(values)
    )
    bits, low, best = pack_last(interpolant[columns - 1], 0, kind)[0], mp.mpf(0), None
    for _ in range(3):
        last = unword(bits, kind)
        rest = [y - last * end for y, end in zip(values, ends, strict=True)]
        solved = mp.lu_solve(even, mp.matrix(rest))  # least squares
        kept = [rounded(c / (step / 2) ** j, kind) for j, c in enumerate(solved)]
        missing = [
            y - sum(c * p for c, p in zip(kept[1:], row[1:], strict=True))
            for y, row in zip(rest, powers, strict=True)
        ]
        centre = f(point) * scale if point == 0 else (max(missing) + min(missing)) / 2
        c0 = rounded(centre, kind)
        if point == 0 and c0 > centre:  # low >= 0 there, or x = -0 would come out as +0
            c0 = unword(word(c0, kind) - 1, kind)
        bits, low = pack_last(interpolant[columns - 1], centre - c0, kind)
        change = unword(bits, kind) - last
        error = max(
            abs((c0 + low + change * end - m) / y) for m, end, y in zip(missing, ends, values, strict=True)
        )
        if best is None or error < best[1]:
            best = [word(c0, kind), *(word(c, kind) for c in kept[1:]), bits], error
    return best


def fit_all(job):
    table, indices = job
    with mp.workdps(DIGITS):
        return [fit(table, index) for index in indices]


def packed(words, kind):
    return b"".join(struct.pack(WORD[kind], w) for w in words)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", type=int, nargs="?", const=61, metavar="N", help="refit every N-th entry")
    every = parser.parse_args().check
    stored = SPEC.words() if every else {}
    data, wrong = b"", []
    with multiprocessing.Pool() as pool:
        for table in SPEC.TABLES:
            indices = range(0, table.entries, every or 1)
            parts = [(table, indices[start : start + 50]) for start in range(0, len(indices), 50)]
            fitted = [entry for part in pool.map(fit_all, parts, chunksize=1) for entry in part]
            entries = [packed(words, table.type) for words, _ in fitted]
            if every:
                wrong += [
                    f"{table.name}[{i}]"
                    for i, entry in zip(indices, entries, strict=True)
                    if entry != stored[table.name][i]
                ]
                continue
            data += b"".join(entries)
            worst, where = max((error, index) for index, (_, error) in enumerate(fitted))
            x = table.point(where)
            size = len(entries) * len(entries[0]) / 1024
            error = f"2^{float(mp.log(worst, 2)):.1f}"
            print(
                f"{table.name}: {table.entries} entries, {size:.0f} KiB, error {error} near {x}", flush=True
            )
    if wrong:
        sys.exit(f"kernels/math/tables.bin is not what tools/tables.py computes: {', '.join(wrong[:10])}")
    if not every:
        SPEC.PATH.write_bytes(data)


if __name__ == "__main__":
    main()
