"""Threads that share a row, and what they find out together.

A team is a power of two of threads.  Over rows that lie along memory its members are neighbours, so a warp
serves several rows, or a block several warps to each; over rows that lie across memory neighbours belong to
rows side by side, and the members of a team are as far apart as its block has teams.  Every member ends with
the same bits, and the order in which members are added depends on the size of the team alone.

Neighbours exchange values by shuffles.  Numba's simulator has none: there the exchange goes by shared memory,
for which all threads of a block must come, and in every kernel here they do.  Its threads are the system's,
so warps and blocks are small there.
"""

from numba import cuda

from .primitives import SIMULATED, inline

__all__ = [
    "LANES",
    "LEAST_THREADS",
    "MOST_THREADS",
    "cooperative",
    "fold",
    "fold_pairs",
    "place_in_block",
    "room_for",
]

LANES = 2 if SIMULATED else 32  # of a warp
LEAST_THREADS, MOST_THREADS = (4, 4) if SIMULATED else (128, 512)  # of a block
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


def room_for(across):
    """Numbers of shared memory that a block needs for its teams' exchanges: one array for all of them.

    Numba would give every device function an array of its own, and a second one wherever it is called again.
    """
    return 2 * (MOST_THREADS if across or SIMULATED else MOST_THREADS // LANES)


if SIMULATED:

    @cooperative
    def exchanged(value, distance, room):
        """The value of the thread whose number differs by one bit."""
        cuda.syncthreads()
        room[cuda.threadIdx.x] = value
        cuda.syncthreads()
        return type(value)(room[cuda.threadIdx.x ^ distance])
else:

    @inline
    def exchanged(value, distance, room):
        return cuda.shfl_xor_sync(EVERY_LANE, value, distance)


def fold(combine, kind, across):
    """A function ``folded(value, team, room)`` that combines a number of each member."""

    @cooperative
    def along_memory(value, team, room):
        distance = 1
        while distance < min(team, LANES):
            value = combine(value, exchanged(value, distance, room))
            distance *= 2
        if team > LANES:
            cuda.syncthreads()
            if cuda.threadIdx.x % LANES == 0:
                room[cuda.threadIdx.x // LANES] = value
            cuda.syncthreads()
            first = cuda.threadIdx.x // team * (team // LANES)
            value = kind(room[first])
            for i in range(first + 1, first + team // LANES):
                value = combine(value, kind(room[i]))
        return value

    @cooperative
    def across_memory(value, team, room):
        cuda.syncthreads()
        room[cuda.threadIdx.x] = value
        cuda.syncthreads()
        teams = cuda.blockDim.x // team
        first = cuda.threadIdx.x % teams
        value = kind(room[first])
        for i in range(first + teams, first + team * teams, teams):
            value = combine(value, kind(room[i]))
        return value

    return across_memory if across else along_memory


def fold_pairs(combine, across):
    """The same for pairs of float64."""
    LOW = room_for(across) // 2

    @cooperative
    def along_memory(value, team, room):
        distance = 1
        while distance < min(team, LANES):
            high, low = exchanged(value[0], distance, room), exchanged(value[1], distance, room)
            value = combine(value, (high, low))
            distance *= 2
        if team > LANES:
            cuda.syncthreads()
            if cuda.threadIdx.x % LANES == 0:
                warp = cuda.threadIdx.x // LANES
                room[warp], room[LOW + warp] = value
            cuda.syncthreads()
            first = cuda.threadIdx.x // team * (team // LANES)
            value = room[first], room[LOW + first]
            for i in range(first + 1, first + team // LANES):
                value = combine(value, (room[i], room[LOW + i]))
        return value

    @cooperative
    def across_memory(value, team, room):
        cuda.syncthreads()
        room[cuda.threadIdx.x], room[LOW + cuda.threadIdx.x] = value
        cuda.syncthreads()
        teams = cuda.blockDim.x // team
        first = cuda.threadIdx.x % teams
        value = room[first], room[LOW + first]
        for i in range(first + teams, first + team * teams, teams):
            value = combine(value, (room[i], room[LOW + i]))
        return value

    return across_memory if across else along_memory
