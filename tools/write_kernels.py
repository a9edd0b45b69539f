"""Write the kernels' entry points from the table: one block for each formula, type and pass.

Called by ``setup.py``; the files go to ``build/generated``, the Python modules to
``kernels/numba`` and ``kernels/cuda``, and none is ever committed.
``fastrelu/table.py`` says which kernels exist, ``kernels/formulas/`` whether a formula works on plain
registers (``V``) or on wide ones (``W``), ``kernels/math/coefficients.py`` holds the numbers.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import math
import re
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import translate

ROOT = Path(__file__).resolve().parent.parent
TYPES = {"f": "float", "d": "double"}
INTEGERS = [f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")]
STORAGES = dict(zip([*TYPES, *INTEGERS], ["FLOAT32", "FLOAT64", *map(str.upper, INTEGERS)], strict=True))
HALVES = {"half": "FLOAT16", "bfloat16": "BFLOAT16"}
# formulas/rows.pxi by the names under which the passes know them.
ROW_FORMULAS = {
    "exponent": "entry_exponent",
    "excess": "entry_excess",
    "leading_factor": "leading_factor",
    "rescaled": "rescaled_sum",
    "log1p": "log_of_excess",
}
# What the reductions of kernels/numba/rows.py take from kernels/math/ and kernels/formulas/.
ROW_BUILDING_BLOCKS = ("expm1_nonpositive", "log_of_excess", "weighted_term")
# The same of kernels/cuda/, for each kind of number that it takes them for.
CUDA_BUILDING_BLOCKS = {
    "vec_f": ("entry_exponent", "entry_excess", "plain_log1p"),
    "vec_d": ("entry_exponent", "entry_excess"),
    "wide_f": ("leading_factor", "rescaled_sum", "normal_radius", "normal_cosine", "normal_sine"),
    "wide_d": ("leading_factor", "rescaled_sum", "normal_radius", "normal_cosine", "normal_sine"),
}
# Words of kernels/cuda/plain.py, for formulas in one register.
PLAIN_WORDS = {"multiply_add", "times_power_of_two"}
# What kernels/cuda/ has in common with kernels/numba/, word for word: the build copies it.
SHARED_WITH_CUDA = ("scalar.py", "pair.py", "steps.py")
# Formulas whose table is no slower than their plain arithmetic, so that "fast" takes it too: on instruction
# sets that read tables, and on those that borrow the reading.  Empty these, rebuild and run
# `python bench/thresholds.py accuracy` under each FASTRELU_ISA to see them again.
TABLES_WIN = {
    "LOOK_UP": {
        *("softplus", "softplus_slope", "log_sigmoid", "log_sigmoid_slope", "sigmoid_slope"),
        *("silu", "silu_slope", "mish", "tanh", "tanh_slope"),
    },
    "BORROWS_TABULATED": {"softplus", "log_sigmoid"},
}
ARRAYS = "dy", "x", "y", "x1", "x2", "draw", "value", "gate"  # the inputs that are no parameters
HEADER = "# Written by tools/write_kernels.py from fastrelu/table.py: edit those.\n"


def load(path, name):
    """Import one file of the source tree under a name of its own, without its package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table():
    """The table and fastrelu/row.py under it, out of a package that never runs fastrelu/__init__.py."""
    source = sys.modules["fastrelu_source"] = ModuleType("fastrelu_source")
    source.__path__ = [str(ROOT / "fastrelu")]
    return importlib.import_module("fastrelu_source.table")


@functools.cache
def tables():
    return load("kernels/math/tables.py", "fastrelu_tables")


def formula_kinds():
    """Map each formula to the kind of value it takes: ``V``, ``W`` or ``N``."""
    kinds = {}
    for path in sorted((ROOT / "kernels/formulas").rglob("*.pxi")):
        for kind, name in re.findall(r"^cdef inline ([VWN]) (\w+)\(", path.read_text(), re.MULTILINE):
            kinds[name] = kind
    return kinds


def tabulated(formulas):
    """Map a formula to its form that reads a table, and that table: f_from_table or f_from_<table>."""
    known, found = {table.function for table in tables().TABLES}, {}
    for name in formulas:
        formula, _, table = name.rpartition("_from_")
        table = formula.removesuffix("_at_default") if table == "table" else table
        if table in known:
            found[formula] = name, table
    return found


