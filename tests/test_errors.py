"""Bad input: the class of the error, what its message names, and that nothing has been written.

Everything is asked of every activation of the table.  An error names the argument, says what came and
what was expected.
"""

import numpy as np
import pytest
from calls import EVERY, public_call, refused
from cases import BY_NAME, GATED, KERNELS, parameter_sets

import fastrelu as fr
from fastrelu.backends import cython

pytestmark = pytest.mark.every_backend

ACTIVATIONS = {}
for _row, _ in KERNELS:
    _family = fr.ACTIVATIONS[_row.family]
    ACTIVATIONS[_row.qualname] = _family.variants[_row.option[1]] if _row.option else _family
WITH_PARAMETERS = [name for name, f in ACTIVATIONS.items() if f.row.parameters]
CONSTRAINED = [
    name for name in WITH_PARAMETERS if any(p.constrained for p in ACTIVATIONS[name].row.parameters)
]
each = pytest.mark.parametrize("name", ACTIVATIONS)
each_with_parameters = pytest.mark.parametrize("name", WITH_PARAMETERS)

NOT_REAL = [
    np.ones(3, np.complex64),
    np.ones(3, complex),
    np.array([1.0, None, 2.0]),
    np.array(["1", "2", "3"]),
    np.array([b"1", b"2", b"3"]),
    np.ones(3, "M8[s]"),
    np.ones(3, "m8[s]"),
    np.zeros(3, [("a", "f4")]),
]


def parameters(f):
    """Keywords for the parameters, with their first typical value."""
    return dict(zip((p.name for p in f.row.parameters), parameter_sets(f.row)[0], strict=True))


# Arguments of the wrong kind


@pytest.mark.parametrize("bad", NOT_REAL, ids=lambda a: a.dtype.name)
@each
def test_only_real_dtypes(name, bad):
    f, x = ACTIVATIONS[name], np.linspace(-1, 1, 3)
    given, out, shown = parameters(f), np.full(3, 7.0), bad.dtype
    with refused(TypeError, f.__qualname__, "'x'", shown, "expected", untouched=[bad, out]):
        f(bad, out=out, **given)
    with refused(TypeError, f.__qualname__, "'x'", shown, untouched=[out]):
        f(bad, **given)
    with refused(TypeError, "'dy'", shown, "expected", untouched=[x, bad, out]):
        f.backward(bad, x, wrt="x", out=out, **given)
    with refused(TypeError, "'x'", shown, "expected", untouched=[x, bad, out]):
        f.backward(x, bad, wrt="x", out=out, **given)
    if f.row.slope_from_y:
        with refused(TypeError, "'y'", shown, "expected", untouched=[x, bad, out]):
            f.backward(x, y=bad, out=out, wrt="x", **given)
    if f.row.knots:
        with refused(TypeError, "'at_zero'", shown, "expected", untouched=[x, bad, out]):
            f.backward(x, x, out=out, wrt="x", at_zero=bad, **given)
    for p in f.row.parameters:
        with refused(TypeError, f"'{p.name}'", shown, "expected", untouched=[x, bad, out]):
            f(x, out=out, **given | {p.name: bad})
        with refused(TypeError, f"'{p.name}'", shown, "expected", untouched=[x, bad, out]):
            f.backward(x, x, out=out, wrt="x", **given | {p.name: bad})


@pytest.mark.parametrize("bad", [1j, None, "1", b"1", object, {}, [1, None], [1j]], ids=repr)
@each
def test_objects_that_are_no_arrays(name, bad):
    f = ACTIVATIONS[name]
    with refused(TypeError, f.__qualname__, "'x'"):
        f(bad, **parameters(f))
    with refused(ValueError if bad is None else TypeError, f.__qualname__, "x"):
        f.backward(np.ones(()), bad, wrt="x", **parameters(f))


