"""LogSumExp: logsumexp of data that arrives in chunks, or lies in many places.

The sum of b exp(a) seen so far is kept as

    lead * exp(m)  +  rest * exp(anchor(m))

with m the largest entry, `lead` the sum of the weights of the entries equal to it, and `rest` the others,
both as pairs of numbers.  The anchor is a number near m on a coarse lattice: sums of equal anchors are added
as they are, so that nothing is multiplied by an exponential, and rounded, again and again while chunks are
merged.  Terms move to another anchor when m crosses a step of the lattice, after which they soon vanish.
What infinities and NaN make of a sum, ±inf or NaN, adds up by itself beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import rowwise, weighted
from .device.streaming import Sums, any_on_device
from .reference.arithmetic import two_sum
from .reference.rows import Rows, log_and_sign, quiet, result_dtype
from .weighted import weight_rows

__all__ = ["LogSumExp"]

STEP = 512.0  # in double, exp(STEP / 2) times any reasonable weight is far from overflow
MAX_AXES = 64  # NumPy's


def _anchor(m):
    return np.where(np.isfinite(m), STEP * np.rint(m / STEP), 0)


def _add(p, q):
    """The sum of two pairs."""
    high, low = two_sum(p[0], q[0])
    return two_sum(high, low + (p[1] + q[1]))


def _scaled(p, factor):
    return p[0] * factor, p[1] * factor


@dataclass(frozen=True)
class _Sum:
    """Sums of b exp(a), elementwise over arrays of one shape; adding two is associative but for roundings."""

    m: np.ndarray
    lead: tuple[np.ndarray, np.ndarray]
    rest: tuple[np.ndarray, np.ndarray]
    special: np.ndarray  # what entries or weights that are not finite add up to

    @classmethod
    def nothing(cls, shape):
        zero = np.zeros(shape, np.longdouble)
        return cls(np.full(shape, -np.inf, np.longdouble), (zero, zero), (zero, zero), zero)

    @classmethod
    def of(cls, a, b, dtype):
        """Over the rows of matrices; `b` may have one row for all, or be None."""
        made = weighted.parts(a, b, dtype)
        if made is None:
            return cls._by_numpy(a, b, dtype)
        m, lead, rest, known = made
        scale = np.exp(m - _anchor(m))
        total = cls(m, lead, _scaled(rest, scale), np.zeros_like(m))
        if known.all():
            return total
        left = ~known
        others = cls._by_numpy(a[left], b if b is None or len(b) == 1 else b[left], dtype)
        return total._with(left, others)

    @classmethod
    def _by_numpy(cls, a, b, dtype):
        work = np.dtype(float) if dtype.itemsize <= 4 else np.dtype(np.longdouble)
        a, b = np.broadcast_arrays(a.astype(work), work.type(1) if b is None else b.astype(work))
        finite = np.isfinite(a) & np.isfinite(b)
        special = np.where(finite | (b == 0), 0, b * np.exp(a)).sum(axis=1)
        live = finite & (b != 0)
        a, b = np.where(live, a, -np.inf), np.where(live, b, 0)
        m = a.max(axis=1, initial=-np.inf, keepdims=True)
        leads = a == m
        lead = np.where(leads, b, 0).sum(axis=1)
        rest = np.where(leads, 0, b * np.exp(a - _anchor(m))).sum(axis=1)
        return cls(m[:, 0], (lead, np.zeros_like(lead)), (rest, np.zeros_like(rest)), special)

    def _with(self, places, other):
        """With the sums of `other` at some places."""

        def put(into, values):
            into = into.copy()
            into[places] = values
            return into

        lead = tuple(map(put, self.lead, other.lead))
        rest = tuple(map(put, self.rest, other.rest))
        return _Sum(put(self.m, other.m), lead, rest, put(self.special, other.special))

    def __add__(self, other):
        m = np.maximum(self.m, other.m)
        anchor, zero = _anchor(m), np.zeros_like(m)
        lead = rest = (zero, zero)
        for part in (self, other):
            leads = part.m == m
            lead = _add(lead, _scaled(part.lead, leads))
            rest = _add(rest, _scaled(part.lead, np.where(leads, 0, np.exp(part.m - anchor))))
            rest = _add(rest, _scaled(part.rest, np.exp(_anchor(part.m) - anchor)))
        return _Sum(m, lead, rest, self.special + other.special)

    def log_and_sign(self):
        """Of the absolute sum, and of the sum."""
        scale = np.exp(_anchor(self.m) - np.where(np.isfinite(self.m), self.m, 0))
        log, sign = log_and_sign(self.m, self.lead[0], self.lead[1] + sum(_scaled(self.rest, scale)))
        ordinary = self.special == 0
        return np.where(ordinary, log, np.log(abs(self.special))), np.where(
            ordinary, sign, np.sign(self.special)
        )


class LogSumExp:
    """`logsumexp` of data that comes in chunks: update it, merge two of them, ask for the result.

    Parameters
    ----------
    axis : None, int or tuple of ints, default None
        The axes of each chunk to sum over; None: all. The other axes must have the same lengths in every
        chunk.
    dtype : dtype, optional
        Of the result; that of the first chunk (float64 for integers) unless given.
    return_sign : bool, default False
        Whether the result is the log of the absolute sum, and the sign of the sum. Without it a negative
        sum gives NaN.

    Raises
    ------
    TypeError
        If `dtype` is not a real floating dtype, or `axis` is not made of integers.

    Notes
    -----
    The result is within 1 ULP (float32 and float64; its unit floored at that of 1/2) of logsumexp of all the
    data, however it was cut and in whatever order it was merged; with weights of both signs, times the
    condition number. Infinities and NaN count as in `logsumexp`; no data gives -inf.

    The state has the size of the result. It pickles and copies, so that workers may send theirs home.

    Of arrays on a CUDA device it stays there, and so does the result, which is an array of their library;
    nothing waits for the device. All chunks are then of one library, device and dtype, which is that of the
    result, and `b` is an array there that broadcasts to the shape of its chunk.

    References
    ----------
    Blanchard, Higham & Higham, Accurately computing the log-sum-exp and softmax functions, IMA Journal of
    Numerical Analysis 41(4), 2021; Knuth, The Art of Computer Programming 2, 4.2.2 (exact addition).

    Examples
    --------
    >>> total = fr.LogSumExp()
    >>> for chunk in ([0.0, 1.0], [2.0]):
    ...     total.update(chunk)
    >>> bool(abs(total.result() - fr.logsumexp([0.0, 1.0, 2.0])) < 1e-15)
    True
    >>> total
    LogSumExp(axis=None, dtype=float64) over 3 entries
    """

    def __init__(self, axis=None, dtype=None, return_sign=False):
        if dtype is not None:
            dtype = np.dtype(dtype)
            if dtype.kind != "f" and dtype.name != "bfloat16":
                rowwise.fail("LogSumExp", TypeError, "dtype", str(dtype), "a real floating dtype")
        rowwise.as_axes("LogSumExp", axis, MAX_AXES)
        self.axis = tuple(axis) if isinstance(axis, list) else axis
        self.dtype, self.return_sign = dtype, bool(return_sign)
        self.entries = 0
        self._sum = self._shape = None

    def __repr__(self):
        signs = ", return_sign=True" if self.return_sign else ""
        return f"LogSumExp(axis={self.axis}, dtype={self.dtype}{signs}) over {self.entries} entries"

    def update(self, chunk, b=None):
        """Add a chunk of data.

        Parameters
        ----------
        chunk : array_like
            Real.
        b : array_like, optional
            Weights, as of `logsumexp`.

        Raises
        ------
        TypeError
            If a dtype is not real.
        ValueError
            If `b` does not broadcast, or the result's shape is another one than that of the chunks before.
        numpy.exceptions.AxisError
            If `axis` does not exist in the chunk.

        Examples
        --------
        >>> total = fr.LogSumExp(axis=0)
        >>> total.update([[0.0, 1.0], [0.0, 1.0]])
        >>> print(total.result())
        [0.69314718 1.69314718]
        """
        name = "LogSumExp.update"
        if any_on_device(chunk, b) or type(self._sum) is Sums:
            self._update_on_device(name, chunk, b)
            return
        masked = isinstance(chunk, np.ma.MaskedArray)
        a = rowwise.as_array(name, "chunk", rowwise.unmasked(chunk) if masked else chunk, "biuf")
        weights = None if b is None else rowwise.as_array(name, "b", b, "biuf")
        shape = a.shape if b is None else rowwise.broadcast_shapes(name, "b", a, weights)
        rows = Rows(shape, rowwise.as_axes(name, self.axis, len(shape)))
        dtype = self.dtype or result_dtype(a.dtype)
        self._check_shape(name, "chunk", rows.kept_shape)
        a = rows.of(np.broadcast_to(a, shape))
        made = quiet(_Sum.of)(a, None if b is None else weight_rows(weights, rows), dtype)
        made = quiet(_Sum.__add__)(self._sum, made) if self._sum is not None else made
        self.entries += a.size
        self.dtype, self._shape, self._sum = dtype, rows.kept_shape, made

    def _update_on_device(self, name, chunk, b):
        if self._sum is not None and type(self._sum) is not Sums:
            rowwise.fail(name, TypeError, "chunk", "on a device", "in host memory, as the first one")
        made, entries = Sums.of_chunk(name, chunk, b, self.axis, self.dtype, self._sum)
        self.entries += entries
        self.dtype, self._shape, self._sum = made.dtype, made.shape, made

    def merge(self, other):
        """Add what another LogSumExp has seen; `other` stays as it is.

        Parameters
        ----------
        other : LogSumExp
            With the same `axis`.

        Raises
        ------
        TypeError
            If `other` is not a LogSumExp, or has seen device arrays of another dtype than that of the result.
        ValueError
            If it has another `axis`, or a result of another shape.

        Examples
        --------
        >>> here, there = fr.LogSumExp(), fr.LogSumExp()
        >>> here.update([0.0])
        >>> there.update([0.0])
        >>> here.merge(there)
        >>> print(here.result())
        0.6931471805599453
        """
        name = "LogSumExp.merge"
        if not isinstance(other, LogSumExp):
            rowwise.fail(name, TypeError, "other", f"a {type(other).__name__}", "a LogSumExp")
        if other.axis != self.axis:
            rowwise.fail(name, ValueError, "other", f"along axis {other.axis}", f"one along axis {self.axis}")
        if other._sum is None:
            return
        self._check_shape(name, "other", other._shape)
        if type(other._sum) is Sums and self.dtype is not None and str(self.dtype) != str(other.dtype):
            rowwise.fail(
                name, TypeError, "other", f"of dtype {other.dtype}", f"{self.dtype}, that of the result"
            )
        made = other._sum if self._sum is None else self._merged(name, other)
        self.dtype = self.dtype or other.dtype
        self.entries += other.entries
        self._shape, self._sum = other._shape, made

    def _merged(self, name, other):
        here, there = (type(one._sum) is Sums for one in (self, other))
        if here != there:
            places = ["of device arrays" if on_device else "of host memory" for on_device in (there, here)]
            rowwise.fail(name, TypeError, "other", *places)
        return (
            self._sum.with_those_of(name, other._sum) if here else quiet(_Sum.__add__)(self._sum, other._sum)
        )

    def _check_shape(self, name, argument, shape):
        if self._sum is not None and shape != self._shape:
            got = f"one whose result has the shape {shape}"
            rowwise.fail(name, ValueError, argument, got, f"{self._shape}, as before")

    def result(self):
        """logsumexp of all the data so far.

        Returns
        -------
        res : ndarray or scalar
            -inf where there is no data.
        sign : ndarray or scalar
            Only with ``return_sign=True``: 1, -1 or 0.

        Examples
        --------
        >>> fr.LogSumExp().result()
        np.float64(-inf)
        """
        if type(self._sum) is Sums:
            results = self._sum.results(self.return_sign)
            return tuple(results) if self.return_sign else results[0]
        total = _Sum.nothing(()) if self._sum is None else self._sum
        log, sign = quiet(_Sum.log_and_sign)(total)
        dtype, shape = self.dtype or np.dtype(float), self._shape or ()
        if not self.return_sign:
            return np.where(sign < 0, np.nan, log).astype(dtype).reshape(shape)[()]
        return tuple(v.astype(dtype).reshape(shape)[()] for v in (log, sign))
