"""rrelu and noisy_relu: values, the same draws in every layout and in both passes, and bad arguments."""

import copy
import pickle

import numpy as np
import pytest
from calls import LAYOUTS, refused
from cases import ON_KERNELS, REFERENCE_ULP
from ulp import distances

import fastrelu as fr
from fastrelu import dispatch, reference
from fastrelu.table import RANDOM

pytestmark = pytest.mark.every_isa

KEY = fr.noise_key(11)
FLOATS = [np.float16, np.float32, np.float64]
ACTIVATIONS = {
    "rrelu": (fr.rrelu, {}),
    "rrelu, bounds": (fr.rrelu, {"lower": 0.0, "upper": 0.9375}),
    "rrelu, channels": (fr.rrelu, {"axis": 1}),
    "noisy_relu": (fr.noisy_relu, {}),
    "noisy_relu, number": (fr.noisy_relu, {"variance": 0.25}),
    "noisy_relu, callable": (fr.noisy_relu, {"variance": lambda x: x * x}),
}
each = pytest.mark.parametrize("name", ACTIVATIONS)
each_dtype = pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)


def inputs(dtype, shape=(7, 37), seed=0):
    x = np.random.default_rng(seed).normal(0, 2, shape)
    x.flat[:6] = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30]
    return x.astype(dtype)


def forward(name, x, **keywords):
    f, options = ACTIVATIONS[name]
    return f(x, training=True, key=KEY, **options, **keywords)


def backward(name, dy, x, **keywords):
    f, options = ACTIVATIONS[name]
    return f.backward(dy, x, training=True, key=KEY, **options, **keywords)


def same(a, b):
    np.testing.assert_array_equal(a, b, strict=True)
    np.testing.assert_array_equal(np.signbit(a), np.signbit(b))


# Values


@pytest.mark.parametrize("bounds", [(1 / 8, 1 / 3), (0.0, 0.0), (0.25, 0.25), (0.0, 0.9999)])
@pytest.mark.parametrize("dtype", FLOATS[1:])
def test_rrelu_is_leaky_with_the_slopes_of_its_definition(dtype, bounds):
    x = inputs(dtype, 5000)
    lower, upper = (dtype(b) for b in bounds)
    draw = dispatch.draws("uniform", KEY.bits, 0, x.size, np.dtype(dtype))
    slope = np.clip((lower + upper) / dtype(2) + (upper - lower) * draw, lower, upper)
    y = fr.rrelu(x, *bounds, training=True, key=KEY)
    same(y, np.asarray(fr.leaky_relu(x, slope)))
    same(
        fr.rrelu.backward(x, x, lower=lower, upper=upper, training=True, key=KEY),
        np.asarray(fr.leaky_relu.backward(x, x, negative_slope=slope)),
    )


def test_slopes_fill_their_range():
    slope = -fr.rrelu(np.full(100_000, -1.0), 0.25, 0.75, training=True, key=KEY)
    assert 0.25 <= slope.min() < 0.2501
    assert 0.7499 < slope.max() <= 0.75
    assert abs(slope.mean() - 0.5) < 5 * 0.5 / np.sqrt(12 * 100_000)


@pytest.mark.parametrize("row", [r for r in RANDOM if r.draw == "normal"], ids=lambda r: r.name)
@pytest.mark.parametrize("dtype", FLOATS[1:])
def test_noisy_relu_is_within_1_ulp_given_its_draws(dtype, row):
    x = np.concatenate([inputs(dtype, 20_000), np.linspace(-6, 6, 20_001, dtype=dtype)])
    z = dispatch.draws("normal", KEY.bits, 0, x.size, np.dtype(dtype))
    variance = [np.abs(inputs(dtype, x.size, seed=5))] if row.parameters else []
    kernels = row.kernels()
    wide = [a.astype(np.longdouble) for a in (x, *variance, z)]
    with np.errstate(all="ignore"):
        noise = reference.evaluate(kernels["forward"], 0 * wide[0], *wide[1:])
        sigma = np.sqrt(wide[1]) if variance else 1 / np.sqrt(1 + np.exp(-wide[0]))
        noise = np.where(np.isfinite(sigma * wide[-1]), np.abs(sigma * wide[-1]), 0)
    got = fr.noisy_relu(x, *(variance or ["sigmoid"]), training=True, key=KEY)
    true = reference.evaluate(kernels["forward"], *wide)
    worst = distances(got, true, noise.astype(np.longdouble)).max()
    assert worst <= (1.0 if ON_KERNELS else REFERENCE_ULP)
    slope = fr.noisy_relu.backward(
        np.ones_like(x), x, variance=variance[0] if variance else "sigmoid", training=True, key=KEY
    )
    np.testing.assert_array_equal(slope, np.where(np.isnan(got), np.nan, got > 0))


