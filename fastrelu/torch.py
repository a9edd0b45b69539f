"""The functions of fastrelu for tensors of PyTorch, with autograd, and as modules named as in ``torch.nn``.

    import fastrelu.torch

    y = fastrelu.torch.gelu(x)                                   # a function of a tensor
    model = torch.nn.Sequential(torch.nn.Linear(5, 3), fastrelu.torch.ReLU())

Every public function that has a gradient is here, by its own name and, where ``torch.nn.functional`` has
another spelling, by that one.  It takes the arguments that it takes for arrays; ``dim`` and ``keepdim`` are
understood for ``axis`` and ``keepdims``, and elementwise functions know ``inplace=True``.  Tensors share
their memory with the kernels: nothing is copied.  Gradients are those of the ``backward`` of each function,
with respect to parameters as well where they are tensors.  Second derivatives with respect to the input exist
for most functions (docs/bridges.md says which); for others the second backward pass raises.

A module is a subclass of the one in ``torch.nn`` where there is one, so its constructor, its attributes, its
state dict and ``isinstance`` are those; others take the parameters of the function.
"""

from __future__ import annotations

import functools
import inspect

from . import bridges
from .table import GATES as _GATES

torch = bridges.load("torch")

from torch.autograd import forward_ad  # noqa: E402

from .bridges import compiled  # noqa: E402
from .bridges.autograd import call, is_transformed, memory, tensor  # noqa: E402

GATES = {gate.name for gate in _GATES}
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
    if function.elementwise and len(args) == len(function.takes) + 1:
        *args, inplace = args
    given = function.named(args, keywords)
    lead = given.get(first := next(iter(function.takes)))
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
    # of users' activations several may have one name
    key, names = f"{made.name} as {name}, {len(compiled.known)}", tuple(made.takes)
    compiled.known[key] = made
    spoken = FROM_TORCH | {"input": names[0]}

    def function(*args, inplace=False, **keywords):
        if keywords:
            keywords = {spoken.get(word, word): value for word, value in keywords.items()}
        if torch.compiler.is_compiling():
            result = compiled.call(key, names, args, keywords)
            return args[0].copy_(result) if inplace else result
        return _call(made, args, inplace, keywords)

    if not made.elementwise:
        elementwise = function

        def function(*args, dtype=None, **keywords):
            if dtype is not None:
                args = [keywords.pop("input"), *args] if "input" in keywords else args
                args = (args[0].to(dtype), *args[1:])
            return elementwise(*args, **keywords)

    function._torchdynamo_disable = made.draws  # a key is drawn outside of graphs
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
    spoken = {own: theirs for theirs, own in FROM_TORCH.items()}
    inputs = {"key", "x"} if made.elementwise else {"key", *made.arrays}
    options = {spoken.get(n, n): default for n, default in made.takes.items() if n not in inputs}
    if made.elementwise:
        options["inplace"] = False
    members = {
        "_function": staticmethod(function),
        "_options": tuple(options),
        "__module__": __name__,
        "__doc__": f"`fastrelu.torch.{made.name}` as a module.",
    }
    if name is not None:
        return type(name, (_Forward, getattr(torch.nn, name)), members)
    name = "".join(part.capitalize() for part in made.name.split("_"))
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    members["__signature__"] = inspect.Signature(
        [inspect.Parameter(n, kind, default=default) for n, default in options.items() if n != "training"]
    )
    return type(name, (_Own,), members)


# For activations of your own


@bridges.of_activation
def function_of(activation):
    """A function of tensors, with autograd, from what has a ``backward``.

    >>> import torch, fastrelu.torch as frt
    >>> frt.function_of(fr.relu)(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return _function(bridges.Differentiable(activation), activation.__name__)


@bridges.of_activation
def module_of(activation):
    """A subclass of ``torch.nn.Module`` from an activation; its parameters are those of the constructor.

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
        if f"{theirs or name}_" in dir(torch.nn.functional):
            made[f"{theirs or name}_"] = _in_place(wrapped, f"{theirs or name}_")
        alone = function.elementwise or name == "maxout" or name in GATES
        if (alone and name == function.name) or bridges.spelled(name, dir(torch.nn)):
            module = _module(function, wrapped)
            made[module.__name__] = module
    return made


def _in_place(wrapped, name):
    function = functools.partial(wrapped, inplace=True)
    function.__name__, function.__doc__ = name, f"`{wrapped.__name__}` with ``inplace=True``."
    return function


_MADE = _everything()
globals().update(_MADE)

# Those whose arguments are PyTorch's


def cross_entropy(
    input, target, weight=None, *, axis=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """`fastrelu.cross_entropy` of tensors, with the arguments and defaults of ``torch.nn.functional``.

    Classes are along axis 1, or along `axis`, and rows with the label -100 do not count.  With autograd loss
    and gradient are computed in one pass, and nothing but the gradient is kept.
    """
    return _MADE["cross_entropy"](
        input,
        target,
        axis=min(1, input.ndim - 1) if axis is None else axis,
        weight=weight,
        ignore_index=None if target.is_floating_point() else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def softmin(input, dim=None, *, axis=None, dtype=None):
    """`fastrelu.torch.softmax` of the negative of a tensor."""
    return _MADE["softmax"](-input, axis=dim if axis is None else axis, dtype=dtype)


def softplus(input, beta=1.0, threshold=20.0, *, inplace=False):
    """`fastrelu.softplus` of a tensor, with autograd.

    It needs no threshold: beyond PyTorch's default one the result differs from a straight line by less than
    2.1e-9 over `beta`.  A lower one is obeyed.
    """
    plain = _MADE["softplus"]
    if threshold >= 20:
        return plain(input, beta, inplace=inplace)
    y = torch.where(input * beta > threshold, input, plain(input, beta))
    return input.copy_(y) if inplace else y


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """`fastrelu.torch.cross_entropy` as a module."""

    def forward(self, input, target):
        options = {n: getattr(self, n) for n in ("weight", "ignore_index", "reduction", "label_smoothing")}
        return cross_entropy(input, target, **options)


class Softmax2d(torch.nn.Softmax2d):
    """`fastrelu.torch.softmax` over the channels of images."""

    def forward(self, input):
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: argument 'input' has {input.ndim} axes; expected 3 or 4")
        return _MADE["softmax"](input, -3)


class Softmin(torch.nn.Softmin):
    """`fastrelu.torch.softmin` as a module."""

    def forward(self, input):
        return softmin(input, self.dim)


class Softplus(torch.nn.Softplus):
    """`fastrelu.torch.softplus` as a module."""

    def forward(self, input):
        return softplus(input, self.beta, self.threshold)


_OWN = cross_entropy, softmin, softplus, CrossEntropyLoss, Softmax2d, Softmin, Softplus
__all__ = [*sorted({*_MADE} | {made.__name__ for made in _OWN}), "function_of", "module_of"]
