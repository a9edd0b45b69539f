"""Running kernels: compiled once for each device, launched straight through the driver.

A launch lays out its arguments and makes one call of the driver: nothing is allocated, nothing waits, so that
a stream can be captured into a graph.  Where Numba's simulator runs, it takes the place of the driver, and
the memory of the process that of the device.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numba
import numba_cuda
import numpy as np
from numba import cuda, types

from fastrelu import codecache
from fastrelu.spinner import spinning

from . import compiling
from .driver import LOADS_WHILE_CAPTURING, SIMULATED, DriverError, address, call, devices, failed

try:
    from . import direct
except ModuleNotFoundError:  # nothing was compiled
    direct = None

__all__ = ["BLOCKS_A_PROCESSOR", "THREADS", "Device", "Kernel", "device"]

THREADS = 4 if SIMULATED else 256  # of a block: in the simulator each is one of the system's
BLOCKS_A_PROCESSOR = 8
FORMATS = {types.int64: "q", types.int32: "i", types.uint32: "I", types.float32: "f", types.float64: "d"}
C_TYPES = {
    "q": ctypes.c_int64,
    "i": ctypes.c_int32,
    "I": ctypes.c_uint32,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
}


def flattened(arguments):
    """The types of a kernel's arguments, those of tuples one by one."""
    for kind in arguments:
        if isinstance(kind, (types.UniTuple, types.Tuple)):
            yield from flattened(kind)
        else:
            yield kind


def grouped(arguments, values):
    """Values in a row as arguments of these types."""
    values = iter(values)

    def take(kind):
        if isinstance(kind, (types.UniTuple, types.Tuple)):
            return tuple(map(take, kind))
        value = next(values)
        return value if isinstance(kind, types.Integer) else np.dtype(str(kind)).type(value)

    return [take(kind) for kind in arguments]


@dataclass(eq=False)
class Kernel:
    """A kernel in Python with the types of its arguments.

    Attributes
    ----------
    name : str
        Unique.
    function : callable
        Makes the function of Python; only compiling calls it.
    arguments : tuple of numba types
        Integers, reals and tuples of them.
    threads : int
        Of a block.
    kept : bool
        Whether its machine code is kept on disk under its name.
    static : int or None
        Bytes of shared memory of its own, of a kernel that a launch gives more.
    """

    name: str
    function: Callable
    arguments: tuple
    threads: int = THREADS
    kept: bool = True
    static: int | None = None

    @functools.cached_property
    def layout(self):
        """Of all arguments behind each other, each at a multiple of its size."""
        return struct.Struct("@" + self.formats)

    @functools.cached_property
    def formats(self):
        """Of its arguments, by the letters of `struct`."""
        return "".join(FORMATS[kind] for kind in flattened(self.arguments))

    def ptx(self, cc):
        """As `compiling.Ptx` for a compute capability."""
        return compiling.ptx(self.function(), self.arguments, cc, self.threads)

    def assembled(self, cc):
        """Its entry and machine code, from disk where they have been made before."""
        key = hashlib.sha256(f"{self.name} {self.threads} {cc} {_maker()}".encode()).hexdigest()
        path = codecache.path_for(compiling.ptx, self.name, f"sm_{cc[0]}{cc[1]}") if self.kept else None
        found = path and codecache.load(path, key)
        if found:
            return found
        with spinning(f"compiling {self.name} for the GPU"):
            code = self.ptx(cc)
            made = code.entry, compiling.assembled(code, cc).cubin
        if path:
            codecache.store(path, key, made)
        return made


