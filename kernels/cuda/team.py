"""Threads that share a row, and what they find out together.

A team is a power of two of threads.  Over rows that lie along memory its members are neighbours, so a warp
serves several rows, or a block several warps to each; over rows that lie across memory neighbours belong to
rows side by side, and a team has one thread in each of its warps.  Every member ends with the same bits, and
the order in which members are added depends on the size of the team alone.

Neighbours exchange values by shuffles.  Numba's simulator has none: there the exchange goes by shared memory,
for which all threads of a block must come, and in every kernel here they do.  Its threads are the system's, so
warps and blocks are small there.
"""

import numpy as np
from numba import cuda

from .primitives import SIMULATED, inline

__all__ = ["LANES", "LEAST_THREADS", "MOST_THREADS", "cooperative", "fold", "fold_pairs", "place_in_block"]

LANES = 2 if SIMULATED else 32  # of a warp
LEAST_THREADS, MOST_THREADS = (4, 4) if SIMULATED else (128, 512)  # of a block
MOST_WARPS = MOST_THREADS // LANES
EVERY_LANE = 0xFFFFFFFF

# For what asks which thread it is: only by this decorator does the simulator tell.
cooperative = cuda.jit(device=True) if SIMULATED else inline


@cooperative
def place_in_block(team, teams, across):
    """A thread's number in its team, and the team's in its block."""
    thread = cuda.threadIdx.x
    if across:
        return thread // teams, thread % teams
    return thread % team, thread // team


def exchange(dtype):
    """A function that gives the value of the lane whose number differs by one bit."""
    if not SIMULATED:
        return _shuffled

    @cooperative
    def exchanged(value, distance):
        room = cuda.shared.array(MOST_THREADS, dtype)
        cuda.syncthreads()
        room[cuda.threadIdx.x] = value
        cuda.syncthreads()
        return room[cuda.threadIdx.x ^ distance]

    return exchanged


@inline
def _shuffled(value, distance):
    return cuda.shfl_xor_sync(EVERY_LANE, value, distance)


def fold(combine, dtype, across):
    """A function ``folded(value, team)`` that combines a number of each member."""
    exchanged = exchange(dtype)

    @cooperative
    def along_memory(value, team):
        distance = 1
        while distance < min(team, LANES):
            value = combine(value, exchanged(value, distance))
            distance *= 2
        if team > LANES:
            room = cuda.shared.array(MOST_WARPS, dtype)
            cuda.syncthreads()
            if cuda.threadIdx.x % LANES == 0:
                room[cuda.threadIdx.x // LANES] = value
            cuda.syncthreads()
            first = cuda.threadIdx.x // team * (team // LANES)
            value = room[first]
            for i in range(first + 1, first + team // LANES):
                value = combine(value, room[i])
        return value

    @cooperative
    def across_memory(value, team):
        room = cuda.shared.array(MOST_THREADS, dtype)
        cuda.syncthreads()
        room[cuda.threadIdx.x] = value
        cuda.syncthreads()
        first = cuda.threadIdx.x % LANES
        value = room[first]
        for i in range(first + LANES, first + team * LANES, LANES):
            value = combine(value, room[i])
        return value

    return across_memory if across else along_memory


def fold_pairs(combine, across):
    """The same for pairs of float64."""
    exchanged = exchange(np.float64)

    @cooperative
    def along_memory(value, team):
        distance = 1
        while distance < min(team, LANES):
            high, low = exchanged(value[0], distance), exchanged(value[1], distance)
            value = combine(value, (high, low))
            distance *= 2
        if team > LANES:
            highs = cuda.shared.array(MOST_WARPS, np.float64)
            lows = cuda.shared.array(MOST_WARPS, np.float64)
            cuda.syncthreads()
            if cuda.threadIdx.x % LANES == 0:
                highs[cuda.threadIdx.x // LANES], lows[cuda.threadIdx.x // LANES] = value
            cuda.syncthreads()
            first = cuda.threadIdx.x // team * (team // LANES)
            value = highs[first], lows[first]
            for i in range(first + 1, first + team // LANES):
                value = combine(value, (highs[i], lows[i]))
        return value

    @cooperative
    def across_memory(value, team):
        highs = cuda.shared.array(MOST_THREADS, np.float64)
        lows = cuda.shared.array(MOST_THREADS, np.float64)
        cuda.syncthreads()
        highs[cuda.threadIdx.x], lows[cuda.threadIdx.x] = value
        cuda.syncthreads()
        first = cuda.threadIdx.x % LANES
        value = highs[first], lows[first]
        for i in range(first + LANES, first + team * LANES, LANES):
            value = combine(value, (highs[i], lows[i]))
        return value

    return across_memory if across else along_memory
