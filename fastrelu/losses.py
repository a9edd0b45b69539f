"""cross_entropy: log_softmax and its labels, forward, backward and both at once.

Rows are taken a cacheful at a time: each piece of the logits is read from memory once for the loss and the
gradient, and the gradient may be written over it.  Without kernels `reference_losses` does the arithmetic.
"""

from __future__ import annotations

import numpy as np

from . import dispatch, reference_losses, rowwise
from .docstrings import attached, sharing
from .reference_rows import Rows, result_dtype
from .targets import Targets

__all__ = ["cross_entropy"]

PIECE = 1 << 16  # entries of the logits, whose log_softmax and softmax then stay in cache
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


@sharing(targets=TARGETS, errors=ERRORS)
def cross_entropy(
    logits,
    labels,
    axis=-1,
    weight=None,
    reduction="mean",
    label_smoothing=0.0,
    ignore_index=None,
):
    """Cross entropy between the softmax of logits and class labels, -log_softmax(logits)[label].

    Parameters
    ----------
    logits : array_like
        Real.
    {targets}

    Returns
    -------
    ndarray or scalar
        Of the dtype of `logits` (float64 for integers); with "none" of their shape without `axis`.

    {errors}

    Notes
    -----
    The loss of a confident, right prediction keeps its digits, as `log_softmax` does: it is 4e-18 for the
    logits 40 and 0, not 0. A target that is 0 costs nothing, even where log_softmax is -inf; a label whose
    logit is -inf costs inf. The mean of no rows is NaN.

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
    given = (axis, weight, reduction, label_smoothing, ignore_index)
    return _compute(cross_entropy, logits, labels, given)


@attached(cross_entropy)
@sharing(targets=TARGETS, errors=ERRORS)
def _backward(
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
    """Gradient of `cross_entropy` with respect to the logits: dy * (softmax(logits) - target).

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

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(fr.cross_entropy.backward(2.0, [[0.0, 0.0]], [1]))
    [[ 1. -1.]]
    """
    given = (axis, weight, reduction, label_smoothing, ignore_index)
    return _compute(cross_entropy.backward, logits, labels, given, dy, out)


@attached(cross_entropy, "value_and_grad")
@sharing(targets=TARGETS, errors=ERRORS)
def _value_and_grad(
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
    """The cross entropy and its gradient with respect to the logits, a piece that stays in cache at a time.

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
    given = (axis, weight, reduction, label_smoothing, ignore_index)
    return _compute(cross_entropy.value_and_grad, logits, labels, given, out=out)


def _compute(function, logits, labels, given, dy=None, out=None):
    """The loss, the gradient, or both, whatever the function is to return."""
    name = function.__qualname__
    axis, weight, reduction, smoothing, ignore_index = given
    names = ("axis", "weight", "reduction", "label_smoothing", "ignore_index")
    options = dict(zip(names, given, strict=True)) | ({} if out is None else {"out": out})
    arguments = (logits, labels) if dy is None else (dy, logits, labels)
    answer = rowwise.override(function, (*arguments, weight, out), arguments, options)
    if answer is not NotImplemented:
        return answer
    for argument, value in (("logits", logits), ("labels", labels)):
        if isinstance(value, np.ma.MaskedArray):
            rowwise.fail(name, TypeError, argument, "a masked array", "a plain one, and ignore_index")
    if not hasattr(axis, "__index__"):
        rowwise.fail(name, TypeError, "axis", repr(axis), "an integer")
    if reduction not in REDUCTIONS:
        rowwise.fail(name, ValueError, "reduction", repr(reduction), "'mean', 'sum' or 'none'")
    array = rowwise.as_array(name, "logits", logits, "biuf")
    rows = Rows(array.shape, rowwise.as_axes(name, axis, array.ndim))
    dtype = result_dtype(array.dtype)
    work = np.promote_types(np.float64, np.float32 if dtype.itemsize == 2 else dtype)
    targets = Targets.of(name, labels, rows, weight, smoothing, ignore_index, work)
    loss_shape = rows.kept_shape if reduction == "none" else ()
    factor = np.ones((), work) if dy is None else rowwise.check_dy(name, dy, loss_shape).astype(work)
    target = None if out is None else rowwise.check_out(name, out, array.shape, dtype)

    with np.errstate(all="ignore"):
        divisor = targets.divisor() if reduction == "mean" else 1
        gradient = (
            None if function is cross_entropy else _Gradient(rows, array, targets, target, factor / divisor)
        )
        losses = _evaluate(rows.of(array).astype(dtype, copy=False), targets, gradient)
        if reduction == "none":
            losses = losses.reshape(loss_shape)
        else:
            losses = losses.sum(dtype=np.longdouble) / divisor
        loss = rowwise.finish(logits, np.asarray(losses).astype(dtype))
    if gradient is None:
        return loss
    made = out if gradient.in_place else rowwise.finish(logits, rows.whole(gradient.matrix), target, out)
    return made if dy is not None else (loss, made)


