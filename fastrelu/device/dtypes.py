"""The dtypes of a call on device arrays: those of the same call on arrays in host memory.

Of a forward pass they are asked for: the host's function is called with arrays that hold nothing, so what it
refuses raises the same error here, before anything is launched.  A backward pass computes in the dtype of its
source, where the other arrays are cast to.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np

from ..arguments import float_type
from .arrays import CHARS, EVERY, FLOATS, SIZES, dtype_name, is_on_device

__all__ = [
    "WEAK",
    "Computed",
    "backward",
    "backward_of_pair",
    "check_out",
    "explained",
    "floating",
    "forward",
    "forward_of_pair",
    "where",
]


WEAK = {bool, int, float}  # Python's numbers, which take on the dtype of the array beside them


class Computed(NamedTuple):
    """What a call computes in, and what a result is that was given no memory; as keys of `arrays.SIZES`."""

    char: str
    result: str

    def ends(self, out):
        """The dtypes that a result goes through after that which is computed in, to memory of `out`."""
        steps = (self.char, self.result, out)
        return tuple(after for before, after in itertools.pairwise(steps) if after != before)


def dtype_of(char):
    """The dtype of the host.

    Raises
    ------
    ImportError
        If that is bfloat16 without the package that brings it.
    """
    if char != "b":
        return np.dtype(dtype_name(char))
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError(
            "bfloat16 beside other dtypes needs the package ml_dtypes, which is not installed: "
            "pip install 'fastrelu[half]'"
        ) from None
    return np.dtype(ml_dtypes.bfloat16)


def char_of(f, dtype):
    char = CHARS.get(dtype.name, dtype.name)
    if char not in SIZES:
        expected = " or ".join([*CHARS, "an integer dtype where that is kept"])
        f._fail(TypeError, "dtype", dtype, f"{expected} on a device")
    return char


@functools.lru_cache
def floating(char):
    """The dtype in which a derivative or a parameter meets numbers of another one."""
    return char if char in FLOATS else CHARS[float_type(np.empty(0, char)).name]


def _keywords(f, given, out):
    """Keywords of ufuncs that decide about dtypes, as something to keep an answer by."""
    order = given.get("order", "K")
    if order != "K":
        f._fail(TypeError, "order", repr(order), "'K' for an array on a device")
    found = [("casting", given["casting"])] if "casting" in given else []
    if given.get("dtype") is not None:
        name = str(given["dtype"]).removeprefix("torch.")
        known = name in CHARS or name in EVERY
        found.append(("dtype", dtype_of(CHARS.get(name, name)) if known else np.dtype(given["dtype"])))
    if out is not None:
        found.append(("out", out))
    return tuple(found)


@functools.lru_cache(maxsize=1024)
def _asked(f, arguments, keywords):
    """The dtype of the result of a call of the host on arrays that hold nothing, or numbers of some types."""
    keywords = dict(keywords)
    if "out" in keywords:
        keywords["out"] = np.empty(0, dtype_of(keywords["out"]))
    given = [np.empty(0, dtype_of(one)) if type(one) is str else one(1) for one in arguments]
    row = getattr(f, "row", None)
    for p in getattr(row, "parameters", ()):
        keywords[p.name] = p.typical[0] if p.default is None else p.default
    return np.asarray(f(*given, **keywords)).dtype


def _computed(f, arguments, given, out):
    strong = {one for one in arguments if one not in WEAK}
    if len(strong) == 1 and not given:
        (char,) = strong
        if char in FLOATS and out in (None, char):
            return Computed(char, char)
    keywords = _keywords(f, given, None)
    result = char_of(f, _asked(f, arguments, keywords))
    if out is not None:
        _asked(f, arguments, _keywords(f, given, out))
    # numbers are not rounded to the few digits of bfloat16 before the result is
    in_single = result == "b" and strong != {"b"}
    return Computed("f" if in_single else result, result)


def forward(f, x, given, out=None) -> Computed:
    """Of an activation of an array, whose dtype is given, as is that of `out`.

    `given` holds the keywords of ufuncs that the caller gave but for ``out`` and ``where``.
    """
    return _computed(f, (x,), given, out)


def forward_of_pair(f, operands, given, out=None) -> Computed:
    """Of an operation of two arrays, whose dtypes are given; a number of the host stands for itself."""
    return _computed(f, tuple(map(_kind, operands)), given, out)


def _kind(operand):
    """A dtype as it is, or the type of a number."""
    return operand if type(operand) is str else type(operand)


def backward(source, dy) -> Computed:
    """Of a gradient with respect to an array or a parameter beside it."""
    result = floating(source)
    return Computed("f" if result == "b" != dy else result, result)


def backward_of_pair(dy, operands) -> str:
    """The dtype that gradients with respect to two arrays are computed in."""
    chars = [floating(char) for char in operands]
    if {*chars} == {"b"}:
        return "b" if dy == "b" else "f"
    return np.result_type(*(np.dtype("f" if char == "b" else char) for char in chars)).char


def explained(f, kernel, operands, out=None) -> Computed:
    """Of a call of a kernel of the table on Views and numbers."""
    chars = [getattr(one, "char", 1.0) for one in operands]
    if kernel.pass_ == "forward":
        if "gate" in kernel.inputs:
            return forward_of_pair(f, chars, {}, out)
        return forward(f, chars[0], {}, out)
    dy, source, *gate = chars
    if "gate" in kernel.inputs:
        return Computed(backward_of_pair(dy, (source, *gate)), floating(source))
    return backward(source, dy)


def check_out(f, out, result):
    """Memory must be of a dtype that a gradient's casts to."""
    if out == result:
        return
    to, of = dtype_of(out), dtype_of(result)
    if not np.can_cast(of, to, "same_kind"):
        f._fail(TypeError, "out", f"of dtype {to}", f"a dtype that {of} casts to")


def where(called, mask, out):
    """Which results are wanted: True, False or the View of an array of bools; NumPy judges the argument.

    It also says what it says of masks without memory for the result.
    """
    if mask is True:
        return True
    on_device = is_on_device(mask) or np.ndim(mask)
    found = called.view("where", mask) if on_device else None
    like = np.empty(0, dtype_of(found.char)) if on_device else mask
    memory = {} if out is None else {"out": np.empty(0)}
    np.positive(np.empty(0), where=like, **memory)
    return found if on_device else bool(mask)
