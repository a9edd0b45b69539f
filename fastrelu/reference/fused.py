"""The reference twin of `bias_act` and `activity`: the same in whole arrays, one operation after another.

    z = x + bias
    y = residual + kept * f(z) / (1 - rate)        kept is 1 where a draw u is at least the rate, else 0
    dx = kept * dy / (1 - rate) * f'(z)
    dbias = sum of dx over all but the channels

Each line is rounded in the dtype of the computation, that of x or, for 16 bits, float32; sums are wider.
"""

from __future__ import annotations

import numpy as np

from .. import dispatch

__all__ = ["forward", "gradients", "settled", "tally"]


def settled(tallies, dtype):
    """The sums of the first two rows, rounded to `dtype`; beside an infinity the low part is NaN."""
    high, low = tallies[:2].astype(np.promote_types(dtype, np.float64), copy=False)
    with np.errstate(all="ignore"):
        total = high + low
        return np.where(np.isnan(total), high, total).astype(dtype, copy=False)


def tally(y, tallies, axis):
    """Into three rows, for each channel: the sum of `y` as two numbers, and how many are positive or NaN."""
    others = tuple(a for a in range(y.ndim) if a != axis)
    with np.errstate(all="ignore"):
        total = y.sum(axis=others, dtype=np.longdouble)
        tallies[0] = total
        rest = total - tallies[0]
    tallies[1] = np.where(np.isfinite(total), rest, 0)
    tallies[2] = (~(y <= 0)).sum(axis=others)


def _along(layer, values):
    """A value for each channel, as an array that broadcasts."""
    if values.shape != (layer.channels,) or layer.channels == 1:
        return values
    return values.reshape([-1 if a == layer.axis else 1 for a in range(len(layer.shape))])


def _arguments(layer):
    """The keywords of the activation; a random one takes its own, and the key."""
    if layer.cast is None:
        return layer.parameters | ({"key": layer.key} if layer.parameters.get("training") else {})
    names = (p.name for p in layer.act.row.parameters)
    return {name: _along(layer, value) for name, value in zip(names, layer.cast, strict=True)}


def _shifted(layer, x, bias):
    with np.errstate(all="ignore"):
        return x.astype(layer.work) + _along(layer, bias.astype(layer.work))


def _dropped(layer, values):
    if layer.dropout is None:
        return values
    key, limit, factor = layer.dropout
    drawn = np.dtype(np.float32) if layer.work == np.float32 else np.dtype(np.float64)
    draws = dispatch.draws("uniform", key, 0, values.size, drawn).reshape(values.shape)
    with np.errstate(all="ignore"):
        return np.where(draws >= drawn.type(limit), values * layer.work.type(factor), layer.work.type(0))


def forward(layer, x, bias, residual, tallies):
    """The result of `bias_act`, in the dtype of `x`; `tallies`, if not None, are filled in."""
    y = layer.act(_shifted(layer, x, bias), **_arguments(layer))
    if tallies is not None:
        tally(y, tallies, layer.axis)
    y = _dropped(layer, y)
    with np.errstate(all="ignore"):
        y = y if residual is None else y + residual.astype(layer.work)
        return y.astype(layer.dtype, copy=False)


def gradients(layer, dy, source, bias, from_y):
    """dx, its tallies, and the gradient of a learned parameter; `source` is x, or y."""
    dy = _dropped(layer, dy.astype(layer.work))
    if from_y:
        y = source.astype(layer.work) * layer.work.type(1 - layer.rate)
        made = layer.act.backward(dy, y=y, **_arguments(layer))
    else:
        made = layer.act.backward(dy, _shifted(layer, source, bias), **_arguments(layer))
    dx, *learned = made if isinstance(made, tuple) else (made,)
    tallies = np.zeros((3, layer.channels))
    tally(dx, tallies, layer.axis)
    with np.errstate(all="ignore"):
        dx = dx.astype(layer.dtype, copy=False)
    return [dx, tallies, *_per_channel(layer, learned)]


def _per_channel(layer, learned):
    """In the shape and dtype in which the parameters were given, or are read."""
    shapes = [np.shape(layer.parameters[p.name]) for p in layer.act.row.parameters if p.learned]
    return [np.asarray(g).reshape(s).astype(layer.dtype) for g, s in zip(learned, shapes, strict=True)]
