"""Overloads of cross_entropy: of class labels they are calls of kernels; see also ``target_calls``."""

from __future__ import annotations

import numpy as np
from numba import types

from . import passes
from .arguments import check_out, fail, is_array, is_none, literal, plain, promoted, put, real, typed
from .call import Call
from .row_calls import row_shape
from .target_calls import has_targets, targets

__all__ = ["cross_entropy", "cross_entropy_backward", "value_and_grad"]

OPTIONS = "axis=-1, weight=None, reduction='mean', label_smoothing=0.0, ignore_index=None, out=None"
REDUCTIONS = ("mean", "sum", "none")


def _prepare(name, given):
    """The dtype, the reduction and the lines that make labels contiguous, once all types are right."""
    logits, labels = plain(given["logits"]), plain(given["labels"])
    dtype = promoted(real(name, "logits", logits))
    if not is_array(logits) or not logits.ndim:
        fail(name, "logits", logits, "an array")
    number, of_classes = not is_array(labels), isinstance(getattr(labels, "dtype", labels), types.Integer)
    probable = not number and isinstance(labels.dtype, types.Float)
    ndim = 0 if number else labels.ndim
    if not (of_classes or probable) or ndim != logits.ndim - (not probable):
        expected = f"integers with {logits.ndim - 1} axes: class indices; or floats with {logits.ndim}"
        fail(name, "labels", labels, f"{expected}: class probabilities")
    if probable:
        real(name, "labels", labels)
    if not isinstance(plain(given["axis"]), types.Integer):
        fail(name, "axis", plain(given["axis"]), "an integer")
    if not is_none(given["ignore_index"]) and not isinstance(plain(given["ignore_index"]), types.Integer):
        fail(name, "ignore_index", plain(given["ignore_index"]), "None or an integer")
    reduction = literal(name, "reduction", given["reduction"], "'mean', 'sum' or 'none'")
    if reduction not in REDUCTIONS:
        fail(name, "reduction", repr(reduction), "'mean', 'sum' or 'none'")
    if reduction == "none" and logits.ndim == 1:
        reduction = "sum"  # of one loss, a number
    if number:
        return dtype, reduction, ["labels = np.full(1, labels).reshape(())"]
    contiguous = "labels = np.ascontiguousarray(labels)"
    return dtype, reduction, [] if labels.layout == "C" and labels.ndim else [contiguous]


def _call(name, dtype, kernel, last="out"):
    return Call(name, kernel, dtype, ("logits", "labels", "out", last))


def cross_entropy():
    """The overload of cross_entropy."""
    name = "cross_entropy"

    def choose(given):
        dtype, reduction, lines = _prepare(name, given)
        if has_targets(given):
            more, names = targets(name, given, dtype, reduction, wants_loss=True, wants_gradient=False)
            return lines + more, names
        kinds = plain(given["logits"])
        loss = passes.fill_losses(_call(name, dtype, name), reduction == "mean")
        names = {"np": np, "dtype": dtype.type, "fill": loss}
        if reduction != "none":
            if not is_none(given["out"]):
                fail(name, "out", "given", "none for a single number inside @njit")
            lines += ["return dtype(fill(logits, labels, None, None, 1.0, axis, ignore_index))"]
            return lines, names
        names["row_shape"] = row_shape(kinds.ndim, False)
        lines += ["made = np.empty(row_shape(logits, axis), dtype)"]
        lines += ["fill(logits, labels, None, made, 1.0, axis, ignore_index)"]
        if is_none(given["out"]):
            return [*lines, "return made"], names
        check_out(name, given["out"], kinds.ndim - 1, True)
        names["put"] = put
        names["wrong"] = f"{name}: argument 'out' is of shape {{}}; expected that of the result"
        lines += [
            "if out.shape != made.shape:",
            "    raise Misfit(wrong, out.shape)",
            "put(out, made)",
            "return out",
        ]
        return lines, names

    return typed(f"logits, labels, {OPTIONS}", choose)


def _gradient(name, given, dtype):
    """The expression for the array of the gradient."""
    if is_none(given["out"]):
        return "np.empty(logits.shape, dtype)"
    check_out(name, given["out"], plain(given["logits"]).ndim, True)
    return "out"


def cross_entropy_backward():
    """The overload of cross_entropy.backward."""
    name = "cross_entropy.backward"

    def choose(given):
        dtype, reduction, lines = _prepare(name, given)
        real(name, "dy", plain(given["dy"]))
        of_row = reduction == "none"
        ndim = plain(given["logits"]).ndim - 1 if of_row else 0
        if getattr(plain(given["dy"]), "ndim", 0) != ndim or is_array(given["dy"]) > of_row:
            fail(name, "dy", plain(given["dy"]), "an array of the losses' shape" if of_row else "a number")
        if has_targets(given):
            more, names = targets(name, given, dtype, reduction, wants_loss=False, wants_gradient=True)
            return lines + more, names
        call = _call(name, dtype, "cross_entropy.gradient", "dy")
        names = {"np": np, "dtype": dtype.type, "fill": passes.fill_losses(call, reduction == "mean", of_row)}
        factors = "dy, 1.0" if of_row else "None, dy"
        lines += [f"made = {_gradient(name, given, dtype)}"]
        lines += [f"fill(logits, labels, made, {factors}, axis, ignore_index)", "return made"]
        return lines, names

    return typed(f"dy, logits, labels, {OPTIONS}", choose)


def value_and_grad():
    """The overload of cross_entropy.value_and_grad."""
    name = "cross_entropy.value_and_grad"

    def choose(given):
        dtype, reduction, lines = _prepare(name, given)
        if has_targets(given):
            more, names = targets(name, given, dtype, reduction, wants_loss=True, wants_gradient=True)
            return lines + more, names
        fill = passes.fill_losses(_call(name, dtype, "cross_entropy.gradient"), reduction == "mean")
        names = {"np": np, "dtype": dtype.type, "fill": fill}
        lines += [f"made = {_gradient(name, given, dtype)}"]
        if reduction == "none":
            names["row_shape"] = row_shape(plain(given["logits"]).ndim, False)
            lines += ["losses = np.empty(row_shape(logits, axis), dtype)"]
            lines += ["fill(logits, labels, made, losses, 1.0, axis, ignore_index)", "return losses, made"]
        else:
            lines += ["loss = fill(logits, labels, made, None, 1.0, axis, ignore_index)"]
            lines += ["return dtype(loss), made"]
        return lines, names

    return typed(f"logits, labels, {OPTIONS}", choose)
