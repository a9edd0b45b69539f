"""Tables for Numba: where a number's entry stands, what it says, and the entries of a whole strip at once.

A table (``math/tables.py``) is read in three loops, as in ``loops/tabulated.h``: one finds the rows, one
fetches them and turns them into columns, and one is arithmetic on columns.  The first and the last are LLVM's
to vectorise; the second is written in registers, for no compiler makes a transposition of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastrelu.kernels.math import tables

from .primitives import INTEGER
from .scalar import fused, inline, larger, select, smaller, where_eq, where_gt

__all__ = ["Table", "fetching", "find_d", "find_f", "row_of", "table"]

TYPES = {"f": (np.float32, np.uint32), "d": (np.float64, np.uint64)}
ROUND = {"f": 1.5 * 2.0**23, "d": INTEGER}
LANES = {"f": 8, "d": 4}  # entries that become columns at a time: a register of 256 bits of them
ENTRY = 4  # words of an entry that are loaded at once


class Table(NamedTuple):
    """What is reckoned with, in the table's type.

    Row 0 is no entry: it says that the arithmetic formula takes over, as it does below and above some tables.
    """

    first: float
    last: float
    magic: float  # adding it to a clamped position leaves the row's number in the low bits
    origin: int  # what these bits are for row 0
    bend: float
    scaled_below: float
    unscale: float
    formula_below: bool
    formula_above: bool
    dropped: int  # 0, or how many bits the points' mantissas lack: then these are the points


def table(function: str, char: str, beyond_first: bool = False) -> Table:
    """The table of a function; with `beyond_first` the formula takes over from its first entry, too."""
    made = next(t for t in tables.TABLES if t.function == function and t.type == char)
    real, bits = TYPES[char]
    grid = ROUND[char] / 2**made.steps
    numbers = {
        "first": made.first + beyond_first * made.step(0),
        "last": made.last,
        "magic": grid - made.first,
        "bend": made.bend,
        "scaled_below": made.scaled_below,
        "unscale": 1 / made.scale,
    }
    dropped = made.dropped_bits
    origin = (int(real(made.first if dropped else grid).view(bits)) >> dropped) % 2**32 - 1
    return Table(
        origin=np.int32(origin - 2**32 if origin >= 2**31 else origin),
        formula_below=made.formula_below or beyond_first,
        formula_above=made.formula_above,
        dropped=dropped,
        **{name: real(number) for name, number in numbers.items()},
    )


@intrinsic
def low_bits(typing, a, dropped):
    """The last 32 bits of a number but for those `dropped`, as an integer."""

    def build(context, builder, signature, arguments):
        a, dropped = arguments
        bits = ir.IntType(64 if a.type == ir.DoubleType() else 32)
        if bits.width == 32:
            return builder.lshr(builder.bitcast(a, bits), builder.trunc(dropped, bits))
        return builder.trunc(builder.lshr(builder.bitcast(a, bits), dropped), ir.IntType(32))

    return types.int32(a, types.int64), build


@intrinsic
def without_last_bits(typing, a, count):
    """a > 0 rounded to a mantissa that lacks its last `count` bits, of which there is one at least."""

    def build(context, builder, signature, arguments):
        a, count = arguments
        bits = ir.IntType(64 if a.type == ir.DoubleType() else 32)
        count = builder.trunc(count, bits) if bits.width == 32 else count
        half = builder.shl(bits(1), builder.sub(count, bits(1)))
        kept = builder.lshr(builder.add(builder.bitcast(a, bits), half), count)
        return builder.bitcast(builder.shl(kept, count), a.type)

    return a(a, types.int64), build


@intrinsic
def low_part(typing, last):
    """What c0 has lost by its rounding: the lower bits of an entry's last word."""

    def build(context, builder, signature, arguments):
        bits = ir.IntType(signature.args[0].bitwidth)
        shift = bits.width - tables.LOW_BITS["f" if bits.width == 32 else "d"]
        word = builder.bitcast(arguments[0], bits)
        return builder.bitcast(builder.shl(word, bits(shift)), arguments[0].type)

    return last(last), build


@inline
def row_of(table, position):
    """The row of a position's entry; of NaN that of any."""
    at = smaller(larger(position, table.first), table.last)
    place = at + table.magic if table.dropped == 0 else without_last_bits(at, table.dropped)
    outside = table.formula_below and table.first > position
    outside |= table.formula_above and position > table.last
    row = low_bits(place, table.dropped) - table.origin
    return select(outside, types.int32(0), types.int32(row))


@inline
def _place(table, position, error):
    """Where the table is read, the point there, the distance from it, and the entry's scale."""
    at = smaller(table.last, larger(table.first, position))
    point = (at + table.magic) - table.magic if table.dropped == 0 else without_last_bits(at, table.dropped)
    d = (at - point) + where_eq(at, position, error, table.first - table.first)
    one = table.unscale / table.unscale
    return at, point, d, where_gt(table.scaled_below, point, table.unscale, one)


