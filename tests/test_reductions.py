"""logsumexp, softmax and log_softmax: accuracy in ULP, special rows, and agreement with SciPy."""

import inspect
import itertools

import mpmath as mp
import numpy as np
import pytest
import scipy.special
from reduction_accuracy import BOUND, DIGITS, DTYPES, STRICT, beyond, families, judged, of_long_rows
from ulp import HAS_EXTENDED, error, exact

import fastrelu as fr
from fastrelu.reference import rows as reference_rows

INF, NAN = np.inf, np.nan
FORWARD = [fr.logsumexp, fr.softmax, fr.log_softmax]
NORMALISING = FORWARD[1:]
by_name = {"ids": lambda f: f.__qualname__}


# Accuracy


FAMILIES = list(families(np.float64))


def judge(name, rows, got, family, bound):
    """Every row within the bound, in ULP."""
    with mp.workdps(DIGITS):
        for row, values in zip(rows, got, strict=True):
            assert judged(name, row, values, strict=family in STRICT) <= bound


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("function", FORWARD, **by_name)
def test_accuracy(function, dtype, family, backend):
    if dtype == np.float64 and backend == "numpy" and not HAS_EXTENDED:
        pytest.skip("the reference needs long double to keep 1 ULP")
    rows = families(dtype)[family]
    got = function(rows, axis=1)
    assert got.dtype == dtype
    judge(function.__name__, rows, got, family, BOUND.get(function.__name__, 1))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [np.float64, np.longdouble])
