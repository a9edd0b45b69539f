"""How users' activations are compiled and kept: when, where, what is said if it fails, and without Numba."""

import os
import pty
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("numba")

import own
from calls import agree, refused
from fresh import output

import fastrelu as fr
from fastrelu import codecache, usercode
from fastrelu.backends import cython
from fastrelu.kernels.numba import custom

needs_kernels = pytest.mark.skipif(not cython.ISA, reason="nothing was compiled: one thread, no ufunc")
START = "import sys, pickle\nimport numpy as np\nimport fastrelu as fr\n"
MODULE = """
import fastrelu as fr
from constants import SLOPE
@fr.activation
def sloped(x, a=1.0):
    return fr.relu(SLOPE) * a * x
"""
REPORT = """
from module import sloped
print(sloped(2.0), sloped.codes["forward"].compiled.origin)
"""


def test_numba_is_not_imported_before_a_call():
    code = """
    f = fr.activation(lambda x: 2 * x)
    f.derivative(lambda x: 2.0)
    assert f.backward is not None and repr(f) == "<__main__.<lambda>>"
    assert "numba" not in sys.modules and "llvmlite" not in sys.modules
    f(1.0)
    print("numba" in sys.modules)
    """
    assert output(code, start=START) == "True"


def test_without_numba_a_call_says_what_to_install():
    code = """
    sys.modules["numba"] = None
    f = fr.activation(lambda x: 2 * x)
    for call in (lambda: f(1.0), lambda: fr.explain(f, 1.0), lambda: f.ufunc):
        try:
            call()
        except ImportError as error:
            print(error)
    """
    lines = output(code, start=START).splitlines()
    assert len(lines) == 3
    assert all("pip install 'fastrelu[numba]'" in line for line in lines)


def test_without_compiled_kernels():
    """Numba's code on one thread, with everything but a ufunc."""
    code = """
    import own
    x = np.linspace(-3, 3, 7, dtype=np.float32)
    assert fr.backends()["cython"].available is False
    for dtype in (np.float16, np.float32, np.float64):
        y = own.leaky_relu(x.astype(dtype)[::2], negative_slope=np.full(4, 0.5))
        np.testing.assert_array_equal(y, np.array([-1.5, -0.5, 1, 3], dtype), strict=True)
    out = np.zeros(7, np.float32)
    assert own.leaky_relu(x, 0.5, out=out, where=x > 0) is out and out.tolist() == [0, 0, 0, 0, 1, 2, 3]
    dx = own.leaky_relu.backward(x, x, negative_slope=0.5)
    np.testing.assert_array_equal(dx, x * np.where(x > 0, 1, 0.5))
    assert own.leaky_relu.backward(x, x, wrt="negative_slope") == 14
    print(fr.explain(own.leaky_relu, x).path)
    try:
        own.leaky_relu.ufunc
    except RuntimeError as error:
        print("compiled" in str(error))
    """
    start = f'import sys; sys.modules["fastrelu.kernels.ufuncs"] = None\n{START}'
    assert output(code, start=start).splitlines() == ["reference", "True"]


@needs_kernels
def test_the_layout_of_operands_is_that_of_the_drivers():
    assert cython.ufuncs.MOST_INPUTS == custom.MAX_INPUTS
    assert cython.ufuncs.REGISTER_BYTES == custom.REGISTER_BYTES


def test_arithmetic_is_packed():
    """The compiled loops multiply and divide whole registers, in float32 where all is float32."""
    multiply = {"leaky_relu": ("mulps", "mulpd"), "cubic": ("mulps", "mulpd"), "squashed": ("divpd", "divpd")}
    for name, instructions in multiply.items():
        compiled = getattr(own, name).codes["forward"].compiled
        fresh = custom._compile(
            getattr(own, name).function, *((1,) if name == "cubic" else (2,)), False, name, None
        )
        assert len(compiled.addresses) == 2
        for library, instruction in zip(fresh.libraries, instructions, strict=True):
            lines = library.get_asm_str().splitlines()
            packed = [line for line in lines if instruction in line.partition("\t")[2]]
            assert any("ymm" in line or "zmm" in line or "xmm" in line for line in packed), name


# Compilation that fails


def no_such_method(x):
    return x.sum()


def no_such_name(x):
    return unknown * x  # noqa: F821


def plain_helper(x):
    return no_such_method(x)


def text(x):
    return "text"


def nothing(x):
    if x > 0:
        return x


def two(x):
    return x, x


def imaginary(x):
    return 1j * x


def added_text(x):
    y = 2.0
    return x + y + "text"


def raises(x):
    if x < 0:
        raise ValueError("negative")
    return x


def generator(x):
    yield x


BROKEN = {
    no_such_method: (1, "sum", "float32"),
    no_such_name: (1, "unknown"),
    plain_helper: (1, "no_such_method", "@numba.njit"),
    text: (0, "returns", "unicode"),
    nothing: (0, "returns", "float32"),
    two: (0, "returns"),
    imaginary: (0, "returns complex128", "real"),
    added_text: (2, "add", "str"),
    raises: (2, "raises", "math.nan"),
    generator: (0, "returns"),
}


@pytest.mark.parametrize("function", BROKEN, ids=lambda f: f.__name__)
def test_what_does_not_compile(function):
    """Short, with the line of the user's file and the reason, and nothing written."""
    line, *words = BROKEN[function]
    f, out = fr.activation(function), np.full(3, 7.0)
    where = f"{__file__}:{function.__code__.co_firstlineno + line}"
    for call in (lambda: f(np.ones(3), out=out), lambda: f.ufunc):
        with refused(TypeError, function.__name__, where, *words, untouched=[out]) as caught:
            call()
    with pytest.raises(TypeError) as caught:
        f(1.0)
    assert caught.value.__suppress_context__
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200 + len(__file__)


