"""Overloads of the gated units: of two arrays, or of the halves of one along an axis."""

from __future__ import annotations

import numpy as np
from numba import types

from . import passes
from .arguments import check_out, fail, is_array, is_none, literal, plain, promoted, put, real, typed
from .call import Call
from .elementwise_calls import dtype_of_pair, ndim_of, run

__all__ = ["gated", "gated_backward"]

PAIR = ("value", "gate")


def _halves(name, given, array="value"):
    """Lines that lay the halves of an array, along an axis known when they run, and what they name."""
    kind, axis = plain(given[array]), plain(given["axis"])
    if not ndim_of(kind):
        fail(name, array, kind, "an array with an axis to halve, or a gate beside it")
    if not isinstance(axis, types.Integer):
        fail(name, "axis", axis, "an integer")
    lines = [f"along = axis + {kind.ndim} if axis < 0 else axis", f"if not 0 <= along < {kind.ndim}:"]
    lines += ["    raise AxisError(no_axis)", f"half = {array}.shape[along] // 2"]
    lines += [f"if 2 * half != {array}.shape[along]:", f"    raise Misfit(odd, {array}.shape)"]
    wrong = (
        f"{name}: argument {array!r} is of shape {{}}; expected two halves along axis, or a gate beside it"
    )
    names = {"AxisError": np.exceptions.AxisError, "odd": wrong}
    names["no_axis"] = Call(name, "", np.dtype(float), ()).no_axis(kind.ndim)
    return [*lines, *_sliced(array, kind.ndim, "first, second")], names


def _sliced(array, ndim, halves):
    """Lines for both halves of an array along one of its axes, each of which is a slice of its own."""
    lines = []
    for axis in range(ndim):
        before = ":, " * axis
        lines += [f"{'elif' if axis else 'if'} along == {axis}:" if axis < ndim - 1 or not axis else "else:"]
        lines += [f"    {halves} = {array}[{before}:half, ...], {array}[{before}half:, ...]"]
    return lines


def _no_axis(name, given):
    """There is nothing to halve beside a gate."""
    axis = given["axis"]
    value = axis.literal_value if isinstance(axis, types.Literal) else getattr(axis, "value", axis)
    if value != -1:
        fail(name, "axis", "given", "no axis beside a gate: it is where one array is halved")


def gated(gate):
    """The overload of a gated unit."""
    name = gate.name
    kernel = gate.kernels()["forward"].name

    def choose(given):
        if not is_none(given["gate"]):
            _no_axis(name, given)
            ndim = max(ndim_of(plain(given[operand])) for operand in PAIR)
            if not is_none(given["out"]):
                check_out(name, given["out"], ndim, False)
            return run(Call(name, kernel, dtype_of_pair(name, given, PAIR), PAIR), given, "value")
        lines, names = _halves(name, given)
        dtype = promoted(real(name, "value", plain(given["value"])))
        call = Call(name, kernel, dtype, ("first", "second"))
        names |= {"np": np, "dtype": dtype.type, "fill": passes.fill(call)}
        made = "out"
        if is_none(given["out"]):
            made = "np.empty(first.shape, dtype)"
        else:
            check_out(name, given["out"], plain(given["value"]).ndim, False)
        return [*lines, f"made = {made}", "fill((first, second), made)", "return made"], names

    return typed("value, gate=None, axis=-1, out=None", choose)


