"""The pictures and the tables of docs/rectifier.md, computed with fastrelu.

    python docs/rectifier.py --write                # docs/rectifier.md and docs/rectifier/*.svg
    python docs/rectifier.py --epochs 2             # print the tables, quickly

What can be said in a line of code stands in the page itself, which the tests run; here is what needs a
picture, a network or a clock.  Networks read scikit-learn's digits; about a minute on one core.
"""

import argparse
import sys
import timeit
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import fastrelu as fr
from fastrelu.cli.plot import COLOURS, GREY, STYLE

DOCS = Path(__file__).resolve().parent
for folder in ("examples", "bench"):
    sys.path.insert(0, str(DOCS.parent / folder))

import digits  # noqa: E402
import dying_units  # noqa: E402
from speed import put_between, table  # noqa: E402

SMALL = STYLE | {"path.simplify_threshold": 0.4}  # of a pixel, and of the size of the files
PAGE, PICTURES = DOCS / "rectifier.md", DOCS / "rectifier"
X = np.linspace(-6, 6, 241)
DEPTHS = 1, 2, 4, 8, 16
TIMED = "relu", "leaky_relu", "prelu", "elu", "gelu", "softplus", "sigmoid", "tanh"


def picture(columns, **options):
    """A figure, and its axes side by side."""
    figure = Figure(figsize=(3.4 * columns, 2.7), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False, **options)[0]


def lines(axes, x, curves, title="", **options):
    """Curves by name, each in a colour."""
    for colour, (name, y) in zip(COLOURS, curves.items(), strict=False):
        axes.plot(x, y, color=colour, label=name, **options)
    axes.set_title(title)
    axes.legend(frameon=False, fontsize=8)


# Formulas


def near_zero():
    """Rectifier and softplus; softplus and its derivative for growing beta."""
    figure, (plain, sharp, slopes) = picture(3)
    lines(plain, X, {"relu": fr.relu(X), "softplus": fr.softplus(X)}, "f(x)")
    betas = 1, 2, 5, 20
    near = np.linspace(-2, 2, 161)
    curves = {f"β = {b}": fr.softplus(near, b) for b in betas}
    lines(sharp, near, curves, "softplus: log(1 + exp(βx)) / β")
    sharp.plot(near, fr.relu(near), color="black", linewidth=1, label="relu")
    lines(slopes, near, {f"β = {b}": fr.sigmoid(b * near) for b in betas}, "its derivative: sigmoid(βx)")
    ends = np.array([-2, 0, 1e-9, 2])
    slopes.plot(ends, fr.heaviside(ends), color="black", linewidth=1, label="heaviside")
    for axes in (sharp, slopes):
        axes.legend(frameon=False, fontsize=8)
    return figure


def family():
    """The rectifiers, and a noisy one."""
    figure, (straight, smooth, noisy) = picture(3, sharey=True)
    x = X[40:201]
    names = {"relu": fr.relu(x), "leaky, a = 0.2": fr.leaky_relu(x, 0.2), "prelu, a = 0.6": fr.prelu(x, 0.6)}
    lines(straight, x, names, "straight pieces")
    lines(smooth, x, {"elu": fr.elu(x), "gelu": fr.gelu(x), "softplus": fr.softplus(x)}, "smooth")
    z = np.linspace(-4, 4, 150)
    noisy.plot(x, fr.relu(x), color=COLOURS[0], label="relu")
    draws = fr.noisy_relu(z, training=True, key=fr.noise_key(0))
    noisy.plot(z, draws, ".", markersize=2.5, color=COLOURS[1], label="max(0, x + Y)")
    noisy.set_title("noisy, Y ~ N(0, sigmoid(x))")
    noisy.legend(frameon=False, fontsize=8)
    return figure


def stepped_units():
    """Sums of stepped sigmoid units beside softplus, and how far the infinite one is away."""
    figure, (sums, errors) = picture(2)
    curves = {f"{n} unit{'s' * (n > 1)}": fr.stepped_sigmoid(X, n) for n in (1, 2, 4, 8)}
    lines(sums, X, curves, "sums of stepped sigmoid units")
    sums.plot(X, fr.softplus(X), "--", color="black", linewidth=1, label="softplus")
    sums.legend(frameon=False, fontsize=8)
    errors.plot(X, fr.stepped_sigmoid(X) - fr.softplus(X), color=COLOURS[0])
    errors.set_title("all of them − softplus")
    return figure


