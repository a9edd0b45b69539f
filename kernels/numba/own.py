"""Users' activations inside @njit: their functions of numbers, in loops of Numba's.

An activation is typed when code that names it is compiled, so derivatives may be added until then.  The code
of what it computes becomes part of the user's own, and is kept with it.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import types
from numba.core.errors import TypingError
from numba.core.typing.templates import make_overload_template
from numba.core.typing.typeof import Purpose, typeof_impl
from numba.extending import intrinsic, register_jitable

from fastrelu.custom import CustomActivation, CustomBackward

from . import custom
from .elementwise_calls import backward, forward

__all__ = ["is_own"]

_typed: dict[int, tuple] = {}  # by the identity of what is called: that, its row, its type


def _functions(own):
    """``f(pass_, dtype)``: the function of numbers of a pass; dy comes first where it is multiplied by it."""

    def function(pass_, dtype):
        if pass_ not in own.codes:
            raise TypingError(own.how_to_add(pass_.removeprefix("backward_wrt_").replace("backward", "x")))
        code = own.codes[pass_]
        arguments = len(code.kernel.arguments)
        try:
            return _of_numbers(code.function, dtype, arguments, arguments < len(code.kernel.inputs))
        except custom.CompileError as error:
            where, reason = error.args
            raise TypingError(f"{own.__qualname__} does not compile: {reason} ({where})") from None

    return function


@functools.cache
def _of_numbers(function, dtype, arguments, gradient):
    real = types.float64 if dtype == np.float64 else types.float32
    value_of = custom.value_of(function, real, arguments, gradient)

    @intrinsic
    def value(typing, numbers):
        return real(numbers), value_of

    @register_jitable
    def of_numbers(*numbers):
        return value(numbers)

    return of_numbers


@typeof_impl.register(CustomActivation)
@typeof_impl.register(CustomBackward)
def _type_of(own, context):
    """The type of an activation that code names."""
    if context.purpose is not Purpose.constant:
        return None
    known = _typed.get(id(own))
    if known is None or known[1] is not own.row:
        make = backward if isinstance(own, CustomBackward) else forward
        overload = make(own.row, False, _functions(own))
        template = make_overload_template(own, overload, {}, True, "never", prefer_literal=True)
        known = _typed[id(own)] = own, own.row, types.Function(template)
    return known[2]


def is_own(value):
    """Whether it is one pass of a user's activation."""
    return isinstance(value, (CustomActivation, CustomBackward))
