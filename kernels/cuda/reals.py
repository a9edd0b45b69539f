"""What the kernels of rows compute in, by dtype: numbers for entries, and wider ones for whole rows.

              entries   sums of them        of a row
    halves    float32   float32             float32
    float32   float32   pairs of float32    float64
    float64   float64   pairs of float64    pairs of float64

A `Reals` holds the words of one dtype as functions, by the names of ``kernels/numba/both.py``, for the
kernels to close over: so a kernel of halves holds no instruction of float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from . import formulas, pair, scalar
from .primitives import fma, inline, nearest_integer_to_product, power_of_two, select, stored_exponent
from .scalar import larger
from .team import fold, fold_pairs

__all__ = ["REALS", "Reals", "larger_or_nan"]

FLOAT, DOUBLE = np.float32, np.float64
FIRST_EXPONENT = FLOAT(1.5 * 2.0**23 + 127)  # what the exponent of a float32 is stored upon


@inline
def larger_or_nan(a, b):
    """The larger of the two; NaN where either is."""
    return select(a == a, larger(a, b), a)


@inline
def _same(a):
    return a


# Numbers of one part


@inline
def _add(a, b):
    return a + b


@inline
def _sub(a, b):
    return a - b


@inline
def _mul(a, b):
    return a * b


@inline
def _div(a, b):
    return a / b


@inline
def _first(high, low):
    return high


@inline
def _and_0(a):
    return a, 0.0


@inline
def _first_of_pair(a):
    return a[0]


@inline
def _is_one(a):
    return a == 1


@inline
def _to_float(a):
    return FLOAT(a)


@inline
def _to_double(a):
    return DOUBLE(a)


@inline
def _float_constant(high, low):
    return FLOAT(high)


@inline
def _double_constant(high, low):
    return DOUBLE(high)


@inline
def _float_parts(a):
    return a, FLOAT(0)


@inline
def _double_parts(a):
    """In two float32."""
    high = FLOAT(a)
    low = FLOAT(a - DOUBLE(high))
    return high, select(low == low, low, FLOAT(0))


# 2^exponent / exp(x), which is near 1; `excess` is what exp(x) has beside 2^exponent, a little rounded


@inline
def _float_leading(x, exponent, excess):
    return FLOAT(1) / (FLOAT(1) + excess)


@inline
def _double_leading(x, exponent, excess):
    return formulas.leading_factor_wide_f(DOUBLE(x), DOUBLE(exponent))


@inline
def _pair_leading(x, exponent, excess):
    return formulas.leading_factor_wide_d(pair.widen(x), pair.widen(exponent))


@inline
def _float_binade(a):
    return stored_exponent(a) - FIRST_EXPONENT


@inline
def _float_log_of_excess(v):
    return formulas.plain_log1p_vec_f(v, FLOAT(1))


@inline
def _float_rescaled(total, difference):
    """total * exp(difference); one below -120 leaves nothing."""
    a = larger(FLOAT(-120), difference)
    k = formulas.entry_exponent_vec_f(a)
    t = formulas.entry_excess_vec_f(a, k)
    part = nearest_integer_to_product(k, 0.5)
    power = power_of_two(part)
    return total * fma(power, t, power) * power_of_two(k - part)


# Pairs


@inline
def _pair_constant(high, low):
    return DOUBLE(high), DOUBLE(low)


@inline
def _pair(high, low):
    return high, low


@inline
def _pair_is_one(a):
    return a[0] == 1


@inline
def _pair_parts(a):
    return a[0], select(a[1] == a[1], a[1], DOUBLE(0))


@inline
def _pair_where(condition, yes, no):
    return select(condition, yes[0], no[0]), select(condition, yes[1], no[1])


# A term's share of a row in plain numbers: float64 for float32, else the entries' own


@inline
def _product(term, factor):
    return term * factor


@inline
def _product_in_double(term, factor):
    return DOUBLE(term) * factor


@inline
def _product_with_pair(term, factor):
    return fma(term, factor[0], term * factor[1])


# A term and what its rounding has lost, added to a sum in one part or in two; and what that comes to


@inline
def _add_to_one(high, low, term, error):
    return high + term, low


@inline
def _add_to_two(high, low, term, error):
    s = high + term
    t = s - high
    return s, low + (((high - (s - t)) + (term - t)) + error)


@inline
def _sum_of_one(high, low):
    return high


@inline
def _sum_of_floats(high, low):
    return DOUBLE(high) + DOUBLE(select(low == low, low, FLOAT(0)))


@inline
def _sum_of_doubles(high, low):
    return pair.normalised((high, low))


# (x - top) - (high + low), rounded once; infinite where x is


@inline
def _below_one(x, top, high, low):
    return (x - top) - high


@inline
def _below_two(x, top, high, low):
    s = x - top
    t = s - x
    lost = (x - (s - t)) - (top + t)
    r = s - high
    t = r - s
    y = r + ((lost - low) + ((s - (r - t)) - (high + t)))
    return select(y == y, y, s)


@dataclass(frozen=True)
class Reals:
    """What a dtype is computed in.

    Attributes
    ----------
    value : type
        Of entries in registers.
    wide : type or None
        Of what stands for a row; None: pairs.
    bias, depth, shifted : number
        Terms are kept times 2^bias, so that none is subnormal; those below 2^-depth of the largest are 0.  A
        maximum beyond `shifted` is subtracted before exp, which is exact for every entry that matters.
    words : SimpleNamespace
        Functions of device code.
    """

    value: type
    wide: type | None
    bias: int
    depth: int
    shifted: float
    words: SimpleNamespace = field(repr=False)

    def folds(self, across):
        """Functions that a team folds with: the largest entry, sums of entries and of wide numbers."""
        largest, total = (fold(f, self.value, across) for f in (larger_or_nan, _add))
        if self.wide is None:
            return largest, total, fold_pairs(pair.add, across)
        return largest, total, fold(_add, self.wide, across)


ONE_PART = {
    **{"add": _add, "sub": _sub, "mul": _mul, "div": _div, "normalised": _same, "is_one": _is_one},
    **{"power_of_two": power_of_two, "where": select, "two": _and_0, "wide": _first},
    **{"leading_part": _same, "plain": _same, "of_plain": _same},
}
PAIRS = {
    name: getattr(pair, name)
    for name in ("add", "sub", "mul", "div", "normalised", "power_of_two", "binade", "widen", "narrow")
}
HALVES = Reals(
    *(FLOAT, FLOAT, 64, 190, 300.0),
    SimpleNamespace(
        **ONE_PART,
        exponent=formulas.entry_exponent_vec_f,
        excess=formulas.entry_excess_vec_f,
        widen=_same,
        narrow=_same,
        constant=_float_constant,
        parts=_float_parts,
        binade=_float_binade,
        leading=_float_leading,
        log_of_excess=_float_log_of_excess,
        rescaled=_float_rescaled,
        plain_type=FLOAT,
        share_of=_product,
        value_binade=_float_binade,
        add_term=_add_to_one,
        sum_of=_sum_of_one,
        below=_below_one,
    ),
)
FLOATS = Reals(
    *(FLOAT, DOUBLE, 64, 190, 300.0),
    SimpleNamespace(
        **ONE_PART,
        exponent=formulas.entry_exponent_vec_f,
        excess=formulas.entry_excess_vec_f,
        widen=_to_double,
        narrow=_to_float,
        constant=_double_constant,
        parts=_double_parts,
        binade=scalar.binade,
        leading=_double_leading,
        log_of_excess=formulas.log_of_excess_wide_f,
        rescaled=formulas.rescaled_sum_wide_f,
        plain_type=DOUBLE,
        share_of=_product_in_double,
        value_binade=_float_binade,
        add_term=_add_to_two,
        sum_of=_sum_of_floats,
        below=_below_two,
    ),
)
DOUBLES = Reals(
    *(DOUBLE, None, 512, 1200, 1700.0),
    SimpleNamespace(
        **PAIRS,
        exponent=formulas.entry_exponent_vec_d,
        excess=formulas.entry_excess_vec_d,
        constant=_pair_constant,
        parts=_pair_parts,
        is_one=_pair_is_one,
        two=_same,
        wide=_pair,
        where=_pair_where,
        leading=_pair_leading,
        log_of_excess=formulas.log_of_excess_wide_d,
        rescaled=formulas.rescaled_sum_wide_d,
        plain_type=DOUBLE,
        leading_part=_first_of_pair,
        plain=pair.narrow,
        of_plain=pair.widen,
        share_of=_product_with_pair,
        value_binade=scalar.binade,
        add_term=_add_to_two,
        sum_of=_sum_of_doubles,
        below=_below_two,
    ),
)
REALS = {"e": HALVES, "b": HALVES, "f": FLOATS, "d": DOUBLES}
