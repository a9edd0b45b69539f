"""Whatever the memory of operands and results looks like, the bits are those of the contiguous call."""

import itertools

import numpy as np
import pytest
from calls import LAYOUTS, SHAPE, agree, arrays, each_call, each_dtype, each_elementwise, each_kind_of_call
from cases import ALL, function

import fastrelu as fr

pytestmark = pytest.mark.every_isa


@each_dtype
@each_kind_of_call
def test_layouts(name, dtype, via, call):
    inputs = arrays(name, dtype)
    expected = call(*inputs)
    for layout, arrange in LAYOUTS.items():
        agree(call(*map(arrange, inputs)), expected, layout)


@each_dtype
@each_kind_of_call
def test_one_operand_of_each_layout(name, dtype, via, call):
    inputs = arrays(name, dtype)
    expected = call(*inputs)
    ways = list(LAYOUTS.values())
    for shift in range(len(ways)):
        agree(call(*(ways[(shift + 3 * j) % len(ways)](a) for j, a in enumerate(inputs))), expected)


@each_dtype
@each_elementwise
def test_broadcasting(name, dtype):
    call = function(ALL[name][1])
    inputs = arrays(name, dtype)
    for index in ([slice(None, 1)], [slice(None), slice(None, 1)], [slice(None, 1), slice(None, 1)]):
        for j, a in enumerate(inputs):
            narrow = a[tuple(index)]
            stretched = np.broadcast_to(narrow, SHAPE)
            expected = call(*inputs[:j], stretched.copy(), *inputs[j + 1 :])
            agree(call(*inputs[:j], stretched, *inputs[j + 1 :]), expected)
            got = call(*inputs[:j], narrow, *inputs[j + 1 :])
            assert got.shape == (SHAPE if len(inputs) > 1 else narrow.shape)
            agree(np.broadcast_to(got, SHAPE), expected)


@each_dtype
@each_call
def test_dimensions(name, dtype, via, call):
    """0-d gives a scalar; empty and many-dimensional shapes give themselves."""
    flat = [a.ravel() for a in arrays(name, dtype)]
    whole = call(*flat)
    for i in range(40):
        got = call(*(a[i].reshape(()) for a in flat))
        assert type(got) is dtype
        agree(got, whole[i])
    for shape in ((0,), (0, 3), (3, 0, 2), (1,), (1, 1), (2, 1, 3, 1, 2), (2,) * 7):
        size = int(np.prod(shape))
        agree(call(*(a[:size].reshape(shape) for a in flat)), whole[:size].reshape(shape))


@each_dtype
@each_kind_of_call
def test_out(name, dtype, via, call):
    inputs = arrays(name, dtype)
    expected = call(*inputs)
    for layout in LAYOUTS.keys() - {"read-only"}:
        out = LAYOUTS[layout](np.full(SHAPE, 7, dtype))
        assert call(*inputs, out=out) is out
        agree(out.astype(dtype), expected, layout)


@each_dtype
@each_kind_of_call
def test_in_place(name, dtype, via, call):
    inputs = arrays(name, dtype)
    expected = call(*inputs)
    for j in range(len(inputs)):
        for layout in ("contiguous", "fortran", "strided", "negative", "unaligned"):
            given = [LAYOUTS[layout](a.copy()) for a in inputs]
            assert call(*given, out=given[j]) is given[j]
            agree(given[j], expected)


@each_dtype
@each_kind_of_call
def test_overlapping_out(name, dtype, via, call):
    """As if there were no overlap."""
    inputs = [a.ravel() for a in arrays(name, dtype)]
    expected, n = call(*inputs), inputs[0].size
    for j, a in enumerate(inputs):
        for shift, step in itertools.product((-40, -17, -1, 0, 1, 3, 16, 40), (1, -1)):
            memory = np.zeros(n + 80, dtype)
            window, target = memory[40 : 40 + n], memory[40 + shift : 40 + shift + n][::step]
            window[...] = a
            assert call(*inputs[:j], window, *inputs[j + 1 :], out=target) is target
            agree(target, expected)


@each_dtype
@each_kind_of_call
def test_overlap_in_two_dimensions_and_two_dtypes(name, dtype, via, call):
    n = 37
    inputs = arrays(name, dtype, (n, n))
    expected = call(*inputs)
    for j in range(len(inputs)):
        for turn in (np.transpose, np.fliplr, np.flipud, np.rot90, lambda a: a.T[::-1]):
            given = [a.copy() for a in inputs]
            out = turn(given[j])
            assert call(*given, out=out) is out
            agree(out, expected, turn)
        memory = np.zeros((n + 1, n + 2), dtype)
        for window, target in ((memory[1:, 2:], memory[:-1, :-2]), (memory[:-1, :-2], memory[1:, 1:-1])):
            window[...] = inputs[j]
            call(*inputs[:j], window, *inputs[j + 1 :], out=target)
            agree(target, expected, "windows")
        wide = inputs[j].astype(np.float64 if dtype != np.float64 else np.longdouble)
        if wide.dtype == np.float64:  # the result goes into the lower half of each operand
            out = wide.view(np.float32).reshape(n, n, 2)[..., 0]
            lead = [a.astype(np.float64) for a in inputs]
            with np.errstate(all="ignore"):
                model = call(*lead).astype(np.float32)
                call(*lead[:j], wide, *lead[j + 1 :], out=out)
            agree(out, model, "two dtypes")


@pytest.mark.parametrize("axis", range(-4, 4))
def test_one_value_per_channel_along_any_axis(axis):
    """The bits of a weight that was broadcast by hand, rows of every length included."""
    rng = np.random.default_rng(0)
    for shape in ((2, 3, 4, 5), (3, 5, 7, 130), (40, 16, 3, 2), (1, 2, 1, 700), (9, 2000, 1, 3)):
        x = rng.normal(size=shape).astype(np.float32)
        weight = rng.normal(size=shape[axis]).astype(np.float32)
        broadcast = weight.reshape([-1 if a == axis % 4 else 1 for a in range(4)])
        expected = np.where(x > 0, x, broadcast * x)
        for arrange in (np.ascontiguousarray, np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2]):
            agree(fr.prelu(arrange(x), weight, axis=axis), expected)
            agree(fr.prelu(x, arrange(np.broadcast_to(broadcast, shape)), axis=axis), expected)
        agree(fr.prelu(x.T, weight, axis=-1 - axis), expected.T)
        out = np.zeros(shape, np.float32)
        agree(fr.prelu(np.asfortranarray(x), weight, axis=axis, out=out), expected)
