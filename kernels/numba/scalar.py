"""The vocabulary of formulas on scalars, float32 and float64, in the names of ``simd/vec.h`` and ``wide.h``.

Plain IEEE arithmetic over what ``primitives`` gives: never fast-math, and nothing is contracted.  The build
copies this file and ``pair.py`` to ``kernels/cuda``, which has primitives of its own.
"""

from .primitives import (
    BIAS,
    INTEGER,
    by_width,
    fma,
    inline,
    nearest_integer_to_product,
    polynomial,
    power_of_two,
    select,
    square_root,
    stored_exponent,
    turn_sign,
)

__all__ = [
    "attached",
    "binade",
    "chain",
    "fma",
    "fused",
    "inline",
    "larger",
    "magnitude",
    "nearest_integer",
    "nearest_integer_to_product",
    "polynomial",
    "power_of_two",
    "product_error",
    "rough_polynomial",
    "rough_product",
    "rough_sum",
    "scaled",
    "select",
    "smaller",
    "square_root",
    "turn_sign",
    "where_eq",
    "where_ge",
    "where_gt",
]


ROUND = 1.5 * 2.0**23  # INTEGER of float32


@inline
def binade(a):
    """k for the largest 2^k not above a positive normal number."""
    return stored_exponent(a) - by_width(a, ROUND + 127, INTEGER + BIAS)


@inline
def nearest_integer(a):
    """The nearest integer to a float64 below 2^51 in size."""
    return (a + INTEGER) - INTEGER


@inline
def where_gt(a, b, yes, no):
    return select(a > b, yes, no)


@inline
def where_ge(a, b, yes, no):
    return select(a >= b, yes, no)


@inline
def where_eq(a, b, yes, no):
    return select(a == b, yes, no)


@inline
def larger(a, b):
    """The larger of the two; b where either is NaN."""
    return select(a > b, a, b)


@inline
def smaller(a, b):
    return select(a < b, a, b)


@inline
def magnitude(a):
    return abs(a)


fused = fma


@inline
def product_error(a, b, p):
    """The rounding error of the product p = a * b, exact."""
    return fma(a, b, -p)


@inline
def chain(dy, slope, vanishing):
    """dy * slope, and 0 wherever the slope is; of a slope that is NaN a negative NaN, as processors make."""
    still = where_eq(slope, slope, slope, -abs(slope))
    return where_gt(abs(slope), vanishing, dy * slope, still)


# A float32 computed in float64 has precision to spare: there the words of pairs are ordinary arithmetic.

rough_polynomial = polynomial


@inline
def rough_product(a, b):
    return a * b


@inline
def rough_sum(a, b):
    return a + b


@inline
def attached(a, b):
    return a + b


@inline
def scaled(a, scale):
    return a * scale


@inline
def normalised(a):
    return a


@inline
def settled(a):
    return a