def table_position(formula, formulas):
    """The functions that say where the table is read, and how far off that is: the longest name that fits."""
    if formula.endswith("_at_default"):
        return None, None  # x itself
    at = [n for n in formulas if n.endswith("_position") and formula.startswith(n.removesuffix("_position"))]
    position = max(at, key=len, default=None)
    error = f"{position}_error" if f"{position}_error" in formulas else None
    return position, error


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
        # the offset of the first entry: the low bits of `grid` as stored, times an entry's bytes
        size = made.COLUMNS[table.type] * {"f": 4, "d": 8}[table.type]
        origin = struct.unpack("<I", struct.pack(f"<{table.type}", grid)[:4])[0] * size % 2**32
        values = f"{table.first}, {table.last}, {grid - table.first!r}"
        values += f", {table.bend}, {below}, {1 / table.scale!r}, {lower}, {origin}u"
        names.append((name, ctype, f"{name} = {{ENTRIES({name}_ENTRIES), {values}}};"))
    lines = [HEADER, 'cdef extern from * nogil:\n    """']
    lines += ["    #if LOOK_UP", *entries, "    #define ENTRIES(name) name", "    #else"]
    lines += ["    #define ENTRIES(name) nullptr", "    #endif"]
    lines += [f"    static constexpr Table<{ctype}> {text}" for _, ctype, text in names]
    lines += ['    """', *(f"    const Table[{ctype}] {name}" for name, ctype, _ in names)]
    return "\n".join(lines) + "\n"


def coefficients():
    """The numbers of formulas by name: floats and tuples of floats."""
    values = dict(vars(load("kernels/math/coefficients.py", "fastrelu_coefficients")))
    *rest, c6, c5, c4, c3, c2, c1 = values["MILLS_LONG"]
    values["MILLS_LONG_REST"] = tuple(rest)
    values |= {f"MILLS_LONG_C{i}": c for i, c in enumerate((c1, c2, c3, c4, c5, c6), 1)}
    numbers = {name: value for name, value in values.items() if name.isupper()}
    # not the decimals, which are for the reference only
    return {n: v for n, v in numbers.items() if isinstance(v[0] if isinstance(v, tuple) else v, float)}


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


def gated():
    """The kernels whose result is a product with a value, which may find something where a table is 0."""
    rows = (gate.kernels() for gate in table().GATES)
    return [kernel for made in rows for pass_, kernel in made.items() if pass_ != "backward_value"]


def with_formula_below(table, suffix):
    (steps,) = (t.steps for t in tables().TABLES if t.name == f"{table}_{suffix}")
    return f"with_formula_below[{TYPES[suffix]}](TABLE_{table}_{suffix}, {2.0**-steps})"


@dataclass(frozen=True)
class Reading:
    """A form of a kernel that reads a table, by the names of formulas; the first is that for Numba."""

    name: str
    formula: str
    table: str
    position: str | None
    error: str | None
    at_default: bool


def readings(kernel, kinds):
    """The forms of a kernel that read a table, that for a row's defaults first."""
    looks_up, found = tabulated(kinds), []
    for ending in ("_at_default", ""):
        literal = kernel.formula + ending
        if literal in looks_up and not kernel.knots:
            name = f"{kernel.name.replace('.', '_')}{ending}_from_table"
            found.append(Reading(name, *looks_up[literal], *table_position(literal, kinds), bool(ending)))
    return found


def is_default(kernel, suffix):
    """The test that all of the row's parameters have their default."""
    row = next(row for row in table().ROWS if row.qualname == kernel.row)
    tests = (
        f"is_all[{TYPES[suffix]}](o, {kernel.inputs.index(name)}, {default!r})"
        for name, default in row.defaults.items()
    )
    return " and ".join(tests)


def fast_block(index, kernel, kinds, suffix):
    """The block of accuracy "fast": formulas of formulas/fast/, all on plain registers."""
    value, n = f"vec_{suffix}", len(kernel.arguments)
    way = "backward" if kernel.inputs[0] == "dy" else "forward"

    def call(formula):
        if kernel.knots:
            return f"backward_with_knots{n}[{value}]({formula}[{value}], KNOTS_{index}, o)"
        return f"{way}{n}[{value}]({formula}[{value}], o)"

    body, at_default = call(f"{kernel.formula}_fast"), f"{kernel.formula}_at_default_fast"
    if at_default in kinds:
        test = is_default(kernel, suffix)
        body = f"if {test}:\n        {call(at_default)}\n    else:\n        {body}"
    return (
        f"cdef void fast_{index}_{suffix}(const Operands& o) noexcept nogil:  # {kernel.name}\n    {body}\n"
    )


