"""What is more than one kernel of the table, on Numba's simulator: test_device.py runs this file."""

import itertools
import pickle

import ml_dtypes
import numpy as np
import own
import pytest
from on_device import BFLOAT16, DTYPES, each_dtype, wide
from simulated import LIBRARY, DeviceArray, check_refusal
from ulp import distances

import fastrelu as fr
from fastrelu import control
from fastrelu.kernels.cuda import launch

D = DeviceArray
KEY = fr.noise_key(3)


def same(a, b):
    return np.array_equal(wide(np.asarray(a)), wide(np.asarray(b)), equal_nan=True)


def numbers(dtype, *shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def there(options):
    """The same arguments on the device."""
    return {name: D(v) if isinstance(v, np.ndarray) else v for name, v in options.items()}


# bias_act

AXES = [((3, 16), -1), ((2, 3, 8), 1), ((5, 3), -1)]


@each_dtype
def test_bias_act_has_the_bits_of_the_host(dtype):
    """Of exact activations; what flows into sums is rounded once, behind dropout, too."""
    acts = (fr.relu, {}), (fr.leaky_relu, {"negative_slope": 0.25}), (fr.prelu, {"weight": None})
    for (shape, axis), (act, parameters) in zip(AXES, acts, strict=True):
        x, dy, residual = (numbers(dtype, *shape, seed=i) for i in range(3))
        n = shape[axis]
        bias = numbers("f" if dtype.itemsize == 2 and act is fr.relu else dtype, n, seed=3)
        parameters = {name: numbers(dtype, n) if v is None else v for name, v in parameters.items()}
        for more in ({}, {"residual": residual, "dropout": 0.4, "key": KEY}):
            given = parameters | more
            expected = fr.bias_act(x, bias, act, axis=axis, **given)
            assert same(fr.bias_act(D(x), D(bias), act, axis=axis, **there(given)).host, expected)
            given.pop("residual", None)
            expected = fr.bias_act.backward(dy, x, bias, act, axis=axis, **given)
            got = fr.bias_act.backward(D(dy), D(x), D(bias), act, axis=axis, **there(given))
            assert [one.dtype for one in got] == [one.dtype for one in expected]
            assert all(same(one.host, other) for one, other in zip(got, expected, strict=True))


def test_bias_act_in_place_and_from_y():
    x, dy, bias = numbers("f", 4, 6), numbers("f", 4, 6, seed=1), numbers("f", 6, seed=2)
    a, flow = D(x.copy()), D(dy.copy())
    y = fr.bias_act(a, D(bias), fr.relu, dropout=0.5, key=KEY, out=a)
    assert y is a
    expected = fr.bias_act.backward(dy, act=fr.relu, y=y.host, dropout=0.5, key=KEY)
    got = fr.bias_act.backward(flow, act=fr.relu, y=y, dropout=0.5, key=KEY, out=flow)
    assert got[0] is flow
    assert all(same(one.host, other) for one, other in zip(got, expected, strict=True))
    for act in (fr.gelu, own.squashed):
        got = fr.bias_act(D(x), D(bias), act), *fr.bias_act.backward(D(dy), D(x), D(bias), act)
        expected = fr.bias_act(x, bias, act), *fr.bias_act.backward(dy, x, bias, act)
        for one, other in zip(got, expected, strict=True):
            assert distances(one.host, other.astype(float)).max() <= 2


def test_bias_act_launches():
    x, bias, device = D(numbers("f", 4, 6)), D(numbers("f", 6)), launch.device(0)
    for call, count in (
        (lambda: fr.bias_act(x, bias, fr.gelu), 1),
        (lambda: fr.bias_act.backward(x, x, bias, fr.gelu), 2),
    ):
        before = len(device.launched)
        call()
        assert len(device.launched) - before == count


RANDOM = {
    "rrelu": (fr.rrelu, {"lower": 0.125, "training": True, "key": KEY}),
    "mean slope": (fr.rrelu, {}),
    "sigmoid": (fr.noisy_relu, {"training": True, "key": KEY}),
    "variances": (fr.noisy_relu, {"variance": numbers("f", 4, 1) ** 2, "training": True, "key": KEY}),
}


@pytest.mark.parametrize(
    ("name", "dtype"), zip([*RANDOM, *RANDOM], [*DTYPES, *DTYPES[2:], *DTYPES[:2]], strict=True)
)
def test_random_activations_in_bias_act(name, dtype):
    """With the host's draws; exact ones have its bits, dropout and what else follows included."""
    act, given = RANDOM[name]
    given = {n: v.astype(dtype) if isinstance(v, np.ndarray) else v for n, v in given.items()}
    (x, dy, residual), bias = (numbers(dtype, 4, 9, seed=i) for i in range(3)), numbers(dtype, 9, seed=3)
    for more in ({}, {"dropout": 0.4, "key": KEY, "residual": residual}):
        options, monitors = given | more, [fr.ActivityMonitor() for _ in range(2)]
        expected = fr.bias_act(x, bias, act, monitor=monitors[0], **options)
        watching = {"monitor": monitors[1]} if more else {}
        got = fr.bias_act(D(x), D(bias), act, **watching, **there(options)).host
        options.pop("residual", None)
        slopes = fr.bias_act.backward(dy, x, bias, act, **options)
        found = fr.bias_act.backward(D(dy), D(x), D(bias), act, **there(options))
        assert all(same(one.host, other) for one, other in zip(found, slopes, strict=True))
        if act is fr.rrelu:
            assert same(got, expected)
        else:  # within an ULP of the largest noise
            allowed = 4 * float(ml_dtypes.finfo(dtype).eps)
            np.testing.assert_allclose(wide(got), wide(expected), rtol=allowed, atol=allowed)
        if more:
            counts = [monitor.result() for monitor in monitors]
            np.testing.assert_array_equal(counts[1].fraction, counts[0].fraction)


# Activity


def watched(*arrays, axis=0, of=lambda y: y):
    monitor = fr.ActivityMonitor()
    for y in arrays:
        monitor.update(of(y), axis)
    return monitor


def agree(found, expected):
    np.testing.assert_array_equal(found.fraction, expected.fraction)
    np.testing.assert_array_equal(found.dead, expected.dead)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=2e-14)
    assert found.samples == expected.samples


