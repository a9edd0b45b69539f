"""Users' own activations: functions of numbers, which Numba compiles, as `Activation` objects.

Nothing is compiled, and Numba not imported, before a call needs it.  What Numba makes are blocks like those
of the built-in activations, so the same drivers run them: any strides and dtypes, threads, streaming stores,
a real ufunc, and the fast path once there is code.  Where nothing was compiled when fastrelu was installed,
blocks are called on one thread.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import numbers
import operator
import os
import pickle
import sys
import types
from dataclasses import dataclass, replace

import numpy as np

from . import docstrings
from .activation import Activation
from .backends import cython
from .backward import Backward
from .device.plain import Plain
from .row import Kernel, Parameter, Row
from .usercode import Code

__all__ = ["CustomActivation", "activation", "imported"]

MOST_PARAMETERS = 6  # loops/exports.h: MAX_INPUTS, less dy and x
TAKEN = {"x", "y", "dy", "wrt", "at_zero", *docstrings.UFUNC_ARGUMENTS}


@dataclass(frozen=True, kw_only=True)
class CustomRow(Row):
    """What the table says of built-in activations, read from the user's function."""

    path: str  # "module:qualified name"

    @property
    def qualname(self):
        return self.path.partition(":")[2]

    def kernels(self) -> dict[str, Kernel]:
        return {pass_: replace(kernel, row=self.path) for pass_, kernel in super().kernels().items()}


def _row(function) -> CustomRow:
    """The row of a function, or an error that says why it cannot be an activation."""
    name, where = function.__qualname__, f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"

    def fail(what):
        raise TypeError(f"activation: {name} ({where}) {what}")

    arguments = list(inspect.signature(function).parameters.values())
    odd = [a for a in arguments if a.kind is not a.POSITIONAL_OR_KEYWORD]
    if odd:
        fail(f"has the parameter {str(odd[0])!r}; expected plain ones, as in def f(x, a=1.0)")
    if not arguments:
        fail("takes nothing; expected a number x and then parameters")
    x, *rest = arguments
    if x.default is not x.empty:
        fail(f"has a default for {x.name!r}, which is the input and always given")
    if len(rest) > MOST_PARAMETERS:
        fail(f"has {len(rest)} parameters after {x.name!r}; expected at most {MOST_PARAMETERS}")
    parameters = []
    for a in rest:
        if a.name in TAKEN:
            fail(f"calls a parameter {a.name!r}, which has a meaning in every call; expected another name")
        given = a.default is not a.empty
        if given and (isinstance(a.default, bool) or not isinstance(a.default, numbers.Real)):
            fail(f"has the default {a.name}={a.default!r}; expected a number, or no default")
        default = float(a.default) if given else None
        text = (
            "A parameter of the function." if given else "A parameter of the function, which must be given."
        )
        parameters.append(
            Parameter(name=a.name, doc=text, default=default, typical=(default if given else 1.0,))
        )
    summary = inspect.getdoc(function) or f"The activation that `{name}` computes."
    return CustomRow(
        name=function.__name__,
        path=f"{function.__module__}:{name}",
        summary=summary,
        formula=f"{function.__name__}({', '.join(a.name for a in arguments)})",
        derivative=f"that of {function.__name__}",
        source=where,
        parameters=tuple(parameters),
    )


class _Own:
    """What an activation of a user and its backward pass share: kernels that are compiled when needed."""

    codes: dict[str, Code]  # by pass

    def _elementwise(self, kernel):
        code = self.codes[kernel.pass_]
        call = code.call
        if cython.ISA and not code.bound:
            self._bind_compiled()
            code.bound = True
        return call

    def _sums(self, kernel, dtype):
        return None

    def _on_device(self, kernel, char, cc):
        return self.codes[kernel.pass_].on_device(char, cc)

    _summed_on_device = _on_device

    def _reads(self, *arrays):
        return False

    def _ufunc_of(self, kernel):
        return self.codes[kernel.pass_].ufunc

    def runs(self, settings):
        """The settings under which calls run, and the kernel's index for the compiled drivers."""
        code = self.codes[self.kernel.pass_]
        return replace(settings, backend=code.backend), code.index if cython.ISA else None

    def _real(self, argument, value):
        array = super()._real(argument, value)
        if array.dtype.char == "g":
            self._fail(
                TypeError,
                argument,
                f"of dtype {array.dtype}",
                "at most float64: Numba compiles nothing wider",
            )
        return array

    def __reduce__(self):
        if "<" in self.__qualname__:
            raise pickle.PicklingError(
                f"{self.__qualname__} cannot be pickled: it was made inside a function, and an activation is "
                "found again by the name that it has in its module"
            )
        return self.__qualname__

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


