"""The gradients of softmax and log_softmax, from their results."""

import functools
import math

from .formulas import LN2
from .primitives import fma, inline, power_of_two, select
from .rows import Operation, bundle
from .scalar import where_eq
from .team import cooperative

__all__ = ["backward"]


def _of_softmax(reals, storage, count, across, pieces, access, lacks_one=False):
    """y (dy - sum(dy y)), dy counted from a pivot: its value at a y of more than a half, else 0.

    All y of a row sum to 1 but for their rounding, so that dy may be counted from anything; beside a y that
    is not there (`lacks_one`) from 0 only.
    """
    w, value = reals.words, reals.value
    largest, _, wide_total = reals.folds(across)
    add_term, sum_of, widen, narrow, add, mul = w.add_term, w.sum_of, w.widen, w.narrow, w.add, w.mul
    ZERO, HALF, LOWEST, NONE, where = value(0), value(0.5), value(-math.inf), w.constant, w.where

    @cooperative
    def state(e, d, given, places, options, first, member, team, room):
        pivot = ZERO
        if not lacks_one:
            found = LOWEST
            for j in range(count):
                found = select(e[j] > HALF, d[j], found)
            found = largest(found, team, room)
            pivot = where_eq(found, LOWEST, ZERO, found)
        kept, low, shares, rest = ZERO, ZERO, ZERO, ZERO
        for j in range(count):
            y, slope = e[j], d[j] - pivot
            term = y * slope
            error = fma(y, slope, -term)
            kept, low = add_term(kept, low, where_eq(y, ZERO, ZERO, term), where_eq(y, ZERO, ZERO, error))
            if pieces:
                shares, rest = add_term(shares, rest, y, ZERO)
        share = NONE(0.0, 0.0)
        if pieces:
            share = wide_total(sum_of(shares, rest), team, room)
        return pivot, ZERO, share, wide_total(sum_of(kept, low), team, room)

    @inline
    def merged(a, b):
        pivot = where_eq(a[0], ZERO, b[0], a[0])
        return pivot, ZERO, add(a[2], b[2]), add(moved(a, pivot), moved(b, pivot))

    @inline
    def moved(a, pivot):
        """A sum counted from another pivot."""
        far = where(a[0] == pivot, NONE(0.0, 0.0), mul(a[2], widen(a[0] - pivot)))
        return add(a[3], far)

    @inline
    def settled(state, given, places, options):
        return True, state[0], narrow(state[3])

    @inline
    def result(y, d, i, numbers, places, options):
        return where_eq(y, ZERO, ZERO, y * ((d - numbers[1]) - numbers[2]))

    return bundle(state, merged, None, None, settled, None, result)


def _of_log_softmax(reals, storage, count, across, pieces, access):
    """exp(y) (dy - total) - dy expm1(y): dy (1 - exp(y)) less exp(y) times the sum of the other dy.

    1 - exp(y) is small where exp(y) dominates.
    """
    w, value = reals.words, reals.value
    _, _, wide_total = reals.folds(across)
    add_term, sum_of, parts, add, normalised = w.add_term, w.sum_of, w.parts, w.add, w.normalised
    exponent_of, excess_of, NOTHING = w.exponent, w.excess, w.constant
    ZERO, ONE, LOWEST = value(0), value(1), value(-math.inf)
    FLOOR, BIAS, TO_ONE = value(-reals.depth * LN2[0]), value(reals.bias), value(2.0**-reals.bias)

    @cooperative
    def state(e, d, given, places, options, first, member, team, room):
        kept, low = ZERO, ZERO
        for j in range(count):
            kept, low = add_term(kept, low, where_eq(e[j], LOWEST, ZERO, d[j]), ZERO)
        return ZERO, ZERO, NOTHING(0.0, 0.0), wide_total(sum_of(kept, low), team, room)

    @inline
    def merged(a, b):
        return a[0], a[1], a[2], add(a[3], b[3])

    @inline
    def settled(state, given, places, options):
        high, low = parts(normalised(state[3]))
        return True, high, low

    @inline
    def result(y, d, i, numbers, places, options):
        a = select(y < FLOOR, FLOOR, y)
        k = exponent_of(a)
        t = excess_of(a, k)
        power = power_of_two(k + BIAS) * TO_ONE
        share, less_one = fma(power, t, power), fma(power, t, power - ONE)
        gradient = share * ((d - numbers[1]) - numbers[2]) - d * less_one
        return where_eq(y, LOWEST, ZERO, gradient)

    return bundle(state, merged, None, None, settled, None, result)


def backward():
    """The operations of this module by name."""
    of_softmax0 = functools.partial(_of_softmax, lacks_one=True)
    made = (
        Operation("softmax.backward", _of_softmax, reads_dy=True, beyond=0.0),
        Operation("softmax0.backward", of_softmax0, reads_dy=True, beyond=0.0),
        Operation("log_softmax.backward", _of_log_softmax, reads_dy=True),
    )
    return {operation.name: operation for operation in made}
