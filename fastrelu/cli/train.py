"""``fastrelu train``: a small network learns to read handwritten digits.

The matrix products and the optimiser are plain NumPy (``network.py``); biases, activations, softmax
cross-entropy and their backward passes are fastrelu's.  With ``--compare``, its single calls instead of the
fused ones, plain NumPy expressions and torch train the same network beside it, an epoch each in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import sys
import time
from statistics import median

import numpy as np

import fastrelu as fr

from . import options as types
from .network import Fastrelu, Network, Unfused, trains

__all__ = ["add_parser", "run"]

MOMENTUM = 0.9
SPLIT_SEED, TRAINING_SHARE = 0, 0.8
DEFAULTS = {"activation": "relu", "hidden": "512,256", "batch": 64, "learning_rate": 0.05}
# Few multiply-adds for each activation: bottlenecks, and batches big enough to forget the cost of a call.
WIDE = {"activation": "gelu", "hidden": "512,16,512", "batch": 256, "learning_rate": 0.02}

# How far the losses of two programs may differ, relative to the loss, because float32 rounds.  Over six
# seeds and ten activations, NumPy and torch were at most 1.4e-7 away in the first epoch (4e-5 where a knot
# of prelu was met from both sides), and at the end 1.2e-3, or with --wide 3.6e-2: training amplifies.
FIRST_TOLERANCE, LAST_TOLERANCE = 1e-4, 5e-2

EPILOG = """\
A unit is active on a scan if what goes into its activation is positive, and dead if that is so on none of
the training scans; on a terminal the bar shows both after every epoch.  Time per epoch is the median, the
first epoch left out; the share of a step spent in biases, activations and softmax is measured in three
further epochs, which are then undone.  "kept": what a step keeps of a batch between its two passes, inputs
and parameters aside.
"""


def _hidden(text):
    parse = types.whole(1)
    return tuple(parse(part) for part in text.split(","))


def add_parser(subparsers):
    """Add ``train`` to the command line."""
    parser = subparsers.add_parser(
        "train",
        help="train a small network on handwritten digits",
        description="Train a multilayer perceptron in NumPy, with fastrelu's activation and softmax,\non the "
        "1,797 handwritten digits of scikit-learn.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = {name: f"default {value}, with --wide {WIDE[name]}" for name, value in DEFAULTS.items()}
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--activation", type=types.activation, metavar="NAME", help=default["activation"])
    scope.add_argument("--all", action="store_true", help="every activation in turn, one line each")
    parser.add_argument(
        "--compare",
        action="store_true",
        help="train with single calls, with plain NumPy and, if installed, with torch as well",
    )
    parser.add_argument(
        "--wide", action="store_true", help="a network that spends much of its time in activations"
    )
    parser.add_argument(
        "--picture", metavar="FILE", help="draw how many units are active, and dead, epoch by epoch"
    )
    parser.add_argument("--hidden", type=_hidden, metavar="N,N", help=f"units; {default['hidden']}")
    parser.add_argument("--epochs", type=types.whole(1), default=30, metavar="N", help="default 30")
    parser.add_argument("--batch", type=types.whole(1), metavar="N", help=f"rows; {default['batch']}")
    parser.add_argument("--learning-rate", type=types.positive, metavar="RATE", help=default["learning_rate"])
    parser.add_argument("--backend", type=types.backend, metavar="NAME", help="of fastrelu")
    parser.add_argument(
        "--threads",
        type=types.whole(1),
        default=1,
        metavar="N",
        help="of everyone, the matrix products included; default 1, the fastest at these sizes",
    )
    parser.add_argument(
        "--seed", type=types.whole(0), default=0, metavar="N", help="of weights and batches; default 0"
    )
    parser.set_defaults(parser=parser)


class _Contender:
    """Someone who trains the network: the loss and the seconds of each epoch."""

    def __init__(self, trainer, label):
        self.trainer, self.label = trainer, label
        self.losses, self.seconds = [], []

    def epoch(self, batches):
        start = time.perf_counter()
        loss = self.trainer.epoch(batches)
        self.seconds.append(time.perf_counter() - start)
        self.losses.append(loss)

    def finish(self, digits, batches):
        """Take stock: loss on the training scans, accuracy on the test scans, share of the operations."""
        self.loss, _ = self.trainer.evaluate(*digits.training)
        _, self.accuracy = self.trainer.evaluate(*digits.test)
        of_ours = hasattr(self.trainer, "share")
        self.share = self.trainer.share(batches) if of_ours else None
        self.kept = self.trainer.kept(len(batches[0][0])) if of_ours else self.trainer.kept(*batches[0])

    @property
    def milliseconds(self):
        return 1e3 * median(self.seconds[1:] or self.seconds)


class _Digits:
    """The scans, pixels 0 to 1, split by a fixed seed."""

    def __init__(self):
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(SPLIT_SEED).permutation(len(pixels))
        x, labels = (pixels[order] / 16).astype(np.float32), labels[order].astype(np.int64)
        cut = round(TRAINING_SHARE * len(x))
        self.training, self.test = (x[:cut], labels[:cut]), (x[cut:], labels[cut:])

    def batches(self, rng, rows):
        x, labels = self.training
        order = rng.permutation(len(x))
        x, labels = x[order], labels[order]
        return [(x[at : at + rows], labels[at : at + rows]) for at in range(0, len(x), rows)]


def run(options):
    """Train, print what came of it, and return the exit code."""
    from rich.console import Console
    from threadpoolctl import threadpool_limits

    for name, value in (WIDE if options.wide else DEFAULTS).items():
        if getattr(options, name) is None:
            parse = {"activation": types.activation, "hidden": _hidden}.get(name, type(value))
            setattr(options, name, parse(value))
    if not trains(options.activation):
        options.parser.error(
            f"argument --activation: {options.activation.row.qualname} cannot be trained with: its "
            "derivative is 0 everywhere, so nothing below it would learn, or it is not defined everywhere"
        )
    width = None if sys.stdout.isatty() else 110  # a pipe has none
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    with _settings(options), threadpool_limits(options.threads), np.errstate(all="ignore"):
        digits = _Digits()
        _head(console, options, digits)
        return (_every if options.all else _one)(console, options, digits)


@contextlib.contextmanager
def _settings(options):
    threads, backend = fr.get_num_threads(), fr.show_config(mode="dicts")["settings"]["backend"]
    fr.set_num_threads(options.threads)
    fr.set_backend(options.backend or backend)
    try:
        yield
    finally:
        fr.set_num_threads(threads)
        fr.set_backend(backend)


def _sizes(options, digits):
    return (digits.training[0].shape[1], *options.hidden, 10)


def _head(console, options, digits):
    settings = fr.show_config(mode="dicts")["settings"]
    sizes = "-".join(map(str, _sizes(options, digits)))
    function = "" if options.all else f"{options.activation.row.qualname}, "
    console.print(
        f"digits: {len(digits.training[0]):,} scans to train on, {len(digits.test[0])} to test\n"
        f"network {sizes}, {function}batches of {options.batch}, {options.epochs} epochs, "
        f"learning rate {options.learning_rate:g}, seed {options.seed}\n"
        f"backend {settings['backend']} ({fr.backends()[settings['backend']].detail}), "
        f"{settings['threads']} thread{'s' * (settings['threads'] > 1)}, float32\n",
        soft_wrap=True,
    )


def _contenders(options, digits, activation, single_calls):
    """Fastrelu first; then, with --compare, whoever else can, and why the others cannot."""

    def network(operations):
        return Network(
            _sizes(options, digits), operations, options.batch, options.learning_rate, MOMENTUM, options.seed
        )

    ours = network(Fastrelu(activation))
    made, notes = [_Contender(ours, Fastrelu.label)], []
    if options.compare:
        from .plain import PlainNumPy

        if single_calls:
            made.append(_Contender(network(Unfused(activation)), Unfused.label))
        try:
            made.append(_Contender(network(PlainNumPy(activation)), PlainNumPy.label))
        except LookupError as missing:
            notes.append(str(missing.args[0]))
        try:
            from .torch_twin import TorchTwin

            made.append(_Contender(TorchTwin(ours, activation, options.threads), TorchTwin.label))
        except ModuleNotFoundError as missing:
            if missing.name != "torch":
                raise
            notes.append("torch is not installed")
        except LookupError as missing:
            notes.append(str(missing.args[0]))
    return made, notes


def _train(console, options, digits, contenders, name, monitors):
    """Train everyone on the same batches; whether the losses stayed finite.

    After every epoch `monitors` watch our network where that is looked at.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn(name), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}")
    rng = np.random.default_rng([options.seed, 1])
    for contender in contenders:
        contender.trainer.evaluate(*digits.test)  # warm up
    # refreshed by hand between epochs: a thread that redraws would disturb the clock
    redrawn = {"console": console, "auto_refresh": False, "transient": True}
    with Progress(*columns, **redrawn, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=options.epochs, state="")
        for epoch in range(options.epochs):
            batches = digits.batches(rng, options.batch)
            for turn in range(len(contenders)):
                contenders[(epoch + turn) % len(contenders)].epoch(batches)
            state = f"loss {contenders[0].losses[-1]:.4f}"
            if console.is_terminal or options.picture:
                found = contenders[0].trainer.watch(digits.training[0], monitors)
                state += f", {_active(found):.0%} active, {_dead(found)} dead"
            bar.update(task, advance=1, state=state, refresh=True)
            if not all(math.isfinite(contender.losses[-1]) for contender in contenders):
                return False
    for contender in contenders:
        contender.finish(digits, batches)
    return True


