"""The kernels of the reductions over rows.

    whole     a team to a row, which stays in registers: one read and one write of memory
    pieces    a team to a row of any length: piece by piece, and once more for the results, the last one from
              registers, as many others as there is room for from shared memory, and what is left from memory
    sums      a team to each piece of a row, for rows too few to occupy the device: their states go to memory
    joined    where a thread to a row makes one of them
    results   which comes back for the results of each piece

The last four make the same pieces and add them up in the same order, so a row's bits do not depend on how
many rows there are.

All are called as ``kernel(places, lengths, strides, options, rows, length, team)``: the places of the result,
of the entries, of `dy` and of the states, and those that the operation has besides; `options` are the
operation's, for the others see ``access.access``.
"""

import functools

import numpy as np
from numba import cuda, types

from .access import access, of_array, wide_at
from .kept import kept_pieces
from .launch import Kernel
from .primitives import inline
from .reals import REALS
from .rows import DY, OUT, STATES, X
from .storage import STORAGES
from .team import LANES, place_in_block, room_for

__all__ = ["ROLES", "entries_of_thread", "kernel_of", "state_bytes"]

# Entries of a thread, at most: by vectors, and one by one, where addresses take registers too.
ENTRIES = {"e": 16, "b": 16, "f": 16, "d": 4}
ENTRIES_APART = {"e": 8, "b": 8, "f": 8, "d": 4}
INDEX = types.int64


def entries_of_thread(few, char, how, length):
    """How many entries of rows of a length each thread keeps; `few` as an operation has it."""
    if how not in ("vectors", "grouped"):
        return ENTRIES_APART[char] >> few
    lanes = STORAGES[char].lanes
    return lanes if length <= lanes * LANES else ENTRIES[char] >> few


@functools.cache
def kernel_of(operation, char, how, count, role, threads):
    """The `Kernel` of an operation for a dtype, an access, entries of a thread and threads of a block."""
    make = functools.partial(ROLES[role], operation, char, how, count)
    arguments = (
        types.UniTuple(INDEX, STATES + 1 + operation.more_places),
        types.UniTuple(INDEX, 2),
        types.UniTuple(INDEX, 4 * (STATES + operation.more_strides)),
        operation.options(REALS[char]),
        *(INDEX, INDEX, INDEX),
    )
    name = f"{operation.name}.{char}.{how}.{count}.{role}.{threads}"
    room, wide = room_of(char, how == "across")
    static = room * np.dtype(wide).itemsize if role == "pieces" and operation.of_entries else None
    return Kernel(name, make, arguments, threads, static=static)


def parts_of_rows(operation, char, how, count, pieces):
    """What the kernels are put together from.

    ``fetch`` reads entries `first` to `end` of a row, and those of `dy`; ``finish`` makes the results of them
    from the state of the whole row, and writes them.
    """
    reals, storage = REALS[char], STORAGES[char]
    a = access(storage, how, count)
    does = operation.make(reals, storage, count, how == "across", pieces, a)
    read, write, index, place_of_row = a.read, a.write, a.index, a.place_of_row
    reads_dy, keeps, has_special = operation.reads_dy, operation.keeps, operation.has_special
    of_row, of_entries = operation.of_row, operation.of_entries
    put, settled, term, result, special = does.put, does.settled, does.term, does.result, does.special
    BEYOND, ZERO = operation.beyond, 0.0

    @inline
    def fetch(e, d, places, lengths, strides, row, first, end, member, team):
        steps = of_array(strides, X)
        place = place_of_row(places[X], row, lengths, steps)
        read(e, place, first, end, lengths, steps, member, team, BEYOND)
        if reads_dy:
            steps = of_array(strides, DY)
            place = place_of_row(places[DY], row, lengths, steps)
            read(d, place, first, end, lengths, steps, member, team, ZERO)

    @inline
    def finish(
        e, d, state, given, places, lengths, strides, options, row, rows, first, end, member, team, kept
    ):
        if of_row and member == 0 and first == 0 and row < rows:
            put(state, given, places, lengths, strides, options, row)
        if of_entries:
            numbers = settled(state, given, places, options)
            if has_special and not numbers[0]:
                if keeps and kept:
                    fetch(e, d, places, lengths, strides, row, first, end, member, team)
                for j in range(count):
                    i = first + index(j, member, team)
                    e[j] = special(e[j], d[j if reads_dy else 0], i, numbers, places, options)
            else:
                for j in range(count):
                    made = e[j]
                    if keeps and not kept:
                        made = term(made, numbers)
                    i = first + index(j, member, team)
                    e[j] = result(made, d[j if reads_dy else 0], i, numbers, places, options)
            steps = of_array(strides, OUT)
            place = place_of_row(places[OUT], row, lengths, steps)
            write(e, place, first, end, lengths, steps, member, team)

    return does, fetch, finish


