"""The words that reductions need of both kinds of precision: float64 for float32, pairs for float64.

Each is one function of compiled code that takes either; a constant or a sum of plain numbers is made of the
kind of `like`.
"""

from numba import types
from numba.extending import overload

from . import formulas, pair, scalar
from .primitives import by_type, inline

__all__ = [
    "add",
    "binade",
    "constant",
    "div",
    "expm1_nonpositive",
    "fetch",
    "log_of_excess",
    "mul",
    "narrow",
    "normalised",
    "parts_of",
    "power_of_two",
    "scaled",
    "store",
    "sub",
    "weighted_term",
    "where_eq",
    "where_ge",
    "where_gt",
    "widen",
]


def by_kind(of_float, of_pair):
    """A function for compiled code that calls one of two, by the kind of its first argument."""

    def of_kind(*inputs):
        raise NotImplementedError("only compiled code calls this")

    @overload(of_kind)
    def chosen(*inputs):
        function = of_pair if isinstance(inputs[0], types.BaseTuple) else of_float
        return lambda *inputs: function(*inputs)

    return of_kind


@inline
def _float_add(a, b):
    return a + b


@inline
def _float_sub(a, b):
    return a - b


@inline
def _float_mul(a, b):
    return a * b


@inline
def _float_div(a, b):
    return a / b


@inline
def _float_constant(like, high, low):
    return high


@inline
def _pair_constant(like, high, low):
    return high, low


@inline
def _float_narrow(a):
    return types.float32(a)


@inline
def _float_widen(a):
    return types.float64(a)


@inline
def _float_store(value, high, low, j):
    high[j] = value


@inline
def _pair_store(value, high, low, j):
    high[j], low[j] = value


@inline
def _float_fetch(like, high, low, j):
    return high[j]


@inline
def _pair_fetch(like, high, low, j):
    return high[j], low[j]


@inline
def _float_parts(a):
    return a, 0.0


@inline
def _pair_parts(a):
    return a


widen = by_type(_float_widen, pair.widen)
narrow = by_kind(_float_narrow, pair.narrow)
constant = by_kind(_float_constant, _pair_constant)
store = by_kind(_float_store, _pair_store)
fetch = by_kind(_float_fetch, _pair_fetch)
parts_of = by_kind(_float_parts, _pair_parts)
add = by_kind(_float_add, pair.add)
sub = by_kind(_float_sub, pair.sub)
mul = by_kind(_float_mul, pair.mul)
div = by_kind(_float_div, pair.div)
scaled = by_kind(scalar.scaled, pair.scaled)
normalised = by_kind(scalar.normalised, pair.normalised)
binade = by_kind(scalar.binade, pair.binade)
power_of_two = by_kind(scalar.power_of_two, pair.power_of_two)
where_eq = by_kind(scalar.where_eq, pair.where_eq)
where_ge = by_kind(scalar.where_ge, pair.where_ge)
where_gt = by_kind(scalar.where_gt, pair.where_gt)
weighted_term = by_kind(formulas.weighted_term_wide_f, formulas.weighted_term_wide_d)
log_of_excess = by_kind(formulas.log_of_excess_wide_f, formulas.log_of_excess_wide_d)
expm1_nonpositive = by_kind(formulas.expm1_nonpositive_wide_f, formulas.expm1_nonpositive_wide_d)
