"""bias_act and its backward pass: the bits of the calls one by one, sums rounded once, every layout."""

import itertools
import math

import numpy as np
import own
import pytest
from calls import LAYOUTS, refused
from cases import parameter_sets, same_bits, specials

import fastrelu as fr
from fastrelu import draws
from fastrelu.reference import fused as reference_fused
from fastrelu.table import ROWS

pytestmark = pytest.mark.usefixtures("kernels_only")

NAMES = [row.qualname for row in ROWS]
ROW = {row.qualname: row for row in ROWS}
SHAPES = {
    (7, 37): -1,
    (6, 5, 11): 1,
    (3, 2, 300): 1,
    (2100,): 0,
    (3, 1500): 1,
    (2, 3, 9000): 1,
    (9, 1): 1,
    (20, 9000): 1,
}
each = pytest.mark.parametrize("name", NAMES)


def found(name):
    family, _, variant = name.partition(".")
    return fr.ACTIVATIONS[family].variants[variant] if variant else fr.ACTIVATIONS[family]


def values(shape, dtype, seed=0, special=True):
    """Ordinary numbers, and among them whatever is special."""
    made = np.random.default_rng(seed).normal(0, 3, shape).astype(dtype)
    few = specials(dtype)[: made.size // 2]
    if special:
        made.reshape(-1)[:: max(1, made.size // len(few))][: len(few)] = few
    return made


def given(row):
    return dict(zip((p.name for p in row.parameters), parameter_sets(row)[0], strict=True))


def along(bias, shape, axis):
    return bias.reshape([-1 if a == axis % len(shape) else 1 for a in range(len(shape))])


def column_sums(dx, axis):
    """Each channel's exact sum, rounded once."""
    rows = np.moveaxis(dx, axis, 0).reshape(dx.shape[axis], -1).astype(np.float64)
    return np.array([math.fsum(row) for row in rows]).astype(dx.dtype)


def close(got, expected):
    """At most 1 ULP apart: an exact sum and its pair of doubles may round to neighbours."""
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=np.finfo(got.dtype).eps, atol=0)


@pytest.mark.every_isa
@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bits_of_the_calls_one_by_one(name, dtype):
    f, parameters = found(name), given(ROW[name])
    wrt = {"wrt": "x"} if any(p.learned for p in ROW[name].parameters) else {}
    for shape, axis in [((7, 37), -1), ((3, 2, 300), 1)]:
        x, dy = values(shape, dtype), values(shape, dtype, 1)
        bias = values(shape[axis], dtype, 2)
        with np.errstate(all="ignore"):
            z = x + along(bias, shape, axis)
        assert same_bits(fr.bias_act(x, bias, f, axis=axis, **parameters), f(z, **parameters))
        dx, _, *_ = fr.bias_act.backward(dy, x, bias, f, axis=axis, **parameters)
        assert same_bits(dx, f.backward(dy, z, **wrt, **parameters))
        if ROW[name].slope_from_y and not wrt:
            y = f(z, **parameters)
            dx, _ = fr.bias_act.backward(dy, act=f, y=y, axis=axis, **parameters)
            assert same_bits(dx, f.backward(dy, y=y, **parameters))


def test_an_activation_without_compiled_kernels():
    x, dy, bias = values((4, 37), np.float32), values((4, 37), np.float32, 1), values(37, np.float32, 2)
    with np.errstate(all="ignore"):
        z = x + bias
    assert same_bits(fr.bias_act(x, bias, fr.stepped_sigmoid, units=3), fr.stepped_sigmoid(z, units=3))
    dx, _ = fr.bias_act.backward(dy, x, bias, fr.stepped_sigmoid, units=3)
    assert same_bits(dx, fr.stepped_sigmoid.backward(dy, z, units=3))


@each
def test_halves_are_computed_in_float32_and_rounded_once(name):
    f, parameters = found(name), given(ROW[name])
    wrt = {"wrt": "x"} if any(p.learned for p in ROW[name].parameters) else {}
    types = [np.float16]
    try:
        import ml_dtypes

        types.append(ml_dtypes.bfloat16)
    except ModuleNotFoundError:
        pass
    for dtype in types:
        x, dy = (values((5, 40), np.float32, seed, special=False).astype(dtype) for seed in (0, 1))
        bias = values(40, np.float32, 2, special=False)
        z = x.astype(np.float32) + bias
        rounded = {n: np.float32(np.asarray(v).astype(dtype)) for n, v in parameters.items()}
        with fr.accuracy("fast"):
            y = f(z, **rounded)
            dx = f.backward(dy.astype(np.float32), z, **wrt, **rounded)
        assert same_bits(fr.bias_act(x, bias, f, **parameters), y.astype(dtype))
        got = fr.bias_act.backward(dy, x, bias, f, **parameters)
        assert same_bits(got[0], dx.astype(dtype))
        close(got[1], column_sums(dx, -1))  # of what is not rounded yet


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "axis"), SHAPES.items())
def test_sums_are_rounded_once(shape, axis, dtype):
    x, dy = (values(shape, dtype, seed, special=False) for seed in (0, 1))
    bias = values(shape[axis], dtype, 2, special=False)
    dy *= np.logspace(-6, 6, dy.size).astype(dtype).reshape(shape)  # much cancels
    dx, dbias = fr.bias_act.backward(dy, x, bias, fr.gelu, axis=axis)
    close(dbias, column_sums(dx, axis))
    dx, dbias = fr.bias_act.backward(dy, x, bias, fr.relu, axis=axis)
    close(dbias, column_sums(dx, axis))