@each_dtype
def test_activity(dtype):
    y = numbers(dtype, 5, 4, 3)
    y[:, 1], y[0, 2], y[1, 3] = -1, (np.nan, np.inf, -np.inf), 0
    for a, axis in ((y, (0, 2)), (y[2:], None), (y[:2], ()), (y.T, -1), (y[:0], 0)):
        agree(fr.activity(D(a), axis), fr.activity(a, axis))


def test_a_count_stays_on_the_device(monkeypatch):
    x, bias = [numbers("e", 9, 5, seed=i) for i in range(3)], numbers("e", 5, seed=9)
    expected, monitor = fr.ActivityMonitor(), fr.ActivityMonitor()
    with monkeypatch.context() as during:
        during.setattr(type(LIBRARY), "to_host", lambda self, array: pytest.fail("it waited"))
        for a in x:
            y = fr.bias_act(D(a), D(bias), fr.relu, dropout=0.5, key=KEY, monitor=monitor)
            assert same(y.host, fr.bias_act(a, bias, fr.relu, dropout=0.5, key=KEY, monitor=expected))
        monitor.update(D(a))
        expected.update(a)
    agree(monitor.result(), expected.result())
    agree(pickle.loads(pickle.dumps(monitor)).result(), expected.result())
    monitor.update(x[0])  # in host memory
    expected.update(x[0])
    monitor.merge(watched(x[1], of=D))
    expected.merge(watched(x[1]))
    agree(monitor.end_epoch(), expected.end_epoch())
    assert monitor.result().samples == 0
    agree(monitor.history[0], expected.history[0])
    with pytest.raises(ValueError, match=r"\(4,\).*\(5,\)"):
        monitor.update(D(x[0][:, :4]))


@pytest.mark.parametrize("dtype", [np.dtype("e"), BFLOAT16], ids=str)
def test_sums_of_16_bits_lose_nothing(dtype):
    """In pairs of float32: large terms cancel, and what is left is at most 2 ULP off."""
    large, small = 2.0 ** np.arange(15).repeat(4), numbers(dtype, 60, seed=4) / 64
    dy = np.random.default_rng(5).permutation(np.concatenate([large, -large, wide(small)])).astype(dtype)
    x = -np.ones_like(dy)
    (dw,) = fr.prelu.backward(D(dy), D(x), weight=0.5, wrt="weight").host[None]
    (db,) = fr.bias_act.backward(D(dy[:, None]), D(x[:, None]), D(x[:1]), fr.leaky_relu)[1].host
    for got, factor in ((dw, -1), (db, float(np.float32(0.01).astype(dtype)))):
        exact = np.sum(dy.astype(float)) * factor
        unit = np.spacing(np.abs(exact).astype("f")) * float(ml_dtypes.finfo(dtype).eps) * 2.0**23
        assert abs(float(got) - exact) <= 2 * unit


# Masks

MASKED = [
    *((fr.relu, {}), (fr.relu, {"at_zero": 1}), (fr.leaky_relu, {"negative_slope": np.nan})),
    *((fr.hardtanh, {"max_val": 0.5}), (fr.threshold, {"threshold": 0.125, "value": 3.0})),
]


