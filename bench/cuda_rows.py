"""Bandwidth of the reductions and draws on a CUDA device, beside a copy and PyTorch.

    python bench/cuda_rows.py [--megabytes 256] [--only NAME] [--write docs/cuda-reductions.md]

A cell is the share of a device copy's bandwidth, over the bytes that an operation has to read and write, and
behind it how many times PyTorch's line for it takes as long.  Where there is no device the reason is
printed, and nothing is measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cuda_bandwidth import DTYPES, milliseconds, torch_on_a_device
from speed import put_between

import fastrelu as fr

MARKS = "<!-- bench/cuda_rows.py -->", "<!-- end -->"
# Lengths of rows and the axis: what one thread, a warp and a block have registers for, and shared memory, all
# of it or most; one row of everything; and rows across memory.
IN_REGISTERS, IN_SHARED = (10, 128, 1000, 4096), (32_768, 50_257, 128_256)
LENGTHS = (*((n, 1) for n in (*IN_REGISTERS, *IN_SHARED, None)), (64, 0), (1000, 0))


def calls(torch, x, axis):
    """Name, our call, PyTorch's or None, and how many arrays of the size of x pass through memory."""
    functional, dy, out = torch.nn.functional, torch.randn_like(x), torch.empty_like(x)
    y = fr.softmax(x, axis=axis)
    labels = torch.randint(x.shape[axis], (x.shape[1 - axis],), device="cuda")
    loss = {"axis": axis, "reduction": "sum"}
    turned = x if axis == 1 else x.T
    key = fr.noise_key(0)

    def their_gradient():
        given = turned.detach().requires_grad_()
        functional.cross_entropy(given, labels, reduction="sum").backward()

    yield "softmax", lambda: fr.softmax(x, axis=axis, out=out), lambda: torch.softmax(x, axis), 2
    yield "log_softmax", lambda: fr.log_softmax(x, axis=axis, out=out), lambda: torch.log_softmax(x, axis), 2
    yield "logsumexp", lambda: fr.logsumexp(x, axis=axis), lambda: torch.logsumexp(x, axis), 1
    theirs = torch.ops.aten._softmax_backward_data
    yield (
        "softmax.backward",
        lambda: fr.softmax.backward(dy, y=y, axis=axis, out=out),
        lambda: theirs(dy, y, axis, x.dtype),
        3,
    )
    yield (
        "cross_entropy",
        lambda: fr.cross_entropy(x, labels, **loss),
        lambda: functional.cross_entropy(turned, labels, reduction="sum"),
        1,
    )
    yield (
        "cross_entropy.value_and_grad",
        lambda: fr.cross_entropy.value_and_grad(x, labels, **loss, out=out),
        their_gradient,
        2,
    )
    if axis == 1 and x.shape[1] == 1000:
        yield (
            "rrelu",
            lambda: fr.rrelu(x, training=True, key=key, out=out),
            lambda: functional.rrelu(x, training=True),
            2,
        )
        yield "noisy_relu", lambda: fr.noisy_relu(x, training=True, key=key, out=out), None, 2


def report(torch, only, megabytes):
    """The lines of the table."""
    yield "| operation | row | " + " | ".join(DTYPES) + " |"
    yield "| --- | --- |" + " --: |" * len(DTYPES)
    whole = {}
    for name in DTYPES:
        kind = getattr(torch, name)
        whole[name] = torch.randn((megabytes << 20) // kind.itemsize, device="cuda", dtype=kind)

    def copying(x):
        to = torch.empty_like(x)
        return lambda: to.copy_(x)

    best = {name: 2 * x.nbytes / milliseconds(torch, copying(x)) for name, x in whole.items()}
    for length, axis in LENGTHS:
        shaped = {}
        for dtype, x in whole.items():
            n = length or len(x)
            shaped[dtype] = x[: len(x) // n * n].reshape((-1, n) if axis else (n, -1))
        where = f"{length or 'all'}{'' if axis else ', across'}"
        for same in zip(*(calls(torch, x, axis) for x in shaped.values()), strict=True):
            if only not in same[0][0]:
                continue
            cells = []
            for dtype, (_, ours, theirs, arrays) in zip(DTYPES, same, strict=True):
                time = milliseconds(torch, ours)
                times = f", {milliseconds(torch, theirs) / time:.2f} x" if theirs else ""
                cells.append(f"{arrays * shaped[dtype].nbytes / time / best[dtype]:.2f}{times}")
            yield f"| `{same[0][0]}` | {where} | {' | '.join(cells)} |"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=256, help="of an array, default: 256")
    parser.add_argument("--only", default="", help="operations whose name contains this")
    parser.add_argument("--write", type=Path, help="put the table between the marks of this page")
    given = parser.parse_args(arguments)
    torch = torch_on_a_device()
    if torch is None:
        return 0
    lines = [f"On {torch.cuda.get_device_name()}, PyTorch {torch.__version__}.", ""]
    for line in report(torch, given.only, given.megabytes):
        print(line, flush=True)
        lines.append(line)
    if given.write:
        put_between(MARKS, "\n".join(lines) + "\n", given.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
