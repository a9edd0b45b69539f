"""Backward passes as a whole: shapes, dtypes, sums over broadcast axes, parameter gradients, memory.

The values of each kernel are the business of test_ulp.py; here it is what `backward` makes of them.
"""

import numpy as np
import pytest
from calls import LAYOUTS, agree
from cases import BY_NAME, KERNELS, ON_KERNELS, REFERENCE_ULP, function, parameter_sets

import fastrelu as fr
from fastrelu import reference
from fastrelu.table import GATES

pytestmark = pytest.mark.every_backend

ACTIVATIONS = {}
for _row, _ in KERNELS:
    _family = fr.ACTIVATIONS[_row.family]
    ACTIVATIONS[_row.qualname] = _family.variants[_row.option[1]] if _row.option else _family
if fr.explain(fr.relu, [0.0]).backend == "numba":  # which compiles every sum: one activation of each kind
    ACTIVATIONS = {
        (len(f.row.parameters), f.row.channel_axis, bool(f.row.knots), bool(f.row.slope_from_y)): (name, f)
        for name, f in ACTIVATIONS.items()
    }
    ACTIVATIONS = dict(ACTIVATIONS.values())
each = pytest.mark.parametrize("name", ACTIVATIONS)
each_with_parameters = pytest.mark.parametrize(
    "name", [n for n, f in ACTIVATIONS.items() if f.row.parameters]
)
FLOATS = [np.float16, np.float32, np.float64, np.longdouble]


def parameters(f):
    return dict(zip((p.name for p in f.row.parameters), parameter_sets(f.row)[0], strict=True))


def gradient(f, wrt, dy, x, given):
    """The gradient in every element, before any sum, by the kernel itself."""
    _, kernel = BY_NAME[
        f"{f.__qualname__}.backward" if wrt == "x" else f"{f.__qualname__}.backward_wrt_{wrt}"
    ]
    return function(kernel)(dy, x, *(np.asarray(v, x.dtype) for v in given.values()))


def inside(row, x):
    """Numbers like those of x, where f is not NaN."""
    low, high = row.domain
    return x if low == -np.inf else abs(x) if high == np.inf else reference.sigmoid(x)


def normal(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).normal(0, 2, shape).astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
@each
def test_gradients_have_the_dtype_of_x(name, dtype):
    f, x = ACTIVATIONS[name], normal(3, 5, dtype=dtype)
    given = parameters(f)
    for other in (dtype, np.float16, np.float32, np.float64):
        dy = normal(3, 5, dtype=other, seed=1)
        dx = f.backward(dy, x, wrt="x", **given)
        assert dx.dtype == dtype
        assert dx.shape == x.shape
        with np.errstate(all="ignore"):
            for layout in ("strided", "unaligned", "byte-swapped"):
                agree(f.backward(LAYOUTS[layout](dy), LAYOUTS[layout](x), wrt="x", **given), dx, layout)
            narrow = gradient(f, "x", dy.astype(dtype), x, given)
        np.testing.assert_allclose(dx, narrow, rtol=4 * np.finfo(dtype).eps)  # dy may be rounded first
        for p in f.row.parameters:
            assert f.backward(dy, x, wrt=p.name, **given).dtype == dtype


@pytest.mark.parametrize("dtype", "?bBhHiIlLqQ")
@each
def test_gradients_of_integers_are_floating(name, dtype):
    f, x = ACTIVATIONS[name], np.array([0, 1, 1] if dtype == "?" else [0, 1, 100]).astype(dtype)
    floating = np.exp(x[:1]).dtype
    dx = f.backward(np.ones(3), x, wrt="x", **parameters(f))
    assert dx.dtype == floating
    agree(dx, f.backward(np.ones(3, floating), x.astype(floating), wrt="x", **parameters(f)))
    dy = f.backward(x, x.astype(np.float64), wrt="x", **parameters(f))
    agree(dy, f.backward(x.astype(np.float64), x.astype(np.float64), wrt="x", **parameters(f)))


