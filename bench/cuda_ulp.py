"""Every float32, or every so many-th, through the kernels of a device, against their float64 selves.

    python bench/cuda_ulp.py [--only NAME] [--stride 1] [--device cuda]

float64 is computed in pairs, by other arithmetic, and is itself at most 1 ULP off, so that a line's figure
is right to 2^-29.  Forward and backward, parameters at their first typical values, accuracy "high" and
"fast".  ``--device cpu`` runs the same through the kernels of the CPU: what is measured then is those.
"""

from __future__ import annotations

import argparse
import sys
import time

from cuda_bandwidth import torch_on_a_device

import fastrelu as fr
from fastrelu.table import ROWS

ALL, BLOCK = 2**32, 2**26
LIMITS = {"high": 1.0, "fast": 4.0}


def floats(torch, start, count, stride, device):
    """The float32 whose bits are start, start + stride, ..."""
    bits = torch.arange(start, min(ALL, start + count * stride), stride, dtype=torch.int64, device=device)
    return torch.where(bits < 2**31, bits, bits - 2**32).to(torch.int32).view(torch.float32)


def errors(torch, got, exact, floor):
    """How many ULP each is off; NaN where the exact result is none, or the other way round."""
    size = torch.clamp(exact.abs(), min=max(floor, 2.0**-126), max=float(2**127))
    unit = torch.exp2(torch.floor(torch.log2(size)) - 23)
    unit = torch.where(size < unit * 2**23, unit / 2, unit)  # log2 is rounded, up to the next power
    limit = torch.finfo(torch.float32).max
    beyond = exact.abs() > limit * (1 + 2.0**-25)
    off = (got.double() - exact).abs() / unit
    off = torch.where(beyond & got.isinf() & (got.sign() == exact.sign()), 0.0, off)
    same = (got.double() == exact) | (got.isnan() & exact.isnan())
    return torch.where(same, 0.0, off)


def worst(torch, function, roots, stride, device, accuracy):
    """The largest error and where it is."""
    largest, place = 0.0, float("nan")
    for start in range(0, ALL, BLOCK * stride):
        x = floats(torch, start, BLOCK, stride, device)
        exact = function(x.double())
        with fr.accuracy(accuracy):
            made = function(x)
        off = errors(torch, made, exact, 0.0)
        if accuracy == "fast":  # beside a zero of f', ULP of 1/2
            for root in roots:
                near = (x.double() - root).abs() < 0.5
                off = torch.where(near, errors(torch, made, exact, 0.5), off)
        off = torch.where(off.isnan(), float("inf"), off)
        most, at = off.max(dim=0)
        if float(most) > largest:
            largest, place = float(most), float(x[at])
    return largest, place


def passes(torch, row):
    """The forward and the backward pass of a row, of x alone."""
    f = getattr(fr, row.name) if not row.variant_of else getattr(getattr(fr, row.variant_of), row.option[1])
    parameters = {p.name: p.typical[0] for p in row.parameters if p.default is None}
    keywords = parameters | ({"wrt": "x"} if any(p.learned for p in row.parameters) else {})
    yield "forward", lambda x: f(x, **parameters), ()
    yield "backward", lambda x: f.backward(torch.ones_like(x), x, **keywords), row.roots


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="operations whose name contains this")
    parser.add_argument("--stride", type=int, default=1, help="of bit patterns, default: 1")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    given = parser.parse_args(arguments)
    if given.device == "cuda":
        torch = torch_on_a_device()
        if torch is None:
            return 0
    else:
        import torch
    wrong = 0
    for row in ROWS:
        if given.only not in row.qualname:
            continue
        for pass_, function, roots in passes(torch, row):
            for accuracy, limit in LIMITS.items():
                started = time.perf_counter()
                off, at = worst(torch, function, roots, given.stride, given.device, accuracy)
                verdict = "" if off <= limit + 1e-6 else "  TOO FAR"
                wrong += bool(verdict)
                span = time.perf_counter() - started
                print(
                    f"{row.qualname} {pass_} {accuracy}: {off:.4f} ULP at {at!r}, {span:.1f} s{verdict}",
                    flush=True,
                )
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
