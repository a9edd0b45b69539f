"""How a kernel goes over device arrays: a pure function of where they lie, which ends in a launch.

Axes are put in the order of the result's memory and merged where every array allows it.  What is one run of
contiguous memory then goes by vectors of 16 bytes, and so do several axes of which the last is such runs,
everything else number by number.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

from .arrays import SIZES, View

__all__ = [
    "MOST_AXES",
    "MOST_NUMBERS",
    "Axes",
    "Pass",
    "Summation",
    "axes_of",
    "broadcast",
    "halves",
    "layout_of",
    "merged",
    "passes",
    "summation",
]

MOST_AXES = 8
MOST_NUMBERS = 2**31  # that one launch goes over by their strides, which it does in 32 bits
VECTOR_BYTES = 16


@dataclass(frozen=True, slots=True)
class Axes:
    """Merged axes, outermost first: their lengths, and the strides of each array along them."""

    lengths: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Pass:
    """One launch.

    Attributes
    ----------
    rank : int
        0 where memory is contiguous, else the number of axes.
    places : tuple of int
        Of the result, then of each array.
    rest : tuple of int
        The kernel's last arguments.
    items : int
        How many threads find something to do.
    alike : tuple of bool or None
        Where the last of several axes counts vectors, which arrays have one number for a whole one.
    """

    rank: int
    places: tuple[int, ...]
    rest: tuple[int, ...]
    items: int
    alike: tuple[bool, ...] | None = None


def layout_of(view):
    """What of a View decides how it is gone over, as the first arguments of another one; None of None."""
    return None if view is None else (view.place % VECTOR_BYTES, view.shape, view.strides, view.char)


def broadcast(view: View, shape) -> View:
    """A view of `shape`, with strides of 0 along the axes that it lacks."""
    if view.shape == shape:
        return view
    lengths, strides = view.shape, view.strides
    missing = len(shape) - len(lengths)
    stretched = (0 if n == 1 else step for n, step in zip(lengths, strides, strict=True))
    return replace(view, shape=shape, strides=(0,) * missing + tuple(stretched))


def halves(view, axis):
    """The two halves along an axis."""
    half = view.shape[axis] // 2
    shape = (*view.shape[:axis], half, *view.shape[axis + 1 :])
    return [replace(view, place=view.place + i * half * view.strides[axis], shape=shape) for i in (0, 1)]


@functools.lru_cache(maxsize=4096)
def axes_of(shape, strides) -> Axes:
    """The axes of arrays of one shape, in the order of the first one's memory; their strides are given."""
    axes = sorted(range(len(shape)), key=lambda i: [-abs(step[i]) for step in strides])
    return merged(tuple(shape[i] for i in axes), tuple(tuple(step[i] for i in axes) for step in strides))


def merged(shape, strides) -> Axes:
    """The axes of arrays of one shape in their order, as few as there can be."""
    lengths, kept = [], [[] for _ in strides]
    for i, n in enumerate(shape):
        if n == 1:
            continue
        if lengths and all(done[-1] == step[i] * n for done, step in zip(kept, strides, strict=True)):
            lengths[-1] *= n
            for done, step in zip(kept, strides, strict=True):
                done[-1] = step[i]
        else:
            lengths.append(n)
            for done, step in zip(kept, strides, strict=True):
                done.append(step[i])
    if not lengths:
        lengths, kept = [1], [[0] for _ in strides]
    return Axes(tuple(lengths), tuple(map(tuple, kept)))


def passes(out: View, arrays: tuple[View, ...], stretched=None):
    """The launches that go over arrays of the shape of `out`; none where there is no number.

    `stretched` says which arrays may have one number for a whole vector of the others: by default those of
    the dtype of `out`.
    """
    sizes, places = tuple(SIZES[a.char] for a in (out, *arrays)), (out.place, *(a.place for a in arrays))
    if not out.size:
        return
    axes = axes_of(out.shape, (out.strides, *(a.strides for a in arrays)))
    dense = all(step == (size,) for step, size in zip(axes.strides, sizes, strict=True))
    if len(axes.lengths) == 1 and (axes.lengths == (1,) or dense):
        yield _contiguous(places, axes.lengths[0], sizes)
    else:
        stretched = tuple(a.char == out.char for a in arrays) if stretched is None else stretched
        yield from _strided(places, axes, sizes, (False, *stretched))


