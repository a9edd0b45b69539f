"""Rectified units die of a learning rate that is too high, and stay dead when it is low again.

A network is trained on the digits with Adam (Kingma & Ba, 2015), first at a rate that may be too high, then
at a low one.  A unit is silent if its input is negative for every image, and dead if, besides, the slope
there is as good as 0: no gradient flows and nothing wakes it.  Silent leaky units have a slope.

    python examples/dying_units.py --rates 0.001 0.01 0.1 0.3 --plot dying.svg
"""

import argparse

import numpy as np
from digits import Network, load

import fastrelu as fr

SIZES = 64, 64, 64, 10
ACTIVATIONS = "relu", "leaky_relu", "elu"
LOW = 0.001  # Adam's usual rate, and the slope below which a unit is dead


class Adam(Network):
    """A network trained by Adam."""

    moments, steps = None, 0

    def step(self, x, labels, rate):
        loss, made = self.gradients(x, labels)
        gradients = [g for pair in made[::-1] for g in pair]
        parameters = [p for pair in zip(self.weights, self.biases, strict=True) for p in pair]
        self.moments = self.moments or [np.zeros((2, *p.shape), np.float32) for p in parameters]
        self.steps += 1
        rate *= (1 - 0.999**self.steps) ** 0.5 / (1 - 0.9**self.steps)
        for p, g, (mean, square) in zip(parameters, gradients, self.moments, strict=True):
            mean += np.float32(0.1) * (g - mean)
            square += np.float32(0.001) * (g * g - square)
            p -= np.float32(rate) * mean / (np.sqrt(square) + np.float32(1e-8))
        return loss


def active(network, x):
    """The share of images for which each hidden unit is active, all layers after each other."""
    return np.concatenate([fr.activity(z).fraction for z in network.before(x)])


def dead(network, x):
    """The share of hidden units whose slope is as good as 0 for every image."""
    slopes = [network.activation.backward(np.ones_like(z), z) for z in network.before(x)]
    return np.mean(np.concatenate([slope.max(axis=0) < LOW for slope in slopes]))


def life(name, rate, epochs, x, labels):
    """The shares of dead and of silent units after each epoch, half of them at `rate`, and the accuracy."""
    network = Adam(SIZES, fr.ACTIVATIONS[name])
    shares = []
    for epoch in range(epochs + 1):
        if epoch:
            network.epoch(x, labels, rate if epoch <= epochs // 2 else LOW)
        shares.append((dead(network, x), np.mean(active(network, x) == 0)))
    return np.array(shares), network.accuracy(x, labels)


def main(arguments=None):
    """Print how many are active at first and dead at last; return the first, and `life` by name and rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.001, 0.01, 0.1, 0.3])
    parser.add_argument("--plot", metavar="FILE", help="draw the dead units by epoch")
    options = parser.parse_args(arguments)
    x, labels, *_ = load()
    x = x - x.mean(axis=0)
    fresh = np.mean([active(Network(SIZES, fr.relu, seed), x) for seed in range(10)])
    print(f"before training {fresh:.1%} of the hidden units are active for an image\n")
    print(f"{'':12} {'rate':>6} {'dead after it':>15} {f'at {LOW:g}':>9} {'silent':>8} {'right':>7}")
    found = {}
    for rate in options.rates:
        for name in ACTIVATIONS:
            shares, right = found[name, rate] = life(name, rate, options.epochs, x, labels)
            after, last = shares[options.epochs // 2, 0], shares[-1]
            print(f"{name:12} {rate:6g} {after:15.1%} {last[0]:9.1%} {last[1]:8.1%} {right:7.1%}")
    if options.plot:
        picture(found, options.rates, options.epochs).savefig(options.plot)
    return fresh, found


def picture(found, rates, epochs):
    """The share of dead units by epoch, for each rate."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.4 * len(rates), 2.6), layout="constrained")
    for axes, rate in zip(figure.subplots(1, len(rates), sharey=True, squeeze=False)[0], rates, strict=True):
        for name, line in zip(ACTIVATIONS, ("-", "--", ":"), strict=True):
            axes.plot(100 * found[name, rate][0][:, 0], line, label=name)
        axes.axvline(epochs // 2, color="0.7", linewidth=0.8)
        axes.set(title=f"rate {rate:g}, then {LOW:g}", xlabel="epoch")
    figure.axes[0].set_ylabel("dead units, %")
    figure.axes[0].legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
