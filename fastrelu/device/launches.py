"""Launches over Views: which kernels, in how many blocks, with which arguments."""

from __future__ import annotations

import functools
import operator

from . import layout
from .arrays import View
from .layout import VECTOR_BYTES, broadcast, layout_of, passes

__all__ = ["divided", "launches", "launching"]


@functools.cache
def launching():
    """How kernels are launched, which takes Numba and CUDA's bindings."""
    try:
        from fastrelu.kernels.cuda import launch
    except ModuleNotFoundError as missing:
        if missing.name.partition(".")[0] not in ("numba", "numba_cuda", "llvmlite", "cuda"):
            raise
        raise RuntimeError(
            f"arrays on a device need CUDA kernels, and {missing.name} is not installed: "
            "pip install 'fastrelu[cuda]'"
        ) from None
    return launch


def divided(operands, char):
    """The pattern of views and numbers (``kernels/cuda/operands.py``), each kind by itself."""
    views = [o for o in operands if type(o) is View]
    letters = ("n" if type(o) is not View else "a" if o.char == char else _letter(o) for o in operands)
    return "".join(letters), views, [float(o) for o in operands if type(o) is not View]


def _letter(view):
    from fastrelu.kernels.cuda.operands import LETTERS

    return LETTERS.get(view.char) or (view.char if view.rounded else view.char.upper())


def launches(function, cost, out, operands, char=None, ends=(), where=True):
    """What runs a function of numbers: kernels, blocks, and the values of their arguments.

    `char` is the dtype that is computed in, by default that of `out`; `ends` and `where` are as
    ``dtypes`` gives them.
    """
    on, char = launching().device(out.device), char or out.char
    pattern, views, numbers = divided(operands, char)
    if where is not True:
        pattern, views = f"{pattern}w", [*views, where]
    moved = [v.place & -VECTOR_BYTES for v in (out, *views)]
    layouts = layout_of(out), *map(layout_of, views)
    for one in _launches(function, cost, layouts, char, pattern, ends, on.processors, layout.MOST_NUMBERS):
        compiled, blocks, places, rest = one
        yield compiled, blocks, (*map(operator.add, moved, places), *numbers, *rest)


@functools.lru_cache(maxsize=1024)
def _launches(function, cost, layouts, char, pattern, ends, processors, most_numbers):
    """Kernels, blocks, places and last arguments for arrays in the first 16 bytes of memory.

    Wherever arrays of such layouts begin they are gone over alike.
    """
    from fastrelu.kernels.cuda import elementwise

    out, *views = (View(*one, device=0) for one in layouts)
    stretched, made = tuple(kind == "a" for kind in pattern if kind != "n"), []
    for one in passes(out, tuple(broadcast(v, out.shape) for v in views), stretched):
        letters = pattern
        if one.alike:
            which = iter(one.alike)
            letters = "".join("s" if kind != "n" and next(which) else kind for kind in pattern)
        by_vectors = one.alike is not None
        compiled = elementwise.compiled(function, cost, char, letters, one.rank, by_vectors, ends)
        blocks = min(-(-one.items // compiled.threads), processors * launching().BLOCKS_A_PROCESSOR)
        made.append((compiled, blocks, one.places, one.rest))
    return made
