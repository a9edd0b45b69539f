"""The kernels of the reductions over rows.

    whole     a team to a row, which stays in registers: one read and one write of memory
    pieces    a team to a row of any length: piece by piece, and once more for the results
    sums      a team to each piece of a row, for rows too few to occupy the device: their states go to memory
    results   and come back for the results of each piece

The last three make the same pieces and add them up in the same order, so a row's bits do not depend on how
many rows there are.

All are called as ``kernel(places, lengths, strides, rows, length, team)``: the places of the result, of the
entries, of `dy` and of the states; for the others see ``access.access``.
"""

import functools

from numba import cuda, types

from .access import access, number_at
from .launch import Kernel
from .primitives import inline
from .reals import REALS
from .rows import OPERATIONS
from .storage import STORAGES
from .team import place_in_block

__all__ = ["ENTRIES", "ROLES", "kernel_of"]

ENTRIES = {"e": 16, "b": 16, "f": 16, "d": 8}  # of a thread, at most
OUT, X, DY, STATES = range(4)  # places
INDEX = types.int64
ARGUMENTS = (
    *(types.UniTuple(INDEX, 4), types.UniTuple(INDEX, 2), types.UniTuple(INDEX, 12)),
    *(INDEX, INDEX, INDEX),
)


@functools.cache
def kernel_of(name, char, how, count, role, threads):
    """The `Kernel` of an operation: for a dtype, an access, so many entries a thread, and blocks of `threads`."""
    make = functools.partial(ROLES[role], OPERATIONS[name], char, how, count)
    return Kernel(f"{name}.{char}.{how}.{count}.{role}.{threads}", make, ARGUMENTS, threads)


@inline
def of_array(strides, j):
    """The strides of one array of a call."""
    return strides[4 * j], strides[4 * j + 1], strides[4 * j + 2], strides[4 * j + 3]


def parts_of_rows(operation, char, how, count, pieces):
    """What the kernels are put together from.

    ``fetch`` reads entries `first` to `end` of a row, and those of `dy`; ``finish`` makes the results of them
    from the state of the whole row, and writes them.
    """
    reals, storage = REALS[char], STORAGES[char]
    does = operation.make(reals, count, how == "across", pieces)
    a = access(storage, how, count)
    read, write, load, store, place_of_row = a.read, a.write, a.load, a.store, a.place_of_row
    reads_dy, dy_of_row = operation.reads_dy, operation.dy_of_row
    value, BEYOND, ZERO = reals.value, operation.beyond, 0.0

    @inline
    def fetch(e, d, places, lengths, strides, row, first, end, member, team):
        steps = of_array(strides, X)
        place = place_of_row(places[X], row, lengths, steps)
        read(e, place, first, end, lengths, steps, member, team, BEYOND)
        if reads_dy:
            steps = of_array(strides, DY)
            place = place_of_row(places[DY], row, lengths, steps)
            read(d, place, first, end, lengths, steps, member, team, ZERO)

    if operation.one_a_row:
        of_row = does.of_row

        @inline
        def finish(e, d, state, places, lengths, strides, row, first, end, member, team, kept):
            if member == 0 and first == 0 and end:
                store(place_of_row(places[OUT], row, lengths, of_array(strides, OUT)), of_row(state))
    else:
        settled, term, result, special = does.settled, does.term, does.result, does.special
        keeps, has_special = operation.keeps, operation.has_special

        @inline
        def finish(e, d, state, places, lengths, strides, row, first, end, member, team, kept):
            dy = value(ZERO)
            if dy_of_row and end:
                dy = load(place_of_row(places[DY], row, lengths, of_array(strides, DY)))
            numbers = settled(state, dy)
            if has_special and not numbers[0]:
                if keeps and kept:
                    fetch(e, d, places, lengths, strides, row, first, end, member, team)
                for j in range(count):
                    e[j] = special(e[j], numbers)
            else:
                for j in range(count):
                    made = e[j]
                    if keeps and not kept:
                        made = term(made, numbers)
                    e[j] = result(made, d[j if reads_dy else 0], numbers)
            steps = of_array(strides, OUT)
            place = place_of_row(places[OUT], row, lengths, steps)
            write(e, place, first, end, lengths, steps, member, team)

    return does, fetch, finish


def whole(operation, char, how, count):
    does, fetch, finish = parts_of_rows(operation, char, how, count, False)
    state, value, across = does.state, REALS[char].value, how == "across"
    beside = count if operation.reads_dy else 1

    def kernel(places, lengths, strides, rows, length, team):
        e, d = cuda.local.array(count, value), cuda.local.array(beside, value)
        teams = cuda.blockDim.x // team
        member, mine = place_in_block(team, teams, across)
        for first in range(cuda.blockIdx.x * teams, rows, cuda.gridDim.x * teams):
            row = first + mine
            end = length if row < rows else 0
            fetch(e, d, places, lengths, strides, row, 0, end, member, team)
            found = state(e, d, member, team)
            finish(e, d, found, places, lengths, strides, row, 0, end, member, team, True)

    return kernel


