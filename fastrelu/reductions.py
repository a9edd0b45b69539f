"""logsumexp and logsumexp0: SciPy's signature, plus ``out=`` and ``.backward``.

Arrays that a compiled kernel takes as they lie go straight to it.  For all others arguments are checked here,
the kernel or the reference does the rest, and both know every special value.  Complex numbers and long double
always go to the reference, as do rows whose weights or entries are out of the ordinary.
"""

from __future__ import annotations

import numpy as np

from . import dispatch, rowwise
from .device import reductions as device_reductions
from .docstrings import attached, sharing
from .reference import rows as reference_rows
from .reference.rows import Rows, result_dtype, weight_dtype, with_entry
from .weighted import logsumexp_rows, weight_rows

__all__ = ["logsumexp", "logsumexp0"]


FORWARD = """
Parameters
----------
a : array_like
    Real or complex.
axis : None, int or tuple of ints, default None
    The axes to sum over; None: all.
b : array_like, optional
    Weights, of a shape that broadcasts with `a`; they may be negative. A weight of 0 drops its entry,
    infinite or NaN included. They are cast to the precision of `a`.
keepdims : bool, default False
    Keep the reduced axes with length 1.
return_sign : bool, default False
    Return the log of the absolute sum, and the sign of the sum. Without it a negative sum gives NaN.
out : ndarray, or a pair of them with `return_sign`, optional
    Where to write the result; it may overlap the inputs.

Returns
-------
res : ndarray or scalar
    Of the dtype of `a` (float64 for integers), without the reduced axes.
sign : ndarray or scalar
    Only with `return_sign`: 1, -1 or 0, or the phase of a complex sum.

Raises
------
TypeError
    If a dtype is not numeric, `axis` is not made of integers, or `out` cannot hold the result.
ValueError
    If shapes do not fit, an axis is repeated, or `out` is read-only.
numpy.exceptions.AxisError
    If an axis does not exist.
"""
BACKWARD = """
Parameters
----------
dy : array_like
    The gradient with respect to the result, of its shape.
x : array_like
    What the forward pass was given, real.
axis, b, keepdims
    As in the forward pass. With `b`, the gradient of the log of the absolute sum, in which each exp(x)
    has its weight; where b is 0 it is 0.
out : ndarray, optional
    Where to write the result; it may overlap the inputs.

Returns
-------
ndarray or scalar
    Of the shape and dtype of `x`; 0 at entries of -inf, whatever `dy` is.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As the forward pass; TypeError if an argument is complex, ValueError if `dy` has another shape.
"""


@sharing(arguments=FORWARD)
def logsumexp(a, axis=None, b=None, keepdims=False, return_sign=False, *, out=None):
    """Log of the sum of exponentials, LSE(a) = log(sum(b * exp(a))).

    {arguments}

    Notes
    -----
    With m the largest entry, m + log1p(sum of the other exp(a - m)): at most 1 ULP, its unit floored at
    that of 1/2, and strictly 1 ULP on rows that one entry dominates. Weights of both signs cost as many
    digits as cancel.

    A +inf gives +inf, all -inf give -inf, and so does an empty sum; a NaN gives NaN. The masked entries of
    a masked array do not count.

    Differences from `scipy.special.logsumexp`: ``out=``; float16 and bfloat16 keep their dtype (computed
    wider), and `b` never widens that of `a`; an empty sum has the sign 0 rather than -1; a 0-d array stays
    0-d with ``keepdims=True``; no warnings.

    References
    ----------
    Blanchard, Higham & Higham, Accurately computing the log-sum-exp and softmax functions, IMA Journal of
    Numerical Analysis 41(4), 2021.

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(fr.logsumexp([0.0, -40.0]))
    4.248354255291589e-18
    >>> value, sign = fr.logsumexp([0.0, 1.0], b=[1, -1], return_sign=True)
    >>> print(round(float(value), 4), sign)
    0.5413 -1.0
    """
    return _reduce(logsumexp, a, axis, b, keepdims, return_sign, out)


