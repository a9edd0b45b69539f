"""Hidden Markov models that read handwritten digits line by line, in log space, beside SciPy's `logsumexp`.

An image is a sequence of eight lines; each digit has a model of its own, whose states emit lines of normal
pixels.  The models are learned by Baum and Welch's algorithm, an image belongs to the one that finds it
likeliest. The messages forward and backward are `logsumexp` over states, of all sequences at once.

    python examples/hidden_markov.py --states 8 --iterations 10
"""

import argparse
import time

import numpy as np
from digits import load
from scipy import special

import fastrelu as fr

FLOOR = 0.05  # of the variances: many pixels are always 0


class Model:
    """States that follow each other and emit normal lines, started at random."""

    def __init__(self, library, lines, states, rng):
        self.library = library
        self.start = np.full(states, -np.log(states))
        self.moves = np.log(rng.dirichlet(np.full(states, 5.0), states))
        positions = np.linspace(0, lines.shape[1] - 1, states).astype(
            int
        )  # state k looks like line k at first
        self.means = lines.mean(axis=0)[positions] + rng.normal(0, 0.05, (states, lines.shape[2]))
        self.variances = np.full(self.means.shape, FLOOR)

    def emitted(self, lines):
        """The log density of each line in each state."""
        inverse = 1 / self.variances
        distance = (lines * lines) @ inverse.T - 2 * lines @ (self.means * inverse).T
        distance += (self.means**2 * inverse).sum(axis=1) + np.log(2 * np.pi * self.variances).sum(axis=1)
        return -0.5 * distance

    def forward(self, emitted):
        """log p(lines up to t, state at t), for each t."""
        messages = [self.start + emitted[:, 0]]
        for t in range(1, emitted.shape[1]):
            reached = messages[-1][:, :, None] + self.moves
            messages.append(self.library.logsumexp(reached, axis=1) + emitted[:, t])
        return np.stack(messages, axis=1)

    def backward(self, emitted):
        """log p(lines after t | state at t), for each t."""
        messages = [np.zeros(emitted[:, 0].shape)]
        for t in range(emitted.shape[1] - 1, 0, -1):
            left = self.moves + (emitted[:, t] + messages[-1])[:, None, :]
            messages.append(self.library.logsumexp(left, axis=2))
        return np.stack(messages[::-1], axis=1)

    def likelihood(self, lines):
        """log p(lines), of each sequence."""
        return self.library.logsumexp(self.forward(self.emitted(lines))[:, -1], axis=1)

    def learn(self, lines):
        """One iteration; the mean log likelihood before it."""
        emitted = self.emitted(lines)
        before, after = self.forward(emitted), self.backward(emitted)
        total = self.library.logsumexp(before[:, -1], axis=1)
        shares = np.exp(before + after - total[:, None, None])
        arrived = emitted[:, 1:] + after[:, 1:] - total[:, None, None]
        moves = self.library.logsumexp(
            before[:, :-1, :, None] + self.moves + arrived[:, :, None, :], axis=(0, 1)
        )
        self.moves = self.library.log_softmax(moves, axis=1)
        self.start = np.log(shares[:, 0].mean(axis=0) + 1e-12)
        weights = shares.reshape(-1, shares.shape[2])
        rows, counts = lines.reshape(len(weights), -1), weights.sum(axis=0)[:, None]
        self.means = weights.T @ rows / counts
        self.variances = np.maximum(weights.T @ (rows * rows) / counts - self.means**2, FLOOR)
        return total.mean()


def run(library, digits, options):
    """The log likelihoods of the test images for each digit's model, those while learning, and the labels."""
    x, labels, x_test, labels_test = digits
    lines, lines_test = (v.reshape(-1, 8, 8).astype(np.float64) for v in (x, x_test))
    found, learned = [], []
    for digit in range(10):
        own = lines[labels == digit]
        model = Model(library, own, options.states, np.random.default_rng(digit))
        learned.append([model.learn(own) for _ in range(options.iterations)])
        found.append(model.likelihood(lines_test))
    return np.stack(found, axis=1), np.array(learned), labels_test


def main(arguments=None):
    """Learn and read with both libraries, print what came out; return likelihoods and shares right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--states", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=10)
    options = parser.parse_args(arguments)
    made, digits = [], load()
    for name, library in (("fastrelu", fr), ("scipy.special", special)):
        start = time.perf_counter()
        likelihoods, learned, labels = run(library, digits, options)
        took = time.perf_counter() - start
        right = np.mean(likelihoods.argmax(axis=1) == labels)
        first, last = learned.mean(axis=0)[[0, -1]]
        print(f"{name:13}  log likelihood {first:7.2f} -> {last:6.2f}   {right:.1%} right   {took:.2f} s")
        made.append((likelihoods, learned, right))
    print(f"largest difference of a log likelihood: {abs(made[0][0] - made[1][0]).max():.1e}")
    return made


if __name__ == "__main__":
    main()
