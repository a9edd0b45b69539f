"""logsumexp of weighted rows from end to end, and its gradient: what a call inside @njit runs.

The sums are those of ``weighted``.  Rows that these leave out go the way of ``fastrelu/reference/rows.py``,
in float64, and so do gradients, of whose last bit nothing is promised.
"""

import math

import numpy as np

from . import formulas, pair
from .blocks import of_type, pointer
from .rows import LENGTH, OUT, X, first_row, row_of, words_of
from .scalar import inline
from .weighted import WEIGHTS, weighted

__all__ = ["gradient", "logs"]

# Words of a call, beside those of weighted.py, where OUT is room for its sums
TERMS, VALUES, SIGNS, DY, DX, GIVEN = 6, 7, 8, 7, 8, 9
NEGLIGIBLE = 2.0**-800  # what is left after cancelling may not be as small as what underflow left out


@inline
def log_of(m, lead, rest):
    """The logarithm of exp(m) |lead + rest|, of pairs, and the sign: as ``rows.log_of_sum``."""
    total = pair.add(lead, rest)
    sign = 1.0 if total[0] > 0 else -1.0
    lead, rest = (sign * lead[0], sign * lead[1]), (sign * rest[0], sign * rest[1])
    e = pair.binade((sign * total[0], sign * total[1]))
    excess = pair.add(pair.sub(lead, pair.power_of_two(e)), rest)
    excess = pair.scaled(excess, pair.power_of_two((-e[0], 0.0)))
    log = pair.add(pair.mul(e, formulas.LN2), formulas.log_of_excess_wide_d(excess))
    return pair.narrow(pair.add((m, 0.0), log)), sign


@inline
def terms_of(a, b, n, terms):
    """Each term b exp(a) of a row over the leading one; of that the entry and the weight, and both sums.

    A weight of 0 drops its entry.  The sums are those of the terms as large as the leading one but for their
    weights, which may cancel altogether, and of the others.
    """
    leading, largest = 0, -math.inf
    for j in range(n):
        size = -math.inf if b[j] == 0 else a[j] + math.log(abs(b[j]))
        if largest == largest and not size <= largest:
            leading, largest = j, size
    top, weight = np.float64(a[leading]), np.float64(b[leading])
    lead, rest = 0.0, 0.0
    for j in range(n):
        if b[j] == 0:
            terms[j] = 0.0
        else:
            terms[j] = 1.0 if j == leading else b[j] / weight * math.exp(a[j] - top)
            if a[j] == top:
                lead += terms[j]
            else:
                rest += terms[j]
    return top, weight, lead, rest


@inline
def log_of_odd(a, b, n, terms):
    top, weight, lead, rest = terms_of(a, b, n, terms)
    if weight == 0:
        return -math.inf, 0.0
    if abs(top) < math.inf and abs(weight) < math.inf:
        total = lead + rest
        if total == 0:
            return -math.inf, 0.0
        sign = 1.0 if total > 0 else -1.0
        log = math.log(abs(total)) if abs(total) < 0.5 else math.log1p((sign * lead - 1) + sign * rest)
        return (top + math.log(abs(weight))) + log, sign if weight > 0 else -sign
    direct = 0.0  # what exp and the sum make of infinities and NaN alone
    for j in range(n):
        if b[j] != 0 and not (abs(a[j]) < math.inf and abs(b[j]) < math.inf):
            direct += b[j] * math.exp(a[j])
    if direct != direct:
        return math.nan, math.nan
    if direct == 0:
        return -math.inf, 0.0
    return math.log(abs(direct)), 1.0 if direct > 0 else -1.0


@inline
def logs(work, part, parts):
    """The log of the absolute sum of each row, and its sign."""
    weighted(work, part, parts)
    words, like = words_of(work)
    n, terms = words[LENGTH], pointer(words[TERMS], 0.0)
    values, signs = pointer(words[VALUES], like), pointer(words[SIGNS], like)
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        sums = pointer(words[OUT] + row * 40, 0.0)
        lead, rest = (sums[1], sums[2]), (sums[3], sums[4])
        if abs(sums[0]) < math.inf and abs(lead[0] + rest[0]) > NEGLIGIBLE:
            value, sign = log_of(sums[0], lead, rest)
        else:
            value, sign = log_of_odd(row_of(words, X, row, like), row_of(words, WEIGHTS, row, like), n, terms)
        values[row], signs[row] = of_type(like, value), of_type(like, sign)


@inline
def gradient(work, part, parts):
    """The weighted softmax of each row times what flows into it; of the first GIVEN entries."""
    words, like = words_of(work)
    n, terms, given = words[LENGTH], pointer(words[TERMS], 0.0), words[GIVEN]
    dy, dx = pointer(words[DY], like), pointer(words[DX], like)
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        a, b = row_of(words, X, row, like), row_of(words, WEIGHTS, row, like)
        infinite, lowest, undefined = 0, 0, False
        for j in range(n):
            absent = b[j] == 0 or a[j] == -math.inf
            infinite += not absent and a[j] == math.inf
            lowest += absent
            undefined |= not absent and a[j] != a[j]
        undefined |= infinite > 1 or lowest == n
        _, _, lead, rest = terms_of(a, b, n, terms)
        for j in range(given):
            p = terms[j] / (lead + rest)
            if infinite:
                p = 1.0 if b[j] != 0 and a[j] == math.inf else 0.0
            if undefined:
                p = math.nan
            absent = p == 0 or b[j] == 0 or a[j] == -math.inf
            dx[row * given + j] = of_type(like, 0.0 if absent else dy[row] * p)
