"""kernels/simd/avx512.h, the sibling with 16 lanes, run out of AVX2 registers where the CPU has no AVX-512.

The kernels are written, translated and compiled once more, with tests/native/emulated512.h in front of
everything else.  Their arithmetic is that of AVX2, so each lane must have its bits, but where they look up a
table in registers and AVX2 one in memory.
"""

import contextlib
import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from cases import BY_NAME, operands, parameter_sets, sample

import fastrelu as fr
from fastrelu.backends import cython
from fastrelu.draws import DISTRIBUTIONS

ROOT = Path(__file__).resolve().parent.parent
NAME = "emulated512"
DTYPES = [np.float32, np.float64]
RUNS = "avx2" in cython.BUILT and cython.ufuncs.supports(cython.INSTRUCTION_SETS["avx2"])
REAL = "avx512" in cython.BUILT and cython.ufuncs.supports(cython.INSTRUCTION_SETS["avx512"])
SOURCES = shutil.which("g++") and (ROOT / "setup.py").exists()
pytestmark = [
    pytest.mark.skipif(not (RUNS and SOURCES), reason="needs AVX2, g++ and the sources"),
    pytest.mark.skipif(REAL, reason="this CPU has AVX-512: the other tests run the real one"),
]

IN_REGISTERS = {
    name
    for path in (ROOT / "kernels/formulas/registers").glob("*.pxi")
    for name in re.findall(r"(\w+)_in_registers", path.read_text())
}
TRANSLATE = """
import sys; sys.path[:0] = ["{root}/tools", "{root}"]
import write_kernels
from pathlib import Path
from Cython.Build import cythonize
from setuptools import Extension
write_kernels.write(Path("."))
blocks = Extension("fastrelu.kernels.blocks", ["blocks.pyx"], language="c++")
cythonize([blocks], include_path=["{root}/kernels", "."], language_level=3)
"""
FLAGS = ["-march=x86-64-v3", "-ffp-contract=off", "-fno-fast-math", "-std=c++17", "-O1", "-Wno-psabi"]
FLAGS += ["-fno-tree-sra"]  # in which GCC 12 crashes at aggregates of vectors that the processor has not


@pytest.fixture(scope="module", autouse=True)
def emulated(tmp_path_factory):
    """The module, importable by the name under which the backend looks for an instruction set."""
    folder = tmp_path_factory.mktemp("emulated")
    subprocess.run([sys.executable, "-c", TRANSLATE.format(root=ROOT)], cwd=folder, check=True, timeout=120)
    built, full = folder / f"_{NAME}.so", f"fastrelu.kernels._{NAME}"
    command = ["g++", "-shared", "-fPIC", *FLAGS, "-include", str(ROOT / "tests/native/emulated512.h")]
    command += [f"-I{ROOT / 'kernels'}", f"-I{sysconfig.get_paths()['include']}", "blocks.cpp"]
    command += ["-DCYTHON_INLINE=inline __attribute__((always_inline))", f"-DPyInit_blocks=PyInit__{NAME}"]
    subprocess.run([*command, "-o", str(built)], cwd=folder, check=True, timeout=900)
    specification = importlib.util.spec_from_file_location(full, built)
    sys.modules[full] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(sys.modules[full])
    cython.LENDERS[NAME] = "avx2"
    yield
    del sys.modules[full], cython.LENDERS[NAME]


@contextlib.contextmanager
def kernels_of(isa):
    """Everything that is called or made within runs on this instruction set."""
    cython._load(isa)
    try:
        yield
    finally:
        cython._load(cython.ISA)


def made(isa, kernel):
    with kernels_of(isa):
        return cython.make_ufunc(kernel)


def same(got, expected, where):
    """Every bit but those of a NaN, of which there are several."""
    np.testing.assert_array_equal(got, expected, err_msg=where, strict=True)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(expected[known]), err_msg=where)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BY_NAME)
def test_the_same_bits_as_avx2(name, dtype):
    row, kernel = BY_NAME[name]
    wide, narrow = made(NAME, kernel), made("avx2", kernel)
    for parameters in parameter_sets(row):
        x = sample(row, dtype, each_exponent=4, ordinary=5000)
        inputs = operands(row, kernel, x, parameters)
        if kernel.formula in IN_REGISTERS and not kernel.knots:
            info = np.finfo(dtype)
            tolerance = {"rtol": 2 * info.eps, "atol": 2 * info.smallest_subnormal}
            np.testing.assert_allclose(wide(*inputs), narrow(*inputs), **tolerance, err_msg=name, strict=True)
        else:
            same(wide(*inputs), narrow(*inputs), f"{name}{parameters}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BY_NAME)
def test_every_lane_and_the_last_partial_register(name, dtype):
    row, kernel = BY_NAME[name]
    wide, parameters = made(NAME, kernel), parameter_sets(row)[0]
    x = np.random.default_rng(4).permutation(sample(row, dtype))[:100]
    whole = wide(*operands(row, kernel, x, parameters))
    for start in range(17):
        for size in (*range(1, 34), 80):
            piece = x[start : start + size].copy()
            same(wide(*operands(row, kernel, piece, parameters)), whole[start : start + size], name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_random_draws(distribution, dtype):
    with kernels_of(NAME):
        wide = cython._draws(distribution, 7, 5, 1000, dtype)
    with kernels_of("avx2"):
        same(wide, cython._draws(distribution, 7, 5, 1000, dtype), distribution)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["logsumexp", "softmax", "log_softmax"])
def test_reductions_agree_with_avx2(reduction, dtype):
    """Sums of 16 lanes are added up in another order than those of 8: a unit of 1 apart at most."""
    rng, function = np.random.default_rng(5), getattr(fr, reduction)
    for length in (1, 5, 15, 16, 17, 100, 1000):
        a = rng.normal(0, 3, (7, length)).astype(dtype)
        with kernels_of(NAME):
            wide = function(a, axis=-1)
        with kernels_of("avx2"):
            narrow = function(a, axis=-1)
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(wide, narrow, rtol=2 * eps, atol=eps / 2, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_agree_with_avx2(smoothing, dtype):
    rng = np.random.default_rng(6)
    for shape in ((7, 17), (40, 10), (2, 2100)):
        x, labels = rng.normal(0, 3, shape).astype(dtype), rng.integers(0, shape[1], shape[0])
        options = {"reduction": "none", "label_smoothing": smoothing}
        with kernels_of(NAME):
            wide = fr.cross_entropy.value_and_grad(x, labels, **options)
        with kernels_of("avx2"):
            narrow = fr.cross_entropy.value_and_grad(x, labels, **options)
        for got, expected in zip(wide, narrow, strict=True):
            eps = np.finfo(dtype).eps
            np.testing.assert_allclose(got, expected, rtol=2 * eps, atol=eps / 2, strict=True)
