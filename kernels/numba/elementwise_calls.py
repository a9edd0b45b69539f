"""Overloads of the activations, their backward passes and logaddexp.

Each is written for one row of the table: it looks at the argument types, chooses the kernel, and returns what
Numba compiles in its place, a few lines around an intrinsic.
"""

from __future__ import annotations

import numpy as np
from numba import types

from fastrelu.table import LOGADDEXP, ROWS

from . import passes
from .arguments import check_out, fail, is_array, is_none, literal, plain, promoted, real, typed
from .call import Call
from .channels import along_channels, three_lengths

__all__ = [
    "backward",
    "dtype_of_pair",
    "forward",
    "logaddexp",
    "logaddexp_backward",
    "ndim_of",
    "one_source",
    "run",
]


def ndim_of(kind):
    return kind.ndim if is_array(kind) else 0


def _signature(names, defaults):
    return ", ".join([*names, *(f"{name}={default!r}" for name, default in defaults.items())])


def _extras(row, has_option):
    """The arguments, beside parameters, that choose what is computed, with their defaults."""
    extras = {row.option[0]: row.option[1]} if has_option else {}
    return extras if row.channel_axis is None else extras | {"axis": row.channel_axis}


def _chosen(name, row, has_option, given):
    """The row of the variant that is asked for."""
    if not has_option:
        return row
    keyword = row.option[0]
    variants = {each.option[1]: each for each in ROWS if each.family == row.name}
    expected = " or ".join(map(repr, variants))
    value = literal(name, keyword, given[keyword], expected)
    if value not in variants:
        fail(name, keyword, repr(value), expected)
    return variants[value]


def _check_parameters(name, row, given):
    """The parameters that are numbers of the caller's and have a range, once the types are right."""
    kinds = {p.name: plain(given[p.name]) for p in row.parameters}
    for p in row.parameters:
        if p.none_is_default and is_none(kinds[p.name]):
            continue
        if is_none(kinds[p.name]):
            fail(name, p.name, "missing", "a number or an array")
        real(name, p.name, kinds[p.name])

    def checked(p):
        names = [p.name, p.not_below] if p.not_below else [p.name]
        given_here = any(
            isinstance(given[each], types.Type) and not isinstance(given[each], types.Omitted)
            for each in names
        )
        numbers = not any(is_array(kinds[each]) or is_none(kinds[each]) for each in names)
        return (p.constrained or p.not_below) and given_here and numbers

    return tuple(filter(checked, row.parameters))


def _replace_none(row, given):
    """What is given once defaults that go by None are numbers, the lines for that, and their names."""
    absent = [p for p in row.parameters if p.none_is_default and is_none(given[p.name])]
    lines = [f"{p.name} = default_{p.name}" for p in absent]
    names = {f"default_{p.name}": p.default for p in absent}
    return given | {p.name: types.float64 for p in absent}, lines, names


def _channels(row, given):
    """The learned parameter, if it is a vector of one value a channel."""
    if row.channel_axis is None:
        return None
    parameter = row.parameters[0].name
    return parameter if ndim_of(plain(given[parameter])) == 1 and ndim_of(plain(given["x"])) else None


def run(call, given, lead, prepare=(), names=None):
    """The lines that run a kernel; the result has the shape of `lead`, unless parameters stretch it."""
    kinds = {operand: plain(given[operand]) for operand in call.operands}
    operands = f"({', '.join(call.operands)},)"
    names = (names or {}) | {"np": np, "dtype": call.dtype.type, "fill": passes.fill(call)}
    ndim = max(map(ndim_of, kinds.values()))
    if not is_none(given["out"]):
        return [*prepare, f"fill({operands}, out)", "return out"], names
    if not any(map(is_array, kinds.values())) and call.dtype.kind == "f":
        return [*prepare, f"return one({operands})"], names | {"one": passes.one(call)}
    if not ndim:
        make = "np.empty((), dtype)"
    elif call.backward or all(operand == lead or not is_array(kinds[operand]) for operand in kinds):
        make = f"np.empty_like({lead}, dtype)"
    else:
        make = f"np.empty(broadcast_shape({operands}), dtype)"
        names["broadcast_shape"] = passes.broadcast_shape(call)
    returned = "made" if ndim else "made[()]"
    return [*prepare, f"made = {make}", f"fill({operands}, made)", f"return {returned}"], names


