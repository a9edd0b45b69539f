"""fastrelu.dask against fastrelu, over arrays of several chunks along every axis."""

import numpy as np
import pytest
from bridge_cases import FUNCTIONS, arguments, by_name

import fastrelu as fr

da = pytest.importorskip("dask.array")

import fastrelu.dask as frd  # noqa: E402

ELEMENTWISE = [n for n in frd.__all__ if isinstance(getattr(frd, n), frd._Elementwise)]


def chunked(array, chunks=2):
    return da.from_array(array, chunks=chunks)


def same(made, expected):
    assert isinstance(made, da.Array)
    made = made.compute(scheduler="synchronous")
    assert np.shape(made) == np.shape(expected)
    assert made.dtype == expected.dtype
    return np.testing.assert_array_equal(made, expected)


def close(made, expected, units=2):
    assert made.dtype == expected.dtype
    made = made.compute(scheduler="synchronous")
    np.testing.assert_array_equal(np.isfinite(made), np.isfinite(expected))
    special = ~np.isfinite(expected)
    np.testing.assert_array_equal(made[special], expected[special])
    unit = np.spacing(np.maximum(abs(expected), np.finfo(expected.dtype).tiny)[~special])
    assert np.all(abs(made[~special] - expected[~special]) <= units * unit)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name):
    """Values and gradients have the bits of one array; those of parameters are sums."""
    f, function = getattr(frd, name), FUNCTIONS[name]
    arrays, rest = arguments(name, np.float32)
    expected = function.function(*arrays, *rest)
    made = f(*map(chunked, arrays), *rest)
    assert max(made.numblocks) > 1
    same(made, expected)
    dy = np.cos(np.arange(expected.size, dtype=np.float32)).reshape(expected.shape)
    gradients = f.backward(chunked(dy, 3), *map(chunked, arrays), *rest)
    expected = function.backward(dy, by_name(name, arrays, rest), function.arrays[: len(arrays)])
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    same(gradients[0], expected[0])
    for gradient, of_one in zip(gradients[1:], expected[1:], strict=True):
        np.testing.assert_allclose(gradient, of_one, rtol=1e-6)


def test_from_the_result_and_other_arguments():
    x = np.linspace(-3, 3, 35, dtype=np.float32).reshape(5, 7)
    y = fr.elu(x, alpha=0.5)
    same(frd.elu.backward(chunked(x), y=chunked(y), alpha=0.5), fr.elu.backward(x, y=y, alpha=0.5))
    alpha = np.linspace(0.1, 1, 7, dtype=np.float32)
    same(frd.elu(chunked(x), alpha), fr.elu(x, alpha))
    weights = np.linspace(0.1, 1, 5, dtype=np.float32)
    same(frd.prelu(chunked(x), weights, axis=0), fr.prelu(x, weights, axis=0))
    made = frd.prelu.backward(chunked(x), chunked(x), weights, axis=0)[1]
    np.testing.assert_allclose(made, fr.prelu.backward(x, x, weight=weights, axis=0)[1], rtol=1e-6)
    np.testing.assert_allclose(
        frd.leaky_relu.backward(chunked(x), chunked(x), 0.1, wrt="negative_slope"),
        fr.leaky_relu.backward(x, x, negative_slope=0.1, wrt="negative_slope"),
        rtol=1e-6,
    )


@pytest.mark.parametrize("name", frd.ROWWISE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [None, 0, (0, 2), -1])
def test_over_chunked_axes(name, dtype, axis):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(4, 3, 5)) * 20).astype(dtype)
    x[0, 0, 1], x[1, 1, :], x[2, 2, 2:4], x[3, 0, 0] = np.inf, -np.inf, np.inf, np.nan
    f, g = getattr(frd, name), getattr(fr, name)
    close(f(chunked(x), axis=axis), g(x, axis=axis))
    x = np.where(np.isfinite(x), x, 1).astype(dtype)
    y = g(x, axis=axis)
    dy = np.cos(np.arange(np.size(y), dtype=dtype)).reshape(np.shape(y))
    made = f.backward(dy, chunked(x), axis=axis)
    np.testing.assert_allclose(made, g.backward(dy, x, axis=axis), rtol=2e-5, atol=np.finfo(dtype).eps * 4)
    if not name.startswith("logsumexp"):
        again = f.backward(dy, y=chunked(y), axis=axis)
        np.testing.assert_allclose(again, made, rtol=2e-5, atol=np.finfo(dtype).eps * 4)


def test_weights_and_digits():
    x, b = np.linspace(-3, 3, 12).reshape(3, 4), np.arange(4.0)
    close(frd.logsumexp(chunked(x), axis=1, b=b, keepdims=True), fr.logsumexp(x, axis=1, b=b, keepdims=True))
    x = np.array([1.0, -39.0])
    close(frd.log_softmax(chunked(x, 1), axis=0), fr.log_softmax(x, axis=0))


def test_errors():
    x = chunked(np.ones((4, 4)))
    with pytest.raises(TypeError, match="glu: argument 'gate' is missing"):
        frd.glu(x)
    with pytest.raises(np.exceptions.AxisError):
        frd.softmax(x, axis=2)
    with pytest.raises(NotImplementedError, match=r"logsumexp\.backward: argument 'b' is given"):
        frd.logsumexp.backward(x[:, 0], x, axis=1, b=np.ones(4))
    with pytest.raises(ValueError, match="argument 'alpha' is -1; expected alpha >= 0"):
        frd.elu(x, alpha=-1)