@each_dtype
def test_masks_are_those_of_the_host(dtype):
    for shape, (f, options) in zip(((37,), (3, 16), (), (16,), (2, 9)), MASKED, strict=True):
        x, dy = numbers(dtype, *shape), numbers(dtype, *shape, seed=1)
        x.flat[:5] = np.array([0, -0.0, np.nan, np.inf, -np.inf])[: x.size]
        parameters = {name: v for name, v in options.items() if name != "at_zero"}
        for layout in (lambda a: a, lambda a: a.T):
            y, mask = f.with_mask(D(layout(x)), **options)
            expected, bits = f.with_mask(layout(x), **options)
            assert same(y.host, expected)
            assert same(mask.host, bits)
            got = f.backward(D(layout(dy)), mask=mask, **parameters).host
            assert same(got, f.backward(layout(dy), mask=bits, **parameters))


# maxout


@each_dtype
def test_maxout(dtype):
    x = numbers(dtype, 3, 6, 4)
    x.flat[:5], x[1] = [0, -0.0, np.nan, np.inf, -np.inf], 1
    for (axis, pieces), a in itertools.product(((0, 3), (1, 2), (-1, 4)), (x, x[:, ::-1])):
        y, index = fr.maxout.with_index(D(a), pieces, axis)
        expected, which = fr.maxout.with_index(a, pieces, axis)
        assert same(y.host, expected)
        assert same(index.host, which)
        assert index.dtype == which.dtype
        dy = numbers(dtype, *y.shape, seed=1)
        gradient = fr.maxout.backward(dy, a, pieces, axis)
        assert same(fr.maxout.backward(D(dy), D(a), pieces, axis).host, gradient)
        assert same(fr.maxout.backward(D(dy), pieces=pieces, axis=axis, index=index).host, gradient)
    a = D(x.copy())
    assert fr.maxout.backward(D(numbers(dtype, 3, 3, 4)), a, 2, 1, out=a) is a


def test_what_is_no_index_can_be_asked_for(monkeypatch):
    monkeypatch.setattr(control, "CHECKS_LABELS", True)
    dy, before = D(np.ones(3, "f")), len(launch.device(0).launched)
    with pytest.raises(ValueError, match=r"maxout.backward: argument 'index' is .*7"):
        fr.maxout.backward(dy, pieces=2, index=D(np.array([0, 7, -1])))
    assert len(launch.device(0).launched) == before
    assert fr.maxout.backward(dy, pieces=2, index=D(np.array([0, 1, 1]))).shape == (6,)


def test_maxout_with_what_is_no_index_or_nothing():
    got = fr.maxout.backward(D(np.ones(3, "f")), pieces=2, index=D(np.array([0, 7, -1]))).host
    np.testing.assert_array_equal(got, [1, 0, np.nan, np.nan, np.nan, np.nan])
    assert fr.maxout(D(np.zeros((0, 4), "f")), 2).shape == (0, 2)


# stepped_sigmoid


@each_dtype
def test_stepped_sigmoid(dtype):
    x = np.concatenate([np.linspace(-20, 20, 17), [-90, 1e4, np.inf, -np.inf, np.nan]]).astype(dtype)
    limits, ones = ml_dtypes.finfo(dtype), np.ones_like(x)
    allowed = (4, 8) if dtype == np.float64 else (1, 1)
    for units in (None, 7):
        exact = fr.stepped_sigmoid(x.astype(np.longdouble), units)
        slopes = fr.stepped_sigmoid.backward(ones.astype(np.longdouble), x.astype(np.longdouble), units=units)
        got = fr.stepped_sigmoid(D(x), units), fr.stepped_sigmoid.backward(D(ones), D(x), units=units)
        for one, true, ulp in zip(got, (exact, slopes), allowed, strict=True):
            finite = np.isfinite(true)
            unit = np.maximum(abs(true) * float(limits.eps) / 2, float(limits.smallest_subnormal))
            with np.errstate(invalid="ignore"):
                off = abs(wide(one.host).astype(np.longdouble) - true) / unit
            assert off[finite].max() <= 2 * ulp
            assert same(one.host[~finite], true[~finite].astype(float))


# Parameters of another dtype, and rows of vectors


def test_parameters_of_another_dtype_are_rounded():
    for dtype, given in itertools.product(DTYPES, DTYPES):
        x, weight = numbers(dtype, 2, 3, 8), np.array([0.1, 0.3, 0.7]).astype(given)
        full = wide(weight.astype(dtype))[:, None]
        got = fr.prelu(D(x), D(weight)).host
        assert got.dtype == dtype
        assert same(got, np.where(wide(x) > 0, wide(x), wide(x) * full).astype(dtype))
        dx, dw = fr.prelu.backward(D(x), D(x), weight=D(weight))
        assert (dx.dtype, dw.dtype, dw.shape) == (dtype, dtype, (3,))


