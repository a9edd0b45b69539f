"""Activations as a user writes them, for test_custom.py: built-in ones once more, and others."""

import math

import numba
import numpy as np

import fastrelu as fr

SLOPE = 0.25


@fr.activation
def leaky_relu(x, negative_slope=0.01):
    return x if x > 0 else negative_slope * x


@leaky_relu.derivative
def _(x, negative_slope):
    return x * 0.0 + 1.0 if x != x else (1.0 if x > 0 else negative_slope)


@leaky_relu.derivative(of="y")
def _(y, negative_slope):
    return y * 0.0 + 1.0 if y != y else (1.0 if y > 0 else negative_slope)


@leaky_relu.derivative(wrt="negative_slope")
def _(x, negative_slope):
    return negative_slope * 0.0 if x > 0 else x


@fr.activation
def squashed(x, a=1.0):
    """x over 1 + a |x|."""
    return x / (1.0 + a * abs(x))


@squashed.derivative
def squashed_slope(x, a):
    return 1.0 / (1.0 + a * abs(x)) ** 2


@squashed.derivative(wrt="a")
def _(x, a):
    return -x * abs(x) / (1.0 + a * abs(x)) ** 2


@fr.activation
def cubic(x):
    return x * x * x


@fr.activation
def polynomial(x, c0, c1, c2=0.0, c3=0.0, c4=0.0, c5=0.0):
    return c0 + x * (c1 + x * (c2 + x * (c3 + x * (c4 + x * c5))))


@polynomial.derivative
def _(x, c0, c1, c2, c3, c4, c5):
    return c1 + x * (2 * c2 + x * (3 * c3 + x * (4 * c4 + x * 5 * c5)))


@numba.njit
def smooth(x):
    return math.log1p(math.exp(-abs(x)))


@fr.activation
def soft(x):
    return max(x, 0.0) + smooth(x)


@soft.derivative
def _(x):
    return 1.0 / (1.0 + np.exp(-x))


@fr.activation
def gated(x, beta=1.0):
    return x * fr.sigmoid(beta * x)


@fr.activation
def sharp(x, beta):
    return SLOPE * fr.softplus(x, beta=beta)
