"""Backends: one frozen record each, all of them able to run any kernel of the table.

An asked-for backend that is missing is an error that says why; only the automatic choice, the first
available in the order below, falls back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..draws import draws

__all__ = ["BACKENDS", "Backend", "automatic", "known", "named"]


@dataclass(frozen=True)
class Backend:
    """How one backend runs the table's kernels.

    Attributes
    ----------
    name : str
    available : bool
    detail : str
        What it runs on, or why it is not available.
    elementwise : callable
        ``elementwise(kernel)`` gives a callable with a ufunc's signature.
    rows : callable
        ``rows(name)`` gives ``f(x, axis, out=None, keepdims=False, dy=None, one_dy_a_row=False)``, or None
        where it has none; the result is None where `x` must be prepared first.
    weighted : callable
        ``weighted(char)`` gives ``f(a, b)``, the parts of sums of b exp(a) over contiguous rows, or None.
    weighted_logs : callable
        ``f(a, b, axis, return_sign)``, logsumexp of a few plain rows, or None where it is not so simple.
    empty : callable
        ``empty(shape, dtype)`` gives memory for a result.
    sums : callable
        ``sums(kernel, char)`` gives ``f(lengths, arrays, result, dx, gradient)``, which sums the kernel's
        results over contiguous arrays of a dtype (and computes kernel `gradient` into `dx`), or None.
    losses : callable
        Cross entropy and its gradient of arrays as they lie; None where it has no kernel for them, or
        something is wrong with them.
    drawn : callable
        ``drawn(kernel, distribution, key, arrays, numbers, lead, out)`` runs a kernel on arrays, numbers and
        a draw for each element of the result, which is None where that takes `draws` and `elementwise`.
    two_results : callable
        ``two_results(kernels, arrays, results, apart)`` runs two kernels of the same arrays in one pass, and
        says whether it did; `apart`: it is known that nothing overlaps but in the same place.
    largest : callable
        ``largest(x, which, y, dy, dx, pieces, axis)`` fills y and which, or dx, and says whether it did.
    draws : callable
        ``draws(distribution, key, first, count, dtype)`` gives draws of a key from number `first` on.
    first_kernel : int or None
        The number of its first kernel among those that the compiled fast path runs, if it is one of them.
    """

    name: str
    available: bool
    detail: str
    elementwise: Callable | None = field(default=None, repr=False)
    rows: Callable = field(default=lambda name: None, repr=False)
    empty: Callable = field(default=np.empty, repr=False)
    sums: Callable = field(default=lambda kernel, char: None, repr=False)
    weighted: Callable = field(default=lambda char: None, repr=False)
    weighted_logs: Callable = field(default=lambda *arguments: None, repr=False)
    losses: Callable = field(default=lambda *arguments, **options: None, repr=False)
    drawn: Callable = field(default=lambda *arguments: None, repr=False)
    two_results: Callable = field(default=lambda *arguments: False, repr=False)
    largest: Callable = field(default=lambda *arguments: False, repr=False)
    draws: Callable = field(default=draws, repr=False)
    first_kernel: int | None = field(default=None, repr=False)


def _records():
    from . import cython, numba, numpy

    return [cython.BACKEND, numba.BACKEND, numpy.BACKEND]


BACKENDS = {backend.name: backend for backend in _records()}  # for arrays in host memory


def known():
    """All backends by name, the one of device arrays included, which looks for a driver first."""
    from . import cuda

    return BACKENDS | {"cuda": cuda.record()}


def automatic() -> Backend:
    """The first backend that is available; the reference always is."""
    return next(backend for backend in BACKENDS.values() if backend.available)


def named(name, asked_by) -> Backend:
    """The available backend called `name`, or an error that says what there is.

    Raises
    ------
    ValueError
        If there is no such backend, or it is not available here.
    """
    backend = BACKENDS.get(name) if isinstance(name, str) else None
    if backend is None:
        everything = known()
        if not isinstance(name, str) or name not in everything:
            raise ValueError(f"{asked_by}: unknown backend {name!r}; expected one of {', '.join(everything)}")
        backend = everything[name]
    if not backend.available:
        usable = ", ".join(b.name for b in BACKENDS.values() if b.available)
        raise ValueError(
            f"{asked_by}: backend {name!r} is not available: {backend.detail}; available: {usable}"
        )
    if backend.name not in BACKENDS:
        raise ValueError(
            f"{asked_by}: backend {name!r} computes with arrays on a device, by itself, and with no others; "
            f"expected one of {', '.join(BACKENDS)}"
        )
    return backend
