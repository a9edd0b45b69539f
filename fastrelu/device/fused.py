"""`bias_act` on device arrays: forward one launch, backward two: the second adds up the channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .arrays import View
from .calls import UNKNOWN, Operands, any_on_device, launching, run_function, run_sums, target_of
from .draws import launch_with_draws
from .layout import broadcast

__all__ = ["any_on_device", "backward", "forward"]

DISTRIBUTION = "uniform"


class _Call:
    """The checked arguments of a call.

    Attributes
    ----------
    act : Activation
    called : Operands
    shape : tuple of int
    channels : tuple of int
        The shape of a value for each channel, which broadcasts.
    cast : list
        The parameters, as numbers and Views that broadcast.
    given : dict
        Their shapes as given, by name.
    """

    def __init__(self, f, argument, array, act, axis, dropout, key, parameters, others):
        self.f, self.act = f, f._activation(act, parameters)
        self.called = Operands(f, argument, array, others | parameters)
        self.shape = shape = self.called.lead.shape
        self.axis = f._position(argument, shape, axis)
        self.channels = tuple(n if i == self.axis else 1 for i, n in enumerate(shape))
        act = self.act
        if act.row.draw:
            f._fail(TypeError, "act", act, "one that does not draw, for arrays on a device")
        self.rate, self.key = f._rate(act, dropout, key), key
        matched = act._parameters((), parameters)
        act._no_more(parameters)
        given = {p.name: self.called.parameter(p, matched[p.name]) for p in act.row.parameters}
        self.given = {name: value.shape for name, value in given.items()}
        self.cast = [self._per_channel(name, value) for name, value in given.items()]
        act._check_order(self.cast)
        on = launching().device(self.called.lead.device)
        self.cc, self.char, self.stream = on.cc, self.called.lead.char, self.called.library.stream(array)

    def _per_channel(self, name, value, alone=True):
        """A View of a value for each channel as one that broadcasts; one `alone` may stand for all."""
        if type(value) is not View or (alone and value.shape in ((), (1,))):
            return value
        n = self.shape[self.axis]
        if value.shape != (n,):
            where = f"axis {self.axis} of x, whose shape is {self.shape}"
            expected = f"shape ({n},), a value for each channel along {where}"
            self.f._fail(ValueError, name, f"of shape {value.shape}", expected)
        return value.reshape(self.channels)

    def bias(self, bias):
        value = self._per_channel("bias", self.called.view("bias", bias, mixed=True), alone=False)
        return replace(value, rounded=False)

    def alike(self, argument, array, of="x"):
        value = self.called.view(argument, array)
        if value.shape != self.shape:
            self.f._fail(ValueError, argument, f"of shape {value.shape}", f"that of {of}, {self.shape}")
        return value

    @property
    def dropout(self):
        """The least draw, and the factor, that dropout keeps with."""
        return (self.rate - 0.5, 1 / (1 - self.rate) if self.rate < 1 else 0.0) if self.rate else ()

    def run(self, function, cost, target, operands):
        if self.rate:
            operands = *operands, *map(np.float64, self.dropout)
            launch_with_draws(self.f, function, DISTRIBUTION, self.key, target, operands, self.stream)
        else:
            run_function(self.f, function, cost, target, operands, self.stream)


def _fused():
    from fastrelu.kernels.cuda import fused

    return fused


def forward(f, x, bias, act, axis, dropout, key, residual, monitor, out, parameters):
    others = {"bias": bias, "residual": residual, "out": out}
    call = _Call(f, "x", x, act, axis, dropout, key, parameters, others)
    if monitor is not None:
        f._fail(TypeError, "monitor", f"a {type(monitor).__name__}", "None for an array on a device")
    shift, called = call.bias(bias), call.called
    added = () if residual is None else (call.alike("residual", residual),)
    target, result = target_of(called, out, call.shape)
    views = [one for one in (called.lead, *added, shift, *call.cast) if type(one) is View]
    called.overlaps(target, [broadcast(one, call.shape) for one in views])
    kernel = call.act.kernel
    function = call.act._on_device(kernel, call.char, call.cc)
    function = _fused().forward(function, call.char, bool(added), bool(call.rate))
    if target.size:
        call.run(function, kernel.cost, target, (called.lead, shift, *added, *call.cast))
    return result


def backward(f, dy, x, bias, act, y, axis, dropout, key, out, parameters):
    name, source = ("x", x) if y is None else ("y", y)
    outs = out if isinstance(out, tuple) else (out,)
    others = {"dy": dy, "bias": bias} | {f"out {i}": one for i, one in enumerate(outs)}
    call = _Call(f, name, source, act, axis, dropout, key, parameters, others)
    called, act, fused = call.called, call.act.backward, _fused()
    gradient = call.alike("dy", dy, name)
    if y is None and bias is None:
        f._fail(ValueError, "bias", None, "what the forward pass was given, with x")
    learned = [p.name for p in act.row.parameters if p.learned]
    pass_ = act._source(x, y, None, ["x", *learned])[0]
    if y is not None:
        act._check_from_y([UNKNOWN if type(c) is View else c for c in call.cast])
    if learned and call.rate:
        expected = f"0 for arrays on a device, beside the gradient of {learned[0]!r}"
        f._fail(ValueError, "dropout", call.rate, expected)
    shift = None if bias is None else call.bias(bias)
    beside = shift if y is None else np.float64(1 - call.rate)
    operands = gradient, called.lead, beside, *call.cast

    count = 2 + len(learned)
    outs = outs if isinstance(out, tuple) else (out,) + (None,) * (count - 1)
    if len(outs) != count:
        f._fail(ValueError, "out", f"a tuple of {len(outs)}", f"one array or None for each of {count}")
    target, result = target_of(called, outs[0], call.shape)
    made = [target_of(called, outs[1], (call.shape[call.axis],), called.array if bias is None else bias)]
    made += [target_of(called, o, call.given[n]) for n, o in zip(learned, outs[2:], strict=True)]
    views = [one for one in (gradient, called.lead, shift, *call.cast) if type(one) is View]
    called.overlaps(target, [broadcast(one, call.shape) for one in views])
    for other, _ in made:
        if called.overlaps(other, [target, *views]):
            f._fail(ValueError, "out", "over an operand, but a gradient is summed", "other memory")

    shape, stream = call.shape, call.stream
    for name, (other, _) in zip(learned, made[1:], strict=True):  # before dx may be written over dy
        kernel = act.kernels[f"backward_wrt_{name}"]
        function = fused.term(act._summed_on_device(kernel, call.char, call.cc))
        to = other.reshape(call.channels) if other.size > 1 else other
        run_sums(f, function, to, operands, shape, to.shape, called, stream)
    kernel, sums = act.kernels[pass_], made[0][0].reshape(call.channels)
    function = act._on_device(kernel, call.char, call.cc)
    function = fused.gradient(function, call.char, y is not None, bool(call.rate))
    if call.rate:
        call.run(function, kernel.cost, target, operands)
        run_sums(f, fused.itself(), sums, (target,), shape, call.channels, called, stream)
    else:
        run_sums(f, function, sums, operands, shape, call.channels, called, stream, terms=target)
    return (result, *(one for _, one in made))
