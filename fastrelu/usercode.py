"""The code of users' activations: one function, its compiled blocks and what calls them."""

from __future__ import annotations

import ctypes
import functools
import time
from types import FunctionType

import numpy as np

from .backends import Backend, cython
from .backends.numpy import ReferenceUfunc
from .row import Kernel
from .widening import widened

__all__ = ["Code"]

TIMED, TIMES = 8192, 20  # elements, and how often


def _numba():
    try:
        from fastrelu.kernels.numba import custom
    except ModuleNotFoundError as missing:
        if missing.name not in ("numba", "llvmlite"):
            raise
        raise ImportError(
            f"users' activations are compiled by Numba, and {missing.name} is not installed: "
            "pip install 'fastrelu[numba]'"
        ) from None
    return custom


class Code:
    """One kernel of a user's activation, compiled when it is first needed.

    Parameters
    ----------
    function : function
        Of numbers: x or y and the parameters.
    kernel : Kernel
        Says which operands there are; where the first is dy the result is multiplied by it.

    Attributes
    ----------
    bound : bool
        Whether the fast path of its activation has it.
    """

    bound = False

    def __init__(self, function: FunctionType, kernel: Kernel):
        self.function, self.kernel = function, kernel

    @functools.cached_property
    def compiled(self):
        custom = _numba()
        arguments = len(self.kernel.arguments)
        try:
            return custom.compiled(self.function, arguments, arguments < len(self.kernel.inputs))
        except custom.CompileError as error:
            raise self._refused(error) from None

    def on_device(self, char, cc):
        """The device function for a dtype and a compute capability."""
        from fastrelu.kernels.cuda import custom

        arguments = len(self.kernel.arguments)
        try:
            return custom.function_of(self.function, arguments, arguments < len(self.kernel.inputs), char, cc)
        except custom.CompileError as error:
            raise self._refused(error) from None

    def _refused(self, error):
        where, reason = error.args
        name = self.kernel.name.partition(":")[2]
        return TypeError(f"{name} does not compile: {reason} ({where})")

    @property
    def is_compiled(self):
        return "compiled" in self.__dict__

    @functools.cached_property
    def index(self):
        """Of the kernel among those of the compiled drivers."""
        costs = [
            _cost(address, self.kernel, c) for address, c in zip(self.compiled.addresses, "fd", strict=True)
        ]
        inputs, blocks = len(self.kernel.inputs), self.compiled.addresses
        return cython.ufuncs.add_kernel(inputs, blocks, costs)

    @functools.cached_property
    def ufunc(self):
        if not cython.ISA:
            raise RuntimeError(f"{self.kernel.name}.ufunc needs compiled kernels: {cython.BACKEND.detail}")
        module, _, name = f"{self.kernel.name}.ufunc".partition(":")
        made = cython.ufuncs.make_ufunc(self.index, name, f"See {self.kernel.row}.", None, "efd", None)
        return cython.findable(made, module, name)

    @functools.cached_property
    def call(self):
        """A callable with a ufunc's signature."""
        if cython.ISA:
            return cython.over_arrays(self.kernel, self.index, self.ufunc)
        return ReferenceUfunc(self.kernel, self._evaluate)

    def by_python(self, *inputs):
        """The result by the function itself, element by element: what compiled code is compared with."""
        count = len(self.kernel.arguments)
        each = np.frompyfunc(widened(self.function)[0], count, 1)
        with np.errstate(all="ignore"):
            found = each(*(np.asarray(a, np.longdouble) for a in inputs[-count:])).astype(np.float64)
            return found if len(inputs) == count else np.where(found == 0, found, inputs[0] * found)

    @property
    def backend(self):
        """What `explain` says of it."""
        _, cpu, _ = _numba().CPU
        return Backend("numba", True, f"Numba's code for {cpu}, {self.compiled.origin}")

    def _evaluate(self, *inputs):
        """The result for arrays of one dtype that broadcast, without the compiled drivers."""
        dtype = inputs[0].dtype
        work = np.dtype(np.float64 if dtype == np.float64 else np.float32)
        address = self.compiled.addresses[work == np.float64]
        shape = np.broadcast_shapes(*(np.shape(a) for a in inputs))
        full = [np.broadcast_to(a, shape).astype(work, order="C").ravel() for a in inputs]
        return _run(address, full).reshape(shape).astype(dtype, copy=False)


class _Operands:
    """Contiguous arrays of one length as a block takes them: in whole registers, with room for the result."""

    def __init__(self, inputs):
        custom, (first, *_) = _numba(), inputs
        lanes = custom.REGISTER_BYTES // first.itemsize
        registers = -(-first.size // lanes)
        self.size = first.size
        self.arrays = [np.zeros(registers * lanes, first.dtype) for _ in range(len(inputs) + 1)]
        self.words = (ctypes.c_ssize_t * (custom.REGISTERS + 1))()
        for j, (a, padded) in enumerate(zip(inputs, self.arrays, strict=False)):
            padded[: a.size] = a
            self.words[j], self.words[custom.ADVANCE + j] = padded.ctypes.data, lanes
        self.words[custom.OUT], self.words[custom.REGISTERS] = self.arrays[-1].ctypes.data, registers

    @property
    def result(self):
        return self.arrays[-1][: self.size]


_BLOCK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _run(address, inputs):
    """Call a block over contiguous arrays of one length."""
    operands = _Operands(inputs)
    _BLOCK(address)(ctypes.addressof(operands.words))
    return operands.result


def _cost(address, kernel, char):
    """Nanoseconds for 16 elements, at least 1: what threads are worth (`Row.cost`)."""
    operands = _Operands([np.linspace(-4, 4, TIMED, dtype=char)] * len(kernel.inputs))
    block, place, spans = _BLOCK(address), ctypes.addressof(operands.words), []
    for _ in range(TIMES):
        start = time.perf_counter_ns()
        block(place)
        spans.append(time.perf_counter_ns() - start)
    return max(1, round(16 * min(spans) / TIMED))
