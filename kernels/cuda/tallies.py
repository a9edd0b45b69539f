"""Sums of a kernel's results and how many are positive, or NaN, by unit: what an `ActivityMonitor` counts.

As in ``sums`` a block tallies a part of what belongs to `width` neighbouring units; a second kernel adds the
parts to what earlier calls have left, in float64.
"""

import functools

from numba import cuda, types

from .launch import THREADS, Kernel
from .operands import arrays_of, evaluated
from .storage import STORAGES, VECTOR_BYTES, loaded, located, stored
from .sums import add_number, add_pair, add_with_error, is_single

__all__ = ["PART_BYTES", "finished", "partial"]

INDEX = types.int64
PART_BYTES = 2 * VECTOR_BYTES  # two parts of the sum; two of the count, which a float32 may not hold
DIGITS = 20  # of the count's lower part


@functools.cache
def partial(function, char, pattern, kept_rank, summed_rank) -> Kernel:
    """The kernel that leaves parts of tallies in a workspace; its arguments are those of ``sums.partial``."""
    arrays = arrays_of(pattern)
    lengths = [types.UniTuple(types.uint32, rank - 1) for rank in (kept_rank, summed_rank)]
    strides = [types.UniTuple(INDEX, rank * arrays) for rank in (kept_rank, summed_rank)]
    arguments = (
        *(types.UniTuple(INDEX, arrays), types.UniTuple(STORAGES[char].real, pattern.count("n"))),
        *(INDEX,) * 5,
        *lengths,
        *strides,
    )
    make = functools.partial(_partial, function, STORAGES[char], pattern, kept_rank, summed_rank)
    name = f"{function.name}.{char}.{pattern}.{kept_rank}.{summed_rank}.tallies"
    return Kernel(name, make, arguments, kept=function.kept)


def _partial(f, storage, pattern, kept_rank, summed_rank):
    arrays, single = arrays_of(pattern), is_single(f, storage.char)
    to_unit, to_sample = located(kept_rank, arrays), located(summed_rank, arrays)
    pairs = STORAGES["f" if single else "d"]
    value, put, wide = evaluated(f.body, storage, pattern), stored(pairs), pairs.real
    accumulate = add_number if storage.char == "f" and not single else add_with_error

    def kernel(
        places, numbers, work, kept, summed, parts, width, kept_lengths, lengths, kept_strides, strides
    ):
        high = cuda.shared.array(THREADS, wide)  # the simulator tells arrays apart by their lines
        low = cuda.shared.array(THREADS, wide)
        active = cuda.shared.array(THREADS, INDEX)
        me, block = types.int64(cuda.threadIdx.x), types.int64(cuda.blockIdx.x)
        row, rows, part = me // width, THREADS // width, block % parts
        column = block // parts * width + me % width
        total, lost, count = wide(0.0), wide(0.0), types.int64(0)
        if column < kept:
            own = to_unit(places, column, kept_lengths, kept_strides)
            i = part * rows + row
            while i < summed:
                y = value(to_sample(own, i, lengths, strides), numbers)
                total, lost = accumulate(total, lost, y)
                count += types.int64(0) if y <= wide(0.0) else types.int64(1)
                i += parts * rows
        high[me], low[me], active[me] = total, lost, count
        cuda.syncthreads()
        rows //= 2
        while rows > 0:
            if row < rows:
                other = me + rows * width
                high[me], low[me] = add_pair(high[me], low[me], (high[other], low[other]))
                active[me] += active[other]
            cuda.syncthreads()
            rows //= 2
        if row == 0 and column < kept:
            place, count = work + (part * kept + column) * PART_BYTES, active[me]
            put(place, (high[me], low[me]))
            upper = count >> DIGITS
            put(place + VECTOR_BYTES, (wide(upper), wide(count - (upper << DIGITS))))

    return kernel


@functools.cache
def finished(kept_rank, single) -> Kernel:
    """The kernel that adds the parts, which `single` ones are of float32, to what stands in three rows.

    ``kernel(places, work, kept, parts, row, begins, lengths, strides)``: rows are `row` bytes apart; what
    stands there is nothing where a count `begins`.
    """
    lengths, strides = types.UniTuple(types.uint32, kept_rank - 1), types.UniTuple(INDEX, kept_rank)
    arguments = types.UniTuple(INDEX, 1), *(INDEX,) * 5, lengths, strides
    make = functools.partial(_finished, kept_rank, STORAGES["f" if single else "d"])
    return Kernel(f"{kept_rank}.tallied{'.single' * single}", make, arguments)


def _finished(kept_rank, pairs):
    find, part_at, number_at, put = (
        located(kept_rank, 1),
        loaded(pairs, 2),
        loaded(STORAGES["d"]),
        stored(STORAGES["d"]),
    )
    wide, SCALE = types.float64, 2.0**DIGITS

    def kernel(places, work, kept, parts, row, begins, lengths, strides):
        column, step = types.int64(cuda.grid(1)), types.int64(cuda.gridsize(1))
        while column < kept:
            place = find(places, column, lengths, strides)[0]
            total, lost, count = wide(0.0), wide(0.0), wide(0.0)
            if begins == 0:
                total, lost = number_at(place)[0], number_at(place + row)[0]
                count = number_at(place + 2 * row)[0]
            part = types.int64(0)
            while part < parts:
                at = work + (part * kept + column) * PART_BYTES
                high, low = part_at(at)
                total, lost = add_pair(total, lost, (wide(high), wide(low)))
                upper, lower = part_at(at + VECTOR_BYTES)
                count += SCALE * wide(upper) + wide(lower)
                part += 1
            put(place, (total,))
            put(place + row, (lost,))
            put(place + 2 * row, (count,))
            column += step

    return kernel
