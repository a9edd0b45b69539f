"""logsumexp with weights on Numba's simulator: test_device_rows.py runs this file."""

import ml_dtypes
import numpy as np
import pytest
from on_device_rows import DTYPES, LONG, each_dtype, normal, off, wide
from simulated import DeviceArray

import fastrelu as fr
from fastrelu.kernels.cuda import launch
from fastrelu.reference import rows as reference_rows

D, INF, NAN = DeviceArray, np.inf, np.nan
REFERENCE = {fr.logsumexp: "logsumexp", fr.logsumexp0: "logsumexp0"}
each_function = pytest.mark.parametrize("function", REFERENCE, ids=lambda f: f.__name__)


def reference(function, *arguments, suffix="", **options):
    return getattr(reference_rows, REFERENCE[function] + suffix)(*arguments, **options)


def problem(dtype, *shape):
    rng = np.random.default_rng(len(shape))
    b = (rng.lognormal(0, 2, shape) * rng.choice([-1, 1], shape)).astype(dtype)
    b.flat[1::7] = 0
    return normal(dtype, *shape), b


@each_dtype
@each_function
def test_weights(function, dtype):
    limits = ml_dtypes.finfo(dtype)
    unit, least = float(limits.eps), float(limits.smallest_subnormal)
    shapes = ((2, 16), 1), ((2, 3, 5), (0, 2)), ((5, 2), 0)
    for shape, axis in shapes if dtype == np.float32 else shapes[function is fr.logsumexp :][:1]:
        a, b = problem(dtype, *shape)
        b = b[:1] if shape == (2, 16) else b  # the same for all rows
        value, sign = function(D(a), axis=axis, b=D(b), return_sign=True)
        exact = reference(function, wide(a), axis=axis, b=wide(b), return_sign=True)
        sizes = reference(function, wide(a), axis=axis, b=abs(wide(b)))
        condition = np.exp(sizes - exact[0])
        assert (abs(wide(value.host) - exact[0]) <= condition * unit * np.maximum(abs(exact[0]), 0.5)).all()
        assert np.array_equal(wide(sign.host), exact[1])
        plain = function(D(a), axis=axis, b=D(b)).host
        assert np.array_equal(plain, np.where(wide(sign.host) < 0, NAN, value.host), equal_nan=True)
        dy = normal(dtype, *value.shape, scale=1, seed=1)
        got = wide(function.backward(D(dy), D(a), axis=axis, b=D(b)).host)
        expected = reference(function, wide(dy), wide(a), axis=axis, b=wide(b), suffix="_backward")
        allowed = np.broadcast_to(np.expand_dims(condition, axis), a.shape) * 2 * unit * abs(expected)
        assert (abs(got - expected) <= allowed + least).all()


def test_rows_in_pieces_and_split(monkeypatch):
    """The same bits; pieces of which one leads, has nothing, or cancels with another."""
    a, b = problem(np.dtype("f"), 3, LONG)
    a[0, : LONG // 2], b[0, LONG // 2 :] = -90, 0
    a[1], b[1], b[1, ::2] = 3, 1, -1
    b[1, -1] = -1.5
    results = []
    for processors in (1, 1000):
        monkeypatch.setattr(launch.device(0), "processors", processors)
        made = fr.logsumexp(D(a), axis=1, b=D(b), return_sign=True)
        gradient = fr.logsumexp.backward(D(np.ones(3, "f")), D(a), axis=1, b=D(b))
        results.append([one.host for one in (*made, gradient)])
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)
    exact = fr.logsumexp(wide(a), axis=1, b=wide(b), return_sign=True)
    assert off(results[0][0], exact[0], 0.5) <= 2
    assert np.array_equal(results[0][1], exact[1])


def test_weights_out_of_the_ordinary():
    """Where products leave the range of the dtype the sum is still there, and so are its limits."""
    a = [[700.0, 700], [-700, -700], [0, -740], [0, -1e5], [800, -800], [INF, 1], [INF, INF], [INF, INF]]
    b = [[1e300, 1e305], [1e-300, 1e-310], [1e-320, 1e10], [1e-300, 1e308], [1, 0], [-1, 2], [1, 1], [1, -1]]
    a += [[NAN, 0], [NAN, 0], [-INF, -INF], [-INF, 1], [1, 1], [1, 2], [0, -30]]
    b += [[1, 1], [0, 1], [1, 2], [INF, 1], [1, -1], [INF, 1], [1, -0.5]]
    a, b = np.array(a), np.array(b)
    value, sign = fr.logsumexp(D(a), axis=1, b=D(b), return_sign=True)
    exact = reference_rows.logsumexp(a, axis=1, b=b, return_sign=True)
    assert off(value.host, exact[0]) <= 1
    assert np.array_equal(sign.host, exact[1], equal_nan=True)
    got = fr.logsumexp.backward(D(np.full(len(a), 2.0)), D(a), axis=1, b=D(b)).host
    exact = reference_rows.logsumexp_backward(np.full(len(a), 2.0), wide(a), axis=1, b=wide(b))
    known = ~np.isnan(exact.astype(float)).any(axis=1)
    np.testing.assert_allclose(got[known], exact[known].astype(float), rtol=1e-14)
    assert np.isnan(got[[6, 7, 8, 11], [0, 0, 0, 1]]).all()


def test_signs_without_weights():
    for dtype in DTYPES:
        x = np.array([[0, 1], [-INF, -INF], [NAN, 1], [INF, 1]], dtype)
        value, sign = fr.logsumexp(D(x), axis=1, return_sign=True)
        assert np.array_equal(wide(sign.host), [1, 0, NAN, 1], equal_nan=True)
        assert np.array_equal(value.host, fr.logsumexp(D(x), axis=1).host, equal_nan=True)


def test_into_memory_of_the_caller():
    a, b = problem(np.dtype("f"), 2, 5)
    out = D(np.full((2, 1), NAN, "f")), D(np.full((2, 1), NAN, "f"))
    options = {"axis": 1, "b": D(b), "keepdims": True, "return_sign": True}
    assert fr.logsumexp(D(a), **options, out=out) == out
    for got, expected in zip(out, fr.logsumexp(D(a), **options), strict=True):
        assert np.array_equal(got.host, expected.host)


REFUSED = {
    "host weights": (TypeError, "'b'", "host", lambda a: fr.logsumexp(D(a), b=a)),
    "their shape": (ValueError, "'b'", r"\(3, 4\)", lambda a: fr.logsumexp(D(a), b=D(a[:, :2]))),
    "one out": (TypeError, "'out'", "pair", lambda a: fr.logsumexp(D(a), return_sign=True, out=D(a))),
    "out twice": (
        ValueError,
        "'out'",
        "twice",
        lambda a: fr.logsumexp(D(a), axis=1, return_sign=True, out=(D(np.zeros(3, "f")),) * 2),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_come_before_any_launch(case):
    kind, one, other, function = REFUSED[case]
    before = len(launch.device(0).launched)
    with pytest.raises(kind) as caught:
        function(normal("f", 3, 4))
    assert caught.match(one)
    assert caught.match(other)
    assert len(launch.device(0).launched) == before