@pytest.mark.parametrize("function", FORWARD, **by_name)
def test_reference_without_wider_arithmetic(function, dtype, family, monkeypatch):
    """4 ULP, as reference.rows says, where long double is no wider; and for long double itself."""
    monkeypatch.setattr(reference_rows, "_work_dtype", lambda dtype, gradient=False: dtype)
    rows = families(dtype)[family]
    got = getattr(reference_rows, function.__name__)(rows, axis=1)
    assert got.dtype == dtype
    judge(function.__name__, rows, got, family, 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_accuracy_does_not_depend_on_the_length(dtype):
    """A million entries: all alike, random, of alternating size, or far below one of them."""
    assert list(beyond([("long", list(of_long_rows(dtype, 10**6)))])) == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_small_term_is_kept(dtype, backend):
    small = dtype(mp.exp(-40))
    assert fr.logsumexp(np.array([0, -40], dtype)) == small
    assert fr.logsumexp(np.array([[-40, 0]], dtype), axis=-1) == [small]
    assert fr.log_softmax(np.array([0, -40], dtype))[0] == -small


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("signed", [False, True])
def test_weights(dtype, signed, backend):
    rng = np.random.default_rng(5)
    a = rng.normal(0, 4, (40, 30)).astype(dtype)
    b = rng.lognormal(0, 3, (40, 30)).astype(dtype) * (rng.choice([-1, 1], (40, 30)) if signed else 1)
    a[0, :2], b[0] = [0, -40], 0
    b[0, :2] = 1, -1 if signed else 1
    b = b.astype(dtype)
    values, signs = fr.logsumexp(a, axis=1, b=b, return_sign=True)
    plain = fr.logsumexp(a, axis=1, b=b)
    with mp.workdps(DIGITS):
        for row, weights, value, sign, without in zip(a, b, values, signs, plain, strict=True):
            terms = [exact(w) * mp.exp(exact(x)) for w, x in zip(weights, row, strict=True)]
            total = mp.fsum(terms)
            condition = mp.fsum(map(abs, terms)) / abs(total)
            assert error(value, mp.log(abs(total)), floor=0.5) <= condition
            assert sign == mp.sign(total)
            assert np.isnan(without) if total < 0 else without == value
    assert error(values[0], mp.log1p((-1 if signed else 1) * mp.exp(-40))) <= 1


# Special rows

SPECIAL = [
    # row, logsumexp, softmax, log_softmax
    ([NAN, 1], NAN, [NAN, NAN], [NAN, NAN]),
    ([NAN, INF], NAN, [NAN, NAN], [NAN, NAN]),
    ([NAN, -INF], NAN, [NAN, NAN], [NAN, NAN]),
    ([1, INF, 2], INF, [0, 1, 0], [-INF, 0, -INF]),
    ([1, INF, -INF], INF, [0, 1, 0], [-INF, 0, -INF]),
    ([INF], INF, [1], [0]),
    ([INF, INF], INF, [NAN, NAN], [NAN, NAN]),
    ([INF, 0, INF], INF, [NAN, NAN, NAN], [NAN, NAN, NAN]),
    ([-INF], -INF, [NAN], [NAN]),
    ([-INF, -INF], -INF, [NAN, NAN], [NAN, NAN]),
    ([-INF, 2.5], 2.5, [0, 1], [-INF, 0]),
    ([7.25], 7.25, [1], [0]),
    ([1e5, -1e5], 1e5, [1, 0], [0, -2e5]),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize(("row", "lse", "soft", "log_soft"), SPECIAL)
def test_special_rows(row, lse, soft, log_soft, dtype, backend):
    # by itself, and in lanes beyond the first register
    for fill in (0, 40):
        pad = [-INF] * fill
        x = np.array([pad + row, pad + row], dtype)
        np.testing.assert_array_equal(fr.logsumexp(x, axis=1), [lse, lse])
        np.testing.assert_array_equal(fr.softmax(x, axis=1)[1, fill:], soft)
        np.testing.assert_array_equal(fr.log_softmax(x, axis=1)[1, fill:], log_soft)
    with np.errstate(all="raise"):
        fr.logsumexp(x, axis=1)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 65])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_do_not_depend_on_the_length_of_a_row(length, dtype):
    """Entries of -inf are as if they were not there, wherever they stand."""
    x = np.array([0.5, -1.25, 2.0], dtype)
    row = np.full(length + 3, -INF, dtype)
    row[[0, length // 2 + 1, length + 2]] = x
    np.testing.assert_allclose(fr.logsumexp(row), fr.logsumexp(x), rtol=2 * np.finfo(dtype).eps)
    np.testing.assert_allclose(fr.softmax(row)[row > -INF], fr.softmax(x), rtol=2 * np.finfo(dtype).eps)


def test_empty(backend):
    for x, axis, shape in [(np.zeros(0), None, ()), (np.zeros((3, 0)), 1, (3,)), (np.zeros((0, 3)), 0, (3,))]:
        got = fr.logsumexp(x, axis=axis)
        assert got.shape == shape
        assert np.all(got == -INF)
        value, sign = fr.logsumexp(x, axis=axis, return_sign=True)
        assert np.all(value == -INF)
        assert np.all(sign == 0)
        assert np.all(fr.logsumexp(x, axis=axis, b=2.0) == -INF)
        for f in NORMALISING:
            assert f(x, axis=axis).shape == x.shape
    assert fr.logsumexp(np.zeros((0, 3)), axis=1).shape == (0,)
    assert fr.logsumexp(np.zeros((2, 0)), axis=1, keepdims=True).shape == (2, 1)


def test_a_weight_of_zero_drops_its_entry(backend):
    a = np.array([INF, NAN, 1.0, -INF, 2.0])
    b = np.array([0, 0, 1.0, 1, 0])
    assert fr.logsumexp(a, b=b) == 1
    assert fr.logsumexp(a, b=np.zeros(5)) == -INF
    assert fr.logsumexp(a, b=0, return_sign=True) == (-INF, 0)
    np.testing.assert_array_equal(fr.logsumexp.backward(3.0, a, b=b), [0, 0, 3, 0, 0])


@pytest.mark.parametrize(
    ("a", "b", "value", "sign"),
    [
        ([1, 1], [1, -1], -INF, 0),
        ([7, 7, 7], [2, -3, 1], -INF, 0),  # 2/3 - 1 + 1/3 would leave something
        ([0, 0, 0, 0], [-3, 1, -1, 3], -INF, 0),
        ([INF, 0], [-1, 1], INF, -1),
        ([INF, 20000], [1, -1], INF, 1),
        ([INF, INF], [1, -1], NAN, NAN),
        ([0, 1], [INF, 1], INF, 1),
        ([0, 1], [1, -INF], INF, -1),
        ([0, 1], [1, NAN], NAN, NAN),
        ([NAN, 1], [1, 1], NAN, NAN),
        ([-INF, -INF], [1, -1], -INF, 0),
        ([800, -800], [1e-300, 1e300], 800 + np.log(1e-300), 1),
    ],
)
def test_special_weights(a, b, value, sign, backend):
    got = fr.logsumexp(np.array(a, float), b=np.array(b, float), return_sign=True)
    np.testing.assert_allclose(got, (value, sign), rtol=1e-15)
    assert sign or not np.signbit(got[1])
    plain = fr.logsumexp(np.array(a, float), b=np.array(b, float))
    np.testing.assert_allclose(plain, NAN if sign == -1 else value, rtol=1e-15)


# As SciPy has it


@pytest.mark.parametrize("function", FORWARD, **by_name)
def test_signature_is_scipys_and_out(function):
    ours = dict(inspect.signature(function).parameters)
    assert ours.pop("out").kind == inspect.Parameter.KEYWORD_ONLY
    theirs = inspect.signature(getattr(scipy.special, function.__name__)).parameters
    assert list(ours.values()) == list(theirs.values())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.int32, np.uint8, np.bool_])
