"""fastrelu inside @njit: every pass of the table, on numbers and arrays, gives the bits of a call outside."""

import numpy as np
import pytest
from calls import arrays
from cases import AT_ZERO, same_bits, specials
from compiled import TypingError, agree, function, numba, on_kernels

import fastrelu as fr
from fastrelu.table import ROWS

pytestmark = on_kernels
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def passes(row):
    """An expression for each pass of a row."""
    f, given = (
        f"fr.{row.qualname}",
        "".join(f", {p.name}={a}" for p, a in zip(row.parameters, "ab", strict=False)),
    )
    alone = ", wrt='x'" if any(p.learned for p in row.parameters) else ""
    known = {
        "forward": f"{f}(x{given})",
        "backward": f"{f}.backward(dy, x{given}{alone})",
        "backward_from_y": f"{f}.backward(dy, y=y{given}{alone})",
        "backward_at_zero": f"{f}.backward(dy, x{given}, at_zero=at_zero{alone})",
    }
    for pass_ in row.kernels():
        parameter = pass_.removeprefix("backward_wrt_")
        yield known.get(pass_) or f"{f}.backward(dy, x{given}, wrt={parameter!r})"


def inputs(row, dtype, shape):
    """dy, x, y, the first parameter, the value at the knot, no out, the second parameter."""
    dy, x = arrays(f"{row.qualname}.backward", dtype, shape)[:2]
    parameters = [dtype(p.typical[-1]) for p in row.parameters]
    y = fr.ACTIVATIONS[row.family](x, *parameters)
    a, b = [*parameters, dtype(0), dtype(0)][:2]
    return dy, x, y, a, dtype(AT_ZERO), None, b


# Every row of the table


@both_dtypes
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.qualname)
def test_every_pass(row, dtype):
    """Over arrays, and over numbers one by one."""
    plain = function(*passes(row))
    compiled = numba.njit(plain)
    dy, x, y, *rest = inputs(row, dtype, (7, 37))
    agree(compiled(dy, x, y, *rest), plain(dy, x, y, *rest))
    values = specials(dtype)
    for dy, x in zip(values, np.roll(values, 3), strict=True):
        y = plain(dy, x, x, *rest)[0] if row.slope_from_y else x
        agree(compiled(dy, x, y, *rest), plain(dy, x, y, *rest))


# Layouts, types, ways to write a call

