"""What is particular to users' activations: how they are made, their parameters and derivatives."""

import copy
import doctest
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

import own
from calls import KERNEL_FLOATS, LAYOUTS, agree, refused
from fresh import output

import fastrelu as fr
from fastrelu.backends import cython

needs_kernels = pytest.mark.skipif(not cython.ISA, reason="nothing was compiled: one thread, no ufunc")
ARRAY = np.ones(3)
X = np.random.default_rng(0).normal(0, 3, 1000)


def test_the_object():
    f = own.squashed
    assert isinstance(f, fr.Activation)
    assert f not in fr.ACTIVATIONS.values()
    assert f.function(2.0) == 2.0 / 3.0
    assert f.derivatives["x"] is own.squashed_slope
    assert own.squashed_slope(1.0, 1.0) == 0.25
    assert repr(f) == "<own.squashed>"
    assert repr(f.backward) == "<own.squashed.backward>"
    assert str(inspect.signature(f)).startswith("(x, /, a=1.0, *, out=None, where=True")
    assert "a=1.0" in str(inspect.signature(f.backward))
    assert inspect.getsource(f).startswith("@fr.activation\ndef squashed")
    assert f.__doc__.startswith("x over 1 + a |x|.")
    for part in ("Parameters\n----------", "a : array_like, default 1", "Returns\n-------", "own.py"):
        assert part in f.__doc__
    assert "a : array_like, default 1" in f.backward.__doc__
    assert own.polynomial.__doc__.startswith("The activation that `polynomial` computes.")


@needs_kernels
def test_the_ufunc():
    ufunc = own.squashed.ufunc
    assert isinstance(ufunc, np.ufunc)
    assert (ufunc.nin, ufunc.types) == (2, ["ee->e", "ff->f", "dd->d"])
    agree(ufunc(X, 2.0), own.squashed(X, a=2.0))
    table = ufunc.outer(X[:5], np.array([0.5, 2.0]))
    agree(table, own.squashed(X[:5, None], a=np.array([0.5, 2.0])))


@pytest.mark.parametrize("dtype", KERNEL_FLOATS)
def test_values_are_those_of_the_function(dtype):
    """In the function's own arithmetic, rounded once; a constant is a double."""
    x = X.astype(dtype)
    wide = x.astype(np.float64 if dtype == np.float64 else np.float32)
    product = wide * np.asarray(0.75, wide.dtype) * np.sign(wide)
    expected = (wide / (1.0 + product.astype(np.float64))).astype(wide.dtype).astype(dtype)
    agree(own.squashed(x, 0.75), expected)
    agree(own.cubic(x), (wide * wide * wide).astype(dtype))


def test_without_parameters():
    for layout in LAYOUTS.values():
        agree(own.cubic(layout(X.reshape(10, 100))), (X * X * X).reshape(10, 100))
    out = np.zeros(1000)
    assert own.cubic(X, out) is out
    x = np.broadcast_to(X[:3, None], (3, 200))
    agree(own.cubic(x), x * x * x)
    with refused(TypeError, "cubic", "'a'", "no parameters"):
        own.cubic(X, a=1.0)


def test_many_parameters_some_of_them_arrays():
    rng, names = np.random.default_rng(1), ["c0", "c1", "c2", "c3", "c4", "c5"]
    for count in range(7):
        arrays = dict(zip(names, rng.normal(size=(count, 1000)), strict=False))
        given = dict.fromkeys(names, 0.5) | arrays
        expected = own.polynomial.function(X, **given)
        np.testing.assert_allclose(own.polynomial(X, **given), expected, rtol=1e-12, atol=1e-9)
        agree(own.polynomial(X, **given), own.polynomial(X, *(np.full(1000, v) for v in given.values())))
        dx = own.polynomial.backward(X, X, **given)
        np.testing.assert_allclose(dx, X * own.polynomial.derivatives["x"](X, **given), rtol=1e-10, atol=1e-7)
    with refused(TypeError, "polynomial", "'c1'", "missing"):
        own.polynomial(X, 1.0)


