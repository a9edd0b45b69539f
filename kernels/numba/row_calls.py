"""Overloads of logsumexp, softmax, log_softmax and their backward passes: along one axis, or over all."""

from __future__ import annotations

import functools

import numpy as np
from numba import types
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import register_jitable

from . import passes
from .arguments import check_out, fail, is_array, is_none, literal, plain, promoted, real, typed
from .call import Call

__all__ = ["logsumexp", "logsumexp_backward", "normalise", "normalise_backward", "row_shape", "without"]


@functools.cache
def row_shape(ndim, keepdims):
    """``row_shape(x, axis)``: the shape of one value a row."""
    axes = (0,) * (ndim if keepdims else ndim - 1)

    @register_jitable
    def shape_of_rows(x, axis):
        reduced, shape = axis + ndim if axis < 0 else axis, axes
        for i in range(len(axes)):
            if keepdims:
                n = 1 if i == reduced else x.shape[i]
            else:
                n = x.shape[i] if i < reduced else x.shape[i + 1]
            shape = tuple_setitem(shape, i, n)
        return shape

    return shape_of_rows


def _check(name, given, argument):
    """The dtype of an array, once it and the axis are right."""
    kind = plain(given[argument])
    dtype = promoted(real(name, argument, kind))
    if not is_array(kind):
        fail(name, argument, kind, "an array")
    if not is_none(given["axis"]) and not isinstance(plain(given["axis"]), types.Integer):
        fail(name, "axis", plain(given["axis"]), "None or an integer: inside @njit one axis, or all")
    return dtype


def _flag(name, argument, kind):
    value = literal(name, argument, kind, "True or False")
    if not isinstance(value, bool):
        fail(name, argument, repr(value), "True or False")
    return value


def without(name, given, **defaults):
    """Options that only the call outside has."""
    for argument, default in defaults.items():
        kind = given[argument]
        value = kind.literal_value if isinstance(kind, types.Literal) else getattr(kind, "value", kind)
        if not (value == default or (default is None and is_none(kind))):
            fail(name, argument, "given", f"{default!r}, the only value inside @njit")


def _run_rows(name, kernel, dtype, row_values, keepdims=False, argument="x"):
    """The intrinsic of a row kernel."""
    return passes.fill_rows(Call(name, kernel, dtype, (argument, "dy")), row_values, keepdims)


def _whole(given, *arguments):
    """Lines that make arrays contiguous where all axes are reduced, which then must be one in memory."""
    kinds = {argument: plain(given[argument]) for argument in arguments}
    if not is_none(given["axis"]):
        return []
    uneven = [a for a, kind in kinds.items() if is_array(kind) and kind.ndim > 1 and kind.layout != "C"]
    return [f"{argument} = np.ascontiguousarray({argument})" for argument in uneven]


def _entries(given, source, dy, names):
    """The lines that fill an array of the shape of the source."""
    out = plain(given["out"])
    made = [f"made = np.empty({source}.shape, dtype)", f"fill_rows({source}, {dy}, made, axis)"]
    if is_none(out):
        lines = [*made, f"return made{'' if plain(given[source]).ndim else '[()]'}"]
    elif out.ndim > 1 and out.layout != "C" and is_none(given["axis"]):
        lines = [*made, "if out.shape != made.shape:", "    raise ValueError(wrong_out)", "out[...] = made"]
        lines += ["return out"]
    else:
        lines = [f"fill_rows({source}, {dy}, out, axis)", "return out"]
    return lines, names | {"np": np}


def logsumexp(name):
    """The overload of logsumexp or logsumexp0."""

    def choose(given):
        dtype = _check(name, given, "a")
        without(name, given, b=None, return_sign=False)
        keepdims, ndim = _flag(name, "keepdims", given["keepdims"]), plain(given["a"]).ndim
        everything = is_none(given["axis"])
        result_ndim = ndim if keepdims else 0 if everything else ndim - 1
        names = {
            "np": np,
            "dtype": dtype.type,
            "fill_rows": _run_rows(name, name, dtype, True, keepdims, "a"),
        }
        lines = _whole(given, "a")
        if not is_none(given["out"]):
            check_out(name, given["out"], result_ndim, True)
            return [*lines, "fill_rows(a, None, out, axis)", "return out"], names
        names["shape"] = (1,) * result_ndim
        shape = "shape"
        if result_ndim and not everything:
            names["row_shape"], shape = row_shape(ndim, keepdims), "row_shape(a, axis)"
        lines += [f"made = np.empty({shape}, dtype)", "fill_rows(a, None, made, axis)"]
        return [*lines, "return made" if result_ndim else "return made[()]"], names

    return typed("a, axis=None, b=None, keepdims=False, return_sign=False, out=None", choose)


