"""A ufunc's keywords, casts, scalars and lists: what NumPy does, with the bits of the plain call."""

import numpy as np
import pytest
from calls import (
    LAYOUTS,
    SHAPE,
    agree,
    arrays,
    each_dtype,
    each_elementwise_forward,
    each_forward,
    each_kernel,
    public,
    same_or_next,
)
from cases import ALL, BY_NAME, function, parameter_sets

import fastrelu as fr

pytestmark = pytest.mark.every_isa


@each_dtype
@each_elementwise_forward
def test_where(name, dtype):
    row, kernel = ALL[name]
    inputs = arrays(name, dtype)
    for call in (function(kernel), public(row, kernel)):
        expected = call(*inputs)
        for mask in (np.random.default_rng(4).random(SHAPE) < 0.5, np.arange(37) % 3 == 0, False, True):
            out = np.full(SHAPE, 7, dtype)
            assert call(*inputs, out=out, where=mask) is out
            agree(out, np.where(mask, expected, dtype(7)))


@each_elementwise_forward
def test_dtype_and_casting(name):
    row, kernel = ALL[name]
    inputs = arrays(name, np.float32)
    for call in (function(kernel), public(row, kernel)):
        agree(call(*inputs, dtype=np.float64), call(*(a.astype(np.float64) for a in inputs)))
        agree(call(*inputs, dtype="f4"), call(*inputs))
        with np.errstate(all="ignore"):
            halves = [a.astype(np.float16) for a in inputs]
            agree(call(*inputs, dtype=np.float16), call(*halves))
            out = np.empty(SHAPE, np.float16)
            call(*inputs, out=out)
            agree(out, call(*inputs).astype(np.float16))
        wide = np.empty(SHAPE, np.float64)
        agree(call(*inputs, out=wide), call(*inputs).astype(np.float64))
        with pytest.raises(TypeError):
            call(*inputs, dtype=np.float16, casting="safe")
        with pytest.raises(TypeError):
            call(*inputs, out=np.empty(SHAPE, np.int32))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64, np.float16, np.float32, np.float64])
@each_forward
def test_out_of_every_dtype(name, dtype):
    """As NumPy: computed in the dtype that the inputs ask for, rounded there, then cast."""
    row, kernel = BY_NAME[name]
    x = np.random.default_rng(8).normal(0, 3, SHAPE).astype(dtype)
    for parameters in parameter_sets(row):
        for call in (function(kernel), public(row, kernel)):
            # a Python float makes a small integer a double for a ufunc, not for the public object
            given = [np.asarray(p, np.exp(x).dtype) for p in parameters]
            with np.errstate(all="ignore"):
                expected = call(x, *given)
                for wanted in (np.float16, np.float32, np.float64, np.longdouble):
                    for layout in ("contiguous", "strided", "unaligned", "byte-swapped"):
                        out = LAYOUTS[layout](np.zeros(SHAPE, wanted))
                        assert call(LAYOUTS[layout](x), *given, out=out) is out
                        agree(out.astype(wanted), expected.astype(wanted), f"{wanted.__name__} {layout}")
        out = np.zeros(SHAPE, np.float64)
        public(row, kernel)(x, *parameters, out=out)
        agree(out, public(row, kernel)(x, *parameters).astype(np.float64), "numbers")


@each_forward
def test_order_and_subclasses(name):
    class Own(np.ndarray):
        pass

    row, kernel = BY_NAME[name]
    inputs = arrays(name, np.float32)
    for call in (function(kernel), public(row, kernel)):
        for layout in ("contiguous", "fortran", "strided"):
            given = [LAYOUTS[layout](a) for a in inputs]
            for order in "KACF":
                got, model = call(*given, order=order), np.positive(given[0], order=order)
                assert got.flags.f_contiguous == model.flags.f_contiguous
                assert got.flags.c_contiguous == model.flags.c_contiguous
        own = [a.view(Own) for a in inputs]
        assert type(call(*own)) is Own
        assert type(call(*own, subok=False)) is np.ndarray
        agree(call(*own), call(*inputs))


