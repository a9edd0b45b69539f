"""The reference of functions of several pieces, each a polynomial."""

from __future__ import annotations

import numpy as np

from .formula import formula, keep_nan


def _step(x, threshold, above, otherwise):
    """`above` where x > threshold, else `otherwise`; NaN where either is."""
    return keep_nan(x + threshold, np.where(x > threshold, above, otherwise))


def _pieces(x, end, below, between, above):
    """`below` for x <= -end, `above` for x > end; NaN where x is."""
    return keep_nan(x, np.where(x > end, above, np.where(x <= -end, below, between)))


@formula
def relu6(x):
    """min(max(0, x), 6); +0.0 for x = -0.0.  Integers stay integers."""
    zero, six = x.dtype.type(0), x.dtype.type(6)
    return np.where(x <= 0, zero, np.where(x >= 6, six, x))


@formula
def relu6_slope(x):
    """1 if 0 < x <= 6 else 0."""
    return keep_nan(x, ((x > 0) & (x <= 6)).astype(x.dtype))


@formula
def hardtanh(x, min_val, max_val):
    """min(max(x, min_val), max_val)."""
    return np.where(x <= min_val, min_val, np.where(x >= max_val, max_val, x))


@formula
def hardtanh_slope(x, min_val, max_val):
    """1 if min_val < x <= max_val else 0."""
    return keep_nan(x, ((x > min_val) & (x <= max_val)).astype(x.dtype))


@formula
def hardtanh_wrt_min_val(x, min_val, max_val):
    return keep_nan(x, (x <= min_val) | np.zeros_like(max_val, bool))


@formula
def hardtanh_wrt_max_val(x, min_val, max_val):
    return keep_nan(x, (x > min_val) & (x > max_val))


@formula
def threshold(x, threshold, value):
    """x if x > threshold else value."""
    return _step(x, threshold, x, value)


@formula
def threshold_slope(x, threshold, value):
    """1 if x > threshold else 0."""
    return _step(x, threshold, np.ones_like(value), 0)


@formula
def threshold_wrt_threshold(x, threshold, value):
    """0, though f jumps there."""
    return _step(x, threshold, np.zeros_like(value), 0)


@formula
def threshold_wrt_value(x, threshold, value):
    return _step(x, threshold, np.zeros_like(value), 1)


@formula
def hardshrink(x, lambd):
    """x if abs(x) > lambd else 0, with the sign of x."""
    return np.where(np.abs(x) <= lambd, np.copysign(0, x), x)


@formula
def hardshrink_slope(x, lambd):
    """0 if -lambd < x <= lambd else 1."""
    return keep_nan(x, 1 - ((x > -lambd) & (x <= lambd)).astype(x.dtype))


@formula
def hardshrink_wrt_lambd(x, lambd):
    """0, though f jumps there."""
    return keep_nan(x, np.zeros_like(lambd))


@formula
def softshrink(x, lambd):
    """x - lambd if x > lambd, x + lambd if x < -lambd, else 0, with the sign of x."""
    return np.where(np.abs(x) <= lambd, np.copysign(0, x), np.copysign(np.abs(x) - lambd, x))


@formula
def softshrink_slope(x, lambd):
    """0 if -lambd < x <= lambd else 1."""
    return hardshrink_slope.exact(x, lambd)


@formula
def softshrink_wrt_lambd(x, lambd):
    return _pieces(x, lambd, np.ones_like(lambd), 0, -1)


@formula
def relu_squared(x):
    """max(0, x)**2; +0.0 for x = -0.0."""
    return keep_nan(x, np.maximum(x, 0) ** 2 + 0)


@formula
def relu_squared_slope(x):
    """2 max(0, x)."""
    return keep_nan(x, 2 * np.maximum(x, 0) + 0)


@formula
def relu_squared_slope_from_y(y):
    """2 sqrt(y)."""
    return keep_nan(y, 2 * np.sqrt(np.maximum(y, 0)))


@formula
def hard_sigmoid(x):
    """(x + 3) / 6 between -3 and 3, 0 below, 1 above."""
    return _pieces(x, 3, 0, (x + 3) / 6, 1)


@formula
def hard_sigmoid_slope(x):
    """1/6 if -3 < x <= 3 else 0."""
    return _pieces(x, 3, 0, np.ones_like(x) / 6, 0)


@formula
def hard_swish(x):
    """x (x + 3) / 6 between -3 and 3, x above, -0.0 below: the limit from the left of x = 0 too."""
    return _pieces(x, 3, -0.0, x * (x + 3) / 6, x)


@formula
def hard_swish_slope(x):
    """(2 x + 3) / 6 if -3 < x <= 3, 1 above, 0 below."""
    return _pieces(x, 3, 0, (2 * x + 3) / 6, 1)


@formula
def smelu(x, beta):
    """(x + beta)**2 / (4 beta) between -beta and beta, x above, 0 below."""
    return _pieces(x, beta, 0, (x + beta) * ((x + beta) / beta / 4), x)


@formula
def smelu_slope(x, beta):
    """(x + beta) / (2 beta) between -beta and beta, 1 above, 0 below."""
    return _pieces(x, beta, 0, (x + beta) / beta / 2, 1)


@formula
def smelu_wrt_beta(x, beta):
    """(beta - x) (beta + x) / (2 beta)**2 between -beta and beta, else 0."""
    return _pieces(x, beta, 0, ((beta - x) / beta) * ((beta + x) / beta) / 4, 0)