def _active(found):
    """The mean share of scans on which a unit is active, over all hidden layers."""
    return np.concatenate([layer.fraction for layer in found]).mean()


def _dead(found):
    return sum(np.count_nonzero(layer.dead) for layer in found)


def _draw(monitors, path):
    """A picture of what the monitors saw, a layer beside the other."""
    import matplotlib
    import matplotlib.pyplot as plt

    from .plot import STYLE

    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(monitors), figsize=(5.4 * len(monitors), 4), squeeze=False)
        for number, (monitor, place) in enumerate(zip(monitors, axes[0], strict=True), 1):
            monitor.plot(place).set_title(f"hidden layer {number}")
        figure.tight_layout()
        figure.savefig(path)
    plt.close(figure)


def _diverged():
    print("the loss is no longer finite: training diverged; try a smaller --learning-rate", file=sys.stderr)
    return 1


def _one(console, options, digits):
    """One activation, with everything there is to say about it; the exit code."""
    contenders, notes = _contenders(options, digits, options.activation, True)
    ours = contenders[0]
    monitors = ours.trainer.monitors()
    if not _train(console, options, digits, contenders, "training", monitors):
        return _diverged()
    if options.picture:
        _draw(monitors, options.picture)
    console.print(f"test accuracy   {ours.accuracy:.3f}")
    console.print(f"training loss   {ours.loss:.6f}")
    console.print(f"time per epoch  {ours.milliseconds:.1f} ms\n")

    table = _table("layer", "units", "active", "dead")
    for number, found in enumerate(ours.trainer.watch(digits.training[0], ours.trainer.monitors()), 1):
        units = str(found.fraction.size)
        table.add_row(str(number), units, f"{found.fraction.mean():.1%}", str(found.dead.sum()))
    console.print(table)
    sizes = _sizes(options, digits)
    fed = sum(m * n for m, n in itertools.pairwise(sizes)) / sum(options.hidden)
    console.print(
        f"\nactivations and softmax take {ours.share:.1%} of a step, biases included:\n"
        f"{fed:.0f} multiply-adds feed each activation "
        f"(networks in use: hundreds to thousands{'' if options.wide else '; --wide: fewer'})\n",
        soft_wrap=True,
    )
    if not options.compare:
        return 0

    table = _table("", "ms per epoch", "ratio", "activations, softmax", "kept", "training loss", "accuracy")
    for c in contenders:
        spent = "-" if c.share is None else f"{c.share * c.milliseconds:.2f} ms {c.share:4.0%}"
        ratio = f"{c.milliseconds / ours.milliseconds:.2f}"
        kept = f"{c.kept / 1024:.0f} KiB"
        numbers = f"{c.loss:.6f}", f"{c.accuracy:.3f}"
        table.add_row(c.label, f"{c.milliseconds:.2f}", ratio, spent, kept, *numbers)
    console.print(table)
    for note in notes:
        console.print(f"not compared: {note}")
    first, last = _differences(contenders)
    return _verdict(console, first, last)


