"""`rrelu` and `noisy_relu` on device arrays: the same draws as on the host, made in the kernel."""

from __future__ import annotations

import math

import numpy as np

from .arrays import SIZES, View
from .calls import Operands, any_on_device, divided, key_words, launching, run, target_of
from .layout import broadcast, merged

__all__ = ["any_on_device", "launch_with_draws", "run_with_draws"]

MOST_NUMBERS = 2**32  # of arrays with several strides
NO_DRAW = np.float64(0.0)


def run_with_draws(f, kernel, key, name, source, parameters, values, out, dy=None, axis=None):
    """A pass of `f` on arrays of a device.

    Parameters
    ----------
    f : Drawing
    kernel : Kernel
        Whose last input is a draw, if it has one for a draw at all.
    key : NoiseKey or None
        None: every draw is 0.
    name : str
        What `source` is called, the array that decides where everything lies.
    parameters, values : sequence
    out : array or None
    dy : array, optional
        In the backward pass.
    axis : int, optional
        Along which there is one draw for each channel, not for each element.
    """
    given = {p.name: v for p, v in zip(parameters, values, strict=True)}
    called = Operands(f, name, source, {"dy": dy, **given, "out": out})
    cast = [called.parameter(p, given[p.name]) for p in parameters]
    shape = called.lead.shape
    for p, value in zip(parameters, cast, strict=True):
        try:
            shape = np.broadcast_shapes(shape, value.shape)
        except ValueError:
            f._fail(ValueError, p.name, f"of shape {value.shape}", f"a shape that broadcasts with {shape}")
    operands = [called.lead, *cast]
    if dy is not None:
        if shape != called.lead.shape:
            f._fail(ValueError, name, f"of shape {called.lead.shape}", f"shape {shape}, that of the result")
        flow = called.view("dy", dy)
        if flow.shape != shape:
            f._fail(ValueError, "dy", f"of shape {flow.shape}", f"the shape of the forward result, {shape}")
        operands.insert(0, flow)
    target, result = target_of(called, out, shape)
    views = [broadcast(v, shape) for v in operands if type(v) is View]
    if out is not None:
        called.overlaps(target, views)
    stream = called.library.stream(source)
    if axis is not None and not -len(shape) <= axis < len(shape):
        raise np.exceptions.AxisError(axis, len(shape), f"{f.__qualname__}: argument 'axis'")
    if key is not None and axis is not None:
        draw, _memory = _of_channels(
            f, key, called, shape, axis % len(shape), stream
        )  # kept until the launch
        run(f, kernel, target, (*operands, draw), stream)
    elif key is not None:
        function = f._on_device(kernel, target.char, launching().device(target.device).cc)
        launch_with_draws(f, function, f.row.draw, key, target, operands, stream)
    else:
        draws = (NO_DRAW,) if "draw" in kernel.inputs else ()
        run(f, kernel, target, (*operands, *draws), stream)
    return result


def _of_channels(f, key, called, shape, axis, stream):
    """One draw for each channel, as a View that broadcasts, and its memory."""
    from fastrelu.kernels.cuda import draws

    n, char = shape[axis], "d" if called.lead.char == "d" else "f"  # a half has fewer digits than a draw
    memory = called.library.workspace(called.array, max(1, n))
    place, device = called.library.view(memory).place, called.lead.device
    values = (place, math.nan, *key_words(key), n, SIZES[char])
    kernel = draws.themselves(f.row.draw, char)
    if n:
        launching().device(device).launch(kernel, -(-n // kernel.threads), stream, values)
    draw = View(place, (n,), (SIZES[char],), char, device, rounded=False)
    return draw.reshape([-1 if i == axis else 1 for i in range(len(shape))]), memory


def launch_with_draws(f, function, distribution, key, out, operands, stream):
    """Run a device function whose last argument is a draw for each element."""
    from fastrelu.kernels.cuda import draws

    views = [broadcast(v, out.shape) for v in operands if type(v) is View]
    if not out.size:
        return
    pattern, _, numbers = divided(operands, out.char)
    axes = merged(out.shape, (out.strides, *(v.strides for v in views)))
    rank = len(axes.lengths)
    if rank > 1 and out.size >= MOST_NUMBERS:
        expected = f"fewer than {MOST_NUMBERS} of them, or memory without gaps"
        f._fail(ValueError, "out", f"of {out.size} numbers", expected)
    on = launching().device(out.device)
    compiled = draws.compiled(function, distribution, out.char, pattern, rank)
    tasks = -(-out.size // draws.GROUP) * draws.COUNTERS
    blocks = min(-(-tasks // compiled.threads), on.processors * launching().BLOCKS_A_PROCESSOR)
    places = out.place, *(v.place for v in views)
    steps = (step for strides in axes.strides for step in strides)
    values = (*places, *(numbers or [math.nan]), *key_words(key), out.size, *axes.lengths[1:], *steps)
    on.launch(compiled, blocks, stream, values)