@pytest.mark.parametrize("x", [-2.0, 0.0, 0.5])
def test_the_sigmoid_is_the_variance(x):
    """Not the standard deviation: of many draws, where the rectifier lets both sides be seen."""
    n = 200_000
    y = fr.noisy_relu(np.full(n, x), training=True, key=KEY)
    z = dispatch.draws("normal", KEY.bits, 0, n, np.dtype(float))
    sigma = np.sqrt(1 / (1 + np.exp(-x)))
    np.testing.assert_allclose(y, np.maximum(0, x + sigma * z), rtol=0, atol=1e-14)


@each_dtype
def test_without_training(dtype):
    x = inputs(dtype)
    same(fr.noisy_relu(x), fr.relu(x))
    same(fr.noisy_relu(x, 2.0), fr.relu(x))
    same(fr.noisy_relu.backward(x, x), fr.relu.backward(x, x))
    same(fr.rrelu(x, 0.25, 0.5), fr.leaky_relu(x, 0.375))
    same(fr.rrelu.backward(x, x, lower=0.25, upper=0.5), fr.leaky_relu.backward(x, x, negative_slope=0.375))
    assert fr.rrelu(-1.0) == -(1 / 8 + 1 / 3) / 2


def test_one_slope_for_each_channel():
    x = np.full((4, 3, 5), -1.0, np.float32)
    for axis, others in ((0, (1, 2)), (1, (0, 2)), (-1, (0, 1))):
        y = fr.rrelu(x, axis=axis, training=True, key=KEY)
        first = y.min(axis=others, keepdims=True)
        same(y, np.broadcast_to(first, x.shape).copy())
        assert len(np.unique(first)) == x.shape[axis]
        draw = dispatch.draws("uniform", KEY.bits, 0, x.shape[axis], np.dtype(np.float32))
        one_row = fr.rrelu(np.full(x.shape[axis], -1.0, np.float32), training=True, key=KEY)
        same(first.ravel(), one_row)
        assert len(draw) == len(one_row)
        dx = fr.rrelu.backward(np.ones_like(x), x, axis=axis, training=True, key=KEY)
        same(dx, -y)


@pytest.mark.parametrize("dtype", FLOATS[1:])
def test_parameters_may_be_arrays(dtype):
    x = inputs(dtype, (50, 40))
    lower = np.linspace(0, 0.5, 40, dtype=dtype)
    whole = fr.rrelu(x, lower, np.full(40, 0.75, dtype), training=True, key=KEY)
    for j in (0, 7, 39):
        same(whole[:, j], fr.rrelu(x, lower[j], 0.75, training=True, key=KEY)[:, j])
    variance = np.linspace(0, 3, 40, dtype=dtype)
    noisy = fr.noisy_relu(x, variance, training=True, key=KEY)
    for j in (0, 7, 39):
        same(noisy[:, j], fr.noisy_relu(x, variance[j], training=True, key=KEY)[:, j])
    same(noisy, fr.noisy_relu(x, lambda v: variance, training=True, key=KEY))
    row = fr.rrelu(x[0], lower[:, None], 0.75, training=True, key=KEY)  # drawn for each element of the result
    assert row.shape == (40, 40)
    dx = fr.rrelu.backward(
        np.ones((40, 40), dtype), x[0], lower=lower[:, None], upper=0.75, training=True, key=KEY
    )
    assert dx.shape == (40,)