def _table(*columns):
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _differences(contenders):
    """The largest relative difference from our loss: of the first epoch, and at the end."""
    first, last = [c.losses[0] for c in contenders], [c.loss for c in contenders]
    return tuple(
        max((abs(loss / ours - 1) for loss in others), default=0.0) for ours, *others in (first, last)
    )


def _verdict(console, first, last):
    """Whether everyone's losses agree, as an exit code."""
    agree = first <= FIRST_TOLERANCE and last <= LAST_TOLERANCE
    console.print(
        f"losses {'agree' if agree else 'DIFFER'}: by at most {first:.0e} of the loss in the first epoch "
        f"(allowed: {FIRST_TOLERANCE:.0e})\nand {last:.0e} at the end (allowed: {LAST_TOLERANCE:.0e}: "
        "training amplifies roundings of float32)",
        soft_wrap=True,
    )
    return 0 if agree else 1


def _every(console, options, digits):
    """One line for each activation; the exit code."""
    lines, rivals, differences, failed = [], {}, [(0.0, 0.0)], False
    for function in types.unique_activations():
        if not trains(function):
            continue
        contenders, _ = _contenders(options, digits, function, False)
        name, ours = function.row.qualname, contenders[0]
        monitors = ours.trainer.monitors()
        if not _train(console, options, digits, contenders, name, monitors):
            lines.append(([name, "diverged"], {}))
            failed = True
            continue
        activity = ours.trainer.watch(digits.training[0], monitors)
        differences.append(_differences(contenders))
        ratios = {c.label: f"{c.milliseconds / ours.milliseconds:.2f}" for c in contenders[1:]}
        rivals |= ratios
        cells = [
            name,
            f"{ours.accuracy:.3f}",
            f"{ours.loss:.5f}",
            f"{ours.milliseconds:.1f}",
            f"{ours.share:.0%}",
            f"{_active(activity):.0%}",
            str(_dead(activity)),
        ]
        lines.append((cells, ratios))
    table = _table(
        "",
        "accuracy",
        "loss",
        "ms per epoch",
        "share",
        "active",
        "dead",
        *(f"{r} ratio" for r in rivals),
    )
    for cells, ratios in lines:
        table.add_row(*cells, *(ratios.get(label, "-") for label in rivals) if ratios else ())
    console.print(table)
    console.print(
        "share: of a step, spent in activations and softmax; dead: units that no training scan activates"
    )
    if failed:
        _diverged()
    agree = not options.compare or _verdict(console, *map(max, zip(*differences, strict=True))) == 0
    return 0 if agree and not failed else 1
