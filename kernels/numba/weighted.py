"""Sums of weighted exponentials over contiguous rows, of which the caller makes the logarithm."""

import math

from .blocks import CHUNK as STRIP
from .blocks import buffer, of_type, pointer, size_of
from .both import add, constant, fetch, parts_of, store, sub, weighted_term, where_eq, widen
from .rows import LENGTH, OUT, X, first_row, row_of, total, words_of
from .scalar import inline, select

__all__ = ["weighted"]

WEIGHTS, WEIGHT_STEP = 1, 5  # words of a call, beside those of rows.py


@inline
def is_odd(a, weight):
    """Whether an entry is +inf or NaN, or its weight so large or small that a product may leave the range."""
    size = abs(weight)
    plain = (a < math.inf) & (((size >= 2.0**-100) & (size <= 2.0**100)) | (size == 0))
    return select(plain, 0.0, 1.0)


@inline
def load_weighted(x, b, has_weights, start, count, entries, weights):
    """A strip of a row; entries whose weight is 0 become -inf."""
    for j in range(count):
        entries[j], weights[j] = x[start + j], 1
    if has_weights:
        lowest = of_type(x[0], -math.inf)
        for j in range(count):
            weight = b[start + j]
            weights[j] = weight
            entries[j] = select(weight == 0, lowest, entries[j])


@inline
def weighted(work, part, parts):
    """The largest entry m, and as pairs the sums of weight exp(x - m) where x is m, and where it is not.

    A row that holds anything out of the ordinary is left to the caller: its maximum is given out as NaN.
    """
    words, like = words_of(work)
    n = words[LENGTH]
    leads, lead_rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    others, other_rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    entries, weights = pointer(buffer(like), like), pointer(buffer(like), like)
    zero = constant(widen(like), 0.0, 0.0)
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        x, made = row_of(words, X, row, like), pointer(words[OUT] + row * 40, 0.0)
        b = pointer(words[WEIGHTS] + row * words[WEIGHT_STEP] * size_of(like), like)
        top, odd = of_type(like, -math.inf), 0.0
        for start in range(0, n, STRIP):
            load_weighted(x, b, words[WEIGHTS], start, min(STRIP, n - start), entries, weights)
            for j in range(min(STRIP, n - start)):
                top = max(top, entries[j])
                odd += is_odd(entries[j], weights[j])
        if odd > 0 or abs(top) == math.inf:
            for j in range(5):
                made[j] = math.nan
            continue
        m = widen(top)
        for j in range(min(n, STRIP)):
            store(zero, leads, lead_rests, j)
            store(zero, others, other_rests, j)
        for start in range(0, n, STRIP):
            width = min(STRIP, n - start)
            load_weighted(x, b, words[WEIGHTS], start, width, entries, weights)
            for j in range(width):
                a, weight = widen(entries[j]), widen(weights[j])
                lead = where_eq(a, m, weight, zero)
                other = where_eq(a, m, zero, weighted_term(sub(a, m), weight))
                store(add(fetch(zero, leads, lead_rests, j), lead), leads, lead_rests, j)
                store(add(fetch(zero, others, other_rests, j), other), others, other_rests, j)
        made[0] = top
        made[1], made[2] = parts_of(total(leads, lead_rests, min(n, STRIP), zero))
        made[3], made[4] = parts_of(total(others, other_rests, min(n, STRIP), zero))
