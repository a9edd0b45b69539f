"""Arrays of libraries that nothing is known of but the standards that they keep.

Where they lie is said by ``__cuda_array_interface__`` or by DLPack, and memory for results is that of their
array namespace.
"""

from __future__ import annotations

import numpy as np

from .arrays import CHARS, Library, Unsuitable, View, c_strides, known
from .dlpack import ON_DEVICE, Unreadable, lent

__all__ = ["Standard", "keeps_a_standard"]

LEGACY = 1  # the default stream that others wait for, as both standards count


def keeps_a_standard(kind) -> bool:
    """Whether arrays of this type may say that they are on a device."""
    host = issubclass(kind, (np.ndarray, np.generic))
    return not host and (hasattr(kind, "__cuda_array_interface__") or hasattr(kind, "__dlpack_device__"))


class Standard(Library):
    """Arrays that say where they lie; kernels run on the stream that they say, or on the default one."""

    def is_on_device(self, array):
        if hasattr(array, "__cuda_array_interface__"):
            return True
        try:
            return hasattr(array, "__dlpack_device__") and array.__dlpack_device__()[0] in ON_DEVICE
        except Exception:  # whatever its library has against sharing it
            return False

    def view(self, array, beside=()):
        found = getattr(array, "__cuda_array_interface__", None)
        if found is None:
            try:
                one = lent(array, LEGACY)
            except (BufferError, Unreadable) as error:
                kind = f"{type(array).__module__}.{type(array).__qualname__}"
                raise Unsuitable(f"a {kind} that cannot be shared: {error}") from error
            char = known(CHARS.get(one.dtype, one.dtype), beside)
            strides = one.strides or c_strides(one.shape, one.size)
            return View(one.place, one.shape, strides, char, self.device(array), one.writeable)
        dtype = np.dtype(found["typestr"])
        if not dtype.isnative:
            raise Unsuitable(f"of dtype {dtype.str}; expected this machine's byte order")
        if found.get("mask") is not None:
            raise Unsuitable("an array with a mask; expected one without")
        name = str(array.dtype) if dtype.kind == "V" else dtype.name
        char = known(CHARS.get(name, name), beside)
        place, read_only = found["data"]
        shape = tuple(found["shape"])
        strides = found.get("strides") or c_strides(shape, dtype.itemsize)
        return View(place, shape, tuple(strides), char, self.device(array), not read_only)

    def alike(self, one, other):
        return self.view(one).shape == self.view(other).shape

    def device(self, array):
        if hasattr(array, "__dlpack_device__"):
            return int(array.__dlpack_device__()[1])
        from fastrelu.kernels.cuda.driver import device_of

        return device_of(array.__cuda_array_interface__["data"][0])

    def empty(self, array, shape, dtype=None):
        namespace = self._namespace(array)
        kind = getattr(namespace, dtype) if dtype else array.dtype
        return namespace.empty(array.shape if shape is None else shape, dtype=kind, device=array.device)

    def empty_like(self, array):
        return self.empty(array, None)

    def workspace(self, array, count):
        return self.empty(array, (count,), "float64")

    def _namespace(self, array):
        if not hasattr(array, "__array_namespace__"):
            kind = f"{type(array).__module__}.{type(array).__qualname__}"
            raise Unsuitable(f"a {kind} has no __array_namespace__ to make memory with; expected `out`")
        return array.__array_namespace__()

    def stream(self, array):
        found = getattr(array, "__cuda_array_interface__", None) or {}
        return found.get("stream") or LEGACY

    def to_host(self, array):
        return np.from_dlpack(array, device="cpu")
