"""The calls inside @njit where nothing was compiled: loops of Numba around the translated formulas.

Each function here stands for the one of ``native`` of the same name, takes what that takes and raises what
that raises.  Results are made in memory of their own, so `out` may overlap what is read.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import intrinsic, overload, register_jitable

from . import entries, formulas, pair
from .arguments import define, is_array, is_none, typed
from .elementwise import plain

__all__ = [
    "broadcast_shape",
    "compiled_pass",
    "fill",
    "fill_losses",
    "fill_rows",
    "keep",
    "one",
    "sum_up",
    "words_of_call",
]


def _chosen(signature, choose):
    """A function for compiled code whose lines depend on the types of what it is given."""

    def never(*_):
        raise NotImplementedError("only compiled code calls this")

    stub = define(signature, [f"return never({signature})"], never=never)
    overload(stub)(typed(signature, choose))
    return stub


@functools.cache
def compiled_pass(entry):
    """A pass over rows, compiled by itself and kept on disk: it is too long to be part of every caller."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(getattr(entries, entry))
    except RuntimeError:  # no directory can be written
        return njit(nogil=True, error_model="numpy")(getattr(entries, entry))


# One number at a time


def _formula(call):
    """A function of numbers of the call's dtype."""
    if call.function is not None:
        return call.function
    name = plain(call.kernel)
    if call.dtype.kind != "f":
        return _of_integers(getattr(formulas, f"{name}_d"))
    return getattr(formulas, f"{name}_{call.dtype.char}")


def _of_integers(formula):
    """A rectifier of integers: the number itself, or one that float64 has exactly."""

    @register_jitable
    def rectified(x):
        y = formula(np.float64(x))
        return x if y == np.float64(x) else y

    return rectified


def _checks(call):
    """Lines that refuse parameters that the table does not accept, and what they name."""
    names, lines = {"inf": math.inf}, []
    for p in call.parameters:
        value = f"dtype({p.name})"
        if p.above > -math.inf:
            usable = f"{value} > dtype({p.above!r}) and {value} < inf"
        else:
            usable = f"{value} >= dtype({p.at_least!r}) and {value} <= dtype({p.at_most!r})"
        if p.not_below:
            usable += f" and {value} >= dtype({p.not_below})"
        names[f"unusable_{p.name}"] = call.unusable(p)
        lines += [f"if not ({usable}):", f"    raise Misfit(unusable_{p.name}, {value})"]
    return lines, names


def one(call):
    """``one(operands)``: the kernel's value for a tuple of numbers."""
    checks, names = _checks(call)
    numbers = ", ".join(f"dtype({operand})" for operand in call.operands)
    lines = [f"{', '.join(call.operands)}, = operands", *checks, f"return dtype(formula({numbers}))"]
    return register_jitable(define("operands", lines, formula=_formula(call), dtype=call.dtype.type, **names))


# Shapes


@register_jitable
def _fits(shape, into):
    """Whether an array of a shape broadcasts to another one of at least as many axes."""
    missing, fits = len(into) - len(shape), True
    for i in range(len(shape)):
        fits = fits and (shape[i] == 1 or shape[i] == into[missing + i])
    return fits


@register_jitable
def _meets(shape, other):
    """Whether two shapes broadcast, `other` having at most as many axes."""
    missing, meets = len(shape) - len(other), True
    for i in range(len(other)):
        own = shape[missing + i]
        meets = meets and (other[i] == 1 or own == 1 or other[i] == own)
    return meets


@register_jitable
def _met(shape, other):
    missing = len(shape) - len(other)
    for i in range(len(other)):
        if shape[missing + i] == 1:
            shape = tuple_setitem(shape, missing + i, other[i])
    return shape


def _common(call, kinds):
    """Lines that find the common shape of operands, of Numba's types `kinds`, and what they name."""
    axes = max((kind.ndim for kind in kinds if is_array(kind)), default=0)
    lines, names = ["common = ones"], {"ones": (1,) * axes, "meets": _meets, "met": _met}
    for operand, kind in zip(call.operands, kinds, strict=True):
        if is_array(kind) and kind.ndim:
            names[f"wrong_{operand}"] = call.wrong_shape(operand)
            lines += [
                f"if not meets(common, {operand}.shape):",
                f"    raise Misfit(wrong_{operand}, {operand}.shape)",
            ]
            lines += [f"common = met(common, {operand}.shape)"]
    return lines, names


def broadcast_shape(call):
    """``broadcast_shape(operands)``: the common shape of a tuple of arrays and numbers."""

    def choose(given):
        lines, names = _common(call, given["operands"].types)
        return [f"{', '.join(call.operands)}, = operands", *lines, "return common"], names

    return _chosen("operands", choose)


