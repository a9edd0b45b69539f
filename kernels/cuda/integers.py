"""Integers in memory, in 64 bits wherever one computes: labels, indices, bytes of bits."""

import ctypes

import numpy as np
from llvmlite import ir
from numba import types

from .primitives import inline, simulated
from .scalar import larger, smaller

__all__ = ["INTEGERS", "KEPT", "clipped", "integer_at", "integer_to"]

# Bytes and sign, by the name of the dtype.
INTEGERS = {f"{u}int{8 * size}": (size, not u) for size in (1, 2, 4, 8) for u in ("", "u")}

KEPT = {"relu": None, "relu6": 6}  # activations that keep integers, and their largest value


def clipped(dtype, most):
    """A function of an integer, or of a bool: what of it lies between 0 and `most`."""
    value = np.dtype("uint8" if dtype == "bool" else dtype).type
    zero, bound = value(0), value(most or 0)

    @inline
    def positive(x):
        return larger(x, zero)

    @inline
    def between(x):
        return smaller(larger(x, zero), bound)

    return positive if most is None else between


def integer_at(dtype):
    """A function ``load(place)`` of an integer as int64; one that is too large for that is negative."""
    size, signed = INTEGERS[dtype]

    def twin(place):
        bits = (ctypes.c_char * size).from_address(int(place))
        return np.frombuffer(bits, dtype)[0].astype(np.int64)

    @simulated(twin)
    def load(typing, place):
        def build(context, builder, signature, arguments):
            kind = ir.IntType(8 * size)
            loaded = builder.load(builder.inttoptr(arguments[0], ir.PointerType(kind, 1)))
            loaded.align = size
            if size == 8:
                return loaded
            return (builder.sext if signed else builder.zext)(loaded, ir.IntType(64))

        return types.int64(place), build

    return load


def integer_to(dtype):
    """A function ``store(place, i)`` of an integer."""
    size, _ = INTEGERS[dtype]

    def twin(place, i):
        bits = (ctypes.c_char * size).from_address(int(place))
        np.frombuffer(bits, dtype)[0] = i

    @simulated(twin)
    def store(typing, place, i):
        def build(context, builder, signature, arguments):
            kind = ir.IntType(8 * size)
            stored = arguments[1] if size == 8 else builder.trunc(arguments[1], kind)
            to = builder.inttoptr(arguments[0], ir.PointerType(kind, 1))
            builder.store(stored, to).align = size
            return context.get_dummy_value()

        return types.void(place, i), build

    return store
