"""Inside @njit: the gated units, maxout, the stepped sigmoid, and what has no place there."""

import numpy as np
import pytest
from compiled import TypingError, agree, function, numba, on_kernels

import fastrelu as fr

pytestmark = on_kernels


def numbers(*shape, dtype=np.float64):
    return np.random.default_rng(0).normal(0, 3, shape).astype(dtype)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("glu", np.float32), ("reglu", np.float64), ("geglu", np.float32), ("swiglu", np.float64)],
)
def test_gates(name, dtype):
    """Two arrays, numbers, one array along any axis; gradients, in place too: the bits of calls outside."""
    plain = function(
        "f(v, g)", "f(v[0], g)", "f(v[0, 0], g)", "f(v[0, 0], g[0, 0])", "f(v)", "f(v.T, axis=0)",
        "f.backward(dy, v, g)", "f.backward(dy, v, g, wrt='gate')", "f.backward(2.0, v[0, 0], g[0, 0])",
        "f.backward(dy[:, :3], v)", "f.backward(dy[:2], v[::-1], axis=axis)",
        arguments=("dy", "v", "g", "axis"), f=getattr(fr, name),
    )  # fmt: skip
    dy, v, g = numbers(3, 4, 6, dtype=dtype)
    g[0, :3] = np.inf, -np.inf, np.nan
    agree(numba.njit(plain)(dy, v, g, 0), plain(dy, v, g, 0))


def test_gradients_of_gates_into_what_they_are_computed_from():
    def in_place(dy, v, g, whole):
        fr.swiglu(v, g, out=dy)
        fr.swiglu.backward(dy, v, g, out=(v, g))
        return fr.geglu.backward(dy, whole, axis=0, out=whole)

    dy, v, g = numbers(3, 4, 6)
    whole = numbers(8, 6)
    expected = [a.copy() for a in (dy, v, g, whole)]
    in_place(*expected)
    given = [a.copy() for a in (dy, v, g, whole)]
    assert np.shares_memory(numba.njit(in_place)(*given), given[3])
    agree(given, expected)


def test_maxout():
    plain = function(
        "fr.maxout(x, 3)", "fr.maxout(x, pieces, axis=0)", "fr.maxout.with_index(x, 3)",
        "fr.maxout.backward(x[:, :2], x, 3)", "fr.maxout.backward(x[:2, :], x, pieces, axis=0)",
        "fr.maxout.backward(x[:2, :], pieces=2, index=index, axis=0)", "fr.maxout(i, 2)",
        arguments=("x", "pieces", "index", "i"),
    )  # fmt: skip
    x = numbers(4, 6, dtype=np.float32)
    x[1] = 0.0, -0.0, np.nan, 1.0, 1.0, -np.inf
    index = fr.maxout.with_index(x, 2, axis=0)[1]
    agree(numba.njit(plain)(x, 2, index, np.arange(6)), plain(x, 2, index, np.arange(6)))

    def into(x, out):
        return fr.maxout(x, 2, out=out)

    out = np.empty((4, 3))
    assert np.shares_memory(numba.njit(into)(x, out), out)
    agree([out], [fr.maxout(x, 2, out=np.empty((4, 3)))])


def test_stepped_sigmoid():
    """As the numba backend computes it."""
    plain = function(
        "fr.stepped_sigmoid(x)", "fr.stepped_sigmoid(x, 4)", "fr.stepped_sigmoid(x[0], units=None)",
        "fr.stepped_sigmoid.backward(x, x)", "fr.stepped_sigmoid.backward(x, x, units=3)",
        arguments=("x",),
    )  # fmt: skip
    with fr.use_backend("numba"):
        expected = plain(numbers(9))
    for got, other in zip(numba.njit(plain)(numbers(9)), expected, strict=True):
        np.testing.assert_array_max_ulp(got, other, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("fr.glu(x[:3])", "glu: argument 'value' is of shape \\(3,\\); .* halves"),
        ("fr.glu(x, axis=1)", "glu: argument 'axis' is out of bounds"),
        ("fr.glu(x, x[1:])", "glu: argument 'gate'"),
        ("fr.glu.backward(x, x, x[:1])", "glu.backward: argument 'gate' is of shape .* that of value"),
        ("fr.glu.backward(x[1:], x, x)", "glu.backward: argument 'dy'"),
        ("fr.glu.backward(x[:2], x, out=x[:2])", "glu.backward: argument 'out'"),
        ("fr.maxout(x, 3)", "maxout: argument 'x' is of shape .* pieces"),
        ("fr.maxout(x, 0)", "maxout: argument 'pieces' is 0; expected pieces >= 1"),
        ("fr.maxout(x, 2, axis=-2)", "maxout: argument 'axis' is out of bounds"),
        ("fr.maxout(x, 2, out=x)", "maxout: argument 'out'"),
        ("fr.maxout.backward(x, x, 2)", "maxout.backward: argument 'dy'"),
        ("fr.maxout.backward(x, pieces=2, index=np.full(4, 2))", "maxout.backward: argument 'index' has 2;"),
        ("fr.stepped_sigmoid(x, 1.5)", "stepped_sigmoid: argument 'units' is 1.5; expected a whole number"),
        ("fr.stepped_sigmoid.backward(x, x, units=0)", "argument 'units' is 0; expected units >= 1"),
    ],
)
def test_errors_when_running(call, message):
    with pytest.raises(ValueError, match=message):
        numba.njit(function(call, arguments=("x",)))(numbers(4))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("fr.glu(1.0)", ["glu", "'value'", "or a gate"]),
        ("fr.glu(x, x, axis=0)", ["glu", "'axis'", "beside a gate"]),
        ("fr.glu.backward(x, x, 1.0)", ["glu.backward", "'dy'", "nothing is summed"]),
        ("fr.glu.backward(x, x, x, wrt='x')", ["glu.backward", "'wrt'", "'value' or 'gate'"]),
        ("fr.glu.backward(x, x, x, out=x)", ["glu.backward", "'out'", "value and gate"]),
        ("fr.maxout(x, 2.0)", ["maxout", "'pieces'", "an integer"]),
        ("fr.maxout.backward(x, pieces=2)", ["maxout.backward", "'x'", "missing"]),
        ("fr.stepped_sigmoid.backward(x, x, wrt='units')", ["'wrt'", "units are counted"]),
        ("fr.bias_act(x, x, fr.gelu)", ["bias_act cannot be called inside @njit", "gelu(x + bias)"]),
        ("fr.relu.with_mask(x)", ["relu.with_mask cannot be called inside @njit", "x > 0"]),
        ("fr.set_num_threads(2)", ["set_num_threads cannot be called inside @njit"]),
    ],
)
def test_errors_when_compiling(call, words):
    with pytest.raises(TypingError) as caught:
        numba.njit(function(call, arguments=("x",)))(numbers(4))
    for word in words:
        assert word in str(caught.value)


def test_everything_exported_is_known_inside():
    """Callable, or refused in words of its own: nothing is an attribute that Numba has not heard of."""
    context = numba.core.registry.cpu_target.typing_context
    context.refresh()
    for name in fr.__all__:
        if callable(getattr(fr, name)):
            assert context.resolve_value_type(getattr(fr, name)) is not None, name
