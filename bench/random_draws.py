"""rrelu and noisy_relu beside NumPy's Generator doing the same job, and torch's rrelu.

    python bench/random_draws.py [--size 1000000] [--threads 1 2] [--seconds 1.0]

Milliseconds, the best of many turns; NumPy's lines write into memory that is there, too.
"""

from __future__ import annotations

import argparse
import timeit

import numpy as np

import fastrelu as fr
from fastrelu.peers.timing import interleaved


class Call:
    """A function without arguments, as `interleaved` takes it."""

    spins = False

    def __init__(self, function):
        self.timer = timeit.Timer(function)

    def timeit(self, calls):
        return self.timer.timeit(calls)


def by_generator(x, out):
    """What a NumPy user writes, without a temporary that can be spared."""
    rng, draw, dtype = np.random.default_rng(0), np.empty_like(x), x.dtype.type
    span, lower = dtype(1 / 3 - 1 / 8), dtype(1 / 8)

    def rrelu():
        rng.random(out=draw, dtype=x.dtype)
        np.multiply(draw, span, out=draw)
        np.add(draw, lower, out=draw)
        np.multiply(draw, x, out=draw)
        np.copyto(out, x)
        np.copyto(out, draw, where=x <= 0)

    def noisy_relu():
        rng.standard_normal(out=draw, dtype=x.dtype)
        np.negative(x, out=out)
        np.exp(out, out=out)
        np.add(out, dtype(1), out=out)
        np.sqrt(out, out=out)
        np.divide(draw, out, out=out)
        np.add(out, x, out=out)
        np.maximum(out, dtype(0), out=out)

    return {"rrelu": rrelu, "noisy_relu": noisy_relu}


def by_torch(x, threads):
    try:
        import torch
    except ModuleNotFoundError:
        return {}
    torch.set_num_threads(threads)
    tensor = torch.from_numpy(x)
    return {"rrelu": lambda: torch.nn.functional.rrelu(tensor, training=True)}


def measure(dtype, size, threads, seconds):
    """Activation -> library -> seconds of a call."""
    fr.set_num_threads(threads)
    x = np.random.default_rng(1).standard_normal(size).astype(dtype)
    dy, out, key = np.ones_like(x), np.empty_like(x), fr.noise_key(0)
    ours = {
        name: lambda f=f: f(x, training=True, key=key, out=out)
        for name, f in (("rrelu", fr.rrelu), ("noisy_relu", fr.noisy_relu))
    }
    ours |= {
        f"{f.__name__}.backward": lambda f=f: f.backward(dy, x, training=True, key=key, out=out)
        for f in (fr.rrelu, fr.noisy_relu)
    }
    libraries = {"fastrelu": ours, "NumPy": by_generator(x, np.empty_like(x)), "torch": by_torch(x, threads)}
    found = {}
    for name in ours:
        jobs = {library: Call(calls[name]) for library, calls in libraries.items() if name in calls}
        found[name] = {library: t.best for library, t in interleaved(jobs, seconds).items()}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each row of the table")
    options = parser.parse_args()
    print("| call | dtype | threads | fastrelu | NumPy | torch | NumPy / fastrelu |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for dtype in (np.float32, np.float64):
        for threads in options.threads:
            for name, best in measure(dtype, options.size, threads, options.seconds).items():
                cells = [
                    f"{best[lib] * 1e3:.2f}" if lib in best else "" for lib in ("fastrelu", "NumPy", "torch")
                ]
                ratio = f"{best['NumPy'] / best['fastrelu']:.1f}" if "NumPy" in best else ""
                print("|", " | ".join([name, np.dtype(dtype).name, str(threads), *cells, ratio]), "|")


if __name__ == "__main__":
    main()
