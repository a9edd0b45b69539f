"""Arrays of other libraries: in by DLPack without a copy, and a result of the same kind out."""

from __future__ import annotations

import sys

import numpy as np

__all__ = ["as_kind_of", "has_array_ufunc", "is_foreign", "is_subclass", "like", "to_numpy"]


def has_array_ufunc(value) -> bool:
    """Whether `value` wants ufuncs to be handed to it."""
    # of the type: that of an instance, a bound method, is equal to none of another
    return getattr(type(value), "__array_ufunc__", None) not in (None, np.ndarray.__array_ufunc__)


def is_subclass(value) -> bool:
    """Whether `value` is an ndarray of a class of its own."""
    return isinstance(value, np.ndarray) and type(value) is not np.ndarray


def is_foreign(value) -> bool:
    """Whether `value` is another library's array rather than something NumPy converts."""
    if isinstance(value, (np.ndarray, np.generic, int, float, complex, list, tuple, str, bytes)):
        return False
    return hasattr(value, "__cuda_array_interface__") or (
        hasattr(value, "__dlpack__") and not has_array_ufunc(value)
    )


def to_numpy(name, argument, value):
    """The memory of a foreign array as an ndarray: zero copy or an error.

    Raises
    ------
    TypeError
        If the array lives on a device, its library will not share it, or it is being differentiated, which
        calls of plain functions do not see: the message names the bridge that does.
    """
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if (followed := _followed(value)) is not None:
        raise TypeError(
            f"{name}: argument {argument!r} is a {kind} {followed.format(name.partition('.')[0])}"
        )
    if hasattr(value, "__dlpack_device__") and value.__dlpack_device__()[0] == 1:  # kDLCPU
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise TypeError(
                f"{name}: argument {argument!r} is a {kind} that cannot be shared: {error}"
            ) from error
    raise TypeError(
        f"{name}: argument {argument!r} is a {kind} on a device; expected an array in host memory"
    )


def _followed(value):
    """What to say of a value whose use a framework follows: its kind, and the function that is followed."""
    framework = type(value).__module__.partition(".")[0]
    if framework == "torch" and value.requires_grad:
        return "that requires grad; expected a detached one, or fastrelu.torch.{}, which knows gradients"
    if framework == "jax" and isinstance(value, sys.modules["jax"].core.Tracer):
        return "that jax traces; expected an array, or fastrelu.jax.{}, which can be traced"
    return None


def like(value, array):
    """`array` as the kind of array that `value` is."""
    library = sys.modules[type(value).__module__.partition(".")[0]]
    if library.__name__.startswith("jax"):
        library = sys.modules["jax.numpy"]
    return library.from_dlpack(np.asarray(array))


def as_kind_of(operands, result):
    """`result` as the kind of array that the first operand is which is another library's or wraps results."""
    for value in operands:
        if is_foreign(value):
            return like(value, result)
        if hasattr(value, "__array_wrap__") and not isinstance(value, (np.ndarray, np.generic)):
            return value.__array_wrap__(np.asanyarray(result), None, False)
    return result
