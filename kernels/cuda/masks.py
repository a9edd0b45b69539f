"""One bit an element: activations that keep where their slope is 1, and the gradient from the bits alone.

A thread takes a byte, and so eight elements in C order, the first in the lowest bit.
"""

import functools

from numba import cuda, types

from .access import number_at, vector_into
from .elementwise import Function
from .integers import integer_at, integer_to
from .launch import Kernel
from .primitives import inline, select
from .reals import REALS
from .storage import STORAGES, located, some_of

__all__ = ["backward", "forward"]

INDEX, EIGHT = types.int64, 8


@functools.cache
def forward(f: Function, slope: Function, char, parameters, knots, rank, where_equal) -> Kernel:
    """The kernel that runs `f` and keeps a bit: set where the slope is the first of its numbers, or is not.

    ``kernel(places, numbers, n, lengths, strides)``: the places of the result, of x and of the bits; after
    the first number so many `parameters` of both functions and `knots` of the slope; `rank` is 0 where all is
    contiguous and begins at a multiple of 16 bytes.
    """
    evaluate, derivative, ONE = f.body, slope.body, REALS[char].value(1)
    own, all_but_first = some_of(1, parameters), some_of(1, parameters + knots)

    @inline
    def each(x, bit, numbers):
        found = derivative(ONE, x, *all_but_first(numbers))
        active = (found == numbers[0]) == where_equal
        return evaluate(x, *own(numbers)), 1 if active else 0

    name = f"{f.name}.{slope.name}.{char}.{rank}.mask{'.equal' * where_equal}"
    return _kernel(name, each, char, 1 + parameters + knots, rank, False)


@functools.cache
def backward(char, rank) -> Kernel:
    """The kernel that gives dy where a bit is set, else dy times its number, or 0 where that is 0."""
    ZERO = REALS[char].value(0)

    @inline
    def each(dy, bit, numbers):
        other = select(numbers[0] == ZERO, ZERO, dy * numbers[0])
        return select(bit != 0, dy, other), 0

    return _kernel(f"by_mask.{char}.{rank}", each, char, 1, rank, True)


def _kernel(name, each, char, numbers, rank, reads):
    axes, storage = max(1, rank), STORAGES[char]
    arguments = (
        *(types.UniTuple(INDEX, 3), types.UniTuple(storage.real, numbers), INDEX),
        *(types.UniTuple(types.uint32, axes - 1), types.UniTuple(INDEX, 2 * axes)),
    )
    return Kernel(name, functools.partial(_over_bytes, each, char, rank, reads), arguments)


def _over_bytes(each, char, rank, reads):
    storage, value = STORAGES[char], REALS[char].value
    lanes, size, contiguous = storage.lanes, storage.size, rank == 0
    load_vector, store_vector = vector_into(storage, lanes)
    load, store = number_at(storage)
    load_byte, store_byte = integer_at("uint8"), integer_to("uint8")
    find, ZERO = located(max(1, rank), 2), value(0)

    @inline
    def places_of(places, i, lengths, strides):
        if contiguous:
            return places[0] + i * size, places[1] + i * size
        return find(places[:2], i, lengths, strides)

    def kernel(places, numbers, n, lengths, strides):
        e = cuda.local.array(EIGHT, value)
        byte, step = types.int64(cuda.grid(1)), types.int64(cuda.gridsize(1))
        while byte * EIGHT < n:
            first = byte * EIGHT
            whole = contiguous and first + EIGHT <= n
            bits = load_byte(places[2] + byte) if reads else 0
            found = 0
            for v in range(0, EIGHT, lanes):
                if whole:
                    load_vector(e, v, places[1] + (first + v) * size)
                else:
                    for j in range(v, v + lanes):
                        e[j] = ZERO
                        if first + j < n:
                            e[j] = load(places_of(places, first + j, lengths, strides)[1])
            for j in range(EIGHT):
                made, bit = each(e[j], bits >> j & 1, numbers)
                e[j] = made
                if first + j < n:
                    found |= bit << j
            for v in range(0, EIGHT, lanes):
                if whole:
                    store_vector(e, v, places[0] + (first + v) * size)
                else:
                    for j in range(v, v + lanes):
                        if first + j < n:
                            store(places_of(places, first + j, lengths, strides)[0], e[j])
            if not reads:
                store_byte(places[2] + byte, found)
            byte += step

    return kernel
