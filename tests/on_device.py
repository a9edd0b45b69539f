"""Device arrays on Numba's simulator: test_device.py runs this file in a process of its own.

Memory of the device is that of the process there, and a thread one of the system's, so arrays are small.
"""

import itertools

import ml_dtypes
import numpy as np
import own
import pytest
from calls import public
from cases import BY_NAME, FAST_ULP, in_domain, operands, parameter_sets, sample, specials, truth, unit_floor
from simulated import LIBRARY, ON_HARDWARE, DeviceArray, check_refusal, shared
from ulp import distances

import fastrelu as fr
from fastrelu.device import layout as device_layout
from fastrelu.kernels.cuda import driver, launch
from fastrelu.table import GATES, LOGADDEXP

assert driver.SIMULATED != ON_HARDWARE
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(char) for char in "efd"] + [BFLOAT16]
GRADIENTS = [name for name, (_, kernel) in BY_NAME.items() if kernel.summed]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_kernel = pytest.mark.parametrize("name", BY_NAME)


def wide(a):
    """An array that NumPy's own functions take."""
    return a.astype(np.float32) if a.dtype == BFLOAT16 else a


def points(row, kernel, dtype, parameters, count=24):
    """Special values, and some of where formulas switch and of N(0, 3), in the domain of the kernel."""
    real, rng = np.float32 if dtype == BFLOAT16 else dtype, np.random.default_rng(5)
    with np.errstate(over="ignore", under="ignore"):
        some = rng.choice(sample(row, real, 1, 100, parameters), count)
        x = np.concatenate([specials(real), some]).astype(dtype)
    return x[in_domain(row, kernel, wide(x), parameters)]


def on_device(value):
    return DeviceArray(value) if np.ndim(value) else value[()]


def inputs_of(row, kernel, x, parameters):
    """A kernel's inputs; a gradient of a parameter is summed unless that has the shape of x."""
    given, wrt = operands(row, kernel, x, parameters), kernel.pass_.partition("_wrt_")[2]
    return [
        np.full_like(x, a) if name in ("dy", wrt) else a for name, a in zip(kernel.inputs, given, strict=True)
    ]


def call(kernel, inputs, **keywords):
    """A kernel of the table by its public object on device arrays."""
    row, _ = BY_NAME[kernel.name]
    return public(row, kernel)(*map(on_device, inputs), **keywords)


def errors(row, kernel, inputs, got, parameters):
    """How many ULP each result is off."""
    exact = truth(kernel, inputs)
    floor = unit_floor(row, kernel, wide(inputs[kernel.inputs.index(kernel.arguments[0])]), parameters)
    if got.dtype != BFLOAT16:
        return distances(got, exact, floor)
    with np.errstate(over="ignore", under="ignore"):
        bits = [a.view(np.int16).astype(int) for a in (got, exact.astype(BFLOAT16))]
    apart = abs(np.subtract(*(np.where(b < 0, -(b & 0x7FFF), b) for b in bits)))
    both_nan = np.isnan(wide(got)) & np.isnan(exact.astype(float))
    return np.where(both_nan, 0, apart)


# Values


@each_dtype
@each_kernel
def test_values(name, dtype):
    row, kernel = BY_NAME[name]
    for parameters in parameter_sets(row)[:2]:
        x = points(row, kernel, dtype, parameters)
        inputs = inputs_of(row, kernel, x, parameters)
        got = call(kernel, inputs).host
        assert got.dtype == dtype
        off = errors(row, kernel, inputs, got, parameters)
        worst = np.argmax(off)
        assert off[worst] <= 1, f"{kernel.name}{parameters} at {x[worst]}: {got[worst]}, {off[worst]} ULP"