LAYOUTS = {
    "fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],
    "negative": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "broadcast, read-only": lambda a: np.broadcast_to(a, (2, *a.shape)),
    "one axis": np.ravel,
    "empty": lambda a: a[:0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    plain = function(
        "fr.gelu(x)", "fr.gelu.backward(dy, x)", "fr.leaky_relu(x, a)", "fr.elu.backward(dy, y=y)"
    )
    dy, x = (LAYOUTS[layout](a) for a in arrays("gelu.backward", np.float32, (6, 9)))
    given = dy, x, fr.elu(x), np.float32(0.2), 0.0, None, None
    agree(numba.njit(plain)(*given), plain(*given))


def test_out_in_place_and_overlapping():
    """As if nothing overlapped."""
    forward, backward = function("fr.gelu(x, out=out)"), function("fr.elu.backward(dy, x, out=out)")
    compiled_forward, compiled_backward = numba.njit(forward), numba.njit(backward)
    dy, x = (a.ravel() for a in arrays("gelu.backward", np.float64))
    y, dx = fr.gelu(x), fr.elu.backward(dy, x)
    for shift in (0, 1, -1):
        memory = np.zeros(x.size + 2)
        given, out = memory[1:-1], memory[1 + shift : x.size + 1 + shift]
        given[...] = x
        assert compiled_forward(None, given, None, None, None, out, None)[0] is not None
        assert same_bits(out, y)
        given[...] = x
        compiled_backward(dy, given, None, None, None, out, None)
        assert same_bits(out, dx)
    narrow = np.empty(x.size, np.float32)
    compiled_forward(None, np.clip(x, -9, 9), None, None, None, narrow, None)
    assert same_bits(narrow, fr.gelu(np.clip(x, -9, 9)).astype(np.float32))


def test_numbers_of_other_types():
    """Integers become floats, the small ones float32: Numba has no float16 on the CPU."""
    plain = function("fr.gelu(x)", "fr.relu(x)", "fr.softplus(x, a)")
    compiled = numba.njit(plain)
    for dtype in (np.int32, np.int64, np.uint16):
        x = np.arange(7).astype(dtype)
        given = None, x, None, 2, None, None, None
        agree(compiled(*given), plain(*given))
        agree(
            compiled(*(None, x[3], None, 2, None, None, None)), plain(None, x[3], None, 2, None, None, None)
        )
    small = compiled(None, np.arange(-3, 4).astype(np.int8), None, 2, None, None, None)
    assert [a.dtype for a in small] == [np.float32, np.int8, np.float32]
    assert same_bits(small[0], fr.gelu(np.arange(-3, 4).astype(np.float32)))


def test_ways_to_write_it():
    """Keywords, positions, variants, names imported from the package and under SciPy's names."""
    gelu, backward, expit = fr.gelu, fr.gelu.backward, fr.expit

    def calls(x):
        return (
            gelu(x),
            backward(x, x),
            expit(x),
            fr.gelu(x, "tanh"),
            fr.gelu(x, approximate="tanh"),
            fr.gelu.tanh.backward(x, x),
            fr.gelu.backward(x, x, approximate="tanh"),
            fr.leaky_relu(x, negative_slope=0.2),
            fr.leaky_relu(x, 0.2),
            fr.leaky_relu(x),
            fr.relu(x, x.copy()),
            fr.log_expit(x),
            fr.logit(x, eps=None),
            fr.threshold(x, 0.5, value=2),
        )

    x = np.linspace(-3, 3, 11)
    agree(numba.njit(calls)(x), calls(x))


def test_parameters_that_are_arrays():
    plain = function("fr.leaky_relu(x, a)", "fr.elu(x, a)", "fr.softplus(x, a)", arguments=("x", "a"))
    compiled = numba.njit(plain)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    for a in (np.array([0.1, -2, 0.3, 0.4, 5]), np.ones((4, 1), np.float32), np.ones((3, 4, 5))):
        agree(compiled(x, a), plain(x, a))


@pytest.mark.parametrize("shape", [(5,), (6, 5), (2, 5, 3), (2, 3, 4, 5)])
def test_channels(shape):
    """One learned slope a channel, along any axis; its gradient is summed as outside."""
    plain = function(
        "fr.prelu(x, a, axis=axis)",
        "fr.prelu.backward(dy, x, weight=a, axis=axis)",
        "fr.prelu.backward(dy, x, weight=a, axis=axis, wrt='weight')",
        arguments=("dy", "x", "a", "axis"),
    )
    compiled = numba.njit(plain)
    dy, x = np.random.default_rng(0).normal(size=(2, *shape))
    for axis in {0, -1, min(1, x.ndim - 1)}:
        a = np.linspace(0.1, 0.9, x.shape[axis])
        agree(compiled(dy, x, a, axis), plain(dy, x, a, axis))
    agree(compiled(dy, x, a[:1], 0), plain(dy, x, a[:1], 0))


# Reductions


@pytest.mark.parametrize(
    ("layout", "dtype"), [("contiguous", np.float32), ("fortran", np.float64), ("strided", np.float32)]
)
def test_reductions(layout, dtype):
    lay_out = {"contiguous": np.ascontiguousarray, **LAYOUTS}[layout]
    x, dy = (lay_out(a.astype(dtype)) for a in np.random.default_rng(0).normal(0, 3, (2, 9, 70)))
    x[3] = -np.inf
    x[4, 5] = np.inf
    plain = function(
        "fr.logsumexp(x)",
        "fr.softmax(x)",
        "fr.log_softmax(x)",
        "fr.softmax.backward(dy, y=y)",
        "fr.logsumexp.backward(a, x)",
        "fr.logsumexp0(x, 1)",
        "fr.softmax0(x, axis=0)",
        "fr.logaddexp(x, dy)",
        "fr.logaddexp.backward(dy, x, y)",
    )
    along = function(
        "fr.logsumexp(x, a)",
        "fr.logsumexp(x, axis=a, keepdims=True)",
        "fr.softmax(x, a)",
        "fr.log_softmax(x, axis=a)",
        "fr.softmax.backward(dy, x, axis=a)",
        "fr.softmax.backward(dy, y=y, axis=a)",
        "fr.log_softmax.backward(dy, y=y, axis=a)",
        "fr.logsumexp.backward(fr.logsumexp(dy, a), x, a)",
        "fr.logsumexp.backward(fr.logsumexp(dy, a, keepdims=True), x, a, keepdims=True)",
    )
    given = dy, x, fr.softmax(x), dtype(0.5), None, None, None
    agree(numba.njit(plain)(*given), plain(*given))
    compiled = numba.njit(along)
    for axis in (0, 1, -1):
        given = dy, x, fr.softmax(x, axis), axis, None, None, None
        agree(compiled(*given), along(*given))


def test_reductions_of_other_shapes():
    plain = function("fr.logsumexp(x, 0)", "fr.softmax(x, 0)", "fr.logsumexp0(x)", arguments=("x",))
    compiled = numba.njit(plain)
    for x in (np.zeros(0), np.zeros((0, 3)), np.ones((2, 3, 4)), np.arange(5), np.ones((3, 0), np.float32)):
        agree(compiled(x), plain(x))


def test_reductions_into_out():
    def calls(x, out, rows):
        fr.logsumexp(x, 0, out=rows)
        y = fr.softmax(x, 1).copy()
        fr.softmax(x, out=out)
        return fr.softmax(x, 1, out=x), y

    x = np.random.default_rng(0).normal(size=(5, 8))
    expected = fr.softmax(x), fr.logsumexp(x, 0)
    out, rows = np.asfortranarray(x), np.empty((2, 8))[1]
    made, y = numba.njit(calls)(x, out, rows)
    assert np.shares_memory(made, x)
    assert same_bits(made, y)
    assert same_bits(np.ascontiguousarray(out), expected[0])
    assert same_bits(rows, expected[1])


@both_dtypes
def test_cross_entropy(dtype):
    def calls(x, labels, rows, out):
        return (
            fr.cross_entropy(x, labels),
            fr.cross_entropy(x, labels, reduction="sum", ignore_index=3),
            fr.cross_entropy(x, labels, reduction="none"),
            fr.cross_entropy.value_and_grad(x, labels),
            fr.cross_entropy.value_and_grad(x, labels, reduction="none", ignore_index=3),
            fr.cross_entropy.backward(0.5, x, labels),
            fr.cross_entropy.backward(rows, x, labels, reduction="none"),
            fr.cross_entropy(x.T, labels, axis=0),
            fr.cross_entropy.backward(2.0, x.T, labels, axis=0),
            fr.cross_entropy.value_and_grad(x, labels, out=out),
        )

    rng = np.random.default_rng(0)
    x, labels = rng.normal(0, 5, (9, 10)).astype(dtype), rng.integers(0, 10, 18)[::2]
    rows = rng.normal(size=9).astype(dtype)
    agree(numba.njit(calls)(x, labels, rows, x.copy()), calls(x, labels, rows, x.copy()))
    with pytest.raises(ValueError, match=r"cross_entropy: argument 'labels' has 1\d, which is neither"):
        numba.njit(function("fr.cross_entropy(x, y)", arguments=("x", "y")))(x, labels + 10)


# Errors


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("fr.gelu('text')", ["gelu", "'x'", "unicode"]),
        ("fr.gelu(1j)", ["gelu", "'x'", "complex128"]),
        ("fr.gelu(x.astype(np.float16))", ["gelu", "'x'", "float16"]),
        ("fr.gelu(x, alpha=1.0)", ["alpha"]),
        ("fr.gelu(x, approximate='erf')", ["gelu", "'approximate'", "'erf'", "'none' or 'tanh'"]),
        ("fr.gelu(x, 0.5)", ["gelu", "'approximate'", "'none' or 'tanh'"]),
        ("fr.elu(x, 'a')", ["elu", "'alpha'", "unicode"]),
        ("fr.prelu(x)", ["weight"]),
        ("fr.prelu.backward(x, x)", ["prelu.backward", "'weight'", "missing"]),
        ("fr.gelu(x, out=1.0)", ["gelu", "'out'", "an array"]),
        ("fr.gelu(x, out=np.zeros(3, np.int64))", ["gelu", "'out'", "int64", "float32 or float64"]),
        ("fr.gelu(np.zeros((2, 3)), out=x)", ["gelu", "'out'", "1 axes", "2"]),
        ("fr.gelu.backward(1.0, x)", ["gelu.backward", "'dy'"]),
        ("fr.gelu.backward(x, y=x)", ["gelu.backward", "'y'", "not a function of the output"]),
        ("fr.elu.backward(x)", ["elu.backward", "'x'", "missing"]),
        ("fr.elu.backward(x, x, y=x)", ["elu.backward", "'x'", "beside y"]),
        ("fr.elu.backward(x, x, wrt='beta')", ["elu.backward", "'wrt'", "'beta'", "'x', 'alpha'"]),
        ("fr.softmax(x, 'a')", ["softmax", "'axis'"]),
        ("fr.logsumexp(1.0)", ["logsumexp", "'a'", "an array"]),
        ("fr.softmax.backward(x)", ["softmax.backward", "'x'", "missing"]),
        ("fr.cross_entropy(x, 'a')", ["cross_entropy", "'labels'", "integers with 0 axes", "floats with 1"]),
        ("fr.cross_entropy(x, x, ignore_index=0)", ["cross_entropy", "'ignore_index'", "probabilities"]),
        ("fr.cross_entropy(x, 1, weight=0.5)", ["cross_entropy", "'weight'", "for each class"]),
    ],
)
def test_errors_when_compiling(call, words):
    with pytest.raises(TypingError) as caught:
        numba.njit(function(call, arguments=("x",)))(np.zeros(3))
    for word in words:
        assert word in str(caught.value)


