"""The gated units: accuracy of the product and of both gradients, the two forms, conventions, errors."""

import copy
import pickle

import numpy as np
import pytest
from calls import LAYOUTS, agree, once, refused
from cases import GATED, budget, function, is_fast, neighbours, same_bits, specials, truth, unit_floor
from ulp import distances

import fastrelu as fr
from fastrelu.table import GATES

pytestmark = pytest.mark.every_isa
INF, NAN = np.inf, np.nan
UNITS = [gate.name for gate in GATES]
each_unit = pytest.mark.parametrize("unit", UNITS)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def sample(gate, dtype):
    """Values and gates: special ones, of every binade, and gates about each point of the table."""
    rng, info = np.random.default_rng(7), np.finfo(dtype)
    places = np.array([0.0, 1.0, *gate.roots, *gate.points])
    deep = -220 if dtype == np.float32 else -1500
    gates = [specials(dtype), neighbours(np.unique([*places, *-places]), dtype, 16)]
    gates += [rng.normal(0, 3, 1500), rng.uniform(deep, 60, 1500)]
    gates = np.concatenate(gates).astype(dtype)
    binades = rng.integers(info.minexp - info.nmant + 1, info.maxexp - 1, 400)
    values = [specials(dtype), rng.normal(0, 3, 200), np.ldexp(rng.uniform(1, 2, 400), binades)]
    values = rng.choice(np.concatenate(values).astype(dtype), (4, gates.size))
    values[0], values[1] = 1, rng.uniform(1.9, 2, gates.size)
    return values.ravel(), np.tile(gates, 4)


@pytest.mark.parametrize("accuracy", ["high", "fast"])
@each_dtype
@pytest.mark.parametrize("name", GATED)
def test_accuracy(name, dtype, accuracy):
    """The product, and both gradients, rounded once; tails under large values and beside tiny ones, too."""
    gate, kernel = GATED[name]
    with fr.accuracy(accuracy):
        if accuracy == "fast" and not is_fast(kernel, dtype):
            pytest.skip("no formula of its own")
        operands = sample(gate, dtype)
        floor, limit = unit_floor(gate, kernel, operands[1], operands[:1]), budget(gate, kernel, dtype)
        if kernel.inputs[0] == "dy":
            operands = (dtype(1), *operands)
        got = function(kernel)(*operands)
    wrong = distances(got, truth(kernel, operands), floor)
    worst = int(np.argmax(wrong))
    where = [np.broadcast_to(a, got.shape)[worst] for a in operands]
    assert wrong[worst] <= limit, f"{name} at {where}: {got[worst]}, {wrong[worst]} ULP"


@each_unit
def test_the_activation_of_the_table(unit, backend):
    """value 1 gives f, gradients those of f."""
    gate = next(gate for gate in GATES if gate.name == unit)
    activation, x = fr.ACTIVATIONS[gate.activation], np.linspace(-9, 9, 301)
    np.testing.assert_allclose(getattr(fr, unit)(np.ones(301), x), activation(x), rtol=1e-15)
    dvalue, dgate = getattr(fr, unit).backward(np.ones(301), np.full(301, 3.0), x)
    np.testing.assert_allclose(dvalue, activation(x), rtol=1e-15)
    np.testing.assert_allclose(dgate, activation.backward(np.full(301, 3.0), x), rtol=1e-14, atol=1e-15)


@each_unit
def test_conventions(unit, backend):
    f = getattr(fr, unit)
    with np.errstate(all="raise"):
        for value, gate in ((NAN, 1.0), (1.0, NAN), (NAN, -INF), (NAN, -1.0)):
            assert np.isnan(f(value, gate)), (value, gate)
            assert np.isnan(f.backward(1.0, value, gate)[1]), (value, gate)
        assert f(INF, 2.0) == f(2.0, 1e308 * 10) * 1 == INF or unit == "glu"
        shut = f(INF, -INF)
        assert shut == 0 if unit == "reglu" else np.isnan(shut)
        assert f(3.0, -INF) == 0
        assert np.signbit(f(3.0, -INF)) == (unit in ("geglu", "swiglu"))
        assert np.signbit(f(-3.0, -INF)) == (unit not in ("geglu", "swiglu"))
        for dy in (INF, NAN):
            assert f.backward(dy, 3.0, -INF) == (0, 0)
        assert f(INF, -3.0) == {"glu": INF, "reglu": 0}.get(unit, -INF)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@each_unit
