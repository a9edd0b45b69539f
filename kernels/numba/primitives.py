"""What the vocabulary of formulas stands on and each target supplies by itself: here, LLVM's own for the CPU.

Nothing branches and nothing calls a library, so that LLVM can turn a loop over a formula into vector code:
choices are selects, powers of two are made of bits, and a fused multiply-add is the processor's own.
"""

from math import sqrt

from llvmlite import ir
from numba import njit, types
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload

__all__ = [
    "BIAS",
    "INTEGER",
    "by_type",
    "by_width",
    "fma",
    "inline",
    "nearest_integer_to_product",
    "polynomial",
    "power_of_two",
    "select",
    "square_root",
    "stored_exponent",
    "turn_sign",
]

INTEGER = 1.5 * 2.0**52  # what a number is added to so that the nearest integer stands in its last bits
BIAS, MANTISSA = 1023, 52
# The same by the bits of a type: where the exponent is stored, INTEGER, and the sum of INTEGER and BIAS.
LAYOUTS = {32: (23, 1.5 * 2.0**23, 1.5 * 2.0**23 + 127), 64: (MANTISSA, INTEGER, INTEGER + BIAS)}
# For what only ever ends up inside a loop.
inline = njit(forceinline=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _integer(builder, value):
    """The bits of a number, and their type."""
    bits = ir.IntType(64 if value.type == ir.DoubleType() else 32)
    return builder.bitcast(value, bits), bits


@intrinsic
def select(typing, condition, yes, no):
    """One of two numbers that are both there already."""

    def build(context, builder, signature, arguments):
        return builder.select(*arguments)

    return yes(condition, yes, no), build


@intrinsic
def fma(typing, a, b, c):
    """a * b + c, rounded once."""

    def build(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return a(a, b, c), build


@intrinsic
def turn_sign(typing, a, s):
    """a, with its sign turned where s has its sign bit set."""

    def build(context, builder, signature, arguments):
        (a, bits), (s, _) = (_integer(builder, value) for value in arguments)
        sign = builder.and_(s, ir.Constant(bits, 1 << bits.width - 1))
        return builder.bitcast(builder.xor(a, sign), arguments[0].type)

    return a(a, s), build


@intrinsic
def polynomial(typing, x, coefficients):
    """A polynomial by Horner's rule, highest coefficient first."""
    if not isinstance(coefficients, types.UniTuple):
        raise TypingError(f"polynomial: coefficients are {coefficients}; expected a tuple of floats")

    def build(context, builder, signature, arguments):
        x, numbers = arguments
        total = None
        for i in range(coefficients.count):
            c = context.cast(builder, builder.extract_value(numbers, i), types.float64, signature.args[0])
            total = c if total is None else builder.fma(total, x, c)
        return total

    return x(x, coefficients), build


@intrinsic
def nearest_integer_to_product(typing, a, factor):
    """The nearest integer to a product, below 2^22 in size for float32 and 2^51 for float64."""

    def build(context, builder, signature, arguments):
        (a, factor), (kind, given) = arguments, signature.args
        integer = ir.Constant(a.type, LAYOUTS[_integer(builder, a)[1].width][1])
        factor = context.cast(builder, factor, given, kind)
        return builder.fsub(builder.fma(a, factor, integer), integer)

    return a(a, factor), build


@intrinsic
def by_width(typing, like, of_float32, of_float64):
    """One of two literal numbers, as the type of `like`."""

    def build(context, builder, signature, arguments):
        like, of_float32, of_float64 = arguments
        if like.type == ir.DoubleType():
            return of_float64
        return context.cast(builder, of_float32, types.float64, types.float32)

    return like(like, types.float64, types.float64), build


@intrinsic
def power_of_two(typing, k):
    """2^k for an integral k whose power is a normal number."""

    def build(context, builder, signature, arguments):
        (k,), bits = arguments, _integer(builder, arguments[0])[1]
        mantissa, _, magic = LAYOUTS[bits.width]
        biased, bits = _integer(builder, builder.fadd(k, ir.Constant(k.type, magic)))
        return builder.bitcast(builder.shl(biased, ir.Constant(bits, mantissa)), k.type)

    return k(k), build


@intrinsic
def stored_exponent(typing, a):
    """The exponent of a, with its bias, and INTEGER of its type."""

    def build(context, builder, signature, arguments):
        stored, bits = _integer(builder, arguments[0])
        mantissa, magic, _ = LAYOUTS[bits.width]
        magic, _ = _integer(builder, ir.Constant(arguments[0].type, magic))
        exponent = builder.lshr(stored, ir.Constant(bits, mantissa))
        return builder.bitcast(builder.add(exponent, magic), arguments[0].type)

    return a(a), build


@inline
def square_root(a):
    return sqrt(a)


def by_type(of_float32, of_float64):
    """A function for compiled code that calls one of two, by the type of what it is given."""

    def of_type(*inputs):
        raise NotImplementedError("only compiled code calls this")

    @overload(of_type)
    def chosen(*inputs):
        function = of_float32 if inputs[0] == types.float32 else of_float64
        return lambda *inputs: function(*inputs)

    return of_type
