"""A library of device arrays for Numba's simulator: their memory is that of the process.

For a process of its own, started with ``NUMBA_ENABLE_CUDASIM=1`` (``conftest.simulated``).  With
``ON_HARDWARE=1`` in its place the same tests run on a device, in memory that it shares with the host.
"""

import ctypes
import os
import sys

import numpy as np
import pytest

from fastrelu.device import arrays as device

sys.setswitchinterval(1e-4)  # the simulator waits for its threads in a loop, which should give way to them

NAME = __name__.partition(".")[0]
ON_HARDWARE = bool(os.environ.get("ON_HARDWARE"))
MANAGED, ALIGNMENT = 1 << 30, 256  # bytes, of which none are given back


class Managed:
    """Memory that host and device share, behind each other from one block."""

    def __init__(self):
        from cuda.bindings import driver

        from fastrelu.kernels.cuda import launch
        from fastrelu.kernels.cuda.driver import call

        self.device = launch.device(0)
        call(driver.cuCtxSetCurrent, self.device._context)
        everywhere = driver.CUmemAttach_flags.CU_MEM_ATTACH_GLOBAL
        self.start = int(call(driver.cuMemAllocManaged, MANAGED, everywhere.value))
        self.end = self.start + MANAGED
        self.free = self.start
        self.wait = lambda: call(driver.cuCtxSynchronize)
        self.device.launched, run = [], self.device.launch

        def remember(kernel, *arguments):
            self.device.launched.append(kernel.name)
            run(kernel, *arguments)

        self.device.launch = remember

    def of(self, host):
        """The array as it is there already, or a copy with its strides and alignment."""
        low, high = np.lib.array_utils.byte_bounds(host)
        if not host.size or self.start <= low < self.end:
            return host
        place = -(-self.free // ALIGNMENT) * ALIGNMENT + low % ALIGNMENT
        self.free = place + high - low
        if self.free > self.end:
            raise MemoryError(f"tests need more than {MANAGED} bytes")
        ctypes.memmove(place, low, high - low)
        memory = (ctypes.c_char * (high - low)).from_address(place)
        return np.ndarray(host.shape, host.dtype, memory, host.ctypes.data - low, host.strides)


managed = Managed() if ON_HARDWARE else None


def shared(host):
    """An array whose memory the device sees, too."""
    return managed.of(host) if ON_HARDWARE else host


def shared_memory(self, shape, dtype):
    """One array for all threads of a block; the simulator's own now and then gives one to each."""
    if shape == 0:
        return self._dynshared.view(dtype)
    caller = sys._getframe(1)
    kind = dtype if isinstance(dtype, (type, np.dtype)) else str(dtype)  # one of Numba's
    return self._allocations.setdefault((caller.f_code, caller.f_lineno), np.empty(shape, kind))


if os.environ.get("NUMBA_ENABLE_CUDASIM"):
    from numba.cuda.simulator.kernelapi import FakeCUDAShared

    FakeCUDAShared.array = shared_memory


class DeviceArray:
    """An array that says it is on a device; `host` is what it holds."""

    def __init__(self, host, ordinal=0, read_only=False):
        self._host, self.ordinal, self.read_only = shared(host), ordinal, read_only

    @property
    def host(self):
        if ON_HARDWARE:
            managed.wait()
        return self._host

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)

    @property
    def __cuda_array_interface__(self):
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._host.ctypes.data, self.read_only),
            "strides": self._host.strides,
            "version": 3,
        }


class Simulated(device.Library):
    """Counts what it allocates, and knows that nothing else is asked of it."""

    made = 0

    def device(self, array):
        return array.ordinal

    def empty(self, array, shape, dtype=None):
        self.made += 1
        made = np.empty(shape, dtype or array.dtype)
        made.fill(np.nan if made.dtype.kind not in "biu" else 99)
        return DeviceArray(made, array.ordinal)

    def empty_like(self, array):
        self.made += 1
        return DeviceArray(np.full_like(array.host, np.nan), array.ordinal)

    def workspace(self, array, count):
        self.made += 1
        return DeviceArray(np.full(count, np.nan), array.ordinal)

    def stream(self, array):
        return 0

    def to_host(self, array):
        return array.host


LIBRARY = device.LIBRARIES[NAME] = Simulated(NAME)


def check_refusal(kind, one, other, call, *arguments):
    """A call that raises an error with two texts in its message, before anything is launched."""
    from fastrelu.kernels.cuda import launch

    before = len(launch.device(0).launched)
    with pytest.raises(kind) as caught:
        call(*arguments)
    assert caught.match(one)
    assert caught.match(other)
    assert len(launch.device(0).launched) == before
