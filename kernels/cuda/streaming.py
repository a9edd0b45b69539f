"""LogSumExp on a device: the states of rows, to which those of further chunks are added.

What is kept for a row is the state of ``weighted_rows``, in memory as ``row_kernels`` has it; the sums of a
chunk without weights are brought into its form, in which infinities and NaN have another place.
"""

import functools
import math

from numba import cuda, types

from .access import access
from .launch import Kernel
from .primitives import inline, select
from .reals import REALS
from .row_kernels import state_bytes, stored_state
from .rows import forward
from .storage import STORAGES
from .weighted_rows import weighted

__all__ = ["adding"]

TO, BEFORE, PIECES = range(3)  # places, of which the first two have the same strides


@functools.cache
def adding(has_weights, char):
    """The kernel that adds the pieces of a chunk's rows to what there was before.

    ``kernel(places, lengths, strides, rows, pieces)``: of the results, of what there was, 0 for nothing, and
    of the pieces' states, as many for each row.
    """
    integer = types.int64
    arguments = types.UniTuple(integer, 3), types.UniTuple(integer, 2), types.UniTuple(integer, 4)
    make = functools.partial(_adding, has_weights, char)
    name = f"LogSumExp.update.{'weighted' if has_weights else 'plain'}.{char}"
    return Kernel(name, make, (*arguments, integer, integer))


def _as_weighted(reals):
    """A function that makes of a state of ``rows`` one of ``weighted_rows``."""
    w, value = reals.words, reals.value
    where, widen, constant = w.where, w.widen, w.constant
    ZERO, INF = value(0), value(math.inf)

    @inline
    def as_weighted(state):
        top = state[0]
        ordinary, beyond = abs(top) < INF, widen(select(top == -INF, ZERO, top))
        return top, ZERO, where(ordinary, state[2], beyond), where(ordinary, state[3], constant(0.0, 0.0))

    return as_weighted


def _adding(has_weights, char):
    reals, storage = REALS[char], STORAGES[char]
    by_one = access(storage, "single", 1)

    def merged_of(operation):
        return operation.make(reals, storage, 1, False, True, by_one).merged

    kept, plain = weighted()["logsumexp.weighted"], forward()["logsumexp"]
    added = merged_of(kept)
    merged = added if has_weights else merged_of(plain)
    as_weighted = _as_weighted(reals)
    store, load = stored_state(char, kept.sums)
    size, place_of_row, constant = state_bytes(kept, char), by_one.place_of_row, reals.words.constant
    LOWEST, ZERO = reals.value(-math.inf), reals.value(0)

    def kernel(places, lengths, strides, rows, pieces):
        for row in range(cuda.grid(1), rows, cuda.gridsize(1)):
            found = LOWEST, ZERO, constant(0.0, 0.0), constant(0.0, 0.0)
            for i in range(pieces):
                found = merged(found, load(places[PIECES] + (row * pieces + i) * size))
            if not has_weights:
                found = as_weighted(found)
            if places[BEFORE]:
                before = place_of_row(places[BEFORE], row, lengths, strides)
                found = added(load(before), found)
            store(place_of_row(places[TO], row, lengths, strides), found)

    return kernel
