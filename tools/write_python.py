"""Write every formula in plain Python, which Numba compiles for CPUs and for CUDA, to `kernels/`.

Called by ``setup.py``; what is written is never committed.
"""

from __future__ import annotations

import hashlib
import sys

import translate
from kernel_sources import (
    ROOT,
    TYPES,
    coefficients,
    formula_kinds,
    reaches_beyond,
    readings,
    table,
    tables,
    write_text,
)

# What the reductions of kernels/numba/rows.py take from kernels/math/ and kernels/formulas/.
ROW_BUILDING_BLOCKS = ("expm1_nonpositive", "log_of_excess", "weighted_term")
# The same of kernels/cuda/, for each kind of number that it takes them for.
CUDA_BUILDING_BLOCKS = {
    "vec_f": (
        *("entry_exponent", "entry_excess", "plain_log1p"),
        *("normal_radius_half", "normal_cosine_half", "normal_sine_half"),
    ),
    "vec_d": ("entry_exponent", "entry_excess"),
    "wide_f": ("leading_factor", "rescaled_sum", "normal_radius", "normal_cosine", "normal_sine"),
    "wide_d": ("leading_factor", "rescaled_sum", "normal_radius", "normal_cosine", "normal_sine"),
}
# Words of kernels/cuda/plain.py, for formulas in one register.
PLAIN_WORDS = {"multiply_add", "times_power_of_two"}
# What kernels/cuda/ has in common with kernels/numba/, word for word: the build copies it.
SHARED_WITH_CUDA = ("scalar.py", "pair.py", "steps.py")


def formulas_py(cuda=False):
    """Every kernel in plain Python, for Numba; for CUDA those in one register besides."""
    functions, constants = translate.read(ROOT / "kernels")
    made, kinds = translate.Translator(functions), formula_kinds()
    read_from = {}
    for kernel in table().KERNELS:
        made.kernel(kernel)
        if cuda:
            made.single(kernel)
            continue
        for read in readings(kernel, kinds):
            beyond = ", beyond_first=True" if reaches_beyond(kernel, read) else ""
            for suffix in TYPES:
                constant = f"{read.table}{'_beyond_first' if beyond else ''}_{suffix}".upper()
                read_from[constant] = f'table("{read.table}", "{suffix}"{beyond})'
                made.looked_up(kernel, read, constant, suffix)
    for name in ROW_BUILDING_BLOCKS:
        for kind in translate.KINDS["W"]:
            made.formula(name, kind)
    for kind, names in CUDA_BUILDING_BLOCKS.items() if cuda else ():
        for name in names:
            made.formula(name, kind)
    made.names.add("LN2")
    values = coefficients() | {name: float(value) for name, value in constants.items()}
    values |= {"FLT_MAX": (2 - 2.0**-23) * 2.0**127, "DBL_MAX": sys.float_info.max}  # of <float.h>
    lookup = made.names & translate.LOOKUP
    words = made.names - values.keys() - lookup - {"NAN", "INFINITY"}
    lines = ['"""Written by tools/write_python.py from fastrelu/table.py and the formulas: edit those."""']
    lines += ["", "from math import inf as INFINITY", "from math import nan as NAN", ""]
    lines += ["from numpy import float32, float64", "", "from . import pair"]
    if lookup:
        lines += [f"from .lookup import {', '.join(sorted(lookup))}, table"]
    if words & PLAIN_WORDS:
        lines += [f"from .plain import {', '.join(sorted(words & PLAIN_WORDS))}"]
    lines += [f"from .scalar import {', '.join(['inline', *sorted(words - PLAIN_WORDS)])}", ""]
    lines += [f"{name} = {values[name]!r}" for name in sorted(made.names & values.keys())]
    lines += [f"{name} = {made_by}" for name, made_by in sorted(read_from.items())]
    return "\n".join(lines + made.lines) + "\n"


def shared_py(name):
    """A module of kernels/numba/ for kernels/cuda/, where the same names mean the GPU's."""
    text = (ROOT / "kernels/numba" / name).read_text()
    return f"# Written by tools/write_python.py from kernels/numba/{name}: edit that.\n{text}"


