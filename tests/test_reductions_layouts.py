"""The reductions' kernels give a row the same bits wherever and however it lies, on any number of threads."""

import itertools

import numpy as np
import pytest

import fastrelu as fr

INF, NAN = np.inf, np.nan
FORWARD = [fr.logsumexp, fr.softmax, fr.log_softmax]
WITH_ZERO = [fr.logsumexp0, fr.softmax0]
SUMS = [fr.logsumexp, fr.logsumexp0]
by_name = {"ids": lambda f: f.__qualname__}

# Around a register, a tile of short rows, and the segments that long rows are summed by (2048 entries).
LENGTHS = [1, 2, 3, 5, 8, 15, 16, 17, 33, 63, 64, 65, 130, 1000, 2047, 2048, 2049, 5000]
CASES = [*itertools.product(FORWARD, LENGTHS), *itertools.product(WITH_ZERO, [1, 3, 17, 130, 2049])]
each_case = pytest.mark.parametrize(("function", "length"), CASES, ids=lambda v: getattr(v, "__name__", v))


def rows_of_all_kinds(dtype, length, rows=37):
    """Random rows of several sizes; among them special ones, with their infinities in different places."""
    rng = np.random.default_rng(length)
    large = 30 if dtype == np.float16 else 1e4
    scales = rng.choice([1, 5, 20, large / 10], (rows, 1))
    x = rng.normal(size=(rows, length)) * scales + rng.choice([0, large], (rows, 1))
    x[0, length // 2] = INF
    x[1] = -INF
    x[2, -1] = -INF
    x[3, 0] = NAN
    x[4, [0, -1]] = INF
    x[5, 0], x[5, -1] = INF, NAN
    x[6] = x[6, 0]
    x[7, length // 3] += 40
    x[8, 0], x[8, 1:] = NAN, -INF
    return x.astype(dtype)


def spread(a, axis, step, fill=0):
    """The array as a view of a larger one, its elements `step` apart along an axis; reversed if negative."""
    shape = list(a.shape)
    shape[axis] = shape[axis] * abs(step) + 3
    whole = np.full(shape, fill, a.dtype)
    start = 1
    index = [slice(None)] * a.ndim
    index[axis] = slice(start, start + a.shape[axis] * abs(step), abs(step))
    view = whole[tuple(index)]
    view = np.flip(view, axis) if step < 0 else view
    view[...] = a
    return view


# name -> (how the rows lie, the axis along which they run, back from a result by entries to rows)
LAYOUTS = {
    "fortran": (lambda x: x.copy(order="F"), 1, lambda y: y),
    "columns": (lambda x: x.T.copy(), 0, lambda y: y.T),
    "middle": (lambda x: np.stack([x, x[::-1]]).transpose(0, 2, 1).copy(), 1, lambda y: y[0].T),
    "spread entries": (lambda x: spread(x, 1, 2), 1, lambda y: y),
    "spread rows": (lambda x: spread(x, 0, 3), 1, lambda y: y),
    "spread columns": (lambda x: spread(x.T, 0, 2), 0, lambda y: y.T),
    "reversed entries": (lambda x: spread(x, 1, -1), 1, lambda y: y),
    "reversed rows": (lambda x: spread(x, 0, -2), 1, lambda y: y),
    "reversed columns": (lambda x: spread(x.T, 1, -1), 0, lambda y: y.T),
}


def same_bits(a, b):
    """Equal, NaN in the same places, and zeros of the same sign."""
    a, b = np.asarray(a), np.asarray(b)
    equal = (a == b) & (np.signbit(a) == np.signbit(b))
    return a.shape == b.shape and a.dtype == b.dtype and bool(np.all(equal | (np.isnan(a) & np.isnan(b))))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@each_case
def test_same_bits_in_every_layout(function, dtype, length):
    x = rows_of_all_kinds(dtype, length)
    expected = function(x, axis=1)
    for name, (lay, axis, back) in LAYOUTS.items():
        a = lay(x)
        got = function(a, axis=axis)
        got = (got[0] if got.ndim > 1 else got) if function in SUMS else back(got)
        assert same_bits(got, expected), name
        if function not in SUMS:
            assert function(a, axis=axis, out=a) is a
            assert same_bits(back(a), expected), f"{name}, in place"
    for rows in (slice(0, 1), slice(3, 4), slice(2, 7), slice(5, 37)):
        assert same_bits(function(x[rows], axis=1), expected[rows])
    assert same_bits(np.stack([function(row) for row in x]), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@each_case
def test_same_bits_of_gradients_in_every_layout(function, dtype, length):
    given = rows_of_all_kinds(dtype, length)
    rng = np.random.default_rng(length)
    saved = {"x" if function in SUMS else "y": given}
    if function not in SUMS:
        saved["y"] = function(given, axis=1)
    (name, rows), shape = saved.popitem(), (37, 1) if function in SUMS else given.shape
    dy = rng.normal(0, 3, shape).astype(dtype)
    keepdims = {"keepdims": True} if function in SUMS else {}
    expected = function.backward(dy, **{name: rows}, axis=1, **keepdims)
    for layout, (lay, axis, back) in LAYOUTS.items():
        a, slopes = lay(rows), lay(dy)
        got = back(function.backward(slopes, **{name: a}, axis=axis, **keepdims))
        assert same_bits(got, expected), layout
        if dy.shape == rows.shape:
            assert function.backward(slopes, **{name: a}, axis=axis, **keepdims, out=slopes) is slopes
            assert same_bits(back(slopes), expected), f"{layout}, in place"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", FORWARD, **by_name)
def test_same_bits_at_any_alignment(function, dtype):
    x = np.random.default_rng(3).normal(0, 5, 3000).astype(dtype)
    expected = function(x)
    for offset in range(1, 17):
        memory = np.zeros(x.size + offset, dtype)
        memory[offset:] = x
        assert same_bits(function(memory[offset:]), expected)


@pytest.mark.parametrize("shape", [(3, 20000), (20000, 3), (1, 70000), (300, 200), (5000, 9), (4, 3000, 7)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("function", FORWARD + WITH_ZERO, **by_name)
def test_same_bits_on_any_number_of_threads(function, dtype, shape):
    """Few rows, which are cut into segments, and many."""
    x = np.random.default_rng(4).normal(0, 5, shape).astype(dtype)
    before = fr.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            fr.set_num_threads(threads)
            made = [function(x, axis=axis) for axis in (None, *range(x.ndim))]
            if function not in SUMS:
                pairs = enumerate(list(made[1:]))
                made += [function.backward(x, y=y, axis=axis) for axis, y in pairs]
            results.append(made)
    finally:
        fr.set_num_threads(before)
    for other in results[1:]:
        assert all(same_bits(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("axis", [None, (0, 1), (1, 2), (0, 2), (0, 1, 2), (2, 0), ()], ids=str)
@pytest.mark.parametrize("function", FORWARD, **by_name)
def test_axes_that_are_one_in_memory_and_axes_that_are_not(function, axis):
    x = np.random.default_rng(5).normal(0, 5, (5, 6, 7)).astype(np.float32)
    axes = range(3) if axis is None else axis
    kept = [i for i in range(3) if i not in axes]
    for order in itertools.permutations(range(3)):
        a = x.transpose(order).copy().transpose(np.argsort(order))
        got = function(a, axis=axis)
        rows = x.transpose([*kept, *sorted(axes)]).reshape(*(x.shape[i] for i in kept), -1)
        expected = function(np.ascontiguousarray(rows), axis=-1)
        if function is not fr.logsumexp:
            got = got.transpose([*kept, *sorted(axes)]).reshape(rows.shape)
        assert same_bits(got, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_out_of_logsumexp_in_any_layout(dtype):
    x = np.random.default_rng(6).normal(size=(4, 5, 6)).astype(dtype)
    for axis, keepdims in itertools.product([None, 0, 1, 2, (0, 1), (0, 2)], [False, True]):
        expected = np.asarray(fr.logsumexp(x, axis=axis, keepdims=keepdims))
        for out in (np.zeros_like(expected), spread(expected, 0, 2) if expected.ndim else expected.copy()):
            out[...] = 0
            assert fr.logsumexp(x, axis=axis, keepdims=keepdims, out=out) is out
            assert same_bits(out, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("length", [1, 2, 3, 10, 1000, 5000])
def test_equal_entries_have_equal_shares(dtype, length):
    x = np.random.default_rng(7).normal(0, 9, (40, 1)).astype(dtype)
    assert np.all(fr.softmax(np.repeat(x, length, axis=1), axis=1) == dtype(1 / length))
