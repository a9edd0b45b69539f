"""Cross entropy over contiguous rows: the loss of each, and its gradient, as ``reference.losses`` has them.

With q the targets of a row, y its log_softmax and p its softmax,

    loss        sum(q (-y)), of which no term is negative
    gradient    p (sum(q) - q) + q (exp(y) - 1), times what flows in

A label without smoothing has q in one place: there is the loss, and the gradient is a share everywhere else.
"""

import math

from .blocks import CHUNK as STRIP
from .blocks import buffer, of_type, pointer
from .both import (
    add,
    constant,
    expm1_nonpositive,
    fetch,
    mul,
    narrow,
    parts_of,
    store,
    sub,
    weighted_term,
    where_eq,
    widen,
)
from .rows import (
    LENGTH,
    OUT,
    X,
    first_row,
    inverse_of,
    largest,
    log_of_sum,
    rest_of,
    row_of,
    special_log_softmax,
    special_softmax,
    total,
    words_of,
    write,
)
from .scalar import inline, select

__all__ = ["cross_entropy"]

# Words of a call, beside those of rows.py: addresses, 0 for what is not there
LABELS, TARGETS, WEIGHTS, FACTORS, FACTOR_STEP, NUMBERS, LOSSES, DENSE = 1, 5, 6, 7, 8, 9, 10, 11


@inline
def log_share(a, top, log_sum, special, at_top, elsewhere, at_nothing):
    """log_softmax of an entry."""
    odd = select(a == top, at_top, select(a == -math.inf, at_nothing, elsewhere))
    return widen(odd) if special else sub(sub(widen(a), widen(top)), log_sum)


@inline
def share(a, top, inverse, special, at_top, elsewhere, at_nothing):
    odd = select(a == top, at_top, select(a == -math.inf, at_nothing, elsewhere))
    return widen(odd) if special else weighted_term(sub(widen(a), widen(top)), inverse)


@inline
def flow_of(p, y, q, all_q, factor):
    """The gradient of an entry."""
    return narrow(mul(add(mul(p, sub(all_q, q)), mul(q, expm1_nonpositive(y))), factor))


@inline
def cost_of(q, y, zero):
    return where_eq(q, zero, zero, sub(zero, mul(q, y)))


@inline
def targets_of(words, row, start, count, weights, label, numbers, like, zero, to, rests):
    """The targets of a strip: weight (hard [j is the label, or its probability] + spread)."""
    hard, spread = constant(zero, numbers[0], numbers[1]), constant(zero, numbers[2], numbers[3])
    if words[TARGETS]:
        known = row_of(words, TARGETS, row, like)
        for j in range(count):
            store(add(mul(hard, widen(known[start + j])), spread), to, rests, j)
    else:
        for j in range(count):
            at_label = constant(zero, select(start + j == label, 1.0, 0.0), 0.0)
            store(add(mul(hard, at_label), spread), to, rests, j)
    for j in range(count):
        store(mul(fetch(zero, to, rests, j), constant(zero, weights[start + j], 0.0)), to, rests, j)


@inline
def cross_entropy(work, part, parts):
    words, like = words_of(work)
    n, numbers = words[LENGTH], pointer(words[NUMBERS], 0.0)
    labels, weights = pointer(words[LABELS], n), pointer(words[WEIGHTS], 0.0)
    made, one = pointer(buffer(like), like), of_type(like, 1.0)
    q_high, q_low = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    masses, mass_rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    costs, cost_rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    zero = constant(widen(like), 0.0, 0.0)
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        x, out = row_of(words, X, row, like), row_of(words, OUT, row, like)
        loss = pointer(words[LOSSES] + row * 16, 0.0)
        given = pointer(words[FACTORS] + row * words[FACTOR_STEP], 0.0)
        factor, label = constant(zero, given[0], given[1]), labels[row] if words[LABELS] else -1
        top, count, nans = largest(x, n, like)
        rest = rest_of(x, n, top, like)
        log_sum, inverse = log_of_sum(count, rest), inverse_of(count, rest)
        odd, log_top, log_else, log_nothing = special_log_softmax(top, count, nans, like)
        _, at_top, elsewhere, at_nothing = special_softmax(top, count, nans, one, False, like)
        mass, cost = zero, zero
        if words[DENSE]:
            for j in range(min(n, STRIP)):
                store(zero, masses, mass_rests, j)
                store(zero, costs, cost_rests, j)
            for start in range(0, n, STRIP):
                width = min(STRIP, n - start)
                targets_of(words, row, start, width, weights, label, numbers, like, zero, q_high, q_low)
                for j in range(width):
                    q = fetch(zero, q_high, q_low, j)
                    y = log_share(x[start + j], top, log_sum, odd, log_top, log_else, log_nothing)
                    store(add(fetch(zero, masses, mass_rests, j), q), masses, mass_rests, j)
                    store(add(fetch(zero, costs, cost_rests, j), cost_of(q, y, zero)), costs, cost_rests, j)
            mass = total(masses, mass_rests, min(n, STRIP), zero)
            cost = total(costs, cost_rests, min(n, STRIP), zero)
        elif label >= 0:
            mass = constant(zero, weights[label], 0.0)
            y = log_share(x[label], top, log_sum, odd, log_top, log_else, log_nothing)
            cost = cost_of(mass, y, zero)
        if words[LABELS] and label < 0:
            mass, cost = zero, zero
        loss[0], loss[1] = parts_of(cost)
        if not words[OUT]:
            continue
        dead = parts_of(mass)[0] == 0
        if not words[DENSE] and not dead:
            y = log_share(x[label], top, log_sum, odd, log_top, log_else, log_nothing)
            at_label = narrow(mul(mul(mass, expm1_nonpositive(y)), factor))
        else:
            at_label = like
        for start in range(0, n, STRIP):
            width = min(STRIP, n - start)
            if dead:
                for j in range(width):
                    made[j] = like
            elif words[DENSE]:
                targets_of(words, row, start, width, weights, label, numbers, like, zero, q_high, q_low)
                for j in range(width):
                    a = x[start + j]
                    y = log_share(a, top, log_sum, odd, log_top, log_else, log_nothing)
                    p = share(a, top, inverse, odd, at_top, elsewhere, at_nothing)
                    made[j] = flow_of(p, y, fetch(zero, q_high, q_low, j), mass, factor)
            else:
                for j in range(width):
                    p = share(x[start + j], top, inverse, odd, at_top, elsewhere, at_nothing)
                    made[j] = narrow(mul(mul(p, mass), factor))
            write(made, out, start, width)
        if not words[DENSE] and not dead:
            out[label] = at_label
