"""The reductions over contiguous rows: logsumexp, softmax, log_softmax and their gradients.

A row is read in strips, and what belongs to the j-th entries of all strips is added up by itself: so LLVM
may use vectors without changing the order of any addition, and a row's result depends on nothing but the
row.  float32 is summed in float64, float64 in pairs.  `columns` does the same for rows whose entries do not
follow each other, to the same bits.

With m the largest entry, `count` of them, and rest = sum exp(x - m) over all others, results are those of
``fastrelu/reference/rows.py``, special rows included.  Functions named by a pass take the addresses and
lengths of a whole call as machine words, and which of how many parts of its rows to do.  With the word ZERO
each row has one more entry, 0, of which no value is given out.
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
    power_of_two,
    scaled,
    store,
    sub,
    weighted_term,
    where_eq,
    where_ge,
    where_gt,
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
]

X, DY, OUT, OUTER, LENGTH, INNER, ZERO = range(7)  # words of a call; here INNER is 1


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
def beside_zero(top, count, zero, like):
    """The largest entry and how many equal it once a 0 is among them."""
    if zero and not top > like:
        return (like, 1.0) if top < like else (top, count + 1)
    return top, count


@inline
def rest_beside_zero(rest, top, zero, like):
    if zero and top > like:
        return add(rest, exponential_below(widen(like), widen(top)))
    return rest


@inline
def exponential_below(a, m):
    """exp(a - m) of an entry that is not the largest, m."""
    zero, one = constant(m, 0.0, 0.0), constant(m, 1.0, 0.0)
    term = weighted_term(sub(a, m), one)
    return where_eq(a, m, zero, where_eq(a, constant(m, -math.inf, 0.0), zero, term))


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
    zero = constant(m, 0.0, 0.0)
    for j in range(width):
        store(zero, sums, rests, j)
    for start in range(0, n, STRIP):
        for j in range(min(STRIP, n - start)):
            term = exponential_below(widen(x[start + j]), m)
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
    return words[OUTER] * part // parts


@inline
def row_of(words, operand, row, like):
    """Where a row of an operand begins."""
    return pointer(words[operand] + row * words[LENGTH] * size_of(like), like)


@inline
def write(made, out, start, count):
    """A strip of results, kept back until now: they may replace what they are made of."""
    for j in range(count):
        out[start + j] = made[j]


# Rows without an ordinary maximum: whether it is one, and its results at the maximum, elsewhere, at -inf.


@inline
def special_softmax(top, count, nans, dy, is_gradient, like):
    nothing, undefined = like, of_type(like, math.nan)
    absent = nothing if is_gradient else undefined
    if nans > 0 or (top == math.inf and count > 1):
        return True, undefined, undefined, absent
    if top == math.inf:
        return True, dy, nothing, nothing
    if top == -math.inf:
        return True, absent, absent, absent
    return False, nothing, nothing, nothing


@inline
def special_log_softmax(top, count, nans, like):
    undefined, lowest = of_type(like, math.nan), of_type(like, -math.inf)
    if nans > 0 or (abs(top) == math.inf and (count > 1 or top < 0)):
        return True, undefined, undefined, undefined
    return top == math.inf, like, lowest, lowest


@inline
def write_special(x, n, out, top, at_top, elsewhere, at_nothing):
    for j in range(n):
        value = select(x[j] == top, at_top, elsewhere)
        out[j] = select(x[j] == -math.inf, at_nothing, value)


@inline
def log_of_row(top, count, nans, rest):
    """logsumexp, special rows included."""
    plain = narrow(add(widen(top), log_of_sum(count, rest)))
    return select(nans > 0, of_type(top, math.nan), select(abs(top) == math.inf, top, plain))


@inline
def inverse_of(count, rest):
    """What an exponential is multiplied by."""
    one = constant(rest, 1.0, 0.0)
    return div(one, normalised(add(constant(rest, count, 0.0), rest)))


@inline
def share_of(a, top, inverse, dy, like):
    share = narrow(weighted_term(sub(widen(a), widen(top)), inverse))
    return select(share == like, like, share * dy)


@inline
def log_softmax_value(a, top, log_sum):
    return narrow(sub(sub(widen(a), widen(top)), log_sum))


@inline
def logsumexp(work, part, parts):
    words, like = words_of(work)
    out, n, zero = pointer(words[OUT], like), words[LENGTH], words[ZERO]
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        x = row_of(words, X, row, like)
        top, count, nans = largest(x, n, like)
        top, count = beside_zero(top, count, zero, like)
        out[row] = log_of_row(top, count, nans, rest_beside_zero(rest_of(x, n, top, like), top, zero, like))


@inline
def softmax_row(x, n, out, dy, is_gradient, zero, like):
    """exp(x) / sum(exp(x)), or this times `dy`, to which no entry of -inf contributes."""
    top, count, nans = largest(x, n, like)
    top, count = beside_zero(top, count, zero, like)
    special, at_top, elsewhere, at_nothing = special_softmax(top, count, nans, dy, is_gradient, like)
    if special:
        return write_special(x, n, out, top, at_top, elsewhere, at_nothing)
    inverse = inverse_of(count, rest_beside_zero(rest_of(x, n, top, like), top, zero, like))
    made = pointer(buffer(like), like)
    for start in range(0, n, STRIP):
        width = min(STRIP, n - start)
        for j in range(width):
            made[j] = share_of(x[start + j], top, inverse, dy, like)
        write(made, out, start, width)


@inline
def softmax(work, part, parts):
    words, like = words_of(work)
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        x, out = row_of(words, X, row, like), row_of(words, OUT, row, like)
        softmax_row(x, words[LENGTH], out, of_type(like, 1.0), False, words[ZERO], like)


@inline
def logsumexp_backward(work, part, parts):
    words, like = words_of(work)
    dy = pointer(words[DY], like)
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        x, out = row_of(words, X, row, like), row_of(words, OUT, row, like)
        softmax_row(x, words[LENGTH], out, dy[row], True, words[ZERO], like)


@inline
def log_softmax(work, part, parts):
    words, like = words_of(work)
    n, made = words[LENGTH], pointer(buffer(like), like)
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        x, out = row_of(words, X, row, like), row_of(words, OUT, row, like)
        top, count, nans = largest(x, n, like)
        special, at_top, elsewhere, at_nothing = special_log_softmax(top, count, nans, like)
        if special:
            write_special(x, n, out, top, at_top, elsewhere, at_nothing)
            continue
        log_sum = log_of_sum(count, rest_of(x, n, top, like))
        for start in range(0, n, STRIP):
            width = min(STRIP, n - start)
            for j in range(width):
                made[j] = log_softmax_value(x[start + j], top, log_sum)
            write(made, out, start, width)


# Gradients from the result, y


@inline
def flow_below(dy, y, leading, zero):
    """What an entry adds to sum((dy - leading) y): nothing where y is 0."""
    return where_eq(y, zero, zero, mul(sub(dy, leading), y))


@inline
def share_of_zero(sum_of_y, zero):
    """The softmax of the entry 0, from those of all others."""
    left = sub(constant(zero, 1.0, 0.0), sum_of_y)
    return where_ge(left, zero, left, zero)


@inline
def softmax_flow(dy, y, leading, mean, zero):
    return narrow(where_eq(y, zero, zero, mul(y, sub(sub(dy, leading), mean))))


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
        leading, of_zero = widen(dy[position(y, n, top)]), zero
        if words[ZERO]:
            of_zero = share_of_zero(sum_of(y, n, zero), zero)
            leading = where_gt(of_zero, widen(top), zero, leading)
        for j in range(min(n, STRIP)):
            store(zero, sums, rests, j)
        for start in range(0, n, STRIP):
            for j in range(min(STRIP, n - start)):
                term = flow_below(widen(dy[start + j]), widen(y[start + j]), leading, zero)
                store(add(fetch(zero, sums, rests, j), term), sums, rests, j)
        mean = total(sums, rests, min(n, STRIP), zero)
        mean = add(mean, flow_below(zero, of_zero, leading, zero))
        for start in range(0, n, STRIP):
            width = min(STRIP, n - start)
            for j in range(width):
                made[j] = softmax_flow(widen(dy[start + j]), widen(y[start + j]), leading, mean, zero)
            write(made, out, start, width)


@inline
def sum_of(y, n, zero):
    sums, rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    for j in range(min(n, STRIP)):
        store(zero, sums, rests, j)
    for start in range(0, n, STRIP):
        for j in range(min(STRIP, n - start)):
            store(add(fetch(zero, sums, rests, j), widen(y[start + j])), sums, rests, j)
    return total(sums, rests, min(n, STRIP), zero)


@inline
def position(y, n, value):
    for j in range(n):
        if y[j] == value:
            return j
    return 0


@inline
def counted(dy, log_share, zero):
    """`dy`, unless the entry is absent."""
    return where_eq(log_share, constant(zero, -math.inf, 0.0), zero, dy)


@inline
def log_softmax_flow(dy, log_share, all_dy, zero):
    """dy (1 - p) - p (the sum of the other dy), p = exp(y): 1 - p is small where p dominates."""
    share = weighted_term(log_share, constant(zero, 1.0, 0.0))
    flow = sub(mul(share, sub(dy, all_dy)), mul(dy, expm1_nonpositive(log_share)))
    return narrow(counted(flow, log_share, zero))


@inline
def log_softmax_backward(work, part, parts):
    words, like = words_of(work)
    n, made = words[LENGTH], pointer(buffer(like), like)
    sums, rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    zero = constant(widen(like), 0.0, 0.0)
    for row in range(first_row(words, part, parts), first_row(words, part + 1, parts)):
        y, out, dy = row_of(words, X, row, like), row_of(words, OUT, row, like), row_of(words, DY, row, like)
        for j in range(min(n, STRIP)):
            store(zero, sums, rests, j)
        for start in range(0, n, STRIP):
            for j in range(min(STRIP, n - start)):
                term = counted(widen(dy[start + j]), widen(y[start + j]), zero)
                store(add(fetch(zero, sums, rests, j), term), sums, rests, j)
        all_dy = total(sums, rests, min(n, STRIP), zero)
        for start in range(0, n, STRIP):
            width = min(STRIP, n - start)
            for j in range(width):
                made[j] = log_softmax_flow(widen(dy[start + j]), widen(y[start + j]), all_dy, zero)
            write(made, out, start, width)
