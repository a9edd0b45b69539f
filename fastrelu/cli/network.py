"""A multilayer perceptron in plain NumPy: layers, backpropagation, momentum.

The network is the same whoever computes its biases, activations and loss: that is left to an object of
operations, `Fastrelu` or `Unfused` here or `PlainNumPy` in ``plain.py``, so that comparisons share every
matrix product, every buffer and the optimiser.

Everything is float32.  All parameters lie in one vector, so that a step of the optimiser is four passes
over it, whatever the number of layers.
"""

from __future__ import annotations

import itertools
import math
import time

import numpy as np

from ..activity import ActivityMonitor
from ..fused import bias_act
from ..losses import cross_entropy
from ..normalising import softmax
from ..reductions import logsumexp

__all__ = ["Fastrelu", "Network", "Timed", "Unfused", "arguments", "learned_parameter", "trains"]

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
    """Bias, activation and softmax cross-entropy by fastrelu, each in one pass.

    The activation takes the place of its input wherever f′ is a function of the output; then nothing else is
    kept for the backward pass.
    """

    label = "fastrelu"

    def __init__(self, activation):
        self.activation = activation
        self.learned = learned_parameter(activation)
        self.given = arguments(activation)
        self.in_place = activation.row.slope_from_y and not self.learned

    def _arguments(self, layer):
        return {self.learned: layer.slope} | self.given if self.learned else self.given

    def activate(self, layer, z, out):
        """f(z + bias), in `out` or over `z`."""
        out = z if self.in_place else out
        return bias_act(z, layer.bias, self.activation, out=out, **self._arguments(layer))

    def backward(self, layer, dy, z, y):
        """dy * f′(z + bias), over `dy`; the gradients of the bias and the learned parameter go to `layer`."""
        outs = (dy, layer.dbias, layer.dslope) if self.learned else (dy, layer.dbias)
        if self.in_place:
            bias_act.backward(dy, act=self.activation, y=y, out=outs, **self.given)
        else:
            bias_act.backward(dy, z, layer.bias, self.activation, out=outs, **self._arguments(layer))
        return dy

    def cross_entropy(self, logits, labels):
        """The sum of the losses, and the gradient of their mean, which overwrites `logits`."""
        loss, gradient = cross_entropy.value_and_grad(logits, labels, out=logits)
        return float(loss) * len(labels), gradient

    def kept(self, z, y):
        """The arrays that a hidden layer keeps for the backward pass."""
        return [z] if self.in_place else [z, y]


class Unfused(Fastrelu):
    """The same by fastrelu's single calls: each operation is a pass of its own."""

    label = "fastrelu, unfused"

    def activate(self, layer, z, out):
        z += layer.bias
        return self.activation(z, out=z if self.in_place else out, **self._arguments(layer))

    def backward(self, layer, dy, z, y):
        if self.in_place:
            dz = self.activation.backward(dy, y=y, out=dy, **self.given)
        else:
            outs = (dy, layer.dslope) if self.learned else dy
            dz = self.activation.backward(dy, z, out=outs, **self._arguments(layer))
            dz = dz[0] if self.learned else dz
        dz.sum(axis=0, out=layer.dbias)
        return dz

    def cross_entropy(self, logits, labels):
        rows = np.arange(len(labels))
        losses = logsumexp(logits, axis=1) - logits[rows, labels]
        gradient = softmax(logits, axis=1, out=logits)
        gradient[rows, labels] -= 1
        gradient /= np.float32(len(labels))
        return float(losses.sum()), gradient


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
        self.z = np.empty((rows, units), np.float32)  # before bias and activation
        self.y = np.empty((rows, units), np.float32)  # after it
        self.dy = np.empty((rows, units), np.float32)


class Network:
    """Layers of `sizes`, the activation between them, the softmax at the end.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden units of each layer, classes.
    operations : Fastrelu, Unfused or PlainNumPy
        Who computes biases, activations and the loss.
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
        """The logits of a batch; `seen(hidden layer, z + bias)` is shown what goes into each activation."""
        *hidden, last = self.layers
        n = len(x)
        for layer in hidden:
            z = np.matmul(x, layer.weight, out=layer.z[:n])
            if seen:
                seen(layer, z + layer.bias)
            x = layer.output = self.operations.activate(layer, z, layer.y[:n])
        logits = np.matmul(x, last.weight, out=last.z[:n])
        logits += last.bias
        return logits

    def step(self, x, labels):
        """One step of the optimiser on one batch; the sum of the losses."""
        loss, d = self.operations.cross_entropy(self.forward(x), labels)
        n = len(x)
        d.sum(axis=0, out=self.layers[-1].dbias)
        for below, layer in zip(self.layers[-2::-1], self.layers[:0:-1], strict=True):
            np.matmul(below.output.T, d, out=layer.dweight)
            d = np.matmul(d, layer.weight.T, out=below.dy[:n])
            d = self.operations.backward(below, d, below.z[:n], below.output)
        np.matmul(x.T, d, out=self.layers[0].dweight)

        self.velocity *= self.momentum
        self.velocity += self.gradient
        self.parameters -= np.multiply(self.velocity, self.rate, out=self.gradient)
        return loss

    def kept(self, rows):
        """Bytes that a step on so many rows keeps between its passes: of hidden layers, and the logits."""
        *hidden, last = self.layers
        arrays = [a[:rows] for layer in hidden for a in self.operations.kept(layer.z, layer.y)]
        return sum(a.nbytes for a in arrays) + last.z[:rows].nbytes

    def epoch(self, batches):
        """A step on every batch; the mean loss on the way."""
        total = sum(self.step(x, labels) for x, labels in batches)
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
            losses += self.operations.cross_entropy(logits, labels[part])[0]
        return losses / len(x), right / len(x)

    def monitors(self):
        """An `ActivityMonitor` for each hidden layer."""
        return [ActivityMonitor() for _ in self.layers[:-1]]

    def watch(self, x, monitors):
        """Show the monitors, on all rows of `x`, what goes into the activations."""
        of_layer = dict(zip(self.layers, monitors, strict=False))
        for part in _parts(len(x), len(self.layers[0].z)):
            self.forward(x[part], lambda layer, z: of_layer[layer].update(z))
        return [monitor.end_epoch() for monitor in monitors]


def _parts(n, rows):
    return [slice(start, start + rows) for start in range(0, n, rows)]
