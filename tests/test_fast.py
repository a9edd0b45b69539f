"""Accuracy "fast": at most 4 ULP, with tails, zeros, infinities and NaN right; every way to choose it.

The sample is `test_ulp.py`'s; `python -m tests.ulp --accuracy fast --exhaustive` looks at all of float32.
"""

import asyncio
import concurrent.futures
import threading

import numpy as np
import pytest
from calls import public
from cases import (
    BY_NAME,
    FAST_ULP,
    SWEPT,
    budget,
    function,
    in_domain,
    neighbours,
    operands,
    parameter_sets,
    same_bits,
    sample,
    special_places,
    specials,
    truth,
    unit_floor,
)
from test_isa import output
from ulp import distances

import fastrelu as fr
from fastrelu.backends import cython

pytestmark = [pytest.mark.every_isa, pytest.mark.usefixtures("kernels_only")]


def has_faster_formula(name, dtype=np.float32):
    kernel = SWEPT[name][1]
    return cython.ISA and cython.ufuncs.has_faster_formula(cython.KERNEL_INDEX[kernel.name], dtype)


FASTER = [name for name in BY_NAME if has_faster_formula(name)]
BACKWARD = [name for name in FASTER if BY_NAME[name][1].inputs[0] == "dy"]
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: np.dtype(d).name)
GATED = [name for name in SWEPT.keys() - BY_NAME.keys() if has_faster_formula(name)]
each_kernel = pytest.mark.parametrize("name", [*FASTER, *sorted(GATED)])


def check(row, kernel, x, parameters, dy=1.0, limit=FAST_ULP):
    """Products dy f' in the normal range only: others are rounded again."""
    x = x[in_domain(row, kernel, x, parameters)]
    inputs = operands(row, kernel, x, parameters, dy=dy)
    true = truth(kernel, inputs)
    with fr.accuracy("fast"):
        assert budget(row, kernel, x.dtype) == FAST_ULP
        floor = unit_floor(row, kernel, x, parameters) * abs(dy)
        wrong = distances(function(kernel)(*inputs), true, floor)
    wrong = wrong[(dy == 1) | (abs(true) >= 2 * np.finfo(x.dtype).tiny)]
    if wrong.size:
        worst = int(np.argmax(wrong))
        assert wrong[worst] <= limit, f"{kernel.name}{parameters}: {wrong[worst]:.3f} ULP"


@each_dtype
@each_kernel
def test_within_four_units(name, dtype):
    row, kernel = SWEPT[name]
    for parameters in parameter_sets(row):
        check(row, kernel, sample(row, dtype, ordinary=5000), parameters)


@each_dtype
@pytest.mark.parametrize("name", BACKWARD)
def test_products_with_the_incoming_gradient(name, dtype):
    """The error of f' carried over, and one rounding."""
    row, kernel = BY_NAME[name]
    for parameters in parameter_sets(row):
        check(row, kernel, sample(row, dtype), parameters, dy=-1.5, limit=1.5 * FAST_ULP + 0.5)


@pytest.mark.parametrize("value", [1e-30, 1e-5, 0.1, 3.0, 1e5, 1e30])
@each_dtype
@pytest.mark.parametrize("name", [n for n in FASTER if any(p.constrained for p in BY_NAME[n][0].parameters)])
def test_any_usable_parameter(name, dtype, value):
    row, kernel = BY_NAME[name]
    places = np.concatenate([special_places(row, (1.0,)), [-80.5, -1e-3, 1.5]])
    places = np.concatenate([places, places / value])
    places = places[abs(places) < np.finfo(dtype).max]
    x = np.concatenate([neighbours(places, dtype, 8), specials(dtype)])
    check(row, kernel, x, (dtype(value),))


def test_most_transcendental_rows_have_a_faster_formula():
    """Or the tests above would look at nothing; which they are is a matter of the instruction set."""
    least = {"elu", "elu.backward", "selu", "selu.backward", "sigmoid", "softplus.backward_from_y"}
    assert least <= set(FASTER)
    assert not any(has_faster_formula(name) for name in ("relu", "gelu", "softplus.backward_wrt_beta"))


# How it is chosen

X = np.random.default_rng(0).normal(0, 3, 20_000).astype(np.float32)


def high_and_fast():
    """What sigmoid gives at both accuracies; they differ."""
    with fr.accuracy("high"):
        high = fr.sigmoid(X)
    with fr.accuracy("fast"):
        fast = fr.sigmoid(X)
    assert not same_bits(high, fast)
    return high, fast


def every_way(x):
    """The same call by the fast path, the grid, the ufunc, the general path, and number by number."""
    yield fr.sigmoid(x)
    yield fr.sigmoid(x, out=np.empty_like(x))
    yield fr.sigmoid(np.repeat(x, 2)[::2])
    yield fr.sigmoid.ufunc(x)
    yield fr.sigmoid(x, where=np.ones(x.shape, bool), out=np.zeros_like(x))
    yield fr.sigmoid(x.astype(">f4"))
    yield np.array([fr.sigmoid(v) for v in x[:100]] + [*fr.sigmoid(x[100:])])
    yield np.asarray(fr.sigmoid(x.view(np.recarray)))