def test_unusable_lanes_are_nan():
    x = np.array([-1.0, 1.0, -1.0, 1.0, 2.0])
    y = fr.rrelu(
        x, np.array([0.5, 0.5, -0.1, 0.1, 0.1]), np.array([0.2, 0.2, 0.5, 1.0, 0.2]), training=True, key=KEY
    )
    assert np.isnan(y).tolist() == [True, True, True, True, False]
    y = fr.noisy_relu(x, np.array([1, -1, np.nan, 0, -0.0]), training=True, key=KEY)
    assert np.isnan(y).tolist() == [False, True, True, False, False]
    assert y[3:].tolist() == [1.0, 2.0]


# The same draws everywhere


@pytest.mark.parametrize("layout", LAYOUTS)
@each_dtype
@each
def test_layouts(name, dtype, layout):
    x, dy = inputs(dtype, (3, 70, 37)), inputs(dtype, (3, 70, 37), seed=1)
    expected, gradient = forward(name, x), backward(name, dy, x)
    arranged = LAYOUTS[layout](x)
    same(forward(name, arranged), expected)
    same(backward(name, LAYOUTS[layout](dy), arranged), gradient)
    if arranged.flags.writeable:
        out = LAYOUTS[layout](np.full_like(x, 7))
        assert forward(name, x, out=out) is out
        same(out.astype(dtype), expected)


@each_dtype
@each
def test_transposed_in_every_order(name, dtype):
    x = inputs(dtype, (5, 66, 9))
    expected = forward(name, x)
    for order in ((2, 1, 0), (1, 0, 2), (0, 2, 1), (1, 2, 0)):
        moved = x.transpose(order).copy().transpose(np.argsort(order))
        same(forward(name, moved), expected)
        same(forward(name, x, out=np.empty_like(moved)), expected)


@each_dtype
@each
def test_in_place(name, dtype):
    x, dy = inputs(dtype, (100, 41)), inputs(dtype, (100, 41), seed=1)
    expected, gradient = forward(name, x), backward(name, dy, x)
    for out_is in ("x", "dy"):
        a, b = x.copy(), dy.copy()
        same(backward(name, b, a, out=a if out_is == "x" else b), gradient)
    a = x.copy()
    same(forward(name, a, out=a), expected)
    shifted = np.empty(x.size + 1, dtype)
    shifted[:-1] = x.ravel()
    forward(name, shifted[:-1].reshape(x.shape), out=shifted[1:].reshape(x.shape))
    same(shifted[1:].reshape(x.shape), expected)


@pytest.mark.parametrize("name", ["rrelu", "noisy_relu", "noisy_relu, number"])
@each_dtype
def test_threads_and_sizes(name, dtype, kernels_only):
    """Element i is the same in a longer array, however many threads share it."""
    x = inputs(dtype, 1_000_003)
    before, results = fr.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            fr.set_num_threads(threads)
            results.append(forward(name, x))
    finally:
        fr.set_num_threads(before)
    same(results[0], results[1])
    same(results[0], results[2])
    for size in (1, 2, 15, 16, 17, 63, 64, 65, 511, 513, 100_000):
        same(forward(name, x[:size]), results[0][:size])


@pytest.mark.parametrize("name", ["rrelu", "rrelu, channels", "noisy_relu", "noisy_relu, number"])
def test_the_reference_agrees(name):
    x = inputs(np.float32, (60, 50))
    got = forward(name, x)
    with fr.use_backend("numpy"):
        expected = forward(name, x)
    if name.startswith("rrelu"):
        same(got, expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6, strict=True)


@pytest.mark.parametrize("name", ["rrelu", "rrelu, channels", "noisy_relu", "noisy_relu, number"])
def test_halves_are_rounded_once(name):
    f, options = ACTIVATIONS[name]
    if f is fr.rrelu:
        options = {"lower": 0.125, "upper": 0.375} | options
    x = inputs(np.float16, (70, 70))
    for call in (f, lambda v, **given: f.backward(v, v, **given)):
        wide = call(x.astype(np.float32), training=True, key=KEY, **options)
        same(call(x, training=True, key=KEY, **options), wide.astype(np.float16))


# Backward


