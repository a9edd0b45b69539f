"""with_mask and backward from its bits: of every activation whose derivative has two values."""

import itertools

import numpy as np
import pytest
from calls import LAYOUTS, refused
from cases import parameter_sets, same_bits, specials

import fastrelu as fr
from fastrelu.table import ROWS

pytestmark = pytest.mark.every_backend

TWO_SLOPES = [row for row in ROWS if row.other_slope is not None]
each = pytest.mark.parametrize("row", TWO_SLOPES, ids=lambda row: row.name)
SIZES = (0, 1, 7, 8, 63, 64, 65, 257, 1024, 1031, 9000)


def inputs(dtype, n, seed=0):
    made = np.random.default_rng(seed).normal(0, 3, n).astype(dtype)
    special = specials(dtype)
    special = special[~np.isnan(special)][: n // 2]
    made[: len(special)] = special
    return np.random.default_rng(seed).permutation(made)


@pytest.mark.every_isa
@each
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_bits_are_those_of_the_gradient(row, dtype):
    f = fr.ACTIVATIONS[row.name]
    for given, n in itertools.product(parameter_sets(row), SIZES):
        named = dict(zip((p.name for p in row.parameters), given, strict=True))
        knots = [k.place(named) for k in row.knots]
        x = np.concatenate([inputs(dtype, n), np.array(knots, dtype)])[:n]
        dy = inputs(dtype, n, 1)
        y, mask = f.with_mask(x, **named)
        assert same_bits(y, f(x, **named))
        assert mask.shape == (-(-n // 8),)
        want = f.backward(dy, x, **named)
        assert same_bits(f.backward(dy, mask=mask, **named), want), (named, n)
        place = dy.copy()
        assert f.backward(place, mask=mask, out=place, **named) is place
        assert same_bits(place, want)


@each
def test_nan_counts_as_active(row):
    f = fr.ACTIVATIONS[row.name]
    named = dict(zip((p.name for p in row.parameters), parameter_sets(row)[0], strict=True))
    x = np.full(70, np.nan, np.float32)
    y, mask = f.with_mask(x, **named)
    assert np.isnan(y).all()
    np.testing.assert_array_equal(np.unpackbits(mask, bitorder="little"), [1] * 70 + [0] * 2)
    np.testing.assert_array_equal(f.backward(np.arange(70.0), mask=mask, **named), np.arange(70.0))


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_the_value_at_zero_is_chosen(name):
    f, x = fr.ACTIVATIONS[name], np.tile([0.0, -0.0, 1.0, -1.0, np.nan], 30)
    for at_zero in (None, 0, 1, False, True):
        _, mask = f.with_mask(x, at_zero=at_zero)
        bits = np.unpackbits(mask, count=len(x), bitorder="little")
        np.testing.assert_array_equal(bits, np.tile([bool(at_zero), bool(at_zero), 1, 0, 1], 30))


def test_a_slope_of_nan_is_its_lanes_business():
    x, dy = np.array([-1.0, 2.0, np.nan]), np.array([3.0, 4.0, 5.0])
    _, mask = fr.leaky_relu.with_mask(x, negative_slope=np.nan)
    np.testing.assert_array_equal(
        fr.leaky_relu.backward(dy, mask=mask, negative_slope=np.nan), [np.nan, 4.0, np.nan]
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    lay = LAYOUTS[layout]
    for dtype in (np.float32, np.float16):
        x, dy = (inputs(dtype, 330, seed).reshape(6, 5, 11) for seed in (0, 1))
        y, mask = fr.leaky_relu.with_mask(x)
        got, same = fr.leaky_relu.with_mask(lay(x))
        assert same_bits(got, y)
        assert same_bits(same, mask)
        dx = fr.leaky_relu.backward(dy, mask=mask)
        assert same_bits(fr.leaky_relu.backward(lay(dy), mask=mask), dx)
        if layout != "read-only":
            out = lay(np.zeros_like(x))
            assert fr.leaky_relu.with_mask(x, out=out)[0] is out
            np.testing.assert_array_equal(out, y)
            assert fr.leaky_relu.backward(dy, mask=mask, out=out) is out
            np.testing.assert_array_equal(out, dx)


def test_in_place_and_overlapping():
    x = inputs(np.float32, 3000)
    y, mask = fr.relu.with_mask(x)
    place = x.copy()
    assert same_bits(fr.relu.with_mask(place, out=place)[1], mask)
    assert same_bits(place, y)
    memory = np.concatenate([x, x[:16]])
    fr.relu.with_mask(memory[:3000], out=memory[5:3005])
    assert same_bits(memory[5:3005].copy(), y)


@pytest.mark.usefixtures("kernels_only")
def test_the_number_of_threads_changes_no_bit(thresholds):
    x, dy = (inputs(np.float32, 100_003, seed) for seed in (0, 1))

    def run():
        y, mask = fr.leaky_relu.with_mask(x)
        return y.tobytes(), mask.tobytes(), fr.leaky_relu.backward(dy, mask=mask).tobytes()

    thresholds(1, 2**62, 2**62)
    alone = run()
    for threads, streaming in [(2, 1 << 14), (3, 2**62), (7, 1 << 12)]:
        thresholds(threads, 100, streaming)
        assert run() == alone


def test_integers_lists_and_long_double():
    y, mask = fr.relu.with_mask([-1, 2, 3])
    assert y.dtype == np.float64
    assert mask.tolist() == [6]
    wide = np.array([-1, 2, 3], np.longdouble)
    y, same = fr.relu.with_mask(wide)
    assert y.dtype == np.longdouble
    assert same_bits(same, mask)
    np.testing.assert_array_equal(fr.relu.backward(wide, mask=mask), [0, 2, 3])


def test_errors():
    x = np.ones(20, np.float32)
    _, mask = fr.relu.with_mask(x)
    out = np.zeros(20, np.float32)
    for f in (fr.gelu, fr.prelu, fr.hard_sigmoid, fr.rrelu):
        with refused(TypeError, f.__qualname__, "two values"):
            f.with_mask(x)
        with refused(TypeError, f.__qualname__):
            f.backward(x, mask=mask)
    for wrong in (mask[:2], mask.astype(int), np.ones(20, bool)):
        with refused(ValueError, "mask", "(3,)", untouched=[out]):
            fr.relu.backward(x, mask=wrong, out=out)
    with refused(ValueError, "both x and mask"):
        fr.relu.backward(x, x, mask=mask)
    with refused(ValueError, "both y and mask"):
        fr.relu.backward(x, y=x, mask=mask)
    with refused(ValueError, "at_zero"):
        fr.relu.backward(x, mask=mask, at_zero=1)
    with refused(ValueError, "wrt"):
        fr.leaky_relu.backward(x, mask=mask, wrt="negative_slope")
    with refused(ValueError, "at_zero", "0 or 1", untouched=[out]):
        fr.relu.with_mask(x, at_zero=0.5, out=out)
    with refused(ValueError, "at_zero", "knots"):
        fr.relu6.with_mask(x, at_zero=1)
    with refused(ValueError, "negative_slope", "(20,)"):
        fr.leaky_relu.with_mask(x, negative_slope=x)
    with refused(TypeError, "slope"):
        fr.relu.with_mask(x, slope=1)
    with refused(ValueError, "max_val"):
        fr.hardtanh.with_mask(x, min_val=2.0, max_val=1.0)
    with refused(ValueError, "out", "(3,)"):
        fr.relu.with_mask(x, out=np.zeros(3, np.float32))
    with refused(TypeError, "out", "int64"):
        fr.relu.backward(x, mask=mask, out=np.zeros(20, np.int64))
