"""What the CUDA kernels become for one architecture: registers, local memory, vectors and double precision.

    python bench/cuda_code.py [--cc 90] [--only NAME] [--dtypes float16,float32] [--write docs/cuda.md]
    python bench/cuda_code.py --rows [--write docs/cuda-reductions.md]

Every elementwise kernel, those of gated units and of logaddexp included, is compiled to PTX, and that to
machine code, for contiguous arrays and parameters that are numbers; with --rows those of the reductions
that write entries, for rows in registers ("whole") and beyond ("pieces").  Neither a device nor a driver
is needed, numba-cuda and its wheels are.  The numbers are registers of a thread; a star says that float32 or
a 16-bit type is computed in double precision in part.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import re
import time
from dataclasses import dataclass
from pathlib import Path

from speed import put_between

from fastrelu.device.arrays import CHARS
from fastrelu.table import GATES, LOGADDEXP, ROWS

PAIRS = [*(k for gate in GATES for k in gate.kernels().values()), *LOGADDEXP]  # of arrays alone
FORWARD = ("softmax", "log_softmax")
REDUCTIONS = (
    *FORWARD,
    *(f"{name}.backward" for name in (*FORWARD, "logsumexp")),
    "cross_entropy.value_and_grad",
)
MARKS = "<!-- bench/cuda_code.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Code:
    """What one kernel became."""

    registers: int
    spilled: int
    loads: int  # of 16 bytes
    stores: int
    doubles: bool  # where that is not the dtype
    local: bool

    def __str__(self):
        marks = "*" * self.doubles + " (spills)" * (self.local or self.spilled > 0)
        return f"{self.registers}{marks}"


def contiguous(kernel, char):
    """One kernel of the table, as a call on contiguous arrays with numbers for parameters launches it."""
    from fastrelu.kernels.cuda import elementwise

    function = elementwise.function_of(kernel.name, char, "high")
    pattern = "".join("a" if kernel in PAIRS or name in ("dy", "x", "y") else "n" for name in kernel.inputs)
    return elementwise.compiled(function, kernel.cost, char, pattern, 0)


def of_rows(name, role, char):
    """One kernel of a reduction that goes by vectors over rows which need all the threads of a block."""
    from fastrelu.device.reductions import operation_of
    from fastrelu.kernels.cuda import losses, row_kernels, team

    by_label = losses.Loss("int64", False, False, True, "sum", False, False)
    operation = losses.operation(by_label) if name == "cross_entropy.value_and_grad" else operation_of(name)
    count = row_kernels.entries_of_thread(operation.few, char, "vectors", 1 << 20)
    threads = team.MOST_THREADS >> (char in operation.small)
    return row_kernels.kernel_of(operation, char, "vectors", count, role, threads)


def code_of(kernel, char, cc) -> Code:
    from fastrelu.kernels.cuda import compiling

    ptx = kernel.ptx(cc)
    machine = compiling.assembled(ptx, cc)
    return Code(
        machine.registers,
        machine.spilled,
        len(re.findall(r"ld\.global\.v(?:4\.[fu]32|2\.f64)", ptx.text)),
        len(re.findall(r"st\.global\.v(?:4\.[fu]32|2\.f64)", ptx.text)),
        char != "d" and ".f64" in ptx.text,
        ".local" in ptx.text,
    )


def report(kernels, dtypes, cc):
    """The lines of the table: of kernels by name, each made for a dtype's character."""
    yield f"| kernel | {' | '.join(dtypes)} |"
    yield f"| --- |{' --: |' * len(dtypes)}"
    started, count = time.perf_counter(), 0
    for name, make in kernels.items():
        codes = [code_of(make(CHARS[dtype]), CHARS[dtype], cc) for dtype in dtypes]
        count += len(codes)
        if any(not (code.loads and code.stores) for code in codes):
            raise SystemExit(f"{name}: loads or stores are not of 16 bytes")
        yield f"| `{name}` | {' | '.join(map(str, codes))} |"
    yield ""
    yield f"{count} kernels for sm_{cc[0]}{cc[1]}, {time.perf_counter() - started:.0f} s."


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", action="store_true", help="the reductions instead")
    parser.add_argument("--cc", default="90", help="compute capability, default: 90")
    parser.add_argument("--only", default="", help="kernels whose name contains this")
    parser.add_argument("--dtypes", default=",".join(CHARS), help=f"default: {','.join(CHARS)}")
    parser.add_argument("--write", type=Path, help="put the table between the marks of this page")
    given = parser.parse_args(arguments)
    table = [*(k for row in ROWS for k in row.kernels().values()), *PAIRS]
    kernels = {k.name: functools.partial(contiguous, k) for k in table}
    if given.rows:
        roles = itertools.product(REDUCTIONS, ("whole", "pieces"))
        kernels = {f"{name}, {role}": functools.partial(of_rows, name, role) for name, role in roles}
    kernels = {name: make for name, make in kernels.items() if given.only in name}
    cc = int(given.cc[:-1]), int(given.cc[-1])
    lines = []
    for line in report(kernels, given.dtypes.split(","), cc):
        print(line, flush=True)
        lines.append(line)
    if given.write:
        put_between(MARKS, "\n".join(lines) + "\n", given.write)


if __name__ == "__main__":
    main()
