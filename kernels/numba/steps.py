"""The stepped sigmoid and its gradient in float64, element by element: fastrelu/reference/stepped.py.

The build copies this file to ``kernels/cuda``, where the same names mean the GPU's.
"""

import math

from numpy import float64

from .scalar import inline, nearest_integer
from .waves import cosine, exp, sine

__all__ = ["stepped_sigmoid", "stepped_sigmoid_backward"]

# Of the geometric series: exp(-TERMS)^j (-1)^(j+1) / (2 sinh(j / 2)) for j = POWERS, ..., 1.
TERMS, POWERS = 6, 8
SERIES = tuple((-1) ** (j + 1) * math.exp(-TERMS * j) / (2 * math.sinh(j / 2)) for j in range(POWERS, 0, -1))
STEPS = tuple(math.exp(0.5 - n) for n in range(TERMS, 0, -1))
TURN = 2 * math.pi
ALL_WHOLE = 2.0**51
WAVES = tuple((-1) ** k * TURN / math.sinh(2 * math.pi**2 * k) for k in (1, 2))


@inline
def below(x):
    """S at x <= 0."""
    e, total = exp(x), 0.0
    for coefficient in SERIES:
        total = (total + coefficient) * e
    for step in STEPS:
        total += e * step / (1.0 + e * step)
    return total


@inline
def below_slope(x):
    e, total, power = exp(x), 0.0, POWERS
    for coefficient in SERIES:
        total = (total + power * coefficient) * e
        power -= 1
    for step in STEPS:
        total += e * step / ((1.0 + e * step) * (1.0 + e * step))
    return total


@inline
def turns_of(x):
    fraction = x - nearest_integer(x)
    return fraction if abs(fraction) <= 0.5 else 0.0


@inline
def endless(x):
    total = below(-abs(x))
    if not x > 0.0:
        return total
    s, c = sine(turns_of(x)), cosine(turns_of(x))
    return x + (total + (WAVES[0] * s + WAVES[1] * (2.0 * s * c)))


@inline
def endless_slope(x):
    slope = below_slope(-abs(x))
    if not x > 0.0:
        return slope
    c = cosine(turns_of(x))
    return (1.0 - slope) + TURN * (WAVES[0] * c + 2.0 * WAVES[1] * (2.0 * c * c - 1.0))


@inline
def is_usable(units):
    return units >= 1.0 and (units >= ALL_WHOLE or nearest_integer(units) == units)


@inline
def stepped_sigmoid(x, units):
    x, units = float64(x), float64(units)
    if not is_usable(units):
        return math.nan
    if units == math.inf:
        return endless(x)
    near = units - x if x > 0.5 * units else x
    part = endless(near) - endless(near - units)
    return units - part if x > 0.5 * units else part


@inline
def stepped_sigmoid_backward(dy, x, units):
    dy, x, units = float64(dy), float64(x), float64(units)
    if not is_usable(units):
        return math.nan
    if units == math.inf:
        slope = endless_slope(x)
    else:
        near = units - x if x > 0.5 * units else x
        slope = endless_slope(near) - endless_slope(near - units)
    return slope if slope == 0.0 else dy * slope
