"""Overloads of logsumexp where it has weights, or is asked for the sign: loops of Numba's over rows."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from . import passes
from .arguments import fail, is_none, plain, real
from .axes import put_in_place, rows_of, values_back
from .call import Call
from .translated import compiled_pass, keep, words_of_call

__all__ = ["signed_logs", "weighted_gradient"]


def _over_rows(dtype):
    """``over_rows(a, b)``: of contiguous rows and their weights the logs and the signs."""
    like, logs = dtype.type(0), compiled_pass("weighted_logs_rows")

    @register_jitable
    def over_rows(a, b):
        rows, length = a.shape
        values, signs = np.full(rows, -np.inf, a.dtype), np.zeros(rows, a.dtype)
        sums, terms = np.empty((rows, 5)), np.empty(length)
        if a.size:
            places = a.ctypes.data, b.ctypes.data, sums.ctypes.data, rows, length, length
            more = terms.ctypes.data, values.ctypes.data, signs.ctypes.data
            logs(words_of_call(like, (*places, *more)), 0, 1)
        keep(sums, terms)
        return values, signs

    return over_rows


def _gradient_over_rows(dtype):
    """``over_rows(dy, a, b, given)``: the gradient of the first `given` entries of each row."""
    like, gradient = dtype.type(0), compiled_pass("weighted_gradient_rows")

    @register_jitable
    def over_rows(dy, a, b, given):
        (rows, length), made = a.shape, np.empty((a.shape[0], given), a.dtype)
        terms = np.empty(length)
        if made.size:
            places = a.ctypes.data, b.ctypes.data, 0, rows, length, length
            more = terms.ctypes.data, dy.ctypes.data, made.ctypes.data, given
            gradient(words_of_call(like, (*places, *more)), 0, 1)
        keep(terms)
        return made

    return over_rows


@register_jitable
def _lay(rows, length, values):
    """Put values, row after row, into the first entries of rows."""
    row, j = 0, 0
    for value in values.flat:
        rows[row, j] = value
        j += 1
        if j == length:
            row, j = row + 1, 0


def _axes_beside_weights(name, given, ndim):
    """How many axes an array of `ndim` has together with the weights, whose type is checked."""
    kind = plain(given["b"])
    real(name, "b", kind)
    return max(ndim, getattr(kind, "ndim", 0))


def _rows(name, source, dtype, weighted):
    """Lines for the rows of entries and of weights, and what they name; an entry 0 more for logsumexp0."""
    shape = f"(rows, length + {int(name.startswith('logsumexp0'))})"
    names = {"np": np, "dtype": dtype.type, "lay": _lay}
    lines = [f"entries, weights = np.zeros({shape}, dtype), np.ones({shape}, dtype)"]
    lines += [f"lay(entries, length, transposed({source}, order))"]
    return [*lines, *(["lay(weights, length, transposed(b, order))"] if weighted else [])], names


def signed_logs(name, given, dtype, keepdims):
    """The lines of logsumexp with weights or signs, and what they name."""
    weighted, ndim, signed = not is_none(given["b"]), plain(given["a"]).ndim, given["return_sign"]
    signed = getattr(signed, "literal_value", getattr(signed, "value", signed))
    if signed and not is_none(given["out"]):
        fail(name, "out", "given", "none beside return_sign=True inside @njit")
    lines = []
    if weighted:
        ndim = _axes_beside_weights(name, given, ndim)
        if getattr(plain(given["b"]), "ndim", 0):
            lines += ["shape = broadcast_shape((a, b))"]
        else:
            lines += ["shape = a.shape", "b = np.full(1, b)"]
        lines += ["a, b = np.broadcast_to(a, shape), np.broadcast_to(b, shape)"]
    more, names, kept = rows_of(name, given["axis"], ndim, "a")
    names["broadcast_shape"] = passes.broadcast_shape(Call(name, "", dtype, ("a", "b")))
    lines += more
    more, known = _rows(name, "a", dtype, weighted)
    names |= known | {"over_rows": _over_rows(dtype)}
    lines += [*more, "values, signs = over_rows(entries, weights)"]
    if signed:
        lines += [f"return {values_back('values', kept, keepdims)}, {values_back('signs', kept, keepdims)}"]
        return lines, names
    lines += ["for i in range(rows):", "    if signs[i] < 0:", "        values[i] = np.nan"]
    lines += [f"result = {values_back('values', kept, keepdims)}"]
    return lines + put_in_place(name, given, ndim if keepdims else kept, names), names


def weighted_gradient(name, given, dtype):
    """Lines that make the rows of the gradient of what `flows` into rows, and what they name."""
    ndim = plain(given["x"]).ndim
    if _axes_beside_weights(name, given, ndim) > ndim:
        fail(name, "b", plain(given["b"]), "at most the axes of x: inside @njit it cannot stretch x")
    known = {"over_rows": _gradient_over_rows(dtype)}
    lines = [
        "b = np.broadcast_to(b, x.shape)"
        if getattr(plain(given["b"]), "ndim", 0)
        else "b = np.broadcast_to(np.full(1, b), x.shape)"
    ]
    more, names = _rows(name, "x", dtype, True)
    lines += [*more, "made = over_rows(flows.astype(dtype), entries, weights, length)"]
    return lines, names | known