def test_an_operand_that_stays():
    """x may be the one that is broadcast, and dy too."""
    a = np.linspace(0.1, 2.0, 700)
    agree(own.squashed(np.float64(3.0), a=a), own.squashed(np.full(700, 3.0), a=a))
    x = np.broadcast_to(X[:4, None], (4, 700))
    agree(own.squashed(x, a=a), own.squashed(x.copy(), a=a))
    dy = np.broadcast_to(X[4:8, None], (4, 700))
    agree(own.squashed.backward(dy, x, a=a), own.squashed.backward(dy.copy(), x.copy(), a=a))


@needs_kernels
def test_builtin_ones_inside():
    """With their errors, which turn into NaN."""
    agree(own.gated(X, 1.5), X * fr.sigmoid(1.5 * X))
    beta = np.where(np.arange(1000) % 3, 2.0, -1.0)
    expected = np.where(beta > 0, own.SLOPE * fr.softplus(X, beta=2.0), np.nan)
    np.testing.assert_array_equal(own.sharp(X, beta), expected)


def test_gradients():
    a = np.array([[0.5], [2.0]])
    x, dy = X[:20].reshape(2, 10), X[20:40].reshape(2, 10)
    dx, da = own.squashed.backward(dy, x, a=a, wrt=("x", "a"))
    agree(dx, own.squashed.backward(dy, x, a=a))
    np.testing.assert_allclose(dx, dy / (1 + a * abs(x)) ** 2, rtol=1e-14)
    np.testing.assert_allclose(
        da, (dy * -x * abs(x) / (1 + a * abs(x)) ** 2).sum(axis=1, keepdims=True), rtol=1e-13
    )
    total = own.squashed.backward(dy, x, wrt="a")
    np.testing.assert_allclose(total, (dy * -x * abs(x) / (1 + abs(x)) ** 2).sum(), rtol=1e-13)


def test_long_double_is_refused():
    x, out = X[:3].astype(np.longdouble), np.zeros(3)
    for call in (
        lambda: own.squashed(x, out=out),
        lambda: own.squashed(X[:3], a=x, out=out),
        lambda: own.squashed.backward(x, X[:3], out=out),
        lambda: own.squashed.backward(X[:3], x, out=out),
    ):
        with refused(TypeError, "squashed", x.dtype, "float64", untouched=[out]):
            call()


@needs_kernels
def test_threads_streams_and_strides_change_no_bit(thresholds):
    x = np.random.default_rng(3).normal(size=(60, 501)).astype(np.float32)
    a = np.random.default_rng(4).uniform(0.5, 2, 501).astype(np.float32)
    thresholds(1, 2**62, 2**62)
    expected = own.squashed(x), own.squashed(x, a=a), own.soft(x), own.squashed.backward(x, x)
    for threads, streaming in ((2, 2**62), (3, 1 << 12)):
        thresholds(threads, 100, streaming)
        for layout in ("contiguous", "fortran", "strided"):
            made = LAYOUTS[layout](x)
            agree(own.squashed(made), expected[0], f"{threads} {layout}")
            agree(own.squashed(made, a=a), expected[1], f"{threads} {layout}")
            agree(own.soft(made), expected[2], f"{threads} {layout}")
            agree(own.squashed.backward(made, made), expected[3], f"{threads} {layout}")
        in_place = x.copy()
        agree(own.squashed(in_place, out=in_place), expected[0])


@needs_kernels
def test_explain():
    large = np.zeros(1 << 22, np.float32)
    own.squashed(large)
    plan = fr.explain(own.squashed, large)
    assert (plan.backend, plan.path, plan.operation) == ("numba", "fast", "own:squashed")
    assert plan.threads == min(plan.threads, fr.get_num_threads())
    assert "loaded from" in str(plan) or "compiled" in str(plan)
    assert fr.explain(own.squashed.backward, large[::2], large[::2]).path == "grid"


# What is no activation, and no derivative of one