def test_a_read_only_out():
    out = np.zeros(3)
    out.flags.writeable = False
    with pytest.raises(TypingError, match="gelu: argument 'out' is read-only"):
        numba.njit(function("fr.gelu(x, out=out)"))(None, np.zeros(3), None, None, None, out, None)


@pytest.mark.parametrize(
    ("call", "x", "out", "message"),
    [
        ("fr.elu(x, out[0])", 1.0, -1.0, "elu: argument 'alpha' .* expected alpha >= 0"),
        ("fr.elu(x, out[0])", np.zeros(3), np.nan, "elu: argument 'alpha' .* expected alpha >= 0"),
        ("fr.softplus(x, out[0])", np.float32(1), 1e-60, "softplus: argument 'beta' .* beta > 0 and finite"),
        ("fr.silu.backward(x, x, beta=out[0])", 1.0, np.inf, "silu.backward: argument 'beta'"),
        (
            "fr.leaky_relu.backward(x, y=x, negative_slope=out[0])",
            1.0,
            -1.0,
            "'negative_slope' .* expected x",
        ),
        ("fr.hardtanh(x, 0.0, out[0])", 1.0, -1.0, "hardtanh: argument 'max_val' .* max_val >= min_val"),
        ("fr.logit(x, out[0])", 0.5, 0.75, "logit: argument 'eps' .* eps <= 0.5"),
        ("fr.gelu(x, out=out)", np.zeros(3), [1.0] * 2, "gelu: argument 'out'"),
        ("fr.gelu.backward(out, x)", np.zeros(3), [1.0] * 2, "gelu.backward: argument 'dy'"),
        ("fr.leaky_relu(x, out)", np.zeros(3), [1.0] * 2, "leaky_relu: argument 'negative_slope'"),
        ("fr.prelu(x, out)", np.zeros((3, 4)), [1.0] * 2, "prelu: argument 'weight'"),
        ("fr.prelu.backward(out, x, weight=0.5)", np.zeros(3), [1.0] * 2, "prelu.backward: argument 'dy'"),
        ("fr.softmax(x, 2)", np.zeros((3, 4)), 0.0, "softmax: argument 'axis' is out of bounds"),
        ("fr.softmax(x, out=out)", np.zeros(3), [1.0] * 2, "softmax: argument 'out'"),
        ("fr.softmax.backward(out, y=x)", np.zeros(3), [1.0] * 2, "softmax.backward: argument 'dy'"),
    ],
)
def test_errors_when_running(call, x, out, message):
    out = np.array(out, float, ndmin=1)
    before = out.tobytes()
    with pytest.raises(ValueError, match=message):
        numba.njit(function(call, arguments=("x", "out")))(x, out)
    assert out.tobytes() == before
