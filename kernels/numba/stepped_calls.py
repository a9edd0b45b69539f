"""Overloads of the stepped sigmoid, whose formulas Numba compiles everywhere: it has no compiled kernel."""

from __future__ import annotations

import functools

from numba import types
from numba.core.errors import TypingError

from fastrelu.stepped import ROW

from . import steps
from .arguments import is_array, is_none, plain
from .elementwise_calls import backward, forward

__all__ = ["stepped_backward", "stepped_forward"]


@functools.cache
def _function(pass_, dtype):
    """The function of numbers of a pass."""
    if pass_ not in ("forward", "backward"):
        raise TypingError(f"{ROW.name}.backward: argument 'wrt' is 'units'; expected 'x': units are counted")
    return steps.stepped_sigmoid if pass_ == "forward" else steps.stepped_sigmoid_backward


def _whole(name):
    """``whole(given)``: lines that refuse a number of units with a fraction, and what they name."""

    def lines(given):
        units = given["units"]
        if not isinstance(units, types.Type) or is_none(units) or is_array(plain(units)):
            return [], {}
        wrong = f"{name}: argument 'units' is {{}}; expected a whole number, or None"
        return ["if units != np.rint(units):", "    raise Misfit(wrong_units, units)"], {"wrong_units": wrong}

    return lines


def stepped_forward():
    """The overload of stepped_sigmoid."""
    return forward(ROW, False, _function, _whole(ROW.name))


def stepped_backward():
    """The overload of stepped_sigmoid.backward."""
    return backward(ROW, False, _function, _whole(f"{ROW.name}.backward"))
