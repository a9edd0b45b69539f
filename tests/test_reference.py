"""The reference against mpmath: every formula of the table, in float32, float64 and long double.

Three promises are measured in ULP.  As an oracle (evaluated one dtype wider, not rounded) the
reference may be wrong by 1/64 ULP only.  Rounded once from there it keeps what the table
promises of the kernels.  In float64 arithmetic alone it keeps what the contract promises of
"fast": 4 ULP, beside a root of f' 4 ULP of 1/2.
"""

import itertools

import mpmath as mp
import numpy as np
import pytest
from truth import DIGITS, KERNELS, TRUE, TRUE_GATED, lanes, points, selu_constants, truth
from ulp import HAS_EXTENDED, error, exact

from fastrelu import reference
from fastrelu.table import GATES, ROWS

ORACLE_ULP = 2.0**-6
FAST_ULP = 4.0
NEAR_ROOT = 0.5  # within this distance of a root the error of a float64 derivative is absolute:
ABSOLUTE = 2.0**-56  # ... what the contract allows the kernels
DTYPES = [np.float32, np.float64, np.longdouble]
GATED = {kernel.formula: (gate, kernel) for gate in GATES for kernel in gate.kernels().values()}
needs_extended = pytest.mark.skipif(not HAS_EXTENDED, reason="long double is no wider than double")


def test_every_formula_of_the_table_is_here():
    assert set(TRUE) == set(KERNELS)
    assert set(TRUE_GATED) == set(GATED)
    assert all(callable(getattr(reference, name)) for name in KERNELS | GATED)


def worst(formula, dtype, got, unit_of=None, root_floor=0.0):
    """The largest error in ULP, and the arguments where it is."""
    row, _ = KERNELS[formula]
    roots = row.roots if formula.endswith("_slope") and root_floor else ()
    found = (0.0, None)
    with mp.workdps(DIGITS):
        for value, (lane, true) in zip(got, truth(formula, dtype), strict=True):
            # silu's root moves with beta
            position = float(np.clip(float(lane[0] * (lane[1] if len(lane) > 1 else 1)), -1e9, 1e9))
            floor = root_floor if any(abs(position - root) < NEAR_ROOT for root in roots) else 0
            found = max(found, (error(value, true, unit_of, floor), lane[0]), key=lambda pair: pair[0])
    return found[0], f"{formula} {np.dtype(dtype)}: {found[0]:.3f} ULP at x = {mp.nstr(found[1], 20)}"


def call(formula, *columns):
    return getattr(reference, formula)(*columns)


# Accuracy


@pytest.mark.parametrize("formula", KERNELS)
def test_float32_keeps_what_the_table_promises(formula):
    row, _ = KERNELS[formula]
    columns = lanes(formula, np.float32)
    ulps, where = worst(formula, np.float32, call(formula, *columns))
    assert ulps <= row.ulp["forward" if formula == row.name else "backward"], where


@pytest.mark.parametrize("dtype", [np.float64, np.longdouble], ids=["float64", "longdouble"])
@pytest.mark.parametrize("formula", KERNELS)
def test_without_wider_arithmetic(formula, dtype):
    ulps, where = worst(formula, dtype, call(formula, *lanes(formula, dtype)), root_floor=0.5)
    assert ulps <= FAST_ULP, where


@needs_extended
@pytest.mark.parametrize("formula", KERNELS)
def test_float64_through_longdouble_keeps_what_the_table_promises(formula):
    row, kernel = KERNELS[formula]
    columns = lanes(formula, np.float64)
    named = dict(zip(kernel.arguments, columns, strict=True))
    inputs = [named.get(name, np.ones_like(columns[0])) for name in kernel.inputs]
    got = reference.evaluate(kernel, *inputs, work=np.longdouble)
    assert got.dtype == np.float64
    # 2**-56 is an eighth of a unit of 1/2
    ulps, where = worst(formula, np.float64, got, root_floor=ABSOLUTE * 2**52)
    assert ulps <= row.ulp["forward" if formula == row.name else "backward"], where


