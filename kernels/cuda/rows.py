"""logsumexp, softmax and log_softmax: what a team adds up of a row, and makes of it.

With m the largest entry, `count` of them, and rest = sum exp(x - m) over all others, results are those of
``fastrelu/reference/rows.py``, special rows included.  exp(x) comes as 2^k (1 + t), so that terms are kept in
units of a power of two without an error, and no entry is ever rounded to x - m (see ``loops/rows.h``).

An operation is a bundle of functions over one row, from which ``row_kernels`` makes kernels:

    given(places, lengths, strides, options, row, n)   what is known of the row before its n entries are read
    state(e, d, given, places, options, first, ...)    what the team finds out of the entries in registers,
                                                       which are those from `first` on
    merged(a, b)                                       the state of both pieces
    put(state, given, ..., row)                        writes what there is one of each row
    settled(state, given, places, options)                the numbers that every entry's result takes
    term(x, numbers)                                   what `state` leaves in the place of an entry
    result(term, d, i, numbers, places, options)       of entry i of an ordinary row
    special(x, d, i, numbers, places, options)         of any other, where `numbers` begins with False

A state is two numbers and two wide ones, or four.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

from numba import types

from .access import of_array
from .formulas import LN2
from .primitives import fma, inline, power_of_two, select
from .reals import larger_or_nan
from .scalar import where_eq
from .team import cooperative

__all__ = [
    "DY",
    "OUT",
    "STATES",
    "Operation",
    "X",
    "bundle",
    "entries",
    "forward",
    "forward_sums",
    "log_of_sum",
    "no_options",
    "share_of_terms",
]

OUT, X, DY, STATES = range(4)  # places


def no_options(reals):
    return types.UniTuple(types.int64, 1)  # NVVM has no array of none


@dataclass(frozen=True)
class Operation:
    """What one of the reductions is made of.

    Attributes
    ----------
    name : str
        Unique.
    make : callable
        ``make(reals, storage, count, across, pieces, access)`` gives the functions over a row.
    reads_dy : bool
        An array of the entries' shape beside them.
    of_row, of_entries : bool
        There is a result for each row, for each entry.
    keeps : bool
        `state` leaves terms in the place of the entries, where these are a whole row.
    has_special : bool
        Rows may be out of the ordinary.
    beyond : float
        What is read behind the end of a row, where it counts for nothing.
    few : bool
        A thread has registers for half as many entries as others.
    small : str
        The dtypes for which it needs more registers than blocks of all the threads there may be leave: they
        have half as many.
    sums : int
        Wide numbers of a state, 2 or 4.
    more_places, more_strides : int
        Arrays besides those of every operation, and those of them that have strides.
    options : callable
        ``options(reals)`` gives the type of the operation's own arguments.
    """

    name: str
    make: Callable
    reads_dy: bool = False
    of_row: bool = False
    of_entries: bool = True
    keeps: bool = False
    has_special: bool = False
    beyond: float = -math.inf
    few: bool = False
    small: str = ""
    sums: int = 2
    more_places: int = 0
    more_strides: int = 0
    options: Callable = no_options

    def __hash__(self):  # of every call
        return hash(self.name)


@inline
def _nothing(*arguments):
    return ()


def bundle(state, merged, given=None, put=None, settled=None, term=None, result=None, special=None):
    """The functions of an operation; those that it lacks are never called."""
    return SimpleNamespace(
        **{"state": state, "merged": merged, "given": given or _nothing, "put": put},
        **{"settled": settled, "term": term, "result": result, "special": special},
    )


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


def share_of_terms(reals):
    """A function of a row's state: shift and exponent of its terms, and in two parts 1 over their sum."""
    w = reals.words
    reference, _, to_units = entries(reals)
    add, div, normalised, parts = w.add, w.div, w.normalised, w.parts

    @inline
    def share_of_terms(state):
        shift, exponent, excess = reference(state[0])
        total = normalised(add(state[2], state[3]))
        high, low = parts(div(to_units(state[0], shift, exponent, excess), total))
        return shift, exponent, high, low

    return share_of_terms