@pytest.mark.parametrize("dtype", FLOATS[1:])
@each
def test_gradient_against_differences(name, dtype):
    """Of the forward pass with its noise held fixed, away from the bend."""
    f, options = ACTIVATIONS[name]
    x = np.random.default_rng(3).normal(0, 2, (40, 50))
    fixed = dict(options)
    if f is fr.noisy_relu:  # the gradient treats the variance as constant
        fixed["variance"] = 1 / (1 + np.exp(-x)) if not options else options["variance"]
        fixed["variance"] = fixed["variance"](x) if callable(fixed["variance"]) else fixed["variance"]
    h = 1e-4

    def at(v):
        return f(v, training=True, key=KEY, **fixed)

    measured = (at(x + h) - at(x - h)) / (2 * h)
    bend = (at(x + h) > 0) != (at(x - h) > 0)
    got = f.backward(np.ones((40, 50), dtype), x.astype(dtype), training=True, key=KEY, **options)
    # float32 draws differ from those of float64 in the last of their digits
    away = ~bend & (np.abs(at(x) if f is fr.noisy_relu else x) > 1e-3)
    if f is fr.noisy_relu:
        away |= at(x - 1e-2) + at(x + 1e-2) == 0
    np.testing.assert_allclose(got[away], measured[away], atol=1e-6)
    assert away.mean() > 0.95


@each_dtype
@each
def test_backward_from_y(name, dtype):
    x, dy = inputs(dtype), inputs(dtype, seed=1)
    y = forward(name, x)
    same(backward(name, dy, None, y=y), backward(name, dy, x))


def test_nothing_flows_through_a_dead_unit():
    x = np.full(1000, -50.0, np.float32)
    for dy in (np.inf, np.nan, -np.inf):
        assert not fr.noisy_relu.backward(np.full_like(x, dy), x, training=True, key=KEY).any()
        lower = {"lower": 0.0, "upper": 0.0}
        assert not fr.rrelu.backward(np.full_like(x, dy), x, training=True, key=KEY, **lower).any()


# What may be given


@pytest.mark.parametrize(
    "x", [3.0, -3.0, [1.0, -2.0], [[1, -2], [3, -4]], np.float32(-2), np.array(-1.0), []]
)
def test_numbers_and_lists(x):
    for f in (fr.rrelu, fr.noisy_relu):
        y = f(x, training=True, key=KEY)
        expected = f(np.asarray(x, np.result_type(np.asarray(x), np.float32)), training=True, key=KEY)
        assert np.shape(y) == np.shape(x)
        np.testing.assert_array_equal(y, expected)
        assert np.shape(f.backward(np.ones(np.shape(x)), x, training=True, key=KEY)) == np.shape(x)


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8"])
def test_integers_promote(dtype):
    x = np.array([0, 1, 1]).astype(dtype)
    for f in (fr.rrelu, fr.noisy_relu):
        for training in (False, True):
            assert f(x, training=training, key=KEY).dtype == np.exp(x).dtype


@pytest.mark.parametrize("name", ["rrelu", "rrelu, channels", "noisy_relu", "noisy_relu, number"])
def test_longdouble_and_bfloat16(name):
    bfloat16 = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    f, options = ACTIVATIONS[name]
    options = options | {"training": True, "key": KEY}
    if f is fr.rrelu:
        options |= {"lower": 0.125, "upper": 0.375}
    x = inputs(np.float32, (20, 30))
    for call in (f, lambda v, **given: f.backward(v, v, **given)):
        brief = call(x.astype(bfloat16), **options)
        single = call(x.astype(bfloat16).astype(np.float32), **options).astype(bfloat16)
        assert brief.dtype == bfloat16
        np.testing.assert_array_equal(brief.astype(np.float32), single.astype(np.float32))
        wide = call(x.astype(np.longdouble), **options)
        assert wide.dtype == np.longdouble
        np.testing.assert_allclose(wide, call(x.astype(np.float64), **options), rtol=1e-14, atol=1e-14)


def test_masked_arrays_keep_their_mask():
    x = np.ma.array([-1.0, 2.0, -3.0], mask=[0, 1, 0])
    y = fr.rrelu(x, training=True, key=KEY)
    assert y.mask.tolist() == [False, True, False]


def test_objects_pickle_and_say_what_they_are():
    for f in (fr.rrelu, fr.noisy_relu):
        assert isinstance(f, fr.Activation)
        for g in (f, f.backward):
            assert pickle.loads(pickle.dumps(g)) is g
            assert copy.deepcopy(g) is g
            assert not hasattr(g, "ufunc")
        assert repr(f) == f"<fastrelu.{f.__name__}>"
        assert fr.explain(f, np.zeros(10)).operation == f.__name__