@each
def test_what_is_returned(name):
    """x alone, unless a parameter is learned; a name gives that gradient, a tuple a tuple."""
    f, x, dy = ACTIVATIONS[name], normal(4), normal(4, seed=1)
    given = parameters(f)
    learned = [p.name for p in f.row.parameters if p.learned]
    every = ["x", *given]
    one = {n: f.backward(dy, x, wrt=n, **given) for n in every}
    result = f.backward(dy, x, **given)
    if learned:
        assert type(result) is tuple
        for got, n in zip(result, ["x", *learned], strict=True):
            agree(got, one[n])
    else:
        agree(result, one["x"])
    for wanted in (every, every[::-1], every[:1], every[-1:]):
        results = f.backward(dy, x, wrt=tuple(wanted), **given)
        assert type(results) is tuple
        for got, n in zip(results, wanted, strict=True):
            agree(got, one[n])
    agree(f.backward(dy, x=x, wrt="x", **given), one["x"])
    agree(f.backward(list(dy), list(x), wrt="x", **given), one["x"])
    assert np.ndim(f.backward(1.0, 0.5, wrt="x", **given)) == 0


SHAPES = [
    ((3, 4), ()), ((3, 4), (4,)), ((3, 4), (3, 1)), ((3, 4), (1, 1)), ((4,), (3, 4)), ((), (3, 4)),
    ((3, 1), (1, 4)), ((2, 1, 4), (3, 1)), ((0, 3), (3,)), ((1,), (1,)), ((3, 4), (3, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("x_shape", "p_shape"), SHAPES, ids=str)
@each_with_parameters
def test_broadcast_axes_are_summed(name, x_shape, p_shape):
    f, x = ACTIVATIONS[name], normal(*x_shape)
    row = f.row
    rng, shape = np.random.default_rng(2), np.broadcast_shapes(x_shape, p_shape)
    dy = np.asarray(rng.normal(size=shape))
    for j, p in enumerate(row.parameters):
        given = parameters(f) | {p.name: rng.choice(p.typical, p_shape)}
        for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-13)):
            x_, dy_ = np.asarray(x, dtype), dy.astype(dtype)
            cast = {n: np.asarray(v, dtype) for n, v in given.items()}
            extra = {"axis": -1} if row.channel_axis is not None else {}
            for wrt, target in (("x", x_shape), (p.name, p_shape)):
                got = f.backward(dy_, x_, wrt=wrt, **cast, **extra)
                full = gradient(f, wrt, dy_, np.broadcast_to(x_, shape), cast).astype(np.float64)
                lead = full.ndim - len(target)
                axes = tuple(range(lead)) + tuple(
                    lead + i for i, n in enumerate(target) if n == 1 and shape[lead + i] != 1
                )
                expected = full.sum(axis=axes, keepdims=True).reshape(target)
                assert np.shape(got) == target
                assert got.dtype == dtype
                np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * max(1, full.size))
        assert j < 2


@each
def test_out_may_be_any_operand(name):
    f = ACTIVATIONS[name]
    given = parameters(f)
    for layout in ("contiguous", "fortran", "strided", "negative", "unaligned", "byte-swapped"):
        x, dy = normal(5, 7), normal(5, 7, seed=1)
        expected = f.backward(dy, x, wrt="x", **given)
        for target in ("dy", "x", "fresh"):
            operands = {"dy": LAYOUTS[layout](dy.copy()), "x": LAYOUTS[layout](x.copy())}
            out = operands.get(target, LAYOUTS[layout](np.zeros((5, 7))))
            assert f.backward(operands["dy"], operands["x"], out=out, wrt="x", **given) is out
            agree(out.astype(np.float64), expected, f"{layout} {target}")
    single = np.zeros((5, 7), np.float32)
    assert f.backward(dy, x, out=single, wrt="x", **given) is single
    agree(single, expected.astype(np.float32))
    assert f.backward(dy, x, out=(single,), wrt=("x",), **given)[0] is single


@each
def test_from_the_output_of_an_in_place_forward_pass(name):
    f, given = ACTIVATIONS[name], parameters(ACTIVATIONS[name])
    if not f.row.slope_from_y:
        pytest.skip("f' is not a function of the output")
    for dtype, tolerance in ((np.float32, 3e-7), (np.float64, 1e-15)):
        x, dy = normal(1000, dtype=dtype), normal(1000, dtype=dtype, seed=1)
        expected = f.backward(dy, x, wrt="x", **given)
        memory = x.copy()
        f(memory, *given.values(), out=memory)
        got = f.backward(dy, y=memory, out=dy, wrt="x", **given)
        assert got is dy
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=8 * tolerance)


