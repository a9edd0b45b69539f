"""Exponentials and waves for ``steps``: the formulas that draws and activations have, in float64."""

from . import formulas, pair
from .primitives import inline
from .scalar import larger

__all__ = ["cosine", "exp", "sine"]

DEEPEST = -800.0  # exp is 0 there


@inline
def exp(x):
    """Of a number that is not positive."""
    return pair.narrow(formulas.rescaled_sum_wide_d((1.0, 0.0), pair.widen(larger(DEEPEST, x))))


@inline
def cosine(turns):
    return pair.narrow(formulas.normal_cosine_wide_d(pair.widen(turns)))


@inline
def sine(turns):
    return pair.narrow(formulas.normal_sine_wide_d(pair.widen(turns)))
