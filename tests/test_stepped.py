"""stepped_sigmoid against the sum itself, in every backend that computes it."""

import copy
import pickle

import mpmath as mp
import numpy as np
import pytest
from calls import LAYOUTS, agree, refused
from truth import DIGITS
from ulp import error, exact

import fastrelu as fr
from fastrelu.stepped import FROM_SOFTPLUS

INF = np.inf
SUMMED = 180  # terms of the endless sum: the rest is less than a unit where x <= 120


@pytest.fixture(params=["numpy", "numba"], autouse=True)
def computing(request):
    if request.param == "numba":
        pytest.importorskip("numba")
    with fr.use_backend(request.param):
        yield request.param


def places(dtype):
    deep = (-100.0, -85.0) if dtype == np.float32 else (-740.0, -600.0, -85.0)
    special = [*deep, -40.0, -1.0, -0.0, 0.5, 1.0, 3.5, 7.0, 20.25, 90.5, 120.0]
    return np.concatenate([special, np.random.default_rng(0).normal(0, 4, 24)]).astype(dtype)


@pytest.mark.parametrize("units", [None, 1, 2, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_accuracy(dtype, units):
    x = places(dtype)
    got, slopes = fr.stepped_sigmoid(x, units), fr.stepped_sigmoid.backward(np.ones_like(x), x, units=units)
    assert got.dtype == slopes.dtype == dtype
    forward, backward = (1.0, 1.0) if dtype == np.float32 else (4.0, 8.0)
    with mp.workdps(DIGITS):
        for value, slope, at in zip(got, slopes, map(exact, x), strict=True):
            t = [mp.exp(at + mp.mpf(1) / 2 - n) for n in range(1, (units or SUMMED) + 1)]
            assert error(value, mp.fsum(e / (1 + e) for e in t)) <= forward, at
            assert error(slope, mp.fsum(e / (1 + e) ** 2 for e in t)) <= backward, at


def test_limits_and_nan():
    x = np.array([INF, -INF, np.nan, 1e300, -1e300])
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(fr.stepped_sigmoid(x), [INF, 0, np.nan, 1e300, 0])
        np.testing.assert_array_equal(fr.stepped_sigmoid(x, 5), [5, 0, np.nan, 5, 0])
        slopes = fr.stepped_sigmoid.backward(np.full(5, INF), x, units=5)
        np.testing.assert_array_equal(slopes, [0, 0, np.nan, 0, 0])
        mixed = fr.stepped_sigmoid(np.full(5, 0.5), np.array([1.0, INF, 0.0, 2.5, np.nan]))
    assert mixed[0] == 0.5
    assert np.isnan(mixed).tolist() == [False, False, True, True, True]


def test_how_far_it_is_from_softplus():
    x = np.linspace(-30, 30, 6001)
    away = fr.stepped_sigmoid(x) - fr.softplus(x)
    assert FROM_SOFTPLUS - 1e-4 < abs(away).max() <= FROM_SOFTPLUS
    assert abs(x[abs(away).argmax()]) < 2e-2
    assert away[3000] == pytest.approx(-0.01057770159, abs=1e-11)


def test_it_is_an_activation_like_any_other(computing):
    f, x = fr.stepped_sigmoid, np.random.default_rng(1).normal(0, 3, (7, 37))
    assert pickle.loads(pickle.dumps(f)) is copy.deepcopy(f) is f
    assert fr.explain(f, x).backend == computing
    expected, dy = f(x, 4), np.full_like(x, 2.0)
    for layout in ("fortran", "strided", "negative", "byte-swapped", "read-only"):
        agree(f(LAYOUTS[layout](x), units=4), expected, layout)
    given = x.copy()
    assert f(given, 4, out=given) is given
    agree(given, expected)
    assert f(x, np.arange(1.0, 38)).shape == (7, 37)
    np.testing.assert_array_equal(f.backward(dy, x, units=4), 2 * f.backward(np.ones_like(x), x, units=4))
    halves = x.astype(np.float16)
    assert f(halves).dtype == np.float16
    np.testing.assert_array_equal(f(halves), f(halves.astype(np.float32)).astype(np.float16))
    assert type(f(1)) is np.float64


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda f, x: f(x, 0), ValueError, ("units", "0", ">= 1")),
        (lambda f, x: f(x, 2.5), ValueError, ("units", "2.5", "whole number")),
        (lambda f, x: f(x, count=2), TypeError, ("stepped_sigmoid", "count")),
        (lambda f, x: f(x.astype(complex)), TypeError, ("x", "complex128")),
        (lambda f, x: f.backward(x[:2], x), ValueError, ("dy", "(2,)", "(3,)")),
        (lambda f, x: f.backward(x, x, wrt="units"), ValueError, ("wrt", "units")),
        (lambda f, x: f.backward(x, y=x), ValueError, ("y",)),
        (lambda f, x: f.ufunc, AttributeError, ("stepped_sigmoid", "no ufunc")),
    ],
)
def test_bad_input(call, kind, words):
    x = np.ones(3)
    with refused(kind, *words, untouched=(x,)):
        call(fr.stepped_sigmoid, x)
