"""Overloads of the random activations, which draw nothing inside @njit: as without training."""

from __future__ import annotations

from numba import types

from fastrelu.table import RANDOM

from .arguments import check_out, fail, is_array, is_none, literal, plain, promoted, real, typed
from .call import Call
from .elementwise_calls import ndim_of, one_source, run

__all__ = ["random_backward", "random_forward"]

DEFAULTS = {p.name: p.default for row in RANDOM if row.name == "rrelu" for p in row.parameters}
SIGNATURES = {
    "rrelu": ", ".join(f"{p}={default!r}" for p, default in DEFAULTS.items()) + ", {0}, axis=None, out=None",
    "noisy_relu": "variance='sigmoid', {0}, out=None",
}
SLOPES = ("lower", "upper", "draw")  # what rrelu's kernels take besides


def _signature(name, first):
    return f"{first}, {SIGNATURES[name].format('training=False, key=None')}"


def _prepare(name, function, given):
    """What is given with the draw, the kernels' name and operands, lines that check, and what they name."""
    expected = "False: inside @njit nothing is drawn"
    training = literal(name, "training", given["training"], expected)
    if training is not False:
        fail(name, "training", repr(training), expected)
    if function == "noisy_relu":
        variance = given["variance"]
        if isinstance(plain(variance), types.UnicodeType):
            if literal(name, "variance", variance, "'sigmoid' or a number") != "sigmoid":
                fail(name, "variance", "another text", "'sigmoid', a number or an array")
            return given, "relu", (), [], {}
        real(name, "variance", plain(variance))
        if is_array(variance):
            return given, "relu", (), [], {}
        wrong = f"{name}: argument 'variance' is {{}}; expected variance >= 0"
        return (
            given,
            "relu",
            (),
            ["if not variance >= 0:", "    raise Misfit(wrong, variance)"],
            {"wrong": wrong},
        )
    for bound in DEFAULTS:
        real(name, bound, plain(given[bound]))
        if ndim_of(plain(given[bound])):
            fail(name, bound, plain(given[bound]), "a number: inside @njit it has no axes")
    wrong = f"{name}: argument 'upper' is {{}} beside lower = {{}}; expected 0 <= lower <= upper < 1"
    lines = [
        "if not 0 <= dtype(lower) <= dtype(upper) < 1:",
        "    raise Misfit(wrong, upper, lower)",
        "draw = 0.0",
    ]
    return given | {"draw": types.float64}, function, SLOPES, lines, {"wrong": wrong}


def random_forward(function):
    """The overload of rrelu or noisy_relu."""

    def choose(given):
        given, kernel, others, lines, names = _prepare(function, function, given)
        dtype = promoted(real(function, "x", plain(given["x"])))
        if not is_none(given["out"]):
            check_out(function, given["out"], ndim_of(plain(given["x"])), False)
        return run(Call(function, kernel, dtype, ("x", *others)), given, "x", lines, names)

    return typed(_signature(function, "x"), choose)


def random_backward(function):
    """The overload of the backward pass of one of these."""
    name = f"{function}.backward"

    def choose(given):
        given, kernel, others, lines, names = _prepare(name, function, given)
        lead = one_source(name, given)  # y is positive where x is
        dtype = promoted(real(name, lead, plain(given[lead])))
        real(name, "dy", plain(given["dy"]))
        if ndim_of(plain(given["dy"])) != ndim_of(plain(given[lead])):
            fail(name, "dy", plain(given["dy"]), f"an array of the shape of {lead}")
        if not is_none(given["out"]):
            check_out(name, given["out"], ndim_of(plain(given[lead])), True)
        call = Call(name, f"{kernel}.backward", dtype, ("dy", lead, *others), backward=True)
        return run(call, given, lead, lines, names)

    return typed(_signature(function, "dy, x=None, y=None"), choose)
