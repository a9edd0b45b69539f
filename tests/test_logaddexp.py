"""logaddexp: accuracy, limits, reduce and accumulate, promotion, gradients, errors."""

import copy
import itertools
import pickle

import mpmath as mp
import numpy as np
import pytest
from truth import DIGITS
from ulp import error, exact

import fastrelu as fr
from fastrelu.backends import cython

pytestmark = pytest.mark.every_isa
INF, NAN = np.inf, np.nan
needs_kernels = pytest.mark.skipif(not cython.ISA, reason="nothing was compiled: no ufunc")
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def pairs(dtype):
    """Name -> (a, b): level, apart, cancelling near 0, dominated, at the ends of the exponential."""
    rng = np.random.default_rng(3)
    deep = {np.float32: 104.0, np.float64: 746.0}[dtype]
    below = -rng.uniform(1e-3, 3, 300)
    small = np.ldexp(rng.uniform(0.5, 1, 300), -rng.integers(0, 60, 300))
    made = {
        "normal": rng.normal(0, 3, (2, 400)),
        "apart": (rng.normal(0, 100, 400), rng.normal(0, 100, 400)),
        "high": 1e4 + rng.normal(0, 3, (2, 200)),
        "cancelling": (below, np.log(-np.expm1(below))),
        "near -log 2": (-np.log(2) + small, -np.log(2) - small),
        "dominated": (np.zeros(300), -rng.uniform(1, deep, 300)),
        "above": (small, -rng.uniform(1, deep, 300)),
        "tails": (np.zeros(200), -deep + rng.uniform(-2, 2, 200)),
    }
    return {name: np.array(value, dtype) for name, value in made.items()}


FAMILIES = list(pairs(np.float64))


@pytest.mark.parametrize("family", FAMILIES)
@each_dtype
def test_accuracy(dtype, family, backend):
    """1 ULP, its unit floored at that of 1/2; strictly where one term dominates."""
    a, b = pairs(dtype)[family]
    floor = 0 if family in ("dominated", "tails", "above") else 0.5
    bound = 4 if backend == "numpy" and dtype == np.float64 else 1
    for x, y in ((a, b), (b, a)):
        got = fr.logaddexp(x, y)
        assert got.dtype == dtype
        with mp.workdps(DIGITS):
            for value, p, q in zip(got, map(exact, x), map(exact, y), strict=True):
                true = max(p, q) + mp.log1p(mp.exp(-abs(p - q)))
                assert error(value, true, floor=floor) <= bound, (p, q)


@pytest.mark.parametrize("family", FAMILIES)
@each_dtype
def test_accuracy_of_the_gradients(dtype, family, backend):
    a, b = pairs(dtype)[family]
    bound = 4 if backend == "numpy" and dtype == np.float64 else 1
    gradients = fr.logaddexp.backward(np.ones_like(a), a, b)
    with mp.workdps(DIGITS):
        for x, y, got in ((a, b, gradients[0]), (b, a, gradients[1])):
            for value, p, q in zip(got, map(exact, x), map(exact, y), strict=True):
                d = p - q
                true = 1 / (1 + mp.exp(-d)) if d > 0 else mp.exp(d) / (1 + mp.exp(d))
                assert error(value, true) <= bound, (p, q)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_limits(dtype, backend):
    values = [0.0, 1.0, -5.0, INF, -INF, NAN]
    a, b = np.array(list(itertools.product(values, values)), dtype).T
    with np.errstate(all="raise"):
        got = fr.logaddexp(a, b)
        da, db = fr.logaddexp.backward(np.ones_like(a), a, b)
    with np.errstate(all="ignore"):
        expected = np.logaddexp(a.astype(np.longdouble), b.astype(np.longdouble))
    np.testing.assert_allclose(got, expected.astype(dtype), rtol=4 * np.finfo(dtype).eps)
    for x, y, p, q in zip(a, b, da, db, strict=True):
        if np.isnan(x) or np.isnan(y) or x == y == INF:
            assert np.isnan(p) and np.isnan(q), (x, y)  # noqa: PT018
        elif x == y == -INF:
            assert p == q == 0
        else:
            assert abs(p + q - 1) <= 2 * np.finfo(dtype).eps, (x, y)
            assert (p == 0) == (x == -INF or y == INF)


