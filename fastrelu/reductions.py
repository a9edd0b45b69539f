"""logsumexp, softmax and log_softmax: SciPy's signatures, plus ``out=`` and ``.backward``.

Plain arrays go straight to a compiled kernel, whatever their layout.  For all else arguments are checked
here and made plain; the kernel, or the reference where there is none, does the rest and knows every special
value.  Weights, complex numbers and long double always go to the reference.
"""

from __future__ import annotations

import numpy as np

from . import dispatch, reference_rows, rowwise
from .reference_rows import Rows, result_dtype

__all__ = ["log_softmax", "logsumexp", "softmax"]


def _normalise(function, x, axis, out):
    """softmax and log_softmax: as many values as entries."""
    name = function.__name__
    if type(x) is np.ndarray and (kernel := dispatch.rows_kernel(name, x.dtype)) is not None:
        result = kernel(x, axis, out)
        if result is not None:
            return result
    options = {"axis": axis} if out is None else {"axis": axis, "out": out}
    answer = rowwise.override(function, (x, out), (x,), options)
    if answer is not NotImplemented:
        return answer
    masked = isinstance(x, np.ma.MaskedArray)
    array = rowwise.as_array(name, "x", rowwise.unmasked(x) if masked else x)
    axes = rowwise.as_axes(name, axis, array.ndim)
    target = None if out is None else rowwise.check_out(name, out, array.shape, result_dtype(array.dtype))
    result = rowwise.run(name, array, axes, per_row=False)
    if masked and out is None:
        return np.ma.array(result, mask=x.mask)
    return rowwise.finish(x, result, target, out)


# logsumexp


