"""The elementwise kernels: over contiguous memory by vectors, and over any strides one by one."""

import functools

from numba import cuda, types

from . import formulas
from .launch import Kernel
from .storage import STORAGES, VECTOR_BYTES, applied, located

__all__ = ["MOST_AXES", "flat", "flat_kernel", "function_of", "strided", "strided_kernel"]

MOST_AXES = 8
# Vectors that a thread loads before it computes, by the cost of the row: what is cheap waits for memory only.
IN_FLIGHT = {1: 4, 2: 4}
INDEX = types.int64


def function_of(name, char, accuracy):
    """The device function of a kernel of the table, for a dtype at an accuracy, and whether it is single."""
    name = name.replace(".", "_")
    if char == "d":
        return getattr(formulas, f"{name}_d")
    if char in "eb" or accuracy == "fast":
        return getattr(formulas, f"{name}_s", None) or getattr(formulas, f"{name}_f")
    return getattr(formulas, f"{name}_f")


@functools.cache
def flat_kernel(kernel, char, accuracy, pattern):
    """The `Kernel` of a kernel of the table over contiguous arrays."""
    storage = STORAGES[char]
    count = IN_FLIGHT.get(kernel.cost, 2 if char != "d" else 1)
    f = function_of(kernel.name, char, accuracy)
    places = types.UniTuple(INDEX, 1 + pattern.count("a"))
    numbers = types.UniTuple(storage.real, pattern.count("n"))
    return Kernel(
        f"{f.__name__}.{char}.{pattern}.flat",
        functools.partial(flat, f, storage, pattern, count),
        (places, numbers, INDEX, INDEX, INDEX),
    )


@functools.cache
def strided_kernel(kernel, char, accuracy, pattern, rank):
    """The `Kernel` of a kernel of the table over arrays of any strides, of up to 2^32 - 1 numbers."""
    storage, arrays = STORAGES[char], 1 + pattern.count("a")
    f = function_of(kernel.name, char, accuracy)
    return Kernel(
        f"{f.__name__}.{char}.{pattern}.{rank}",
        functools.partial(strided, f, storage, pattern, rank),
        (
            types.UniTuple(INDEX, arrays),
            types.UniTuple(storage.real, pattern.count("n")),
            INDEX,
            types.UniTuple(types.uint32, rank - 1),
            types.UniTuple(INDEX, rank * arrays),
        ),
    )


def flat(f, storage, pattern, count):
    """A kernel over contiguous arrays of one length that are alike in alignment.

    ``kernel(places, numbers, n, head, vectors)``: `head` numbers stand before the first whole vector, then
    `vectors` of them; none where the arrays are not alike.  Each thread has `count` vectors in flight.
    """
    one_by_one = applied(f, storage, pattern)
    by_vector = applied(f, storage, pattern, storage.lanes)
    by_vectors = applied(f, storage, pattern, storage.lanes, count)
    size, ahead, in_vectors = storage.size, count - 1, storage.lanes

    def kernel(places, numbers, n, head, vectors):
        start, step = cuda.grid(1), cuda.gridsize(1)
        i = types.int64(start)
        begin, stride = head * size, types.int64(step) * VECTOR_BYTES
        while i + ahead * step < vectors:
            by_vectors(places, numbers, begin + i * VECTOR_BYTES, stride)
            i += (ahead + 1) * step
        while i < vectors:
            by_vector(places, numbers, begin + i * VECTOR_BYTES, stride)
            i += step
        rest = n - vectors * in_vectors
        i = types.int64(start)
        while i < rest:
            after = i if i < head else i + vectors * in_vectors
            one_by_one(places, numbers, after * size, stride)
            i += step

    return kernel


def strided(f, storage, pattern, rank):
    """A kernel over arrays with strides of their own, those of 0 included.

    ``kernel(places, numbers, n, lengths, strides)``: see `located`.
    """
    find = located(rank, 1 + pattern.count("a"))
    run = applied(f, storage, pattern)

    def kernel(places, numbers, n, lengths, strides):
        i, step = types.int64(cuda.grid(1)), cuda.gridsize(1)
        while i < n:
            run(find(places, types.uint32(i), lengths, strides), numbers, 0, 0)
            i += step

    return kernel
