"""Other people's Cython code can cimport the scalar and array forms of every kernel."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastrelu as fr
import fastrelu.kernels

SOURCE = """
# cython: language_level=3
from fastrelu.kernels.activations cimport gelu, gelu_array, leaky_relu_backward, relu_array

def scalars(double x, float y):
    return gelu(x), gelu(y), leaky_relu_backward(<float> 3.0, y, <float> 0.25)

def arrays(double[::1] x, double[::1] out):
    with nogil:
        gelu_array(&x[0], &out[0], x.shape[0])

def single(float[::1] x, float[::1] out):
    relu_array(&x[0], &out[0], x.shape[0])
"""

BUILD = """
from Cython.Build import cythonize
from setuptools import Extension, setup
setup(name="user", ext_modules=cythonize([Extension("user", ["user.pyx"], language="c++")]))
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    if not fr.backends()["cython"].available:
        pytest.skip("the reference has nothing to cimport")
    folder = tmp_path_factory.mktemp("cimport")
    package = folder / "fastrelu" / "kernels"  # Cython reads paths, not import hooks
    package.mkdir(parents=True)
    for init in (package.parent, package):
        (init / "__init__.pxd").touch()
    declarations = Path(fastrelu.kernels.__path__[0], "activations.pxd")
    shutil.copy(declarations, package)
    (folder / "user.pyx").write_text(SOURCE)
    (folder / "build_user.py").write_text(BUILD)
    command = [sys.executable, "build_user.py", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    (library,) = folder.glob("user*.so")
    spec = importlib.util.spec_from_file_location("user", library)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_scalar_forms(user):
    expected = fr.gelu(np.float64(-1.5)), fr.gelu(np.float32(-0.75)), np.float32(0.75)
    assert user.scalars(-1.5, -0.75) == expected


def test_array_forms(user):
    x = np.random.default_rng(0).normal(size=1003)
    out = np.empty_like(x)
    user.arrays(x, out)
    np.testing.assert_array_equal(out, fr.gelu(x))
    single, out = x.astype(np.float32), np.empty(x.size, np.float32)
    user.single(single, out)
    np.testing.assert_array_equal(out, fr.relu(single))