def logsumexp(a, axis=None, b=None, keepdims=False, return_sign=False, *, out=None):
    """Log of the sum of exponentials, LSE(a) = log(sum(b * exp(a))).

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

    Notes
    -----
    With m the largest entry, m + log1p(sum of the other exp(a - m)): at most 1 ULP, its unit floored at
    that of 1/2, and strictly 1 ULP on rows that one entry dominates. Weights of both signs cost as many
    digits as cancel.

    A +inf gives +inf, all -inf give -inf, and so does an empty sum; a NaN gives NaN.

    Differences from `scipy.special.logsumexp`: ``out=``; float16 and bfloat16 keep their dtype (computed
    wider), and `b` never widens that of `a`; an empty sum has the sign 0 rather than -1; a 0-d array stays
    0-d with ``keepdims=True``; no warnings.

    The masked entries of a masked array do not count.

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
    if type(a) is np.ndarray and b is None and not return_sign:
        kernel = dispatch.rows_kernel("logsumexp", a.dtype)
        result = None if kernel is None else kernel(a, axis, out, keepdims)
        if result is not None:
            return result if out is not None else result[()]
    options = {"axis": axis, "b": b, "keepdims": keepdims, "return_sign": return_sign}
    options |= {} if out is None else {"out": out}
    outs = out if isinstance(out, tuple) else (out,) * (1 + bool(return_sign))
    answer = rowwise.override(logsumexp, (a, b, *outs), (a,), options)
    return _logsumexp(a, outs, **options) if answer is NotImplemented else answer


def _logsumexp(a, outs, axis, b, keepdims, return_sign, out=None):
    name = "logsumexp"
    masked = isinstance(a, np.ma.MaskedArray)
    array = rowwise.as_array(name, "a", rowwise.unmasked(a) if masked else a)
    weights = None if b is None else rowwise.as_array(name, "b", b)
    shape, dtype = array.shape, result_dtype(array.dtype)
    if weights is not None:
        shape = rowwise.broadcast_shapes(name, "b", array, weights)
        if weights.dtype.kind == "c":
            dtype = np.result_type(dtype, np.complex64)
    axes = rowwise.as_axes(name, axis, len(shape))
    result_shape = Rows(shape, axes).result_shape(keepdims)
    targets = [None] * len(outs)
    if out is not None:
        outs = out if isinstance(out, tuple) else (out,)
        if len(outs) != 1 + bool(return_sign):
            expected = "a pair, for the result and for its sign" if return_sign else "one array"
            rowwise.fail(name, TypeError, "out", f"for {len(outs)} results", expected)
        dtypes = (np.empty(0, dtype).real.dtype, dtype) if return_sign else (dtype,)
        targets = [rowwise.check_out(name, o, result_shape, d) for o, d in zip(outs, dtypes, strict=True)]

    if weights is None and dtype.kind != "c":
        value = rowwise.run(name, array, axes, per_row=True).reshape(result_shape)
        sign = np.where(np.isnan(value), value, value > -np.inf).astype(dtype)
        results = (value, sign) if return_sign else (value,)
    else:
        results = reference_rows.logsumexp(array, axes, weights, keepdims, return_sign)
        results = results if return_sign else (results,)
    if masked and out is None:
        mask = np.broadcast_to(np.ma.getmaskarray(a), shape).all(axis=axes, keepdims=keepdims)
        results = [np.ma.array(r, mask=mask)[()] for r in results]
    else:
        results = [rowwise.finish(a, r, t, o) for r, t, o in zip(results, targets, outs, strict=True)]
    return tuple(results) if return_sign else results[0]


# softmax and log_softmax


def softmax(x, axis=None, *, out=None):
    """Normalised exponentials, exp(x) / sum(exp(x)).

    Parameters
    ----------
    x : array_like
        Real or complex.
    axis : None, int or tuple of ints, default None
        The axes along which the result sums to 1; None: all.
    out : ndarray, optional
        Where to write the result; it may be `x`, or overlap it.

    Returns
    -------
    ndarray or scalar
        Of the shape and the dtype of `x` (float64 for integers).

    Raises
    ------
    TypeError
        If the dtype is not numeric, `axis` is not made of integers, or `out` cannot hold the result.
    ValueError
        If `out` has another shape or is read-only, or an axis is repeated.
    numpy.exceptions.AxisError
        If an axis does not exist.

    Notes
    -----
    At most 2 ULP for float32 and float64, however far an entry is below the largest.

    A single +inf takes all: 1 there and 0 elsewhere. Several +inf, all -inf, or a NaN make the row NaN.

    Differences from `scipy.special.softmax`: ``out=``; a single +inf (NaN there); float16 keeps its dtype
    and is computed wider; an empty `x` gives an empty result (an error there); no warnings.

    The masked entries of a masked array do not count.

    References
    ----------
    Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs, 1990.

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(fr.softmax([[0.0, 0.0], [0.0, float("inf")]], axis=1))
    [[0.5 0.5]
     [0.  1. ]]
    """
    return _normalise(softmax, x, axis, out)


def log_softmax(x, axis=None, *, out=None):
    """Logarithm of the softmax, x - logsumexp(x).

    Parameters
    ----------
    x : array_like
        Real or complex.
    axis : None, int or tuple of ints, default None
        The axes along which the exponentials of the result sum to 1; None: all.
    out : ndarray, optional
        Where to write the result; it may be `x`, or overlap it.

    Returns
    -------
    ndarray or scalar
        Of the shape and the dtype of `x` (float64 for integers).

    Raises
    ------
    TypeError
        If the dtype is not numeric, `axis` is not made of integers, or `out` cannot hold the result.
    ValueError
        If `out` has another shape or is read-only, or an axis is repeated.
    numpy.exceptions.AxisError
        If an axis does not exist.

    Notes
    -----
    At most 1 ULP for float32 and float64, its unit floored at that of 1/2; strictly 1 ULP on rows that one
    entry dominates, at that entry too.

    A single +inf gives 0 there and -inf elsewhere. Several +inf, all -inf, or a NaN make the row NaN.

    Differences from `scipy.special.log_softmax`: ``out=``; the value at a dominant entry keeps its digits
    (0 there); a single +inf (NaN there); float16 keeps its dtype and is computed wider; an empty `x` gives
    an empty result (an error there); no warnings.

    The masked entries of a masked array do not count.

    References
    ----------
    Blanchard, Higham & Higham, Accurately computing the log-sum-exp and softmax functions, IMA Journal of
    Numerical Analysis 41(4), 2021.

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(fr.log_softmax([0.0, -40.0]))
    [-4.24835426e-18 -4.00000000e+01]
    """
    return _normalise(log_softmax, x, axis, out)


# Backward passes


def _backward_of(forward):
    """Attach a function as ``forward.backward``; it pickles under that name."""

    def attach(function):
        function.__name__, function.__qualname__ = "backward", f"{forward.__name__}.backward"
        forward.backward = function
        return function

    return attach


@_backward_of(logsumexp)
def _logsumexp_backward(dy, x, axis=None, b=None, keepdims=False, *, out=None):
    """Gradient of `logsumexp` with respect to its first argument: dy * softmax(x).

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result, of its shape.
    x : array_like
        What the forward pass was given, real.
    axis, b, keepdims
        As in the forward pass. With `b`, the gradient of the log of the absolute sum,
        dy * b * exp(x) / sum(b * exp(x)); where b is 0 it is 0.
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

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(fr.logsumexp.backward(2.0, [0.0, 0.0, -float("inf")]))
    [1. 1. 0.]
    """
    if type(x) is np.ndarray and b is None:
        kernel = dispatch.rows_kernel("logsumexp.backward", x.dtype)
        result = None if kernel is None else kernel(x, axis, out, keepdims, dy, True)
        if result is not None:
            return result
    options = {"axis": axis, "b": b, "keepdims": keepdims} | ({} if out is None else {"out": out})
    answer = rowwise.override(logsumexp.backward, (dy, x, b, out), (dy, x), options)
    if answer is not NotImplemented:
        return answer
    name = "logsumexp.backward"
    array = rowwise.as_array(name, "x", x, "biuf")
    weights = None if b is None else rowwise.as_array(name, "b", b, "biuf")
    shape = array.shape if b is None else rowwise.broadcast_shapes(name, "b", array, weights)
    axes = rowwise.as_axes(name, axis, len(shape))
    dy = rowwise.check_dy(name, dy, Rows(shape, axes).result_shape(keepdims))
    target = None if out is None else rowwise.check_out(name, out, array.shape, result_dtype(array.dtype))
    result = None
    if weights is None:
        result = rowwise.run_gradient("logsumexp.backward", dy, array, axes, one_dy_a_row=True)
    if result is None:
        result = reference_rows.logsumexp_backward(dy, array, axes, weights, keepdims)
    return rowwise.finish(x, result, target, out)


def _normalise_backward(function, gradient, dy, x, y, axis, out):
    name = function.__qualname__
    if (x is None) == (y is None):
        got = "neither" if x is None else "both"
        raise TypeError(f"{name}: got {got} of the arguments 'x' and 'y'; expected exactly one")
    argument, given = ("y", y) if x is None else ("x", x)
    if x is None and type(y) is np.ndarray:
        kernel = dispatch.rows_kernel(name, y.dtype)
        result = None if kernel is None else kernel(y, axis, out, dy=dy)
        if result is not None:
            return result
    options = {argument: given, "axis": axis} | ({} if out is None else {"out": out})
    answer = rowwise.override(function, (dy, given, out), (dy,), options)
    if answer is not NotImplemented:
        return answer
    array = rowwise.as_array(name, argument, given, "biuf")
    axes = rowwise.as_axes(name, axis, array.ndim)
    dy = rowwise.check_dy(name, dy, array.shape)
    target = None if out is None else rowwise.check_out(name, out, array.shape, result_dtype(array.dtype))
    result = None
    if x is None:
        result = rowwise.run_gradient(name, dy, array, axes)
    elif gradient is reference_rows.softmax_backward and array.dtype.char in "efd":
        result = rowwise.run_gradient(name, dy, rowwise.run("softmax", array, axes, per_row=False), axes)
        if result is not None:  # what is absent has no gradient, even where all are
            np.copyto(result, 0, where=array == -np.inf)
    if result is None:
        result = gradient(dy, **{argument: array}, axis=axes)
    return rowwise.finish(given, result, target, out)


@_backward_of(softmax)
def _softmax_backward(dy, x=None, *, y=None, axis=None, out=None):
    """Gradient of `softmax`: y * (dy - sum(dy * y)).

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result, of its shape.
    x, y : array_like
        Exactly one of them: the input of the forward pass, or its result (as it was given out, so the
        forward pass may have run in place).
    axis : None, int or tuple of ints, default None
        As in the forward pass.
    out : ndarray, optional
        Where to write the result; it may overlap the inputs.

    Returns
    -------
    ndarray or scalar
        Of the shape and dtype of `x` or `y`; 0 where the softmax is 0, whatever `dy` is there.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As the forward pass; TypeError if an argument is complex, or not exactly one of `x` and `y` is
        given; ValueError if `dy` has another shape.

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(fr.softmax.backward([1.0, 0.0], y=[0.5, 0.5]))
    [ 0.25 -0.25]
    """
    return _normalise_backward(softmax.backward, reference_rows.softmax_backward, dy, x, y, axis, out)


@_backward_of(log_softmax)
def _log_softmax_backward(dy, x=None, *, y=None, axis=None, out=None):
    """Gradient of `log_softmax`: dy - softmax(x) * sum(dy).

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result, of its shape.
    x, y : array_like
        Exactly one of them: the input of the forward pass, or its result (as it was given out, so the
        forward pass may have run in place).
    axis : None, int or tuple of ints, default None
        As in the forward pass.
    out : ndarray, optional
        Where to write the result; it may overlap the inputs.

    Returns
    -------
    ndarray or scalar
        Of the shape and dtype of `x` or `y`; entries of -inf count as absent: 0, and their `dy` is ignored.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As the forward pass; TypeError if an argument is complex, or not exactly one of `x` and `y` is
        given; ValueError if `dy` has another shape.

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(fr.log_softmax.backward([1.0, 0.0], [0.0, 0.0]))
    [ 0.5 -0.5]
    """
    gradient = reference_rows.log_softmax_backward
    return _normalise_backward(log_softmax.backward, gradient, dy, x, y, axis, out)
