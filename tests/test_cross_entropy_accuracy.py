"""Accuracy of cross_entropy: losses and gradients of stated families of rows against exact numbers.

A loss is at most 1 ULP off, its unit floored at that of 1/2, and strictly where the row is dominated; a
gradient 2 ULP where the target is one class, the label's included, and where there are several, 2 units of
the larger number in the difference that it is.
"""

import mpmath as mp
import numpy as np
import pytest
from loss_cases import OPTIONS, parts
from truth import DIGITS
from ulp import distances, error, exact

import fastrelu as fr

pytestmark = pytest.mark.every_isa
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
LABEL = 2
SEVERAL = [
    {key: value for key, value in options.items() if key in ("label_smoothing", "weight")}
    for options in OPTIONS
    if options["reduction"] == "none" and options["ignore_index"] is None
]


def families(dtype):
    """Rows whose label is entry 2; the names of those that one entry dominates begin so."""
    rng = np.random.default_rng(3)
    deep = {np.float32: 80.0, np.float64: 700.0}[dtype]
    at = np.arange(6)
    made = {
        "normal": 3 * rng.normal(size=(12, 11)),
        "dominated by the label": np.where(at == LABEL, 0, -rng.uniform(5, deep, (12, 6))),
        "dominated by another": np.where(at == 1, 0, -rng.uniform(5, deep, (12, 6))),
        "led by the label": np.where(at == LABEL, 0, -rng.uniform(0.01, 4, (12, 6))),
        "two largest": np.where(at % 3 == LABEL, 0, -rng.uniform(0.1, deep, (6, 6))),
        "wrong": np.where(at == LABEL, -rng.uniform(20, deep, (12, 6)), rng.normal(size=(12, 6))),
        "flat": np.full((1, 300), 0.3),
        "long": rng.normal(size=(1, 2900)),
        "dominated and long": np.where(np.arange(2900) == LABEL, 40, rng.normal(size=(1, 2900))),
        "far from 0": 1e4 + rng.normal(size=(6, 9)),
        "apart": rng.uniform(-1e30, 1e30, (6, 9)),
    }
    return {name: rows.astype(dtype) for name, rows in made.items()}


def shares(row):
    """The share of each entry, of all but that at the label, and the loss."""
    values = [exact(v) for v in row]
    top = max(values)
    terms = [mp.exp(max(v - top, mp.mpf(-(10**5)))) for v in values]
    rest, total = mp.fsum(t for j, t in enumerate(terms) if j != LABEL), mp.fsum(terms)
    above = top - values[LABEL]
    loss = above + mp.log(total) if above or total > 2 else mp.log1p(rest)
    return [t / total for t in terms], rest / total, loss


@pytest.mark.parametrize("family", families(np.float64))
@each_dtype
def test_labels(dtype, family, backend):
    x = families(dtype)[family]
    labels = np.full(len(x), LABEL)
    # far apart, a share may vanish that the gradient multiplies by much
    factors = [1] if family == "apart" or x.size > 200 else [1, -0.3, 1e-30, 1e30]
    losses = fr.cross_entropy(x, labels, reduction="none")
    rows = fr.cross_entropy.value_and_grad(x, labels, reduction="none")[1]
    gradients = {
        f: fr.cross_entropy.backward(np.full(len(x), f, dtype), x, labels, reduction="none") for f in factors
    }
    np.testing.assert_array_equal(gradients[1], rows)
    with mp.workdps(DIGITS):
        for i, row in enumerate(x):
            p, beside, loss = shares(row)
            assert error(losses[i], loss, floor=0 if "dominated" in family else 0.5) <= 1
            for factor, got in gradients.items():
                true = [
                    exact(dtype(factor)) * (-beside if j == LABEL else share) for j, share in enumerate(p)
                ]
                assert max(error(*pair) for pair in zip(got[i], true, strict=True)) <= 2, factor


@pytest.mark.parametrize("options", SEVERAL, ids=str)
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
def test_several_targets(kind, options, backend):
    """Judged in float32: a gradient in units of the larger of what it is the difference of."""
    rng = np.random.default_rng(5)
    x = (4 * rng.normal(size=(300, 5))).astype(np.float32)
    labels = rng.integers(0, 5, len(x))
    if kind == "probabilities":
        labels = np.where(rng.random((300, 1)) < 0.3, np.eye(5)[labels], rng.dirichlet(np.ones(5), 300))
        labels = labels.astype(np.float32)
    true, shares, targets, _ = parts(x, labels, **options)
    losses, gradients = fr.cross_entropy.value_and_grad(x, labels, reduction="none", **options)
    assert np.all(distances(losses, true, floor=0.5) <= 1)
    assert np.all(distances(gradients, shares - targets, floor=np.maximum(shares, targets)) <= 2)


def test_a_confident_smoothed_prediction():
    """One probability of 1 is the label itself."""
    x = np.array([[40, 0, -3], [-2, 0, 60]])
    hard, soft = fr.cross_entropy(x, [0, 2]), fr.cross_entropy(x, np.eye(3)[[0, 2]])
    assert error(soft, exact(hard)) <= 1


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@each_dtype
def test_over_many_rows(dtype, reduction, backend):
    """The sum over the rows is carried wider than its terms, whatever their weights."""
    rng = np.random.default_rng(4)
    x = (rng.normal(size=(20000, 3)) * np.logspace(-3, 3, 20000)[:, None]).astype(dtype)
    labels, weight = rng.integers(0, 3, len(x)), np.array([0.1, 3, 0.7])
    for options in ({}, {"weight": weight}):
        losses = fr.cross_entropy(x, labels, reduction="none", **options)
        got = fr.cross_entropy(x, labels, reduction=reduction, **options)
        with mp.workdps(DIGITS):
            true = mp.fsum(map(exact, losses))
            if reduction == "mean":
                true /= mp.fsum(map(exact, weight[labels])) if options else len(x)
            assert error(got, true) <= 1


def test_a_long_flat_row(kernels_only):
    """The loss is the logarithm of the length."""
    row = np.zeros(3 * 10**6, np.float32)
    assert error(fr.cross_entropy(row, 5), mp.log(len(row))) <= 0.6
    grad = fr.cross_entropy.backward(1.0, row, 5)
    assert error(grad[0], mp.mpf(1) / len(row)) <= 1
    assert error(grad[5], mp.mpf(1) / len(row) - 1) <= 1
