"""The vocabulary of formulas on pairs: the unevaluated sum of two float64, about 100 bits.

The names and the arithmetic are those of ``simd/wide.h``, which gives the source: high is always what plain
arithmetic would give, so infinities and NaN appear where a formula's ordinary reading says.
"""

from . import scalar
from .scalar import fma, inline, product_error, select

__all__ = [
    "add",
    "attached",
    "binade",
    "chain",
    "div",
    "magnitude",
    "mul",
    "mul_double",
    "narrow",
    "nearest_integer",
    "normalised",
    "power_of_two",
    "rough_polynomial",
    "rough_product",
    "rough_sum",
    "scaled",
    "settled",
    "square_root",
    "sub",
    "turn_sign",
    "where_eq",
    "where_ge",
    "where_gt",
    "widen",
]


@inline
def widen(a):
    return a, 0.0


@inline
def narrow(a):
    total = a[0] + a[1]
    total = select(total == total, total, a[0])  # low is NaN beside an infinite high
    return select(abs(a[1]) > 0.0, total, a[0])  # -0 + 0 would be +0


@inline
def add(a, b):
    s = a[0] + b[0]
    t = s - a[0]
    error = (a[0] - (s - t)) + (b[0] - t)
    return s, error + (a[1] + b[1])


@inline
def sub(a, b):
    s = a[0] - b[0]
    t = s - a[0]
    error = (a[0] - (s - t)) - (b[0] + t)
    return s, error + (a[1] - b[1])


@inline
def mul(a, b):
    p = a[0] * b[0]
    return p, fma(a[0], b[1], fma(a[1], b[0], product_error(a[0], b[0], p)))


@inline
def mul_double(a, c):
    """By a power of two, or where one rounding of the low part does not matter."""
    p = a[0] * c
    return p, fma(a[1], c, product_error(a[0], c, p))


@inline
def div(a, b):
    """One division: the remainder of the quotient corrects it."""
    inverse = 1.0 / b[0]
    q = a[0] * inverse
    p = q * b[0]
    rest = ((a[0] - p) - product_error(q, b[0], p)) + (a[1] - q * b[1])
    return q, rest * inverse


@inline
def square_root(a):
    """The remainder of the root corrects it; that of 0, and of infinity, has none."""
    root = scalar.square_root(a[0])
    square = root * root
    rest = ((a[0] - square) - product_error(root, root, square)) + a[1]
    low = rest / (root + root)
    return root, select(low == low, low, 0.0)


@inline
def rough_product(a, b):
    """Good to one rounding only: for terms that are small beside what they are added to."""
    return a[0] * b[0], 0.0


@inline
def rough_sum(a, b):
    """Of leading parts, with one rounding only: where it is known to have none."""
    return a[0] + b[0], 0.0


@inline
def attached(a, b):
    """a + b for a small b of one part, which joins the low one: for a factor, or a term of a sum."""
    return a[0], a[1] + b[0]


@inline
def rough_polynomial(x, coefficients):
    """In plain float64, likewise for small terms."""
    return scalar.polynomial(x[0], coefficients), 0.0


# Choices, by the leading part; comparisons with NaN are false.


@inline
def where_gt(a, b, yes, no):
    return select(a[0] > b[0], yes[0], no[0]), select(a[0] > b[0], yes[1], no[1])


@inline
def where_ge(a, b, yes, no):
    return select(a[0] >= b[0], yes[0], no[0]), select(a[0] >= b[0], yes[1], no[1])


@inline
def where_eq(a, b, yes, no):
    return select(a[0] == b[0], yes[0], no[0]), select(a[0] == b[0], yes[1], no[1])


# Sign and scale.


@inline
def magnitude(a):
    return abs(a[0]), scalar.turn_sign(a[1], a[0])


@inline
def turn_sign(a, s):
    return scalar.turn_sign(a[0], s[0]), scalar.turn_sign(a[1], s[0])


@inline
def nearest_integer(a):
    return scalar.nearest_integer(a[0]), 0.0


@inline
def binade(a):
    return scalar.binade(a[0]), 0.0


@inline
def power_of_two(k):
    return scalar.power_of_two(k[0]), 0.0


@inline
def scaled(a, scale):
    """a times a power of two."""
    return a[0] * scale[0], a[1] * scale[0]


@inline
def normalised(a):
    """The same finite number with low at most half a unit of high."""
    total = a[0] + a[1]
    return total, a[1] - (total - a[0])


@inline
def settled(a):
    """The same for any number, so that scaling it into the subnormals rounds once."""
    value = narrow(a)
    return value, a[1] - (value - a[0])


@inline
def chain(dy, slope):
    """dy * slope, and 0 wherever the slope is; of a slope that is NaN the positive NaN."""
    still = where_eq(slope, slope, slope, magnitude(slope))
    return where_gt(magnitude(slope), (0.0, 0.0), mul(dy, slope), still)
