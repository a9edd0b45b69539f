"""The reductions over contiguous rows: logsumexp, softmax, log_softmax, their gradients, and weighted sums.

A row is read in strips, and what belongs to the j-th entries of all strips is added up by itself: so LLVM
may use vectors without changing the order of any addition, and a row's result depends on nothing but the
row.  float32 is summed in float64, float64 in pairs.

With m the largest entry, `count` of them, and rest = sum exp(x - m) over all others, results are those of
``fastrelu/reference_rows.py``, special rows included.  Functions named by a pass take the addresses and
lengths of a whole call as machine words, and which of how many parts of its rows to do.
"""

import math

from numba import types
from numba.extending import intrinsic

from . import formulas
from .blocks import CHUNK as STRIP
from .blocks import buffer, of_type, pointer, size_of
from .both import (
    add,
    binade,
    constant,
    div,
    expm1_nonpositive,
    fetch,
    log_of_excess,
    mul,
    narrow,
    normalised,
    parts_of,
    power_of_two,
    scaled,
    store,
    sub,
    weighted_term,
    where_eq,
    widen,
)
from .scalar import inline, select

__all__ = [
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "logsumexp_backward",
    "signature",
    "softmax",
    "softmax_backward",
    "weighted",
]

X, DY, OUT, ROWS, LENGTH, WEIGHT_STEP = range(6)  # words of a call


def signature(type_):
    """A part of a call on entries of a type, as the thread pool calls it (``Share`` of loops/pool.h)."""
    return types.void(types.CPointer(type_), types.intc, types.intc)


# Over the entries of a row


@inline
def largest(x, n, like):
    """The largest entry, how many equal it, and how many are NaN."""
    tops, counts = pointer(buffer(like), like), pointer(buffer(like), like)
    width, one = min(n, STRIP), of_type(like, 1.0)
    for j in range(width):
        tops[j] = -math.inf
        counts[j] = 0
    for start in range(0, n, STRIP):
        for j in range(min(STRIP, n - start)):
            a = x[start + j]
            tops[j] = select(a > tops[j], a, tops[j])
            counts[j] += select(a == a, like, one)
    top, count, nans = tops[0], 0.0, 0.0
    for j in range(width):
        top = max(top, tops[j])
        nans += counts[j]
        counts[j] = 0
    for start in range(0, n, STRIP):
        for j in range(min(STRIP, n - start)):
            counts[j] += select(x[start + j] == top, one, like)
    for j in range(width):
        count += counts[j]
    return top, count, nans


@inline
def total(sums, rests, width, zero):
    value = zero
    for j in range(width):
        value = add(value, fetch(zero, sums, rests, j))
    return value


@inline
def rest_of(x, n, top, like):
    """The sum of exp(x - top) over all entries but those equal to it."""
    sums, rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    width, m = min(n, STRIP), widen(top)
    zero, one = constant(m, 0.0, 0.0), constant(m, 1.0, 0.0)
    lowest = widen(of_type(like, -math.inf))
    for j in range(width):
        store(zero, sums, rests, j)
    for start in range(0, n, STRIP):
        for j in range(min(STRIP, n - start)):
            a = widen(x[start + j])
            term = weighted_term(sub(a, m), one)
            term = where_eq(a, m, zero, where_eq(a, lowest, zero, term))
            store(add(fetch(zero, sums, rests, j), term), sums, rests, j)
    return total(sums, rests, width, zero)


@inline
def log_of_sum(count, rest):
    """log(count + rest) = e ln 2 + log1p(v), count + rest = 2^e (1 + v): v is made of an exact difference."""
    whole = add(constant(rest, count, 0.0), rest)
    e = binade(whole)
    v = add(sub(constant(rest, count, 0.0), power_of_two(e)), rest)
    v = scaled(v, power_of_two(sub(constant(rest, 0.0, 0.0), e)))
    return add(mul(e, constant(rest, formulas.LN2[0], formulas.LN2[1])), log_of_excess(v))


# Over the rows of a part: `work` points to the words of a call, and its type tells that of the entries