@needs_extended
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("formula", KERNELS)
def test_oracle(formula, dtype):
    """Unrounded from the wider dtype; long double for float32 too where f' has a root."""
    row, _ = KERNELS[formula]
    wide = np.float64 if dtype == np.float32 and not row.roots else np.longdouble
    got = call(formula, *(column.astype(wide) for column in lanes(formula, dtype)))
    ulps, where = worst(formula, dtype, got, unit_of=dtype, root_floor=ABSOLUTE * 2**52)
    assert ulps <= ORACLE_ULP, where


@needs_extended
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("formula", GATED)
def test_gated_units(formula, dtype):
    """The three promises, for values of every size: unrounded, rounded once from there, and as it is."""
    gate, kernel = GATED[formula]
    info, rng = np.finfo(dtype), np.random.default_rng(9)
    gates = rng.choice(points(gate.activation, dtype), 200)
    binades = np.ldexp(rng.uniform(1, 2, 200), rng.integers(info.minexp - info.nmant, info.maxexp, 200))
    values = np.where(rng.random(200) < 0.5, rng.normal(0, 3, 200), binades).astype(dtype)
    inputs = [dtype(1), values, gates][3 - len(kernel.inputs) :]
    oracle = call(formula, values.astype(np.longdouble), gates.astype(np.longdouble))
    rounded, alone = reference.evaluate(kernel, *inputs, work=np.longdouble), call(formula, values, gates)
    assert rounded.dtype == alone.dtype == dtype
    limit = gate.ulp["forward" if kernel.pass_ == "forward" else "backward"]
    sloped = gate.roots if kernel.pass_ == "backward_gate" else ()
    with mp.workdps(DIGITS):
        for value, x, *got in zip(values, gates, oracle, rounded, alone, strict=True):
            true = mp.mpf(TRUE_GATED[formula](exact(value), exact(x)))
            near = abs(float(value)) if any(abs(float(x) - root) < NEAR_ROOT for root in sloped) else 0
            assert error(got[0], true, dtype, near * ABSOLUTE * 2**52) <= ORACLE_ULP, (value, x)
            assert error(got[1], true, None, near * ABSOLUTE * 2**52) <= limit, (value, x)
            assert error(got[2], true, None, near / 2) <= FAST_ULP, (value, x)


# The oracle itself


@pytest.mark.parametrize("name", [row.name for row in ROWS])
@pytest.mark.parametrize("x", [-3.25, -0.5, 0.75, 4.5])
def test_true_derivatives_are_those_of_the_true_function(name, x):
    row = KERNELS[name][0]
    with mp.workdps(40):
        x, tiny = mp.mpf(x), mp.mpf(10) ** -25
        for values in itertools.product(*(p.typical for p in row.parameters)):
            values = [mp.mpf(v) for v in values]
            named = dict(zip((p.name for p in row.parameters), values, strict=True))
            inside = row.domain[0] < x < row.domain[1]
            if not inside or any(knot.reached(x, named) for knot in row.knots):
                continue
            slope = TRUE[f"{name}_slope"](x, *values)
            assert abs(slope - mp.diff(lambda t: TRUE[name](t, *values), x)) < tiny  # noqa: B023
            if row.slope_from_y and (row.from_y_needs is None or row.from_y_needs.accepts(values[0])):
                y = TRUE[name](x, *values)
                assert abs(slope - TRUE[f"{name}_slope_from_y"](y, *values)) < tiny
            for i, parameter in enumerate(row.parameters):
                moved = lambda t: TRUE[name](x, *values[:i], t, *values[i + 1 :])  # noqa: B023, E731
                partial = TRUE[f"{name}_wrt_{parameter.name}"](x, *values)
                assert abs(partial - mp.diff(moved, values[i])) < tiny


# Limits, signed zeros, knots