def test_channels_of_prelu():
    x, dy = normal(2, 3, 4, 5), normal(2, 3, 4, 5, seed=1)
    for axis, n in ((1, 3), (0, 2), (2, 4), (3, 5), (-1, 5), (-3, 3)):
        weight = np.linspace(0.1, 0.9, n)
        shape = [1] * 4
        shape[axis] = n
        full = np.broadcast_to(weight.reshape(shape), x.shape).copy()
        keyword = {} if axis == 1 else {"axis": axis}
        agree(fr.prelu(x, weight, **keyword), fr.prelu(x, full))
        agree(fr.prelu(x, weight.reshape(shape)), fr.prelu(x, full))
        dx, dweight = fr.prelu.backward(dy, x, weight=weight, **keyword)
        agree(dx, fr.prelu.backward(dy, x, weight=full)[0])
        others = tuple(a for a in range(4) if a != axis % 4)
        terms = np.where(x > 0, 0, dy.astype(np.longdouble) * x)
        error = abs(dweight - terms.sum(axis=others)) / abs(terms).sum(axis=others)
        assert np.all(error <= 2 * np.finfo(float).eps)
        assert dweight.shape == (n,)
        outs = np.zeros_like(x), np.zeros(n)
        results = fr.prelu.backward(dy, x, weight=weight, out=outs, **keyword)
        assert all(a is b for a, b in zip(results, outs, strict=True))
        agree(outs[0], dx)
        agree(outs[1], dweight)
        in_place = dy.copy()
        dx2, dweight2 = fr.prelu.backward(in_place, x, weight=weight, out=(in_place, None), **keyword)
        assert dx2 is in_place
        agree(dx2, dx)
        agree(dweight2, dweight)
    one = np.array([0.25])
    agree(fr.prelu(x, one), fr.prelu(x, 0.25))
    assert fr.prelu.backward(dy, x, weight=one)[1].shape == (1,)
    assert np.shape(fr.prelu.backward(dy, x, weight=0.25)[1]) == ()
    vector = normal(6)
    agree(fr.prelu(vector, np.linspace(0, 1, 6)), np.where(vector > 0, vector, vector * np.linspace(0, 1, 6)))


def test_a_nan_among_slopes_makes_its_lane_nan():
    y = np.array([-2.0, 3.0, -4.0])
    for f, name in ((fr.prelu, "weight"), (fr.leaky_relu, "negative_slope")):
        dx = f.backward(np.ones(3), y=y, wrt="x", **{name: np.array([np.nan, 0.5, 0.25])})
        np.testing.assert_array_equal(dx, [np.nan, 1.0, 0.25])
        with pytest.raises(ValueError, match="'y'"):
            f.backward(np.ones(3), y=y, wrt="x", **{name: np.nan})


# Sums of the gradients of parameters

SUMMED = [  # shape of x, of the parameter
    ((16,), ()), ((5001,), ()), ((3, 4), (4,)), ((1000, 10), (10,)), ((70, 700), (700,)), ((3, 5000), (3, 1)),
    ((6, 5, 33), (5, 1)), ((300, 3, 7, 2), (3, 1, 1)), ((40, 3, 2, 5), (3, 2, 1)), ((4, 5, 6, 7), (5, 1, 7)),
    ((0, 3), (3,)), ((2, 1, 4), (3, 1)), ((1, 600, 3), (600, 1)), ((2, 20_000), (20_000,)),
]  # fmt: skip


def exact_sums(terms, shape):
    """The sums over what `shape` was broadcast along, in long double."""
    kept = (1,) * (terms.ndim - len(shape)) + shape
    axes = tuple(i for i, (n, k) in enumerate(zip(terms.shape, kept, strict=True)) if k == 1 and n != 1)
    return terms.sum(axis=axes, keepdims=True, dtype=np.longdouble).reshape(shape)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64], ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize(("x_shape", "p_shape"), SUMMED, ids=str)
