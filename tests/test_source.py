"""What the source tree promises about itself, read from its text and from the compiled modules."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastrelu as fr
from fastrelu import reference
from fastrelu.backends import cython
from fastrelu.table import KERNELS, REDUCTIONS, ROWS

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "kernels"
FORMULAS = sorted((SOURCE / "formulas").rglob("*.pxi"))
HEADERS = sorted(SOURCE.glob("**/*.h"))
FUNCTION = re.compile(r"^cdef inline ([VWNX]) (\w+)\((.*)\) noexcept nogil:$", re.MULTILINE)

pytestmark = pytest.mark.skipif(not FORMULAS, reason="the source tree is not beside the tests")


def code(path):
    """The text without comments, so that words may explain what code must not say."""
    text = path.read_text()
    if path.suffix == ".h":
        return re.sub(r"//.*|/\*.*?\*/", "", text, flags=re.DOTALL if "/*" in text else 0)
    return re.sub(r"#.*", "", text)


def violations(paths, pattern):
    """'file:line: text' for every match in the code of the files."""
    found = []
    for path in paths:
        for number, line in enumerate(code(path).splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    return found


# Formulas


def test_formulas_hold_no_pointer():
    """No address, no indirection, no memory; a constant array's element 0 and 1 are its two parts."""
    assert violations(FORMULAS, r"&|->|<[^>]*\*\s*>|\w\s*\*\s*[,)]|\bvoid\b|\bsizeof\b|\bmalloc\b") == []
    assert violations(FORMULAS, r"\b(load|store|memcpy|prefetch)\b") == []
    indices = violations(FORMULAS, r"\[(?![01]\])")
    assert indices == []


def test_formulas_name_no_dtype_and_no_instruction_set():
    assert violations(FORMULAS, r"\b(float|double|float\d+|int|long|half|npy_\w+|vec_[fd]|__m\d+)\b") == []
    assert violations(FORMULAS, r"(?i)_mm\d*_|__AVX|__SSE|__FMA|\b(avx|sse|neon|fma|x86)\w*") == []
    assert violations(FORMULAS, r"#\s*if|\bDEF\b|\bIF\b|cdef extern|cimport|include") == []
    # a formula is the same text for both types; what must differ lives in kernels/math
    assert violations(FORMULAS, r"\bif (V|W) is\b|\bwide_[fd]\b") == []


def test_formulas_are_functions_of_the_vocabulary_only():
    for path in FORMULAS:
        rest = FUNCTION.sub("", code(path))
        assert not re.search(r"^\S", rest, re.MULTILINE), f"{path.name} holds more than formulas"
        for kind, name, arguments in FUNCTION.findall(code(path)):
            for argument in arguments.split(","):
                assert re.fullmatch(rf"{kind} \w+", argument.strip()), f"{name}: {argument}"


def test_no_formula_of_an_activation_stands_in_a_header():
    names = {row.name for row in ROWS} | {k.formula for k in KERNELS}
    assert violations(HEADERS, rf"\b({'|'.join(sorted(names))})\b") == []
    # the reductions' row functions drive formulas that are handed to them
    allowed = {SOURCE / f"loops/{name}.h" for name in ("rows", "rows_forward", "rows_backward")}
    others = [path for path in HEADERS if path not in allowed]
    assert violations(others, rf"\b\w*({'|'.join(REDUCTIONS)})\w*\b") == []
    mathematics = r"\b(exp|expm1|log|log1p|tanh|erf|erfc)f?\s*\("
    assert violations(others, mathematics) == []
    for path in allowed:
        given = re.findall(r"\(\*(\w+)\)\(", code(path))  # pointers to functions among the arguments
        called = [
            line
            for line in violations([path], mathematics)
            if not re.search(rf"\b({'|'.join(given)})\(", line)
        ]
        assert called == [], f"{path.name} calls what it was not given"


def test_every_formula_of_the_table_exists_once():
    found = [name for path in FORMULAS for _, name, _ in FUNCTION.findall(path.read_text())]
    assert len(found) == len(set(found))
    for kernel in KERNELS:
        assert kernel.formula in found, f"{kernel.formula} is not in kernels/formulas"
        assert callable(getattr(reference, kernel.formula)), f"{kernel.formula} is not in the reference"
    signatures = {n: a for path in FORMULAS for _, n, a in FUNCTION.findall(path.read_text())}
    for kernel in KERNELS:
        names = tuple(argument.split()[1] for argument in signatures[kernel.formula].split(","))
        assert names == kernel.arguments, f"{kernel.formula} spells its arguments in another way"


