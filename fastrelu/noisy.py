"""Activations with random draws: `rrelu` and `noisy_relu`.

They have no ufunc, for each call draws: element i of the result (counted in C order) has draw i of the key,
whatever the dtype, strides, threads or backend, so the backward pass makes it again and nothing is stored.
"""

from __future__ import annotations

import inspect
from typing import ClassVar

import numpy as np

from . import dispatch, interop
from .activation import Activation
from .arguments import TableCallable, float_type
from .backends import cython
from .backward import Backward, sum_to
from .device import draws as device_draws
from .keys import NoiseKey
from .table import RANDOM, ROWS

__all__ = ["noisy_relu", "rrelu"]

RELU = next(row for row in ROWS if row.name == "relu").kernels()
KERNELS = {row.name: row.kernels() for row in RANDOM}
PARAMETERS = {row.name: row.parameters for row in RANDOM}


class Drawing(TableCallable):
    """What both passes share; the ``_call`` of a subclass has the public signature and docstring."""

    def __init__(self, row, pass_, qualname):
        TableCallable.__init__(self, row, row.kernels()[pass_], qualname)
        self.variants = {}
        self.general = self._general
        self.__signature__ = inspect.signature(self._call)
        self.__doc__ = inspect.cleandoc(type(self)._call.__doc__)

    def _general(self, *args, **keywords):
        try:
            return self._call(*args, **keywords)
        except TypeError:
            try:
                self.__signature__.bind(*args, **keywords)
            except TypeError as error:  # in the words of the public name
                raise TypeError(f"{self.__qualname__}: {error}") from None
            raise

    @property
    def ufunc(self):
        raise AttributeError(f"{self.__qualname__} has no ufunc: a call draws from its key")

    def _key(self, training, key):
        """The key where draws are wanted, else None."""
        if not isinstance(training, (bool, np.bool)):
            self._fail(TypeError, "training", f"a {type(training).__name__}", "True or False")
        if not training:
            return None
        if key is None:
            self._fail(ValueError, "key", None, "one from noise_key, because training is True")
        if not isinstance(key, NoiseKey):
            self._fail(TypeError, "key", f"a {type(key).__name__}", "one from noise_key")
        return key

    def _on_its_own(self, pass_, parameters, key, from_y):
        """What a pass takes on arrays of a device: its kernel, parameters with values, the key or None."""
        given = {"training": False} | self._call_defaults | parameters
        unknown = given.keys() - {"training", *self._call_defaults}
        if unknown:
            raise TypeError(f"{self.__qualname__}: got an unexpected keyword argument {unknown.pop()!r}")
        key = self._key(given.pop("training"), key)
        return self._parts(pass_, given, key, from_y)

    def _source(self, x, y):
        """What the slope is computed from, and its name."""
        if (x is None) == (y is None):
            got = "neither" if x is None else "both"
            raise ValueError(f"{self.__qualname__}: got {got} of x and y; expected exactly one of them")
        return ("x", x) if y is None else ("y", y)

    def _operands(self, name, source, parameters=(), values=(), dy=None):
        """Real arrays in the kernel's order, the parameters in the dtype of the computation."""
        array = self._real(name, source)
        dtype = float_type(array)
        cast = [self._cast_parameter(p, v, dtype) for p, v in zip(parameters, values, strict=True)]
        shape = self._broadcast(array, parameters, cast)
        if dy is None:
            return [array, *cast], shape, dtype
        gradient = self._real("dy", dy)
        if gradient.shape != shape:
            expected = f"the shape of the forward result, {shape}"
            self._fail(ValueError, "dy", f"of shape {gradient.shape}", expected)
        return [gradient, array, *cast], shape, dtype

    def _broadcast(self, array, parameters, cast):
        shape = array.shape
        for p, value in zip(parameters, cast, strict=True):
            try:
                shape = np.broadcast_shapes(shape, value.shape)
            except ValueError:
                expected = f"a shape that broadcasts with {shape}"
                self._fail(ValueError, p.name, f"of shape {value.shape}", expected)
        return shape

    def _run(self, kernel, operands, shape, dtype, draw, source, out):
        """The kernel's result, where it is due.

        `draw` is a key, an array in the dtype of the computation that broadcasts, or None for a kernel that
        takes none.
        """
        lead = kernel.inputs.index(kernel.arguments[0])
        kept = operands[lead].shape if lead else shape
        target = self._memory("out", out)
        if target is not None:
            self._check_out(target, kept, exactly=True)
            if not np.can_cast(dtype, target.dtype, "same_kind"):
                self._fail(TypeError, "out", f"of dtype {target.dtype}", f"a dtype that {dtype} casts to")
        drawn = isinstance(draw, NoiseKey)
        if drawn and operands[lead].shape == shape:
            arrays, numbers = tuple(operands), ()
            if all(p.ndim == 0 for p in operands[lead + 1 :]):
                arrays, numbers = arrays[: lead + 1], tuple(map(float, operands[lead + 1 :]))
            result = dispatch.drawn(kernel, self.row.draw, draw.bits, arrays, numbers, lead, target)
            if result is not None:
                return _as_given(source, result) if out is None else out
        # draws have more digits than a half: those are computed in float32
        native = "fdg" if drawn or np.ndim(draw) else "efdg"
        work = dtype if dtype.char in native else np.dtype(np.float32)
        if drawn:
            draw = self._draws(draw, shape, work)
        operands = [*operands] if draw is None else [*operands, draw]
        operands[lead] = np.broadcast_to(operands[lead], shape)
        inputs = [np.asarray(a).astype(work, copy=False) for a in operands]
        if target is not None and target.dtype == work and kept == shape:
            dispatch.elementwise(kernel)(*inputs, out=target)
            return out
        result = np.asarray(dispatch.elementwise(kernel)(*inputs))
        result = sum_to(result, kept).astype(dtype, copy=False)[()]
        if target is not None:
            np.copyto(target, result, casting="same_kind")
            return out
        return _as_given(source, result)

    def _draws(self, key, shape, work):
        dtype = np.dtype(np.float64) if work.char == "g" else work
        count = int(np.prod(shape, dtype=np.int64))
        return dispatch.draws(self.row.draw, key.bits, 0, count, dtype).reshape(shape)


