"""maxout: which entry is the largest, along any axis of any array, and the gradient that goes to it."""

import copy
import pickle

import numpy as np
import pytest
from calls import LAYOUTS, agree, refused

import fastrelu as fr

NAN = np.nan
each_dtype = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])


def model(x, pieces, axis):
    """Entry by entry: (y, index)."""
    groups = np.moveaxis(x, axis, -1).reshape((-1, pieces))
    index = np.zeros(len(groups), int)
    for i, group in enumerate(groups):
        for j in range(1, pieces):
            if group[j] > group[index[i]] or (np.isnan(group[j]) and not np.isnan(group[index[i]])):
                index[i] = j
    y = groups[np.arange(len(groups)), index]
    shape = np.moveaxis(x, axis, -1).shape
    shape = (*shape[:-1], shape[-1] // pieces)
    return tuple(np.moveaxis(a.reshape(shape), -1, axis) for a in (y, index))


def ties(dtype, shape=(6, 12, 18)):
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, shape).astype(dtype)
    x[rng.random(shape) < 0.2] *= -1  # zeros of either sign
    x[rng.random(shape) < 0.05] = NAN
    return x


@each_dtype
def test_the_first_of_the_largest(dtype, backend):
    x = ties(dtype)
    for axis in range(-3, 3):
        for pieces in (1, 2, 3, 6):
            y, index = model(x, pieces, axis)
            for layout in ("contiguous", "fortran", "strided", "negative", "unaligned", "byte-swapped"):
                given = LAYOUTS[layout](x)
                got, which = fr.maxout.with_index(given, pieces, axis)
                agree(got, y, layout)
                assert which.dtype == np.uint8
                np.testing.assert_array_equal(which, index)
                agree(fr.maxout(given, pieces, axis=axis), y, layout)


@each_dtype
def test_gradient(dtype, backend):
    """To the entry that was the largest, whatever it is; nothing to the others."""
    x, rng = ties(dtype), np.random.default_rng(1)
    for axis, pieces in ((0, 2), (1, 3), (2, 6), (-1, 18), (1, 1)):
        y, index = model(x, pieces, axis)
        dy = rng.normal(size=y.shape).astype(dtype)
        dy.flat[:3] = np.inf, NAN, -np.inf
        shape = (*x.shape[: axis % 3], -1, pieces, *x.shape[axis % 3 + 1 :])
        chosen = np.expand_dims(index, axis % 3 + 1) == np.arange(pieces).reshape(
            [-1 if i == axis % 3 + 1 else 1 for i in range(4)]
        )
        expected = np.where(chosen, np.expand_dims(dy, axis % 3 + 1), dtype(0)).reshape(x.shape)
        assert expected.reshape(shape).shape == chosen.shape
        for layout in ("contiguous", "fortran", "strided", "negative"):
            given, upstream = LAYOUTS[layout](x), LAYOUTS[layout](dy)
            agree(fr.maxout.backward(upstream, given, pieces, axis), expected, layout)
            agree(fr.maxout.backward(upstream, index=index, pieces=pieces, axis=axis), expected, layout)
        for out in (x.copy(), np.full(x.shape, 7, dtype)):
            assert fr.maxout.backward(dy, x, pieces, axis, out=out) is out
            agree(out, expected)


def test_threads_and_many_entries(thresholds):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3, 5 * 1400)).astype(np.float32)
    for pieces, dtype in ((5, np.uint8), (700, np.uint16)):
        thresholds(1, 2**62, 2**62)
        expected, index = fr.maxout.with_index(x, pieces)
        assert index.dtype == dtype
        np.testing.assert_array_equal(index, x.reshape(3, -1, pieces).argmax(-1))
        dx = fr.maxout.backward(expected, x, pieces)
        for threads in (2, 8):
            thresholds(threads, 1, 1)
            np.testing.assert_array_equal(fr.maxout(x, pieces), expected)
            np.testing.assert_array_equal(fr.maxout.backward(expected, x, pieces), dx)
    np.testing.assert_array_equal(dx.reshape(3, -1, 700).sum(-1), expected)


