"""Kernels that Numba compiles when they are first called; it is imported only then.

Where the compiled drivers are, they run Numba's blocks as they run their own: strides, casts, threads and
stores are theirs.  Where nothing was compiled, Numba's ufuncs take the drivers' place, and large arrays are
shared out by `shares`.
"""

from __future__ import annotations

import functools
import importlib.util

import numpy as np

from ..table import KERNELS
from . import Backend, cython
from .numpy import ReferenceUfunc

__all__ = ["BACKEND", "computes", "threads", "ufunc"]

FIRST = len(KERNELS)  # the number of our first kernel for the drivers: those of the table come before


def computes(dtype):
    """Whether Numba has kernels for a dtype; float16 passes through the drivers as float32."""
    return dtype.char in ("efd" if cython.ISA else "fd")


# In the compiled drivers


def _types(inputs, keywords):
    """The types, "f" and "d", that a call may be computed in."""
    given = {a.dtype.char if hasattr(a, "dtype") else "d" for a in inputs}
    given |= {np.dtype(keywords["dtype"]).char} if keywords.get("dtype") is not None else set()
    return "f" if given <= {"e", "f"} else "d" if given == {"d"} else "fd"


@functools.cache
def _set_block(kernel, char):
    """Let the drivers have the kernel's block for a type."""
    from fastrelu.kernels.numba import elementwise

    block = elementwise.block(kernel.name, char)
    cython.ufuncs.set_block(FIRST + cython.KERNEL_INDEX[kernel.name], char == "d", block.address)


@functools.cache
def _in_drivers(kernel):
    index, missing = FIRST + cython.KERNEL_INDEX[kernel.name], set("fd")
    run = cython.over_arrays(kernel, index, cython.make_ufunc(kernel, FIRST))

    def call(*inputs, **keywords):
        if missing:
            for char in missing.intersection(_types(inputs, keywords)):
                _set_block(kernel, char)
                missing.discard(char)
        return run(*inputs, **keywords)

    return call


def _two_results(kernels, arrays, results, apart):
    if not cython.ISA or results[0].dtype.char not in "efd":
        return False
    for kernel in kernels:
        _set_block(kernel, "d" if results[0].dtype.char == "d" else "f")
    first, second = (FIRST + cython.KERNEL_INDEX[kernel.name] for kernel in kernels)
    return cython.ufuncs.call_two(first, second, arrays, results, apart)


# Where nothing was compiled


class NumbaUfunc(ReferenceUfunc):
    """One kernel of the table, computed by Numba's ufunc for float32 and float64, else by the reference."""

    def __call__(self, *inputs, dtype=None, **keywords):
        from fastrelu.kernels.numba import shares

        dtype = np.dtype(self.result_type(*inputs) if dtype is None else dtype)
        if not computes(dtype):
            return super().__call__(*inputs, dtype=dtype, **keywords)
        function = ufunc(self.kernel)
        with np.errstate(all="ignore"):
            result = shares.run(function, inputs, dtype, self.kernel.cost, **keywords)
            return function(*inputs, dtype=dtype, **keywords) if result is None else result


def ufunc(kernel):
    """The kernel as Numba's ufunc for float32 and float64."""
    from fastrelu.kernels.numba import elementwise

    return elementwise.ufunc(kernel.name)


def threads(kernel, size):
    """How many threads share out a contiguous call where nothing was compiled."""
    from fastrelu.kernels.numba import shares

    return shares.threads_for(size * kernel.cost)


@functools.cache
def _by_ufunc(kernel):
    return NumbaUfunc(kernel)


# Rows


@functools.cache
def _rows(name):
    from fastrelu.kernels.numba import reduce

    return reduce.kernel(name)


def _losses(*arguments, checked=False):
    if not checked:  # what is wrong is found out first
        return None
    from fastrelu.kernels.numba import reduce

    return reduce.losses(*arguments)


@functools.cache
def _weighted(char):
    if char not in "fd":
        return None
    from fastrelu.kernels.numba import reduce

    return reduce.weighted(char)


@functools.cache
def _sums(kernel, char):
    if char not in "fd":
        return None
    from fastrelu.kernels.numba import reduce

    run = reduce.sums(kernel, char)

    def sum_terms(lengths, arrays, result, dx=None, gradient=kernel):
        run(lengths, arrays, result)
        if dx is not None:
            dy, x, *parameters = arrays
            parameters = (a.reshape(-1, 1) if a.size > 1 else a for a in parameters)
            whole = (a.reshape(lengths) for a in (dy, x))
            BACKEND.elementwise(gradient)(*whole, *parameters, out=dx.reshape(lengths))

    return sum_terms


if importlib.util.find_spec("numba") is None:
    BACKEND = Backend("numba", False, "Numba is not installed: pip install 'fastrelu[numba]'")
else:
    _drivers = {"empty": cython.ufuncs.empty, "first_kernel": FIRST} if cython.ISA else {}
    BACKEND = Backend(
        "numba",
        True,
        "Numba's code for this CPU, compiled at the first call",
        _in_drivers if cython.ISA else _by_ufunc,
        _rows,
        sums=_sums,
        weighted=_weighted,
        two_results=_two_results,
        losses=_losses,
        **_drivers,
    )