def block(index, kernel, kinds, suffix):
    value = f"{'wide' if kinds[kernel.formula] == 'W' else 'vec'}_{suffix}"
    literal = f"{kernel.formula}[{value}]"
    n = len(kernel.arguments)
    way = "backward" if kernel.inputs[0] == "dy" else "forward"
    forms = readings(kernel, kinds)

    def from_table(read):
        names = (read.formula, read.position, read.error)
        parts = [f"{name}[vec_{suffix}]" if name else "NULL" for name in names]
        types, entries = f"vec_{suffix}, {value}, {TYPES[suffix]}", f"TABLE_{read.table}_{suffix}"
        if kernel in gated():
            entries = with_formula_below(read.table, suffix)
        return f"tabulated_{way}{n}[{types}]({', '.join(parts)}, {literal}, {entries}, o)"

    if len(forms) > 1:
        call = f"if {is_default(kernel, suffix)}:\n        {from_table(forms[0])}\n"
        call += f"    else:\n        {from_table(forms[1])}"
    elif forms:
        call = from_table(forms[0])
    elif kernel.knots:
        call = f"backward_with_knots{n}[{value}]({literal}, KNOTS_{index}, o)"
    else:
        call = f"{way}{n}[{value}]({literal}, o)"
    return (
        f"cdef void block_{index}_{suffix}(const Operands& o) noexcept nogil:  # {kernel.name}\n    {call}\n"
    )


def pairs_of_results(kinds):
    """(index of the first kernel, both kernels) of those whose results one block may compute."""
    names = [kernel.name for kernel in table().KERNELS]
    for gate in table().GATES:
        made = gate.kernels()
        both = made["backward_value"], made["backward_gate"]
        yield names.index(both[0].name), both


def two_block(index, both, kinds, suffix):
    """The block of two kernels' results, of formulas that share a table or need none; else nothing."""
    looks_up = tabulated(kinds)
    formulas = [kernel.formula for kernel in both]
    kind, other = (kinds[formula] for formula in formulas)
    if kind != other:
        return ""
    value, n = f"{'wide' if kind == 'W' else 'vec'}_{suffix}", len(both[0].arguments)
    literals = ", ".join(f"{formula}[{value}]" for formula in formulas)
    if not looks_up.keys() & set(formulas):
        call = f"backward_two{n}[{value}]({literals}, o)"
    elif len({looks_up.get(f, ("", f))[1] for f in formulas}) > 1:
        return ""
    else:
        table_ = looks_up[formulas[0]][1]
        place = table_position(formulas[0], kinds)  # that of both
        froms = ", ".join(f"{looks_up[formula][0]}[vec_{suffix}]" for formula in formulas)
        types = f"vec_{suffix}, {value}, {TYPES[suffix]}"
        call = (
            f"tabulated_two{n}[{types}]({froms}, {place[0]}[vec_{suffix}], {literals}, "
            f"{with_formula_below(table_, suffix)}, o)"
        )
    return f"cdef void two_{index}_{suffix}(const Operands& o) noexcept nogil:\n    {call}\n"


def fast_two_block(index, both, kinds, suffix):
    formulas = [f"{kernel.formula}_fast" for kernel in both]
    if not kinds.keys() >= set(formulas):
        return ""
    literals = ", ".join(f"{formula}[vec_{suffix}]" for formula in formulas)
    call = f"backward_two{len(both[0].arguments)}[vec_{suffix}]({literals}, o)"
    return f"cdef void fast_two_{index}_{suffix}(const Operands& o) noexcept nogil:\n    {call}\n"