def test_signatures_that_are_none_of_an_activation():
    cases = [
        (lambda: 1.0, "nothing"),
        (lambda x=1.0: 1.0, "'x'"),
        (lambda x, *rest: 1.0, "*rest"),
        (lambda x, **rest: 1.0, "**rest"),
        (lambda x, *, a=1.0: 1.0, "a=1.0"),
        (lambda x, out=1.0: 1.0, "'out'"),
        (lambda x, dy=1.0: 1.0, "'dy'"),
        (lambda x, a="1": 1.0, "a='1'"),
        (lambda x, a=None: 1.0, "a=None"),
        (lambda x, a=True: 1.0, "a=True"),
        (lambda x, a=1j: 1.0, "a=1j"),
        (lambda x, a=ARRAY: 1.0, "a=array"),
        (lambda x, a, b, c, d, e, f, g: 1.0, "at most 6"),
    ]
    for function, words in cases:
        with refused(TypeError, "activation", words, f"{__file__}:{function.__code__.co_firstlineno}"):
            fr.activation(function)
    for odd in (3, None, np.tanh, abs, "f", fr.relu):
        with refused(TypeError, "activation", repr(odd), "function"):
            fr.activation(odd)


def test_a_missing_derivative_says_how_to_add_it():
    f = fr.activation(own.polynomial.function)
    out = np.zeros(3)
    example = "    @polynomial.derivative\n    def _(x, c0, c1, c2, c3, c4, c5):"
    with refused(NotImplementedError, "polynomial.backward", example, untouched=[out]):
        f.backward(X[:3], X[:3], c0=1.0, c1=2.0, out=out)
    with refused(NotImplementedError, '@polynomial.derivative(wrt="c1")', untouched=[out]):
        own.polynomial.backward(X[:3], X[:3], c0=1.0, c1=2.0, wrt=("x", "c1"), out=(out, None))
    with refused(NotImplementedError, "@polynomial.derivative"):
        fr.check_derivative(f)


def test_derivatives_that_do_not_fit():
    f = fr.activation(own.squashed.function)
    for function in (
        lambda x: 1.0,
        lambda x, b: 1.0,
        lambda x, a, b: 1.0,
        lambda x, *a: 1.0,
        lambda x, *, a: 1.0,
        lambda: 1.0,
    ):
        got = f"({', '.join(map(str, inspect.signature(function).parameters.values()))})"
        with refused(TypeError, "squashed.derivative", got, "(x, a)", __file__):
            f.derivative(function)
    with refused(TypeError, "(y, a)"):
        f.derivative(of="y")(lambda y: 1.0)
    with refused(ValueError, "'wrt'", "'b'", "'x' or 'a'"):
        f.derivative(wrt="b")
    with refused(ValueError, "'of'", "'z'", "'x' or 'y'"):
        f.derivative(of="z")
    with refused(ValueError, "'of'", "'y'"):
        f.derivative(wrt="a", of="y")
    with refused(TypeError, "squashed.derivative", "function"):
        f.derivative(3.0)
    assert f.derivatives == {}
    with refused(ValueError, "'y'", "not a function of the output"):
        f.backward(X, y=X)


def test_unknown_parameters_in_a_call_list_the_known_ones():
    out = np.zeros(3)
    for call in (own.polynomial, own.polynomial.backward):
        with refused(TypeError, "polynomial", "'b'", "c0 and c1 and c2", untouched=[out]):
            call(*[X[:3]] * (1 if call is own.polynomial else 2), c0=1.0, c1=1.0, b=2.0, out=out)


def test_a_derivative_may_be_replaced():
    f = fr.activation(own.cubic.function)
    for factor in (3.0, 5.0):
        f.derivative(eval(f"lambda x: {factor} * x * x"))
        for _ in range(2):
            agree(f.backward(np.ones(5), X[:5]), factor * X[:5] * X[:5])


def test_numbas_own_functions_are_taken_for_what_they_wrap():
    f = fr.activation(own.smooth)
    assert f.function is own.smooth.py_func
    np.testing.assert_allclose(f(X), np.log1p(np.exp(-abs(X))), rtol=1e-14)


# Copies


def test_copies():
    for thing in (own.squashed, own.squashed.backward, *([own.squashed.ufunc] if cython.ISA else [])):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(thing, protocol)) is thing
        assert copy.copy(thing) is thing
        assert copy.deepcopy([thing])[0] is thing


def test_pickles_mean_the_same_in_another_process():
    code = "import sys, pickle; f, x = pickle.load(sys.stdin.buffer); print(repr(f), f(x))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps((own.squashed, 3.0)),
        cwd=own.__file__.rpartition("/")[0],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.decode().strip() == "<own.squashed> 0.75"


