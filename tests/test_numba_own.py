"""Inside @njit: users' activations, the random ones without training, everything without compiled kernels."""

import fresh
import numpy as np
import pytest
from compiled import TypingError, numba, on_kernels

import fastrelu as fr

# One of each kind: what the rows of the table have in common is tested where calls are fast.
THERE = [
    "test_numba_own.py::test_random_ones_without_training",
    "test_numba_own.py::test_what_flows_into_losses_is_read_only",
    "test_numba_njit.py::test_layouts[strided]",
    "test_numba_njit.py::test_channels[shape1]",
    "test_numba_pairs.py::test_gates[swiglu-float64]",
]


@fr.activation
def squashed(x, a=1.0):
    return x / (1.0 + a * abs(x))


@squashed.derivative
def _(x, a):
    return 1.0 / (1.0 + a * abs(x)) ** 2


@squashed.derivative(wrt="a")
def _(x, a):
    return -x * abs(x) / (1.0 + a * abs(x)) ** 2


@squashed.derivative(of="y")
def _(y, a):
    return (1.0 - a * abs(y)) ** 2


@fr.activation
def doubled(x):
    return 2 * x


def agree(got, expected):
    """Up to one rounding: loops of Numba's are not those of the drivers."""
    for one, other in zip(got, expected, strict=True):
        if isinstance(other, tuple):
            agree(one, other)
        else:
            other = np.asarray(other)
            np.testing.assert_array_max_ulp(np.asarray(one, other.dtype), other, 1)


@on_kernels
def test_users_activations():
    def calls(x, dy, a, out):
        y = squashed(x, a)
        return (
            squashed(x),
            y,
            squashed(x, a=a, out=out),
            squashed.backward(dy, x, a=a),
            squashed.backward(dy, y=y, a=a),
            squashed.backward(dy, x, a=a, wrt="a"),
            doubled(x),
            fr.gelu(doubled(x)),
        )

    compiled = numba.njit(calls)
    for dtype in (np.float32, np.float64):
        x, dy = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(dtype)
        given = x.T, dy.T, dtype(0.5)
        agree(compiled(*given, np.empty((4, 3), dtype)), calls(*given, np.empty((4, 3), dtype)))
    numbers = numba.njit(lambda x, a: (squashed(x, a), squashed.backward(2.0, x, a=a), doubled(3)))
    agree(numbers(1.5, 0.5), numbers.py_func(1.5, 0.5))


@on_kernels
def test_what_users_activations_cannot_do():
    @fr.activation
    def wrong(x):
        return x + "text"

    for call, words in (
        (lambda x: doubled.backward(x, x), ["doubled.backward", "@doubled.derivative", "def _(x):"]),
        (lambda x: squashed(x, b=1.0), ["squashed", "b"]),
        (lambda x: wrong(x), ["wrong does not compile", "test_numba_own.py"]),
        (lambda x: fr.rrelu(x, training=True), ["rrelu", "'training'", "nothing is drawn"]),
    ):
        with pytest.raises(TypingError) as caught:
            numba.njit(call)(np.ones(3))
        assert all(word in str(caught.value) for word in words)
    with pytest.raises(ValueError, match=r"squashed\.backward: argument 'dy' is of shape \(2,\)"):
        numba.njit(lambda x: squashed.backward(x[1:], x))(np.ones(3))


@on_kernels
def test_random_ones_without_training():
    def calls(x, dy):
        return (
            fr.rrelu(x),
            fr.rrelu(x, 0.0, 0.5),
            fr.rrelu.backward(dy, x, upper=0.75),
            fr.rrelu.backward(dy, y=x),
            fr.noisy_relu(x),
            fr.noisy_relu(x, variance=0.25, training=False),
            fr.noisy_relu.backward(dy, x),
        )

    x, dy = np.random.default_rng(0).normal(size=(2, 9)).astype(np.float32)
    for one, other in zip(numba.njit(calls)(x, dy), calls(x, dy), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    for call, message in (
        (lambda x: fr.rrelu(x, 0.5, 0.25), "rrelu: argument 'upper' is 0.25 beside lower = 0.5; expected"),
        (lambda x: fr.noisy_relu(x, -1.0), "noisy_relu: argument 'variance' is -1;"),
    ):
        with pytest.raises(ValueError, match=message):
            numba.njit(call)(x)


@on_kernels
def test_what_flows_into_losses_is_read_only():
    rng = np.random.default_rng(0)
    x, labels, dy = rng.normal(size=(4, 3)), np.array([0, 2, 1, 2]), rng.normal(size=4)
    kept = dy.copy()

    def call(dy, x, labels):
        return fr.cross_entropy.backward(dy, x, labels, reduction="none")

    np.testing.assert_array_equal(numba.njit(call)(dy, x, labels), call(dy, x, labels))
    np.testing.assert_array_equal(dy, kept)


def test_where_nothing_was_compiled(kernels_only):
    """The tests of calls inside @njit, in a process that has only Numba."""
    fresh.run_tests(*THERE, hidden=("fastrelu.kernels.ufuncs",), FASTRELU_BACKEND="numba")
