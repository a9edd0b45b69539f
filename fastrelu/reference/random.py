"""The reference of normal draws and of the random rectifiers; `draw` as in draws.py."""

from __future__ import annotations

import numpy as np

from .formula import formula
from .rectifiers import leaky_relu, leaky_relu_slope, relu, relu_slope

TWO_PI = "6.2831853071795864769252867665590057683943387987502"


@formula
def normal_cosine(draw, angle):
    """sqrt(-2 log(1/2 + draw)) cos(2 pi angle), both in (-1/2, 1/2)."""
    sine, cosine, quarter = _within_quarter(angle)
    return _normal_radius(draw) * np.where(quarter == 1, -sine, np.where(quarter == 2, -cosine, cosine))


@formula
def normal_sine(draw, angle):
    """sqrt(-2 log(1/2 + draw)) sin(2 pi angle)."""
    sine, cosine, quarter = _within_quarter(angle)
    size = np.where(quarter == 1, cosine, np.where(quarter == 2, -sine, sine))
    return _normal_radius(draw) * np.copysign(1, angle) * size


def _normal_radius(draw):
    half = draw.dtype.type(0.5)  # draw - 1/2 and draw + 1/2 are exact where they are used
    return np.sqrt(-2 * np.where(draw > 0, np.log1p(draw - half), np.log(draw + half)))


def _within_quarter(angle):
    """sin and cos of 2 pi f, where abs(angle) is f + quarter / 4 and abs(f) <= 1/8."""
    quarter = np.rint(4 * np.abs(angle))
    x = (np.abs(angle) - quarter / 4) * angle.dtype.type(TWO_PI)
    return np.sin(x), np.cos(x), quarter


def _drawn_slope(lower, upper, draw):
    """The slope of U(lower, upper); NaN unless 0 <= lower <= upper < 1."""
    slope = (lower + upper) / 2 + (upper - lower) * draw
    slope = np.maximum(lower, np.minimum(upper, slope))
    return np.where((lower >= 0) & (lower <= upper) & (upper < 1), slope, np.nan).astype(draw.dtype)


@formula
def rrelu(x, lower, upper, draw):
    """leaky_relu with a drawn slope; NaN unless 0 <= lower <= upper < 1."""
    slope = _drawn_slope(lower, upper, draw)
    return np.where(np.isnan(slope), slope, leaky_relu.exact(x, slope))


@formula
def rrelu_slope(x, lower, upper, draw):
    """1 if x > 0, else the drawn slope."""
    slope = _drawn_slope(lower, upper, draw)
    return np.where(np.isnan(slope), slope, leaky_relu_slope.exact(x, slope))


@formula
def noisy_relu(x, draw):
    """max(0, x + Y), Y = draw / sqrt(1 + exp(-x)), so of variance 1 / (1 + exp(-x))."""
    return relu.exact(_with_sigmoid_noise(x, draw))


@formula
def noisy_relu_slope(x, draw):
    """1 if x + Y > 0 else 0."""
    return relu_slope.exact(_with_sigmoid_noise(x, draw))


def _with_sigmoid_noise(x, draw):
    return x + draw / np.sqrt(1 + np.exp(-x))


@formula
def noisy_relu_of_variance(x, variance, draw):
    """max(0, x + Y), Y = draw sqrt(variance)."""
    return relu.exact(x + draw * np.sqrt(variance))


@formula
def noisy_relu_of_variance_slope(x, variance, draw):
    """1 if x + Y > 0 else 0."""
    return relu_slope.exact(x + draw * np.sqrt(variance))