@each_dtype
def test_rows_go_by_vectors(dtype):
    x, padded = numbers(dtype, 2, 3, 16), np.zeros((2, 3, 24), dtype)
    padded[..., :16] = x
    gap = padded[..., :16]
    for weight, axis in ((numbers(dtype, 16), -1), (numbers(dtype, 3), 1)):
        got = fr.prelu(D(gap), D(weight), axis=axis).host
        assert same(got, fr.prelu(x, weight, axis=axis))
    plan = fr.explain(fr.gelu, D(gap))
    assert plan.path == "vectors"
    assert "runs of memory" in plan.reasons[0]
    assert fr.explain(fr.gelu, D(padded[..., 1:17])).path == "numbers"


X, B = numbers("f", 4, 6), numbers("f", 6)
SLOPES, SUMS = D(np.ones(6, "f")), D(np.ones(6, "f"))
REFUSED = {
    "host bias": (TypeError, "'bias'", "host", lambda: fr.bias_act(D(X), B, fr.relu)),
    "bias": (ValueError, "'bias'", r"\(6,\)", lambda: fr.bias_act(D(X), D(B[:5]), fr.relu)),
    "one bias": (ValueError, "'bias'", r"\(6,\)", lambda: fr.bias_act(D(X), D(B[:1]), fr.relu)),
    "residual": (ValueError, "'residual'", "x", lambda: fr.bias_act(D(X), D(B), fr.relu, residual=D(B))),
    "no act": (TypeError, "'act'", "Activation", lambda: fr.bias_act(D(X), D(B), abs)),
    "no key": (ValueError, "'key'", "training", lambda: fr.bias_act(D(X), D(B), fr.rrelu, training=True)),
    "unknown": (TypeError, "noisy_relu", "'slope'", lambda: fr.bias_act(D(X), D(B), fr.noisy_relu, slope=1)),
    "callable": (
        TypeError,
        "'variance'",
        "number",
        lambda: fr.bias_act(D(X), D(B), fr.noisy_relu, variance=abs, training=True, key=KEY),
    ),
    "bounds": (ValueError, "'upper'", "lower", lambda: fr.bias_act(D(X), D(B), fr.rrelu, upper=0.0)),
    "wide": (
        ValueError,
        "'lower'",
        r"\(4, 6\)",
        lambda: fr.bias_act(D(X), D(B), fr.rrelu, lower=D(np.zeros((2, 1, 6), "f"))),
    ),
    "monitor": (
        TypeError,
        "'monitor'",
        "ActivityMonitor",
        lambda: fr.bias_act(D(X), D(B), fr.relu, monitor=1),
    ),
    "other units": (
        ValueError,
        "'monitor'",
        r"\(4,\)",
        lambda: fr.bias_act(D(X), D(B), fr.relu, monitor=watched(X.T)),
    ),
    "no bias": (ValueError, "'bias'", "forward", lambda: fr.bias_act.backward(D(X), D(X), act=fr.relu)),
    "one memory for two": (
        ValueError,
        "'out'",
        "the same memory for bias and weight; expected arrays that share none",
        lambda: fr.bias_act.backward(D(X), D(X), SLOPES, fr.prelu, weight=SLOPES, out=(None, SUMS, SUMS)),
    ),
    "channels": (
        np.exceptions.AxisError,
        "'axis'",
        "bounds",
        lambda: fr.bias_act(D(X), D(B), fr.relu, axis=2),
    ),
    "three slopes": (TypeError, "gelu", "two values", lambda: fr.gelu.with_mask(D(X))),
    "array": (
        ValueError,
        "'negative_slope'",
        "number",
        lambda: fr.leaky_relu.with_mask(D(X), negative_slope=D(B)),
    ),
    "mask": (ValueError, "'mask'", "uint8", lambda: fr.relu.backward(D(X), mask=D(np.zeros(2, "u1")))),
    "host mask": (TypeError, "'mask'", "host", lambda: fr.relu.backward(D(X), mask=np.zeros(3, "u1"))),
    "pieces": (ValueError, "'pieces'", "divisor", lambda: fr.maxout(D(X), 4)),
    "index": (
        TypeError,
        "'index'",
        "integer",
        lambda: fr.maxout.backward(D(X), pieces=2, index=D(X)),
    ),
    "whole units": (ValueError, "'units'", "whole", lambda: fr.stepped_sigmoid(D(X), 2.5)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_come_before_any_launch(case):
    check_refusal(*REFUSED[case])