def test_what_is_not_finite_stays_in_its_channel():
    for dtype, bad in itertools.product((np.float32, np.float64), (np.inf, -np.inf, np.nan)):
        dy = np.ones((300, 3), dtype)
        dy[7, 1] = bad
        _, dbias = fr.bias_act.backward(dy, np.ones((300, 3), dtype), np.ones(3, dtype), fr.relu)
        np.testing.assert_array_equal(dbias, [300, bad, 300])


@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_the_number_of_threads_changes_no_bit(name, thresholds):
    f, key = found(name), fr.noise_key(3)
    cases = []
    for dtype in (np.float32, np.float64, np.float16):
        for shape, axis in [((700, 301), 1), ((20, 9000), 1), ((9, 3, 3000), 1), ((40, 64, 49), 1)]:
            x, dy, r = (values(shape, dtype, seed, special=False) for seed in range(3))
            cases.append((x, dy, r, values(shape[axis], dtype, 5, special=False), axis))

    def run():
        for x, dy, residual, bias, axis in cases:
            monitor = fr.ActivityMonitor()
            options = {"axis": axis, "dropout": 0.25, "key": key}
            yield fr.bias_act(x, bias, f, residual=residual, monitor=monitor, **options)
            yield from fr.bias_act.backward(dy, x, bias, f, **options)
            yield from (monitor.result().mean, monitor.result().fraction)
            yield from fr.bias_act.backward(dy, x, bias, f, axis=axis)

    thresholds(1, 2**62, 2**62)
    alone = [a.tobytes() for a in run()]
    for threads, streaming in [(2, 1 << 14), (3, 2**62), (7, 1 << 12)]:
        thresholds(threads, 100, streaming)
        assert [a.tobytes() for a in run()] == alone, threads


LINES = [
    (np.float32, (40, 512), 1),
    (np.float64, (40, 128), 1),
    (np.float32, (70, 96, 3), 1),
    (np.float32, (60, 77), 1),
    (np.float32, (3, 4128), 1),
    (np.float32, (3, 4100), 1),
    (np.float32, (3, 2, 9001), 1),
]


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "silu"])
@pytest.mark.parametrize(("dtype", "shape", "axis"), LINES)
def test_where_the_result_lies_changes_no_bit(name, dtype, shape, axis, thresholds):
    """Past the cache stores are of whole lines, which rows may or may not begin."""
    f = found(name)
    x, dy, residual = (values(shape, dtype, seed, special=False) for seed in range(3))
    bias = values(shape[axis], dtype, 3, special=False)
    memory = np.empty(x.size + 16, dtype)

    def run(start):
        monitor = fr.ActivityMonitor()
        out = memory[start : start + x.size].reshape(shape)
        yield fr.bias_act(x, bias, f, axis=axis, out=out)
        yield fr.bias_act(x, bias, f, axis=axis, residual=residual, monitor=monitor, out=out)
        yield from (monitor.result().mean, monitor.result().fraction)
        yield from fr.bias_act.backward(dy, x, bias, f, axis=axis, out=out)

    thresholds(1, 2**62, 2**62)
    usual = [a.tobytes() for a in run(0)]
    assert usual[0] == f(x + along(bias, shape, axis)).tobytes()
    thresholds(1, 2**62, 1)
    for start in range(0, 16, 3):
        assert [a.tobytes() for a in run(start)] == usual, start


