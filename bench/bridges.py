"""What calling fastrelu instead of a framework's own functions changes, by function, pass and size.

    python bench/bridges.py [--write docs/bridges.md] [--only gelu ...] [--seconds 0.2] [--threads N]

PyTorch runs eagerly, JAX compiled by ``jit``; both with as many threads as fastrelu.  A pass is the call that
a user writes: "forward" without autograd, "both" a forward and a backward pass with the gradient given.
Everybody takes turns on the same data, results are fresh.  The machine should be idle.
"""

import argparse
import functools
import sys
import timeit
from datetime import date
from pathlib import Path

import numpy as np
from speed import put_between, table

import fastrelu as fr
from fastrelu import bridges, machine, peers
from fastrelu.cli.bench import duration
from fastrelu.peers.timing import interleaved

MARKS = "<!-- measured -->", "<!-- end of measured -->"
SIZES = (16, 10_000, 1_000_000, 10_000_000)
CLASSES = 10  # in a row, for functions of rows
OF_ROWS = "softmax", "log_softmax", "logsumexp", "cross_entropy"
NAMES = "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "mish", "sigmoid", "tanh", *OF_ROWS


class Call:
    """A function of nothing, for `interleaved`; the framework's threads may spin after it."""

    spins = True

    def __init__(self, function):
        self.function = function

    def timeit(self, calls):
        return timeit.timeit(self.function, number=calls)


def of_torch(name, x, labels):
    """{(whose, pass): call} for PyTorch."""
    torch = bridges.load("torch")

    def called(f):
        if name == "cross_entropy":
            return lambda x: f(x, labels)
        return (lambda x: f(x, dim=-1)) if name in OF_ROWS else f

    own = getattr(torch.nn.functional, name, None) or getattr(torch, name)
    x, labels = torch.from_numpy(x), torch.from_numpy(labels)
    leaf = x.clone().requires_grad_()
    jobs = {}
    for whose, f in (("torch", called(own)), ("fastrelu", called(getattr(fr.torch, name)))):
        dy = torch.ones_like(f(x))
        jobs[whose, "forward"] = lambda f=f: f(x)
        both = torch.enable_grad()(lambda f=f, dy=dy: torch.autograd.grad(f(leaf), leaf, dy))
        jobs[whose, "both"] = both
    return jobs


def of_jax(name, x, labels):
    """{(whose, pass): call} for JAX."""
    jax = bridges.load("jax")
    jnp = jax.numpy
    own = getattr(jax.nn, name, None)
    if name == "gelu":
        own = lambda x: jax.nn.gelu(x, approximate=False)  # noqa: E731
    elif name == "cross_entropy":
        own = lambda x: -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1).mean()  # noqa: E731
    elif name in OF_ROWS:
        own = lambda x, f=own: f(x, axis=-1)  # noqa: E731
    bridged = getattr(fr.jax, name)
    if name in OF_ROWS:
        rest = {"labels": labels} if name == "cross_entropy" else {}
        bridged = lambda x, f=bridged: f(x, axis=-1, **rest)  # noqa: E731
    x, jobs = jnp.asarray(x), {}
    for whose, f in (("jax", own), ("fastrelu", bridged)):
        forward, both = jax.jit(f), jax.jit(functools.partial(value_and_gradient, jax, f))
        dy = jnp.ones_like(forward(x))
        jobs[whose, "forward"] = lambda f=forward: f(x).block_until_ready()
        jobs[whose, "both"] = lambda f=both, dy=dy: jax.block_until_ready(f(x, dy))
    return jobs


def value_and_gradient(jax, f, x, dy):
    """What a layer of a network needs; without the value compilers may leave the forward pass away."""
    y, pull = jax.vjp(f, x)
    return y, pull(dy)


FRAMEWORKS = {"torch": of_torch, "jax": of_jax}


def rows(framework, names, seconds):
    """For each function: its passes, and for each size the bridge's time and the framework's over it."""
    ratios = []
    for name in names:
        cells = {"forward": [], "both": []}
        for size in SIZES:
            shape = (-(-size // CLASSES), CLASSES) if name in OF_ROWS else (size,)
            rng = np.random.default_rng(0)
            x, labels = rng.normal(size=shape).astype(np.float32), rng.integers(0, CLASSES, shape[0])
            jobs = FRAMEWORKS[framework](name, x, labels)
            timed = interleaved({key: Call(job) for key, job in jobs.items()}, seconds)
            for pass_, row in cells.items():
                ours, theirs = timed["fastrelu", pass_].best, timed[framework, pass_].best
                ratios.append((theirs / ours, size))
                row.append(f"{duration(ours)}, {theirs / ours:.2f}")
        for pass_, row in cells.items():
            yield [name, pass_, *row]
    for_size = [[ratio for ratio, at in ratios if at == size] for size in SIZES]
    yield ["geometric mean", "", *(f"{np.exp(np.mean(np.log(some))):.2f}" for some in for_size)]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="functions (default: all)")
    parser.add_argument("--framework", choices=FRAMEWORKS, action="append", help="default: both")
    parser.add_argument("--seconds", type=float, default=0.2, help="for each cell (default: 0.2)")
    parser.add_argument("--threads", type=int, default=fr.get_num_threads(), help="default: all")
    parser.add_argument("--write", type=Path, help="a page with the marks between which the tables stand")
    options = parser.parse_args()
    frameworks = options.framework or list(FRAMEWORKS)
    threads = f"{options.threads} thread{'s' * (options.threads > 1)}"
    made = [f"{machine.cpu_model()}, {threads}, {date.today()}, float32.\n"]
    with peers.session(frameworks, options.threads):
        for framework in frameworks:
            version = bridges.load(framework).__version__
            made.append(f"`fastrelu.{framework}` beside {framework} {version}:\n")
            head = ["", "", *(f"{size:,}" for size in SIZES)]
            made.append(table(head, rows(framework, options.only, options.seconds)) + "\n")
            print(f"{framework}: done", file=sys.stderr)
    if options.write is None:
        print("\n".join(made))
        return
    put_between(MARKS, "\n".join(made), options.write)


if __name__ == "__main__":
    main()
