"""The elementwise kernels: over contiguous memory by vectors, and over any strides number by number."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from numba import cuda, types

from . import formulas
from .integers import KEPT, clipped
from .launch import Kernel
from .operands import applied, arrays_of, lanes_of
from .storage import STORAGES, located

__all__ = ["Function", "compiled", "flat", "function_of", "strided", "term_of"]

# Vectors that a thread loads before it computes, of all arrays together: what is cheap does nothing but wait
# for memory.  More would take registers, and with them threads, from a processor.
CHEAP, IN_FLIGHT = 2, {True: 4, False: 2}
INDEX = types.int64


@dataclass(frozen=True)
class Function:
    """A device function of numbers.

    Attributes
    ----------
    name : str
        Under which its kernels are kept.
    body : callable
    gives_pairs : bool
        Whether its results are pairs of float64.
    kept : bool
        Whether its name says all that it depends on, so that machine code may be kept on disk.
    single : bool
        Whether it computes in float32 alone, and what is drawn for it and summed of it does, too.
    """

    name: str
    body: Callable
    gives_pairs: bool = False
    kept: bool = True
    single: bool = False

    def __hash__(self):  # of every call
        return hash(self.name)


@functools.cache
def function_of(name, char, accuracy) -> Function:
    """The function of a kernel of the table for a dtype at an accuracy.

    Raises
    ------
    TypeError
        If it has no formula for devices.
    """
    of, name = name, name.replace(".", "_")
    if STORAGES[char].integral and of in KEPT:
        return Function(f"{name}_{char}", clipped(char, KEPT[of]))
    if not hasattr(formulas, f"{name}_f"):
        raise TypeError(f"{of}: there is no kernel for arrays on a device; expected an array in host memory")
    single = char in "eb" or (char, accuracy) == ("f", "fast")
    name = f"{name}_{'s' if single else char}"
    return Function(name, getattr(formulas, name), single=single)


@functools.cache
def term_of(name, summed, char, accuracy) -> Function:
    """The function whose results are summed: of a gradient of parameters without rounding, else as it is."""
    function = function_of(name, char, accuracy)
    if function.single or not summed:
        return function
    name = f"{name.replace('.', '_')}_term_{char}"
    return Function(name, getattr(formulas, name), gives_pairs=char == "d")


@functools.cache
def compiled(function, cost, char, pattern, rank, by_vectors=False, ends=()) -> Kernel:
    """The kernel that runs a function over arrays: contiguous ones where `rank` is 0.

    Parameters
    ----------
    function : Function
    cost : int
        That of its row.
    char : str
        The dtype that is computed in; see `STORAGES`.
    pattern : str
        Where its arguments come from; see ``operands``.
    rank : int
        How many axes there are.
    by_vectors : bool
        Of several axes, the last counts whole vectors.
    ends : tuple of str
        Where its results go; see ``operands``.
    """
    storage, arrays = STORAGES[char], 1 + arrays_of(pattern)
    arguments = types.UniTuple(INDEX, arrays), types.UniTuple(storage.real, pattern.count("n")), INDEX
    if rank == 0:
        count = 1 if char == "d" and cost > CHEAP else max(1, IN_FLIGHT[cost <= CHEAP] // arrays_of(pattern))
        make = functools.partial(flat, function.body, storage, pattern, count, ends)
        arguments += INDEX, INDEX
    else:
        make = functools.partial(strided, function.body, storage, pattern, rank, by_vectors, ends)
        arguments += types.UniTuple(types.uint32, rank - 1), types.UniTuple(INDEX, rank * arrays)
    name = f"{function.name}.{char}.{pattern}.{rank}{'v' * by_vectors}" + ".to." * bool(ends) + ".".join(ends)
    return Kernel(name, make, arguments, kept=function.kept)


def flat(f, storage, pattern, count, ends=()):
    """A kernel over contiguous arrays of one length.

    ``kernel(places, numbers, n, head, vectors)``: `head` numbers stand before the first whole vector, then
    `vectors` of them, none where arrays differ in alignment.  Each thread has `count` vectors in flight.
    """
    size, ahead, lanes = storage.size, count - 1, lanes_of(storage, pattern, ends)
    one_by_one = applied(f, storage, pattern, ends=ends)
    by_vector = applied(f, storage, pattern, lanes, ends=ends)
    by_vectors = applied(f, storage, pattern, lanes, count, ends)
    vector_bytes = lanes * size

    def kernel(places, numbers, n, head, vectors):
        start, step = types.int64(cuda.grid(1)), types.int64(cuda.gridsize(1))
        begin, stride = head * size, step * vector_bytes
        i = start
        if ahead > 0:
            while i + ahead * step < vectors:
                by_vectors(places, numbers, begin + i * vector_bytes, stride)
                i += (ahead + 1) * step
        while i < vectors:
            by_vector(places, numbers, begin + i * vector_bytes, stride)
            i += step
        i = start
        while i < n - vectors * lanes:
            after = i if i < head else i + vectors * lanes
            one_by_one(places, numbers, after * size, stride)
            i += step

    return kernel


def strided(f, storage, pattern, rank, by_vectors=False, ends=()):
    """A kernel over arrays with strides of their own, those of 0 included, of less than 2^32 items.

    ``kernel(places, numbers, n, lengths, strides)``: see `located`.
    """
    find = located(rank, 1 + arrays_of(pattern))
    run = applied(f, storage, pattern, lanes_of(storage, pattern, ends) if by_vectors else 1, ends=ends)

    def kernel(places, numbers, n, lengths, strides):
        i, step = types.int64(cuda.grid(1)), types.int64(cuda.gridsize(1))
        while i < n:
            run(find(places, i, lengths, strides), numbers, 0, 0)
            i += step

    return kernel
