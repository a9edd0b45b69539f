"""Arrays of several libraries on Numba's simulator: test_device.py runs this file in a process of its own.

Their classes are stand-ins with the attributes of the real ones over memory of the process.
"""

import contextlib
import ctypes
import gc
import sys
import types

import ml_dtypes
import numpy as np
import pytest
from numba import cuda

import fastrelu as fr
from fastrelu.device import arrays, dlpack
from fastrelu.kernels.cuda import driver, launch

assert driver.SIMULATED


def numbers(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


# By the standards alone


class Lending:
    """An array that is lent by DLPack, as kept by `host`; its module is none that is known."""

    version, code, flags, kind, ordinal = (1, 0), None, 0, 2, 0

    def __init__(self, host):
        self.host, self.asked, self.shape, self.device = host, [], host.shape, "here"
        self.dtype = host.dtype

    def __dlpack_device__(self):
        return self.kind, self.ordinal

    def __dlpack__(self, *, stream=None, **more):
        if self.version is None and more:
            raise TypeError("an old library")
        self.asked.append(stream)
        capsule = self.host.__dlpack__(**({"max_version": self.version} if self.version else {}))
        if self.version is not None:
            found = dlpack.Versioned.from_address(dlpack._pointer(capsule, dlpack._name(capsule)))
            found.flags |= self.flags
            found.tensor.code = found.tensor.code if self.code is None else self.code
        return capsule

    def __array_namespace__(self):
        return Namespace


class Namespace:
    float64 = np.float64

    @staticmethod
    def empty(shape, dtype, device):
        assert device == "here"
        return Lending(np.full(shape, np.nan, dtype))


@pytest.mark.parametrize("version", [(1, 0), None])
def test_arrays_lent_by_dlpack(version, monkeypatch):
    monkeypatch.setattr(Lending, "version", version)
    host = numbers(5, 6)
    x, dy = Lending(host), Lending(np.asfortranarray(host))
    held = sys.getrefcount(host)
    y = fr.relu(x)
    assert type(y) is Lending
    np.testing.assert_array_equal(y.host, fr.relu(host))
    np.testing.assert_array_equal(fr.relu.backward(dy, x).host, fr.relu.backward(host, host))
    np.testing.assert_allclose(fr.softmax(x, axis=0).host, fr.softmax(host, axis=0), rtol=2e-7)
    assert set(x.asked) == {1}  # the default stream
    gc.collect()
    assert sys.getrefcount(host) == held  # every capsule was given back


def test_what_dlpack_says_of_writing():
    x, out = Lending(numbers(7)), Lending(numbers(7))
    assert fr.relu(x, out=out) is out
    np.testing.assert_array_equal(out.host, fr.relu(x.host))
    out.host.flags.writeable = False
    with pytest.raises(ValueError, match="'out' is read-only"):
        fr.relu(x, out=out)
    out = Lending(numbers(7))
    out.version = None  # which does not say
    with pytest.raises(ValueError, match="'out' is read-only"):
        fr.relu(x, out=out)


def test_bfloat16_that_is_lent():
    host = numbers(9).astype(ml_dtypes.bfloat16)
    x = Lending(host.view(np.uint16))
    x.code, out = 4, Lending(np.zeros(9, np.uint16))
    out.code = 4
    fr.relu(x, out=out)
    np.testing.assert_array_equal(out.host.view(host.dtype), fr.relu(host))


def test_what_is_wrong_with_a_loan(monkeypatch):
    x = Lending(numbers(3))
    launched = len(launch.device(0).launched)
    for change, message in (
        ({"code": 5}, r"'x' is of dtype DLPack code 5, 32; expected float16"),
        ({"code": 6}, r"'x' is of dtype bool32; expected float16"),
        ({"version": (1, 0), "__dlpack__": lambda self, **_: None}, "capsule|PyCapsule"),
        ({"__dlpack__": lambda self, **_: _raise(BufferError("not now"))}, "cannot be shared: not now"),
        ({"flags": dlpack.COPIED}, "cannot be shared: shared as a copy; expected its own memory"),
    ):
        with monkeypatch.context() as patched:
            for name, value in change.items():
                patched.setattr(Lending, name, value)
            with pytest.raises((TypeError, ValueError), match=message):
                fr.relu(x)
    with monkeypatch.context() as patched:
        patched.delattr(Lending, "__array_namespace__")
        with pytest.raises(TypeError, match=r"^relu: a .*Lending has no __array_namespace__.*expected `out`"):
            fr.relu(x)
        fr.relu(x, out=x)
    other = Lending(numbers(3))
    other.ordinal = 1
    with pytest.raises(ValueError, match=r"'out' is on device 1; expected device 0, where x is"):
        fr.relu(x, out=other)
    x.kind = 10  # of another maker
    with pytest.raises(TypeError, match="Lending on a device; expected an array in host memory"):
        fr.relu(x)
    assert len(launch.device(0).launched) == launched + 1


def _raise(error):
    raise error


class Describing:
    """An array that says by ``__cuda_array_interface__`` alone where it is, and on which stream."""

    def __init__(self, host, mask=None):
        self.host, self.mask = host, mask

    @property
    def __cuda_array_interface__(self):
        place = self.host.ctypes.data
        return {
            "shape": self.host.shape,
            "typestr": self.host.dtype.str,
            "data": (place, False),
            "version": 3,
            "stream": 77,
            "mask": self.mask,
        }


def test_arrays_that_describe_themselves():
    x, out = Describing(numbers(4, 3)), Describing(numbers(4, 3))
    assert fr.gelu(x, out=out) is out
    np.testing.assert_allclose(out.host, fr.gelu(x.host), rtol=2e-7)
    assert arrays.library_of(x).stream(x) == 77
    with pytest.raises(TypeError, match=r"^gelu: a .*Describing has no __array_namespace__"):
        fr.gelu(x)
    for wrong, message in (
        (Describing(x.host.astype(">f4")), "'x' is of dtype >f4; expected this machine's byte order"),
        (Describing(x.host, mask=out), "'x' is an array with a mask; expected one without"),
    ):
        for call in (fr.gelu, fr.softmax):
            with pytest.raises(TypeError, match=message):
                call(wrong, out=out)


def test_what_does_not_say_where_it_is():
    class Hidden:
        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, -1.0])

        def __dlpack_device__(self):
            raise BufferError("not to be shared")

    np.testing.assert_array_equal(fr.relu(Hidden()), [1, 0])