# `out`


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@each
def test_out_of_the_wrong_shape_or_read_only(name, dtype):
    f, x = ACTIVATIONS[name], np.linspace(-3, 3, 12).astype(dtype).reshape(3, 4)
    given = parameters(f)
    for shape in ((4, 3), (12,), (3, 1), (1, 4), (3, 5), (0,), ()):
        out = np.full(shape, 7, dtype)
        with refused(ValueError, f.__qualname__, "'out'", shape, (3, 4), untouched=[x, out]):
            f(x, out=out, **given)
        with refused(ValueError, "'out'", shape, (3, 4), untouched=[x, out]):
            f.backward(x, x, out=out, wrt="x", **given)
    out = np.full((3, 4), 7, dtype)
    out.flags.writeable = False
    for array in (x.copy(), x[:, ::-1]):
        with refused(ValueError, f.__qualname__, "'out'", "read-only", untouched=[array, out]):
            f(array, out=out, **given)
        with refused(ValueError, "'out'", "read-only", untouched=[array, out]):
            f.backward(array, array, out=out, wrt="x", **given)
    x.flags.writeable = False
    with refused(ValueError, "'out'", "read-only", untouched=[x]):
        f(x, out=x, **given)


@each
def test_out_that_is_no_array_or_has_another_dtype(name):
    f, x = ACTIVATIONS[name], np.linspace(-3, 3, 4)
    given = parameters(f)
    for bad in ([0.0] * 4, 7.0, "out", bytearray(32)):
        with refused(TypeError, f.__qualname__, "'out'", type(bad).__name__, untouched=[x]):
            f(x, out=bad, **given)
        with refused(TypeError, "'out'", type(bad).__name__, untouched=[x]):
            f.backward(x, x, out=bad, wrt="x", **given)
    for dtype in (np.int64, np.bool_, np.uint8):
        out = np.full(4, 1, dtype)
        with refused(TypeError, "out", out.dtype.name, untouched=[x, out]):
            f(x, out=out, **given)
        with refused(TypeError, "out", out.dtype.name, untouched=[x, out]):
            f.backward(x, x, out=out, wrt="x", **given)
    for outs in ((), (np.empty(4), np.empty(4))):
        with refused(ValueError, "out", untouched=[x, *outs]):
            f(x, out=outs, **given)
        with refused(ValueError, "out", untouched=[x, *outs]):
            f.backward(x, x, out=outs, wrt="x", **given)


def test_several_gradients_are_checked_before_one_is_written():
    x, weight = np.linspace(-3, 3, 12).reshape(3, 4), np.full(4, 0.25)
    good = np.full((3, 4), 7.0)
    for bad, word in ((np.empty(5), (4,)), (np.empty(4, np.int32), "int32"), ([1.0] * 4, "list")):
        with refused((ValueError, TypeError), "'out'", word, untouched=[x, weight, good]):
            fr.prelu.backward(x, x, weight=weight, out=(good, bad))
    with refused(ValueError, "'out'", 1, untouched=[x, good]):
        fr.prelu.backward(x, x, weight=weight, out=(good,))


BOTH = {  # gradients of the same shape, and their names
    "prelu": (lambda x, out: fr.prelu.backward(x, x, weight=x, out=out), "x", "weight"),
    "swiglu": (lambda x, out: fr.swiglu.backward(x, x, x, out=out), "value", "gate"),
    "logaddexp": (lambda x, out: fr.logaddexp.backward(x, x, x, out=out), "a", "b"),
    "bias_act": (
        lambda x, out: fr.bias_act.backward(x, x, x[0], fr.prelu, weight=x[0], out=(None, *out)),
        "bias",
        "weight",
    ),
}


@pytest.mark.parametrize("name", BOTH)
def test_two_gradients_in_one_memory(name):
    """Refused where they overlap; two views of one array that share no element are as good as any."""
    call, *results = BOTH[name]
    x, both = np.linspace(-3, 3, 12).reshape(3, 4), np.full((3, 10), 7.0)
    base = both[0] if name == "bias_act" else both
    for out in ((base[..., :4], base[..., :4]), (base[..., 1:5], base[..., 4:8])):
        with refused(ValueError, "'out'", "same memory", *results, untouched=[x, both]):
            call(x, out)
    apart = base[..., 1:9:2], base[..., 2:10:2]
    expected = call(x, (None, None))[-2:]
    assert [got is out for got, out in zip(call(x, apart)[-2:], apart, strict=True)] == [True, True]
    for got, one in zip(apart, expected, strict=True):
        np.testing.assert_array_equal(got, one)


