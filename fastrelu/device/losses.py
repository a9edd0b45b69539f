"""cross_entropy and its gradient on device arrays.

What the host can see is checked before anything is launched.  Labels, probabilities and weights lie on the
device, where nothing is read or written by one that is wrong and its row becomes NaN.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np

from .. import control, rowwise
from ..reference.rows import Rows as HostRows
from ..targets import Targets
from .arrays import INTEGERS, SIZES, View, c_strides, dtype_name, is_on_device
from .calls import any_on_device, launching, target_of
from .layout import broadcast
from .reductions import Rows, called_by

__all__ = ["any_on_device", "cross_entropy"]

REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(name, wants, fixed, dy, logits, labels, given, out):
    """`cross_entropy`, its gradient (not `fixed`: with a `dy`), or both, by what it `wants`."""
    axis, weight, reduction, smoothing, ignore_index = given
    called = called_by(name, "logits", logits, labels=labels, dy=dy, weight=weight, out=out)
    _check_options(name, axis, reduction, smoothing, ignore_index)
    call = _Call(called, axis, labels, weight, reduction, smoothing, ignore_index)
    loss_shape = call.rows.kept_shape if reduction == "none" else ()
    flow = None if fixed else call.flow(dy, loss_shape)
    if control.CHECKS_LABELS:
        _check_on_the_host(call, labels, weight)
    of_entries = wants[1]
    target, result = target_of(called, out, call.rows.shape if of_entries else loss_shape)
    if out is not None:
        called.overlaps(target, (called.lead, call.labels, call.weight, flow))
    gradient, losses, loss = (target if of_entries else None), None, None
    if wants[0]:
        losses, loss = target_of(called, None, loss_shape) if of_entries else (target, result)
    call.run(gradient, losses, flow)
    return (loss, result) if all(wants) else result


def _check_options(name, axis, reduction, smoothing, ignore_index):
    if not hasattr(axis, "__index__"):
        rowwise.fail(name, TypeError, "axis", repr(axis), "an integer")
    if reduction not in REDUCTIONS:
        rowwise.fail(name, ValueError, "reduction", repr(reduction), "'mean', 'sum' or 'none'")
    if not 0 <= smoothing <= 1:
        rowwise.fail(name, ValueError, "label_smoothing", repr(smoothing), "a number from 0 to 1")
    if ignore_index is not None and not hasattr(ignore_index, "__index__"):
        rowwise.fail(name, TypeError, "ignore_index", repr(ignore_index), "None or an integer")


def _check_on_the_host(call, labels, weight):
    """Fetch what lies on the device, for the error that the host has of it."""
    to_host, rows = call.called.library.to_host, call.rows
    labels, weight = to_host(labels), None if weight is None else to_host(weight)
    options = call.smoothing, call.ignore_index, np.dtype(np.float64)
    Targets.of(call.called.f.__qualname__, labels, HostRows(rows.shape, rows.axes), weight, *options)


def _in_two(value, char):
    """An exact number as two of the numbers that rows of a dtype are computed with."""
    high = float(value)
    if char == "d" and math.isfinite(high):
        return high, float(value - Fraction(high))
    if char in "eb":
        with np.errstate(over="ignore", under="ignore"):
            high = float(np.float32(high))
    return high, 0.0


@functools.lru_cache(maxsize=1024)
def _options(smoothing, classes, flow, divisor, index, char):
    """Of the kernels, as `kernels/cuda/losses.py` has them."""
    hard = 1 - Fraction(smoothing)
    factor = Fraction(flow) / divisor if math.isfinite(flow) and divisor else math.nan
    ignored = (index, True) if index is not None and -(2**63) <= index < 2**63 else (0, False)
    numbers = hard, (1 - hard) / classes, factor
    return (*ignored, *(part for number in numbers for part in _in_two(number, char)))


@functools.cache
def _of_loss(*what):
    """The kernels, a `Loss` by its attributes and its `Operation`."""
    from fastrelu.kernels.cuda import losses

    loss = losses.Loss(*what)
    return losses, loss, losses.operation(loss)


class _Call:
    """The targets of a call, and its launches.

    Attributes
    ----------
    rows : Rows
    labels, weight : View or None
    divides : bool
        The mean divides by a sum of weights that only the device knows.
    """

    def __init__(self, called, axis, labels, weight, reduction, smoothing, ignore_index):
        self.called, self.rows, self.workspaces = called, Rows(called, axis), []
        self.char, self.reduction, self.smoothing = called.lead.char, reduction, float(smoothing)
        self.labels = self._labels(labels, ignore_index)
        self.by_index = self.labels.char in INTEGERS
        self.ignore_index = None if ignore_index is None else ignore_index.__index__()
        self.weight = None if weight is None else self._weight(weight)
        self.divides = reduction == "mean" and self.by_index
        self.divides &= weight is not None or ignore_index is not None

    def _labels(self, labels, ignore_index):
        called, rows = self.called, self.rows
        found = called.view("labels", labels, integers=True)
        by_index = found.char in INTEGERS
        if found.shape != (rows.kept_shape if by_index else rows.shape):
            expected = (
                f"class indices, of an integer dtype and of shape {rows.kept_shape}, or probabilities, of "
                f"dtype {dtype_name(self.char)} and of shape {rows.shape}"
            )
            got = f"of dtype {dtype_name(found.char)} and of shape {found.shape}"
            called.f._fail(ValueError if by_index else TypeError, "labels", got, expected)
        if not by_index and ignore_index is not None:
            called.f._fail(ValueError, "ignore_index", ignore_index, "None, as the labels are probabilities")
        return found

    def _weight(self, weight):
        found, shape = self.called.view("weight", weight), (self.rows.length,)
        if found.shape != shape or (shape[0] > 1 and found.strides != (SIZES[found.char],)):
            expected = f"shape {shape}, without gaps"
            self.called.f._fail(ValueError, "weight", f"of shape {found.shape}", expected)
        return found

    def flow(self, dy, shape):
        """What flows into the losses: a View, or for one loss a number."""
        if shape == () and not is_on_device(dy):
            if isinstance(dy, str) or not hasattr(dy, "__float__"):
                self.called.f._fail(
                    TypeError, "dy", f"a {type(dy).__name__}", "a number, or one on the device"
                )
            return float(dy)
        return broadcast(self.rows.of_shape("dy", dy, shape), self.rows.kept_shape)

    def run(self, gradient, losses, flow):
        """Launch what there is to compute, into Views of the results."""
        rows, sums = self.rows, None
        flows = type(flow) is View
        kept = "" if losses is None else "none" if self.reduction == "none" else "sum"
        labels, weighted = self.labels.char if self.by_index else "p", self.weight is not None
        what = labels, weighted, self.smoothing > 0, gradient is not None, kept, flows, self.divides
        kernels, loss, operation = _of_loss(*what)
        divisor, stored = rows.count if self.reduction == "mean" else 1, 0
        of_rows = losses if kept == "none" else None
        if kept == "sum":
            of_rows = sums = self._wide_numbers(rows.kept_shape)
        options = self._options(1.0 if flow is None or flows else flow, 1 if self.divides else divisor)
        labels, p = (self.labels, None) if self.by_index else (None, self.labels)
        arrays = gradient, self.called.lead, p, labels, of_rows, flow if flows else None
        if self.divides:
            stored = self._weights(kernels, loss, arrays, options)
        if rows.count:
            places = self.weight.place if self.weight else 0, stored
            rows.run(operation, arrays, places, options)
        if sums:
            self._total(kernels, sums.place, rows.count, losses.place, divisor, stored)

    def _options(self, flow, divisor):
        classes = max(1, self.rows.length)
        return _options(self.smoothing, classes, flow, divisor, self.ignore_index, self.char)

    def _wide_numbers(self, shape):
        """New memory for as many wide numbers, which take the room of two each, on the device."""
        called = self.called
        workspace = called.library.workspace(called.array, 2 * max(1, math.prod(shape)))
        self.workspaces.append(workspace)  # until everything that uses them has been launched
        place, size = called.library.place(workspace), 2 * (4 if self.char in "eb" else 8)
        return View(place, shape, c_strides(shape, size), self.char, called.lead.device)

    def _launch(self, kernel, tasks, values):
        called, on = self.called, launching().device(self.called.lead.device)
        blocks = min(tasks, on.processors * launching().BLOCKS_A_PROCESSOR)
        on.launch(kernel, max(1, blocks), called.library.stream(called.array), values)

    def _weights(self, kernels, loss, arrays, options):
        """Where the sum of the weights of the labels that count will be."""
        plan = self.rows.plan(kernels.operation(loss), arrays)
        chunks = -(-plan.rows // kernels.CHUNK)
        found = self._wide_numbers((len(plan.offsets), max(1, chunks)))
        places = [0 if one is None else one.place for one in arrays]
        for i, offsets in enumerate(plan.offsets if self.rows.count else ()):
            moved = [p + o for p, o in zip(places, offsets, strict=True)]
            to = found.place + i * found.strides[0]
            weight = self.weight.place if self.weight else 0
            values = (*moved[:3], to, weight, 0, *moved[3:], *plan.lengths, *plan.strides, *options)
            self._launch(kernels.weights(loss, self.char), chunks, (*values, plan.rows, plan.length))
        result = self._wide_numbers((1,))
        count = chunks * len(plan.offsets) if self.rows.count else 0
        self._total(kernels, found.place, count, result.place, None, 0)
        return result.place

    def _total(self, kernels, place, n, to, divisor, stored):
        """Sum wide numbers; without a divisor they stay what they are."""
        kernel = kernels.total(self.char)
        while n > kernels.CHUNK:
            chunks = -(-n // kernels.CHUNK)
            part = self._wide_numbers((chunks,))
            self._launch(kernel, chunks, (part.place, place, 0, n, kernels.STORES, 1.0, 0.0))
            place, n = part.place, chunks
        what = kernels.STORES if divisor is None else kernels.DIVIDES_BY_STORED if stored else kernels.DIVIDES
        self._launch(kernel, 1, (to, place, stored, n, what, float(divisor or 0), 0.0))
