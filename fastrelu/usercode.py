"""The code of users' activations: one function, its compiled blocks and what calls them."""

from __future__ import annotations

import ctypes
import functools
import time
from types import FunctionType

import numpy as np

from .backends import Backend, cython
from .backends.numpy import ReferenceUfunc
from .table import Kernel
from .widening import widened

__all__ = ["Code"]

TIMED = 4096  # elements: enough to tell what one costs


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
            where, reason = error.args
            name = self.kernel.name.partition(":")[2]
            raise TypeError(f"{name} does not compile: {reason} ({where})") from None

    @property
    def is_compiled(self):
        return "compiled" in self.__dict__

    @functools.cached_property
    def index(self):
        """Of the kernel among those of the compiled drivers."""
        costs = [
            _cost(address, self.kernel, c) for address, c in zip(self.compiled.addresses, "fd", strict=True)
        ]
        return cython.ufuncs.add_kernel(len(self.kernel.inputs), self.compiled.addresses, costs)

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


def _run(address, inputs):
    """Call a block over contiguous arrays of one length."""
    custom, (first, *_) = _numba(), inputs
    lanes = custom.REGISTER_BYTES // first.itemsize
    registers = -(-first.size // lanes)
    padded = [np.zeros(registers * lanes, first.dtype) for _ in range(len(inputs) + 1)]
    operands = (ctypes.c_ssize_t * (custom.REGISTERS + 1))()
    for j, a in enumerate(inputs):
        padded[j][: a.size] = a
        operands[j], operands[custom.ADVANCE + j] = padded[j].ctypes.data, lanes
    operands[custom.OUT], operands[custom.REGISTERS] = padded[-1].ctypes.data, registers
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(operands))
    return padded[-1][: first.size]


def _cost(address, kernel, char):
    """Nanoseconds for 16 elements, at least 1: what threads are worth (`Row.cost`)."""
    inputs = [np.linspace(-4, 4, TIMED, dtype=char)] * len(kernel.inputs)
    spans = []
    for _ in range(3):
        start = time.perf_counter_ns()
        _run(address, inputs)
        spans.append(time.perf_counter_ns() - start)
    return max(1, round(16 * min(spans) / TIMED))