def _as_given(source, result):
    """The result as the kind of array that `source` is."""
    if isinstance(source, np.ma.MaskedArray):
        return np.ma.array(result, mask=source.mask)
    if interop.is_foreign(source):
        return interop.like(source, result)
    plain = isinstance(source, np.generic) or type(source) is np.ndarray
    if hasattr(source, "__array_wrap__") and not plain:
        return source.__array_wrap__(np.asarray(result), None, np.ndim(result) == 0)
    return result


class RandomActivation(Drawing, Activation):
    """An activation that draws when training."""

    def __init__(self, row, backward):
        Drawing.__init__(self, row, "forward", row.qualname)
        self.backward = backward(row, "backward", f"{row.qualname}.backward")


class RandomBackward(Drawing, Backward):
    """The backward pass of a `RandomActivation`, with the same draws again."""


class Slopes:
    """What is particular to `rrelu`, in both passes."""

    _call_defaults: ClassVar = {"lower": 1 / 8, "upper": 1 / 3}

    def _parts(self, pass_, given, key, from_y):
        bounds = given["lower"], given["upper"]
        if not device_draws.any_on_device(*bounds):
            self._checked([np.asarray(b, float) for b in bounds])
        return KERNELS["rrelu"][pass_], [*zip(self.row.parameters, bounds, strict=True)], key

    def _checked(self, operands):
        lower, upper = operands[-2:]
        if lower.ndim == upper.ndim == 0 and not lower <= upper < 1:
            self._fail(ValueError, "upper", upper, f"lower <= upper < 1, where lower is {lower}")

    def _draw(self, key, axis, shape, dtype):
        """0 without training, one draw a channel where there is an axis, else the key."""
        axis = self._integer_axis(axis)
        if axis is not None and not -len(shape) <= axis < len(shape):
            raise np.exceptions.AxisError(axis, len(shape), f"{self.__qualname__}: argument 'axis'")
        if key is None:
            return np.zeros(())
        if axis is None:
            return key
        work = dtype if dtype.char in "dg" else np.dtype(np.float32)
        channels = self._draws(key, (shape[axis],), work)
        return channels.reshape([-1 if a == axis % len(shape) else 1 for a in range(len(shape))])

    def _integer_axis(self, axis):
        if axis is None:
            return None
        if isinstance(axis, bool) or not hasattr(axis, "__index__"):
            self._fail(TypeError, "axis", repr(axis), "an integer or None")
        return axis.__index__()

    def _on_arrays_of_device(self, key, axis, name, source, bounds, out, dy=None):
        axis = self._integer_axis(axis)
        if not device_draws.any_on_device(*bounds):
            self._checked([np.asarray(b, float) for b in bounds])
        parameters, kernel = self.row.parameters, self.kernel
        return device_draws.run_with_draws(self, kernel, key, name, source, parameters, bounds, out, dy, axis)