# Functions of two arrays, and their gradients: by their public calls, as the kernels have them

PAIRS = {  # the names of their arrays
    name: GATED[name][1].inputs if name in GATED else ("dy", "a", "b")[3 - public_call(name)[1] :]
    for name in EVERY
    if name not in BY_NAME
}
each_pair = pytest.mark.parametrize("name", PAIRS)


def of_pair(name):
    """Its call, the function's name as errors have it, the names of its arrays."""
    return public_call(name)[0], name.removesuffix("_value").removesuffix("_gate"), PAIRS[name]


@each_pair
def test_pairs_take_real_arrays_only(name):
    (call, function, names), x = of_pair(name), np.linspace(-1, 1, 3)
    out = np.full(3, 7.0)
    for position, argument in enumerate(names):
        for bad in (*NOT_REAL, 1j, "1", b"1", object, {}, [1, None]):
            given = [bad if i == position else x for i in range(len(names))]
            shown = bad.dtype if isinstance(bad, np.ndarray) else "expected a real"
            with refused(TypeError, function, f"'{argument}'", shown, untouched=[x, out]):
                call(*given, out=out)
            with refused(TypeError, function, f"'{argument}'", shown, untouched=[x]):
                call(*given)


@each_pair
def test_shapes_of_pairs(name):
    (call, function, names), x = of_pair(name), np.linspace(-3, 3, 12).reshape(3, 4)
    good, last = [x] * len(names), names[-1]
    for shape in ((4, 3), (12,), (3, 1), (1, 4), (3, 5), (0,), ()):
        out = np.full(shape, 7.0)
        with refused(ValueError, untouched=[x, out]):
            call(*good, out=out)
        if names[0] == "dy":
            with refused(ValueError, function, "'dy'", shape, (3, 4), untouched=[x, out]):
                call(out, *good[1:])
    with refused(ValueError, function, f"'{last}'", (5, 4), (3, 4), untouched=[x]):
        call(*good[:-1], np.ones((5, 4)))
    if names[0] != "dy":
        with refused(TypeError, function, "nonsense", untouched=[x]):
            call(*good, nonsense=1)


@each_pair
def test_outs_of_pairs(name):
    (call, _, names), x = of_pair(name), np.linspace(-3, 3, 4)
    good = [x] * len(names)
    frozen = np.full(4, 7.0)
    frozen.flags.writeable = False
    with refused(ValueError, "read-only", untouched=[x, frozen]):
        call(*good, out=frozen)
    for bad in ([0.0] * 4, 7.0, "out", bytearray(32)):
        with refused(TypeError, untouched=[x]):
            call(*good, out=bad)
    for dtype in (np.int64, np.bool_, np.uint8):
        out = np.full(4, 1, dtype)
        with refused(TypeError, "out", out.dtype.name, untouched=[x, out]):
            call(*good, out=out)
    for outs in ((), (np.empty(4), np.empty(4))):
        with refused((ValueError, TypeError), "out", untouched=[x, *outs]):
            call(*good, out=outs)


# Names and numbers of arguments


