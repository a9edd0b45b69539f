"""A training step compiled whole: forward, loss, backward and update in one @njit function, beside NumPy's.

A two-layer network on scikit-learn's digits, batch by batch.  Both steps begin with the same weights and see
the same batches; their losses agree to the rounding of float32.

    python examples/numba_training_step.py --epochs 5 --batch 64 --hidden 128
"""

import argparse
import time

import numba
import numpy as np

import fastrelu as fr

RATE = np.float32(0.2)


@numba.njit(cache=True, nogil=True)
def compiled_step(x, labels, w1, b1, w2, b2, rate):
    """One step of gradient descent, in place; the loss before it."""
    z = np.dot(x, w1) + b1
    hidden = fr.gelu(z)
    logits = np.dot(hidden, w2) + b2
    loss, dlogits = fr.cross_entropy.value_and_grad(logits, labels)
    dz = np.dot(dlogits, w2.T)
    fr.gelu.backward(dz, z, out=dz)
    w2 -= rate * np.dot(hidden.T, dlogits)
    b2 -= rate * dlogits.sum(axis=0)
    w1 -= rate * np.dot(x.T, dz)
    b1 -= rate * dz.sum(axis=0)
    return loss


def numpy_step(x, labels, w1, b1, w2, b2, rate):
    """The same, as one writes it with NumPy and SciPy."""
    from scipy.special import erf, logsumexp

    z = x @ w1 + b1
    below = np.float32(0.5) * (1 + erf(z * np.float32(0.5**0.5)))
    hidden = z * below
    logits = hidden @ w2 + b2
    rows = np.arange(len(labels))
    log_shares = logits - logsumexp(logits, axis=1, keepdims=True)
    loss = -log_shares[rows, labels].mean()
    dlogits = np.exp(log_shares)
    dlogits[rows, labels] -= 1
    dlogits /= np.float32(len(labels))
    density = np.exp(np.float32(-0.5) * z * z) * np.float32(1 / np.sqrt(2 * np.pi))
    dz = dlogits @ w2.T * (below + z * density)
    w2 -= rate * (hidden.T @ dlogits)
    b2 -= rate * dlogits.sum(axis=0)
    w1 -= rate * (x.T @ dz)
    b1 -= rate * dz.sum(axis=0)
    return loss


def weights(hidden, seed=0):
    """Small random weights of two layers, float32."""
    rng = np.random.default_rng(seed)
    w1 = rng.normal(0, 64**-0.5, (64, hidden)).astype(np.float32)
    w2 = rng.normal(0, hidden**-0.5, (hidden, 10)).astype(np.float32)
    return w1, np.zeros(hidden, np.float32), w2, np.zeros(10, np.float32)


def train(step, x, labels, epochs, batch, hidden):
    """The loss of each step, and the shortest time of one in seconds."""
    parameters, losses, shortest = weights(hidden), [], float("inf")
    for _ in range(epochs):
        for start in range(0, len(x) - batch + 1, batch):
            begin = time.perf_counter()
            losses.append(step(x[start : start + batch], labels[start : start + batch], *parameters, RATE))
            shortest = min(shortest, time.perf_counter() - begin)
    return np.array(losses), shortest


def main(arguments=None):
    """Train with both, print the losses and the time of a step, and return the losses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=128)
    options = parser.parse_args(arguments)
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = (digits.data / 16).astype(np.float32)
    labels = digits.target
    settings = x, labels, options.epochs, options.batch, options.hidden
    made = {}
    for name, step in (("numpy", numpy_step), ("@njit with fastrelu", compiled_step)):
        made[name], shortest = train(step, *settings)
        first, last = made[name][[0, -1]]
        print(f"{name:20}  loss {first:.4f} -> {last:.4f}   {1e6 * shortest:7.1f} us a step")
    return list(made.values())


if __name__ == "__main__":
    main()
