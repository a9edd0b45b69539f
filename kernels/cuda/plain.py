"""The words that only formulas in one register use (``kernels/formulas/fast``), on float32 and float64."""

from numpy import float32

from .primitives import fma, inline, power_of_two
from .scalar import larger

__all__ = ["multiply_add", "nearest_integer_to_product", "times_power_of_two"]

ROUND = 1.5 * 2.0**23  # what a float32 is added to so that the nearest integer stands in its last bits

multiply_add = fma


@inline
def nearest_integer_to_product(a, factor):
    """The nearest integer to a float32 product below 2^22 in size."""
    return fma(a, factor, float32(ROUND)) - float32(ROUND)


@inline
def times_power_of_two(y, k):
    """y 2^k for an integral float32 k down to -226; rounded once where y is near 1."""
    first = larger(float32(-100.0), k)
    return y * power_of_two(first) * power_of_two(k - first)
