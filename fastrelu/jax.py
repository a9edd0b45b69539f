"""The functions of fastrelu for arrays of JAX, under ``jit``, ``grad`` and ``vmap``.

    import fastrelu.jax

    step = jax.jit(jax.grad(lambda w, x: fastrelu.jax.gelu(x @ w).sum()))

Every public function that has a gradient is here; it takes the arguments that it takes for arrays.  Compiled
code calls the kernels over XLA's own buffers: nothing is copied.  Gradients, in reverse and in forward mode,
are those of the ``backward`` of each function, with respect to parameters as well where they are arrays;
numbers and options are constants of the compiled code.

On a device other than the CPU XLA says that there is no such target.
"""

from __future__ import annotations

import contextlib
import functools
from types import SimpleNamespace

import numpy as np

from . import bridges
from .bridges import slopes
from .bridges.tangents import along
from .keys import NoiseKey

jax = bridges.load("jax")

from jax.custom_derivatives import SymbolicZero  # noqa: E402
from jax.extend.core import Primitive  # noqa: E402
from jax.interpreters import ad, batching, mlir  # noqa: E402

from .bridges import ffi  # noqa: E402

jnp = jax.numpy
NAMES = SimpleNamespace(  # as in PyTorch
    **{n: getattr(jnp, n) for n in ("abs", "clip", "exp", "expm1", "log1p", "sqrt", "tanh", "where")},
    **{n: getattr(jax.scipy.special, n) for n in ("erf", "logsumexp")},
    sigmoid=jax.nn.sigmoid,
)


def _alone(function):
    """Whether results depend on where in a whole batch an entry stands, or are sums over it."""
    return function.draws or "reduction" in function.takes


# What runs


class _Pass:
    """One pass of a function over arrays called `names`; `options` are the other arguments."""

    def __init__(self, function, names, options):
        self.function, self.names, self.options = function, names, options
        self.vmap_method = "sequential" if _alone(function) else "broadcast_all"
        self.compiled = jax.jit(self.__call__)

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
        """What the function answers for zeros; where it is elementwise, for none."""
        shapes = [operand.shape for operand in operands]
        shape = None
        if self.function.elementwise and not self.function.draws:
            with contextlib.suppress(ValueError):  # the function says it better
                shape, shapes = np.broadcast_shapes(*shapes), [(0,)] * len(shapes)
        zeros = [np.zeros(s, o.dtype) for s, o in zip(shapes, operands, strict=True)]
        answer = self.function.forward(self.given(zeros))
        return [jax.ShapeDtypeStruct(np.shape(answer) if shape is None else shape, answer.dtype)]

    def run(self, inputs, outputs):
        self.function.forward(self.given(inputs), out=outputs[0])


class _Linear(_Pass):
    """A pass that is linear in its first `count` operands; the others are the result alone of the arrays if
    `from_y`, or the arrays, of the forward pass.  `transposed` is the one whose matrix is the transposed."""

    def __init__(self, function, names, options, wanted, from_y):
        super().__init__(function, names, options)
        self.wanted, self.from_y = wanted, from_y

    def arguments(self, kept):
        """The arguments of the forward pass, and its result if that is what was kept."""
        values = self.given(kept)
        return (values, values.pop(self.names[0])) if self.from_y else (values, None)

    def bent(self, operands, moved):
        """The derivative along `moved`, directions of what was kept; None where it is 0."""
        if self.function.piecewise_linear and self.wanted == ("x",):
            return None
        values = self.options | dict(zip(self.names, kept := operands[self.count :], strict=True))
        others_stay = all(isinstance(t, ad.Zero) for t in moved[1:])
        if others_stay and slopes.known(self.function, values, self.wanted, self.from_y):
            return jax.jvp(lambda first: self.plain(operands[0], first, values), kept[:1], moved[:1])[1]
        raise NotImplementedError(
            f"fastrelu.jax.{self.function.name}: the second derivative with respect to "
            f"{' and '.join(self.wanted)} is not known; expected one derivative, or a function of jax.nn "
            "where there are two"
        )