def _contiguous(places, n, sizes):
    """One launch over `n` numbers behind each other, which begin at each of `places`.

    Vectors have as many of them as 16 bytes hold of the largest.
    """
    lanes = VECTOR_BYTES // max(sizes)
    ahead = {-(place // size) % lanes for place, size in zip(places, sizes, strict=True)}
    head = max(ahead)
    vectors = max(0, n - head) // lanes if len(ahead) == 1 else 0
    return Pass(0, places, (n, head, vectors), max(vectors, n - vectors * lanes))


def _by_vectors(places, axes, sizes, stretched):
    """The axes in vectors along the last one, and which arrays have one number there; else None."""
    lanes = VECTOR_BYTES // max(sizes)
    if axes.lengths[-1] % lanes:
        return None
    for place, size, single, (*outer, last) in zip(places, sizes, stretched, axes.strides, strict=True):
        if not last and single:
            continue
        if last != size or any(step % (lanes * size) for step in (place, *outer)):
            return None
    alike = tuple(not strides[-1] for strides in axes.strides[1:])
    strides = tuple((*outer, last * lanes) for *outer, last in axes.strides)
    return Axes((*axes.lengths[:-1], axes.lengths[-1] // lanes), strides), alike


def _strided(places, axes, sizes, stretched):
    """`stretched`: which arrays may have one number for a whole vector."""
    n, rank = math.prod(axes.lengths), len(axes.lengths)
    if rank <= MOST_AXES and n <= MOST_NUMBERS:
        axes, alike = _by_vectors(places, axes, sizes, stretched) or (axes, None)
        n = math.prod(axes.lengths)
        steps = tuple(step for strides in axes.strides for step in strides)
        yield Pass(rank, places, (n, *axes.lengths[1:], *steps), n, alike)
        return
    # along the first axis in pieces: single ones where there are too many axes
    first, *others = axes.lengths
    piece = 1 if rank > MOST_AXES else max(1, MOST_NUMBERS // math.prod(others))
    for start in range(0, first, piece):
        length = min(piece, first - start)
        moved = tuple(p + start * s[0] for p, s in zip(places, axes.strides, strict=True))
        inner = Axes(tuple(others), tuple(s[1:] for s in axes.strides))
        rest = inner if length == 1 and others else Axes((length, *others), axes.strides)
        yield from _strided(moved, rest, sizes, stretched)


@dataclass(frozen=True, slots=True)
class Summation:
    """Two launches: one that leaves parts of each sum in a workspace, one that adds those.

    Attributes
    ----------
    ranks : tuple of int
        Axes that are kept, and that are summed.
    kept, terms, parts : int
        Results, and terms and parts of each.
    blocks : int
        Of the first launch.
    partial, finished : tuple of int
        The last arguments of either kernel.
    """

    ranks: tuple[int, int]
    kept: int
    terms: int
    parts: int
    blocks: int
    partial: tuple[int, ...]
    finished: tuple[int, ...]

    def check(self, name):
        """Refuse more numbers than kernels count along several axes, which they do in 32 bits."""
        for rank, count in zip(self.ranks, (self.kept, self.terms), strict=True):
            if rank > 1 and count >= 2**32:
                raise ValueError(
                    f"{name}: a sum over {count} numbers along {rank} axes; expected fewer than 2**32, "
                    "or memory without gaps"
                )


def summation(out, arrays, shape, kept_shape, threads, width, blocks) -> Summation:
    """How results over `arrays`, which have `shape`, are summed to `kept_shape`, whose memory is `out`.

    `threads` are those of a block, `width` the results that a block sums at once where these are what is
    contiguous, `blocks` as many as the device should have.
    """
    lengths = (1,) * (len(shape) - len(kept_shape)) + kept_shape
    keeps = [i for i, n in enumerate(lengths) if n != 1]
    sums = [i for i, n in enumerate(lengths) if n == 1]
    out_steps = [step for n, step in zip(out.shape, out.strides, strict=True) if n != 1]

    def along(axes, *first):
        taken = tuple(tuple(a.strides[i] for i in axes) for a in arrays)
        return axes_of(tuple(shape[i] for i in axes), (*first, *taken))

    kept, summed = along(keeps, tuple(out_steps)), along(sums)
    results, terms = math.prod(kept.lengths), math.prod(summed.lengths)
    if results == 1 or abs(kept.strides[1][-1]) >= abs(summed.strides[0][-1]):
        width = 1
    rows, groups = threads // width, -(-results // width)
    parts = max(1, min(-(-blocks // max(1, groups)), -(-terms // (8 * rows))))
    steps = [[step for strides in one for step in strides] for one in (kept.strides[1:], summed.strides)]
    return Summation(
        (len(kept.lengths), len(summed.lengths)),
        results,
        terms,
        parts,
        parts * groups,
        (results, terms, parts, width, *kept.lengths[1:], *summed.lengths[1:], *steps[0], *steps[1]),
        (results, parts, *kept.lengths[1:], *kept.strides[0]),
    )