def surfaces():
    """max(0, x, y) and its smooth form, with the gradient of that."""
    figure, axes = picture(3)
    side = np.linspace(-4, 4, 81)  # levels lie on the grid, so that corners are corners
    points = np.stack(np.meshgrid(side, side), axis=-1)
    levels = np.arange(0, 4.5, 0.5)
    for ax, values, title in (
        (axes[0], points.max(axis=-1).clip(min=0), "max(0, x, y)"),
        (axes[1], fr.logsumexp0(points, axis=-1), "log(1 + exp x + exp y)"),
    ):
        ax.contour(side, side, values, levels, colors=COLOURS[0], linewidths=1)
        ax.set(title=title, xlabel="x", ylabel="y", aspect="equal")
    few = points[::8, ::8]
    arrows = fr.softmax0(few, axis=-1)
    lengths = {"angles": "xy", "scale_units": "xy", "scale": 1.4, "width": 0.008}
    axes[2].quiver(*np.moveaxis(few, -1, 0), *np.moveaxis(arrows, -1, 0), color=COLOURS[1], **lengths)
    axes[2].set(title="its gradient, softmax0", xlabel="x", ylabel="y", aspect="equal")
    axes[2].set(xlim=(-4.6, 5), ylim=(-4.6, 5), xticks=range(-4, 5, 2), yticks=range(-4, 5, 2))
    return figure


# Networks


def deep(depth, activation, units=64, seed=0):
    """A network of so many hidden layers, its weights by Glorot for sigmoids and by He for rectifiers."""
    gain = 2.0 if activation is fr.relu else 1.0
    return digits.Network([64, *[units] * depth, 10], activation, seed, gain)


def linear_or_not():
    """What random layers make of a line: without an activation a line, with relu pieces."""
    figure, axes = picture(2, sharex=True)
    rng, t = np.random.default_rng(1), np.linspace(-3, 3, 241)
    for ax, title, act in ((axes[0], "no activation", lambda x: x), (axes[1], "relu", fr.relu)):
        for depth, colour in zip((1, 2, 4), COLOURS, strict=False):
            x = t[:, None]
            for m, n in zip([1, *[16] * depth], [*[16] * depth, 1], strict=True):
                z = x @ rng.normal(0, (2 / m) ** 0.5, (m, n)) + rng.normal(0, 0.5, n)
                x = act(z) if n > 1 else z
            ax.plot(t, x[:, 0], color=colour, label=f"{depth} hidden layer{'s' * (depth > 1)}")
        ax.set_title(title)
        ax.legend(frameon=False, fontsize=8)
    return figure


def vanishing(x, labels):
    """The size of the first layer's gradient over the last one's, by depth and activation."""
    found = {}
    for name in ("sigmoid", "tanh", "relu"):
        ratios = []
        for depth in DEPTHS:
            norms = []
            for seed in range(3):
                made = deep(depth, fr.ACTIVATIONS[name], seed=seed).gradients(x, labels)[1]
                norms.append(np.linalg.norm(made[-1][0]) / np.linalg.norm(made[0][0]))
            ratios.append(np.exp(np.mean(np.log(norms))))
        found[name] = np.array(ratios)
    return found


def at_initialisation(x, depth=4):
    """For some activations: the share of active units, of zeros, and the mean output, of random networks."""
    found = {}
    for name in ("relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid"):
        shares = []
        for seed in range(5):
            network = digits.Network([64, *[64] * depth, 10], fr.ACTIVATIONS[name], seed)
            z = np.stack(network.before(x))
            y = network.activation(z)
            shares.append(((z > 0).mean(), (y == 0).mean(), y.mean()))
        found[name] = np.mean(shares, axis=0)
    return found


