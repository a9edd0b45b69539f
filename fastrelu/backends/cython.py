"""The compiled kernels: one instruction set is chosen at import, by probing the CPU or by FASTRELU_ISA."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys

import numpy as np

from ..draws import DISTRIBUTIONS
from ..table import KERNELS, ROW_KERNELS, ROWS
from . import Backend

__all__ = [
    "BACKEND",
    "BUILT",
    "INSTRUCTION_SETS",
    "ISA",
    "KERNEL_INDEX",
    "LENDERS",
    "computes",
    "findable",
    "make_ufunc",
    "meet_bfloat16",
    "over_arrays",
    "ufuncs",
]

# Best first, with the x86-64 level that each needs.
INSTRUCTION_SETS = {"avx512": 4, "avx2": 3, "x86_64_v2": 2}
INTEGERS = "?bBhHiIlLqQ"  # dtype characters
KERNEL_INDEX = {kernel.name: index for index, kernel in enumerate(KERNELS)}

try:
    import fastrelu.kernels.ufuncs as ufuncs
except ModuleNotFoundError as missing:
    if missing.name != "fastrelu.kernels.ufuncs":
        raise
    ufuncs = None


def _built():
    if ufuncs is None:
        return ()
    return tuple(isa for isa in INSTRUCTION_SETS if importlib.util.find_spec(f"fastrelu.kernels._{isa}"))


def _choose():
    """The instruction set to load, or None where nothing was compiled.

    Raises
    ------
    ImportError
        If FASTRELU_ISA names one that is unknown, not built, or beyond this CPU.
    """
    pinned = os.environ.get("FASTRELU_ISA", "").replace("-", "_")
    known = ", ".join(INSTRUCTION_SETS)
    if pinned and pinned not in INSTRUCTION_SETS:
        raise ImportError(f"FASTRELU_ISA: unknown instruction set {pinned!r}; expected one of {known}")
    if pinned and pinned not in BUILT:
        built = ", ".join(BUILT) or "none"
        raise ImportError(f"FASTRELU_ISA: {pinned!r} was not built into this installation (built: {built})")
    if pinned and not ufuncs.supports(INSTRUCTION_SETS[pinned]):
        raise ImportError(f"FASTRELU_ISA: this CPU does not have {pinned!r}")
    runs = [isa for isa in BUILT if ufuncs.supports(INSTRUCTION_SETS[isa])]
    return pinned or next(iter(runs), None)


BUILT = _built()
ISA = _choose()


# Which set lends another the blocks that it exports none of (kernels/loops/tabulated.h).
LENDERS = {"avx512": "avx2"}


def _load(isa):
    # The module's own start-up code uses its instructions, so it is imported only after the probe.
    module = importlib.import_module(f"fastrelu.kernels._{isa}")
    lower = importlib.import_module(f"fastrelu.kernels._{LENDERS.get(isa, isa)}")
    ufuncs.use_sums(module)
    ufuncs.use_fused(module)
    ufuncs.use_blocks(module, lower, [(len(kernel.inputs), kernel.cost) for kernel in KERNELS])


def meet_bfloat16():
    """Let the kernels know bfloat16 once ml_dtypes is imported: before a ufunc sees its first of them."""
    module = sys.modules.get("ml_dtypes")
    if ISA and module is not None:
        ufuncs.use_bfloat16(np.dtype(module.bfloat16))


def computes(index, dtype):
    """Whether a compiled kernel, and not the reference, serves this dtype as it is."""
    return bool(ISA) and ufuncs.plan(index, dtype, 1, False) is not None


def _rows():
    """name -> kernel; logsumexp0 and softmax0 are those without the 0, told so."""
    made = {}
    for index, name in enumerate(ROW_KERNELS):
        made[name] = functools.partial(ufuncs.reduce_rows, index, False)
        function, dot, backward = name.partition(".")
        if function != "log_softmax":
            made[f"{function}0{dot}{backward}"] = functools.partial(ufuncs.reduce_rows, index, True)
    return made.get


def _losses():
    return functools.partial(ufuncs.cross_entropy, len(ROW_KERNELS))


def _weighted(char):
    return ufuncs.weighted_sums if char in "fd" else None


def _by_reference(kernel):
    def evaluate(*inputs):
        from .. import reference

        return reference.evaluate(kernel, *inputs)

    return evaluate


def make_ufunc(kernel, first=0):
    """A ufunc over a kernel of the table, or over the same with other blocks, which begin at `first`."""
    keeps_integers = any(row.keeps_integers for row in ROWS if row.qualname == kernel.row)
    chars = (INTEGERS if keeps_integers and kernel.pass_ == "forward" else "") + "efdg"
    doc = f"{kernel.pass_.replace('_', ' ').capitalize()} pass: see fastrelu.{kernel.row}."
    name = f"{kernel.name}.ufunc"
    index, reference = first + KERNEL_INDEX[kernel.name], _by_reference(kernel)
    ufunc = ufuncs.make_ufunc(index, name, doc, reference, chars, kernel.identity)
    return findable(ufunc, "fastrelu", name)


def findable(ufunc, module, name):
    """Tell pickle where a ufunc is; before NumPy 2.2 it searches sys.modules instead."""
    with contextlib.suppress(AttributeError):
        ufunc.__module__ = module
        ufunc.__qualname__ = name
    return ufunc


def over_arrays(kernel, index, ufunc):
    """A kernel as a callable: over whole arrays by our own threads where possible, else by its ufunc."""
    lead = kernel.inputs.index(kernel.arguments[0])  # x or y: the one whose dtype the result has

    def call(*inputs, **keywords):
        own, asked = inputs[lead].dtype, keywords.get("dtype")
        # not `asked in (None, own)`: to NumPy the dtype float64 equals None
        if keywords.keys() <= {"out", "dtype"} and (asked is None or asked == own):
            result = ufuncs.call_arrays(index, inputs, keywords.get("out"), lead)
            if result is not None:
                return result
        return ufunc(*inputs, **keywords)  # what was not given must not arrive: out=None silences a warning

    return call


@functools.cache
def _elementwise(kernel):
    return over_arrays(kernel, KERNEL_INDEX[kernel.name], UFUNCS[kernel])


@functools.cache
def _sums(kernel, char):
    if char not in "fd":
        return None
    index = KERNEL_INDEX[kernel.name]

    def sum_terms(lengths, arrays, result, dx=None, gradient=kernel):
        ufuncs.sum_terms(index, KERNEL_INDEX[gradient.name], lengths, arrays, result, dx)

    return sum_terms


def _drawn(kernel, distribution, key, arrays, numbers, lead, out):
    index = KERNEL_INDEX[kernel.name]
    return ufuncs.call_drawn(index, arrays, numbers, out, lead, DISTRIBUTIONS.index(distribution), key)


def _two_results(kernels, arrays, results, apart):
    first, second = (KERNEL_INDEX[kernel.name] for kernel in kernels)
    return ufuncs.call_two(first, second, arrays, results, apart)


def _draws(distribution, key, first, count, dtype):
    return ufuncs.draws(DISTRIBUTIONS.index(distribution), key, first, count, dtype == np.float64)


if ISA:
    _load(ISA)
    UFUNCS = {kernel: make_ufunc(kernel) for kernel in KERNELS}
    meet_bfloat16()
    BACKEND = Backend(
        "cython",
        True,
        f"SIMD kernels for {ISA}",
        elementwise=_elementwise,
        rows=_rows(),
        empty=ufuncs.empty,
        sums=_sums,
        weighted=_weighted,
        weighted_logs=ufuncs.weighted_logsumexp,
        losses=_losses(),
        drawn=_drawn,
        two_results=_two_results,
        largest=ufuncs.largest,
        draws=_draws,
        first_kernel=0,
    )
elif ufuncs is None:
    BACKEND = Backend(
        "cython", False, "nothing was compiled when fastrelu was installed (no C++ compiler was found)"
    )
else:
    BACKEND = Backend("cython", False, f"this CPU has none of the instruction sets built: {', '.join(BUILT)}")