@inline
def find_f(table, position, error, c0, c1, c2, c3):
    """at, high, low and scale of an entry; `error` is what rounding the position has lost."""
    at, point, d, scale = _place(table, position, error)
    c3_low = low_part(c3)
    last = select(table.bend == types.float32(0.0), c3, c3 * (point * d - table.bend))
    return at, c0, fused(d, fused(d, fused(d, last, c2), c1), c3_low), scale


@inline
def find_d(table, position, error, c0, c1, c2, c3, c4, c5, c6, c7):
    at, point, d, scale = _place(table, position, error)
    square = d * d
    last = select(table.bend == 0.0, c7, c7 * (point * d - table.bend))
    upper = fused(fused(last, d, c6), square, fused(c5, d, c4))
    return at, c0, fused(d, fused(fused(upper, square, fused(c3, d, c2)), d, c1), low_part(c7)), scale


def fetching(function: str, char: str):
    """``fetch(rows, count, columns)``: the entries of rows as columns, and whether any row is 0.

    `count` is a multiple of the lanes; columns are pointers.
    """
    lanes, real = LANES[char], ir.FloatType() if char == "f" else ir.DoubleType()
    words = tables.COLUMNS[char]
    size = words * (4 if char == "f" else 8)
    word, index, name = ir.IntType(64), ir.IntType(32), f".fastrelu.{function}_{char}"

    def entries(module):
        """The address of row 0."""
        if name not in module.globals:
            data = bytearray(size) + b"".join(tables.words()[f"{function}_{char}"])
            stored = ir.ArrayType(ir.IntType(8), len(data))
            place = ir.GlobalVariable(module, stored, name)
            place.linkage, place.global_constant, place.align = "internal", True, 64
            place.initializer = ir.Constant(stored, data)
        return module.globals[name]

    @intrinsic
    def fetch(typing, rows, count, columns):
        def build(context, builder, signature, arguments):
            rows, count, columns = arguments
            columns = cgutils.unpack_tuple(builder, columns, words)
            base = builder.bitcast(entries(builder.module), ir.IntType(8).as_pointer())
            several = ir.VectorType(index, lanes)
            zeros = ir.Constant(several, [0] * lanes)
            never = ir.Constant(ir.VectorType(ir.IntType(1), lanes), [0] * lanes)
            seen = cgutils.alloca_once_value(builder, never)
            with cgutils.for_range_slice(builder, word(0), count, word(lanes)) as (i, _):
                at = builder.gep(rows, [i])
                together = builder.load(builder.bitcast(at, several.as_pointer()), align=4)
                none = builder.icmp_signed("==", together, zeros)
                builder.store(builder.or_(builder.load(seen), none), seen)
                starts = []
                for lane in range(lanes):
                    row = builder.zext(builder.load(builder.gep(at, [word(lane)])), word)
                    starts.append(builder.gep(base, [builder.mul(row, word(size))]))
                made = _columns(builder, real, starts, words)
                for column, values in zip(columns, made, strict=True):
                    place = builder.bitcast(builder.gep(column, [i]), values.type.as_pointer())
                    builder.store(values, place, align=4 if char == "f" else 8)
            bits = builder.bitcast(builder.load(seen), ir.IntType(lanes))
            return builder.icmp_unsigned("!=", bits, bits.type(0))

        return types.boolean(rows, types.intp, columns), build

    return fetch


def _columns(builder, real, starts, words):
    """The words of entries, each in a register: squares of four by four, transposed."""
    four, made = ir.VectorType(real, ENTRY), []
    for first in range(0, words, ENTRY):
        rows = []
        for start in starts:
            place = builder.gep(builder.bitcast(start, four.as_pointer()), [ir.IntType(32)(first // ENTRY)])
            rows.append(builder.load(place, align=16))
        if len(rows) > ENTRY:  # two squares side by side
            rows = [
                _lanes(builder, *pair, range(2 * ENTRY))
                for pair in zip(rows[:ENTRY], rows[ENTRY:], strict=True)
            ]
        made += _transposed(builder, rows, real)
    return made


def _transposed(builder, rows, real):
    """Four registers of rows as four of columns, by what instructions there are for either type."""
    a, b, c, d = rows
    columns = [None] * ENTRY
    for kept in ((0, 1), (2, 3)) if real == ir.FloatType() else ((0, 2), (1, 3)):
        ab, cd = (
            _from_both(builder, *pair, [(side, lane) for lane in kept for side in (0, 1)])
            for pair in ((a, b), (c, d))
        )
        for half, column in enumerate(kept):
            lanes = [(side, 2 * half + lane) for side in (0, 1) for lane in (0, 1)]
            columns[column] = _from_both(builder, ab, cd, lanes)
    return columns


def _from_both(builder, a, b, picked):
    """Of each square in a and b the lanes that are `picked`, by side and number."""
    count = a.type.count
    lanes = [side * count + square + lane for square in range(0, count, ENTRY) for side, lane in picked]
    return _lanes(builder, a, b, lanes)


def _lanes(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes)))