def forward_sums(reals, count, across, zero, keeps):
    """Functions ``state(e, first, member, team, room)`` and ``merged`` of sums of exponentials.

    A state begins with the largest entry and a number that belongs to the first piece, 0 unless its owner
    puts it there; then how often the largest entry occurs, and the rest.  `zero`: there is one entry 0 more.
    `keeps`: the terms take the place of the entries.
    """
    w, value = reals.words, reals.value
    largest, total, wide_total = reals.folds(across)
    reference, term_of, to_units = entries(reals)
    add_term, sum_of, widen, constant = w.add_term, w.sum_of, w.widen, w.constant
    add, mul, where, rescaled = w.add, w.mul, w.where, w.rescaled
    ZERO, ONE, LOWEST = value(0), value(1), value(-math.inf)

    @inline
    def added(kept, low, tops, x, top, made, error):
        kept, low = add_term(kept, low, where_eq(x, top, ZERO, made), where_eq(x, top, ZERO, error))
        return kept, low, tops + where_eq(x, top, ONE, ZERO)

    @cooperative
    def state(e, first, member, team, room):
        has_zero = zero and first == 0 and member == 0
        top = ZERO if has_zero else LOWEST
        for j in range(count):
            top = larger_or_nan(e[j], top)
        top = largest(top, team, room)
        shift, exponent, excess = reference(top)
        kept, low, tops = ZERO, ZERO, ZERO
        for j in range(count):
            x = e[j]
            made, error = term_of(x, shift, exponent)
            kept, low, tops = added(kept, low, tops, x, top, made, error)
            if keeps:
                e[j] = made
        if zero:
            x = ZERO if has_zero else LOWEST
            made, error = term_of(x, shift, exponent)
            kept, low, tops = added(kept, low, tops, x, top, made, error)
        rest = mul(wide_total(sum_of(kept, low), team, room), to_units(top, shift, exponent, excess))
        return top, ZERO, widen(total(tops, team, room)), rest

    @inline
    def counted(a, top):
        return where(a[0] == top, a[2], constant(0.0, 0.0))

    @inline
    def remaining(a, top):
        return where(a[0] == top, a[3], rescaled(add(a[2], a[3]), widen(a[0] - top)))

    @inline
    def merged(a, b):
        top = larger_or_nan(a[0], b[0])
        return top, a[1], add(counted(a, top), counted(b, top)), add(remaining(a, top), remaining(b, top))

    return state, merged


def _alone(sums):
    """The sums of entries that nothing is given for, as an operation's `state`."""

    @cooperative
    def state(e, d, given, places, options, first, member, team, room):
        return sums(e, first, member, team, room)

    return state


def _shares(reals, storage, count, across, pieces, access, zero=False, for_gradient=False, times_dy=False):
    """exp(x) / sum(exp(x)).

    `for_gradient`: 0 at every -inf, in rows without a softmax too.  `times_dy`: times the `dy` of its row.
    """
    w, value = reals.words, reals.value
    sums, merged = forward_sums(reals, count, across, zero, not pieces)
    term_of, share_of, is_one = entries(reals)[1], share_of_terms(reals), w.is_one
    load, place_of_row = access.load, access.place_of_row
    ZERO, ONE, INF, NAN = value(0), value(1), value(math.inf), value(math.nan)

    @inline
    def given(places, lengths, strides, options, row, n):
        dy = ONE
        if times_dy and n:
            dy = load(place_of_row(places[DY], row, lengths, of_array(strides, DY)))
        return (dy,)

    @inline
    def settled(state, given, places, options):
        shift, exponent, high, low = share_of(state)
        one_hot = (state[0] == INF) & is_one(state[2])
        return abs(state[0]) < INF, one_hot, shift, exponent, high, low, given[0]

    @inline
    def term(x, numbers):
        return term_of(x, numbers[2], numbers[3])[0]

    @inline
    def result(term, d, i, numbers, places, options):
        share = fma(term, numbers[4], term * numbers[5])
        if times_dy:
            share = where_eq(share, ZERO, ZERO, share * numbers[6])
        return share

    @inline
    def special(x, d, i, numbers, places, options):
        """Of a row with a NaN, with +inf, or with nothing but -inf."""
        absent = ZERO if for_gradient else NAN
        y = select(numbers[1], where_eq(x, INF, ONE, ZERO), where_eq(x, -INF, absent, NAN))
        return where_eq(y, ZERO, ZERO, y * numbers[6]) if times_dy else y

    return bundle(_alone(sums), merged, given, None, settled, term, result, special)


