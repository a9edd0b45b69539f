"""`bias_act`: bias, activation, dropout and residual in one pass over memory, and their gradients in another.

Plain arrays that the compiled fast path takes never come here.  For all others, and where something is
wrong, arguments are checked here; then the compiled pass runs, or, for what it has no kernels for (random
activations, parameters of other shapes, long double, the other backends), `reference.fused` says the same in
whole arrays.
"""

from __future__ import annotations

import inspect
import itertools
import math
import numbers
from dataclasses import dataclass

import numpy as np

from . import control, dispatch
from .activation import Activation
from .activity import ActivityMonitor
from .arguments import (
    TableCallable,
    check_apart,
    computing_type,
    delivered,
    float_type,
    result_memory,
)
from .backends import cython
from .custom import CustomActivation
from .device import fused as device_fused
from .docstrings import completed
from .keys import NoiseKey
from .reference import fused as reference_fused

__all__ = ["bias_act"]

SHARED = """
act : Activation
    Built-in, or made by `activation`; its parameters are further keywords. A parameter may be a number or
    have a value for each channel.
"""
OPTIONS = """
axis : int, default -1
    The axis of the channels.
dropout : float, default 0.0
    The probability with which an element becomes 0; the others are divided by what is left of 1.
key : NoiseKey, optional
    What dropout, and a random activation, draw from, see `noise_key`; the backward pass makes the draws
    again.
"""
ERRORS = """
Raises
------
TypeError
    If an array is not real, `act` is no Activation, or an argument is unknown.
ValueError
    If the bias has another length than the axis; the message has both shapes and the axis. If another shape
    does not fit, `dropout` is not a probability, or has no key.
numpy.exceptions.AxisError
    If `axis` does not exist.
"""
FORWARD = """
Bias, activation, dropout and residual in one pass: ``residual + dropout(act(x + bias))``.

Parameters
----------
x : array_like
    Real, with at least one axis.
bias : array_like
    One value for each channel.
{shared}
{options}
residual : array_like, optional
    Added to the result; of the shape of `x`.
monitor : ActivityMonitor, optional
    Is shown ``act(x + bias)`` on the way, a unit for each channel.
out : ndarray, optional
    Where to write the result; `x` and `residual` work in place.

Returns
-------
ndarray
    Of the shape and dtype of `x`.

{errors}

Notes
-----
Each operation is rounded in the dtype of `x`, so that the result has the bits of the calls one by one;
float16 and bfloat16 are computed in float32 and rounded once. An element is kept if its draw, u of the
uniform distribution, is at least `dropout`; element i, counted in C order, has draw i of the key
(``docs/random.md``). A random activation draws from the key itself, and then dropout from ``key.fold(1)``.

References
----------
Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 15, 2014.

Examples
--------
>>> x = np.array([[-1.0, 2.0], [3.0, -4.0]])
>>> fr.bias_act(x, [0.5, 1.0], fr.relu)
array([[0. , 3. ],
       [3.5, 0. ]])
"""
BACKWARD = """
Backward pass of `bias_act`: the gradients with respect to `x` and the bias, in one pass.

Parameters
----------
dy : array_like
    Incoming gradient, of the shape of the forward result. It is the gradient with respect to the residual.
x, bias : array_like
    What the forward pass was given.
{shared}
y : array_like, optional
    The forward result without a residual, instead of `x` and `bias`, where the derivative is a function of
    it: then the forward pass may run in place.
{options}
out : ndarray or tuple, optional
    Where to write the gradient of `x`; or one array, or None, for each result. `dy` works in place.

Returns
-------
dx : ndarray
    Of the shape and dtype of `x`.
dbias : ndarray
    The sum of `dx` over all axes but that of the channels, of the dtype of the bias if that is given and
    floating, else of that of `x`.
dweight : ndarray
    Of the learned parameter, where `act` has one.

{errors}
    Also if `y` is given and the derivative is not a function of it.

Notes
-----
`dbias` is summed in double precision, for float64 in twice that, in an order that depends on the shape alone:
it has the same bits for any number of threads, and is rounded once.

Examples
--------
>>> x = np.array([[-1.0, 2.0], [3.0, -4.0]])
>>> dx, dbias = fr.bias_act.backward(np.ones((2, 2)), x, [0.5, 1.0], fr.relu)
>>> dbias
array([1., 1.])
>>> y = fr.bias_act(x, [0.5, 1.0], fr.relu, out=x)
>>> dx, dbias = fr.bias_act.backward(np.ones((2, 2)), act=fr.relu, y=y)
"""


