"""scikit-learn's handwritten digits, and a small network for them, shared by the examples.

The network is written out: matrix products by NumPy; bias, activation and loss, and their gradients, by
fastrelu.
"""

import itertools

import numpy as np

import fastrelu as fr


def load(tested=500, seed=0):
    """Images of 64 pixels between 0 and 1 and their labels: to train on, and to test with."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(seed).permutation(len(found.target))
    x, labels = (found.data[order] / 16).astype(np.float32), found.target[order]
    return x[tested:], labels[tested:], x[:tested], labels[:tested]


class Network:
    """Layers of these sizes with an activation between them; softmax and cross entropy at the end.

    `gain` is the variance of the weights times the number of inputs (2: He et al. 2015), `parameters` are the
    activation's.
    """

    def __init__(self, sizes, activation, seed=0, gain=2.0, **parameters):
        rng = np.random.default_rng(seed)
        self.activation, self.parameters = activation, parameters
        self.weights = [
            rng.normal(0, (gain / m) ** 0.5, (m, n)).astype(np.float32) for m, n in itertools.pairwise(sizes)
        ]
        self.biases = [np.zeros(n, np.float32) for n in sizes[1:]]

    def forward(self, x):
        """The logits, the last layer's input, and of each other layer the input and its product."""
        kept = []
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            z = x @ weight
            kept.append((x, z))
            x = fr.bias_act(z, bias, self.activation, **self.parameters)
        return x @ self.weights[-1] + self.biases[-1], x, kept

    def before(self, x):
        """What goes into each activation."""
        return [z + bias for (_, z), bias in zip(self.forward(x)[2], self.biases[:-1], strict=True)]

    def gradients(self, x, labels):
        """The mean loss, and its gradients by each layer's weights and biases, the last layer first."""
        logits, last, kept = self.forward(x)
        loss, d = fr.cross_entropy.value_and_grad(logits, labels)
        made = [(last.T @ d, d.sum(axis=0))]
        for weight, bias, (below, z) in zip(
            self.weights[:0:-1], self.biases[-2::-1], kept[::-1], strict=True
        ):
            d = d @ weight.T
            d, dbias = fr.bias_act.backward(d, z, bias, self.activation, out=d, **self.parameters)
            made.append((below.T @ d, dbias))
        return loss, made

    def step(self, x, labels, rate):
        """One step of gradient descent; the loss before it."""
        loss, made = self.gradients(x, labels)
        for weight, bias, (dweight, dbias) in zip(self.weights, self.biases, made[::-1], strict=True):
            weight -= np.float32(rate) * dweight
            bias -= np.float32(rate) * dbias
        return loss

    def epoch(self, x, labels, rate, batch=64):
        """A step on each batch; the mean loss on the way."""
        starts = range(0, len(x) - batch + 1, batch)
        return np.mean([self.step(x[i : i + batch], labels[i : i + batch], rate) for i in starts])

    def accuracy(self, x, labels):
        return np.mean(self.forward(x)[0].argmax(axis=1) == labels)
