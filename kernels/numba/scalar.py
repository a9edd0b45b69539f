"""The vocabulary of formulas on scalars, float32 and float64, in the names of ``simd/vec.h`` and ``wide.h``.

Nothing branches and nothing calls a library, so that LLVM can turn a loop over a formula into vector code:
choices are selects, powers of two are made of bits, and a fused multiply-add is the processor's own.
Plain IEEE arithmetic: never fast-math, and nothing is contracted.
"""

from math import sqrt

from llvmlite import ir
from numba import njit, types
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload

__all__ = [
    "attached",
    "binade",
    "by_type",
    "chain",
    "fma",
    "fused",
    "inline",
    "larger",
    "magnitude",
    "nearest_integer",
    "polynomial",
    "power_of_two",
    "product_error",
    "rough_polynomial",
    "rough_product",
    "rough_sum",
    "scaled",
    "select",
    "smaller",
    "square_root",
    "turn_sign",
    "where_eq",
    "where_ge",
    "where_gt",
]

INTEGER = 1.5 * 2.0**52  # what a number is added to so that the nearest integer stands in its last bits
BIAS, MANTISSA = 1023, 52
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
def power_of_two(typing, k):
    """2^k for an integral float64 k whose power is a normal number."""

    def build(context, builder, signature, arguments):
        biased, bits = _integer(
            builder, builder.fadd(arguments[0], ir.Constant(ir.DoubleType(), INTEGER + BIAS))
        )
        return builder.bitcast(builder.shl(biased, ir.Constant(bits, MANTISSA)), ir.DoubleType())

    return k(k), build


@intrinsic
def _stored_exponent(typing, a):
    """INTEGER and the exponent of a, with its bias."""

    def build(context, builder, signature, arguments):
        stored, bits = _integer(builder, arguments[0])
        magic, _ = _integer(builder, ir.Constant(ir.DoubleType(), INTEGER))
        exponent = builder.lshr(stored, ir.Constant(bits, MANTISSA))
        return builder.bitcast(builder.add(exponent, magic), ir.DoubleType())

    return a(a), build


def by_type(of_float32, of_float64):
    """A function for compiled code that calls one of two, by the type of what it is given."""

    def of_type(*inputs):
        raise NotImplementedError("only compiled code calls this")

    @overload(of_type)
    def chosen(*inputs):
        function = of_float32 if inputs[0] == types.float32 else of_float64
        return lambda *inputs: function(*inputs)

    return of_type


@inline
def binade(a):
    """k for the largest 2^k not above a positive normal float64."""
    return _stored_exponent(a) - (INTEGER + BIAS)


@inline
def nearest_integer(a):
    """The nearest integer to a float64 below 2^51 in size."""
    return (a + INTEGER) - INTEGER


@inline
def where_gt(a, b, yes, no):
    return select(a > b, yes, no)


@inline
def where_ge(a, b, yes, no):
    return select(a >= b, yes, no)


@inline
def where_eq(a, b, yes, no):
    return select(a == b, yes, no)


@inline
def larger(a, b):
    """The larger of the two; b where either is NaN."""
    return select(a > b, a, b)


@inline
def smaller(a, b):
    return select(a < b, a, b)


@inline
def magnitude(a):
    return abs(a)


fused = fma


@inline
def square_root(a):
    return sqrt(a)


@inline
def product_error(a, b, p):
    """The rounding error of the product p = a * b, exact."""
    return fma(a, b, -p)


@inline
def chain(dy, slope, vanishing):
    """dy * slope, and 0 wherever the slope is; of a slope that is NaN the positive NaN."""
    still = where_eq(slope, slope, slope, abs(slope))
    return where_gt(abs(slope), vanishing, dy * slope, still)


# A float32 computed in float64 has precision to spare: there the words of pairs are ordinary arithmetic.

rough_polynomial = polynomial


@inline
def rough_product(a, b):
    return a * b


@inline
def rough_sum(a, b):
    return a + b


@inline
def attached(a, b):
    return a + b


@inline
def scaled(a, scale):
    return a * scale


@inline
def normalised(a):
    return a


@inline
def settled(a):
    return a
