"""A user's function of numbers, made to compute in whatever it is given: long double, complex numbers."""

from __future__ import annotations

import builtins
import dis
import math
import types

import numpy as np

__all__ = ["widened"]

# Of ``math``, by NumPy's names; the first ones are analytic.
ANALYTIC = {
    name: name
    for name in ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")
} | {"asinh": "arcsinh", "atan": "arctan"}
OTHERS = {"fabs": "fabs", "copysign": "copysign", "floor": "floor", "ceil": "ceil", "pow": "power"}
WIDER = {getattr(math, name): getattr(np, twin) for name, twin in (ANALYTIC | OTHERS).items()}
ANALYTIC_FUNCTIONS = {getattr(math, n) for n in ANALYTIC} | {getattr(np, n) for n in ANALYTIC.values()}


class _Math:
    """``math`` with NumPy's functions where they are the same: those take long double and complex numbers."""

    def __getattr__(self, name):
        return WIDER.get(getattr(math, name), getattr(math, name))


def widened(function):
    """The function with NumPy's in the place of ``math``'s, and whether it seems to be analytic."""
    names, analytic, module = dict(function.__globals__), True, None
    for step in dis.get_instructions(function):
        if step.opname == "LOAD_GLOBAL":
            value = function.__globals__.get(step.argval, getattr(builtins, step.argval, None))
            module = value if value in (math, np) else None
            analytic &= module is not None or _is_analytic(value)
            if value is math:
                names[step.argval] = _Math()
            elif hasattr(value, "py_func"):  # Numba's, which would round to double
                names[step.argval] = widened(value.py_func)[0]
            elif isinstance(value, types.BuiltinFunctionType):
                names[step.argval] = WIDER.get(value, value)
        elif step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            analytic &= _is_analytic(getattr(module, step.argval, None))
        elif step.opname in ("COMPARE_OP", "LOAD_DEREF") or "JUMP" in step.opname:
            analytic = False
    wide = types.FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    return wide, analytic


def _is_analytic(value):
    return isinstance(value, (int, float)) or any(value is f for f in ANALYTIC_FUNCTIONS)