@each_kernel
def test_values_of_accuracy_fast(name):
    row, kernel = BY_NAME[name]
    parameters = parameter_sets(row)[0]
    x = points(row, kernel, np.dtype("f"), parameters)
    inputs = inputs_of(row, kernel, x, parameters)
    with fr.accuracy("fast"):
        got = call(kernel, inputs).host
        exact, floor = truth(kernel, inputs), unit_floor(row, kernel, x, parameters)
    for root in row.roots if kernel.pass_.startswith("backward") else ():
        floor = np.where(abs(x * np.prod(parameters) - root) < 0.5, 0.5, floor)
    assert distances(got, exact, floor).max() <= FAST_ULP


@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
def test_nothing_flows_where_the_slope_is_zero(dtype):
    dy = np.array([np.inf, -np.inf, np.nan, 3.0], dtype)
    for f in (fr.relu, fr.relu6, fr.elu, fr.gelu):
        x = np.full(4, -np.inf, dtype)
        assert (f.backward(DeviceArray(dy), DeviceArray(x)).host == 0).all()


# Layouts

LAYOUTS = {
    "fortran": lambda a: np.asfortranarray(a),
    "every other": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "every other row": lambda a: np.repeat(a, 2, 0)[::2],
    "padded rows": lambda a: np.pad(a, ((0, 0), (0, 0), (0, 3)))[..., :-3],
    "backwards": lambda a: np.ascontiguousarray(a[::-1, :, ::-1])[::-1, :, ::-1],
    "transposed": lambda a: np.ascontiguousarray(a.transpose(1, 2, 0)).transpose(2, 0, 1),
}


@each_dtype
def test_a_value_does_not_depend_on_where_it_lies(dtype):
    x, dy = np.random.default_rng(1).normal(0, 3, (2, 2, 3, 3)).astype(dtype)
    value, gradient = fr.silu(DeviceArray(x)).host, fr.silu.backward(DeviceArray(dy), DeviceArray(x)).host
    layouts = list(LAYOUTS.values())
    for a, b in zip(layouts, layouts[1:] + layouts[:1], strict=True):
        assert np.array_equal(fr.silu(DeviceArray(a(x)), out=DeviceArray(b(x.copy()))).host, value)
        assert np.array_equal(fr.silu.backward(DeviceArray(a(dy)), DeviceArray(b(x))).host, gradient)


@each_dtype
def test_short_arrays_at_every_offset(dtype):
    x = np.random.default_rng(3).normal(0, 3, 40).astype(dtype)
    whole, memory = fr.tanh(DeviceArray(x)).host, shared(np.zeros(48, dtype))
    for n, at, to in itertools.product((1, 2, 7, 8, 9, 16, 31), (0, 1, 3), (0, 1, 2)):
        memory[:] = np.nan
        out = DeviceArray(memory[to : to + n])
        fr.tanh(DeviceArray(x[at : at + n]), out=out)
        assert np.array_equal(out.host, whole[at : at + n])
        assert np.isnan(wide(np.delete(memory, np.s_[to : to + n]))).all()  # nothing beside it is touched


def test_shapes():
    for shape in ((), (0,), (3, 0, 2), (1,), (1, 1, 5), (2,) * 11):
        x = np.linspace(-2, 2, int(np.prod(shape))).astype(np.float32).reshape(shape)
        got = fr.gelu(DeviceArray(x))
        assert got.shape == shape
        assert np.array_equal(got.host, np.asarray(fr.gelu(DeviceArray(x.ravel())).host).reshape(shape))
    odd = np.linspace(-2, 2, 3**11).astype(np.float32).reshape((3,) * 11)[(slice(0, 2),) * 11]
    assert np.array_equal(fr.relu(DeviceArray(odd)).host, fr.relu(odd))


def test_many_numbers_are_shared_out(monkeypatch):
    monkeypatch.setattr(device_layout, "MOST_NUMBERS", 8)
    x = np.linspace(-2, 2, 60).astype(np.float32).reshape(5, 4, 3)[:, ::2]
    assert np.array_equal(fr.relu(DeviceArray(x)).host, fr.relu(x))