@each_with_parameters
def test_sums_lose_nothing(name, x_shape, p_shape, dtype):
    """In units of the sum of the terms' sizes: rounded once where the terms are exact or much finer."""
    f, rng = ACTIVATIONS[name], np.random.default_rng(4)
    shape = np.broadcast_shapes(x_shape, p_shape)
    x, dy = inside(f.row, normal(*x_shape, dtype=dtype)), rng.normal(size=shape).astype(dtype)
    keywords = {"axis": -1} if f.row.channel_axis is not None else {}
    for p in f.row.parameters:
        given = parameters(f) | {p.name: np.asarray(rng.choice(p.typical, p_shape), dtype)}
        got = f.backward(dy, x, wrt=p.name, **given, **keywords)
        assert got.dtype == dtype
        assert got.shape == p_shape
        wide = [np.asarray(a, dtype).astype(np.longdouble) for a in (dy, x, *given.values())]
        full = [np.broadcast_to(a, shape) for a in wide]
        terms = np.asarray(reference.evaluate(f.row.kernels()[f"backward_wrt_{p.name}"], *full))
        unit = np.spacing(exact_sums(abs(terms), p_shape).astype(dtype)).astype(np.longdouble)
        error = abs(got - exact_sums(terms, p_shape)) / unit
        fine = dtype != np.float64 or (ON_KERNELS and f.row.cost == 1)  # piecewise linear
        assert np.all(error <= (0.51 if fine else 1.0 if ON_KERNELS else 2 * REFERENCE_ULP)), error.max()


@pytest.mark.usefixtures("kernels_only")
@each_with_parameters
def test_sums_do_not_depend_on_threads_or_layout(name, thresholds):
    f, rng = ACTIVATIONS[name], np.random.default_rng(4)
    p = f.row.parameters[-1]
    for x_shape, p_shape in SUMMED:
        for dtype in (np.float32, np.float64):
            x, dy = rng.normal(size=(2, *x_shape)).astype(dtype)
            value = np.asarray(rng.choice(p.typical, p_shape), dtype)
            dy = np.broadcast_to(dy, np.broadcast_shapes(x_shape, p_shape)).copy()
            keywords = (
                parameters(f) | {p.name: value} | ({"axis": -1} if f.row.channel_axis is not None else {})
            )
            thresholds(1, 2**62, 2**62)
            expected = f.backward(dy, x, wrt=("x", p.name), **keywords)
            for threads in (2, 3, 7):
                thresholds(threads, 100, 1 << 12)
                agree(f.backward(dy, x, wrt=p.name, **keywords), expected[1], f"{x_shape} {threads}")
                if p.learned and p_shape == ():
                    keywords |= {p.name: float(value)}
                    for got, one in zip(f.backward(dy, x, **keywords), expected, strict=True):
                        agree(got, one, f"{x_shape} {threads}")
            for layout in ("fortran", "strided", "negative", "unaligned", "byte-swapped"):
                operands = LAYOUTS[layout](dy), LAYOUTS[layout](x)
                for got, one in zip(
                    f.backward(*operands, wrt=("x", p.name), **keywords), expected, strict=True
                ):
                    agree(got, one, f"{x_shape} {layout}")


def test_channels_on_the_fast_path():
    """What goes straight to the kernel has the bits of the general path, which takes a list."""
    for shape in ((7, 3), (7, 3, 50), (600, 3, 2), (2, 3, 40, 60), (5000, 3)):
        for dtype in (np.float32, np.float64):
            x, dy = normal(*shape, dtype=dtype), normal(*shape, dtype=dtype, seed=1)
            for weight in (0.25, [0.25], [0.1, 0.2, 0.3]):
                array = np.array(weight, dtype) if isinstance(weight, list) else weight
                expected = fr.prelu.backward(dy, x, weight=weight, axis=1)
                for got, one in zip(fr.prelu.backward(dy, x, weight=array), expected, strict=True):
                    agree(got, one, f"{shape} {weight}")


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_infinities_and_nan_in_sums(value):
    for shape in ((40,), (5000,), (3, 40), (100, 3)):
        for dtype in (np.float32, np.float64):
            x, dy = -abs(normal(*shape, dtype=dtype)), np.ones(shape, dtype)
            x[..., 1] = -value
            dweight = fr.prelu.backward(dy, x, weight=0.25)[1]
            np.testing.assert_array_equal(dweight, -value)
            x[..., 1] = value
            assert np.isfinite(fr.prelu.backward(dy, x, weight=0.25)[1]) or np.isnan(value)


