"""maxout: the largest of consecutive entries along an axis, and which it was."""

from __future__ import annotations

import functools

import numpy as np

from . import dispatch, rowwise
from .arguments import float_type, is_extension
from .backends import cython
from .device import largest as device_largest
from .docstrings import attached, sharing

__all__ = ["maxout"]

PARAMETERS = """
x : array_like
    Real, with at least one axis; integers count as floats.
pieces : int
    How many consecutive entries belong together; it divides the length of the axis.
axis : int, default -1
    Along which they are consecutive.
"""
RAISES = """
TypeError
    `x` is complex, object, string or datetime; `pieces` or `axis` is no integer; `out` cannot hold the
    result.
ValueError
    `pieces` is below 1 or does not divide the length of the axis; `out` has the wrong shape or is read-only.
numpy.exceptions.AxisError
    There is no such axis.
"""
GOODFELLOW = """
Goodfellow, Warde-Farley, Mirza, Courville & Bengio, Maxout Networks, ICML 2013, arXiv:1302.4389.
"""


@sharing(parameters=PARAMETERS, raises=RAISES, source=GOODFELLOW)
def maxout(x, pieces, axis=-1, *, out=None):
    """Maximum over groups of consecutive entries along an axis.

        y[..., i, ...] = max(x[..., i pieces + j, ...] for 0 <= j < pieces)

    Parameters
    ----------
    {parameters}
    out : ndarray, optional
        Where to write the result; it may overlap `x`.

    Returns
    -------
    ndarray
        Of the dtype of `x` and its shape, but shorter along the axis by the factor `pieces`.

    Raises
    ------
    {raises}

    Notes
    -----
    Exact. Of equal entries the first counts, zeros of either sign are equal; a NaN is larger than any number.
    `maxout.with_index` also says which entry it was.

    References
    ----------
    {source}

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(fr.maxout([[1.0, 3.0, -2.0, -5.0]], 2))
    [[ 3. -2.]]
    """
    if cython.ISA and (made := cython.ufuncs.plain_maxout(x, pieces, axis, out, False)) is not None:
        return made
    if (
        made := rowwise.override(maxout, (x, out), (x, pieces), {"axis": axis, "out": out})
    ) is not NotImplemented:
        return made
    return _forward("maxout", x, pieces, axis, out, False)[0]


@attached(maxout, "with_index")
@sharing(parameters=PARAMETERS, raises=RAISES, source=GOODFELLOW)
def _with_index(x, pieces, axis=-1, *, out=None):
    """The maximum over groups of consecutive entries, and which entry it is.

    Parameters
    ----------
    {parameters}
    out : ndarray, optional
        Where to write the maxima; it may overlap `x`.

    Returns
    -------
    y : ndarray
        The result of `maxout`.
    index : ndarray
        Of the same shape, from 0 to pieces - 1 in the smallest unsigned dtype: what `maxout.backward` needs
        of `x`.

    Raises
    ------
    {raises}

    References
    ----------
    {source}

    Examples
    --------
    >>> import fastrelu as fr
    >>> y, index = fr.maxout.with_index([[1.0, 3.0, -2.0, -5.0]], 2)
    >>> print(index)
    [[1 0]]
    """
    if cython.ISA and (made := cython.ufuncs.plain_maxout(x, pieces, axis, out, True)) is not None:
        return made
    return _forward("maxout.with_index", x, pieces, axis, out, True)


@attached(maxout)
@sharing(parameters=PARAMETERS.replace("x : array_like\n", "x : array_like, optional\n"), source=GOODFELLOW)
def _backward(dy, x=None, pieces=None, axis=-1, *, index=None, out=None):
    """Backward pass of `maxout`: `dy` to the entry that was the largest, 0 to the others of its group.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result, of its shape.
    {parameters}
    index : array_like, optional
        What `maxout.with_index` gave, in the place of `x`.
    out : ndarray, optional
        Where to write the gradient; it may overlap the inputs.

    Returns
    -------
    ndarray
        Of the shape and dtype of `x`; with `index`, of the dtype of `dy`.

    Raises
    ------
    TypeError
        As the forward pass; `index` is not made of integers.
    ValueError
        As the forward pass; both or neither of `x` and `index`; a shape that does not fit; an `index` out of
        range.
    numpy.exceptions.AxisError
        There is no such axis.

    References
    ----------
    {source}

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(fr.maxout.backward([[1.0, 1.0]], [[1.0, 3.0, -2.0, -5.0]], 2))
    [[0. 1. 1. 0.]]
    """
    plain = cython.ufuncs.plain_maxout_gradient if cython.ISA else None
    if plain and (made := plain(dy, x, pieces, axis, index, out)) is not None:
        return made
    name = "maxout.backward"
    if (x is None) == (index is None):
        got = "neither" if x is None else "both"
        raise ValueError(f"{name}: got {got} of x and index; expected exactly one of them")
    pieces = _integer(name, "pieces", pieces)
    if device_largest.any_on_device(dy, x, index, out):
        checks = functools.partial(_axis, name, axis), functools.partial(_grouped, name, pieces)
        of_index = functools.partial(_index, name, pieces=pieces)
        return device_largest.backward(name, dy, x, index, pieces, *checks, of_index, out)
    gradient = _real(name, "dy", dy)
    if x is not None:
        array = _real(name, "x", x)
        axis = _axis(name, axis, array.ndim)
        shape, result_shape, dtype = array.shape, _grouped(name, pieces, array.shape, axis), float_type(array)
    else:
        array = _index(name, index, pieces)
        axis = _axis(name, axis, array.ndim)
        result_shape, dtype = array.shape, float_type(gradient)
        shape = (*array.shape[:axis], array.shape[axis] * pieces, *array.shape[axis + 1 :])
    rowwise.check_dy(name, gradient, result_shape)
    target = None if out is None else rowwise.check_out(name, out, shape, dtype)
    work = _work(dtype)
    gradient = _as(gradient, work)
    dx = _room(target, shape, work, gradient, array)
    source, which = (_as(array, work), None) if x is not None else (None, array)
    if not dispatch.largest(source, which, None, gradient, dx, pieces, axis):
        if which is None:
            which = _first_largest(_entries(source, pieces, axis), axis + 1)
        entries = _entries(dx, pieces, axis)
        entries[...] = 0
        np.put_along_axis(
            entries, np.expand_dims(which, axis + 1), np.expand_dims(gradient, axis + 1), axis + 1
        )
    if dx is target:
        return out
    return rowwise.finish(dy if x is None else x, dx.astype(dtype, copy=False), target, out)