def test_dtypes_are_numpys(backend):
    arrays = [np.ones(2, c) for c in "?bBhHiIlLefdg"] + [1, 2.0, np.float32(1), np.int8(3), [1, 2], [0.5, 1]]
    for a, b in itertools.product(arrays, arrays):
        if np.asarray(a).dtype == bool or np.asarray(b).dtype == bool:
            continue
        expected = np.logaddexp(a, b)
        got = fr.logaddexp(a, b)
        assert (got.dtype, np.shape(got)) == (expected.dtype, np.shape(expected)), (a, b)
        np.testing.assert_allclose(got, expected, rtol=2e-3 if got.dtype == np.float16 else 1e-6)


def test_bfloat16():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    a, b = np.array([1, 2, 3], bfloat16), np.array([3, 2, -INF], bfloat16)
    got = fr.logaddexp(a, b)
    assert got.dtype == bfloat16
    np.testing.assert_array_equal(got, np.logaddexp(a.astype(float), b.astype(float)).astype(bfloat16))
    mask, out = np.array([True, False, True]), np.full(3, 7, bfloat16)
    assert fr.logaddexp(a, b, out=out, where=mask) is out
    np.testing.assert_array_equal(out, np.where(mask, got, bfloat16(7)))
    out[:] = 7
    assert fr.swiglu(a.astype("f"), b, out=out, where=mask, dtype=bfloat16) is out
    np.testing.assert_array_equal(out, np.where(mask, fr.swiglu(a, b), bfloat16(7)))
    out = np.zeros_like(a)
    assert fr.logaddexp(a, b, out=out) is out
    np.testing.assert_array_equal(out, got)
    if cython.ISA:
        assert fr.logaddexp.accumulate(a).dtype == fr.logaddexp.ufunc(a, b).dtype == bfloat16
    da, db = fr.logaddexp.backward(np.ones_like(a), a, b)
    assert da.dtype == db.dtype == bfloat16
    np.testing.assert_array_equal((da + db).astype(float), np.ones(3))


# The ufunc


@needs_kernels
def test_it_is_a_ufunc():
    assert isinstance(fr.logaddexp.ufunc, np.ufunc)
    assert fr.logaddexp.ufunc.identity == fr.logaddexp.identity == -INF
    assert fr.logaddexp.ufunc.types == np.logaddexp.types
    a, b = np.arange(6.0).reshape(2, 3), np.arange(3.0)
    np.testing.assert_array_equal(fr.logaddexp.ufunc.outer(b, b), fr.logaddexp(b[:, None], b))
    masked = np.ma.array(b, mask=[0, 1, 0])
    assert fr.logaddexp(masked, 1.0).mask.tolist() == [False, True, False]
    out = np.zeros(3)
    fr.logaddexp(a, b, out=a, where=[True, False, True])
    np.testing.assert_array_equal(a[:, 1], [1, 4])
    np.add.at(out, [0], 1)
    fr.logaddexp.ufunc.at(out, [1, 1], [0.0, 0.0])
    np.testing.assert_allclose(out, [1, np.log(3), 0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, None, (0, 2)])
def test_reduce(axis, dtype, backend):
    x = np.random.default_rng(5).normal(size=(5, 3, 70)).astype(dtype)
    for keepdims in (False, True):
        expected = np.logaddexp.reduce(x.astype(float), axis=axis, keepdims=keepdims)
        tolerance = 100 * max(np.finfo(dtype).eps, np.finfo(float).eps)
        for reduce in (fr.logaddexp.reduce, *([fr.logaddexp.ufunc.reduce] if cython.ISA else [])):
            if reduce is not fr.logaddexp.reduce and axis == (0, 2) and dtype == np.longdouble:
                continue
            got = reduce(x, axis=axis, keepdims=keepdims)
            assert got.shape == expected.shape
            assert got.dtype == dtype
            np.testing.assert_allclose(got, expected, rtol=tolerance)
        got = fr.logaddexp.reduce(x, axis=axis, keepdims=keepdims)
        np.testing.assert_array_equal(got, fr.logsumexp(x, axis=axis, keepdims=keepdims))