def test_what_was_made_inside_a_function_does_not_pickle():
    f = fr.activation(lambda x: 2.0 * x)
    for thing in (f, f.backward):
        with refused(pickle.PicklingError, "test_what_was_made_inside", "inside a function"):
            pickle.dumps(thing)
        assert copy.deepcopy(thing) is thing


# check_derivative


def test_right_derivatives_pass():
    for f, gradients in (
        (own.squashed, ["x", "a"]),
        (own.leaky_relu, ["x", "negative_slope", "x, from y"]),
        (own.polynomial, ["x"]),
        (own.soft, ["x"]),
    ):
        check = fr.check_derivative(f)
        assert list(check.errors) == gradients
        assert max(check.errors.values()) < 1e-11
        assert check.points == 400
        for word in (f.__qualname__, "400 points", "d/dx", "off by at most", "expected"):
            assert word in repr(check)
    assert fr.check_derivative(own.polynomial).method == "complex step"
    assert fr.check_derivative(own.squashed).method == "differences"


@pytest.mark.parametrize("name", ["relu", "elu", "gelu", "softplus", "silu", "prelu", "tanh"])
def test_builtin_derivatives_pass(name):
    check = fr.check_derivative(fr.ACTIVATIONS[name])
    assert max(check.errors.values()) < 1e-11


def test_wrong_derivatives_are_shown_where_they_are_worst():
    f = fr.activation(own.squashed.function)
    f.derivative(lambda x, a: 1.0 / (1.0 + a * abs(x)) ** 2 + (1e-3 if x > 5.0 else 0.0))
    assert max(fr.check_derivative(f, [-1.0, 0.0, 0.5, 2.0]).errors.values()) < 1e-14
    with refused(ValueError, "squashed", "x = 7.5", "a = 2", "expected"):
        fr.check_derivative(f, [-1.0, 0.5, 2.0, 7.5], a=2.0)
    f.derivative(lambda x, a: np.nan)
    with refused(ValueError, "nan"):
        fr.check_derivative(f)
    g = fr.activation(own.cubic.function)
    g.derivative(lambda x: 3.0 * x * x * 1.00001)
    with refused(ValueError, "cubic", "complex step"):
        fr.check_derivative(g)


def test_at_a_knot_any_slope_between_those_of_its_sides_will_do():
    points = [-1.0, 0.0, 1.0]
    for at_knot in (0.25, 0.6, 1.0, -0.1, 1.1):
        f = fr.activation(own.leaky_relu.function)
        f.derivative(
            eval(f"lambda x, negative_slope: {at_knot} if x == 0 else 1.0 if x > 0 else negative_slope")
        )
        if 0.25 <= at_knot <= 1:
            fr.check_derivative(f, points, negative_slope=0.25)
        else:
            with refused(ValueError, "x = 0"):
                fr.check_derivative(f, points, negative_slope=0.25)


def test_check_derivative_refuses():
    with refused(TypeError, "check_derivative", "'f'", "Activation"):
        fr.check_derivative(np.tanh)
    with refused(TypeError, "'b'", "squashed", "a"):
        fr.check_derivative(own.squashed, b=1.0)


def test_the_examples_of_the_docs():
    page = Path(__file__).parent.parent / "docs/numba.md"
    results = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted > 10
    assert results.failed == 0


# The command line


def test_commands_take_an_import_path(tmp_path):
    code = f"""
    from fastrelu.cli import main
    few = "--sizes", "1000", "--peers", "numpy", "--seconds", "0.001"
    assert main(["bench", "own:squashed", "own:soft", *few]) == 0
    assert main(["plot", "own:squashed", "--output", {str(tmp_path / "own.svg")!r}]) == 0
    """
    shown = output(code, start="")
    for words in ("own:squashed", "own:soft", "backward", "wrote"):
        assert words in shown
    assert (tmp_path / "own.svg").stat().st_size > 1000


@pytest.mark.parametrize("path", ["nowhere:f", "own:nothing", "own:", ":", "own:math"])
def test_commands_refuse_other_paths(path, capsys):
    from fastrelu.cli import main

    for command in ("bench", "plot"):
        with pytest.raises(SystemExit) as caught:
            main([command, path])
        assert caught.value.code == 2
        assert repr(path) in capsys.readouterr().err
