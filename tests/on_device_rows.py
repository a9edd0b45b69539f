"""Reductions and draws of device arrays on Numba's simulator: test_device_rows.py runs this file.

A thread is one of the system's there, so warps have two and blocks four, and a few hundred numbers are many.
"""

import itertools

import loss_cases
import ml_dtypes
import numpy as np
import pytest
from simulated import LIBRARY, ON_HARDWARE, DeviceArray, check_refusal, shared

import fastrelu as fr
from fastrelu import control
from fastrelu.kernels.cuda import driver, launch, storage
from fastrelu.kernels.cuda.losses import CHUNK
from fastrelu.reference import rows as reference_rows

assert driver.SIMULATED != ON_HARDWARE
INF, NAN = np.inf, np.nan
# Of rows along and across memory that are more than a block takes at once.
LONG, LONG_ACROSS = (20_000, 400) if ON_HARDWARE else (70, 19)
# Bytes of shared memory that hold some of their pieces, and none.
SOME_PIECES, NO_PIECE = (66_000, 16_000) if ON_HARDWARE else (400, 100)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(char) for char in "efd"] + [BFLOAT16]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
SUMS = [fr.logsumexp, fr.logsumexp0]
# Functions of entries, how many ULP they may be off, and where the unit has its floor.
NORMALISING = {fr.softmax: (2, 0), fr.softmax0: (2, 0), fr.log_softmax: (1, 0.5)}
FORWARD = NORMALISING | dict.fromkeys(SUMS, (1, 0.5))
by_name = {"ids": lambda f: f.__qualname__}


def off(got, exact, floor=0.0):
    """The largest error in ULP, of numbers of any dtype; NaN and infinities have to be the same."""
    limits, exact = ml_dtypes.finfo(got.dtype), np.asarray(exact, np.longdouble)
    got = got.astype(np.float64).astype(np.longdouble)
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(np.maximum(abs(exact), floor))
        unit = np.maximum(np.ldexp(np.longdouble(limits.eps), exponent - 1), limits.smallest_subnormal)
        same = (got == exact) | (np.isnan(got) & np.isnan(exact))
        error = np.where(same, 0, abs(got - exact) / unit)
    assert not np.isnan(error).any()
    return error.max(initial=0)


def wide(a):
    return a.astype(np.float64).astype(np.longdouble)


