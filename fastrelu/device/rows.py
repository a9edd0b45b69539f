"""How a reduction goes over device arrays: a pure function of where they lie, which ends in launches.

The axes that are kept and those that are reduced are merged, each kind by itself, where every array allows
it. Along memory a team of neighbouring threads takes a row, by vectors of 16 bytes if all arrays allow that;
across memory neighbouring threads take neighbouring rows.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

from .arrays import SIZES
from .layout import VECTOR_BYTES, axes_of

__all__ = ["Block", "RowPlan", "TooManyStrides", "row_plan"]


@dataclass(frozen=True, slots=True)
class Block:
    """What a launch depends on besides the arrays.

    Attributes
    ----------
    lanes : int
        Threads of a warp.
    least, most : int
        Threads of a block.
    entries : callable
        ``entries(char, how, length)`` of a thread.
    """

    lanes: int
    least: int
    most: int
    entries: Callable


@dataclass(frozen=True, slots=True)
class RowPlan:
    """A launch over rows for each of `offsets`.

    Attributes
    ----------
    how : str
        As in ``kernels/cuda/access.py``.
    count, team, threads : int
        Entries of a thread, threads of a row, threads of a block.
    rows, length : int
    lengths : tuple of int
        Rows within, entries within.
    strides : tuple of int
        Four of each array.
    offsets : tuple of tuple of int
        In bytes, for each array.
    """

    how: str
    count: int
    team: int
    threads: int
    rows: int
    length: int
    lengths: tuple[int, int]
    strides: tuple[int, ...]
    offsets: tuple[tuple[int, ...], ...]

    @property
    def pieces(self):
        """Of a row."""
        return max(1, -(-self.length // (self.team * self.count)))

    @property
    def groups(self):
        """Of rows: as many as a block has teams."""
        return -(-self.rows // (self.threads // self.team))

    def roles(self, processors):
        """Which of ``kernels/cuda/row_kernels.py`` go over the rows, and for how many blocks each has work.

        Long rows, if they are too few to occupy half of the multiprocessors, are shared out.
        """
        if self.pieces == 1:
            return {"whole": self.groups}
        if 2 * self.groups > processors:
            return {"pieces": self.groups}
        tasks = self.groups * self.pieces
        return {"sums": tasks, "joined": self.rows, "results": tasks}

    def kept_bytes(self, room, size):
        """The shared memory for pieces of rows that are read once, of `room`; an entry takes `size` bytes.

        All of a row but its last piece, which is in registers, or as many pieces as there is room for.
        """
        piece = self.threads * self.count * size
        return min(self.pieces - 1, room // piece) * piece


class TooManyStrides(ValueError):
    """Rows whose entries lie along more than two strides."""


def _power_of_two(n):
    """The least one that is not below n."""
    return 1 << max(0, n - 1).bit_length()


@functools.lru_cache(maxsize=4096)
def row_plan(shape, axes, char, strides, lead, aligned, block: Block) -> RowPlan:
    """The launches that go over the rows of arrays.

    Parameters
    ----------
    shape, axes : tuple of int
        Of the entries; which are reduced, ascending.
    char : str
    strides : tuple of tuple of int or None
        Of the arrays in bytes: along all axes, or along the kept ones if there is a number for each row.
    lead : int
        Which of them, with all axes, says in which order memory is gone through.
    aligned : bool
        Whether the arrays with all axes begin at multiples of 16 bytes.
    block : Block

    Raises
    ------
    TooManyStrides
    """
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    whole = [one is not None and len(one) == len(shape) for one in strides]

    def along(some, of_rows):
        taken = []
        for one, has_all in zip(strides, whole, strict=True):
            missing = one is None or not (has_all or of_rows)
            taken.append((0,) * len(some) if missing else tuple(one[i] for i in some) if has_all else one)
        found = axes_of(tuple(shape[i] for i in some), (taken[lead], *taken))
        return found.lengths, found.strides[1:]

    (row_lengths, row_steps), (lengths, steps) = along(kept, True), along(axes, False)
    if len(lengths) > 2:
        raise TooManyStrides(len(lengths))
    loops = [(n, [s[i] for s in row_steps]) for i, n in enumerate(row_lengths)]
    within = loops.pop() if len(loops) > 1 else (1, [0] * len(strides))
    outer = loops.pop()
    length = math.prod(lengths)
    steps = [(*s, 0)[:2] for s in steps]
    how = _how(char, length, len(lengths), row_lengths, row_steps, steps, lead, whole if aligned else ())
    count = block.entries(char, how, length)
    across = block.lanes if how == "across" else 1
    team = min(_power_of_two(-(-length // count)), block.most // across)
    of_each = zip(outer[1], within[1], steps, strict=True)
    offsets = (
        tuple(sum(i * s[j] for i, (_, s) in zip(at, loops, strict=True)) for j in range(len(strides)))
        for at in itertools.product(*(range(n) for n, _ in loops))
    )
    return RowPlan(
        how,
        count,
        team,
        max(block.least, team * across),
        outer[0] * within[0],
        length,
        (within[0], (*lengths, 1)[1]),
        tuple(step for a, b, (c, d) in of_each for step in (a, b, c, d)),
        tuple(offsets),
    )


def _how(char, length, nested, row_lengths, row_steps, steps, lead, by_vectors):
    """`by_vectors`: which arrays have to allow vectors; none if they may not be."""
    size = SIZES[char]
    if nested > 1:
        return "nested"
    neighbour = row_steps[lead][-1] if row_lengths != (1,) else 0
    if length > 1 and abs(steps[lead][0]) > abs(neighbour) > 0:
        return "across"
    if length % (VECTOR_BYTES // size):
        return "single"
    apart = (
        steps[j][0] != size or any(step % VECTOR_BYTES for step in row_steps[j])
        for j, asked in enumerate(by_vectors)
        if asked
    )
    return "vectors" if by_vectors and not any(apart) else "grouped"