def training(data, epochs, depth=8):
    """The share of digits read right by networks of 8 layers, after so many epochs."""
    x, labels, x_test, labels_test = data
    found = {}
    for name, rate in (("sigmoid", 0.5), ("tanh", 0.05), ("relu", 0.05)):
        network = deep(depth, fr.ACTIVATIONS[name])
        for _ in range(epochs):
            network.epoch(x, labels, rate)
        found[name] = network.accuracy(x_test, labels_test)
    return found


def times(n=20_000):
    """Nanoseconds an element, forward and backward, one thread, float32, in cache."""
    x = np.random.default_rng(0).normal(size=n).astype(np.float32)
    out, found, before = np.empty_like(x), {}, fr.get_num_threads()
    fr.set_num_threads(1)
    for name in TIMED:
        more = ", wrt='x'"
        slope = ", weight=0.25" if name == "prelu" else ""
        calls = f"f(x{slope}, out=out)", f"f.backward(x, x{slope and slope + more}, out=out)"
        names = {"f": fr.ACTIVATIONS[name], "x": x, "out": out}
        found[name] = [
            min(timeit.repeat(c, globals=names, number=20, repeat=30)) / 20 / n * 1e9 for c in calls
        ]
    fr.set_num_threads(before)
    return found


# The page


def percent(share):
    return f"{100 * share:.1f} %"


def main(arguments=None):
    """Compute everything; print the tables, or write them and the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=20, help="of the networks that are trained")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.001, 0.01, 0.1, 0.3])
    parser.add_argument("--write", action="store_true", help="write the page's tables and the pictures")
    options = parser.parse_args(arguments)
    data = digits.load()
    x, labels = data[0] - data[0].mean(axis=0), data[1]
    gradients, fresh, costs = vanishing(x, labels), at_initialisation(x), times()
    trained = training((x, labels, data[2] - data[0].mean(axis=0), data[3]), options.epochs)
    lives = {
        (name, rate): dying_units.life(name, rate, options.epochs, x, labels)
        for rate in options.rates
        for name in dying_units.ACTIVATIONS
    }
    tables = {
        "start": table(
            ["activation", "active", "exactly 0", "mean output"],
            [[name, percent(a), percent(zero), f"{mean:+.3f}"] for name, (a, zero, mean) in fresh.items()],
        ),
        "gradients": table(
            ["hidden layers", *map(str, DEPTHS), "right after training, 8 layers"],
            [
                [name, *(f"{r:.1e}" if r < 0.01 else f"{r:.2f}" for r in ratios), percent(trained[name])]
                for name, ratios in gradients.items()
            ],
        ),
        "dead": table(
            ["rate", *(f"{name}: dead, right" for name in dying_units.ACTIVATIONS)],
            [
                [f"{rate:g}"]
                + [
                    f"{percent(lives[name, rate][0][-1, 0])}, {percent(lives[name, rate][1])}"
                    for name in dying_units.ACTIVATIONS
                ]
                for rate in options.rates
            ],
        ),
        "times": table(
            ["ns an element", *TIMED],
            [
                [pass_, *(f"{costs[n][i]:.2f}" for n in TIMED)]
                for i, pass_ in enumerate(("forward", "backward"))
            ],
        ),
    }
    if not options.write:
        print("\n\n".join(tables.values()))
        return tables
    for name, made in tables.items():
        put_between((f"<!-- {name} -->", f"<!-- end of {name} -->"), made + "\n", PAGE)
    draw(gradients, lambda: dying_units.picture(lives, options.rates, options.epochs))
    return tables


def draw(gradients, dying):
    """Write the pictures, of which two show what training has found."""
    PICTURES.mkdir(exist_ok=True)
    with matplotlib.rc_context(SMALL):
        made = {f.__name__: f() for f in (near_zero, family, stepped_units, surfaces, linear_or_not)}
        made["vanishing"], (axes,) = picture(1)
        lines(axes, DEPTHS, gradients, "gradient, first layer over last", marker=".")
        axes.set(xscale="log", yscale="log", xlabel="hidden layers", xticks=DEPTHS, xticklabels=DEPTHS)
        axes.minorticks_off()
        axes.axhline(1, color=GREY, linewidth=0.8)
        made["dying"] = dying()
        for name, figure in made.items():
            figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
