"""Overloads of cross_entropy beyond plain labels: class probabilities, weights and label smoothing.

Loops of Numba's over rows, those of the numba backend.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import types
from numba.extending import register_jitable

from . import pair
from .arguments import fail, is_array, is_none, plain, real
from .axes import as_rows, entries_back, put_in_place, rows_of, values_back
from .translated import compiled_pass, keep, words_of_call

__all__ = ["has_targets", "targets"]


def has_targets(given):
    """Whether a call has any of these."""
    labels, smoothing = plain(given["labels"]), given["label_smoothing"]
    smoothing = getattr(smoothing, "literal_value", getattr(smoothing, "value", smoothing))
    dense = is_array(labels) and isinstance(labels.dtype, types.Float)
    return dense or not is_none(given["weight"]) or smoothing != 0


@register_jitable
def _classes(labels, classes, ignored, ignores):
    """The labels as a pass takes them, and the place of the first wrong one, or -1."""
    found, wrong = np.empty(labels.size, np.intp), -1
    for place, label in enumerate(labels.flat):
        is_ignored = ignores and label == ignored
        found[place] = -1 if is_ignored else label
        if wrong < 0 and not is_ignored and not 0 <= label < classes:
            wrong = place
    return found, wrong


@register_jitable
def _within(values, most):
    """Whether they are from 0 to `most`; NaN is not."""
    within = True
    for value in values.flat:
        within = within and 0 <= value <= most
    return within


@register_jitable
def _over(a, b):
    """A quotient of pairs; that by nothing is NaN, and the rest of an infinite one is none."""
    if b[0] == 0:
        return math.nan, 0.0
    high, low = pair.div(a, b)
    return high, low if low - low == 0 else 0.0


@functools.cache
def _evaluate(dtype):
    """``evaluate(...)``: each row's loss in two parts, the gradient, and what a mean divides by."""
    like, over_rows = dtype.type(0), compiled_pass("cross_entropy_rows")

    @register_jitable
    def evaluate(entries, indices, known, weights, smoothing, dy, mean, wants_gradient):
        rows, classes = entries.shape
        divisor = (0.0, 0.0)
        if known.size:
            divisor = (float(rows), 0.0)
        for label in indices:
            if label >= 0:
                divisor = pair.add(divisor, (weights[label], 0.0))
        if not mean:
            divisor = (1.0, 0.0)
        hard = 1.0 - smoothing
        spread = _over((smoothing, 0.0), (float(classes), 0.0))
        numbers = np.array([hard, (1.0 - hard) - smoothing, spread[0], spread[1]])
        factors = np.empty((dy.size, 2))
        for i in range(dy.size):
            factors[i, 0], factors[i, 1] = _over((float(dy[i]), 0.0), divisor)
        made, slopes = np.zeros((rows, 2)), np.empty_like(entries)
        if entries.size:
            places = entries.ctypes.data, indices.ctypes.data * (known.size == 0)
            more = slopes.ctypes.data * wants_gradient, rows, classes, known.ctypes.data * (known.size > 0)
            shares = weights.ctypes.data, factors.ctypes.data, 16 * (dy.size > 1), numbers.ctypes.data
            dense = known.size > 0 or smoothing != 0
            words = words_of_call(like, (*places, *more, *shares, made.ctypes.data, dense))
            over_rows(words, 0, 1)
        keep(factors, numbers)
        for i in range(rows):
            if made[i, 1] != made[i, 1]:  # beside an infinity
                made[i, 1] = 0.0
        return made, slopes, divisor

    return evaluate


@register_jitable
def _total(made, divisor):
    total = (0.0, 0.0)
    for i in range(len(made)):
        total = pair.add(total, (made[i, 0], made[i, 1]))
    if total[1] - total[1] != 0:  # beside an infinite sum
        total = (total[0], 0.0)
    high, low = _over(total, divisor)
    return high + low