def normal(dtype, *shape, scale=4, seed=0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def reference(function, x, axis):
    return getattr(reference_rows, function.__name__)(wide(x), axis=axis)


# Values.  Rows that whole vectors take, others, rows across memory, several axes, and one row of all.
WHERE = [((3, 16), -1), ((2, 11), -1), ((5, 3), 0), ((2, 3, 4), (0, 2)), ((2, 8), None)]


@each_dtype
@pytest.mark.parametrize("function", FORWARD, **by_name)
def test_forward(function, dtype):
    limit, floor = FORWARD[function]
    for shape, axis in WHERE if dtype == np.float32 else WHERE[list(FORWARD).index(function) :][:2]:
        x = normal(dtype, *shape)
        got = function(DeviceArray(x), axis=axis).host
        assert got.dtype == dtype
        assert off(got, reference(function, x, axis), floor) <= limit


@each_dtype
def test_backward(dtype):
    eps = float(ml_dtypes.finfo(dtype).eps)
    cases = list(itertools.product(WHERE[:4], FORWARD))
    for (shape, axis), function in cases[:: 1 if dtype == np.float32 else 3]:
        x, dy = normal(dtype, *shape), normal(dtype, *shape, scale=1, seed=1)
        gradient = getattr(reference_rows, f"{function.__name__}_backward")
        given = {"x": x}
        if function in SUMS:
            dy = normal(dtype, *np.shape(reference(function, x, axis)), scale=1, seed=1)
        else:
            given["y"] = reference(function, x, axis).astype(np.float64).astype(dtype)
        for name, source in given.items():
            got = function.backward(DeviceArray(dy), **{name: DeviceArray(source)}, axis=axis).host
            assert got.dtype == dtype
            exact = gradient(wide(dy), **{name: wide(source)}, axis=axis)
            np.testing.assert_allclose(wide(got), exact, rtol=4 * eps, atol=8 * eps)


def test_rows_that_one_entry_dominates_keep_their_digits():
    for dtype in DTYPES[1:3]:
        x = np.array([[0, -40, -60, -80], [30, 60, -20, -INF]], dtype)
        for function in (fr.logsumexp, fr.log_softmax):
            assert off(function(DeviceArray(x), axis=1).host, reference(function, x, 1)) <= 1
        far = np.array([[1e4, 1e4 + 1, 1e4 - 90, -1e30]], dtype)
        assert off(fr.softmax(DeviceArray(far), axis=1).host, reference(fr.softmax, far, 1)) <= 2


SPECIAL = [
    *([0, INF, 0, -INF], [INF, 0, INF, 1], [-INF] * 4, [0, NAN, -INF, 2]),
    *([0, -INF, 0, -INF], [NAN] * 4, [0.0] * 4, [-0.0, 3, 3, 3]),
]


@each_dtype
def test_special_rows(dtype):
    x = np.array(SPECIAL, dtype)
    dy, flow = np.array([1, 2, 4, 8], dtype), DeviceArray(np.ones(len(x), dtype))
    for function, (limit, floor) in FORWARD.items():
        assert off(function(DeviceArray(x), axis=1).host, reference(function, x, 1), floor) <= limit
    whole = np.broadcast_to(dy, x.shape).copy()
    unit = 8 * float(ml_dtypes.finfo(dtype).eps)  # of gradients that cancel, dy being at most 8
    for function in NORMALISING:
        got = function.backward(DeviceArray(whole), DeviceArray(x), axis=1).host
        exact = getattr(reference_rows, f"{function.__name__}_backward")(wide(whole), wide(x), axis=1)
        np.testing.assert_allclose(wide(got), exact, rtol=unit, atol=unit)
        np.testing.assert_array_equal(wide(got)[x == -INF], 0)
    for function in SUMS:
        got = wide(function.backward(flow, DeviceArray(x), axis=1).host)
        exact = getattr(reference_rows, f"{function.__name__}_backward")(wide(flow.host), wide(x), axis=1)
        np.testing.assert_allclose(got, exact, rtol=unit)


# Layouts


@each_dtype
def test_a_row_does_not_depend_on_where_it_lies(dtype):
    x = normal(dtype, 2, 32)
    padded, odd = np.zeros((2, 40), dtype), np.zeros(65, dtype)
    padded[:, 3:35], odd[1:] = x, x.ravel()
    apart = np.repeat(x, 2, 1)[:, ::2]
    for function in (fr.softmax, fr.logsumexp):
        expected = function(DeviceArray(x), axis=1).host
        for other in (padded[:, 3:35], odd[1:].reshape(2, 32), apart, x[::-1][::-1]):
            assert np.array_equal(function(DeviceArray(other), axis=1).host, expected)


def test_any_strides():
    x = normal("f", 2, 4, 3, 2)
    layouts = x.transpose(2, 0, 3, 1), x[:, ::2, ::-1], np.broadcast_to(x[:, :1], x.shape)
    for layout, axis in itertools.product(layouts, (2, (0, 1))):
        got = fr.softmax(DeviceArray(layout), axis=axis).host
        assert off(got, reference(fr.softmax, layout, axis)) <= 2
        out = DeviceArray(np.full(reference(fr.logsumexp, layout, axis).shape, NAN, "f").T.copy().T)
        assert fr.logsumexp(DeviceArray(layout), axis=axis, out=out) is out
        assert off(out.host, reference(fr.logsumexp, layout, axis), 0.5) <= 1
    with pytest.raises(
        ValueError, match="argument 'axis' is along 3 strides; expected axes along two at most"
    ):
        fr.softmax(DeviceArray(np.zeros((3, 4, 3, 4, 3, 4), "f")[:, 1:, :, 1:, :, 1:]), axis=(0, 2, 4))


def test_shapes():
    for shape, axis in (((), None), ((0, 3), 1), ((3, 0), 0), ((1, 1), 1), ((4, 1), 1)):
        x = np.zeros(shape, "f")
        for function in FORWARD:
            got = function(DeviceArray(x), axis=axis).host
            np.testing.assert_array_equal(got, function(x, axis=axis))
    for function in SUMS:
        x = np.zeros((2, 0), "d")
        np.testing.assert_array_equal(function(DeviceArray(x), axis=1).host, function(x, axis=1))
        assert function(DeviceArray(x), axis=1, keepdims=True).shape == (2, 1)


@pytest.mark.parametrize("function", [*FORWARD, *(f.backward for f in FORWARD)], **by_name)
def test_long_rows_in_pieces_and_split(function, monkeypatch):
    """The same bits whether all of a row stays on the chip, or some, or none, or blocks share its pieces."""
    device = launch.device(0)
    along, of_sum = "0" in function.__qualname__, "sumexp" in function.__qualname__
    dtype, shape, axis = (np.dtype("f"), (2, LONG), 1) if along else (np.dtype("d"), (LONG_ACROSS, 2), 0)
    x = DeviceArray(normal(dtype, *shape))
    arguments = (x,)
    if "backward" in function.__qualname__:
        arguments = DeviceArray(np.ones(2 if of_sum else shape, dtype)), x
    results = []
    for processors, room, role in (
        (1, device.shared_bytes, "pieces"),
        (1, SOME_PIECES, "pieces"),
        (1, NO_PIECE, "pieces"),
        (1000, NO_PIECE, "results"),
    ):
        monkeypatch.setattr(device, "processors", processors)
        monkeypatch.setattr(device, "shared_bytes", room)
        results.append(function(*arguments, axis=axis).host)
        assert role in device.launched[-1]
    for other in results[1:]:
        assert np.array_equal(results[0], other)
    if function in FORWARD:
        limit, floor = FORWARD[function]
        assert off(results[0], reference(function, x.host, axis), floor) <= limit


@pytest.mark.skipif(ON_HARDWARE, reason="nobody counts what a device reads")
@each_dtype
def test_how_often_memory_is_read(dtype, monkeypatch):
    """Once if shared memory holds what registers do not, else twice but for the last piece."""
    x, dy, device = DeviceArray(normal(dtype, 1, 72)), DeviceArray(normal(dtype, 1, 72)), launch.device(0)
    labels, read = DeviceArray(np.array([7])), storage.Storage.read
    first, counts = x.host.ctypes.data, []

    def counted(self, place, lanes):
        counts.append(lanes if first <= place < first + x.host.nbytes else 0)
        return read(self, place, lanes)

    monkeypatch.setattr(storage.Storage, "read", counted)
    for room, again in ((device.shared_bytes, 0), (NO_PIECE, 64)):
        monkeypatch.setattr(device, "shared_bytes", room)
        for call, n in (
            (lambda: fr.log_softmax(x, axis=1), 72),
            (lambda: fr.softmax.backward(dy, y=x, axis=1), 72),
            (lambda: fr.logsumexp(x, axis=1), 72 - again),
            (lambda: fr.cross_entropy.backward(1.0, x, labels), 72 + launch.THREADS),  # the label's, each
        ):
            counts.clear()
            call()
            assert sum(counts) == n + again


def test_in_place():
    x, dy = normal("f", 3, 7), normal("f", 3, 7, seed=1)
    y = fr.softmax(DeviceArray(x), axis=1).host
    a = DeviceArray(x.copy())
    assert fr.softmax(a, axis=1, out=a) is a
    assert np.array_equal(a.host, y)
    expected = fr.softmax.backward(DeviceArray(dy), y=DeviceArray(y), axis=1).host
    for given in ({"y": y}, {"x": x}):
        flow, source = DeviceArray(dy.copy()), {name: DeviceArray(v.copy()) for name, v in given.items()}
        assert fr.softmax.backward(flow, **source, axis=1, out=flow) is flow
        np.testing.assert_allclose(flow.host, expected, rtol=0, atol=4 * np.finfo(np.float32).eps)


def test_what_is_allocated_and_launched():
    x, device = DeviceArray(normal("f", 3, 7)), launch.device(0)
    labels = DeviceArray(np.array([0, 1, 2]))
    for call, made, launched in (
        (lambda: fr.softmax(x, axis=1), 1, 1),
        (lambda: fr.softmax(x, axis=1, out=x), 0, 1),
        (lambda: fr.logsumexp(x, axis=1), 1, 1),
        (lambda: fr.softmax.backward(x, y=x, axis=1), 1, 1),
        (lambda: fr.cross_entropy(x, labels, reduction="none"), 1, 1),
        (lambda: fr.cross_entropy(x, labels), 2, 2),
    ):
        before = LIBRARY.made, len(device.launched)
        call()
        assert (LIBRARY.made - before[0], len(device.launched) - before[1]) == (made, launched)


# cross_entropy


def on_device(options, dtype):
    weight = options.pop("weight", None)
    return options | ({} if weight is None else {"weight": DeviceArray(np.array(weight, dtype))})


SOME = loss_cases.CASES[::5]


@each_dtype
def test_cross_entropy(dtype):
    eps = float(ml_dtypes.finfo(dtype).eps)
    for kind, options in SOME[:: 2 if dtype == np.float32 else 6]:
        real = np.dtype(np.float32) if dtype == BFLOAT16 else dtype
        x, labels = (a[:2, :2] for a in loss_cases.problem(real, kind, options))
        x = x.astype(dtype)
        labels = labels.astype(dtype) if kind == "probabilities" else labels
        weight = options["weight"] and np.array(options["weight"], dtype).astype(float)
        given = labels.astype(float) if kind == "probabilities" else labels
        loss, gradient = loss_cases.defined(wide(x), given, **options | {"weight": weight})
        told = on_device(dict(options), dtype)
        got = fr.cross_entropy.value_and_grad(DeviceArray(x), DeviceArray(labels), **told)
        assert off(got[0].host, loss, 0.5) <= 2
        np.testing.assert_allclose(wide(got[1].host), gradient, rtol=3 * eps, atol=3 * eps)
        assert np.array_equal(fr.cross_entropy(DeviceArray(x), DeviceArray(labels), **told).host, got[0].host)
        dy = 2.0 if options["reduction"] != "none" else DeviceArray(np.full(labels.shape[:2], 2, dtype))
        back = fr.cross_entropy.backward(dy, DeviceArray(x), DeviceArray(labels), **told).host
        np.testing.assert_allclose(wide(back), 2 * wide(got[1].host), rtol=2 * eps, atol=eps)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_labels_of_every_integer_type(dtype):
    x, labels = normal("f", 3, 4), np.array([3, 0, 2])
    got = fr.cross_entropy(
        DeviceArray(x.T.copy()), DeviceArray(labels.astype(dtype)), axis=0, reduction="none"
    )
    assert off(got.host, loss_cases.parts(wide(x), labels)[0], 0.5) <= 1


def test_what_is_wrong_makes_its_row_nan_and_nothing_else():
    """Labels, probabilities and weights that lie on the device; the memory around the arrays stays."""
    labels = np.array([1, -1, 5, 2**40, -(2**62), 3, -100])
    wrong = np.array([0, 1, 1, 1, 1, 0, 0], bool)
    memory = shared(np.full((9, 5), 7.0, "f"))
    logits, out = DeviceArray(normal("f", 7, 5)), DeviceArray(memory[1:8])
    loss, _ = fr.cross_entropy.value_and_grad(
        logits, DeviceArray(labels), reduction="none", ignore_index=-100, out=out
    )
    assert np.array_equal(np.isnan(loss.host), wrong)
    assert np.array_equal(np.isnan(out.host), np.broadcast_to(wrong[:, None], (7, 5)))
    assert (memory[[0, 8]] == 7).all()
    mean, gradient = fr.cross_entropy.value_and_grad(logits, DeviceArray(labels), ignore_index=-100)
    assert np.isnan(mean.host)
    assert np.array_equal(np.isnan(gradient.host[:, 0]), wrong)
    p = np.full((3, 4), 0.25, "f")
    p[1, 2], p[2, 0] = 1.5, -0.5
    loss = fr.cross_entropy(DeviceArray(normal("f", 3, 4)), DeviceArray(p), reduction="none").host
    assert np.array_equal(np.isnan(loss), [False, True, True])
    weight = DeviceArray(np.array([1, -1, 1, NAN], "f"))
    loss = fr.cross_entropy(
        DeviceArray(normal("f", 4, 4)), DeviceArray(np.arange(4)), weight=weight, reduction="none"
    ).host
    assert np.array_equal(np.isnan(loss), [False, True, False, True])


def test_what_is_wrong_can_be_asked_for(monkeypatch):
    monkeypatch.setattr(control, "CHECKS_LABELS", True)
    x, before = DeviceArray(normal("f", 3, 4)), len(launch.device(0).launched)
    labels, weight = DeviceArray(np.array([0, 3, 4])), DeviceArray(np.array([1, -1, 1, 1], "f"))
    with pytest.raises(
        ValueError, match=r"cross_entropy: argument 'labels' is 4 at position \(2,\); expected"
    ):
        fr.cross_entropy(x, labels)
    with pytest.raises(ValueError, match=r"cross_entropy.backward: argument 'weight' is -1.0 at position"):
        fr.cross_entropy.backward(1.0, x, DeviceArray(np.arange(3)), weight=weight)
    assert len(launch.device(0).launched) == before
    assert fr.cross_entropy(x, DeviceArray(np.arange(3))).shape == ()


def test_infinite_logits_and_rows_that_cost_nothing():
    x = np.array([[INF, 0, 1], [INF, 0, 1], [-INF] * 3, [0, NAN, 1], [INF, INF, 0], [-INF, 0, 0]])
    labels = np.array([0, 1, 1, 0, 2, 0])
    loss, gradient = fr.cross_entropy.value_and_grad(DeviceArray(x), DeviceArray(labels), reduction="none")
    expected = fr.cross_entropy.value_and_grad(x, labels, reduction="none")
    np.testing.assert_array_equal(loss.host, expected[0])
    np.testing.assert_array_equal(gradient.host, expected[1])
    nothing = fr.cross_entropy.value_and_grad(
        DeviceArray(x), DeviceArray(labels * 0), ignore_index=0, reduction="sum"
    )
    assert nothing[0].host == 0
    assert not nothing[1].host.any()
    assert np.isnan(fr.cross_entropy(DeviceArray(x), DeviceArray(labels * 0), ignore_index=0).host)


def test_cross_entropy_over_many_rows_and_classes(monkeypatch):
    rows = CHUNK * (2 if ON_HARDWARE else CHUNK) + 1
    x, labels = normal("f", rows, 2), np.arange(rows) % 2
    for options in ({}, {"ignore_index": 0}):
        got = fr.cross_entropy(DeviceArray(x), DeviceArray(labels), **options).host
        losses, _, _, divisor = loss_cases.parts(wide(x), labels, **options)
        assert off(got, losses.sum() / divisor) <= 1
    x, labels = normal("f", 2, LONG + 30), np.array([3, LONG + 29])
    results = []
    for processors in (1, 1000):
        monkeypatch.setattr(launch.device(0), "processors", processors)
        a = DeviceArray(x.copy())
        options = {"label_smoothing": 0.1, "out": a}
        results.append((fr.cross_entropy.value_and_grad(a, DeviceArray(labels), **options)[0].host, a.host))
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)
    loss, gradient = loss_cases.defined(wide(x), labels, label_smoothing=0.1)
    assert off(results[0][0], loss, 0.5) <= 1
    eps = np.finfo(np.float32).eps
    np.testing.assert_allclose(results[0][1], gradient.astype(float), rtol=2 * eps, atol=eps / 64)


