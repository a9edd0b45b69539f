"""The reference twin: every activation, its derivative and its limits in plain NumPy.

This package defines what the kernels compute.  It is the oracle of the tests (called with a
wider dtype), the fallback where nothing was compiled, and the baseline of the benchmarks.
There is one function for each ``Kernel.formula`` of the table, on arrays of one dtype that
broadcast; the result has the dtype of the first.  float16, bfloat16 and float32 are computed
in float64 and rounded once; float64 and longdouble are computed as they are, within 4 ULP
(`evaluate` with ``work=numpy.longdouble`` rounds float64 once as well).

How accuracy is kept: everything stands on an exponential of a number <= 0, so nothing
overflows; products in an exponent (beta * x, x**2) are carried exactly as two numbers,
because an error of the exponent is a relative error of the result; `decay` reaches the last
subnormal with full relative accuracy; positive and negative x have their own expression
wherever one would cancel.

Special cases, the same for every function unless its docstring says more:

    x = NaN             NaN, the step functions and their derivatives included
    x = +-inf           the limit; where that is 0, with the sign of the side it comes from
    x = +-0             as the formula has it: f(-0.0) is -0.0 for odd-looking f; relu gives +0.0
    x at a knot         the left derivative
    unusable parameter  NaN in that lane, whatever x is (`Parameter.accepts` in the table)

No function raises a floating-point warning.
"""

from __future__ import annotations

import numpy as np

from .algebraic import *  # noqa: F403
from .exponential import *  # noqa: F403
from .formula import working_dtypes
from .gated import *  # noqa: F403
from .gaussian import *  # noqa: F403
from .hard import *  # noqa: F403
from .logarithmic import *  # noqa: F403
from .logistic import *  # noqa: F403
from .pairs import *  # noqa: F403
from .random import *  # noqa: F403
from .rectifiers import *  # noqa: F403
from .stepped import *  # noqa: F403

__all__ = ["backward", "evaluate"]  # and one function for every formula of the table


def evaluate(kernel, *inputs, work=None):
    """Run a `Kernel` of the table on its inputs, ``dy`` and ``at_zero`` included.

    ``work=numpy.longdouble`` computes in it, whatever the inputs are, and rounds once.
    """
    function = globals()[kernel.formula]
    inputs = [np.asarray(a) for a in inputs]
    named = dict(zip(kernel.inputs, inputs, strict=True))
    dtype, own_work = working_dtypes(kernel.formula, named[kernel.arguments[0]].dtype)
    with np.errstate(all="ignore"):
        values = {n: a.astype(dtype, copy=False).astype(work or own_work) for n, a in named.items()}
        result = function.exact(*(values[n] for n in kernel.arguments))
        for knot in kernel.knots:
            at_knot = knot.reached(values[kernel.arguments[0]], values) & ~np.isnan(result)
            result = np.where(at_knot, values["at_zero"], result)
        if "dy" in values:
            result = _chain(values["dy"], result)
        return np.asarray(result).astype(dtype)[()]


def backward(slope, dy, *arguments):
    """``dy * slope(*arguments)`` rounded once, for `slope` a derivative of this package.

    Where the derivative is 0 the result is 0 whatever `dy` is, NaN and infinity included:
    nothing flows through a dead unit.
    """
    dtype, work = working_dtypes(slope.__name__, np.asarray(arguments[0]).dtype)
    with np.errstate(all="ignore"):
        dy, *arguments = (np.asarray(a).astype(dtype, copy=False).astype(work) for a in (dy, *arguments))
        return np.asarray(_chain(dy, slope.exact(*arguments))).astype(dtype)[()]


def _chain(dy, slope):
    return np.where(slope == 0, slope, dy * slope)
