"""Gradients of the reductions against their formulas in 60 digits."""

import mpmath as mp
import numpy as np
import pytest
from truth import DIGITS
from ulp import exact, unit

import fastrelu as fr

BOUND = 4  # units of the largest term of the formula: y and dy y are rounded, and their sum
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def families(dtype):
    rng = np.random.default_rng(12)
    deep = {np.float32: 80.0, np.float64: 650.0}[dtype]
    made = {
        "normal": 3 * rng.normal(size=(8, 37)),
        "dominated": np.where(np.arange(5) == 3, 0, -rng.uniform(15, deep, (12, 5))),
        "flat": np.full((3, 64), -0.7),
        "apart": rng.uniform(-deep, 0, (8, 9)),
        "high": 300 + rng.normal(size=(6, 12)),
    }
    return {name: rows.astype(dtype) for name, rows in made.items()}


each_family = pytest.mark.parametrize("family", families(np.float64))


def shares(row, weights=None, zero=False):
    """b exp(x) over their sum."""
    weights = [1] * len(row) if weights is None else weights
    m = max(*row, mp.mpf(0)) if zero else max(row)
    terms = [w * mp.exp(x - m) for x, w in zip(row, weights, strict=True)]
    total = mp.fsum(terms) + (mp.exp(-m) if zero else 0)
    return [t / total for t in terms], mp.fsum(map(abs, terms)) / abs(total)


def judge(got, true, sizes, dtype):
    """Every error in units of the size of what was added up, which is the result itself where nothing was."""
    for value, expected, size in zip(got, true, sizes, strict=True):
        assert abs(exact(value) - expected) <= BOUND * unit(size, dtype), (value, expected)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("function", [fr.logsumexp, fr.logsumexp0], ids=lambda f: f.__name__)
@each_family
@each_dtype
def test_of_sums(dtype, family, function, weighted):
    x = families(dtype)[family]
    rng = np.random.default_rng(13)
    dy = rng.normal(size=len(x)).astype(dtype)
    b = rng.uniform(0.1, 2, x.shape).astype(dtype) * rng.choice([-1, 1], x.shape) if weighted else None
    got = function.backward(dy, x, axis=1, b=b)
    with mp.workdps(DIGITS):
        for i, row in enumerate(x):
            weights = [exact(w) for w in b[i]] if weighted else None
            p, condition = shares([exact(v) for v in row], weights, function is fr.logsumexp0)
            true = [exact(dy[i]) * v for v in p]
            judge(got[i], true, [abs(v) * max(condition, 1) for v in true], dtype)


@pytest.mark.parametrize("function", [fr.softmax, fr.softmax0], ids=lambda f: f.__name__)
@each_family
@each_dtype
def test_of_softmax(dtype, family, function):
    x = families(dtype)[family]
    dy = np.random.default_rng(14).normal(size=x.shape).astype(dtype)
    from_x, from_y = function.backward(dy, x, axis=1), function.backward(dy, y=function(x, axis=1), axis=1)
    with mp.workdps(DIGITS):
        for i, row in enumerate(x):
            y, _ = shares([exact(v) for v in row], zero=function is fr.softmax0)
            slopes = [exact(v) for v in dy[i]]
            mean = mp.fsum(s * v for s, v in zip(slopes, y, strict=True))
            true = [v * (s - mean) for s, v in zip(slopes, y, strict=True)]
            spread = mp.fsum(abs(s) * v for s, v in zip(slopes, y, strict=True))
            sizes = [v * (abs(s) + spread) for s, v in zip(slopes, y, strict=True)]
            judge(from_x[i], true, sizes, dtype)
            judge(from_y[i], true, sizes, dtype)


@each_family
@each_dtype
def test_of_log_softmax(dtype, family):
    x = families(dtype)[family]
    dy = np.random.default_rng(15).normal(size=x.shape).astype(dtype)
    from_x = fr.log_softmax.backward(dy, x, axis=1)
    output = fr.log_softmax(x, axis=1)
    from_y = fr.log_softmax.backward(dy, y=output, axis=1)
    with mp.workdps(DIGITS):
        for i, row in enumerate(x):
            p, _ = shares([exact(v) for v in row])
            slopes = [exact(v) for v in dy[i]]
            total, spread = mp.fsum(slopes), mp.fsum(map(abs, slopes))
            true = [s - v * total for s, v in zip(slopes, p, strict=True)]
            sizes = [abs(s) * (1 - v) + v * (spread - abs(s)) for s, v in zip(slopes, p, strict=True)]
            judge(from_x[i], true, sizes, dtype)
            # the rounding of an output y is a relative error abs(y) of exp(y)
            from_output = [mp.exp(exact(v)) for v in output[i]]
            true = [s * (1 - v) - v * (total - s) for s, v in zip(slopes, from_output, strict=True)]
            judge(from_y[i], true, sizes, dtype)
