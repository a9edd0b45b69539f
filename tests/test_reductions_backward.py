"""Gradients of the reductions: against differences, on special rows, their errors."""

import numpy as np
import pytest

import fastrelu as fr

INF, NAN = np.inf, np.nan
AXIS = np.exceptions.AxisError
SUMS = [fr.logsumexp, fr.logsumexp0]
NORMALISING = [fr.softmax, fr.log_softmax, fr.softmax0]
FORWARD = SUMS + NORMALISING
BACKWARD = [f.backward for f in FORWARD]
by_name = {"ids": lambda f: f.__qualname__}


def jacobian_product(function, dy, x, **options):
    """dy times the derivative, from central differences in long double."""
    x = np.asarray(x, np.longdouble)
    step = np.longdouble(1e-6)
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = [x.copy(), x.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        high, low = (function(m, **options) for m in moved)
        gradient[index] = np.sum(dy * (high - low)) / (2 * step)
    return gradient


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2), -1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_backward_is_the_derivative(axis, dtype):
    rng = np.random.default_rng(9)
    x = rng.normal(size=(2, 3, 4)).astype(dtype)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-10}
    for keepdims in (False, True):
        dy = np.asarray(rng.normal(size=fr.logsumexp(x, axis, keepdims=keepdims).shape), dtype)
        for function in SUMS:
            got = function.backward(dy, x, axis=axis, keepdims=keepdims)
            assert got.dtype == dtype
            expected = jacobian_product(function, dy, x, axis=axis, keepdims=keepdims)
            np.testing.assert_allclose(got, expected, **tolerance)
            out = np.zeros_like(x)
            assert function.backward(dy, x, axis=axis, keepdims=keepdims, out=out) is out
            np.testing.assert_array_equal(out, got)
    for function in NORMALISING:
        dy = rng.normal(size=x.shape).astype(dtype)
        expected = jacobian_product(function, dy, x, axis=axis)
        for got in (
            function.backward(dy, x, axis=axis),
            function.backward(dy, y=function(x, axis=axis), axis=axis),
        ):
            assert got.dtype == dtype
            np.testing.assert_allclose(got, expected, **tolerance)
        assert function.backward(dy, x, axis=axis, out=dy) is dy
        np.testing.assert_allclose(dy, expected, **tolerance)


@pytest.mark.parametrize("function", SUMS, **by_name)
def test_backward_with_weights_sums_what_was_broadcast(function):
    rng = np.random.default_rng(10)
    x, b = rng.normal(size=(3, 1)), rng.normal(size=(2, 3, 4))
    dy = rng.normal(size=(2, 4))

    def log_size(a, **options):
        return function(a, b=b, return_sign=True, **options)[0]

    got = function.backward(dy, x, axis=1, b=b)
    assert got.shape == x.shape
    np.testing.assert_allclose(got, jacobian_product(log_size, dy, x, axis=1), rtol=1e-8)


@pytest.mark.parametrize(
    ("row", "lse", "soft", "log_soft"),
    [
        # dy = [1, 2, 4] for softmax and log_softmax, 1 for logsumexp
        ([0, -INF, 0], [0.5, 0, 0.5], [-0.75, 0, 0.75], [-1.5, 0, 1.5]),
        ([0, INF, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]),
        ([-INF] * 3, [0] * 3, [0] * 3, [0] * 3),
        ([0, NAN, 0], [NAN] * 3, [NAN] * 3, [NAN] * 3),
        ([INF, 0, INF], [NAN] * 3, [NAN] * 3, [NAN] * 3),
        ([-1e5, 0, -1e5], [0, 1, 0], [0, 0, 0], [1, -5, 4]),
    ],
)
def test_backward_of_special_rows(row, lse, soft, log_soft):
    x, dy = np.array(row, float), np.array([1.0, 2.0, 4.0])
    np.testing.assert_array_equal(fr.logsumexp.backward(1.0, x), lse)
    np.testing.assert_array_equal(fr.softmax.backward(dy, x), soft)
    np.testing.assert_array_equal(fr.log_softmax.backward(dy, x), log_soft)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("function", SUMS, **by_name)
def test_nothing_flows_to_absent_entries_of_rows_without_a_softmax(function, axis, dtype):
    for special in ([NAN], [INF, INF], [NAN, INF]):
        for length in (5, 3000):  # one segment of a row, several
            row = np.linspace(-5, 5, length)
            row[1 : 1 + len(special)], row[[0, -2]] = special, -INF
            x = np.asarray([row, np.zeros(length)], dtype)
            x, dy = (x, [2, 3]) if axis else (x.T, [2, 3])
            got = function.backward(np.asarray(dy, dtype), x, axis=axis)
            got = got if axis else got.T
            np.testing.assert_array_equal(got[0][row == -INF], 0)
            assert np.isnan(got[0][row != -INF]).all()
            share = np.longdouble(3) / (length + (function is fr.logsumexp0))
            np.testing.assert_allclose(got[1], share, rtol=np.finfo(dtype).eps)


def test_backward_ignores_dy_at_absent_entries():
    x = np.array([0.0, -INF, 0.0])
    for bad in (INF, NAN):
        dy = np.array([1.0, bad, 4.0])
        for f, expected in ((fr.softmax, [-0.75, 0, 0.75]), (fr.log_softmax, [-1.5, 0, 1.5])):
            np.testing.assert_array_equal(f.backward(dy, x), expected)
            np.testing.assert_array_equal(f.backward(dy, y=f(x)), expected)


def test_backward_keeps_the_digits_of_a_dominated_row():
    x, small = np.array([0.0, -40.0]), np.exp(-40.0)
    np.testing.assert_allclose(fr.softmax.backward([1.0, 0.0], x), [small, -small], rtol=1e-15)
    np.testing.assert_allclose(fr.log_softmax.backward([1.0, 0.0], x), [small, -small], rtol=1e-15)


def test_backward_of_empty():
    assert fr.logsumexp.backward(np.zeros(3), np.zeros((3, 0)), axis=1).shape == (3, 0)
    assert fr.softmax.backward(np.zeros((3, 0)), np.zeros((3, 0)), axis=1).shape == (3, 0)
    assert fr.log_softmax.backward(np.zeros((0, 3)), y=np.zeros((0, 3)), axis=0).shape == (0, 3)


@pytest.mark.parametrize("function", BACKWARD, **by_name)
def test_errors_of_backward(function):
    x = np.zeros((2, 3))
    of_a_sum = function in [f.backward for f in SUMS]
    shape = (2,) if of_a_sum else (2, 3)
    dy = np.ones(shape)
    with pytest.raises(ValueError, match=r"'dy' is of shape \(5,\); expected the shape of the forward"):
        function(np.ones(5), x, axis=1)
    with pytest.raises(TypeError, match="argument 'x' is of dtype complex128; expected a real dtype"):
        function(dy, x + 1j, axis=1)
    with pytest.raises(TypeError, match="argument 'dy' is of dtype complex128"):
        function(dy + 1j, x, axis=1)
    with pytest.raises(ValueError, match=r"argument 'out' is of shape \(3,\); expected shape \(2, 3\)"):
        function(dy, x, axis=1, out=np.zeros(3))
    with pytest.raises(AXIS):
        function(dy, x, axis=4)
    if not of_a_sum:
        with pytest.raises(TypeError, match="got neither of the arguments 'x' and 'y'; expected exactly one"):
            function(dy)
        with pytest.raises(TypeError, match="got both of the arguments"):
            function(dy, x, y=x)
