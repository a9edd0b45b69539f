"""Arrays on a CUDA device: whose they are, where they lie, and results of the same library on its stream.

A library's arrays are known by the package of their type, and that package is there already whenever one of
its arrays is, so nothing is imported here.  Where a library's own attributes say what is needed in less time
than ``__cuda_array_interface__``, they are asked.
"""

from __future__ import annotations

import functools
import math
import sys
from dataclasses import dataclass, replace

import numpy as np

__all__ = [
    "CHARS",
    "EVERY",
    "INTEGERS",
    "LIBRARIES",
    "SIZES",
    "Library",
    "Unsuitable",
    "View",
    "c_strides",
    "dtype_name",
    "is_on_device",
    "known",
    "library_of",
    "library_of_type",
    "view",
]

# Bytes by the character of a dtype; "b" stands for bfloat16, which NumPy has no character for.
SIZES = {"e": 2, "b": 2, "f": 4, "d": 8}
NAMES = {"e": "float16", "b": "bfloat16", "f": "float32", "d": "float64"}
CHARS = {name: char for char, name in NAMES.items()}
FLOATS = frozenset(NAMES)
# Integers and bool go by the names of their dtypes.
INTEGERS = {f"{u}int{8 * size}": size for size in (1, 2, 4, 8) for u in ("", "u")}
EVERY = {**INTEGERS, "bool": 1}
NAMES |= {name: name for name in EVERY}
SIZES |= EVERY


def dtype_name(char) -> str:
    return NAMES[char]


@dataclass(slots=True, unsafe_hash=True)  # a frozen one takes three times as long to make
class View:
    """Where an array lies.

    Attributes
    ----------
    place : int
        The address of its first number.
    shape : tuple of int
    strides : tuple of int
        In bytes.
    char : str
        A key of `SIZES`.
    device : int
    writeable : bool
    rounded : bool
        Whether beside arrays of fewer digits its numbers count as rounded to theirs.
    """

    place: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    char: str
    device: int
    writeable: bool = True
    rounded: bool = True

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        return math.prod(self.shape)

    @property
    def extent(self):
        """The first address and the one behind the last byte."""
        ends = [(n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)]
        low = sum(end for end in ends if end < 0)
        high = sum(end for end in ends if end > 0)
        return self.place + low, self.place + high + SIZES[self.char]

    def reshape(self, shape):
        """A vector with further axes of length 1."""
        (n,), (step,) = self.shape, self.strides
        lengths = tuple(n if length != 1 else 1 for length in shape)
        return replace(self, shape=lengths, strides=tuple(step if one != 1 else 0 for one in lengths))


class Unsuitable(TypeError):
    """An array that no kernel takes: what it is and what was expected."""


def known(char, beside=()):
    """The character of a float dtype, or the name of one `beside`, where these are wanted too."""
    if char in FLOATS or char in beside:
        return char
    more = ["an integer dtype"] * bool(beside) + ["bool"] * ("bool" in beside)
    raise Unsuitable(f"of dtype {char}; expected {' or '.join([*CHARS, *more])} on a device")


@functools.lru_cache(maxsize=1024)
def c_strides(shape, size):
    """Strides in bytes of an array in C order."""
    strides, step = [], size
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


@functools.lru_cache(maxsize=1024)
def _in_bytes(steps, size):
    return tuple(step * size for step in steps)


