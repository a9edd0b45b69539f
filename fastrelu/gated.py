"""The gated units: `glu`, `reglu`, `geglu`, `swiglu`, of two arrays or of the halves of one."""

from __future__ import annotations

import numpy as np

from . import dispatch, docstrings_gated, interop
from .arguments import TableCallable, check_apart, float_type, is_extension
from .backends import cython
from .backward import each, sum_to
from .binary import promoted
from .device import calls as device_calls
from .device import pairs as device_pairs
from .docstrings import UFUNC_ARGUMENTS
from .row import Gate
from .table import GATES

__all__ = ["GATED", "GatedUnit"]


class Halving(TableCallable):
    """What both passes share: an array as its two halves."""

    def _axis(self, argument, array, axis):
        """The axis along which an array has two halves."""
        if isinstance(axis, bool) or not hasattr(axis, "__index__"):
            self._fail(TypeError, "axis", repr(axis), "an integer")
        axis = axis.__index__()
        if not -array.ndim <= axis < array.ndim:
            raise np.exceptions.AxisError(axis, array.ndim, f"{self.__qualname__}: argument 'axis'")
        if array.shape[axis] % 2:
            expected = (
                f"an even length along axis {axis}, whose halves are value and gate, or a gate beside it"
            )
            self._fail(ValueError, argument, f"of shape {array.shape}", expected)
        return axis % array.ndim

    def _given_axis(self, gate, axis):
        if gate is not None and axis != -1:
            self._fail(
                ValueError, "axis", repr(axis), "no axis beside a gate: it is where one array is halved"
            )

    def _shape(self, value, gate):
        try:
            return np.broadcast_shapes(value.shape, gate.shape)
        except ValueError:
            expected = f"a shape that broadcasts with {value.shape}, that of value"
            self._fail(ValueError, "gate", f"of shape {gate.shape}", expected)

    def _general(self, *args, **keywords):
        try:
            return self._call(*args, **keywords)
        except TypeError:
            try:
                self.__signature__.bind(*args, **keywords)
            except TypeError as error:  # in the words of the public name
                raise TypeError(f"{self.__qualname__}: {error}") from None
            raise


def halves(array, axis):
    """The two halves of an array along an axis, as views."""
    half = array.shape[axis] // 2
    before = (slice(None),) * axis
    return array[(*before, slice(None, half))], array[(*before, slice(half, None))]


class GatedUnit(Halving):
    """A gated unit value * f(gate); see the docstring of each instance.

    Attributes
    ----------
    backward : callable
        Both gradients in one pass.
    ufunc : numpy.ufunc
        The ufunc of two arrays underneath.
    """

    def __init__(self, gate: Gate):
        super().__init__(gate, gate.kernels()["forward"], gate.name)
        self.general = self._general
        if cython.ISA:
            cython.ufuncs.bind_gated(self, cython.KERNEL_INDEX[self.kernel.name])
        self.backward = GatedBackward(gate)
        self.__signature__ = docstrings_gated.forward_signature()
        self.__doc__ = docstrings_gated.forward_doc(gate)

    def operands(self, value, gate=None):
        """What the kernel is run on, for `explain`."""
        return (value, gate) if gate is not None else halves(np.asanyarray(value), np.ndim(value) - 1)

    def _call(self, value, gate=None, *, axis=-1, **given):
        if unknown := given.keys() - UFUNC_ARGUMENTS:
            raise TypeError(f"{self.__qualname__}: got an unexpected keyword argument {min(unknown)!r}")
        self._given_axis(gate, axis)
        if device_calls.any_on_device(value, gate, given.get("out"), given.get("where")):
            out = given.pop("out", None)
            if gate is None:
                return device_pairs.forward_of_halves(self, value, axis, out, given)
            return device_pairs.forward(self, {"value": value, "gate": gate}, out, given)
        given_arrays, name = (value,) if gate is None else (value, gate), "gate"
        if gate is None:
            array = value if interop.has_array_ufunc(value) else self._real("value", value)
            value, gate = halves(array, self._axis("value", array, axis))
            name = "value"
        if any(map(interop.has_array_ufunc, (value, gate, *each(given.get("out"))))):
            return self.ufunc(value, gate, **given)
        arrays = self._real("value", value), self._real(name, gate)
        shape = self._shape(*arrays)
        dtype = promoted((value, gate), arrays)
        if given.get("dtype") is None:
            given["dtype"] = dtype
        out = given.get("out")
        if isinstance(out, tuple):
            if len(out) != 1:
                self._fail(ValueError, "out", f"a tuple of {len(out)}", "one array")
            (out,) = out
        target = self._memory("out", out)
        if out is not None:
            self._check_out(target, shape)
            given["out"] = target
        function = dispatch.elementwise(self.kernel)
        if is_extension(np.dtype(given["dtype"])):
            result = self._in_extension(function, arrays, given, target)
        else:
            result = function(*arrays, **given)
        if out is not None:
            return out
        return interop.as_kind_of(given_arrays, result)

    def _in_extension(self, function, arrays, given, target):
        """bfloat16: by its own kernels, or by way of float32."""
        dtype = np.dtype(given.pop("dtype"))
        if self._reads(*arrays):
            return function(*arrays, **given)
        given.pop("out", None)
        where = True if target is None else given.pop("where", True)
        result = function(*(a.astype(np.float32) for a in arrays), **given)
        result = np.asanyarray(result).astype(dtype)[()]
        if target is not None:
            np.copyto(target, result, casting="same_kind", where=where)
        return result


