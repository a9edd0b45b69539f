"""The Numba backend: when it is picked, that it conforms, and what is its own."""

import sys
from pathlib import Path

import fresh
import numpy as np
import pytest
from cases import same_bits

import fastrelu as fr
from fastrelu import dispatch
from fastrelu.backends import cython

pytest.importorskip("numba")
ROOT = Path(__file__).resolve().parents[1]
HIDE = "import sys\nsys.modules[{!r}] = None\n"
WITHOUT_NUMBA = HIDE.format("numba") + fresh.START
WITHOUT_DRIVERS = HIDE.format("fastrelu.kernels.ufuncs") + fresh.START
CONFORMANCE = [
    "test_ulp.py",
    "test_conformance.py::test_special_values",
    "test_conformance.py::test_nothing_flows_where_the_slope_is_zero",
    "test_gradients.py",
    "test_reductions.py",
    "test_reductions_backward.py",
    "test_with_zero.py",
    "test_cross_entropy_accuracy.py",
    "test_protocols.py::test_subclasses_stay",
]
OTHERS = "not longdouble and not numpy"  # what the reference computes: that is tested without Numba


# When it is picked


def test_numba_is_imported_by_a_call_only():
    fresh.output("""
        assert "numba" not in sys.modules
        fr.set_backend("numba")
        print(fr.explain(fr.gelu, np.zeros(9, np.float32)))
        assert "numba" not in sys.modules
        fr.gelu(np.zeros(9, np.float32))
        assert "numba" in sys.modules
    """)


def test_without_numba_the_error_says_what_to_install():
    told = fresh.output(
        """
        assert not fr.backends()["numba"].available
        try:
            fr.use_backend("numba")
        except ValueError as error:
            print(error)
        """,
        start=WITHOUT_NUMBA,
    )
    assert "pip install 'fastrelu[numba]'" in told


