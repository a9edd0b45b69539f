"""Activation objects: call one for the forward pass, its ``.backward`` for the backward pass.

A call first meets the fast path of the compiled kernels, which takes what people mostly pass; everything
else arrives here: array-likes, broadcasting, casts, ``where=``, subclasses, other libraries' arrays, and
every error.
"""

from __future__ import annotations

import numpy as np

from . import docstrings, interop, masks
from .arguments import TableCallable, float_type, is_extension
from .backends import cython
from .backward import Backward
from .device import calls as device_calls
from .device.plain import Plain
from .row import Row

__all__ = ["Activation"]


class Activation(TableCallable):
    """An activation function with its derivative.

    Call it as ``f(x, /, *parameters, out=None, where=True, dtype=None, casting="same_kind", order="K",
    subok=True)``; see the docstring of each instance.

    Attributes
    ----------
    backward : callable
        The vector-Jacobian product ``dy * f'(x)``.
    ufunc : numpy.ufunc
        The ufunc underneath.
    variants : dict of str to Activation
        The values of the option that chooses among variants (``approximate`` of `gelu`); also attributes.
    """

    backward_class = Backward
    has_option = False

    def __init__(self, row: Row, variants=()):
        super().__init__(row, row.kernels()["forward"], row.qualname)
        self.has_option = row.option is not None and not row.variant_of
        if cython.ISA:
            self._bind(row)
        self.on_device = Plain(self, self.kernel)
        self.backward = self.backward_class(row)
        self.backward.forward = self
        self.variants = {}
        if row.option:
            self.variants = {row.option[1]: self} | {v.row.option[1]: v for v in variants}
            for variant in variants:
                setattr(self, variant.row.option[1], variant)
                variant.variants = self.variants
                variant.backward.variants = self.variants
            self.backward.variants = self.variants
            if cython.ISA and not row.variant_of:
                self.bind_option(row.option[0], self.variants)
                self.backward.bind_option(row.option[0], {k: v.backward for k, v in self.variants.items()})
        self.__signature__ = docstrings.forward_signature(row)
        self.__doc__ = docstrings.forward_doc(row)

    def _bind(self, row):
        parameterless = not row.parameters and not self.has_option
        self.bind_forward(cython.KERNEL_INDEX[self.kernel.name], self.ufunc, row, parameterless)

    def _call(self, *args, **keywords):
        if not args:
            raise TypeError(f"{self.__qualname__}: missing required positional argument 'x'")
        x, *positional = args
        if type(x) not in device_calls.HOST and not positional and keywords.keys() <= {"out"}:
            result = self.on_device((x,), keywords.get("out"))
            if result is not None:
                return result
        if self.has_option and (variant := self._variant(positional, keywords)) is not self:
            return variant(x, *positional, **keywords)
        if positional and not self.row.parameters and not self.has_option and "out" not in keywords:
            keywords["out"] = positional.pop(0)
        parameters = self._parameters(positional, keywords)
        axis = self._take_axis(keywords) if self.row.channel_axis is not None else None
        given = {name: keywords.pop(name) for name in docstrings.UFUNC_ARGUMENTS if name in keywords}
        self._no_more(keywords)

        if device_calls.any_on_device(x, given.get("out"), given.get("where"), *parameters.values()):
            return device_calls.forward(self, x, parameters, axis, given)
        if any(map(interop.has_array_ufunc, (x, given.get("out"), *parameters.values()))):
            return self.ufunc(x, *parameters.values(), **given)

        array = self._real("x", x)
        dtype = float_type(array) if given.get("dtype") is None else np.dtype(given["dtype"])
        cast = [self._cast_parameter(p, parameters[p.name], dtype) for p in self.row.parameters]
        self._check_order(cast)
        if axis is not None:
            cast = [self._along_channels(p, axis, array.shape) for p in cast]
        shape = self._result_shape(array, cast)
        out = given.get("out")
        if isinstance(out, tuple):
            if len(out) != 1:
                self._fail(ValueError, "out", f"a tuple of {len(out)}", "one array")
            (out,) = out
        if out is not None:
            given["out"] = self._memory("out", out)
            self._check_out(given["out"], shape)
        function = self._elementwise(self.kernel)
        if is_extension(array.dtype) and not given and not self._reads(array):
            result = function(array.astype(np.float32), *(p.astype(np.float32) for p in cast)).astype(
                array.dtype
            )
        else:
            result = function(array, *cast, **given)
        if out is not None:
            return out
        return interop.as_kind_of((x,), result)

    def with_mask(self, x, *, at_zero=None, out=None, **parameters):
        """The result, and one bit an element from which ``backward(dy, mask=mask)`` computes.

        For activations whose derivative is 1 or one other number: `relu`, `leaky_relu`, `relu6`, `hardtanh`,
        `threshold`, `hardshrink` and `softshrink`.  Neither x nor y need be kept.

        Parameters
        ----------
        x : array_like
            Input of any shape and strides; real.
        at_zero : {0, 1}, optional
            Whether x = 0 counts as active, where that is the knot; by default it does not.
        out : ndarray, optional
            Where to write the result; `x` works in place.
        **parameters
            Numbers, as in the call.

        Returns
        -------
        y : ndarray
            Of the shape and, if floating, the dtype of `x`.
        mask : ndarray of uint8
            ``numpy.packbits(active, bitorder="little")`` of the elements in C order. An element is active if
            the derivative there is 1; NaN counts as active.

        Raises
        ------
        TypeError
            If the derivative has more values than two.
        ValueError
            If `at_zero` is neither 0 nor 1, a parameter is no number, or `out` does not fit.

        Examples
        --------
        >>> y, mask = fr.relu.with_mask([-1.0, 2.0, 3.0])
        >>> mask
        array([6], dtype=uint8)
        >>> fr.relu.backward(np.array([1.0, 5.0, 7.0]), mask=mask)
        array([0., 5., 7.])
        """
        return masks.forward(self, x, at_zero, out, parameters)

    def _variant(self, positional, keywords):
        keyword, own = self.row.option
        if positional and keyword in keywords:
            raise TypeError(f"{self.__qualname__}: got multiple values for argument {keyword!r}")
        chosen = positional.pop(0) if positional else keywords.pop(keyword, own)
        return self._chosen_variant(chosen)


if cython.ISA:
    cython.ufuncs.enable(Activation)
