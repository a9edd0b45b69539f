"""cross_entropy: the loss of logits against labels, its gradient, and both at once.

Arrays that the compiled kernel takes as they lie go straight to it; it checks the labels before it writes.
For all others, and where something is wrong, arguments are checked here; the kernel or `reference.losses`
does the rest.
"""

from __future__ import annotations

import inspect

import numpy as np

from . import dispatch, rowwise
from .device import losses as device_losses
from .docstrings import completed
from .reference import losses as reference_losses
from .reference.rows import Rows, result_dtype
from .targets import Targets

__all__ = ["cross_entropy"]

REDUCTIONS = ("mean", "sum", "none")

TARGETS = """
labels : array_like
    Class indices, of an integer dtype and of the shape of `logits` without `axis`; or class
    probabilities, of a floating dtype and of the shape of `logits`.
axis : int, default -1
    The axis of the classes.
weight : array_like, optional
    A factor >= 0 for each class.
reduction : {"mean", "sum", "none"}, default "mean"
    What becomes of the losses. The mean over class indices divides by the sum of the weights of the labels
    that count, the mean over probabilities by the number of rows.
label_smoothing : float, default 0.0
    The share, from 0 to 1, of each target that is spread evenly over the classes.
ignore_index : int, optional
    Rows with this label have no loss and no gradient, and do not count in the mean.
"""
ERRORS = """
Raises
------
TypeError
    If `logits` is not real, or `labels` are neither integers nor probabilities.
ValueError
    If a label is not a class, or a probability is not between 0 and 1: the message names the first such
    one and its position. If a shape does not fit, or an option has no such value.
numpy.exceptions.AxisError
    If `axis` does not exist.
"""
LOSS = """
Cross entropy between the softmax of logits and class labels, -log_softmax(logits)[label].

Parameters
----------
logits : array_like
    Real.
{targets}
out : ndarray, optional
    Where to write the result; it may overlap the inputs.

Returns
-------
ndarray or scalar
    Of the dtype of `logits` (float64 for integers); with "none" of their shape without `axis`.

{errors}

Notes
-----
A loss is at most 1 ULP off, its unit floored at that of 1/2; the loss of a confident, right prediction keeps
its digits, as `log_softmax` does: it is 4e-18 for the logits 40 and 0, not 0. Sums over the rows are carried
wider than their terms. A target that is 0 costs nothing, even where log_softmax is -inf; a label whose logit
is -inf costs inf. The mean of no rows is NaN.

Names, defaults and reductions are those of ``torch.nn.functional.cross_entropy``, except that the
classes are along the last axis and that no index is ignored by default.

References
----------
Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs, 1990; Szegedy et
al., Rethinking the Inception Architecture for Computer Vision, 2016 (label smoothing).

Examples
--------
>>> import fastrelu as fr
>>> print(fr.cross_entropy([[0.0, 0.0], [40.0, 0.0]], [1, 0], reduction="none"))
[6.93147181e-01 4.24835426e-18]
>>> loss, gradient = fr.cross_entropy.value_and_grad([[0.0, 0.0]], [1])
>>> print(gradient)
[[ 0.5 -0.5]]
"""
GRADIENT = """
Gradient of `cross_entropy` with respect to the logits: dy * (softmax(logits) - target).

Parameters
----------
dy : array_like
    The gradient with respect to the loss, of its shape.
logits : array_like
    What the forward pass was given.
{targets}
out : ndarray, optional
    Where to write the result; it may be `logits`.

Returns
-------
ndarray
    Of the shape and dtype of `logits`.

{errors}

Notes
-----
At most 2 ULP where the target is one class alone: 1 - softmax at the label is the sum of the other shares.

Examples
--------
>>> import fastrelu as fr
>>> print(fr.cross_entropy.backward(2.0, [[0.0, 0.0]], [1]))
[[ 1. -1.]]
"""
BOTH = """
The cross entropy and its gradient with respect to the logits, from one pass over them.

Parameters
----------
logits : array_like
    Real.
{targets}
out : ndarray, optional
    Where to write the gradient; it may be `logits`.

Returns
-------
loss : ndarray or scalar
    As `cross_entropy`.
grad : ndarray
    Of the shape and dtype of `logits`; with "none" the gradient of the sum of the losses.

{errors}

Examples
--------
>>> import fastrelu as fr
>>> loss, grad = fr.cross_entropy.value_and_grad([[0.0, 0.0], [1.0, 1.0]], [0, -1], ignore_index=-1)
>>> print(grad)
[[-0.5  0.5]
 [ 0.   0. ]]
"""