@intrinsic
def words_of(typing, work):
    """The words of a call, and a 0 of the type of its entries."""

    def build(context, builder, signature, arguments):
        words = builder.bitcast(arguments[0], context.get_value_type(words_type))
        return context.make_tuple(builder, signature.return_type, (words, context.get_constant(like, 0)))

    words_type, like = types.CPointer(types.intp), work.dtype
    return types.Tuple((words_type, like))(work), build


@inline
def first_row(words, part, parts):
    return words[ROWS] * part // parts


@inline
def row_of(words, operand, row, like):
    """Where a row of an operand begins."""
    return pointer(words[operand] + row * words[LENGTH] * size_of(like), like)


@inline
def write(made, out, start, count):
    """A strip of results, kept back until now: they may replace what they are made of."""
    for j in range(count):
        out[start + j] = made[j]


@inline
def write_special(x, n, out, top, at_top, elsewhere, at_nothing):
    """The results of a row without an ordinary maximum: at it, elsewhere, and at -inf."""
    for j in range(n):
        value = select(x[j] == top, at_top, elsewhere)
        out[j] = select(x[j] == -math.inf, at_nothing, value)


@inline
def logsumexp(work, part, parts):
    words, like = words_of(work)
    out, n = pointer(words[OUT], like), words[LENGTH]
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        x = row_of(words, X, row, like)
        top, count, nans = largest(x, n, like)
        if nans > 0:
            out[row] = math.nan
        elif abs(top) == math.inf:
            out[row] = top
        else:
            out[row] = narrow(add(widen(top), log_of_sum(count, rest_of(x, n, top, like))))


@inline
def softmax_row(x, n, out, dy, is_gradient, like):
    """exp(x) / sum(exp(x)), or this times `dy`, to which no entry of -inf contributes."""
    top, count, nans = largest(x, n, like)
    nothing, undefined = like, of_type(like, math.nan)
    if nans > 0 or (top == math.inf and count > 1):
        return write_special(x, n, out, top, undefined, undefined, nothing if is_gradient else undefined)
    if top == math.inf:
        return write_special(x, n, out, top, dy, nothing, nothing)
    if top == -math.inf:
        only = nothing if is_gradient else undefined
        return write_special(x, n, out, top, only, only, only)
    m, made = widen(top), pointer(buffer(like), like)
    inverse = div(constant(m, 1.0, 0.0), normalised(add(constant(m, count, 0.0), rest_of(x, n, top, like))))
    for start in range(0, n, STRIP):
        width = min(STRIP, n - start)
        for j in range(width):
            share = narrow(weighted_term(sub(widen(x[start + j]), m), inverse))
            made[j] = select(share == nothing, nothing, share * dy)
        write(made, out, start, width)


@inline
def softmax(work, part, parts):
    words, like = words_of(work)
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        x, out = row_of(words, X, row, like), row_of(words, OUT, row, like)
        softmax_row(x, words[LENGTH], out, of_type(like, 1.0), False, like)


@inline
def logsumexp_backward(work, part, parts):
    words, like = words_of(work)
    dy = pointer(words[DY], like)
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        x, out = row_of(words, X, row, like), row_of(words, OUT, row, like)
        softmax_row(x, words[LENGTH], out, dy[row], True, like)


@inline
def log_softmax(work, part, parts):
    words, like = words_of(work)
    n, made = words[LENGTH], pointer(buffer(like), like)
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        x, out = row_of(words, X, row, like), row_of(words, OUT, row, like)
        top, count, nans = largest(x, n, like)
        if nans > 0 or abs(top) == math.inf:
            undefined = nans > 0 or count > 1 or top < 0
            at_top, elsewhere = (math.nan, math.nan) if undefined else (0.0, -math.inf)
            write_special(
                x, n, out, top, of_type(like, at_top), of_type(like, elsewhere), of_type(like, elsewhere)
            )
            continue
        m, log_sum = widen(top), log_of_sum(count, rest_of(x, n, top, like))
        for start in range(0, n, STRIP):
            width = min(STRIP, n - start)
            for j in range(width):
                made[j] = narrow(sub(sub(widen(x[start + j]), m), log_sum))
            write(made, out, start, width)


