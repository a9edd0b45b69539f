"""Cross entropy as its definition has it, in long double, and the options that tests go through."""

import itertools

import numpy as np

import fastrelu as fr

FUNCTIONS = [fr.cross_entropy, fr.cross_entropy.backward, fr.cross_entropy.value_and_grad]
OPTIONS = [
    {"reduction": r, "label_smoothing": e, "weight": w, "ignore_index": i}
    for r, e, w, i in itertools.product(
        ("mean", "sum", "none"), (0.0, 0.1, 1.0), (None, [0.5, 2, 0, 1, 0.25]), (None, 3, -100)
    )
]
CASES = [("indices", o) for o in OPTIONS]
CASES += [("probabilities", o) for o in OPTIONS if o["ignore_index"] is None]  # else an error


def parts(x, labels, weight=None, label_smoothing=0.0, ignore_index=None):
    """Losses; shares times the sum of the targets, and targets, whose difference is the gradient; divisor."""
    x = np.asarray(x, np.longdouble)
    classes = x.shape[-1]
    w = np.ones(classes, np.longdouble) if weight is None else np.asarray(weight, np.longdouble)
    counts = np.ones(x.shape[:-1], bool)
    if np.asarray(labels).dtype.kind == "f":
        target, divisor = np.asarray(labels, np.longdouble), counts.sum()
    else:
        counts = labels != ignore_index
        known = np.where(counts, labels, 0)
        target, divisor = np.eye(classes, dtype=np.longdouble)[known], w[known][counts].sum()
    e = np.longdouble(label_smoothing)
    q = w * ((1 - e) * target + e / classes) * counts[..., None]
    below = x - x.max(axis=-1, keepdims=True)
    total = np.exp(below).sum(axis=-1, keepdims=True)
    losses = (q * (np.log(total) - below)).sum(axis=-1)
    return losses, np.exp(below) / total * q.sum(axis=-1, keepdims=True), q, divisor


def defined(x, labels, reduction="mean", **options):
    """Loss and gradient along the last axis; that of "none" for a dy of 1."""
    losses, shares, targets, divisor = parts(x, labels, **options)
    if reduction == "none":
        return losses, shares - targets
    divisor = divisor if reduction == "mean" else 1
    return losses.sum() / divisor, (shares - targets) / divisor


def problem(dtype, kind, options, shape=(4, 7, 5)):
    """Logits and labels for some of the options."""
    rng = np.random.default_rng(1)
    x = (2 * rng.normal(size=shape)).astype(dtype)
    if kind == "probabilities":
        return x, rng.dirichlet(np.ones(shape[-1]), size=shape[:-1]).astype(dtype)
    labels = rng.integers(0, shape[-1], shape[:-1]).astype(np.int16)
    if options.get("ignore_index") == -100:
        labels[0, ::2] = -100
    return x, labels
