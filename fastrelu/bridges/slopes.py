"""Derivatives in the functions of a framework, for it to differentiate the backward passes of the bridges.

What a backward pass computes comes from the kernels; how that moves with its inputs, a second derivative,
comes from here, and so do all further ones, for the frameworks know the derivatives of what stands here.
Formulas are those of the table, of y where the backward pass is of y.  `xp` is a namespace with the functions
of a framework: those of `torch`, or `fastrelu.jax.NAMES`.
"""

from __future__ import annotations

import math

from .. import reference

__all__ = ["gradient", "known"]

SELU_SCALE, SELU_DEPTH = float(reference.SELU_LAMBDA), float(reference.SELU_LAMBDA_ALPHA)


def _gelu(xp, x, approximate):
    if approximate == "none":
        return (1 + xp.erf(x / math.sqrt(2))) / 2 + x * xp.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    if approximate == "sigmoid":
        return _silu(xp, x, 1.702)
    root = math.sqrt(2 / math.pi)
    t = xp.tanh(root * (x + 0.044715 * x**3))
    return (1 + t) / 2 + x / 2 * (1 - t * t) * root * (1 + 3 * 0.044715 * x * x)


def _silu(xp, x, beta):
    s = xp.sigmoid(beta * x)
    return s + beta * x * s * (1 - s)


def _mish(xp, x):
    s = xp.sigmoid(x)
    t = xp.tanh(xp.where(x > 0, x, 0) + xp.log1p(xp.exp(-abs(x))))
    return t + x * (1 - t * t) * s


def _relu_squared(xp, y):
    above = y > 0
    return xp.where(above, 2 * xp.sqrt(xp.where(above, y, 1)), 0)


def _logit(xp, x, eps):
    slope = 1 / (x * (1 - x))
    return slope if eps is None else xp.where((x > eps) & (x <= 1 - eps), slope, 0)


OF_X = {
    "hard_swish": lambda xp, x: xp.where(x <= -3, 0, xp.where(x <= 3, (2 * x + 3) / 6, 1)),
    "smelu": lambda xp, x, beta: xp.clip((x + beta) / (2 * beta), 0, 1),
    "logit": _logit,
    "softplus_inverse": lambda xp, x: -1 / xp.expm1(-x),
    "log1mexp": lambda xp, x: 1 / xp.expm1(x),
    "gelu": _gelu,
    "silu": _silu,
    "mish": _mish,
    "tanhshrink": lambda xp, x: xp.tanh(x) ** 2,
}
OF_Y = {
    "relu_squared": _relu_squared,
    "softsign": lambda xp, y: (1 - abs(y)) ** 2,
    "squareplus": lambda xp, y, b: y * y / (y * y + b / 4),
    "elu": lambda xp, y, alpha: xp.where(y > 0, 1, y + alpha),
    "selu": lambda xp, y: xp.where(y > 0, SELU_SCALE, y + SELU_DEPTH),
    "celu": lambda xp, y, alpha: xp.where(y > 0, 1, 1 + y / alpha),
    "softplus": lambda xp, y, beta: -xp.expm1(-beta * y),
    "sigmoid": lambda xp, y: y * (1 - y),
    "log_sigmoid": lambda xp, y: -xp.expm1(y),
    "tanh": lambda xp, y: 1 - y * y,
}


def _softmax(xp, dy, y, axis):
    return y * (dy - (dy * y).sum(axis, keepdims=True))


def _log_softmax(xp, dy, y, axis):
    return dy - xp.exp(y) * dy.sum(axis, keepdims=True)


def _logsumexp(xp, dy, a, axis, keepdims):
    total = xp.logsumexp(a, axis, keepdims=True)
    return dy.reshape(total.shape) * xp.exp(a - total)


def _logsumexp0(xp, dy, a, axis, keepdims):
    total = xp.logsumexp(a, axis, keepdims=True)
    total = xp.where(total > 0, total, 0) + xp.log1p(xp.exp(-abs(total)))
    return dy.reshape(total.shape) * xp.exp(a - total)


ROWS_OF_Y = {"softmax": _softmax, "softmax0": _softmax, "log_softmax": _log_softmax}
ROWS_OF_X = {"logsumexp": _logsumexp, "logsumexp0": _logsumexp0}


def known(function, given, wanted, from_y):
    """Whether `gradient` knows the backward pass of a call."""
    name = function.name
    if wanted != function.arrays[:1]:
        return False
    if function.elementwise:
        return name in (OF_Y if from_y else OF_X)
    return name in ROWS_OF_Y if from_y else name in ROWS_OF_X and given.get("b") is None


def gradient(xp, function, dy, kept, given):
    """The backward pass of a call with respect to its first argument, from that or from the result.

    Parameters
    ----------
    xp : namespace
    function : fastrelu.bridges.Differentiable
    dy, kept : array
        The incoming gradient, and the first argument of the call, or its result.
    given : dict
        The other arguments.

    Returns
    -------
    array
    """
    given = function.takes | given
    name = function.name
    if function.elementwise:
        slope = OF_Y.get(name) or OF_X[name]
        return dy * slope(xp, kept, **{n: given[n] for n in function.takes if n != "x"})
    of_row = ROWS_OF_Y.get(name) or ROWS_OF_X[name]
    axis = given["axis"]
    axis = tuple(range(kept.ndim)) if axis is None else axis
    more = {"keepdims": given["keepdims"]} if "keepdims" in function.takes else {}
    return of_row(xp, dy, kept, axis, **more)