def test_no_floating_point_warnings():
    x = inputs(np.float32, 1000)
    with np.errstate(all="raise"):
        for name in ACTIVATIONS:
            if "channels" not in name and "callable" not in name:
                forward(name, x)
                backward(name, x, x)


# Errors

X, OUT = np.linspace(-2, 2, 6), np.full(6, 7.0)
CASES = {
    "no key": (lambda f: f(X, training=True), ValueError, ("key", "None", "training")),
    "integer key": (lambda f: f(X, training=True, key=3), TypeError, ("key", "int", "noise_key")),
    "generator": (
        lambda f: f(X, training=True, key=np.random.default_rng(0)), TypeError, ("key", "Generator"),
    ),
    "training": (lambda f: f(X, training="yes", key=KEY), TypeError, ("training", "str")),
    "complex": (lambda f: f(1j * X, training=True, key=KEY), TypeError, ("x", "complex128")),
    "unknown": (lambda f: f(X, where=X > 0), TypeError, ("where",)),
    "no x": (lambda f: f(), TypeError, ("x",)),
    "out shape": (lambda f: f(X[:3], out=OUT), ValueError, ("out", "(6,)", "(3,)")),
    "out kind": (lambda f: f(X, out=OUT.astype(int)), TypeError, ("out", "int64", "float64")),
    "out list": (lambda f: f(X, out=[0.0] * 6), TypeError, ("out", "list")),
    "dy shape": (
        lambda f: f.backward(X[:3], X, training=True, key=KEY), ValueError, ("dy", "(3,)", "(6,)"),
    ),
    "both": (lambda f: f.backward(X, X, y=X), ValueError, ("x and y", "both")),
    "neither": (lambda f: f.backward(X), ValueError, ("x and y", "neither")),
    "no key backward": (lambda f: f.backward(X, X, training=True), ValueError, ("backward", "key")),
}  # fmt: skip
BOUNDS = {
    "order": (lambda: fr.rrelu(X, 0.5, 0.25, out=OUT), ValueError, ("upper", "0.25", "lower", "0.5")),
    "negative": (lambda: fr.rrelu(X, -0.5, 0.25, out=OUT), ValueError, ("lower", "-0.5", "lower >= 0")),
    "one": (lambda: fr.rrelu(X, 0.5, 1.0, out=OUT), ValueError, ("upper", "1.0", "upper < 1")),
    "nan": (lambda: fr.rrelu(X, np.nan, out=OUT), ValueError, ("lower", "nan")),
    "axis": (lambda: fr.rrelu(X, axis=1, out=OUT), np.exceptions.AxisError, ("axis", "1")),
    "axis kind": (lambda: fr.rrelu(X, axis=0.5, out=OUT), TypeError, ("axis", "0.5")),
    "shapes": (lambda: fr.rrelu(X, np.zeros(4), out=OUT), ValueError, ("lower", "(4,)", "(6,)")),
    "variance": (
        lambda: fr.noisy_relu(X, -1.0, training=True, key=KEY, out=OUT), ValueError, ("variance", "-1.0"),
    ),
    "variance name": (lambda: fr.noisy_relu(X, "tanh", out=OUT), ValueError, ("variance", "tanh", "sigmoid")),
    "variance kind": (
        lambda: fr.noisy_relu(X, 1j, training=True, key=KEY, out=OUT), TypeError, ("variance", "complex128"),
    ),
    "variance shape": (
        lambda: fr.noisy_relu(X, np.ones(4), training=True, key=KEY, out=OUT),
        ValueError, ("variance", "(4,)"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("f", [fr.rrelu, fr.noisy_relu], ids=lambda f: f.__name__)
@pytest.mark.parametrize("case", CASES)
def test_bad_arguments(f, case):
    call, kind, words = CASES[case]
    with refused(kind, f.__name__, *words, untouched=(X, OUT)):
        call(f)


@pytest.mark.parametrize("case", BOUNDS)
def test_bad_parameters(case):
    call, kind, words = BOUNDS[case]
    with refused(kind, *words, untouched=(X, OUT)):
        call()
