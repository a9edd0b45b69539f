"""`bias_act` on device arrays: forward one launch, backward two: the second adds up the channels.

A random activation is a launch of its own where anything follows, dropout before it included: its results
wait in memory, as float32 for 16 bits, so that nothing is rounded twice.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .arrays import View
from .calls import (
    Operands,
    any_on_device,
    known_here,
    launching,
    rounded,
    run_function,
    run_sums,
    target_of,
)
from .draws import launch_with_draws
from .layout import broadcast

__all__ = ["any_on_device", "backward", "forward"]

DISTRIBUTION, NO_BIAS = "uniform", np.float64(-0.0)


class _Call:
    """The checked arguments of a call.

    Attributes
    ----------
    act : Activation
    called : Operands
    shape : tuple of int
    channels : tuple of int
        The shape of a value for each channel, which broadcasts.
    kernel : Kernel
        Of the activation, in the pass that is called.
    cast : list
        Its parameters, as numbers and Views that broadcast.
    given : dict
        Their shapes as given, by name.
    rate : float
        Of dropout, which draws from `key`.
    act_key : NoiseKey or None
        What the activation draws from.
    """

    def __init__(self, f, argument, array, act, axis, dropout, key, parameters, others, pass_="forward"):
        self.f, self.act = f, f._activation(act, parameters)
        self.called = Operands(f, argument, array, others | parameters)
        self.shape = shape = self.called.lead.shape
        self.axis = f._position(argument, shape, axis)
        self.channels = tuple(n if i == self.axis else 1 for i, n in enumerate(shape))
        act = self.act
        self.rate, self.key, self.act_key = f._rate(act, dropout, key), key, None
        if act.row.draw:
            self.key = key and key.fold(1)
            self.kernel, given, self.act_key = act._on_its_own(pass_, parameters, key, argument == "y")
            self.cast = [self._beside(p, value) for p, value in given]
            if "draw" in self.kernel.inputs and self.act_key is None:
                self.cast.append(np.float64(0.0))
        else:
            self.kernel = act.kernel
            matched = act._parameters((), parameters)
            act._no_more(parameters)
            given = {p.name: self.called.parameter(p, matched[p.name]) for p in act.row.parameters}
            self.given = {name: value.shape for name, value in given.items()}
            self.cast = [self._per_channel(name, value) for name, value in given.items()]
            act._check_order(known_here(self.cast))
        on = launching().device(self.called.lead.device)
        self.cc, self.char, self.stream = on.cc, self.called.lead.char, self.called.library.stream(array)

    def _beside(self, p, value):
        """A parameter of a random activation, which is given x + bias, in float32 for 16 bits."""
        found = self.called.parameter(p, value)
        if type(found) is not View:
            return np.float64(rounded(float(value), "d" if self.called.lead.char == "d" else "f"))
        if np.broadcast_shapes(found.shape, self.shape) != self.shape:
            expected = f"a shape that broadcasts to that of x, {self.shape}"
            self.f._fail(ValueError, p.name, f"of shape {found.shape}", expected)
        return replace(found, rounded=False)

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
        """Launch a function that has dropout in it, if there is any."""
        if self.rate:
            operands = *operands, *map(np.float64, self.dropout)
            launch_with_draws(self.f, function, DISTRIBUTION, self.key, target, operands, self.stream)
        else:
            run_function(function, cost, target, operands, self.stream)

    def run_random(self, function, target, operands):
        """Launch a function of a random activation, whose draws come last."""
        draws = self.act.row.draw
        launch_with_draws(self.f, function, draws, self.act_key, target, operands, self.stream)

    def waiting(self, memory):
        """Room for results that are not to be rounded yet; its array joins those that launches need."""
        called = self.called
        name = "float32" if self.char in "eb" else None
        array = called.library.empty(called.array, self.shape, name)
        memory.append(array)
        return replace(called.library.view(array), rounded=False)


def _fused():
    from fastrelu.kernels.cuda import fused

    return fused


def forward(f, x, bias, act, axis, dropout, key, residual, monitor, out, parameters):
    others = {"bias": bias, "residual": residual, "out": out}
    call = _Call(f, "x", x, act, axis, dropout, key, parameters, others)
    f._check_monitor(monitor, call.shape[call.axis])
    shift, called, fused = call.bias(bias), call.called, _fused()
    added = () if residual is None else (call.alike("residual", residual),)
    target, result = target_of(called, out, call.shape)
    views = [one for one in (called.lead, *added, shift, *call.cast) if type(one) is View]
    called.overlaps(target, [broadcast(one, call.shape) for one in views])
    if not target.size:
        return result
    function, char = call.act._on_device(call.kernel, call.char, call.cc), call.char
    operands, memory = (called.lead, shift, *call.cast), []
    if call.act_key is not None:
        plain = fused.forward(function, char, False, False)
        if not (call.rate or added or monitor):
            call.run_random(plain, target, operands)
            return result
        waiting = call.waiting(memory)
        call.run_random(plain, waiting, operands)
        function, char, operands = fused.itself(function.single), waiting.char, (waiting, NO_BIAS)
    if monitor is not None:
        tallies = monitor.counted_on_device(called, (call.shape[call.axis],))
        others = [i for i in range(len(call.shape)) if i != call.axis]
        plain = fused.forward(function, char, False, False)
        tallies.add(f, plain, char, operands, call.shape, others, called)
    function = fused.forward(function, call.char, bool(added), bool(call.rate))
    call.run(function, call.kernel.cost, target, (*operands[:2], *added, *operands[2:]))
    return result


def backward(f, dy, x, bias, act, y, axis, dropout, key, out, parameters):
    name, source = ("x", x) if y is None else ("y", y)
    outs = out if isinstance(out, tuple) else (out,)
    others = {"dy": dy, "bias": bias} | {f"out {i}": one for i, one in enumerate(outs)}
    call = _Call(f, name, source, act, axis, dropout, key, parameters, others, "backward")
    called, act, fused = call.called, call.act.backward, _fused()
    gradient = call.alike("dy", dy, name)
    if y is None and bias is None:
        f._fail(ValueError, "bias", None, "what the forward pass was given, with x")
    learned = [p.name for p in act.row.parameters if p.learned]
    kernel = call.kernel
    if not act.row.draw:
        kernel = act.kernels[act._source(x, y, None, ["x", *learned])[0]]
        if y is not None:
            act._check_from_y(known_here(call.cast))
    shift = None if bias is None else call.bias(bias)
    beside = shift if y is None else np.float64(1 - call.rate)

    count = 2 + len(learned)
    outs = outs if isinstance(out, tuple) else (out,) + (None,) * (count - 1)
    if len(outs) != count:
        f._fail(ValueError, "out", f"a tuple of {len(outs)}", f"one array or None for each of {count}")
    target, result = target_of(called, outs[0], call.shape)
    made = [target_of(called, outs[1], (call.shape[call.axis],), called.array if bias is None else bias)]
    made += [target_of(called, o, call.given[n]) for n, o in zip(learned, outs[2:], strict=True)]
    targets = zip(("x", "bias", *learned), (target, *(one for one, _ in made)), outs, strict=True)
    called.apart({name: one for name, one, given in targets if given is not None})
    views = [one for one in (gradient, called.lead, shift, *call.cast) if type(one) is View]
    called.overlaps(target, [broadcast(one, call.shape) for one in views])
    for other, _ in made:
        if called.overlaps(other, [target, *views]):
            f._fail(ValueError, "out", "over an operand, but a gradient is summed", "other memory")

    shape, stream = call.shape, call.stream
    operands = gradient, called.lead, beside, *call.cast
    drops, dropout = bool(call.rate), tuple(map(np.float64, call.dropout))
    key = call.key if drops else None
    for name, (other, _) in zip(learned, made[1:], strict=True):  # before dx may be written over dy
        wrt = act._summed_on_device(act.kernels[f"backward_wrt_{name}"], call.char, call.cc)
        to = other.reshape(call.channels) if other.size > 1 else other
        function = fused.term(wrt, call.char, drops)
        run_sums(f, function, to, (*operands, *dropout), shape, to.shape, called, stream, key=key)
    sums = made[0][0].reshape(call.channels)
    function, memory = act._on_device(kernel, call.char, call.cc), []
    if call.act_key is None:
        operands += dropout
        function = fused.gradient(function, call.char, y is not None, drops)
    else:
        itself, key = fused.itself(function.single), None
        if drops:
            waiting = call.waiting(memory)
            dropped = fused.forward(itself, waiting.char, False, True)
            call.run(dropped, kernel.cost, waiting, (gradient, NO_BIAS))
            operands = waiting, *operands[1:]
        waiting = call.waiting(memory)
        function = fused.gradient(function, waiting.char, y is not None, False)
        call.run_random(function, waiting, operands)
        function, operands = itself, (waiting,)
    run_sums(f, function, sums, operands, shape, call.channels, called, stream, terms=target, key=key)
    return (result, *(one for _, one in made))
