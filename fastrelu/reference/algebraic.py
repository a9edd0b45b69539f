"""The reference of what is made of roots and quotients."""

from __future__ import annotations

import numpy as np

from .formula import formula


@formula
def softsign(x):
    """x / (1 + abs(x)); 1 and -1 at infinity."""
    z = np.minimum(np.abs(x), np.finfo(x.dtype).max)
    return np.copysign(z / (1 + z), x)


@formula
def softsign_slope(x):
    """(1 / (1 + abs(x)))**2."""
    return (1 / (1 + np.abs(x))) ** 2


@formula
def softsign_slope_from_y(y):
    return (1 - np.abs(y)) ** 2


def _squareplus_root(x, b):
    """sqrt(x**2 + b), and (abs(x) + root) / 2."""
    root = np.hypot(x, np.sqrt(b))
    return root, np.abs(x) / 2 + root / 2


@formula
def squareplus(x, b):
    """(x + root) / 2, root = sqrt(x**2 + b); for x <= 0 it is b / 4 over (abs(x) + root) / 2."""
    _, h = _squareplus_root(x, b)
    return np.where(x > 0, h, b / 4 / h)


@formula
def squareplus_slope(x, b):
    """f(x) / sqrt(x**2 + b)."""
    root, h = _squareplus_root(x, b)
    slope = np.where(x > 0, h, b / 4 / h) / root
    return np.where(np.isinf(x), (x > 0).astype(x.dtype), slope)


@formula
def squareplus_slope_from_y(y, b):
    """y / (y + b / (4 y))."""
    return np.where(np.isinf(y), y.dtype.type(1), y / (y + b / 4 / y))


@formula
def squareplus_wrt_b(x, b):
    """1 / (4 sqrt(x**2 + b))."""
    return 0.25 / _squareplus_root(x, b)[0]


__all__ = [name for name, function in globals().items() if hasattr(function, "exact")]