def pieces(operation, char, how, count):
    does, fetch, finish = parts_of_rows(operation, char, how, count, True)
    state, merged, value, across = does.state, does.merged, REALS[char].value, how == "across"
    beside, one_a_row = count if operation.reads_dy else 1, operation.one_a_row

    def kernel(places, lengths, strides, rows, length, team):
        e, d = cuda.local.array(count, value), cuda.local.array(beside, value)
        teams = cuda.blockDim.x // team
        member, mine = place_in_block(team, teams, across)
        for first_row in range(cuda.blockIdx.x * teams, rows, cuda.gridDim.x * teams):
            row = first_row + mine
            live = row < rows
            fetch(e, d, places, lengths, strides, row, 0, team * count if live else 0, member, team)
            found = state(e, d, member, team)
            for first in range(team * count, length, team * count):
                end = min(first + team * count, length)
                fetch(e, d, places, lengths, strides, row, first, end if live else 0, member, team)
                found = merged(found, state(e, d, first + member, team))
            for first in range(0, 1 if one_a_row else length, team * count):
                end = min(first + team * count, length)
                fetch(e, d, places, lengths, strides, row, first, end if live else 0, member, team)
                finish(
                    e, d, found, places, lengths, strides, row, first, end if live else 0, member, team, False
                )

    return kernel


def sums(operation, char, how, count):
    does, fetch, _ = parts_of_rows(operation, char, how, count, True)
    state, value, across = does.state, REALS[char].value, how == "across"
    beside = count if operation.reads_dy else 1
    store_state, _, size = stored_state(char)

    def kernel(places, lengths, strides, rows, length, team):
        e, d = cuda.local.array(count, value), cuda.local.array(beside, value)
        teams = cuda.blockDim.x // team
        member, mine = place_in_block(team, teams, across)
        in_row = (length + team * count - 1) // (team * count)
        for task in range(cuda.blockIdx.x, (rows + teams - 1) // teams * in_row, cuda.gridDim.x):
            row, piece = task // in_row * teams + mine, task % in_row
            first = piece * team * count
            end = min(first + team * count, length) if row < rows else 0
            fetch(e, d, places, lengths, strides, row, first, end, member, team)
            found = state(e, d, first + member, team)
            if member == 0 and row < rows:
                store_state(found, places[STATES] + (row * in_row + piece) * size)

    return kernel


def results(operation, char, how, count):
    does, fetch, finish = parts_of_rows(operation, char, how, count, True)
    value, across, merged = REALS[char].value, how == "across", does.merged
    beside, one_a_row = count if operation.reads_dy else 1, operation.one_a_row
    _, load_state, size = stored_state(char)

    def kernel(places, lengths, strides, rows, length, team):
        e, d = cuda.local.array(count, value), cuda.local.array(beside, value)
        teams = cuda.blockDim.x // team
        member, mine = place_in_block(team, teams, across)
        in_row = (length + team * count - 1) // (team * count)
        tasks = 1 if one_a_row else in_row
        for task in range(cuda.blockIdx.x, (rows + teams - 1) // teams * tasks, cuda.gridDim.x):
            row, first = task // tasks * teams + mine, task % tasks * team * count
            end = min(first + team * count, length) if row < rows else 0
            if end:
                place = places[STATES] + row * in_row * size
                found = load_state(place)
                for i in range(1, in_row):
                    found = merged(found, load_state(place + i * size))
                if not one_a_row:
                    fetch(e, d, places, lengths, strides, row, first, end, member, team)
                finish(e, d, found, places, lengths, strides, row, first, end, member, team, False)

    return kernel


def stored_state(char):
    """Functions ``store(state, place)`` and ``load(place)``, and the bytes of a state: a number and two wide ones."""
    reals, storage = REALS[char], STORAGES["f" if char in "eb" else "d"]
    load, store = number_at(storage)
    two, wide, value, size = reals.words.two, reals.words.wide, reals.value, storage.size

    @inline
    def store_state(state, place):
        store(place, state[0])
        high, low = two(state[1])
        store(place + size, high)
        store(place + 2 * size, low)
        high, low = two(state[2])
        store(place + 3 * size, high)
        store(place + 4 * size, low)

    @inline
    def load_state(place):
        first = wide(load(place + size), load(place + 2 * size))
        second = wide(load(place + 3 * size), load(place + 4 * size))
        return value(load(place)), first, second

    return store_state, load_state, 5 * size


ROLES = {"whole": whole, "pieces": pieces, "sums": sums, "results": results}
