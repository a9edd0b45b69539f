"""A multilayer perceptron in plain NumPy: layers, backpropagation, momentum.

The network is the same whoever computes its activation and its loss: that is left to an `Operations`
object, `Fastrelu` here or `PlainNumPy` in ``plain.py``, so that a comparison of the two shares every matrix
product, every buffer and the optimiser.

Everything is float32.  All parameters lie in one vector, so that a step of the optimiser is four passes
over it, whatever the number of layers.
"""

from __future__ import annotations

import itertools
import math
import time

import numpy as np

from ..normalising import softmax
from ..reductions import logsumexp

__all__ = ["Fastrelu", "Network", "Timed", "arguments", "learned_parameter", "trains"]

FIRST_LEARNED = 0.25  # where a learned negative slope starts (He et al. 2015)


def learned_parameter(activation):
    """The name of the parameter that training adjusts, or None."""
    return next((p.name for p in activation.row.parameters if p.learned), None)


def arguments(activation):
    """Values for the parameters that have no default and are not learned."""
    return {p.name: p.typical[0] for p in activation.row.parameters if p.default is None and not p.learned}


def trains(activation):
    """Whether a network with this activation can learn: not if f′ is 0 everywhere, or f not."""
    return activation.row.derivative != "0" and activation.row.domain == (-math.inf, math.inf)


class Fastrelu:
    """Activation and softmax cross-entropy by fastrelu, in place wherever f′ is a function of the output."""

    label = "fastrelu"

    def __init__(self, activation):
        self.activation = activation
        self.learned = learned_parameter(activation)
        self.given = arguments(activation)
        self.in_place = activation.row.slope_from_y and not self.learned

    def activate(self, z, out, slope):
        """f(z), in `out` or over `z`; `slope` is the learned parameter."""
        if self.in_place:
            return self.activation(z, out=z, **self.given)
        if self.learned:
            return self.activation(z, slope, out=out, **self.given)
        return self.activation(z, out=out, **self.given)

    def backward(self, dy, z, y, slope, dslope):
        """dy * f′(z), over `dy`; the learned parameter's gradient goes to `dslope`."""
        if self.in_place:
            return self.activation.backward(dy, y=y, out=dy, **self.given)
        if self.learned:
            learned = {self.learned: slope}
            return self.activation.backward(dy, z, out=(dy, dslope), **learned, **self.given)[0]
        return self.activation.backward(dy, z, out=dy, **self.given)

    def cross_entropy(self, logits, labels):
        """The losses of the rows, and the gradient of their mean, which overwrites `logits`."""
        rows = np.arange(len(labels))
        losses = logsumexp(logits, axis=1) - logits[rows, labels]
        gradient = softmax(logits, axis=1, out=logits)
        gradient[rows, labels] -= 1
        gradient /= np.float32(len(labels))
        return losses, gradient


class Timed:
    """Other operations, with the seconds spent in them added up in `seconds`."""

    def __init__(self, operations):
        self.seconds = 0.0
        self.learned = operations.learned
        for name in ("activate", "backward", "cross_entropy"):
            setattr(self, name, self._timed(getattr(operations, name)))

    def _timed(self, function):
        def call(*given):
            start = time.perf_counter()
            result = function(*given)
            self.seconds += time.perf_counter() - start
            return result

        return call


class _Layer:
    """Views of one layer's part of the parameters and their gradient, and its buffers."""

    def __init__(self, views, gradients, rows, units):
        self.weight, self.bias, self.slope = views
        self.dweight, self.dbias, self.dslope = gradients
        self.z = np.empty((rows, units), np.float32)  # before the activation
        self.y = np.empty((rows, units), np.float32)  # after it
        self.dy = np.empty((rows, units), np.float32)


