"""The gated units and maxout beside PyTorch, and beside fastrelu's own activations with a product of NumPy's.

    python bench/gated.py [--sizes 1000,30000,4000000] [--dtype float32] [--threads 1 2] [--seconds 1.0]

Microseconds of fastrelu, the best of many turns, and how many times as long the others take: forward, and
both gradients.  PyTorch's `glu` takes one array, the others the activation and products that its user writes,
all into memory that is there.  The last column is the largest error of fastrelu on these inputs, in ULP.
"""

from __future__ import annotations

import argparse
import timeit

import numpy as np

import fastrelu as fr
from fastrelu import reference
from fastrelu.peers.timing import interleaved
from fastrelu.table import GATES

PIECES = 4
CHECKED = 20_000


class Call:
    """A function without arguments, as `interleaved` takes it."""

    def __init__(self, function, spins):
        self.timer, self.spins = timeit.Timer(function), spins

    def timeit(self, calls):
        return self.timer.timeit(calls)


def unfused(activation, a):
    """Forward and backward by the activation of the table."""

    def forward():
        activation(a["gate"], out=a["t"])
        np.multiply(a["value"], a["t"], out=a["out"])

    def backward():
        activation(a["gate"], out=a["t"])
        np.multiply(a["dy"], a["t"], out=a["out"])
        np.multiply(a["dy"], a["value"], out=a["t"])
        activation.backward(a["t"], a["gate"], out=a["other"])

    return forward, backward


def by_torch(name, a):
    """The same by PyTorch, or None where it is not installed."""
    try:
        import torch
    except ModuleNotFoundError:
        return None
    aten = torch.ops.aten
    t = {key: torch.from_numpy(array) for key, array in a.items()}
    if name == "glu":
        return (
            lambda: aten.glu.out(t["x"], 0, out=t["out"]),
            lambda: aten.glu_backward.grad_input(t["dy"], t["x"], 0, grad_input=t["dx"]),
        )
    activation = {"reglu": aten.relu.out, "geglu": aten.gelu.out, "swiglu": aten.silu.out}[name]
    slope = {
        "reglu": lambda: aten.threshold_backward.grad_input(t["t"], t["gate"], 0, grad_input=t["other"]),
        "geglu": lambda: aten.gelu_backward.grad_input(t["t"], t["gate"], grad_input=t["other"]),
        "swiglu": lambda: aten.silu_backward.grad_input(t["t"], t["gate"], grad_input=t["other"]),
    }[name]

    def forward():
        activation(t["gate"], out=t["t"])
        torch.mul(t["value"], t["t"], out=t["out"])

    def backward():
        activation(t["gate"], out=t["t"])
        torch.mul(t["dy"], t["t"], out=t["out"])
        torch.mul(t["dy"], t["value"], out=t["t"])
        slope()

    return forward, backward


def maxout_by_torch(a):
    try:
        import torch
    except ModuleNotFoundError:
        return None
    x, dy = torch.from_numpy(a["x"]).view(-1, PIECES), torch.from_numpy(a["dy"])[: len(a["x"]) // PIECES]
    values, index = torch.max(x, 1)

    def backward():
        dx = torch.zeros_like(x)
        dx.scatter_(1, index.unsqueeze(1), dy.unsqueeze(1))

    return lambda: torch.max(x, 1, out=(values, index)), backward


def ulp(got, expected):
    """The largest error in units in the last place, relative to an exact number in long double."""
    size = np.ldexp(np.finfo(got.dtype).eps, np.frexp(expected)[1] - 1)
    return float(np.max(abs(got - expected) / size))


def worst_errors(gate, a):
    """Of the forward pass, and of both gradients for dy = 1, but where float64 promises them absolutely."""
    value, of = (a[key][:CHECKED] for key in ("value", "gate"))
    if of.dtype == np.float64:
        far = np.ones(of.shape, bool)
        for root in gate.roots:
            far &= abs(of - root) > 0.5
        value, of = value[far], of[far]
    got = getattr(fr, gate.name)(value, of), *getattr(fr, gate.name).backward(np.ones_like(value), value, of)
    wide = [np.ones(1, np.longdouble), value.astype(np.longdouble), of.astype(np.longdouble)]
    exact = [reference.evaluate(k, *wide[3 - len(k.inputs) :]) for k in gate.kernels().values()]
    usable = [np.nonzero(e) for e in exact]
    errors = [ulp(g[i], e[i]) for g, e, i in zip(got, exact, usable, strict=True)]
    return f"{errors[0]:.2f}", f"{max(errors[1:]):.2f}"


def measure(dtype, size, threads, seconds):
    """(name, pass, {library: seconds of a call}, error)"""
    rng = np.random.default_rng(0)
    a = {key: rng.standard_normal(size).astype(dtype) for key in ("dy", "value", "gate")}
    a["x"] = np.concatenate([a["value"], a["gate"]])
    a |= {key: np.ones(size, dtype) for key in ("out", "other", "t")} | {"dx": np.ones(2 * size, dtype)}
    for gate in GATES:
        f = getattr(fr, gate.name)
        ours = (
            lambda f=f: f(a["value"], a["gate"], out=a["out"]),
            lambda f=f: f.backward(a["dy"], a["value"], a["gate"], out=(a["out"], a["other"])),
        )
        others = {"unfused": unfused(fr.ACTIVATIONS[gate.activation], a), "torch": by_torch(gate.name, a)}
        yield from turns(gate.name, ours, others, worst_errors(gate, a), threads, seconds)
    few = size // PIECES * PIECES
    x, y = a["x"][:few], a["out"][: few // PIECES]
    index = fr.maxout.with_index(x, PIECES)[1]
    ours = (
        lambda: fr.maxout.with_index(x, PIECES, out=y),
        lambda: fr.maxout.backward(y, index=index, pieces=PIECES, out=a["dx"][:few]),
    )
    yield from turns("maxout", ours, {"torch": maxout_by_torch({**a, "x": x})}, ("0", "0"), threads, seconds)


def turns(name, ours, others, errors, threads, seconds):
    for i, pass_ in enumerate(("forward", "backward")):
        jobs = {"fastrelu": Call(ours[i], threads > 1)}
        jobs |= {library: Call(calls[i], threads > 1) for library, calls in others.items() if calls}
        yield name, pass_, {library: t.best for library, t in interleaved(jobs, seconds).items()}, errors[i]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=lambda text: [int(float(n)) for n in text.split(",")],
                        default=[1000, 30_000, 4_000_000])  # fmt: skip
    parser.add_argument("--dtype", choices=("float16", "float32", "float64"), default="float32")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, fr.get_num_threads()}))
    parser.add_argument("--seconds", type=float, default=1.0, help="for each line")
    options = parser.parse_args()
    print(f"{options.dtype}: microseconds of fastrelu, times as long in brackets, ULP")
    for threads in options.threads:
        fr.set_num_threads(threads)
        try:
            import torch

            torch.set_num_threads(threads)
        except ModuleNotFoundError:
            pass
        for size in options.sizes:
            print(f"{size} elements, {threads} thread{'s' * (threads > 1)}")
            for name, pass_, found, error in measure(options.dtype, size, threads, options.seconds):
                own = found.pop("fastrelu")
                times = "  ".join(f"{library} ({t / own:.2f})" for library, t in found.items())
                print(f"  {name:7} {pass_:8} {own * 1e6:10.1f}  {times}  {error}")


if __name__ == "__main__":
    main()