def test_two_zeros_are_two_parameters():
    x = DeviceArray(np.array([-2.0], np.float32))
    signs = [np.signbit(fr.leaky_relu(x, negative_slope=slope).host[0]) for slope in (0.0, -0.0, 0.0)]
    assert signs == [True, False, True]


def test_in_place():
    x = np.linspace(-3, 3, 21).astype(np.float32)
    expected, a = fr.elu(x), DeviceArray(x.copy())
    assert fr.relu(a, out=a) is a
    assert np.array_equal(a.host, fr.relu(x))
    dy = DeviceArray(np.ones_like(x))
    assert fr.elu.backward(dy, y=DeviceArray(expected), out=dy) is dy
    assert distances(dy.host, fr.elu.backward(np.ones_like(x), y=expected)).max() <= 1


# Parameters and their gradients


@each_dtype
def test_parameters_in_arrays(dtype):
    x = np.random.default_rng(4).normal(0, 3, (3, 4, 5)).astype(dtype)
    slopes = np.array([0.125, 0.25, 0.5, 2.0], dtype)
    channels = slopes[:, None]
    for weight, full in ((slopes, channels), (DeviceArray(slopes), channels)):
        given = weight if isinstance(weight, DeviceArray) else DeviceArray(weight)
        got = fr.prelu(DeviceArray(x), given).host
        assert np.array_equal(got, np.where(wide(x) > 0, wide(x), wide(x) * wide(full)).astype(dtype))
    rows = DeviceArray(np.array([[[0.5]], [[1.0]], [[-1.0]]], dtype))
    got = fr.elu(DeviceArray(x), alpha=rows).host
    assert np.isnan(wide(got[2])).all()
    assert not np.isnan(wide(got[:2])).any()


def test_parameters_in_arrays_without_axes():
    x = np.linspace(-3, 3, 6, dtype=np.float32)
    least, most, units = (np.array(value, np.float32) for value in (-1, 2, 3))
    for call in (
        lambda to: fr.hardtanh(to(x), min_val=to(least), max_val=to(most)),
        lambda to: fr.hardtanh(to(x), min_val=to(least)),
        lambda to: fr.hardtanh.backward(to(x), to(x), max_val=to(most)),
        lambda to: fr.bias_act(to(x), to(x), fr.hardtanh, min_val=to(least)),
        lambda to: fr.stepped_sigmoid(to(x), units=to(units)),
    ):
        got, expected = call(DeviceArray), call(np.asarray)
        for one, other in zip(*((a if isinstance(a, tuple) else (a,)) for a in (got, expected)), strict=True):
            np.testing.assert_allclose(one.host, other, rtol=2e-7)


@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_that_are_summed(name, dtype):
    row, kernel = BY_NAME[name]
    wrt = kernel.pass_.removeprefix("backward_wrt_")
    index = kernel.inputs.index(wrt)
    parameters = parameter_sets(row)[0]
    x = np.random.default_rng(5).uniform(0.05, 0.9, (4, 6)).astype(dtype)
    dy = np.random.default_rng(6).normal(0, 1, (4, 6)).astype(dtype)
    inputs = operands(row, kernel, x, parameters)
    inputs[0] = dy
    terms = truth(kernel, inputs)
    keywords = {p.name: float(v) for p, v in zip(row.parameters, parameters, strict=True) if p.name != wrt}
    keywords |= {"axis": -1} if row.channel_axis is not None else {}
    f = fr.ACTIVATIONS[row.family]
    for kept in ((), (6,), (4, 1)):
        value = np.full(kept, inputs[index], dtype)
        given = DeviceArray(value) if kept else float(value)
        got = f.backward(DeviceArray(dy), DeviceArray(x), wrt=wrt, **{wrt: given}, **keywords)
        axes = {(): None, (6,): 0, (4, 1): 1}[kept]
        expected = terms.sum(axis=axes).reshape(kept)
        size = abs(terms).sum(axis=axes).reshape(kept).astype(float)
        assert got.shape == kept
        assert (abs(got.host - expected) <= size * np.finfo(dtype).eps).all()