def numba_block(kernel, kinds, suffix):
    """The body of a block for Numba."""
    type_, name = translate.TYPES[suffix], kernel.name.replace(".", "_")
    likes = f"({f'{type_}(0.0), ' * len(kernel.inputs)})"
    formula = f"formulas.{name}_{suffix}"
    forms = readings(kernel, kinds)
    if not forms:
        return [f"    blocks.run({formula}, operands, {likes})"]

    called = [f"formulas.{read.name}_{suffix}{end}" for read in reversed(forms) for end in ("_row", "")]
    tests = []
    if len(forms) > 1:
        row = next(row for row in table().ROWS if row.qualname == kernel.row)
        tests = [
            f"tabulated.is_all(operands, {kernel.inputs.index(parameter)}, {type_}({default!r}), {likes})"
            for parameter, default in row.defaults.items()
        ]
    else:
        called += [None, None]
    (read_from,) = (t for t in tables().TABLES if t.name == f"{forms[0].table}_{suffix}")
    beyond = any(reaches_beyond(kernel, read) for read in forms)
    outside = read_from.formula_below or read_from.formula_above or beyond
    called.insert(2, " and ".join(tests) or None)
    called += [f"fetch_{read_from.name}", formula if outside else None]
    called += [f"tabulated.WORDS_{suffix.upper()}", "operands", likes]
    return ["    tabulated.run(", *(f"        {argument}," for argument in called), "    )"]


def entries_py():
    """The functions that Numba compiles by themselves and keeps on disk.

    What it keeps it takes for current as long as the file of the function is, so this file says what all
    the others are.
    """
    sources = [p for p in sorted((ROOT / "kernels/numba").glob("*.py")) if p.stem != "entries"]
    sources += [ROOT / "kernels/math/tables.py", ROOT / "kernels/math/tables.bin"]
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()
    lines = ['"""Written by tools/write_python.py from fastrelu/table.py: what Numba compiles by itself."""']
    lines += ["", f"# over sources with the SHA-256 {digest}", ""]
    lines += [
        "from numpy import float32, float64",
        "",
        "from . import blocks, columns, formulas, losses, lookup, rows, sums, tabulated, weighted",
        "from . import weighted_logs",
    ]
    lines += ["from .primitives import by_type", ""]
    kinds = formula_kinds()
    lines += [f'fetch_{t.name} = lookup.fetching("{t.function}", "{t.type}")' for t in tables().TABLES]
    for kernel in table().KERNELS:
        name, inputs = kernel.name.replace(".", "_"), ", ".join(kernel.inputs)
        for suffix in TYPES:
            lines += ["", "", f"def {name}_{suffix}_block(operands):", *numba_block(kernel, kinds, suffix)]
            if kernel.summed:
                count = {1: "one_parameter", 2: "two_parameters"}[len(kernel.inputs) - 2]
                call = f"sums.{count}(formulas.{name}_term_{suffix}, work, part, parts)"
                lines += ["", "", f"def {name}_{suffix}_sums(work, part, parts):", f"    {call}"]
        lines += ["", "", f"{name}_of_type = by_type(formulas.{name}_f, formulas.{name}_d)"]
        lines += ["", "", f"def {name}({inputs}):", f"    return {name}_of_type({inputs})"]
    for name in table().ROW_KERNELS:
        name = name.replace(".", "_")
        for layout in ("rows", "columns"):
            lines += ["", "", f"def {name}_{layout}(work, part, parts):"]
            lines += [f"    {layout}.{name}(work, part, parts)"]
    others = {
        "cross_entropy": "losses.cross_entropy",
        "weighted": "weighted.weighted",
        "weighted_logs": "weighted_logs.logs",
        "weighted_gradient": "weighted_logs.gradient",
    }
    for name, function in others.items():
        lines += ["", "", f"def {name}_rows(work, part, parts):", f"    {function}(work, part, parts)"]
    return "\n".join(lines) + "\n"


def write():
    """Write the modules of Python to where the package is installed from: they need no compiler."""
    write_text(ROOT / "kernels/numba/formulas.py", formulas_py())
    write_text(ROOT / "kernels/numba/entries.py", entries_py())
    write_text(ROOT / "kernels/cuda/formulas.py", formulas_py(cuda=True))
    for name in SHARED_WITH_CUDA:
        write_text(ROOT / "kernels/cuda" / name, shared_py(name))


if __name__ == "__main__":
    write()
