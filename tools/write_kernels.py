"""Write the kernels' entry points from the table: one block for each formula, type and pass.

Called by ``setup.py``; the files go to ``build/generated`` and are never committed.
``fastrelu/table.py`` says which kernels exist, ``kernels/formulas/`` whether a formula works on plain
registers (``V``) or on wide ones (``W``), ``kernels/math/coefficients.py`` holds the numbers.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TYPES = {"f": "float", "d": "double"}
HEADER = "# Written by tools/write_kernels.py from fastrelu/table.py: edit those.\n"


def load(path, name):
    """Import one file of the source tree under a name of its own, without its package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table():
    return load("fastrelu/table.py", "fastrelu_table")


def formula_kinds():
    """Map each formula to the kind of value it takes: ``vec`` or ``wide``."""
    kinds = {}
    for path in sorted((ROOT / "kernels/formulas").glob("*.pxi")):
        for kind, name in re.findall(r"^cdef inline ([VW]) (\w+)\(", path.read_text(), re.MULTILINE):
            kinds[name] = {"V": "vec", "W": "wide"}[kind]
    return kinds


def coefficients_pxi():
    """The coefficient arrays as C constants with their Cython declarations."""
    values = dict(vars(load("kernels/math/coefficients.py", "fastrelu_coefficients")))
    *rest, c6, c5, c4, c3, c2, c1 = values["MILLS_LONG"]
    values["MILLS_LONG_REST"] = tuple(rest)
    values |= {f"MILLS_LONG_C{i}": c for i, c in enumerate((c1, c2, c3, c4, c5, c6), 1)}
    lines, names = [], []
    for name, value in values.items():
        if not name.isupper() or not isinstance(value, (float, tuple)):
            continue
        if isinstance(value, tuple) and isinstance(value[0], str):
            continue  # decimals for the reference only
        names.append((name, isinstance(value, tuple)))
        numbers = ", ".join(map(repr, value)) if isinstance(value, tuple) else repr(value)
        c = f"{name}[] = {{{numbers}}}" if isinstance(value, tuple) else f"{name} = {numbers}"
        lines.append(f"    static constexpr double {c};")
    text = HEADER + 'cdef extern from * nogil:\n    """\n' + "\n".join(lines) + '\n    """\n'
    return text + "".join(f"    const double{'[1]' if array else ''} {name}\n" for name, array in names)


def block(index, kernel, kind, suffix):
    value = f"{kind}_{suffix}"
    literal = f"{kernel.formula}[{value}]"
    n = len(kernel.arguments)
    if kernel.knot is not None:
        call = f"backward_with_knot{n}[{value}]({literal}, {kernel.knot!r}, o)"
    else:
        call = f"{'backward' if kernel.inputs[0] == 'dy' else 'forward'}{n}[{value}]({literal}, o)"
    return (
        f"cdef void block_{index}_{suffix}(const Operands& o) noexcept nogil:  # {kernel.name}\n    {call}\n"
    )


def blocks_pyx():
    """The module that is compiled once for each instruction set."""
    kernels, reductions, kinds = table().KERNELS, table().REDUCTIONS, formula_kinds()
    missing = sorted({k.formula for k in kernels} - set(kinds))
    if missing:
        raise SystemExit(
            f"fastrelu/table.py names formulas that kernels/formulas/ lacks: {', '.join(missing)}"
        )
    out = [HEADER, '# The exported table; its layout is loops/exports.h.\ninclude "simd/vocabulary.pxi"\n']
    out.append('include "coefficients.pxi"\n')
    for folder in ("math", "formulas"):
        out += [f'include "{folder}/{p.name}"\n' for p in sorted((ROOT / "kernels" / folder).glob("*.pxi"))]
    out.append('include "loops/blocks.pxi"\n\n')
    for index, kernel in enumerate(kernels):
        out += [block(index, kernel, kinds[kernel.formula], suffix) for suffix in TYPES]
    for name in reductions:
        for suffix, ctype in TYPES.items():
            value = f"wide_{suffix}"
            out.append(
                f"cdef void {name}_{suffix}"
                "(const void* a, void* out, ptrdiff_t rows, ptrdiff_t n) noexcept nogil:\n"
                f"    cdef RowFormulas[{ctype}] formulas\n"
                f"    formulas.sum_entry = sum_entry[{value}]\n"
                f"    formulas.log1p = log1p_unit[{value}]\n"
                f"    formulas.softmax_entry = softmax_entry[{value}]\n"
                f"    {name}_rows[{ctype}](formulas, <const {ctype}*> a, <{ctype}*> out, rows, n)\n"
            )
    for suffix, ctype in TYPES.items():
        out.append(
            f"cdef void weighted_sums_{suffix}(const void* a, const void* b, ptrdiff_t b_step, double* sums, "
            "ptrdiff_t rows, ptrdiff_t n) noexcept nogil:\n"
            f"    weighted_sums[{ctype}](weighted_term[wide_{suffix}], <const {ctype}*> a, "
            f"<const {ctype}*> b, b_step, sums, rows, n)\n"
        )
    out.append(f"cdef Block table[2][{len(kernels)}]\ncdef RowKernel row_table[2][{len(reductions)}]\n")
    for t, suffix in enumerate(TYPES):
        out += [f"table[{t}][{i}] = block_{i}_{suffix}\n" for i in range(len(kernels))]
        out += [f"row_table[{t}][{i}] = {name}_{suffix}\n" for i, name in enumerate(reductions)]
    out.append(
        f"fill_exports(&exports, {len(kernels)}, table[0], table[1], row_table[0], row_table[1], "
        "weighted_sums_f, weighted_sums_d)\n"
    )
    out.append("blocks = PyCapsule_New(&exports, EXPORTS_NAME, NULL)\n")
    return "".join(out)


def c_function(kernel):
    """The name and arguments of a kernel for C: a scalar form, and one over contiguous arrays."""
    name = kernel.name.replace(".", "_")
    arrays = [i for i in kernel.inputs if i in ("dy", "x", "y", "x1", "x2")]
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
        for form, declared in (("", f"real {name}({scalars})"), ("_array", f"void {name}_array({pointers})")):
            addresses = [i if form and i in arrays else f"&{i}" for i in kernel.inputs]
            steps = ["sizeof(real)" if i in arrays else "0" for i in kernel.inputs]
            lines.append(f"cdef {declared} noexcept nogil:")
            lines.append(f"    cdef char* args[{count + 1}]\n    cdef ptrdiff_t steps[{count + 1}]")
            if not form:
                lines.append("    cdef real result")
            for j, (address, step) in enumerate(zip(addresses, steps, strict=True)):
                lines.append(f"    args[{j}] = <char*> {address}\n    steps[{j}] = {step}")
            lines.append(f"    args[{count}] = <char*> {'out' if form else '&result'}")
            lines.append(f"    steps[{count}] = sizeof(real)")
            lines.append(f"    run_kernel({index}, sizeof(real) == 8, args, {'n' if form else 1}, steps)")
            lines.append("" if form else "    return result\n")
    return "\n".join(lines)


GENERATED = {
    "coefficients.pxi": coefficients_pxi,
    "blocks.pyx": blocks_pyx,
    # Cython finds the one by the other's full name
    "fastrelu/kernels/activations.pxd": activations_pxd,
    "fastrelu/kernels/activations.pyx": activations_pyx,
}


def write(folder):
    """Write what changed only, so that an untouched file is not compiled again."""
    for name, text in ((name, make()) for name, make in GENERATED.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    write(ROOT / "build/generated")
