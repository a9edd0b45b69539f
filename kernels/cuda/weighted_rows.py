"""logsumexp with weights: log(abs(sum(b exp(x)))), its sign, and its gradient.

A term is b exp(x) = f 2^j 2^k (1 + t), f being the significand of b and j its exponent: the two exponents are
added before the power is made, so no weight is too large or too small.  The row's terms are measured against
its *leader*, the largest entry among those whose j + k is largest:

    sum = exp(top) 2^weight (lead + rest)

with `top` the leader and `weight` the exponent of its weight, `lead` the sum of 2^-weight b over all entries
equal to it, which may cancel, and `rest` that of all others.  An entry whose weight is 0 is not there.

A row in which something infinite or NaN counts has in the place of `lead` what the infinities and NaN alone
add up to, and +inf in that of `top` if there is one of them, else NaN.
"""

import functools
import math

from .access import of_array
from .elementwise import Function
from .formulas import LN2
from .primitives import by_width, fma, inline, nearest_integer_to_product, power_of_two, select
from .reals import larger_or_nan
from .rows import DY, OUT, STATES, Operation, bundle, entries, log_of_sum, share_of_terms
from .team import cooperative

__all__ = ["sign_of_log", "weighted"]

B, BESIDE, OF_BESIDE = DY, STATES + 1, STATES  # a sign or dy of each row: among the places, among the strides
SUBNORMAL = 64  # what takes numbers out of the subnormals, as a power of two


def terms(reals):
    """Functions of an entry and its weight: whether they are an ordinary term, and such a term's parts."""
    w, value, float32 = reals.words, reals.value, reals.bias == 64
    exponent_of, excess_of, binade = w.exponent, w.excess, w.value_binade
    ZERO, ONE, INF = value(0), value(1), value(math.inf)
    NORMAL, UP, STEPS = value(2.0 ** (-126 if float32 else -1022)), value(2.0**SUBNORMAL), value(SUBNORMAL)
    SPAN = value(reals.depth + (300 if float32 else 2200))  # below the leader, whatever the weights are
    BIAS, DEPTH, LN_2 = value(reals.bias), value(reals.depth), value(LN2[0])

    @inline
    def is_term(x, b):
        return abs(x) < INF and abs(b) < INF and b != ZERO

    @inline
    def significand(b):
        """That of a term's weight, and its exponent."""
        small = abs(b) < NORMAL
        b = select(small, b * UP, b)
        k = binade(abs(b))
        half = nearest_integer_to_product(k, 0.5)
        return b * power_of_two(-half) * power_of_two(half - k), k - select(small, STEPS, ZERO)

    @inline
    def exponents(x, b, shift, highest):
        """Of the term, of exp(x - shift), and of its weight, with the weight's significand."""
        f, j = significand(select(is_term(x, b), b, ONE))
        floor = (highest - SPAN) * LN_2
        c = select(is_term(x, b), x - shift, floor)
        c = select(c < floor, floor, c)
        k = exponent_of(c)
        return k + j, k, j, f, c

    @inline
    def scaled(f, k):
        """f 2^k, and 0 where k is below all that counts."""
        return select(k < -DEPTH, ZERO, f * power_of_two(select(k < -DEPTH, -DEPTH, k) + BIAS))

    @inline
    def term(x, b, shift, highest, largest):
        """b exp(x - shift) 2^(BIAS - largest), and what its rounding has lost."""
        total, k, _, f, c = exponents(x, b, shift, highest)
        p, t = scaled(f, total - largest), excess_of(c, k)
        made = fma(p, t, p)
        there = is_term(x, b)
        return select(there, made, ZERO), select(there, fma(p, t, p - made), ZERO)

    @inline
    def odd(x, b):
        """What an entry counts for that is no term: infinity, NaN or nothing."""
        beyond = select(x == x, b * INF, x)
        counts = select(x == -INF, b * ZERO, beyond)
        return select(is_term(x, b) or b == ZERO, ZERO, counts)

    @inline
    def is_hot(x, b):
        return x > -INF and b != ZERO and (x == INF or abs(b) == INF)

    return is_term, exponents, scaled, term, odd, is_hot


