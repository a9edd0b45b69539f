"""The reductions of ``rows`` where a row's entries lie INNER apart: strips of columns, without copies.

Every column is a row.  What a row adds up in STRIP sums is added up for each column in the same order, so the
results have the same bits: first the entries 0, STRIP, 2 STRIP ..., then 1, STRIP + 1 ... and so on, each of
these sums by itself.
"""

import math

from .blocks import CHUNK as STRIP
from .blocks import buffer, of_type, pointer, size_of
from .both import add, constant, fetch, store, where_gt, widen
from .rows import (
    DY,
    INNER,
    LENGTH,
    OUT,
    OUTER,
    ZERO,
    X,
    beside_zero,
    counted,
    exponential_below,
    flow_below,
    inverse_of,
    log_of_row,
    log_of_sum,
    log_softmax_flow,
    log_softmax_value,
    rest_beside_zero,
    share_of,
    share_of_zero,
    softmax_flow,
    special_log_softmax,
    special_softmax,
    words_of,
    write,
)
from .scalar import inline, select

__all__ = [
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "logsumexp_backward",
    "softmax",
    "softmax_backward",
]

WIDTH = 128  # columns of a strip, at most STRIP: what is kept of each stays in the cache


@inline
def strips(words):
    return (words[INNER] + WIDTH - 1) // WIDTH


@inline
def first_strip(words, part, parts):
    return words[OUTER] * strips(words) * part // parts


@inline
def columns_of(words, strip):
    """How many columns a strip has."""
    return min(WIDTH, words[INNER] - strip % strips(words) * WIDTH)


@inline
def strip_of(words, operand, strip, like):
    """Where a strip of an operand begins."""
    outer, first = strip // strips(words), strip % strips(words) * WIDTH
    start = outer * words[LENGTH] * words[INNER] + first
    return pointer(words[operand] + start * size_of(like), like)


@inline
def values_of(words, operand, strip, like):
    """The same of an operand with one value a row."""
    outer, first = strip // strips(words), strip % strips(words) * WIDTH
    return pointer(words[operand] + (outer * words[INNER] + first) * size_of(like), like)


# Over the entries of all columns of a strip: entry i of column c is x[i * step + c]


@inline
def largest(x, n, step, width, tops, counts, nans):
    """The largest entries, how many equal them, and how many are NaN."""
    for c in range(width):
        tops[c] = -math.inf
        counts[c] = nans[c] = 0.0
    for i in range(n):
        for c in range(width):
            a = x[i * step + c]
            tops[c] = select(a > tops[c], a, tops[c])
            nans[c] += select(a == a, 0.0, 1.0)
    for i in range(n):
        for c in range(width):
            counts[c] += select(x[i * step + c] == tops[c], 1.0, 0.0)


@inline
def clear(sums, rests, width, zero):
    for c in range(width):
        store(zero, sums, rests, c)


@inline
def sums_of(term, first, second, n, step, width, leads, lead_rests, sums, rests, zero):
    """For each column the sum of ``term(first entry, second entry, the column's lead, zero)``."""
    parts, part_rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    clear(sums, rests, width, zero)
    for start in range(min(n, STRIP)):
        clear(parts, part_rests, width, zero)
        for i in range(start, n, STRIP):
            for c in range(width):
                lead = fetch(zero, leads, lead_rests, c)
                value = term(first[i * step + c], second[i * step + c], lead, zero)
                store(add(fetch(zero, parts, part_rests, c), value), parts, part_rests, c)
        for c in range(width):
            value = add(fetch(zero, sums, rests, c), fetch(zero, parts, part_rests, c))
            store(value, sums, rests, c)


@inline
def below(a, _, top, zero):
    return exponential_below(widen(a), top)