@each
def test_calls_that_do_not_fit_the_signature(name):
    f, x = ACTIVATIONS[name], np.linspace(-3, 3, 4)
    given, out = parameters(f), np.full(4, 7.0)
    with refused(TypeError, f.__qualname__, "'x'"):
        f()
    with refused(TypeError, "'x'"):
        f(x=x, **given)
    with refused(TypeError, f.__qualname__, "'nonsense'", untouched=[x, out]):
        f(x, out=out, nonsense=1, **given)
    with refused(TypeError, f.__qualname__, untouched=[x, out]):
        f(x, *given.values(), *["none"] * bool(f.row.option), out, out, out)
    for name_of_ufunc in ("signature", "axes", "at"):
        with refused(TypeError, f"'{name_of_ufunc}'", untouched=[x, out]):
            f(x, out=out, **{name_of_ufunc: None}, **given)
    with refused(TypeError, "'dy'"):
        f.backward(**given)
    with refused(TypeError, "nonsense", untouched=[x, out]):
        f.backward(x, x, out=out, nonsense=1, **given)
    with refused(TypeError, f.__qualname__, untouched=[x]):
        f.backward(x, x, x, x, x, **given)
    with refused(TypeError, "x", untouched=[x]):
        f.backward(x, x, x=x, **given)


@each_with_parameters
def test_parameters_given_twice_or_not_at_all(name):
    f, x = ACTIVATIONS[name], np.linspace(-3, 3, 4)
    given, out = parameters(f), np.full(4, 7.0)
    first = next(iter(given))
    with refused(TypeError, f.__qualname__, f"'{first}'", "multiple", untouched=[x, out]):
        f(x, given[first], out=out, **{first: given[first]})
    for p in f.row.parameters:
        if p.default is None:
            rest = {k: v for k, v in given.items() if k != p.name}
            with refused(TypeError, f.__qualname__, f"'{p.name}'", "missing", untouched=[x, out]):
                f(x, out=out, **rest)
            with refused(TypeError, f"'{p.name}'", "missing", untouched=[x, out]):
                f.backward(x, x, out=out, wrt="x", **rest)


@each_with_parameters
def test_parameters_that_do_not_broadcast(name):
    f, x = ACTIVATIONS[name], np.linspace(-3, 3, 12).reshape(3, 4)
    given, out = parameters(f), np.full((3, 4), 7.0)
    for p in f.row.parameters:
        bad = np.full((5, 4), given[p.name])
        with refused(ValueError, f.__qualname__, f"'{p.name}'", (5, 4), (3, 4), untouched=[x, bad, out]):
            f(x, out=out, **given | {p.name: bad})
        with refused(ValueError, f"'{p.name}'", (5, 4), (3, 4), untouched=[x, bad, out]):
            f.backward(x, x, out=out, wrt="x", **given | {p.name: bad})
        larger = np.full((2, 3, 4), given[p.name])  # fits x, but not out
        with refused(ValueError, "'out'", (3, 4), (2, 3, 4), untouched=[x, out]):
            f(x, out=out, **given | {p.name: larger})


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", CONSTRAINED)
def test_unusable_parameters(name, dtype):
    """A scalar is an error before anything is written; in an array the lane becomes NaN."""
    f, x = ACTIVATIONS[name], np.array([-2.0, -0.0, 0.0, 3.0, np.inf, -np.inf], dtype)
    given, out = parameters(f), np.full(6, 7, dtype)
    for p in f.row.parameters:
        values = -1.0, -1, 0.0, -1e-30, np.nan, np.inf, -np.inf, 1e-9, 1e6
        with np.errstate(over="ignore"):
            cast = [(v, dtype(v)) for v in values]  # 1e-9 is 0 in a half, and 1e6 infinite
        unusable = [(v, in_dtype) for v, in_dtype in cast if not p.accepts(in_dtype)]
        assert unusable
        for bad, in_dtype in unusable:
            for value in (bad, np.float64(bad), np.float32(bad), np.array(bad)):
                words = f"'{p.name}'", p.requirement
                with refused(ValueError, f.__qualname__, *words, untouched=[x, out]):
                    f(x, out=out, **given | {p.name: value})
                with refused(ValueError, *words, untouched=[x, out]):
                    f(x, **given | {p.name: value})
                with refused(ValueError, *words, untouched=[x, out]):
                    f.backward(x, x, out=out, wrt="x", **given | {p.name: value})
            lanes = np.full(6, given[p.name], dtype)
            lanes[::2] = in_dtype
            for result, good in (
                (f(x, **given | {p.name: lanes}), f(x, **given)),
                (
                    f.backward(x + 1, x, wrt="x", **given | {p.name: lanes}),
                    f.backward(x + 1, x, wrt="x", **given),
                ),
            ):
                assert np.isnan(result[::2]).all()
                np.testing.assert_array_equal(result[1::2], good[1::2])


