"""The parts of a training step between matrix products: fused, by single calls, and by the peers.

    python bench/training.py [--write docs/training.md] [--only gelu ...] [--seconds 0.3] [--threads 1 2]

A forward pass adds the bias and applies the activation; a backward pass gives the gradients of both inputs,
from what is kept of the forward pass.  Everybody takes turns on the same float32 data; whoever can writes
into memory at hand.  PyTorch runs eagerly what its autograd runs, without autograd; JAX is compiled
by ``jit``.  The bytes are those of arrays that must stay between the passes, counted, not measured; those of
PyTorch are what autograd's hooks report.  Whole steps are those of ``fastrelu train --compare``.  The machine
should be idle; on one thread it is the CPU's time that counts, which others on the machine disturb less.
"""

import argparse
import contextlib
import io
import sys
import time
import timeit
from datetime import date
from pathlib import Path

import numpy as np
from speed import put_between, table

import fastrelu as fr
from fastrelu import bridges, machine, peers
from fastrelu.cli import main as fastrelu_command
from fastrelu.cli.bench import duration
from fastrelu.cli.plain import SPELLINGS
from fastrelu.peers.timing import interleaved

SPEED = "<!-- measured: speed -->", "<!-- end of measured: speed -->"
MASKS = "<!-- measured: masks -->", "<!-- end of measured: masks -->"
STEPS = "<!-- measured: steps -->", "<!-- end of measured: steps -->"
KEPT = "<!-- measured: bytes -->", "<!-- end of measured: bytes -->"
SHAPES = (32, 64), (64, 512), (1024, 1024), (8192, 2048)
NAMES = "relu", "leaky_relu", "elu", "gelu", "silu", "tanh"
TWO_SLOPES = "relu", "leaky_relu", "relu6", "hardtanh", "hardshrink", "softshrink"
RATE = 0.1


class Call:
    """A function of nothing, for `interleaved`; the peer's threads may spin after it."""

    def __init__(self, function, spins):
        self.function, self.spins = function, spins
        self.clock = time.process_time if fr.get_num_threads() == 1 else time.perf_counter

    def timeit(self, calls):
        return timeit.timeit(self.function, timer=self.clock, number=calls)


def data(shape):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, *shape)).astype(np.float32)
    return x, rng.normal(size=shape[1]).astype(np.float32), dy


def of_fastrelu(name, x, bias, dy):
    """{(whose, pass): call}, fused and by single calls."""
    f, out = fr.ACTIVATIONS[name], np.empty_like(x)
    z, dz, total = x + bias, np.empty_like(x), np.empty_like(bias)
    y = f(z)

    def forward():
        f(np.add(x, bias, out=out), out=out)

    if f.row.slope_from_y:  # y in the place of x, and nothing else, is kept

        def backward():
            f.backward(dy, y=y, out=dz).sum(axis=0, out=total)

        fused = lambda: fr.bias_act.backward(dy, act=f, y=y, out=dz)  # noqa: E731
    else:

        def backward():
            f.backward(dy, z, out=dz).sum(axis=0, out=total)

        fused = lambda: fr.bias_act.backward(dy, x, bias, f, out=dz)  # noqa: E731
    jobs = {("fused", "forward"): lambda: fr.bias_act(x, bias, f, out=out), ("fused", "backward"): fused}
    return jobs | {("single calls", "forward"): forward, ("single calls", "backward"): backward}


def of_numpy(name, x, bias, dy):
    forward, backward = SPELLINGS[name]
    z = x + bias
    y, total = forward(z), np.empty_like(bias)
    out = np.empty_like(x)
    return {
        ("NumPy", "forward"): lambda: forward(np.add(x, bias, out=out)),
        ("NumPy", "backward"): lambda: backward(dy, z, y).sum(axis=0, out=total),
    }


def of_torch(name, x, bias, dy):
    torch = bridges.load("torch")
    x, bias, dy = map(torch.from_numpy, (x, bias, dy))
    ops, out, z, dz = torch.ops.aten, torch.empty_like(x), x + bias, torch.empty_like(x)
    in_place = (lambda a: ops.gelu.out(a, out=a)) if name == "gelu" else getattr(ops, f"{name}_")
    y = in_place(z.clone())
    slopes = {
        "relu": lambda: ops.threshold_backward(dy, y, 0, grad_input=dz),
        "leaky_relu": lambda: ops.leaky_relu_backward(dy, z, 0.01, False, grad_input=dz),
        "elu": lambda: ops.elu_backward(dy, 1.0, 1.0, 1.0, False, z, grad_input=dz),
        "gelu": lambda: ops.gelu_backward(dy, z, grad_input=dz),
        "silu": lambda: ops.silu_backward(dy, z, grad_input=dz),
        "tanh": lambda: ops.tanh_backward(dy, y, grad_input=dz),
    }
    slope = slopes[name]

    def forward():
        torch.add(x, bias, out=out)
        return in_place(out)

    return {("torch", "forward"): forward, ("torch", "backward"): lambda: slope().sum(0)}


def of_jax(name, x, bias, dy):
    jax = bridges.load("jax")
    own = {"tanh": jax.numpy.tanh, "gelu": lambda x: jax.nn.gelu(x, approximate=False)}
    f = own.get(name) or getattr(jax.nn, name)
    x, bias, dy = map(jax.numpy.asarray, (x, bias, dy))
    forward = jax.jit(lambda x, bias: f(x + bias))
    backward = jax.jit(lambda x, bias, dy: jax.vjp(lambda x, b: f(x + b), x, bias)[1](dy))
    return {
        ("jax", "forward"): lambda: forward(x, bias).block_until_ready(),
        ("jax", "backward"): lambda: jax.block_until_ready(backward(x, bias, dy)),
    }


