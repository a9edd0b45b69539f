"""logaddexp: the binary operation behind logsumexp, as a callable over its ufunc."""

from __future__ import annotations

import numpy as np

from . import control, dispatch, interop, rowwise
from .arguments import TableCallable, check_apart, float_type, is_extension
from .backends import cython, numba
from .backward import each, sum_to
from .device import calls as device_calls
from .device import pairs as device_pairs
from .docstrings import UFUNC_ARGUMENTS
from .reductions import logsumexp
from .reference.rows import result_dtype
from .table import LOGADDEXP

__all__ = ["LogAddExp", "logaddexp"]

FORWARD, BACKWARD = LOGADDEXP


class OnDevice:
    """What a call on device arrays asks of an operation: its kernel, its checks and refusals."""

    _fail, _real = TableCallable._fail, TableCallable._real
    _on_device, _summed_on_device = TableCallable._on_device, TableCallable._summed_on_device

    def __init__(self, kernel):
        self.kernel, self.__qualname__ = kernel, kernel.name

    def __call__(self, *arguments, **keywords):
        """The forward pass of the host."""
        return logaddexp(*arguments, **keywords)


FORWARD_ON_DEVICE, BACKWARD_ON_DEVICE = OnDevice(FORWARD), OnDevice(BACKWARD)


