"""The reference of ReLU, of the step, and of rectifiers with a slope below 0."""

from __future__ import annotations

import numpy as np

from .formula import formula, keep_nan


@formula
def relu(x):
    """max(0, x); +0.0 for x = -0.0.  Integers stay integers."""
    if x.dtype.kind in "biu":
        return np.maximum(x, x.dtype.type(0))
    return np.where(x <= 0, x.dtype.type(0), x)


@formula
def relu_slope(x):
    """1 if x > 0 else 0."""
    return keep_nan(x, (x > 0).astype(x.dtype))


@formula
def relu_slope_from_y(y):
    return relu_slope(y)


@formula
def heaviside(x, at_zero):
    """1 if x > 0, at_zero if x == 0, else 0."""
    return np.where(x == 0, at_zero, keep_nan(x, x > 0))


@formula
def heaviside_slope(x, at_zero):
    """0, at the jump too."""
    return keep_nan(x, np.zeros_like(at_zero))


@formula
def heaviside_wrt_at_zero(x, at_zero):
    return keep_nan(x, np.where(x == 0, np.ones_like(at_zero), 0))


@formula
def leaky_relu(x, negative_slope):
    """x if x > 0 else negative_slope * x; with slope 0, f(-inf) is -0.0, the limit of 0 * x."""
    below = np.where(negative_slope == 0, np.maximum(x, np.finfo(x.dtype).min), x)
    return np.where(x > 0, x, negative_slope * below)


@formula
def leaky_relu_slope(x, negative_slope):
    """1 if x > 0 else negative_slope."""
    return keep_nan(x, np.where(x > 0, 1, negative_slope))


@formula
def leaky_relu_slope_from_y(y, negative_slope):
    """1 if y > 0 else negative_slope; NaN for a negative slope, where y does not tell the side."""
    return leaky_relu_slope(y, negative_slope)


@formula
def leaky_relu_wrt_negative_slope(x, negative_slope):
    return np.where(x > 0, np.zeros_like(negative_slope), x)


@formula
def prelu(x, weight):
    """leaky_relu whose slope is learned."""
    return leaky_relu(x, weight)


@formula
def prelu_slope(x, weight):
    return leaky_relu_slope(x, weight)


@formula
def prelu_slope_from_y(y, weight):
    return leaky_relu_slope_from_y(y, weight)


@formula
def prelu_wrt_weight(x, weight):
    return leaky_relu_wrt_negative_slope(x, weight)