@dataclass
class _Layer:
    """What a call says of its activation, channels and draws, checked."""

    act: Activation
    shape: tuple[int, ...]
    axis: int
    dtype: np.dtype
    work: np.dtype  # of the computation
    parameters: dict  # as given
    cast: list | None  # the same in the dtype of the computation; None of a random activation
    rate: float
    key: NoiseKey | None

    @property
    def channels(self):
        return self.shape[self.axis]

    @property
    def lengths(self):
        before, after = self.shape[: self.axis], self.shape[self.axis + 1 :]
        return math.prod(before), self.channels, math.prod(after)

    @property
    def factor(self):
        """Of what dropout keeps."""
        return 1 / (1 - self.rate) if self.rate < 1 else 0.0

    @property
    def dropout(self):
        """The key's bits, what a centred draw must reach, and the factor; None without dropout."""
        if not self.rate:
            return None
        key = self.key.fold(1) if self.act.row.draw else self.key
        return key.bits, self.rate - 0.5, self.factor

    def index(self, pass_):
        """Of the kernel for the compiled pass, or None where that cannot run this call."""
        native = self.dtype.char in "efd" or (self.dtype.name == "bfloat16" and dispatch.reads_bfloat16())
        if self.cast is None or not native or not cython.ISA:
            return None
        varying = [c for c in self.cast if c.size > 1]
        if len(varying) > 1 or any(c.shape != (self.channels,) for c in varying):
            return None
        if isinstance(self.act, CustomActivation):
            return self.act.codes[pass_].index
        backend = control.BACKEND.get()
        if backend.first_kernel is None:
            return None
        owner = self.act if pass_ == "forward" else self.act.backward
        kernel = owner.kernel if pass_ == "forward" else owner.kernels[pass_]
        if kernel.name not in cython.KERNEL_INDEX:  # stepped_sigmoid's
            return None
        if backend.first_kernel:  # one call has it compiled
            backend.elementwise(kernel)(*[np.ones(1, self.work)] * len(kernel.inputs))
        return backend.first_kernel + cython.KERNEL_INDEX[kernel.name]


class _Arranged:
    """Arrays of one shape as the compiled pass takes them: contiguous, of one dtype.

    In the order of the first of them, unless elements are numbered (for draws): then in C order.
    """

    def __init__(self, layer, first, numbered):
        self.layer = layer
        flags = first.flags
        self.turned = flags.f_contiguous and not flags.c_contiguous and not numbered
        lengths = layer.lengths
        self.lengths = lengths[::-1] if self.turned else lengths

    def of(self, array):
        if array is None:
            return None
        return np.require(array.T if self.turned else array, self.layer.dtype, ("C", "ALIGNED"))

    def target(self, out, arrays):
        """Memory for a result: that of `out` where the pass may write it, else new."""
        turned = out.T if self.turned and out is not None else out
        shape = self.layer.shape[::-1] if self.turned else self.layer.shape
        return result_memory(turned, shape, self.layer.dtype, *(a for a in arrays if a is not None))

    def result(self, target):
        return target.T if self.turned else target


