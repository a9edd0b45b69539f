"""Activations with a mask on device arrays: the bits lie there, too, in an array of the caller's library."""

from __future__ import annotations

import math

import numpy as np

from .arrays import SIZES, View, c_strides
from .calls import Operands, any_on_device, launching, target_of
from .layout import VECTOR_BYTES, merged

__all__ = ["any_on_device", "backward", "forward"]

MOST_NUMBERS = 2**32  # of arrays that do not go by vectors


def _numbers(owner, called, checked):
    """The parameters, checked, as numbers of the dtype."""

    def cast(p, value):
        number = called.parameter(p, value)
        if type(number) is View:
            owner._fail(ValueError, p.name, "an array", "a number")
        return number

    return checked(cast)


def _launch(owner, called, kernel_of, target, source, bits, numbers):
    """Launch over bytes; ``kernel_of(rank)``, which is 0 where everything goes by vectors."""
    if not target.size:
        return
    dense = c_strides(target.shape, SIZES[target.char])
    axes = merged(target.shape, (target.strides, source.strides))
    rank = len(axes.lengths)
    if target.strides == source.strides == dense and not (target.place | source.place) % VECTOR_BYTES:
        rank = 0
    if rank and target.size >= MOST_NUMBERS:
        expected = f"fewer than {MOST_NUMBERS} of them, or memory without gaps from a multiple of 16 bytes on"
        owner._fail(ValueError, called.argument, f"of {target.size} numbers", expected)
    on, kernel = launching().device(target.device), kernel_of(rank)
    blocks = min(-(-target.size // 8 // kernel.threads), on.processors * launching().BLOCKS_A_PROCESSOR)
    steps = (step for strides in axes.strides for step in strides)
    values = (target.place, source.place, bits.place, *numbers, target.size, *axes.lengths[1:], *steps)
    on.launch(kernel, max(1, blocks), called.library.stream(called.array), values)


def forward(activation, x, at_knot, out, checked, other_slope):
    """``activation.with_mask``; `checked` gives the parameters, each made by what it is given."""
    from fastrelu.kernels.cuda import masks

    called = Operands(activation, "x", x, {"out": out})
    cast = _numbers(activation, called, checked)
    target, result = target_of(called, out, called.lead.shape)
    called.overlaps(target, [called.lead])
    mask = called.library.empty(x, (-(-target.size // 8),), "uint8")
    bits = called.view("mask", mask, integers=True)
    other = other_slope(activation, cast)
    # where the other slope is NaN it is told by the slope 1, which otherwise NaN counts as
    told, where_equal = (1.0, True) if math.isnan(other) else (other, False)
    kernel = activation.backward.kernels["backward_at_zero" if at_knot else "backward"]
    cc, char, knots = launching().device(target.device).cc, target.char, (np.float64(1.0),) * bool(at_knot)
    functions = activation._on_device(activation.kernel, char, cc), activation._on_device(kernel, char, cc)

    def kernel_of(rank):
        return masks.forward(*functions, char, len(cast), len(knots), rank, where_equal)

    _launch(activation, called, kernel_of, target, called.lead, bits, (told, *cast, *knots))
    return result, mask


def backward(activation, dy, mask, out, checked, other_slope):
    """``activation.backward(dy, mask=mask)``."""
    from fastrelu.kernels.cuda import masks

    owner = activation.backward
    called = Operands(owner, "dy", dy, {"mask": mask, "out": out})
    cast = _numbers(owner, called, checked)
    bits, expected = called.view("mask", mask, integers=True), (-(-called.lead.size // 8),)
    if bits.char != "uint8" or bits.shape != expected or bits.strides != c_strides(expected, 1):
        got = f"of shape {bits.shape}, strides {bits.strides} and dtype {bits.char}"
        wanted = f"shape {expected} and dtype uint8, a bit for each element of dy, without gaps"
        owner._fail(ValueError, "mask", got, wanted)
    target, result = target_of(called, out, called.lead.shape)
    called.overlaps(target, [called.lead, bits])

    def kernel_of(rank):
        return masks.backward(target.char, rank)

    _launch(owner, called, kernel_of, target, called.lead, bits, (other_slope(activation, cast),))
    return result
