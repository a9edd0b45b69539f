"""What reaches the driver: test_device.py runs this beside a driver that only remembers (fake_driver.c)."""

import ctypes
import struct
import sys

import numpy as np
import pytest
from simulated import LIBRARY, DeviceArray

import fastrelu as fr
from fastrelu.kernels.cuda import launch, plain_calls
from fastrelu.kernels.cuda.driver import DriverError


class Seen(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint),
        ("block", ctypes.c_uint),
        ("count", ctypes.c_uint),
        ("shared", ctypes.c_uint),
        ("most", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("values", (ctypes.c_char * 8) * 16),
        ("pushed", ctypes.c_int),
        ("popped", ctypes.c_int),
        ("status", ctypes.c_int),
        ("current", ctypes.c_void_p),
        ("version", ctypes.c_int),
        ("capturing", ctypes.c_int),
        ("mode", ctypes.c_int),
        ("loads", ctypes.c_int),
        ("mode_of_load", ctypes.c_int),
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


def launches():
    """What a launch hands over, whichever way it goes."""
    seen.current = 0x1000
    fr.relu(x, out=y)
    before, pushed = seen.count, seen.pushed
    # a parameter by value, between addresses and counts
    fr.leaky_relu(x, negative_slope=0.375, out=y)
    assert struct.unpack("f", bytes(seen.values[2]).ljust(4, b"\0")[:4]) == (0.375,)
    assert integers(3) == [100_000]

    # another context is current on this thread: ours for the launch only
    seen.current = 0x4000
    fr.relu(x, out=y)
    assert (seen.pushed - pushed, seen.popped, seen.count - before) == (1, seen.pushed, 2)

    # nothing to do, nothing launched; a launch that fails is an error of Python, and the context is put back
    fr.relu(DeviceArray(np.ones(0, np.float32)))
    assert seen.count - before == 2
    seen.status = 719
    with pytest.raises(DriverError, match="cuLaunchKernel: out of order"):
        fr.relu(x, out=y)
    assert (seen.pushed - pushed, seen.popped) == (2, seen.pushed)
    seen.status = 0


launches()
device, compiled = launch.device(0), launch.direct
assert compiled is not None
launch.direct = None
device._launchers.clear()
launches()  # through the bindings, as where nothing was compiled
launch.direct, seen.current = compiled, 0x1000
device._launchers.clear()

# while a stream is captured: loaded with the thread's mode relaxed, or refused where the driver cannot
seen.capturing, seen.mode, loads = 1, 0, seen.loads
fr.relu(x, out=y)
assert (seen.loads, seen.mode_of_load, seen.mode) == (loads + 1, 2, 0)
seen.version = 12020
fr.relu(x, out=y)
with pytest.raises(DriverError, match=r"leaky_relu.*CUDA 12\.2 .*once before the capture"):
    fr.leaky_relu(x, out=y)
assert (seen.loads, seen.mode) == (loads + 1, 0)
seen.version, seen.capturing = 13000, 0

# a row that is longer than registers hold: its kernel may have all the shared memory that it does not use
logits = DeviceArray(np.zeros((67, 3 * 8192), np.float32))
for launch.direct in (None, compiled):
    device._launchers.clear()
    seen.shared = seen.most = 0
    fr.log_softmax(logits, axis=1, out=logits)
    assert (seen.block, seen.shared, seen.most) == (512, 2 * 4 * 8192, (227 << 10) - 256)


# arrays read by DLPack's table of functions

Int64s = ctypes.POINTER(ctypes.c_int64)


class Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("dtype", ctypes.c_uint8 * 4),
        ("shape", Int64s),
        ("strides", Int64s),
        ("byte_offset", ctypes.c_uint64),
    )


Describe = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(Tensor))
Stream = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int32, ctypes.c_int32, ctypes.POINTER(ctypes.c_void_p))


class Table(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint32 * 2),
        ("others", ctypes.c_void_p * 4),
        ("describe", Describe),
        ("stream", Stream),
    )


