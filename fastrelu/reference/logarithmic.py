"""The reference of inverses: logit, and the logarithms of exp(x) - 1 and of 1 - exp(-x)."""

from __future__ import annotations

import numpy as np

from .arithmetic import decay, pair
from .formula import formula

LN2 = "0.69314718055994530941723212145817656807550013436026"


@formula
def logit(x, eps):
    """log(x / (1 - x)), x clamped to [eps, 1 - eps]; around 1/2, 2 atanh(2 x - 1); NaN outside [0, 1]."""
    c = np.maximum(np.where(x > 0.5, 1 - x, x), eps)  # exact, and so is what follows
    near = 2 * np.arctanh(2 * (c - 0.5))
    value = np.where(c > 0.25, near, np.log(np.abs(c)) - np.log1p(-c))
    return np.where(c < 0, np.nan, np.where(x > 0.5, -value, value))


def _clamped(x, eps, below, above, otherwise):
    """Where x <= eps, where x > 1 - eps, and between; NaN outside [0, 1] where nothing clamps."""
    c = np.where(x > 0.5, 1 - x, x)
    inside = np.where(c < 0, np.nan, otherwise(c))
    eps = np.where(eps < 0, np.nan, eps)
    return np.where(x > 0.5, np.where(c < eps, above, inside), np.where(c <= eps, below, inside))


@formula
def logit_slope(x, eps):
    """1 / (x (1 - x)) if eps < x <= 1 - eps else 0."""
    return _clamped(x, eps, 0, 0, lambda c: 1 / np.abs(c * (1 - c)))


@formula
def logit_wrt_eps(x, eps):
    moved = 1 / (eps * (1 - eps))
    return _clamped(x, eps, moved, -moved, lambda c: np.where(c == c, np.zeros_like(eps), c))


@formula
def log1mexp(x):
    """log(-expm1(-x)) up to log 2, then log1p(-exp(-x)); -inf at 0, NaN below; f(inf) is -0.0."""
    z = np.abs(x)
    e = np.exp(-z)
    tail = -decay(np.where(e > 0, np.log1p(-np.minimum(e, 0.5)) / -e, 1), -z)
    value = np.where(x > 0.7, tail, np.log(-np.expm1(-z)))
    return np.where(x < 0, np.nan, value)


@formula
def log1mexp_slope(x):
    """1 / (exp(x) - 1)."""
    z = np.abs(x)
    return np.where(x < 0, np.nan, decay(1 / -np.expm1(-z), -z))


@formula
def softplus_inverse(x):
    """log(expm1(x)); around its zero log1p(2 expm1(x - log 2)), beyond x + log1p(-exp(-x)); NaN below 0."""
    log2, log2_low = pair(LN2, x.dtype)
    z = np.abs(x)
    near = np.log1p(2 * np.expm1(np.clip((z - log2) - log2_low, -1, 1)))
    below = np.log(np.expm1(np.minimum(z, 1)))
    above = z + np.log1p(-np.exp(-np.maximum(z, 1)))
    value = np.where(x > 1.1, above, np.where(x > 0.4, near, below))
    return np.where(x < 0, np.nan, np.where(x == x, value, x))


@formula
def softplus_inverse_slope(x):
    """1 / (1 - exp(-x))."""
    return np.where(x < 0, np.nan, 1 / -np.expm1(-np.abs(x)))


__all__ = [name for name, function in globals().items() if hasattr(function, "exact")]
