"""A restricted Boltzmann machine with noisy rectified hidden units, on handwritten digits.

After Nair & Hinton (2010).  A hidden unit is max(0, z + noise), the noise normal with variance sigmoid(z):
what infinitely many binary units with biases shifted by 1/2, 3/2, ... add up to.  Learned by one step of
contrastive divergence, beside the same machine with binary hidden units.

    python examples/noisy_rbm.py --epochs 20 --hidden 100
"""

import argparse

import numpy as np
from digits import load

import fastrelu as fr


def rectified(z, key):
    """Noisy rectified units; what drives learning is their value."""
    h = fr.noisy_relu(z, training=True, key=key)
    return h, h


def binary(z, key):
    """Binary units: their draws, and the probability, which drives learning."""
    p = fr.sigmoid(z)
    return (np.random.default_rng(key.bits).random(z.shape, np.float32) < p).astype(np.float32), p


def train(units, x, epochs, hidden, rate, batch=50, seed=0):
    """Weights and biases after contrastive divergence, and the reconstruction error after each epoch."""
    rng, key = np.random.default_rng(seed), fr.noise_key(seed)
    w = rng.normal(0, 0.01, (x.shape[1], hidden)).astype(np.float32)
    a, b = np.zeros(x.shape[1], np.float32), np.zeros(hidden, np.float32)
    errors, rate = [], np.float32(rate / batch)
    for _ in range(epochs):
        order, total = rng.permutation(len(x)), 0.0
        for start in range(0, len(x) - batch + 1, batch):
            v, key = x[order[start : start + batch]], key.fold(0)
            h, up = units(v @ w + b, key)
            again = fr.sigmoid(h @ w.T + a)
            _, down = units(again @ w + b, key.fold(1))
            w += rate * (v.T @ up - again.T @ down)
            a += rate * (v - again).sum(axis=0)
            b += rate * (up - down).sum(axis=0)
            total += float(np.square(v - again).sum())
        errors.append(total / (len(x) // batch * batch))
    return (w, a, b), np.array(errors)


def read(features, labels, features_test, labels_test):
    """The share of digits that ridge regression on the features gets right."""
    scale = features.std(axis=0) + 1e-6
    features, features_test = (np.c_[f / scale, np.ones(len(f))] for f in (features, features_test))
    targets = np.eye(10)[labels]
    gram = features.T @ features + 1e-1 * np.eye(features.shape[1])
    return np.mean((features_test @ np.linalg.solve(gram, features.T @ targets)).argmax(1) == labels_test)


def main(arguments=None):
    """Print the errors and what the features are good for; return them by kind of unit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.05)
    options = parser.parse_args(arguments)
    x, labels, x_test, labels_test = load()
    pixels = read(x, labels, x_test, labels_test)
    print(f"from the pixels themselves {pixels:.1%} of {len(x_test)} digits are read right")
    made = {}
    for name, units, mean in (("noisy rectified", rectified, fr.relu), ("binary", binary, fr.sigmoid)):
        (w, _, b), errors = train(units, x, options.epochs, options.hidden, options.rate)
        right = read(mean(x @ w + b), labels, mean(x_test @ w + b), labels_test)
        print(f"{name:16} squared error of an image {errors[0]:.2f} -> {errors[-1]:.2f}   right {right:.1%}")
        made[name] = errors, right
    return made


if __name__ == "__main__":
    main()
