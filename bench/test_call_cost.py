"""What a call costs at 16 elements, in every way to write it, beside ``np.exp``.

A round is CALLS calls in one loop, so a microsecond in the report is a nanosecond a call.  Each kind of
operands is a group of its own: np.exp with them, and activations that should take at most 1.2 times as long.
"""

import timeit

import numpy as np
import pytest

import fastrelu as fr
from fastrelu import peers
from fastrelu.backends import cython
from fastrelu.table import REDUCTIONS

CALLS, ELEMENTS = 1000, 16

FLOOR = ["np.exp(x, out=out)", "np.exp(x)", "np.negative(x, out=out)", "np.negative(x)"]
WAYS = [
    "fr.relu(x, out)",
    "fr.relu(x, out=x)",
    "fr.relu(x, out=out, where=mask)",
    "fr.relu(column)",
    "fr.relu(scalar)",
    "fr.relu.ufunc(x, out=out)",
    "fr.leaky_relu(x, 0.2, out=out)",
    "fr.leaky_relu(x, negative_slope=0.2, out=out)",
    "fr.leaky_relu(x, negative_slope=0.2)",
    "fr.leaky_relu.backward(dy, x, negative_slope=0.2, out=out)",
    'fr.gelu(x, "tanh", out=out)',
    'fr.gelu(x, approximate="tanh", out=out)',
    "fr.relu.backward(dy, x, out=dy)",
    "fr.relu.backward(dy, x, at_zero=0.5, out=out)",
    "fr.cross_entropy(logits, label)",
    "fr.cross_entropy.backward(1.0, logits, label)",
    "fr.cross_entropy.value_and_grad(logits, label)",
]

# Kinds of operands: the call, in which f is np.exp or an activation.
KINDS = {
    "strided": "f(column)",
    "where": "f(x, out=out, where=mask)",
    "dtype": "f(x, dtype=np.float64)",
    "order": 'f(x, order="C")',
    "casting": 'f(doubles, out=out, casting="same_kind")',
    "list": "f(listed)",
    "Python scalar": "f(scalar)",
    "NumPy scalar": "f(numpy_scalar)",
    "0-d": "f(without_axes)",
    "byte-swapped": "f(swapped)",
    "mixed dtypes": "f(doubles, out=out)",
    "integers": "f(integers)",
    "float16": "f(halves)",
    "subclass": "f(subclass)",
    "the ufunc itself": "f.ufunc(x)",
}
OF_A_KIND = ("np.exp", "fr.relu", "fr.sigmoid", "fr.gelu")


def _operands():
    """What the statements name."""
    rng = np.random.default_rng(0)
    x, dy, y = (np.abs(rng.standard_normal(ELEMENTS)).astype(np.float32) for _ in range(3))
    names = {"np": np, "fr": fr, "x": x, "dy": dy, "y": y / 4, "out": np.zeros_like(x)}
    names |= {"mask": x > 0.5, "column": np.repeat(x, 2)[::2], "scalar": 0.5, "listed": x.tolist()}
    names |= {"numpy_scalar": x[0], "without_axes": np.array(x[0]), "swapped": x.astype(">f4")}
    names |= {"doubles": x.astype(np.float64), "halves": x.astype(np.float16)}
    names |= {"logits": x[None, :10].copy(), "label": np.array([3])}
    return names | {"integers": np.arange(ELEMENTS), "subclass": x.view(type("Subclass", (np.ndarray,), {}))}


def _by_table():
    for operation in peers.operations():
        if not operation.is_reduction:
            yield operation.statement
            yield operation.statement.replace(", out=out", "")
    for name in REDUCTIONS:
        yield f"fr.{name}(x)"
        yield f"fr.{name}(x, axis=-1)"


@pytest.mark.parametrize("statement", [*FLOOR, *_by_table(), *WAYS])
def test_call_cost(benchmark, threads, statement):
    if ".ufunc" in statement and not cython.ISA:
        pytest.skip(cython.BACKEND.detail)
    _time(benchmark, threads, statement, f"{CALLS} calls, {ELEMENTS} elements")


@pytest.mark.parametrize("function", OF_A_KIND)
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_operands(benchmark, threads, kind, function):
    if ".ufunc" in KINDS[kind] and not cython.ISA:
        pytest.skip(cython.BACKEND.detail)
    call = KINDS[kind] if function != "np.exp" else KINDS[kind].replace(".ufunc", "")
    _time(
        benchmark, threads, function + call.removeprefix("f"), f"{CALLS} calls, {ELEMENTS} elements: {kind}"
    )


def _time(benchmark, threads, statement, group):
    names = _operands()
    exec(statement, dict(names))
    benchmark.group = group
    benchmark.extra_info.update(statement=statement, calls=CALLS, threads=threads)
    benchmark(timeit.Timer(statement, globals=names).timeit, CALLS)