def _floating(name, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind != "f" and not is_extension(dtype):
        rowwise.fail(name, TypeError, "dtype", str(dtype), "a real floating dtype")
    return dtype


class LogAddExp:
    """Log of the sum of two exponentials, log(exp(a) + exp(b)), elementwise.

    Parameters
    ----------
    a, b : array_like
        Real, of shapes that broadcast; positional only.
    out, where, dtype, casting, order, subok : optional
        As for every NumPy ufunc; ``out=a`` works in place.

    Returns
    -------
    ndarray or scalar
        Of the broadcast shape and of the dtype that NumPy's promotion gives; integers give a float.

    Raises
    ------
    TypeError
        If an argument is complex, object, string or datetime; an unknown argument.
    ValueError
        If the shapes do not broadcast, or `out` has the wrong shape or is read-only.

    Notes
    -----
    m + log1p(exp(-abs(a - b))), m the larger: at most 1 ULP for float32 and float64, its unit floored at
    that of 1/2 (where the sum of the two exponentials is near 1 it cancels), and strictly 1 ULP where one
    of them dominates. Two equal infinities give that infinity, a NaN gives NaN; no warnings.

    ``reduce`` is `logsumexp` along an axis, ``accumulate`` its running value; the identity is -inf.
    ``logaddexp.ufunc`` is the real ufunc, with ``at``, ``outer``, ``reduceat`` and ``signature=``.

    References
    ----------
    Blanchard, Higham & Higham, Accurately computing the log-sum-exp and softmax functions, IMA Journal of
    Numerical Analysis 41(4), 2021; numpy.logaddexp.

    Examples
    --------
    >>> import fastrelu as fr
    >>> print(fr.logaddexp([0.0, 1.0], [-40.0, 1.0]))
    [4.24835426e-18 1.69314718e+00]
    >>> print(fr.logaddexp.reduce([[0.0, 0.0], [1.0, 2.0]], axis=1))
    [0.69314718 2.31326169]
    """

    nin, nout, nargs = 2, 1, 3
    identity = FORWARD.identity

    def __init__(self):
        self.__name__ = self.__qualname__ = FORWARD.row
        self.__module__ = "fastrelu"

    def __reduce__(self):
        return self.__qualname__

    def __repr__(self):
        return f"<fastrelu.{self.__qualname__}>"

    @property
    def ufunc(self):
        """The real ``numpy.ufunc`` underneath.

        Raises
        ------
        RuntimeError
            If nothing was compiled: the reference has no ufuncs.
        """
        return _ufunc(FORWARD, "logaddexp")

    def __call__(self, a, b, /, *out, **keywords):
        options = keywords | _named_out(out, keywords)
        out = options.get("out")
        alike = type(a) is type(b) is np.ndarray and a.dtype == b.dtype and a.shape == b.shape
        plain = not options or (len(options) == 1 and type(out) is np.ndarray)
        if alike and plain and a.dtype.char in "efdg":
            return dispatch.elementwise(FORWARD)(a, b, **options)
        if unknown := options.keys() - UFUNC_ARGUMENTS:
            raise TypeError(f"logaddexp: got an unexpected keyword argument {min(unknown)!r}")
        keywords.pop("out", None)
        if device_calls.any_on_device(a, b, out, keywords.get("where")):
            return device_pairs.forward(FORWARD_ON_DEVICE, {"a": a, "b": b}, out, keywords)
        if any(map(interop.has_array_ufunc, (a, b, out))):
            return self.ufunc(a, b, **options)
        if any(map(interop.is_subclass, (a, b))):
            return dispatch.elementwise(FORWARD)(a, b, **options)
        arrays = _operands("logaddexp", a=a, b=b)
        rowwise.broadcast_shapes("logaddexp", "b", *arrays)
        dtype = promoted((a, b), arrays)
        if interop.is_foreign(out):
            options["out"] = interop.to_numpy("logaddexp", "out", out)
        if is_extension(dtype):
            where = True if out is None else keywords.pop("where", True)
            result = dispatch.elementwise(FORWARD)(*(v.astype(np.float32) for v in arrays), **keywords)
            result = result.astype(keywords.get("dtype", dtype))
            if out is not None:
                np.copyto(options["out"], result, casting=keywords.get("casting", "same_kind"), where=where)
        else:
            result = dispatch.elementwise(FORWARD)(*arrays, **({"dtype": dtype} | options))
        return interop.as_kind_of((a, b), result) if out is None else out

    def reduce(self, a, axis=0, dtype=None, out=None, keepdims=False, initial=-np.inf, where=True):
        """Log of the sum of exponentials along an axis: `logsumexp`, with the arguments of a ufunc's reduce.

        Parameters
        ----------
        a : array_like
        axis : None, int or tuple of ints, default 0
        dtype : dtype, optional
            Of the computation and of the result; that of `a` by default.
        out : ndarray, optional
        keepdims : bool, default False
        initial : scalar or None, default -inf
            One more entry, in the dtype of `a`.
        where : array_like of bool
            Which entries count.

        Returns
        -------
        ndarray or scalar

        Raises
        ------
        TypeError, ValueError, numpy.exceptions.AxisError
            As `logsumexp`.

        Examples
        --------
        >>> import fastrelu as fr
        >>> print(fr.logaddexp.reduce([0.0, 0.0, -800.0], initial=-40.0))
        0.6931471805599453
        """
        if interop.has_array_ufunc(a) or interop.is_subclass(a):
            return self.ufunc.reduce(
                a, axis=axis, dtype=dtype, out=out, keepdims=keepdims, initial=initial, where=where
            )
        name = "logaddexp.reduce"
        if dtype is not None:
            a = rowwise.finish(a, rowwise.as_array(name, "a", a, "biuf").astype(_floating(name, dtype)))
        entry = rowwise.as_array(name, "initial", -np.inf if initial is None else initial, "biuf")
        if entry.ndim:
            rowwise.fail(name, ValueError, "initial", f"of shape {entry.shape}", "a number")
        if where is not True:
            array = rowwise.as_array(name, "a", a, "biuf")
            array = array.astype(result_dtype(array.dtype), copy=False)
            if rowwise.broadcast_shapes(name, "where", array, np.asarray(where)) != array.shape:
                expected = f"one that broadcasts to {array.shape}, that of a"
                rowwise.fail(name, ValueError, "where", f"of shape {np.shape(where)}", expected)
            a = rowwise.finish(a, np.where(where, array, array.dtype.type(-np.inf)))
        axis = None if np.ndim(a) == 0 and axis in (0, -1) else axis
        if entry == -np.inf:
            return logsumexp(a, axis=axis, keepdims=keepdims, out=out)
        with np.errstate(over="ignore"):
            entry = entry.astype(result_dtype(rowwise.as_array(name, "a", a, "biuf").dtype))
        return self(logsumexp(a, axis=axis, keepdims=keepdims), entry, out=out)

    def accumulate(self, a, axis=0, dtype=None, out=None):
        """Running log of the sum of exponentials along an axis.

        Parameters
        ----------
        a : array_like
        axis : int, default 0
        dtype : dtype, optional
            Of the computation and of the result; that of `a` by default.
        out : ndarray, optional

        Returns
        -------
        ndarray
            Of the shape of `a`; each step is rounded.

        Raises
        ------
        TypeError, ValueError, numpy.exceptions.AxisError
            As a ufunc's accumulate.

        Examples
        --------
        >>> import fastrelu as fr
        >>> print(fr.logaddexp.accumulate([0.0, 0.0, 0.0]))
        [0.         0.69314718 1.09861229]
        """
        if interop.has_array_ufunc(a) or interop.is_subclass(a):
            return self.ufunc.accumulate(a, axis=axis, dtype=dtype, out=out)
        name = "logaddexp.accumulate"
        given = out = out[0] if isinstance(out, tuple) else out
        array = rowwise.as_array(name, "a", a, "biuf")
        dtype = None if dtype is None else _floating(name, dtype)
        work = float_type(array) if dtype is None else dtype
        if out is not None:
            out = rowwise.check_out(name, out, array.shape, work)
        if control.BACKEND.get().name == "cython":
            result = self.ufunc.accumulate(array, axis=axis, dtype=dtype, out=out)
        else:
            result = array.astype(work)
            step, along = dispatch.elementwise(FORWARD), np.moveaxis(result, axis, 0)
            for i in range(1, len(along)):
                along[i] = step(along[i - 1], along[i])
        return rowwise.finish(a, result, out, given)

    def backward(self, dy, a, b, *, out=None):
        """Gradients of `logaddexp` with respect to both arguments: dy * sigmoid(a - b), dy * sigmoid(b - a).

        Parameters
        ----------
        dy : array_like
            The gradient with respect to the result, of its shape.
        a, b : array_like
            What the forward pass was given, real.
        out : pair of ndarray or None, optional
            Where to write the gradients; they may overlap the inputs.

        Returns
        -------
        da, db : ndarray or scalar
            Of the shape (axes that were broadcast are summed) and dtype of `a` and of `b`; 0 where that is
            -inf, whatever `dy` is, and NaN where both are +inf.

        Raises
        ------
        TypeError
            If an argument is not real, or `out` is not a pair or cannot hold the gradients.
        ValueError
            If shapes do not fit, one of `out` is read-only, or they share memory.

        Examples
        --------
        >>> import fastrelu as fr
        >>> da, db = fr.logaddexp.backward([1.0, 1.0], [0.0, 0.0], 0.0)
        >>> print(da, db)
        [0.5 0.5] 1.0
        """
        name = "logaddexp.backward"
        if device_calls.any_on_device(dy, a, b, *each(out)):
            kernels = {"a": (BACKWARD, ("a", "b")), "b": (BACKWARD, ("b", "a"))}
            outs = self._pair(name, out)
            results = device_pairs.backward(BACKWARD_ON_DEVICE, kernels, dy, {"a": a, "b": b}, outs)
            return tuple(results)
        if any(map(interop.has_array_ufunc, (dy, a, b, *each(out)))):
            ufunc = _ufunc(BACKWARD, name)
            options = [{} if o is None else {"out": o} for o in self._pair(name, out).values()]
            return ufunc(dy, a, b, **options[0]), ufunc(dy, b, a, **options[1])
        arrays = _operands(name, a=a, b=b)
        shape = rowwise.broadcast_shapes(name, "b", *arrays)
        dy = rowwise.check_dy(name, dy, shape)
        dtypes = [float_type(v) for v in arrays]
        targets = self._targets(name, out, arrays, dtypes)
        work = np.result_type(*(np.float32 if is_extension(d) else d for d in dtypes))
        if any(v.shape != shape for v in arrays):
            work = np.promote_types(work, np.float64)  # so that a sum rounds once
        dy, *values = (np.asarray(v).astype(work, copy=False) for v in (dy, *arrays))
        function, gradients = dispatch.elementwise(BACKWARD), []
        for x1, x2 in (values, values[::-1]):
            gradients.append(sum_to(function(dy, x1, x2), x1.shape))
        results = []
        for given, gradient, dtype, target, o in zip(
            (a, b), gradients, dtypes, targets, out or (None, None), strict=True
        ):
            results.append(rowwise.finish(given, gradient.astype(dtype, copy=False), target, o))
        return tuple(results)

    @staticmethod
    def _pair(name, out):
        if out is None:
            return {"a": None, "b": None}
        if not isinstance(out, tuple) or len(out) != 2:
            rowwise.fail(name, TypeError, "out", f"a {type(out).__name__}", "a pair of arrays or None")
        return dict(zip("ab", out, strict=True))

    @staticmethod
    def _targets(name, out, arrays, dtypes):
        out = LogAddExp._pair(name, out).values()
        targets = [
            None if o is None else rowwise.check_out(name, o, v.shape, d)
            for o, v, d in zip(out, arrays, dtypes, strict=True)
        ]
        check_apart(name, dict(zip("ab", targets, strict=True)))
        return targets


def _ufunc(kernel, name):
    if cython.ISA:
        cython.meet_bfloat16()
        return cython.UFUNCS[kernel]
    if numba.BACKEND.available:
        return numba.ufunc(kernel)
    raise RuntimeError(f"{name}.ufunc needs compiled kernels: {cython.BACKEND.detail}")


def _named_out(out, keywords):
    """What follows the arrays of a ufunc's call, as keywords: one `out`, of which a tuple has one."""
    if len(out) > 1:
        raise TypeError(f"logaddexp: got {2 + len(out)} positional arguments; expected a, b and out")
    if out and "out" in keywords:
        raise TypeError("logaddexp: got multiple values for argument 'out'")
    given = out[0] if out else keywords.get("out")
    if isinstance(given, tuple):
        if len(given) != 1:
            rowwise.fail("logaddexp", ValueError, "out", f"a tuple of {len(given)}", "one array")
        (given,) = given
    return {"out": given} if out or "out" in keywords else {}


def _operands(name, **given):
    """The arguments as arrays, of their own subclass, of a real dtype."""
    arrays = []
    for argument, value in given.items():
        array = rowwise.as_array(name, argument, value, "biuf")
        arrays.append(value if isinstance(value, np.ndarray) else array)
    return arrays


def promoted(given, arrays):
    """The dtype that NumPy's own logaddexp gives; a Python number takes on that of the array beside it."""
    kinds = [
        type(v) if type(v) in (bool, int, float) else a.dtype for v, a in zip(given, arrays, strict=True)
    ]
    kinds = [np.dtype(bool) if k is bool else k for k in kinds]
    return np.logaddexp.resolve_dtypes((*kinds, None))[-1].newbyteorder("=")


logaddexp = LogAddExp()