def two_results(kinds, count):
    """The blocks of two results and their tables."""
    lines = []
    for accuracy, make, prefix in (("HIGH", two_block, "two"), ("FAST", fast_two_block, "fast_two")):
        lines.append(f"cdef Block {prefix}_table[2][{count}]\n")
        for index, both in pairs_of_results(kinds):
            for suffix in TYPES:
                if made := make(index, both, kinds, suffix):
                    own = f"{prefix}_{index}_{suffix}"
                    shares = prefix == "two" and both[0].formula in tabulated(kinds)
                    chosen = f"<Block> NULL if BORROWS_TABULATED else {own}" if shares else own
                    lines += [made, f"{prefix}_table[{STORAGES[suffix]}][{index}] = {chosen}\n"]
        lines += [f"exports.two[{accuracy}][{t}] = {prefix}_table[{t}]\n" for t in range(len(TYPES))]
    return lines


def knots_pxi(kernels):
    """The knots of every kernel that has some, as C constants."""
    lines, names = [], []
    for index, kernel in enumerate(kernels):
        if not kernel.knots:
            continue
        argument = {"": 0} | {name: i for i, name in enumerate(kernel.arguments)}
        numbers = (f"{{{k.at!r}, {k.factor!r}, {argument[k.parameter]}}}" for k in kernel.knots)
        lines.append(f"    static constexpr Knot KNOTS_{index}[] = {{{', '.join(numbers)}}};\n")
        names.append(f"    const Knot[1] KNOTS_{index}\n")
    return "".join(['cdef extern from * nogil:\n    """\n', *lines, '    """\n', *names, "\n"])


def keeps_integers(kernel):
    keep = {row.qualname for row in table().ROWS if row.keeps_integers}
    return kernel.pass_ == "forward" and kernel.row in keep


def is_cheap(kernel, kinds):
    """Whether passes around it cost more than the formula: to convert 16 bits in buffers, to add a bias."""
    passes = "forward", "backward", "backward_from_y"
    cheap = kernel.cost <= 2 or kernel.pass_ == "backward_from_y"
    return cheap and kernel.pass_ in passes and kinds[kernel.formula] in "VN"


def half_block(index, kernel, storage):
    way, n = "backward" if kernel.inputs[0] == "dy" else "forward", len(kernel.arguments)
    return (
        f"cdef void {storage}_{index}(const Operands& o) noexcept nogil:  # {kernel.name}\n"
        f"    stored_{way}{n}[{storage}, vec_f]({kernel.formula}[vec_f], o)\n"
    )


def fused_loop(index, kernel, suffix):
    """All the steps of a fused pass in one loop."""
    way, value = f"fused_{kernel.pass_}{len(kernel.arguments)}", f"vec_{suffix}"
    return (
        f"cdef void fused_{index}_{suffix}(const FusedRows& rows) noexcept nogil:  # {kernel.name}\n"
        f"    {way}[{value}]({kernel.formula}[{value}], rows)\n"
    )


def sum_block(index, kernel, kinds, suffix):
    """The two blocks that sum a kernel's results."""
    value, n = f"{'wide' if kinds[kernel.formula] == 'W' else 'vec'}_{suffix}", len(kernel.arguments)
    literal = f"{kernel.formula}[{value}]"
    return (
        f"cdef Pair along_{index}_{suffix}(const Operands& o, ptrdiff_t n) noexcept nogil:\n"
        f"    return sum_along{n}[{value}]({literal}, o, n)\n"
        f"cdef void columns_{index}_{suffix}(const Operands& o, ptrdiff_t n, double* high, double* low) "
        f"noexcept nogil:\n"
        f"    sum_columns{n}[{value}]({literal}, o, n, high, low)\n"
    )


