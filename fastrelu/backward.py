"""Backward passes: the vector-Jacobian product of an activation, and the gradients of its parameters."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from . import dispatch, docstrings, interop, masks
from .arguments import TableCallable, check_apart, float_type, is_extension
from .backends import cython
from .device import calls as device_calls
from .device.plain import Plain
from .row import Row

__all__ = ["Backward", "each", "sum_to", "three_lengths"]


class Backward(TableCallable):
    """The backward pass of an `Activation`: ``dy * f'``, and the gradients of parameters."""

    def __init__(self, row: Row):
        self.kernels = row.kernels()
        super().__init__(row, self.kernels["backward"], f"{row.qualname}.backward")
        if cython.ISA:
            self._bind(row)
        self.on_device = {
            pass_: Plain(self, self.kernels[pass_])
            for pass_ in ("backward", "backward_from_y")
            if pass_ in self.kernels
        }
        self.variants = {}
        self.__signature__ = docstrings.backward_signature(row)
        self.__doc__ = docstrings.backward_doc(row)

    def _bind(self, row):
        """The fast path; where a parameter is learned, one for each thing that may be wanted."""
        index = {k.pass_: cython.KERNEL_INDEX[k.name] for k in self.kernels.values()}
        learned = [p.name for p in row.parameters if p.learned]
        of_x = self
        if learned:
            of_x = cython.ufuncs.FastCall()
            of_x.general = functools.partial(self._call, wrt="x")
            indices = index["backward"], index[f"backward_wrt_{learned[0]}"]
            cython.ufuncs.bind_learned(self, of_x, *indices, learned[0])
        needs = row.from_y_needs
        least = [needs.at_least if needs and needs.name == p.name else -np.inf for p in row.parameters]
        others = (index.get(pass_, -1) for pass_ in ("backward_from_y", "backward_at_zero"))
        of_x.bind_backward(index["backward"], *others, row.parameters, least)

    def _call(self, dy, x=None, /, *extra, y=None, out=None, wrt=None, **keywords):
        if extra:
            raise TypeError(
                f"{self.__qualname__}: got {2 + len(extra)} positional arguments; expected dy and x, "
                "parameters by keyword"
            )
        if type(dy) not in device_calls.HOST and not keywords and wrt is None and (x is None) != (y is None):
            plain = self.on_device.get("backward" if y is None else "backward_from_y")
            result = plain and plain((dy, x if y is None else y), out)
            if result is not None:
                return result
        if self.row.option and not self.row.variant_of:
            variant = self._chosen_variant(keywords.pop(self.row.option[0], self.row.option[1])).backward
            if variant is not self:
                return variant(dy, x, y=y, out=out, wrt=wrt, **keywords)
        if keywords.get("mask") is not None:
            return self._by_mask(dy, x, y, wrt, out, keywords)
        keywords.pop("mask", None)
        if "x" in keywords:
            if x is not None:
                raise TypeError(f"{self.__qualname__}: got multiple values for argument 'x'")
            x = keywords.pop("x")
        at_zero = keywords.pop("at_zero", None) if self.row.knots else None
        axis = self._take_axis(keywords) if self.row.channel_axis is not None else None
        parameters = self._parameters((), keywords)
        self._no_more(keywords)
        wanted = self._wanted(wrt)
        pass_, source_name, source = self._source(x, y, at_zero, wanted)

        if device_calls.any_on_device(dy, source, *parameters.values(), *each(out)):
            return device_calls.backward(
                self, dy, source_name, source, parameters, axis, at_zero, pass_, wanted, wrt, out
            )
        if any(map(interop.has_array_ufunc, (dy, source, *parameters.values(), *each(out)))):
            return self._by_ufunc(dy, source, parameters, at_zero, pass_, wanted, wrt, out)
        gradient, array = self._real("dy", dy), self._real(source_name, source)
        dtype = float_type(array)
        converted = is_extension(dtype) and not self._reads(gradient, array)
        work = np.dtype(np.float32) if converted else dtype
        cast = [self._cast_parameter(p, parameters[p.name], work) for p in self.row.parameters]
        self._check_order(cast)
        shapes = {"x": array.shape} | {name: np.shape(value) for name, value in parameters.items()}
        if axis is not None:
            cast = [self._along_channels(p, axis, array.shape) for p in cast]
        if source_name == "y":
            self._check_from_y(cast)
        result_shape = self._result_shape(array, cast)
        if gradient.shape != result_shape:
            expected = f"the shape of the forward result, {result_shape}"
            self._fail(ValueError, "dy", f"of shape {gradient.shape}", expected)
        outs = self._outs(out, wanted, shapes, dtype)
        given_outs, outs = outs, {name: self._memory("out", array) for name, array in outs.items()}
        check_apart(self.__qualname__, outs)

        inputs = {"x": (gradient, array, *cast)}
        if at_zero is not None:
            inputs["x"] += (self._at_knot(at_zero, work, result_shape),)
        operand_shapes = {"x": array.shape} | {
            p.name: c.shape for p, c in zip(self.row.parameters, cast, strict=True)
        }
        # An `out` may be an input as well: only the last gradient is computed in place, the others after it.
        in_place = [
            name
            for name in wanted
            if outs[name] is not None and operand_shapes[name] == shapes[name] == result_shape
        ][-1:]
        made = self._in_one_pass(wanted, pass_, inputs["x"], operand_shapes, result_shape, outs)
        for name in sorted(wanted, key=in_place.__contains__):
            if name in made:
                continue
            kernel = self.kernels[pass_ if name == "x" else f"backward_wrt_{name}"]
            operands = inputs["x"] if name == "x" else (gradient, array, *cast)
            if name in in_place:
                made[name] = self._elementwise(kernel)(*operands, dtype=work, out=outs[name])
            else:
                summed = operand_shapes[name] != result_shape
                wide = np.promote_types(work, np.float64) if summed else work  # so that a sum rounds once
                full = self._elementwise(kernel)(*(a.astype(wide, copy=False) for a in operands), dtype=wide)
                made[name] = sum_to(full, operand_shapes[name])
        for name in wanted:
            if name in in_place:
                continue
            made[name] = made[name].reshape(shapes[name])
            if outs[name] is not None:
                outs[name][...] = made[name]
                made[name] = outs[name]
            else:
                made[name] = made[name].astype(dtype, copy=False)[()]
        for name in wanted:
            if given_outs[name] is not None:
                made[name] = given_outs[name]
            elif interop.is_foreign(source):
                made[name] = interop.like(source, made[name])
        return self._result([made[name] for name in wanted], wrt)

    def _at_knot(self, at_zero, dtype, shape):
        """The derivative at the knots, of a shape that broadcasts to that of the result."""
        value = self._real("at_zero", at_zero)
        try:
            fits = np.broadcast_shapes(value.shape, shape) == shape
        except ValueError:
            fits = False
        if not fits:
            self._fail(ValueError, "at_zero", f"of shape {value.shape}", f"one that broadcasts to {shape}")
        return value.astype(dtype, copy=False)

    def _by_mask(self, dy, x, y, wrt, out, keywords):
        """From the bits of ``with_mask``."""
        mask = keywords.pop("mask")
        other = "x" if x is not None or "x" in keywords else "y" if y is not None else None
        if other:
            raise ValueError(f"{self.__qualname__}: got both {other} and mask; expected one of them")
        if "at_zero" in keywords:
            self._fail(ValueError, "at_zero", repr(keywords["at_zero"]), "nothing: the mask has it already")
        if wrt not in (None, "x"):
            self._fail(ValueError, "wrt", repr(wrt), "'x', of which alone a mask gives the gradient")
        return masks.backward(self.forward, dy, mask, out, keywords)

    def _in_one_pass(self, wanted, pass_, inputs, operand_shapes, result_shape, outs):
        """The gradients of parameters that the backend sums by itself, and x's where it comes along."""
        dy, x, *rest = inputs
        parameters = rest[: len(self.row.parameters)]
        dtype = np.dtype(
            np.float32 if x.dtype.itemsize == 2 else parameters[0].dtype if parameters else x.dtype
        )
        made = {}
        for name in wanted:
            kept = operand_shapes[name]
            if name == "x" or kept == result_shape or any(p.size > 1 and p.shape != kept for p in parameters):
                continue
            sum_terms = self._sums(self.kernels[f"backward_wrt_{name}"], dtype)
            if sum_terms is None:
                continue
            lengths, order = three_lengths(result_shape, kept)
            arrays = [np.broadcast_to(a, result_shape).transpose(order) for a in (dy, x)]
            arrays = tuple(np.require(a, dtype, ("C", "ALIGNED")) for a in (*arrays, *parameters))
            made[name] = np.empty(kept, dtype)
            with_x = "x" in wanted and "x" not in made and pass_ == "backward" and outs["x"] is None
            in_order = order == tuple(range(len(order)))
            if with_x and in_order and x.shape == result_shape and x.dtype == dtype:
                made["x"] = dispatch.empty(result_shape, dtype)
                sum_terms(lengths, arrays, made[name], made["x"], self.kernels["backward"])
            else:
                sum_terms(lengths, arrays, made[name])
        return made

    def _result(self, gradients, wrt):
        alone = isinstance(wrt, str) or (wrt is None and len(gradients) == 1)
        return gradients[0] if alone else tuple(gradients)

    def _by_ufunc(self, dy, source, parameters, at_zero, pass_, wanted, wrt, out):
        """For operands that take ufuncs over: each gradient is one call, its shape theirs to see to."""
        gradients = []
        for name, target in zip(wanted, itertools.chain(each(out), itertools.repeat(None)), strict=False):
            kernel = self.kernels[pass_ if name == "x" else f"backward_wrt_{name}"]
            extra = () if at_zero is None or name != "x" else (at_zero,)
            keywords = {} if target is None else {"out": target}
            gradients.append(self._ufunc_of(kernel)(dy, source, *parameters.values(), *extra, **keywords))
        return self._result(gradients, wrt)

    def _wanted(self, wrt):
        names = ["x", *(p.name for p in self.row.parameters)]
        if wrt is None:
            return ["x", *(p.name for p in self.row.parameters if p.learned)]
        wanted = [wrt] if isinstance(wrt, str) else list(wrt) if isinstance(wrt, (tuple, list)) else [None]
        if not wanted or any(name not in names for name in wanted) or len(set(wanted)) < len(wanted):
            self._fail(
                ValueError,
                "wrt",
                repr(wrt),
                f"a name, or a tuple of them, among {', '.join(map(repr, names))}",
            )
        return wanted

    def _source(self, x, y, at_zero, wanted):
        """The kernel, and the array that the derivative is computed from."""
        if (x is None) == (y is None):
            got = "neither" if x is None else "both"
            raise ValueError(f"{self.__qualname__}: got {got} of x and y; expected exactly one of them")
        if y is None:
            return ("backward" if at_zero is None else "backward_at_zero"), "x", x
        reason = ""
        if not self.row.slope_from_y:
            reason = "the derivative is not a function of the output"
        elif at_zero is not None:
            reason = "the output does not show where x is 0"
        elif wanted != ["x"]:
            reason = f"the gradient with respect to {' and '.join(n for n in wanted if n != 'x')} needs x"
        if reason:
            raise ValueError(f"{self.__qualname__}: argument 'y' was given, but {reason}; expected x")
        return "backward_from_y", "y", y

    def _check_from_y(self, parameters):
        needs = self.row.from_y_needs
        for p, value in zip(self.row.parameters, parameters, strict=True):
            if not needs or p.name != needs.name:
                continue
            usable = needs.accepts(value)
            if value.ndim:
                usable |= np.isnan(value)  # which makes its lane NaN
            if not np.all(usable):
                raise ValueError(
                    f"{self.__qualname__}: argument 'y' was given, but with a negative {p.name} "
                    f"the derivative is not a function of the output; expected x, or {needs.requirement}"
                )

    def _each_out(self, out, wanted):
        """`out` for each wanted gradient: an array is the one of x, a tuple has one (or None) for each."""
        if not isinstance(out, tuple):
            return dict.fromkeys(wanted) | {wanted[0]: out}
        if len(out) != len(wanted):
            self._fail(ValueError, "out", f"a tuple of {len(out)}", f"one array or None for each of {wanted}")
        return dict(zip(wanted, out, strict=True))

    def _outs(self, out, wanted, shapes, dtype):
        """`out` for each wanted gradient, each of which must be able to take it."""
        outs = self._each_out(out, wanted)
        for name, array in outs.items():
            if array is None:
                continue
            memory = self._memory("out", array)
            self._check_out(memory, shapes[name], exactly=True)
            if not np.can_cast(dtype, memory.dtype, "same_kind"):
                self._fail(TypeError, "out", f"of dtype {memory.dtype}", f"a dtype that {dtype} casts to")
        return outs


