"""A library of device arrays for Numba's simulator: their memory is that of the process.

For a process of its own, started with ``NUMBA_ENABLE_CUDASIM=1`` (``conftest.simulated``).
"""

import sys

import numpy as np

from fastrelu import device

sys.setswitchinterval(1e-4)  # the simulator waits for its threads in a loop, which should give way to them

NAME = __name__.partition(".")[0]


class DeviceArray:
    """An array that says it is on a device; `host` is what it holds."""

    def __init__(self, host, ordinal=0, read_only=False):
        self.host, self.ordinal, self.read_only = host, ordinal, read_only

    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)

    @property
    def __cuda_array_interface__(self):
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.host.ctypes.data, self.read_only),
            "strides": self.host.strides,
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
