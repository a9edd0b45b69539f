"""The passes of ``rows`` and ``sums`` on contiguous ndarrays; others are the caller's to prepare."""

import ctypes
import functools
import math

import numba
import numpy as np

from fastrelu.reference.rows import Rows

from . import elementwise, entries, rows, shares

__all__ = ["kernel", "losses", "sums", "weighted"]

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
    own = name.replace("0", "")
    entry, zero, one_value = elementwise.plain(own), own != name, own == "logsumexp"

    def over_rows(x, lengths, out, dy):
        layout = "rows" if lengths[2] == 1 else "columns"
        addresses = (0 if a is None else a.ctypes.data for a in (x, dy, out))
        char = x.dtype.char
        run(f"{entry}_{layout}", char, x.size * COST[char], *addresses, *lengths, zero)

    def reduce(x, axis, out=None, keepdims=False, dy=None, one_dy_a_row=False):
        if type(x) is not np.ndarray or x.dtype.char not in "efd" or not x.size:
            return None
        first, end = _neighbours(axis, x.ndim)
        if end is None or not _plain(x, x.dtype, x.shape):
            return None
        ones = (1,) * (end - first) if keepdims else ()
        of_row = x.shape[:first] + ones + x.shape[end:]
        if dy is not None and not _plain(dy, x.dtype, of_row if one_dy_a_row else x.shape):
            return None
        shape = of_row if one_value else x.shape
        if out is not None and (not _plain(out, x.dtype, shape) or not out.flags.writeable):
            return None
        if any(_conflict(a, out) for a in (x, dy)):
            return None
        out = np.empty(shape, x.dtype) if out is None else out
        lengths = [math.prod(part) for part in (x.shape[:first], x.shape[first:end], x.shape[end:])]
        work = np.promote_types(x.dtype, np.float32)
        if work == x.dtype:
            over_rows(x, lengths, out, dy)
            return out
        made = np.empty(shape, work)
        over_rows(x.astype(work), lengths, made, None if dy is None else dy.astype(work))
        with np.errstate(all="ignore"):
            out[...] = made
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


def losses(
    wants_loss,
    wants_gradient,
    dy,
    logits,
    labels,
    axis,
    weight,
    reduction,
    smoothing,
    ignore_index,
    out,
):
    """Cross entropy as `Backend.losses` has it, of arguments that were checked, into new arrays."""
    if logits.dtype.char not in "efd" or not logits.size:
        return None
    rows, work = Rows(logits.shape, axis), np.promote_types(logits.dtype, np.float32)
    x = np.require(rows.of(logits), work, "CA")
    count, classes = x.shape
    weights = np.ones(classes) if weight is None else np.require(weight, float, "CA")
    indices = known = None
    if labels.dtype.kind in "iu":
        indices = np.where(labels == ignore_index, -1, labels.astype(np.intp, copy=False)).reshape(-1)
        divisor = math.fsum(weights[indices[indices >= 0]])
    else:
        known, divisor = np.require(rows.of(labels), work, "CA"), count
    numbers = _pairs(np.array([1 - np.longdouble(smoothing), np.longdouble(smoothing) / classes]))
    with np.errstate(all="ignore"):
        factors = np.asarray(1 if dy is None else dy).astype(np.longdouble).reshape(-1)
        factors = _pairs(factors / np.longdouble(divisor) if reduction == "mean" else factors)
    gradient = np.empty_like(x) if wants_gradient else None
    made, step = np.empty((count, 2)), 16 if len(factors) > 1 else 0
    arrays = [x, indices, gradient, known, weights, factors, numbers, made]
    addresses = [0 if a is None else a.ctypes.data for a in arrays]
    addresses[3:3] = x.shape
    addresses[8:8] = [step]
    dense = known is not None or smoothing != 0
    run("cross_entropy_rows", x.dtype.char, 2 * x.size * COST[x.dtype.char], *addresses, dense)
    with np.errstate(all="ignore"):
        if gradient is not None:
            gradient = rows.whole(gradient.astype(logits.dtype, copy=False))
        if not wants_loss:
            return gradient
        made[np.isnan(made[:, 1]), 1] = 0  # beside an infinity
        found = made.sum(axis=1, dtype=np.longdouble)
        if reduction == "none":
            loss = found.astype(logits.dtype).reshape(rows.kept_shape)
        else:
            loss = logits.dtype.type(found.sum() / (divisor if reduction == "mean" else 1))
    return (loss, gradient) if wants_gradient else loss


def _pairs(values):
    """Numbers as sums of two float64."""
    high = values.astype(np.float64)
    return np.stack([high, (values - high).astype(np.float64)], axis=-1)


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


def _neighbours(axis, ndim):
    """The first axis that `axis` names and the one after the last, if none between them is missing."""
    named = range(ndim) if axis is None else axis if type(axis) is tuple else (axis,)
    if not all(type(a) is int and -ndim <= a < ndim for a in named):
        return 0, None
    found = sorted(a % ndim for a in named)
    first, end = (found[0], found[-1] + 1) if found else (0, None)
    return first, end if found == list(range(first, end or 0)) else None


def _conflict(a, out):
    """Whether writing `out` could change what is still to be read of `a`: not where they are the same."""
    if a is None or out is None or (a.ctypes.data == out.ctypes.data and a.shape == out.shape):
        return False
    return np.may_share_memory(a, out)
