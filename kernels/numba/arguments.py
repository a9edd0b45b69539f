"""What the overloads ask of argument types, and their errors: at compile time, naming the argument."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.core.errors import TypingError
from numba.extending import register_jitable
from numba.np import numpy_support

from .errors import Misfit

__all__ = [
    "check_out",
    "define",
    "fail",
    "is_array",
    "is_none",
    "literal",
    "plain",
    "promoted",
    "put",
    "real",
    "refused",
    "typed",
]


def fail(name, argument, got, expected):
    raise TypingError(f"{name}: argument {argument!r} is {got}; expected {expected}")


def plain(kind):
    """The type of a value, whether it was written out, left out or neither."""
    if isinstance(kind, types.Omitted):
        kind = kind.value
    if not isinstance(kind, types.Type):  # a default
        return {type(None): types.none, float: types.float64, int: types.int64}.get(
            type(kind), types.unicode_type
        )
    return types.unliteral(kind)


def is_none(kind):
    return isinstance(plain(kind), types.NoneType)


def is_array(kind):
    return isinstance(kind, types.Array)


def literal(name, argument, kind, expected):
    """The value of an argument that must be known when the call is compiled."""
    if isinstance(kind, types.Omitted):
        return kind.value
    if not isinstance(kind, types.Type):
        return kind
    if isinstance(kind, types.NoneType):
        return None
    if not isinstance(kind, types.Literal):
        fail(name, argument, f"a variable ({kind})", f"{expected}, written out in the call")
    return kind.literal_value


def _dtype(kind):
    """The dtype of a number or of an array's elements, or None."""
    kind = kind.dtype if is_array(kind) else kind
    if isinstance(kind, (types.Boolean, types.Integer)) or kind in (types.float32, types.float64):
        return np.dtype(numpy_support.as_dtype(kind))
    return None


def real(name, argument, kind):
    """The dtype of a real number or array."""
    dtype = _dtype(plain(kind))
    if dtype is None:
        fail(name, argument, plain(kind), "a number or an array of float32, float64, integers or bools")
    if is_array(kind) and not kind.aligned:
        fail(name, argument, "an unaligned array", "an aligned one")
    return dtype


def promoted(dtype):
    """The dtype of the result: integers become floats as in Numba's own functions, which have no float16."""
    if dtype.kind == "f":
        return dtype
    return np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)


def check_out(name, out, ndim, exactly, dtype=None, argument="out"):
    """`out` must be able to hold a result of so many axes, or more unless `exactly`."""
    if not is_array(out):
        fail(name, argument, out, "an array")
    allowed = (np.dtype(np.float32), np.dtype(np.float64)) if dtype is None else (dtype,)
    if _dtype(out) not in allowed or not out.aligned:
        fail(name, argument, out, f"an aligned array of {' or '.join(map(str, allowed))}")
    if not out.mutable:
        fail(name, argument, "read-only", "a writeable array")
    if out.ndim < ndim or (exactly and out.ndim > ndim):
        fail(name, argument, f"an array with {out.ndim} axes", f"one with {ndim}")


@register_jitable
def put(out, made):
    """``out[...] = made`` of one shape, which takes Numba seconds to compile."""
    for place in np.ndindex(made.shape):
        out[place] = made[place]


def define(signature, body, **names):
    """A function of this signature: what depends on the table cannot be written out."""
    lines = "".join(f"    {line}\n" for line in body)
    names |= {"__name__": __name__, "Misfit": Misfit, "inf": np.inf}  # a default may be infinite
    exec(f"def defined({signature}):\n{lines}", names)
    return names["defined"]


def refused(name, instead):
    """The overload of what cannot be called."""

    def refuse(*given):
        raise TypingError(f"{name} cannot be called inside @njit; write {instead}")

    return refuse


def typed(signature, choose):
    """The overload: `choose` is given the argument types by name, and returns the lines to compile."""

    def implementation(given):
        lines, names = choose(given)
        return define(signature, lines, **names)

    return define(signature, ["return implementation(locals())"], implementation=implementation)
