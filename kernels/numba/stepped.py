"""The stepped sigmoid and its gradient for Numba: fastrelu/reference_stepped.py, element by element."""

import functools
import math

import numba
from numpy import float64

from .elementwise import TYPES, compiled
from .scalar import inline

__all__ = ["backward", "forward"]

# Of the geometric series: exp(-TERMS)^j (-1)^(j+1) / (2 sinh(j / 2)) for j = POWERS, ..., 1.
TERMS, POWERS = 6, 8
SERIES = tuple((-1) ** (j + 1) * math.exp(-TERMS * j) / (2 * math.sinh(j / 2)) for j in range(POWERS, 0, -1))
STEPS = tuple(math.exp(0.5 - n) for n in range(TERMS, 0, -1))
TURN = 2 * math.pi
WAVES = tuple((-1) ** k * TURN / math.sinh(2 * math.pi**2 * k) for k in (1, 2))


@inline
def below(x):
    """S at x <= 0."""
    e, total = math.exp(x), 0.0
    for coefficient in SERIES:
        total = (total + coefficient) * e
    for step in STEPS:
        total += e * step / (1.0 + e * step)
    return total


@inline
def below_slope(x):
    e, total, power = math.exp(x), 0.0, POWERS
    for coefficient in SERIES:
        total = (total + power * coefficient) * e
        power -= 1
    for step in STEPS:
        total += e * step / ((1.0 + e * step) * (1.0 + e * step))
    return total


@inline
def angle_of(x):
    fraction = x - math.floor(x + 0.5)
    return TURN * fraction if abs(fraction) <= 0.5 else 0.0


@inline
def endless(x):
    total = below(-abs(x))
    if not x > 0.0:
        return total
    angle = angle_of(x)
    return x + (total + (WAVES[0] * math.sin(angle) + WAVES[1] * math.sin(2.0 * angle)))


@inline
def endless_slope(x):
    slope = below_slope(-abs(x))
    if not x > 0.0:
        return slope
    angle = angle_of(x)
    return (1.0 - slope) + TURN * (WAVES[0] * math.cos(angle) + 2.0 * WAVES[1] * math.cos(2.0 * angle))


@inline
def is_usable(units):
    return units >= 1.0 and (units == math.inf or units == math.floor(units))


def stepped_sigmoid(x, units):
    x, units = float64(x), float64(units)
    if not is_usable(units):
        return math.nan
    if units == math.inf:
        return endless(x)
    near = units - x if x > 0.5 * units else x
    part = endless(near) - endless(near - units)
    return units - part if x > 0.5 * units else part


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


@functools.cache
def forward():
    """The ufunc of x and units for float32 and float64."""
    return compiled(numba.vectorize, [t(t, t) for t in TYPES.values()], stepped_sigmoid)


@functools.cache
def backward():
    """The ufunc of dy, x and units."""
    return compiled(numba.vectorize, [t(t, t, t) for t in TYPES.values()], stepped_sigmoid_backward)
