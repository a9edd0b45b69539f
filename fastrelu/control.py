"""Settings: process defaults from the environment and ``set_…``; ``with`` forms are context variables."""

from __future__ import annotations

import contextlib
import operator
import os
import re
import sys
import threading
from contextvars import ContextVar

from . import backends as _backends
from . import machine
from .backends import cython

__all__ = [
    "accuracy",
    "backends",
    "get_cache_limit",
    "get_num_threads",
    "set_accuracy",
    "set_backend",
    "set_cache_limit",
    "set_num_threads",
    "use_backend",
]

ACCURACIES = ("high", "fast")

# Out of place and from this size on, stores go past the cache: below it the old lines of the result still
# fit, and loading them costs less than losing them.  `bench/thresholds.py streaming` found the crossing
# between 16 and 32 MiB on a Zen 4 with a cache of 32 MiB (2026-11-21).
STREAMING_BYTES = machine.last_level_cache()
# What costs more than this for each thread (`Row.cost`; float32, float64) stores as usual: the writing hides
# behind the arithmetic, and streaming would only come on top.  `bench/thresholds.py arithmetic`, same machine
# (2026-11-22, loaded): ordinary stores took 1.4 to 1.6 of the time of streaming ones at costs 1 and 2 on two
# threads, 0.7 to 0.9 from cost 3 on.
STREAMING_COSTS = 1, 3
# A further thread for each such amount of element * cost (sixteenths of a nanosecond): about 20
# microseconds of work.  `bench/thresholds.py threads`, same machine: workers that are awake pay from a
# tenth of it, workers that sleep from 3 to 8 times as much; this stands between.
WORK_PER_THREAD = 20_000 * 16
# Large results leave their memory for the next ones, up to so much of it.
CACHE_BYTES = 64 << 20


def _choice(variable, value, known):
    if value not in known:
        raise ValueError(f"{variable}: unknown value {value!r}; expected one of {', '.join(known)}")
    return value


def _whole_number(argument, value, least):
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise ValueError(f"{argument}: got {value!r}; expected a whole number of at least {least}")
    return number


def _from_environment(variable, least, take=lambda text: text):
    text = take(os.environ.get(variable, "")).strip()
    if not text:
        return None
    # at most as many digits as a machine word has
    return _whole_number(variable, int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text, least)


class _Override:
    """A setting's value in a context.

    Contexts are copied: a task that is started inside the `with` block keeps its settings beyond it.  So for
    as long as any of them holds one of these, the fast path is closed (another backend) or asks its context
    in every call (another accuracy).
    """

    def __init__(self, value, live):
        self.value, self.live = value, live
        live[id(self)] = True
        _tell_kernels_what_is_chosen()

    def __del__(self, finalizing=sys.is_finalizing):
        if not finalizing():
            del self.live[id(self)]
            _tell_kernels_what_is_chosen()


class _Setting:
    """A process default with context-local overrides."""

    def __init__(self, name, default):
        self.default = default
        self.override = ContextVar(f"fastrelu_{name}", default=None)
        self.live = {}  # overrides that some context holds

    def get(self):
        override = self.override.get()
        return self.default if override is None else override.value

    def set(self, value):
        self.default = value
        _tell_kernels_what_is_chosen()

    @contextlib.contextmanager
    def overridden(self, value):
        token = self.override.set(_Override(value, self.live))
        try:
            yield
        finally:
            self.override.reset(token)


def _default_threads():
    threads = _from_environment("FASTRELU_NUM_THREADS", 1)
    if threads is None:
        with contextlib.suppress(ValueError):  # another library's variable; "4,2": 4, and 2 inside of each
            threads = _from_environment("OMP_NUM_THREADS", 1, lambda text: text.partition(",")[0])
    return threads or machine.usable_processors()


def _default_backend():
    asked = os.environ.get("FASTRELU_BACKEND")
    return _backends.named(asked, "FASTRELU_BACKEND") if asked else _backends.automatic()


