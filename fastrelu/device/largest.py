"""`maxout` on device arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import control
from .arrays import INTEGERS, dtype_name
from .calls import any_on_device, launching, target_of
from .layout import merged
from .reductions import called_by

__all__ = ["any_on_device", "backward", "forward"]

MOST_GROUPS = 2**32


def _groups(view, shape, pieces, axis):
    """The first entries of all groups, as a View of the result's shape, and the step between a group's."""
    step = view.strides[axis]
    strides = tuple(s * pieces if i == axis else s for i, s in enumerate(view.strides))
    return replace(view, shape=shape, strides=strides), step


def _launch(called, kernel_of, views, pieces, steps):
    """Launch over groups, whose first entries the views have."""
    size = views[0].size
    if not size:
        return
    axes = merged(views[0].shape, tuple(one.strides for one in views))
    if size >= MOST_GROUPS:
        called.f._fail(ValueError, called.argument, f"of {size} groups", f"fewer than {MOST_GROUPS}")
    on, kernel = launching().device(called.lead.device), kernel_of(len(axes.lengths))
    blocks = min(-(-size // kernel.threads), on.processors * launching().BLOCKS_A_PROCESSOR)
    places = [one.place for one in views]
    strides = (step for along in axes.strides for step in along)
    values = (*places, size, pieces, *steps, *axes.lengths[1:], *strides)
    on.launch(kernel, blocks, called.library.stream(called.array), values)


def forward(name, x, pieces, axis_of, grouped, out, indexed):
    """The maxima, and which entries they are or None; `axis_of` and `grouped` check the shape."""
    from fastrelu.kernels.cuda import largest

    called = called_by(name, "x", x, out=out)
    axis = axis_of(called.lead.ndim)
    shape = grouped(called.lead.shape, axis)
    target, result = target_of(called, out, shape)
    called.overlaps(target, [called.lead])
    entries, step = _groups(called.lead, shape, pieces, axis)
    views, index, dtype = [target, entries], None, ""
    if indexed:
        dtype = np.min_scalar_type(pieces - 1).name
        index = called.library.empty(x, shape, dtype)
        views.append(called.view("index", index, integers=True))
    _launch(called, lambda rank: largest.forward(target.char, dtype, rank), views, pieces, (step, 0))
    return result, index


def backward(name, dy, x, index, pieces, axis_of, grouped, checked_index, out):
    """The gradient, by the entries or by the index, which is fetched and checked if that is asked for."""
    from fastrelu.kernels.cuda import largest

    argument, source = ("x", x) if index is None else ("dy", dy)
    called = called_by(name, argument, source, dy=dy, index=index, out=out)
    flow = called.view("dy", dy)
    if index is None:
        axis, shape = axis_of(called.lead.ndim), called.lead.shape
        result_shape, dtype = grouped(shape, axis), ""
    else:
        which = called.view("index", index, integers=True)
        axis, result_shape, dtype = axis_of(which.ndim), which.shape, which.char
        if dtype not in INTEGERS:
            called.f._fail(TypeError, "index", f"of dtype {dtype_name(dtype)}", "an integer dtype")
        if pieces < 1:
            called.f._fail(ValueError, "pieces", pieces, "at least 1")
        if control.CHECKS_LABELS:
            checked_index(called.library.to_host(index))
        shape = tuple(n * pieces if i == axis else n for i, n in enumerate(result_shape))
    if flow.shape != result_shape:
        expected = f"the shape of the forward result, {result_shape}"
        called.f._fail(ValueError, "dy", f"of shape {flow.shape}", expected)
    target, result = target_of(called, out, shape)
    made, step = _groups(target, result_shape, pieces, axis)
    if index is None:
        called.overlaps(target, [called.lead, replace(flow, writeable=False)])
        which, step_of_x = _groups(called.lead, shape=result_shape, pieces=pieces, axis=axis)
    else:
        called.overlaps(target, [flow, which])
        step_of_x = 0
    views = made, flow, which
    _launch(called, lambda rank: largest.backward(target.char, dtype, rank), views, pieces, (step, step_of_x))
    return result