@inline
def prepare(x, n, step, width, tops, counts, nans, sums, rests, with_zero, like):
    """What all results of a strip are made of: the largest entries, and the sums of all others."""
    leads, lead_rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    zero = constant(widen(like), 0.0, 0.0)
    largest(x, n, step, width, tops, counts, nans)
    for c in range(width):
        tops[c], counts[c] = beside_zero(tops[c], counts[c], with_zero, like)
    for c in range(width):
        store(widen(tops[c]), leads, lead_rests, c)
    sums_of(below, x, x, n, step, width, leads, lead_rests, sums, rests, zero)
    for c in range(width):
        rest = rest_beside_zero(fetch(zero, sums, rests, c), tops[c], with_zero, like)
        store(rest, sums, rests, c)


@inline
def chosen(special, a, top, at_top, elsewhere, at_nothing, ordinary):
    odd = select(a == -math.inf, at_nothing, select(a == top, at_top, elsewhere))
    return select(special > 0, odd, ordinary)


@inline
def logsumexp(work, part, parts):
    words, like = words_of(work)
    n, step, zero = words[LENGTH], words[INNER], constant(widen(like), 0.0, 0.0)
    tops, counts, nans = pointer(buffer(like), like), pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    sums, rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    for strip in range(first_strip(words, part, parts), first_strip(words, part + 1, parts)):
        x, out = strip_of(words, X, strip, like), values_of(words, OUT, strip, like)
        width = columns_of(words, strip)
        prepare(x, n, step, width, tops, counts, nans, sums, rests, words[ZERO], like)
        for c in range(width):
            out[c] = log_of_row(tops[c], counts[c], nans[c], fetch(zero, sums, rests, c))


@inline
def softmax_strips(work, part, parts, is_gradient):
    words, like = words_of(work)
    made = pointer(buffer(like), like)
    n, step, zero = words[LENGTH], words[INNER], constant(widen(like), 0.0, 0.0)
    tops, counts, nans = pointer(buffer(like), like), pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    sums, rests, special = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    at_top, elsewhere = pointer(buffer(like), like), pointer(buffer(like), like)
    at_nothing, dy = pointer(buffer(like), like), pointer(buffer(like), like)
    for strip in range(first_strip(words, part, parts), first_strip(words, part + 1, parts)):
        x, out = strip_of(words, X, strip, like), strip_of(words, OUT, strip, like)
        width, given = columns_of(words, strip), values_of(words, DY, strip, like)
        prepare(x, n, step, width, tops, counts, nans, sums, rests, words[ZERO], like)
        for c in range(width):
            dy[c] = given[c] if is_gradient else of_type(like, 1.0)
        for c in range(width):
            odd, at_top[c], elsewhere[c], at_nothing[c] = special_softmax(
                tops[c], counts[c], nans[c], dy[c], is_gradient, like
            )
            special[c] = 1.0 if odd else 0.0
            store(inverse_of(counts[c], fetch(zero, sums, rests, c)), sums, rests, c)
        for i in range(n):
            for c in range(width):
                a = x[i * step + c]
                share = share_of(a, tops[c], fetch(zero, sums, rests, c), dy[c], like)
                made[c] = chosen(special[c], a, tops[c], at_top[c], elsewhere[c], at_nothing[c], share)
            write(made, out, i * step, width)


@inline
def softmax(work, part, parts):
    softmax_strips(work, part, parts, False)


@inline
def logsumexp_backward(work, part, parts):
    softmax_strips(work, part, parts, True)


@inline
def log_softmax(work, part, parts):
    words, like = words_of(work)
    made = pointer(buffer(like), like)
    n, step, zero = words[LENGTH], words[INNER], constant(widen(like), 0.0, 0.0)
    tops, counts, nans = pointer(buffer(like), like), pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    sums, rests, special = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    at_top, elsewhere = pointer(buffer(like), like), pointer(buffer(like), like)
    for strip in range(first_strip(words, part, parts), first_strip(words, part + 1, parts)):
        x, out = strip_of(words, X, strip, like), strip_of(words, OUT, strip, like)
        width = columns_of(words, strip)
        prepare(x, n, step, width, tops, counts, nans, sums, rests, 0, like)
        for c in range(width):
            odd, at_top[c], elsewhere[c], _ = special_log_softmax(tops[c], counts[c], nans[c], like)
            special[c] = 1.0 if odd else 0.0
            store(log_of_sum(counts[c], fetch(zero, sums, rests, c)), sums, rests, c)
        for i in range(n):
            for c in range(width):
                a = x[i * step + c]
                value = log_softmax_value(a, tops[c], fetch(zero, sums, rests, c))
                made[c] = chosen(special[c], a, tops[c], at_top[c], elsewhere[c], elsewhere[c], value)
            write(made, out, i * step, width)