@pytest.mark.parametrize("name", [n for n in FASTER if BY_NAME[n][1].pass_ != "backward_wrt_alpha"])
def test_every_kernel_is_reached_by_its_public_object(name):
    row, kernel = BY_NAME[name]
    for parameters in parameter_sets(row):
        x = sample(row, np.float32, each_exponent=1)
        x = x[in_domain(row, kernel, x, parameters)]
        inputs = operands(row, kernel, x, parameters, dy=np.full(x.shape, 1.5, np.float32))
        with fr.accuracy("fast"):
            expected = cython.UFUNCS[kernel](*inputs)
            assert same_bits(public(row, kernel)(*inputs), expected)
        assert not same_bits(public(row, kernel)(*inputs), expected)


def test_every_way_to_choose_and_to_call():
    high, fast = high_and_fast()
    for got in every_way(X):
        assert same_bits(got, high)
    with fr.accuracy("fast"):
        for got in every_way(X):
            assert same_bits(got, fast)
        with fr.accuracy("high"):
            assert all(same_bits(got, high) for got in every_way(X))
        assert same_bits(fr.sigmoid(X), fast)
    try:
        fr.set_accuracy("fast")
        for got in every_way(X):
            assert same_bits(got, fast)
        with fr.accuracy("high"):
            assert all(same_bits(got, high) for got in every_way(X))
        with fr.use_backend("numpy"):
            reference = fr.sigmoid(X)
        assert same_bits(fr.sigmoid(X), fast)
    finally:
        fr.set_accuracy("high")
    assert same_bits(fr.sigmoid(X), high)
    with fr.use_backend("numpy"):  # which has one accuracy only
        assert same_bits(fr.sigmoid(X), reference)


def test_the_environment_chooses():
    code = "import fastrelu as fr, numpy as np\n"
    code += "print(fr.sigmoid(np.linspace(-9, 9, 999, dtype='f')).tobytes().hex())"
    x = np.linspace(-9, 9, 999, dtype="f")
    for level in ("high", "fast"):
        with fr.accuracy(level):
            assert output(code, ACCURACY=level, ISA=cython.ISA) == fr.sigmoid(x).tobytes().hex()


def test_a_context_chooses_for_itself_only():
    high, fast = high_and_fast()
    entered, leave = threading.Event(), threading.Event()

    def other():
        with fr.accuracy("fast"):
            entered.set()
            leave.wait(60)
            return [same_bits(got, fast) for got in every_way(X)]

    async def task(level):
        with fr.accuracy(level):
            await asyncio.sleep(0.01)
            return fr.sigmoid(X), fr.sigmoid.ufunc(X)

    async def both():
        return await asyncio.gather(task("high"), task("fast"))

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other)
        assert entered.wait(60)
        assert all(same_bits(got, high) for got in every_way(X))
        leave.set()
        assert all(waiting.result(60))
    one, two = asyncio.run(both())
    assert all(same_bits(got, high) for got in one)
    assert all(same_bits(got, fast) for got in two)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_depend_on_nothing_but_the_input(dtype, thresholds):
    x = np.random.default_rng(1).normal(0, 30, 5000).astype(dtype)
    with fr.accuracy("fast"):
        for f in (fr.elu, fr.sigmoid, fr.tanh.backward):
            inputs = (x, x) if f is fr.tanh.backward else (x,)
            expected = f(*inputs)
            for start, size in ((0, 1), (1, 7), (3, 8), (5, 15), (2, 16), (7, 17), (9, 1000)):
                piece = slice(start, start + size)
                assert same_bits(f(*(a[piece] for a in inputs)), expected[piece])
                assert same_bits(f(*(a[::-1][piece] for a in inputs)), expected[::-1][piece])
            for threads, streaming in ((1, 1), (3, 1), (4, 1 << 40)):
                thresholds(threads, 1, streaming)
                assert same_bits(f(*inputs), expected)


def test_where_no_formula_is_faster_fast_is_high():
    for f in (fr.gelu, fr.gelu.backward, fr.leaky_relu):
        inputs = (X, X) if f is fr.gelu.backward else (X,)
        expected = f(*inputs)
        with fr.accuracy("fast"):
            assert same_bits(f(*inputs), expected)


def test_explain_says_which_formula_it_is():
    assert "4 ULP" not in str(fr.explain(fr.sigmoid, X))
    with fr.accuracy("fast"):
        assert "4 ULP" in str(fr.explain(fr.sigmoid, X))
        assert "4 ULP" in str(fr.explain(fr.elu.backward, X, X))
        assert "that of high" in str(fr.explain(fr.gelu, X))
        assert fr.explain(fr.sigmoid, X).path == "fast"


def test_gradients_of_parameters_come_along(thresholds):
    """x's gradient beside another: the same bits as alone."""
    dy = np.full(X.shape, 1.5, np.float32)
    with fr.accuracy("fast"):
        dx, _ = fr.elu.backward(dy, X, alpha=0.5, wrt=("x", "alpha"))
        assert same_bits(dx, fr.elu.backward(dy, X, alpha=0.5))
