"""What the public callables share: names to pickle by, and arguments checked before anything is written."""

from __future__ import annotations

import itertools

import numpy as np

from . import dispatch, interop
from .backends import cython, numba
from .row import Row

__all__ = [
    "TableCallable",
    "check_apart",
    "computing_type",
    "delivered",
    "float_type",
    "is_extension",
    "result_memory",
]

if cython.ISA:
    FastCall = cython.ufuncs.FastCall
else:

    class FastCall:
        """Stands in for the compiled class: every call is a general one."""

        def __call__(self, *args, **kwargs):
            return self.general(*args, **kwargs)


class TableCallable(FastCall):
    """A callable over a kernel of the table; subclasses define ``_call``, the general path."""

    def __init__(self, row: Row, kernel, qualname):
        self.row, self.kernel = row, kernel
        self.__name__ = qualname.rpartition(".")[2]
        self.__qualname__, self.__module__ = qualname, "fastrelu"
        self.general = self._call

    def __reduce__(self):
        return self.__qualname__

    def __repr__(self):
        return f"<{self.__module__}.{self.__qualname__}>"

    @property
    def ufunc(self):
        """The real ``numpy.ufunc`` underneath; parameters are further inputs.

        Raises
        ------
        RuntimeError
            If nothing was compiled, and Numba is not installed either: the reference has no ufuncs.
        """
        if not cython.ISA and not numba.BACKEND.available:
            raise RuntimeError(
                f"{self.__qualname__}.ufunc needs compiled kernels: "
                f"{cython.BACKEND.detail}; {numba.BACKEND.detail}"
            )
        return self._ufunc_of(self.kernel)

    def _elementwise(self, kernel):
        """The callable that runs a kernel of this object, with a ufunc's signature."""
        return dispatch.elementwise(kernel)

    def _on_device(self, kernel, char, cc):
        """The device function that runs a kernel of this object on arrays of a dtype."""
        from fastrelu.kernels.cuda import elementwise

        return elementwise.function_of(kernel.name, char, dispatch.control.ACCURACY.get())

    def _summed_on_device(self, kernel, char, cc):
        """The same for results that are summed, which are not rounded before."""
        from fastrelu.kernels.cuda import elementwise

        return elementwise.term_of(kernel.name, kernel.summed, char, dispatch.control.ACCURACY.get())

    def _reads(self, *arrays):
        """Whether kernels read these arrays of an extension dtype as they are."""
        return dispatch.reads_bfloat16() and all(a.dtype.name == "bfloat16" for a in arrays)

    def _sums(self, kernel, dtype):
        """What sums a kernel's results; None where nothing does both at once."""
        return dispatch.sums_kernel(kernel, dtype)

    def _ufunc_of(self, kernel):
        cython.meet_bfloat16()
        return cython.UFUNCS[kernel] if cython.ISA else numba.ufunc(kernel)

    def _fail(self, kind, argument, got, expected):
        raise kind(f"{self.__qualname__}: argument {argument!r} is {got}; expected {expected}")

    def _real(self, argument, value):
        """`value` as an array of a real dtype."""
        if interop.is_foreign(value):
            value = interop.to_numpy(self.__qualname__, argument, value)
        array = value if isinstance(value, (np.ndarray, np.generic)) else np.asanyarray(value)
        if array.dtype.kind not in "biuf" and not is_extension(array.dtype):
            self._fail(
                TypeError, argument, f"of dtype {array.dtype}", "a real floating, integer or bool dtype"
            )
        if is_extension(array.dtype):
            cython.meet_bfloat16()
        return array

    def _memory(self, argument, value):
        """A foreign array's memory; anything else as it is."""
        if value is not None and interop.is_foreign(value):
            return interop.to_numpy(self.__qualname__, argument, value)
        return value

    def _check_out(self, out, shape, exactly=False):
        """`out` must take a result of `shape`; as a ufunc's it may be larger, unless `exactly`."""
        if not isinstance(out, np.ndarray):
            self._fail(TypeError, "out", f"a {type(out).__name__}", "an ndarray")
        if not out.flags.writeable:
            self._fail(ValueError, "out", "read-only", "a writeable array")
        try:
            fits = out.shape == (shape if exactly else np.broadcast_shapes(shape, out.shape))
        except ValueError:
            fits = False
        if not fits:
            self._fail(ValueError, "out", f"of shape {out.shape}", f"shape {shape}")

    def _result_shape(self, array, parameters):
        shape = array.shape
        for p, value in zip(self.row.parameters, parameters, strict=True):
            try:
                shape = np.broadcast_shapes(shape, value.shape)
            except ValueError:
                expected = f"a shape that broadcasts with {shape}, that of x"
                if shape != array.shape:
                    expected += " and of the parameters before it"
                self._fail(ValueError, p.name, f"of shape {value.shape}", expected)
        return shape

    def _chosen_variant(self, chosen):
        if not isinstance(chosen, str) or chosen not in self.variants:
            expected = " or ".join(map(repr, self.variants))
            self._fail(ValueError, self.row.option[0], repr(chosen), expected)
        return self.variants[chosen]

    def _parameters(self, positional, keywords):
        """Match the caller's parameters with the table: name -> value."""
        names = [p.name for p in self.row.parameters]
        if len(positional) > len(names):
            takes = " and ".join(["x", *names])
            count = len(positional) + 1
            raise TypeError(f"{self.__qualname__}: got {count} positional arguments; expected {takes}")
        given = dict(zip(names, positional, strict=False))
        for name in names:
            if name in keywords:
                if name in given:
                    raise TypeError(f"{self.__qualname__}: got multiple values for argument {name!r}")
                given[name] = keywords.pop(name)
        for p in self.row.parameters:
            if p.none_is_default and given.get(p.name) is None:
                given[p.name] = p.default
            if p.name not in given:
                if p.default is None:
                    raise TypeError(f"{self.__qualname__}: missing required argument {p.name!r}")
                given[p.name] = p.default
        return given

    def _cast_parameter(self, p, value, dtype):
        """A parameter in the dtype of the computation; an unusable scalar is an error, a lane becomes NaN."""
        if type(value) is not float:
            value = self._real(p.name, value)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            cast = np.asarray(value).astype(dtype, copy=False)
        if cast.ndim == 0 and p.constrained and not p.accepts(cast):
            self._fail(ValueError, p.name, np.asarray(value)[()], p.requirement)
        return cast

    def _check_order(self, cast):
        """Parameters that must reach another one, in the dtype of the computation."""
        values = dict(zip((p.name for p in self.row.parameters), cast, strict=True))
        for p in self.row.parameters:
            if not p.not_below:
                continue
            value, least = values[p.name], values[p.not_below]
            if value.ndim == least.ndim == 0 and not value >= least:
                expected = f"{p.requirement}, which is {least[()]}"
                self._fail(ValueError, p.name, value[()], expected)

    def _along_channels(self, weight, axis, x_shape):
        """One value per channel, shaped to broadcast along `axis`; any other array as it is."""
        if weight.ndim != 1 or weight.size == 1:
            return weight
        ndim, name = len(x_shape), self.row.parameters[0].name
        if not -ndim <= axis < ndim:
            if axis == self.row.channel_axis and ndim < 2:  # a vector has no channels
                if ndim and x_shape[0] not in (1, weight.size):
                    self._fail(ValueError, name, f"of shape {weight.shape}", f"1 value or {x_shape[0]}")
                return weight
            raise np.exceptions.AxisError(axis, ndim, f"{self.__qualname__}: argument 'axis'")
        if weight.size == x_shape[axis]:
            return weight.reshape([-1 if a == axis % ndim else 1 for a in range(ndim)])
        if weight.size != x_shape[-1]:
            self._fail(
                ValueError,
                name,
                f"of shape {weight.shape}",
                f"1 value, {x_shape[axis]} along axis {axis} or {x_shape[-1]} along the last, "
                f"or an array that broadcasts to {x_shape}",
            )
        return weight

    def _take_axis(self, keywords):
        axis = keywords.pop("axis", self.row.channel_axis)
        if self.row.channel_axis is not None and (isinstance(axis, bool) or not hasattr(axis, "__index__")):
            self._fail(TypeError, "axis", repr(axis), "an integer")
        return axis

    def _no_more(self, keywords):
        if keywords:
            known = " and ".join(p.name for p in self.row.parameters)
            raise TypeError(
                f"{self.__qualname__}: got an unexpected keyword argument {next(iter(keywords))!r}; "
                + (f"its parameters: {known}" if known else "it has no parameters")
            )


