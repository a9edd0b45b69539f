"""What the vocabulary of formulas stands on, for a GPU: as LLVM code, and as Python for the simulator.

Numba's simulator (``NUMBA_ENABLE_CUDASIM=1``) runs kernels as Python on numbers of NumPy, so each word has
a twin with the same result; one rounding of a multiply-add comes from the C library.
"""

import ctypes
import ctypes.util
import functools

import numpy as np
from llvmlite import ir
from numba import cuda, types

from .driver import SIMULATED

__all__ = [
    "BIAS",
    "INTEGER",
    "by_width",
    "fma",
    "inline",
    "intrinsic",
    "nearest_integer_to_product",
    "polynomial",
    "power_of_two",
    "select",
    "simulated",
    "square_root",
    "stored_exponent",
    "turn_sign",
]

INTEGER = 1.5 * 2.0**52  # what a number is added to so that the nearest integer stands in its last bits
BIAS, MANTISSA = 1023, 52
# The same by the type of the number: bits of the mantissa, INTEGER and BIAS.
LAYOUTS = {32: (23, 1.5 * 2.0**23, 127), 64: (MANTISSA, INTEGER, BIAS)}

if SIMULATED:

    def inline(function):
        return function

    def intrinsic(function):
        """The simulator cannot compile; every intrinsic has a twin."""
        return function
else:
    from numba.cuda.extending import intrinsic

    inline = cuda.jit(device=True, forceinline=True)


def simulated(twin):
    """Decorator: take `twin` in the place of an intrinsic wherever the simulator runs."""

    def choose(function):
        return twin if SIMULATED else intrinsic(function)

    return choose


def _bits_of(value):
    """The integer type as wide as an LLVM value."""
    return ir.IntType(64 if value.type == ir.DoubleType() else 32)


def _number(a):
    """A number of NumPy; a literal of Python's is a float64."""
    return np.float64(a) if type(a) is float else a


def _integer_of(a):
    """The bits of a number of NumPy, as one that wraps around."""
    return a.view(f"u{a.itemsize}")


def _c_fma():
    """One rounding of a * b + c, by the C library."""
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    functions = {}
    for kind, name, c_type in ((np.float32, "fmaf", ctypes.c_float), (np.float64, "fma", ctypes.c_double)):
        function = functions[kind] = getattr(library, name)
        function.restype, function.argtypes = c_type, (c_type,) * 3

    def fma(a, b, c):
        kind = type(_number(a))
        return kind(functions[kind](a, b, c))

    return fma


_fma = _c_fma() if SIMULATED else None


@simulated(lambda condition, yes, no: yes if condition else no)
def select(typing, condition, yes, no):
    """One of two numbers that are both there already."""

    def build(context, builder, signature, arguments):
        return builder.select(*arguments)

    return yes(condition, yes, no), build


@simulated(_fma)
def fma(typing, a, b, c):
    """a * b + c, rounded once."""

    def build(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return a(a, b, c), build


@simulated(np.sqrt)
def square_root(typing, a):
    """Correctly rounded; NaN of a negative number."""

    def build(context, builder, signature, arguments):
        (a,) = arguments
        return builder.call(builder.module.declare_intrinsic("llvm.sqrt", [a.type]), [a])

    return a(a), build


@simulated(lambda a, s: -a if np.signbit(s) else a)
def turn_sign(typing, a, s):
    """a, with its sign turned where s has its sign bit set."""

    def build(context, builder, signature, arguments):
        bits = _bits_of(arguments[0])
        a, s = (builder.bitcast(value, bits) for value in arguments)
        sign = builder.and_(s, ir.Constant(bits, 1 << bits.width - 1))
        return builder.bitcast(builder.xor(a, sign), arguments[0].type)

    return a(a, s), build


def _by_width(like, of_float32, of_float64):
    kind = type(_number(like))
    return kind(of_float32 if kind is np.float32 else of_float64)


@simulated(_by_width)
def by_width(typing, like, of_float32, of_float64):
    """One of two literal numbers, as the type of `like`."""

    def build(context, builder, signature, arguments):
        like, of_float32, of_float64 = arguments
        if like.type == ir.DoubleType():
            return of_float64
        return builder.fptrunc(of_float32, like.type)

    return like(like, types.float64, types.float64), build


def _polynomial(x, coefficients):
    kind = type(_number(x))
    return functools.reduce(lambda total, c: _fma(total, x, c), map(kind, coefficients))


@simulated(_polynomial)
def polynomial(typing, x, coefficients):
    """A polynomial by Horner's rule, highest coefficient first."""

    def build(context, builder, signature, arguments):
        x, numbers = arguments
        total = None
        for i, kind in enumerate(coefficients):
            c = context.cast(builder, builder.extract_value(numbers, i), kind, signature.args[0])
            total = c if total is None else builder.fma(total, x, c)
        return total

    return x(x, coefficients), build


def _nearest_integer_to_product(a, factor):
    a = _number(a)
    _, integer, _ = LAYOUTS[8 * a.itemsize]
    return _fma(a, type(a)(factor), type(a)(integer)) - type(a)(integer)


@simulated(_nearest_integer_to_product)
def nearest_integer_to_product(typing, a, factor):
    """The nearest integer to a product below 2^22 in size for float32, below 2^51 for float64."""

    def build(context, builder, signature, arguments):
        (a, factor), (kind, given) = arguments, signature.args
        integer = ir.Constant(a.type, LAYOUTS[_bits_of(a).width][1])
        factor = context.cast(builder, factor, given, kind)
        return builder.fsub(builder.fma(a, factor, integer), integer)

    return a(a, factor), build


def _power_of_two(k):
    k = _number(k)
    mantissa, integer, bias = LAYOUTS[8 * k.itemsize]
    stored = _integer_of(k + type(k)(integer + bias))
    return (stored << stored.dtype.type(mantissa)).view(k.dtype)


@simulated(_power_of_two)
def power_of_two(typing, k):
    """2^k for an integral k whose power is a normal number."""

    def build(context, builder, signature, arguments):
        (k,), bits = arguments, _bits_of(arguments[0])
        mantissa, integer, bias = LAYOUTS[bits.width]
        biased = builder.bitcast(builder.fadd(k, ir.Constant(k.type, integer + bias)), bits)
        return builder.bitcast(builder.shl(biased, ir.Constant(bits, mantissa)), k.type)

    return k(k), build


def _stored_exponent(a):
    a = _number(a)
    mantissa, integer, _ = LAYOUTS[8 * a.itemsize]
    exponent = _integer_of(a) >> _integer_of(a).dtype.type(mantissa)
    return (exponent + _integer_of(type(a)(integer))).view(a.dtype)


@simulated(_stored_exponent)
def stored_exponent(typing, a):
    """INTEGER of its type and the exponent of a positive number, with its bias."""

    def build(context, builder, signature, arguments):
        (a,), bits = arguments, _bits_of(arguments[0])
        mantissa, integer, _ = LAYOUTS[bits.width]
        integer = builder.bitcast(ir.Constant(a.type, integer), bits)
        exponent = builder.lshr(builder.bitcast(a, bits), ir.Constant(bits, mantissa))
        return builder.bitcast(builder.add(exponent, integer), a.type)

    return a(a), build
