"""The passes of ``rows`` and ``sums`` on contiguous ndarrays; others are the caller's to prepare."""

import ctypes
import functools

import numba
import numpy as np

from . import elementwise, entries, rows, shares

__all__ = ["kernel", "sums", "weighted"]

COST = {"f": 40, "d": 120}  # of an entry, in sixteenths of a nanosecond, as in fastrelu/table.py
SHARE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)


@functools.cache
def compiled(entry, char):
    """A pass for a type of entries, as Numba's function and as one of ctypes."""
    signature = rows.signature(elementwise.TYPES[char])
    made = elementwise.compiled(numba.cfunc, signature, getattr(entries, entry))
    return made, SHARE(made.address)


def run(entry, char, cost, *words):
    """Do all of a call; the words are its addresses and lengths."""
    made, function = compiled(entry, char)
    words = np.array(words, np.intp)
    shares.over_parts(made.address, function, words.ctypes.data, cost)


def kernel(name, char):
    """``f(x, axis, out=None, keepdims=False, dy=None, one_dy_a_row=False)`` as `Backend.rows` has it."""
    dtype, one_value = np.dtype(char), name == "logsumexp"
    entry = f"{elementwise.plain(name)}_rows"

    def plain(a, shape):
        known = type(a) is np.ndarray and a.dtype == dtype and a.dtype.isnative and a.shape == shape
        return known and a.flags.c_contiguous and a.flags.aligned

    def reduce(x, axis, out=None, keepdims=False, dy=None, one_dy_a_row=False):
        last = _last_axes(axis, x.ndim)
        if last is None or not x.size or not plain(x, x.shape):
            return None
        kept = x.shape[: x.ndim - last]
        of_row = kept + (1,) * last if keepdims else kept
        if dy is not None and not plain(dy, of_row if one_dy_a_row else x.shape):
            return None
        shape = of_row if one_value else x.shape
        if out is None:
            out = np.empty(shape, dtype)
        elif not plain(out, shape) or not out.flags.writeable or any(_conflict(a, out) for a in (x, dy)):
            return None
        count = int(np.prod(kept, dtype=np.intp))
        addresses = (0 if a is None else a.ctypes.data for a in (x, dy, out))
        run(entry, char, x.size * COST[char], *addresses, count, x.size // count, 0)
        return out

    return reduce


def weighted(char):
    """``f(a, b)`` as `Backend.weighted` has it."""

    def sums_of(a, b):
        made = np.empty((len(a), 5))
        step = 0 if b is None or len(b) == 1 else a.shape[1]
        addresses = (0 if v is None else v.ctypes.data for v in (a, b, made))
        run("weighted_rows", char, a.size * COST[char], *addresses, *a.shape, step)
        return made

    return sums_of


def sums(kernel, char):
    """``f(lengths, arrays, result)`` as `Backend.sums` has it."""
    entry = f"{elementwise.plain(kernel.name)}_{char}_sums"

    def sum_terms(lengths, arrays, result):
        dy, x, *parameters = arrays
        parameters = (parameters * 2)[:2]
        addresses = (a.ctypes.data for a in (dy, x, result, *parameters))
        varies = (int(a.size > 1) for a in parameters)
        run(entry, char, dy.size * (kernel.cost + COST[char]), *addresses, *lengths, *varies)

    return sum_terms


def _last_axes(axis, ndim):
    """How many axes `axis` names if these are the last ones; None if not."""
    if axis is None:
        return ndim or None
    named = axis if type(axis) is tuple else (axis,)
    if not all(type(a) is int and -ndim <= a < ndim for a in named):
        return None
    found = sorted(a % ndim for a in named)
    return len(found) if found and found == list(range(ndim - len(found), ndim)) else None


def _conflict(a, out):
    """Whether writing `out` could change what is still to be read of `a`: not where they are the same."""
    if a is None or (a.ctypes.data == out.ctypes.data and a.shape == out.shape):
        return False
    return np.may_share_memory(a, out)
