"""The reference of the gated units, value * f(gate).

A value is multiplied into f's exponential before that can underflow.  An infinite value meets an f of 0 in
NaN, but for `reglu`, whose gate is shut at 0 and below.
"""

from __future__ import annotations

import numpy as np

from .arithmetic import INVERSE_SQRT_2PI, decay, mills, two_product, two_sum
from .formula import formula, keep_nan


def _product(value, size, factor, high=0, low=0):
    """value * size * factor * exp(high + low), high <= 0, for a factor in the range of ordinary numbers."""
    (a, i), (b, j) = np.frexp(value), np.frexp(size)
    finite = np.isfinite(value) & np.isfinite(size)
    high = high + np.zeros_like(value)
    return np.where(
        finite, decay(a * b * factor, high, low, np.where(finite, i + j, 0)), value * size * factor
    )


def _unless_shut(value, gate, at_infinity, y):
    """`y`, but value times the limit of f, a zero, where gate is minus infinity."""
    return np.where(gate == -np.inf, value * value.dtype.type(at_infinity), y)


@formula
def reglu(value, gate):
    """value * max(0, gate)."""
    largest = np.finfo(value.dtype).max
    return np.where(gate > 0, value * gate, np.clip(value, -largest, largest) * np.where(gate <= 0, 0, gate))


@formula
def reglu_value_slope(value, gate):
    """max(0, gate)."""
    return np.where(gate <= 0, 0, gate) + np.zeros_like(value)


@formula
def reglu_gate_slope(value, gate):
    """value if gate > 0 else 0."""
    return keep_nan(value, np.where(gate > 0, value, keep_nan(gate, np.zeros_like(value))))


@formula
def glu(value, gate):
    """value / (1 + exp(-gate))."""
    share = 1 / (1 + np.exp(-np.abs(gate)))
    return _unless_shut(value, gate, 0.0, _product(value, value.dtype.type(1), share, np.minimum(gate, 0)))


@formula
def glu_value_slope(value, gate):
    """1 / (1 + exp(-gate))."""
    return glu.exact(np.ones_like(value), gate)


@formula
def glu_gate_slope(value, gate):
    """value * e / (1 + e)**2, e = exp(-abs(gate))."""
    high = -np.abs(gate)
    slope = _product(value, value.dtype.type(1), 1 / (1 + np.exp(high)) ** 2, high)
    return _unless_shut(value, high, 0.0, slope)


def _gaussian(value, gate):
    """z = abs(gate), but no larger than where any value times phi(z) vanishes, and z**2 / 2 as high + low."""
    info = np.finfo(value.dtype)
    end = np.sqrt(2 * (np.log(info.max) - np.log(info.smallest_subnormal))) + 0.5
    z = np.minimum(np.abs(gate), end)
    high, low = two_product(z, z)
    return z, high / 2, low / 2


@formula
def geglu(value, gate):
    """value * gelu(gate), as `gelu` from the small side."""
    z, high, low = _gaussian(value, gate)
    above = _product(value, gate, 1 - decay(mills(z), -high, -low))
    below = _product(value, np.copysign(z, gate), mills(z), -high, -low)
    return _unless_shut(value, gate, -0.0, np.where(gate > 0, above, below))


@formula
def geglu_value_slope(value, gate):
    """gelu(gate)."""
    return geglu.exact(np.ones_like(value), gate)


@formula
def geglu_gate_slope(value, gate):
    """value * gelu'(gate)."""
    z, high, low = _gaussian(value, gate)
    factor = mills(z) - z * z.dtype.type(INVERSE_SQRT_2PI)
    above = value * (1 - decay(factor, -high, -low))
    below = _product(value, value.dtype.type(1), factor, -high, -low)
    return _unless_shut(value, gate, -0.0, np.where(gate > 0, above, below))


@formula
def swiglu(value, gate):
    """value * gate / (1 + exp(-gate))."""
    share = 1 / (1 + np.exp(-np.abs(gate)))
    return _unless_shut(value, gate, -0.0, _product(value, gate, share, np.minimum(gate, 0)))


@formula
def swiglu_value_slope(value, gate):
    """gate / (1 + exp(-gate))."""
    return swiglu.exact(np.ones_like(value), gate)


@formula
def swiglu_gate_slope(value, gate):
    """value * s * (1 + gate * (1 - s)), s the logistic function of gate."""
    z = np.abs(gate)
    e = np.exp(-z)
    total, lost = two_sum(np.ones_like(e), e)
    square = total * total + 2 * total * lost
    above = value * (1 + (decay(z, -z) - e * (1 + e)) / square)  # beside 1 there is little to round
    below = _product(value, value.dtype.type(1), ((1 - z) + e) / square, -z)
    return _unless_shut(value, gate, -0.0, np.where(gate > 0, above, below))