def test_a_derivative_stands_beside_its_formula():
    activations = {kernel.formula: row.name for row in ROWS for kernel in row.kernels().values()}
    for path in FORMULAS:
        order = [activations.get(name) for _, name, _ in FUNCTION.findall(path.read_text())]
        order = [name for name in order if name]  # without helpers
        runs = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
        assert len(runs) == len(set(runs)), f"{path.name}: an activation's formulas are torn apart: {runs}"


# Instruction sets


def definitions(path):
    """The names that an instruction set's header defines, in its order."""
    return re.findall(
        r"^(?:static ALWAYS_INLINE|template<> struct|template<class T> struct|#define)\s+"
        r"(?:vec<\w+>\s+|void\s+)?(\w+(?:<\w+>)?)(?:\((.*?)\)\s*\{)?",
        path.read_text(),
        re.MULTILINE,
    )


def test_instruction_sets_define_the_same_names_in_the_same_order():
    isas = [SOURCE / "simd" / f"{isa}.h" for isa in cython.INSTRUCTION_SETS]
    assert all(path.exists() for path in isas)
    first = definitions(isas[0])
    assert len(first) >= 12
    for path in isas[1:]:
        assert definitions(path) == first, f"{path.name} differs from {isas[0].name}"
    isas += [SOURCE / "simd" / name for name in ("avx2_lookup.h", "avx512_scaling.h", "avx512_sixteenths.h")]
    instructions = violations([p for p in HEADERS if p not in isas], r"_mm(256|512)_|__m(256|512)")
    assert instructions == [], "wider instructions than the baseline outside an instruction set's own header"


# Compiled modules


def modules():
    if not cython.ISA:
        return {}
    from fastrelu.kernels import ufuncs

    folder = Path(ufuncs.__file__).parent
    return {path.name.partition(".")[0]: path for path in sorted(folder.glob("*.so"))}


def tool(name):
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.parametrize("name", modules())
def test_modules_export_their_init_function_only(name):
    listing = subprocess.run(
        [tool("nm"), "-D", "--defined-only", modules()[name]], capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[-1] for line in listing.splitlines()] == [f"PyInit_{name}"]


@pytest.mark.parametrize("name", [n for n in modules() if n not in ("_avx2", "_avx512")])
def test_baseline_modules_hold_no_wider_instruction(name):
    """The probe itself, and everything that runs before it, must run on every x86-64-v2."""
    listing = subprocess.run(
        [tool("objdump"), "-d", "--no-show-raw-insn", modules()[name]],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert len(listing.splitlines()) > 1000
    wider = [
        line
        for line in listing.splitlines()
        if re.search(r"\t(v[a-z]+\w* .*%[xyz]mm|\w+ .*%[yz]mm|\w+ .*%k[0-7])", line)
    ]
    assert wider == []


@pytest.mark.parametrize(("name", "register"), [("_avx2", "%ymm"), ("_avx512", "%zmm")])
def test_wider_modules_use_their_registers(name, register):
    """Or the tests on their behalf would test the baseline again."""
    if name not in modules():
        pytest.skip("not built")
    listing = subprocess.run(
        [tool("objdump"), "-d", "--no-show-raw-insn", modules()[name]],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert listing.count(register) > 1000


@pytest.mark.parametrize("name", modules())
def test_modules_need_nothing_but_the_c_library(name):
    listing = subprocess.run(
        [tool("readelf"), "-d", modules()[name]], capture_output=True, text=True, check=True
    ).stdout
    needed = set(re.findall(r"Shared library: \[(.*?)\]", listing))
    assert needed <= {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2"}


# The table's other readers


def test_the_table_loads_without_the_package():
    folder = str(Path(fr.__file__).parent)
    code = (
        "import importlib, sys, types\n"
        "source = sys.modules['source'] = types.ModuleType('source')\n"
        f"source.__path__ = [{folder!r}]\n"
        "module = importlib.import_module('source.table')\n"
        "print(len(module.KERNELS), 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [str(len(KERNELS)), "False"]


def test_rows_are_complete():
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert len({kernel.name for kernel in KERNELS}) == len(KERNELS)
    for row in ROWS:
        assert row.summary.endswith(".")
        assert row.source
        assert row.formula
        assert row.derivative
        assert set(row.ulp) == {"forward", "backward"}
        for p in row.parameters:
            assert p.typical, f"{row.name}: tests need typical values of {p.name}"
            assert all(p.accepts(v) for v in p.typical)
            assert p.default is None or p.accepts(p.default)
