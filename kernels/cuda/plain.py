"""The words that only formulas in one register use (``kernels/formulas/fast``), on float32 and float64."""

from numpy import float32

from .primitives import fma, inline, power_of_two
from .scalar import larger

__all__ = ["multiply_add", "times_power_of_two"]

multiply_add = fma


@inline
def times_power_of_two(y, k):
    """y 2^k for an integral float32 k down to -226; rounded once where y is near 1."""
    first = larger(float32(-100.0), k)
    return y * power_of_two(first) * power_of_two(k - first)
