"""Operations of two arrays on a device: `logaddexp`, and the gated units, of two arrays or halves of one."""

from __future__ import annotations

import numpy as np

from . import dtypes
from .arrays import View, is_on_device
from .calls import Gradient, Operands, alone, gradients, run_forward
from .layout import halves
from .repeated import again

__all__ = ["backward", "backward_of_halves", "forward", "forward_of_halves"]


def _operands(f, given, beside):
    """The arrays of a call by name, as Views and numbers, and their common shape."""
    first = next((name for name, value in given.items() if is_on_device(value)), next(iter(given)))
    called = Operands(f, first, given[first], given | beside, every=True)
    found = {
        name: called.view(name, value) if is_on_device(value) or np.ndim(value) else f._real(name, value)[()]
        for name, value in given.items()
    }
    weak = {name: value for name, value in given.items() if type(value) in dtypes.WEAK}
    try:
        return called, found | weak, np.broadcast_shapes(*(v.shape for v in found.values()))
    except ValueError:
        (one, a), (other, b) = found.items()
        f._fail(
            ValueError, other, f"of shape {b.shape}", f"a shape that broadcasts with {a.shape}, that of {one}"
        )


def forward(f, given, out, keywords):
    """An operation of two arrays, of which one at least is on a device."""
    out, where = alone(f, out), keywords.pop("where", True)
    call, result = again(f, given.values(), where, out, (*keywords, *keywords.values()))
    if result is not None:
        return result
    called, found, shape = _operands(f, given, {"out": out, "where": where})
    kinds = [v.char if type(v) is View else v for v in found.values()]
    computed = dtypes.forward_of_pair(f, kinds, keywords, called.char_of_out(out))
    called.char = computed.char
    operands = [v if type(v) is View else called.number(name, v) for name, v in found.items()]
    return run_forward(called, operands, shape, computed, out, where, call)


def backward(f, kernels, dy, given, outs):
    """Gradients of two arrays: `kernels` has for each that is wanted its kernel and the operands' names."""
    beside = {"dy": dy, "out": next(filter(is_on_device, outs.values()), None)}
    called, found, shape = _operands(f, given, beside)
    gradient = _gradient(f, called, dy, shape)
    chars = {name: v.char if type(v) is View else called.lead.char for name, v in found.items()}
    called.char = dtypes.backward_of_pair(gradient.char, chars.values())
    views = {name: v if type(v) is View else called.number(name, v) for name, v in found.items()}
    jobs = {}
    for name, (kernel, order) in kernels.items():
        kept, out = views[name].shape, outs[name]
        operands = gradient, *(views[other] for other in order)
        target = called.gradient(out, kept, dtypes.floating(chars[name]))
        jobs[name] = Gradient(kernel, operands, kept, *target, out is not None)
    return gradients(f, called, jobs, shape)


def _gradient(f, called, dy, shape):
    gradient = called.view("dy", dy)
    if gradient.shape != shape:
        f._fail(ValueError, "dy", f"of shape {gradient.shape}", f"the shape of the forward result, {shape}")
    return gradient


def forward_of_halves(f, array, axis, out, keywords):
    """A gated unit whose value and gate are the halves of one array on a device."""
    out, where = alone(f, out), keywords.pop("where", True)
    call, result = again(f, (array,), where, out, (axis, *keywords, *keywords.values()))
    if result is not None:
        return result
    called = Operands(f, "value", array, {"out": out, "where": where}, every=True)
    parts = halves(called.lead, f._axis("value", called.lead, axis))
    computed = dtypes.forward_of_pair(f, [called.lead.char] * 2, keywords, called.char_of_out(out))
    return run_forward(called, parts, parts[0].shape, computed, out, where, call)


def backward_of_halves(f, kernels, dy, array, axis, out):
    """Its gradient, in one array of the same shape."""
    called = Operands(f, "value", array, {"dy": dy, "out": out}, every=True)
    axis = f._axis("value", called.lead, axis)
    parts = halves(called.lead, axis)
    gradient = _gradient(f, called, dy, parts[0].shape)
    called.char, result_char = dtypes.backward(called.lead.char, gradient.char)
    target, result = called.gradient(out, called.lead.shape, result_char)
    if out is not None and called.overlaps(target, [called.lead, gradient]):
        f._fail(
            ValueError, "out", "over an operand", "other memory: both halves are read for either gradient"
        )
    jobs = {
        kernel.name: Gradient(kernel, (gradient, *parts), parts[0].shape, half, result, False)
        for kernel, half in zip(kernels, halves(target, axis), strict=True)
    }
    return gradients(f, called, jobs, parts[0].shape)[0]