def test_reduce_takes_what_a_ufunc_takes(backend):
    x = np.random.default_rng(6).normal(size=(4, 5))
    where = x > 0
    expected = np.logaddexp.reduce(x, axis=1, where=where, initial=-3.0)
    np.testing.assert_allclose(fr.logaddexp.reduce(x, axis=1, where=where, initial=-3.0), expected)
    assert fr.logaddexp.reduce(x, dtype=np.float32).dtype == np.float32
    for dtype in (np.float32, np.float16):
        assert fr.logaddexp.reduce(x.astype(dtype), axis=1, initial=np.float64(1)).dtype == dtype
    np.testing.assert_array_equal(fr.logaddexp.reduce(x, initial=None), fr.logsumexp(x, axis=0))
    for integers in (np.arange(3), np.arange(3, dtype=np.int8)):
        got = fr.logaddexp.reduce(integers, where=[True, False, True])
        assert got == fr.logsumexp([0, 2])
        assert got.dtype == np.float64
    out = np.zeros(5)
    assert fr.logaddexp.reduce(x, out=out) is out
    np.testing.assert_array_equal(out, fr.logsumexp(x, axis=0))
    assert np.all(fr.logaddexp.reduce(x[:0]) == -INF)
    assert fr.logaddexp.reduce(2.5) == 2.5
    with pytest.raises(np.exceptions.AxisError):
        fr.logaddexp.reduce(x, axis=2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_accumulate(axis, dtype, backend):
    x = np.random.default_rng(7).normal(size=(9, 40)).astype(dtype)
    got = fr.logaddexp.accumulate(x, axis=axis)
    assert got.dtype == dtype
    expected = np.logaddexp.accumulate(x.astype(float), axis=axis)
    np.testing.assert_allclose(got, expected, rtol=0, atol=30 * np.finfo(dtype).eps + 1e-14)
    out = np.zeros_like(x)
    assert fr.logaddexp.accumulate(x, axis=axis, out=out) is out
    np.testing.assert_array_equal(out, got)
    assert fr.logaddexp.accumulate(x, dtype=np.float64).dtype == np.float64
    np.testing.assert_array_equal(fr.logaddexp.accumulate(x[3]), fr.logaddexp.accumulate(x, axis=1)[3])


# Layouts, out=


@each_dtype
def test_layouts_and_out(dtype):
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(2, 40, 61)).astype(dtype)
    expected = fr.logaddexp(a, b)
    for x in (np.asfortranarray(a), np.repeat(a, 2, axis=1)[:, ::2], a[::-1, ::-1][::-1, ::-1]):
        np.testing.assert_array_equal(fr.logaddexp(x, b), expected)
    np.testing.assert_array_equal(
        fr.logaddexp(a[:, :1], b[:1]), fr.logaddexp(*np.broadcast_arrays(a[:, :1], b[:1]))
    )
    for target in (a.copy(), np.zeros_like(a), np.zeros((61, 40), dtype).T):
        own = target if np.any(target) else a
        assert fr.logaddexp(own, b, out=target) is target
        np.testing.assert_array_equal(target, expected)
    line = np.concatenate([a[0], a[1]])
    shifted = fr.logaddexp(line[:-1], line[:-1])
    fr.logaddexp(line[:-1], line[:-1], out=line[1:])
    np.testing.assert_array_equal(line[1:], shifted)


# Gradients