def test_no_floating_point_flag_is_raised(unit, dtype, backend):
    f, values = getattr(fr, unit), specials(dtype)
    operands = [a.ravel() for a in np.meshgrid(values, values, values, indexing="ij")]
    with np.errstate(all="raise"):
        f(*operands[1:])
        f.backward(*operands)
        f.backward(operands[0][None], np.stack(operands[1:]), axis=0)
        for lane in zip(*(a[::613] for a in operands), strict=True):
            f(*lane[1:])
            f.backward(*lane)


# The two forms


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@each_unit
def test_one_array_is_its_halves(unit, dtype, backend):
    f, rng = getattr(fr, unit), np.random.default_rng(1)
    value, gate, dy = rng.normal(0, 3, (3, 6, 10, 38)).astype(dtype)
    expected, both = f(value, gate), f.backward(dy, value, gate)
    for axis in range(-3, 3):
        x, gradient = np.concatenate([value, gate], axis=axis), np.concatenate(both, axis=axis)
        agree(f(x, axis=axis), expected)
        agree(f.backward(dy, x, axis=axis), gradient)
        for layout in ("fortran", "strided", "negative", "unaligned", "byte-swapped"):
            arrange = LAYOUTS[layout]
            agree(f(arrange(x), axis=axis), expected, layout)
            agree(f.backward(arrange(dy), arrange(x), axis=axis), gradient, layout)
        given, made = x.copy(), np.zeros_like(x)
        assert f.backward(dy, given, axis=axis, out=made) is made
        agree(made, gradient)
        assert f.backward(dy, given, axis=axis, out=given) is given
        agree(given, gradient, "in place")
        front = x[(slice(None),) * (axis % 3) + (slice(x.shape[axis] // 2),)]
        assert f(x, axis=axis, out=front) is front
        agree(np.ascontiguousarray(front), expected, "in place of the value")
    assert f(x[:, :0]).shape == (6, 0, 38)
    assert f.backward(dy[:0], x[:0]).shape == (0, 10, 76)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@each_unit
def test_both_gradients_in_one_pass(unit, dtype, backend):
    """The bits of each alone, whatever the layouts and wherever they go."""
    f, rng = getattr(fr, unit), np.random.default_rng(2)
    operands = rng.normal(0, 3, (3, 9, 70)).astype(dtype)
    alone = [f.backward(*operands, wrt=name) for name in ("value", "gate")]
    for got in (f.backward(*operands), f.backward(*operands, wrt=["value", "gate"])):
        for one, expected in zip(got, alone, strict=True):
            agree(one, expected)
    for layout, arrange in LAYOUTS.items():
        for one, expected in zip(f.backward(*map(arrange, operands)), alone, strict=True):
            agree(one, expected, layout)
        if layout != "read-only":
            outs = tuple(arrange(np.zeros((9, 70), dtype)) for _ in range(2))
            got = f.backward(*operands, out=outs)
            assert all(a is b for a, b in zip(got, outs, strict=True))
            for one, expected in zip(outs, alone, strict=True):
                agree(one.astype(dtype), expected, layout)
    for places in ((0, 1), (1, 0), (2, 1), (1, 2), (0, None), (None, 2)):
        given = [a.copy() for a in operands]
        got = f.backward(*given, out=tuple(None if p is None else given[p] for p in places))
        for one, expected in zip(got, alone, strict=True):
            agree(one, expected, places)
    memory = np.zeros(640, dtype)
    window = memory[5:635].reshape(9, 70)
    window[...] = operands[1]
    made = f.backward(operands[0], window, operands[2], out=(memory[:630].reshape(9, 70), None))
    agree(made[0], alone[0], "overlapping")
    agree(made[1], alone[1], "overlapping")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("accuracy", ["high", "fast"])
@each_unit
def test_both_gradients_of_every_length(unit, accuracy, dtype):
    f, rng = getattr(fr, unit), np.random.default_rng(8)
    operands = rng.normal(0, 3, (3, 1100)).astype(dtype)
    with fr.accuracy(accuracy):
        alone = [f.backward(*operands, wrt=name) for name in ("value", "gate")]
        for n in (1, 7, 8, 15, 16, 17, 511, 513, 1025, 1100):
            for got, expected in zip(f.backward(*(a[:n] for a in operands)), alone, strict=True):
                agree(got, expected[:n], n)


@each_unit
def test_gradients_with_threads_and_streaming_stores(unit, thresholds):
    f, rng = getattr(fr, unit), np.random.default_rng(3)
    operands = rng.normal(0, 3, (3, 12 * 512 + 77)).astype(np.float32)
    x = np.concatenate(operands[1:]).reshape(2, -1)
    thresholds(1, 2**62, 2**62)
    expected, whole = f.backward(*operands), f.backward(operands[:1], x, axis=0)
    for threads in (1, 3, 8):
        for streaming in (2**62, 1):
            thresholds(threads, 1, streaming)
            for one, other in zip(f.backward(*operands), expected, strict=True):
                assert same_bits(one, other)
            assert same_bits(f.backward(operands[:1], x, axis=0), whole)


@each_unit
def test_broadcast_operands_get_summed_gradients(unit, backend):
    f, rng = getattr(fr, unit), np.random.default_rng(4)
    value, gate, dy = rng.normal(size=(5, 1)), rng.normal(size=7), rng.normal(size=(5, 7))
    full = [np.broadcast_to(a, dy.shape) for a in (value, gate)]
    np.testing.assert_array_equal(f(value, gate), f(*full))
    dvalue, dgate = f.backward(dy, value, gate)
    wide = f.backward(dy, *full)
    np.testing.assert_allclose(dvalue, wide[0].sum(1, keepdims=True), rtol=1e-14)
    np.testing.assert_allclose(dgate, wide[1].sum(0), rtol=1e-14)
    out = np.zeros(7)
    assert f.backward(dy, value, gate, wrt="gate", out=out) is out
    np.testing.assert_array_equal(out, dgate)


# What callers give


@each_unit
def test_dtypes_are_numpys(unit, backend):
    f = getattr(fr, unit)
    arrays = [np.ones(4, c) for c in "bHiqefdg"] + [1.5, 2, np.float32(1), [1.0, 2.0, 3.0, 4.0]]
    for value in arrays:
        for gate in arrays:
            expected = np.logaddexp(value, gate)
            got = f(value, gate)
            assert (got.dtype, np.shape(got)) == (expected.dtype, np.shape(expected)), (value, gate)
    dvalue, dgate = f.backward(np.ones(4), np.ones(4, np.float32), np.ones(4))
    assert (dvalue.dtype, dgate.dtype) == (np.float32, np.float64)
    assert f(np.ones(4), np.ones(4), dtype=np.float32).dtype == np.float32
    mask, out = np.array([True, False, True, True]), np.full(4, 7.0)
    assert f(np.ones(4), np.ones(4), out=out, where=mask) is out
    assert out[1] == 7 != out[0]


@each_unit
def test_bfloat16(unit, backend):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    f, rng = getattr(fr, unit), np.random.default_rng(5)
    value, gate, dy = rng.normal(0, 3, (3, 5, 40)).astype(bfloat16)
    wide = [a.astype(np.float32) for a in (dy, value, gate)]
    x = np.concatenate([value, gate], axis=1)
    for got, expected in (
        (f(value, gate), f(*wide[1:])),
        (f(x), f(*wide[1:])),
        *zip(f.backward(dy, value, gate), f.backward(*wide), strict=True),
        (f.backward(dy, x), np.concatenate(f.backward(*wide), axis=1)),
    ):
        assert got.dtype == bfloat16
        np.testing.assert_array_equal(got.astype(np.float32), expected.astype(bfloat16).astype(np.float32))
    out = np.zeros_like(value)
    assert f(value, gate, out=out) is out
    np.testing.assert_array_equal(out, f(value, gate))


@each_unit
def test_public_object(unit):
    f = getattr(fr, unit)
    for found in (f, f.backward):
        assert pickle.loads(pickle.dumps(found)) is copy.deepcopy(found) is found
    x = np.linspace(-2, 2, 8, dtype=np.float32)
    plans = fr.explain(f, x), fr.explain(f, x[:4], x[4:]), fr.explain(f.backward, x[:4], x)
    assert {plan.size for plan in plans} == {4}
    assert {plan.dtype for plan in plans} == {"float32"}
    masked = np.ma.array(x, mask=np.arange(8) == 2)
    assert f(masked).mask.tolist() == [False, False, True, False]


@once
@each_unit
def test_numba(unit):
    pytest.importorskip("numba")
    f, rng = getattr(fr, unit), np.random.default_rng(6)
    operands = rng.normal(0, 3, (3, 600)).astype(np.float32)
    expected = f(*operands[1:]), *f.backward(*operands)
    with fr.use_backend("numba"):
        got = f(*operands[1:]), *f.backward(*operands)
    for one, other in zip(got, expected, strict=True):
        assert distances(one, other.astype(np.longdouble)).max() <= 2


# Bad input


@each_unit
def test_bad_input(unit, backend):
    f = getattr(fr, unit)
    even, odd, out = np.ones((3, 4)), np.ones((4, 3)), np.full((3, 2), 7.0)
    cases = [
        (ValueError, lambda: f(odd, out=out), ("value", "(4, 3)", "even")),
        (ValueError, lambda: f(even, axis=0, out=out), ("value", "(3, 4)", "even", "axis 0")),
        (ValueError, lambda: f(even, odd, out=out), ("gate", "(4, 3)", "(3, 4)")),
        (ValueError, lambda: f(even, even, axis=0), ("axis", "0", "no axis beside a gate")),
        (np.exceptions.AxisError, lambda: f(even, axis=2, out=out), ("axis", "2")),
        (np.exceptions.AxisError, lambda: f(1.0), ("axis",)),
        (TypeError, lambda: f(even, axis=1.0, out=out), ("axis", "1.0", "integer")),
        (TypeError, lambda: f(even.astype(complex), out=out), ("value", "complex128")),
        (TypeError, lambda: f(even, np.array(["a"])), ("gate", "<U1")),
        (ValueError, lambda: f(even, out=np.ones((3, 3))), ("out", "(3, 3)", "(3, 2)")),
        (TypeError, lambda: f(even, out=[1]), ("out", "list")),
        (TypeError, lambda: f(), (unit, "value")),
        (TypeError, lambda: f(even, dim=1), (unit, "dim")),
        (ValueError, lambda: f.backward(even, even, out=even), ("dy", "(3, 4)", "(3, 2)")),
        (ValueError, lambda: f.backward(odd, even, even), ("dy", "(4, 3)", "(3, 4)")),
        (ValueError, lambda: f.backward(odd, odd), ("value", "(4, 3)", "even")),
        (ValueError, lambda: f.backward(even, even, even, wrt="x"), ("wrt", "'x'", "'value'")),
        (ValueError, lambda: f.backward(out, even, wrt="gate"), ("wrt", "one array")),
        (TypeError, lambda: f.backward(even, even, even, out=out), ("out", "ndarray", "value and gate")),
        (ValueError, lambda: f.backward(out, even, out=out), ("out", "(3, 2)", "(3, 4)")),
        (ValueError, lambda: f.backward(even, even, even, out=(out, None)), ("out", "(3, 2)", "(3, 4)")),
        (TypeError, lambda: f.backward(even, even, even, out=(np.ones((3, 4), int), None)), ("out", "int64")),
    ]
    for kind, call, words in cases:
        with refused(kind, *words, untouched=(even, odd, out)):
            call()
    frozen = np.ones((3, 4))
    frozen.flags.writeable = False
    with refused(ValueError, "out", "read-only"):
        f.backward(out, even, out=frozen)
