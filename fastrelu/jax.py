"""The functions of fastrelu for arrays of JAX, under ``jit``, ``grad`` and ``vmap``.

    import fastrelu.jax

    step = jax.jit(jax.grad(lambda w, x: fastrelu.jax.gelu(x @ w).sum()))

Every public function that has a gradient is here; it takes the arguments that it takes for arrays.  Compiled
code calls the kernels over XLA's own buffers: nothing is copied.  Gradients are those of the ``backward`` of
each function, with respect to parameters as well where they are arrays; numbers and options are constants of
the compiled code.  Second derivatives exist, in reverse mode, for functions made of straight pieces.

On a device other than the CPU XLA says that there is no such target.
"""

from __future__ import annotations

import contextlib
import functools

import numpy as np

from . import bridges
from .keys import NoiseKey

jax = bridges.load("jax")

from . import ffi  # noqa: E402

jnp = jax.numpy


def _alone(function):
    """Whether results depend on where in a whole batch an entry stands, or are sums over it."""
    return function.draws or "reduction" in function.takes


# What runs


class _Pass:
    """One pass of a function over arrays called `names`; `options` are the other arguments."""

    def __init__(self, function, names, options):
        self.function, self.names, self.options = function, names, options
        self.vmap_method = "sequential" if _alone(function) else "broadcast_all"

    @functools.cached_property
    def number(self):
        return np.int64(ffi.number(self.run))

    def given(self, arrays):
        values = self.options | dict(zip(self.names, arrays, strict=True))
        if isinstance(values.get("key"), np.ndarray):
            high, low = values["key"].ravel()[-2:]
            values["key"] = NoiseKey(int(high) << 32 | int(low))
        return values

    def __call__(self, *operands):
        target = jax.ffi.ffi_call(ffi.TARGET, self.shapes(*operands), vmap_method=self.vmap_method)
        return tuple(target(*operands, number=self.number))


class _Forward(_Pass):
    def shapes(self, *operands):
        """What the function answers for zeros; where it is elementwise, for few of them."""
        shapes = [operand.shape for operand in operands]
        shape = None
        if self.function.elementwise and not self.function.draws:
            with contextlib.suppress(ValueError):  # the function says it better
                shape, shapes = np.broadcast_shapes(*shapes), [()] * len(shapes)
        zeros = [np.zeros(s, o.dtype) for s, o in zip(shapes, operands, strict=True)]
        answer = self.function.forward(self.given(zeros))
        return [jax.ShapeDtypeStruct(np.shape(answer) if shape is None else shape, answer.dtype)]

    def run(self, inputs, outputs):
        self.function.forward(self.given(inputs), out=outputs[0])


class _Backward(_Pass):
    """Operands: dy, then the result alone if `from_y`, or the arrays of the forward pass."""

    def __init__(self, function, names, options, wanted, from_y):
        super().__init__(function, names, options)
        self.wanted, self.from_y = wanted, from_y

    def shapes(self, dy, *operands):
        of = dict(zip(self.names, operands, strict=True))
        return [jax.ShapeDtypeStruct(of[name].shape, of[name].dtype) for name in self.wanted]

    def run(self, inputs, outputs):
        dy, *inputs = inputs
        values, y = self.given(inputs), None
        if self.from_y:
            y = values.pop(self.names[0])
        if len(outputs) == 1:
            self.function.backward(dy, values, self.wanted, y, outputs[0])
            return
        for target, gradient in zip(outputs, self.function.backward(dy, values, self.wanted, y), strict=True):
            target[...] = gradient


# Differentiation


@functools.cache
def _differentiable(function, names, options, wanted):
    """A function of arrays called `names`, differentiable with respect to those of `wanted`."""
    forward = _Forward(function, names, dict(options))
    from_y = function.needs_only_y(dict(options), wanted)
    gradient = _gradient(function, names, options, wanted, from_y)

    @jax.custom_vjp
    def call(*operands):
        return forward(*operands)[0]

    def keep(*operands):
        y = call(*operands)
        return y, ((y, *operands[1:]) if from_y else operands)

    def backward(kept, dy):
        made = dict(zip(wanted, gradient(dy, *kept), strict=True))
        return tuple(made.get(name) for name in names)

    call.defvjp(keep, backward)
    return jax.jit(call)


