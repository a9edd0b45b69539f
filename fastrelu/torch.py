"""The functions of fastrelu for tensors of PyTorch, with autograd, and as modules named as in ``torch.nn``.

    import fastrelu.torch

    y = fastrelu.torch.gelu(x)                                   # a function of a tensor
    model = torch.nn.Sequential(torch.nn.Linear(5, 3), fastrelu.torch.ReLU())

Every public function that has a gradient is here, by its own name and, where ``torch.nn.functional`` has
another spelling, by that one.  It takes the arguments that it takes for arrays; ``dim`` and ``keepdim`` are
understood for ``axis`` and ``keepdims``, and elementwise functions know ``inplace=True``.  Tensors share
their memory with the kernels: nothing is copied.  Gradients are those of the ``backward`` of each function,
with respect to parameters as well where they are tensors.  Second derivatives exist for functions made of
straight pieces; for others the second backward pass raises.

A module is a subclass of the one in ``torch.nn`` where there is one, so its constructor, its attributes, its
state dict and ``isinstance`` are those; others take the parameters of the function.
"""

from __future__ import annotations

import inspect

import numpy as np

from . import bridges

torch = bridges.load("torch")

FROM_TORCH = {"dim": "axis", "keepdim": "keepdims"}
FIRST_INPUT = 4  # of _Call.apply and of _Gradient.apply: the arguments before the tensors


# Memory


def _memory(tensor):
    """A tensor of the CPU as an ndarray over the same memory; one of a device as it is."""
    tensor = tensor.detach()
    if tensor.device.type != "cpu":
        return tensor
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(_bfloat16())
    return tensor.numpy()


def _bfloat16():
    try:
        from ml_dtypes import bfloat16
    except ModuleNotFoundError:
        raise TypeError(
            "fastrelu.torch: bfloat16 needs ml_dtypes, which is not installed: pip install 'fastrelu[half]'"
        ) from None
    return bfloat16


def _tensor(result):
    """What a function returned, as a tensor over the same memory."""
    if isinstance(result, torch.Tensor):
        return result
    array = np.asarray(result)
    if array.dtype.kind == "V":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _shared(given, names, tensors):
    return given | {name: _memory(tensor) for name, tensor in zip(names, tensors, strict=True)}


# Autograd


class _Call(torch.autograd.Function):
    """The forward pass of a function; `names` are those of `tensors`, `given` are the other arguments."""

    @staticmethod
    def forward(ctx, function, given, names, inplace, *tensors):
        wanted = tuple(n for n, g in zip(names, ctx.needs_input_grad[FIRST_INPUT:], strict=True) if g)
        for name in wanted:
            if name not in function.arrays:
                raise TypeError(
                    f"fastrelu.torch.{function.name}: argument {name!r} requires grad, but has no gradient; "
                    f"expected a detached tensor"
                )
        values = _shared(given, names, tensors)
        from_y = function.needs_only_y(values, wanted)
        x = tensors[0]
        if inplace:
            if not from_y:
                tensors = (x.detach().clone(), *tensors[1:])
            function.forward(values, out=_memory(x))
            ctx.mark_dirty(x)
            y = x
        else:
            y = _tensor(function.forward(values))
        ctx.function, ctx.given, ctx.names = function, given, names
        ctx.wanted, ctx.from_y = wanted, from_y
        ctx.save_for_backward(*((y, *tensors[1:]) if from_y else tensors))
        return y

    @staticmethod
    def backward(ctx, dy):
        about = ctx.function, ctx.given, (ctx.names, ctx.wanted), ctx.from_y
        differentiate = _Gradient.apply if torch.is_grad_enabled() else _gradient
        made = dict(zip(ctx.wanted, differentiate(*about, dy, *ctx.saved_tensors), strict=True))
        return None, None, None, None, *(made.get(name) for name in ctx.names)


class _Gradient(torch.autograd.Function):
    """The backward pass, as a function that is differentiated again."""

    @staticmethod
    def forward(ctx, function, given, names, from_y, dy, *saved):
        ctx.about = function, given, names, from_y
        ctx.save_for_backward(*saved)
        return _gradient(function, given, names, from_y, dy, *saved)

    @staticmethod
    def backward(ctx, *ddx):
        function, _, (_, wanted), _ = ctx.about
        if not (function.piecewise_linear and wanted == ("x",)):
            raise NotImplementedError(
                f"fastrelu.torch.{function.name}: the second derivative with respect to "
                f"{' and '.join(wanted)} is not known; expected one backward pass, or a function of "
                "torch.nn.functional where there are two"
            )
        # dy enters linearly, and the slope does not change with x
        made = _Gradient.apply(*ctx.about, *ddx, *ctx.saved_tensors)
        return None, None, None, None, *made, *(None for _ in ctx.saved_tensors)


def _gradient(function, given, names, from_y, dy, *saved):
    names, wanted = names
    first, *others = saved
    values, dy = _shared(given, names[1:], others), _memory(dy)
    if from_y:
        made = function.backward(dy, values, wanted, y=_memory(first))
    else:
        made = function.backward(dy, {names[0]: _memory(first)} | values, wanted)
    return tuple(map(_tensor, made))