class Network:
    """Layers of `sizes`, the activation between them, the softmax at the end.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden units of each layer, classes.
    operations : Fastrelu or PlainNumPy
        Who computes the activation and the loss.
    rows : int
        The largest batch.
    rate, momentum : float
        Of the optimiser: v = momentum * v + gradient; parameters -= rate * v.
    seed : int
        Of the initial weights (He et al. 2015).
    """

    def __init__(self, sizes, operations, rows, rate, momentum, seed):
        self.operations, self.rate, self.momentum = operations, np.float32(rate), np.float32(momentum)
        pairs = list(itertools.pairwise(sizes))
        learned = [n if operations.learned else 0 for n in sizes[1:-1]] + [0]
        total = sum(m * n + n + s for (m, n), s in zip(pairs, learned, strict=True))
        self.parameters, self.gradient, self.velocity = np.zeros((3, total), np.float32)
        self.layers, at = [], 0
        rng = np.random.default_rng(seed)
        for (m, n), s in zip(pairs, learned, strict=True):
            ends = at + m * n, at + m * n + n, at + m * n + n + s
            views, gradients = (
                (v[at : ends[0]].reshape(m, n), v[ends[0] : ends[1]], v[ends[1] : ends[2]])
                for v in (self.parameters, self.gradient)
            )
            views[0][...] = rng.normal(0, (2 / m) ** 0.5, (m, n))
            views[2][...] = FIRST_LEARNED
            self.layers.append(_Layer(views, gradients, rows, n))
            at = ends[2]

    def forward(self, x, seen=None):
        """The logits of a batch; `seen(hidden layer, z)` is shown what goes into each activation."""
        *hidden, last = self.layers
        n = len(x)
        for layer in hidden:
            z = np.matmul(x, layer.weight, out=layer.z[:n])
            z += layer.bias
            if seen:
                seen(layer, z)
            x = layer.output = self.operations.activate(z, layer.y[:n], layer.slope)
        logits = np.matmul(x, last.weight, out=last.z[:n])
        logits += last.bias
        return logits

    def step(self, x, labels):
        """One step of the optimiser on one batch; the sum of the losses."""
        losses, d = self.operations.cross_entropy(self.forward(x), labels)
        n = len(x)
        for below, layer in zip(self.layers[-2::-1], self.layers[:0:-1], strict=True):
            np.matmul(below.output.T, d, out=layer.dweight)
            d.sum(axis=0, out=layer.dbias)
            d = np.matmul(d, layer.weight.T, out=below.dy[:n])
            d = self.operations.backward(d, below.z[:n], below.output, below.slope, below.dslope)
        first = self.layers[0]
        np.matmul(x.T, d, out=first.dweight)
        d.sum(axis=0, out=first.dbias)

        self.velocity *= self.momentum
        self.velocity += self.gradient
        self.parameters -= np.multiply(self.velocity, self.rate, out=self.gradient)
        return losses.sum()

    def epoch(self, batches):
        """A step on every batch; the mean loss on the way."""
        total = sum(float(self.step(x, labels)) for x, labels in batches)
        return total / sum(len(labels) for _, labels in batches)

    def share(self, batches, epochs=3):
        """The share of a step's time that the operations take, in epochs of their own, then undone."""
        before, operations = (self.parameters.copy(), self.velocity.copy()), self.operations
        shares = []
        for _ in range(epochs):
            self.operations = timed = Timed(operations)
            start = time.perf_counter()
            self.epoch(batches)
            shares.append(timed.seconds / (time.perf_counter() - start))
        self.operations = operations
        self.parameters[:], self.velocity[:] = before
        return sorted(shares)[epochs // 2]

    def evaluate(self, x, labels):
        """Mean loss and accuracy."""
        losses, right = 0.0, 0
        for part in _parts(len(x), len(self.layers[0].z)):
            logits = self.forward(x[part])
            right += int((logits.argmax(axis=1) == labels[part]).sum())
            losses += float(self.operations.cross_entropy(logits, labels[part])[0].sum())
        return losses / len(x), right / len(x)

    def activity(self, x):
        """For each hidden layer, the share of rows of `x` on which each unit is active: its z is positive."""
        counts = {layer: np.zeros(layer.z.shape[1]) for layer in self.layers[:-1]}

        def count(layer, z):
            counts[layer] += (z > 0).sum(axis=0)

        for part in _parts(len(x), len(self.layers[0].z)):
            self.forward(x[part], count)
        return [count / len(x) for count in counts.values()]


def _parts(n, rows):
    return [slice(start, start + rows) for start in range(0, n, rows)]
