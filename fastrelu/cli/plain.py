"""Activations and loss as a NumPy user writes them: what `fastrelu train --compare` compares with.

Obvious spellings, but no slow ones: `x * x * x` rather than `x**3`, nothing computed twice that one name
would save, nothing that turns float32 into float64.
"""

from __future__ import annotations

import math

import numpy as np

from .network import learned_parameter

__all__ = ["PlainNumPy"]

try:
    from scipy.special import erf
except ModuleNotFoundError:
    erf = np.vectorize(math.erf, otypes=[np.float32])

TANH_SCALE = math.sqrt(2 / math.pi)
NEGATIVE_SLOPE = 0.01
SELU_LAMBDA, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _gelu_backward(dy, x, y):
    distribution = 0.5 * (1 + erf(x * math.sqrt(0.5)))
    density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return dy * (distribution + x * density)


def _gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(TANH_SCALE * (x + 0.044715 * x * x * x)))


def _gelu_tanh_backward(dy, x, y):
    square = x * x
    t = np.tanh(TANH_SCALE * (x + 0.044715 * x * square))
    inner = TANH_SCALE * (1 + 3 * 0.044715 * square)
    return dy * 0.5 * (1 + t + x * (1 - t * t) * inner)


def _silu_backward(dy, x, y):
    s = _sigmoid(x)
    return dy * s * (1 + x * (1 - s))


def _mish(x):
    return x * np.tanh(np.logaddexp(x, 0))


def _mish_backward(dy, x, y):
    t = np.tanh(np.logaddexp(x, 0))
    return dy * (t + x * (1 - t * t) * _sigmoid(x))


# f(x), and dy * f'(x) from what the forward pass saw and made
SPELLINGS = {
    "relu": (
        lambda x: np.maximum(x, 0),
        lambda dy, x, y: dy * (x > 0),
    ),
    "leaky_relu": (
        lambda x: np.where(x > 0, x, NEGATIVE_SLOPE * x),
        lambda dy, x, y: np.where(x > 0, dy, NEGATIVE_SLOPE * dy),
    ),
    "prelu": (
        lambda x, weight: np.where(x > 0, x, weight * x),
        lambda dy, x, y, weight: (
            np.where(x > 0, dy, weight * dy),
            np.where(x > 0, 0, dy * x).sum(axis=0),
        ),
    ),
    "elu": (
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda dy, x, y: np.where(x > 0, dy, dy * (y + 1)),
    ),
    "selu": (
        lambda x: SELU_LAMBDA * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
        lambda dy, x, y: dy * np.where(x > 0, SELU_LAMBDA, y + SELU_LAMBDA * SELU_ALPHA),
    ),
    "softplus": (
        lambda x: np.logaddexp(x, 0),
        lambda dy, x, y: dy * _sigmoid(x),
    ),
    "sigmoid": (
        _sigmoid,
        lambda dy, x, y: dy * y * (1 - y),
    ),
    "log_sigmoid": (
        lambda x: -np.logaddexp(-x, 0),
        lambda dy, x, y: dy * _sigmoid(-x),
    ),
    "gelu": (
        lambda x: 0.5 * x * (1 + erf(x * math.sqrt(0.5))),
        _gelu_backward,
    ),
    "gelu.tanh": (_gelu_tanh, _gelu_tanh_backward),
    "silu": (
        lambda x: x * _sigmoid(x),
        _silu_backward,
    ),
    "mish": (_mish, _mish_backward),
    "tanh": (
        np.tanh,
        lambda dy, x, y: dy * (1 - y * y),
    ),
}


class PlainNumPy:
    """Activation and softmax cross-entropy by NumPy expressions; see `network.Fastrelu`.

    Raises
    ------
    LookupError
        If the activation has no spelling here.
    """

    label = "plain NumPy"

    def __init__(self, activation):
        name = activation.row.qualname
        if name not in SPELLINGS:
            raise LookupError(f"plain NumPy: no spelling of {name} is known here")
        self.forward_of, self.backward_of = SPELLINGS[name]
        self.learned = learned_parameter(activation)

    def activate(self, layer, z, out):
        z += layer.bias
        return self.forward_of(z, layer.slope) if self.learned else self.forward_of(z)

    def backward(self, layer, dy, z, y):
        if self.learned:
            dz, layer.dslope[...] = self.backward_of(dy, z, y, layer.slope)
        else:
            dz = self.backward_of(dy, z, y)
        dz.sum(axis=0, out=layer.dbias)
        return dz

    def kept(self, z, y):
        return [z, y]

    def cross_entropy(self, logits, labels):
        rows = np.arange(len(labels))
        shifted = logits - logits.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        sums = exponentials.sum(axis=1, keepdims=True)
        losses = np.log(sums[:, 0]) - shifted[rows, labels]
        gradient = exponentials / sums
        gradient[rows, labels] -= 1
        gradient /= np.float32(len(labels))
        return float(losses.sum()), gradient
