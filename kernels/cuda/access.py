"""How a team reads and writes the entries of a row: which member has which, and in what order.

    vectors    16 bytes at once, neighbours in turn: rows whose length and addresses allow it
    grouped    the same entries one by one: other rows of such a length, so that what is added to what stays
    single     entry i by member i mod team: rows of any other length
    nested     the same of rows with two strides, as of several axes
    across     the same where neighbours belong to rows side by side

Only the first two share the order of their sums.  Numbers are converted on the way; what lies behind the end
of a row is read as a number of the caller's.
"""

from types import SimpleNamespace

import numpy as np
from llvmlite import ir
from numba import types

from .primitives import inline, simulated
from .storage import GLOBAL, STORAGES

__all__ = ["access", "number_at", "of_array", "vector_into", "wide_at"]


@inline
def of_array(strides, j):
    """The strides of one array of a call."""
    return strides[4 * j], strides[4 * j + 1], strides[4 * j + 2], strides[4 * j + 3]


def vector_into(storage, lanes, space=GLOBAL):
    """Intrinsics ``load(e, at, place)`` and ``store(e, at, place)``: `lanes` entries in memory of a kind."""

    def element(context, builder, signature, arguments, i):
        from numba.cuda.np import arrayobj  # which the simulator lacks

        array = arrayobj.make_array(signature.args[0])(context, builder, arguments[0])
        index = builder.add(arguments[1], ir.Constant(arguments[1].type, i))
        return builder.gep(array.data, [index])

    def load_twin(e, at, place):
        e[at : at + lanes] = storage.read(int(place), lanes)

    def store_twin(e, at, place):
        storage.write(int(place), e[at : at + lanes])

    @simulated(load_twin)
    def load(typing, e, at, place):
        def build(context, builder, signature, arguments):
            for i, number in enumerate(storage.load(builder, arguments[2], lanes, space)):
                builder.store(number, element(context, builder, signature, arguments, i))
            return context.get_dummy_value()

        return types.void(e, at, place), build

    @simulated(store_twin)
    def store(typing, e, at, place):
        def build(context, builder, signature, arguments):
            each = range(lanes)
            numbers = [builder.load(element(context, builder, signature, arguments, i)) for i in each]
            storage.store(builder, arguments[2], numbers, space)
            return context.get_dummy_value()

        return types.void(e, at, place), build

    return load, store


def number_at(storage):
    """Functions ``load(place)`` and ``store(place, number)`` of one number."""

    @simulated(lambda place: storage.read(int(place), 1)[0])
    def load(typing, place):
        def build(context, builder, signature, arguments):
            return storage.load(builder, arguments[0], 1)[0]

        return storage.real(place), build

    @simulated(lambda place, number: storage.write(int(place), [number]))
    def store(typing, place, number):
        def build(context, builder, signature, arguments):
            number = context.cast(builder, arguments[1], signature.args[1], storage.real)
            storage.store(builder, arguments[0], [number])
            return context.get_dummy_value()

        return types.void(place, number), build

    return load, store


def wide_at(reals):
    """Functions ``load(place)`` and ``store(place, a)`` of a wide number, two in memory, and its bytes."""
    storage = STORAGES["f" if reals.wide is np.float32 else "d"]
    load, store = number_at(storage)
    two, wide, size = reals.words.two, reals.words.wide, storage.size

    @inline
    def load_wide(place):
        return wide(load(place), load(place + size))

    @inline
    def store_wide(place, a):
        high, low = two(a)
        store(place, high)
        store(place + size, low)

    return load_wide, store_wide, 2 * size


def access(storage, how, count):
    """The functions by which a kernel reads and writes `count` entries of a row for each member.

    `strides` are those of rows, of rows within, of entries and of entries within, in bytes; there are
    `lengths` rows and entries within.
    """
    lanes, size = storage.lanes, storage.size
    load_vector, store_vector = vector_into(storage, lanes)
    load, store = number_at(storage)
    value = np.dtype(str(storage.real)).type
    vectors, grouped, nested = how == "vectors", how == "grouped", how == "nested"

    @inline
    def index(j, member, team):
        """The entry of a row that is a member's number j."""
        if vectors or grouped:
            return (j // lanes * team + member) * lanes + j % lanes
        return j * team + member

    @inline
    def place_of_row(place, row, lengths, strides):
        if lengths[0] == 1:
            return place + row * strides[0]
        return place + row // lengths[0] * strides[0] + row % lengths[0] * strides[1]

    @inline
    def place_of_entry(place, i, lengths, strides):
        if nested:
            return place + i // lengths[1] * strides[2] + i % lengths[1] * strides[3]
        return place + i * strides[2]

    @inline
    def read(e, place, first, end, lengths, strides, member, team, beyond):
        """The entries of a row from `first` to `end`."""
        if vectors:
            for v in range(count // lanes):
                i = first + (v * team + member) * lanes
                if i < end:
                    load_vector(e, v * lanes, place + i * size)
                else:
                    for j in range(v * lanes, v * lanes + lanes):
                        e[j] = value(beyond)
        else:
            for j in range(count):
                i = first + index(j, member, team)
                e[j] = value(beyond)
                if i < end:
                    e[j] = load(place_of_entry(place, i, lengths, strides))

    @inline
    def write(e, place, first, end, lengths, strides, member, team):
        if vectors:
            for v in range(count // lanes):
                i = first + (v * team + member) * lanes
                if i < end:
                    store_vector(e, v * lanes, place + i * size)
        else:
            for j in range(count):
                i = first + index(j, member, team)
                if i < end:
                    store(place_of_entry(place, i, lengths, strides), e[j])

    return SimpleNamespace(
        index=index,
        place_of_row=place_of_row,
        place_of_entry=place_of_entry,
        read=read,
        write=write,
        load=load,
        store=store,
    )