@functools.cache
def _maker():
    """What machine code depends on besides its kernel."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    made_by = [numba.__version__, numba_cuda.__version__, *(p.read_text() for p in sources)]
    return hashlib.sha256(repr(made_by).encode()).hexdigest()


class Device:
    """A device and the kernels that were loaded onto it.

    Attributes
    ----------
    ordinal : int
    name : str
    cc : tuple of int
        Compute capability.
    processors : int
        Multiprocessors.
    shared_bytes : int
        Of shared memory that a block may have.
    """

    def __init__(self, ordinal):
        from cuda.bindings import driver

        self._driver, self.ordinal = driver, ordinal
        self._handle = call(driver.cuDeviceGet, ordinal)
        attribute = driver.CUdevice_attribute
        of = functools.partial(call, driver.cuDeviceGetAttribute)
        self.cc = (
            of(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, self._handle),
            of(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, self._handle),
        )
        self.processors = of(attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, self._handle)
        optional = attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        self.shared_bytes = of(optional, self._handle)
        self.name = call(driver.cuDeviceGetName, 256, self._handle).split(b"\0")[0].decode()
        self._context = call(driver.cuDevicePrimaryCtxRetain, self._handle)
        self._launchers = {}
        self._lock = threading.Lock()

    def launch(self, kernel, blocks, stream, values, shared=0):
        """Run `kernel` in so many blocks on a stream, with the values of its arguments in a row.

        Each block has `shared` bytes of shared memory besides the kernel's own.
        """
        run = self._launchers.get(kernel) or self._loaded(kernel, stream)
        run(blocks, stream, values, shared)

    def _loaded(self, kernel, stream):
        """What runs a kernel, whose machine code is on the device then."""
        with self._lock:
            if kernel not in self._launchers:
                entry, cubin = kernel.assembled(self.cc)
                with self.current(), self._capturing(kernel, stream):
                    module = call(self._driver.cuModuleLoadData, cubin)
                    handle = call(self._driver.cuModuleGetFunction, module, entry.encode())
                    if kernel.static is not None:
                        self._let_share(handle, self.shared_bytes - kernel.static)
                self._launchers[kernel] = self._launcher(kernel, handle)
            return self._launchers[kernel]

    def _let_share(self, handle, most):
        """A kernel has to ask for more than 48 KB of shared memory."""
        asked = self._driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        call(self._driver.cuFuncSetAttribute, handle, asked, most)

    def _launcher(self, kernel, handle):
        if direct is None:
            return functools.partial(self._launch_by_bindings, kernel, handle)
        return direct.Launcher(self._direct, int(handle), kernel.threads, kernel.formats)

    @functools.cached_property
    def _direct(self):
        names = "cuCtxGetCurrent", "cuCtxPushCurrent", "cuCtxPopCurrent", "cuLaunchKernel"
        return direct.Context(int(self._context), tuple(map(address, names)), failed)

    def _launch_by_bindings(self, kernel, handle, blocks, stream, values, shared):
        with self.current():
            arguments = tuple(values), tuple(C_TYPES[kind] for kind in kernel.formats)
            where = handle, blocks, 1, 1, kernel.threads, 1, 1, shared, stream
            call(self._driver.cuLaunchKernel, *where, arguments, 0)

    @contextlib.contextmanager
    def current(self):
        """The device's context as that of this thread."""
        driver = self._driver
        pushed = int(call(driver.cuCtxGetCurrent)) != int(self._context)
        if pushed:
            call(driver.cuCtxPushCurrent, self._context)
        try:
            yield
        finally:
            if pushed:
                call(driver.cuCtxPopCurrent)

    @contextlib.contextmanager
    def _capturing(self, kernel, stream):
        """Loading, which is no work of a stream and so is let be while one is captured.

        Raises
        ------
        DriverError
            If this driver cannot load then.
        """
        driver = self._driver
        status = call(driver.cuStreamIsCapturing, stream)
        if status == driver.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE:
            yield
            return
        if (version := call(driver.cuDriverGetVersion)) < LOADS_WHILE_CAPTURING:
            raise DriverError(
                f"{kernel.name} has not been launched before, and a driver for CUDA {version // 1000}."
                f"{version % 1000 // 10} loads nothing while a stream is captured: make the call once "
                "before the capture"
            )
        relaxed = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        before = call(driver.cuThreadExchangeStreamCaptureMode, relaxed)
        try:
            yield
        finally:
            call(driver.cuThreadExchangeStreamCaptureMode, before)


class SimulatedDevice:
    """Numba's simulator in the place of a device."""

    ordinal, name, cc, processors, shared_bytes = 0, "Numba's simulator", (9, 0), 1, 1 << 15

    def __init__(self):
        self.launched = []  # names of kernels, for tests

    def launch(self, kernel, blocks, stream, values, shared=0):
        self.launched.append(kernel.name)
        run = _simulated(kernel)
        run[blocks, kernel.threads, 0, shared](*grouped(kernel.arguments, values))


@functools.cache
def _simulated(kernel):
    body = cuda.jit(device=True)(kernel.function())

    def run(*arguments):
        with np.errstate(all="ignore"):  # of each thread
            body(*arguments)

    return cuda.jit(run)


@functools.cache
def device(ordinal) -> Device:
    """The device with a number, ready to launch on."""
    devices()
    return SimulatedDevice() if SIMULATED else Device(ordinal)