class GatedBackward(Halving):
    """The backward pass of a `GatedUnit`: both gradients in one pass."""

    def __init__(self, gate: Gate):
        self.kernels = gate.kernels()
        super().__init__(gate, self.kernels["backward_gate"], f"{gate.name}.backward")
        self.general = self._general
        if cython.ISA:
            both = self.kernels["backward_value"], self.kernels["backward_gate"]
            cython.ufuncs.bind_gated(self, *(cython.KERNEL_INDEX[kernel.name] for kernel in both))
        self.__signature__ = docstrings_gated.backward_signature()
        self.__doc__ = docstrings_gated.backward_doc(gate)

    @property
    def ufunc(self):
        raise AttributeError(f"{self.__qualname__} has no ufunc: it gives two gradients")

    def operands(self, dy, value, gate=None):
        """What the kernels are run on, for `explain`."""
        return (
            (dy, value, gate) if gate is not None else (dy, *halves(np.asanyarray(value), np.ndim(value) - 1))
        )

    def _call(self, dy, value, gate=None, *, axis=-1, out=None, wrt=None):
        self._given_axis(gate, axis)
        if gate is None:
            if wrt is not None:
                self._fail(ValueError, "wrt", repr(wrt), "no choice where value and gate are one array")
            if device_calls.any_on_device(dy, value, out):
                both = self.kernels["backward_value"], self.kernels["backward_gate"]
                return device_pairs.backward_of_halves(self, both, dy, value, axis, out)
            return self._of_one_array(dy, value, axis, out)
        wanted = self._wanted(wrt)
        given = {"value": value, "gate": gate}
        outs = dict(zip(wanted, self._outs(out, wanted, wrt), strict=True))
        if device_calls.any_on_device(dy, value, gate, *outs.values()):
            kernels = {name: (self.kernels[f"backward_{name}"], ("value", "gate")) for name in wanted}
            results = device_pairs.backward(self, kernels, dy, given, outs)
            return tuple(results) if wrt is None or isinstance(wrt, (tuple, list)) else results[0]
        if any(map(interop.has_array_ufunc, (dy, value, gate, *outs.values()))):
            results = [
                self._ufunc_of(self.kernels[f"backward_{name}"])(
                    dy, value, gate, **({} if o is None else {"out": o})
                )
                for name, o in outs.items()
            ]
            return tuple(results) if wrt is None or isinstance(wrt, (tuple, list)) else results[0]
        arrays = {name: self._real(name, v) for name, v in given.items()}
        shape = self._shape(*arrays.values())
        gradient = self._gradient(dy, shape)
        targets, work = {}, np.result_type(*(_computed(float_type(a)) for a in arrays.values()))
        for name, o in outs.items():
            if o is not None:
                targets[name] = self._target(o, arrays[name])
        check_apart(self.__qualname__, targets)
        if self._reads(gradient, *arrays.values()) and arrays["value"].dtype == arrays["gate"].dtype:
            work = arrays["value"].dtype
        made = self._gradients(gradient, arrays, shape, work, wanted, targets)
        results = []
        for name in wanted:
            result = outs[name]
            if result is None:
                result = made[name].astype(float_type(arrays[name]), copy=False)[()]
                if interop.is_foreign(given[name]):
                    result = interop.like(given[name], result)
            elif made[name] is not targets[name]:
                np.copyto(targets[name], made[name], casting="same_kind")
            results.append(result)
        return tuple(results) if wrt is None or isinstance(wrt, (tuple, list)) else results[0]

    def _gradients(self, dy, arrays, shape, work, wanted, targets):
        """name -> gradient of the array's shape, in its target where that could be computed in place."""
        exact = {name: arrays[name].shape == shape for name in wanted}
        # so that a sum over axes that were broadcast rounds once
        wide = work if all(exact.values()) else np.promote_types(_computed(work), np.float64)
        operands = tuple(a.astype(wide, copy=False) for a in (dy, *arrays.values()))
        if len(wanted) == 2:
            results = [
                targets[name]
                if name in targets and exact[name] and type(targets[name]) is np.ndarray
                and targets[name].dtype == wide
                else dispatch.empty(shape, wide)
                for name in wanted
            ]  # fmt: skip
            self._both(operands, tuple(results))
        else:
            results = [dispatch.elementwise(self.kernels[f"backward_{wanted[0]}"])(*operands, dtype=wide)]
        return {
            name: result if exact[name] else sum_to(result, arrays[name].shape)
            for name, result in zip(wanted, results, strict=True)
        }

    def _both(self, operands, results, apart=False):
        """Both gradients into arrays of their dtype, in one pass where the backend can."""
        kernels = self.kernels["backward_value"], self.kernels["backward_gate"]
        if dispatch.two_results(kernels, operands, results, apart):
            return
        first = dispatch.elementwise(kernels[0])(*operands)  # `results` may be operands
        dispatch.elementwise(kernels[1])(*operands, out=results[1])
        results[0][...] = first

    def _of_one_array(self, dy, source, axis, out):
        array = self._real("value", source)
        axis = self._axis("value", array, axis)
        shape = (*array.shape[:axis], array.shape[axis] // 2, *array.shape[axis + 1 :])
        gradient = self._gradient(dy, shape)
        dtype = float_type(array)
        target = None if out is None else self._target(out, array)
        work = dtype if self._reads(gradient, array) else _computed(dtype)
        in_place = target is not None and type(target) is np.ndarray and target.dtype == work
        made = target if in_place else dispatch.empty(array.shape, work)
        operands = tuple(a.astype(work, copy=False) for a in (gradient, array))
        same = in_place and made.__array_interface__["data"] == operands[1].__array_interface__["data"]
        same = same and made.strides == operands[1].strides
        apart = not np.may_share_memory(made, gradient) and (same or not np.may_share_memory(made, array))
        parts = operands[0], *halves(operands[1], axis)
        if in_place and not apart:
            made = dispatch.empty(array.shape, work)
        self._both(parts, halves(made, axis), apart=True)
        if target is not None:
            if made is not target:
                np.copyto(target, made, casting="same_kind")
            return out
        made = made.astype(dtype, copy=False)
        return interop.like(source, made) if interop.is_foreign(source) else made

    def _wanted(self, wrt):
        names = ("value", "gate")
        wanted = names if wrt is None else tuple(wrt) if isinstance(wrt, (tuple, list)) else (wrt,)
        if not wanted or any(name not in names for name in wanted) or len(set(wanted)) < len(wanted):
            self._fail(ValueError, "wrt", repr(wrt), "'value', 'gate' or a tuple of them")
        return wanted

    def _gradient(self, dy, shape):
        gradient = self._real("dy", dy)
        if gradient.shape != shape:
            expected = f"the shape of the forward result, {shape}"
            self._fail(ValueError, "dy", f"of shape {gradient.shape}", expected)
        return gradient

    def _outs(self, out, wanted, wrt):
        if out is None or (len(wanted) == 1 and not isinstance(out, tuple)):
            return (out,) * len(wanted)
        if not isinstance(out, tuple) or len(out) != len(wanted):
            kind = TypeError if not isinstance(out, tuple) else ValueError
            got = f"a tuple of {len(out)}" if isinstance(out, tuple) else f"a {type(out).__name__}"
            self._fail(kind, "out", got, f"one array or None for each of {' and '.join(wanted)}")
        return out

    def _target(self, out, array):
        target = self._memory("out", out)
        self._check_out(target, array.shape, exactly=True)
        dtype = float_type(array)
        if not np.can_cast(dtype, target.dtype, "same_kind"):
            self._fail(TypeError, "out", f"of dtype {target.dtype}", f"a dtype that {dtype} casts to")
        return target


def _computed(dtype):
    """The dtype in which a gradient is computed: bfloat16 by way of float32."""
    return np.dtype(np.float32) if is_extension(dtype) else dtype


if cython.ISA:
    cython.ufuncs.enable(GatedUnit)
    cython.ufuncs.enable(GatedBackward)

GATED = {gate.name: GatedUnit(gate) for gate in GATES}