def test_compilation_may_be_off():
    code = "try: fr.activation(lambda x: x)(1.0)\nexcept TypeError as error: print(error)"
    assert "NUMBA_DISABLE_JIT is set" in output(code, start=START, NUMBA_DISABLE_JIT="1")


def test_a_derivative_that_does_not_compile():
    f = fr.activation(own.cubic.function)
    f.derivative(no_such_method)
    x = np.ones(3)
    assert f(x).tolist() == [1, 1, 1]
    with refused(TypeError, "cubic.backward", "sum", __file__, untouched=[x]):
        f.backward(x, x, out=x)


# Where code is kept


def folder_with(tmp_path, slope=0.5, module=MODULE):
    (tmp_path / "module.py").write_text(module)
    (tmp_path / "constants.py").write_text(f"SLOPE = {slope!r}")
    return {
        "PYTHONPATH": str(tmp_path),
        "HOME": str(tmp_path / "home"),
        "NUMBA_CACHE_DIR": "",
        "XDG_CACHE_HOME": "",
    }


def test_code_is_kept_beside_the_module(tmp_path):
    places = folder_with(tmp_path)
    first, second = (output(REPORT, start=START, **places) for _ in range(2))
    assert first.startswith(f"1.0 compiled, kept in {tmp_path}/__pycache__/module.sloped-4.")
    assert second == first.replace("compiled, kept in", "loaded from")
    (file,) = (tmp_path / "__pycache__").glob("*.fastrelu")
    file.write_bytes(file.read_bytes()[:-1])  # damaged
    assert "compiled" in output(REPORT, start=START, **places)
    assert "loaded" in output(REPORT, start=START, **places)
    folder_with(tmp_path, 0.25)  # which the function reads
    assert output(REPORT, start=START, **places).startswith("0.5 compiled")
    folder_with(tmp_path, 0.25, MODULE.replace("a * x", "a * x * x"))
    assert output(REPORT, start=START, **places).startswith("1.0 compiled")
    assert len(list((tmp_path / "__pycache__").glob("*.fastrelu"))) == 1


def test_code_is_kept_where_something_can_be_written(tmp_path):
    places = folder_with(tmp_path)
    chosen = places | {"NUMBA_CACHE_DIR": str(tmp_path / "chosen")}
    assert f"kept in {tmp_path}/chosen/" in output(REPORT, start=START, **chosen)
    (tmp_path / "other").mkdir()
    places = folder_with(tmp_path / "other")
    (tmp_path / "other/__pycache__").write_text("in the way of the folder")
    assert f"kept in {tmp_path}/other/home/.cache/fastrelu/" in output(REPORT, start=START, **places)
    nowhere = places | {"HOME": "/proc/none"}
    assert output(REPORT, start=START, **nowhere) == "1.0 compiled, kept in memory"
    assert "memory" in output(REPORT, start=START, **places | {"NUMBA_CACHE_DIR": "/proc/none"})
    code = f"import os; del os.environ['HOME']\n{REPORT}"
    assert output(code, start=START, **places).startswith("1.0 ")


def test_what_has_no_module_on_disk_is_kept_in_memory():
    code = 'f = fr.activation(lambda x: 2 * x); print(f(2.0), f.codes["forward"].compiled.origin)'
    assert output(code, start=START) == "4.0 compiled, kept in memory"


def test_a_fingerprint_covers_what_is_read():
    def make(number, helper):
        def f(x):
            return number * helper(x) + own.SLOPE

        return f

    base = codecache.fingerprint(make(2.0, own.smooth))
    assert base == codecache.fingerprint(make(2.0, own.smooth))
    assert base != codecache.fingerprint(make(3.0, own.smooth))
    assert base != codecache.fingerprint(make(2.0, own.cubic.function))
    assert codecache.fingerprint(make(2.0, object())) is None


def test_one_compilation_serves_all_that_are_the_same():
    again = fr.activation(own.cubic.function)
    assert again.codes["forward"].compiled is own.cubic.codes["forward"].compiled


def test_threads_that_call_first_get_one_result():
    f, x, results = fr.activation(lambda x: x * 3.0), np.linspace(-1, 1, 1000), []
    workers = [threading.Thread(target=lambda: results.append(f(x))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 4
    for result in results:
        agree(result, x * 3.0)


# The sign of life

SPIN = """
from fastrelu import spinner
spinner.DELAY = {delay}
f = fr.activation(lambda x: 2 * x + {delay})
f(1.0)
"""


def at_a_terminal(code):
    """What stderr shows at a terminal."""
    terminal, inside = pty.openpty()
    child = os.fork()
    if child == 0:
        os.dup2(inside, 2)
        os.execv(sys.executable, [sys.executable, "-c", START + code])
    os.close(inside)
    shown = b""
    try:
        while part := os.read(terminal, 4096):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0, shown
    return shown.decode()


def test_a_long_compilation_shows_at_a_terminal():
    shown = at_a_terminal(SPIN.format(delay=0.0))
    assert "compiling <lambda>" in shown
    assert shown.endswith("\r\033[K")
    assert at_a_terminal(SPIN.format(delay=60.0)) == ""


def test_nothing_shows_elsewhere():
    assert output(SPIN.format(delay=0.0), start=START) == ""  # which checks stderr


def test_cost_is_measured():
    code = own.cubic.codes["forward"]
    address = code.compiled.addresses[0]
    assert 1 <= usercode._cost(address, code.kernel, "f") < 1000