def test_what_callers_give(backend):
    x = np.arange(8.0)
    np.testing.assert_array_equal(fr.maxout([[1, 5, 2, 3]], 2), [[5.0, 3.0]])
    assert fr.maxout(np.arange(8, dtype=np.int16), 4).dtype == np.float32
    for overlapping in (x[::2], x[:4], x[4:], x[::-2]):
        given, out = x.copy(), np.zeros(4)
        whole = np.concatenate([given, out])
        target = np.ndarray(4, float, whole, overlapping.__array_interface__["data"][0] - x.ctypes.data,
                            overlapping.strides)  # fmt: skip
        assert fr.maxout(whole[:8], 2, out=target) is target
        np.testing.assert_array_equal(target, [1, 3, 5, 7])
    assert fr.maxout(np.ones((0, 4)), 2).shape == (0, 2)
    assert fr.maxout(np.ones((4, 0)), 2).shape == (4, 0)
    assert fr.maxout.backward(np.ones((0, 2)), np.ones((0, 4)), 2).shape == (0, 4)
    assert type(fr.maxout(np.ma.ones((2, 4)), 2)) is np.ma.MaskedArray
    for found in (fr.maxout, fr.maxout.backward, fr.maxout.with_index):
        assert pickle.loads(pickle.dumps(found)) is copy.deepcopy(found) is found


def test_bfloat16(backend):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = ties(np.float32).astype(bfloat16)
    y, index = model(x.astype(np.float32), 3, 1)
    got, which = fr.maxout.with_index(x, 3, 1)
    assert got.dtype == bfloat16
    np.testing.assert_array_equal(got.astype(np.float32), y)
    np.testing.assert_array_equal(which, index)
    dx = fr.maxout.backward(got, x, 3, 1)
    assert dx.dtype == bfloat16
    other = fr.maxout.backward(got, index=which, pieces=3, axis=1)
    np.testing.assert_array_equal(dx.astype(np.float32), other.astype(np.float32))


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda x, out: fr.maxout(x, 3, out=out), ValueError, ("pieces", "3", "divisor of 4", "axis 1")),
        (lambda x, out: fr.maxout(x, 4, 0, out=out), ValueError, ("pieces", "4", "divisor of 3", "axis 0")),
        (lambda x, out: fr.maxout(x, 0, out=out), ValueError, ("pieces", "0")),
        (lambda x, out: fr.maxout(x, 10**30, out=out), ValueError, ("pieces", f"{10**30}", "divisor of 4")),
        (lambda x, out: fr.maxout(x, 2.0, out=out), TypeError, ("pieces", "2.0", "integer")),
        (lambda x, out: fr.maxout(x, 2, None, out=out), TypeError, ("axis", "None", "integer")),
        (lambda x, out: fr.maxout(x, 2, 2, out=out), np.exceptions.AxisError, ("axis", "2")),
        (lambda x, out: fr.maxout(x, 2, -(10**30)), np.exceptions.AxisError, ("axis", f"-{10**30}")),
        (lambda x, out: fr.maxout(1.0, 1), np.exceptions.AxisError, ("axis",)),
        (lambda x, out: fr.maxout(x * 1j, 2, out=out), TypeError, ("x", "complex128")),
        (lambda x, out: fr.maxout(x, 4, out=out), ValueError, ("out", "(3, 2)", "(3, 1)")),
        (lambda x, out: fr.maxout(x, 2, out=out.astype(int)), TypeError, ("out", "int64")),
        (lambda x, out: fr.maxout.backward(x, x, 2, out=out), ValueError, ("dy", "(3, 4)", "(3, 2)")),
        (lambda x, out: fr.maxout.backward(out, pieces=2), ValueError, ("neither of x and index",)),
        (lambda x, out: fr.maxout.backward(out, x, 2, index=out), ValueError, ("both of x and index",)),
        (lambda x, out: fr.maxout.backward(out, x), TypeError, ("pieces", "None", "integer")),
        (lambda x, out: fr.maxout.backward(out, index=out, pieces=2), TypeError, ("index", "float64")),
        (
            lambda x, out: fr.maxout.backward(out, index=np.full((3, 2), 2), pieces=2),
            ValueError,
            ("index", "2 somewhere", "pieces, which is 2"),
        ),
    ],
)
def test_bad_input(call, kind, words):
    x, out = np.ones((3, 4)), np.full((3, 2), 7.0)
    with refused(kind, *words, untouched=(x, out)):
        call(x, out)