def describe(array, to):
    host, of = array.host, to.contents
    many = ctypes.c_int64 * host.ndim
    array.held = many(*host.shape), many(*(step // host.itemsize for step in host.strides))
    of.shape, of.strides = (ctypes.cast(one, Int64s) for one in array.held)
    of.data, of.byte_offset, of.ndim = host.ctypes.data - 64, 64, host.ndim
    of.device[:] = array.kind, array.ordinal
    of.dtype[:] = 4 if host.dtype == "uint16" else 2, 8 * host.itemsize, 1, 0
    return 0


def current_stream(kind, ordinal, to):
    to[0] = 0x7000 + kind
    return 0


TABLE = Table((1, 3), (0,) * 4, Describe(describe), Stream(current_stream))
new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p


class Exchanged(DeviceArray):
    __dlpack_c_exchange_api__ = new_capsule(ctypes.addressof(TABLE), b"dlpack_exchange_api", None)
    requires_grad, negative, kind = False, False, 2

    def is_neg(self):
        return self.negative


def by_table(call, *arrays, **keywords):
    """Whether a call is a plain one, its arrays read by the table, and not a general one."""
    seen.stream, count = 0, seen.count
    call(*arrays, **keywords)
    assert seen.count == count + 1
    return seen.stream == 0x7002


LIBRARY.exchanges = True
LIBRARY.empty_like = lambda array: type(array)(np.empty_like(array.host))
x, y, dy = (Exchanged(np.ones((100, 1000), np.float32)) for _ in range(3))
assert by_table(fr.relu, x, out=y)
places = y.host.ctypes.data, x.host.ctypes.data
head = -places[0] % 16 // 4
vectors = (100_000 - head) // 4 if places[0] % 16 == places[1] % 16 else 0
assert integers(0, 1, 2, 3, 4) == [*places, 100_000, head, vectors]
assert by_table(fr.gelu.backward, dy, x, out=y)
half = Exchanged(np.ones(64, np.uint16))  # bfloat16, which NumPy has not
assert by_table(fr.relu.on_device, (half,), half)
assert integers(1, 2) == [half.host.ctypes.data, 64]

# what is not plain: strides, another shape, memory that overlaps, what a framework follows, the host's memory
turned, other = (Exchanged(np.ones((1000, 4, 25), np.float32).transpose(2, 0, 1)) for _ in range(2))
assert by_table(fr.relu, turned, out=other)
assert by_table(fr.relu, turned)
assert integers(2) == [100_000]
turned = Exchanged(np.ones((1000, 100), np.float32).T)
assert not by_table(fr.relu, turned, out=y)
gaps = Exchanged(np.ones((100, 2000), np.float32)[:, ::2])
assert fr.relu.on_device((gaps,), None) is None
assert fr.relu.on_device((turned,), y) is fr.relu.on_device((Exchanged(x.host.ravel()),), y) is None
flat = x.host.ravel()
assert fr.relu.on_device((Exchanged(flat[4:]),), Exchanged(flat[:-4])) is None
x.requires_grad = True
assert fr.relu.on_device((x,), y) is None
x.requires_grad, x.negative = False, True
assert fr.relu.on_device((x,), y) is None
x.negative, x.kind = False, 1
assert fr.relu.on_device((x,), y) is None

# parameters are checked where there is no number, too
none, to = (Exchanged(np.lib.stride_tricks.as_strided(flat, (0,), (4,))) for _ in range(2))
count = seen.count
with pytest.raises(ValueError, match="beta > 0"):
    fr.softplus.on_device((none,), to, (-1.0,))
assert fr.softplus.on_device((none,), to, (1.0,)) is to
assert seen.count == count

# the error of a table that knows no stream: a function of Python's that has one where it is given 0
plain_calls.take_for_a_device(0)
x.kind = y.kind = 0
TABLE.stream = ctypes.cast(ctypes.pythonapi.PyObject_Size, Stream)
with pytest.raises(SystemError, match="null argument"):
    fr.relu.on_device((x,), y)
print("as expected")