def blocks_pyx():
    """The module that is compiled once for each instruction set."""
    kernels, kinds = table().KERNELS, formula_kinds()
    reductions = table().ROW_KERNELS | table().LOSS_KERNELS
    missing = sorted({k.formula for k in kernels} - set(kinds))
    if missing:
        raise SystemExit(
            f"fastrelu/table.py names formulas that kernels/formulas/ lacks: {', '.join(missing)}"
        )
    out = [HEADER, '# The exported table; its layout is loops/exports.h.\ninclude "simd/vocabulary.pxi"\n']
    out.append('include "coefficients.pxi"\n')
    for folder in ("math", "formulas", "formulas/fast"):
        out += [f'include "{folder}/{p.name}"\n' for p in sorted((ROOT / "kernels" / folder).glob("*.pxi"))]
    out.append('include "loops/blocks.pxi"\ninclude "loops/sum_blocks.pxi"\n')
    out.append('include "loops/fused_blocks.pxi"\ninclude "tables.pxi"\n\n')
    out.append(knots_pxi(kernels))
    computed = [(index, kernel, suffix) for index, kernel in enumerate(kernels) for suffix in TYPES]
    integers = [(index, kernel) for index, kernel in enumerate(kernels) if keeps_integers(kernel)]
    real_only = [kernel.formula for _, kernel in integers if kinds[kernel.formula] != "N"]
    if real_only:
        raise SystemExit(
            f"fastrelu/table.py lets {', '.join(real_only)} keep integers: its formula must be of kind N"
        )
    computed += [(index, kernel, suffix) for index, kernel in integers for suffix in INTEGERS]
    out += [block(index, kernel, kinds, suffix) for index, kernel, suffix in computed]
    faster = [
        (index, kernel, suffix)
        for index, kernel in enumerate(kernels)
        for suffix in TYPES
        if f"{kernel.formula}_fast" in kinds
    ]
    out += [fast_block(index, kernel, kinds, suffix) for index, kernel, suffix in faster]
    cheap = [(index, kernel) for index, kernel in enumerate(kernels) if is_cheap(kernel, kinds)]
    out += [half_block(index, kernel, storage) for storage in HALVES for index, kernel in cheap]
    out += [fused_loop(index, kernel, suffix) for index, kernel in cheap for suffix in TYPES]
    borrowed = {i for i, k in enumerate(kernels) if not k.knots and k.formula in tabulated(kinds)}
    summed = [(index, kernel) for index, kernel in enumerate(kernels) if kernel.summed]
    out += [sum_block(index, kernel, kinds, suffix) for index, kernel in summed for suffix in TYPES]
    row_passes = dict.fromkeys(name for passes in reductions.values() for name in passes if name)
    for suffix, ctype in TYPES.items():
        for name in row_passes:
            out.append(
                f"cdef void {name}_{suffix}(const RowTile& tile) noexcept nogil:\n"
                f"    cdef RowFormulas[{ctype}] formulas\n"
            )
            for role, formula in ROW_FORMULAS.items():
                value = f"{'wide' if kinds[formula] == 'W' else 'vec'}_{suffix}"
                out.append(f"    formulas.{role} = {formula}[{value}]\n")
            out.append(f"    {name}[{ctype}](formulas, tile)\n")
    for suffix, ctype in TYPES.items():
        out.append(
            f"cdef void weighted_sums_{suffix}(const void* a, const void* b, ptrdiff_t b_step, double* sums, "
            "ptrdiff_t rows, ptrdiff_t n) noexcept nogil:\n"
            f"    weighted_sums[{ctype}](weighted_term[wide_{suffix}], <const {ctype}*> a, "
            f"<const {ctype}*> b, b_step, sums, rows, n)\n"
        )
    for suffix, ctype in TYPES.items():
        made = {
            "uniform": f"uniform_draws[{ctype}](<{ctype}*> to, group, groups, key)",
            "normal": f"normal_draws[{ctype}, wide_{suffix}](normal_radius[wide_{suffix}], "
            f"normal_cosine[wide_{suffix}], normal_sine[wide_{suffix}], <{ctype}*> to, group, groups, key)",
        }
        for name, call in made.items():
            out.append(
                f"cdef void {name}_{suffix}(void* to, uint64_t group, ptrdiff_t groups, uint64_t key) "
                f"noexcept nogil:\n    {call}\n"
                f"exports.draws[{name.upper()}][{len(TYPES) - 1 if suffix == 'd' else 0}] = {name}_{suffix}\n"
            )
    out.append(
        f"cdef Block table[STORAGES][{len(kernels)}]\ncdef RowKernel row_table[2][{len(reductions)}]\n"
    )
    for i, _, s in computed:
        own = f"block_{i}_{s}"
        chosen = f"<Block> NULL if BORROWS_TABULATED else {own}" if i in borrowed else own
        out.append(f"table[{STORAGES[s]}][{i}] = {chosen}\n")
    out += [f"table[{HALVES[s]}][{i}] = {s}_{i}\n" for s in HALVES for i, _ in cheap]
    stored = [*STORAGES.values(), *HALVES.values()]
    out += [f"exports.blocks[{storage}] = table[{storage}]\n" for storage in stored]
    out.append(f"cdef Block fast_table[2][{len(kernels)}]\n")
    for index, kernel, suffix in faster:
        tests = " or ".join(test for test, winning in TABLES_WIN.items() if kernel.formula in winning)
        own = f"fast_{index}_{suffix}"
        chosen = f"<Block> NULL if {tests} else {own}" if tests else own
        out.append(f"fast_table[{STORAGES[suffix]}][{index}] = {chosen}\n")
    out += [f"exports.fast[{t}] = fast_table[{t}]\n" for t in range(len(TYPES))]
    out += two_results(kinds, len(kernels))
    for t, suffix in enumerate(TYPES):
        for i, name in enumerate(reductions):
            for role, pass_ in zip(("sum", "finish", "apply"), reductions[name], strict=True):
                value = f"{pass_}_{suffix}" if pass_ else "NULL"
                out.append(f"row_table[{t}][{i}].{role} = {value}\n")
        out.append(f"exports.rows[{t}] = row_table[{t}]\nexports.weighted[{t}] = weighted_sums_{suffix}\n")
    out.append(f"exports.count = {len(kernels)}\n")
    out.append("blocks = PyCapsule_New(&exports, EXPORTS_NAME, NULL)\n")
    out.append(f"cdef SumBlocks sum_table[2][{len(kernels)}]\n")
    for t, suffix in enumerate(TYPES):
        for i, _ in summed:
            out.append(f"sum_table[{t}][{i}].along = along_{i}_{suffix}\n")
            out.append(f"sum_table[{t}][{i}].columns = columns_{i}_{suffix}\n")
        out.append(f"sum_exports.blocks[{t}] = sum_table[{t}]\n")
    out.append(f"cdef FusedLoop loop_table[2][{len(kernels)}]\n")
    for t, suffix in enumerate(TYPES):
        for i, kernel in cheap:
            out.append(f"loop_table[{t}][{i}].run = fused_{i}_{suffix}\n")
            out.append(f"loop_table[{t}][{i}].of_y = {kernel.pass_ == 'backward_from_y'}\n")
        out.append(f"fused_exports.loops[{t}] = loop_table[{t}]\n")
    out.append("steps = PyCapsule_New(&fused_exports, FUSED_NAME, NULL)\n")
    out.append(f"sum_exports.count = {len(kernels)}\nsums = PyCapsule_New(&sum_exports, SUMS_NAME, NULL)\n")
    return "".join(out)


