"""The reference of the logistic function, of softplus, its integral, and of what they and tanh make."""

from __future__ import annotations

import math

import numpy as np

from .arithmetic import decay, two_product
from .formula import formula


def _decay_of_product(beta, x):
    """beta * abs(x) as high + low, and e = exp(-beta * abs(x))."""
    high, low = two_product(beta, np.abs(x))
    return high, low, decay(np.ones_like(high), -high, -low)


@formula
def softplus(x, beta):
    """max(x, 0) + log1p(exp(-abs(beta * x))) / beta, without a threshold."""
    high, low, e = _decay_of_product(beta, x)
    # far out log1p(e) is e, and dividing by a small beta may bring back what has underflowed
    bend = np.where(high > 80, decay(1 / beta, -high, -low), np.log1p(e) / beta)
    return np.maximum(x, 0) + bend


@formula
def softplus_slope(x, beta):
    """The logistic function of beta * x."""
    _, _, e = _decay_of_product(beta, x)
    return np.where(x > 0, 1, e) / (1 + e)


@formula
def softplus_slope_from_y(y, beta):
    """1 - exp(-beta * y)."""
    return -np.expm1(-beta * y)


@formula
def softplus_wrt_beta(x, beta):
    """-(v e / (1 + e) + log1p(e)) / beta**2 with v = abs(beta * x), e = exp(-v): even in x."""
    high, low, e = _decay_of_product(beta, x)
    entropy = high / (1 + e) + np.where(e > 0, np.log1p(e) / e, 1)
    mantissa, exponent = np.frexp(beta)
    return -decay(entropy / mantissa**2, -high, -low, -2 * exponent)


@formula
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    e = np.exp(-np.abs(x))
    return np.where(x > 0, 1, e) / (1 + e)


@formula
def sigmoid_slope(x):
    """e / (1 + e)**2, e = exp(-abs(x))."""
    e = np.exp(-np.abs(x))
    return e / (1 + e) ** 2


@formula
def sigmoid_slope_from_y(y):
    return y * (1 - y)


@formula
def log_sigmoid(x):
    """min(x, 0) - log1p(exp(-abs(x))); f(inf) is -0.0, the limit from below."""
    bend = np.log1p(np.exp(-np.abs(x)))
    return np.where(x > 0, -bend, x - bend)


@formula
def log_sigmoid_slope(x):
    """The logistic function of -x."""
    return sigmoid.exact(-x)


@formula
def log_sigmoid_slope_from_y(y):
    """1 - exp(y)."""
    return np.abs(np.expm1(-np.abs(y)))


@formula
def silu(x, beta):
    """x / (1 + exp(-beta * x))."""
    high, low, e = _decay_of_product(beta, x)
    size = np.where(x > 0, np.abs(x), decay(np.abs(x), -high, -low)) / (1 + e)
    return np.copysign(size, x)


def gate_slope(x, grown, high, low, e):
    """d/dx of x / (1 + exp(-v(x))) for odd v: v = high + low and e = exp(-v) are those of
    abs(x), and so is the pair grown = x v'(x).  The negative side is f'(-x) = 1 - f'(x),
    arranged so that the root costs only the digits that it must.
    """
    growth, growth_low = grown
    below = decay((1 - growth) + (e - growth_low), -high, -low)
    above = 1 + e + decay(growth, -high, -low)
    return np.where(x > 0, above, below) / (1 + e) ** 2


@formula
def silu_slope(x, beta):
    """s (1 + beta x (1 - s)), s the logistic function of beta * x; f'(-inf) is -0.0."""
    high, low, e = _decay_of_product(beta, x)
    return gate_slope(x, (high, low), high, low, e)


@formula
def silu_wrt_beta(x, beta):
    """x**2 s (1 - s)."""
    high, low, e = _decay_of_product(beta, x)
    mantissa, exponent = np.frexp(x)
    return decay(mantissa**2 / (1 + e) ** 2, -high, -low, 2 * exponent)


@formula
def mish(x):
    """x n / (n + 2), n = exp(x) (exp(x) + 2), for x > 0 divided by exp(2 x); f(-inf) is -0.0."""
    z, e = np.abs(x), np.exp(-np.abs(x))
    below = decay(z, -z) * (2 + e) / (2 + e * (2 + e))
    return np.copysign(np.where(x > 0, z * ((1 + 2 * e) / (1 + 2 * e * (1 + e))), below), x)


@formula
def mish_slope(x):
    """The quotient rule on `mish`, arranged so that around the root 1 - z is exact; f'(-inf) is -0.0."""
    z, e = np.abs(x), np.exp(-np.abs(x))
    d = np.where(x > 0, 1 + 2 * e * (1 + e), 2 + e * (2 + e))
    bend = decay(2 * z, -z) / d
    below = decay(2 * (1 - z) + e * (1 + bend), -z)
    above = 1 + 2 * e * (1 + bend * (1 + e))
    return np.where(x > 0, above, below) / d


@formula
def tanh(x):
    return np.tanh(x)


@formula
def tanh_slope(x):
    """4 e / (1 + e)**2, e = exp(-2 abs(x)): 1 - tanh(x)**2 without its cancellation."""
    v = 2 * np.abs(x)
    return decay(np.full_like(v, 4), -v) / (1 + np.exp(-v)) ** 2


@formula
def tanh_slope_from_y(y):
    return (1 - y) * (1 + y)


@formula
def tanhshrink(x):
    """x - tanh(x); up to 1 (x cosh(x) - sinh(x)) / cosh(x), whose numerator is a series of positive terms."""
    z = np.minimum(np.abs(x), 1)
    series = np.zeros_like(z)
    for k in range(13, 0, -1):
        series = series * z * z + x.dtype.type(2 * k) / math.factorial(2 * k + 1)
    near = z * (z * z) * series / np.cosh(z)
    return np.copysign(np.where(np.abs(x) > 1, np.abs(x) - np.tanh(np.abs(x)), near + 0 * x), x)


@formula
def tanhshrink_slope(x):
    """tanh(x)**2."""
    return np.tanh(x) ** 2