class RReluBackward(Slopes, RandomBackward):
    def _call(
        self,
        dy,
        /,
        x=None,
        *,
        y=None,
        lower=1 / 8,
        upper=1 / 3,
        training=False,
        key=None,
        axis=None,
        out=None,
    ):
        """Backward pass of `rrelu`: dy where x > 0, else a * dy, with the slopes a of the forward pass.

        Parameters
        ----------
        dy : array_like
            Incoming gradient, of the shape of the forward result.
        x : array_like, optional
            The forward pass's input.
        y : array_like, optional
            The forward pass's output, which may be given instead of `x`.
        lower, upper, training, key, axis : optional
            What the forward pass was given: the slopes are made again from the key.
        out : ndarray, optional
            Where to write, `dy` and `x` included.

        Returns
        -------
        ndarray or scalar
            Of the shape (axes that were broadcast are summed) and dtype of `x`; NaN in `x` gives NaN.

        Raises
        ------
        TypeError, ValueError, numpy.exceptions.AxisError
            As the forward pass; ValueError if both or neither of `x` and `y` are given, or `dy` has another
            shape.

        Examples
        --------
        >>> import fastrelu as fr
        >>> key = fr.noise_key(0)
        >>> print(fr.rrelu.backward(np.ones(4), [-1.0, -1.0, 2.0, -1.0], training=True, key=key))
        [0.1504556  0.31676419 1.         0.29271253]
        """
        key = self._key(training, key)
        name, source = self._source(x, y)  # y is positive where x is
        if device_draws.any_on_device(dy, source, lower, upper, out):
            return self._on_arrays_of_device(key, axis, name, source, (lower, upper), out, dy)
        operands, shape, dtype = self._operands(name, source, self.row.parameters, (lower, upper), dy)
        self._checked(operands)
        draw = self._draw(key, axis, shape, dtype)
        return self._run(self.kernel, operands, shape, dtype, draw, source, out)


