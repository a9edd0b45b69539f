"""``fastrelu plot``: activations (solid) and their derivatives (dashed) as PNG or SVG."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from . import options as types

__all__ = ["add_parser", "curve", "figure", "run"]

POINTS = 2001
# What still changes by so much, relative to its value or to 1, after its interval was halved so often is a
# jump: a continuous function has no change left.
HALVINGS, JUMP = 60, 1e-6
# Okabe & Ito's colours, which colour-blind readers can tell apart, without their yellow, too pale for a line
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GREY = "#666666"
DASHES = (0, (3.2, 1.6))
STYLE = {
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "fastrelu",  # the same picture is the same file
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def _image(text):
    path = Path(text)
    if path.suffix.lower() not in (".png", ".svg"):
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a file name that ends in .png or .svg")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"got {text!r}; there is no directory {str(path.parent)!r}")
    return path


def add_parser(subparsers):
    """Add ``plot`` to the command line."""
    parser = subparsers.add_parser(
        "plot",
        help="draw activations and their derivatives",
        description="Draw activations (solid) and their derivatives (dashed): named ones in one picture, "
        "otherwise all of them side by side.",
    )
    parser.add_argument(
        "activations",
        nargs="*",
        type=types.activation,
        metavar="ACTIVATION",
        help="default: all; package.module:name for your own",
    )
    parser.add_argument(
        "--output",
        type=_image,
        default="activations.png",
        metavar="FILE",
        help="a .png or .svg; default activations.png",
    )
    parser.add_argument(
        "--range",
        type=float,
        nargs=2,
        default=(-4.0, 4.0),
        metavar=("LO", "HI"),
        help="of x; default -4 4",
    )
    parser.add_argument(
        "--derivatives", action=argparse.BooleanOptionalAction, default=True, help="draw f' too; the default"
    )
    parser.set_defaults(parser=parser)


def run(options):
    """Draw the picture and say where it is."""
    import matplotlib

    low, high = options.range
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        options.parser.error(f"argument --range: got {low:g} {high:g}; expected two numbers, the lower first")
    with matplotlib.rc_context(STYLE):
        made = figure(options.activations, low, high, options.derivatives)
        date = {"Date": None} if options.output.suffix.lower() == ".svg" else {}
        made.savefig(options.output, dpi=150, metadata=date)
    print(f"wrote {options.output}")
    return 0


def _passes(function):
    """f and f′ as functions of x alone, with the parameters' defaults or typical values."""
    row = function.row
    given = {p.name: p.typical[0] for p in row.parameters if p.default is None}
    return (
        lambda x: function(x, **given),
        lambda x: function.backward(np.ones_like(x), x, wrt="x", **given),
        ", ".join(f"{name} = {value:g}" for name, value in given.items()),
    )


def curve(function, low, high):
    """Points of the graph of `function`, with a gap (a NaN) wherever it jumps."""
    x = np.linspace(low, high, POINTS)
    left, right = x[:-1], x[1:]
    with np.errstate(invalid="ignore"):  # differences of infinities
        for _ in range(HALVINGS):  # every interval, towards its larger change
            middle = left + (right - left) / 2
            at_left, at_middle, at_right = function(left), function(middle), function(right)
            to_left = np.abs(at_middle - at_left) >= np.abs(at_right - at_middle)
            left, right = np.where(to_left, left, middle), np.where(to_left, middle, right)
        before, after = function(left), function(right)
        jumps = np.flatnonzero(np.abs(after - before) > JUMP * np.maximum(1, np.abs(before)))
    ends = np.stack([left, left, right], axis=1)[jumps]
    values = np.stack([before, np.full_like(before, np.nan), after], axis=1)[jumps]
    at = np.repeat(jumps + 1, 3)
    return np.insert(x, at, ends.ravel()), np.insert(function(x), at, values.ravel())


def figure(activations, low, high, derivatives=True):
    """A matplotlib Figure of the activations given, in one plot; of all, a small plot each, if none is."""
    if not activations:
        return _small_multiples(types.unique_activations(), low, high, derivatives)
    from matplotlib.figure import Figure

    made = Figure(figsize=(7.5, 5), layout="constrained")
    axes = made.add_subplot()
    activations = list(dict.fromkeys(activations))
    for number, function in enumerate(activations):
        colour = COLOURS[number % len(COLOURS)]
        # where curves coincide, as rectifiers do, the earlier ones show as a border of the last
        width = 1.8 + 0.6 * min(3, len(activations) - 1 - number)
        _draw(axes, function, low, high, derivatives, color=colour, linewidth=width, label=_title(function))
    axes.set(xlabel="x", xlim=(low, high))
    _legend(made, axes, derivatives)
    return made


def _small_multiples(activations, low, high, derivatives):
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = min(4, len(activations))
    rows = -(-len(activations) // columns)
    made = Figure(figsize=(2.6 * columns, 2.3 * rows + 0.4), layout="constrained")
    grid = made.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, function in zip(grid, activations, strict=False):
        _draw(axes, function, low, high, derivatives, color=COLOURS[0])
        axes.set_title(_title(function), fontsize=10)
    grid[0].set_xlim(low, high)
    # labels at the ends would meet those of the next plot
    grid[0].xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    for axes in grid[len(activations) :]:
        axes.set_visible(False)
    for axes in grid[len(activations) - columns : len(activations)]:  # the lowest plot of each column
        axes.tick_params(labelbottom=True)
    _legend(made, None, derivatives)
    return made


def _title(function):
    given = _passes(function)[2]
    return function.row.qualname + (f" ({given})" if given else "")


def _draw(axes, function, low, high, derivatives, **style):
    f, slope, _ = _passes(function)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    if low < 0 < high:
        axes.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    axes.plot(*curve(f, low, high), **style)
    if derivatives:
        axes.plot(*curve(slope, low, high), **style | {"linestyle": DASHES, "label": None})


def _legend(made, axes, derivatives):
    """Names by colour and passes by line style, outside of the axes, where they cover nothing."""
    from matplotlib.lines import Line2D

    handles = axes.get_legend_handles_labels()[0] if axes else []
    if derivatives:
        handles += [
            Line2D([], [], color=GREY, label="f(x)"),
            Line2D([], [], color=GREY, linestyle=DASHES, label="f\N{PRIME}(x)"),
        ]
    if handles:
        place = {"loc": "outside right upper"} if axes else {"loc": "outside upper right", "ncols": 2}
        made.legend(handles=handles, frameon=False, **place)
