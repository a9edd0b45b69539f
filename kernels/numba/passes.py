"""What runs the calls inside @njit: compiled kernels, or where there are none, the same in Numba."""

import functools

from fastrelu.backends import cython

from . import native, translated

__all__ = ["broadcast_shape", "fill", "fill_losses", "fill_rows", "one", "sum_up"]


def _by(name):
    @functools.cache  # each is code of its own, and Numba asks more than once
    def chosen(call, *options):
        compiled = cython.ISA and call.function is None
        return getattr(native if compiled else translated, name)(call, *options)

    return chosen


broadcast_shape, fill, fill_losses, fill_rows, one, sum_up = map(_by, __all__)
