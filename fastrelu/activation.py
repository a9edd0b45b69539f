"""Activation objects: call one for the forward pass, its ``.backward`` for the backward pass.

A call first meets the fast path of the compiled kernels, which takes what people mostly pass; everything
else arrives here: array-likes, broadcasting, casts, ``where=``, subclasses, other libraries' arrays, and
every error.  Arguments are checked before anything is written.
"""

from __future__ import annotations

import numpy as np

from . import dispatch, docstrings, interop
from .backends import cython
from .table import Row

__all__ = ["Activation"]

UFUNC_KEYWORDS = {
    "out": None,
    "where": True,
    "dtype": None,
    "casting": "same_kind",
    "order": "K",
    "subok": True,
}

if cython.ISA:
    FastCall = cython.ufuncs.FastCall
else:

    class FastCall:
        """Stands in for the compiled class: every call is a general one."""

        def __call__(self, *args, **kwargs):
            return self.general(*args, **kwargs)


class _Callable(FastCall):
    """What forward and backward objects share: a name to pickle by, and checks of their arguments."""

    def __init__(self, row: Row, kernel, qualname):
        self.row, self.kernel = row, kernel
        self.__name__ = qualname.rpartition(".")[2]
        self.__qualname__, self.__module__ = qualname, "fastrelu"
        self.general = self._call

    def __reduce__(self):
        return self.__qualname__

    def __repr__(self):
        return f"<fastrelu.{self.__qualname__}>"

    @property
    def ufunc(self):
        """The real ``numpy.ufunc`` underneath; parameters are further inputs.

        Raises
        ------
        RuntimeError
            If nothing was compiled: the reference has no ufuncs.
        """
        if not cython.ISA:
            raise RuntimeError(
                f"{self.__qualname__}.ufunc needs the compiled kernels: {cython.BACKEND.detail}"
            )
        return cython.UFUNCS[self.kernel]

    def _fail(self, kind, argument, got, expected):
        raise kind(f"{self.__qualname__}: argument {argument!r} is {got}; expected {expected}")

    def _real(self, argument, value):
        """`value` as an array of a real dtype."""
        if interop.is_foreign(value):
            value = interop.to_numpy(self.__qualname__, argument, value)
        array = value if isinstance(value, (np.ndarray, np.generic)) else np.asanyarray(value)
        if array.dtype.kind not in "biuf" and not _is_extension(array.dtype):
            self._fail(
                TypeError, argument, f"of dtype {array.dtype}", "a real floating, integer or bool dtype"
            )
        return array

    def _check_out(self, out, shape):
        if not isinstance(out, np.ndarray):
            self._fail(TypeError, "out", f"a {type(out).__name__}", "an ndarray")
        if not out.flags.writeable:
            self._fail(ValueError, "out", "read-only", "a writeable array")
        try:
            fits = np.broadcast_shapes(shape, out.shape) == out.shape
        except ValueError:
            fits = False
        if not fits:
            self._fail(ValueError, "out", f"of shape {out.shape}", f"shape {shape}")

    def _parameters(self, positional, keywords):
        """Match the caller's parameters with the table: name -> value."""
        names = [p.name for p in self.row.parameters]
        if len(positional) > len(names):
            takes = f"x and {', '.join(names)}" if names else "x"
            raise TypeError(
                f"{self.__qualname__}: got {len(positional) + 1} positional arguments; expected {takes}"
            )
        given = dict(zip(names, positional, strict=False))
        for name in names:
            if name in keywords:
                if name in given:
                    raise TypeError(f"{self.__qualname__}: got multiple values for argument {name!r}")
                given[name] = keywords.pop(name)
        for p in self.row.parameters:
            if p.name not in given:
                if p.default is None:
                    raise TypeError(f"{self.__qualname__}: missing required argument {p.name!r}")
                given[p.name] = p.default
        return given

    def _cast_parameter(self, p, value, dtype):
        """A parameter in the dtype of the computation; an unusable scalar is an error, a lane becomes NaN."""
        if type(value) is not float:
            value = self._real(p.name, value)
        with np.errstate(over="ignore", under="ignore"):
            cast = np.asarray(value).astype(dtype, copy=False)
        if cast.ndim == 0 and p.constrained and not p.accepts(cast):
            self._fail(ValueError, p.name, np.asarray(value)[()], p.requirement)
        return cast

    def _along_channels(self, weight, axis, x_shape):
        """One value per channel, shaped to broadcast along `axis`; any other array as it is."""
        if weight.ndim != 1 or weight.size == 1:
            return weight
        ndim = len(x_shape)
        if not -ndim <= axis < ndim:
            if axis == self.row.channel_axis and ndim < 2:
                return weight  # a vector has no channels
            raise np.exceptions.AxisError(axis, ndim, f"{self.__qualname__}: argument 'axis'")
        if weight.size == x_shape[axis]:
            return weight.reshape([-1 if a == axis % ndim else 1 for a in range(ndim)])
        if weight.size != x_shape[-1]:
            self._fail(
                ValueError,
                self.row.parameters[0].name,
                f"of shape {weight.shape}",
                f"one value per channel ({x_shape[axis]} along axis {axis}) or an array that broadcasts to {x_shape}",
            )
        return weight

    def _take_axis(self, keywords):
        axis = keywords.pop("axis", self.row.channel_axis)
        if self.row.channel_axis is not None and (isinstance(axis, bool) or not hasattr(axis, "__index__")):
            self._fail(TypeError, "axis", repr(axis), "an integer")
        return axis

    def _no_more(self, keywords):
        if keywords:
            raise TypeError(
                f"{self.__qualname__}: got an unexpected keyword argument {next(iter(keywords))!r}"
            )


