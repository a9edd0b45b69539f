"""Which units of a network are active, and which are dead: `activity` and `ActivityMonitor`."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass

import numpy as np

from . import interop
from .arguments import is_extension
from .backends import cython
from .backward import three_lengths
from .device import activity as device_activity
from .reference import fused as reference_fused
from .reference.arithmetic import two_sum

__all__ = ["Activity", "ActivityMonitor", "activity"]


@dataclass(frozen=True, eq=False)
class Activity:
    """How often each unit was active.

    Attributes
    ----------
    fraction : ndarray
        The share of samples on which each unit is active: its output is positive, or NaN.
    dead : ndarray of bool
        The units that none of the samples activates.
    mean : ndarray
        The mean output of each unit.
    samples : int
        How many outputs of each unit were seen. Without any, `fraction` and `mean` are NaN, and no unit dead.
    """

    fraction: np.ndarray
    dead: np.ndarray
    mean: np.ndarray
    samples: int

    def __str__(self):
        if not self.samples or not np.size(self.fraction):
            return "no outputs"
        units, dead = np.size(self.fraction), np.count_nonzero(self.dead)
        return (
            f"{units} units, {np.mean(self.fraction):.1%} active, {dead} dead, mean {np.mean(self.mean):.4g}"
        )


class _Window:
    """Sums over samples, which add up exactly whatever the order in which they arrive."""

    def __init__(self, tallies, samples, shape):
        self.high, self.low, self.active = (row.reshape(shape) for row in tallies)
        self.samples = samples

    def __add__(self, other):
        made = object.__new__(_Window)
        with np.errstate(invalid="ignore"):
            made.high, low = two_sum(self.high, other.high)
            made.low = low + (self.low + other.low)
        made.active, made.samples = self.active + other.active, self.samples + other.samples
        return made

    @property
    def shape(self):
        return self.high.shape

    def result(self):
        total = reference_fused.settled(np.array([self.high, self.low]), np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            fraction, mean = self.active / self.samples, total / self.samples
        return Activity(fraction, (self.active == 0) & (self.samples > 0), mean, self.samples)


def _real(function, y):
    array = interop.to_numpy(function, "y", y) if interop.is_foreign(y) else np.asarray(y)
    if array.dtype.kind not in "biuf" and not is_extension(array.dtype):
        raise TypeError(f"{function}: argument 'y' is of dtype {array.dtype}; expected a real one")
    cython.meet_bfloat16()
    return array


def _axes(function, axis, ndim):
    """The axes of the samples, as positions."""
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if any(isinstance(a, bool) or not hasattr(a, "__index__") for a in axes):
        raise TypeError(f"{function}: argument 'axis' is {axis!r}; expected an integer, a tuple or None")
    return np.lib.array_utils.normalize_axis_tuple(axes, ndim, "axis")


def _on_device(function, y, axis, counted=lambda called, shape: device_activity.Tallies(called, shape)):
    """Count the outputs of an array on a device, which nothing waits for."""
    return device_activity.tally(function, y, lambda ndim: _axes(function, axis, ndim), counted)


def _read(tallies):
    """What was counted on a device."""
    return _Window(tallies.on_host(), tallies.samples, tallies.shape)


def _window(function, y, axis):
    """What the samples along `axis` of `y` add up to."""
    if device_activity.any_on_device(y):
        return _read(_on_device(function, y, axis))
    array = _real(function, y)
    axes = _axes(function, axis, array.ndim)
    shape = tuple(n for a, n in enumerate(array.shape) if a not in axes)
    kept = tuple(1 if a in axes else n for a, n in enumerate(array.shape))
    lengths, order = three_lengths(array.shape, kept)
    tallies = np.zeros((3, lengths[1]))
    samples = lengths[0] * lengths[2]
    ordered = array.transpose(order)
    native = array.dtype.char in "efd" or array.dtype.name == "bfloat16"
    if native and cython.ISA and array.size:
        plain = np.require(ordered, array.dtype.newbyteorder("="), ("C", "ALIGNED"))
        cython.ufuncs.fuse(-1, (plain, None, None, None), None, (), lengths, 1.0, None, tallies)
    elif array.size:
        wide = array.dtype if array.dtype.char in "dg" else np.dtype(np.float64)
        reference_fused.tally(ordered.astype(wide).reshape(lengths), tallies, 1)
    return _Window(tallies, samples, shape)


def activity(y, axis=0):
    """How often each unit is active, which units are dead, and their mean output, in one pass.

    Parameters
    ----------
    y : array_like
        Outputs of an activation (or its inputs: of a rectifier both are positive on the same samples); real.
        Those on a device are counted there; the result is on the host, which waits for it.
    axis : int, tuple of int or None, default 0
        The axes of the samples; the others are units. (0, 2, 3) for channels of images.

    Returns
    -------
    Activity
        With `fraction`, `dead`, `mean`, arrays of the shape of `y` without `axis`, and `samples`.

    Raises
    ------
    TypeError
        If `y` is not real, or `axis` not of integers.
    numpy.exceptions.AxisError
        If an axis does not exist.

    Notes
    -----
    A unit is active where y > 0, and where y is NaN, which is no reason to call it dead. Means are summed in
    double precision at least, and have the same bits for any number of threads.

    Examples
    --------
    >>> found = fr.activity([[0.0, 1.0], [0.0, 3.0], [0.0, 0.0]])
    >>> print(found.fraction, found.dead)
    [0.         0.66666667] [ True False]
    >>> print(found)
    2 units, 33.3% active, 1 dead, mean 0.6667
    """
    return _window("activity", y, axis).result()


class ActivityMonitor:
    """The activity of one layer over a training run, epoch by epoch.

    Show it outputs with `update`, or give it to `bias_act` as ``monitor=``, which counts on the way;
    `end_epoch` begins the next. Monitors of workers merge; they pickle. Arrays on a device are counted there,
    and nothing waits for it until somebody looks: at a result, the end of an epoch, a merge, a pickle. The
    calls that count on one device belong on one stream.

    Attributes
    ----------
    history : list of Activity
        Of the epochs that have ended.

    Examples
    --------
    >>> monitor = fr.ActivityMonitor()
    >>> x = np.array([[-1.0, 2.0], [-3.0, -4.0]])
    >>> y = fr.bias_act(x, [0.5, 1.0], fr.relu, monitor=monitor)
    >>> print(monitor.end_epoch())
    2 units, 25.0% active, 1 dead, mean 0.75
    """

    def __init__(self):
        self._ended, self._now = [], None
        self._there = {}  # what has been counted on devices since, by library and device

    def __getstate__(self):
        return {"_ended": self._ended, "_now": self._present(), "_there": {}}

    def __repr__(self):
        return f"<fastrelu.ActivityMonitor: {len(self._ended)} epochs; now {self.result()}>"

    @property
    def history(self):
        return [window.result() for window in self._ended]

    def update(self, y, axis=0):
        """Count the outputs `y` of a batch, whose samples lie along `axis`; see `activity`.

        Raises
        ------
        ValueError
            If there are other units than before.
        """
        function = "ActivityMonitor.update"
        if device_activity.any_on_device(y):
            _on_device(function, y, axis, self.counted_on_device)
        else:
            self._add(_window(function, y, axis), "update")

    def add_tallies(self, tallies, samples):
        """Count what was summed elsewhere: of each unit two parts of its sum, and how often it was active."""
        self._add(_Window(tallies, samples, (len(tallies[0]),)), "add_tallies")

    def counted_on_device(self, called, shape):
        """The `Tallies` for units of a shape where the arrays of a call are."""
        self._check(shape, "update")
        where = called.library.package, called.lead.device
        return self._there.get(where) or self._there.setdefault(where, device_activity.Tallies(called, shape))

    def _present(self):
        """What the present epoch has seen so far, wherever, or None."""
        found = [] if self._now is None else [self._now]
        found += map(_read, self._there.values())
        return functools.reduce(operator.add, found) if found else None

    @property
    def _units(self):
        """The shape of the units seen so far, or None."""
        before = [*self._ended[-1:], *self._there.values(), *([] if self._now is None else [self._now])]
        return before[-1].shape if before else None

    def _add(self, window, method):
        self._check(window.shape, method)
        self._now = window if self._now is None else self._now + window

    def _check(self, shape, method):
        if self._units not in (None, shape):
            raise ValueError(
                f"ActivityMonitor.{method}: got units of shape {shape}; expected {self._units}, as before"
            )

    def result(self):
        """The `Activity` of the present epoch so far."""
        empty = _Window(np.zeros((3, 0)), 0, (0,))
        return (self._present() or empty).result()

    def end_epoch(self):
        """Begin the next epoch; returns the `Activity` of the one that ends."""
        present = self._present()
        found = self.result() if present is None else present.result()
        if present is not None:
            self._ended.append(present)
        self._now, self._there = None, {}
        return found

    def merge(self, other):
        """Add what another monitor of the same layer has seen, epoch by epoch, as if this one had.

        Raises
        ------
        TypeError
            If `other` is no monitor.
        ValueError
            If it has other units.
        """
        if not isinstance(other, ActivityMonitor):
            raise TypeError(
                f"ActivityMonitor.merge: argument 'other' is a {type(other).__name__}; expected an "
                "ActivityMonitor"
            )
        if other._units is not None:
            self._check(other._units, "merge")
        for i, window in enumerate(other._ended):
            self._ended[i : i + 1] = [self._ended[i] + window if i < len(self._ended) else window]
        present = other._present()
        if present is not None:
            self._add(present, "merge")

    def plot(self, axes=None):
        """Draw the active share of the units, its spread, and the dead ones, by epoch.

        Parameters
        ----------
        axes : matplotlib.axes.Axes, optional
            Where; by default new ones.

        Returns
        -------
        matplotlib.axes.Axes
        """
        import matplotlib.pyplot as plt

        if axes is None:
            _, axes = plt.subplots()
        history = self.history
        epochs = np.arange(1, len(history) + 1)
        shares = [np.ravel(found.fraction) for found in history]
        low, middle, high = (np.array([np.quantile(s, q) for s in shares]) for q in (0.1, 0.5, 0.9))
        dead = [np.mean(found.dead) for found in history]
        axes.fill_between(epochs, low, high, alpha=0.25, linewidth=0, label="10 to 90 % of the units")
        axes.plot(epochs, middle, label="median unit", clip_on=False)
        axes.plot(epochs, dead, color="black", linestyle="--", label="dead units", clip_on=False)
        axes.set(xlabel="epoch", ylabel="share of samples active; of units dead", ylim=(0, 1))
        # below, for curves go anywhere
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
        return axes
