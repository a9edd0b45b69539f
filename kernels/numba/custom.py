"""A user's function of numbers as blocks (``loops/exports.h``), which the compiled drivers run as their own.

A block is one loop over contiguous operands around the function, which LLVM inlines and vectorises.  Operands
that stay the same for a whole block, as numbers for parameters do, are read once before it.

Blocks are kept: in the process by what they were made from, and on disk beside the user's module.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import itertools
import math
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

import llvmlite
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils, entrypoints
from numba.core.compiler import CompileResult
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from fastrelu import codecache
from fastrelu.spinner import spinning

from . import extension
from .loop import independent

__all__ = [
    "ADVANCE",
    "CPU",
    "MAX_INPUTS",
    "OUT",
    "REGISTERS",
    "REGISTER_BYTES",
    "CompileError",
    "Compiled",
    "check_raises_nothing",
    "compiled",
    "reason",
    "value_of",
    "where",
]

REALS = types.float32, types.float64
MAX_INPUTS, REGISTER_BYTES = 8, 64  # as exports.h and run.h have them: a test compares
ADVANCE, OUT, REGISTERS = MAX_INPUTS, 2 * MAX_INPUTS, 2 * MAX_INPUTS + 1  # words of Operands, after `in`
EACH_CASE_UP_TO = 2  # parameters: a loop for each choice of those that stay; with more, for all and none


class CompileError(Exception):
    """The function does not compile: where in the user's file, and why, in a line."""


@dataclass(frozen=True)
class Compiled:
    """The blocks of one function, for float32 and for float64.

    Attributes
    ----------
    addresses : tuple of int
    libraries : tuple
        What holds the code.
    origin : str
        Whether they were compiled or loaded, and where they are kept.
    """

    addresses: tuple[int, int]
    libraries: tuple
    origin: str


CPU = cpu_target.target_context.codegen().magic_tuple()
_SOURCES = [Path(__file__).with_name(name).read_bytes() for name in ("custom.py", "loop.py")]
_MADE_BY = (CPU, numba.__version__, llvmlite.__version__, numba.config.OPT, _SOURCES)
MAKER = hashlib.sha256(repr(_MADE_BY).encode()).hexdigest()

_lock = threading.RLock()
_by_key: dict[str, Compiled] = {}
_unnamed = itertools.count()


def compiled(function: FunctionType, inputs: int, gradient: bool) -> Compiled:
    """The blocks of `function`, which takes `inputs` numbers.

    Those of a `gradient` take one operand more, the first, and multiply by it.

    Raises
    ------
    CompileError
    """
    with _lock:
        entrypoints.init_all()  # code that is loaded may need what extensions of Numba bring, ours among them
        extension.init()
        made_of = codecache.fingerprint(function)
        key = made_of and hashlib.sha256(f"{made_of} {inputs} {gradient} {MAKER}".encode()).hexdigest()
        if key and key in _by_key:
            return _by_key[key]
        path = key and codecache.path_for(function, "gradient" if gradient else "values", MAKER[:8])
        found = path and _load(path, key)
        if not found:
            found = _compile(function, inputs, gradient, key or f"unnamed_{next(_unnamed)}", path)
        if key:
            _by_key[key] = found
        return found


def _load(path, key):
    state = codecache.load(path, key)
    if state is None:
        return None
    codegen = cpu_target.target_context.codegen()
    libraries = tuple(codegen.unserialize_library(library) for _, library in state)
    named = zip(libraries, (name for name, _ in state), strict=True)
    addresses = tuple(library.get_pointer_to_function(name) for library, name in named)
    return Compiled(addresses, libraries, f"loaded from {path}")


def _compile(function, inputs, gradient, key, path):
    with spinning(f"compiling {function.__qualname__}"):
        made = [_block(function, real, inputs, gradient, key) for real in REALS]
    libraries = tuple(block._library for block in made)
    state = [(block.native_name, block._library.serialize_using_object_code()) for block in made]
    kept = path if path and codecache.store(path, key, state) else "memory"
    return Compiled(tuple(block.address for block in made), libraries, f"compiled, kept in {kept}")


# --- the user's function ------------------------------------------------------------------------------------


def check_raises_nothing(function):
    """A function that raises cannot be compiled into a loop, nor into a kernel."""
    for step in dis.get_instructions(function):
        if step.opname == "RAISE_VARARGS":
            at = f"{function.__code__.co_filename}:{step.positions.lineno}"
            raise CompileError(at, "it raises an exception, which no loop can; return math.nan instead")


def _typed(function, real, inputs):
    """The function, compiled for numbers of one type."""
    if numba.config.DISABLE_JIT:
        raise CompileError(where(function, None), "NUMBA_DISABLE_JIT is set")
    check_raises_nothing(function)
    jitted = numba.njit(error_model="numpy", forceinline=True)(function)
    arguments = (real,) * inputs
    try:
        jitted.compile(arguments)
    except Exception as error:  # Numba's own, and whatever Python says of a name that is not there
        raise CompileError(where(function, getattr(error, "loc", None)), reason(error)) from None
    made = jitted.overloads[arguments]
    result = types.unliteral(made.signature.return_type)
    if not isinstance(result, (types.Float, types.Integer, types.Boolean)):
        raise CompileError(where(function, None), f"it returns {result}; expected a real number")
    return made


