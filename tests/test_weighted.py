"""logsumexp with weights: accuracy over lengths and signs, rows that only the reference can do, layouts."""

import mpmath as mp
import numpy as np
import pytest
from truth import DIGITS
from ulp import error, exact

import fastrelu as fr

pytestmark = pytest.mark.every_isa
INF, NAN = np.inf, np.nan
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def true_sum(a, b):
    """The sum of b exp(a), and its condition number."""
    terms = [exact(w) * mp.exp(exact(x)) for x, w in zip(a, b, strict=True) if w != 0]
    total = mp.fsum(terms)
    return total, mp.fsum(map(abs, terms)) / abs(total)


def judge(values, signs, a, b, floor=0.5):
    """1 ULP, its unit floored at that of 1/2, times the condition number; the sign."""
    with mp.workdps(DIGITS):
        for value, sign, row, weights in zip(values, signs, a, b, strict=True):
            total, condition = true_sum(row, weights)
            assert sign == mp.sign(total)
            assert error(value, mp.log(abs(total)), floor=floor) <= condition


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 1000])
@each_dtype
def test_lengths(dtype, length):
    rng = np.random.default_rng(length)
    a = rng.normal(0, 5, (6, length)).astype(dtype)
    b = (rng.lognormal(0, 2, a.shape) * rng.choice([-1, 1], a.shape)).astype(dtype)
    b[:, 1::7] = 0
    judge(*fr.logsumexp(a, axis=1, b=b, return_sign=True), a, b)
    positive = abs(b)
    judge(*fr.logsumexp(a, axis=1, b=positive, return_sign=True), a, positive)


@each_dtype
def test_cancelling(dtype):
    """The sum is far smaller than its terms, down to their last digit."""
    a = np.zeros((40, 4), dtype)
    b = np.ones((40, 4), dtype)
    b[:, 1] = -1 - np.finfo(dtype).eps * np.arange(40)
    a[:, 2:] = -30 - np.arange(40)[:, None] / 3
    judge(*fr.logsumexp(a, axis=1, b=b, return_sign=True), a, b)
    b[:, 1], b[:, 3] = -1, 0
    judge(*fr.logsumexp(a, axis=1, b=b, return_sign=True), a, b)


@each_dtype
def test_dominated(dtype):
    a = np.array([[0, -v, -v - 1] for v in range(20, 80, 3)], dtype)
    for last in (1, -0.5):
        b = np.tile(np.array([1, 1, last], dtype), (len(a), 1))
        judge(*fr.logsumexp(a, axis=1, b=b, return_sign=True), a, b, floor=0)


def test_weights_out_of_the_ordinary():
    """Where products leave the range of double the sum is still there."""
    a = np.array([[700.0, 700], [-700, -700], [0, -740], [0, -1e5], [800, -800]])
    b = np.array([[1e300, 1e305], [1e-300, 1e-310], [1e-320, 1e10], [1e-300, 1e308], [1e-300, 1e300]])
    for i in range(len(a)):
        judge(
            *fr.logsumexp(a[i : i + 1], axis=1, b=b[i : i + 1], return_sign=True), a[i : i + 1], b[i : i + 1]
        )
    values = fr.logsumexp(a, axis=1, b=b)  # side by side, with an ordinary row and one that is not
    together = fr.logsumexp(np.vstack([a, [[1, 2], [NAN, 0]]]), axis=1, b=np.vstack([b, [[1, 1], [1, 1]]]))
    np.testing.assert_array_equal(together[:-2], values)
    assert np.isnan(together[-1])
    assert together[-2] == fr.logsumexp([1.0, 2.0])


@each_dtype
def test_broadcasting_and_layouts_change_no_bit(dtype):
    rng = np.random.default_rng(9)
    a = rng.normal(size=(4, 5, 33)).astype(dtype)
    for shape in ((33,), (5, 1), (4, 1, 1), (1, 5, 33), (), (2, 4, 5, 33)):
        b = np.asarray(rng.normal(size=shape), dtype)
        whole, full = np.broadcast_arrays(a, b)
        for axis in (None, 0, 1, -1, (0, 2), (1, 2)):
            axis = axis if axis is None or len(shape) < 4 else -1
            got = fr.logsumexp(a, axis=axis, b=b, return_sign=True)
            expected = fr.logsumexp(whole.copy(), axis=axis, b=full.copy(), return_sign=True)
            np.testing.assert_array_equal(got, expected)
    b = np.ascontiguousarray(full)[0]
    expected = fr.logsumexp(a, axis=-1, b=b)
    for x in (np.asfortranarray(a), np.repeat(a, 2, axis=2)[..., ::2], a[::-1, :, ::-1][::-1, :, ::-1]):
        np.testing.assert_array_equal(fr.logsumexp(x, axis=-1, b=b[..., ::-1][..., ::-1]), expected)
    np.testing.assert_array_equal(fr.logsumexp(a.astype(a.dtype.newbyteorder()), axis=-1, b=b), expected)


@each_dtype
def test_threads_change_no_bit(dtype):
    rng = np.random.default_rng(10)
    a, b = rng.normal(size=(2, 700, 301)).astype(dtype)
    threads, made = fr.get_num_threads(), []
    for n in (1, 2, 3):
        fr.set_num_threads(n)
        made.append(fr.logsumexp(a, axis=1, b=b, return_sign=True))
    fr.set_num_threads(threads)
    for one in made[1:]:
        np.testing.assert_array_equal(one, made[0])
    np.testing.assert_array_equal(fr.logsumexp(a[13], b=b[13], return_sign=True), [v[13] for v in made[0]])


def test_halves_are_computed_wider():
    a = np.array([1, 2, 3], np.float16)
    got = fr.logsumexp(a, b=[1e6, 1e6, 1e6])  # too large for float16
    assert got.dtype == np.float16
    assert got == np.float16(fr.logsumexp(a.astype(float), b=[1e6, 1e6, 1e6]))


def test_bfloat16_is_silent_about_nan():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    got = fr.logsumexp(np.array([[np.nan, 1], [0, 0]], bfloat16), axis=1, b=[1.0, -2.0])
    assert got.dtype == bfloat16
    assert np.isnan(got.astype(float)).all()
