"""The reference of the exponential linear units."""

from __future__ import annotations

import math

import numpy as np

from .arithmetic import decay, pair, two_product
from .formula import formula

SELU_LAMBDA = "1.0507009873554804934193349852946063519589812043764"
SELU_LAMBDA_ALPHA = "1.7580993408473768599402175208122795773235068371620"


@formula
def elu(x, alpha):
    """x if x > 0 else alpha * expm1(x); alpha = inf gives -inf for x < 0 and NaN at 0."""
    return np.where(x > 0, x, alpha * np.expm1(x))


@formula
def elu_slope(x, alpha):
    """1 if x > 0 else alpha * exp(x)."""
    return np.where(x > 0, 1, decay(alpha, x))


@formula
def elu_slope_from_y(y, alpha):
    """1 if y > 0 else y + alpha."""
    return np.where(y > 0, 1, y + alpha)


@formula
def elu_wrt_alpha(x, alpha):
    return np.where(x > 0, np.zeros_like(alpha), np.expm1(x))


def _quotient(x, alpha):
    """x / alpha as high + low; low is 0 where high is not finite."""
    high = x / alpha
    product, error = two_product(high, alpha)
    return high, np.where(np.isfinite(high), ((x - product) - error) / alpha, 0)


@formula
def celu(x, alpha):
    """x if x > 0 else alpha * expm1(x / alpha), which is x while the quotient is tiny."""
    v = x / alpha
    return np.where((x > 0) | (np.abs(v) < 1e-30), x, alpha * np.expm1(v))


@formula
def celu_slope(x, alpha):
    """1 if x > 0 else exp(x / alpha)."""
    return np.where(x > 0, 1, decay(np.ones_like(alpha), *_quotient(-np.abs(x), alpha)))


@formula
def celu_slope_from_y(y, alpha):
    """1 if y > 0 else 1 + y / alpha."""
    return np.where(y > 0, 1, (y + alpha) / alpha)


@formula
def celu_wrt_alpha(x, alpha):
    """expm1(v) - v exp(v), v = x / alpha <= 0; above -1 by its series, -v**2 (1/2 + v/3 + v**2/8 ...)."""
    v = -np.abs(x) / alpha
    near, series = np.maximum(v, -1), np.zeros_like(v)
    for k in range(24, 1, -1):
        series = series * near + x.dtype.type(k - 1) / math.factorial(k)
    far = np.expm1(v) - np.maximum(v, np.finfo(x.dtype).min) * np.exp(v)
    return np.where(x > 0, 0, np.where(v > -1, -near * near * series, far))


@formula
def selu(x):
    """elu with alpha = 1.6732..., times lambda = 1.0507...; f(-inf) = -lambda alpha."""
    scale, depth = x.dtype.type(SELU_LAMBDA), x.dtype.type(SELU_LAMBDA_ALPHA)
    return np.where(x > 0, scale * x, depth * np.expm1(x))


@formula
def selu_slope(x):
    """lambda if x > 0 else lambda alpha exp(x)."""
    return np.where(x > 0, x.dtype.type(SELU_LAMBDA), decay(x.dtype.type(SELU_LAMBDA_ALPHA), x))


@formula
def selu_slope_from_y(y):
    """lambda if y > 0 else y + lambda alpha."""
    depth, depth_low = pair(SELU_LAMBDA_ALPHA, y.dtype)
    return np.where(y > 0, y.dtype.type(SELU_LAMBDA), (y + depth) + depth_low)