@pytest.mark.every_isa
@pytest.mark.parametrize("streaming", [2**62, 1])
def test_runs_are_added_up_in_one_order(streaming, thresholds):
    """As 64 sums, then halves of them, whichever registers the last elements do not fill."""
    x = (10 ** np.random.default_rng(0).uniform(-9, 9, (1, 50, 345))).astype(np.float32)
    monitor = fr.ActivityMonitor()
    thresholds(1, 2**62, streaming)
    fr.bias_act(x, np.zeros(50, np.float32), fr.relu, axis=1, monitor=monitor)
    sums = np.zeros((50, 64))
    for start in range(0, 345, 64):
        part = x[0, :, start : start + 64]
        sums[:, : part.shape[1]] += part
    while sums.shape[1] > 1:
        sums = np.add(*np.split(sums, 2, axis=1))
    np.testing.assert_array_equal(monitor.result().mean, sums[:, 0] / 345)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_layouts(layout, dtype):
    lay, key = LAYOUTS[layout], fr.noise_key(1)
    x, dy, residual = (values((6, 5, 11), dtype, seed) for seed in range(3))
    for axis in (0, 1, 2):
        bias = values(x.shape[axis], dtype, 4)
        for options in ({}, {"dropout": 0.5, "key": key}):
            options = {"axis": axis, **options}
            y = fr.bias_act(x, bias, fr.elu, residual=residual, **options)
            got = fr.bias_act(lay(x), lay(bias), fr.elu, residual=lay(residual), **options)
            assert got.dtype == dtype
            assert same_bits(np.ascontiguousarray(got), y)
            want = fr.bias_act.backward(dy, x, bias, fr.elu, **options)
            got = fr.bias_act.backward(lay(dy), lay(x), lay(bias), fr.elu, **options)
            assert all(same_bits(np.ascontiguousarray(a), b) for a, b in zip(got, want, strict=True))
            if layout != "read-only":
                out = lay(np.zeros_like(x))
                assert fr.bias_act(x, bias, fr.elu, residual=residual, out=out, **options) is out
                np.testing.assert_array_equal(out, y)


def test_results_take_the_place_of_inputs():
    for dtype, shape in itertools.product((np.float32, np.float64, np.float16), ((6, 40), (3, 2, 300))):
        x, dy, residual = (values(shape, dtype, seed) for seed in range(3))
        bias = values(shape[1], dtype, 4)
        options = {"axis": 1, "dropout": 0.5, "key": fr.noise_key(2)}
        y = fr.bias_act(x, bias, fr.selu, residual=residual, **options)
        for own_place in (0, 1):
            arrays = [x.copy(), residual.copy()]
            out = arrays[own_place]
            fr.bias_act(arrays[0], bias, fr.selu, residual=arrays[1], out=out, **options)
            assert same_bits(out, y)
        dx, dbias = fr.bias_act.backward(dy, x, bias, fr.selu, **options)
        for own_place in (0, 1):
            arrays, total = [dy.copy(), x.copy()], np.empty(shape[1], dtype)
            outs = arrays[own_place], total
            got = fr.bias_act.backward(*arrays, bias, fr.selu, out=outs, **options)
            assert got[0] is outs[0]
            assert got[1] is total
            assert same_bits(outs[0], dx)
            assert same_bits(total, dbias)


def test_a_result_that_overlaps_what_is_read():
    memory = values((7 * 40,), np.float32)
    x = memory[: 6 * 40].reshape(6, 40)
    bias = values(40, np.float32, 1)
    y = fr.bias_act(x, bias, fr.tanh)
    for start in (1, 8, 40):
        moved = memory.copy()
        out = moved[start : start + 240].reshape(6, 40)
        fr.bias_act(moved[:240].reshape(6, 40), bias, fr.tanh, out=out)
        assert same_bits(np.ascontiguousarray(out), y)
    square = values((40, 40), np.float32)
    y = fr.bias_act(square, square[3].copy(), fr.relu)
    fr.bias_act(square, square[3], fr.relu, out=square)
    assert same_bits(square, y)


