"""What the bridges to other frameworks share: every public function that has a gradient, by its signature.

A bridge wraps each of `functions`, so a new row of the table or a new reduction is in all of them at once.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import numbers

from ..activation import Activation
from ..docstrings import UFUNC_ARGUMENTS
from . import tangents

__all__ = ["BRIDGES", "Differentiable", "functions", "load", "of_activation", "spelled", "without"]

# Which packages a bridge is for, and how to get it.
BRIDGES = {name: f"pip install 'fastrelu[{name}]'" for name in ("torch", "jax", "dask")}
WITHHELD = {*UFUNC_ARGUMENTS, "return_sign", "monitor"}  # no gradient passes through these
CONSTANT = {"labels", "pieces", "act"}  # arguments that must be given, but have no gradient

# Not given by position, but with a gradient: a learned parameter of `act`, and what is added.
ALSO = {"bias_act": ("weight", "residual")}


def load(framework):
    """The module of a framework.

    Raises
    ------
    ImportError
        If it is not installed; the message has the line that installs it.
    """
    if importlib.util.find_spec(framework) is None:
        raise ImportError(
            f"fastrelu.{framework} needs {framework}, which is not installed: {BRIDGES[framework]}",
            name=framework,
        )
    return importlib.import_module(framework)


def of_activation(make):
    """Tell what functions that take an `Activation` have in common, between what they do and the example."""
    summary, example = inspect.cleandoc(make.__doc__).split("\n\n", 1)
    parts = [
        summary,
        "Parameters\n----------\nactivation : Activation\n    Such as one made by `fastrelu.activation`.",
        f"Returns\n-------\n{'type' if 'subclass' in summary else 'function'}",
        f"Examples\n--------\n{example}",
    ]
    make.__doc__ = "\n\n".join(parts)
    return make


def spelled(name, names):
    """The public one of `names` that is `name` but for case and underscores, or None."""
    plain = name.replace("_", "").lower()
    return next((n for n in names if n[0] != "_" and n.replace("_", "").lower() == plain), None)


def without(values, names):
    """The dict `values` without these keys."""
    return {key: value for key, value in values.items() if key not in names}


class Differentiable:
    """A public function, and its ``backward``, with arguments by name.

    Attributes
    ----------
    function : callable
    name : str
    takes : dict
        The names of its arguments, in order, with their defaults.
    positional : tuple of str
        Those which are given by position.
    arrays : tuple of str
        Those which may have a gradient.
    elementwise : bool
        Whether each value of the result belongs to one of `x`.
    piecewise_linear : bool
        Whether its second derivative is 0 wherever it has one.
    draws : bool
        Whether it takes a key of random draws.
    """

    def __init__(self, function):
        arguments = inspect.signature(function).parameters
        of_backward = inspect.signature(function.backward).parameters
        self.function, self.name = function, function.__qualname__
        self.takes = {
            n: a.default for n, a in arguments.items() if n not in WITHHELD and a.kind is not a.VAR_KEYWORD
        }
        self.takes_more = any(a.kind is a.VAR_KEYWORD for a in of_backward.values())
        self.of_backward = set(of_backward)
        self.draws = "key" in self.takes
        self.elementwise = isinstance(function, Activation)
        self.row = function.row if self.elementwise else None
        self.piecewise_linear = self.row.piecewise_linear if self.elementwise else self.name == "maxout"
        self.by_name = self.elementwise and "wrt" in of_backward
        required = [n for n, default in self.takes.items() if default is inspect.Parameter.empty]
        if self.elementwise:
            self.positional = ("x",)
            self.arrays = ("x", *(p.name for p in self.row.parameters)) if self.by_name else ("x",)
        else:
            self.positional = tuple(required) if "gate" not in self.takes else ("value", "gate")
            self.arrays = tuple(name for name in self.positional if name not in CONSTANT)
            self.arrays += ALSO.get(self.name, ())

    def named(self, args, keywords):
        """The arguments of a call by name.

        Raises
        ------
        TypeError
            If there are too many, or one that the function does not take.
        """
        if len(args) > len(self.takes):
            raise TypeError(f"{self.name}: got {len(args)} arguments; expected at most {len(self.takes)}")
        given = dict(zip(self.takes, args, strict=False))
        for name, value in keywords.items():
            if name in given or not (name in self.takes or (self.takes_more and name not in WITHHELD)):
                wrong = "multiple values for argument" if name in given else "an unexpected keyword argument"
                raise TypeError(f"{self.name}: got {wrong} {name!r}; expected {', '.join(self.takes)}")
            given[name] = value
        return given

    def check(self, wanted):
        """Raise where there is no gradient with respect to one of `wanted`."""
        for name in wanted:
            if name not in self.arrays:
                raise TypeError(
                    f"{self.name}: argument {name!r} is differentiated, but has no gradient; expected one "
                    "that is not: see Tensor.detach and jax.lax.stop_gradient"
                )

    def needs_only_y(self, given, wanted):
        """Whether the gradients of `wanted` can be computed from the result alone.

        `given` has the numbers and options of a call; of arrays, whose values nobody knows, it says None.
        """
        if "y" not in self.of_backward or wanted != (self.arrays[0],):
            return False
        if self.row is None:
            return len(self.positional) == 1
        needs = self.row.from_y_needs
        if needs is None:
            return self.row.slope_from_y
        value = given.get(needs.name, self.row.defaults[needs.name])
        return isinstance(value, numbers.Real) and bool(needs.accepts(value))

    def forward(self, given, out=None):
        """The result, for arguments by name."""
        arrays = [given[name] for name in self.positional if name in given]
        rest = without(given, self.positional)
        return self.function(*arrays, **rest) if out is None else self.function(*arrays, **rest, out=out)

    def backward(self, dy, given, wanted, y=None, out=None):
        """The gradients with respect to `wanted`, a tuple, from the call's arguments or its result `y`.

        Where the function answers with one gradient alone, that is written to `out`.
        """
        rest = {n: v for n, v in given.items() if self.takes_more or n in self.of_backward}
        rest = without(rest, (*self.positional, "residual"))
        if out is not None and (len(self.arrays) == 1 or (self.by_name and len(wanted) == 1)):
            rest["out"] = out
        if y is not None:
            return (self.function.backward(dy, y=y, **rest),)
        arrays = [given[name] for name in self.positional if name in given]
        if self.by_name:
            wrt = wanted if len(wanted) > 1 else wanted[0]
            made = self.function.backward(dy, *arrays, wrt=wrt, **rest)
            return made if len(wanted) > 1 else (made,)
        made = self.function.backward(dy, *arrays, **rest)
        made = dict(zip(self.arrays, made if isinstance(made, tuple) else (made,), strict=False))
        made["residual"] = dy
        return tuple(made[name] for name in wanted)

    def tangent(self, moved, given, shape, y=None):
        """The derivative of the result, of this shape, along arrays by the arguments' names: forward mode."""
        return tangents.tangent(self, moved, given, shape, y)

    def signature(self, more=()):
        """The signature of the function, with more arguments at its end."""
        kind, none = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
        arguments = [inspect.Parameter(n, kind, default=d) for n, d in (*self.takes.items(), *more)]
        return inspect.Signature(sorted(arguments, key=lambda a: a.default is not none))


def functions():
    """Every public function with a gradient, by each of its names."""
    import fastrelu

    made = {}
    for name in fastrelu.__all__:
        function = getattr(fastrelu, name)
        if hasattr(function, "backward") and not isinstance(function, type):
            made[name] = Differentiable(function)
    return made