def gated_backward(gate):
    """The overload of the gradients of a gated unit."""
    name, kernels = f"{gate.name}.backward", gate.kernels()

    def calls(dtype, operands):
        """The calls that compute each gradient."""
        return {
            each: Call(name, kernels[f"backward_{each}"].name, dtype, operands, backward=True)
            for each in PAIR
        }

    def choose(given):
        real(name, "dy", plain(given["dy"]))
        if is_none(given["gate"]):
            return of_one(given)
        _no_axis(name, given)
        dtype = dtype_of_pair(name, given, PAIR)
        shapes = {ndim_of(plain(given[argument])) for argument in ("dy", *PAIR)}
        if len(shapes) > 1:
            expected = "as many axes as value and gate have: inside @njit nothing is summed"
            fail(name, "dy", plain(given["dy"]), expected)
        wanted = _wanted(name, given["wrt"])
        outs = _outs(name, given, wanted)
        made = calls(dtype, ("dy", *PAIR))
        names = {
            "np": np,
            "put": put,
            "alike": f"{name}: argument 'gate' is of shape {{}}; expected that of value",
        }
        if shapes == {0}:
            if any(out is not None for out in outs):
                fail(name, "out", "given", "none beside numbers")
            names |= {f"one_{each}": passes.one(made[each]) for each in wanted}
            return [f"return {', '.join(f'one_{each}((dy, value, gate))' for each in wanted)}"], names
        lines = ["if value.shape != gate.shape:", "    raise Misfit(alike, gate.shape)"]
        for each, out in zip(wanted, outs, strict=True):
            own = promoted(real(name, each, plain(given[each])))
            names |= {f"dtype_{each}": own.type, f"fill_{each}": passes.fill(made[each])}
            # the first gradient may not be stored yet where its place is what the other is computed from
            later = out is not None and each == "value" and len(wanted) > 1
            place = f"np.empty_like({each}, dtype_{each})" if out is None or later else out
            lines += [f"d{each} = {place}", f"fill_{each}((dy, value, gate), d{each})"]
            if later:
                lines += [f"if {out}.shape != value.shape:", f"    raise Misfit(wrong_out, {out}.shape)"]
                names["wrong_out"] = made[each].wrong_shape("out")
        if "value" in wanted and len(wanted) > 1 and outs[0] is not None:
            lines += [f"put({outs[0]}, dvalue)", f"dvalue = {outs[0]}"]
        return [*lines, f"return {', '.join(f'd{each}' for each in wanted)}"], names

    def of_one(given):
        """The gradient of one array, whose halves are value and gate."""
        lines, names = _halves(name, given)
        if not is_none(given["wrt"]):
            fail(name, "wrt", "given", "None where value and gate are one array")
        kind = plain(given["value"])
        if ndim_of(plain(given["dy"])) != kind.ndim:
            fail(name, "dy", plain(given["dy"]), "an array of the forward result's shape")
        dtype = promoted(real(name, "value", kind))
        made = calls(dtype, ("dy", "first", "second"))
        names |= {"np": np, "put": put, "dtype": dtype.type, "wrong_out": made["value"].wrong_shape("out")}
        names |= {f"fill_{each}": passes.fill(made[each]) for each in PAIR}
        lines += ["made = np.empty(value.shape, dtype)", *_sliced("made", kind.ndim, "dfirst, dsecond")]
        lines += ["fill_value((dy, first, second), dfirst)", "fill_gate((dy, first, second), dsecond)"]
        if is_none(given["out"]):
            return [*lines, "return made"], names
        check_out(name, given["out"], kind.ndim, True)
        refusal = ["if out.shape != value.shape:", "    raise Misfit(wrong_out, out.shape)"]
        return [*refusal, *lines, "put(out, made)", "return out"], names

    return typed("dy, value, gate=None, axis=-1, out=None, wrt=None", choose)


def _wanted(name, wrt):
    if is_none(wrt):
        return PAIR
    value = literal(name, "wrt", wrt, "'value' or 'gate'")
    if value not in PAIR:
        fail(name, "wrt", repr(value), "'value' or 'gate'")
    return (value,)


def _outs(name, given, wanted):
    """The expression of each given array for a gradient, or None."""
    out = plain(given["out"])
    if is_none(out):
        return (None,) * len(wanted)
    if len(wanted) == 1 and is_array(out):
        check_out(name, out, ndim_of(plain(given[wanted[0]])), True)
        return ("out",)
    if not isinstance(out, types.BaseTuple) or len(out) != len(wanted):
        fail(name, "out", out, f"one array or None for each of {' and '.join(wanted)}")
    found = []
    for i, (each, kind) in enumerate(zip(wanted, out.types, strict=True)):
        if not is_none(kind):
            check_out(name, kind, ndim_of(plain(given[each])), True)
        found.append(None if is_none(kind) else f"out[{i}]")
    return tuple(found)
