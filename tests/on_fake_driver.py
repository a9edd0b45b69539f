"""What reaches the driver: test_device.py runs this beside a driver that only remembers (fake_driver.c)."""

import ctypes
import struct
import sys

import numpy as np
import pytest
from simulated import LIBRARY, DeviceArray

import fastrelu as fr
from fastrelu.kernels.cuda.driver import DriverError


class Seen(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint),
        ("block", ctypes.c_uint),
        ("count", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("values", (ctypes.c_char * 8) * 16),
        ("pushed", ctypes.c_int),
        ("popped", ctypes.c_int),
        ("status", ctypes.c_int),
        ("current", ctypes.c_void_p),
    )


seen = Seen.in_dll(ctypes.CDLL(sys.argv[1]), "seen")
seen.current = 0x1000
LIBRARY.stream = lambda array: 0x5150


def integers(*indices):
    return [struct.unpack("q", bytes(seen.values[i]).ljust(8, b"\0"))[0] for i in indices]


assert fr.backends()["cuda"].detail.startswith("1 device")
x = DeviceArray(np.ones(100_000, np.float32))
y = fr.relu(x)
places = y.host.ctypes.data, x.host.ctypes.data
head = -places[0] % 16 // 4
vectors = (100_000 - head) // 4 if places[0] % 16 == places[1] % 16 else 0
assert integers(0, 1, 2, 3, 4) == [*places, 100_000, head, vectors]
assert (seen.block, seen.stream, seen.count, seen.pushed) == (256, 0x5150, 1, 0)
assert seen.grid == min(-(-max(vectors, 100_000 - 4 * vectors) // 256), 132 * 8)

# a parameter by value, between addresses and counts
fr.leaky_relu(x, negative_slope=0.375, out=y)
assert struct.unpack("f", bytes(seen.values[2]).ljust(4, b"\0")[:4]) == (0.375,)
assert integers(3) == [100_000]

# another context is current on this thread: ours for the launch only
seen.current = 0x4000
fr.relu(x, out=y)
assert (seen.pushed, seen.popped, seen.count) == (1, 1, 3)

# nothing to do, nothing launched; a launch that fails is an error of Python, and the context is put back
fr.relu(DeviceArray(np.ones(0, np.float32)))
assert seen.count == 3
seen.status = 719
with pytest.raises(DriverError, match="cuLaunchKernel: out of order"):
    fr.relu(x, out=y)
assert (seen.pushed, seen.popped) == (2, 2)
print("as expected")