def weighted_sums(reals, count, across, zero):
    """Functions ``state(e, d, first, member, team, room)`` and ``merged``.

    A state is the row's top, weight, lead and rest.
    """
    w, value = reals.words, reals.value
    largest, total, wide_total = reals.folds(across)
    is_term, exponents, scaled, term, odd_of, is_hot = terms(reals)
    reference, _, to_units = entries(reals)
    add_term, sum_of, widen, constant, add, mul = w.add_term, w.sum_of, w.widen, w.constant, w.add, w.mul
    where, rescaled, leading, power_of = w.where, w.rescaled, w.leading_part, w.power_of_two
    exponent_of, excess_of = w.exponent, w.excess
    ZERO, ONE, INF, NAN = value(0), value(1), value(math.inf), value(math.nan)
    LOWEST, TO_ONE, FARTHEST = -INF, 2.0**-reals.bias, value(-120 if reals.bias == 64 else -1000)
    entries_here = count + zero

    @cooperative
    def state(e, d, first, member, team, room):
        has_zero = zero and first == 0 and member == 0
        more_x, more_b = ZERO if has_zero else LOWEST, ONE if has_zero else ZERO
        high, odd, hot = LOWEST, ZERO, ZERO
        for j in range(entries_here):
            x, b = (e[j], d[j]) if j < count else (more_x, more_b)
            high = larger_or_nan(select(is_term(x, b), x, LOWEST), high)
            odd = odd + odd_of(x, b)
            hot = hot + select(is_hot(x, b), ONE, ZERO)
        high, odd, hot = largest(high, team, room), total(odd, team, room), total(hot, team, room)
        shift, highest, _ = reference(high)
        most = LOWEST
        for j in range(entries_here):
            x, b = (e[j], d[j]) if j < count else (more_x, more_b)
            found = exponents(x, b, shift, highest)[0]
            most = larger_or_nan(select(is_term(x, b), found, LOWEST), most)
        most = largest(most, team, room)
        top = LOWEST
        for j in range(entries_here):
            x, b = (e[j], d[j]) if j < count else (more_x, more_b)
            leads = is_term(x, b) and exponents(x, b, shift, highest)[0] == most
            top = larger_or_nan(select(leads, x, LOWEST), top)
        top = largest(top, team, room)
        finite = select(top == LOWEST, ZERO, top)
        most = select(top == LOWEST, ZERO, most)
        exponent = exponent_of(finite - shift)
        kept, low, lead, lead_low = ZERO, ZERO, ZERO, ZERO
        for j in range(entries_here):
            x, b = (e[j], d[j]) if j < count else (more_x, more_b)
            made, error = term(x, b, shift, highest, most)
            total_exponent, _, _, f, _ = exponents(x, b, shift, highest)
            own = select(is_term(x, b) and x == top, scaled(f, total_exponent - most), ZERO)
            lead, lead_low = add_term(lead, lead_low, own, ZERO)
            kept, low = add_term(kept, low, select(x == top, ZERO, made), select(x == top, ZERO, error))
        units = to_units(finite, shift, exponent, excess_of(finite - shift, exponent))
        rest = mul(wide_total(sum_of(kept, low), team, room), units)
        leads = mul(wide_total(sum_of(lead, lead_low), team, room), constant(TO_ONE, 0.0))
        if odd != ZERO:
            return select(hot == ONE and odd == odd, INF, NAN), ZERO, widen(odd), constant(0.0, 0.0)
        return top, most - exponent, leads, rest

    @inline
    def is_odd(a):
        return not abs(leading(a[2])) < INF

    @inline
    def joined(a, b):
        """The state of both, where that of `a` leads; `b` as a share of it."""
        apart = add(widen(b[0] - a[0]), mul(widen(b[1] - a[1]), constant(LN2[0], LN2[1])))
        if b[0] == a[0]:
            steps = b[1] - a[1]
            scale = power_of(widen(select(steps < FARTHEST, FARTHEST, steps)))
            return a[0], a[1], add(a[2], mul(b[2], scale)), add(a[3], mul(b[3], scale))
        return a[0], a[1], a[2], add(a[3], rescaled(add(b[2], b[3]), apart))

    @inline
    def merged(a, b):
        if is_odd(a) or is_odd(b):
            both = is_odd(a) and is_odd(b)
            nothing = constant(0.0, 0.0)
            found = add(where(is_odd(a), a[2], nothing), where(is_odd(b), b[2], nothing))
            return select(both, NAN, select(is_odd(a), a[0], b[0])), ZERO, found, nothing
        apart = add(widen(b[0] - a[0]), mul(widen(b[1] - a[1]), constant(LN2[0], LN2[1])))
        if a[0] == LOWEST or b[0] == LOWEST:
            return b if a[0] == LOWEST else a
        return joined(b, a) if leading(apart) > 0 else joined(a, b)

    return state, merged