def test_the_knot_may_have_any_slope():
    for name, f in ACTIVATIONS.items():
        if not f.row.knots:
            continue
        given = dict(zip(parameters(f), parameter_sets(f.row)[-1], strict=True))
        ends = [knot.place(given) for knot in (f.row.knots[0], f.row.knots[-1])]
        x = np.array([ends[0] - 1, *ends, (ends[1] or 0.5) * 1.75, np.nan])
        x[1:3] *= np.where(x[1:3] == 0, [-1, 1], 1)
        left = f.backward(np.ones(5), x, wrt="x", **given)
        for at_zero in (0.0, 0.5, 1, np.float32(0.25), -2.0, np.inf):
            dx = f.backward(np.full(5, 4.0), x, wrt="x", at_zero=at_zero, **given)
            np.testing.assert_array_equal(dx[1:3], 4.0 * at_zero, err_msg=name)
            np.testing.assert_array_equal(dx[[0, 3, 4]], 4.0 * left[[0, 3, 4]], err_msg=name)
        lanes = f.backward(np.ones(5), x, wrt="x", at_zero=np.linspace(0, 1, 5), **given)
        np.testing.assert_array_equal(lanes[1:3], [0.25, 0.5])
        assert np.isnan(f.backward(np.ones(5), x, wrt="x", at_zero=np.nan, **given)[1:3]).all()


@pytest.mark.parametrize(
    ("shape", "kept"), [((3, 3, 3), (3, 1, 3)), ((2, 3, 3, 2), (3, 1, 2)), ((3, 2, 3), (3, 1, 3))]
)
def test_both_gradients_where_summed_axes_lie_between(shape, kept):
    """They come from one pass over memory, whose order is not that of equally long axes."""
    rng = np.random.default_rng(20)
    x, dy, weight = (rng.normal(size=s) for s in (shape, shape, kept))
    dx, dweight = fr.prelu.backward(dy, x, weight=weight)
    np.testing.assert_array_equal(dx, fr.prelu.backward(dy, x, weight=weight, wrt="x"))
    np.testing.assert_allclose(dweight, fr.prelu.backward(dy, x, weight=weight, wrt="weight"), rtol=1e-15)


# Functions of two arrays

PAIRS = {gate.name: getattr(fr, gate.name) for gate in GATES} | {"logaddexp": fr.logaddexp}
SLOPES = {name: [f"{name}_value_slope", f"{name}_gate_slope"] for name in PAIRS} | {
    "logaddexp": ["logaddexp_slope"] * 2
}
each_pair = pytest.mark.parametrize("name", PAIRS)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
@each_pair
def test_gradients_of_pairs_have_the_dtypes_of_the_operands(name, dtype):
    f, a, dy = PAIRS[name], normal(3, 5, dtype=dtype), normal(3, 5, seed=1)
    for other in FLOATS:
        b = normal(3, 5, dtype=other, seed=2)
        made = f.backward(dy, a, b)
        assert [one.dtype for one in made] == [dtype, other]
        for layout in ("strided", "unaligned", "byte-swapped"):
            arranged = f.backward(*map(LAYOUTS[layout], (dy, a, b)))
            for got, one in zip(arranged, made, strict=True):
                agree(got, one, layout)
    whole = np.arange(3).astype("bBhHiIlLqQ"[FLOATS.index(dtype)])
    for got, one in zip(
        f.backward(whole, whole, b[0, :3]), f.backward(whole, whole * 1.0, b[0, :3]), strict=True
    ):
        np.testing.assert_allclose(got, one, rtol=4 * np.finfo(got.dtype).eps)
    assert [np.ndim(one) for one in f.backward(2.0, 1, dtype(0.5))] == [0, 0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64], ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize(("x_shape", "p_shape"), SUMMED, ids=str)
@each_pair
def test_sums_of_pairs_lose_nothing(name, x_shape, p_shape, dtype):
    """As those of parameters; an error of a term counts up to twice in units of the sum."""
    shape, rng = np.broadcast_shapes(x_shape, p_shape), np.random.default_rng(4)
    operands = normal(*x_shape, dtype=dtype), abs(normal(*p_shape, dtype=dtype, seed=1))  # no root of f'
    dy = rng.normal(size=shape).astype(dtype)
    wide = [np.broadcast_to(a, shape).astype(np.longdouble) for a in operands]
    for j, got in enumerate(PAIRS[name].backward(dy, *operands)):
        order = wide[::-1] if name == "logaddexp" and j else wide
        terms = reference.backward(getattr(reference, SLOPES[name][j]), dy.astype(np.longdouble), *order)
        kept = operands[j].shape
        unit = np.spacing(exact_sums(abs(terms), kept).astype(dtype)).astype(np.longdouble)
        assert (got.dtype, np.shape(got)) == (dtype, kept)
        error = abs(got - exact_sums(terms, kept)) / unit
        fine = dtype != np.float64 and kept != shape
        assert np.all(error <= (0.51 if fine else 2.5 if ON_KERNELS else 2 * REFERENCE_ULP)), error.max()
