"""The kernels of the table as Numba compiles them: blocks for the compiled drivers, and exported ufuncs.

Each is compiled when it is first asked for and kept on disk, beside this file or in the user's cache
directory (``NUMBA_CACHE_DIR`` overrides both), or only in memory where no directory can be written.
The ufuncs are attributes by the names of the kernels: ``elementwise.gelu``, ``elementwise.gelu_backward``.
"""

import functools

import numba

from . import blocks, entries

__all__ = ["block", "compiled", "ufunc"]

TYPES = {"f": numba.float32, "d": numba.float64}


def compiled(decorator, signature, function, **options):
    """The function under a decorator of Numba, from the cache on disk where there can be one."""
    try:
        return decorator(signature, cache=True, **options)(function)
    except RuntimeError:  # no directory can be written
        return decorator(signature, **options)(function)


@functools.cache
def block(name, char):
    """The block of the kernel called `name` for a dtype; its ``address`` lives as long as the process."""
    return compiled(numba.cfunc, blocks.SIGNATURE, getattr(entries, f"{plain(name)}_{char}_block"))


@functools.cache
def ufunc(name):
    """The kernel called `name` as a ufunc for float32 and float64; parameters are further inputs."""
    function = getattr(entries, plain(name))
    count = function.__code__.co_argcount
    return compiled(numba.vectorize, [type_(*(type_,) * count) for type_ in TYPES.values()], function)


def plain(name):
    """A kernel's name as one of Python."""
    return name.replace(".", "_")


def __getattr__(name):
    if f"{name}_d_block" not in vars(entries):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return ufunc(name)
