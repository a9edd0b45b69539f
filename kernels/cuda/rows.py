"""logsumexp, softmax, log_softmax and their gradients: what a team adds up of a row, and makes of it.

With m the largest entry, `count` of them, and rest = sum exp(x - m) over all others, results are those of
``fastrelu/reference_rows.py``, special rows included.  exp(x) comes as 2^k (1 + t), so that terms are kept in
units of a power of two without an error, and no entry is ever rounded to x - m (see ``loops/rows.h``).

An operation is a bundle of functions over one row, which ``row_kernels`` runs:

    state(e, d, member, team)   what the team finds out of the entries in registers, or of a piece of the row
    merged(a, b)                that of both pieces
    settled(state, dy)          the numbers that every entry's result takes
    term(x, numbers)            what `state` leaves in the place of an entry
    result(term, d, numbers)    of an ordinary row
    special(x, numbers)         of any other, where `numbers` begins with False
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

from .formulas import LN2
from .primitives import fma, inline, power_of_two, select
from .reals import larger_or_nan
from .scalar import where_eq
from .team import cooperative

__all__ = ["OPERATIONS", "Operation", "entries", "forward_sums", "log_of_sum"]


def entries(reals):
    """Functions of exponentials: what the entries of a row are measured against, and each term."""
    value = reals.value
    SHIFTED, DEPTH, BIAS, ZERO = (value(v) for v in (reals.shifted, reals.depth, reals.bias, 0))
    LN_2, INF = value(LN2[0]), value(math.inf)
    w, TO_ONE = reals.words, 2.0**-reals.bias
    exponent_of, excess_of, leading, mul, constant = w.exponent, w.excess, w.leading, w.mul, w.constant

    @inline
    def reference(top):
        """A shift, exponent and excess: exp(top - shift) = 2^exponent (1 + excess)."""
        finite = select(abs(top) < INF, top, ZERO)
        shift = select(abs(finite) > SHIFTED, finite, ZERO)
        exponent = exponent_of(finite - shift)
        return shift, exponent, excess_of(finite - shift, exponent)

    @inline
    def term(x, shift, exponent):
        """exp(x - shift) 2^(BIAS - exponent), and what its rounding has lost."""
        a, floor = x - shift, (exponent - DEPTH) * LN_2
        c = select(a < floor, floor, a)
        k = exponent_of(c)
        t = excess_of(c, k)
        power = select(a < floor, ZERO, power_of_two(k + (BIAS - exponent)))
        made = fma(power, t, power)
        return made, fma(power, t, power - made)

    @inline
    def to_units(top, shift, exponent, excess):
        """What takes sums of terms to units of exp(top)."""
        finite = select(abs(top) < INF, top, ZERO)
        return mul(leading(finite - shift, exponent, excess), constant(TO_ONE, 0.0))

    return reference, term, to_units


def log_of_sum(reals):
    """A function for log(count + rest)."""
    w = reals.words
    add, sub, mul, constant, binade, power, log_of_excess = (
        *(w.add, w.sub, w.mul, w.constant),
        *(w.binade, w.power_of_two, w.log_of_excess),
    )
    HIGH, LOW = LN2

    @inline
    def log_of_sum(count, rest):
        """e ln 2 + log1p(v), count + rest = 2^e (1 + v): v is made of an exact difference."""
        e = binade(add(count, rest))
        v = add(sub(count, power(e)), rest)
        v = mul(v, power(sub(constant(0.0, 0.0), e)))
        return add(mul(e, constant(HIGH, LOW)), log_of_excess(v))

    return log_of_sum


def forward_sums(reals, count, across, zero, keeps):
    """Functions ``state`` and ``merged`` of sums of exponentials: the largest entry, the count, and the rest.

    `zero`: there is one entry 0 more.  `keeps`: the terms take the place of the entries.
    """
    w, value = reals.words, reals.value
    largest, total, wide_total = reals.folds(across)
    reference, term_of, to_units = entries(reals)
    add_term, sum_of, widen, constant = w.add_term, w.sum_of, w.widen, w.constant
    add, mul, where, rescaled = w.add, w.mul, w.where, w.rescaled
    ZERO, ONE, LOWEST = value(0), value(1), value(-math.inf)

    @cooperative
    def state(e, d, member, team):
        top = LOWEST
        if zero and member == 0:
            top = ZERO
        for j in range(count):
            top = larger_or_nan(e[j], top)
        top = largest(top, team)
        shift, exponent, excess = reference(top)
        kept, low, tops = ZERO, ZERO, ZERO
        for j in range(count):
            x = e[j]
            made, error = term_of(x, shift, exponent)
            tops += select(x == top, ONE, ZERO)
            kept, low = add_term(kept, low, where_eq(x, top, ZERO, made), where_eq(x, top, ZERO, error))
            if keeps:
                e[j] = made
        if zero:
            x = select(member == 0, ZERO, LOWEST)
            made, error = term_of(x, shift, exponent)
            tops += select(x == top, ONE, ZERO)
            kept, low = add_term(kept, low, where_eq(x, top, ZERO, made), where_eq(x, top, ZERO, error))
        rest = mul(wide_total(sum_of(kept, low), team), to_units(top, shift, exponent, excess))
        return top, widen(total(tops, team)), rest

    @inline
    def merged(a, b):
        top = larger_or_nan(a[0], b[0])
        return top, add(counted(a, top), counted(b, top)), add(remaining(a, top), remaining(b, top))

    @inline
    def counted(a, top):
        return where(a[0] == top, a[1], constant(0.0, 0.0))

    @inline
    def remaining(a, top):
        return where(a[0] == top, a[2], rescaled(add(a[1], a[2]), widen(a[0] - top)))

    return state, merged


def _softmax(reals, count, across, zero=False, gradient=False):
    """exp(x) / sum(exp(x)), or this times `dy`, to which no entry of -inf contributes."""
    w, value = reals.words, reals.value
    state, merged = forward_sums(reals, count, across, zero, True)
    reference, term_of, to_units = entries(reals)
    add, div, normalised, parts, is_one = w.add, w.div, w.normalised, w.parts, w.is_one
    ZERO, ONE, INF, NAN = value(0), value(1), value(math.inf), value(math.nan)

    @inline
    def settled(state, dy):
        top, tops, rest = state
        shift, exponent, excess = reference(top)
        high, low = parts(div(to_units(top, shift, exponent, excess), normalised(add(tops, rest))))
        return abs(top) < INF, top, tops, shift, exponent, high, low, dy

    @inline
    def term(x, numbers):
        return term_of(x, numbers[3], numbers[4])[0]

    @inline
    def result(term, d, numbers):
        share = fma(term, numbers[5], term * numbers[6])
        if gradient:
            share = where_eq(share, ZERO, ZERO, share * numbers[7])
        return share

    @inline
    def special(x, numbers):
        """Of a row with a NaN, with +inf, or with nothing but -inf."""
        top = numbers[1]
        one_hot = (top == INF) & is_one(numbers[2])
        y = select(one_hot, where_eq(x, INF, ONE, ZERO), NAN)
        if gradient:
            y = select(one_hot, where_eq(x, INF, numbers[7], ZERO), where_eq(x, -INF, ZERO, NAN))
        return y

    return SimpleNamespace(
        state=state, merged=merged, settled=settled, term=term, result=result, special=special
    )


def _log_softmax(reals, count, across):
    """(x - m) - log(count + rest), without a rounding in between."""
    w, value = reals.words, reals.value
    state, merged = forward_sums(reals, count, across, False, False)
    log_of = log_of_sum(reals)
    parts, below, is_one = w.parts, w.below, w.is_one
    ZERO, INF, NAN = value(0), value(math.inf), value(math.nan)

    @inline
    def settled(state, dy):
        top, tops, rest = state
        high, low = parts(log_of(tops, rest))
        return abs(top) < INF, top, tops, high, low

    @inline
    def result(x, d, numbers):
        return below(x, numbers[1], numbers[3], numbers[4])

    @inline
    def special(x, numbers):
        y = where_eq(x, INF, ZERO, -INF)
        return select((numbers[1] == INF) & is_one(numbers[2]), y, NAN)

    return SimpleNamespace(
        state=state, merged=merged, settled=settled, term=None, result=result, special=special
    )


def _logsumexp(reals, count, across, zero=False):
    """m + log(count + rest), of which there is one a row."""
    w, value = reals.words, reals.value
    state, merged = forward_sums(reals, count, across, zero, False)
    log_of = log_of_sum(reals)
    add, widen, narrow = w.add, w.widen, w.narrow
    INF = value(math.inf)

    @inline
    def of_row(state):
        top, tops, rest = state
        return select(abs(top) < INF, narrow(add(widen(top), log_of(tops, rest))), top)

    return SimpleNamespace(state=state, merged=merged, of_row=of_row)


def _softmax_backward(reals, count, across, pieces, lacks_one=False):
    """y (dy - sum(dy y)), dy counted from a pivot: its value at a y of more than a half, else 0.

    All y of a row sum to 1 but for their rounding, so that dy may be counted from anything; beside a y that is
    not there (`lacks_one`) from 0 only.
    """
    w, value = reals.words, reals.value
    largest, _, wide_total = reals.folds(across)
    add_term, sum_of, widen, narrow, add, mul = w.add_term, w.sum_of, w.widen, w.narrow, w.add, w.mul
    ZERO, HALF, LOWEST, NONE, where = value(0), value(0.5), value(-math.inf), w.constant, w.where

    @cooperative
    def state(e, d, member, team):
        pivot = ZERO
        if not lacks_one:
            found = LOWEST
            for j in range(count):
                found = select(e[j] > HALF, d[j], found)
            found = largest(found, team)
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
            share = wide_total(sum_of(shares, rest), team)
        return pivot, share, wide_total(sum_of(kept, low), team)

    @inline
    def merged(a, b):
        pivot = where_eq(a[0], ZERO, b[0], a[0])
        return pivot, add(a[1], b[1]), add(moved(a, pivot), moved(b, pivot))

    @inline
    def moved(a, pivot):
        """A sum counted from another pivot."""
        far = where(a[0] == pivot, NONE(0.0, 0.0), mul(a[1], widen(a[0] - pivot)))
        return add(a[2], far)

    @inline
    def settled(state, dy):
        return True, state[0], narrow(state[2])

    @inline
    def result(y, d, numbers):
        return where_eq(y, ZERO, ZERO, y * ((d - numbers[1]) - numbers[2]))

    return SimpleNamespace(
        state=state, merged=merged, settled=settled, term=None, result=result, special=None
    )


def _log_softmax_backward(reals, count, across, pieces):
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
    def state(e, d, member, team):
        kept, low = ZERO, ZERO
        for j in range(count):
            kept, low = add_term(kept, low, where_eq(e[j], LOWEST, ZERO, d[j]), ZERO)
        return ZERO, NOTHING(0.0, 0.0), wide_total(sum_of(kept, low), team)

    @inline
    def merged(a, b):
        return a[0], a[1], add(a[2], b[2])

    @inline
    def settled(state, dy):
        high, low = parts(normalised(state[2]))
        return True, high, low

    @inline
    def result(y, d, numbers):
        a = select(y < FLOOR, FLOOR, y)
        k = exponent_of(a)
        t = excess_of(a, k)
        power = power_of_two(k + BIAS) * TO_ONE
        share, less_one = fma(power, t, power), fma(power, t, power - ONE)
        gradient = share * ((d - numbers[1]) - numbers[2]) - d * less_one
        return where_eq(y, LOWEST, ZERO, gradient)

    return SimpleNamespace(
        state=state, merged=merged, settled=settled, term=None, result=result, special=None
    )


@dataclass(frozen=True)
class Operation:
    """What one of the reductions is made of.

    Attributes
    ----------
    make : callable
        ``make(reals, count, across, pieces)`` gives the functions over a row.
    reads_dy : bool
        Entry by entry; ``dy_of_row`` is one number for each row.
    one_a_row : bool
        The result has one number for each row.
    beyond : float
        What is read behind the end of a row, where it counts for nothing.
    keeps : bool
        `state` leaves terms in the place of the entries.
    has_special : bool
        Rows may be out of the ordinary.
    """

    make: Callable
    reads_dy: bool = False
    dy_of_row: bool = False
    one_a_row: bool = False
    beyond: float = -math.inf
    keeps: bool = False

    @property
    def has_special(self):
        return not (self.reads_dy or self.one_a_row)


def _forward(make, **options):
    return lambda reals, count, across, pieces: make(reals, count, across, **options)


OPERATIONS = {
    "logsumexp": Operation(_forward(_logsumexp), one_a_row=True),
    "logsumexp0": Operation(_forward(_logsumexp, zero=True), one_a_row=True),
    "softmax": Operation(_forward(_softmax), keeps=True),
    "softmax0": Operation(_forward(_softmax, zero=True), keeps=True),
    "log_softmax": Operation(_forward(_log_softmax)),
    "logsumexp.backward": Operation(_forward(_softmax, gradient=True), dy_of_row=True, keeps=True),
    "logsumexp0.backward": Operation(
        _forward(_softmax, zero=True, gradient=True), dy_of_row=True, keeps=True
    ),
    "softmax.backward": Operation(_softmax_backward, reads_dy=True, beyond=0.0),
    "softmax0.backward": Operation(
        functools.partial(_softmax_backward, lacks_one=True), reads_dy=True, beyond=0.0
    ),
    "log_softmax.backward": Operation(_log_softmax_backward, reads_dy=True),
}