def _gradient(function, names, options, wanted, from_y):
    """The backward pass, to be differentiated again where that is known."""
    run = _Backward(function, names, dict(options), wanted, from_y)

    @jax.custom_vjp
    def gradient(*operands):
        return run(*operands)

    def keep(dy, *operands):
        return gradient(dy, *operands), operands

    def backward(operands, ddx):
        if not (function.piecewise_linear and wanted == ("x",)):
            raise NotImplementedError(
                f"fastrelu.jax.{function.name}: the second derivative with respect to "
                f"{' and '.join(wanted)} is not known; expected one derivative, or a function of jax.nn "
                "where there are two"
            )
        # dy enters linearly, and the slope does not change with x
        return *gradient(*ddx, *operands), *(None for _ in operands)

    gradient.defvjp(keep, backward)
    return gradient


def _constant(name, argument, value):
    """`value`, with an error where it is differentiated."""

    @jax.custom_jvp
    def same(value):
        return value

    @same.defjvp
    def _(primals, tangents):
        raise TypeError(
            f"fastrelu.jax.{name}: argument {argument!r} is differentiated, but has no gradient; expected "
            "one that jax.lax.stop_gradient was applied to"
        )

    return same(value)


# Arguments


def _call(function, args, keywords):
    given = function.named(args, keywords)
    first = function.positional[0]
    if first not in given:
        raise TypeError(f"fastrelu.jax.{function.name}: argument {first!r} is missing")
    operands = {
        name: _key_data(value) if name == "key" else jnp.asarray(value)
        for name, value in given.items()
        if name == first or _is_array(value, name in function.positional)
    }
    options = {name: value for name, value in given.items() if name not in operands}
    x = operands[first]
    if not (jnp.issubdtype(x.dtype, jnp.floating) or (function.row and function.row.keeps_integers)):
        x = operands[first] = x.astype(float)
    if not _alone(function):
        _align(function, x, operands, options)
    wanted = tuple(name for name in operands if name in function.arrays)
    for name in operands:
        if name not in wanted and jnp.issubdtype(operands[name].dtype, jnp.floating):
            operands[name] = _constant(function.name, name, operands[name])
    made = _differentiable(function, tuple(operands), tuple(sorted(options.items())), wanted)
    return made(*operands.values())


def _is_array(value, may_be_a_list):
    return isinstance(value, (jax.Array, np.ndarray)) or (may_be_a_list and isinstance(value, (list, float)))


def _align(function, x, operands, options):
    """Make every operand's trailing axes those of `x`, so that axes which ``vmap`` adds come before them."""
    if function.elementwise:
        axis = options.pop("axis", function.row.channel_axis)
        for name in (n for n in function.arrays[1:] if n in operands):
            value = operands[name].astype(x.dtype)
            if axis is not None and value.ndim == 1 and value.size > 1:
                value = value.reshape(_along(value.size, axis, x.shape))
            operands[name] = value.reshape((1,) * (x.ndim - value.ndim) + value.shape)
        return
    shape = jnp.broadcast_shapes(*(operand.shape for operand in operands.values()))
    for name, operand in operands.items():
        operands[name] = jnp.broadcast_to(operand, shape).astype(x.dtype)
    if "axis" in function.takes:
        axis = options.get("axis", function.takes["axis"])
        axes = range(x.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
        axes = tuple(a - x.ndim if 0 <= a < x.ndim else a for a in axes)
        options["axis"] = axes[0] if isinstance(axis, int) else axes


def _along(size, axis, shape):
    """The shape in which one value per channel broadcasts along `axis`, or along the last where it must."""
    if len(shape) < 2 or shape[axis] != size:
        axis = -1
    return tuple(size if a == axis % len(shape) else 1 for a in range(len(shape)))


def _key_data(key):
    """The two words of one of JAX's keys."""
    return jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key


def _function(made, name):
    def function(*args, **keywords):
        return _call(made, args, keywords)

    function.__name__ = function.__qualname__ = name
    function.__signature__ = made.signature()
    function.__doc__ = (
        f"`fastrelu.{made.name}` of arrays of JAX, under jit, grad and vmap.\n\n"
        "Takes what that takes and returns an array of JAX; its docstring says the rest."
        + ("\n`key` may be one of ``jax.random``, too." if made.draws else "")
    )
    return function


def function_of(activation):
    """A function of arrays of JAX, under jit, grad and vmap, from what has a ``backward``.

    Parameters
    ----------
    activation : Activation
        Such as one made by `fastrelu.activation`.

    Returns
    -------
    function

    Examples
    --------
    >>> import jax.numpy as jnp, fastrelu.jax as frj
    >>> frj.function_of(fr.relu)(jnp.array([-1.0, 2.0]))
    Array([0., 2.], dtype=float32)
    """
    return _function(bridges.Differentiable(activation), activation.__name__)


_MADE = {name: _function(function, name) for name, function in bridges.functions().items()}
globals().update(_MADE)
__all__ = [*_MADE, "function_of"]
