"""fastrelu inside @njit: every public callable, typed by overloads that call the compiled kernels.

Numba finds `init` by its entry point (pyproject.toml) when it compiles or loads anything for the first time,
so the order of imports does not matter, and ``import fastrelu`` does not import Numba.  Calls look as they do
outside; where one cannot be compiled the error says so and names the argument.
"""

from __future__ import annotations

import functools

from numba import types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, lower_getattr_generic, overload

import fastrelu
from fastrelu.table import GATES

from . import symbols
from .arguments import refused
from .elementwise_calls import backward, forward, logaddexp, logaddexp_backward
from .gate_calls import gated, gated_backward
from .largest_calls import maxout, maxout_backward, maxout_with_index
from .loss_calls import cross_entropy, cross_entropy_backward, value_and_grad
from .own import is_own
from .random_calls import random_backward, random_forward
from .row_calls import logsumexp, logsumexp_backward, normalise, normalise_backward
from .stepped_calls import stepped_backward, stepped_forward

__all__ = ["init"]

# What code may write instead of what has no place in it.
INSTEAD = {
    "bias_act": "fastrelu.gelu(x + bias), say: there the sum is part of the same code",
    "bias_act.backward": "the activation's backward, and its sum over the rows",
    "relu.with_mask": "x > 0, or the result itself: fastrelu.relu.backward(dy, y=y)",
    "LogSumExp": "fastrelu.logsumexp of each chunk, and fastrelu.logaddexp",
    "noise_key": "it outside: nothing is drawn",
}


def _callables():
    """Each public object with the function that types its calls."""
    for activation in dict.fromkeys(fastrelu.ACTIVATIONS.values()):
        for variant in dict.fromkeys((activation, *activation.variants.values())):
            yield variant, forward(variant.row, variant.has_option)
            yield variant.backward, backward(variant.row, variant.has_option)
    for activation in (fastrelu.rrelu, fastrelu.noisy_relu):
        yield activation, random_forward(activation.__name__)
        yield activation.backward, random_backward(activation.__name__)
    yield fastrelu.stepped_sigmoid, stepped_forward()
    yield fastrelu.stepped_sigmoid.backward, stepped_backward()
    for gate in GATES:
        unit = getattr(fastrelu, gate.name)
        yield unit, gated(gate)
        yield unit.backward, gated_backward(gate)
    yield fastrelu.maxout, maxout()
    yield fastrelu.maxout.with_index, maxout_with_index()
    yield fastrelu.maxout.backward, maxout_backward()
    yield fastrelu.logaddexp, logaddexp()
    yield fastrelu.logaddexp.backward, logaddexp_backward()
    for function in (fastrelu.logsumexp, fastrelu.logsumexp0):
        yield function, logsumexp(function.__name__)
        yield function.backward, logsumexp_backward(f"{function.__name__}.backward")
    for function in (fastrelu.softmax, fastrelu.softmax0, fastrelu.log_softmax):
        yield function, normalise(function.__name__)
        yield function.backward, normalise_backward(function.__name__)
    yield fastrelu.cross_entropy, cross_entropy()
    yield fastrelu.cross_entropy.backward, cross_entropy_backward()
    yield fastrelu.cross_entropy.value_and_grad, value_and_grad()


def _others(known):
    """The rest of what the package exports: it has its own words for not being there."""
    named = {name: getattr(fastrelu, name) for name in fastrelu.__all__}
    named |= {"bias_act.backward": fastrelu.bias_act.backward, "relu.with_mask": fastrelu.relu.with_mask}
    for name, each in named.items():
        if callable(each) and each not in known:
            yield each, refused(name, INSTEAD.get(name, "it outside"))


def _let_attributes_through(callables):
    """``fr.gelu.backward`` and the like: a public callable that is an attribute of another."""

    @infer_getattr
    class CallableAttributes(AttributeTemplate):
        key = types.Function

        def generic_resolve(self, function, name):
            attribute = getattr(function.typing_key, name, None)
            known = function.typing_key in callables and attribute in callables
            if callable(attribute) and (known or is_own(attribute)):
                return self.context.resolve_value_type(attribute)
            return None

    @lower_getattr_generic(types.Function)
    def no_value(context, builder, kind, value, name):
        return context.get_dummy_value()


@functools.cache
def init():
    """Teach Numba the public callables and give LLVM their kernels; what ran before does nothing."""
    symbols.register()
    known = dict(_callables())
    known |= dict(_others(known))
    for each, typed in known.items():
        overload(each, prefer_literal=True)(typed)
    _let_attributes_through(known)
