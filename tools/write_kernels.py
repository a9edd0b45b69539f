"""Write the kernels' entry points from the table: one block for each formula, type and pass.

Called by ``setup.py``; the files go to ``build/generated`` and are never committed.
"""

from __future__ import annotations

from kernel_sources import (
    ROOT,
    TYPES,
    formula_kinds,
    reaches_beyond,
    readings,
    table,
    table_position,
    tables,
    tabulated,
    write_text,
)
from write_activations import activations_pxd, activations_pyx
from write_numbers import coefficients_pxi, tables_pxi

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
HEADER = "# Written by tools/write_kernels.py from fastrelu/table.py: edit those.\n"


def with_formula_below(table, suffix):
    (step,) = (t.step(0) for t in tables().TABLES if t.name == f"{table}_{suffix}")
    return f"with_formula_below[{TYPES[suffix]}](TABLE_{table}_{suffix}, {step})"


def is_default(kernel, suffix):
    """The test that all of the row's parameters have their default."""
    row = next(row for row in table().ROWS if row.qualname == kernel.row)
    test = f"is_all[{TYPES[suffix]}]" if suffix in TYPES else f"is_all_of_halves[{suffix}]"
    tests = (f"{test}(o, {kernel.inputs.index(name)}, {default!r})" for name, default in row.defaults.items())
    return " and ".join(tests).replace("inf", "INFINITY")


def chosen(kernel, kinds, suffix, ending, call):
    """The lines that call a kernel's formula of that ending, or the one for its defaults if there is one."""
    general, at_default = kernel.formula + ending, f"{kernel.formula}_at_default{ending}"
    if at_default not in kinds:
        return [call(general)]
    return [f"if {is_default(kernel, suffix)}:", f"    {call(at_default)}", "else:", f"    {call(general)}"]


def way_of(kernel):
    """The pass of loops/blocks.h that a kernel's formula takes."""
    if kernel.inputs[0] != "dy":
        return "forward"
    standstill = {row.kernels()["backward"].name for row in table().ROWS if row.derivative == "0"}
    return "standstill" if kernel.name in standstill else "backward"


def applied(index, kernel, value):
    """The call that applies a formula to registers."""
    n = len(kernel.arguments)

    def call(formula):
        if kernel.knots:
            return f"backward_with_knots{n}[{value}]({formula}[{value}], KNOTS_{index}, o)"
        return f"{way_of(kernel)}{n}[{value}]({formula}[{value}], o)"

    return call


def indented(lines):
    return [f"    {line}" for line in lines]


def written(name, kernel, lines):
    head = f"cdef void {name}(const Operands& o) noexcept nogil:  # {kernel.name}"
    return "\n".join([head, *indented(lines), ""])


def fast_block(index, kernel, kinds, suffix):
    """The block of accuracy "fast": formulas of formulas/fast/, all on plain registers."""
    lines = chosen(kernel, kinds, suffix, "_fast", applied(index, kernel, f"vec_{suffix}"))
    return written(f"fast_{index}_{suffix}", kernel, lines)


def has_form_in_registers(kernel, kinds):
    return f"{kernel.formula}_in_registers" in kinds and not kernel.knots


def block(index, kernel, kinds, suffix):
    value = f"{'wide' if kinds[kernel.formula] == 'W' else 'vec'}_{suffix}"
    literal = f"{kernel.formula}[{value}]"
    n = len(kernel.arguments)
    forms = readings(kernel, kinds)

    def from_table(read):
        names = (read.formula, read.position, read.error)
        parts = [f"{name}[vec_{suffix}]" if name else "NULL" for name in names]
        types, entries = f"vec_{suffix}, {value}, {TYPES[suffix]}", f"TABLE_{read.table}_{suffix}"
        if reaches_beyond(kernel, read):
            entries = with_formula_below(read.table, suffix)
        return f"tabulated_{way_of(kernel)}{n}[{types}]({', '.join(parts)}, {literal}, {entries}, o)"

    if len(forms) > 1:
        lines = [f"if {is_default(kernel, suffix)}:", f"    {from_table(forms[0])}", "else:"]
        lines.append(f"    {from_table(forms[1])}")
    elif forms:
        lines = [from_table(forms[0])]
    else:
        lines = chosen(kernel, kinds, suffix, "", applied(index, kernel, value))
    if has_form_in_registers(kernel, kinds):
        held = chosen(kernel, kinds, suffix, "_in_registers", applied(index, kernel, f"vec_{suffix}"))
        lines = ["if BORROWS_TABULATED:", *indented(held), "else:", *indented(lines)]
    return written(f"block_{index}_{suffix}", kernel, lines)


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
    """Whether passes around it cost more than the formula: to add a bias, say."""
    passes = "forward", "backward", "backward_from_y"
    cheap = kernel.cost <= 2 or kernel.pass_ == "backward_from_y"
    return cheap and kernel.pass_ in passes and kinds[kernel.formula] in "VN"


