"""The passes of ``rows`` and ``sums`` on contiguous ndarrays; others are the caller's to prepare."""

import ctypes
import functools

import numba
import numpy as np

from fastrelu.reference_rows import with_entry

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


def kernel(name):
    """``f(x, axis, out=None, keepdims=False, dy=None, one_dy_a_row=False)`` as `Backend.rows` has it."""
    if name == "softmax0.backward":  # its rows end with what the others leave
        return None
    own = name.replace("0", "")
    entry, zero, one_value = f"{elementwise.plain(own)}_rows", own != name, own == "logsumexp"

    def over_rows(x, out, dy):
        addresses = (0 if a is None else a.ctypes.data for a in (x, dy, out))
        run(entry, x.dtype.char, x.size * COST[x.dtype.char], *addresses, *x.shape, 0)

    def reduce(x, axis, out=None, keepdims=False, dy=None, one_dy_a_row=False):
        if type(x) is not np.ndarray or x.dtype.char not in "efd" or not x.size:
            return None
        last = _last_axes(axis, x.ndim)
        if last is None or not _plain(x, x.dtype, x.shape):
            return None
        kept = x.shape[: x.ndim - last]
        of_row = kept + (1,) * last if keepdims else kept
        if dy is not None and not _plain(dy, x.dtype, of_row if one_dy_a_row else x.shape):
            return None
        shape = of_row if one_value else x.shape
        if out is not None and (not _plain(out, x.dtype, shape) or not out.flags.writeable):
            return None
        if any(_conflict(a, out) for a in (x, dy)):
            return None
        out = np.empty(shape, x.dtype) if out is None else out
        rows = int(np.prod(kept, dtype=np.intp)), -1
        matrix, work = x.reshape(rows), np.promote_types(x.dtype, np.float32)
        if work == x.dtype and not zero:
            over_rows(matrix, out, dy)
            return out
        matrix = matrix.astype(work, copy=False)
        matrix = with_entry(matrix, 0) if zero else matrix
        made = np.empty(len(matrix) if one_value else matrix.shape, work)
        over_rows(matrix, made, None if dy is None else dy.astype(work, copy=False))
        with np.errstate(all="ignore"):
            out.reshape(-1 if one_value else rows)[...] = made[:, :-1] if zero and not one_value else made
        return out

    return reduce


def _plain(a, dtype, shape):
    """Whether this is an ndarray of a dtype and shape that our passes can read as it lies."""
    known = type(a) is np.ndarray and a.dtype == dtype and a.dtype.isnative and a.shape == shape
    return known and a.flags.c_contiguous and a.flags.aligned


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
    if a is None or out is None or (a.ctypes.data == out.ctypes.data and a.shape == out.shape):
        return False
    return np.may_share_memory(a, out)
