"""The slopes that parametric rectifiers learn, one for each channel of a small convolutional network.

Two layers of 3×3 filters on the digits; each channel's slope on the negative side starts at 0.25 and is
learned with the rest (He et al. 2015, who let no weight decay touch it).  A slope near 0 is a ReLU, near 1
a channel that stays linear, below 0 one that folds.

    python examples/prelu_slopes.py --epochs 10
"""

import argparse
import itertools

import numpy as np
from digits import load

import fastrelu as fr

CHANNELS = 1, 8, 16
FIRST = 0.25


def patches(x):
    """Every 3×3 neighbourhood of images (n, height, width, channels), as rows of numbers."""
    view = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    return view.reshape(*view.shape[:3], -1)


def scatter(d, shape):
    """What `patches` gathers, added back: its gradient."""
    height, width, channels = shape[1:]
    d, made = d.reshape(*d.shape[:3], channels, 3, 3), np.zeros(shape, np.float32)
    for i in range(3):
        for j in range(3):
            made[:, i : height - 2 + i, j : width - 2 + j] += d[..., i, j]
    return made


def parameters(seed=0):
    """Filters, biases and slopes of each layer, and the weights and biases behind them."""
    rng, made = np.random.default_rng(seed), []
    for m, n in itertools.pairwise(CHANNELS):
        filters = rng.normal(0, (2 / (9 * m)) ** 0.5, (9 * m, n)).astype(np.float32)
        made.append([filters, np.zeros(n, np.float32), np.full(n, FIRST, np.float32)])
    flat = 4 * 4 * CHANNELS[-1]
    made.append([rng.normal(0, flat**-0.5, (flat, 10)).astype(np.float32), np.zeros(10, np.float32)])
    return made


def forward(layers, x):
    """The logits, and for each layer its input's patches and what went into the activation."""
    x, kept = x.reshape(-1, 8, 8, 1), []
    for filters, bias, slopes in layers[:-1]:
        rows = patches(x)
        z = rows @ filters + bias
        kept.append((rows, z, x.shape))
        x = fr.prelu(z, slopes, axis=-1)
    weights, bias = layers[-1]
    flat = x.reshape(len(x), -1)
    return flat @ weights + bias, flat, kept


def step(layers, x, labels, rate):
    """One step of gradient descent on everything, the slopes included; the loss before it."""
    logits, flat, kept = forward(layers, x)
    loss, d = fr.cross_entropy.value_and_grad(logits, labels)
    gradients = [[flat.T @ d, d.sum(axis=0)]]
    d = (d @ layers[-1][0].T).reshape(kept[-1][1].shape)
    for (filters, _, slopes), (rows, z, shape) in zip(layers[-2::-1], kept[::-1], strict=True):
        dz, dslopes = fr.prelu.backward(d, z, weight=slopes, axis=-1)
        flat_dz = dz.reshape(-1, dz.shape[-1])
        gradients.append([rows.reshape(len(flat_dz), -1).T @ flat_dz, flat_dz.sum(axis=0), dslopes])
        d = scatter(dz @ filters.T, shape)
    for layer, made in zip(layers, gradients[::-1], strict=True):
        for parameter, gradient in zip(layer, made, strict=True):
            parameter -= np.float32(rate) * gradient
    return loss


def main(arguments=None):
    """Train and print the slopes; return the share of right answers and the slopes of both layers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args(arguments)
    x, labels, x_test, labels_test = load()
    layers = parameters()
    for epoch in range(1, options.epochs + 1):
        starts = range(0, len(x) - options.batch + 1, options.batch)
        parts = [slice(i, i + options.batch) for i in starts]
        loss = np.mean([step(layers, x[part], labels[part], options.rate) for part in parts])
        right = np.mean(forward(layers, x_test)[0].argmax(axis=1) == labels_test)
        print(f"epoch {epoch:3}   loss {loss:.4f}   {right:6.1%} of {len(x_test)} right")
    slopes = [layer[2] for layer in layers[:-1]]
    for number, learned in enumerate(slopes, 1):
        print(f"slopes of layer {number}, from {FIRST}:", *(f"{a:.2f}" for a in np.sort(learned)))
    return right, slopes


if __name__ == "__main__":
    main()