@sharing(arguments=FORWARD)
def logsumexp0(a, axis=None, b=None, keepdims=False, return_sign=False, *, out=None):
    """Log of one plus the sum of exponentials, LSE0(a) = log(1 + sum(b * exp(a))).

    This is `logsumexp` of the entries and one more, fixed at 0. Of a single entry it is softplus; its
    gradient is `softmax0`.

    {arguments}

    Notes
    -----
    Values and accuracy are those of `logsumexp` of the row with an entry 0, of weight 1, at its end: where
    all of `a` is far below 0 the result keeps its digits. An empty sum and a sum of -inf give 0.

    References
    ----------
    Nielsen & Hadjeres, Monte Carlo Information Geometry: The Dually Flat Case, arXiv:1803.07225.

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(f"{fr.logsumexp0([-40.0, -45.0]):.6e}")
    4.276979e-18
    """
    return _reduce(logsumexp0, a, axis, b, keepdims, return_sign, out)


@attached(logsumexp)
@sharing(arguments=BACKWARD)
def _logsumexp_backward(dy, x, axis=None, b=None, keepdims=False, *, out=None):
    """Gradient of `logsumexp` with respect to its first argument: dy * softmax(x).

    {arguments}

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(fr.logsumexp.backward(2.0, [0.0, 0.0, -float("inf")]))
    [1. 1. 0.]
    """
    return _backward(logsumexp, dy, x, axis, b, keepdims, out)


@attached(logsumexp0)
@sharing(arguments=BACKWARD)
def _logsumexp0_backward(dy, x, axis=None, b=None, keepdims=False, *, out=None):
    """Gradient of `logsumexp0` with respect to its first argument: dy * softmax0(x).

    {arguments}

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(fr.logsumexp0.backward(3.0, [0.0, 0.0]))
    [1. 1.]
    """
    return _backward(logsumexp0, dy, x, axis, b, keepdims, out)


def _reduce(function, a, axis, b, keepdims, return_sign, out):
    a, b = rowwise.of_list(a), rowwise.of_list(b)
    if type(a) is np.ndarray:
        result = None
        if b is None and not return_sign and (kernel := dispatch.rows_kernel(function.__name__)) is not None:
            result = kernel(a, axis, out, keepdims)
        elif type(b) is np.ndarray and out is None and not keepdims and function is logsumexp:
            result = _of_few_rows(a, b, axis, return_sign)
        if result is not None:
            return result if return_sign or out is not None else result[()]
    return _reduce_any(function, a, axis, b, keepdims, return_sign, out)


def _of_few_rows(a, b, axis, return_sign):
    """With weights, the result, or both as a pair; None where that is not so simple."""
    if a.dtype.char not in "fd" or b.dtype.kind not in "biuf":
        return None
    if b.dtype != a.dtype:
        with np.errstate(all="ignore"):
            b = b.astype(a.dtype)
    result = dispatch.weighted_logs(a, b, axis, return_sign)
    return tuple(r[()] for r in result) if return_sign and result is not None else result


