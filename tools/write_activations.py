"""Write the module that others cimport: every kernel for numbers and for contiguous arrays."""

from __future__ import annotations

from kernel_sources import table

ARRAYS = "dy", "x", "y", "x1", "x2", "draw", "value", "gate"  # the inputs that are no parameters
HEADER = "# Written by tools/write_activations.py from fastrelu/table.py: edit those.\n"


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
