"""How a formula of the reference is written: once, for the working dtype; here is what stands around it."""

from __future__ import annotations

import functools

import numpy as np

from ..table import RANDOM, ROWS

__all__ = ["formula", "keep_nan", "working_dtypes"]


def _checks():
    """Formula name -> [(position, Parameter, positions)]: the arguments whose unusable lanes become NaN.

    The positions are those of a parameter that this one must reach, if there is one.
    """
    found = {}
    for row in ROWS:
        constrained = {p.name: p for p in row.parameters if p.constrained or p.not_below}
        for kernel in row.kernels().values():
            checked = dict(constrained)
            if row.from_y_needs and kernel.formula.endswith("_slope_from_y"):
                checked[row.from_y_needs.name] = row.from_y_needs
            found[kernel.formula] = [
                (
                    i,
                    checked[name],
                    [kernel.arguments.index(least)] if (least := checked[name].not_below) else [],
                )
                for i, name in enumerate(kernel.arguments)
                if name in checked
            ]
    return found


CHECKS = _checks()
# Whose every rounding is part of the definition: they are computed in the dtype itself.
ROUNDED_FORMULAS = {k.formula for row in RANDOM if row.draw == "uniform" for k in row.kernels().values()}
INTEGER_FORMULAS = {kernel.formula for row in ROWS if row.keeps_integers for kernel in row.kernels().values()}


def working_dtypes(name, dtype):
    """The dtype of the result of the formula `name` on `dtype`, and the one to compute in."""
    if dtype.kind in "biu":
        return (dtype, dtype) if name in INTEGER_FORMULAS else (np.dtype(float), np.dtype(float))
    kept = "fdg" if name in ROUNDED_FORMULAS else "dg"
    return dtype, dtype if dtype.char in kept else np.dtype(float)


def formula(function):
    """Wrap the formula of the table that has the function's name, written for the working dtype.

    ``.exact`` is the same without the final rounding.
    """
    name = function.__name__
    checks = CHECKS.get(name, ())

    def exact(*arguments):
        result = function(*arguments)
        for position, parameter, least in checks:
            value = arguments[position]
            result = np.where(parameter.accepts(value), result, np.nan)
            for other in least:
                result = np.where(value >= arguments[other], result, np.nan)
        return result

    @functools.wraps(function)
    def rounded(*arguments):
        dtype, work = working_dtypes(name, np.asarray(arguments[0]).dtype)
        with np.errstate(all="ignore"):
            arguments = [np.asarray(a).astype(dtype, copy=False).astype(work) for a in arguments]
            return np.asarray(exact(*arguments)).astype(dtype)[()]

    rounded.exact = exact
    return rounded


def keep_nan(x, y):
    return np.where(x == x, y, x)
