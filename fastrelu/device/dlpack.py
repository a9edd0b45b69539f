"""What DLPack says of an array: the standard's capsules, read without taking them.

A capsule that nobody takes is given back to its library when it is collected, and holds nothing then that the
array itself does not hold.
"""

from __future__ import annotations

import ctypes
import math
from typing import NamedTuple

__all__ = ["ON_DEVICE", "Lent", "Unreadable", "lent"]

ON_DEVICE = (2, 13)  # kDLCUDA, kDLCUDAManaged
VERSION = 1, 0
READ_ONLY, COPIED = 1, 2  # flags
KINDS = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}


class Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class Versioned(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint32 * 2),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    )


class Lent(NamedTuple):
    """An array in DLPack's words; strides are in bytes, or None for those of C order."""

    place: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: str
    size: int
    writeable: bool


class Unreadable(TypeError):
    """A capsule that nothing is known of."""


_name = ctypes.pythonapi.PyCapsule_GetName
_name.restype, _name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


def lent(array, stream) -> Lent:
    """Where an array lies, for work on a stream, for which its library sees to its own work's end.

    Without a version, which old libraries do not know, nothing says whether it may be written, so it may not.

    Raises
    ------
    Unreadable
    BufferError
        By the library, if it does not share the array.
    """
    try:
        capsule = array.__dlpack__(stream=stream, max_version=VERSION, copy=False)
    except TypeError:
        capsule = array.__dlpack__(stream=stream)
    name, writeable = _name(capsule), False
    if name == b"dltensor_versioned":
        found = Versioned.from_address(_pointer(capsule, name))
        if found.version[0] != VERSION[0]:
            raise Unreadable(f"shared by DLPack {found.version[0]}.{found.version[1]}; expected 1.x")
        if found.flags & COPIED:
            raise Unreadable("shared as a copy; expected its own memory")
        tensor, writeable = found.tensor, not found.flags & READ_ONLY
    elif name == b"dltensor":
        tensor = Tensor.from_address(_pointer(capsule, name))
    else:
        raise Unreadable(f"shared by a capsule {name!r}; expected one of DLPack")
    size = tensor.bits * tensor.lanes // 8
    kind = KINDS.get(tensor.code, f"DLPack code {tensor.code}, ") + str(tensor.bits)
    kind = "bool" if kind == "bool8" else kind
    dtype = kind if tensor.lanes == 1 else f"{kind} in {tensor.lanes} lanes"
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(size * step for step in tensor.strides[: tensor.ndim]) if tensor.strides else None
    place = (tensor.data or 0) + tensor.byte_offset if math.prod(shape) else 0
    return Lent(place, shape, strides, dtype, size, writeable)