# Arrays


@register_jitable
def _put(out, made):
    """Store values in C order; Numba takes seconds to compile what assigns an array."""
    flat = out.flat
    for i in range(made.size):
        flat[i] = made[i]


def fill(call):
    """``fill(operands, out)``: the kernel over arrays, and numbers, that broadcast to `out`."""

    def choose(given):
        kinds, out = given["operands"].types, given["out"]
        lines, names = _checks(call)
        names |= {"np": np, "fits": _fits, "put": _put, "formula": _formula(call), "dtype": call.dtype.type}
        shapes, more = _common(call, kinds)
        if call.backward:
            shapes = _alike(call, kinds, names)
        elif out.ndim:
            names["wrong_out"] = call.wrong_shape("out")
            shapes += ["if not fits(common, out.shape):", "    raise Misfit(wrong_out, out.shape)"]
        values = []
        for operand, kind in zip(call.operands, kinds, strict=True):
            value = operand
            if is_array(kind) and kind.ndim:
                shapes += [f"{operand} = np.ascontiguousarray(np.broadcast_to({operand}, out.shape)).ravel()"]
                value = f"{operand}[i]"
            elif is_array(kind):
                value = f"{operand}[()]"
            values.append(f"dtype({value})")
        lines = [f"{', '.join(call.operands)}, = operands", *lines, *shapes]
        value = f"formula({', '.join(values)})"
        if out.ndim:
            lines += [
                "made = np.empty(out.size, dtype)",
                "for i in range(made.size):",
                f"    made[i] = {value}",
            ]
            lines += ["put(out, made)"]
        else:
            lines += [f"out[()] = dtype({value})"]
        return lines, names | more

    return _chosen("operands, out", choose)


def _alike(call, kinds, names):
    """Lines that refuse shapes which are not those of a backward pass: nothing is summed, or stretches x."""
    _, x, *parameters = call.operands
    of_x = dict(zip(call.operands, kinds, strict=True))[x]
    if not is_array(of_x) or not of_x.ndim:
        return []
    lines = []
    for parameter, kind in zip(parameters, kinds[2:], strict=True):
        if is_array(kind) and kind.ndim:
            names[f"wrong_{parameter}"] = call.wrong_shape(parameter)
            lines += [f"if not fits({parameter}.shape, {x}.shape):"]
            lines += [f"    raise Misfit(wrong_{parameter}, {parameter}.shape)"]
    for operand in ("dy", "out"):
        names[f"wrong_{operand}"] = call.wrong_shape(operand)
        lines += [f"if {operand}.shape != {x}.shape:", f"    raise Misfit(wrong_{operand}, {operand}.shape)"]
    return lines


def sum_up(call):
    """``sum_up(operands, total, outer, kept, inner)``: the kernel's results, summed for each of `kept`.

    Operands are contiguous and in the dtype of the computation.
    """
    if call.function is not None:
        return _sum_of(call)
    like, add_up = call.dtype.type(0), compiled_pass(f"{plain(call.kernel)}_{call.dtype.char}_sums")

    @register_jitable
    def summed(operands, total, outer, kept, inner):
        dy, x, p, q = operands[0], operands[1], operands[2], operands[-1]
        total.fill(like)
        if dy.size:
            arrays = dy.ctypes.data, x.ctypes.data, total.ctypes.data, p.ctypes.data, q.ctypes.data
            varies = p.size > 1, q.size > 1
            add_up(words_of_call(like, (*arrays, outer, kept, inner, *varies)), 0, 1)

    return summed


def _sum_of(call):
    """The same of a user's function, over everything."""
    numbers = [f"{operand}[0]" for operand in call.operands[2:]]
    value = f"np.float64(formula({', '.join(['all_dy[i]', 'all_x[i]', *numbers])}))"
    lines = [f"{', '.join(call.operands)}, = operands", "all_dy, all_x = dy.ravel(), x.ravel()"]
    lines += ["value = (0.0, 0.0)", "for i in range(x.size):"]
    lines += [f"    value = add(value, ({value}, 0.0))", "total[0] = value[0] + value[1]"]
    names = {"np": np, "add": pair.add, "formula": call.function}
    return register_jitable(define("operands, total, outer, kept, inner", lines, **names))