def _log_shares(reals, storage, count, across, pieces, access, for_gradient=False):
    """(x - m) - log(count + rest), without a rounding in between.

    `for_gradient`: -inf at every -inf, in rows without a softmax too.
    """
    w, value = reals.words, reals.value
    sums, merged = forward_sums(reals, count, across, False, False)
    log_of = log_of_sum(reals)
    parts, below, is_one = w.parts, w.below, w.is_one
    ZERO, INF, NAN = value(0), value(math.inf), value(math.nan)

    @inline
    def settled(state, given, places, options):
        high, low = parts(log_of(state[2], state[3]))
        one_hot = (state[0] == INF) & is_one(state[2])
        return abs(state[0]) < INF, one_hot, state[0], high, low

    @inline
    def result(x, d, i, numbers, places, options):
        return below(x, numbers[2], numbers[3], numbers[4])

    @inline
    def special(x, d, i, numbers, places, options):
        absent = -INF if for_gradient else NAN
        return select(numbers[1], where_eq(x, INF, ZERO, -INF), where_eq(x, -INF, absent, NAN))

    return bundle(_alone(sums), merged, None, None, settled, None, result, special)


def _logsumexp(reals, storage, count, across, pieces, access, zero=False):
    """m + log(count + rest), of which there is one a row."""
    w, value = reals.words, reals.value
    sums, merged = forward_sums(reals, count, across, zero, False)
    log_of = log_of_sum(reals)
    add, widen, narrow = w.add, w.widen, w.narrow
    store, place_of_row = access.store, access.place_of_row
    INF = value(math.inf)

    @inline
    def put(state, given, places, lengths, strides, options, row):
        top = state[0]
        made = narrow(add(widen(top), log_of(state[2], state[3])))
        to = place_of_row(places[OUT], row, lengths, of_array(strides, OUT))
        store(to, select(abs(top) < INF, made, top))

    return bundle(_alone(sums), merged, None, put)


def _operation(name, make, **options):
    one_a_row = make is _logsumexp
    return Operation(
        name,
        functools.partial(make, **options),
        of_row=one_a_row,
        of_entries=not one_a_row,
        keeps=make is _shares,
        has_special=not one_a_row,
    )


def forward():
    """The operations of this module by name.

    "shares of" and "log_shares of" a row are what the gradients of softmax and log_softmax start from.
    """
    made = (
        _operation("logsumexp", _logsumexp),
        _operation("logsumexp0", _logsumexp, zero=True),
        _operation("softmax", _shares),
        _operation("softmax0", _shares, zero=True),
        _operation("log_softmax", _log_shares),
        _operation("logsumexp.backward", _shares, for_gradient=True, times_dy=True),
        _operation("logsumexp0.backward", _shares, zero=True, for_gradient=True, times_dy=True),
        _operation("shares", _shares, for_gradient=True),
        _operation("shares0", _shares, zero=True, for_gradient=True),
        _operation("log_shares", _log_shares, for_gradient=True),
    )
    return {operation.name: operation for operation in made}