def room_of(char, across):
    """The shared memory of a kernel: how many numbers of which kind."""
    return room_for(across), REALS[char].wide or np.float64


def whole(operation, char, how, count):
    does, fetch, finish = parts_of_rows(operation, char, how, count, False)
    state, given_of, value, across = does.state, does.given, REALS[char].value, how == "across"
    beside = count if operation.reads_dy else 1
    ROOM, WIDE = room_of(char, across)

    def kernel(places, lengths, strides, options, rows, length, team):
        room = cuda.shared.array(ROOM, WIDE)
        e, d = cuda.local.array(count, value), cuda.local.array(beside, value)
        teams = cuda.blockDim.x // team
        member, mine = place_in_block(team, teams, across)
        for first in range(cuda.blockIdx.x * teams, rows, cuda.gridDim.x * teams):
            row = first + mine
            end = length if row < rows else 0
            given = given_of(places, lengths, strides, options, row, end)
            fetch(e, d, places, lengths, strides, row, 0, end, member, team)
            found = state(e, d, given, places, options, 0, member, team, room)
            finish(
                e, d, found, given, places, lengths, strides, options, row, rows, 0, end, member, team, True
            )

    return kernel


def pieces(operation, char, how, count):
    does, fetch, finish = parts_of_rows(operation, char, how, count, True)
    state, given_of, merged, value = does.state, does.given, does.merged, REALS[char].value
    across, reads_dy, of_entries = how == "across", operation.reads_dy, operation.of_entries
    beside = count if reads_dy else 1
    room_of_launch, keep, take = kept_pieces(STORAGES[char], count, 1 + reads_dy)
    ROOM, WIDE = room_of(char, across)

    def kernel(places, lengths, strides, options, rows, length, team):
        room = cuda.shared.array(ROOM, WIDE)
        e, d = cuda.local.array(count, value), cuda.local.array(beside, value)
        teams = cuda.blockDim.x // team
        member, mine = place_in_block(team, teams, across)
        piece = team * count
        last = (length - 1) // piece
        to, kept = 0, 0
        if of_entries:
            to, kept = room_of_launch()
        for first_row in range(cuda.blockIdx.x * teams, rows, cuda.gridDim.x * teams):
            row = first_row + mine
            here = length if row < rows else 0
            given = given_of(places, lengths, strides, options, row, here)
            for k in range(last + 1):
                first = k * piece
                fetch(e, d, places, lengths, strides, row, first, min(first + piece, here), member, team)
                if of_entries and k < kept and k < last:
                    keep(e, to, k, 0)
                    if reads_dy:
                        keep(d, to, k, 1)
                one = state(e, d, given, places, options, first, member, team, room)
                if k == 0:  # noqa: SIM108  (before which there is no `found`)
                    found = one
                else:
                    found = merged(found, one)
            k = last if of_entries else 0
            while k >= 0:
                first = k * piece
                end = min(first + piece, here)
                if k < kept and k < last:
                    take(e, to, k, 0)
                    if reads_dy:
                        take(d, to, k, 1)
                elif of_entries and k < last:
                    fetch(e, d, places, lengths, strides, row, first, end, member, team)
                finish(
                    *(e, d, found, given, places, lengths, strides, options),
                    *(row, rows, first, end, member, team, 0),
                )
                k -= 1

    return kernel