def targets(name, given, dtype, reduction, *, wants_loss, wants_gradient):
    """The lines of one of the functions, and what they name."""
    ndim, labels = plain(given["logits"]).ndim, plain(given["labels"])
    dense = isinstance(getattr(labels, "dtype", labels), types.Float)
    lines, names, kept = rows_of(name, given["axis"], ndim, "logits")
    names |= {"dtype": dtype.type, "evaluate": _evaluate(dtype), "total": _total}
    lines += [f"entries = {as_rows('logits')}.astype(dtype)"]
    wrong = f"{name}: argument {{!r}} is of shape {{{{}}}}; expected {{}}".format
    if dense:
        if not is_none(given["ignore_index"]):
            fail(name, "ignore_index", "given", "None beside class probabilities")
        names |= {
            "within": _within,
            "wrong_labels": wrong("labels", "the shape of logits"),
        }
        names["improbable"] = f"{name}: argument 'labels' has a probability out of its range; expected 0 to 1"
        lines += ["if labels.shape != logits.shape:", "    raise Misfit(wrong_labels, labels.shape)"]
        lines += [f"known, indices = {as_rows('labels')}.astype(dtype), np.empty(0, np.intp)"]
        lines += ["if not within(known, 1.0):", "    raise ValueError(improbable)"]
    else:
        names |= {"classes_of": _classes, "wrong_labels": wrong("labels", "the shape of logits without axis")}
        if kept:
            lines += [f"if labels.shape != moved[:{kept}]:", "    raise Misfit(wrong_labels, labels.shape)"]
        ignored = "0, False" if is_none(given["ignore_index"]) else "ignore_index, True"
        lines += [
            "known = np.empty((0, 0), dtype)",
            f"indices, place = classes_of(labels, length, {ignored})",
        ]
        names["no_class"] = f"{name}: argument 'labels' has {{}}, which is neither a class nor ignored"
        lines += ["if place >= 0:", "    raise Misfit(no_class, labels.flat[place])"]
    if is_none(given["weight"]):
        lines += ["weights = np.ones(length)"]
    else:
        kind = plain(given["weight"])
        real(name, "weight", kind)
        if not is_array(kind) or kind.ndim != 1:
            fail(name, "weight", kind, "an array with one axis: a value for each class")
        names |= {"within": _within, "wrong_weight": wrong("weight", "a value for each class")}
        names["negative_weight"] = (
            f"{name}: argument 'weight' has a value out of its range; expected weight >= 0"
        )
        lines += ["weights = np.ascontiguousarray(weight).astype(np.float64)"]
        lines += [
            "if len(weights) != length:",
            "    raise Misfit(wrong_weight, weight.shape)",
            "if not within(weights, np.inf):",
            "    raise ValueError(negative_weight)",
        ]
    real(name, "label_smoothing", plain(given["label_smoothing"]))
    names["wrong_share"] = f"{name}: argument 'label_smoothing' is {{}}; expected 0 <= label_smoothing <= 1"
    lines += ["smoothing = float(label_smoothing)", "if not 0 <= smoothing <= 1:"]
    lines += ["    raise Misfit(wrong_share, smoothing)"]
    lines += _flows(name, given, reduction, kept, names, wrong)
    mean, wants = reduction == "mean", int(wants_gradient)
    lines += [
        "made, slopes, divisor = "
        f"evaluate(entries, indices, known, weights, smoothing, flows, {mean}, {wants})"
    ]
    returned = []
    if wants_loss:
        if reduction == "none":
            lines += [f"losses = {values_back('(made[:, 0] + made[:, 1]).astype(dtype)', kept, False)}"]
        else:
            lines += ["losses = dtype(total(made, divisor))"]
        returned += ["losses"]
    if wants_gradient:
        lines += [f"result = {entries_back('slopes')}"]
        if not is_none(given["out"]):
            lines += [*put_in_place(name, given, ndim, names)[:-1], "result = out"]
        return [*lines, f"return {', '.join([*returned, 'result'])}"], names
    if is_none(given["out"]):
        return [*lines, "return losses"], names
    return [*lines, "result = losses", *put_in_place(name, given, kept, names)], names


def _flows(name, given, reduction, kept, names, wrong):
    """Lines for what flows in: a value for all rows, or one for each."""
    if "dy" not in given:
        return ["flows = np.ones(1)"]
    if reduction == "none" and kept:
        names["wrong_dy"] = wrong("dy", "the shape of the losses")
        lines = [f"if dy.shape != moved[:{kept}]:", "    raise Misfit(wrong_dy, dy.shape)"]
        return [*lines, "flows = np.ascontiguousarray(dy).reshape(rows)"]
    return [f"flows = np.full(1, {'dy[()]' if is_array(plain(given['dy'])) else 'dy'})"]
