"""What LLVM makes of every kernel: loops over packed registers, and no call of a function of mathematics."""

import platform
import re

import pytest

from fastrelu.table import KERNELS

numba = pytest.importorskip("numba")

from fastrelu.kernels.numba import blocks, elementwise, entries  # noqa: E402

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86 assembly")

# two operands or more of 256 or 512 bits
PACKED = re.compile(
    r"\tv(?:add|sub|mul|div|sqrt|max|min|and|andn|or|xor|blendm|blendv|cmp\w*?|fn?m(?:add|sub)\d+)p(?P<type>[sd])\t.*%[yz]mm"
)
CALLED = re.compile(r"(?:call\w*|jmp|movabsq)\t\$?(?P<name>[A-Za-z_]\w*)")
ALLOWED = ("memcpy", "memset", "memmove")  # a strip of numbers repeated or copied


def compiled(function):
    return numba.cfunc(blocks.SIGNATURE)(function)


def kernel(name, char):
    """A block, which is kept on disk for other tests; what was found there is machine code: that again."""
    block = elementwise.block(name, char)
    entry = f"{elementwise.plain(name)}_{char}_block"
    return compiled(getattr(entries, entry)) if block.cache_hits else block


def assembly(block):
    return block._library.get_asm_str()


@pytest.mark.parametrize("char", "fd")
@pytest.mark.parametrize("name", [kernel.name for kernel in KERNELS])
def test_every_kernel_is_packed_and_calls_no_library(name, char):
    text = assembly(kernel(name, char))
    assert PACKED.search(text), "no packed arithmetic"
    called = {match["name"] for match in CALLED.finditer(text)}
    assert not {n for n in called if not n.startswith(("_ZN", "LBB", ".LBB", *ALLOWED))}


def test_a_call_and_a_scalar_loop_would_be_noticed():
    """What the other test would say of a formula written without our vocabulary."""

    def exponential(operands):
        blocks.run(library_exp, operands, (numba.float64(0.0),))

    library_exp = numba.njit(lambda x: math_exp(x), forceinline=True, error_model="numpy")
    from math import exp as math_exp

    called = {match["name"] for match in CALLED.finditer(assembly(compiled(exponential)))}
    assert "exp" in called