@intrinsic
def words_of_call(typing, like, words):
    """A pass's words, as ``rows.words_of`` takes them; they last as long as the function that is running."""

    def build(context, builder, signature, arguments):
        values = cgutils.unpack_tuple(builder, arguments[1])
        numbers = [
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(values, words.types, strict=True)
        ]
        place = cgutils.alloca_once_value(builder, cgutils.pack_array(builder, numbers))
        return builder.bitcast(place, context.get_value_type(signature.return_type))

    return types.CPointer(like)(like, words), build


@register_jitable
def keep(*arrays):
    """What arrays last until whose addresses a pass was given: Numba lets them go after their last use."""


# Rows


def _axis_lines(call, ndim, axis):
    """Lines for the lengths before, along and after an axis of `x`, and what they name."""
    if is_none(axis):
        return ["outer, n, inner = 1, x.size, 1"], {}
    lines = [f"along = axis + {ndim} if axis < 0 else axis", f"if not 0 <= along < {ndim}:"]
    lines += ["    raise AxisError(no_axis)", "outer, n, inner = 1, x.shape[along], 1"]
    lines += [f"for i in range({ndim}):", "    if i < along:", "        outer *= x.shape[i]"]
    lines += ["    elif i > along:", "        inner *= x.shape[i]"]
    return lines, {"AxisError": np.exceptions.AxisError, "no_axis": call.no_axis(ndim)}


def _row_shape_lines(operand, ndim, axis, keepdims, wrong):
    """Lines that refuse an operand without the shape of one value a row."""
    if not ndim or (is_none(axis) and not keepdims):
        return []
    kept = ["k = 0", f"for i in range({ndim}):"]
    if is_none(axis):
        kept += [f"    if {operand}.shape[i] != 1:", f"        raise Misfit({wrong}, {operand}.shape)"]
    elif keepdims:
        kept += [f"    if {operand}.shape[i] != (1 if i == along else x.shape[i]):"]
        kept += [f"        raise Misfit({wrong}, {operand}.shape)"]
    elif ndim > 1:
        kept += ["    if i != along:", f"        if {operand}.shape[k] != x.shape[i]:"]
        kept += [f"            raise Misfit({wrong}, {operand}.shape)", "        k += 1"]
    else:
        return []
    return kept


def fill_rows(call, row_values, keepdims=False):
    """``fill_rows(x, dy, out, axis)``: a reduction, or with `dy` its gradient."""
    zero, gives_row = "0" in call.kernel, call.kernel in ("logsumexp", "logsumexp0")

    def choose(given):
        x, dy, out, axis = (given[name] for name in ("x", "dy", "out", "axis"))
        lines, names = _axis_lines(call, x.ndim, axis)
        for operand, kind, of_row in (("dy", dy, row_values), ("out", out, gives_row)):
            if is_none(kind):
                continue
            names[f"wrong_{operand}"] = call.wrong_shape(operand)
            if of_row:
                lines += _row_shape_lines(operand, x.ndim, axis, keepdims, f"wrong_{operand}")
            else:
                lines += [
                    f"if {operand}.shape != x.shape:",
                    f"    raise Misfit(wrong_{operand}, {operand}.shape)",
                ]
        names |= {"np": np, "dtype": call.dtype.type, "put": _put, "run_rows": _run_rows(call, zero)}
        lines += [_contiguous("x", x, call.dtype)]
        lines += ["dy_entries = x_entries" if is_none(dy) else _contiguous("dy", dy, call.dtype)]
        size, of_empty = "outer * inner" if gives_row else "x.size", "0.0" if zero else "-np.inf"
        lines += [f"made = np.full({size}, {of_empty}, dtype)", "if x.size:"]
        lines += ["    run_rows(x_entries, dy_entries, made, outer, n, inner)"]
        lines += ["put(out, made)"]
        return lines, names

    return _chosen("x, dy, out, axis", choose)


def _run_rows(call, zero):
    own, like = plain(call.kernel.replace("0", "")), call.dtype.type(0)
    by_rows, by_columns = compiled_pass(f"{own}_rows"), compiled_pass(f"{own}_columns")

    @register_jitable
    def run_rows(x, dy, made, outer, n, inner):  # whose caller keeps the arrays alive
        words = x.ctypes.data, dy.ctypes.data, made.ctypes.data, outer, n, inner, zero
        if inner == 1:
            by_rows(words_of_call(like, words), 0, 1)
        else:
            by_columns(words_of_call(like, words), 0, 1)

    return run_rows


def _contiguous(name, kind, dtype):
    """The line that makes the entries of an array, or a number, contiguous in a dtype."""
    if not is_array(kind):
        return f"{name}_entries = np.full(1, {name}, dtype)"
    if not kind.ndim:
        return f"{name}_entries = np.full(1, {name}[()], dtype)"
    converted = "" if kind.dtype == types.float32 and dtype == np.float32 else ".astype(dtype)"
    if kind.dtype == types.float64 and dtype == np.float64:
        converted = ""
    return f"{name}_entries = np.ascontiguousarray({name}){converted}"


