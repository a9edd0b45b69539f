"""What an overload asks for: a kernel, its operands, and how errors name them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Call"]


@dataclass(frozen=True)
class Call:
    """Which kernel a call runs, in which dtype, and how its errors name the operands."""

    name: str  # of the public object
    kernel: str  # as the table names it
    dtype: np.dtype
    operands: tuple[str, ...]  # the inputs
    parameters: tuple = ()  # of the table, those that numbers were given for and that have a constraint
    backward: bool = False
    function: Callable | None = None  # of numbers of the dtype: what a user's activation computes

    def wrong_shape(self, operand):
        """The error of an operand whose shape, the one value that it shows, does not fit."""
        if operand == "dy":
            expected = "that of the forward result"
        elif operand == "out":
            expected = "that of the result"
        else:
            expected = "one that broadcasts with the others"
        return f"{self.name}: argument {operand!r} is of shape {{}}; expected {expected}"

    def unusable(self, p):
        """The error of a parameter, the one value that it shows, that the table does not accept."""
        instead = "x instead of y, or " if "y" in self.operands else ""
        return f"{self.name}: argument {p.name!r} is {{}}; expected {instead}{p.requirement}"

    @property
    def wrong_label(self):
        return f"{self.name}: argument 'labels' has {{}}, which is neither a class nor ignored"

    def no_axis(self, ndim):
        return f"{self.name}: argument 'axis' is out of bounds for an array of dimension {ndim}"
