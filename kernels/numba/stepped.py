"""The stepped sigmoid and its gradient for Numba."""

import functools

import numba

from . import steps
from .elementwise import TYPES, compiled

__all__ = ["backward", "forward"]


@functools.cache
def forward():
    """The ufunc of x and units for float32 and float64."""
    return compiled(numba.vectorize, [t(t, t) for t in TYPES.values()], steps.stepped_sigmoid.py_func)


@functools.cache
def backward():
    """The ufunc of dy, x and units."""
    signatures = [t(t, t, t) for t in TYPES.values()]
    return compiled(numba.vectorize, signatures, steps.stepped_sigmoid_backward.py_func)
