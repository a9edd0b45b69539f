"""The formulas by which a device computes 16-bit types and accuracy "fast" in float32 alone.

They are Python over a vocabulary (``kernels/cuda``); here its words are NumPy's, on whole arrays of float32.
"""

import importlib
import sys
import types
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from cases import FAST_ULP, OF_GATE, SWEPT, in_domain, operands, parameter_sets, truth
from ulp import distances

import fastrelu.kernels
from fastrelu import draws, reference
from fastrelu.table import LOGADDEXP

FOLDER = next(str(Path(p) / "cuda") for p in fastrelu.kernels.__path__ if (Path(p) / "cuda").is_dir())
ROUND = np.float32(1.5 * 2**23)

DTYPES = np.dtype("e"), np.dtype(ml_dtypes.bfloat16)


def fma(a, b, c):
    return (np.float64(a) * np.float64(b) + np.float64(c)).astype(np.float32)


def polynomial(x, coefficients):
    total = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        total = fma(total, x, np.float32(c))
    return total


def power_of_two(k):
    k = np.float32(k)
    return ((k + np.float32(ROUND + 127)).view(np.uint32) << np.uint32(23)).view(np.float32)


WORDS = {
    "BIAS": 1023,
    "INTEGER": 1.5 * 2.0**52,
    "by_width": lambda like, of_float32, of_float64: np.float32(of_float32),
    "fma": fma,
    "inline": lambda function: function,
    "nearest_integer_to_product": lambda a, factor: fma(a, np.float32(factor), ROUND) - ROUND,
    "polynomial": polynomial,
    "power_of_two": power_of_two,
    "select": np.where,
    "square_root": np.sqrt,
    "stored_exponent": lambda a: ((a.view(np.uint32) >> 23) + ROUND.view(np.uint32)).view(np.float32),
    "turn_sign": lambda a, s: np.where(np.signbit(s), -a, a),
}


@pytest.fixture(scope="module")
def formulas():
    """``kernels/cuda/formulas.py`` over arrays."""
    package, words = types.ModuleType("over_arrays"), types.ModuleType("over_arrays.primitives")
    package.__path__ = [FOLDER]
    vars(words).update(WORDS)
    made = {package.__name__: package, words.__name__: words}
    sys.modules |= made
    yield importlib.import_module("over_arrays.formulas")
    for name in [name for name in sys.modules if name.partition(".")[0] == "over_arrays"]:
        del sys.modules[name]


def ordered(a):
    bits = a.view(np.int16).astype(int)
    return np.where(bits < 0, -(bits & 0x7FFF), bits)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_all_inputs(dtype, formulas):
    every = np.arange(65536, dtype=np.uint16).view(dtype)
    for name, (row, kernel) in SWEPT.items():
        forms = [getattr(formulas, f"{name.replace('.', '_')}_{form}", None) for form in "s"]
        f = forms[0]
        assert f is not None
        for parameters in parameter_sets(row)[: 0 if f is None else 2]:
            with np.errstate(all="ignore"):
                x = every.astype(np.float32)
                exactly = [float(np.asarray(p).astype(dtype)) for p in parameters]
                x = x[in_domain(row, kernel, x, exactly)]
                inputs = [np.broadcast_to(a, x.shape) for a in operands(row, kernel, x, exactly)]
                got = f(*inputs).astype(dtype)
                exact = truth(kernel, inputs, np.float64)
                off = abs(ordered(got) - ordered(exact.astype(dtype)))
                off[np.isnan(got.astype(np.float32)) & np.isnan(exact)] = 0
            worst = np.argmax(off)
            assert off[worst] <= 1, f"{name}{parameters} at {x[worst]}: {got[worst]}, not {exact[worst]}"


def test_two_arguments_at_accuracy_fast(formulas):
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 5, (2, 20_000)).astype(np.float32)
    a[::3] = np.ldexp(np.float32(1), rng.integers(-120, 120, a[::3].size))
    for kernel in [*LOGADDEXP, *(kernel for _, kernel in OF_GATE.values())]:
        inputs = [np.ones_like(a)] * (kernel.inputs[0] == "dy") + [a, b]
        with np.errstate(all="ignore"):
            got = getattr(formulas, f"{kernel.name.replace('.', '_')}_s")(*inputs)
            exact = truth(kernel, inputs)
        near_root = 0.0
        if kernel.name in OF_GATE and kernel.pass_ == "backward_gate":
            for root in OF_GATE[kernel.name][0].roots:
                near_root = np.where(abs(b - root) < 0.5, abs(a), near_root)
        floor = np.full(a.shape, 0.5) if kernel.name == "logaddexp" else near_root
        assert distances(got, exact, floor).max() <= FAST_ULP, kernel.name


def test_normal_draws_and_what_is_made_of_them(formulas):
    """Within 4 ULP of float32, which 16 bits do not see."""
    radius, angle = draws.draws("uniform", 12345, 0, 64_000, np.dtype("f")).reshape(-1, 2, 32).swapaxes(0, 1)
    wide = radius.astype(np.longdouble), angle.astype(np.longdouble)
    length, made = formulas.normal_radius_half_vec_f(radius), []
    for name in ("cosine", "sine"):
        made.append(length * getattr(formulas, f"normal_{name}_half_vec_f")(angle))
        assert distances(made[-1], getattr(reference, f"normal_{name}").exact(*wide)).max() <= FAST_ULP
    noise = np.stack(made).ravel()
    x = np.random.default_rng(3).normal(0, 5, noise.size).astype(np.float32)
    variance = np.abs(x[::-1])
    sigmoid = 1 / (1 + np.exp(-x.astype(np.longdouble)))
    for name, given, of in (("", (), sigmoid), ("_of_variance", (variance,), variance.astype(np.longdouble))):
        exact = np.sqrt(of) * noise
        got = getattr(formulas, f"noisy_relu{name}_s")(x, *given, noise)
        assert distances(got, np.maximum(x + exact, 0), abs(exact)).max() <= FAST_ULP
        slope = getattr(formulas, f"noisy_relu{name}_backward_s")(np.ones_like(x), x, *given, noise)
        np.testing.assert_array_equal(slope, got > 0)