class _Tangent(_Linear):
    """Operands: a direction for each array of `wanted`, and what was kept."""

    def __init__(self, *about):
        super().__init__(*about)
        self.count = len(self.wanted)
        self.transposed = _Backward(*about)
        self.transposed.transposed = self
        self.forward = _Forward(self.function, self.names, self.options)

    def shapes(self, *operands):
        kept = operands[self.count :]
        if self.from_y:
            return [jax.ShapeDtypeStruct(kept[0].shape, kept[0].dtype)]
        return self.forward.shapes(*kept)

    def run(self, inputs, outputs):
        values, y = self.arguments(inputs[self.count :])
        moved = dict(zip(self.wanted, inputs, strict=False))
        outputs[0][...] = self.function.tangent(moved, values, outputs[0].shape, y)

    def plain(self, moved, kept, values):
        """The pass in functions of JAX."""
        (like,) = self.shapes(moved, *(values[name] for name in self.names))
        backward = functools.partial(self.transposed.plain, kept=kept, values=values)
        return jax.linear_transpose(lambda dy: backward(dy)[0], like)(moved)


class _Backward(_Linear):
    """Operands: dy, and what was kept."""

    count = 1

    def shapes(self, dy, *kept):
        of = dict(zip(self.names, kept, strict=True))
        return [jax.ShapeDtypeStruct(of[name].shape, of[name].dtype) for name in self.wanted]

    def run(self, inputs, outputs):
        dy, *kept = inputs
        values, y = self.arguments(kept)
        made = self.function.backward(dy, values, self.wanted, y, outputs[0])
        for target, gradient in zip(outputs, made, strict=True):
            if gradient is not target:
                target[...] = gradient

    def plain(self, dy, kept, values):
        """The pass in functions of JAX."""
        return (slopes.gradient(NAMES, self.function, dy, kept, values),)


# Differentiation


@functools.cache
def _differentiable(function, names, options):
    """A function of arrays called `names`, with derivatives with respect to those of `function.arrays`."""
    forward = _Forward(function, names, dict(options))

    @jax.custom_jvp
    def call(*operands):
        return forward(*operands)[0]

    @functools.partial(call.defjvp, symbolic_zeros=True)
    def _(operands, directions):
        moved = {
            name: direction
            for name, direction in zip(names, directions, strict=True)
            if not isinstance(direction, SymbolicZero)
        }
        function.check(moved)
        y = call(*operands)
        pass_ = _tangent(function, names, options, tuple(moved))
        kept = (y, *operands[1:]) if pass_.from_y else operands
        return y, linear.bind(*moved.values(), *kept, pass_=pass_)[0]

    return jax.jit(call)


@functools.cache
def _tangent(function, names, options, wanted):
    from_y = function.needs_only_y(dict(options) | dict.fromkeys(names), wanted)
    return _Tangent(function, names, dict(options), wanted, from_y)


# The passes of forward and of reverse mode, as an operation of JAX that it can transpose.
linear = Primitive("fastrelu")
linear.multiple_results = True


@linear.def_impl
def _(*operands, pass_):
    return pass_.compiled(*operands)


@linear.def_abstract_eval
def _(*operands, pass_):
    return [jax.core.ShapedArray(s.shape, s.dtype) for s in pass_.shapes(*operands)]


def _lowered(*operands, pass_):
    return pass_(*operands)


def _along(operands, directions, *, pass_):
    made = linear.bind(*operands, pass_=pass_)
    parts = []
    if any(not isinstance(t, ad.Zero) for t in directions[: pass_.count]):
        inner = map(ad.instantiate_zeros, directions[: pass_.count])
        parts.append(linear.bind(*inner, *operands[pass_.count :], pass_=pass_))
    if any(not isinstance(t, ad.Zero) for t in directions[pass_.count :]):
        bent = pass_.bent(operands, directions[pass_.count :])
        if bent is not None:
            parts.append(bent)
    if not parts:
        return made, [jnp.zeros_like(m) for m in made]
    return made, [sum(p[1:], p[0]) for p in zip(*parts, strict=True)]