# Losses


def fill_losses(call, mean, dy_of_row=False):
    """``fill_losses(logits, labels, gradient, losses, dy, axis, ignore_index)``: it returns the total.

    With `dy_of_row` what flows in stands in `losses`, a value for each row, and `dy` is 1.
    """
    like, over_rows = call.dtype.type(0), compiled_pass("cross_entropy_rows")

    @register_jitable
    def run_rows(x, labels, gradient, weights, factors, step, numbers, losses_made, n, wants_gradient):
        words = x.ctypes.data, labels.ctypes.data, gradient.ctypes.data * wants_gradient, len(labels), n, 0
        more = weights.ctypes.data, factors.ctypes.data, step, numbers.ctypes.data, losses_made.ctypes.data, 0
        over_rows(words_of_call(like, (*words, *more)), 0, 1)

    def choose(given):
        logits, gradient, of_row = (given[name] for name in ("logits", "gradient", "losses"))
        lines, names = _axis_lines(call, logits.ndim, given["axis"])
        lines = ["x = logits", *lines]
        names |= {"np": np, "dtype": call.dtype.type, "put": _put, "run_rows": run_rows}
        names |= {"wrong_label": call.wrong_label, "math": math, "prepared": _labels}
        for operand, kind in (("labels", given["labels"]), ("losses", of_row)):
            if is_array(kind):
                names[f"wrong_{operand}"] = call.wrong_shape(
                    "dy" if dy_of_row and kind is of_row else operand
                )
                lines += _row_shape_lines(operand, logits.ndim, given["axis"], False, f"wrong_{operand}")
        if not is_none(gradient):
            names["wrong_out"] = call.wrong_shape("out")
            lines += ["if gradient.shape != x.shape:", "    raise Misfit(wrong_out, gradient.shape)"]
        ignored = "0, False" if is_none(given["ignore_index"]) else "ignore_index, True"
        lines += [f"indices, counted = prepared(labels, n, {ignored})", "if counted < 0:"]
        lines += ["    raise Misfit(wrong_label, labels.flat[-1 - counted])"]
        lines += [_contiguous("x", logits, call.dtype)]
        lines += ["entries = x_entries.reshape((outer, n, inner)).transpose((0, 2, 1))"]
        lines += ["entries = np.ascontiguousarray(entries).reshape((outer * inner, n))"]
        if dy_of_row and is_array(of_row) and of_row.ndim:
            lines += ["factors = np.zeros((len(indices), 2))", "factors[:, 0] = losses.ravel()", "step = 16"]
        else:
            value = ("losses[()]" if is_array(of_row) else "losses") if dy_of_row else "dy"
            lines += ["factors = np.zeros((1, 2))", f"factors[0, 0] = {value}", "step = 0"]
        if mean:
            lines += ["factors = factors / counted if counted else factors * math.nan"]
        lines += ["numbers, made = np.array([1.0, 0.0, 0.0, 0.0]), np.zeros((len(indices), 2))"]
        lines += ["slopes = np.empty_like(entries)", "if x.size:"]
        wants = int(not is_none(gradient))
        lines += [
            f"    run_rows(entries, indices, slopes, np.ones(n), factors, step, numbers, made, n, {wants})"
        ]
        lines += ["of_rows = np.where(made[:, 1] == made[:, 1], made[:, 0] + made[:, 1], made[:, 0])"]
        if wants:
            lines += ["slopes = slopes.reshape((outer, inner, n)).transpose((0, 2, 1))"]
            lines += ["put(gradient, np.ascontiguousarray(slopes).ravel())"]
        if not (is_none(of_row) or dy_of_row):
            lines += ["put(losses, of_rows)"]
        divisor = "counted if counted else math.nan" if mean else "1"
        return [*lines, f"return of_rows.sum() / ({divisor})"], names

    return _chosen("logits, labels, gradient, losses, dy, axis, ignore_index", choose)


@register_jitable
def _labels(labels, classes, ignored, ignores):
    """The labels as a pass takes them, and how many count; or of the first wrong one -1 less its place."""
    found, counted = np.empty(labels.size, np.intp), 0
    for i, label in enumerate(labels.flat):
        if ignores and label == ignored:
            found[i] = -1
        elif 0 <= label < classes:
            found[i] = label
            counted += 1
        else:
            return found, -1 - i
    return found, counted
