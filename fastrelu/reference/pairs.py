"""The reference of a function of two arrays: the logarithm of a sum of two exponentials."""

from __future__ import annotations

import numpy as np

from .arithmetic import decay, two_sum
from .formula import formula


@formula
def logaddexp(x1, x2):
    """m + log1p(exp(-abs(x1 - x2))), m the larger; of equal infinities that infinity."""
    high, low = two_sum(np.minimum(x1, x2), -np.maximum(x1, x2))
    e = decay(np.ones_like(high), high, np.where(np.isfinite(high), low, 0))
    return np.where(x1 == x2, x1 + np.log(x1.dtype.type(2)), np.maximum(x1, x2) + np.log1p(e))


@formula
def logaddexp_slope(x1, x2):
    """The logistic function of x1 - x2; 0 at x1 = -inf, NaN where both are +inf."""
    high, low = two_sum(x1, -x2)
    low = np.where(np.isfinite(high), low, 0)
    e = decay(np.ones_like(high), -np.abs(high), np.where(high > 0, -low, low))
    share = np.where(high > 0, 1, e) / (1 + e)
    return np.where((x1 == -np.inf) & (x2 == x2), 0, share)