def c_function(kernel):
    """The name and arguments of a kernel for C: a scalar form, and one over contiguous arrays."""
    name = kernel.name.replace(".", "_")
    arrays = [i for i in kernel.inputs if i in ARRAYS]
    scalars = [f"real {i}" for i in kernel.inputs]
    pointers = [f"const real* {i}" if i in arrays else f"real {i}" for i in kernel.inputs]
    return name, arrays, ", ".join(scalars), ", ".join([*pointers, "real* out", "Py_ssize_t n"])


def activations_pxd():
    """Declarations for ``from fastrelu.kernels.activations cimport ...``."""
    lines = [HEADER, "\nctypedef fused real:\n    float\n    double\n"]
    for kernel in table().KERNELS:
        name, _, scalars, pointers = c_function(kernel)
        lines.append(f"\ncdef real {name}({scalars}) noexcept nogil")
        lines.append(f"cdef void {name}_array({pointers}) noexcept nogil")
    return "\n".join(lines) + "\n"


def activations_pyx():
    """The scalar and array forms of every kernel, over the instruction set that fastrelu chose."""
    lines = [HEADER, 'include "loops/runner.pxi"\n']
    for index, kernel in enumerate(table().KERNELS):
        name, arrays, scalars, pointers = c_function(kernel)
        count = len(kernel.inputs)
        lines.append(f"cdef real {name}({scalars}) noexcept nogil:")
        lines.append(f"    cdef real inputs[{count}]")
        lines += [f"    inputs[{j}] = {i}" for j, i in enumerate(kernel.inputs)]
        lines.append(f"    return run_one({index}, inputs)\n")
        lines.append(f"cdef void {name}_array({pointers}) noexcept nogil:")
        lines.append(f"    cdef char* args[{count + 1}]\n    cdef ptrdiff_t steps[{count + 1}]")
        for j, i in enumerate(kernel.inputs):
            lines.append(f"    args[{j}] = <char*> {i if i in arrays else f'&{i}'}")
            lines.append(f"    steps[{j}] = {'sizeof(real)' if i in arrays else '0'}")
        lines.append(f"    args[{count}] = <char*> out\n    steps[{count}] = sizeof(real)")
        lines.append(f"    run_kernel({index}, sizeof(real) == 8, args, n, steps)\n")
    return "\n".join(lines)


