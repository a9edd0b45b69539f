"""The compiled kernels as symbols: the names by which code that LLVM compiles at run time finds them.

Numba's cached code outlives this process and this version of fastrelu.  It holds the names of a few
functions, given to LLVM anew in every process, and of kernels, which it looks up when it first runs: so it
calls the kernel that it means, wherever that now stands in the table, or raises an error if that is gone.
"""

from __future__ import annotations

import ctypes
import functools

import numpy as np
from llvmlite import binding

from fastrelu.backends import cython
from fastrelu.table import KERNELS, LOSS_KERNELS, ROW_KERNELS, ROWS

__all__ = ["STORAGES", "kernel_name", "register", "symbol"]

ABI = 1  # of the functions in kernels/loops/jit.h
FUNCTIONS = ("kernel", "broadcast", "map", "rows", "sum", "loss", "one_float32", "one_float64")
FLOATS = ("float32", "float64")
INTEGERS = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
# How a view says what it holds (exports.h: Storage), by dtype.
STORAGES = {name: cython.ufuncs.jit_storage(name) for name in (*FLOATS, *INTEGERS)} if cython.ISA else {}


def symbol(function):
    return f"fastrelu.{ABI}.{function}"


def kernel_name(name, dtype):
    """What cached code calls kernel `name` of the table for a dtype."""
    return f"{name}.{np.dtype(dtype)}"


def _name_kernels():
    keep_integers = {row.qualname for row in ROWS if row.keeps_integers}
    for index, kernel in enumerate(KERNELS):
        keeps = kernel.pass_ == "forward" and kernel.row in keep_integers
        for dtype in (*FLOATS, *(INTEGERS if keeps else ())):
            cython.ufuncs.jit_name_kernel(kernel_name(kernel.name, dtype), index, dtype)
    for index, name in enumerate((*ROW_KERNELS, *LOSS_KERNELS)):
        function, dot, backward = name.partition(".")
        for dtype in FLOATS:
            for zero, each in enumerate((name, f"{function}0{dot}{backward}")):
                cython.ufuncs.jit_name_row_function(kernel_name(each, dtype), index, bool(zero), dtype)


@functools.cache
def register():
    """Give LLVM the functions and the functions their kernels, once."""
    if cython.ISA:
        _name_kernels()
        addresses = cython.ufuncs.jit_functions()
    else:
        # Code that was cached beside compiled kernels must find none, not end the process: no variable of the
        # environment has the name of a kernel, and nothing else is called where there is none.
        nothing = ctypes.cast(ctypes.CDLL(None).getenv, ctypes.c_void_p).value
        addresses = dict.fromkeys(FUNCTIONS, nothing)
    for function in FUNCTIONS:
        binding.add_symbol(symbol(function), addresses[function])
