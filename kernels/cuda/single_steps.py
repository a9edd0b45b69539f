"""``steps`` for 16 bits, in float32 alone: without the wave, which is less than 2^-22 around 1."""

import math

from numpy import float32

from .primitives import inline, nearest_integer_to_product, polynomial, select
from .reals import HALVES
from .steps import POWERS, SERIES, STEPS

__all__ = ["stepped_sigmoid", "stepped_sigmoid_backward"]

SLOPES = tuple(j * c for j, c in zip(range(POWERS, 0, -1), SERIES, strict=True))
SINGLE_STEPS = tuple(map(float32, STEPS))
ZERO, HALF, ONE, ALL_WHOLE = map(float32, (0, 0.5, 1, 2**22))
NAN, INFINITY = float32(math.nan), float32(math.inf)
times_exp = HALVES.words.rescaled


@inline
def endless(x):
    e = times_exp(ONE, -abs(x))
    total = e * polynomial(e, SERIES)
    for step in SINGLE_STEPS:
        total += e * step / (ONE + e * step)
    return select(x > ZERO, x + total, total)


@inline
def endless_slope(x):
    e = times_exp(ONE, -abs(x))
    slope = e * polynomial(e, SLOPES)
    for step in SINGLE_STEPS:
        slope += e * step / ((ONE + e * step) * (ONE + e * step))
    return select(x > ZERO, ONE - slope, slope)


@inline
def is_usable(units):
    return units >= ONE and (units >= ALL_WHOLE or nearest_integer_to_product(units, ONE) == units)


@inline
def stepped_sigmoid(x, units):
    if not is_usable(units):
        return NAN
    if units == INFINITY:
        return endless(x)
    near = units - x if x > HALF * units else x
    part = endless(near) - endless(near - units)
    return units - part if x > HALF * units else part


@inline
def stepped_sigmoid_backward(dy, x, units):
    if not is_usable(units):
        return NAN
    if units == INFINITY:
        slope = endless_slope(x)
    else:
        near = units - x if x > HALF * units else x
        slope = endless_slope(near) - endless_slope(near - units)
    return slope if slope == ZERO else dy * slope
