"""Overloads of logsumexp, softmax, log_softmax and their backward passes.

Along one axis, or over all, they are calls of kernels; along several, calls of themselves over rows.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import types
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import register_jitable

import fastrelu

from . import passes
from .arguments import check_out, fail, is_array, is_none, literal, plain, promoted, put, real, typed
from .axes import as_rows, entries_back, is_several, put_in_place, rows_of, values_back
from .call import Call
from .weighted_calls import signed_logs, weighted_gradient

__all__ = ["logsumexp", "logsumexp_backward", "normalise", "normalise_backward", "row_shape"]


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
    axis = plain(given["axis"])
    if not is_none(axis) and not isinstance(axis, (types.Integer, types.BaseTuple)):
        fail(name, "axis", axis, "None, an integer or a tuple of them")
    return dtype


def _function(name):
    """The public object of a name, for code that calls it."""
    return functools.reduce(getattr, name.split("."), fastrelu)


def _flag(name, argument, kind):
    value = literal(name, argument, kind, "True or False")
    if not isinstance(value, bool):
        fail(name, argument, repr(value), "True or False")
    return value


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
        lines = [
            *made,
            "if out.shape != made.shape:",
            "    raise Misfit(wrong_out, out.shape)",
            "put(out, made)",
        ]
        lines += ["return out"]
    else:
        lines = [f"fill_rows({source}, {dy}, out, axis)", "return out"]
    return lines, names | {"np": np, "put": put}


def logsumexp(name):
    """The overload of logsumexp or logsumexp0."""

    def choose(given):
        dtype = _check(name, given, "a")
        keepdims, ndim = _flag(name, "keepdims", given["keepdims"]), plain(given["a"]).ndim
        if not is_none(given["b"]) or _flag(name, "return_sign", given["return_sign"]):
            return signed_logs(name, given, dtype, keepdims)
        if is_several(given["axis"]):
            return of_several(given, dtype, keepdims)
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

    def of_several(given, dtype, keepdims):
        ndim = plain(given["a"]).ndim
        lines, names, kept = rows_of(name, given["axis"], ndim, "a")
        names["over_rows"] = _function(name)
        lines += [f"made = over_rows({as_rows('a')}, 1)"]
        lines += [f"result = {values_back('made', kept, keepdims)}"]
        return lines + put_in_place(name, given, kept if not keepdims else ndim, names), names

    return typed("a, axis=None, b=None, keepdims=False, return_sign=False, out=None", choose)


def logsumexp_backward(name):
    """The overload of logsumexp.backward or logsumexp0.backward."""

    def choose(given):
        dtype, kind, axis = _check(name, given, "x"), plain(given["x"]), plain(given["axis"])
        keepdims = _flag(name, "keepdims", given["keepdims"])
        real(name, "dy", plain(given["dy"]))
        reduced = kind.ndim if is_none(axis) else len(axis.types) if is_several(axis) else 1
        expected = kind.ndim if keepdims else kind.ndim - reduced
        if getattr(plain(given["dy"]), "ndim", 0) != expected:
            fail(name, "dy", plain(given["dy"]), f"the forward result's shape, of {expected} axes")
        if not (is_several(axis) or not is_none(given["b"])):
            return _gradient(name, given, "x", name, dtype, row_values=True, keepdims=keepdims)
        lines, names, kept = rows_of(name, axis, kind.ndim)
        if expected:
            names["wrong_dy"] = f"{name}: argument 'dy' is of shape {{}}; expected that of the forward result"
            lines += [f"if dy.shape != {'ones' if keepdims else f'moved[:{kept}]'}:"]
            lines += [
                "    raise Misfit(wrong_dy, dy.shape)",
                "flows = np.ascontiguousarray(dy).reshape(rows)",
            ]
        else:
            value = "dy[()]" if is_array(given["dy"]) else "dy"
            names["dtype"] = dtype.type
            lines += [f"flows = np.full(rows, {value}, dtype)"]
        if is_none(given["b"]):
            names["over_rows"] = _function(name)
            lines += [f"made = over_rows(flows, {as_rows('x')}, 1)"]
        else:
            more, known = weighted_gradient(name, given, dtype)
            lines, names = lines + more, names | known
        lines += [f"result = {entries_back('made')}"]
        return lines + put_in_place(name, given, kind.ndim, names), names

    return typed("dy, x, axis=None, b=None, keepdims=False, out=None", choose)


def normalise(name):
    """The overload of softmax, softmax0 or log_softmax."""

    def choose(given):
        dtype = _check(name, given, "x")
        if not is_none(given["out"]):
            check_out(name, given["out"], plain(given["x"]).ndim, True)
        if is_several(given["axis"]):
            return _over_rows(name, given, "x", ("x",))
        names = {"dtype": dtype.type, "fill_rows": _run_rows(name, name, dtype, False)}
        names["wrong_out"] = f"{name}: argument 'out' is of shape {{}}; expected that of the result"
        lines, names = _entries(given, "x", "None", names)
        return _whole(given, "x") + lines, names

    return typed("x, axis=None, out=None", choose)


def _over_rows(name, given, source, arrays):
    """Lines for entries that the public function gives along several axes, of arrays of one shape."""
    ndim = plain(given[source]).ndim
    lines, names, _ = rows_of(name, given["axis"], ndim, source)
    names["over_rows"] = _function(name)
    if "dy" in arrays:
        names["wrong_dy"] = f"{name}: argument 'dy' is of shape {{}}; expected that of the forward result"
        lines += [f"if dy.shape != {source}.shape:", "    raise Misfit(wrong_dy, dy.shape)"]
    given_rows = ", ".join(f"{array}={as_rows(array)}" for array in arrays)
    lines += [f"made = over_rows({given_rows}, axis=1)", f"result = {entries_back('made')}"]
    return lines + put_in_place(name, given, ndim, names), names


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
        if is_several(given["axis"]):
            return _over_rows(name, given, source, ("dy", source))
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
            lines = [*lines[:-1], "if out.shape != made.shape:", "    raise Misfit(wrong_out, out.shape)"]
            lines += ["put(out, made)", "return out"]
        return _whole(given, "x") + lines, names

    return typed("dy, x=None, y=None, axis=None, out=None", choose)


def _gradient(name, given, source, kernel, dtype, row_values=False, keepdims=False, of=None):
    """The lines for a gradient of the source; `of` is its type where it is a result of ours."""
    given = given if of is None else given | {source: of}
    if not is_none(given["out"]):
        check_out(name, given["out"], plain(given[source]).ndim, True)
    names = {"dtype": dtype.type, "fill_rows": _run_rows(name, kernel, dtype, row_values, keepdims, source)}
    names["wrong_out"] = f"{name}: argument 'out' is of shape {{}}; expected that of the result"
    lines, names = _entries(given, source, "dy", names)
    return _whole(
        given, *([] if of is not None else [source]), *([] if row_values else ["dy"])
    ) + lines, names
