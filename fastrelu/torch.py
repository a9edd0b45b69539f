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

from . import bridges

torch = bridges.load("torch")

from torch.autograd import forward_ad  # noqa: E402

from .autograd import call, is_transformed, memory, tensor  # noqa: E402

FROM_TORCH = {"dim": "axis", "keepdim": "keepdims", "target": "labels"}


def _call(function, args, inplace, keywords):
    simple = len(args) == 1 and not keywords and not inplace  # what is called most
    if (
        simple
        and isinstance(x := args[0], torch.Tensor)
        and not (x.requires_grad and torch.is_grad_enabled())
        and not (is_transformed() or forward_ad._current_level >= 0)
    ):
        return tensor(function.function(memory(x)))
    first = next(iter(function.takes))
    spoken = FROM_TORCH | {"input": first}
    keywords = {spoken.get(name, name): value for name, value in keywords.items()}
    if function.elementwise and len(args) == len(function.takes) + 1:
        *args, inplace = args
    given = function.named(args, keywords)
    lead = given.get(first)
    if not isinstance(lead, torch.Tensor):
        kind = "missing" if lead is None else f"a {type(lead).__name__}"
        raise TypeError(f"fastrelu.torch.{function.name}: argument {first!r} is {kind}; expected a Tensor")
    if function.draws and given.get("training") and given.get("key") is None:
        given["key"] = _key()
    return call(function, given, inplace)


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