def test_axes_shapes_and_dtypes_are_scipys(dtype, backend):
    x = (np.random.default_rng(2).normal(0, 3, (2, 3, 4)) * 2).astype(dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    for axis, keepdims in itertools.product([None, 0, 1, -1, (0, 2), (2, 0), (-1, 1)], [False, True]):
        expected = scipy.special.logsumexp(x, axis=axis, keepdims=keepdims)
        got = fr.logsumexp(x, axis=axis, keepdims=keepdims)
        assert (got.shape, got.dtype, type(got)) == (expected.shape, expected.dtype, type(expected))
        np.testing.assert_allclose(got, expected, rtol=tolerance)
        pair = fr.logsumexp(x, axis, None, keepdims, True)
        np.testing.assert_array_equal(pair[0], got)
        np.testing.assert_array_equal(pair[1], np.ones_like(got))
    x = x.astype(float) if x.dtype.kind in "biu" else x  # SciPy subtracts unsigned integers
    for axis, name in itertools.product([None, 0, 1, -1, (0, 2), (2, 0)], ["softmax", "log_softmax"]):
        expected = getattr(scipy.special, name)(x, axis=axis)
        for order in "CF":
            got = getattr(fr, name)(np.asarray(x, order=order), axis=axis)
            assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_is_scipys(dtype):
    rng = np.random.default_rng(8)
    z = (rng.normal(0, 3, (2, 3, 4)) + 1j * rng.normal(0, 6, (2, 3, 4))).astype(dtype)
    b = (rng.normal(size=(3, 1)) + 1j * rng.normal(size=(3, 1))).astype(dtype)
    tolerance = {"rtol": 200 * np.finfo(dtype).eps, "atol": 200 * np.finfo(dtype).eps}
    for axis in (None, 1, (0, 2)):
        for weights in (None, b):
            expected = scipy.special.logsumexp(z, axis=axis, b=weights)
            got = fr.logsumexp(z, axis=axis, b=weights)
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, **tolerance)
            expected = scipy.special.logsumexp(z, axis=axis, b=weights, return_sign=True)
            for g, e in zip(fr.logsumexp(z, axis, weights, False, True), expected, strict=True):
                assert g.dtype == e.dtype
                np.testing.assert_allclose(g, e, **tolerance)
        for name in ("softmax", "log_softmax"):
            expected = getattr(scipy.special, name)(z, axis=axis)
            np.testing.assert_allclose(getattr(fr, name)(z, axis=axis), expected, **tolerance)
    log_minus_one = fr.logsumexp(np.array([0.0]), b=np.array([-1 + 0j]))
    np.testing.assert_allclose(log_minus_one, np.pi * 1j)


def test_weights_broadcast_and_do_not_widen(backend):
    a = np.random.default_rng(4).normal(size=(3, 4)).astype(np.float32)
    for b in (np.float64(2), np.arange(4), np.ones((2, 1, 4), np.longdouble), 3, True):
        expected = scipy.special.logsumexp(a.astype(float), axis=-1, b=np.asarray(b, float))
        got = fr.logsumexp(a, axis=-1, b=b)
        assert got.dtype == np.float32
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert fr.logsumexp(a, b=1j).dtype == np.complex64
    assert fr.logsumexp([1, 2], b=[3, 4]).dtype == np.float64
