"""Bandwidth and launch cost on a CUDA device, beside a copy, PyTorch, eager and compiled, and CuPy.

    python bench/cuda_bandwidth.py [--megabytes 64,1024] [--only NAME] [--eager] [--write docs/cuda.md]

A cell is the share of a device copy's bandwidth, over the bytes that a pass has to read and write; the
figures behind it are those of PyTorch's line for the same operation, and of CuPy's, where they have one.
``--eager`` leaves out what PyTorch compiles, which takes a minute or more.  Where there is no device the
reason is printed, and nothing is measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

from speed import put_between

import fastrelu as fr
from fastrelu.table import ROWS

MARKS = "<!-- bench/cuda_bandwidth.py -->", "<!-- end -->"
DTYPES = ("float16", "bfloat16", "float32", "float64")
WARM, TIMES = 5, 30
# PyTorch's names where they are not ours; only rows that it has with the same defaults.
SAME = "relu relu6 leaky_relu elu selu celu gelu silu mish softplus sigmoid tanh softsign hardtanh tanhshrink"
PEERS = {name: name for name in (*SAME.split(), "hardshrink", "softshrink")}
PEERS |= {"hard_swish": "hardswish", "hard_sigmoid": "hardsigmoid", "log_sigmoid": "logsigmoid"}


def of_cupy(name, x):
    """CuPy's line for a row of the table on an array of PyTorch's; None without CuPy, or a line."""
    try:
        import cupy
        from cupyx.scipy import special
    except ModuleNotFoundError:
        return None
    lines = {
        "relu": lambda a: cupy.maximum(a, 0),
        "tanh": cupy.tanh,
        "sigmoid": special.expit,
        "gelu": lambda a: a * special.ndtr(a),
        "softplus": lambda a: cupy.logaddexp(a, 0),
        "silu": lambda a: a * special.expit(a),
    }
    if name not in lines or str(x.dtype) == "torch.bfloat16":  # which CuPy has not
        return None
    array, line = cupy.from_dlpack(x), lines[name]
    stream = cupy.cuda.ExternalStream(0)  # PyTorch's, whose clock it is

    def call():
        with stream:
            line(array)

    return call


def milliseconds(torch, function):
    """The median time of a call on the device, by its own clock."""
    for _ in range(WARM):
        function()
    spans = []
    for _ in range(TIMES):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        end.synchronize()
        spans.append(start.elapsed_time(end))
    return statistics.median(spans)


def microseconds_on_the_host(torch, function, times=2000):
    """What a call takes until it returns."""
    for _ in range(WARM):
        function()
    torch.cuda.synchronize()
    start = time.perf_counter_ns()
    for _ in range(times):
        function()
    span = (time.perf_counter_ns() - start) / times / 1e3
    torch.cuda.synchronize()
    return span


def calls(torch, row, x, dy, out):
    """Name of a pass -> (our call, PyTorch's, arrays of the size of x that pass through memory)."""
    f = getattr(fr, row.name) if not row.variant_of else getattr(getattr(fr, row.variant_of), row.option[1])
    parameters = {p.name: p.typical[0] for p in row.parameters if p.default is None}
    theirs = getattr(torch.nn.functional, PEERS.get(row.name, ""), None)
    yield "forward", lambda: f(x, out=out, **parameters), theirs and (lambda: theirs(x)), 2
    keywords = {"wrt": "x"} if any(p.learned for p in row.parameters) else {}
    yield "backward", lambda: f.backward(dy, x, out=out, **parameters, **keywords), None, 3


def rows_of(torch, only, megabytes, eager):
    """The lines of the table."""
    yield "| operation | pass | MB | " + " | ".join(DTYPES) + " |"
    yield "| --- | --- | --: |" + " --: |" * len(DTYPES)
    for size in megabytes:
        for row in ROWS:
            if only not in row.qualname:
                continue
            cells = {"forward": [], "backward": []}
            for name in DTYPES:
                dtype = getattr(torch, name)
                count = size * 2**20 // torch.empty(0, dtype=dtype).element_size()
                x, dy = (torch.randn(count, device="cuda", dtype=torch.float32).to(dtype) for _ in range(2))
                out = torch.empty_like(x)
                copy = 2 / milliseconds(torch, lambda x=x, out=out: out.copy_(x))
                for pass_, ours, theirs, arrays in calls(torch, row, x, dy, out):
                    lines = {"": ours}
                    if theirs:
                        lines |= {"PyTorch ": theirs} | (
                            {} if eager else {"compiled ": torch.compile(theirs)}
                        )
                    if pass_ == "forward" and (line := of_cupy(row.qualname, x)):
                        lines["CuPy "] = line
                    times = {who: milliseconds(torch, line) for who, line in lines.items()}
                    cells[pass_].append(", ".join(f"{w}{arrays / t / copy:.2f}" for w, t in times.items()))
            for pass_, found in cells.items():
                yield f"| `{row.qualname}` | {pass_} | {size} | {' | '.join(found)} |"


def launch_costs(torch):
    """A line for what a call on 1 000 numbers takes on the host, beside PyTorch's."""
    x = torch.randn(1000, device="cuda")
    out = torch.empty_like(x)
    ours = microseconds_on_the_host(torch, lambda: fr.gelu(x))
    in_place = microseconds_on_the_host(torch, lambda: fr.gelu(x, out=out))
    theirs = microseconds_on_the_host(torch, lambda: torch.nn.functional.gelu(x))
    what = "gelu of 1 000 numbers, microseconds on the host"
    return f"{what}: {ours:.1f}, into `out` {in_place:.1f}; PyTorch {theirs:.1f}"


def torch_on_a_device():
    """PyTorch where it and a device are there; else None, and why not is said."""
    cuda = fr.backends()["cuda"]
    if not cuda.available:
        print(f"skipped: {cuda.detail}")
        return None
    try:
        import torch
    except ModuleNotFoundError:
        print("skipped: arrays and clocks are PyTorch's, which is not installed")
        return None
    if not torch.cuda.is_available():
        print(f"skipped: PyTorch {torch.__version__} finds no device")
        return None
    return torch


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", default="64,1024", help="of an array, default: 64,1024")
    parser.add_argument("--only", default="", help="operations whose name contains this")
    parser.add_argument("--eager", action="store_true", help="without what PyTorch compiles")
    parser.add_argument("--write", type=Path, help="put the table between the marks of this page")
    given = parser.parse_args(arguments)
    torch = torch_on_a_device()
    if torch is None:
        return 0
    lines = [f"On {torch.cuda.get_device_name()}, PyTorch {torch.__version__}.", ""]
    for line in rows_of(torch, given.only, [int(n) for n in given.megabytes.split(",")], given.eager):
        print(line, flush=True)
        lines.append(line)
    lines += ["", launch_costs(torch)]
    print(lines[-1])
    if given.write:
        put_between(MARKS, "\n".join(lines) + "\n", given.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
