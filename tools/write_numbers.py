"""Write the coefficients and the tables as constants of C."""

from __future__ import annotations

import math
import struct

from kernel_sources import coefficients, tables

HEADER = "# Written by tools/write_numbers.py from kernels/math/: edit what is there.\n"


def tables_pxi():
    """The tables as C constants, for the instruction set that reads them."""
    made, stored = tables(), tables().words()
    magic, kinds = {"f": 1.5 * 2**23, "d": 1.5 * 2**52}, {"f": ("float", "I", 4), "d": ("double", "Q", 8)}
    entries, names = [], []
    for table in made.TABLES:
        ctype, code, _ = kinds[table.type]
        name = f"TABLE_{table.name}"
        numbers = (
            n
            for entry in stored[table.name]
            for n in struct.unpack(f"<{made.COLUMNS[table.type]}{code}", entry)
        )
        bits = {"f": "uint32_t", "d": "uint64_t"}[table.type]
        entries.append(
            f"    alignas(64) static const {bits} {name}_ENTRIES[] = {{\n"
            + ",".join(f"{n:#x}{'ULL' if code == 'Q' else ''}" for n in numbers)
            + "};"
        )
        below = table.scaled_below if table.scaled_below > -math.inf else table.first
        lower = str(table.formula_below).lower()
        grid = magic[table.type] / 2**table.steps
        # the offset of the first entry: its number, in the low bits of what is stored, times an entry's bytes
        size = made.COLUMNS[table.type] * {"f": 4, "d": 8}[table.type]
        upper = str(table.formula_above).lower()
        dropped = table.dropped_bits
        low_bits = struct.pack(f"<{table.type}", table.first if dropped else grid)
        origin = (int.from_bytes(low_bits, "little") >> dropped) * size % 2**32
        values = f"{table.first}, {table.last}, {grid - table.first!r}"
        values += f", {table.bend}, {below}, {1 / table.scale!r}, {lower}, {upper}, {dropped}, {origin}u"
        names.append((name, ctype, f"{name} = {{ENTRIES({name}_ENTRIES), {values}}};"))
    lines = [HEADER, 'cdef extern from * nogil:\n    """']
    lines += ["    #if LOOK_UP", *entries, "    #define ENTRIES(name) name", "    #else"]
    lines += ["    #define ENTRIES(name) nullptr", "    #endif"]
    lines += [f"    static constexpr Table<{ctype}> {text}" for _, ctype, text in names]
    lines += ['    """', *(f"    const Table[{ctype}] {name}" for name, ctype, _ in names)]
    return "\n".join(lines) + "\n"


def coefficients_pxi():
    """The coefficient arrays as C constants with their Cython declarations."""
    lines, names = [], []
    for name, value in coefficients().items():
        names.append((name, isinstance(value, tuple)))
        numbers = ", ".join(map(repr, value)) if isinstance(value, tuple) else repr(value)
        c = f"{name}[] = {{{numbers}}}" if isinstance(value, tuple) else f"{name} = {numbers}"
        lines.append(f"    static constexpr double {c};")
    text = HEADER + 'cdef extern from * nogil:\n    """\n' + "\n".join(lines) + '\n    """\n'
    return text + "".join(f"    const double{'[1]' if array else ''} {name}\n" for name, array in names)