def sums(operation, char, how, count):
    does, fetch, _ = parts_of_rows(operation, char, how, count, True)
    state, given_of, value, across = does.state, does.given, REALS[char].value, how == "across"
    beside = count if operation.reads_dy else 1
    store_state, _ = stored_state(char, operation.sums)
    size = state_bytes(operation, char)
    ROOM, WIDE = room_of(char, across)

    def kernel(places, lengths, strides, options, rows, length, team):
        room = cuda.shared.array(ROOM, WIDE)
        e, d = cuda.local.array(count, value), cuda.local.array(beside, value)
        teams = cuda.blockDim.x // team
        member, mine = place_in_block(team, teams, across)
        in_row = (length + team * count - 1) // (team * count)
        for task in range(cuda.blockIdx.x, (rows + teams - 1) // teams * in_row, cuda.gridDim.x):
            row, piece = task // in_row * teams + mine, task % in_row
            first = piece * team * count
            here = length if row < rows else 0
            given = given_of(places, lengths, strides, options, row, here)
            fetch(e, d, places, lengths, strides, row, first, min(first + team * count, here), member, team)
            found = state(e, d, given, places, options, first, member, team, room)
            if member == 0 and here:
                store_state(places[STATES] + (row * in_row + piece) * size, found)

    return kernel


def joined(operation, char, how, count):
    does, _, _ = parts_of_rows(operation, char, how, count, True)
    merged, size = does.merged, state_bytes(operation, char)
    store_state, load_state = stored_state(char, operation.sums)

    def kernel(places, lengths, strides, options, rows, length, team):
        in_row = (length + team * count - 1) // (team * count)
        for row in range(cuda.blockIdx.x, rows, cuda.gridDim.x):
            if cuda.threadIdx.x == 0:
                place = places[STATES] + row * in_row * size
                found = load_state(place)
                for i in range(1, in_row):
                    found = merged(found, load_state(place + i * size))
                store_state(place, found)

    return kernel


def results(operation, char, how, count):
    does, fetch, finish = parts_of_rows(operation, char, how, count, True)
    given_of, value, across = does.given, REALS[char].value, how == "across"
    beside, of_entries = count if operation.reads_dy else 1, operation.of_entries
    _, load_state = stored_state(char, operation.sums)
    size = state_bytes(operation, char)

    def kernel(places, lengths, strides, options, rows, length, team):
        e, d = cuda.local.array(count, value), cuda.local.array(beside, value)
        teams = cuda.blockDim.x // team
        member, mine = place_in_block(team, teams, across)
        in_row = (length + team * count - 1) // (team * count)
        tasks = in_row if of_entries else 1
        for task in range(cuda.blockIdx.x, (rows + teams - 1) // teams * tasks, cuda.gridDim.x):
            row, first = task // tasks * teams + mine, task % tasks * team * count
            if row < rows:
                end = min(first + team * count, length)
                given = given_of(places, lengths, strides, options, row, length)
                found = load_state(places[STATES] + row * in_row * size)
                if of_entries:
                    fetch(e, d, places, lengths, strides, row, first, end, member, team)
                finish(
                    e,
                    d,
                    found,
                    given,
                    places,
                    lengths,
                    strides,
                    options,
                    row,
                    rows,
                    first,
                    end,
                    member,
                    team,
                    0,
                )

    return kernel


def state_bytes(operation, char):
    """Bytes of a state in memory, where each number takes the room of a wide one."""
    return (2 + operation.sums) * wide_at(REALS[char])[2]


def stored_state(char, sums):
    """Functions ``store(place, state)`` and ``load(place)`` of a state: two numbers and 2 or 4 wide ones."""
    w, (load, store, size) = REALS[char].words, wide_at(REALS[char])
    widen, narrow = w.widen, w.narrow

    @inline
    def store_two(place, state):
        store(place, widen(state[0]))
        store(place + size, widen(state[1]))
        store(place + 2 * size, state[2])
        store(place + 3 * size, state[3])

    @inline
    def load_two(place):
        return (
            narrow(load(place)),
            narrow(load(place + size)),
            load(place + 2 * size),
            load(place + 3 * size),
        )

    @inline
    def store_four(place, state):
        store_two(place, state)
        store(place + 4 * size, state[4])
        store(place + 5 * size, state[5])

    @inline
    def load_four(place):
        top, other, tops, rest = load_two(place)
        return top, other, tops, rest, load(place + 4 * size), load(place + 5 * size)

    return (store_two, load_two) if sums == 2 else (store_four, load_four)


ROLES = {"whole": whole, "pieces": pieces, "sums": sums, "joined": joined, "results": results}
