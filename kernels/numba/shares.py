"""Work shared out over threads of our own: the compiled pool's, or where there is none, Python's.

One call at a time has the threads; one that finds them busy runs alone.
"""

import concurrent.futures
import os
import threading

import numpy as np

__all__ = ["over_parts", "run", "threads_for"]

PIECE = 8192  # elements: the arrays that stand for numbers stay in the cache
WORK_PER_THREAD = 20_000 * 16  # as in fastrelu/control.py, sixteenths of a nanosecond

try:
    from fastrelu.kernels import ufuncs
except ModuleNotFoundError:
    ufuncs = None
_busy = threading.Lock()
_pools = {}  # of this process: a forked child has none of its parent's threads


def _after_fork():
    global _busy
    _busy = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def over_parts(address, function, work, cost):
    """Let a compiled function (``Share`` of loops/pool.h) do all parts of its work, whose cost is given."""
    if ufuncs is not None:
        ufuncs.share_out(address, work, cost)
    else:
        _on_threads(lambda part, parts: function(work, part, parts), cost)


def threads_for(cost):
    """The threads that an amount of elements * cost pays for."""
    from fastrelu import control

    return max(1, min(control.get_num_threads(), cost // WORK_PER_THREAD))


def _on_threads(share, cost):
    threads = threads_for(cost)
    if threads < 2 or not _busy.acquire(blocking=False):
        share(0, 1)
        return
    try:
        pool = _pools.get(threads)
        if pool is None:
            pool = _pools[threads] = concurrent.futures.ThreadPoolExecutor(threads - 1, "fastrelu")
        waiting = [pool.submit(share, part, threads) for part in range(1, threads)]
        share(0, threads)
        for one in waiting:
            one.result()
    finally:
        _busy.release()


def run(ufunc, inputs, dtype, cost, out=None, **others):
    """A ufunc of Numba over contiguous arrays of one layout and numbers; None where they are not that.

    It is called on pieces, in which a number stands as an array: of a number Numba's loop would read the
    same again for each element, and not use vectors.
    """
    if isinstance(out, tuple):
        (out,) = out
    arrays = [a for a in (*inputs, out) if a is not None and np.ndim(a)]
    if others or not arrays or not all(_alike(a, arrays[0], dtype) for a in arrays):
        return None
    if out is None:
        out = np.empty_like(arrays[0])
    elif not out.flags.writeable:
        return None
    numbers = [None if np.ndim(a) else np.full(min(PIECE, out.size), a, dtype) for a in inputs]
    whole = [a.ravel(order="K") if np.ndim(a) else None for a in inputs]
    target = out.ravel(order="K")

    def share(part, parts):
        first, end = out.size * part // parts, out.size * (part + 1) // parts
        with np.errstate(all="ignore"):
            for i in range(first, end, PIECE):
                j = min(i + PIECE, end)
                given = (a[i:j] if n is None else n[: j - i] for a, n in zip(whole, numbers, strict=True))
                ufunc(*given, out=target[i:j])

    _on_threads(share, out.size * cost)
    return out


def _alike(a, first, dtype):
    return (
        type(a) is np.ndarray
        and a.dtype == dtype
        and a.dtype.isnative
        and (a.shape, a.strides) == (first.shape, first.strides)
        and (a.flags.c_contiguous or a.flags.f_contiguous)
        and a.flags.aligned
    )
