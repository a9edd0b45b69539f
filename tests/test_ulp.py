"""The largest error of every kernel, in ULP, on a sample that misses nothing special.

The sample holds NaN, zeros, infinities, the ends of the subnormal and normal ranges, every binade, and 64
neighbours on either side of each knot, root, threshold and underflow boundary that the table names.
float16 and bfloat16 are tested on every value there is.  `python -m tests.ulp --exhaustive` looks at all
of float32.  Budgets are the table's; nothing here is tuned.
"""

import mpmath as mp
import numpy as np
import pytest
from calls import once, public
from cases import (
    AT_ZERO,
    BY_NAME,
    SWEPT,
    budget,
    function,
    in_domain,
    neighbours,
    operands,
    parameter_sets,
    same_bits,
    sample,
    special_places,
    specials,
    truth,
    unit_floor,
)
from ulp import HAS_EXTENDED, distances, error, exact

from fastrelu.table import ROWS

pytestmark = pytest.mark.every_isa

DTYPES = [np.float32, np.float64]
CONSTRAINED = [name for name, (row, _) in BY_NAME.items() if any(p.constrained for p in row.parameters)]
each_kernel = pytest.mark.parametrize("name", BY_NAME)
each_swept = pytest.mark.parametrize("name", SWEPT)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
needs_extended = pytest.mark.skipif(not HAS_EXTENDED, reason="long double is no wider than double")


def check(wrong, limit, x, what):
    if not x.size:  # no y is an output here, or no product is in the normal range
        return
    worst = int(np.argmax(wrong))
    above = f"above {limit} at {np.count_nonzero(wrong > limit)} of {x.size} points"
    assert wrong[worst] <= limit, f"{what}: {wrong[worst]:.4f} ULP at x = {x[worst]!r}, {above}"


@each_dtype
@each_swept
def test_within_the_budget_of_the_table(name, dtype):
    row, kernel = SWEPT[name]
    for parameters in parameter_sets(row):
        x = sample(row, dtype)
        x = x[in_domain(row, kernel, x, parameters)]
        inputs = operands(row, kernel, x, parameters)
        wrong = distances(
            function(kernel)(*inputs), truth(kernel, inputs), unit_floor(row, kernel, x, parameters)
        )
        check(wrong, budget(row, kernel, dtype), x, f"{name}{parameters}, {np.dtype(dtype)}")


@each_dtype
@pytest.mark.parametrize("name", [n for n, (_, kernel) in BY_NAME.items() if kernel.inputs[0] == "dy"])
def test_products_with_the_incoming_gradient(name, dtype):
    """dy * f' for any dy: the error of f' carried over, and one rounding; both in the normal range."""
    row, kernel = BY_NAME[name]
    rng, tiny, top = np.random.default_rng(5), np.finfo(dtype).tiny, np.finfo(dtype).max
    for parameters in parameter_sets(row):
        x = sample(row, dtype, each_exponent=1)
        x = x[in_domain(row, kernel, x, parameters)]
        dy = (rng.uniform(1, 2, x.size) * rng.choice([-1e3, -1.0, 1.0, 0.1], x.size)).astype(dtype)
        inputs = operands(row, kernel, x, parameters, dy=dy)
        product = truth(kernel, inputs)
        size = abs(dy.astype(product.dtype))
        normal = (abs(product) >= tiny) & (abs(product) >= tiny * size) & (abs(product) <= top * size)
        floor = unit_floor(row, kernel, x, parameters) * abs(dy.astype(float))
        wrong = distances(function(kernel)(*inputs), product, floor)
        # a relative error counts up to twice as many units in another binade
        check(wrong[normal], 2 * budget(row, kernel, dtype) + 0.5, x[normal], f"{name}{parameters}")


@each_dtype
@each_kernel
def test_every_way_to_give_parameters_counts_the_same(name, dtype):
    """Numbers, NumPy scalars and arrays; by the ufunc, by the public object, on the fast path."""
    row, kernel = BY_NAME[name]
    x = sample(row, dtype, each_exponent=1, ordinary=100)
    for parameters in parameter_sets(row):
        x = x[in_domain(row, kernel, x, parameters)]
        ones = operands(row, kernel, x, parameters)
        full = [np.full(x.shape, a) if a.ndim == 0 else a for a in ones]
        expected = function(kernel)(*full)
        assert same_bits(function(kernel)(*ones), expected)
        assert same_bits(public(row, kernel)(*full), expected)
        if "_wrt_" in kernel.pass_:
            continue
        arrays = 1 if kernel.pass_ == "forward" else 2
        numbers = [*map(float, parameters), *([AT_ZERO] if kernel.knots else [])]
        for kind in (float, np.float64, dtype):
            assert same_bits(public(row, kernel)(*full[:arrays], *map(kind, numbers)), expected)


@pytest.mark.parametrize("value", [1e-30, 1e-5, 0.1, 3.0, 1e5, 1e30])
@each_dtype
@pytest.mark.parametrize(
    "name", [n for n, (row, _) in BY_NAME.items() if any(p.constrained for p in row.parameters)]
)
def test_any_usable_parameter(name, dtype, value):
    """From tiny to huge, at the places that matter for it, if it is a scale of x or if it is none."""
    row, kernel = BY_NAME[name]
    value = dtype(value)
    places = np.concatenate([special_places(row, (1.0,)), [-105.0, -80.5, -1e-3, 1.5]])
    places = np.concatenate([places, places / float(value)])
    places = places[abs(places) < np.finfo(dtype).max]
    x = np.concatenate([neighbours(places, dtype, 8), specials(dtype)])
    x = x[in_domain(row, kernel, x, (value,))]
    inputs = operands(row, kernel, x, (value,))
    wrong = distances(function(kernel)(*inputs), truth(kernel, inputs), unit_floor(row, kernel, x, (value,)))
    check(wrong, budget(row, kernel, dtype), x, f"{name} with {value!r}")