D = DeviceArray
X = shared(normal("f", 3, 4))
LABELS = np.arange(3)
REFUSED = {
    "host out": (TypeError, "'out'", "host", lambda: fr.softmax(D(X), axis=1, out=X)),
    "host x": (TypeError, "'x'", "'out'", lambda: fr.softmax(X, axis=1, out=D(X))),
    "host dy": (TypeError, "'dy'", "host", lambda: fr.softmax.backward(X, D(X), axis=1)),
    "dy shape": (ValueError, "'dy'", r"\(3,\)", lambda: fr.logsumexp.backward(D(X), D(X), axis=1)),
    "two devices": (ValueError, "device 1", "device 0", lambda: fr.softmax.backward(D(X, 1), D(X), axis=1)),
    "two dtypes": (TypeError, "float64", "float32", lambda: fr.softmax(D(X), out=D(X.astype("d")))),
    "integers": (TypeError, "int64", "float32", lambda: fr.softmax(D(LABELS))),
    "overlap": (ValueError, "'out'", "operand", lambda: fr.softmax(D(X), out=D(X[::-1]))),
    "axis": (np.exceptions.AxisError, "'axis'", "bounds", lambda: fr.softmax(D(X), axis=2)),
    "host labels": (TypeError, "'labels'", "host", lambda: fr.cross_entropy(D(X), LABELS)),
    "labels' shape": (
        ValueError,
        "'labels'",
        r"\(3,\)",
        lambda: fr.cross_entropy(D(X), D(np.arange(4))),
    ),
    "float labels": (
        TypeError,
        "'labels'",
        "probabilities",
        lambda: fr.cross_entropy(D(X), D(LABELS.astype("f"))),
    ),
    "weight's shape": (
        ValueError,
        "'weight'",
        r"\(4,\)",
        lambda: fr.cross_entropy(D(X), D(LABELS), weight=D(X[0, :3])),
    ),
    "smoothing": (
        ValueError,
        "'label_smoothing'",
        "0 to 1",
        lambda: fr.cross_entropy(D(X), D(LABELS), label_smoothing=2.0),
    ),
    "reduction": (
        ValueError,
        "'reduction'",
        "'mean'",
        lambda: fr.cross_entropy(D(X), D(LABELS), reduction="max"),
    ),
    "ignored": (
        ValueError,
        "'ignore_index'",
        "probabilities",
        lambda: fr.cross_entropy(D(X), D(abs(X)), ignore_index=1),
    ),
    "channels": (np.exceptions.AxisError, "'axis'", "bounds", lambda: fr.rrelu(D(X), axis=2)),
    "bounds": (ValueError, "'upper'", "lower", lambda: fr.rrelu(D(X), 0.5, 0.25)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_come_before_any_launch(case):
    check_refusal(*REFUSED[case])


# Draws


@each_dtype
def test_draws_are_those_of_the_host(dtype):
    key, options = fr.noise_key(3), {"training": True, "key": fr.noise_key(3)}
    for x in (normal(dtype, 70), normal(dtype, 3, 30)[:, 1:20:2], normal(dtype, 5, 7).T):
        dy = normal(dtype, *x.shape, seed=1)
        for device, host in (
            (fr.rrelu(D(x), **options), fr.rrelu(x, **options)),
            (fr.rrelu(D(x), 0.25, 0.5, **options), fr.rrelu(x, 0.25, 0.5, **options)),
            (fr.rrelu(D(x), **options, axis=-1), fr.rrelu(x, **options, axis=-1)),
            (fr.rrelu.backward(D(dy), D(x), **options), fr.rrelu.backward(dy, x, **options)),
            (fr.rrelu(D(x)), fr.rrelu(x)),
            (fr.noisy_relu.backward(D(dy), D(x), **options), fr.noisy_relu.backward(dy, x, **options)),
            (fr.noisy_relu.backward(D(dy), y=D(x), **options), fr.noisy_relu.backward(dy, y=x, **options)),
            (fr.noisy_relu(D(x)), fr.noisy_relu(x)),
        ):
            assert np.array_equal(device.host, host)
        if dtype == np.float64 and x.ndim == 1:
            for variance in ("sigmoid", lambda a: D(abs(a.host)) if type(a) is D else abs(a)):
                got = fr.noisy_relu(D(x), variance=variance, **options).host
                assert off(got, fr.noisy_relu(x, variance=variance, **options), 2**-4) <= 2
    assert fr.rrelu(D(normal(dtype, 4, 4)), key=key).shape == (4, 4)


@pytest.mark.parametrize("dtype", DTYPES[1:3], ids=str)
def test_normal_draws(dtype):
    """Where nothing is cut off, a variance of 1 leaves x + draw."""
    key, x = fr.noise_key(11), np.full(130, 64.0, dtype)
    got = fr.noisy_relu(D(x), variance=1.0, training=True, key=key).host
    assert np.array_equal(got, fr.noisy_relu(x, variance=1.0, training=True, key=key))
