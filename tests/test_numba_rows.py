"""Inside @njit: reductions along several axes, with weights, with signs."""

import numpy as np
import pytest
from compiled import TypingError, agree, function, numba, on_kernels

import fastrelu as fr

pytestmark = on_kernels
INF, NAN = np.inf, np.nan


def numbers(*shape, dtype=np.float64):
    return np.random.default_rng(0).normal(0, 3, shape).astype(dtype)


def test_several_axes():
    """The bits of calls outside."""
    plain = function(
        "fr.logsumexp(x, (1, 3))", "fr.logsumexp0(x, axis=(0, -1), keepdims=True)",
        "fr.softmax.backward(dy, y=y, axis=(1, 2))", "fr.log_softmax(x, (2, 0), out=out)",
        "fr.logsumexp.backward(y[0, :, 0], x, (0, 2))", "fr.logsumexp.backward(0.5, x[0, 0], (0, 1))",
        arguments=("dy", "x", "y", "out"),
    )  # fmt: skip
    dy, x = numbers(2, 2, 3, 4, 5, dtype=np.float32)
    given = dy, x, fr.softmax(x, (1, 2)), np.empty_like(x)
    agree(numba.njit(plain)(*given), plain(*given))


def near(got, expected, ulps):
    got, expected = (np.asarray(a) for a in (got, expected))
    np.testing.assert_array_max_ulp(got.astype(expected.dtype), expected, ulps)


def test_weights():
    """Beside NaN, infinities and sums that cancel too; a positive sum is a unit off at most."""
    plain = function(
        "fr.logsumexp(x, 1, b=b, return_sign=True)", "fr.logsumexp.backward(x[:, 0], x, 1, b=b)",
        arguments=("x", "b"),
    )  # fmt: skip
    x, b = numbers(2, 12, 7)
    b[0] = 0
    b[1, :3] = 1e-305
    b[2] = 1e305
    x[3, 2], x[4, 1:3], x[5] = INF, INF, -INF
    x[6, 0], b[6, 0] = NAN, 0
    x[7, 0] = NAN
    x[8], b[8] = 1, [1, -1, 1, -1, 1, -1, 0]
    b[9:] = abs(b[9:])
    (value, sign), gradient = numba.njit(plain)(x, b)
    (true_value, true_sign), true_gradient = plain(x, b)
    np.testing.assert_array_equal(sign, true_sign)
    near(value[9:], true_value[9:], 1)
    np.testing.assert_allclose(value, true_value, rtol=16 * np.finfo(float).eps)
    np.testing.assert_allclose(gradient, true_gradient, rtol=64 * np.finfo(float).eps)


def test_weights_that_broadcast_and_signs_without():
    plain = function(
        "fr.logsumexp(x, (0, 2), b=a)", "fr.logsumexp0(x, 1, return_sign=True)",
        "fr.logsumexp0.backward(x[:, 0], x, 1, b=a)", arguments=("x", "a"),
    )  # fmt: skip
    x, a = numbers(2, 3, 4, dtype=np.float32), abs(numbers(3, 1))
    for one, other in zip(numba.njit(plain)(x, a), plain(x, a), strict=True):
        for got, expected in zip(*(v if isinstance(v, tuple) else (v,) for v in (one, other)), strict=True):
            assert np.shape(got) == np.shape(expected)
            near(got, expected, 4)
    negative = numba.njit(function("fr.logsumexp(x, b=-1.0)", arguments=("x",)))
    assert np.isnan(negative(x)[0])


def test_targets():
    """Probabilities, weights, smoothing; a single row, whose label is a number."""
    plain = function(
        "fr.cross_entropy(x, labels, 1, weight=w)",
        "fr.cross_entropy.backward(dy, x, p, 1, reduction='none')",
        "fr.cross_entropy.value_and_grad(x, labels, 1, w, 'sum', 0.25, ignore_index=2, out=dx)",
        "fr.cross_entropy(x[0, :, 0], 2)", "fr.cross_entropy.backward(0.5, x[0, :, 0], 2, reduction='none')",
        "fr.cross_entropy(x, p, axis=-2, label_smoothing=0.5, reduction='none')",
        arguments=("x", "labels", "w", "p", "dy", "dx"),
    )  # fmt: skip
    x, p = numbers(4, 5, 6), fr.softmax(-numbers(4, 5, 6), 1)
    labels = np.random.default_rng(0).integers(0, 5, (4, 6))
    x[0, 1, 0] = -INF
    given = x, labels, abs(numbers(5)), p, numbers(4, 6), np.empty_like(x)
    for one, other in zip(numba.njit(plain)(*given), plain(*given), strict=True):
        for got, expected in zip(*(v if isinstance(v, tuple) else (v,) for v in (one, other)), strict=True):
            assert np.shape(got) == np.shape(expected)
            np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(float).eps, atol=1e-17)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("fr.softmax(x, (0, 2))", "softmax: argument 'axis' is out of bounds"),
        ("fr.logsumexp(x, (0, -2))", "logsumexp: argument 'axis' is \\(0, -2\\), which names an axis twice"),
        ("fr.softmax(x, (0, 1), out=x[:2])", "softmax: argument 'out'"),
        ("fr.softmax.backward(x[1:], x, axis=(0, 1))", "softmax.backward: argument 'dy'"),
        ("fr.logsumexp(x, b=x[:2, :2])", "logsumexp: argument 'b'"),
        ("fr.logsumexp.backward(x[0], x, 1, b=x)", "logsumexp.backward: argument 'dy'"),
        ("fr.cross_entropy(x, x)", "cross_entropy: argument 'labels' has a probability"),
        (
            "fr.cross_entropy(x[0], 9, weight=x[1])",
            "cross_entropy: argument 'labels' has 9, which is neither",
        ),
        ("fr.cross_entropy(x[0], 1, weight=x[:, 0])", "cross_entropy: argument 'weight' is of shape .3,.;"),
        ("fr.cross_entropy(x[0], 1, label_smoothing=2.0)", "'label_smoothing' is 2; expected 0 <="),
    ],
)
def test_errors_when_running(call, message):
    with pytest.raises(ValueError, match=message):
        numba.njit(function(call, arguments=("x",)))(numbers(3, 4))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("fr.softmax(x, (0.5,))", ["softmax", "'axis'", "a tuple of them"]),
        ("fr.logsumexp(x, b='a')", ["logsumexp", "'b'", "unicode"]),
        ("fr.logsumexp(x, return_sign=x[0, 0])", ["logsumexp", "'return_sign'", "True or False"]),
        ("fr.logsumexp(x, return_sign=True, out=x[0])", ["logsumexp", "'out'", "return_sign=True"]),
        ("fr.logsumexp.backward(1.0, x[0], b=x)", ["logsumexp.backward", "'b'", "stretch x"]),
    ],
)
def test_errors_when_compiling(call, words):
    with pytest.raises(TypingError) as caught:
        numba.njit(function(call, arguments=("x",)))(numbers(3, 4))
    for word in words:
        assert word in str(caught.value)
