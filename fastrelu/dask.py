"""The functions of fastrelu for arrays of Dask: graphs that call the kernels chunk by chunk.

    import fastrelu.dask

    y = fastrelu.dask.gelu(x)                                    # an array of Dask; nothing is computed
    dx = fastrelu.dask.gelu.backward(dy, x)
    p = fastrelu.dask.softmax(x, axis=1)                         # the axis may have many chunks

Elementwise functions and those of two arrays take the arguments that they take for NumPy's arrays, and
arrays of NumPy are taken as well.  Sums over chunked axes are merged by `fastrelu.LogSumExp`, so no axis is
gathered in one chunk, and results are as accurate as those of one array.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np

from . import bridges
from .bridges import slopes
from .bridges.tangents import along
from .streaming import LogSumExp

bridges.load("dask")

import dask.array as da  # noqa: E402
from dask.array.core import elemwise  # noqa: E402

ROWWISE = "logsumexp", "logsumexp0", "softmax", "softmax0", "log_softmax"


def _arrays(values):
    """What has axes as arrays of Dask, numbers and options as they are."""
    return {
        name: da.asarray(value) if np.ndim(value) or isinstance(value, da.Array) else value
        for name, value in values.items()
    }


def _blockwise(function, names, values, rest, dtype):
    """`function` of arrays and numbers called `names` and of `rest`, chunk by chunk."""

    def on_chunk(*arrays):
        return function(dict(zip(names, arrays, strict=True)) | rest)

    on_chunk.__name__ = getattr(function, "__name__", "fastrelu")
    return elemwise(on_chunk, *values, dtype=dtype)


class _Function:
    """A function of arrays of Dask, and its `backward`."""

    def __init__(self, made, name):
        self.made, self.__name__, self.__qualname__ = made, name, name
        self.__signature__ = made.signature()
        self.__doc__ = (
            f"`fastrelu.{made.name}` of an array of Dask.\n\n"
            "Takes what that takes and returns an array of Dask; its docstring says the rest."
        )

    def __repr__(self):
        return f"<fastrelu.dask.{self.__name__}>"

    def _given(self, args, keywords):
        made = self.made
        given = made.named(args, keywords)
        for name in made.positional:
            if given.get(name) is None:
                raise TypeError(f"fastrelu.dask.{made.name}: argument {name!r} is missing; expected an array")
        return given


class _Elementwise(_Function):
    def __call__(self, *args, **keywords):
        made = self.made
        arrays, rest = self._parts(self._given(args, keywords))
        dtype = made.forward({n: np.zeros((0,), v.dtype) for n, v in arrays.items()} | rest).dtype
        return _blockwise(made.forward, tuple(arrays), arrays.values(), rest, dtype)

    def _parts(self, given):
        """Arrays of Dask, of which channels are laid along their axis, and other arguments."""
        values = _arrays(given)
        arrays = {name: value for name, value in values.items() if isinstance(value, da.Array)}
        rest = bridges.without(values, arrays)
        first, row = self.made.positional[0], self.made.row
        arrays[first] = x = da.asarray(values[first])
        rest.pop(first, None)
        axis = rest.pop("axis", row.channel_axis) if row else None
        for name in arrays:
            if axis is not None and arrays[name].ndim == 1 and x.ndim > 1:
                arrays[name] = arrays[name].reshape(along(arrays[name].size, axis, x.shape))
        return arrays, rest

    def backward(self, dy, *args, wrt=None, y=None, **keywords):
        """The gradients of the call; of `x` from the result `y` where `fastrelu` can do so, too.

        Those of parameters are summed over the axes along which they were broadcast.
        """
        made = self.made
        if y is not None:
            args = (y, *args)
        given = self._given(args, keywords)
        arrays, rest = self._parts(given)
        learned = (p.name for p in made.row.parameters if p.learned) if made.row else made.positional[1:]
        wanted = (made.positional[0], *learned) if wrt is None else (wrt,) if isinstance(wrt, str) else wrt
        arrays |= {name: rest.pop(name) for name in wanted if name in rest}
        arrays["dy"] = da.asarray(dy)
        gradients = []
        for name in wanted:
            run = functools.partial(_gradient, made, name, y is not None)
            dtype = getattr(arrays[name], "dtype", arrays["dy"].dtype)
            whole = _blockwise(run, tuple(arrays), arrays.values(), rest, dtype)
            gradients.append(_sum_to(whole, np.shape(arrays[name])).reshape(np.shape(given[name])))
        return gradients[0] if len(wanted) == 1 else tuple(gradients)


def _gradient(made, name, from_y, given):
    """Of one chunk, without sums: parameters are broadcast first."""
    dy = given.pop("dy")
    first = made.positional[0]
    if name != first:
        given[first], given[name] = (a.copy() for a in np.broadcast_arrays(given[first], given[name]))
    y = given.pop(first) if from_y else None
    return made.backward(dy, given, (name,), y)[0]


def _sum_to(array, shape):
    axes = tuple(
        a
        for a in range(array.ndim)
        if a < array.ndim - len(shape) or (shape[a - array.ndim] == 1 and array.shape[a] != 1)
    )
    if not axes:
        return array
    wide = np.result_type(array.dtype, float)
    return array.sum(axes, keepdims=True, dtype=wide).astype(array.dtype).reshape(shape)


# Sums over axes


def _wide(dtype):
    """In which shifted entries and the log of their sum are kept."""
    return np.dtype(np.float64 if dtype.itemsize <= 4 else np.longdouble)


def _state(x, weights=None, *, axis, keepdims, dtype):
    state = LogSumExp(axis=axis, dtype=dtype)
    state.update(x, weights)
    return state


def _merged(states, axis, keepdims):
    while isinstance(states, list) and len(states) == 1:
        (states,) = states
    total, left = None, [states]
    while left:
        state = left.pop()
        if isinstance(state, list):
            left.extend(reversed(state))
        elif total is None:
            total = LogSumExp(axis=state.axis, dtype=state.dtype)
            total.merge(state)
        else:
            total.merge(state)
    return total


def _result(states, axis, keepdims):
    made = np.asarray(_merged(states, axis, keepdims).result())
    return np.expand_dims(made, axis) if keepdims else made


def _logsumexp(x, axis, weights, keepdims, dtype):
    return da.reduction(
        x,
        chunk=functools.partial(_state, dtype=dtype),
        combine=_merged,
        aggregate=_result,
        axis=axis,
        keepdims=keepdims,
        concatenate=False,
        dtype=dtype,
        meta=np.empty((0,) * (x.ndim if keepdims else x.ndim - len(axis)), dtype),
        weights=weights,
    )


def _shifted(x, m):
    """x - m in a wider dtype; where m is infinite, 0 at the entries that are and -inf elsewhere."""
    wide = _wide(x.dtype)
    with np.errstate(invalid="ignore"):
        made = x.astype(wide) - m.astype(wide)
        return np.where(m == np.inf, np.where(x == np.inf, 0, -np.inf), made)


def _with_an_entry(total, entry):
    with np.errstate(invalid="ignore"):
        return np.logaddexp(total, entry)


def _finished(x, m, total, exponential):
    with np.errstate(invalid="ignore", under="ignore"):
        made = _shifted(x, m) - np.where((m == np.inf) & (total > 0), np.nan, total)
        return (np.exp(made) if exponential else made).astype(x.dtype)


class _Rowwise(_Function):
    def __call__(self, *args, **keywords):
        given = self.made.takes | self._given(args, keywords)
        x = da.asarray(given[self.made.positional[0]])
        if x.dtype.kind != "f" and x.dtype.name != "bfloat16":
            x = x.astype(float)
        axis, name = given["axis"], self.made.name
        axes = tuple(range(x.ndim)) if axis is None else tuple(np.atleast_1d(axis))
        axes = tuple(int(a) for a in np.lib.array_utils.normalize_axis_tuple(axes, x.ndim, "axis"))
        if name.startswith("logsumexp"):
            weights = given["b"]
            if weights is not None:
                weights = da.broadcast_to(da.asarray(weights), x.shape).rechunk(x.chunks)
            if name == "logsumexp":
                return _logsumexp(x, axes, weights, given["keepdims"], x.dtype)
            made = _logsumexp(x, axes, weights, given["keepdims"], _wide(x.dtype))
            return elemwise(_with_an_entry, made, 0, dtype=made.dtype).astype(x.dtype)
        largest = x.max(axes, keepdims=True)
        if name == "softmax0":
            largest = da.maximum(largest, 0)
        shifted = elemwise(_shifted, x, largest, dtype=_wide(x.dtype))
        total = _logsumexp(shifted, axes, None, True, shifted.dtype)
        if name == "softmax0":
            total = elemwise(_with_an_entry, total, -largest.astype(shifted.dtype), dtype=shifted.dtype)
        finished = functools.partial(_finished, exponential=name != "log_softmax")
        return elemwise(finished, x, largest, total, dtype=x.dtype)

    def backward(self, dy, *args, y=None, **keywords):
        """The gradient of the call, from its argument, or of softmax and log_softmax from the result `y`."""
        made, dy = self.made, da.asarray(dy)
        given = self._given(args if y is None else (y, *args), keywords)
        if given.get("b") is not None:
            raise NotImplementedError(
                f"fastrelu.dask.{made.name}.backward: argument 'b' is given; expected None: the gradient of "
                "weighted sums is not known"
            )
        kept = given.pop(made.positional[0])
        if y is None and made.name not in slopes.ROWS_OF_X:
            kept = self(kept, **given)
        return slopes.gradient(NAMES, made, dy, da.asarray(kept), given)


def _of_names(a, axis, keepdims):
    return _MADE["logsumexp"](a, axis=axis, keepdims=keepdims)


NAMES = SimpleNamespace(exp=da.exp, log1p=da.log1p, where=da.where, logsumexp=_of_names)
OF_ARRAYS = "logaddexp", "glu", "reglu", "geglu", "swiglu"


def _everything():
    made = {}
    for name, function in bridges.functions().items():
        if name in ROWWISE:
            made[name] = _Rowwise(function, name)
        elif name in OF_ARRAYS or (function.elementwise and not function.draws):
            made[name] = _Elementwise(function, name)
    return made


_MADE = _everything()
globals().update(_MADE)
__all__ = [*_MADE]
