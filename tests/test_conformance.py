"""Every kernel of the table gives the right values, special ones included, in every lane of a register."""

import numpy as np
import pytest
from calls import (
    FLOATS,
    agree,
    arrays,
    each_dtype,
    each_elementwise,
    each_kernel_call,
    each_kind_of_kernel_call,
)
from cases import (
    BY_NAME,
    ON_KERNELS,
    SWEPT,
    budget,
    function,
    in_domain,
    operands,
    parameter_sets,
    specials,
    truth,
    unit_floor,
)
from ulp import distances

pytestmark = pytest.mark.every_isa


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
@each_elementwise
def test_special_values(name, dtype):
    row, kernel = SWEPT[name]
    for parameters in parameter_sets(row):
        x = np.concatenate([specials(dtype), np.random.default_rng(1).normal(0, 3, 50).astype(dtype)])
        x = x[in_domain(row, kernel, x, parameters)]
        inputs = operands(row, kernel, x, parameters)
        got = function(kernel)(*inputs)
        assert got.dtype == dtype
        wrong = distances(got, truth(kernel, inputs), unit_floor(row, kernel, x, parameters))
        limit = budget(row, kernel, dtype)
        worst = np.argmax(wrong)
        assert wrong[worst] <= limit, f"{kernel.name}{parameters} at {x[worst]}: {got[worst]}"


@each_dtype
@pytest.mark.parametrize("name", [name for name in BY_NAME if np.isfinite(BY_NAME[name][0].domain).any()])
def test_outside_of_the_domain_is_nan(name, dtype):
    row, kernel = BY_NAME[name]
    if kernel.pass_ == "backward_from_y":
        pytest.skip("y is what f gives")
    x = specials(dtype)
    x = x[(x < row.domain[0]) | (x > row.domain[1])]
    assert x.size > 4
    got = function(kernel)(*operands(row, kernel, x, next(iter(parameter_sets(row)))))
    assert np.isnan(got).all(), f"{kernel.name} at {x[~np.isnan(got)]}: {got[~np.isnan(got)]}"


@each_dtype
@each_elementwise
def test_nothing_flows_where_the_slope_is_zero(name, dtype):
    """On a dead side and at an infinity where the derivative vanishes, whatever the gradient is."""
    row, kernel = SWEPT[name]
    if kernel.inputs[0] != "dy":
        pytest.skip("no gradient comes in")
    dy = np.array([np.inf, -np.inf, np.nan, 3.0], dtype)[:, None]
    for parameters in parameter_sets(row):
        x = specials(dtype)
        x = x[in_domain(row, kernel, x, parameters) & ((abs(x) < 4) | np.isinf(x))]
        inputs = operands(row, kernel, x, parameters)
        dead = truth(kernel, inputs) == 0
        inputs[0] = dy
        got = function(kernel)(*inputs)
        passes = np.broadcast_to(x[dead], got[:, dead].shape)[got[:, dead] != 0]
        assert passes.size == 0, f"{kernel.name}{parameters}: something flows at {set(passes)}"


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
@each_kernel_call
def test_no_floating_point_flag_is_raised(name, dtype, via, call):
    """Whatever the inputs, signalling NaN among them, and whatever the caller wants to hear of."""
    kernel, values = BY_NAME[name][1], specials(dtype)
    if dtype != np.longdouble:
        infinity = np.array(np.inf, dtype).view(f"u{values.itemsize}")
        values = np.append(values, (infinity | 1).view(dtype))
    columns = np.meshgrid(*[values] * min(len(kernel.inputs), 3), indexing="ij")
    inputs = [columns[min(j, 2)].ravel() for j in range(len(kernel.inputs))]
    if kernel.pass_ == "backward_from_y":  # which some negative parameters do not allow
        inputs[2:] = (np.where(a >= 0, a, 0).astype(dtype) for a in inputs[2:])
    with np.errstate(all="raise"):
        call(*inputs)
        call(*(a[::2] for a in inputs))
        call(*(a[:5] for a in inputs), out=np.empty(10, dtype)[::2])
        if via == "ufunc":
            for lane in zip(*(a[::37] for a in inputs), strict=True):
                call(*lane)


@each_dtype
@each_elementwise
def test_special_values_in_every_lane(name, dtype):
    """Rows of 1 to 67 elements, a special value at each position in turn: all neighbours keep their bits."""
    row, kernel = SWEPT[name]
    plain = np.random.default_rng(2).uniform(0.1, 0.9, 67).astype(dtype)
    values, parameters = specials(dtype), parameter_sets(row)[0]
    run = function(kernel)
    one_by_one = run(*operands(row, kernel, np.concatenate([values, plain]), parameters))
    at_values, at_plain = one_by_one[: len(values)], one_by_one[len(values) :]
    for n in range(1, 68) if ON_KERNELS else (1, 5, 67):  # the reference knows no registers
        diagonal = np.eye(n, dtype=bool)
        x = np.where(diagonal, values[:, None, None], plain[:n])
        padded = np.zeros((len(values), n, n + 1), dtype)  # so that each row is a loop of its own
        padded[..., :n] = x
        got = run(*operands(row, kernel, padded[..., :n], parameters))
        agree(got, np.where(diagonal, at_values[:, None, None], at_plain[:n]))


@each_dtype
@each_kind_of_kernel_call
def test_short_arrays_at_every_offset(name, dtype, via, call):
    base = [a.ravel() for a in arrays(name, dtype)]
    whole = call(*base)
    for n in range(1, 68):
        for start in range(0, 17, 1 if n < 17 else 5):
            agree(call(*(a[start : start + n] for a in base)), whole[start : start + n])