def check_apart(name, targets):
    """Refuse that results of the function `name` share memory; `targets` are arrays, or None, by result."""
    given = [(result, array) for result, array in targets.items() if array is not None]
    for (one, first), (other, second) in itertools.combinations(given, 2):
        if np.shares_memory(first, second):
            raise ValueError(
                f"{name}: argument 'out' is the same memory for {one} and {other}; "
                "expected arrays that share none"
            )


def is_extension(dtype):
    """Whether this is bfloat16 or its like: kind V, with a type number of its own, and floating."""
    if dtype.kind != "V" or dtype.num < 256:
        return False
    try:
        return np.exp.resolve_dtypes((dtype, None))[1].num == dtype.num
    except TypeError:
        return False


def float_type(array):
    """The dtype in which a derivative or a parameter meets `array`: its own, or what np.exp makes of it."""
    if array.dtype.kind in "biu":
        return np.exp.resolve_dtypes((array.dtype, None))[1]
    return array.dtype.newbyteorder("=")


def computing_type(dtype):
    """What one pass over arrays of a float dtype computes in: 16 bits are too few."""
    return np.dtype(np.float32) if dtype.itemsize == 2 or is_extension(dtype) else dtype


def result_memory(out, shape, dtype, *inputs):
    """Contiguous memory for one pass to write: that of `out` where it may be written, else new.

    It may be an input, element for element.
    """
    if type(out) is np.ndarray and out.flags.c_contiguous and out.flags.aligned and out.dtype == dtype:
        apart = (not np.may_share_memory(a, out) or a.ctypes.data == out.ctypes.data for a in inputs)
        if out.dtype.isnative and all(apart):
            return out
    return dispatch.empty(shape, dtype)


def delivered(source, out, memory, result):
    """The result in `out`, whose memory this is, or as the kind of array that `source` is."""
    if out is not None:
        if memory is not result:
            np.copyto(memory, result, casting="same_kind")
        return out
    return interop.like(source, result) if interop.is_foreign(source) else result