def logsumexp_backward(name):
    """The overload of logsumexp.backward or logsumexp0.backward."""

    def choose(given):
        dtype, kind = _check(name, given, "x"), plain(given["x"])
        without(name, given, b=None)
        keepdims = _flag(name, "keepdims", given["keepdims"])
        real(name, "dy", plain(given["dy"]))
        expected = kind.ndim if keepdims else 0 if is_none(given["axis"]) else kind.ndim - 1
        if getattr(plain(given["dy"]), "ndim", 0) != expected:
            fail(name, "dy", plain(given["dy"]), f"the forward result's shape, of {expected} axes")
        return _gradient(name, given, "x", name, dtype, row_values=True, keepdims=keepdims)

    return typed("dy, x, axis=None, b=None, keepdims=False, out=None", choose)


def normalise(name):
    """The overload of softmax, softmax0 or log_softmax."""

    def choose(given):
        dtype = _check(name, given, "x")
        if not is_none(given["out"]):
            check_out(name, given["out"], plain(given["x"]).ndim, True)
        names = {"dtype": dtype.type, "fill_rows": _run_rows(name, name, dtype, False)}
        names["wrong_out"] = f"{name}: argument 'out' does not fit: its shape is not that of the result"
        lines, names = _entries(given, "x", "None", names)
        return _whole(given, "x") + lines, names

    return typed("x, axis=None, out=None", choose)


@register_jitable
def _leave_out_absent(x, dx):
    for place in np.ndindex(x.shape):
        if x[place] == -np.inf:
            dx[place] = 0


def normalise_backward(function):
    """The overload of the gradient of one of these."""
    name = f"{function}.backward"

    def choose(given):
        has_x, has_y = (not is_none(given[each]) for each in "xy")
        if has_x == has_y:
            fail(name, "x", "given beside y" if has_x else "missing, and so is y", "exactly one of them")
        source = "x" if has_x else "y"
        dtype, kind = _check(name, given, source), plain(given[source])
        real(name, "dy", plain(given["dy"]))
        if getattr(plain(given["dy"]), "ndim", -1) != kind.ndim:
            fail(name, "dy", plain(given["dy"]), f"an array of the shape of {source}")
        if has_y:
            return _gradient(name, given, "y", name, dtype)
        forward = _run_rows(function, function, dtype, False)
        lines, names = _gradient(name, given | {"out": types.none}, "y", name, dtype, of=kind)
        silence = ["leave_out_absent(x, made)"] if function == "softmax" else []
        lines = [
            "y = np.empty(x.shape, dtype)",
            "forward(x, None, y, axis)",
            *lines[:-1],
            *silence,
            lines[-1],
        ]
        names |= {"forward": forward, "leave_out_absent": _leave_out_absent}
        if not is_none(given["out"]):
            check_out(name, given["out"], kind.ndim, True)
            lines = [*lines[:-1], "if out.shape != made.shape:", "    raise ValueError(wrong_out)"]
            lines += ["out[...] = made", "return out"]
        return _whole(given, "x") + lines, names

    return typed("dy, x=None, y=None, axis=None, out=None", choose)


def _gradient(name, given, source, kernel, dtype, row_values=False, keepdims=False, of=None):
    """The lines for a gradient of the source; `of` is its type where it is a result of ours."""
    given = given if of is None else given | {source: of}
    if not is_none(given["out"]):
        check_out(name, given["out"], plain(given[source]).ndim, True)
    names = {"dtype": dtype.type, "fill_rows": _run_rows(name, kernel, dtype, row_values, keepdims, source)}
    names["wrong_out"] = f"{name}: argument 'out' does not fit: its shape is not that of the result"
    lines, names = _entries(given, source, "dy", names)
    return _whole(
        given, *([] if of is not None else [source]), *([] if row_values else ["dy"])
    ) + lines, names