class _Fused(TableCallable):
    """What both passes share."""

    def __init__(self, qualname):
        self.__name__ = qualname.rpartition(".")[2]
        self.__qualname__, self.__module__ = qualname, "fastrelu"
        self.general = self._call
        self.__signature__ = inspect.signature(self._call)
        if cython.ISA:
            backward = isinstance(self, BiasActBackward)
            cython.ufuncs.bind_around(self, Activation, NoiseKey, ActivityMonitor, backward)

    @property
    def ufunc(self):
        raise AttributeError(f"{self.__qualname__} has no ufunc: it is more than one")

    def _layer(self, x, act, axis, dropout, key, parameters):
        """The checked description of a call whose array is `x`."""
        act, position = self._activation(act, parameters), self._position("x", x.shape, axis)
        dtype = float_type(x)
        work = computing_type(dtype)
        rate = self._rate(act, dropout, key)
        cast = None
        if not act.row.draw:
            given = dict(parameters)
            matched = act._parameters((), given)
            act._no_more(given)
            cast = [act._cast_parameter(p, matched[p.name], dtype) for p in act.row.parameters]
            act._check_order(cast)
            cast = [np.ascontiguousarray(c.astype(work, copy=False)).reshape(c.shape) for c in cast]
            parameters = matched
        return _Layer(act, x.shape, position, dtype, work, parameters, cast, rate, key)

    def _activation(self, act, parameters):
        """What `act` and its option among the parameters say."""
        if not isinstance(act, Activation):
            self._fail(TypeError, "act", repr(act), "an Activation, like fastrelu.gelu")
        if act.has_option:
            act = act._chosen_variant(parameters.pop(act.row.option[0], act.row.option[1]))
        return act

    def _position(self, argument, shape, axis):
        """Which axis of an array that of the channels is."""
        if not shape:
            self._fail(ValueError, argument, "of shape ()", "at least one axis, for the channels")
        if isinstance(axis, bool) or not hasattr(axis, "__index__"):
            self._fail(TypeError, "axis", repr(axis), "an integer")
        position = axis.__index__()
        if not -len(shape) <= position < len(shape):
            raise np.exceptions.AxisError(position, len(shape), f"{self.__qualname__}: argument 'axis'")
        return position % len(shape)

    def _rate(self, act, dropout, key):
        if isinstance(dropout, (bool, np.bool)) or not isinstance(dropout, (numbers.Real, np.floating)):
            self._fail(TypeError, "dropout", repr(dropout), "a number from 0 to 1")
        rate = float(dropout)
        if not 0 <= rate <= 1:
            self._fail(ValueError, "dropout", repr(dropout), "a number from 0 to 1")
        if key is not None and not isinstance(key, NoiseKey):
            self._fail(TypeError, "key", f"a {type(key).__name__}", "one from noise_key")
        if rate and key is None:
            self._fail(ValueError, "key", None, "one from noise_key, because dropout draws")
        return rate

    def _check_monitor(self, monitor, channels):
        if monitor is not None and not isinstance(monitor, ActivityMonitor):
            self._fail(TypeError, "monitor", f"a {type(monitor).__name__}", "an ActivityMonitor")
        if monitor is not None and monitor._units not in (None, (channels,)):
            expected = f"units of shape ({channels},), one for each channel"
            self._fail(ValueError, "monitor", f"of units of shape {monitor._units}", expected)

    def _bias(self, bias, layer):
        array = self._real("bias", bias)
        if array.shape != (layer.channels,):
            self._fail(
                ValueError,
                "bias",
                f"of shape {array.shape}",
                f"shape ({layer.channels},), a value for each channel along axis {layer.axis} of x, whose "
                f"shape is {layer.shape}",
            )
        return array

    def _alike(self, argument, value, shape, of="x"):
        """A further array of the shape of x."""
        array = self._real(argument, value)
        if array.shape != shape:
            self._fail(ValueError, argument, f"of shape {array.shape}", f"that of {of}, {shape}")
        return array

    def _out(self, out, shape, dtype):
        memory = self._memory("out", out)
        if memory is not None:
            self._check_out(memory, shape, exactly=True)
            if not np.can_cast(dtype, memory.dtype, "same_kind"):
                self._fail(TypeError, "out", f"of dtype {memory.dtype}", f"a dtype that {dtype} casts to")
        return memory


def _contiguous(bias, work):
    return np.ascontiguousarray(bias.astype(work, copy=False))