@pytest.mark.parametrize("name", [n for n, f in ACTIVATIONS.items() if f.variants and not f.row.variant_of])
def test_an_unknown_variant(name):
    f, x, out = ACTIVATIONS[name], np.linspace(-3, 3, 4), np.full(4, 7.0)
    option = f.row.option[0]
    for bad in ("nonsense", "", None, 3, ["tanh"], True):
        words = f"'{option}'", repr(bad), *map(repr, f.variants)
        with refused(ValueError, f.__qualname__, *words, untouched=[x, out]):
            f(x, out=out, **{option: bad})
        with refused(ValueError, *words, untouched=[x, out]):
            f.backward(x, x, out=out, **{option: bad})
    with refused(TypeError, f"'{option}'", "multiple", untouched=[x, out]):
        f(x, "tanh", out=out, **{option: "tanh"})


# A ufunc's keywords: NumPy's own class of error


@pytest.mark.parametrize(
    "keywords",
    [
        {"dtype": "nonsense"},
        {"dtype": complex},
        {"dtype": object},
        {"dtype": int},
        {"casting": "nonsense"},
        {"casting": 3},
        {"order": "Z"},
        {"where": [1.5, 0.5, 0.5, 1.0]},
        {"where": [True, False]},
        {"where": "yes"},
        {"subok": "maybe"},
        {"dtype": np.float16, "casting": "safe"},
        {"dtype": np.float32, "casting": "no"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", [*ACTIVATIONS, *(n for n in PAIRS if "backward" not in n)])
def test_keywords_fail_as_for_numpy(name, keywords):
    x, out = np.linspace(-3, 3, 4), np.full(4, 7.0)
    if name in PAIRS:
        f, given, arrays = public_call(name)[0], {}, (x, x)
    else:
        f, given, arrays = ACTIVATIONS[name], parameters(ACTIVATIONS[name]), (x,)
    try:
        np.exp(x, out=out.copy(), **keywords)
        expected = None
    except Exception as error:
        expected = TypeError if isinstance(error, TypeError) else type(error)
    if expected is None:
        assert f(*arrays, out=out, **keywords, **given) is out
    else:
        with refused(expected, untouched=[x, out]):
            f(*arrays, out=out, **keywords, **given)


# The backward pass


@each
def test_both_of_x_and_y_or_neither(name):
    f, x, out = ACTIVATIONS[name], np.linspace(0, 1, 4), np.full(4, 7.0)
    given = parameters(f)
    with refused(ValueError, f.backward.__qualname__, "both", "x", "y", "expected", untouched=[x, out]):
        f.backward(x, x, y=x, out=out, wrt="x", **given)
    with refused(ValueError, f.backward.__qualname__, "neither", "x", "y", "expected", untouched=[x, out]):
        f.backward(x, out=out, wrt="x", **given)
    if not f.row.slope_from_y:
        with refused(ValueError, "'y'", "x", "expected", untouched=[x, out]):
            f.backward(x, y=x, out=out, wrt="x", **given)
    elif f.row.parameters:
        with refused(ValueError, "'y'", "x", untouched=[x, out]):
            f.backward(x, y=x, out=out, wrt=f.row.parameters[0].name, **given)
    for shape in ((3,), (2, 4)) if f.row.knots else ():
        with refused(ValueError, "'at_zero'", shape, (4,), untouched=[x, out]):
            f.backward(x, x, out=out, wrt="x", at_zero=np.ones(shape), **given)
    needs = f.row.from_y_needs
    for bad in (-0.5, np.array(-0.5), np.array([0.5, -0.5, 0.5, 0.5])) if needs else ():
        with refused(ValueError, "'y'", needs.name, "x", untouched=[x, out]):
            f.backward(x, y=x, out=out, wrt="x", **given | {needs.name: bad})
    if not f.row.knots and "at_zero" not in given:
        with refused(TypeError, "'at_zero'", untouched=[x, out]):
            f.backward(x, x, out=out, at_zero=0.5, **given)
    elif f.row.slope_from_y and f.row.knots:
        with refused(ValueError, "'y'", "x", untouched=[x, out]):
            f.backward(x, y=x, out=out, wrt="x", at_zero=0.5, **given)


@each
def test_an_incoming_gradient_of_another_shape(name):
    f, x = ACTIVATIONS[name], np.linspace(-3, 3, 12).reshape(3, 4)
    given, out = parameters(f), np.full((3, 4), 7.0)
    for shape in ((), (4,), (1, 4), (3, 1), (4, 3), (2, 3, 4), (12,), (0,)):
        dy = np.full(shape, 2.0)
        with refused(ValueError, f.backward.__qualname__, "'dy'", shape, (3, 4), untouched=[x, dy, out]):
            f.backward(dy, x, out=out, wrt="x", **given)
        if f.row.slope_from_y:
            with refused(ValueError, "'dy'", shape, (3, 4), untouched=[x, dy, out]):
                f.backward(dy, y=abs(x) / 4, out=out, wrt="x", **given)


@each
def test_gradients_of_what_there_is_not(name):
    f, x, out = ACTIVATIONS[name], np.linspace(-3, 3, 4), np.full(4, 7.0)
    for bad in ("nonsense", "dy", "", ("x", "nonsense"), ["y"]):
        with refused(ValueError, f.backward.__qualname__, "'wrt'", repr(bad), "'x'", untouched=[x, out]):
            f.backward(x, x, wrt=bad, **parameters(f))
    with refused(ValueError, "'wrt'", "()", untouched=[x, out]):
        f.backward(x, x, wrt=(), **parameters(f))
    for bad in (3, ("x", 3), True):
        with refused((TypeError, ValueError), "'wrt'", repr(bad), untouched=[x, out]):
            f.backward(x, x, wrt=bad, **parameters(f))
    with refused(ValueError, "'wrt'", untouched=[x, out]):
        f.backward(x, x, wrt=("x", "x"), **parameters(f))


def test_channels_that_do_not_fit():
    x, out = np.linspace(-3, 3, 24).reshape(2, 3, 4), np.full((2, 3, 4), 7.0)
    with refused(ValueError, "prelu", "'weight'", (5,), "3", untouched=[x, out]):
        fr.prelu(x, np.full(5, 0.25), out=out)
    with refused(ValueError, "'weight'", (5,), "3 along axis 1", "4 along the last", untouched=[x, out]):
        fr.prelu.backward(x, x, weight=np.full(5, 0.25))
    with refused(ValueError, "'weight'", (5,), "2 along axis 0", untouched=[x, out]):
        fr.prelu.backward(x, x, weight=np.full(5, 0.25), axis=0)
    with refused(ValueError, "'weight'", (5,), "1 value or 24", untouched=[x, out]):
        fr.prelu(x.ravel(), np.full(5, 0.25))
    for axis in (3, -4, 10**9):
        with refused(np.exceptions.AxisError, "prelu", "axis", axis, untouched=[x, out]):
            fr.prelu(x, np.full(3, 0.25), axis=axis, out=out)
    for axis in (1.0, "1", None, True, (1,)):
        with refused(TypeError, "prelu", "'axis'", repr(axis), untouched=[x, out]):
            fr.prelu(x, np.full(3, 0.25), axis=axis, out=out)
        with refused(TypeError, "prelu", "'axis'", repr(axis), untouched=[x, out]):
            fr.prelu.backward(x, x, weight=np.full(3, 0.25), axis=axis)


def test_ufuncs_need_the_kernels():
    if cython.ISA:
        assert all(isinstance(f.ufunc, np.ufunc) for f in ACTIVATIONS.values())
    else:
        for name, f in ACTIVATIONS.items():
            with refused(RuntimeError, name, cython.BACKEND.detail):
                f.ufunc  # noqa: B018