INF, NAN = np.inf, np.nan
LOG2 = np.log(np.longdouble(2))
THREE_FIFTHS = np.longdouble(3) / 5
SELU_SCALE, SELU_DEPTH = (np.longdouble(mp.nstr(value, 30)) for value in selu_constants(30))
LIMITS = [
    # formula, parameters, values at -inf, -0.0, +0.0, +inf
    ("relu", (), (0.0, 0.0, 0.0, INF)),
    ("relu_slope", (), (0.0, 0.0, 0.0, 1.0)),
    ("relu_slope_from_y", (), (0.0, 0.0, 0.0, 1.0)),
    ("heaviside", (0.5,), (0.0, 0.5, 0.5, 1.0)),
    ("heaviside_slope", (0.5,), (0.0, 0.0, 0.0, 0.0)),
    ("heaviside_wrt_at_zero", (0.5,), (0.0, 1.0, 1.0, 0.0)),
    ("leaky_relu", (0.25,), (-INF, -0.0, 0.0, INF)),
    ("leaky_relu", (0.0,), (-0.0, -0.0, 0.0, INF)),
    ("leaky_relu", (-0.25,), (INF, 0.0, -0.0, INF)),
    ("leaky_relu_slope", (0.25,), (0.25, 0.25, 0.25, 1.0)),
    ("leaky_relu_slope_from_y", (0.25,), (0.25, 0.25, 0.25, 1.0)),
    ("leaky_relu_slope_from_y", (-0.25,), (NAN, NAN, NAN, NAN)),
    ("leaky_relu_wrt_negative_slope", (0.25,), (-INF, -0.0, 0.0, 0.0)),
    ("prelu", (0.25,), (-INF, -0.0, 0.0, INF)),
    ("prelu_slope", (0.25,), (0.25, 0.25, 0.25, 1.0)),
    ("prelu_slope_from_y", (0.25,), (0.25, 0.25, 0.25, 1.0)),
    ("prelu_wrt_weight", (0.25,), (-INF, -0.0, 0.0, 0.0)),
    ("elu", (2.0,), (-2.0, -0.0, 0.0, INF)),
    ("elu", (0.0,), (-0.0, -0.0, 0.0, INF)),
    ("elu", (INF,), (-INF, NAN, NAN, INF)),
    ("elu_slope", (2.0,), (0.0, 2.0, 2.0, 1.0)),
    ("elu_slope_from_y", (2.0,), (-INF, 2.0, 2.0, 1.0)),
    ("elu_wrt_alpha", (2.0,), (-1.0, -0.0, 0.0, 0.0)),
    ("selu", (), (-SELU_DEPTH, -0.0, 0.0, INF)),
    ("selu_slope", (), (0.0, SELU_DEPTH, SELU_DEPTH, SELU_SCALE)),
    ("selu_slope_from_y", (), (-INF, SELU_DEPTH, SELU_DEPTH, SELU_SCALE)),
    ("softplus", (1.0,), (0.0, LOG2, LOG2, INF)),
    ("softplus_slope", (1.0,), (0.0, 0.5, 0.5, 1.0)),
    ("softplus_slope_from_y", (1.0,), (-INF, -0.0, 0.0, 1.0)),
    ("softplus_wrt_beta", (1.0,), (-0.0, -LOG2, -LOG2, -0.0)),
    ("sigmoid", (), (0.0, 0.5, 0.5, 1.0)),
    ("sigmoid_slope", (), (0.0, 0.25, 0.25, 0.0)),
    ("log_sigmoid", (), (-INF, -LOG2, -LOG2, -0.0)),
    ("log_sigmoid_slope", (), (1.0, 0.5, 0.5, 0.0)),
    ("log_sigmoid_slope_from_y", (), (1.0, 0.0, 0.0, 1.0)),
    ("mish", (), (-0.0, -0.0, 0.0, INF)),
    ("mish_slope", (), (-0.0, THREE_FIFTHS, THREE_FIFTHS, 1.0)),
    ("gelu", (), (-0.0, -0.0, 0.0, INF)),
    ("gelu_slope", (), (-0.0, 0.5, 0.5, 1.0)),
    ("gelu_tanh", (), (-0.0, -0.0, 0.0, INF)),
    ("gelu_tanh_slope", (), (-0.0, 0.5, 0.5, 1.0)),
    ("silu", (1.0,), (-0.0, -0.0, 0.0, INF)),
    ("silu", (1e30,), (-0.0, -0.0, 0.0, INF)),
    ("silu_slope", (1.0,), (-0.0, 0.5, 0.5, 1.0)),
    ("silu_wrt_beta", (1.0,), (0.0, 0.0, 0.0, 0.0)),
    ("tanh", (), (-1.0, -0.0, 0.0, 1.0)),
    ("tanh_slope", (), (0.0, 1.0, 1.0, 0.0)),
]


