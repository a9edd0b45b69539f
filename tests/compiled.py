"""Calls inside @njit: functions made of expressions, and what they give compared with the calls outside."""

import numpy as np
import pytest
from cases import same_bits

import fastrelu as fr

numba = pytest.importorskip("numba")
from numba.core.errors import TypingError  # noqa: E402

__all__ = ["ARGUMENTS", "TypingError", "agree", "function", "numba", "on_kernels"]

on_kernels = pytest.mark.skipif(
    fr.explain(fr.relu, [0.0]).backend == "numpy", reason="the reference was asked for"
)
ARGUMENTS = ("dy", "x", "y", "a", "at_zero", "out", "b")


def function(*expressions, arguments=ARGUMENTS, **names):
    """A function of these arguments that returns the values of expressions."""
    space = {"fr": fr, "np": np} | names
    exec(f"def values({', '.join(arguments)}):\n    return {', '.join(expressions)},", space)
    return space["values"]


def agree(got, expected):
    """Numba gives Python's float for a number of any type."""
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        if isinstance(one, tuple):
            agree(one, other)
        elif isinstance(one, np.ndarray):
            assert same_bits(one, other)
        else:
            assert isinstance(one, (float, int))
            np.testing.assert_array_equal(other, np.asarray(one, np.asarray(other).dtype), strict=False)