class RRelu(Slopes, RandomActivation):
    def _call(self, x, /, lower=1 / 8, upper=1 / 3, training=False, key=None, *, axis=None, out=None):
        """Randomised leaky rectifier, whose negative slope is drawn anew for each element.

            f(x) = x if x > 0 else a * x, a ~ U(lower, upper)

        Parameters
        ----------
        x : array_like
            Input of any shape and strides; real (integers promote as in np.exp).
        lower, upper : array_like, default 1/8 and 1/3
            Bounds of the slope, 0 <= lower <= upper < 1. Cast to the dtype of `x`.
        training : bool, default False
            Whether to draw; otherwise every slope is (lower + upper) / 2.
        key : NoiseKey, optional
            What to draw from, see `noise_key`; needed with ``training=True``.
        axis : int, optional
            Draw one slope for each channel along this axis, as in the first description, not for each
            element.
        out : ndarray, optional
            Where to write the result; `x` works in place.

        Returns
        -------
        ndarray or scalar
            The shape of `x` broadcast with the bounds, the dtype of `x`.

        Raises
        ------
        TypeError
            `x` or a bound is complex, object, string or datetime; `key` is no NoiseKey; an unknown argument.
        ValueError
            ``training=True`` without a key; scalar bounds that violate 0 <= lower <= upper < 1 (in an array
            the lane becomes NaN); `out` has the wrong shape or is read-only.
        numpy.exceptions.AxisError
            `axis` does not exist.

        Notes
        -----
        The slope of element i, counted in C order, is (lower + upper) / 2 + (upper - lower) * d, d being
        draw i of the key (with `axis`, of channel i), each operation rounded in the dtype and the sum kept
        within the bounds: the same bits whatever the strides, the threads, the instruction set and the
        backend. The product is rounded once. float16 and bfloat16 are computed in float32 and rounded once.
        The draws are described in ``docs/random.md``.

        There is no ufunc, and so no `where`, `dtype` or `casting`.

        References
        ----------
        Xu, Wang, Chen & Li, Empirical Evaluation of Rectified Activations in Convolutional Network, 2015,
        arXiv:1505.00853

        Examples
        --------
        >>> import fastrelu as fr
        >>> key = fr.noise_key(0)
        >>> print(fr.rrelu([-1.0, -1.0, 2.0, -1.0], training=True, key=key))
        [-0.1504556  -0.31676419  2.         -0.29271253]
        >>> print(fr.rrelu([-1.0, -1.0, 2.0, -1.0], 0.0, 0.5))
        [-0.25 -0.25  2.   -0.25]
        """
        key = self._key(training, key)
        if device_draws.any_on_device(x, lower, upper, out):
            return self._on_arrays_of_device(key, axis, "x", x, (lower, upper), out)
        operands, shape, dtype = self._operands("x", x, self.row.parameters, (lower, upper))
        self._checked(operands)
        draw = self._draw(key, axis, shape, dtype)
        return self._run(self.kernel, operands, shape, dtype, draw, x, out)


class Variances:
    """What is particular to `noisy_relu`, in both passes."""

    _call_defaults: ClassVar = {"variance": "sigmoid"}

    def _parts(self, pass_, given, key, from_y):
        if key is None or from_y:
            return RELU[pass_], [], None
        if callable(given["variance"]):
            expected = "'sigmoid', a number or an array, for what is computed on a device"
            self._fail(TypeError, "variance", "a callable", expected)
        row, values = self._variance(given["variance"], None)
        return KERNELS[row][pass_], [*zip(PARAMETERS[row], values, strict=True)], key

    def _variance(self, variance, x):
        """Which kernels, and the values of their parameter."""
        if isinstance(variance, str):
            if variance != "sigmoid":
                expected = "'sigmoid', a number, an array or a callable"
                self._fail(ValueError, "variance", repr(variance), expected)
            return "noisy_relu", ()
        return "noisy_relu_of_variance", (variance(x) if callable(variance) else variance,)

    def _on_arrays_of_device(self, pass_, row, key, name, source, values, out, dy=None):
        kernel, parameters = KERNELS[row][pass_], PARAMETERS[row]
        if key is None or name == "y":
            kernel, key, parameters, values = RELU[pass_], None, (), ()
        return device_draws.run_with_draws(self, kernel, key, name, source, parameters, values, out, dy)


class NoisyReluBackward(Variances, RandomBackward):
    def _call(self, dy, /, x=None, *, y=None, variance="sigmoid", training=False, key=None, out=None):
        """Backward pass of `noisy_relu`: dy where x + Y > 0, else 0, with the noise Y of the forward pass.

        The noise is treated as a constant, although its variance may depend on x.

        Parameters
        ----------
        dy : array_like
            Incoming gradient, of the shape of the forward result.
        x : array_like, optional
            The forward pass's input.
        y : array_like, optional
            The forward pass's output, which may be given instead of `x`; then nothing is drawn.
        variance, training, key : optional
            What the forward pass was given: the noise is made again from the key.
        out : ndarray, optional
            Where to write, `dy` and `x` included.

        Returns
        -------
        ndarray or scalar
            Of the shape (axes that were broadcast are summed) and dtype of `x`; NaN in `x` gives NaN, and
            where the unit is dead the result is 0 whatever `dy` is.

        Raises
        ------
        TypeError, ValueError
            As the forward pass; ValueError if both or neither of `x` and `y` are given, or `dy` has another
            shape.

        Examples
        --------
        >>> import fastrelu as fr
        >>> key = fr.noise_key(0)
        >>> print(fr.noisy_relu.backward(np.ones(4), [-1.0, 0.0, 2.0, 0.5], training=True, key=key))
        [1. 1. 1. 1.]
        """
        key = self._key(training, key)
        name, source = self._source(x, y)
        row, values = self._variance(variance, source) if name == "x" else ("noisy_relu", ())
        if device_draws.any_on_device(dy, source, *values, out):
            return self._on_arrays_of_device("backward", row, key, name, source, values, out, dy)
        operands, shape, dtype = self._operands(name, source, PARAMETERS[row], values, dy)
        kernel = KERNELS[row]["backward"]
        if key is None or name == "y":
            operands, kernel = operands[:2], RELU["backward"]
            key = None
        return self._run(kernel, operands, shape, dtype, key, source, out)


