"""The CUDA kernels as PTX and machine code, for which no device and no driver is needed.

Every forward and backward pass is compiled for one dtype, in turn; `bench/cuda_code.py` compiles all of them.
"""

import re
from collections import Counter

import own
import pytest

from fastrelu.table import ROWS

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'fastrelu[cuda]'")
CC = 9, 0
PASSES = [row.kernels()[pass_] for row in ROWS for pass_ in ("forward", "backward")]
CHARS = "ebfd"


def compiler():
    """Why nothing can be compiled here, or None."""
    from numba.cuda.cudadrv import nvrtc, nvvm

    try:
        nvvm.NVVM()
        nvrtc.get_supported_ccs()
    except Exception as error:  # of several packages, where their libraries are not found
        return f"CUDA's compilers are not there ({type(error).__name__}): pip install 'fastrelu[cuda]'"
    return None


MISSING = compiler()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def pattern_of(kernel):
    return "".join("a" if name in ("dy", "x", "y") else "n" for name in kernel.inputs)


def check_arguments(kernel, text):
    """The driver is given them behind each other, in the order and sizes of `Kernel.layout`."""
    head = text[text.index(".entry") : text.index("{")]
    sizes = {"u64": "q", "u32": "I", "f32": "f", "f64": "d"}
    assert "@" + "".join(sizes[kind] for kind in re.findall(r"\.param \.(\w+)", head)) == kernel.layout.format


def check(text):
    """What holds for every kernel: IEEE arithmetic, subnormals kept, registers only, nothing called."""
    assert not re.search(r"\.ftz|\.approx|div\.full|\bfma\.rz", text)
    assert ".local" not in text
    assert "call" not in text
    for instruction in re.findall(r"\b(?:add|sub|mul|div|fma)\S*\.f(?:32|64)", text):
        assert ".rn" in instruction, f"{instruction} may be contracted"


