"""Python functions over NumPy arrays as targets of XLA's foreign function interface, without a copy.

XLA hands a C function a frame that points to its buffers; this one, made by `ctypes`, lays arrays over them
and calls the Python function whose number stands in the frame.  The declarations are those of
``xla/ffi/api/c_api.h``, version 0, whose structs grow only at their ends.
"""

from __future__ import annotations

import ctypes
import mmap
from ctypes import POINTER, Structure, c_char, c_int, c_int64, c_size_t, c_uint32, c_void_p

import jax
import ml_dtypes
import numpy as np

__all__ = ["TARGET", "number"]

TARGET = "fastrelu"
METADATA = 1  # the kind of extension by which XLA asks what a target supports
VERSION = 0, 1
INTERNAL = 13  # XLA_FFI_Error_Code_INTERNAL
ERROR_CREATE = 48  # where its address stands in XLA_FFI_Api
DTYPES = {
    number: np.dtype(dtype)
    for number, dtype in (
        *((1, np.bool_), (2, np.int8), (3, np.int16), (4, np.int32), (5, np.int64)),
        *((6, np.uint8), (7, np.uint16), (8, np.uint32), (9, np.uint64)),
        *((10, np.float16), (11, np.float32), (12, np.float64), (16, ml_dtypes.bfloat16)),
    )
}


def _struct(*fields):
    return type("Struct", (Structure,), {"_fields_": fields})


HEAD = ("struct_size", c_size_t), ("extension", c_void_p)
Buffer = _struct(*HEAD, ("dtype", c_int), ("data", c_void_p), ("rank", c_int64), ("dims", POINTER(c_int64)))
Buffers = _struct(*HEAD, ("size", c_int64), ("types", c_void_p), ("items", POINTER(POINTER(Buffer))))
Scalar = _struct(("dtype", c_int), ("value", POINTER(c_int64)))
Attributes = _struct(
    *HEAD, ("size", c_int64), ("types", c_void_p), ("names", c_void_p), ("items", POINTER(POINTER(Scalar)))
)
Frame = _struct(
    *HEAD,
    ("api", c_void_p),
    ("context", c_void_p),
    ("stage", c_int),
    ("inputs", Buffers),
    ("outputs", Buffers),
    ("attributes", Attributes),
)
Version = _struct(*HEAD, ("major", c_int), ("minor", c_int))
Metadata = _struct(("struct_size", c_size_t), ("version", Version), ("traits", c_uint32))
Extension = _struct(
    ("struct_size", c_size_t), ("type", c_int), ("next", c_void_p), ("metadata", POINTER(Metadata))
)
Error = _struct(*HEAD, ("message", ctypes.c_char_p), ("code", c_int))
CreateError = ctypes.CFUNCTYPE(c_void_p, POINTER(Error))

# XLA maps its results anew for every call.  On huge pages there are 512 times fewer of the system's faults,
# which take longer than a kernel.
HUGE_PAGE = 1 << 21
ADVICE = getattr(mmap, "MADV_HUGEPAGE", None)
if ADVICE is not None:
    _madvise = ctypes.CFUNCTYPE(c_int, c_void_p, c_size_t, c_int)(("madvise", ctypes.CDLL(None)))

_functions = []


def number(function):
    """A number for ``function(inputs, outputs)``, which takes lists of arrays and fills the outputs.

    Compiled code refers to it as long as the process lives, and so does this module.
    """
    _functions.append(function)
    return len(_functions) - 1


def _arrays(buffers):
    return [_array(buffers.items[i].contents) for i in range(buffers.size)]


def _array(buffer):
    shape, dtype = buffer.dims[: buffer.rank], DTYPES[buffer.dtype]
    size = dtype.itemsize
    for n in shape:
        size *= n
    if size == 0:
        return np.empty(shape, dtype)
    return np.frombuffer((c_char * size).from_address(buffer.data), dtype).reshape(shape)


def _advise(array):
    """Ask for huge pages below an array, where it covers them."""
    start = -(-array.ctypes.data // HUGE_PAGE) * HUGE_PAGE
    length = (array.ctypes.data + array.nbytes) // HUGE_PAGE * HUGE_PAGE - start
    if length > 0:
        _madvise(start, length, ADVICE)  # advice only: whether it is taken does not matter


@ctypes.CFUNCTYPE(c_void_p, POINTER(Frame))
def _handler(frame):
    frame = frame.contents
    if frame.extension:
        extension = Extension.from_address(frame.extension)
        if extension.type == METADATA:
            version = extension.metadata.contents.version
            version.major, version.minor = VERSION
            extension.metadata.contents.traits = 0
            return None
    try:
        function = _functions[frame.attributes.items[0].contents.value[0]]
        outputs = _arrays(frame.outputs)
        for output in outputs:
            if ADVICE is not None and output.nbytes >= 2 * HUGE_PAGE:
                _advise(output)
        function(_arrays(frame.inputs), outputs)
    except Exception as error:
        message = f"{type(error).__name__}: {error}".encode()
        create = CreateError(c_void_p.from_address(frame.api + ERROR_CREATE).value)
        return create(ctypes.byref(Error(ctypes.sizeof(Error), None, message, INTERNAL)))
    return None


def _register():
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (c_void_p, ctypes.c_char_p, c_void_p)
    address = ctypes.cast(_handler, c_void_p)
    jax.ffi.register_ffi_target(TARGET, new(address, b"xla._CUSTOM_CALL_TARGET", None), platform="cpu")


_register()