class _Gradient:
    """Where the rows of the gradient go, and what they are multiplied by."""

    def __init__(self, rows, array, targets, target, factor):
        dtype = result_dtype(array.dtype)
        self.in_place = target is not None and self._may_write(rows, array, targets.labels, target, dtype)
        self.matrix = rows.of(target) if self.in_place else np.empty(rows.rows, dtype)
        self.factor = np.broadcast_to(factor.reshape(-1, 1), (rows.rows[0], 1))

    @staticmethod
    def _may_write(rows, array, labels, target, dtype):
        """Whether each row may go straight to `target`: over the logits' own row, or over no input."""
        start = [a.__array_interface__["data"][0] for a in (array, target)]
        own = start[0] == start[1] and array.strides == target.strides
        apart = own or not np.may_share_memory(array, target)
        plain = target.dtype == dtype and target.flags.c_contiguous and not rows.moved
        return plain and apart and not np.may_share_memory(labels, target)

    def take(self, piece, rows, dead):
        """Some rows of the losses' gradients; those of `dead` rows are 0, whatever they are multiplied by."""
        np.multiply(rows, self.factor[piece], out=self.matrix[piece], casting="same_kind")
        self.matrix[piece][dead] = 0


def _evaluate(matrix, targets, gradient):
    """The loss of every row, in the working dtype; and the rows of the gradient, where one is asked for."""
    losses = np.empty(len(matrix), targets.weight.dtype)
    compiled = matrix.dtype.char != "g" and dispatch.rows_kernel("log_softmax", np.dtype(float)) is not None
    of_piece = _by_kernels if compiled else _by_reference
    step = max(1, PIECE // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), step):
        piece = slice(start, start + step)
        losses[piece], rows, dead = of_piece(matrix[piece], targets, piece, gradient is not None)
        if gradient is not None:
            gradient.take(piece, rows, dead)
    return losses


def _by_kernels(logits, targets, piece, wants_gradient):
    """The losses of some rows, their gradients, and which rows count for nothing."""
    logits = logits.astype(np.float32) if logits.dtype.itemsize == 2 else logits
    y = rowwise.run("log_softmax", logits, (1,), per_row=False)
    p = rowwise.run("softmax", logits, (1,), per_row=False) if wants_gradient else None
    if not targets.are_single_classes:
        q = targets.dense(piece)
        return reference_losses.from_log_softmax(y.astype(q.dtype, copy=False), p, q)
    labels = targets.labels[piece]
    weight = np.where(labels >= 0, targets.weight[labels], 0)
    here = np.arange(len(labels)), np.maximum(labels, 0)
    own = y[here].astype(weight.dtype)
    losses = np.where(weight == 0, 0, -weight * own)
    if wants_gradient:
        p[here] = np.expm1(own)
        if np.any(weight != 1):
            p *= weight[:, None].astype(p.dtype)
    return losses, p, weight == 0


def _by_reference(logits, targets, piece, wants_gradient):
    q = targets.dense(piece)
    y, p = reference_losses.softmaxes(logits.astype(q.dtype))
    return reference_losses.from_log_softmax(y, p if wants_gradient else None, q)