@pytest.mark.parametrize("index", range(len(PASSES)), ids=lambda i: PASSES[i].name)
def test_contiguous(index):
    from fastrelu.kernels.cuda import elementwise

    kernel, char = PASSES[index], CHARS[(index + index // 4) % 4]
    function = elementwise.function_of(kernel.name, char, "fast")
    text = elementwise.compiled(function, kernel.cost, char, pattern_of(kernel), 0).ptx(CC).text
    check(text)
    kind = {"e": "v4.u32", "b": "v4.u32", "f": "v4.f32", "d": "v2.f64"}[char]
    for way in ("ld", "st"):
        assert f"{way}.global.{kind}" in text
    assert function.single == (char != "d")
    assert not function.single or ".f64" not in text


@pytest.mark.parametrize("char", CHARS)
@pytest.mark.parametrize("name", ["relu", "elu.backward"])
def test_machine_code(name, char):
    from fastrelu.kernels.cuda import compiling, elementwise

    kernel = next(kernel for kernel in PASSES if kernel.name == name)
    function = elementwise.function_of(kernel.name, char, "high")
    for rank in (0, 3):
        compiled = elementwise.compiled(function, kernel.cost, char, pattern_of(kernel), rank)
        ptx = compiled.ptx(CC)
        check(ptx.text)
        check_arguments(compiled, ptx.text)
        made = compiling.assembled(ptx, CC)
        assert made.cubin.startswith(b"\x7fELF")
        assert made.spilled == 0
        assert 0 < made.registers <= 128


@pytest.mark.parametrize(("char", "accuracy"), [("e", "high"), ("f", "high"), ("f", "fast"), ("d", "high")])
def test_sums(char, accuracy):
    from fastrelu.kernels.cuda import compiling, elementwise, sums

    function = elementwise.term_of("prelu.backward_wrt_weight", True, char, accuracy)
    for kernel in (sums.partial(function, char, "aaa", 1, 2), sums.finished(char, 1, function.single)):
        ptx = kernel.ptx(CC)
        check(ptx.text)
        assert not function.single or ".f64" not in ptx.text
        check_arguments(kernel, ptx.text)
        assert compiling.assembled(ptx, CC).spilled == 0


def test_sums_along_one_axis_count_in_64_bits():
    from fastrelu.kernels.cuda import elementwise, sums, tallies

    function = elementwise.function_of("relu", "f", "high")
    for made in (sums, tallies):
        assert str(2**32 - 1) not in made.partial(function, "f", "a", 1, 1).ptx(CC).text


def test_what_draws_for_a_function_is_kept_as_that_is():
    from fastrelu.kernels.cuda import draws, elementwise

    for kept in (True, False):
        function = elementwise.Function("f", abs, kept=kept)
        assert draws.compiled(function, "uniform", "f", "an", 1).kept == kept


def of_memory(ptx):
    """How often a kernel's text has each instruction that reads or writes arrays."""
    return Counter(re.findall(r"(?:ld|st)\.global\S*", ptx.text))


@pytest.mark.parametrize("char", "ef")
def test_dtypes_of_plain_kernels_cost_nothing(char):
    """Arrays of one dtype are read and written whole, and nothing of them is converted."""
    from fastrelu.kernels.cuda import elementwise

    function = elementwise.function_of("relu", char, "high")
    plain = elementwise.compiled(function, 1, char, "a", 2, True).ptx(CC)
    kinds = {"e": "v4.u32", "f": "v4.f32"}
    counted = of_memory(plain)
    (load,), (store,) = ([k for k in counted if k.startswith(way)] for way in ("ld", "st"))
    assert (load, store) == (f"ld.global.{kinds[char]}", f"st.global.{kinds[char]}")
    assert counted[load] == counted[store]
    assert char == "e" or not re.findall(r"cvt\S*\.f\d+\.", plain.text)


@pytest.mark.parametrize(
    ("char", "pattern", "ends", "widths"),
    [
        ("f", "b", (), ("ld.global.v2.u32", "st.global.v4.f32")),
        ("e", "d", (), ("ld.global.v2.f64", "st.global.u32")),
        ("f", "qw", ("b",), ("ld.global.v2.u64", "ld.global.u16", "st.global.u32")),
        ("int8", "a", ("e",), ("ld.global.v2.u32", "st.global.v4.u32")),
    ],
)
def test_several_dtypes_go_by_vectors(char, pattern, ends, widths):
    from fastrelu.kernels.cuda import compiling, elementwise

    function = elementwise.function_of("relu", char, "high")
    kernel = elementwise.compiled(function, 1, char, pattern, 2, True, ends)
    ptx = kernel.ptx(CC)
    check(ptx.text)
    check_arguments(kernel, ptx.text)
    assert set(widths) <= set(of_memory(ptx))
    assert compiling.assembled(ptx, CC).spilled == 0


def others(char):
    """What is more than a kernel of the table, on arrays that vectors go over and on others."""
    import fastrelu as fr
    from fastrelu.kernels.cuda import draws, elementwise, fused, largest, masks, sums, tallies

    f, g = fr.leaky_relu, fr.leaky_relu.backward
    value, slope = f._on_device(f.kernel, char, CC), g._on_device(g.kernels["backward"], char, CC)
    forward, gradient = fused.forward(value, char, True, False), fused.gradient(slope, char, False, False)
    dropped = fused.forward(value, char, False, True)
    yield True, elementwise.compiled(forward, 1, char, "aasn", 2, True)
    yield False, elementwise.compiled(fused.forward(value, char, False, False), 1, char, "aFn", 2)
    yield False, draws.compiled(dropped, "uniform", char, "aannn", 2)
    yield False, sums.partial(gradient, char, "aaan", 1, 1, True)
    term = elementwise.term_of("prelu.backward_wrt_weight", True, char, "high")
    yield False, sums.partial(fused.term(term, char, True), char, "aaaann", 1, 1, False, True)
    yield False, tallies.partial(value, char, "an", 1, 1)
    noisy = elementwise.function_of("noisy_relu", char, "high")
    yield False, draws.compiled(fused.forward(noisy, char, False, False), "normal", char, "aa", 2)
    yield True, masks.forward(value, slope, char, 1, 0, 0, False)
    yield False, masks.backward(char, 2)
    yield False, largest.forward(char, "uint8", 2)
    yield False, largest.backward(char, "", 2)


@pytest.mark.parametrize("char", "ed")
def test_fused_operations(char):
    from fastrelu.kernels.cuda import compiling

    for by_vectors, kernel in others(char):
        ptx = kernel.ptx(CC)
        check(ptx.text)
        check_arguments(kernel, ptx.text)
        made = compiling.assembled(ptx, CC)
        assert made.spilled == 0
        assert 0 < made.registers <= 128
        assert ("ld.global.v" in ptx.text) == by_vectors
        assert char == "d" or ".f64" not in ptx.text


def test_exceptions():
    """What 16 bits and "fast" have of float64: counts of a monitor, a number a unit, and stepped_sigmoid."""
    import fastrelu as fr
    from fastrelu.kernels.cuda import elementwise, tallies

    def stepped(f, char):
        function = f._on_device(f.kernel, char, CC)
        return elementwise.compiled(function, f.kernel.cost, char, pattern_of(f.kernel), 2)

    forward, backward = fr.stepped_sigmoid, fr.stepped_sigmoid.backward
    in_double = tallies.finished(1, True), stepped(forward, "f")
    for kernel in (*in_double, stepped(forward, "e"), stepped(backward, "b")):
        text = kernel.ptx(CC).text
        check(text)
        check_arguments(kernel, text)
        assert (".f64" in text) == (kernel in in_double)


def test_own_activations():
    from fastrelu.kernels.cuda import elementwise

    for f, pattern in ((own.squashed, "an"), (own.squashed.backward, "aan"), (own.soft, "a")):
        function = f._on_device(f.kernel, "f", CC)
        text = elementwise.compiled(function, 8, "f", pattern, 0).ptx(CC).text
        assert "ld.global.v4.f32" in text
        assert ".local" not in text


def test_one_that_does_not_compile_says_where():
    import fastrelu as fr

    @fr.activation
    def listed(x):
        return [x]

    with pytest.raises(TypeError, match=r"listed does not compile: .*test_ptx\.py:\d+"):
        listed._on_device(listed.kernel, "f", CC)


def test_machine_code_is_kept_on_disk(tmp_path, monkeypatch):
    from fastrelu.kernels.cuda import elementwise

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    kernel = elementwise.compiled(elementwise.function_of("relu", "f", "high"), 1, "f", "a", 0)
    made = kernel.assembled(CC)
    assert made[1].startswith(b"\x7fELF")
    (file,) = tmp_path.rglob("*.fastrelu")
    monkeypatch.setattr(type(kernel), "ptx", lambda self, cc: pytest.fail("it was compiled again"))
    assert kernel.assembled(CC) == made
    file.write_bytes(b"nonsense")
    with pytest.raises(pytest.fail.Exception):
        kernel.assembled(CC)