class BiasActBackward(_Fused):
    """The backward pass of `bias_act`."""

    def _call(
        self,
        dy,
        x=None,
        bias=None,
        act=None,
        *,
        y=None,
        axis=-1,
        dropout=0.0,
        key=None,
        out=None,
        **parameters,
    ):
        if (x is None) == (y is None):
            got = "neither" if x is None else "both"
            raise ValueError(f"{self.__qualname__}: got {got} of x and y; expected exactly one of them")
        if device_fused.any_on_device(dy, x, bias, y, *(out if isinstance(out, tuple) else (out,))):
            return device_fused.backward(self, dy, x, bias, act, y, axis, dropout, key, out, parameters)
        name, source = ("x", x) if y is None else ("y", y)
        array = self._real(name, source)
        layer = self._layer(array, act, axis, dropout, key, parameters)
        gradient = self._alike("dy", dy, layer.shape, name)
        if y is None and bias is None:
            self._fail(ValueError, "bias", None, "what the forward pass was given, with x")
        shift = None if bias is None else self._bias(bias, layer)
        act = layer.act
        learned = [p.name for p in act.row.parameters if p.learned]
        pass_ = "backward"
        if layer.cast is not None:
            pass_ = act.backward._source(x, y, None, ["x", *learned])[0]
            if y is not None:
                act.backward._check_from_y(layer.cast)
        kept = layer.dtype
        if shift is not None and shift.dtype.kind == "f":
            kept = shift.dtype.newbyteorder("=")
        outs, memories = self._outs(out, layer, kept, learned)

        index = layer.index(pass_)
        if learned and control.BACKEND.get().first_kernel:
            index = None  # the terms of its gradient are summed by the compiled kernels only
        if index is None:
            made = reference_fused.gradients(layer, gradient, array, shift, y is not None)
        else:
            arranged = _Arranged(layer, array, layer.rate > 0)
            arrays = [arranged.of(a) for a in (array, gradient)]
            target = arranged.target(memories[0], arrays)
            tallies, of_learned = np.zeros((2, 2, layer.channels))
            cython.ufuncs.fuse(
                index,
                (*arrays, None, target),
                None if y is not None else _contiguous(shift, layer.work),
                tuple(layer.cast),
                arranged.lengths,
                1 - layer.rate if y is not None else 1.0,
                layer.dropout,
                tallies,
                layer.index(f"backward_wrt_{learned[0]}") if learned else -1,
                of_learned,
            )
            made = [arranged.result(target), tallies]
            if learned:
                made.append(self._settled_alike(of_learned, layer, learned[0]))
        made[1] = reference_fused.settled(made[1], kept)
        return tuple(map(delivered, itertools.repeat(source), outs, memories, made))

    def _settled_alike(self, tallies, layer, name):
        """The gradient of a learned parameter, in the shape in which that was given."""
        given = layer.parameters[name]
        if np.size(given) == 1:
            tallies = tallies.reshape(-1)[:2].reshape(2, 1)
        return reference_fused.settled(tallies, layer.dtype).reshape(np.shape(given))

    def _outs(self, out, layer, kept, learned):
        """`out` for each gradient, and the memory of each, which must be able to take it."""
        results = {"x": (layer.shape, layer.dtype), "bias": ((layer.channels,), kept)}
        results |= {name: (np.shape(layer.parameters[name]), layer.dtype) for name in learned}
        count = len(results)
        outs = out if isinstance(out, tuple) else (out,) + (None,) * (count - 1)
        if len(outs) != count:
            self._fail(ValueError, "out", f"a tuple of {len(outs)}", f"one array or None for each of {count}")
        memories = [self._out(o, *result) for o, result in zip(outs, results.values(), strict=True)]
        check_apart(self.__qualname__, dict(zip(results, memories, strict=True)))
        return outs, memories


class BiasAct(_Fused):
    """`bias_act`, an instance of this, and its `backward`."""

    def __init__(self):
        super().__init__("bias_act")
        self.__doc__ = completed(FORWARD, shared=SHARED, options=OPTIONS, errors=ERRORS)
        self.backward = BiasActBackward("bias_act.backward")
        self.backward.__doc__ = completed(BACKWARD, shared=SHARED, options=OPTIONS, errors=ERRORS)

    def _call(
        self,
        x,
        bias,
        act,
        *,
        axis=-1,
        dropout=0.0,
        key=None,
        residual=None,
        monitor=None,
        out=None,
        **parameters,
    ):
        if device_fused.any_on_device(x, bias, residual, out):
            return device_fused.forward(
                self, x, bias, act, axis, dropout, key, residual, monitor, out, parameters
            )
        array = self._real("x", x)
        layer = self._layer(array, act, axis, dropout, key, parameters)
        shift = self._bias(bias, layer)
        added = None if residual is None else self._alike("residual", residual, layer.shape)
        self._check_monitor(monitor, layer.channels)
        memory = self._out(out, layer.shape, layer.dtype)
        index = layer.index("forward")
        tallies = None if monitor is None else np.zeros((3, layer.channels))
        if index is None:
            result = reference_fused.forward(layer, array, shift, added, tallies)
        else:
            arranged = _Arranged(layer, array, layer.rate > 0)
            arrays = [arranged.of(a) for a in (array, added)]
            target = arranged.target(memory, arrays)
            cython.ufuncs.fuse(
                index,
                (arrays[0], None, arrays[1], target),
                _contiguous(shift, layer.work),
                tuple(layer.cast),
                arranged.lengths,
                1.0,
                layer.dropout,
                tallies,
            )
            result = arranged.result(target)
        if monitor is not None:
            monitor.add_tallies(tallies, array.size // max(1, layer.channels))
        return delivered(x, out, memory, result)


if cython.ISA:
    cython.ufuncs.enable(BiasAct)
    cython.ufuncs.enable(BiasActBackward)

bias_act = BiasAct()