def _call(function, args, inplace, keywords):
    simple = len(args) == 1 and not keywords and not inplace  # what is called most
    if (
        simple
        and isinstance(x := args[0], torch.Tensor)
        and not (x.requires_grad and torch.is_grad_enabled())
    ):
        return _tensor(function.function(_memory(x)))
    keywords = {FROM_TORCH.get(name, name): value for name, value in keywords.items()}
    given = function.named(args, keywords)
    lead = given.get(first := next(iter(function.takes)))
    if not isinstance(lead, torch.Tensor):
        kind = "missing" if lead is None else f"a {type(lead).__name__}"
        raise TypeError(f"fastrelu.torch.{function.name}: argument {first!r} is {kind}; expected a Tensor")
    if function.draws and given.get("training") and given.get("key") is None:
        given["key"] = _key()
    tensors = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors.values()):
        rest = bridges.without(given, tensors)
        return _Call.apply(function, rest, tuple(tensors), inplace, *tensors.values())
    values = _shared(given, tensors, tensors.values())
    if not inplace:
        return _tensor(function.forward(values))
    function.forward(values, out=_memory(lead))
    torch.autograd.graph.increment_version(lead)
    return lead


def _key():
    """A key from PyTorch's own generator, so that ``torch.manual_seed`` makes draws come again."""
    from .keys import noise_key

    return noise_key(int(torch.randint(2**63 - 1, ())))


def _function(made, name):
    if made.elementwise:

        def function(*args, inplace=False, **keywords):
            return _call(made, args, inplace, keywords)

    else:

        def function(*args, **keywords):
            return _call(made, args, False, keywords)

    function.__name__ = function.__qualname__ = name
    function.__signature__ = made.signature([("inplace", False)] if made.elementwise else [])
    function.__doc__ = (
        f"`fastrelu.{made.name}` of tensors, with autograd.\n\n"
        "Takes tensors where that takes arrays and returns a tensor; its docstring says the rest"
        + (", but for `inplace`: to\noverwrite `x`, and return it." if made.elementwise else ".")
    )
    return function


# Modules


class _Forward:
    """Calls the function with those of its arguments that the module has as attributes."""

    def forward(self, *inputs):
        given = {name: getattr(self, name) for name in self._options if hasattr(self, name)}
        if given.get("dim", 0) is None:
            raise ValueError(f"{type(self).__name__}: argument 'dim' is None; expected an axis")
        return self._function(*inputs, **given)


class _Own(_Forward, torch.nn.Module):
    """A module that PyTorch has not; its parameters are the function's."""

    def __init__(self, *args, **keywords):
        super().__init__()
        given = inspect.signature(type(self)).bind(*args, **keywords)
        given.apply_defaults()
        for name, value in given.arguments.items():
            setattr(self, name, value)

    def extra_repr(self):
        return ", ".join(
            f"{name}={getattr(self, name)!r}" for name in inspect.signature(type(self)).parameters
        )


def _module(made, function):
    """The module of a function, a subclass of PyTorch's where there is one."""
    modules = [name for name, kind in vars(torch.nn).items() if isinstance(kind, type)]
    name = bridges.spelled(made.name, modules)
    options = [n for n in made.takes if n not in ("x", "key")]
    spoken = {own: theirs for theirs, own in FROM_TORCH.items()}
    members = {
        "_function": staticmethod(function),
        "_options": (*(spoken.get(n, n) for n in options), "inplace"),
        "__module__": __name__,
        "__doc__": f"`fastrelu.torch.{made.name}` as a module.",
    }
    if name is not None:
        return type(name, (_Forward, getattr(torch.nn, name)), members)
    name = "".join(part.capitalize() for part in made.name.split("_"))
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    arguments = [(n, made.takes[n]) for n in options if n != "training"] + [("inplace", False)]
    members["__signature__"] = inspect.Signature(
        [inspect.Parameter(n, kind, default=default) for n, default in arguments]
    )
    return type(name, (_Own,), members)


# For activations of your own


def function_of(activation):
    """A function of tensors, with autograd, from what has a ``backward``.

    Parameters
    ----------
    activation : Activation
        Such as one made by `fastrelu.activation`.

    Returns
    -------
    function

    Examples
    --------
    >>> import torch, fastrelu.torch as frt
    >>> frt.function_of(fr.relu)(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return _function(bridges.Differentiable(activation), activation.__name__)


def module_of(activation):
    """A subclass of ``torch.nn.Module`` from an activation; its parameters are those of the constructor.

    Parameters
    ----------
    activation : Activation
        Such as one made by `fastrelu.activation`.

    Returns
    -------
    type

    Examples
    --------
    >>> frt.module_of(fr.squareplus)(b=1.0)
    Squareplus(b=1.0, inplace=False)
    """
    return _module(bridges.Differentiable(activation), function_of(activation))


def _everything():
    made = {}
    for name, function in bridges.functions().items():
        made[name] = wrapped = _function(function, name)
        theirs = bridges.spelled(name, dir(torch.nn.functional))
        made.setdefault(theirs or name, wrapped)
        if (function.elementwise and name == function.name) or bridges.spelled(name, dir(torch.nn)):
            module = _module(function, wrapped)
            made[module.__name__] = module
    return made


_MADE = _everything()
globals().update(_MADE)
__all__ = [*_MADE, "function_of", "module_of"]


class CrossEntropyLoss(_Forward, torch.nn.CrossEntropyLoss):
    """`fastrelu.torch.cross_entropy` as a module: the classes are along axis 1, as in ``torch.nn``."""

    def forward(self, logits, labels):
        return _MADE["cross_entropy"](
            logits,
            labels,
            axis=min(1, logits.ndim - 1),
            weight=self.weight,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            ignore_index=self.ignore_index,
        )


__all__ += ["CrossEntropyLoss"]