def _along(name, row, given, parameter):
    """The line that lays a vector of parameters along its axis, and what it calls."""
    if parameter is None:
        return [], {}
    along = along_channels(name, parameter, row.channel_axis, ndim_of(plain(given["x"])))
    return [f"{parameter} = along({parameter}, x, axis)"], {"along": along}


def forward(row, has_option, functions=None, check=None):
    """The overload of an activation.

    `functions` gives those of numbers that it computes where it has no kernel, `check` lines of its own that
    look at arguments, and what they name.
    """
    name = row.qualname
    required = [p.name for p in row.parameters if p.default is None]
    defaults = {p.name: p.shown_default for p in row.parameters if p.default is not None}
    signature = _signature(["x", *required], defaults | _extras(row, has_option) | {"out": None})

    def choose(given):
        chosen = _chosen(name, row, has_option, given)
        dtype = real(name, "x", plain(given["x"]))
        keeps = row.keeps_integers and dtype.kind != "f"
        dtype = dtype if keeps else promoted(dtype)
        constrained = _check_parameters(name, row, given)
        checks, known = check(given) if check else ([], {})
        given, defaults, names = _replace_none(row, given)
        operands = ("x", *(p.name for p in row.parameters))
        if not is_none(given["out"]):
            ndim = max(ndim_of(plain(given[operand])) for operand in operands)
            check_out(name, given["out"], ndim, False, dtype if keeps else None)
        function = functions and functions("forward", dtype)
        kernel = chosen.kernels()["forward"].name
        call = Call(name, kernel, dtype, operands, constrained, function=function)
        along, more = _along(name, row, given, _channels(row, given))
        return run(call, given, "x", checks + defaults + along, names | more | known)

    return typed(signature, choose)


def backward(row, has_option, functions=None, check=None):
    """The overload of a backward pass; `functions` and `check` as for `forward`."""
    name = f"{row.qualname}.backward"
    parameters = {p.name: p.shown_default for p in row.parameters}
    knot = {"at_zero": None} if row.knots else {}
    rest = knot | _extras(row, has_option) | {"out": None, "wrt": None}
    signature = _signature(["dy"], {"x": None, "y": None} | parameters | rest)

    def choose(given):
        kernels = _chosen(name, row, has_option, given).kernels()
        wanted = _wanted(name, row, given["wrt"])
        at_zero = bool(row.knots) and not is_none(given["at_zero"])
        pass_, lead = _source(name, row, given, at_zero, wanted)
        dtype = promoted(real(name, lead, plain(given[lead])))
        real(name, "dy", plain(given["dy"]))
        constrained = _check_parameters(name, row, given)
        checks, known = check(given) if check else ([], {})
        given, defaults, names = _replace_none(row, given)
        if ndim_of(plain(given["dy"])) != ndim_of(plain(given[lead])):
            fail(name, "dy", plain(given["dy"]), f"an array of the shape of {lead}")
        for p in parameters:
            if ndim_of(plain(given[p])) > ndim_of(plain(given[lead])):
                fail(
                    name,
                    p,
                    plain(given[p]),
                    f"at most the axes of {lead}: inside @njit it cannot stretch {lead}",
                )
        if lead == "y" and row.from_y_needs:
            constrained += (_from_y_needs(name, row, given),)
        operands = ("dy", lead, *parameters, *(("at_zero",) if at_zero else ()))
        if at_zero and ndim_of(plain(given["at_zero"])):
            fail(name, "at_zero", plain(given["at_zero"]), "a number")

        def make(pass_, operands):
            function = functions and functions(pass_, dtype)
            kernel = kernels[pass_].name
            return Call(name, kernel, dtype, operands, constrained, True, function)

        if wanted != ["x"] and ndim_of(plain(given["x"])):
            lines, more = _sums(row, given, wanted, make, pass_, operands)
            return defaults + lines, names | more
        if wanted != ["x"]:
            calls = [
                make(pass_ if w == "x" else f"backward_wrt_{w}", operands[: 2 + len(parameters)])
                for w in wanted
            ]
            ones = {f"one_{i}": passes.one(call) for i, call in enumerate(calls)}
            values = [f"{one}(({', '.join(call.operands)},))" for one, call in zip(ones, calls, strict=True)]
            return [*defaults, f"return {', '.join(values)}"], names | ones
        if not is_none(given["out"]):
            check_out(name, given["out"], ndim_of(plain(given[lead])), True)
        call = make(pass_, operands)
        along, more = _along(name, row, given, _channels(row, given) if lead == "x" else None)
        return run(call, given, lead, checks + defaults + along, names | more | known)

    return typed(signature, choose)


