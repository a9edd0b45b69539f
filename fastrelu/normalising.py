"""softmax, log_softmax and softmax0: SciPy's signature, plus ``out=`` and ``.backward``.

As many values as entries; otherwise as in `reductions`.
"""

from __future__ import annotations

import numpy as np

from . import dispatch, rowwise
from .device import reductions as device_reductions
from .docstrings import attached, sharing
from .reference import rows as reference_rows
from .reference.rows import Rows, quiet, result_dtype

__all__ = ["log_softmax", "softmax", "softmax0"]


FORWARD = """
Parameters
----------
x : array_like
    Real or complex.
axis : None, int or tuple of ints, default None
    The axes whose entries belong together; None: all.
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
"""
BACKWARD = """
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
    Of the shape and dtype of `x` or `y`. Entries whose softmax is 0 count as absent: their gradient is 0
    and their `dy` is ignored; for `log_softmax` only those of -inf.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As the forward pass; TypeError if an argument is complex, or not exactly one of `x` and `y` is
    given; ValueError if `dy` has another shape.
"""

LIMITS = """
Several +inf, all -inf, or a NaN make the row NaN. The masked entries of a masked array do not count.
"""
DIFFERENCES = """
Differences from SciPy's: ``out=``; the value at a single +inf (NaN there); float16 keeps its dtype and is
computed wider; an empty `x` gives an empty result (an error there); no warnings.
"""


@sharing(arguments=FORWARD, limits=LIMITS, differences=DIFFERENCES)
def softmax(x, axis=None, *, out=None):
    """Normalised exponentials, exp(x) / sum(exp(x)).

    {arguments}

    Notes
    -----
    At most 2 ULP for float32 and float64, however far an entry is below the largest.

    A single +inf takes all: 1 there and 0 elsewhere.

    {limits}

    {differences}

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


@sharing(arguments=FORWARD, limits=LIMITS, differences=DIFFERENCES)
def log_softmax(x, axis=None, *, out=None):
    """Logarithm of the softmax, x - logsumexp(x).

    {arguments}

    Notes
    -----
    At most 1 ULP for float32 and float64, its unit floored at that of 1/2; strictly 1 ULP on rows that one
    entry dominates, at that entry too.

    The value at an entry that dominates keeps its digits (SciPy: 0). A single +inf gives 0 there and -inf
    elsewhere.

    {limits}

    {differences}

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


@sharing(arguments=FORWARD)
def softmax0(x, axis=None, *, out=None):
    """Multivariable logistic function, exp(x) / (1 + sum(exp(x))).

    This is `softmax` of the entries and one more, fixed at 0, whose value is left out. Of a single entry it
    is the sigmoid; it is the gradient of `logsumexp0`.

    {arguments}

    Notes
    -----
    Values and accuracy are those of `softmax` of the row with an entry 0 at its end; all -inf give 0.

    References
    ----------
    Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs, 1990.

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(fr.softmax0([[0.0, 0.0], [0.0, float("inf")]], axis=1))
    [[0.33333333 0.33333333]
     [0.         1.        ]]
    """
    return _normalise(softmax0, x, axis, out)


def _add_backward(function, formula, example):
    """Give a function its ``backward``."""

    @attached(function)
    def backward(dy, x=None, *, y=None, axis=None, out=None):
        return _backward(function, dy, x, y, axis, out)

    summary = f"Gradient of `{function.__name__}`: {formula}."
    example = f"Examples\n--------\n>>> import fastrelu as fr\n{example}\n"
    backward.__doc__ = f"{summary}\n{BACKWARD}\n{example}"


_add_backward(
    softmax,
    "y * (dy - sum(dy * y))",
    ">>> print(fr.softmax.backward([1.0, 0.0], y=[0.5, 0.5]))\n[ 0.25 -0.25]",
)
_add_backward(
    log_softmax,
    "dy - softmax(x) * sum(dy)",
    ">>> print(fr.log_softmax.backward([1.0, 0.0], [0.0, 0.0]))\n[ 0.5 -0.5]",
)
_add_backward(
    softmax0,
    "y * (dy - sum(dy * y))",
    ">>> print(fr.softmax0.backward([1.0], y=[0.5]))\n[0.25]",
)


def _normalise(function, x, axis, out):
    name, x = function.__name__, rowwise.of_list(x)
    if type(x) is np.ndarray and (kernel := dispatch.rows_kernel(name)) is not None:
        result = kernel(x, axis, out)
        if result is not None:
            return result
    if device_reductions.any_on_device(x, out):
        return device_reductions.normalise(function, x, axis, out)
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


def _backward(function, dy, x, y, axis, out):
    name = function.backward.__qualname__
    if (x is None) == (y is None):
        got = "neither" if x is None else "both"
        raise TypeError(f"{name}: got {got} of the arguments 'x' and 'y'; expected exactly one")
    argument, given = ("y", y) if x is None else ("x", x)
    if x is None and type(y) is np.ndarray:
        kernel = dispatch.rows_kernel(name)
        result = None if kernel is None else kernel(y, axis, out, dy=dy)
        if result is not None:
            return result
    if device_reductions.any_on_device(dy, given, out):
        return device_reductions.softmax_gradient(function, dy, x, y, axis, out)
    options = {argument: given, "axis": axis} | ({} if out is None else {"out": out})
    answer = rowwise.override(function.backward, (dy, given, out), (dy,), options)
    if answer is not NotImplemented:
        return answer
    array = rowwise.as_array(name, argument, given, "biuf")
    axes = rowwise.as_axes(name, axis, array.ndim)
    dy = rowwise.check_dy(name, dy, array.shape)
    target = None if out is None else rowwise.check_out(name, out, array.shape, result_dtype(array.dtype))
    result = None
    if x is None:
        result = rowwise.run_gradient(name, dy, array, axes)
    elif function is softmax and array.dtype.char in "efd":
        result = rowwise.run_gradient(name, dy, rowwise.run("softmax", array, axes, per_row=False), axes)
        if result is not None:  # what is absent has no gradient, even where all are
            np.copyto(result, 0, where=array == -np.inf)
    elif function is log_softmax and array.dtype.char in "efd" and array.size:
        result = _log_softmax_backward(dy, array, axes)
    if result is None:
        gradient = getattr(reference_rows, f"{function.__name__}_backward")
        result = gradient(dy, **{argument: array}, axis=axes)
    return rowwise.finish(given, result, target, out)


@quiet
def _log_softmax_backward(dy, x, axes):
    """dy - softmax(x) * sum(dy); rows that one entry dominates by the reference, which keeps their digits."""
    dtype, work = x.dtype.newbyteorder("="), np.result_type(x.dtype, np.float32)
    x, dy = x.astype(work, copy=False), dy.astype(work, copy=False)
    shares, absent = rowwise.run("softmax", x, axes, per_row=False), x == -np.inf
    wide = np.float64 if work == np.float32 else np.longdouble
    total = np.where(absent, 0, dy).sum(axis=axes, dtype=wide, keepdims=True)
    result = np.where(absent, 0, dy - shares * total)
    rows = Rows(x.shape, axes)
    matrix, dominated = rows.of(result.astype(dtype)), ~(rows.of(shares).max(axis=1) <= 0.5)
    if dominated.any():
        few = (rows.of(v)[dominated] for v in (dy, x))
        matrix[dominated] = reference_rows.log_softmax_backward(*few, axis=1)
    return rows.whole(matrix)
