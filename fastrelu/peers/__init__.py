"""The peers: how NumPy, SciPy, PyTorch, ONNX Runtime, numexpr and JAX do what fastrelu does, on equal terms.

Equal terms: the same arrays, written into where the library can write into a given array (`Job.mode` says
so), everything prepared before the timing starts, the same number of threads (NumPy and SciPy have one), and
results that were compared with the reference first.  Nothing is imported before it is asked for.

>>> with peers.session(["numpy", "torch"], threads=1):
...     operation = peers.operations(["gelu"])[0]
...     data = peers.Data(operation, "float32", 1000)
...     job = peers.prepare("torch", operation, data, threads=1)
...     peers.deviation(job, data) < peers.TOLERANCE["float32"]
True
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterable

from . import compiled, eager
from .modes import MODES, in_mode
from .work import PASSES, Data, Job, Operation, deviation, named_dtype, operations, own_job

__all__ = [
    "EAGER",
    "MODES",
    "PASSES",
    "PEERS",
    "TOLERANCE",
    "Data",
    "Job",
    "Operation",
    "deviation",
    "installed",
    "knows",
    "named_dtype",
    "operations",
    "prepare",
    "session",
]

# The modules that each needs.
REQUIRED = {
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "torch": ("torch",),
    "onnxruntime": ("onnxruntime", "onnx"),
    "numexpr": ("numexpr",),
    "jax": ("jax",),
}
PEERS = tuple(REQUIRED)
EAGER = frozenset(("numpy", "scipy", "torch"))  # those without a compilation step: whom to beat everywhere

# A peer further away than this computes something else, or computes it wrongly.  Loose: peers lose digits.
TOLERANCE = {"float16": 1e-2, "bfloat16": 6e-2, "float32": 1e-5, "float64": 1e-10}
# Who computes in 16 bits; the others lack the type, or most of their functions for it.
HALVES = {"float16": ("numpy", "torch", "jax"), "bfloat16": ("torch", "jax")}


def installed() -> tuple[str, ...]:
    """The peers that can be imported here."""
    return tuple(
        peer
        for peer, modules in REQUIRED.items()
        if all(importlib.util.find_spec(module) for module in modules)
    )


def _of(name):
    return getattr(eager, name, None) or getattr(compiled, name)


def knows(peer: str, operation: Operation) -> bool:
    """Whether there is a line for it; the peer may still lack it for a dtype."""
    if peer in ("fastrelu", "numpy"):  # for NumPy the reference steps in
        return True
    if peer == "jax" and operation.pass_ == "backward":  # by automatic differentiation
        return f"{operation.function} forward" in compiled.JAX
    return str(operation) in _of(peer.upper())


def prepare(peer: str, operation: Operation, data: Data, threads: int, mode: str = "out") -> Job | None:
    """The peer's job, within a `session` of the same number of threads; None where it lacks the function.

    `mode` is one of `MODES`.  A peer that knows no ``out=`` allocates its result in mode "out" too.
    """

    def make(data):
        if peer == "fastrelu":
            return own_job(operation, data)
        if peer not in HALVES.get(data.dtype.name, PEERS):
            return None
        return _of(f"{peer}_job")(operation, data, threads)

    return in_mode(mode, make, operation, data)


@contextlib.contextmanager
def session(names: Iterable[str], threads: int):
    """Everyone, fastrelu included, set to `threads` threads; as they were before on the way out."""
    import fastrelu

    before = fastrelu.get_num_threads()
    fastrelu.set_num_threads(threads)
    try:
        with contextlib.ExitStack() as stack:
            for peer in names:
                stack.enter_context(_of(f"{peer}_session")(threads))
            yield
    finally:
        fastrelu.set_num_threads(before)