_lock = threading.RLock()  # around what the kernels are told; an _Override may die inside it
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
BACKEND = _Setting("backend", _default_backend())
ACCURACY = _Setting(
    "accuracy", _choice("FASTRELU_ACCURACY", os.environ.get("FASTRELU_ACCURACY") or "high", ACCURACIES)
)
# Whether labels and weights of cross_entropy, and maxout's index, are fetched from a device to be checked.
CHECKS_LABELS = (
    _choice("FASTRELU_CHECK_LABELS", os.environ.get("FASTRELU_CHECK_LABELS") or "0", ("0", "1")) == "1"
)
_threads = _default_threads()
_cache_mb = _from_environment("FASTRELU_CACHE_MB", 0)
_cache_limit = CACHE_BYTES if _cache_mb is None else _cache_mb << 20


def _tell_kernels_what_is_chosen():
    if cython.ISA:
        with _lock:
            first = BACKEND.default.first_kernel
            cython.ufuncs.allow_fast_calls(first is not None and not BACKEND.live, first or 0)
            asked = ACCURACY.override if ACCURACY.live else None
            cython.ufuncs.set_accuracy(ACCURACY.default == "fast", asked)


def _configure_kernels():
    if cython.ISA:
        with _lock:
            cython.ufuncs.set_cache_limit(min(_cache_limit, sys.maxsize))
            threads = min(_threads, cython.ufuncs.MOST_THREADS)
            cython.ufuncs.configure(
                threads, WORK_PER_THREAD, STREAMING_BYTES, machine.usable_processors(), STREAMING_COSTS
            )


def backends():
    """The backends by name: whether each is available, and what it runs on or why it is not.

    Returns
    -------
    dict of str to Backend

    Examples
    --------
    >>> fr.backends()["numpy"].available
    True
    """
    return _backends.known()


def set_backend(name):
    """Make `name` the process's default backend.

    Parameters
    ----------
    name : str
        A key of `backends`; it must be available.

    Raises
    ------
    ValueError
        If the backend is unknown or not available.
    """
    BACKEND.set(_backends.named(name, "set_backend"))


def use_backend(name):
    """Context manager: run with backend `name` in this context (thread or task) only.

    Raises
    ------
    ValueError
        If the backend is unknown or not available.

    Examples
    --------
    >>> with fr.use_backend("numpy"):
    ...     y = fr.relu(np.array([-1.0, 2.0]))
    """
    return BACKEND.overridden(_backends.named(name, "use_backend"))


def set_accuracy(level):
    """Set the process's default accuracy: ``"high"`` (at most 1 ULP) or ``"fast"`` (at most 4 ULP).

    Tails, signed zeros, infinities and NaN are as right in ``"fast"`` as in ``"high"``.  Beside an interior
    zero of the derivative its bound is that of 1/2.  Where no formula is faster than that of ``"high"``, and
    in everything but the activations, the two are the same; `explain` says so.
    """
    ACCURACY.set(_choice("set_accuracy", level, ACCURACIES))


def accuracy(level):
    """Context manager: `set_accuracy` for this context only."""
    return ACCURACY.overridden(_choice("accuracy", level, ACCURACIES))


def set_num_threads(n):
    """Let a call use at most `n` threads; the result's bits do not depend on it.

    Raises
    ------
    ValueError
        If `n` is not a whole number of at least 1.
    """
    global _threads
    _threads = _whole_number("n", n, 1)
    _configure_kernels()


def get_num_threads():
    """The most threads that a call may use (affinity and container quota, unless set)."""
    return _threads


def set_cache_limit(megabytes):
    """Hold at most so much memory of past large results for coming ones; 0 turns the cache off.

    Blocks that nothing uses for some seconds go back to the system by themselves.

    Raises
    ------
    ValueError
        If `megabytes` is not a whole number of at least 0.
    """
    global _cache_limit
    _cache_limit = _whole_number("megabytes", megabytes, 0) << 20
    _configure_kernels()


def get_cache_limit():
    """The limit of `set_cache_limit` in MiB (64 unless FASTRELU_CACHE_MB says otherwise)."""
    return _cache_limit >> 20


_configure_kernels()
_tell_kernels_what_is_chosen()