def _from_y_needs(name, row, given):
    """The condition on a parameter under which the derivative is a function of the output."""
    needs = row.from_y_needs
    if is_array(plain(given[needs.name])):
        fail(name, needs.name, "an array", "a number, where y is given; or x")
    return needs


def _wanted(name, row, wrt):
    names = ["x", *(p.name for p in row.parameters)]
    if is_none(wrt):
        return ["x", *(p.name for p in row.parameters if p.learned)]
    expected = f"one of {', '.join(map(repr, names))}"
    value = literal(name, "wrt", wrt, expected)
    if value not in names:
        fail(name, "wrt", repr(value), expected)
    return [value]


def one_source(name, given):
    """Which of x and y is given."""
    has_x, has_y = (not is_none(given[each]) for each in "xy")
    if has_x == has_y:
        fail(name, "x", "given beside y" if has_x else "missing, and so is y", "exactly one of them")
    return "x" if has_x else "y"


def _source(name, row, given, at_zero, wanted):
    """The pass, and the array that the derivative is computed from."""
    if one_source(name, given) == "x":
        return ("backward_at_zero" if at_zero else "backward"), "x"
    reason = ""
    if not row.slope_from_y:
        reason = "the derivative is not a function of the output"
    elif at_zero:
        reason = "the output does not show where x is 0"
    elif wanted != ["x"]:
        reason = "the gradient of a parameter needs x"
    if reason:
        fail(name, "y", f"given, but {reason}", "x")
    return "backward_from_y", "y"


