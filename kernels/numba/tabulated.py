"""Blocks of formulas that read a table (``lookup``).

Where an operand is below the table the arithmetic formula takes over, in those elements only: they are few,
are set aside before any result takes their place, and computed together.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy import float32, float64, int32

from .blocks import ADVANCE, IN, count_of, each, part_of, pointer, result_of, room, sources
from .loop import independent
from .scalar import inline

__all__ = ["WORDS_D", "WORDS_F", "is_all", "run"]

AT_ONCE = 128  # elements: their columns fit the first cache many times
TOGETHER = 16  # elements that the formula is computed of at least
ROWS = (int32(0),)


WORDS_F, WORDS_D = (float32(0.0),) * 4, (float64(0.0),) * 8  # of an entry


@intrinsic
def columns(typing, likes):
    """Room for columns of AT_ONCE values, one for each of `likes`, until the function returns."""

    def build(context, builder, signature, arguments):
        start = room(builder, context.get_data_type(likes.dtype), AT_ONCE * likes.count)
        places = [builder.gep(start, [ir.IntType(64)(AT_ONCE * j)]) for j in range(likes.count)]
        return cgutils.pack_array(builder, places)

    return types.UniTuple(types.CPointer(likes.dtype), likes.count)(likes), build


@intrinsic
def take(typing, inputs, places, count, into):
    """Of each input the numbers at `places`."""

    def build(context, builder, signature, arguments):
        given, places, count, into = arguments
        pairs = (cgutils.unpack_tuple(builder, pointers, inputs.count) for pointers in (given, into))
        for from_, to in zip(*pairs, strict=True):
            with independent(builder, count) as (i, access):
                place = access(builder.load(builder.gep(places, [i])))
                access(builder.store(access(builder.load(builder.gep(from_, [place]))), builder.gep(to, [i])))
        return context.get_dummy_value()

    return types.none(inputs, places, types.intp, into), build


@intrinsic
def put(typing, numbers, places, count, out):
    """Numbers to their `places`, the same ones to the same."""

    def build(context, builder, signature, arguments):
        numbers, places, count, out = arguments
        with independent(builder, count) as (i, access):
            place = access(builder.load(builder.gep(places, [i])))
            access(builder.store(access(builder.load(builder.gep(numbers, [i]))), builder.gep(out, [place])))
        return context.get_dummy_value()

    return types.none(numbers, places, types.intp, out), build


@inline
def is_all(o, j, default, likes):
    """Whether operand `j` is a number for all elements, and that number."""
    return o[ADVANCE + j] == 0 and pointer(o[IN + j], likes[0])[0] == default


@inline
def run(row, finish, at_default, default_row, default_finish, fetch, formula, words, o, likes):
    """Formula `finish` of the operands and of the entry in the row that `row` says.

    Those for parameters at their defaults come after `at_default`, and the arithmetic `formula` for what is
    below the table last; where there are none they are None.
    """
    n, start = count_of(o, likes), 0
    given = sources(o, likes)
    rows, entries = columns(ROWS)[0], columns(words)
    places, apart, results = columns(ROWS)[0], columns(likes), columns(likes)[0]
    while start < n:
        count, aside = AT_ONCE if n - start > AT_ONCE else n - start, 0
        inputs, out = part_of(o, given, start), result_of(o, start, likes)
        if default_row is None or not at_default:
            each(row, count, inputs, rows)
        else:
            each(default_row, count, inputs, rows)
        below = fetch(rows, count, entries)
        if formula is not None:  # noqa: SIM102  (Numba leaves out what a None alone decides)
            if below:
                aside = set_aside(rows, count, places)
                take(inputs, places, aside, apart)
                each(formula, aside, apart, results)
        if default_finish is None or not at_default:
            each(finish, count, inputs + entries, out)
        else:
            each(default_finish, count, inputs + entries, out)
        put(results, places, aside, out)
        start += AT_ONCE


@inline
def set_aside(rows, count, places):
    """Where rows are 0: how many places there are, filled up with the last to a multiple of TOGETHER."""
    found = i = 0
    while i < count:
        places[found] = i
        found += rows[i] == 0
        i += 1
    i = found
    while i & (TOGETHER - 1):
        places[i] = places[found - 1]
        i += 1
    return i