def each(out):
    """The arrays of an `out`, of which a tuple has several."""
    return out if isinstance(out, tuple) else (out,)


def three_lengths(shape, kept):
    """An order of the axes of `shape`, and them as (outer, kept, inner) in that order.

    An operand of shape `kept` varies along the second of the three only.
    """
    axes = [axis for axis, n in enumerate(shape) if n != 1]
    kept = (1,) * (len(shape) - len(kept)) + kept
    varying = [i for i, axis in enumerate(axes) if kept[axis] != 1]
    first, last = (varying[0], varying[-1] + 1) if varying else (0, 0)
    if last - first == len(varying):
        order = range(len(shape))
    else:  # others lie between them
        order = sorted(range(len(shape)), key=lambda axis: kept[axis] != 1)
        axes = [axis for axis in order if shape[axis] != 1]
        first, last = len(axes) - len(varying), len(axes)
    parts = axes[:first], axes[first:last], axes[last:]
    return tuple(math.prod(shape[axis] for axis in part) for part in parts), tuple(order)


def sum_to(gradient, shape):
    """Sum over the axes along which an operand of `shape` was broadcast, in double precision at least."""
    gradient = np.asanyarray(gradient)
    if gradient.shape == shape:
        return gradient
    extra = tuple(range(gradient.ndim - len(shape)))
    stretched = tuple(
        axis + len(extra) for axis, n in enumerate(shape) if n == 1 and gradient.shape[axis + len(extra)] != 1
    )
    wide = np.promote_types(gradient.dtype, np.float64)
    total = gradient.sum(axis=extra + stretched, dtype=wide, keepdims=True)
    return total.reshape(shape).astype(gradient.dtype)


if cython.ISA:
    cython.ufuncs.enable(Backward)