def where(function, loc):
    """The place in the user's file that a compilation did not get past."""
    code = function.__code__
    inside = loc is not None and loc.filename == code.co_filename
    return f"{code.co_filename}:{loc.line if inside else code.co_firstlineno}"


def reason(error):
    """Numba's message without what it says of its own workings."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("Failed in ")]
    reason = lines[0].partition(" Raised from")[0].rstrip(".") if lines else type(error).__name__
    if reason.endswith("found for signature:"):
        reason = f"{reason.removesuffix(' found for signature:')} takes {lines[1].removeprefix('>>> ')}"
    reason = re.sub(r"Function\(<built-in function (\w+)>\)", r"\1", reason)
    if reason.endswith("Cannot determine Numba type of <class 'function'>"):
        reason += "; decorate it with @numba.njit"
    return reason


# --- the block ----------------------------------------------------------------------------------------------


def _block(function, real, inputs, gradient, key):
    """A C function of ``Operands``, as numba.cfunc makes it."""
    loops = _Loops(_typed(function, real, inputs), real, inputs, gradient)

    @intrinsic
    def run(context, operands):
        return types.void(operands), loops.write

    def block(operands):
        run(operands)

    # the names of symbols are those of the function, and may occur once in a process
    block.__name__ = block.__qualname__ = f"fastrelu_{key[:32]}"
    return numba.cfunc(types.void(types.CPointer(types.intp)), error_model="numpy")(block)


def value_of(function, real, inputs, gradient):
    """LLVM code for one value of a function, for the body of an intrinsic that takes a tuple of numbers.

    Raises
    ------
    CompileError
    """
    loops = _Loops(_typed(function, real, inputs), real, inputs, gradient)

    def write(context, builder, _, arguments):
        context.add_linking_libs([loops.function.library])
        numbers = cgutils.unpack_tuple(builder, arguments[0], gradient + inputs)
        return loops.value(context, builder, numbers)

    return write


@dataclass(frozen=True)
class _Loops:
    """LLVM code for loops around a function, one for each case of which parameters stay."""

    function: CompileResult
    real: types.Type
    inputs: int
    gradient: bool

    def write(self, context, builder, _, arguments):
        """For the body of an intrinsic whose argument points to Operands."""
        word, pointer = context.get_value_type(types.intp), context.get_value_type(self.real).as_pointer()
        words = [builder.load(cgutils.gep_inbounds(builder, arguments[0], k)) for k in range(REGISTERS + 1)]
        data = [builder.inttoptr(words[j], pointer) for j in range(self.gradient + self.inputs)]
        out = builder.inttoptr(words[OUT], pointer)
        n = builder.mul(words[REGISTERS], word(8 * REGISTER_BYTES // self.real.bitwidth))
        context.add_linking_libs([self.function.library])

        stays = [builder.icmp_signed("==", words[ADVANCE + j], word(0)) for j in range(len(data))]

        def choose(cases):
            """A loop for each case of which operands stay, and one for all others."""
            if not cases:
                steps = [builder.select(stay, word(0), word(1)) for stay in stays]
                return self._loop(context, builder, n, data, out, {}, steps)
            case, *others = cases
            as_here = (stay if j in case else builder.not_(stay) for j, stay in enumerate(stays))
            with builder.if_else(functools.reduce(builder.and_, as_here)) as (yes, no):
                with yes:
                    fixed = {j: builder.load(data[j]) for j in case}
                    self._loop(context, builder, n, data, out, fixed, None)
                with no:
                    choose(others)

        choose(self._cases())
        return context.get_dummy_value()

    def _cases(self):
        parameters = range(self.gradient + 1, self.gradient + self.inputs)
        sizes = range(len(parameters), -1, -1) if len(parameters) <= EACH_CASE_UP_TO else (len(parameters), 0)
        return [case for size in sizes for case in itertools.combinations(parameters, size)]

    def _loop(self, context, builder, n, data, out, fixed, steps):
        with independent(builder, n) as (i, access):
            values = []
            for j, pointer in enumerate(data):
                if j in fixed:
                    values.append(fixed[j])
                    continue
                position = builder.mul(i, steps[j]) if steps else i
                values.append(access(builder.load(builder.gep(pointer, [position]))))
            access(builder.store(self.value(context, builder, values), builder.gep(out, [i])))

    def value(self, context, builder, values):
        """The result for one element: the function's, or dy times it, rounded once."""
        described = self.function.fndesc
        callee = context.declare_function(builder.module, described)
        status, found = context.call_conv.call_function(
            builder, callee, described.restype, described.argtypes, values[self.gradient :]
        )
        wide = self.real
        if self.gradient and described.restype == types.float64:
            wide = types.float64
        slope = context.cast(builder, found, described.restype, wide)
        # what it calls may raise, which is nothing that a loop could pass on
        slope = builder.select(status.is_error, ir.Constant(slope.type, math.nan), slope)
        if not self.gradient:
            return slope
        dy = context.cast(builder, values[0], self.real, wide)
        # as `chain` of loops/blocks.h: nothing flows where the slope is 0, and a NaN is negative
        nan = ir.Constant(slope.type, -math.nan)
        still = builder.select(builder.fcmp_unordered("uno", slope, slope), nan, slope)
        flows = builder.fcmp_ordered("!=", slope, ir.Constant(slope.type, 0.0))
        return context.cast(builder, builder.select(flows, builder.fmul(dy, slope), still), wide, self.real)
