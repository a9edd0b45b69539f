"""A user's function of numbers as a device function: the same function that Numba compiles for the CPU."""

from __future__ import annotations

import functools
import itertools

from numba import types
from numpy import float32, float64

from fastrelu import codecache
from fastrelu.kernels.numba.custom import CompileError, check_raises_nothing, reason, where
from fastrelu.widening import widened

from . import compiling
from .driver import SIMULATED
from .elementwise import Function
from .primitives import inline
from .scalar import chain
from .storage import STORAGES

__all__ = ["function_of"]

_unnamed = itertools.count()


@functools.cache
def function_of(function, inputs, gradient, char, cc) -> Function:
    """The device function of one that takes `inputs` numbers; that of a `gradient` takes dy before them.

    Raises
    ------
    CompileError
    """
    check_raises_nothing(function)
    if SIMULATED:
        body = widened(function)[0]
    else:
        body = inline(function)
        try:
            compiling.compile_device(body, (STORAGES[char].real,) * inputs, cc)
        except Exception as error:  # Numba's own, and whatever Python says of a name that is not there
            raise CompileError(where(function, getattr(error, "loc", None)), reason(error)) from None
        result = types.unliteral(body.overloads[(STORAGES[char].real,) * inputs].signature.return_type)
        if not isinstance(result, (types.Float, types.Integer, types.Boolean)):
            raise CompileError(where(function, None), f"it returns {result}; expected a real number")
    made_of = codecache.fingerprint(function)
    name = f"{function.__name__}_{made_of[:20] if made_of else next(_unnamed)}"
    if not gradient:
        return Function(name, body, kept=bool(made_of))

    real = float32 if char in "eb" else float64
    ZERO = real(0)

    @inline
    def chained(dy, *given):
        return chain(real(dy), real(body(*given)), ZERO)

    return Function(f"{name}_gradient", chained, kept=bool(made_of))
