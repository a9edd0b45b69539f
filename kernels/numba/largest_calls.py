"""Overloads of maxout, its index and its gradient: loops of Numba's, for what they compute is exact."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import register_jitable

from .arguments import check_out, fail, is_array, is_none, plain, promoted, put, real, typed
from .call import Call
from .errors import Misfit

__all__ = ["maxout", "maxout_backward", "maxout_with_index"]

AxisError = np.exceptions.AxisError


def _grouped(name, argument, ndim):
    """``grouped(shape, pieces, axis)``: the axis, and its length and what comes before and after it."""
    no_axis = Call(name, "", np.dtype(float), ()).no_axis(ndim)
    few = f"{name}: argument 'pieces' is {{}}; expected pieces >= 1"
    uneven = f"{name}: argument {argument!r} is of shape {{}}; expected pieces to divide it along axis"

    @register_jitable
    def grouped(shape, pieces, axis):
        along = axis + ndim if axis < 0 else axis
        if not 0 <= along < ndim:
            raise AxisError(no_axis)
        if pieces < 1:
            raise Misfit(few, pieces)
        if shape[along] % pieces:
            raise Misfit(uneven, shape)
        outer, inner = 1, 1
        for i in range(ndim):
            if i < along:
                outer *= shape[i]
            elif i > along:
                inner *= shape[i]
        return along, outer, shape[along] // pieces, inner

    return grouped


@register_jitable
def _find(entries, made, which):
    """The largest of each group of (groups, pieces, inner), and which it is: the first, a NaN above all."""
    for i in range(entries.shape[0]):
        for k in range(entries.shape[2]):
            most, found = entries[i, 0, k], 0
            for j in range(1, entries.shape[1]):
                a = entries[i, j, k]
                if a > most or (a != a and most == most):
                    most, found = a, j
            made[i, k], which[i, k] = most, found


@register_jitable
def _pass_on(dy, which, dx):
    dx.fill(0)
    for i in range(dy.shape[0]):
        for k in range(dy.shape[1]):
            dx[i, which[i, k], k] = dy[i, k]


def _check(name, given, argument):
    kind = plain(given[argument])
    real(name, argument, kind)
    if not is_array(kind) or not kind.ndim:
        fail(name, argument, kind, "an array with at least one axis")
    for integer in ("pieces", "axis"):
        if not isinstance(plain(given[integer]), types.Integer):
            fail(name, integer, plain(given[integer]), "an integer")
    return kind


def _index_dtype(pieces):
    """The smallest unsigned type where the number of pieces is written out, else that of places."""
    if isinstance(pieces, types.Literal) and pieces.literal_value >= 1:
        return np.min_scalar_type(pieces.literal_value - 1)
    return np.dtype(np.intp)


def _forward(name, indexed):
    def choose(given):
        kind = _check(name, given, "x")
        dtype = promoted(real(name, "x", kind))
        names = {"np": np, "dtype": dtype.type, "grouped": _grouped(name, "x", kind.ndim), "find": _find}
        names |= {
            "put": put,
            "tuple_setitem": tuple_setitem,
            "index_dtype": _index_dtype(given["pieces"]).type,
        }
        lines = ["along, outer, groups, inner = grouped(x.shape, pieces, axis)"]
        lines += ["shape = tuple_setitem(x.shape, along, groups)"]
        if not is_none(given["out"]):
            check_out(name, given["out"], kind.ndim, True)
            names["wrong_out"] = Call(name, "", dtype, ()).wrong_shape("out")
            lines += ["if out.shape != shape:", "    raise Misfit(wrong_out, out.shape)"]
        lines += ["entries = np.ascontiguousarray(x).reshape((outer * groups, pieces, inner))"]
        lines += ["made = np.empty((outer * groups, inner), dtype)"]
        lines += ["which = np.empty(made.shape, index_dtype)", "find(entries, made, which)"]
        lines += ["y, index = made.reshape(shape), which.reshape(shape)"]
        if not is_none(given["out"]):
            lines += ["put(out, y)", "y = out"]
        return [*lines, f"return {'y, index' if indexed else 'y'}"], names

    return typed("x, pieces, axis=-1, out=None", choose)


def maxout():
    """The overload of maxout."""
    return _forward("maxout", False)


def maxout_with_index():
    """The overload of maxout.with_index."""
    return _forward("maxout.with_index", True)


def maxout_backward():
    """The overload of maxout.backward."""
    name = "maxout.backward"

    def choose(given):
        has_x, has_index = (not is_none(given[each]) for each in ("x", "index"))
        if has_x == has_index:
            got = "given beside index" if has_x else "missing, and so is index"
            fail(name, "x", got, "exactly one of them")
        source = "x" if has_x else "index"
        kind = _check(name, given, source)
        dy = plain(given["dy"])
        dtype = promoted(real(name, "dy", dy))
        if not is_array(dy) or dy.ndim != kind.ndim:
            fail(name, "dy", dy, "an array of the forward result's shape")
        names = {"np": np, "pass_on": _pass_on, "put": put, "tuple_setitem": tuple_setitem}
        names |= {"wrong_dy": Call(name, "", dtype, ()).wrong_shape("dy")}
        if has_x:
            dtype = promoted(real(name, "x", kind))
            names |= {"grouped": _grouped(name, "x", kind.ndim), "find": _find}
            lines = ["along, outer, groups, inner = grouped(x.shape, pieces, axis)", "whole = x.shape"]
            lines += ["shape = tuple_setitem(x.shape, along, groups)"]
        else:
            if not isinstance(kind.dtype, types.Integer):
                fail(name, "index", kind, "an array of integers")
            names |= {"grouped": _grouped(name, "index", kind.ndim)}
            names["outside"] = f"{name}: argument 'index' has {{}}; expected 0 <= index < pieces"
            lines = ["along, outer, groups, inner = grouped(index.shape, 1, axis)", "shape = index.shape"]
            lines += ["if pieces < 1:", "    raise Misfit(few, pieces)"]
            names["few"] = f"{name}: argument 'pieces' is {{}}; expected pieces >= 1"
            lines += ["whole = tuple_setitem(shape, along, groups * pieces)"]
        names["dtype"] = dtype.type
        lines += ["if dy.shape != shape:", "    raise Misfit(wrong_dy, dy.shape)"]
        if not is_none(given["out"]):
            check_out(name, given["out"], kind.ndim, True)
            names["wrong_out"] = Call(name, "", dtype, ()).wrong_shape("out")
            lines += ["if out.shape != whole:", "    raise Misfit(wrong_out, out.shape)"]
        if has_x:
            lines += ["entries = np.ascontiguousarray(x).reshape((outer * groups, pieces, inner))"]
            lines += ["largest = np.empty((outer * groups, inner), entries.dtype)"]
            lines += ["which = np.empty(largest.shape, np.intp)", "find(entries, largest, which)"]
        else:
            lines += ["which = np.ascontiguousarray(index).reshape((outer * groups, inner))"]
            lines += ["for place in which.flat:", "    if not 0 <= place < pieces:"]
            lines += ["        raise Misfit(outside, place)"]
        lines += ["dx = np.empty((outer * groups, pieces, inner), dtype)"]
        lines += ["pass_on(np.ascontiguousarray(dy).reshape((outer * groups, inner)), which, dx)"]
        if is_none(given["out"]):
            return [*lines, "return dx.reshape(whole)"], names
        return [*lines, "put(out, dx.reshape(whole))", "return out"], names

    return typed("dy, x=None, pieces=None, axis=-1, index=None, out=None", choose)
