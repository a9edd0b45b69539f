"""`rrelu` and `noisy_relu` on device arrays: the same draws as on the host, made in the kernel."""

from __future__ import annotations

import math

import numpy as np

from .device import View
from .device_calls import Operands, aligned, any_on_device, launching, run, target_of
from .device_layout import broadcast, merged

__all__ = ["any_on_device", "run_with_draws"]

MOST_NUMBERS = 2**32  # of arrays with several strides
NO_DRAW = np.float64(0.0)


def run_with_draws(f, kernel, key, name, source, parameters, values, out, dy=None):
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
    if key is not None:
        _launch(f, kernel, key, target, operands, stream)
    else:
        draws = (NO_DRAW,) if "draw" in kernel.inputs else ()
        run(f, kernel, target, (*operands, *draws), stream)
    return result


def _launch(f, kernel, key, out, operands, stream):
    from fastrelu.kernels.cuda import draws

    views = [broadcast(v, out.shape) for v in operands if type(v) is View]
    aligned(f, [out, *views])
    if not out.size:
        return
    pattern = "".join("a" if type(o) is View else "n" for o in operands)
    numbers = [float(o) for o in operands if type(o) is not View]
    axes = merged(out.shape, (out.strides, *(v.strides for v in views)))
    rank = len(axes.lengths)
    if rank > 1 and out.size >= MOST_NUMBERS:
        expected = f"fewer than {MOST_NUMBERS} of them, or memory without gaps"
        f._fail(ValueError, "out", f"of {out.size} numbers", expected)
    on = launching().device(out.device)
    function = f._on_device(kernel, out.char, on.cc)
    compiled = draws.compiled(function, f.row.draw, out.char, pattern, rank)
    tasks = -(-out.size // draws.GROUP) * draws.COUNTERS
    blocks = min(-(-tasks // compiled.threads), on.processors * launching().BLOCKS_A_PROCESSOR)
    places = out.place, *(v.place for v in views)
    steps = (step for strides in axes.strides for step in strides)
    words = key.bits & 0xFFFFFFFF, key.bits >> 32
    values = (*places, *(numbers or [math.nan]), *words, out.size, *axes.lengths[1:], *steps)
    on.launch(compiled, blocks, stream, values)
