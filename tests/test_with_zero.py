"""logsumexp0 and softmax0: what logsumexp and softmax make of the row with one more entry, 0."""

import itertools

import mpmath as mp
import numpy as np
import pytest
from truth import DIGITS
from ulp import error, exact

import fastrelu as fr

INF, NAN = np.inf, np.nan
each_dtype = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, np.int32])


def with_zero(x, axis):
    """The rows of `x` along `axis`, as a matrix with a last column of 0."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = sorted(a % x.ndim for a in axes)
    kept = [a for a in range(x.ndim) if a not in axes]
    rows = x.transpose(*kept, *axes).reshape(*(x.shape[a] for a in kept), -1)
    return np.concatenate([rows, np.zeros_like(rows[..., :1])], axis=-1)


@each_dtype
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (2, 0)])
def test_it_is_the_row_with_a_zero(axis, dtype):
    x = (3 * np.random.default_rng(2).normal(size=(2, 3, 4))).astype(dtype)
    rows = with_zero(x, axis)
    for keepdims, signs in itertools.product((False, True), (False, True)):
        got = fr.logsumexp0(x, axis, None, keepdims, signs)
        expected = fr.logsumexp(rows, axis=-1, return_sign=signs)
        shape = fr.logsumexp(x, axis, keepdims=keepdims).shape
        for g, e in zip(*((v if signs else (v,)) for v in (got, expected)), strict=True):
            assert g.shape == shape
            np.testing.assert_array_equal(np.ravel(g), np.ravel(e))
    got = fr.softmax0(x, axis)
    assert got.shape == x.shape
    expected = fr.softmax(rows, axis=-1)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(with_zero(got, axis)[..., :-1], expected[..., :-1])


@each_dtype
def test_weights(dtype):
    rng = np.random.default_rng(3)
    x, b = rng.normal(size=(3, 4)).astype(dtype), rng.normal(size=(2, 1, 4))
    wide = np.broadcast_to(x, (2, 3, 4))
    ones = np.ones((2, 3, 1))
    got = fr.logsumexp0(x, axis=-1, b=b, return_sign=True)
    weights = np.concatenate([np.broadcast_to(b, wide.shape), ones], axis=-1)
    expected = fr.logsumexp(with_zero(wide, -1), axis=-1, b=weights, return_sign=True)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [0.1, 1, 30])
@pytest.mark.parametrize("shift", [0, -60, 60])
def test_accuracy(dtype, scale, shift):
    """Strictly 1 ULP where all entries are far below 0, as 1 + the sum would not be; softmax0 2 ULP."""
    rng = np.random.default_rng(4)
    x = (shift + scale * rng.uniform(-1, 0, size=(20, 13))).astype(dtype)
    sums, shares = fr.logsumexp0(x, axis=1), fr.softmax0(x, axis=1)
    with mp.workdps(DIGITS):
        for row, value, values in zip(x, sums, shares, strict=True):
            terms = [mp.exp(exact(v)) for v in row]
            rest = mp.fsum(terms)
            assert error(value, mp.log1p(rest)) <= 1
            assert max(error(v, t / (1 + rest)) for v, t in zip(values, terms, strict=True)) <= 2


@pytest.mark.parametrize(
    ("row", "total", "shares"),
    [
        ([], 0, []),
        ([-INF], 0, [0]),
        ([-INF, -INF], 0, [0, 0]),
        ([INF, 3], INF, [1, 0]),
        ([INF, INF], INF, [NAN, NAN]),
        ([NAN, 0], NAN, [NAN, NAN]),
        ([1e5, 0], 1e5, [1, 0]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_special_rows(row, total, shares, dtype):
    x = np.array(row, dtype)
    assert fr.logsumexp0(x).dtype == fr.softmax0(x).dtype == dtype
    np.testing.assert_array_equal(fr.logsumexp0(x), total)
    np.testing.assert_array_equal(fr.softmax0(x), shares)
    np.testing.assert_array_equal(fr.logsumexp0.backward(1.0, x), shares)


def test_one_entry_is_the_logistic_family():
    x = np.linspace(-50, 50, 101)[:, None]
    np.testing.assert_allclose(fr.logsumexp0(x, axis=1), fr.softplus(x[:, 0]), rtol=1e-15)
    np.testing.assert_allclose(fr.softmax0(x, axis=1), fr.sigmoid(x), rtol=1e-15)
    dy = np.cos(x)
    expected = fr.sigmoid.backward(dy, x)
    np.testing.assert_allclose(fr.softmax0.backward(dy, x, axis=1), expected, rtol=1e-13)
    below = x < 0  # above, the output has lost what the gradient is made of
    got = fr.softmax0.backward(dy, y=fr.softmax0(x, axis=1), axis=1)
    np.testing.assert_allclose(got[below], expected[below], rtol=1e-13)


def test_complex():
    z = np.array([1 + 2j, -0.5 - 1j])
    np.testing.assert_allclose(fr.logsumexp0(z), np.log(1 + np.exp(z).sum()), rtol=1e-14)
    np.testing.assert_allclose(fr.softmax0(z), np.exp(z) / (1 + np.exp(z).sum()), rtol=1e-14)
