"""The reference twin of `cross_entropy`: every target as a row of numbers, any number of rows at once.

The target of a row is q >= 0 over its C classes: with smoothing e and class weights w,

    a class index k       q_j = w_j ((1 - e) [j = k] + e / C)
    probabilities p       q_j = w_j ((1 - e) p_j + e / C)
    an ignored index      q = 0

and with y the log_softmax of the row and p its softmax

    loss                  sum of -q_j y_j; where q_j = 0 the term is 0, even if y_j is infinite
    gradient_j            p_j (sum of the other q) + q_j (p_j - 1), in which nothing cancels where p_j is 1

The mean divides by the sum of w_k over the labels that count, or by the number of rows where the targets
are probabilities.  Rows with q = 0 have loss and gradient 0 whatever their logits are; the mean over no rows
at all is NaN.
"""

from __future__ import annotations

import numpy as np

from .rows import log_softmax_rows, quiet, softmax_rows

__all__ = ["dense_targets", "from_log_softmax", "softmaxes"]


def dense_targets(labels, weight, smoothing):
    """The rows q of class indices (-1: ignored) or of rows of probabilities, in the dtype of `weight`."""
    q = np.full((len(labels), len(weight)), smoothing / max(1, len(weight)), weight.dtype)
    if labels.ndim == 2:
        q += (1 - smoothing) * labels.astype(weight.dtype)
    else:
        counts = np.flatnonzero(labels >= 0)
        q[counts, labels[counts]] += 1 - smoothing
        q[labels < 0] = 0
    return weight * q


@quiet
def softmaxes(logits):
    """log_softmax and softmax of rows."""
    return (log_softmax_rows(logits), softmax_rows(logits)) if logits.size else (logits, logits)


@quiet
def from_log_softmax(y, p, q):
    """The losses of rows, their gradients (None where `p` is), and which rows have no target."""
    total = q.sum(axis=1, keepdims=True)
    losses = np.where(q == 0, 0, -q * y).sum(axis=1)
    gradient = None if p is None else p * (total - q) + q * np.expm1(y)
    return losses, gradient, total[:, 0] == 0