def _transposed(cotangents, *operands, pass_):
    kept = operands[pass_.count :]
    if all(isinstance(c, ad.Zero) for c in cotangents):
        return [c if ad.is_undefined_primal(c) else None for c in operands]
    made = linear.bind(*map(ad.instantiate_zeros, cotangents), *kept, pass_=pass_.transposed)
    unknown = map(ad.is_undefined_primal, operands)
    return [m if u else None for m, u in zip((*made, *kept), unknown, strict=True)]


def _mapped(operands, axes, *, pass_):
    """Entries of a batch one by one where they are not alike, else with one axis more before all others."""
    operands = [o if a is None else jnp.moveaxis(o, a, 0) for o, a in zip(operands, axes, strict=True)]
    if pass_.vmap_method == "sequential":

        def one(moved):
            rest = iter(moved)
            entries = [o if a is None else next(rest) for o, a in zip(operands, axes, strict=True)]
            return linear.bind(*entries, pass_=pass_)

        made = jax.lax.map(one, [o for o, a in zip(operands, axes, strict=True) if a is not None])
    else:
        (size,) = {len(o) for o, a in zip(operands, axes, strict=True) if a is not None}
        whole = [
            o if a is not None else jnp.broadcast_to(o, (size, *o.shape))
            for o, a in zip(operands, axes, strict=True)
        ]
        made = linear.bind(*whole, pass_=pass_)
    return made, [0] * len(made)


mlir.register_lowering(linear, mlir.lower_fun(_lowered, multiple_results=True))
ad.primitive_jvps[linear] = _along
ad.primitive_transposes[linear] = _transposed
batching.primitive_batchers[linear] = _mapped


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
    return _differentiable(function, tuple(operands), tuple(sorted(options.items())))(*operands.values())


def _is_array(value, may_be_a_list):
    return isinstance(value, (jax.Array, np.ndarray)) or (may_be_a_list and isinstance(value, (list, float)))


def _align(function, x, operands, options):
    """Make every operand's trailing axes those of `x`, so that axes which ``vmap`` adds come before them."""
    if function.elementwise:
        axis = options.pop("axis", function.row.channel_axis)
        for name in (n for n in function.arrays[1:] if n in operands):
            value = operands[name].astype(x.dtype)
            if axis is not None and value.ndim == 1 and value.size > 1:
                value = value.reshape(along(value.size, axis, x.shape))
            operands[name] = value.reshape((1,) * (x.ndim - value.ndim) + value.shape)
        with contextlib.suppress(ValueError):  # the function says it better
            shape = np.broadcast_shapes(*(operands[n].shape for n in function.arrays if n in operands))
            operands["x"] = jnp.broadcast_to(x, shape)
        return
    shape = jnp.broadcast_shapes(*(operand.shape for operand in operands.values()))
    for name, operand in operands.items():
        operands[name] = jnp.broadcast_to(operand, shape).astype(x.dtype)
    if "axis" in function.takes:
        axis = options.get("axis", function.takes["axis"])
        axes = range(x.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
        axes = tuple(a - x.ndim if 0 <= a < x.ndim else a for a in axes)
        options["axis"] = axes[0] if isinstance(axis, int) else axes


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


@bridges.of_activation
def function_of(activation):
    """A function of arrays of JAX, with derivatives, from what has a ``backward``.

    >>> import jax.numpy as jnp, fastrelu.jax as frj
    >>> frj.function_of(fr.relu)(jnp.array([-1.0, 2.0]))
    Array([0., 2.], dtype=float32)
    """
    return _function(bridges.Differentiable(activation), activation.__name__)


_MADE = {name: _function(function, name) for name, function in bridges.functions().items()}
globals().update(_MADE)
__all__ = [*_MADE, "function_of"]