def test_dropout_is_what_it_says():
    key, rate = fr.noise_key(7), 0.3
    for dtype in (np.float32, np.float64):
        x, dy, residual = (values((90, 77), dtype, seed, special=False) for seed in range(3))
        bias = values(77, dtype, 4, special=False)
        centred = draws.draws("uniform", key.bits, 0, x.size, np.dtype(dtype)).reshape(x.shape)
        kept, factor = centred >= dtype(rate - 0.5), dtype(1 / (1 - rate))
        y = np.where(kept, fr.gelu(x + bias) * factor, 0) + residual
        got = fr.bias_act(x, bias, fr.gelu, residual=residual, dropout=rate, key=key)
        assert same_bits(got, y)
        dx, dbias = fr.bias_act.backward(dy, x, bias, fr.gelu, dropout=rate, key=key)
        assert same_bits(dx, fr.gelu.backward(np.where(kept, dy * factor, dtype(0)), x + bias))
        close(dbias, column_sums(dx, -1))
        assert 0.69 < kept.mean() < 0.71
        y = fr.bias_act(x, bias, fr.relu, dropout=rate, key=key)
        from_x = fr.bias_act.backward(dy, x, bias, fr.relu, dropout=rate, key=key)
        from_y = fr.bias_act.backward(dy, act=fr.relu, y=y, dropout=rate, key=key)
        assert all(same_bits(abs(a), abs(b)) for a, b in zip(from_x, from_y, strict=True))
    assert not fr.bias_act(x, bias, fr.gelu, dropout=1, key=key).any()
    assert not fr.bias_act.backward(dy, x, bias, fr.gelu, dropout=1.0, key=key)[0].any()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_learned_slopes_of_channels(dtype):
    x, dy = (values((6, 5, 40), dtype, seed, special=False) for seed in (0, 1))
    bias, weight = (values(5, dtype, seed, special=False) for seed in (2, 3))
    z = x.astype(np.promote_types(dtype, np.float32)) + along(bias, x.shape, 1)
    y = fr.bias_act(x, bias, fr.prelu, axis=1, weight=weight)
    assert same_bits(y, fr.prelu(z, along(weight, x.shape, 1).astype(z.dtype)).astype(dtype))
    dx, dbias, dweight = fr.bias_act.backward(dy, x, bias, fr.prelu, axis=1, weight=weight)
    want = fr.prelu.backward(dy.astype(z.dtype), z, weight=weight.astype(z.dtype), axis=1)
    assert same_bits(dx, want[0].astype(dtype))
    assert same_bits(dweight, want[1].astype(dtype))
    close(dbias, column_sums(want[0], 1).astype(dtype))
    scalar = fr.bias_act.backward(dy, x, bias, fr.prelu, axis=1, weight=0.25)
    assert scalar[2].shape == ()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_the_fast_path_says_what_the_general_one_says(dtype):
    """With parameters and biases of every kind, results at hand and a monitor; `general` checks each call."""
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    x, dy = (values((6, 40, 3), np.float32, seed, special=False).astype(dtype) for seed in (0, 1))
    bias, slopes = (values(40, np.float32, seed, special=False).astype(dtype) for seed in (2, 3))

    def same(got, want):
        got, want = (a if isinstance(a, tuple) else (a,) for a in (got, want))
        for a, b in zip(got, want, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            assert same_bits(a, b)

    for shift, (f, keywords) in itertools.product(
        (bias, bias.astype(np.float32)),
        (
            (fr.relu, {}),
            (fr.elu, {"alpha": 0.3}),
            (fr.leaky_relu, {"negative_slope": slopes}),
            (fr.prelu, {"weight": 0.3}),
            (fr.prelu, {"weight": slopes}),
            (fr.prelu, {"weight": slopes[:1]}),
            (fr.prelu, {"weight": slopes.astype(np.float32) * np.float32(1.01)}),
        ),
    ):
        options = {"axis": 1, **keywords}
        monitors = fr.ActivityMonitor(), fr.ActivityMonitor()
        got = fr.bias_act(x, shift, f, monitor=monitors[0], **options)
        same(got, fr.bias_act.general(x, shift, f, monitor=monitors[1], **options))
        found, expected = (m.result() for m in monitors)
        assert (found.samples, found.fraction.tolist()) == (expected.samples, expected.fraction.tolist())
        np.testing.assert_array_equal(found.mean, expected.mean)
        backward = fr.bias_act.backward
        want = backward.general(dy, x, shift, f, **options)
        same(backward(dy, x, shift, f, **options), want)
        outs = tuple(map(np.empty_like, want))
        got = backward(dy, x, shift, f, out=outs, **options)
        assert all(a is b for a, b in zip(got, outs, strict=True))
        same(got, want)
        if f in (fr.relu, fr.elu):
            same(backward(dy, act=f, y=x, **options), backward.general(dy, act=f, y=x, **options))


def test_activations_of_users():
    x, dy = (values((30, 40), np.float32, seed, special=False) for seed in (0, 1))
    bias = values(40, np.float32, 2, special=False)
    for _ in range(2):  # compiled by the first, fast after it
        for keywords in ({}, {"a": 0.5}):
            y = fr.bias_act(x, bias, own.squashed, **keywords)
            assert same_bits(y, own.squashed(x + bias, **keywords))
            dx, dbias = fr.bias_act.backward(dy, x, bias, own.squashed, **keywords)
            assert same_bits(dx, own.squashed.backward(dy, x + bias, **keywords))
            close(dbias, column_sums(dx, -1))
    with refused(NotImplementedError, "cubic.derivative"):
        fr.bias_act.backward(dy, x, bias, own.cubic)


def test_random_activations_draw_from_the_key():
    x, dy = (values((30, 40), np.float32, seed, special=False) for seed in (0, 1))
    bias, key = values(40, np.float32, 2, special=False), fr.noise_key(5)
    y = fr.bias_act(x, bias, fr.rrelu, training=True, key=key)
    assert same_bits(y, fr.rrelu(x + bias, training=True, key=key))
    dx, dbias = fr.bias_act.backward(dy, x, bias, fr.rrelu, training=True, key=key)
    assert same_bits(dx, fr.rrelu.backward(dy, x + bias, training=True, key=key))
    close(dbias, column_sums(dx, -1))
    both = fr.bias_act(x, bias, fr.rrelu, training=True, key=key, dropout=0.5)
    assert set(np.unique(both / np.where(y, y, 1))) <= {0, 2}
    assert same_bits(fr.bias_act(x, bias, fr.rrelu), fr.rrelu(x + bias))


def test_variants_numbers_and_lists():
    x, bias = values((3, 4), np.float64, special=False), [0.5, 1.0, -1.0, 2]
    for variant in ("none", "tanh", "sigmoid"):
        y = fr.bias_act(x, bias, fr.gelu, approximate=variant)
        assert same_bits(y, fr.gelu(x + bias, approximate=variant))
        dx, _ = fr.bias_act.backward(np.ones((3, 4)), x, bias, fr.gelu, approximate=variant)
        assert same_bits(dx, fr.gelu.backward(np.ones((3, 4)), x + bias, approximate=variant))
    integers = np.arange(-6, 6).reshape(3, 4)
    assert same_bits(fr.bias_act(integers, bias, fr.relu), fr.relu(integers + np.array(bias)))
    wide = fr.bias_act(x.astype(np.longdouble), bias, fr.softplus)
    assert wide.dtype == np.longdouble
    mixed = x.astype(np.float16), np.array(bias, np.float32)
    dx, dbias = fr.bias_act.backward(np.ones((3, 4)), *mixed, fr.relu)
    assert (dx.dtype, dbias.dtype) == (np.float16, np.float32)


def test_nothing_in_nothing_out():
    for shape in ((0, 4), (4, 0), (2, 0, 3)):
        x = np.zeros(shape, np.float32)
        bias = np.ones(shape[1], np.float32)
        assert fr.bias_act(x, bias, fr.relu, axis=1).shape == shape
        dx, dbias = fr.bias_act.backward(x, x, bias, fr.relu, axis=1)
        assert dx.shape == shape
        np.testing.assert_array_equal(dbias, np.zeros(shape[1]))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_other_backends_say_the_same(backend):
    x, dy, residual = (values((6, 5, 11), np.float32, seed, special=False) for seed in range(3))
    bias, key = values(5, np.float32, 4, special=False), fr.noise_key(2)
    options = {"axis": 1, "dropout": 0.25, "key": key, "negative_slope": 0.3}

    def run():
        monitor = fr.ActivityMonitor()
        yield fr.bias_act(x, bias, fr.leaky_relu, residual=residual, monitor=monitor, **options)
        yield from fr.bias_act.backward(dy, x, bias, fr.leaky_relu, **options)
        y = fr.bias_act(x, bias, fr.leaky_relu, **options)
        yield from fr.bias_act.backward(dy, act=fr.leaky_relu, y=y, **options)
        yield from (monitor.result().fraction, monitor.result().dead)
        yield fr.bias_act(x.astype(np.float16), bias, fr.relu, axis=1)

    expected = list(run())
    with fr.use_backend(backend):
        for got, want in zip(run(), expected, strict=True):
            np.testing.assert_array_equal(got, want, strict=True)


def test_the_twin_is_the_definition():
    """In long double, by the formulas at the head of reference/fused.py."""
    x, dy = (values((40, 6), np.float64, seed, special=False) for seed in (0, 1))
    bias = values(6, np.float64, 2, special=False)
    with fr.use_backend("numpy"):
        dx, dbias = fr.bias_act.backward(dy, x, bias, fr.softplus)
    expected = dy / (1 + np.exp(-(x + bias)))
    np.testing.assert_allclose(dx, expected, rtol=1e-15)
    np.testing.assert_allclose(dbias, expected.sum(axis=0), rtol=1e-13)
    assert reference_fused.settled(np.array([[np.inf], [np.nan]]), np.float64) == np.inf
