"""Forward mode for the bridges: how a result moves when the arguments do, by the functions' backward passes.

Where an entry of the arguments has a part in one entry of the result only, gradients for dy = 1 are the whole
Jacobian.  That is so for all functions but `softmax`, whose Jacobian is symmetric, and `log_softmax`.
"""

from __future__ import annotations

import numpy as np

__all__ = ["along", "tangent"]


def tangent(function, moved, given, shape, y=None):
    """The derivative of a result along the directions `moved`.

    Parameters
    ----------
    function : fastrelu.bridges.Differentiable
    moved : dict
        Arrays by the names of the arguments that they are directions of.
    given : dict
        The arguments of the call; without the first one where there is `y`.
    shape : tuple of int
        That of the result.
    y : array, optional
        The result, instead of the first argument.

    Returns
    -------
    array
    """
    if function.elementwise:
        return _elementwise(function, moved, given, shape, y)
    given = {name: value for name, value in function.takes.items() if name not in function.positional} | given
    return OF_ROWS.get(function.name, _in_pairs)(function, moved, given, shape, y)


def along(size, axis, shape):
    """The shape in which one value per channel broadcasts along `axis`, or along the last where it must."""
    if len(shape) < 2 or shape[axis] != size:
        axis = -1
    return tuple(size if a == axis % len(shape) else 1 for a in range(len(shape)))


def _expanded(array, shape):
    return array.expand(shape) if hasattr(array, "expand") else np.broadcast_to(array, shape)


def _ones(like, shape):
    return like.new_ones(shape) if hasattr(like, "new_ones") else np.ones(shape, like.dtype)


def _elementwise(function, moved, given, shape, y):
    axis = given.get("axis", function.row.channel_axis)

    def full(name, array):
        if name != "x" and axis is not None and array.ndim == 1 and array.shape[0] > 1:
            array = array.reshape(along(array.shape[0], axis, shape))
        return _expanded(array, shape)

    given = given | {name: full(name, given[name]) for name in {"x", *moved} if name in given}
    parts = [function.backward(full(name, t), given, (name,), y)[0] for name, t in moved.items()]
    return sum(parts[1:], parts[0])


def _products(function, moved, given, shape):
    """What each entry of the arguments adds to the result."""
    wanted = tuple(moved)
    slopes = function.backward(_ones(next(iter(moved.values())), shape), given, wanted)
    return sum(slope * moved[name] for name, slope in zip(wanted, slopes, strict=True))


def _in_pairs(function, moved, given, shape, y):
    """Of two arrays, or of the halves of one."""
    first, second = function.positional
    if given.get(second) is not None:
        given = given | {name: _expanded(given[name], shape) for name in (first, second)}
        moved = {name: _expanded(t, shape) for name, t in moved.items()}
        return _products(function, moved, given, shape)
    made, axis = _products(function, moved, given, shape), given["axis"]
    return made.reshape(_split(made.shape, axis, 2)).sum(axis % made.ndim)


def _split(shape, axis, parts):
    """The shape in which `axis` is two: `parts`, and their length."""
    axis %= len(shape)
    return (*shape[:axis], parts, shape[axis] // parts, *shape[axis + 1 :])


def _sums(function, moved, given, shape, y):
    (first,) = function.positional
    if given["b"] is not None:
        whole = np.broadcast_shapes(given[first].shape, np.shape(given["b"]))
        given = given | {first: _expanded(given[first], whole)}
        moved = {first: _expanded(moved[first], whole)}
    products = _products(function, moved, given, shape)
    return products.sum(given["axis"], keepdims=given["keepdims"])


def _loss(function, moved, given, shape, y):
    products = _products(function, moved, given, shape)
    return products.sum(given["axis"]) if given["reduction"] == "none" else products.sum()


def _maxout(function, moved, given, shape, y):
    made, axis, pieces = _products(function, moved, given, shape), given["axis"], given["pieces"]
    axis %= made.ndim
    return made.reshape(_split(made.shape, axis, made.shape[axis] // pieces)).sum(axis + 1)


def _softmax(function, moved, given, shape, y):
    return function.backward(moved["x"], given, ("x",), y)[0]


def _log_softmax(function, moved, given, shape, y):
    import fastrelu

    shares = fastrelu.softmax(given["x"] if y is None else y, axis=given["axis"])
    return moved["x"] - (shares * moved["x"]).sum(given["axis"], keepdims=True)


def _bias_act(function, moved, given, shape, y):
    parts = []
    if "x" in moved:
        parts.append(moved["x"])
    if "bias" in moved:
        bias = moved["bias"]
        parts.append(_expanded(bias.reshape(along(bias.shape[0], given["axis"], shape)), shape))
    made = [function.backward(sum(parts[1:], parts[0]), given, ("x",))[0]] if parts else []
    if "weight" in moved:  # the result is linear in it, with the same products on the other side
        plain = given | {"residual": None}
        weight = moved["weight"]
        made.append(
            function.forward(plain | {"weight": weight}) - function.forward(plain | {"weight": 0 * weight})
        )
    if "residual" in moved:
        made.append(moved["residual"])
    return sum(made[1:], made[0])


OF_ROWS = {
    "softmax": _softmax,
    "softmax0": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _sums,
    "logsumexp0": _sums,
    "cross_entropy": _loss,
    "maxout": _maxout,
    "bias_act": _bias_act,
}
