"""Calling the reductions: every kind of array, out=, errors, names."""

import pickle

import numpy as np
import pytest

import fastrelu as fr

INF = np.inf
FORWARD = [fr.logsumexp, fr.logsumexp0, fr.softmax, fr.log_softmax, fr.softmax0]
NORMALISING = FORWARD[2:]
BACKWARD = [f.backward for f in FORWARD]
by_name = {"ids": lambda f: f.__qualname__}


# Arrays of every kind


@pytest.mark.parametrize("function", FORWARD, **by_name)
def test_scalars_lists_and_halves(function, backend):
    for value in (5, 5.0, np.float32(5), np.array(5.0)):
        got = function(value)
        assert np.ndim(got) == 0
        assert isinstance(got, np.generic)
    assert fr.logsumexp(5.0, keepdims=True).shape == ()
    assert fr.logsumexp(5.0, axis=()) == 5
    half = np.array([1, 2, -INF], np.float16)
    assert function(half).dtype == np.float16
    np.testing.assert_array_equal(function([1.0, 2.0]), function(np.array([1.0, 2.0])))
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    got = function(half.astype(bfloat16))
    assert got.dtype == bfloat16
    np.testing.assert_array_equal(got, function(half.astype(np.float32)).astype(bfloat16))


@pytest.mark.parametrize("function", FORWARD, **by_name)
def test_layouts(function):
    x = np.random.default_rng(6).normal(size=(6, 40))
    expected = function(x, axis=1)
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)  # unaligned
    raw[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    spaced = np.repeat(x, 2, axis=1)[:, ::2]
    for a in (np.asfortranarray(x), x[::-1, ::-1][::-1, ::-1], raw, read_only, spaced, x.astype(">f8")):
        got = function(a, axis=1)
        assert got.dtype == np.float64
        assert got.dtype.isnative
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(function(np.broadcast_to(x[0], (3, 40)), axis=1)[2], expected[0])
    if function in NORMALISING:
        np.testing.assert_array_equal(function(np.asfortranarray(x.T), axis=0).T, expected)
        assert function(x, axis=0).flags.c_contiguous


def test_masked_entries_do_not_count():
    x = np.ma.array([[1.0, 5.0, 2.0], [3.0, 4.0, 5.0]], mask=[[0, 1, 0], [1, 1, 1]])
    got = fr.softmax(x, axis=1)
    np.testing.assert_array_equal(got.mask, x.mask)
    np.testing.assert_array_equal(got.data[0, [0, 2]], fr.softmax([1.0, 2.0]))
    sums = fr.logsumexp(x, axis=1)
    assert sums[0] == fr.logsumexp([1.0, 2.0])
    assert sums[1] is np.ma.masked
    assert fr.logsumexp(x) == fr.logsumexp([1.0, 2.0])


def test_subclasses_come_back():
    class Tagged(np.ndarray):
        pass

    x = np.arange(6.0).reshape(2, 3).view(Tagged)
    for f in FORWARD:
        got = f(x, axis=1)
        assert type(got) is Tagged
        np.testing.assert_array_equal(np.asarray(got), f(np.asarray(x), axis=1))


def test_other_libraries_may_take_over():
    class Foreign:
        def __array_function__(self, function, types, args, kwargs):
            assert Foreign in types
            return function, kwargs

    class Refusing(Foreign):
        def __array_function__(self, function, types, args, kwargs):
            return NotImplemented

    foreign = Foreign()
    assert fr.softmax(foreign, axis=1) == (fr.softmax, {"axis": 1})
    assert fr.logsumexp(np.ones(3), b=foreign)[0] is fr.logsumexp
    assert fr.log_softmax.backward(foreign, y=np.ones(3))[0] is fr.log_softmax.backward
    assert fr.logsumexp.backward(foreign, np.ones(3))[0] is fr.logsumexp.backward
    assert fr.logsumexp(foreign, b=Refusing())[0] is fr.logsumexp
    with pytest.raises(TypeError, match=r"softmax: no implementation was found.*Refusing"):
        fr.softmax(Refusing())


# out=


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, np.int64])
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("function", NORMALISING, **by_name)
def test_out(function, axis, dtype, backend):
    x = np.arange(60).reshape(6, 10).astype(dtype) / dtype(7)
    expected = function(x, axis=axis)
    strided, fortran = np.zeros((6, 20), expected.dtype)[:, ::2], np.zeros_like(expected, order="F")
    for out in (np.zeros_like(expected), strided, fortran):
        assert function(x, axis=axis, out=out) is out
        np.testing.assert_array_equal(out, expected)
    if np.issubdtype(dtype, np.floating):
        wide = np.zeros(x.shape, np.longdouble)
        np.testing.assert_array_equal(function(x, axis=axis, out=wide), expected)
        own = x.copy()
        assert function(own, axis=axis, out=own) is own
        np.testing.assert_array_equal(own, expected)
        buffer = np.zeros(61, x.dtype)
        for start, target in ((0, 1), (1, 0)):
            source, out = (buffer[i : i + 60].reshape(6, 10) for i in (start, target))
            source[...] = x
            np.testing.assert_array_equal(function(source, axis=axis, out=out), expected)