def _reduce_any(function, a, axis, b, keepdims, return_sign, out):
    """Any kind of arguments; other libraries may take them over."""
    if device_reductions.any_on_device(a, b, *(out if isinstance(out, tuple) else (out,))):
        return device_reductions.logsumexp(function, a, axis, b, keepdims, return_sign, out)
    options = {"axis": axis, "b": b, "keepdims": keepdims, "return_sign": return_sign}
    options |= {} if out is None else {"out": out}
    outs = out if isinstance(out, tuple) else (out,) * (1 + bool(return_sign))
    answer = rowwise.override(function, (a, b, *outs), (a,), options)
    if answer is not NotImplemented:
        return answer
    name, zero = function.__name__, function is logsumexp0
    masked = isinstance(a, np.ma.MaskedArray)
    array = rowwise.as_array(name, "a", rowwise.unmasked(a) if masked else a)
    weights = None if b is None else rowwise.as_array(name, "b", b)
    shape, dtype = array.shape, result_dtype(array.dtype)
    if weights is not None:
        shape = rowwise.broadcast_shapes(name, "b", array, weights)
        if weights.dtype.kind == "c":
            dtype = np.result_type(dtype, np.complex64)
    axes = rowwise.as_axes(name, axis, len(shape))
    rows = Rows(shape, axes)
    result_shape = rows.result_shape(keepdims)
    targets = _targets(name, out, outs, result_shape, dtype, return_sign)

    if weights is None and dtype.kind != "c":
        value = rowwise.run(name, array, axes, per_row=True).reshape(result_shape)
        results = (value,)
        if return_sign:
            results = value, np.where(np.isnan(value), value, value > -np.inf).astype(dtype)
    elif dtype.kind != "c" and (made := _by_kernel(array, weights, rows, dtype, zero)) is not None:
        results = made if return_sign else (np.where(made[1] < 0, np.nan, made[0]),)
        with np.errstate(all="ignore"):
            results = [v.astype(dtype).reshape(result_shape) for v in results]
    else:
        results = getattr(reference_rows, name)(array, axes, weights, keepdims, return_sign)
        results = results if return_sign else (results,)
    if masked and out is None:
        mask = np.broadcast_to(np.ma.getmaskarray(a), shape).all(axis=axes, keepdims=keepdims)
        results = [np.ma.array(r, mask=mask)[()] for r in results]
    else:
        results = [rowwise.finish(a, r, t, o) for r, t, o in zip(results, targets, outs, strict=True)]
    return tuple(results) if return_sign else results[0]


def _by_kernel(array, weights, rows, dtype, zero):
    """The log of the absolute sum and the sign of each row, or None where only the reference can."""
    if weight_dtype(dtype).char not in "fd":
        return None
    a, b = rows.of(np.broadcast_to(array, rows.shape)), weight_rows(weights, rows)
    if zero:
        work = weight_dtype(dtype)
        a, b = with_entry(a.astype(work, copy=False), 0), with_entry(b.astype(work, copy=False), 1)
    return logsumexp_rows(a, b, dtype)


def _targets(name, out, outs, shape, dtype, return_sign):
    """Where each result is written; None where that is a new array."""
    if out is None:
        return [None] * len(outs)
    outs = out if isinstance(out, tuple) else (out,)
    if len(outs) != 1 + bool(return_sign):
        expected = "a pair, for the result and for its sign" if return_sign else "one array"
        rowwise.fail(name, TypeError, "out", f"for {len(outs)} results", expected)
    dtypes = (np.empty(0, dtype).real.dtype, dtype) if return_sign else (dtype,)
    return [rowwise.check_out(name, o, shape, d) for o, d in zip(outs, dtypes, strict=True)]


def _backward(function, dy, x, axis, b, keepdims, out):
    name = function.backward.__qualname__
    if type(x) is np.ndarray and b is None:
        kernel = dispatch.rows_kernel(name)
        result = None if kernel is None else kernel(x, axis, out, keepdims, dy, True)
        if result is not None:
            return result
    if device_reductions.any_on_device(dy, x, b, out):
        return device_reductions.gradient_of_logsumexp(function, dy, x, axis, b, keepdims, out)
    options = {"axis": axis, "b": b, "keepdims": keepdims} | ({} if out is None else {"out": out})
    answer = rowwise.override(function.backward, (dy, x, b, out), (dy, x), options)
    if answer is not NotImplemented:
        return answer
    array = rowwise.as_array(name, "x", x, "biuf")
    weights = None if b is None else rowwise.as_array(name, "b", b, "biuf")
    shape = array.shape if b is None else rowwise.broadcast_shapes(name, "b", array, weights)
    axes = rowwise.as_axes(name, axis, len(shape))
    dy = rowwise.check_dy(name, dy, Rows(shape, axes).result_shape(keepdims))
    target = None if out is None else rowwise.check_out(name, out, array.shape, result_dtype(array.dtype))
    result = None
    if weights is None:
        result = rowwise.run_gradient(name, dy, array, axes, one_dy_a_row=True)
    if result is None:
        gradient = getattr(reference_rows, f"{function.__name__}_backward")
        result = gradient(dy, array, axes, weights, keepdims)
    return rowwise.finish(x, result, target, out)