class Library:
    """A library whose arrays may lie on a device: what follows is true of CuPy, and of most others.

    Attributes
    ----------
    package : str
    exchanges : bool
        Whether its arrays may be read by DLPack's table: they can be written and say ``requires_grad`` and
        ``is_neg()``.
    """

    exchanges = False

    def __init__(self, package):
        self.package = package
        self.chars = {}  # by dtype

    @property
    def module(self):
        return sys.modules[self.package]

    def is_on_device(self, array) -> bool:
        return hasattr(array, "__cuda_array_interface__")

    def name(self, array):
        """The character of its dtype, or its name."""
        dtype = array.dtype
        try:
            return self.chars[dtype]
        except KeyError:
            name = str(dtype).removeprefix("torch.")
            return self.chars.setdefault(dtype, CHARS.get(name, name))

    def char(self, array, beside=()):
        """The character of its dtype, floating or among those `beside`."""
        char = self.chars.get(array.dtype) or self.name(array)
        return char if char in FLOATS or char in beside else known(char, beside)

    def plain(self, array):
        """The place of a writeable array in C order, and size, character and device; None of any other."""
        if not self.is_on_device(array):
            return None
        try:
            found = self.view(array)
        except Unsuitable:  # a general call says why, or takes it
            return None
        if not found.writeable or found.strides != c_strides(found.shape, SIZES[found.char]):
            return None
        return found.place, found.size, found.char, found.device

    def alike(self, one, other) -> bool:
        """Whether two arrays have one shape."""
        return one.shape == other.shape

    def place(self, array) -> int:
        """The address of its first number."""
        return self.view(array, EVERY).place

    def view(self, array, beside=()) -> View:
        """Where it lies; arrays of dtypes `beside` the floating ones where these are wanted, too."""
        char, found = self.char(array, beside), array.__cuda_array_interface__
        place, read_only = found["data"]
        shape = tuple(found["shape"])
        strides = found.get("strides") or c_strides(shape, SIZES[char])
        return View(place, shape, tuple(strides), char, self.device(array), not read_only)

    def device(self, array) -> int:
        return array.device.id

    def empty(self, array, shape, dtype=None):
        """A new array of the kind, dtype (or that of a name) and device of `array`, in C order."""
        with self.module.cuda.Device(self.device(array)):
            return self.module.empty(shape, dtype or array.dtype)

    def empty_like(self, array):
        """The same with the shape of `array`, and its order where it has one."""
        with self.module.cuda.Device(self.device(array)):
            return self.module.empty_like(array)

    def workspace(self, array, count):
        """`count` float64 on the device of `array`, from where the library takes its memory."""
        with self.module.cuda.Device(self.device(array)):
            return self.module.empty(count, np.float64)

    def stream(self, array) -> int:
        """The library's current stream on the device of `array`."""
        return self.module.cuda.get_current_stream(self.device(array)).ptr

    def to_host(self, array):
        """A copy in NumPy, for which the host waits."""
        return self.module.asnumpy(array)


class Torch(Library):
    exchanges = True

    def is_on_device(self, array):
        return array.is_cuda

    def view(self, array, beside=()):
        if array.requires_grad and self.module.is_grad_enabled():
            raise Unsuitable(
                "a tensor that requires a gradient; expected one that does not: use .detach(), or a function "
                "of fastrelu.torch"
            )
        if array.is_neg():
            raise Unsuitable("a tensor with the negative bit; expected .resolve_neg() of it")
        char = self.char(array, beside)
        strides = _in_bytes(array.stride(), SIZES[char])
        return View(array.data_ptr(), tuple(array.shape), strides, char, array.get_device())

    def plain(self, array):
        if not array.is_cuda or not array.is_contiguous() or array.is_neg():
            return None
        if array.requires_grad and self.module.is_grad_enabled():
            return None
        char = self.name(array)
        return (array.data_ptr(), array.numel(), char, array.get_device()) if char in FLOATS else None

    def place(self, array):
        return array.data_ptr()

    def device(self, array):
        return array.get_device()

    def empty(self, array, shape, dtype=None):
        kind = getattr(self.module, dtype) if dtype else array.dtype
        return self.module.empty(shape, dtype=kind, device=array.device)

    def empty_like(self, array):
        return self.module.empty_like(array)

    def workspace(self, array, count):
        return self.module.empty(count, dtype=self.module.float64, device=array.device)

    def stream(self, array):
        # what torch.cuda.current_stream is built on, in a tenth of the time
        return self.module._C._cuda_getCurrentRawStream(array.get_device())

    def to_host(self, array):
        array = array.detach().cpu()
        return (array.float() if array.dtype is self.module.bfloat16 else array).numpy()


class Cupy(Library):
    def is_on_device(self, array):
        return isinstance(array, self.module.ndarray)

    def plain(self, array):
        if not array.flags.c_contiguous:
            return None
        data, char = array.data, self.name(array)
        return (data.ptr, array.size, char, data.device_id) if char in FLOATS else None

    def place(self, array):
        return array.data.ptr

    def device(self, array):
        return array.data.device_id

    def stream(self, array):
        return self.module.cuda.get_current_stream(array.data.device_id).ptr


