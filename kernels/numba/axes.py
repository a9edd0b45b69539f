"""Several axes at once inside @njit: an array is seen as rows, what runs over one axis is called, and its
results are laid out again.

Lines that stand around such a call take the axes as `axis`, a tuple whose length is known when they are
compiled.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import register_jitable
from numpy.lib.stride_tricks import as_strided

from .arguments import check_out, fail, is_none, plain, put
from .call import Call
from .errors import Misfit

__all__ = ["as_rows", "entries_back", "is_several", "put_in_place", "rows_of", "values_back"]

AxisError = np.exceptions.AxisError


def is_several(kind):
    return isinstance(plain(kind), types.BaseTuple)


def _arranged(name, ndim, count):
    """``arranged(shape, axes)``: where axes go when the reduced ones move to the end, and the lengths."""
    no_axis = Call(name, "", np.dtype(float), ()).no_axis(ndim)
    twice = f"{name}: argument 'axis' is {{}}, which names an axis twice; expected each once"
    zeros = (0,) * ndim

    @register_jitable
    def arranged(shape, axes):
        is_reduced, order, back, ones = zeros, zeros, zeros, shape
        for i in range(count):
            axis = axes[i] + ndim if axes[i] < 0 else axes[i]
            if not 0 <= axis < ndim:
                raise AxisError(no_axis)
            if is_reduced[axis]:
                raise Misfit(twice, axes)
            is_reduced = tuple_setitem(is_reduced, axis, 1)
            ones = tuple_setitem(ones, axis, 1)
        place, rows, length = 0, 1, 1
        for reduced in range(2):
            for i in range(ndim):
                if is_reduced[i] == reduced:
                    order, back = tuple_setitem(order, place, i), tuple_setitem(back, i, place)
                    place += 1
                    if reduced:
                        length *= shape[i]
                    else:
                        rows *= shape[i]
        moved = zeros
        for i in range(ndim):
            moved = tuple_setitem(moved, i, shape[order[i]])
        return order, back, moved, ones, rows, length

    return arranged


@register_jitable
def _transposed(a, order):
    """``a.transpose(order)``, which takes Numba seconds to compile."""
    shape, strides = a.shape, a.strides
    for i in range(a.ndim):
        shape = tuple_setitem(shape, i, a.shape[order[i]])
        strides = tuple_setitem(strides, i, a.strides[order[i]])
    return as_strided(a, shape, strides)


def rows_of(name, kind, ndim, source="x", axis="axis"):
    """Lines that describe `source`, of `ndim` axes, as rows along a tuple of axes, or along one, or all."""
    kind = plain(kind)
    if is_none(kind):
        axes = [str(i) for i in range(ndim)]
    elif isinstance(kind, types.BaseTuple):
        axes = [f"{axis}[{i}]" for i in range(len(kind.types))]
        if not axes or not all(isinstance(plain(each), types.Integer) for each in kind.types):
            fail(name, "axis", kind, "None, an integer or a tuple of them")
    else:
        axes = [axis]
    if len(axes) > ndim:
        fail(name, "axis", f"of {len(axes)} axes", f"at most {ndim}")
    names = {"arranged": _arranged(name, ndim, len(axes)), "np": np, "transposed": _transposed}
    wide = "".join(f"np.intp({each}), " for each in axes)
    lines = [f"order, back, moved, ones, rows, length = arranged({source}.shape, ({wide}))"]
    return lines, names, ndim - len(axes)


def as_rows(array):
    """The expression of an array's rows, contiguous."""
    return f"np.ascontiguousarray(transposed({array}, order)).reshape((rows, length))"


def values_back(values, kept, keepdims):
    """The expression that gives one value a row the shape of the result."""
    if keepdims:
        return f"{values}.reshape(ones)"
    return f"{values}.reshape(moved[:{kept}])" if kept else f"{values}[0]"


def entries_back(rows):
    """The expression that gives rows the shape that they were made of."""
    return f"np.ascontiguousarray(transposed({rows}.reshape(moved), back))"


def put_in_place(name, given, ndim, names):
    """Lines that return `result`, of `ndim` axes, in `out` if that is given."""
    if is_none(given["out"]):
        return ["return result"]
    check_out(name, given["out"], ndim, True)
    if not ndim:
        return ["out[()] = result", "return out"]
    names["put"] = put
    names["wrong_out"] = f"{name}: argument 'out' is of shape {{}}; expected that of the result"
    lines = ["if out.shape != result.shape:", "    raise Misfit(wrong_out, out.shape)"]
    return [*lines, "put(out, result)", "return out"]
