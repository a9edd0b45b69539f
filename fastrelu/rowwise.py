"""What the reductions do before and after the arithmetic: arguments, other libraries' arrays, layout."""

from __future__ import annotations

import numpy as np

from . import dispatch, interop
from .reference import rows as reference_rows
from .reference.rows import Rows, result_dtype

# Arguments


def fail(name, kind, argument, got, expected):
    raise kind(f"{name}: argument {argument!r} is {got}; expected {expected}")


def as_array(name, argument, value, kinds="biufc"):
    """`value` as an ndarray, without its subclass, of a dtype of one of these kinds or bfloat16."""
    if interop.is_foreign(value):
        value = interop.to_numpy(name, argument, value)
    array = np.asarray(value)
    if array.dtype.kind not in kinds and array.dtype.name != "bfloat16":
        expected = "a real or complex" if "c" in kinds else "a real"
        fail(name, TypeError, argument, f"of dtype {array.dtype}", f"{expected} dtype")
    return array


def of_list(value):
    """A list or tuple as the array that it stands for, anything else as it is."""
    return np.asarray(value) if type(value) in (list, tuple) else value


def as_axes(name, axis, ndim):
    """`axis` as a tuple of axes in ascending order."""
    if axis is None:
        return tuple(range(ndim))
    for one in axis if isinstance(axis, (tuple, list)) else (axis,):
        if isinstance(one, bool) or not hasattr(one, "__index__"):
            fail(name, TypeError, "axis", repr(axis), "None, an integer or a tuple of integers")
    axis = tuple(axis) if isinstance(axis, list) else axis
    return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(axis, ndim, f"{name}: argument 'axis'")))


def check_out(name, out, shape, dtype, argument="out"):
    """The ndarray to write to: `out` itself, or the memory of another library's array."""
    if interop.is_foreign(out):
        out = interop.to_numpy(name, argument, out)
    if not isinstance(out, np.ndarray):
        fail(name, TypeError, argument, f"a {type(out).__name__}", "an ndarray")
    if out.shape != shape:
        fail(name, ValueError, argument, f"of shape {out.shape}", f"shape {shape}")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        fail(name, TypeError, argument, f"of dtype {out.dtype}", f"one that {dtype} can be cast to")
    if not out.flags.writeable:
        fail(name, ValueError, argument, "read-only", "a writeable array")
    return out


def broadcast_shapes(name, argument, a, b):
    """The common shape of `a` and the array called `argument`."""
    try:
        return np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        fail(name, ValueError, argument, f"of shape {b.shape}", f"a shape that broadcasts with {a.shape}")


def check_dy(name, dy, shape):
    dy = as_array(name, "dy", dy, "biuf")
    if dy.shape != shape:
        fail(name, ValueError, "dy", f"of shape {dy.shape}", f"the shape of the forward result, {shape}")
    return dy


# Other kinds of arrays


def _overriders(values):
    """The arguments whose type has its own ``__array_function__``, subclasses before their bases."""
    found = []
    for value in values:
        kind = type(value)
        if (
            kind is np.ndarray
            or getattr(kind, "__array_function__", np.ndarray.__array_function__)
            is np.ndarray.__array_function__
            or any(kind is type(other) for other in found)
        ):
            continue
        before = (i for i, other in enumerate(found) if issubclass(kind, type(other)))
        found.insert(next(before, len(found)), value)
    return found


def override(function, values, args, kwargs):
    """Let arguments of other libraries compute the result (NEP 18); NotImplemented where there are none."""
    overriders = _overriders(values)
    if not overriders:
        return NotImplemented
    types = {type(v) for v in values if hasattr(type(v), "__array_function__")}
    for value in overriders:
        result = value.__array_function__(function, types, args, kwargs)
        if result is not NotImplemented:
            return result
    kinds = ", ".join(sorted(f"{t.__module__}.{t.__qualname__}" for t in types))
    raise TypeError(f"{function.__qualname__}: no implementation was found for the types {kinds}")


def unmasked(x):
    """A masked array as one whose masked entries are -inf: they add nothing to the sum."""
    return x.astype(result_dtype(x.dtype)).filled(-np.inf)


def finish(x, result, target=None, out=None):
    """What the caller gets: `result` as the kind of array that `x` is, or `out`, whose memory is `target`."""
    if target is not None:
        np.copyto(target, result, casting="same_kind")
        return out
    if interop.is_foreign(x):
        return interop.like(x, result)
    if isinstance(x, np.ndarray) and type(x) is not np.ndarray:
        return x.__array_wrap__(np.asarray(result), None, np.ndim(result) == 0)
    return result[()]


# Rows


def run(name, x, axes, per_row):
    """The function `name` of an array along `axes`: a new array; one value a row where `per_row`."""
    dtype = result_dtype(x.dtype)
    work = dtype if dtype.char in "efd" else np.dtype(np.float32) if dtype.itemsize == 2 else None
    kernel = None if work is None else dispatch.rows_kernel(name)
    if kernel is None or x.size == 0:
        return getattr(reference_rows, name)(x, axis=axes)
    result = kernel(x, axes) if x.dtype == dtype else None
    if result is not None:
        return result
    rows = Rows(x.shape, axes)
    matrix = np.require(rows.of(x), work, "CA")
    with np.errstate(all="ignore"):
        result = kernel(matrix, -1).astype(dtype, copy=False)
    return result.reshape(rows.kept_shape) if per_row else rows.whole(result)


def run_gradient(name, dy, x, axes, *, one_dy_a_row=False):
    """The gradient `name` of an array, by its kernel, in a new array; None where there is no kernel.

    `x` is what the kernel takes, the result of the softmaxes; `dy` has its shape, or one value a row.
    """
    kernel = dispatch.rows_kernel(name) if x.size and x.dtype.char in "efd" else None
    if kernel is None:
        return None
    with np.errstate(all="ignore"):
        dy = dy.astype(x.dtype, copy=False)
    result = kernel(x, axes, keepdims=dy.ndim == x.ndim, dy=dy, one_dy_a_row=one_dy_a_row)
    if result is None:
        rows = Rows(x.shape, axes)
        dy = dy.reshape(-1) if one_dy_a_row else rows.of(dy)
        matrix = np.require(rows.of(x), x.dtype.newbyteorder("="), "CA")
        dy = np.require(dy, matrix.dtype, "CA")
        result = rows.whole(kernel(matrix, -1, dy=dy, one_dy_a_row=one_dy_a_row))
    return result
