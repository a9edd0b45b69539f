"""The reference of GELU and of its approximations."""

from __future__ import annotations

import numpy as np

from .arithmetic import INVERSE_SQRT_2PI, decay, mills, pair, two_product, two_sum
from .formula import formula
from .logistic import gate_slope

TWO_SQRT_2_OVER_PI = "1.5957691216057307117597842397375274739034344524660"
GELU_TANH_CUBIC = "0.044715"
GELU_SIGMOID_SCALE = "1.702"


def _gaussian(x):
    """z = abs(x), but no larger than where phi(z) vanishes, and z**2 / 2 as high + low."""
    end = np.sqrt(-2 * np.log(np.finfo(x.dtype).smallest_subnormal)) + 0.5
    z = np.minimum(np.abs(x), end)
    high, low = two_product(z, z)
    return z, high / 2, low / 2


@formula
def gelu(x):
    """x Phi(x), from the small side: z exp(-z**2 / 2) mills(z) is abs(gelu(-z)); f(-inf) is -0.0."""
    z, high, low = _gaussian(x)
    below = decay(z * mills(z), -high, -low)
    return np.copysign(np.where(x > 0, np.abs(x) - below, below), x)


@formula
def gelu_slope(x):
    """Phi(x) + x phi(x); f'(-x) = 1 - f'(x); f'(-inf) is -0.0."""
    z, high, low = _gaussian(x)
    below = decay(mills(z) - z * z.dtype.type(INVERSE_SQRT_2PI), -high, -low)
    return np.where(x > 0, 1 - below, below)


def _gelu_tanh_exponent(x, cubic=GELU_TANH_CUBIC):
    """z = abs(x) until exp vanishes, and 2 sqrt(2/pi) z (1 + cubic z**2) as high + low."""
    z = np.minimum(np.abs(x), 64)
    linear, linear_low = pair(TWO_SQRT_2_OVER_PI, x.dtype)
    cube, cube_low = pair(cubic, x.dtype)
    square, square_low = two_product(z, z)
    bend, bend_low = two_product(cube, square)
    bracket, bracket_low = two_sum(x.dtype.type(1), bend)
    bracket_low = bracket_low + bend_low + cube * square_low + cube_low * square
    scaled, scaled_low = two_product(linear, bracket)
    scaled_low = scaled_low + linear * bracket_low + linear_low * bracket
    high, low = two_product(scaled, z)
    return z, high, low + scaled_low * z


@formula
def gelu_tanh(x):
    """x s, s the logistic function of v(x) = 2 sqrt(2/pi) (x + 0.044715 x**3); f(-inf) is -0.0."""
    z, high, low = _gelu_tanh_exponent(x)
    e = decay(np.ones_like(z), -high, -low)
    size = np.where(x > 0, np.abs(x), decay(z, -high, -low)) / (1 + e)
    return np.copysign(size, x)


@formula
def gelu_tanh_slope(x):
    """s (1 + x v'(x) (1 - s)); f'(-inf) is -0.0."""
    z, high, low = _gelu_tanh_exponent(x)
    _, growth, growth_low = _gelu_tanh_exponent(x, cubic="0.134145")  # z v'(z): three times the cubic
    return gate_slope(x, (growth, growth_low), high, low, decay(np.ones_like(z), -high, -low))


def _gelu_sigmoid_exponent(x):
    """1.702 * abs(x) as high + low, and exp of minus it."""
    scale, scale_low = pair(GELU_SIGMOID_SCALE, x.dtype)
    high, low = two_product(scale, np.abs(x))
    low = np.where(np.isfinite(high), low + scale_low * np.abs(x), 0)
    return high, low, decay(np.ones_like(high), -high, -low)


@formula
def gelu_sigmoid(x):
    """silu with beta = 1.702; f(-inf) is -0.0."""
    high, low, e = _gelu_sigmoid_exponent(x)
    size = np.where(x > 0, np.abs(x), decay(np.abs(x), -high, -low)) / (1 + e)
    return np.copysign(size, x)


@formula
def gelu_sigmoid_slope(x):
    """That of silu with beta = 1.702; f'(-inf) is -0.0."""
    high, low, e = _gelu_sigmoid_exponent(x)
    return gate_slope(x, (high, low), high, low, e)
