"""Calls of `fastrelu.torch` inside a graph of ``torch.compile``: an operator that knows what it will return.

There PyTorch calls with tensors that have no memory, so an operator takes tensors and, as text, all the rest
of a call: the function's name, the names of the tensors, and a line for each other argument.
"""

from __future__ import annotations

import ast
import math

import numpy as np

from .. import bridges
from .autograd import memory, numpy_dtype, shared, tensor

torch = bridges.load("torch")

__all__ = ["call", "known"]

known = {}  # functions by the names under which operators find them
NO_LITERALS = {repr(number): number for number in (math.inf, -math.inf, math.nan)}


def call(name, names, args, keywords):
    """The result of a call, in words that PyTorch can trace; `names` are those of all arguments."""
    tensors, of_tensors, options = [], [], []
    for key, value in [*zip(names, args, strict=False), *keywords.items()]:
        if isinstance(value, torch.Tensor):
            of_tensors.append(key)
            tensors.append(value)
        else:
            options.append(f"{key}={value!r}")
    return torch.ops.fastrelu.call("\n".join([name, ",".join(of_tensors), *options]), tensors)


def _read(text):
    name, of_tensors, *options = text.split("\n")
    function, names = known[name], of_tensors.split(",")
    constants = {}
    for option in options:
        key, _, value = option.partition("=")
        constants[key] = NO_LITERALS[value] if value in NO_LITERALS else ast.literal_eval(value)
    function.named((), dict.fromkeys(names) | constants)  # refuses what it does not know
    return function, names, constants


@torch.library.custom_op("fastrelu::call", mutates_args=(), schema="(str call, Tensor[] tensors) -> Tensor")
def _call(text, tensors):
    function, names, constants = _read(text)
    return tensor(function.forward(shared(constants, names, tensors)))


@_call.register_fake
def _(text, tensors):
    function, names, constants = _read(text)
    first, *others = tensors
    if function.elementwise and not others:
        return torch.empty_like(first)
    usable = {p.name: p.typical[0] for p in function.row.parameters} if function.elementwise else {}
    values = {
        name: np.full([int(n) for n in t.shape], usable.get(name, 0), numpy_dtype(t.dtype))
        for name, t in zip(names, tensors, strict=True)
    }
    return first.new_empty(np.shape(function.forward(constants | values)))


@torch.library.custom_op(
    "fastrelu::gradient",
    mutates_args=(),
    schema="(str call, str wanted, bool from_y, Tensor dy, Tensor[] kept) -> Tensor[]",
)
def _gradient(text, wanted, from_y, dy, kept):
    function, names, constants = _read(text)
    values = shared(constants, names, kept)
    y = values.pop(names[0]) if from_y else None
    return [tensor(made) for made in function.backward(memory(dy), values, tuple(wanted.split(",")), y)]


@_gradient.register_fake
def _(text, wanted, from_y, dy, kept):
    of = dict(zip(_read(text)[1], kept, strict=True))
    return [torch.empty_like(of[name]) for name in wanted.split(",")]


def _keep(ctx, inputs, output):
    ctx.text, tensors = inputs
    function, ctx.names, constants = _read(ctx.text)
    ctx.wanted = tuple(n for n, t in zip(ctx.names, tensors, strict=True) if t.requires_grad)
    function.check(ctx.wanted)
    ctx.from_y = function.needs_only_y(constants | dict.fromkeys(ctx.names), ctx.wanted)
    ctx.save_for_backward(*((output, *tensors[1:]) if ctx.from_y else tensors))


def _backward(ctx, dy):
    kept = list(ctx.saved_tensors)
    made = torch.ops.fastrelu.gradient(ctx.text, ",".join(ctx.wanted), ctx.from_y, dy, kept)
    made = dict(zip(ctx.wanted, made, strict=True))
    return None, [made.get(name) for name in ctx.names]


_call.register_autograd(_backward, setup_context=_keep)
