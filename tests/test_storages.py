"""What operands may be stored as: float16 is converted exactly, integers that stay so are NumPy's own."""

import itertools

import numpy as np
import pytest
from calls import LAYOUTS, agree
from cases import ON_KERNELS, same_bits

import fastrelu as fr

pytestmark = pytest.mark.every_isa

HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
NEVER = 2**62
PIECES = (1, 3, 15, 16, 17, 63, 64, 65, 511, 513)  # around registers, and what is converted at a time
LINES = ("contiguous", "strided", "negative", "padded rows", "unaligned", "byte-swapped")


def quiet(halves):
    """What IEEE 754 makes of a signalling NaN: the same NaN, quiet."""
    return np.where(np.isnan(halves), halves.view(np.uint16) | 0x0200, halves.view(np.uint16)).view(
        np.float16
    )


def between_halves():
    """Every float16 in float32, the middle between each and the next, and the neighbours of all these."""
    finite = np.sort(HALVES[np.isfinite(HALVES)].astype(np.float32))
    points = np.concatenate(
        [finite, (finite[1:] + finite[:-1]) / 2, np.float32([65519.99, 65520, 1e5, 1e-8])]
    )
    with np.errstate(all="ignore"):
        around = [points, np.nextafter(points, np.float32(np.inf)), np.nextafter(points, np.float32(-np.inf))]
    specials = np.float32([np.inf, -np.inf, 0.0, -0.0, 2**-25, -(2**-25)])
    return np.concatenate([*around, specials])


@pytest.mark.parametrize("layout", LINES)
def test_every_half_is_read_exactly(layout, kernels_only):
    dy = LAYOUTS[layout](HALVES.reshape(256, 256))
    expected = quiet(HALVES).astype(np.float32).reshape(256, 256)
    assert same_bits(fr.relu.backward(dy, np.ones((256, 256), np.float32)), expected)


@pytest.mark.parametrize("layout", LINES)
def test_every_half_goes_through_unchanged(layout, kernels_only):
    x = LAYOUTS[layout](HALVES.reshape(256, 256))
    expected = np.where(np.signbit(HALVES) & ~np.isnan(HALVES), np.float16(0), quiet(HALVES))
    assert same_bits(fr.relu(x), expected.reshape(256, 256))
    for n, start in itertools.product(PIECES, (0, 1, 0x3C00, 0x7BF0)):
        assert same_bits(fr.relu(HALVES[start : start + n]), expected[start : start + n])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_halves_are_rounded_to_nearest_even(dtype, kernels_only):
    x = between_halves().astype(dtype)
    if dtype == np.float64:  # what float32 would have rounded first
        x = np.concatenate([x, x * (1 + 2.0**-40), x * (1 - 2.0**-40)])
    with np.errstate(all="ignore"):
        expected = x.astype(np.float16)
    for step in (1, 2, -1):
        out = np.zeros(2 * x.size, np.float16)[: x.size * abs(step)][::step]
        assert same_bits(fr.leaky_relu(x, 1.0, out=out), expected)


def test_a_nan_keeps_what_fits_of_its_payload(kernels_only):
    bits = np.uint32([0x7F800001, 0x7FC00000, 0xFFC00000, 0x7FFFFFFF, 0xFF812345, 0x7F802000])
    out = np.zeros(bits.size, np.float16)
    fr.leaky_relu(bits.view(np.float32), 1.0, out=out)
    expected = (bits >> 16 & 0x8000 | 0x7E00 | bits >> 13 & 0x1FF).astype(np.uint16)
    assert out.view(np.uint16).tolist() == expected.tolist()


# Integers

INTEGERS = "?bBhHiIlLqQ"


def integers(dtype, *shape):
    """Random bits, the extremes among them."""
    rng = np.random.default_rng(0)
    if dtype == "?":
        return rng.random(shape) < 0.5
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    x.flat[:: max(x.size // 5, 1)] = info.min
    x.flat[1 :: max(x.size // 3, 1)] = info.max
    return x


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_of_every_layout(dtype):
    for shape in ((1,), (67,), (3, 5), (40, 300), (70, 130), (5, 6, 7)):
        x = integers(dtype, *shape)
        expected = np.maximum(x, x.dtype.type(0))
        for name, arrange in LAYOUTS.items():
            agree(fr.relu(arrange(x)), expected, name)
            if name != "read-only":
                out = arrange(np.zeros_like(x))
                assert fr.relu(x, out=out) is out
                agree(out.astype(x.dtype), expected, name)
        agree(fr.relu(x.T), expected.T)
        out = np.zeros_like(x.T, order="C")
        agree(fr.relu(x.T, out=out), expected.T)
        agree(fr.relu(x, out=x), expected)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_of_every_size_threads_and_streaming(dtype, thresholds):
    for size in (1, 15, 63, 64, 65, 511, 1025, 10_007):
        x = integers(dtype, size)
        expected = np.maximum(x, x.dtype.type(0))
        for threads, work, streaming in ((1, NEVER, NEVER), (3, 1, NEVER), (4, 1, 1)):
            thresholds(threads, work, streaming)
            agree(fr.relu(x), expected)
            agree(fr.relu(np.repeat(x, 2)[::2]), expected)
            agree(fr.relu(x, where=np.True_, out=np.zeros_like(x)), expected)


def test_integers_meet_other_types(kernels_only):
    x = integers("i", 100)
    expected = np.maximum(x, 0)
    agree(fr.relu(x, out=np.zeros(100, np.int64)), expected.astype(np.int64))
    agree(fr.relu(x, out=np.zeros(100)), expected.astype(float))
    agree(fr.relu(x, dtype=np.float32), np.maximum(x.astype(np.float32), 0))
    with pytest.raises(TypeError):
        fr.relu(x, out=np.zeros(100, np.int16), casting="safe")


def test_integers_are_explained(kernels_only):
    plan = fr.explain(fr.relu, np.ones(1000, np.int32))
    assert (plan.path, plan.dtype) == ("fast", "int32")
    assert fr.explain(fr.relu, np.ones((10, 10), np.int8)[:, ::2]).path == "grid"
    assert fr.explain(fr.gelu, np.ones(1000, np.int32)).dtype == "float64"
    assert ON_KERNELS