def _is_extension(dtype):
    """Whether this is bfloat16 or its like: kind V, with a type number of its own."""
    return dtype.kind == "V" and dtype.num >= 256


def _float_type(array):
    """The dtype in which a derivative or a parameter meets `array`: its own, or what np.exp makes of it."""
    if array.dtype.kind in "biu":
        return np.exp.resolve_dtypes((array.dtype, None))[1]
    return array.dtype.newbyteorder("=")


class Activation(_Callable):
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

    def __init__(self, row: Row, variants=()):
        super().__init__(row, row.kernels()["forward"], row.qualname)
        if cython.ISA:
            parameterless = not row.parameters and row.option is None
            self.bind_kernel(cython.KERNEL_INDEX[self.kernel.name], 1, row.parameters, parameterless)
        self.backward = Backward(row)
        self.variants = {}
        if row.option:
            self.variants = {row.option[1]: self} | {v.row.option[1]: v for v in variants}
            for variant in variants:
                setattr(self, variant.row.option[1], variant)
                variant.variants = self.variants
                variant.backward.variants = self.variants
            self.backward.variants = self.variants
        self.__signature__ = docstrings.forward_signature(row)
        self.__doc__ = docstrings.forward_doc(row)

    def _call(self, *args, **keywords):
        if not args:
            raise TypeError(f"{self.__qualname__}: missing required positional argument 'x'")
        x, *positional = args
        if self.row.option and (variant := self._variant(positional, keywords)) is not self:
            return variant(x, **keywords)
        if positional and not self.row.parameters and not self.row.option and "out" not in keywords:
            keywords["out"] = positional.pop(0)
        parameters = self._parameters(positional, keywords)
        axis = self._take_axis(keywords) if self.row.channel_axis is not None else None
        given = {name: keywords.pop(name) for name in UFUNC_KEYWORDS if name in keywords}
        self._no_more(keywords)

        if any(map(interop.has_array_ufunc, (x, given.get("out"), *parameters.values()))):
            return self.ufunc(x, *parameters.values(), **given)

        array = self._real("x", x)
        dtype = _float_type(array) if given.get("dtype") is None else np.dtype(given["dtype"])
        cast = [self._cast_parameter(p, parameters[p.name], dtype) for p in self.row.parameters]
        if axis is not None:
            cast = [self._along_channels(p, axis, array.shape) for p in cast]
        try:
            shape = np.broadcast_shapes(array.shape, *(p.shape for p in cast))
        except ValueError:
            self._fail(
                ValueError,
                self.row.parameters[0].name,
                f"of shape {cast[0].shape}",
                f"a shape that broadcasts with x, {array.shape}",
            )
        out = given.get("out")
        if isinstance(out, tuple) and len(out) == 1:
            out = out[0]
        foreign_out = out is not None and interop.is_foreign(out)
        if foreign_out:
            given["out"] = interop.to_numpy(self.__qualname__, "out", out)
        if out is not None:
            self._check_out(given["out"][0] if isinstance(given["out"], tuple) else given["out"], shape)
        function = dispatch.elementwise(self.kernel)
        if _is_extension(array.dtype) and not given:
            result = function(array.astype(np.float32), *(p.astype(np.float32) for p in cast)).astype(
                array.dtype
            )
        else:
            result = function(array, *cast, **given)
        if foreign_out:
            return out
        return interop.like(x, result) if interop.is_foreign(x) else result

    def _variant(self, positional, keywords):
        keyword, own = self.row.option
        if positional and keyword in keywords:
            raise TypeError(f"{self.__qualname__}: got multiple values for argument {keyword!r}")
        chosen = positional.pop(0) if positional else keywords.pop(keyword, own)
        return self._chosen_variant(chosen)

    def _chosen_variant(self, chosen):
        if not isinstance(chosen, str) or chosen not in self.variants:
            expected = " or ".join(map(repr, self.variants))
            self._fail(ValueError, self.row.option[0], repr(chosen), expected)
        return self.variants[chosen]