# Halves: every value


@each_swept
def test_every_float16(name):
    """Computed in float32 and rounded once: at most 1 ULP."""
    row, kernel = SWEPT[name]
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    for parameters in parameter_sets(row):
        some = x[in_domain(row, kernel, x, parameters)]
        inputs = operands(row, kernel, some, parameters)
        wrong = distances(function(kernel)(*inputs), truth(kernel, inputs, np.float64))
        check(wrong, 1.0, some, f"{name}{parameters}, float16")


@each_swept
def test_every_bfloat16(name):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    row, kernel = SWEPT[name]
    x = np.arange(1 << 16, dtype=np.uint16).view(bfloat16)
    for parameters in parameter_sets(row):
        with np.errstate(all="ignore"):
            wide = x.astype(np.float32)
            some = in_domain(row, kernel, wide, parameters)
            inputs = [a.astype(bfloat16) for a in operands(row, kernel, wide[some], parameters)]
            got = public(row, kernel)(*(a[()] if a.ndim == 0 else a for a in _full(inputs)))
            true = truth(kernel, [a.astype(np.float64) for a in inputs], np.float64)
            nearest = true.astype(bfloat16).astype(np.float32)
        assert got.dtype == bfloat16
        got = got.astype(np.float32)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(true))
        # one bfloat16 to either side of the nearest one is less than 2**-7 of it away, or one subnormal
        with np.errstate(invalid="ignore"):
            close = abs(got - nearest) <= np.maximum(abs(nearest) * 2.0**-7, 2.0**-133)
        assert np.all(close | (got == nearest) | np.isnan(got)), f"{name}{parameters}"


def _full(inputs):
    size = max(a.size for a in inputs)
    return [np.broadcast_to(a, (size,)).copy() for a in inputs]


# The tests' own tools


@once
def test_the_sample_holds_what_it_must():
    for row in ROWS:
        for dtype in DTYPES:
            x, info = set(sample(row, dtype).tolist()), np.finfo(dtype)
            for value in (0.0, np.inf, 1.0, info.max, info.tiny, info.smallest_subnormal):
                assert {float(value), -float(value)} <= x
            places = (*row.roots, *row.points, *(k.at for k in row.knots if not k.parameter))
            for place in (p for p in places if abs(p) < float(info.max)):
                for near in (
                    dtype(place),
                    np.nextafter(dtype(place), dtype(9)),
                    np.nextafter(dtype(place), dtype(-9)),
                ):
                    assert float(near) in x
            exponents = {int(np.frexp(v)[1]) for v in x if np.isfinite(v) and v}
            assert exponents >= set(range(int(info.minexp) - int(info.nmant) + 1, int(info.maxexp) + 1))


def test_neighbours_cross_zero():
    near = neighbours([0.0, 1.0], np.float32, 2)
    sub = np.finfo(np.float32).smallest_subnormal
    assert near[:5].tolist() == [-2 * sub, -sub, 0.0, sub, 2 * sub]
    assert near[5] == np.nextafter(np.nextafter(np.float32(1), 0, dtype=np.float32), 0, dtype=np.float32)


@needs_extended
@pytest.mark.parametrize("dtype", [np.float16, *DTYPES], ids=lambda d: np.dtype(d).name)
def test_distances_agree_with_exact_numbers(dtype):
    """The vectorised measure against the one in mpmath."""
    info, rng = np.finfo(dtype), np.random.default_rng(6)
    exponents = rng.integers(info.minexp - info.nmant, info.maxexp, 300).astype(np.int32)
    got = np.ldexp(rng.uniform(1, 2, 300).astype(dtype), exponents)
    true = got.astype(np.longdouble) * (1 + rng.uniform(-4, 4, 300).astype(np.longdouble) * info.eps)
    with mp.workdps(60):
        expected = [error(g, exact(t)) for g, t in zip(got, true, strict=True)]
    np.testing.assert_allclose(distances(got, true), expected, rtol=1e-12)


def test_distances_of_special_values():
    inf, nan, huge = np.inf, np.nan, 2.0**128
    rows = [  # got, true, how far
        (nan, nan, 0), (nan, 1, inf), (1, nan, inf), (inf, inf, 0), (-inf, inf, inf), (inf, 1e300, 0),
        (3.4028235e38, 1e300, inf), (inf, huge * (1 - 2.0**-25), 0.5), (0.0, -1e-300, inf),
        (-0.0, -1e-300, 0), (0.0, -0.0, inf), (-0.0, -0.0, 0), (1e-45, 0.0, 1), (0.0, 1e-46, 0.0713),
        (1, 1 + 2.0**-23, 1),
    ]  # fmt: skip
    got, true, far = (np.array(column) for column in zip(*rows, strict=True))
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(
            distances(got.astype(np.float32), true.astype(np.longdouble)), far, atol=1e-4
        )
