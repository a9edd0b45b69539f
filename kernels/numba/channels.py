"""Learned parameters with one value a channel: which axis that is, for `prelu` inside @njit."""

from __future__ import annotations

from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import register_jitable
from numpy.lib.stride_tricks import as_strided

from .errors import Misfit

__all__ = ["along_channels", "three_lengths"]


def _axis_of(name, parameter, default, ndim):
    """``axis_of(weight, x, axis)``: the axis of `x` along which a vector has its values."""
    out_of_bounds = f"{name}: argument 'axis' is out of bounds for an array of dimension {ndim}"
    unfit = f"{name}: argument {parameter!r} is of shape {{}}; expected 1 value, or one an entry along axis"

    @register_jitable
    def axis_of(weight, x, axis):
        found = axis + ndim if axis < 0 else axis
        if ndim == 1 and axis == default:  # a vector has no channels
            found = 0
        if not 0 <= found < ndim:
            raise ValueError(out_of_bounds)
        if weight.size == 1 or weight.size == x.shape[found]:
            return found
        if weight.size != x.shape[ndim - 1]:
            raise Misfit(unfit, weight.shape)
        return ndim - 1

    return axis_of


def along_channels(name, parameter, default, ndim):
    """``along_channels(weight, x, axis)``: a vector as an array that broadcasts to `x`."""
    axis_of, ones, zeros = _axis_of(name, parameter, default, ndim), (1,) * ndim, (0,) * ndim

    @register_jitable
    def along(weight, x, axis):
        found = axis_of(weight, x, axis)
        shape = tuple_setitem(ones, found, weight.size)
        return as_strided(weight, shape, tuple_setitem(zeros, found, weight.strides[0]))

    return along


def three_lengths(name, parameter, default, ndim):
    """``three_lengths(weight, x, axis)``: the axes of `x` as before, along and after a vector's."""
    axis_of = _axis_of(name, parameter, default, ndim)

    @register_jitable
    def lengths(weight, x, axis):
        if weight.size == 1:
            return 1, 1, x.size
        found = axis_of(weight, x, axis)
        outer, inner = 1, 1
        for i in range(ndim):
            if i < found:
                outer *= x.shape[i]
            elif i > found:
                inner *= x.shape[i]
        return outer, x.shape[found], inner

    return lengths
