"""Settings from the environment, each in a process of its own: instruction sets, backends, bad values.

Every instruction set that this machine executes runs the tests marked `every_isa`; so does the reference
as a backend.  What the others are is said by the skips.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastrelu as fr
from fastrelu.backends import cython

TESTS = Path(__file__).resolve().parent
VARIABLES = ("BACKEND", "ISA", "NUM_THREADS", "ACCURACY", "CACHE_MB")
CHOSEN = cython.ISA


def environment(**settings):
    """The environment without fastrelu's variables, but with these (given without their prefix)."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FASTRELU_") and k != "OMP_NUM_THREADS"}
    return clean | {f"FASTRELU_{name}": value for name, value in settings.items()}


def python(code, *, options=(), **settings):
    """Run code in a fresh interpreter: (exit status, output, errors)."""
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(
        command,
        env=environment(**settings),
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout.strip(), done.stderr


def output(code, *, options=(), **settings):
    status, out, errors = python(code, options=options, **settings)
    assert status == 0, errors
    assert not errors
    return out


def refusal(**settings):
    """The last line of the error with which the import fails."""
    status, _, errors = python("import fastrelu", **settings)
    assert status == 1, f"the import succeeded with {settings}"
    return errors.strip().splitlines()[-1]


# The same tests on every instruction set


def run_marked(*marks, **settings):
    command = [sys.executable, "-m", "pytest", "-q", "-m", " or ".join(marks)]
    command += ["-p", "no:cacheprovider", "--tb=line"]
    files = [str(p) for p in sorted(TESTS.glob("test_*.py")) if any(m in p.read_text() for m in marks)]
    done = subprocess.run(
        [*command, *files],
        env=environment(**settings),
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    told = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "E ", "/"))]
    assert done.returncode == 0, "\n".join(told) + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("isa", [isa for isa in cython.INSTRUCTION_SETS if isa != CHOSEN])
def test_every_instruction_set_conforms(isa, kernels_only):
    """The one that this process runs on is tested by the other files."""
    if isa not in cython.BUILT:
        pytest.skip(f"{isa} was not built")
    if not cython.ufuncs.supports(cython.INSTRUCTION_SETS[isa]):
        pytest.skip(f"this CPU does not execute {isa}")
    assert output("import fastrelu as fr; print(fr.explain(fr.relu, [0.0]).instruction_set)", ISA=isa) == isa
    assert " passed" in run_marked("every_isa", ISA=isa)


def test_the_reference_conforms_as_a_backend():
    if os.environ.get("FASTRELU_BACKEND") == "numpy":
        pytest.skip("the other files run on it already")
    assert (
        output("import fastrelu as fr; print(fr.explain(fr.relu, [0.0]).backend)", BACKEND="numpy") == "numpy"
    )
    assert " passed" in run_marked("every_isa", "every_backend", BACKEND="numpy")


def test_the_best_instruction_set_is_chosen(kernels_only):
    executed = [i for i in cython.BUILT if cython.ufuncs.supports(cython.INSTRUCTION_SETS[i])]
    assert output("from fastrelu.backends import cython; print(cython.ISA)") == executed[0]
    for isa in executed:
        assert output("from fastrelu.backends import cython; print(cython.ISA)", ISA=isa) == isa
        hyphens = isa.replace("_", "-")
        assert output("from fastrelu.backends import cython; print(cython.ISA)", ISA=hyphens) == isa


# Bad values


def test_unknown_values_name_the_known_ones():
    known = {
        "BACKEND": fr.backends(),
        "ISA": cython.INSTRUCTION_SETS,
        "ACCURACY": ("high", "fast"),
        "NUM_THREADS": ("whole number",),
        "CACHE_MB": ("whole number",),
    }
    assert set(known) == set(VARIABLES)
    for variable, names in known.items():
        for bad in ("nonsense", "avx3", "1.5", "None"):
            message = refusal(**{variable: bad})
            assert message.startswith(("ValueError", "ImportError")), message
            assert f"FASTRELU_{variable}" in message
            assert bad in message
            assert all(name in message for name in names), message
    for bad in ("0", "-3"):
        assert "at least 1" in refusal(NUM_THREADS=bad)
    assert "at least 0" in refusal(CACHE_MB="-1")


def test_an_unavailable_backend_says_why():
    for name, backend in fr.backends().items():
        if not backend.available:
            message = refusal(BACKEND=name)
            assert "FASTRELU_BACKEND" in message
            assert backend.detail in message
            assert "numpy" in message


