"""cross_entropy: the definition with every option, PyTorch's, limits, names."""

import copy
import pickle

import mpmath as mp
import numpy as np
import pytest
from loss_cases import CASES, FUNCTIONS, defined, problem

import fastrelu as fr

INF, NAN = np.inf, np.nan
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
@each_dtype
def test_definition(dtype, options, kind, backend):
    x, labels = problem(dtype, kind, options)
    tolerance = {"rtol": 2e-6, "atol": 3e-7} if dtype == np.float32 else {"rtol": 1e-14, "atol": 1e-15}
    loss, gradient = defined(x, labels, **options)
    got = fr.cross_entropy(x, labels, **options)
    assert (got.shape, got.dtype) == (loss.shape, dtype)
    np.testing.assert_allclose(got, loss, **tolerance)
    value, grad = fr.cross_entropy.value_and_grad(x, labels, **options)
    np.testing.assert_array_equal(value, got)
    assert grad.dtype == dtype
    np.testing.assert_allclose(grad, gradient, **tolerance)
    dy = np.asarray(np.random.default_rng(2).normal(size=loss.shape), dtype)
    got = fr.cross_entropy.backward(dy, x, labels, **options)
    np.testing.assert_allclose(got, gradient * (dy[..., None] if dy.ndim else dy), **tolerance)
    own = x.copy()
    value, grad = fr.cross_entropy.value_and_grad(own, labels, **options, out=own)
    assert grad is own
    np.testing.assert_allclose(own, gradient, **tolerance)


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_as_torch(kind, options):
    torch = pytest.importorskip("torch")
    x, labels = problem(np.float64, kind, options, (6, 4, 5))
    given = {k: v for k, v in options.items() if v is not None}
    if "weight" in given:
        given["weight"] = torch.tensor(given["weight"], dtype=torch.float64)
    tensor = torch.tensor(x.swapaxes(1, 2), requires_grad=True)  # there the classes are axis 1
    theirs = torch.tensor(labels.swapaxes(1, 2) if kind == "probabilities" else labels.astype(np.int64))
    loss = torch.nn.functional.cross_entropy(tensor, theirs, **given)
    loss.sum().backward()
    value, grad = fr.cross_entropy.value_and_grad(x, labels, **options)
    np.testing.assert_allclose(value, loss.detach().numpy(), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(grad, tensor.grad.numpy().swapaxes(1, 2), rtol=1e-12, atol=1e-14)


def test_confident_predictions_keep_their_digits(backend):
    small = float(mp.exp(-40))
    for dtype in (np.float32, np.float64):
        x = np.array([[0, -40], [40, 0]], dtype)
        loss, grad = fr.cross_entropy.value_and_grad(x, [0, 0])
        np.testing.assert_allclose(loss, small, rtol=np.finfo(dtype).eps)
        np.testing.assert_allclose(grad, [[-small / 2, small / 2]] * 2, rtol=3 * np.finfo(dtype).eps)
        smoothed = fr.cross_entropy(x, [[1.0, 0.0]] * 2)
        np.testing.assert_allclose(smoothed, small, rtol=np.finfo(dtype).eps)


# Limits


@pytest.mark.parametrize(
    ("row", "loss", "gradient"),
    [
        ([0, -INF], 0, [0, 0]),
        ([-INF, 0], INF, [-1, 1]),
        ([INF, 0], 0, [0, 0]),
        ([0, INF], INF, [-1, 1]),
        ([INF, INF], NAN, [NAN, NAN]),
        ([-INF, -INF], NAN, [NAN, NAN]),
        ([NAN, 0], NAN, [NAN, NAN]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_infinite_logits(row, loss, gradient, dtype, backend):
    x = np.array([row], dtype)
    for labels in ([0], np.array([[1, 0]], dtype)):
        value, grad = fr.cross_entropy.value_and_grad(x, labels)
        np.testing.assert_array_equal(value, loss)
        np.testing.assert_array_equal(grad, [gradient])


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_rows_that_do_not_count(bad, backend):
    x = np.array([[bad, bad, 1], [0, 0, 0], [bad, 1, bad]])
    for options in ({"ignore_index": -1}, {"ignore_index": -1, "label_smoothing": 0.5}):
        loss, grad = fr.cross_entropy.value_and_grad(x, [-1, 1, -1], **options)
        assert loss == pytest.approx(np.log(3), rel=1e-15)
        np.testing.assert_array_equal(grad[::2], np.zeros((2, 3)))
    loss, grad = fr.cross_entropy.value_and_grad(x, [0, 1, 2], weight=[0, 1, 0])
    assert loss == pytest.approx(np.log(3), rel=1e-15)
    np.testing.assert_array_equal(grad[::2], np.zeros((2, 3)))
    loss, grad = fr.cross_entropy.value_and_grad(x, [-1, -1, -1], ignore_index=-1)
    assert np.isnan(loss)
    np.testing.assert_array_equal(grad, np.zeros((3, 3)))
    assert fr.cross_entropy(x, [-1, -1, -1], ignore_index=-1, reduction="sum") == 0
    dead = fr.cross_entropy.backward([bad, 1.0, bad], x, [-1, 1, -1], ignore_index=-1, reduction="none")
    np.testing.assert_array_equal(dead[::2], np.zeros((2, 3)))


def test_empty(backend):
    assert np.isnan(fr.cross_entropy(np.zeros((0, 3)), []))
    loss, grad = fr.cross_entropy.value_and_grad(np.zeros((0, 3), np.float32), [], reduction="none")
    assert (loss.shape, grad.shape, grad.dtype) == ((0,), (0, 3), np.float32)
    assert fr.cross_entropy(np.zeros((0, 3)), np.zeros((0, 3)), reduction="sum") == 0


# Names


def test_other_libraries_may_take_over():
    class Foreign:
        def __array_function__(self, function, types, args, kwargs):
            return function, len(args), kwargs["reduction"]

    for function in FUNCTIONS:
        arguments = ([1.0],) if function is fr.cross_entropy.backward else ()
        got = function(*arguments, Foreign(), [0], reduction="sum")
        assert got == (function, 2 + len(arguments), "sum")


def test_names():
    for function in FUNCTIONS:
        assert pickle.loads(pickle.dumps(function)) is function
        assert copy.deepcopy(function) is function
    assert [f.__qualname__ for f in FUNCTIONS[1:]] == [
        "cross_entropy.backward",
        "cross_entropy.value_and_grad",
    ]