class CustomBackward(_Own, Backward):
    """The backward pass of an activation of a user, from the derivatives that were given."""

    def _bind(self, row):
        pass  # before the first call there is nothing to bind

    def _bind_compiled(self):
        index = {pass_: code.index for pass_, code in self.codes.items() if code.is_compiled}
        if "backward" in index:
            others = index.get("backward_from_y", -1), -1
            any_ = [-np.inf] * len(self.row.parameters)
            self.bind_backward(index["backward"], *others, self.row.parameters, any_)

    def _source(self, x, y, at_zero, wanted):
        found = super()._source(x, y, at_zero, wanted)
        for name in wanted:
            pass_ = found[0] if name == "x" else f"backward_wrt_{name}"
            if pass_ not in self.codes:
                raise NotImplementedError(self.how_to_add(name))
        return found

    def how_to_add(self, name):
        f, arguments = self.row.name, ", ".join(["x", *(p.name for p in self.row.parameters)])
        option = "" if name == "x" else f'(wrt="{name}")'
        return (
            f"{self.__qualname__}: the derivative with respect to {name} is not known; add it after the "
            f"function:\n\n    @{f}.derivative{option}\n    def _({arguments}):\n        return ...\n"
        )


class CustomActivation(_Own, Activation):
    """An activation that a user wrote, made by `activation`.

    Attributes
    ----------
    function : function
        The user's function of numbers.
    derivatives : dict of str to function
        By what they are derivatives with respect to: ``"x"``, or a parameter's name; ``"y"`` is that of x
        as a function of the output.
    """

    backward_class = CustomBackward

    def __init__(self, function):
        row = _row(function)
        self.codes, self.function, self.derivatives = {}, function, {}
        super().__init__(row)
        self.backward.codes, self.backward.on_device = self.codes, {}
        self.__module__ = self.backward.__module__ = function.__module__
        self.__wrapped__ = function
        self.__doc__ = docstrings.custom_forward_doc(row)
        self.backward.__doc__ = docstrings.custom_backward_doc(row)
        self._add("forward", function)

    def _bind(self, row):
        pass  # before the first call there is nothing to bind

    def _bind_compiled(self):
        code = self.codes["forward"]
        self.bind_forward(code.index, code.ufunc, self.row, not self.row.parameters)

    def _add(self, pass_, function):
        self.codes[pass_] = Code(function, self.row.kernels()[pass_])

    def derivative(self, function=None, /, *, wrt="x", of="x"):
        """Decorator: add the derivative, a function of the same numbers.

        Parameters
        ----------
        function : function
            Takes what the activation's own function takes, in the same order.
        wrt : str
            With respect to what: ``"x"``, or the name of a parameter.
        of : {"x", "y"}
            ``"y"``: the derivative with respect to x as a function of the output, which takes that in the
            place of x; it makes ``backward(dy, y=y)`` possible.

        Returns
        -------
        function
            The one that was given; the activation's `backward` uses it.

        Raises
        ------
        ValueError
            If `wrt` or `of` is something else.
        TypeError
            If the function takes something else; the message says what was expected.

        Examples
        --------
        >>> @fr.activation
        ... def squashed(x, a=1.0):
        ...     return x / (1.0 + a * abs(x))
        >>> @squashed.derivative
        ... def _(x, a):
        ...     return 1.0 / (1.0 + a * abs(x)) ** 2
        """
        names = [p.name for p in self.row.parameters]
        if wrt not in ("x", *names):
            self._fail(ValueError, "wrt", repr(wrt), " or ".join(map(repr, ("x", *names))))
        if of not in ("x", "y") or (of, wrt != "x") == ("y", True):
            self._fail(ValueError, "of", repr(of), "'x'" if wrt != "x" else "'x' or 'y'")
        if function is None:
            return functools.partial(self.derivative, wrt=wrt, of=of)
        function = _plain(f"{self.__qualname__}.derivative", function)
        _check_takes(self, function, [of, *names])
        if of == "y":
            self.row = self.backward.row = replace(self.row, slope_from_y=True)
        pass_ = "backward" if wrt == "x" else f"backward_wrt_{wrt}"
        self._add("backward_from_y" if of == "y" else pass_, function)
        self.backward.kernels = self.row.kernels()
        self.backward.on_device = {
            kept: Plain(self.backward, self.backward.kernels[kept])
            for kept in ("backward", "backward_from_y")
            if kept in self.codes
        }
        self.backward.__doc__ = docstrings.custom_backward_doc(self.row)
        self.derivatives["y" if of == "y" else wrt] = function
        if cython.ISA:
            self.backward.unbind()
        return function