class Numba(Library):
    """Numba has no current stream: its arrays may say which they are used on, else it is the default one."""

    @property
    def _cuda(self):
        return sys.modules["numba.cuda"]

    def device(self, array):
        return array.gpu_data.context.device.id if array.size else self._cuda.get_current_device().id

    def empty(self, array, shape, dtype=None):
        with self._cuda.gpus[self.device(array)]:
            return self._cuda.device_array(shape, dtype or array.dtype, stream=array.stream)

    def empty_like(self, array):
        with self._cuda.gpus[self.device(array)]:
            return self._cuda.device_array_like(array, stream=array.stream)

    def workspace(self, array, count):
        with self._cuda.gpus[self.device(array)]:
            return self._cuda.device_array(count, np.float64, stream=array.stream)

    def stream(self, array):
        return 0 if array.stream == 0 else int(array.stream)

    def to_host(self, array):
        return array.copy_to_host()


class Jax(Library):
    """JAX computes on streams of its own and shares none, so it has to have finished before a kernel begins,
    and the kernel before JAX goes on: the one library with which a call waits for the device.  Its arrays
    are not written to by anyone else, and ``__cuda_array_interface__`` knows no bfloat16 of them.
    """

    def is_on_device(self, array):
        if isinstance(array, sys.modules["jax"].core.Tracer):  # which is nowhere yet
            return False
        return hasattr(array, "devices") and next(iter(array.devices())).platform in ("gpu", "cuda")

    def device(self, array):
        return next(iter(array.devices())).local_hardware_id

    def view(self, array, beside=()):
        if (count := len(array.devices())) > 1:
            raise Unsuitable(f"an array over {count} devices; expected one on one of them")
        char, shape, place = self.char(array, beside), tuple(array.shape), 0
        if array.size:
            place = array.block_until_ready().unsafe_buffer_pointer()
        return View(place, shape, c_strides(shape, SIZES[char]), char, self.device(array), False)

    def empty(self, array, shape, dtype=None):
        device = next(iter(array.devices()))
        made = sys.modules["jax.numpy"].empty(shape, dtype or array.dtype, device=device)
        return made.block_until_ready()

    def empty_like(self, array):
        return self.empty(array, array.shape)

    def workspace(self, array, count):
        # float64 may be switched off
        made = sys.modules["jax.numpy"].empty(2 * count, np.float32, device=next(iter(array.devices())))
        return made.block_until_ready()

    def stream(self, array):
        return 0

    def to_host(self, array):
        return np.asarray(array)


LIBRARIES = {
    "cupy": Cupy("cupy"),
    "torch": Torch("torch"),
    "numba": Numba("numba"),
    "numba_cuda": Numba("numba"),
    "jax": Jax("jax"),
    "jaxlib": Jax("jax"),
}


@functools.cache
def library_of_type(kind) -> Library | None:
    """The library of arrays of this type; None of any other."""
    for base in kind.__mro__:
        library = LIBRARIES.get(base.__module__.partition(".")[0])
        if library is not None:
            return library
    from .standard import Standard, keeps_a_standard

    return Standard(kind.__module__) if keeps_a_standard(kind) else None


def library_of(array) -> Library | None:
    """The library of an array of its own kind; None of anything else."""
    return library_of_type(type(array))


def is_on_device(value) -> bool:
    """Whether this is an array in the memory of a CUDA device."""
    library = library_of_type(type(value))
    return library is not None and library.is_on_device(value)


def view(name, argument, array, beside=()) -> View:
    """Where a device array lies, one of dtypes `beside` the floating ones where these are wanted too.

    Raises
    ------
    TypeError
        If its library does not share it, or its dtype is none that is supported.
    ValueError
        If its numbers do not lie at multiples of their size.
    """
    try:
        found = library_of(array).view(array, beside)
    except Unsuitable as error:
        raise TypeError(f"{name}: argument {argument!r} is {error}") from None
    size = SIZES[found.char]
    if found.place % size or any(step % size for step in found.strides):
        raise ValueError(
            f"{name}: argument {argument!r} is an array of {dtype_name(found.char)} that begins or steps "
            f"between its numbers; expected multiples of {size} bytes"
        )
    return found