# JAX and Numba: attributes as in jaxlib's ArrayImpl and numba-cuda's DeviceNDArray


def in_module(name):
    """Make a class that says it is of a module."""

    def named(kind):
        kind.__module__ = name
        return kind

    return named


class OfJax:
    platform, local_hardware_id, id = "gpu", 0, 0


@in_module("jaxlib._jax")
class ArrayImpl:
    count, ready = 1, 0

    def __init__(self, host):
        self.host, self.dtype, self.shape, self.size = host, host.dtype, host.shape, host.size

    def devices(self):
        return {OfJax() for _ in range(self.count)}

    def block_until_ready(self):
        ArrayImpl.ready += 1
        return self

    def unsafe_buffer_pointer(self):
        return self.host.ctypes.data

    @property
    def __cuda_array_interface__(self):
        raise RuntimeError("not supported for bfloat16 buffers")


@pytest.fixture
def jax(monkeypatch):
    root, numpy = types.ModuleType("jax"), types.ModuleType("jax.numpy")
    root.core = types.SimpleNamespace(Tracer=type("Tracer", (), {}))
    numpy.empty = lambda shape, dtype, device: ArrayImpl(np.full(shape, np.nan, dtype))
    monkeypatch.setitem(sys.modules, "jax", root)
    monkeypatch.setitem(sys.modules, "jax.numpy", numpy)


@pytest.mark.usefixtures("jax")
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_arrays_of_jax(dtype):
    x = ArrayImpl(numbers(3, 4).astype(dtype))
    before = ArrayImpl.ready
    y = fr.relu(x)
    assert type(y) is ArrayImpl
    assert ArrayImpl.ready >= before + 2  # for x and for the result's memory
    np.testing.assert_array_equal(y.host, fr.relu(x.host))
    with pytest.raises(ValueError, match="'out' is read-only"):
        fr.relu(x, out=y)
    x.count = 2
    with pytest.raises(TypeError, match="'x' is an array over 2 devices"):
        fr.relu(x)


@in_module("numba.cuda.cudadrv.devicearray")
class DeviceNDArray:
    def __init__(self, host, stream=0):
        self.host, self.stream, self.dtype, self.shape, self.size = (
            host,
            stream,
            host.dtype,
            host.shape,
            host.size,
        )
        device = types.SimpleNamespace(id=0)
        self.gpu_data = types.SimpleNamespace(context=types.SimpleNamespace(device=device))

    @property
    def __cuda_array_interface__(self):
        return {
            "shape": self.shape,
            "strides": None if self.host.flags.c_contiguous else self.host.strides,
            "data": (self.host.ctypes.data, False),
            "typestr": self.dtype.str,
            "stream": int(self.stream) or None,
            "version": 3,
        }


def test_arrays_of_numba(monkeypatch):
    made = []

    def device_array(shape, dtype, stream):
        made.append(stream)
        return DeviceNDArray(np.full(shape, np.nan, dtype), stream)

    monkeypatch.setattr(cuda, "gpus", [contextlib.nullcontext()])
    monkeypatch.setattr(cuda, "device_array", device_array)
    monkeypatch.setattr(cuda, "device_array_like", lambda a, stream: device_array(a.shape, a.dtype, stream))
    x = DeviceNDArray(numbers(3, 4), ctypes.c_int(5).value)
    y = fr.relu(x)
    assert type(y) is DeviceNDArray
    np.testing.assert_array_equal(y.host, fr.relu(x.host))
    assert fr.logsumexp(x, axis=0).shape == (4,)
    assert made == [5, 5]
    assert arrays.library_of(x).stream(x) == 5
