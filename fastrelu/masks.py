"""Activations of two slopes: one bit an element is all that their backward pass needs.

f' is 1 or one other value, so a forward pass may keep the bit that tells which, instead of x or y: the other
value is 0, or a parameter.  Bits lie in the C order of the elements, the first in the lowest bit of a byte,
as ``numpy.packbits(active, bitorder="little")`` has them.
"""

from __future__ import annotations

import functools

import numpy as np

from . import control, dispatch
from .arguments import computing_type, delivered, float_type, result_memory
from .backends import cython
from .device import masks as device_masks

__all__ = ["backward", "forward"]


def _other_slope(activation, cast):
    """What f' is where it is not 1, for cast parameters; None where it has more than two values."""
    found = activation.row.other_slope
    if not isinstance(found, str):
        return found
    return float(cast[[p.name for p in activation.row.parameters].index(found)])


def _checked(activation, owner, parameters, cast_parameter):
    """The parameters as numbers, each made by ``cast_parameter(p, value)``."""
    row = activation.row
    if row.other_slope is None:
        raise TypeError(
            f"{owner.__qualname__}: f' of {row.qualname} has more than two values, or one that is learned; "
            "expected an activation like relu, which one bit an element tells"
        )
    matched = activation._parameters((), parameters)
    activation._no_more(parameters)
    cast = [cast_parameter(p, matched[p.name]) for p in row.parameters]
    owner._check_order(cast)
    return cast


def _numbers(activation, owner, parameters, dtype):
    """The same in the dtype of the computation, rounded as those of `dtype`."""

    def cast(p, value):
        value = owner._cast_parameter(p, value, dtype)
        if value.ndim:
            owner._fail(ValueError, p.name, f"of shape {value.shape}", "a number")
        return value

    checked = _checked(activation, owner, parameters, cast)
    return [np.asarray(value.astype(computing_type(dtype))) for value in checked]


def _at_knot(activation, at_zero):
    """Whether 0 counts as active."""
    if at_zero is None:
        return False
    row = activation.row
    if [k for k in row.knots if k.at or k.parameter] or not row.knots:
        activation._fail(ValueError, "at_zero", repr(at_zero), "None: the knots are not at 0")
    if at_zero not in (0, 1):
        activation._fail(ValueError, "at_zero", repr(at_zero), "0 or 1")
    return bool(at_zero)


def _compiled(dtype):
    """Whether the compiled pass reads and writes a dtype."""
    native = dtype.char in "efd" or (dtype.name == "bfloat16" and dispatch.reads_bfloat16())
    return native and cython.ISA and control.BACKEND.get().name == "cython"


def forward(activation, x, at_zero, out, parameters):
    """``activation.with_mask``: the result, and the bits."""
    if device_masks.any_on_device(x, out):
        checked = functools.partial(_checked, activation, activation, parameters)
        knot = _at_knot(activation, at_zero)
        return device_masks.forward(activation, x, knot, out, checked, _other_slope)
    row = activation.row
    array = activation._real("x", x)
    dtype = float_type(array)
    cast = _numbers(activation, activation, parameters, dtype)
    at_knot = _at_knot(activation, at_zero)
    memory = activation._memory("out", out)
    if memory is not None:
        activation._check_out(memory, array.shape, exactly=True)
        if not np.can_cast(dtype, memory.dtype, "same_kind"):
            expected = f"a dtype that {dtype} casts to"
            activation._fail(TypeError, "out", f"of dtype {memory.dtype}", expected)
    other = _other_slope(activation, cast)
    # where the other slope is NaN it is told by the slope 1, which otherwise NaN counts as
    told, where_equal = (other, False) if other == other else (1.0, True)
    bits = np.empty(-(-array.size // 8), np.uint8)
    if _compiled(dtype):
        plain = np.require(array, dtype, ("C", "ALIGNED"))
        target = result_memory(memory, array.shape, dtype, plain)
        backward = activation.backward.kernels["backward" if not at_knot else "backward_at_zero"]
        index, slope = cython.KERNEL_INDEX[activation.kernel.name], cython.KERNEL_INDEX[backward.name]
        values = tuple(cast) if not at_knot else (*cast, np.ones((), computing_type(dtype)))
        cython.ufuncs.keep_mask(index, slope, (plain, target, bits), values, told, where_equal)
    else:
        wide = array.astype(computing_type(dtype))
        named = {p.name: value for p, value in zip(row.parameters, cast, strict=True)}
        slopes = activation.backward(np.ones_like(wide), wide, at_zero=1.0 if at_knot else None, **named)
        active = slopes == told if where_equal else ~(slopes == told)
        bits[...] = np.packbits(active, bitorder="little")
        with np.errstate(all="ignore"):
            target = activation(wide, **named).astype(dtype)
    return delivered(x, out, memory, target), bits


def backward(activation, dy, mask, out, parameters):
    """``activation.backward(dy, mask=mask)``."""
    owner = activation.backward
    if device_masks.any_on_device(dy, mask, out):
        checked = functools.partial(_checked, activation, owner, parameters)
        return device_masks.backward(activation, dy, mask, out, checked, _other_slope)
    gradient = owner._real("dy", dy)
    dtype = float_type(gradient)
    cast = _numbers(activation, owner, parameters, dtype)
    bits = owner._real("mask", mask)
    expected = (-(-gradient.size // 8),)
    if bits.dtype != np.uint8 or bits.shape != expected:
        got = f"of shape {bits.shape} and dtype {bits.dtype}"
        owner._fail(
            ValueError, "mask", got, f"shape {expected} and dtype uint8, a bit for each element of dy"
        )
    memory = owner._memory("out", out)
    if memory is not None:
        owner._check_out(memory, gradient.shape, exactly=True)
        if not np.can_cast(dtype, memory.dtype, "same_kind"):
            owner._fail(TypeError, "out", f"of dtype {memory.dtype}", f"a dtype that {dtype} casts to")
    other = _other_slope(activation, cast)
    bits = np.ascontiguousarray(bits)
    if memory is not None and np.may_share_memory(bits, memory):
        bits = bits.copy()
    if _compiled(dtype):
        plain = np.require(gradient, dtype, ("C", "ALIGNED"))
        target = result_memory(memory, gradient.shape, dtype, plain)
        cython.ufuncs.by_mask((plain, target, bits), other)
    else:
        wide = gradient.astype(computing_type(dtype))
        active = np.unpackbits(bits, count=gradient.size, bitorder="little").reshape(gradient.shape)
        with np.errstate(all="ignore"):
            rest = wide * wide.dtype.type(other) if other else np.zeros_like(wide)
            target = np.where(active, wide, rest).astype(dtype)
    return delivered(dy, out, memory, target)