def _of_row(reals, storage, count, across, pieces, access, zero=False, signed=False):
    """The logarithm, and the sign if it is wanted; without it a negative sum is NaN."""
    w, value = reals.words, reals.value
    sums, merged = weighted_sums(reals, count, across, zero)
    log_of = log_of_sum(reals)
    add, sub, mul, div, constant, widen, narrow = w.add, w.sub, w.mul, w.div, w.constant, w.widen, w.narrow
    where, store, place_of_row = w.where, access.store, access.place_of_row
    ZERO, HALF, ONE, INF, NAN = (value(v) for v in (0, 0.5, 1, math.inf, math.nan))

    @cooperative
    def state(e, d, given, places, options, first, member, team, room):
        return sums(e, d, first, member, team, room)

    @inline
    def put(state, given, places, lengths, strides, options, row):
        lead, rest, nothing = state[2], state[3], constant(0.0, 0.0)
        total = narrow(add(lead, rest))
        negative, ordinary = total < ZERO, abs(total) < INF and total != ZERO
        lead = where(negative, sub(nothing, lead), lead)
        rest = where(negative, sub(nothing, rest), rest)
        lead, rest = where(ordinary, lead, constant(1.0, 0.0)), where(ordinary, rest, nothing)
        # just below 1 that of the inverse, whose difference to 1 is exact too
        inverse = ordinary and abs(total) < ONE and abs(total) >= HALF
        beyond = div(sub(sub(constant(1.0, 0.0), lead), rest), add(lead, rest))
        log = log_of(where(inverse, constant(1.0, 0.0), lead), where(inverse, beyond, rest))
        log = where(inverse, sub(nothing, log), log)
        log = add(mul(widen(state[1]), constant(LN2[0], LN2[1])), log)
        made = narrow(add(widen(select(ordinary, state[0], ZERO)), log))
        made = select(ordinary, made, select(total == ZERO, -INF, abs(total)))
        sign = select(negative, -ONE, select(total > ZERO, ONE, abs(total)))  # 0 of 0, NaN of NaN
        to = place_of_row(places[OUT], row, lengths, of_array(strides, OUT))
        if signed:
            store(to, made)
            store(place_of_row(places[BESIDE], row, lengths, of_array(strides, OF_BESIDE)), sign)
        else:
            store(to, select(negative, NAN, made))

    return bundle(state, merged, None, put)


def _gradient(reals, storage, count, across, pieces, access, zero=False):
    """dy b exp(x) / sum(b exp(x))."""
    value = reals.value
    sums, merged = weighted_sums(reals, count, across, zero)
    is_term, _, _, term, _, is_hot = terms(reals)
    share_of = share_of_terms(reals)
    load, place_of_row = access.load, access.place_of_row
    ZERO, ONE, INF, NAN = value(0), value(1), value(math.inf), value(math.nan)

    @inline
    def given(places, lengths, strides, options, row, n):
        dy = ZERO
        if n:
            dy = load(place_of_row(places[BESIDE], row, lengths, of_array(strides, OF_BESIDE)))
        return (dy,)

    @cooperative
    def state(e, d, given, places, options, first, member, team, room):
        return sums(e, d, first, member, team, room)

    @inline
    def settled(state, given, places, options):
        shift, exponent, high, low = share_of(state)
        return abs(state[0]) < INF, state[0], shift, exponent, exponent + state[1], high, low, given[0]

    @inline
    def result(x, b, i, numbers, places, options):
        made, _ = term(x, b, numbers[2], numbers[3], numbers[4])
        share = fma(made, numbers[5], made * numbers[6])
        return select(share == ZERO or not is_term(x, b), ZERO, share * numbers[7])

    @inline
    def special(x, b, i, numbers, places, options):
        """Of a row with something infinite or NaN, or with nothing but -inf."""
        absent = b == ZERO or x == -INF
        share = select(numbers[1] == INF, select(is_hot(x, b), ONE, ZERO), NAN)
        return select(absent or share == ZERO, ZERO, share * numbers[7])

    return bundle(state, merged, given, None, settled, None, result, special)


@inline
def _sign_of_log(y):
    zero = by_width(y, 0.0, 0.0)
    return select(y > -math.inf, by_width(y, 1.0, 1.0), select(y == y, zero, y))


def sign_of_log():
    """1 where a logarithm is that of a sum, 0 where it is that of nothing."""
    return Function("sign_of_log", _sign_of_log)


def weighted():
    """The operations of this module by name."""
    made = []
    for name, zero in (("logsumexp", False), ("logsumexp0", True)):
        shared = {"reads_dy": True, "few": True, "small": "ebfd", "more_places": 1, "more_strides": 1}
        for suffix, signed in ((".weighted", False), (".weighted.signed", True)):
            of_row = functools.partial(_of_row, zero=zero, signed=signed)
            made.append(Operation(name + suffix, of_row, of_row=True, of_entries=False, **shared))
        gradient = functools.partial(_gradient, zero=zero)
        made.append(Operation(f"{name}.backward.weighted", gradient, has_special=True, **shared))
    return {operation.name: operation for operation in made}