def test_an_instruction_set_beyond_the_cpu_is_refused(kernels_only):
    for isa, level in cython.INSTRUCTION_SETS.items():
        if isa not in cython.BUILT:
            assert "not built" in refusal(ISA=isa)
        elif not cython.ufuncs.supports(level):
            assert "CPU" in refusal(ISA=isa)


def test_a_cpu_without_any_of_them_runs_on_the_reference(kernels_only):
    """As if the probe had said no: one attribute of the compiled module is replaced before the choice.

    And without Numba, which would come next.
    """
    code = """
import importlib.abc, importlib.machinery, importlib.util, sys
class Probe(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "fastrelu.kernels.ufuncs":
            return None
        sys.meta_path.remove(self)
        import types
        real = importlib.import_module(name)
        stand_in = types.ModuleType(name)
        stand_in.__dict__.update(vars(real), supports=lambda level: level <= {level})
        loader = type("Loader", (importlib.abc.Loader,), dict(
            create_module=lambda self, spec: stand_in, exec_module=lambda self, module: None))()
        del sys.modules[name]
        return importlib.machinery.ModuleSpec(name, loader)
sys.meta_path.insert(0, Probe())
sys.modules["numba"] = None
import fastrelu as fr
import numpy as np
plan = fr.explain(fr.gelu, np.ones(3))
print(plan.backend, plan.instruction_set, fr.gelu(np.array([0.0]))[0], fr.backends()["cython"].available)
"""
    assert output(code.replace("{level}", "2")).startswith("cython x86_64_v2")
    assert output(code.replace("{level}", "1")) == "numpy NumPy's 0.0 False"
    status, _, errors = python(code.replace("{level}", "2"), ISA="avx512")
    assert status == 1
    assert "this CPU does not have 'avx512'" in errors


# Good values


def test_settings_take_effect():
    code = "import fastrelu as fr; print(fr.get_num_threads())"
    assert output(code, NUM_THREADS="3") == "3"
    assert int(output(code)) >= 1
    status, out, _ = python(
        code.replace("import", "import os; os.environ['OMP_NUM_THREADS'] = '2'; import", 1)
    )
    assert (status, out) == (0, "2")
    status, out, _ = python(
        code.replace("import", "import os; os.environ['OMP_NUM_THREADS'] = '4,2'; import", 1)
    )
    assert status == 0, "another library's form of its variable is not our error"
    code = "import fastrelu as fr; print(fr.show_config('dicts')['settings']['accuracy'])"
    assert output(code, ACCURACY="fast") == "fast"
    assert output(code) == "high"
    for variable in VARIABLES:  # set, but empty: as if it were not there
        output("import fastrelu", **{variable: ""})
    output("import fastrelu", CACHE_MB="0")


# Importing


def test_import_takes_numpy_only():
    code = (
        "import sys, numpy; before = set(sys.modules)\n"
        "import fastrelu as fr; fr.gelu(numpy.ones(3)); fr.gelu.backward(numpy.ones(3), numpy.ones(3))\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(n for n in new if n not in sys.stdlib_module_names and 'cython_' not in n))"
    )
    assert output(code, options=("-W", "error")).split() == ["fastrelu"]


STATE = """
import ctypes, gc, locale, signal, sys, threading, warnings
import numpy as np
def state():
    tiny = np.array([5e-324, 1e-310]) * np.array([1.0, 0.5])  # flushed to 0 if the import set FTZ or DAZ
    flags = np.geterr(), np.geterrcall(), tuple(warnings.filters), sys.getswitchinterval()
    more = gc.isenabled(), locale.setlocale(locale.LC_ALL), threading.active_count()
    handlers = tuple(map(signal.getsignal, (signal.SIGINT, signal.SIGFPE, signal.SIGSEGV)))
    rounding = ctypes.CDLL("libm.so.6").fegetround()
    return tiny.tobytes(), repr(flags), more, handlers, rounding
before = state()
{code}
assert state() == before
"""


def test_import_changes_no_process_state():
    assert output(STATE.replace("{code}", "import fastrelu"), options=("-W", "error")) == ""
    calls = "import fastrelu as fr; fr.gelu(np.linspace(-800, 800, 10**6)); fr.softmax"
    assert output(STATE.replace("{code}", calls.replace("; fr.softmax", "")), options=("-W", "error")) == ""


def test_nothing_is_printed_and_no_thread_is_started():
    code = "import os, fastrelu; print(len(os.listdir('/proc/self/task')))"
    if Path("/proc/self/task").exists():
        alone = output("import os, numpy; print(len(os.listdir('/proc/self/task')))")
        assert output(code) == alone