def _forward(name, x, pieces, axis, out, indexed):
    pieces = _integer(name, "pieces", pieces)
    if device_largest.any_on_device(x, out):
        checks = functools.partial(_axis, name, axis), functools.partial(_grouped, name, pieces)
        return device_largest.forward(name, x, pieces, *checks, out, indexed)
    array = _real(name, "x", x)
    axis = _axis(name, axis, array.ndim)
    shape, dtype = _grouped(name, pieces, array.shape, axis), float_type(array)
    target = None if out is None else rowwise.check_out(name, out, shape, dtype)
    work = _work(dtype)
    source = _as(array, work)
    y = _room(target, shape, work, array)
    index = np.empty(shape, np.min_scalar_type(pieces - 1)) if indexed else None
    if not dispatch.largest(source, index, y, None, None, pieces, axis):
        entries = _entries(source, pieces, axis)
        which = _first_largest(entries, axis + 1)
        y[...] = np.take_along_axis(entries, np.expand_dims(which, axis + 1), axis + 1).reshape(shape)
        index = which.astype(index.dtype) if indexed else None
    if y is target:
        return out, index
    return rowwise.finish(x, y.astype(dtype, copy=False), target, out), index


def _room(target, shape, dtype, *inputs):
    """Where to compute: in the array that was given, if it has the dtype and lies apart from the inputs."""
    usable = type(target) is np.ndarray and target.dtype == dtype
    if usable and not any(np.may_share_memory(target, a) for a in inputs):
        return target
    return dispatch.empty(shape, dtype)


def _first_largest(entries, axis):
    """The reference: of the first NaN, else of the first of the largest."""
    if entries.size == 0:
        return np.zeros(entries.shape[:axis] + entries.shape[axis + 1 :], np.intp)
    return entries.argmax(axis=axis)


def _entries(array, pieces, axis):
    """A view with an axis more, behind `axis`, of the entries that belong together."""
    shape = array.shape
    return array.reshape((*shape[:axis], shape[axis] // pieces, pieces, *shape[axis + 1 :]))


def _work(dtype):
    """The dtype in which a comparison is made where no kernel reads the array's own."""
    return np.dtype(np.float32) if is_extension(dtype) and not dispatch.reads_bfloat16() else dtype


def _as(array, dtype):
    array = array.astype(dtype, copy=False)
    return array if array.flags.aligned else array.copy()


def _real(name, argument, value):
    array = rowwise.as_array(name, argument, value, "biuf")
    if is_extension(array.dtype):
        dispatch.meet_bfloat16()
    return array


def _integer(name, argument, value):
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        rowwise.fail(name, TypeError, argument, repr(value), "an integer")
    return value.__index__()


def _axis(name, axis, ndim):
    axis = _integer(name, "axis", axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim, f"{name}: argument 'axis'")
    return axis % ndim


def _grouped(name, pieces, shape, axis):
    """The shape of the result."""
    if pieces < 1 or shape[axis] % pieces:
        expected = f"a divisor of {shape[axis]}, the length of x along axis {axis}"
        rowwise.fail(name, ValueError, "pieces", pieces, expected)
    return (*shape[:axis], shape[axis] // pieces, *shape[axis + 1 :])


def _index(name, index, pieces):
    array = rowwise.as_array(name, "index", index, "iu")
    if pieces < 1:
        rowwise.fail(name, ValueError, "pieces", pieces, "at least 1")
    if array.size and not 0 <= array.min() <= array.max() < pieces:
        wrong = array[(array < 0) | (array >= pieces)].flat[0]
        rowwise.fail(
            name, ValueError, "index", f"{wrong} somewhere", f"0 <= index < pieces, which is {pieces}"
        )
    return _as(array, np.min_scalar_type(pieces - 1))
