"""Which kernel a call runs and how: a pure function of the call and the settings, and its explanation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import control
from .backends import Backend, cython, numba
from .device import calls as device_calls
from .row import Kernel

__all__ = [
    "Plan",
    "Settings",
    "drawn",
    "draws",
    "elementwise",
    "empty",
    "explain",
    "largest",
    "losses_kernel",
    "meet_bfloat16",
    "plan",
    "reads_bfloat16",
    "rows_kernel",
    "sums_kernel",
    "two_results",
    "weighted_kernel",
    "weighted_logs",
]


@dataclass(frozen=True)
class Settings:
    """What a plan depends on besides the call."""

    backend: Backend
    accuracy: str
    threads: int

    @classmethod
    def current(cls):
        return cls(control.BACKEND.get(), control.ACCURACY.get(), control.get_num_threads())


@dataclass(frozen=True)
class Plan:
    """How a call will run; printing it explains why.

    Attributes
    ----------
    operation, dtype : str
    size : int
        Elements of the result.
    backend, instruction_set, path, stores : str
        `path` is "fast" (straight to the kernel), "grid" (any strides and dtypes, by our own threads),
        "ufunc" (through NumPy's machinery) or "reference"; on a device "vectors" or "numbers".
    threads : int
    reasons : tuple of str
    """

    operation: str
    dtype: str
    size: int
    backend: str
    instruction_set: str
    path: str
    threads: int
    stores: str
    reasons: tuple[str, ...]

    def __str__(self):
        head = f"{self.operation}({self.dtype}, {self.size} elements)"
        lines = [
            f"backend          {self.backend}",
            f"instruction set  {self.instruction_set}",
            f"path             {self.path}",
            f"threads          {self.threads}",
            f"stores           {self.stores}",
        ]
        return "\n  ".join([head, *lines, *(f"- {reason}" for reason in self.reasons)])


def _contiguous(strides, shape, itemsize):
    """Whether elements lie without gaps in C or Fortran order."""
    for order in (range(len(shape)), reversed(range(len(shape)))):
        expected = itemsize
        for axis in reversed(list(order)):
            if shape[axis] != 1 and strides[axis] != expected:
                break
            expected *= shape[axis]
        else:
            return True
    return False


def plan(
    kernel: Kernel,
    dtype: np.dtype,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    settings: Settings,
    *,
    in_place: bool = False,
    plain: bool = True,
    alike: bool = True,
    number: bool = False,
    index: int | None = None,
) -> Plan:
    """Decide how `kernel` runs on operands of one shape, strides and dtype.

    Parameters
    ----------
    in_place : bool
        The result is written over an operand.
    plain : bool
        Every operand is an exact, aligned ndarray in native byte order, and no keyword but ``out`` and
        the parameters is given.
    alike : bool
        The operands have one shape, dtype and order, that of the result.
    number : bool
        The only operand is a Python float or a float32 or float64 scalar.
    index : int
        Of a kernel that is not of the table.
    """
    size = int(np.prod(shape, dtype=np.int64))
    backend = settings.backend
    reasons = [f"backend {backend.name}: {backend.detail}"]
    code = "Numba's" if backend.name == "numba" else cython.ISA
    if index is None and kernel.name in cython.KERNEL_INDEX:
        if backend.first_kernel is not None:
            index = backend.first_kernel + cython.KERNEL_INDEX[kernel.name]
        elif backend.name == "numba" and numba.computes(dtype):
            reasons.append("path ufunc: nothing was compiled when fastrelu was installed")
            how = (code, "ufunc", *_words((numba.threads(kernel, size), False)))
            return Plan(kernel.name, str(dtype), size, "numba", *how, tuple(reasons))
    if index is None or not cython.computes(index, dtype):
        if backend.name != "numpy" and index is not None:
            reasons = [f"{dtype} has no SIMD kernel: the reference computes it"]
        how = ("Numba's" if index is None and backend.name == "numba" else "NumPy's", "reference")
        how += _words((1, False))
        return Plan(kernel.name, str(dtype), size, backend.name, *how, tuple(reasons))
    contiguous = _contiguous(strides, shape, dtype.itemsize)
    piece = size
    if number:
        path, why = "fast", "a number: straight to the kernel"
    elif not plain or not shape:
        path, why = "ufunc", "an operand has no axes" if plain else "an operand is not a plain ndarray"
        piece = size if contiguous else (shape[-1] if shape else 1)  # NumPy hands over row by row
    elif contiguous and alike:
        path, why = "fast", "contiguous and alike: straight to the kernel"
    else:
        path, why = "grid", "strides, shapes or dtypes differ: split into rows by our own threads"
    fast = settings.accuracy == "fast"
    made = cython.ufuncs.plan(index, dtype, piece, in_place, fast)
    reasons += [f"path {path}: {why}", *_reasons(made, piece, dtype, in_place, settings)]
    if dtype.char == "e" or dtype.name == "bfloat16":
        reasons.append("computed in float32 by formulas for 16 bits, and rounded once")
    elif fast and cython.ufuncs.has_faster_formula(index, dtype):
        reasons.append("accuracy fast: a formula of plain arithmetic, at most 4 ULP")
    elif fast:
        reasons.append("accuracy fast: no formula is faster than that of high, which is taken")
    words = _words(made)
    return Plan(kernel.name, str(dtype), size, backend.name, code, path, *words, tuple(reasons))


def _words(made):
    return made[0], "streaming" if made[1] else "ordinary"


def _reasons(made, piece, dtype, in_place, settings):
    threads, streaming = made
    yield f"threads: {threads} of {settings.threads}, by element * cost over the work that pays for a thread"
    if streaming:
        needed = piece * dtype.itemsize
        yield f"streaming stores: {needed} bytes do not fit a cache of {control.STREAMING_BYTES}"
    elif in_place:
        yield "ordinary stores: the result is written over an operand that is in cache already"
    elif piece * dtype.itemsize >= control.STREAMING_BYTES:
        yield "ordinary stores: computing takes longer"


def explain(function, *arrays, out=None):
    """Which backend, instruction set, threads and store policy a call takes, and why.

    Parameters
    ----------
    function : Activation or its ``backward``
    *arrays : array_like
        What the call would be given.
    out : ndarray, optional

    Returns
    -------
    Plan
        Its attributes are the decision, ``str`` of it the explanation.

    Examples
    --------
    >>> fr.explain(fr.relu, np.zeros(16, np.float32)).threads
    1
    """
    kernel = getattr(function, "kernel", None)
    if not isinstance(kernel, Kernel):
        raise TypeError(
            f"explain: argument 'function' is {function!r}; expected an Activation or its backward"
        )
    if not arrays:
        raise TypeError("explain: expected the arrays of the call after the function")
    if device_calls.any_on_device(*arrays, out):
        size, dtype, architecture, path, threads, reasons = device_calls.explained(
            function, kernel, arrays, out
        )
        return Plan(kernel.name, dtype, size, "cuda", architecture, path, threads, "ordinary", reasons)
    cython.meet_bfloat16()
    if hasattr(function, "operands"):
        arrays = function.operands(*arrays)
    if kernel.pass_ == "forward":  # the fast path makes arrays of lists
        arrays = [np.asarray(a) if type(a) in (list, tuple) else a for a in arrays]
    if kernel.inputs[0] == "x":  # and takes parameters that are numbers as such
        arrays = [arrays[0], *(a for a in arrays[1:] if not isinstance(a, (int, float, np.float32)))]
    given = [np.asanyarray(a) for a in arrays]
    dtype = given[0].dtype
    settings, index = Settings.current(), None
    if hasattr(function, "runs"):  # code of its own, whatever the backend
        settings, index = function.runs(settings)
    of_kernel = cython.KERNEL_INDEX.get(kernel.name) if index is None else index
    if dtype.kind in "biu" and not cython.computes(of_kernel, dtype):
        dtype = np.exp.resolve_dtypes((dtype, None))[1]
    shape = np.broadcast_shapes(*(a.shape for a in given))
    plain = all(
        type(a) is np.ndarray
        and a.flags.aligned
        and a.dtype.isnative
        and (a.dtype.kind in "biuf" or a.dtype.name == "bfloat16")
        for a in arrays
    )
    alike = all(a.shape == shape and a.dtype == dtype and a.strides == given[0].strides for a in given)
    in_place = any(out is a for a in arrays)
    number = kernel.pass_ == "forward" and out is None and type(arrays[0]) in (float, np.float32, np.float64)
    uneven = next((a for a in given if not _contiguous(a.strides, a.shape, a.dtype.itemsize)), given[0])
    strides = uneven.strides if uneven.shape == shape else np.broadcast_to(uneven, shape).strides
    return plan(
        kernel,
        dtype,
        shape,
        strides,
        settings,
        in_place=in_place,
        plain=plain,
        alike=alike,
        number=number and len(arrays) == 1,
        index=index,
    )


def reads_bfloat16():
    """Whether the current backend's kernels read and write bfloat16."""
    return control.BACKEND.get().name == "cython"


def elementwise(kernel):
    """The current backend's callable for a kernel of the table."""
    return control.BACKEND.get().elementwise(kernel)


def two_results(kernels, arrays, results, apart):
    """Both kernels of the same arrays into two arrays in one pass; False where the backend cannot."""
    return control.BACKEND.get().two_results(kernels, arrays, results, apart)


def largest(*arguments):
    """The largest of entries along an axis, or its gradient; False where no kernel reads the arrays."""
    return control.BACKEND.get().largest(*arguments)


def meet_bfloat16():
    """Let the kernels know bfloat16, which a caller has brought."""
    cython.meet_bfloat16()


def rows_kernel(name):
    """The current backend's kernel for a reduction or its gradient, or None; see `Backend.rows`."""
    return control.BACKEND.get().rows(name)


def weighted_kernel(dtype):
    """The current backend's kernel for sums of weighted exponentials over contiguous rows, or None."""
    return control.BACKEND.get().weighted(dtype.char)


def weighted_logs(*arguments):
    """logsumexp with weights of a few plain rows at once, or None; see `Backend.weighted_logs`."""
    return control.BACKEND.get().weighted_logs(*arguments)


def losses_kernel():
    """The current backend's cross entropy; see `Backend.losses`."""
    return control.BACKEND.get().losses


def sums_kernel(kernel, dtype):
    """The current backend's sum of a kernel's results over contiguous arrays, or None."""
    return control.BACKEND.get().sums(kernel, dtype.char)


def drawn(kernel, distribution, key, arrays, numbers, lead, out):
    """The current backend's call with a draw for each element, in one pass, or None; see `Backend.drawn`."""
    return control.BACKEND.get().drawn(kernel, distribution, key, arrays, numbers, lead, out)


def draws(distribution, key, first, count, dtype):
    """Draws of a key from number `first` on, as an array."""
    return control.BACKEND.get().draws(distribution, key, first, count, dtype)


def empty(shape, dtype):
    """Memory for a result; a large one of a dtype with kernels comes from the backend's cache."""
    if dtype.char not in "efd":
        return np.empty(shape, dtype)
    return control.BACKEND.get().empty(shape, dtype)
