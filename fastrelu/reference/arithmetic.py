"""What the reference is made of: exact sums and products, exponentials that die late, the Mills ratio.

Every function takes and gives arrays of one dtype, float64 or longdouble.  A pair (high, low)
stands for the number high + low, with about twice the digits of its dtype.
"""

from __future__ import annotations

import functools

import numpy as np

INVERSE_SQRT_2PI = "0.39894228040143267793994605993438186847585863116493"
MILLS_END = 39.5  # up to here the Mills ratio is a fitted polynomial


@functools.cache
def pair(text, dtype):
    """The number `text` to twice the precision of dtype: (high, low) with number = high + low."""
    from fractions import Fraction  # brings decimal along, and is rarely needed

    high = dtype.type(text)
    return high, dtype.type(float(Fraction(text) - Fraction(*high.as_integer_ratio())))


def two_sum(a, b):
    """a + b as high + low, exactly (Knuth)."""
    high = a + b
    rest = high - a
    return high, (a - (high - rest)) + (b - rest)


def _split(a):
    digits = np.finfo(a.dtype).nmant + 1
    shifted = a * a.dtype.type(2 ** ((digits + 1) // 2) + 1)
    head = shifted - (shifted - a)
    return head, a - head


def two_product(a, b):
    """a * b as high + low, exactly unless it underflows (Dekker); low is 0 where high is not finite."""
    # of the mantissas, so that the splitting cannot overflow
    (a, i), (b, j) = np.frexp(a), np.frexp(b)
    (a_head, a_tail), (b_head, b_tail) = _split(a), _split(b)
    high = a * b
    low = ((a_head * b_head - high) + a_head * b_tail + a_tail * b_head) + a_tail * b_tail
    return np.ldexp(high, i + j), np.where(np.isfinite(high), np.ldexp(low, i + j), 0)


def decay(factor, high, low=0, exponent=0):
    """factor * 2**exponent * exp(high + low) for high <= 0; 0 where exp has died, whatever the factor.

    The exponential alone would underflow before its product with a large factor does, and
    lose digits on the way: below the floor it is taken in parts, multiplied one by one.
    """
    info = np.finfo(high.dtype)
    floor = np.trunc(np.log(info.tiny) * high.dtype.type(0.98))
    top = np.maximum(high, floor)
    rest = np.exp((high - top) / 2)
    e = np.exp(top)
    inside = np.clip(exponent, 0, info.maxexp - 32)  # as early as it can be without overflow
    product = np.ldexp(np.ldexp(factor, inside) * (e + e * low), np.maximum(exponent - inside, 0))
    product = np.ldexp(product * rest * rest, np.minimum(exponent, 0))
    return np.where(rest == 0, np.copysign(0, factor), product)


def mills(z):
    """exp(z**2 / 2) * Phi(-z) for z >= 0, the Mills ratio over sqrt(2 pi)."""
    c, d, polynomial = _mills_coefficients(z.dtype)
    t = (z - c) / (z + c)
    value = functools.reduce(lambda total, coefficient: total * t + coefficient, polynomial) / (z + d)
    if np.any(z > MILLS_END):  # only in long double: Laplace's continued fraction
        fraction = functools.reduce(lambda fraction, k: z + k / fraction, range(14, 0, -1), z)
        value = np.where(z > MILLS_END, z.dtype.type(INVERSE_SQRT_2PI) / fraction, value)
    return value


@functools.cache
def _mills_coefficients(dtype):
    from ..kernels.math import coefficients as c

    return c.MILLS_EXACT_C, c.MILLS_EXACT_D, tuple(dtype.type(text) for text in c.MILLS_EXACT)
