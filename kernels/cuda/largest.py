"""maxout: the largest of consecutive entries and which it was, and the gradient by either.

A thread takes a group, so that neighbours read what lies side by side wherever the axis is not the last.
"""

import functools

import numpy as np
from numba import cuda, types

from .access import number_at
from .integers import integer_at, integer_to
from .launch import Kernel
from .primitives import inline
from .reals import REALS
from .storage import STORAGES, located

__all__ = ["backward", "forward"]

INDEX = types.int64


def _arguments(arrays, rank):
    """Of a kernel over groups: places, how many groups there are, entries of one, and strides."""
    return (
        *(types.UniTuple(INDEX, arrays), INDEX, INDEX, types.UniTuple(INDEX, 2)),
        *(types.UniTuple(types.uint32, rank - 1), types.UniTuple(INDEX, rank * arrays)),
    )


def _which(char):
    """A function for the number of the first NaN, else of the first of the largest, and its value."""
    load, value = number_at(STORAGES[char])[0], REALS[char].value

    @inline
    def which(place, step, pieces):
        best, found = value(load(place)), 0
        for j in range(1, pieces):
            x = value(load(place + j * step))
            if x > best or (x != x and best == best):
                best, found = x, j
        return found, best

    return which


@functools.cache
def forward(char, index, rank) -> Kernel:
    """The kernel that finds the largest, and if there is a dtype of an `index` which it is.

    ``kernel(places, n, pieces, steps, lengths, strides)``: the places of the result, of the entries and of
    the index, for each group; the first of `steps` is that between the entries of one.
    """
    make = functools.partial(_forward, char, index, rank)
    return Kernel(f"maxout.{char}.{index}.{rank}", make, _arguments(2 + bool(index), rank))


def _forward(char, index, rank):
    which, find = _which(char), located(rank, 2 + bool(index))
    store, put = number_at(STORAGES[char])[1], integer_to(index) if index else None

    def kernel(places, n, pieces, steps, lengths, strides):
        i = types.int64(cuda.grid(1))
        while i < n:
            found = find(places, i, lengths, strides)
            j, best = which(found[1], steps[0], pieces)
            store(found[0], best)
            if index:
                put(found[2], j)
            i += types.int64(cuda.gridsize(1))

    return kernel


@functools.cache
def backward(char, index, rank) -> Kernel:
    """The kernel that gives dy to the largest of each group and 0 to the others, by the entries or an index.

    ``kernel(places, n, pieces, steps, lengths, strides)``: the places of the gradient, of dy, and of the
    entries, or of the index of a dtype; `steps` are those of the gradient and of the entries.  What is no
    index leaves its group NaN.
    """
    make = functools.partial(_backward, char, index, rank)
    return Kernel(f"maxout.backward.{char}.{index}.{rank}", make, _arguments(3, rank))


def _backward(char, index, rank):
    which, find, value = _which(char), located(rank, 3), REALS[char].value
    (load, store), fetch = number_at(STORAGES[char]), integer_at(index) if index else None
    ZERO, NAN = value(0), value(np.nan)

    def kernel(places, n, pieces, steps, lengths, strides):
        i = types.int64(cuda.grid(1))
        while i < n:
            found = find(places, i, lengths, strides)
            dy = load(found[1])
            if index:
                j = fetch(found[2])
            else:
                j, _ = which(found[2], steps[1], pieces)
            known = j >= 0 and j < pieces
            for k in range(pieces):
                store(found[0] + k * steps[0], NAN if not known else dy if k == j else ZERO)
            i += types.int64(cuda.gridsize(1))

    return kernel