class NoisyRelu(Variances, RandomActivation):
    def _call(self, x, /, variance="sigmoid", training=False, key=None, *, out=None):
        """Rectifier of its argument plus normal noise.

            f(x) = max(0, x + Y), Y ~ N(0, variance)

        Parameters
        ----------
        x : array_like
            Input of any shape and strides; real (integers promote as in np.exp).
        variance : "sigmoid", array_like or callable, default "sigmoid"
            The variance of the noise, not its standard deviation: 1 / (1 + exp(-x)), a number or an array,
            >= 0 and cast to the dtype of `x`, or what a callable makes of `x`.
        training : bool, default False
            Whether to add noise; otherwise this is `relu`.
        key : NoiseKey, optional
            What to draw from, see `noise_key`; needed with ``training=True``.
        out : ndarray, optional
            Where to write the result; `x` works in place.

        Returns
        -------
        ndarray or scalar
            The shape of `x` broadcast with the variance, the dtype of `x`.

        Raises
        ------
        TypeError
            `x` or the variance is complex, object, string or datetime; `key` is no NoiseKey; an unknown
            argument.
        ValueError
            ``training=True`` without a key; a scalar variance is negative (in an array the lane becomes NaN)
            or a string but "sigmoid"; `out` has the wrong shape or is read-only.

        Notes
        -----
        The noise of element i, counted in C order, is normal draw i of the key times the square root of the
        variance. The normal draws, at most 1 ULP from the exact function of the key, are rounded to the
        dtype; given them, the result is at most 1 ULP from exact, its unit floored at that of the noise.
        The bits do not depend on strides, threads or position. float16 and bfloat16 are computed in float32
        and rounded once. The draws are described in ``docs/random.md``.

        There is no ufunc, and so no `where`, `dtype` or `casting`. NaN gives NaN.

        References
        ----------
        Nair & Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines, ICML 2010

        Examples
        --------
        >>> import fastrelu as fr
        >>> key = fr.noise_key(0)
        >>> print(fr.noisy_relu([-1.0, 0.0, 2.0, 0.5], training=True, key=key))
        [0.02954627 0.13318464 1.93667059 0.4279802 ]
        >>> print(fr.noisy_relu([-1.0, 0.0, 2.0, 0.5]))
        [0.  0.  2.  0.5]
        """
        key = self._key(training, key)
        row, values = self._variance(variance, x)
        if device_draws.any_on_device(x, *values, out):
            return self._on_arrays_of_device("forward", row, key, "x", x, values, out)
        operands, shape, dtype = self._operands("x", x, PARAMETERS[row], values)
        if key is None:
            return self._run(RELU["forward"], operands[:1], shape, dtype, None, x, out)
        return self._run(KERNELS[row]["forward"], operands, shape, dtype, key, x, out)


if cython.ISA:
    for _class in (RRelu, RReluBackward, NoisyRelu, NoisyReluBackward):
        cython.ufuncs.enable(_class)

_rows = {row.name: row for row in RANDOM}
rrelu = RRelu(_rows["rrelu"], RReluBackward)
noisy_relu = NoisyRelu(_rows["noisy_relu"], NoisyReluBackward)