def _sums(row, given, wanted, make, pass_, operands):
    """The lines for gradients of parameters, which are summed, and x's beside it."""
    name, ndim = f"{row.qualname}.backward", ndim_of(plain(given["x"]))
    parameter = wanted[-1]
    kind = plain(given[parameter])
    others = [p.name for p in row.parameters if p.name != parameter]
    if (
        ndim_of(kind) > 1
        or (ndim_of(kind) and row.channel_axis is None)
        or any(ndim_of(plain(given[p])) for p in others)
    ):
        fail(
            name,
            "wrt",
            f"{parameter!r}",
            "'x': inside @njit only numbers and channels have a summed gradient",
        )
    if not is_none(given["out"]):
        fail(name, "out", "given", "none where a parameter's gradient is asked for inside @njit")
    parameters = [p.name for p in row.parameters]
    terms = make(f"backward_wrt_{parameter}", ("dy", "x", *parameters))
    gradient = make(pass_, operands) if "x" in wanted else terms
    vector = ndim_of(kind) == 1
    names = {
        "np": np,
        "dtype": terms.dtype.type,
        "sum_up": passes.sum_up(terms),
        "fill": passes.fill(gradient),
        "lengths": three_lengths(name, parameter, row.channel_axis, ndim) if vector else None,
        "wrong": terms.wrong_shape("dy"),
    }
    contiguous = "np.ascontiguousarray({0}).astype(dtype)"
    if "x" in wanted:
        dx = ["dx = np.empty_like(x, dtype)"]
        along, more = _along(name, row, given, parameter if vector else None)
        names |= more
        along = [line.replace(f"{parameter} =", "laid =") for line in along]
        laid = ", ".join("laid" if vector and o == parameter else o for o in operands)
        dx += [*along, f"fill(({laid},), dx)"]
    else:
        dx = []
    lines = ["if dy.shape != x.shape:", "    raise Misfit(wrong, dy.shape)", *dx]
    lines += [f"terms_dy = {contiguous.format('dy')}", f"terms_x = {contiguous.format('x')}"]
    if vector:
        lines += [
            f"terms_{parameter} = {contiguous.format(parameter)}",
            f"outer, kept, inner = lengths(terms_{parameter}, x, axis)",
        ]
    else:
        lines += [f"terms_{p} = np.full(1, {p}, dtype)" for p in parameters]
        lines += ["outer, kept, inner = 1, 1, x.size"]
    lines += ["total = np.empty(kept, dtype)"]
    values = ", ".join(f"terms_{operand}" for operand in terms.operands)
    lines += [f"sum_up(({values}), total, outer, kept, inner)"]
    total = "total" if vector else "total[0]"
    return [*lines, f"return {'dx, ' if dx else ''}{total}"], names


def _common(*dtypes):
    """The dtype of numbers and arrays together; a number takes on that of the arrays, as Python's do."""
    return promoted(np.result_type(*dtypes))


def dtype_of_pair(name, given, arguments=("a", "b")):
    """The dtype in which two arguments meet."""
    kinds = {argument: plain(given[argument]) for argument in arguments}
    dtypes = {argument: real(name, argument, kind) for argument, kind in kinds.items()}
    arrays = [dtypes[argument] for argument in arguments if is_array(kinds[argument])]
    floats = [dtype for dtype in arrays if dtype.kind == "f"]
    return _common(*(floats if len(floats) == len(arrays) and arrays else dtypes.values()))


def logaddexp():
    """The overload of logaddexp."""

    def choose(given):
        dtype = dtype_of_pair("logaddexp", given)
        ndim = max(ndim_of(plain(given[argument])) for argument in "ab")
        if not is_none(given["out"]):
            check_out("logaddexp", given["out"], ndim, False)
        call = Call("logaddexp", LOGADDEXP[0].name, dtype, ("a", "b"))
        return run(call, given, "a")

    return typed("a, b, out=None", choose)


def logaddexp_backward():
    """The overload of logaddexp.backward."""
    name = "logaddexp.backward"

    def choose(given):
        dtype = dtype_of_pair(name, given)
        shapes = {ndim_of(plain(given[argument])) for argument in ("dy", "a", "b")}
        real(name, "dy", plain(given["dy"]))
        if len(shapes) > 1:
            fail(
                name, "dy", plain(given["dy"]), "as many axes as a and b have: inside @njit nothing is summed"
            )
        calls = [
            Call(name, LOGADDEXP[1].name, dtype, ("dy", *order), backward=True) for order in ("ab", "ba")
        ]
        if shapes == {0}:
            ones = {f"one_{i}": passes.one(call) for i, call in enumerate(calls)}
            return ["return one_0((dy, a, b)), one_1((dy, b, a))"], ones
        names = {
            "np": np,
            "dtype": dtype.type,
            "fill_a": passes.fill(calls[0]),
            "fill_b": passes.fill(calls[1]),
        }
        lines = ["da, db = np.empty_like(a, dtype), np.empty_like(b, dtype)"]
        return [*lines, "fill_a((dy, a, b), da)", "fill_b((dy, b, a), db)", "return da, db"], names

    return typed("dy, a, b", choose)
