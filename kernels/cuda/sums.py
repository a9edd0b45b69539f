"""Sums of a kernel's results: the gradient of what was broadcast, as a parameter of all or one of a channel.

A block sums a part of what belongs to `width` neighbouring results and leaves it in a workspace; a second
kernel adds the parts.  A sum has two parts, the second what additions have lost: of float32 where nothing
else is computed in, else of float64, where a sum of float32 loses nothing to speak of.  Who adds what depends
on the shape and the device only, so the bits are the same in every call.
"""

import functools

import numpy as np
from numba import cuda, types

from . import pair
from .draws import uniform_double_of, uniform_float_of
from .launch import THREADS, Kernel
from .operands import arrays_of, evaluated
from .primitives import inline
from .storage import STORAGES, VECTOR_BYTES, loaded, located, some_of, stored

__all__ = ["WIDTH", "finished", "is_single", "partial"]

WIDTH = min(32, THREADS // 2)  # neighbouring results of a block, where they are what is contiguous
INDEX = types.int64


def is_single(function, char):
    """Whether a function's results of a dtype are summed in float32."""
    return function.single or char in "eb"


@inline
def add_number(total, lost, term):
    return total + term, lost


@inline
def add_with_error(total, lost, term):
    s = total + term
    t = s - total
    return s, lost + ((total - (s - t)) + (term - t))


@inline
def add_pair(total, lost, term):
    s = total + term[0]
    t = s - total
    return s, lost + (((total - (s - t)) + (term[0] - t)) + term[1])


@functools.cache
def partial(function, char, pattern, kept_rank, summed_rank, keeps=False, draws=False) -> Kernel:
    """The kernel that leaves parts of sums in a workspace, in 16 bytes each.

    If it `keeps` the terms they go to an array, the first of its places.  If it `draws`, the function's last
    argument is a uniform draw for each term: number i of a key in two words, i being what the last of its
    places has in the place of an address.
    """
    storage, arrays = STORAGES[char], keeps + arrays_of(pattern) + draws
    lengths = [types.UniTuple(types.uint32, rank - 1) for rank in (kept_rank, summed_rank)]
    strides = [types.UniTuple(INDEX, rank * arrays) for rank in (kept_rank, summed_rank)]
    arguments = (
        *(types.UniTuple(INDEX, arrays), types.UniTuple(storage.real, pattern.count("n"))),
        *(INDEX,) * 5,
        *lengths,
        *strides,
        types.UniTuple(INDEX, 2),
    )
    make = functools.partial(_partial, function, storage, pattern, kept_rank, summed_rank, keeps, draws)
    name = f"{function.name}.{char}.{pattern}.{kept_rank}.{summed_rank}.sums"
    name += f"{'.kept' * keeps}{'.drawn' * draws}"
    return Kernel(name, make, arguments, kept=function.kept)


def _partial(f, storage, pattern, kept_rank, summed_rank, keeps, draws):
    arrays = keeps + arrays_of(pattern) + draws
    to_result, to_term = located(kept_rank, arrays), located(summed_rank, arrays)
    single = is_single(f, storage.char)
    pairs = STORAGES["f" if single else "d"]
    value, put, wide = evaluated(f.body, storage, pattern + "n" * draws), stored(pairs), pairs.real
    draw_of = uniform_double_of if storage.char == "d" else uniform_float_of
    has_spare_digits = storage.char == "f" and not single
    accumulate = add_pair if f.gives_pairs else add_number if has_spare_digits else add_with_error
    put_term = stored(storage)

    operands_of = some_of(int(keeps), arrays_of(pattern))

    @inline
    def evaluate(found, numbers, key):
        if draws:
            draw = draw_of(found[-1], np.uint64(key[0]), np.uint64(key[1]))
            term = value(operands_of(found), (*numbers, draw))
        else:
            term = value(operands_of(found), numbers)
        if keeps:
            put_term(found[0], (term,))
        return term

    def kernel(
        places, numbers, work, kept, summed, parts, width, kept_lengths, lengths, kept_strides, strides, key
    ):
        high = cuda.shared.array(THREADS, wide)  # the simulator tells arrays apart by their lines
        low = cuda.shared.array(THREADS, wide)
        me, block = types.int64(cuda.threadIdx.x), types.int64(cuda.blockIdx.x)
        row, rows, part = me // width, THREADS // width, block % parts
        column = block // parts * width + me % width
        total, lost = wide(0.0), wide(0.0)
        if column < kept:
            own = to_result(places, column, kept_lengths, kept_strides)
            i = part * rows + row
            while i < summed:
                term = evaluate(to_term(own, i, lengths, strides), numbers, key)
                total, lost = accumulate(total, lost, term)
                i += parts * rows
        high[me], low[me] = total, lost
        cuda.syncthreads()
        rows //= 2
        while rows > 0:
            if row < rows:
                other = me + rows * width
                high[me], low[me] = add_pair(high[me], low[me], (high[other], low[other]))
            cuda.syncthreads()
            rows //= 2
        if row == 0 and column < kept:
            put(work + (part * kept + column) * VECTOR_BYTES, (high[me], low[me]))

    return kernel


@functools.cache
def finished(char, kept_rank, single=False) -> Kernel:
    """The kernel that adds the parts, which `single` ones are of float32, and rounds."""
    lengths, strides = types.UniTuple(types.uint32, kept_rank - 1), types.UniTuple(INDEX, kept_rank)
    arguments = types.UniTuple(INDEX, 1), INDEX, INDEX, INDEX, lengths, strides
    make = functools.partial(_finished, STORAGES[char], kept_rank, STORAGES["f" if single else "d"])
    return Kernel(f"{char}.{kept_rank}.finished{'.single' * single}", make, arguments)


def _finished(storage, kept_rank, pairs):
    find, read, put, wide = located(kept_rank, 1), loaded(pairs, 2), stored(storage), pairs.real

    def kernel(places, work, kept, parts, lengths, strides):
        column, step = types.int64(cuda.grid(1)), types.int64(cuda.gridsize(1))
        while column < kept:
            total, lost = wide(0.0), wide(0.0)
            part = types.int64(0)
            while part < parts:
                total, lost = add_pair(total, lost, read(work + (part * kept + column) * VECTOR_BYTES))
                part += 1
            found = find(places, column, lengths, strides)
            put(found[0], (pair.narrow((total, lost)),))
            column += step

    return kernel
