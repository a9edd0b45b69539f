"""What `cross_entropy` compares the logits with: class indices or probabilities, checked, as rows."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np

from . import rowwise
from .reference import losses as reference_losses

__all__ = ["Targets"]


@dataclass
class Targets:
    """The targets of all rows.

    Attributes
    ----------
    labels : ndarray
        Class indices, -1 where a row is ignored; or rows of probabilities.
    weight : ndarray
        Of each class, in the working dtype.
    smoothing : float
    ignore_index : int or None
    array : ndarray
        The labels as they were given.
    """

    labels: np.ndarray
    weight: np.ndarray
    smoothing: float
    ignore_index: int | None
    array: np.ndarray

    @classmethod
    def of(cls, name, labels, rows, weight, smoothing, ignore_index, work):
        """What the caller of `name` gave for the logits' `rows`, or an error that says what is wrong."""
        if not 0 <= smoothing <= 1:
            rowwise.fail(name, ValueError, "label_smoothing", repr(smoothing), "a number from 0 to 1")
        shape = (rows.rows[1],)
        weights = np.ones(shape, work)
        if weight is not None:
            weights = rowwise.as_array(name, "weight", weight, "biuf").astype(work)
            if weights.shape != shape:
                rowwise.fail(name, ValueError, "weight", f"of shape {weights.shape}", f"shape {shape}")
            _check_each(name, "weight", weights, weights >= 0, "numbers >= 0")
        labels = rowwise.as_array(name, "labels", labels, "biuf")
        if labels.dtype.kind in "iu" or (labels.size == 0 and labels.shape == rows.kept_shape):
            found = _indices(name, labels, rows, ignore_index)
        else:
            found = _probabilities(name, labels, rows, ignore_index)
        ignore_index = None if ignore_index is None else operator.index(ignore_index)
        return cls(found, weights, float(smoothing), ignore_index, labels)

    @property
    def all_classes_alike(self):
        """Whether the weights change nothing."""
        return bool(np.all(self.weight == 1))

    def as_given(self, dtype):
        """The labels as an array for a kernel; probabilities in a dtype that kernels read."""
        if self.array.dtype.char not in "efd" and self.labels.ndim == 2:
            return self.array.astype(dtype)
        return np.require(self.array, self.array.dtype.newbyteorder("="), "A")

    def divisor(self):
        """What the mean divides by."""
        if self.labels.ndim == 2:
            return self.weight.dtype.type(len(self.labels))
        return self.weight[self.labels[self.labels >= 0]].sum()

    def dense(self):
        """The targets as rows of numbers."""
        return reference_losses.dense_targets(self.labels, self.weight, self.smoothing)


def _expected(rows):
    return (
        f"class indices, of an integer dtype and of shape {rows.kept_shape}, or probabilities, of a floating "
        f"dtype and of shape {rows.shape}"
    )


def _indices(name, labels, rows, ignore_index):
    if labels.shape != rows.kept_shape:
        got = f"of dtype {labels.dtype} and of shape {labels.shape}"
        rowwise.fail(name, ValueError, "labels", got, _expected(rows))
    classes = rows.rows[1]
    fits = (labels >= 0) & (labels < classes)
    expected = f"a class index from 0 to {classes - 1}"
    ignored = np.zeros(labels.shape, bool)
    if ignore_index is not None:
        ignored = labels == ignore_index
        expected += f", or ignore_index, {ignore_index}"
    _check_each(name, "labels", labels, fits | ignored, expected)
    return np.where(ignored, -1, labels.astype(np.intp, copy=False)).reshape(-1)


def _probabilities(name, labels, rows, ignore_index):
    if labels.dtype.kind == "b" or labels.shape != rows.shape:
        first = f" ({labels.flat[0]} at position {(0,) * labels.ndim})" if labels.size else ""
        got = f"of dtype {labels.dtype}{first} and of shape {labels.shape}"
        rowwise.fail(name, TypeError, "labels", got, _expected(rows))
    if ignore_index is not None:
        rowwise.fail(name, ValueError, "ignore_index", ignore_index, "None, as the labels are probabilities")
    _check_each(name, "labels", labels, (labels >= 0) & (labels <= 1), "a probability, from 0 to 1")
    return rows.of(labels)


def _check_each(name, argument, values, fits, expected):
    if not fits.all():
        position = np.unravel_index(np.argmin(fits), fits.shape)
        got = f"{values[position]} at position {tuple(map(int, position))}"
        rowwise.fail(name, ValueError, argument, got, expected)