def same(got, expected, ulps=0):
    """Equal, NaN to NaN, signed zeros told apart; `ulps` where the expected value is itself rounded."""
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    known = ~np.isnan(expected)
    got, expected = got[known], expected[known]
    np.testing.assert_array_equal(np.signbit(got), np.signbit(expected))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))
    finite = np.isfinite(expected)
    got, expected = got[finite], expected[finite]
    assert np.all(abs(got - expected) <= ulps * np.spacing(abs(expected)))


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
@pytest.mark.parametrize(("formula", "parameters", "expected"), LIMITS)
def test_limits(formula, parameters, expected, dtype):
    with np.errstate(all="ignore"):
        columns = [np.full(4, p, dtype) for p in parameters]
        expected = np.array(expected, dtype)
    if np.isinf(columns[:1]).any() and parameters[0] != INF:
        pytest.skip("the parameter is out of the dtype's range")
    got = call(formula, np.array([-INF, -0.0, 0.0, INF], dtype), *columns)
    assert got.dtype == dtype
    same(got, expected, ulps=1)


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
@pytest.mark.parametrize("formula", KERNELS)
def test_nan_gives_nan(formula, dtype):
    row, _ = KERNELS[formula]
    for values in itertools.product(*(p.typical for p in row.parameters)):
        got = call(formula, np.array([NAN, 1, NAN, -1], dtype), *(dtype(v) for v in values))
        with mp.workdps(30):
            true = [TRUE[formula](mp.mpf(x), *map(exact, map(dtype, values))) for x in (1, -1)]
        assert list(np.isnan(got)) == [True, mp.isnan(true[0]), True, mp.isnan(true[1])]


def test_unusable_parameters_give_nan_in_their_lane_only():
    x = np.array([-2.0, -0.0, 0.0, 3.0, INF, -INF])
    above_0 = (0.0, -1.0, INF, NAN)
    unusable = {("elu", "alpha"): (-1.0, NAN), ("celu", "alpha"): above_0, "beta": above_0, "b": above_0}
    unusable |= {"lambd": (-1.0, NAN), "eps": (0.75, NAN)}
    for formula, (row, kernel) in KERNELS.items():
        for position, name in enumerate(kernel.arguments[1:]):
            parameter = next(p for p in row.parameters if p.name == name)
            bad = unusable.get((row.name, name)) or unusable.get(name, ())
            assert bool(bad) == parameter.constrained
            for value in bad:
                values = [np.full((2, 6), p.typical[0]) for p in row.parameters]
                values[position][1] = value
                got = call(formula, np.broadcast_to(x, (2, 6)), *values)
                assert np.isnan(got[1]).all()
                same(got[0], call(formula, x, *(v[0] for v in values)))


def test_step_functions_at_their_jump():
    x = np.array([-1.0, -0.0, 0.0, 1.0])
    same(reference.heaviside(x, np.array([7.0, 8.0, 9.0, 7.0])), np.array([0.0, 8.0, 9.0, 1.0]))
    same(reference.relu_slope(x), np.array([0.0, 0.0, 0.0, 1.0]))
    same(reference.elu_slope(x[1:], 3.0), np.array([3.0, 3.0, 1.0]))


# Tails


@pytest.mark.parametrize("formula", ["softplus", "softplus_slope", "silu", "silu_slope", "silu_wrt_beta"])
@pytest.mark.parametrize("beta", [1e-30, 1e-5, 1.0, 1e5, 1e30])
def test_any_beta(formula, beta):
    v = np.array([-2000.0, -745.0, -709.0, -650.0, -80.5, -1.2784645, -1e-3, 1e-3, 1.5, 36.7, 700.0])
    x = v / beta
    with mp.workdps(DIGITS):
        for x_, got in zip(x, call(formula, x, beta), strict=True):
            true = mp.mpf(TRUE[formula](exact(x_), exact(np.float64(beta))))
            at_root = formula == "silu_slope" and abs(x_ * beta + 1.278) < NEAR_ROOT
            assert error(got, true, floor=0.5 if at_root else 0) <= FAST_ULP, (x_, got)


def test_elu_slope_does_not_underflow_before_a_large_alpha_is_multiplied_in():
    with mp.workdps(DIGITS):
        got, true = reference.elu_slope(np.float64(-800), 1e300), mp.mpf(1e300) * mp.exp(-800)
        assert error(got, true) <= FAST_ULP