def test_gradient_of_what_was_broadcast():
    x, weight = np.linspace(-1, 1, 5), np.linspace(0.1, 0.5, 15).reshape(3, 5)
    dy = np.random.default_rng(7).normal(size=(3, 5))
    got = fr.prelu.backward(*map(DeviceArray, (dy, x)), weight=DeviceArray(weight))
    expected = fr.prelu.backward(dy, x, weight=weight)
    assert [a.shape for a in got] == [(5,), (3, 5)]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.host, b, rtol=1e-15)


def test_two_gradients_side_by_side():
    memory, x = shared(np.zeros((4, 6), np.float32)), np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    outs = DeviceArray(memory[:, :3]), DeviceArray(memory[:, 3:])
    fr.reglu.backward(*map(DeviceArray, (x, x, x)), out=outs)
    for out, expected in zip(outs, fr.reglu.backward(x, x, x), strict=True):
        assert np.array_equal(out.host, expected)


def test_gradients_over_their_operands():
    x, dy = np.linspace(-1, 1, 6, dtype=np.float32), np.ones(6, np.float32)
    device_x, device_dy = DeviceArray(x.copy()), DeviceArray(dy.copy())
    dx, dw = fr.prelu.backward(device_dy, device_x, weight=0.25, out=(device_dy, None))
    expected = fr.prelu.backward(dy, x, weight=0.25)
    assert dx is device_dy
    assert np.array_equal(dx.host, expected[0])
    assert dw.host == expected[1]


# Operations of two arrays

PAIRS = [*LOGADDEXP, *(kernel for gate in GATES for kernel in gate.kernels().values())]


@each_dtype
@pytest.mark.parametrize("kernel", PAIRS, ids=lambda k: k.name)
def test_values_of_pairs(kernel, dtype):
    rng = np.random.default_rng(8)
    one, other = (rng.normal(0, 3, 40).astype(dtype) for _ in range(2))
    one[:4], other[1:5] = (np.inf, -np.inf, np.nan, 0), (0, 1, np.inf, np.nan)
    family, _, pass_ = kernel.name.partition(".")
    f, given = getattr(fr, family), [DeviceArray(one), DeviceArray(other)]
    if pass_:
        dy = DeviceArray(np.ones_like(one))
        got = f.backward(dy, *given)[pass_ == "backward_gate"].host
    else:
        got = f(*given).host
    inputs = [np.ones_like(one)] * bool(pass_) + [one, other]
    exact = truth(kernel, inputs)
    size = np.maximum(abs(exact.astype(float)), 0.5)  # beside a zero the error is absolute
    with np.errstate(invalid="ignore"):
        off = abs(wide(got) - exact) / (size * float(ml_dtypes.finfo(dtype).eps))
    assert (off[np.isfinite(exact)] <= 1).all()
    odd = ~np.isfinite(exact)
    np.testing.assert_array_equal(wide(got)[odd], exact[odd].astype(float))


def test_halves_of_one_array():
    x, dy = np.random.default_rng(9).normal(0, 2, (2, 3, 8)).astype(np.float32)
    for axis, length in ((-1, 8), (0, 2)):
        x, dy = x[: 2 if axis == 0 else 3], dy[: 2 if axis == 0 else 3]
        first, second = np.split(x, 2, axis)
        gradient = np.ascontiguousarray(np.split(dy, 2, axis)[0])
        assert x.shape[axis] == length
        expected = fr.swiglu(DeviceArray(first), DeviceArray(second)).host
        assert np.array_equal(fr.swiglu(DeviceArray(x), axis=axis).host, expected)
        got = fr.swiglu.backward(DeviceArray(gradient), DeviceArray(x), axis=axis).host
        parts = fr.swiglu.backward(DeviceArray(gradient), DeviceArray(first), DeviceArray(second))
        assert np.array_equal(got, np.concatenate([part.host for part in parts], axis))


