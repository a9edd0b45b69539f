"""What every run checks first: that the installed package is under test, on its compiled kernels.

Without this a suite could be green on the fallback.  ``FASTRELU_BACKEND=numpy`` in the environment asks
for the reference on purpose, ``FASTRELU_BACKEND=numba`` for the kernels that Numba compiles.
"""

import contextlib
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import calls
import cases
import pytest

import fastrelu as fr
from fastrelu.backends import cython


def installed_folder():
    """Where the installed package keeps its Python files: an editable one keeps them in the checkout."""
    distribution = importlib.metadata.distribution("fastrelu")
    url = json.loads(distribution.read_text("direct_url.json") or "{}")
    if url.get("dir_info", {}).get("editable"):
        return Path(unquote(urlparse(url["url"]).path)) / "fastrelu"
    return Path(distribution.locate_file("fastrelu"))


def problem():
    """Why this run would prove nothing, or None."""
    try:
        installed = installed_folder()
    except importlib.metadata.PackageNotFoundError:
        return "fastrelu is not installed: run `pip install -e .` or install a wheel"
    under_test = Path(fr.__file__).parent
    if under_test.resolve() != installed.resolve():
        return f"the tests import {under_test}, but the installed package is {installed}: start elsewhere"
    asked = os.environ.get("FASTRELU_BACKEND")
    if asked in ("numba", "numpy"):
        return (
            None
            if fr.explain(fr.relu, [0.0]).backend == asked
            else f"{asked} was asked for, but is not in use"
        )
    backend = fr.backends()["cython"]
    if not backend.available:
        return f"the compiled kernels are not there ({backend.detail}); FASTRELU_BACKEND=numpy tests without"
    if fr.explain(fr.relu, [0.0]).backend != "cython":
        return "another backend than cython is in use; only FASTRELU_BACKEND=numpy or numba may ask for that"
    kernels = Path(sys.modules["fastrelu.kernels.ufuncs"].__file__).parent
    if kernels.resolve() not in {Path(p).resolve() for p in fr.kernels.__path__}:
        return f"fastrelu.kernels is {list(fr.kernels.__path__)}, but its ufuncs come from {kernels}"
    return None


def pytest_configure(config):
    again = "run again in a process of its own, by test_isa.py"
    config.addinivalue_line("markers", f"every_isa: {again}, for each instruction set and the reference")
    config.addinivalue_line("markers", f"every_backend: {again}, for the reference")
    for name in ("skip_xp_backends", "xfail_xp_backends"):
        config.addinivalue_line(
            "markers", f"{name}: on SciPy's own tests, about array libraries other than NumPy"
        )
    config.addinivalue_line("markers", "thread_unsafe: on NumPy's own tests, of other functions than ours")
    ignored = "ignore:Passing a non-Collection iterable to parametrize:DeprecationWarning"  # they do
    config.addinivalue_line("filterwarnings", ignored)
    if (found := problem()) is not None:
        pytest.exit(f"fastrelu: {found}", returncode=3)


def pytest_report_header(config):
    plan = fr.explain(fr.relu, [0.0])
    return f"fastrelu: {plan.backend}, {plan.instruction_set}, {fr.get_num_threads()} threads, {fr.__file__}"


@pytest.fixture
def call(name, via):
    """The kernel called `name`, by its ufunc or by its public object."""
    return calls.CALLS[via](*cases.ALL[name])


@pytest.fixture(params=["current", *([] if cases.AGAIN else ["numpy"])])
def backend(request):
    """The name of the backend that computes: whatever is chosen, and once the reference."""
    with contextlib.nullcontext() if request.param == "current" else fr.use_backend("numpy"):
        yield fr.explain(fr.relu, [0.0]).backend


@pytest.fixture
def kernels_only():
    """For tests of what only the compiled kernels have: ufunc objects, threads, streaming stores."""
    if fr.explain(fr.relu, [0.0]).backend != "cython":
        pytest.skip("the reference was asked for")


@pytest.fixture
def thresholds(kernels_only):
    """``thresholds(threads, work, streaming)`` lowers what the plan decides by; undone afterwards."""
    before = fr.get_num_threads()
    yield lambda threads, work, streaming: cython.ufuncs.configure(threads, work, streaming, threads)
    fr.set_num_threads(before)  # which sets the rest as well


@pytest.fixture(scope="module")
def module_thresholds():
    """The same for tests that draw their thresholds from hypothesis."""
    before = fr.get_num_threads()
    yield lambda threads, work, streaming: cython.ufuncs.configure(threads, work, streaming, threads)
    fr.set_num_threads(before)