def timed(jobs, seconds):
    calls = {key: Call(job, key[0] in ("torch", "jax")) for key, job in jobs.items()}
    return {key: timing.best for key, timing in interleaved(calls, seconds).items()}


def speed(names, seconds, threads):
    lines = []
    for name in names:
        for shape in SHAPES:
            given, jobs = data(shape), {}
            for make in (of_fastrelu, of_numpy, of_torch, of_jax):
                jobs |= make(name, *given)
            for pass_ in ("forward", "backward"):
                best = timed({key: job for key, job in jobs.items() if key[1] == pass_}, seconds)
                ours, *others = (best[key] for key in best)
                cells = duration(ours), *(f"{t / ours:.2f}" for t in others)
                lines.append((name, pass_, "x".join(map(str, shape)), *cells))
                print(threads, *lines[-1], file=sys.stderr)
    heads = ("", "pass", "rows x channels", "fused", "single calls", "NumPy", "torch", "jax")
    return f"{threads} thread{'s' * (threads > 1)}:\n\n{table(heads, lines)}\n"


def masks(seconds):
    """Backward passes from a bit, from x, and by copying dy."""
    lines, (x, _, dy) = [], data((8192, 2048))
    out = np.empty_like(x)
    for name in TWO_SLOPES:
        f = fr.ACTIVATIONS[name]
        _, mask = f.with_mask(x)
        jobs = {
            ("fastrelu", "mask"): lambda f=f, mask=mask: f.backward(dy, mask=mask, out=out),
            ("fastrelu", "x"): lambda f=f: f.backward(dy, x, out=out),
            ("fastrelu", "copy"): lambda: fr.relu(dy, out=out),
            ("fastrelu", "forward"): lambda f=f: f(x, out=out),
            ("fastrelu", "with_mask"): lambda f=f: f.with_mask(x, out=out),
        }
        best = timed(jobs, seconds)
        times = [best["fastrelu", key] for key in ("mask", "x", "copy", "with_mask", "forward")]
        lines.append([name, *map(duration, times)])
        print(*lines[-1], file=sys.stderr)
    heads = ("", "backward from the mask", "from x", "relu forward", "with_mask", "forward")
    return table(heads, lines)


def steps():
    """What ``fastrelu train --compare`` says of whole steps: of a usual network, and of one that is wide."""
    texts = []
    for given in (["--activation", "relu"], ["--wide"]):
        command = ["train", "--compare", "--epochs", "12", *given]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            if fastrelu_command(command):
                raise SystemExit(f"fastrelu {' '.join(command)} failed:\n{printed.getvalue()}")
        lines = printed.getvalue().splitlines()
        first = next(i for i, line in enumerate(lines) if "ms per epoch" in line)
        shown = [lines[1], "", *lines[first:-2]]
        texts.append(f"`fastrelu {' '.join(command)}`:\n\n```\n" + "\n".join(shown) + "\n```\n")
        print(texts[-1], file=sys.stderr)
    return "\n".join(texts)


def kept_by_torch(function):
    """Bytes an element that autograd keeps of a function, its result included where that is kept."""
    torch = bridges.load("torch")
    x, sizes = torch.linspace(-3, 3, 65536).requires_grad_(), {}

    def keep(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = function(x)
    del y
    return sum(sizes.values()) / x.numel()


def kept():
    """What each must keep of float32 for a backward pass, besides the result where that is not needed."""
    functional = bridges.load("torch").nn.functional
    torch = bridges.load("torch")
    lines = []
    for name in (*TWO_SLOPES, "threshold"):
        arguments = (0.5, 0.0) if name == "threshold" else ()
        own = getattr(functional, name)
        lines.append([name, "1 bit (`with_mask`)", kept_by_torch(lambda x, f=own, a=arguments: f(x, *a))])
    for name in ("elu", "selu", "softplus", "sigmoid", "tanh", "log_sigmoid", "gelu", "silu", "mish"):
        own = getattr(functional, name.replace("log_s", "logs"), None) or getattr(torch, name)
        place = "4 (y, in the place of x)" if fr.ACTIVATIONS[name].row.slope_from_y else "4 (x)"
        lines.append([name, place, kept_by_torch(own)])
    lines.append(["dropout", "0 (drawn again)", kept_by_torch(lambda x: functional.dropout(x, RATE))])
    both = kept_by_torch(lambda x: functional.dropout(functional.gelu(x), RATE))
    lines.append(["gelu, dropout", "4 (x)", both])
    both = kept_by_torch(lambda x: functional.dropout(functional.relu(x), RATE))
    lines.append(["relu, dropout", "4 (y, in the place of x)", both])
    return table(("", "fastrelu", "torch"), [[n, ours, f"{theirs:g}"] for n, ours, theirs in lines])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="functions (default: all)")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each line (default: 0.3)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="default: 1 and 2")
    parser.add_argument("--write", type=Path, help="a page with the marks between which the tables stand")
    options = parser.parse_args()
    versions = [f"{name} {bridges.load(name).__version__}" for name in ("torch", "jax")]
    about = (
        f"{machine.cpu_model()}, NumPy {np.__version__}, {', '.join(versions)}, {date.today()}, float32.\n\n"
    )
    tables = []
    for threads in options.threads:
        with peers.session(["torch", "jax"], threads):
            tables.append(speed(options.only, options.seconds, threads))
    with peers.session([], 1):
        parts = {SPEED: about + "\n".join(tables), MASKS: about + masks(options.seconds)}
    parts |= {STEPS: about + steps(), KEPT: kept()}
    for marks, text in parts.items():
        if options.write:
            put_between(marks, text + "\n", options.write)
        else:
            print(f"{text}\n")


if __name__ == "__main__":
    main()