def test_pairs_that_broadcast():
    a, b, dy = np.linspace(-2, 2, 12).reshape(3, 4), np.linspace(0, 1, 4), np.ones((3, 4))
    for f in (fr.logaddexp, fr.geglu):
        np.testing.assert_allclose(f(DeviceArray(a), DeviceArray(b)).host, f(a, b), rtol=1e-15)
        got = f.backward(*map(DeviceArray, (dy, a, b)))
        for mine, theirs in zip(got, f.backward(dy, a, b), strict=True):
            np.testing.assert_allclose(mine.host, theirs, rtol=1e-14)
    assert fr.logaddexp(0.5, DeviceArray(a)).shape == (3, 4)


# Whose arrays, and what is asked of their library


def test_only_the_result_is_allocated():
    x = DeviceArray(np.ones(9, np.float32))
    for f, count in (
        (lambda: fr.gelu(x), 1),
        (lambda: fr.gelu(x, out=x), 0),
        (lambda: fr.gelu.backward(x, x), 1),
    ):
        before = LIBRARY.made
        f()
        assert LIBRARY.made - before == count


def test_one_launch_a_call():
    device, x = launch.device(0), DeviceArray(np.ones(9, np.float32))
    for f, count in ((lambda: fr.gelu(x), 1), (lambda: fr.gelu.backward(x, x), 1)):
        before = len(device.launched)
        f()
        assert len(device.launched) - before == count