def imported(path):
    """The `Activation` at "package.module:name", from the working directory too.

    Raises
    ------
    ValueError
        If there is none; the message says what there is.
    """
    module, _, name = path.partition(":")
    sys.path.insert(0, os.getcwd())  # as `python -m` does
    try:
        found = operator.attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path!r} cannot be imported: {error}") from None
    finally:
        sys.path.remove(os.getcwd())
    if not isinstance(found, Activation):
        raise ValueError(f"{path!r} is a {type(found).__name__}; expected an Activation")
    return found


def _plain(name, function):
    """A Python function; that of one which Numba has wrapped already."""
    function = getattr(function, "py_func", function)
    if not isinstance(function, types.FunctionType):
        raise TypeError(f"{name}: got {function!r}; expected a function of numbers, written in Python")
    return function


def _check_takes(f, function, expected):
    arguments = list(inspect.signature(function).parameters.values())
    names = [a.name for a in arguments]
    # what comes first may be called anything
    if (
        names[1:] != expected[1:]
        or not names
        or any(a.kind is not a.POSITIONAL_OR_KEYWORD for a in arguments)
    ):
        where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
        raise TypeError(
            f"{f.__qualname__}.derivative: the function takes ({', '.join(map(str, arguments))}); "
            f"expected ({', '.join(expected)}), as {f.__qualname__} has them ({where})"
        )


def activation(function):
    """Make an `Activation` of a function of numbers, for use as a decorator.

    Numba compiles the function, when it is first called; nothing happens before.  Give the derivative with
    ``.derivative``, and the gradients of parameters with ``.derivative(wrt="name")``, to have `backward`.

    Parameters
    ----------
    function : function
        ``f(x, a=1.0, ...)``: returns a number for a number `x` and parameters, which may have numbers as
        defaults and can be arrays in calls.  It may use Python's arithmetic and conditions, ``math``, NumPy's
        functions of numbers, and functions decorated with ``numba.njit``.

    Returns
    -------
    Activation
        With ``function``, and ``derivative`` to add derivatives with.

    Raises
    ------
    TypeError
        If the function's signature is none of an activation: what was found and what was expected.

    Notes
    -----
    Arithmetic follows Python's and Numba's rules: a Python number like ``1.0`` is a double, so an expression
    with one in it is computed in double precision and rounded once, also for float32.  float16 and bfloat16
    are computed as float32.

    Examples
    --------
    >>> @fr.activation
    ... def squashed(x, a=1.0):
    ...     return x / (1.0 + a * abs(x))
    >>> isinstance(squashed, fr.Activation)
    True
    """
    return CustomActivation(_plain("activation", function))


if cython.ISA:
    cython.ufuncs.enable(CustomActivation)
    cython.ufuncs.enable(CustomBackward)