def test_out_of_logsumexp(backend):
    x = np.arange(12.0).reshape(3, 4)
    out, sign = np.zeros(3), np.zeros(3)
    assert fr.logsumexp(x, axis=1, out=out) is out
    np.testing.assert_array_equal(out, fr.logsumexp(x, axis=1))
    got = fr.logsumexp(x, axis=1, b=-1, return_sign=True, out=(out, sign))
    assert got[0] is out
    assert got[1] is sign
    np.testing.assert_array_equal(sign, [-1, -1, -1])
    single = np.zeros((1, 1), np.float32)
    assert fr.logsumexp(x, keepdims=True, out=single) is single
    scalar = np.zeros(())
    assert fr.logsumexp(x, out=scalar) is scalar
    x[0, :3] = fr.logsumexp(x, axis=1, out=x[0, :3])
    np.testing.assert_array_equal(x[0, :3], out)


# Errors

AXIS = np.exceptions.AxisError
ERRORS = [
    (lambda f, x, out: f(x, axis=2), AXIS, "argument 'axis': axis 2 is out of bounds .* dimension 2"),
    (lambda f, x, out: f(x, axis=(0, -3)), AXIS, "argument 'axis': axis -3"),
    (lambda f, x, out: f(5.0, axis=0), AXIS, "argument 'axis'"),
    (lambda f, x, out: f(x, axis=(0, 0)), ValueError, "repeated axis in `.*argument 'axis'"),
    (lambda f, x, out: f(x, axis=(1, -1)), ValueError, "repeated axis"),
    (lambda f, x, out: f(x, axis=1.0), TypeError, r"argument 'axis' is 1\.0; expected None, an integer or"),
    (lambda f, x, out: f(x, axis="rows"), TypeError, "argument 'axis' is 'rows'"),
    (lambda f, x, out: f(x, axis=True), TypeError, "argument 'axis' is True"),
    (lambda f, x, out: f(x.astype(object)), TypeError, "of dtype object; expected a real or complex dtype"),
    (lambda f, x, out: f(["a"]), TypeError, "of dtype <U1"),
    (lambda f, x, out: f(np.zeros(2, "M8[s]")), TypeError, "of dtype datetime64"),
    (lambda f, x, out: f(x, axis=1, out=[0.0]), TypeError, "argument 'out' is a list; expected an ndarray"),
    (
        lambda f, x, out: f(x, axis=1, out=out[..., :1]),
        ValueError,
        r"'out' is of shape .*; expected shape \(2",
    ),
    (lambda f, x, out: f(x, axis=1, out=out.astype(int)), TypeError, "argument 'out' is of dtype int64"),
    (lambda f, x, out: f(x * 1j, axis=1, out=out), TypeError, "argument 'out' is of dtype float64"),
    (lambda f, x, out: f(x, axis=1, out=frozen(out)), ValueError, "argument 'out' is read-only"),
    (lambda f, x, out: f(frozen(x), axis=1, out=frozen(out)), ValueError, "argument 'out' is read-only"),
]


def frozen(a):
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS)
@pytest.mark.parametrize("function", FORWARD, **by_name)
def test_errors(function, call, kind, message):
    x = np.arange(6.0).reshape(2, 3)
    out = np.full_like(function(x, axis=1), 7)
    with pytest.raises(kind, match=message) as caught:
        call(function, x, out)
    assert function.__name__ in str(caught.value)
    assert np.all(out == 7)  # nothing was written


@pytest.mark.parametrize("function", NORMALISING, **by_name)
def test_a_read_only_array_is_not_written_in_place(function):
    x = frozen(np.arange(4.0))
    with pytest.raises(ValueError, match="argument 'out' is read-only"):
        function(x, out=x)
    np.testing.assert_array_equal(x, np.arange(4.0))


def test_errors_of_logsumexp():
    x = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"'b' is of shape \(2,\); expected a shape that broadcasts with"):
        fr.logsumexp(x, b=np.ones(2))
    with pytest.raises(TypeError, match="argument 'out' is for 1 results; expected a pair"):
        fr.logsumexp(x, axis=1, return_sign=True, out=np.zeros(2))
    with pytest.raises(TypeError, match="argument 'out' is for 2 results; expected one array"):
        fr.logsumexp(x, axis=1, out=(np.zeros(2), np.zeros(2)))


# Objects


@pytest.mark.parametrize("function", FORWARD + BACKWARD, **by_name)
def test_pickles_by_name(function):
    assert pickle.loads(pickle.dumps(function)) is function
    assert function.__doc__


def test_names():
    for function in FORWARD:
        assert function.backward.__qualname__ == f"{function.__name__}.backward"
        assert function.backward.__name__ == "backward"