X = shared(np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3))
WEIGHT, DY = (DeviceArray(np.ones((2, 3), np.float32)) for _ in range(2))
LONG = DeviceArray(np.broadcast_to(np.ones(2**12, np.float32), (2**20, 2**12)))
REFUSED = {
    "host gate": (TypeError, "'gate'", "device 0", lambda d: fr.glu(d(X), X)),
    "odd halves": (ValueError, "'value'", "even", lambda d: fr.glu(d(X))),
    "pair of shapes": (ValueError, "'b'", r"\(2, 3\)", lambda d: fr.logaddexp(d(X), d(X[:, :2]))),
    "host out": (TypeError, "'out'", "host", lambda d: fr.relu(d(X), out=X)),
    "host x": (TypeError, "'x'", "'out'", lambda d: fr.relu(X, out=d(X))),
    "host parameter": (TypeError, "'weight'", "device 0", lambda d: fr.prelu(d(X), X[0])),
    "host dy": (TypeError, "'dy'", "host", lambda d: fr.relu.backward(X, d(X))),
    "two devices": (ValueError, "device 1", "device 0", lambda d: fr.relu.backward(d(X, 1), d(X))),
    "complex": (TypeError, "'x'", "bfloat16", lambda d: fr.relu(d(X.astype("F")))),
    "parameter": (ValueError, "alpha >= 0", "-1.0", lambda d: fr.elu(d(X), alpha=-1.0)),
    "order": (ValueError, "'max_val'", "1.0", lambda d: fr.hardtanh(d(X), 1.0, 0.0)),
    "shape": (ValueError, r"\(1, 3\)", r"\(2, 3\)", lambda d: fr.relu(d(X), out=d(X[:1]))),
    "dy shape": (ValueError, "'dy'", r"\(2, 3\)", lambda d: fr.relu.backward(d(X[0]), d(X))),
    "read-only": (ValueError, "'out'", "read-only", lambda d: fr.relu(d(X), out=d(X, 0, True))),
    "overlap": (ValueError, "'out'", "operand", lambda d: fr.relu(d(X), out=d(X[::-1]))),
    "shared memory": (
        ValueError,
        "'out'",
        "share",
        lambda d: fr.relu(d(X), out=d(np.broadcast_to(X[0], (2, 3)))),
    ),
    "two in place": (
        ValueError,
        "'out'",
        "one",
        lambda d: fr.prelu.backward(DY, d(X), weight=WEIGHT, out=(DY, WEIGHT)),
    ),
    "one memory for two": (
        ValueError,
        "'out'",
        "the same memory for x and weight; expected arrays that share none",
        lambda d: fr.prelu.backward(d(X), d(X), weight=WEIGHT, out=(DY, DY)),
    ),
    "one memory for a pair": (
        ValueError,
        "'out'",
        "the same memory for value and gate",
        lambda d: fr.reglu.backward(d(X), d(X), WEIGHT, out=(DY, DY)),
    ),
    "a sum too long": (
        ValueError,
        r"prelu.backward: a sum over 4294967296 numbers along 2 axes",
        r"2\*\*32",
        lambda d: fr.prelu.backward(LONG, LONG, weight=0.25, wrt="weight"),
    ),
    "a count too long": (
        ValueError,
        "activity: a sum over 4294967296",
        "axes",
        lambda d: fr.activity(LONG, axis=None),
    ),
    "longdouble": (TypeError, "'dtype'", "bfloat16", lambda d: fr.relu(d(X), dtype="g")),
    "memory order": (TypeError, "'order'", "'K'", lambda d: fr.relu(d(X), order="F")),
    "host mask": (TypeError, "'where'", "device 0", lambda d: fr.relu(d(X), where=X > 0)),
    "host x beside a mask": (TypeError, "'x'", "'where'", lambda d: fr.relu(X, where=d(X > 0))),
    "host pair beside a mask": (TypeError, "'a'", "'where'", lambda d: fr.logaddexp(X, X, where=d(X > 0))),
    "mask's shape": (
        ValueError,
        "'where'",
        r"\(2, 3\)",
        lambda d: fr.relu(d(X), where=d(X[0, :2] > 0), out=d(X)),
    ),
    "misaligned": (
        ValueError,
        "'x' is an array of float32 that begins or steps between its numbers",
        "expected multiples of 4 bytes",
        lambda d: fr.relu(d(np.frombuffer(bytes(9), "f", 2, 1))),
    ),
    "misaligned out of a second launch": (
        ValueError,
        "'out' is an array of float32",
        "between",
        lambda d: fr.prelu.backward(
            d(X), d(X), weight=WEIGHT, out=(DY, d(np.zeros(25, "u1")[1:].view("f").reshape(2, 3)))
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_come_before_any_launch(case):
    check_refusal(*REFUSED[case], DeviceArray)


# Users' activations, and what is said of a call


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_own_activations(dtype):
    x = np.linspace(-3, 3, 13).astype(dtype)
    dy = np.ones_like(x)
    for f in (own.squashed, own.leaky_relu):
        expected = wide(f(x)), wide(f.backward(dy, x))
        got = wide(f(DeviceArray(x)).host), wide(f.backward(DeviceArray(dy), DeviceArray(x)).host)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=float(ml_dtypes.finfo(dtype).eps))


def test_explain():
    x = np.zeros((4, 6), np.float32)
    plan = fr.explain(fr.gelu, DeviceArray(x))
    assert (plan.backend, plan.path, plan.size, plan.dtype) == ("cuda", "vectors", 24, "float32")
    assert fr.explain(fr.gelu, DeviceArray(x[:, ::2])).path == "numbers"
    assert fr.explain(fr.gelu, x).backend != "cuda"
    for one in (
        fr.explain(fr.glu, DeviceArray(x)),
        fr.explain(fr.glu.backward, DeviceArray(x[:, :3]), DeviceArray(x)),
    ):
        assert (one.backend, one.size) == ("cuda", 12)
    assert fr.explain(fr.glu, DeviceArray(x), DeviceArray(x)).path == "vectors"
    assert "gelu_s.e" in str(fr.explain(fr.gelu, DeviceArray(x.astype("e"))))


def test_backends():
    cuda = fr.backends()["cuda"]
    assert cuda.available
    assert ("simulator" in cuda.detail) != ON_HARDWARE
    with pytest.raises(ValueError, match="on a device, by itself"):
        fr.set_backend("cuda")