@inline
def softmax_backward(work, part, parts):
    """y (dy - sum(dy y)), dy counted from its value at the largest y: what then remains there is small."""
    words, like = words_of(work)
    n, made = words[LENGTH], pointer(buffer(like), like)
    sums, rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    zero = constant(widen(like), 0.0, 0.0)
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        y, out, dy = row_of(words, X, row, like), row_of(words, OUT, row, like), row_of(words, DY, row, like)
        top, _, nans = largest(y, n, like)
        if nans > 0:
            write_special(y, n, out, like, like, of_type(like, math.nan), like)
            continue
        leading = widen(dy[position(y, n, top)])
        for j in range(min(n, STRIP)):
            store(zero, sums, rests, j)
        for start in range(0, n, STRIP):
            for j in range(min(STRIP, n - start)):
                term = mul(sub(widen(dy[start + j]), leading), widen(y[start + j]))
                term = where_eq(widen(y[start + j]), zero, zero, term)
                store(add(fetch(zero, sums, rests, j), term), sums, rests, j)
        mean = total(sums, rests, min(n, STRIP), zero)
        for start in range(0, n, STRIP):
            width = min(STRIP, n - start)
            for j in range(width):
                share = widen(y[start + j])
                flow = mul(share, sub(sub(widen(dy[start + j]), leading), mean))
                made[j] = narrow(where_eq(share, zero, zero, flow))
            write(made, out, start, width)


@inline
def position(y, n, value):
    for j in range(n):
        if y[j] == value:
            return j
    return 0


@inline
def log_softmax_backward(work, part, parts):
    """dy (1 - p) - p (the sum of the other dy), p = exp(y): 1 - p is small where p dominates."""
    words, like = words_of(work)
    n, made = words[LENGTH], pointer(buffer(like), like)
    sums, rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    zero, one = constant(widen(like), 0.0, 0.0), constant(widen(like), 1.0, 0.0)
    lowest = widen(of_type(like, -math.inf))
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        y, out, dy = row_of(words, X, row, like), row_of(words, OUT, row, like), row_of(words, DY, row, like)
        for j in range(min(n, STRIP)):
            store(zero, sums, rests, j)
        for start in range(0, n, STRIP):
            for j in range(min(STRIP, n - start)):
                term = where_eq(widen(y[start + j]), lowest, zero, widen(dy[start + j]))
                store(add(fetch(zero, sums, rests, j), term), sums, rests, j)
        all_dy = total(sums, rests, min(n, STRIP), zero)
        for start in range(0, n, STRIP):
            width = min(STRIP, n - start)
            for j in range(width):
                log_share, own = widen(y[start + j]), widen(dy[start + j])
                share = weighted_term(log_share, one)
                flow = sub(mul(share, sub(own, all_dy)), mul(own, expm1_nonpositive(log_share)))
                made[j] = narrow(where_eq(log_share, lowest, zero, flow))
            write(made, out, start, width)


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
        b = pointer(words[DY] + row * words[WEIGHT_STEP] * size_of(like), like)
        top, odd = of_type(like, -math.inf), 0.0
        for start in range(0, n, STRIP):
            load_weighted(x, b, words[DY], start, min(STRIP, n - start), entries, weights)
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
            load_weighted(x, b, words[DY], start, width, entries, weights)
            for j in range(width):
                a, weight = widen(entries[j]), widen(weights[j])
                lead = where_eq(a, m, weight, zero)
                other = where_eq(a, m, zero, weighted_term(sub(a, m), weight))
                store(add(fetch(zero, leads, lead_rests, j), lead), leads, lead_rests, j)
                store(add(fetch(zero, others, other_rests, j), other), others, other_rests, j)
        made[0] = top
        made[1], made[2] = parts_of(total(leads, lead_rests, min(n, STRIP), zero))
        made[3], made[4] = parts_of(total(others, other_rests, min(n, STRIP), zero))
