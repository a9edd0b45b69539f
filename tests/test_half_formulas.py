"""The formulas by which a device computes 16-bit types in float32, over all 65,536 inputs.

They are Python over a vocabulary (``kernels/cuda``); here its words are NumPy's, on whole arrays of float32.
"""

import importlib
import sys
import types
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from cases import BY_NAME, in_domain, operands, parameter_sets, truth

import fastrelu.kernels

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
    for name, (row, kernel) in BY_NAME.items():
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