def formulas_py(cuda=False):
    """Every kernel in plain Python, for Numba; for CUDA those of accuracy "fast" besides."""
    functions, constants = translate.read(ROOT / "kernels")
    made, kinds, gates = translate.Translator(functions), formula_kinds(), gated()
    read_from = {}
    for kernel in table().KERNELS:
        made.kernel(kernel)
        if cuda:
            made.single(kernel)
            continue
        for read in readings(kernel, kinds):
            beyond = ", beyond_first=True" if kernel in gates else ""
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
    lines = ['"""Written by tools/write_kernels.py from fastrelu/table.py and the formulas: edit those."""']
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
    return f"# Written by tools/write_kernels.py from kernels/numba/{name}: edit that.\n{text}"


def numba_block(kernel, kinds, suffix):
    """The body of a block for Numba."""
    type_, name = translate.TYPES[suffix], kernel.name.replace(".", "_")
    likes = f"({f'{type_}(0.0), ' * len(kernel.inputs)})"
    formula = f"formulas.{name}_{suffix}"
    forms = readings(kernel, kinds)
    if not forms:
        return [f"    blocks.run({formula}, operands, {likes})"]

    tests, called = (
        [],
        [f"formulas.{read.name}_{suffix}{end}" for read in reversed(forms) for end in ("_row", "")],
    )
    if len(forms) > 1:
        row = next(row for row in table().ROWS if row.qualname == kernel.row)
        tests = [
            f"tabulated.is_all(operands, {kernel.inputs.index(parameter)}, {type_}({default!r}), {likes})"
            for parameter, default in row.defaults.items()
        ]
    else:
        called += [None, None]
    (read_from,) = (t for t in tables().TABLES if t.name == f"{forms[0].table}_{suffix}")
    below = formula if read_from.formula_below or kernel in gated() else None
    called.insert(2, " and ".join(tests) or None)
    called += [f"fetch_{read_from.name}", below, f"tabulated.WORDS_{suffix.upper()}", "operands", likes]
    return ["    tabulated.run(", *(f"        {argument}," for argument in called), "    )"]


def entries_py():
    """The functions that Numba compiles by themselves and keeps on disk.

    What it keeps it takes for current as long as the file of the function is, so this file says what all
    the others are.
    """
    sources = [p for p in sorted((ROOT / "kernels/numba").glob("*.py")) if p.stem != "entries"]
    sources += [ROOT / "kernels/math/tables.py", ROOT / "kernels/math/tables.bin"]
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()
    lines = ['"""Written by tools/write_kernels.py from fastrelu/table.py: what Numba compiles by itself."""']
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


GENERATED = {
    "coefficients.pxi": coefficients_pxi,
    "tables.pxi": tables_pxi,
    "blocks.pyx": blocks_pyx,
    # Cython finds the one by the other's full name
    "fastrelu/kernels/activations.pxd": activations_pxd,
    "fastrelu/kernels/activations.pyx": activations_pyx,
}


def write(folder):
    for name, make in GENERATED.items():
        write_text(folder / name, make())


def write_text(path, text):
    """Write what changed only, so that an untouched file is not compiled again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def write_python():
    """Write the modules of Python to where the package is installed from: they need no compiler."""
    write_text(ROOT / "kernels/numba/formulas.py", formulas_py())
    write_text(ROOT / "kernels/numba/entries.py", entries_py())
    write_text(ROOT / "kernels/cuda/formulas.py", formulas_py(cuda=True))
    for name in SHARED_WITH_CUDA:
        write_text(ROOT / "kernels/cuda" / name, shared_py(name))


if __name__ == "__main__":
    write(ROOT / "build/generated")
    write_python()