def half_formula(kernel, kinds):
    """The formula for operands in 16 bits, or none: one of their own, a fast one, or a plain one.

    One in `_times_short` takes dy before the rest: the slope may be out of range where the product is not.
    """
    if kernel.pass_ not in ("forward", "backward", "backward_from_y"):
        return None
    for suffix in ("_times_short", "_short", "_fast"):
        if f"{kernel.formula}{suffix}" in kinds:
            return f"{kernel.formula}{suffix}"
    return kernel.formula if kinds[kernel.formula] in "VN" else None


def calls_for_halves(index, kernel, kinds, suffix):
    """The lines of a block for operands in 16 bits, of a storage or, suffix "f", widened before."""
    formula = half_formula(kernel, kinds)
    times = formula.endswith("_times_short") or kernel.inputs[0] != "dy"
    way, n = ("forward", len(kernel.inputs)) if times else ("backward", len(kernel.arguments))
    ending = formula.removeprefix(kernel.formula)

    def call(name):
        if suffix == "f":
            return f"{way}_widened{n}[vec_f]({name}[vec_f], o)"
        return f"{way}_of_halves{n}[{suffix}]({name}[vec_f], o)"

    return chosen(kernel, kinds, suffix, ending, call)


def half_block(index, kernel, kinds, storage):
    return written(f"{storage}_{index}", kernel, calls_for_halves(index, kernel, kinds, storage))


def short_block(index, kernel, kinds):
    return written(f"short_{index}", kernel, calls_for_halves(index, kernel, kinds, "f"))


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
    for folder in ("math", "formulas", "formulas/fast", "formulas/short", "formulas/registers"):
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
    halves = [(index, kernel) for index, kernel in enumerate(kernels) if half_formula(kernel, kinds)]
    out += [half_block(index, kernel, kinds, storage) for storage in HALVES for index, kernel in halves]
    # widened before, too, where accuracy "fast" does not compute the same
    tables_win = {formula for winning in TABLES_WIN.values() for formula in winning}
    widened = [
        (index, kernel)
        for index, kernel in halves
        if kernel.inputs[0] == "dy"
        or half_formula(kernel, kinds).endswith("_short")
        or kernel.formula in tables_win
    ]
    out += [short_block(index, kernel, kinds) for index, kernel in widened]
    out += [fused_loop(index, kernel, suffix) for index, kernel in cheap for suffix in TYPES]
    borrowed = {
        i
        for i, k in enumerate(kernels)
        if not k.knots and k.formula in tabulated(kinds) and not has_form_in_registers(k, kinds)
    }
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
    out += [f"table[{HALVES[s]}][{i}] = {s}_{i}\n" for s in HALVES for i, _ in halves]
    stored = [*STORAGES.values(), *HALVES.values()]
    out += [f"exports.blocks[{storage}] = table[{storage}]\n" for storage in stored]
    out.append(f"cdef Block fast_table[2][{len(kernels)}]\n")
    for index, kernel, suffix in faster:
        tests = " or ".join(test for test, winning in TABLES_WIN.items() if kernel.formula in winning)
        own = f"fast_{index}_{suffix}"
        chosen = f"<Block> NULL if {tests} else {own}" if tests else own
        out.append(f"fast_table[{STORAGES[suffix]}][{index}] = {chosen}\n")
    out += [f"exports.fast[{t}] = fast_table[{t}]\n" for t in range(len(TYPES))]
    out.append(f"cdef Block short_table[{len(kernels)}]\n")
    out += [f"short_table[{i}] = short_{i}\n" for i, _ in widened]
    out.append("exports.shorter = short_table\n")
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


if __name__ == "__main__":
    write(ROOT / "build/generated")