@each_forward
def test_scalars_and_lists(name):
    row, kernel = BY_NAME[name]
    call = public(row, kernel)
    parameters = parameter_sets(row)[0]
    assert type(call(1.5, *parameters)) is np.float64
    assert type(call(np.float32(1.5), *parameters)) is np.float32
    agree(
        call([[1.5, -2.0], [0.0, 3.0]], *parameters), call(np.array([[1.5, -2.0], [0.0, 3.0]]), *parameters)
    )
    agree(call([], *parameters), np.empty(0))
    x = np.linspace(-3, 3, 11, dtype=np.float32)
    assert call(x, *parameters).dtype == np.float32
    assert call(x, *map(np.float64, parameters)).dtype == np.float32
    wide = [np.full(11, p) for p in parameters]
    agree(call(x, *wide), call(x, *(p.astype(np.float32) for p in wide)))


@pytest.mark.parametrize("dtype", "?bBhHiIlLqQ")
@each_forward
def test_integers_and_bools(name, dtype):
    """They promote as np.exp promotes them, except where the table says that they stay."""
    row, kernel = BY_NAME[name]
    call = public(row, kernel)
    x = np.array([0, 1, 0, 1, 1] if dtype == "?" else [0, 1, 2, 100, 3]).astype(dtype)
    if np.dtype(dtype).kind == "i":
        x = np.concatenate([x, -x])
    as_float = x.astype(np.exp(x[:1]).dtype)
    for parameters in parameter_sets(row):
        expected = call(as_float, *parameters)
        if row.keeps_integers:
            expected = expected.astype(dtype)
        for layout in ("contiguous", "strided", "byte-swapped", "unaligned"):
            agree(call(LAYOUTS[layout](x), *parameters), expected, layout)
        agree(call(x[1], *parameters), expected[1], "scalar")
        agree(call(x[1].reshape(()), *parameters), expected[1], "0-d")
        agree(call(list(map(int, x)), *parameters), call(x.astype(int), *parameters), "list")


@each_kernel
def test_bfloat16(name):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    row, kernel = BY_NAME[name]
    call = public(row, kernel)
    wide = arrays(name, np.float32)
    with np.errstate(all="ignore"), fr.accuracy("fast"):
        inputs = [a.astype(bfloat16) for a in wide]
        widened = call(*(a.astype(np.float32) for a in inputs)).astype(bfloat16)
        expected = call(*inputs)
        got = [call(*map(LAYOUTS[k], inputs)) for k in ("strided", "fortran", "negative")]
        out = np.zeros(SHAPE, bfloat16)
        got.append(call(*inputs, out=out))
    assert got[-1] is out
    # of a slope that is 0 in float only double lanes make much if dy is infinite, else a 0 with a sign;
    # of an infinite y, which f never is, forms say one thing or another
    judged = {"forward": 0, "backward_from_y": len(inputs)}.get(kernel.pass_, 1)
    asked = np.full(SHAPE, True) if judged == 0 else (expected != 0) | (widened != 0)
    for a in inputs[:judged]:
        asked &= np.isfinite(a.astype(np.float32))
    assert same_or_next(expected[asked], widened[asked])
    for one in got:
        assert one.dtype == bfloat16
        agree(one.astype(np.float32), expected.astype(np.float32))


@each_forward
def test_results_are_fresh_and_inputs_untouched(name):
    row, kernel = BY_NAME[name]
    inputs = arrays(name, np.float32)
    before = [a.tobytes() for a in inputs]
    for call in (function(kernel), public(row, kernel)):
        result = call(*inputs)
        assert not any(np.shares_memory(result, a) for a in inputs)
        assert result.flags.owndata
        assert result.flags.writeable
    assert [a.tobytes() for a in inputs] == before


def test_every_public_name_is_a_row():
    assert {row.family for row, _ in BY_NAME.values()} <= set(fr.ACTIVATIONS)
    assert fr.expit is fr.sigmoid


def test_dtype_asks_more_of_small_integers():
    x = np.arange(-3, 4, dtype=np.int16)
    got = fr.gelu(x, dtype=np.float64)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, fr.gelu(x.astype(np.float64)))