# Shapes, dtypes, warnings


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("formula", KERNELS)
def test_no_warning_whatever_the_caller_has_set(formula):
    row, _ = KERNELS[formula]
    info = np.finfo(np.float64)
    extremes = np.array([-INF, info.min, -1, -info.tiny, -info.smallest_subnormal, 0.0, NAN])
    x = np.concatenate([extremes, -extremes])
    parameters = np.concatenate([extremes, -extremes])[:, None]
    with np.errstate(all="raise"):
        call(formula, x, *[parameters] * len(row.parameters))
        for parameter in row.parameters:
            call(formula, x, *[parameter.typical[0]] * len(row.parameters))


@pytest.mark.parametrize("formula", KERNELS)
def test_scalars_broadcasting_and_halves(formula):
    row, _ = KERNELS[formula]
    parameters = [p.typical[0] for p in row.parameters]
    x = np.linspace(-3, 3, 24, dtype=np.float16).reshape(2, 3, 4)
    x = np.clip(x, 0, 1) if formula.endswith("from_y") else x
    whole = call(formula, x, *parameters)
    assert whole.dtype == np.float16
    assert whole.shape == x.shape
    one = call(formula, x[1, 2, 3], *parameters)
    assert isinstance(one, np.float16)
    same(one, whole[1, 2, 3])
    strided = call(formula, x[:, ::-2].T, *[np.full((4, 1, 1), p, np.float16) for p in parameters])
    same(strided, whole[:, ::-2].T)
    # one rounding, from float64
    wide = call(formula, x.astype(np.float64), *(np.float64(np.float16(p)) for p in parameters))
    same(whole, np.asarray(wide, np.float16))
    assert call(formula, x[:0], *parameters).shape == (0, 3, 4)


def test_bfloat16():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = np.array([-2, -0.5, 0, 1.5], bfloat16)
    for formula, (row, _) in KERNELS.items():
        assert call(formula, x, *(bfloat16(p.typical[0]) for p in row.parameters)).dtype == bfloat16


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.bool_])
def test_integers_stay_integers_where_the_table_says_so(dtype):
    x = np.array([0, 1, 1]) if dtype == np.bool_ else np.array([0, 1, 100])
    got = reference.relu(x.astype(dtype))
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, x)
    assert reference.relu(np.int8(-3)) == 0
    assert reference.tanh(x.astype(dtype)).dtype == np.float64


# Products


def test_nothing_flows_through_a_dead_side():
    dy = np.array([INF, NAN, -INF, 2.0, NAN])
    x = np.array([-1.0, -1.0, 0.0, 3.0, 3.0])
    same(reference.backward(reference.relu_slope, dy, x), np.array([0.0, 0.0, 0.0, 2.0, NAN]))
    same(reference.backward(reference.leaky_relu_slope, dy, x, 0.0), np.array([0.0, 0.0, 0.0, 2.0, NAN]))
    same(reference.backward(reference.relu_slope, dy, np.full(5, NAN)), np.full(5, NAN))
    assert reference.backward(reference.gelu_slope, INF, -INF) == 0


def test_the_product_is_rounded_once():
    rng = np.random.default_rng(3)
    dy, x = rng.normal(size=(2, 100)).astype(np.float32)
    got = reference.backward(reference.gelu_slope, dy, x)
    wide = dy.astype(np.float64) * reference.gelu_slope(x.astype(np.float64))
    np.testing.assert_array_equal(got, wide.astype(np.float32))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_evaluate_runs_every_kernel(row):
    dy, x = np.array([2.0, -1.0, 0.5, 3.0]), np.array([-0.75, 0.0, 0.5, NAN])
    inputs = {"dy": dy, "x": x, "y": x, "at_zero": 0.25} | {p.name: p.typical[0] for p in row.parameters}
    for kernel in row.kernels().values():
        got = reference.evaluate(kernel, *(inputs[name] for name in kernel.inputs))
        arguments = [inputs[name] for name in kernel.arguments]
        expected = np.array(call(kernel.formula, *arguments))
        for knot in kernel.knots:
            expected[knot.reached(x, inputs)] = 0.25
        if kernel.inputs[0] == "dy":
            expected = np.where(expected == 0, expected, dy * expected)
        same(got, expected)
        half = reference.evaluate(kernel, *(np.asarray(inputs[name], np.float16) for name in kernel.inputs))
        assert half.dtype == np.float16