# Gradients from the result


@inline
def entry(first, second, lead, zero):
    return widen(first)


@inline
def flow(dy, y, lead, zero):
    return flow_below(widen(dy), widen(y), lead, zero)


@inline
def gradient_counted(dy, y, lead, zero):
    return counted(widen(dy), widen(y), zero)


@inline
def softmax_backward(work, part, parts):
    words, like = words_of(work)
    made = pointer(buffer(like), like)
    n, step, zero = words[LENGTH], words[INNER], constant(widen(like), 0.0, 0.0)
    tops, counts, nans = pointer(buffer(like), like), pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    leads, lead_rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    sums, rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    of_zero, zero_rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    for strip in range(first_strip(words, part, parts), first_strip(words, part + 1, parts)):
        y, out = strip_of(words, X, strip, like), strip_of(words, OUT, strip, like)
        dy, width = strip_of(words, DY, strip, like), columns_of(words, strip)
        largest(y, n, step, width, tops, counts, nans)
        for i in range(n - 1, -1, -1):  # that of the first of several largest remains
            for c in range(width):
                lead = fetch(zero, leads, lead_rests, c)
                is_top = y[i * step + c] == tops[c]
                store(widen(dy[i * step + c]) if is_top else lead, leads, lead_rests, c)
        clear(of_zero, zero_rests, width, zero)
        if words[ZERO]:
            sums_of(entry, y, y, n, step, width, leads, lead_rests, of_zero, zero_rests, zero)
            for c in range(width):
                share = share_of_zero(fetch(zero, of_zero, zero_rests, c), zero)
                store(share, of_zero, zero_rests, c)
                lead = where_gt(share, widen(tops[c]), zero, fetch(zero, leads, lead_rests, c))
                store(lead, leads, lead_rests, c)
        sums_of(flow, dy, y, n, step, width, leads, lead_rests, sums, rests, zero)
        for c in range(width):
            share, lead = fetch(zero, of_zero, zero_rests, c), fetch(zero, leads, lead_rests, c)
            mean = add(fetch(zero, sums, rests, c), flow_below(zero, share, lead, zero))
            store(mean, sums, rests, c)
        for i in range(n):
            for c in range(width):
                share, lead = y[i * step + c], fetch(zero, leads, lead_rests, c)
                mean = fetch(zero, sums, rests, c)
                value = softmax_flow(widen(dy[i * step + c]), widen(share), lead, mean, zero)
                odd = select(share == like, like, of_type(like, math.nan))
                made[c] = select(nans[c] > 0, odd, value)
            write(made, out, i * step, width)


@inline
def log_softmax_backward(work, part, parts):
    words, like = words_of(work)
    made = pointer(buffer(like), like)
    n, step, zero = words[LENGTH], words[INNER], constant(widen(like), 0.0, 0.0)
    sums, rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    for strip in range(first_strip(words, part, parts), first_strip(words, part + 1, parts)):
        y, out = strip_of(words, X, strip, like), strip_of(words, OUT, strip, like)
        dy, width = strip_of(words, DY, strip, like), columns_of(words, strip)
        sums_of(gradient_counted, dy, y, n, step, width, sums, rests, sums, rests, zero)
        for i in range(n):
            for c in range(width):
                j = i * step + c
                all_dy = fetch(zero, sums, rests, c)
                made[c] = log_softmax_flow(widen(dy[j]), widen(y[j]), all_dy, zero)
            write(made, out, i * step, width)