@pytest.mark.parametrize(
    ("hidden", "picked"),
    [
        ((), "cython"),
        (("fastrelu.kernels.ufuncs",), "numba"),
        (("fastrelu.kernels.ufuncs", "numba"), "numpy"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"without {len(value)}",
)
def test_order(hidden, picked):
    start = "".join(map(HIDE.format, hidden)) + fresh.START
    assert fresh.output("print(fr.explain(fr.gelu, [0.0]).backend)", start=start) == picked


def test_explain(kernels_only):
    with fr.use_backend("numba"):
        plan = fr.explain(fr.gelu, np.zeros(100, np.float32))
        assert (plan.backend, plan.path, plan.threads) == ("numba", "fast", 1)
        assert fr.explain(fr.gelu, np.zeros(100, np.longdouble)).path == "reference"


# What it computes


def test_it_conforms(kernels_only):
    """The tests by table, in a process that runs on it."""
    fresh.run_tests("-k", OTHERS, *CONFORMANCE, FASTRELU_BACKEND="numba")


def results():
    """Of calls that threads share out, in every way that operands can vary."""
    rng = np.random.default_rng(5)
    for dtype in (np.float32, np.float64):
        x, dy = rng.normal(0, 3, (2, 40, 1500)).astype(dtype)
        weight = rng.normal(size=40).astype(dtype)
        yield fr.gelu(x)
        yield fr.elu(x, 0.5)
        yield fr.elu.backward(dy, x, alpha=0.5, at_zero=0.25)
        yield fr.gelu.backward(dy[:, ::2], x[:, ::2])
        yield from fr.prelu.backward(dy, x, weight=weight, axis=0)
        yield from fr.prelu.backward(dy, x, weight=weight[0])
        yield fr.logsumexp(x, axis=1)
        yield fr.softmax(x, axis=0)
        yield fr.log_softmax.backward(dy, x, axis=1)
        yield from fr.cross_entropy.value_and_grad(x, np.arange(40), label_smoothing=0.1)


@pytest.mark.parametrize("n", [5, 1100])
@pytest.mark.parametrize(
    ("dtype", "names"),
    [
        (np.float32, ["logsumexp", "softmax", "log_softmax", "logsumexp0", "softmax0"]),
        (np.float64, ["softmax0"]),
    ],
)
def test_reductions_along_columns_have_the_bits_of_rows(dtype, names, n):
    """Special rows among them, and more columns than a strip has."""
    rng = np.random.default_rng(3)
    x, dy = rng.normal(0, 9, (2, 2, n, 150)).astype(dtype)
    x[0, 3, 0], x[0, :, 1], x[1, 2, 0], x[1, 3, 1], x[1, 1:3, 2] = -np.inf, -np.inf, np.inf, np.nan, np.inf
    rows, dy_rows = (np.ascontiguousarray(a.swapaxes(1, 2)) for a in (x, dy))
    of_rows = np.ascontiguousarray(dy[:, 0])
    with fr.use_backend("numba"):
        for name in names:
            kernel, gradient = dispatch.rows_kernel(name), dispatch.rows_kernel(f"{name}.backward")
            y, expected = kernel(x, 1), kernel(rows, 2)
            if name.startswith("logsumexp"):
                dx = gradient(x, 1, dy=of_rows, one_dy_a_row=True)
                other = gradient(rows, 2, dy=of_rows, one_dy_a_row=True)
            else:
                dx, other = gradient(y, 1, dy=dy), gradient(expected, 2, dy=dy_rows)
                y = y.swapaxes(1, 2)
                into = x.copy()
                assert kernel(into, 1, into) is into
                assert same_bits(into.swapaxes(1, 2), expected)
            assert same_bits(y, expected)
            assert same_bits(dx.swapaxes(1, 2), other)


def test_threads_change_no_bits(thresholds):
    with fr.use_backend("numba"):
        thresholds(1, 1, 1 << 60)
        alone = [a.tobytes() for a in results()]
        for threads, streaming in ((2, 1 << 60), (4, 1 << 12)):
            thresholds(threads, 1, streaming)
            assert [np.asarray(a).tobytes() for a in results()] == alone


@pytest.mark.parametrize("name", ["dy", "x", "neither"])
@pytest.mark.parametrize("size", [1, 16, 511, 1031])
def test_in_place(name, size):
    rng = np.random.default_rng(6)
    dy, x = rng.normal(0, 3, (2, size)).astype(np.float32)
    with fr.use_backend("numba"):
        expected = fr.elu.backward(dy, x, alpha=0.5)
        out = {"dy": dy, "x": x}.get(name, np.empty_like(x))
        assert fr.elu.backward(dy, x, alpha=0.5, out=out) is out
    assert out.tobytes() == expected.tobytes()


def test_the_fast_path_runs_its_kernels():
    """As the process's default it takes the vectorcall path; a user's own activation keeps its code there."""
    code = """
        x = np.random.default_rng(0).normal(0, 3, 1000)
        with fr.use_backend("numba"):
            expected = fr.gelu(x)
        assert expected.tobytes() != fr.gelu(x).tobytes()  # that reads no table

        @fr.activation
        def halved(x):
            return x / 2

        fr.set_backend("numba")
        for _ in range(2):
            assert fr.gelu(x).tobytes() == expected.tobytes()
            assert fr.gelu(x[:5].tolist()).tobytes() == expected[:5].tobytes()
            assert fr.gelu(float(x[0])) == expected[0]
            assert fr.relu(np.arange(-1, 2)).tolist() == [0, 0, 1]
            assert np.array_equal(halved(x), x / 2)
        fr.set_backend("cython")
        assert expected.tobytes() != fr.gelu(x).tobytes()
    """
    fresh.output(code, FASTRELU_ISA="x86_64_v2")


def test_without_the_compiled_drivers():
    fresh.output(
        """
        from fastrelu import reference
        x = np.random.default_rng(0).normal(0, 3, 300_001)
        for dtype in (np.float32, np.float64):
            a = x.astype(dtype)
            with fr.use_backend("numpy"):
                expected = fr.elu(a, 0.5), fr.gelu(a), fr.softmax(a[:100]), fr.logsumexp(a)
            got = fr.elu(a, 0.5), fr.gelu(a), fr.softmax(a[:100]), fr.logsumexp(a)
            for one, other in zip(got, expected, strict=True):
                np.testing.assert_array_almost_equal_nulp(one, other, 4)
            assert fr.elu(a[::3], 0.5).tobytes() == got[0][::3].tobytes()
            fr.set_num_threads(3)
            assert fr.elu(a, 0.5).tobytes() == got[0].tobytes()
            fr.set_num_threads(1)
            assert fr.elu(a, 0.5, out=a) is a
            assert a.tobytes() == got[0].tobytes()
        assert fr.explain(fr.gelu, x).path == "ufunc"
        assert fr.gelu.ufunc.nin == 1
        assert fr.relu([1, -1]).tolist() == [1, 0]
        assert fr.gelu(np.float16(1)).dtype == np.float16
        """,
        start=WITHOUT_DRIVERS,
        timeout=300,
    )


# How it is built


def test_functions_that_cannot_be_cached_are_compiled():
    from fastrelu.kernels.numba import elementwise

    def decorator(signature, cache=False):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: (signature, function)

    assert elementwise.compiled(decorator, "signature", len) == ("signature", len)


def test_the_exported_ufuncs():
    from fastrelu.kernels.numba import elementwise

    x = np.linspace(-3, 3, 7, dtype=np.float32)
    assert elementwise.relu.types == ["f->f", "d->d"]
    np.testing.assert_array_equal(elementwise.relu(x), np.maximum(x, 0))
    with pytest.raises(AttributeError, match="nonsense"):
        elementwise.nonsense  # noqa: B018


def test_the_modules_are_those_that_the_build_writes():
    """Else Numba could take code on disk for current that is not."""
    tools = ROOT / "tools"
    if not (ROOT / "kernels/numba").samefile(Path(cython.ufuncs.__file__).parent / "numba"):
        pytest.skip("an installed package is under test, not this checkout")
    sys.path.insert(0, str(tools))
    try:
        import write_python
    finally:
        sys.path.remove(str(tools))
    for name in ("formulas", "entries"):
        path = ROOT / f"kernels/numba/{name}.py"
        assert path.read_text() == getattr(write_python, f"{name}_py")(), f"{path}: build again"
