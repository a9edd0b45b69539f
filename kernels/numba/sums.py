"""Gradients of parameters: the terms of a kernel, summed over what a parameter was broadcast along.

The operands lie contiguous as (outer, kept, inner) and a parameter has one value, or one for each of `kept`.
Terms are added as float64 or pairs before anything is rounded, each sum in an order of its own that no
number of threads changes.
"""

from .blocks import CHUNK as STRIP
from .blocks import buffer, pointer
from .both import add, constant, fetch, narrow, store, widen
from .rows import total, words_of
from .scalar import inline

__all__ = ["one_parameter", "two_parameters"]

DY, X, OUT, P, Q, OUTER, KEPT, INNER, P_VARIES, Q_VARIES = range(10)  # words of a call
ALONG = 16  # inner entries from which each of them is worth a sum of its own


@inline
def one_parameter(term, work, part, parts):
    _sums(term, _of_one, work, part, parts)


@inline
def two_parameters(term, work, part, parts):
    _sums(term, _of_two, work, part, parts)


@inline
def _of_one(term, dy, x, p, q):
    return term(dy, x, p)


@inline
def _of_two(term, dy, x, p, q):
    return term(dy, x, p, q)


@inline
def _sums(term, call, work, part, parts):
    words, like = words_of(work)
    first, end = words[KEPT] * part // parts, words[KEPT] * (part + 1) // parts
    if words[INNER] >= ALONG:
        _along(term, call, words, like, first, end)
    else:
        _columns(term, call, words, like, first, end)


@inline
def _along(term, call, words, like, first, end):
    """Each sum over strips of the inner entries."""
    dy, x, out, p, q = _pointers(words, like)
    sums, rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    zero, inner = constant(widen(like), 0.0, 0.0), words[INNER]
    width = min(inner, STRIP)
    for k in range(first, end):
        a, b = p[k * words[P_VARIES]], q[k * words[Q_VARIES]]
        for j in range(width):
            store(zero, sums, rests, j)
        for outer in range(words[OUTER]):
            begin = (outer * words[KEPT] + k) * inner
            for start in range(0, inner, STRIP):
                for j in range(min(STRIP, inner - start)):
                    i = begin + start + j
                    value = add(fetch(zero, sums, rests, j), call(term, dy[i], x[i], a, b))
                    store(value, sums, rests, j)
        out[k] = narrow(total(sums, rests, width, zero))


@inline
def _columns(term, call, words, like, first, end):
    """A strip of sums at a time, over the outer entries: few inner ones follow each other."""
    dy, x, out, p, q = _pointers(words, like)
    sums, rests = pointer(buffer(0.0), 0.0), pointer(buffer(0.0), 0.0)
    of_p, of_q = pointer(buffer(like), like), pointer(buffer(like), like)
    zero, inner = constant(widen(like), 0.0, 0.0), words[INNER]
    at_once = STRIP // inner
    for begin in range(first, end, at_once):
        count = min(at_once, end - begin)
        for j in range(count * inner):
            k = begin + j // inner
            of_p[j], of_q[j] = p[k * words[P_VARIES]], q[k * words[Q_VARIES]]
            store(zero, sums, rests, j)
        for outer in range(words[OUTER]):
            start = (outer * words[KEPT] + begin) * inner
            for j in range(count * inner):
                one = call(term, dy[start + j], x[start + j], of_p[j], of_q[j])
                store(add(fetch(zero, sums, rests, j), one), sums, rests, j)
        for k in range(count):
            value = zero
            for j in range(k * inner, (k + 1) * inner):
                value = add(value, fetch(zero, sums, rests, j))
            out[begin + k] = narrow(value)


@inline
def _pointers(words, like):
    return (
        pointer(words[DY], like),
        pointer(words[X], like),
        pointer(words[OUT], like),
        pointer(words[P], like),
        pointer(words[Q], like),
    )
