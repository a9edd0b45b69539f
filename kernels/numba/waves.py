"""Exponentials and waves for ``steps``: the C library's."""

import math

from .scalar import inline

__all__ = ["cosine", "exp", "sine"]

TURN = 2 * math.pi


@inline
def exp(x):
    return math.exp(x)


@inline
def cosine(turns):
    return math.cos(TURN * turns)


@inline
def sine(turns):
    return math.sin(TURN * turns)
