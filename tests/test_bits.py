"""The same bits for the same input, whatever the size, position, strides, alignment, chunks and threads.

The plan's thresholds are lowered, so that small arrays are shared out among threads and streamed; that
they really are is read from `fastrelu.explain`, which prints the plan that a call executes.
"""

import os

import numpy as np
import pytest
from calls import CALLS, LAYOUTS, plain, public
from cases import ALL, function, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrelu as fr
from fastrelu.backends import cython

pytestmark = [pytest.mark.every_isa, pytest.mark.usefixtures("kernels_only")]

NEVER = 2**62
# Layouts are the business of drivers that all instruction sets share: of those beside the best one fewer do.
FEWER = 5 if os.environ.get("FASTRELU_ISA") else 1
CHUNK = 512  # elements that a thread takes at a time; kernels/loops/run.h
DTYPES = [np.float32, np.float64]
each_kernel = pytest.mark.parametrize("name", ALL)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)


def arrays(name, dtype, size):
    """Inputs over all binades, with a NaN, zeros and infinities among them."""
    row, kernel = ALL[name]
    rng, made = np.random.default_rng(size), []
    for argument in kernel.inputs:
        p = next((p for p in row.parameters if p.name == argument), None)
        if p is None:
            values = rng.normal(0, 3, size)
            wide = np.ldexp(rng.uniform(-1, 1, size), rng.integers(-140, 120, size))
            values = np.where(rng.random(size) < 0.8, values, wide)
            values[:: max(size // 7, 1)] = rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan])
        else:
            values = rng.choice(p.typical, size)
        made.append(values.astype(dtype))
    return made


def explained(kernel, inputs, **out):
    """What `explain` says of a kernel's call, which it knows by the public object."""

    class Stand:
        pass

    stand = Stand()
    stand.kernel = kernel
    return fr.explain(stand, *inputs, **out)


@each_dtype
@each_kernel
def test_threads_and_streaming_stores(name, dtype, thresholds):
    row, kernel = ALL[name]
    call, items = plain(row, kernel), np.dtype(dtype).itemsize
    for size in (2 * CHUNK + 1, 10 * CHUNK - 3, 12 * CHUNK + 77):
        inputs = arrays(name, dtype, size)
        thresholds(1, NEVER, NEVER)
        expected, by_ufunc = call(*inputs), function(kernel)(*inputs)
        for threads in (1, 2, 3, 8):
            for streaming in (NEVER, size * items):
                thresholds(threads, 1, streaming)
                plan = explained(kernel, inputs)
                assert plan.threads == threads
                assert plan.stores == ("streaming" if streaming < NEVER else "ordinary")
                assert same_bits(call(*inputs), expected)
                assert same_bits(function(kernel)(*inputs), by_ufunc)
                out = np.empty(size + 3, dtype)  # any alignment
                for start in range(4):
                    call(*inputs, out=out[start : start + size])
                    assert same_bits(out[start : start + size], expected)
                strided = np.empty(2 * size, dtype)[::2]
                assert same_bits(call(*(np.repeat(a, 2)[::2] for a in inputs), out=strided), expected)
                in_place = [a.copy() for a in inputs]
                assert explained(kernel, in_place, out=in_place[0]).stores == "ordinary"
                assert same_bits(call(*in_place, out=in_place[0]), expected)


@each_kernel
def test_halves_with_threads(name, thresholds):
    _, kernel = ALL[name]
    inputs = [np.clip(a, -6e4, 6e4) for a in arrays(name, np.float32, 6 * CHUNK + 5)]
    halves = [a.astype(np.float16) for a in inputs]
    thresholds(1, NEVER, NEVER)
    with np.errstate(all="ignore"):
        expected = function(kernel)(*halves)
        thresholds(4, 1, 1)
        assert same_bits(function(kernel)(*halves), expected)


@pytest.mark.parametrize("name", [n for n in ALL if n.startswith(("relu", "gelu"))])
@each_dtype
def test_at_the_size_where_the_thresholds_really_are(name, dtype, kernels_only):
    """Once without lowering anything, as far as the machine's cache allows."""
    row, kernel = ALL[name]
    size = (48 << 20) // np.dtype(dtype).itemsize // 4
    inputs = [np.tile(a, size // a.size) for a in arrays(name, dtype, 1 << 12)]
    whole = public(row, kernel)(*inputs)
    few = function(kernel)(*(a[: 1 << 12] for a in inputs))
    assert same_bits(whole, np.tile(few, size // few.size))
    if fr.get_num_threads() > 1:
        assert explained(kernel, inputs).threads > 1


@each_dtype
@each_kernel
def test_stores_stream_only_where_they_pay(name, dtype, thresholds):
    """Above, every kernel streams, for its cost does not count there."""
    from fastrelu import control

    _, kernel = ALL[name]
    index, size = cython.KERNEL_INDEX[kernel.name], control.STREAMING_BYTES
    most = dict(zip((np.float32, np.float64), control.STREAMING_COSTS, strict=True))[dtype]
    cost = kernel.cost if dtype == np.float32 else 5 * kernel.cost // 2
    for threads in (1, 2):
        cython.ufuncs.configure(threads, 1, control.STREAMING_BYTES, threads, control.STREAMING_COSTS)
        assert cython.ufuncs.plan(index, np.dtype(dtype), size, False) == (threads, cost <= most * threads)
        assert cython.ufuncs.plan(index, np.dtype(dtype), size, True) == (threads, False)


def test_a_far_larger_array_than_the_cache_streams(kernels_only):
    from fastrelu import control

    size = control.STREAMING_BYTES // 4
    x = np.broadcast_to(np.float32(1), (size,)).copy() if size < 1 << 26 else None
    if x is None:
        pytest.skip(f"the last-level cache has {control.STREAMING_BYTES >> 20} MiB")
    plan = fr.explain(fr.relu, x)
    assert (plan.stores, plan.path) == ("streaming", "fast")
    assert fr.explain(fr.relu, x, out=x).stores == "ordinary"
    assert fr.explain(fr.relu, x[:-1]).stores == "ordinary"
    assert fr.explain(fr.mish.backward, x, x).stores == "ordinary"
    y = fr.relu(x)
    assert np.all(y == 1)


# Properties


@st.composite
def selections(draw, size):
    """An index of a flat array: a slice with a step, or any choice of its elements."""
    if draw(st.booleans()):
        start, stop = draw(st.integers(0, size)), draw(st.integers(0, size))
        return slice(start, stop, draw(st.sampled_from([1, 1, 2, 3, 7, -1, -2, -5])))
    count = draw(st.integers(0, size))
    return np.random.default_rng(draw(st.integers(0, 99))).permutation(size)[:count]


@settings(max_examples=25 // FEWER, deadline=None)
@given(data=st.data())
@each_kernel
def test_slices_permutations_and_shifts(name, data):
    """f(x)[s] is f(x[s]): no value depends on its place or on its neighbours."""
    row, kernel = ALL[name]
    dtype = data.draw(st.sampled_from(DTYPES))
    call = CALLS[data.draw(st.sampled_from(list(CALLS)))](row, kernel)
    size = data.draw(st.integers(1, 1300))
    inputs = arrays(name, dtype, size)
    whole, index = call(*inputs), data.draw(selections(size))
    assert same_bits(call(*(a[index] for a in inputs)), whole[index])
    layout = LAYOUTS[data.draw(st.sampled_from(list(LAYOUTS)))]
    assert same_bits(call(*(layout(a[index]) for a in inputs)), whole[index])


@settings(max_examples=15 // FEWER, deadline=None)
@given(data=st.data())
@each_kernel
def test_padding_and_shapes(name, data):
    """Other elements around, and other axes, change nothing."""
    row, kernel = ALL[name]
    dtype = data.draw(st.sampled_from(DTYPES))
    shape = tuple(data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=4)))
    size = int(np.prod(shape))
    flat = arrays(name, dtype, max(size, 1))
    inputs = [a[:size].reshape(shape) for a in flat]
    pads = [(data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))) for _ in shape]
    inside = tuple(slice(low, low + n) for (low, _), n in zip(pads, shape, strict=True))
    axes = data.draw(st.permutations(range(len(shape))))
    for call in (way(row, kernel) for way in CALLS.values()):
        expected = call(*(a[:size] for a in flat)).reshape(shape)
        assert same_bits(call(*inputs), expected)
        padded = [np.pad(a, pads, constant_values=np.nan)[inside] for a in inputs]
        assert same_bits(call(*padded), expected)
        turned = [a.transpose(axes) for a in inputs]
        assert same_bits(call(*turned), np.ascontiguousarray(expected.transpose(axes)))


@st.composite
def views(draw, shape):
    """A function that lays out an array of this shape at random: order of axes, steps, gaps, directions."""
    axes = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from([1, 1, 2, 3, -1, -2])) for _ in shape]
    gaps = [draw(st.integers(0, 2)) for _ in shape]

    def arrange(a):
        sizes = [n * abs(step) + gap for n, step, gap in zip(a.shape, steps, gaps, strict=True)]
        memory = np.zeros([sizes[axis] for axis in axes], a.dtype).transpose(np.argsort(axes))
        for axis, (n, step) in enumerate(zip(a.shape, steps, strict=True)):
            cut = slice(0, n * step, step) if step > 0 else slice(n * -step - 1, None, step)
            memory = memory[(slice(None),) * axis + (cut,)]
        memory[...] = a
        return memory

    return arrange


@settings(max_examples=25 // FEWER, deadline=None)
@given(data=st.data())
@each_kernel
def test_grids_of_any_strides_on_any_number_of_threads(name, data, module_thresholds):
    """Long and short rows, axes that merge and axes that do not, `out` laid out in its own way."""
    row, kernel = ALL[name]
    dtype = data.draw(st.sampled_from([np.float16, *DTYPES]))
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 3, 7, 31, 65, 130]), min_size=1, max_size=3)))
    size = int(np.prod(shape))
    with np.errstate(all="ignore"):
        flat = [a.astype(dtype) for a in arrays(name, np.float32, size)]
    threads, streaming = data.draw(st.integers(1, 5)), data.draw(st.sampled_from([1, NEVER]))
    work = data.draw(st.sampled_from([1, 1000, NEVER]))
    inputs = [data.draw(views(shape))(a.reshape(shape)) for a in flat]
    for call in (way(row, kernel) for way in CALLS.values()):
        module_thresholds(1, NEVER, NEVER)
        expected = call(*flat).reshape(shape)
        module_thresholds(threads, work, streaming)
        assert same_bits(call(*inputs), expected)
        out = data.draw(views(shape))(np.full(shape, 7, dtype))
        assert call(*inputs, out=out) is out
        assert same_bits(out, expected)
        j = data.draw(st.integers(0, len(inputs) - 1))
        given = [a.copy(order="K") if i == j else a for i, a in enumerate(inputs)]
        assert call(*given, out=given[j]) is given[j]
        assert same_bits(given[j], expected)


@settings(max_examples=15 // FEWER, deadline=None)
@given(data=st.data())
@each_kernel
def test_broadcast_operands_count_as_full_ones(name, data):
    _, kernel = ALL[name]
    if len(kernel.inputs) == 1:
        return
    dtype = data.draw(st.sampled_from(DTYPES))
    shape = tuple(data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    flat = arrays(name, dtype, int(np.prod(shape)))
    inputs = []
    for a in flat:
        kept = tuple(n if data.draw(st.booleans()) else 1 for n in shape)
        inputs.append(a[: int(np.prod(kept))].reshape(kept))
    full = np.broadcast_shapes(*(a.shape for a in inputs))
    expected = function(kernel)(*(np.broadcast_to(a, full).copy() for a in inputs))
    assert same_bits(function(kernel)(*inputs), expected)
