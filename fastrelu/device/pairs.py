"""Operations of two arrays on a device: `logaddexp`, and the gated units, of two arrays or halves of one."""

from __future__ import annotations

import numpy as np

from .arrays import View, is_on_device
from .calls import Gradient, Operands, gradients, only_ordinary, run, target_of
from .layout import broadcast, halves

__all__ = ["backward", "backward_of_halves", "forward", "forward_of_halves"]


def _operands(f, given):
    """The arrays of a call by name, as views and numbers, and their common shape."""
    first = next(name for name, value in given.items() if is_on_device(value))
    called = Operands(f, first, given[first], given)
    views = {name: called.number(name, value) for name, value in given.items()}
    try:
        return called, views, np.broadcast_shapes(*(v.shape for v in views.values()))
    except ValueError:
        (one, a), (other, b) = views.items()
        f._fail(
            ValueError, other, f"of shape {b.shape}", f"a shape that broadcasts with {a.shape}, that of {one}"
        )


def _run_forward(f, called, views, shape, out, given):
    only_ordinary(f, called.lead, given)
    if isinstance(out, tuple):
        if len(out) != 1:
            f._fail(ValueError, "out", f"a tuple of {len(out)}", "one array")
        (out,) = out
    target, result = target_of(called, out, shape)
    if out is not None:
        called.overlaps(target, [broadcast(v, shape) for v in views if type(v) is View])
    run(f, f.kernel, target, tuple(views), called.library.stream(called.array))
    return result


def forward(f, given, out, keywords):
    """An operation of two arrays, of which one at least is on a device."""
    called, views, shape = _operands(f, given)
    return _run_forward(f, called, views.values(), shape, out, keywords)


def backward(f, kernels, dy, given, outs):
    """Gradients of two arrays: `kernels` has for each that is wanted its kernel and the operands' names."""
    called, views, shape = _operands(f, given)
    gradient = _gradient(f, called, dy, shape)
    jobs = {}
    for name, (kernel, order) in kernels.items():
        kept, out = views[name].shape, outs[name]
        operands = gradient, *(views[other] for other in order)
        jobs[name] = Gradient(kernel, operands, kept, *target_of(called, out, kept), out is not None)
    return gradients(f, called, jobs, shape)


def _gradient(f, called, dy, shape):
    gradient = called.view("dy", dy)
    if gradient.shape != shape:
        f._fail(ValueError, "dy", f"of shape {gradient.shape}", f"the shape of the forward result, {shape}")
    return gradient


def forward_of_halves(f, array, axis, out, keywords):
    """A gated unit whose value and gate are the halves of one array on a device."""
    called = Operands(f, "value", array, {"out": out})
    parts = halves(called.lead, f._axis("value", called.lead, axis))
    return _run_forward(f, called, parts, parts[0].shape, out, keywords)


def backward_of_halves(f, kernels, dy, array, axis, out):
    """Its gradient, in one array of the same shape."""
    called = Operands(f, "value", array, {"dy": dy, "out": out})
    axis = f._axis("value", called.lead, axis)
    parts = halves(called.lead, axis)
    gradient = _gradient(f, called, dy, parts[0].shape)
    target, result = target_of(called, out, called.lead.shape)
    if out is not None and called.overlaps(target, [called.lead, gradient]):
        f._fail(
            ValueError, "out", "over an operand", "other memory: both halves are read for either gradient"
        )
    jobs = {
        kernel.name: Gradient(kernel, (gradient, *parts), parts[0].shape, half, result, False)
        for kernel, half in zip(kernels, halves(target, axis), strict=True)
    }
    return gradients(f, called, jobs, parts[0].shape)[0]
