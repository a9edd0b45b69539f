"""The reference of the stepped sigmoid: the logistic function of x + 1/2 - n, summed over n = 1, ..., units.

Without an end the sum is S(x), and with one S(x) - S(x - units).  For x <= 0 the first terms are added as
they are, the others, in powers of their exponentials, as geometric series.  For x > 0 the sum is S(-x) + x
and a wave around it, which the summation formula of Poisson gives:

    S(x) - S(-x) = x + sum over k of (-1)^k 2 pi / sinh(2 pi^2 k) sin(2 pi k x)
"""

from __future__ import annotations

import math

import numpy as np

from .formula import formula

__all__ = ["stepped_sigmoid", "stepped_sigmoid_slope"]

TERMS, POWERS, WAVES = 6, 8, 2


def _below(x):
    """S and its derivative at x <= 0."""
    one = x.dtype.type(1)
    e = np.exp(x)
    total, slope = np.zeros_like(x), np.zeros_like(x)
    rest = e * np.exp(-one * TERMS)
    for j in range(POWERS, 0, -1):  # the smallest first
        term = (-1) ** (j + 1) * rest**j / (2 * np.sinh(one * j / 2))
        total, slope = total + term, slope + j * term
    for n in range(TERMS, 0, -1):
        t = e * np.exp(one / 2 - n)
        total, slope = total + t / (1 + t), slope + t / (1 + t) ** 2
    return total, slope


def _wave(x):
    """What S(x) - S(-x) differs from x by, and its derivative; 0 beyond where floats have fractions."""
    turn = 2 * np.arctan2(x.dtype.type(0), x.dtype.type(-1))
    angle = turn * np.where(np.isfinite(x), x - np.rint(x), 0)
    total, slope = np.zeros_like(x), np.zeros_like(x)
    for k in range(WAVES, 0, -1):
        size = (-1) ** k * turn / math.sinh(2 * math.pi**2 * k)
        total, slope = total + size * np.sin(k * angle), slope + size * turn * k * np.cos(k * angle)
    return total, slope


def _endless(x):
    total, slope = _below(-np.abs(x))
    wave, bend = _wave(x)
    return np.where(x > 0, x + (total + wave), total), np.where(x > 0, (1 - slope) + bend, slope)


def _usable(units, y):
    return np.where((units >= 1) & (np.isinf(units) | (units == np.rint(units))), y, np.nan)


@formula
def stepped_sigmoid(x, units):
    """S(x) - S(x - units), or units less that at units - x, which is the smaller; S(x) for infinite units."""
    finite = np.where(np.isinf(units), 2, units)
    above = x > finite / 2
    near = np.where(above, finite - x, x)
    part = _endless(near)[0] - _endless(near - finite)[0]
    return _usable(units, np.where(np.isinf(units), _endless(x)[0], np.where(above, finite - part, part)))


@formula
def stepped_sigmoid_slope(x, units):
    """The derivative, the same at x and at units - x."""
    finite = np.where(np.isinf(units), 2, units)
    near = np.where(x > finite / 2, finite - x, x)
    part = _endless(near)[1] - _endless(near - finite)[1]
    return _usable(units, np.where(np.isinf(units), _endless(x)[1], part))