class _Loss:
    """One of the public functions; all take what `_evaluate` takes, but `dy` where it is `fixed`."""

    def __init__(self, doc, name="cross_entropy", *, loss, gradient, fixed=()):
        self.__doc__ = completed(doc, targets=TARGETS, errors=ERRORS)
        self.__module__, self.__qualname__, self.__name__ = "fastrelu", name, name.rpartition(".")[2]
        parameters = list(inspect.signature(self._evaluate).parameters.values())
        self.__signature__ = inspect.Signature(parameters[len(fixed) :])
        self._wants, self._fixed = (loss, gradient), fixed

    def __reduce__(self):
        return self.__qualname__

    def __repr__(self):
        return f"<fastrelu.{self.__qualname__}>"

    def __call__(self, *arguments, **named):
        return self._evaluate(*self._fixed, *arguments, **named)

    def _evaluate(
        self,
        dy,
        logits,
        labels,
        axis=-1,
        weight=None,
        reduction="mean",
        label_smoothing=0.0,
        ignore_index=None,
        *,
        out=None,
    ):
        given = (axis, weight, reduction, label_smoothing, ignore_index)
        result = None
        if dy is not None or self._fixed:
            result = dispatch.losses_kernel()(*self._wants, dy, logits, labels, *given, out)
        return self._general(dy, logits, labels, given, out) if result is None else result

    def _general(self, dy, logits, labels, given, out):
        """What the kernel did not take as it was: another kind of arrays, another layout, or an error."""
        name, (axis, weight, reduction, smoothing, ignore_index) = self.__qualname__, given
        if device_losses.any_on_device(dy, logits, labels, weight, out):
            return device_losses.cross_entropy(
                name, self._wants, bool(self._fixed), dy, logits, labels, given, out
            )
        names = ("axis", "weight", "reduction", "label_smoothing", "ignore_index")
        options = dict(zip(names, given, strict=True)) | ({} if out is None else {"out": out})
        arguments = (logits, labels) if self._fixed else (dy, logits, labels)
        answer = rowwise.override(self, (*arguments, weight, out), arguments, options)
        if answer is not NotImplemented:
            return answer
        for argument, value in (("logits", logits), ("labels", labels)):
            if isinstance(value, np.ma.MaskedArray):
                rowwise.fail(name, TypeError, argument, "a masked array", "a plain one, and ignore_index")
        if not hasattr(axis, "__index__"):
            rowwise.fail(name, TypeError, "axis", repr(axis), "an integer")
        if reduction not in REDUCTIONS:
            rowwise.fail(name, ValueError, "reduction", repr(reduction), "'mean', 'sum' or 'none'")
        if ignore_index is not None and not hasattr(ignore_index, "__index__"):
            rowwise.fail(name, TypeError, "ignore_index", repr(ignore_index), "None or an integer")

        array = rowwise.as_array(name, "logits", logits, "biuf")
        rows = Rows(array.shape, rowwise.as_axes(name, axis, array.ndim))
        targets = Targets.of(name, labels, rows, weight, smoothing, ignore_index, _working(array.dtype))
        loss_shape = rows.kept_shape if reduction == "none" else ()
        if dy is not None or not self._fixed:
            dy = rowwise.check_dy(name, dy, loss_shape)
        target = None
        if out is not None:
            shape = array.shape if self._wants[1] else loss_shape
            target = rowwise.check_out(name, out, shape, result_dtype(array.dtype))
        loss, gradient = self._by_kernel(dy, array, rows, targets, reduction) or _by_reference(
            dy, array, rows, targets, reduction, wants_gradient=self._wants[1]
        )
        if not self._wants[1]:
            return rowwise.finish(logits, loss, target, out)
        gradient = rowwise.finish(logits, gradient, target, out)
        return (rowwise.finish(logits, loss), gradient) if self._wants[0] else gradient

    def _by_kernel(self, dy, array, rows, targets, reduction):
        """Loss and gradient, None where not asked for; or None where there is no kernel."""
        dtype = result_dtype(array.dtype)
        in_kernel = np.dtype(np.float32) if dtype.itemsize == 2 and dtype.char != "e" else dtype
        x = np.require(array, in_kernel, "A")
        result = dispatch.losses_kernel()(
            *self._wants,
            dy if dy is None else np.require(dy, in_kernel, "A"),
            x,
            targets.as_given(in_kernel),
            rows.reduced[0],
            None if targets.all_classes_alike else targets.weight.astype(float),
            reduction,
            targets.smoothing,
            targets.ignore_index,
            None,
            checked=True,
        )
        if result is None:
            return None
        pair = result if self._wants == (True, True) else (result, None) if self._wants[0] else (None, result)
        return tuple(None if part is None else np.asarray(part).astype(dtype, copy=False) for part in pair)


def _working(dtype):
    """The dtype of weights, and in which the reference computes: wider than the result."""
    return np.dtype(np.float64 if result_dtype(dtype).itemsize <= 4 else np.longdouble)


def _by_reference(dy, array, rows, targets, reduction, *, wants_gradient):
    work, dtype = _working(array.dtype), result_dtype(array.dtype)
    with np.errstate(all="ignore"):
        q = targets.dense()
        y, p = reference_losses.softmaxes(rows.of(array).astype(work))
        losses, gradient, dead = reference_losses.from_log_softmax(y, p if wants_gradient else None, q)
        divisor = targets.divisor() if reduction == "mean" else 1
        if wants_gradient:
            factor = np.asarray(1 if dy is None else dy).astype(work) / divisor
            gradient *= factor.reshape(-1, 1)
            gradient[dead] = 0
            gradient = rows.whole(gradient.astype(dtype))
        loss = losses.sum(dtype=np.longdouble) / divisor if reduction != "none" else losses
        loss = np.asarray(loss).astype(dtype)
        return (loss.reshape(rows.kept_shape) if reduction == "none" else loss), gradient


cross_entropy = _Loss(LOSS, loss=True, gradient=False, fixed=(None,))
cross_entropy.backward = _Loss(GRADIENT, "cross_entropy.backward", loss=False, gradient=True)
cross_entropy.value_and_grad = _Loss(
    BOTH, "cross_entropy.value_and_grad", loss=True, gradient=True, fixed=(None,)
)