def test_backward_sums_what_was_broadcast(backend):
    rng = np.random.default_rng(9)
    a, b, dy = (
        rng.normal(size=(3, 1)),
        rng.normal(size=(2, 1, 4)).astype(np.float32),
        rng.normal(size=(2, 3, 4)),
    )
    da, db = fr.logaddexp.backward(dy, a, b)
    assert (da.shape, da.dtype) == (a.shape, np.float64)
    assert (db.shape, db.dtype) == (b.shape, np.float32)
    share = 1 / (1 + np.exp(b.astype(float) - a))
    np.testing.assert_allclose(da, (dy * share).sum(axis=(0, 2))[:, None], rtol=1e-12)
    np.testing.assert_allclose(db, (dy * (1 - share)).sum(axis=1, keepdims=True), rtol=1e-5)
    assert fr.logaddexp.backward(1.0, 2, 2) == (0.5, 0.5)


def test_backward_into_its_own_operands(backend):
    rng = np.random.default_rng(10)
    a, b, dy = rng.normal(size=(3, 50))
    da, db = fr.logaddexp.backward(dy, a, b)
    got = fr.logaddexp.backward(dy, a, b, out=(a, b))
    assert got[0] is a
    assert got[1] is b
    np.testing.assert_array_equal(got, (da, db))
    only = np.zeros(50)
    fr.logaddexp.backward(dy, np.zeros(50), np.zeros(50), out=(None, only))
    np.testing.assert_array_equal(only, dy / 2)


# Errors and names

ERRORS = [
    (lambda f, out: f(1j, 1.0), TypeError, "argument 'a' is of dtype complex128; expected a real dtype"),
    (lambda f, out: f(1.0, "b"), TypeError, "argument 'b' is of dtype <U1"),
    (lambda f, out: f(np.ones(2), np.ones(3)), ValueError, r"'b' is of shape \(3,\); expected .* \(2,\)"),
    (lambda f, out: f(np.ones(2), np.ones(2), out=out), ValueError, r"\(2,\) .*\(3,\)"),
    (lambda f, out: f(np.ones(3), np.ones(3), out=out.astype(int)), TypeError, "same_kind"),
    (lambda f, out: f.reduce(out, dtype=int), TypeError, "'dtype' is int64; expected a real floating"),
    (
        lambda f, out: f.reduce(out, where=np.ones((2, 3), bool)),
        ValueError,
        r"'where' is of shape \(2, 3\); expected .* \(3,\)",
    ),
    (lambda f, out: f.reduce(out, initial=1j, out=out), TypeError, "'initial' is of dtype complex128"),
    (lambda f, out: f.reduce(out, initial=out), ValueError, r"'initial' is of shape \(3,\); expected"),
    (lambda f, out: f.accumulate(out, dtype=int), TypeError, "'dtype' is int64; expected a real floating"),
    (lambda f, out: f.accumulate(out[:2], out=out), ValueError, r"'out' is of shape \(3,\); .*\(2,\)"),
    (lambda f, out: f.backward(out, out, 1j), TypeError, "'b' is of dtype complex128; expected a real dtype"),
    (
        lambda f, out: f.backward(out, np.ones(2), 1.0),
        ValueError,
        r"'dy' is of shape \(3,\); expected .* \(2,\)",
    ),
    (lambda f, out: f.backward(out, out, out, out=out), TypeError, "'out' is a ndarray; expected a pair"),
    (
        lambda f, out: f.backward(out, out, out, out=(out, np.ones(2))),
        ValueError,
        r"'out' is of shape \(2,\); expected shape \(3,\)",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS)
def test_errors(call, kind, message, backend):
    if backend == "numpy" and "same_kind" in message:
        kind, message = TypeError, "Cannot cast"
    out = np.full(3, 7.0)
    with pytest.raises(kind, match=message):
        call(fr.logaddexp, out)
    assert np.all(out == 7)


def test_pickles_by_name():
    for made in (pickle.loads(pickle.dumps(fr.logaddexp)), copy.deepcopy(fr.logaddexp)):
        assert made is fr.logaddexp
    assert pickle.loads(pickle.dumps(fr.logaddexp.backward)) == fr.logaddexp.backward
    if cython.ISA:
        assert pickle.loads(pickle.dumps(fr.logaddexp.ufunc)) is fr.logaddexp.ufunc
    assert repr(fr.logaddexp) == "<fastrelu.logaddexp>"