class Backward(_Callable):
    """The backward pass of an `Activation`: ``dy * f'``, and the gradients of parameters."""

    def __init__(self, row: Row):
        self.kernels = row.kernels()
        super().__init__(row, self.kernels["backward"], f"{row.qualname}.backward")
        if cython.ISA and not any(p.learned for p in row.parameters):  # or the result would be a tuple
            self.bind_kernel(cython.KERNEL_INDEX[self.kernel.name], 2, row.parameters, False)
        self.variants = {}
        self.__signature__ = docstrings.backward_signature(row)
        self.__doc__ = docstrings.backward_doc(row)

    def _call(self, dy, x=None, /, *extra, y=None, out=None, wrt=None, **keywords):
        if extra:
            raise TypeError(
                f"{self.__qualname__}: got {2 + len(extra)} positional arguments; expected dy and x, "
                "parameters by keyword"
            )
        x = keywords.pop("x", x)
        if self.row.option:
            variant = Activation._chosen_variant(self, keywords.pop(self.row.option[0], self.row.option[1]))
            if variant.backward is not self:
                return variant.backward(dy, x, y=y, out=out, wrt=wrt, **keywords)
        at_zero = None
        if self.row.knot is not None:
            at_zero = keywords.pop("at_zero", None)
        axis = self._take_axis(keywords) if self.row.channel_axis is not None else None
        parameters = self._parameters((), keywords)
        self._no_more(keywords)
        wanted = self._wanted(wrt)
        kernel_name, source_name, source = self._source(x, y, at_zero, wanted)

        dy_array, array = self._real("dy", dy), self._real(source_name, source)
        dtype = _float_type(array)
        cast = [self._cast_parameter(p, parameters[p.name], dtype) for p in self.row.parameters]
        own_shapes = {"x": array.shape} | {p.name: np.shape(parameters[p.name]) for p in self.row.parameters}
        if axis is not None:
            cast = [self._along_channels(p, axis, array.shape) for p in cast]
        shapes = {"x": array.shape} | {
            p.name: c.shape for p, c in zip(self.row.parameters, cast, strict=True)
        }
        if source_name == "y":
            self._check_from_y(cast)
        shape = np.broadcast_shapes(*shapes.values())
        if dy_array.shape != shape:
            self._fail(
                ValueError, "dy", f"of shape {dy_array.shape}", f"the shape of the forward result, {shape}"
            )
        extra_inputs = [] if at_zero is None else [self._cast_parameter_like("at_zero", at_zero, dtype)]

        outs = self._outs(out, wanted, own_shapes)
        results = []
        for name in wanted:
            kernel = self.kernels[kernel_name if name == "x" else f"backward_wrt_{name}"]
            inputs = [dy_array, array, *cast, *(extra_inputs if name == "x" else [])]
            target = outs[name]
            direct = target if target is not None and shapes[name] == shape == own_shapes[name] else None
            results.append((name, target, direct, kernel, inputs))
        # an `out` may be one of the inputs, so every gradient is computed before any is written over one,
        # the one that writes in place last
        made = {}
        for name, target, direct, kernel, inputs in sorted(results, key=lambda r: r[2] is not None):
            function = dispatch.elementwise(kernel)
            keywords = {"dtype": dtype} if direct is None else {"dtype": dtype, "out": direct}
            full = function(*inputs, **keywords)
            made[name] = full if direct is not None else _sum_to(full, shapes[name]).reshape(own_shapes[name])
        for name, target, direct, _, _ in results:
            if target is not None and direct is None:
                np.copyto(target, made[name], casting="same_kind")
                made[name] = target
            elif target is None and made[name].ndim == 0:
                made[name] = made[name][()]
        if interop.is_foreign(source):
            made = {name: interop.like(source, value) for name, value in made.items()}
        return (
            made[wanted[0]]
            if wrt is None and len(wanted) == 1 or isinstance(wrt, str)
            else tuple(made[name] for name in wanted)
        )

    def _wanted(self, wrt):
        names = ["x", *(p.name for p in self.row.parameters)]
        if wrt is None:
            return ["x", *(p.name for p in self.row.parameters if p.learned)]
        wanted = [wrt] if isinstance(wrt, str) else list(wrt)
        for name in wanted:
            if name not in names:
                self._fail(ValueError, "wrt", repr(wrt), f"names among {', '.join(map(repr, names))}")
        if not wanted:
            self._fail(ValueError, "wrt", repr(wrt), "at least one name")
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
            if needs and p.name == needs.name and not np.all(needs.accepts(value)):
                raise ValueError(
                    f"{self.__qualname__}: argument 'y' was given, but with a negative {p.name} the derivative "
                    f"is not a function of the output; expected x, or {needs.requirement}"
                )

    def _cast_parameter_like(self, name, value, dtype):
        return np.asarray(self._real(name, value)).astype(dtype, copy=False)

    def _outs(self, out, wanted, shapes):
        """`out` for each wanted gradient: an array is the one of x, a tuple has one (or None) for each."""
        if isinstance(out, tuple):
            if len(out) != len(wanted):
                self._fail(
                    ValueError, "out", f"a tuple of {len(out)}", f"one array or None for each of {wanted}"
                )
            outs = dict(zip(wanted, out, strict=True))
        else:
            outs = dict.fromkeys(wanted)
            outs[wanted[0] if len(wanted) == 1 else "x"] = out
        for name in wanted:
            if outs[name] is not None:
                self._check_out(outs[name], shapes[name])
                if outs[name].shape != shapes[name]:
                    self._fail(ValueError, "out", f"of shape {outs[name].shape}", f"shape {shapes[name]}")
        return {name: outs[name] for name in wanted}


def _sum_to(gradient, shape):
    """Sum over the axes along which an operand of `shape` was broadcast, in double precision at least."""
    gradient = np.asarray(gradient)
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
    for _class in (Activation, Backward):
        cython.ufuncs.enable(_class)
