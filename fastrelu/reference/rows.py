"""The reference twin of the reductions: logsumexp, softmax and their relatives, and their gradients.

As `reference` for activations, this module is the definition, the oracle (on a wider dtype)
and the fallback.  `axis` is None, an integer or a tuple; the result has the dtype of the
input (float64 for integers); nothing warns.

With m the largest entry of a row and s = sum exp(x - m) over all entries but that one:

    logsumexp      m + log1p(s)
    log_softmax_j  (x_j - m) - log1p(s)
    softmax_j      exp(x_j - m) / (1 + s)

logsumexp0 and softmax0 are those of the row with one more entry, 0, of which softmax0 gives no value.

Leaving the largest entry out of s keeps the small rest of a dominated row, which 1 + s would
round away.  x - m is carried with its rounding error, which exp would magnify by its size.
float32 and halves are summed in float64 and float64 in long double, and rounded once; where
long double is no wider than double, the same lines stay within 4 ULP.  Gradients are computed
in float64 (or long double for long double): nothing is promised of their last bit.

Special rows, as the limit has it where there is one:

                    logsumexp   softmax           log_softmax            gradient
    a NaN           NaN         NaN               NaN                    NaN
    one +inf        +inf        1 there, else 0   0 there, else -inf     of that softmax
    several +inf    +inf        NaN               NaN                    NaN
    all -inf        -inf        NaN               NaN                    0
    some -inf       as if they were not there: 0, -inf, and their dy does not count
    empty           -inf        empty             empty                  empty

Complex input follows SciPy's formulas.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from .arithmetic import two_sum

__all__ = [
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "logsumexp0",
    "logsumexp0_backward",
    "logsumexp_backward",
    "softmax",
    "softmax0",
    "softmax0_backward",
    "softmax_backward",
]


# Shapes and dtypes


class Rows:
    """An array's shape seen as rows: the reduced axes moved to the end and made one."""

    def __init__(self, shape, axis=None):
        ndim = len(shape)
        if axis is None:
            reduced = tuple(range(ndim))
        else:
            reduced = np.lib.array_utils.normalize_axis_tuple(axis, ndim, "axis")
        self.reduced = tuple(sorted(reduced))
        self.kept = kept = tuple(i for i in range(ndim) if i not in reduced)
        self.shape = shape
        self.order = kept + self.reduced
        self.moved = self.order != tuple(range(ndim))
        self.kept_shape = tuple(shape[i] for i in kept)
        self.ones_shape = tuple(1 if i in reduced else n for i, n in enumerate(shape))
        self.moved_shape = tuple(shape[i] for i in self.order)
        self.rows = math.prod(self.kept_shape), math.prod(shape[i] for i in reduced)

    def of(self, a):
        """The rows of an array of the shape; a view where it can be."""
        return (a.transpose(self.order) if self.moved else a).reshape(self.rows)

    def whole(self, rows):
        """The array whose rows these are."""
        rows = rows.reshape(self.moved_shape)
        return np.ascontiguousarray(rows.transpose(np.argsort(self.order))) if self.moved else rows

    def result_shape(self, keepdims):
        return self.ones_shape if keepdims else self.kept_shape


def with_entry(rows, value):
    """The rows with one more entry each."""
    return np.concatenate([rows, np.broadcast_to(rows.dtype.type(value), (len(rows), 1))], axis=1)


def result_dtype(dtype):
    """The dtype of the result: the input's own, float64 for integers."""
    return np.dtype(float) if dtype.kind in "biu" else dtype.newbyteorder("=")


def weight_dtype(dtype):
    """The dtype that weights are cast to: that of the result, but float32 beside 16 bits."""
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def _work_dtype(dtype, gradient=False):
    if dtype.kind == "c":
        return np.result_type(dtype, np.complex128 if dtype.itemsize <= 8 else np.clongdouble)
    if dtype.char == "g" or (dtype.char == "d" and not gradient):
        return np.dtype(np.longdouble)
    return np.dtype(float)


def quiet(function):
    @functools.wraps(function)
    def quiet(*arguments, **options):
        with np.errstate(all="ignore"):
            return function(*arguments, **options)

    return quiet


# Rows, along the last axis of a matrix in the working dtype


def _pick(rows, i):
    return np.take_along_axis(rows, i, axis=-1)


def _sum_but(terms, i):
    """The sum of each row without its entry i."""
    terms = terms.copy()
    np.put_along_axis(terms, i, 0, axis=-1)
    return terms.sum(axis=-1, keepdims=True)


def _difference(x, m):
    """x - m as a pair; the second is 0 where the first is not finite."""
    high, low = two_sum(x, -m)
    return high, np.where(np.isfinite(high), low, 0)


def _exp(high, low):
    e = np.exp(high)
    return np.where(low == 0, e, e + e * low)


def _shifted(x):
    """The largest entry m of each row, x - m as a pair, exp(x - m), and the sum of these but one."""
    i = np.argmax(x, axis=-1, keepdims=True)  # the first NaN, if there is one
    m = _pick(x, i)
    high, low = _difference(x, np.where(np.isfinite(m), m, 0))
    e = _exp(high, low)
    return m, high, low, e, _sum_but(e, i)


def _limits(x):
    """Which rows are one-hot (a single +inf), and which have no softmax."""
    top = (x == np.inf).sum(axis=-1, keepdims=True)
    nothing = (x == -np.inf).all(axis=-1, keepdims=True) | np.isnan(x).any(axis=-1, keepdims=True)
    return (top == 1) & ~nothing, (top > 1) | nothing


def softmax_rows(x):
    if x.dtype.kind == "c":
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)
    *_, e, rest = _shifted(x)
    one_hot, undefined = _limits(x)
    y = np.where(one_hot, x == np.inf, e / (1 + rest))
    return np.where(undefined, np.nan, y)


def log_softmax_rows(x):
    if x.dtype.kind == "c":
        m = x.max(axis=-1, keepdims=True)
        d = x - np.where(np.isfinite(m), m, 0)
        return d - np.log(np.exp(d).sum(axis=-1, keepdims=True))
    _, high, low, _, rest = _shifted(x)
    one_hot, undefined = _limits(x)
    y = np.where(one_hot, np.where(x == np.inf, 0, -np.inf), high - (np.log1p(rest) - low))
    return np.where(undefined, np.nan, y)


def _logsumexp_rows(x):
    m, *_, rest = _shifted(x)
    return m + np.log1p(rest)


def log_and_sign(m, lead, others):
    """Of exp(m) (lead + others), the log of its size and its sign; `lead` is 1 where one entry leads."""
    total = lead + others
    sign = np.sign(total)
    log = np.log1p((sign * lead - 1) + sign * others)
    if np.any(small := abs(total) < 0.5):  # what cancelling has left
        log = np.where(small, np.log(abs(total)), log)
    return np.where(sign == 0, -np.inf, np.where(np.isfinite(m), m, 0) + log), sign


def _weighted(a, b):
    """Of the terms t_j = b_j exp(a_j) of a row: the leading a_i and b_i, t / t_i, and the sums of these.

    One sum is over a_j = a_i, the other over the rest.  A weight of 0 drops its entry, NaN and infinity
    included: the caller has made it b = 1, a = -inf.
    """
    i = np.argmax(a.real + np.log(abs(b)), axis=-1, keepdims=True)
    top, weight = _pick(a, i), _pick(b, i)
    terms = b / weight * _exp(*_difference(a, top))
    np.put_along_axis(terms, i, 1, axis=-1)
    leads = a == top  # terms alike but for their weights may cancel altogether: those are added up first
    lead = np.where(leads, b, 0).sum(axis=-1, keepdims=True) / weight
    rest = np.where(leads, 0, terms).sum(axis=-1, keepdims=True)
    return top, weight, terms, lead, rest


def _weighted_logsumexp_rows(a, b):
    """log(abs(sum)) and the sign (for complex numbers the phase) of the sum of b * exp(a)."""
    top, weight, _, lead, rest = _weighted(a, b)
    ordinary = np.isfinite(top) & np.isfinite(weight)
    # otherwise what exp and the sum make of the infinities and NaN alone; nothing at all sums to 0
    infinite = ~(np.isfinite(a) & np.isfinite(b))
    direct = np.where(infinite, _times(b, np.exp(a)), 0).sum(axis=-1, keepdims=True)
    if a.dtype.kind == "c":
        size = top + np.log(weight) + _complex_log1p((lead - 1) + rest)
        size = np.where(ordinary, size, np.log(direct))
        size = np.where(size.real == -np.inf, -np.inf, _complex(size.real, _principal(size.imag)))
        return size, np.where(size.real == -np.inf, 0, np.exp(_complex(0, size.imag)))
    size, sign = log_and_sign(top + np.log(abs(weight)), lead, rest)
    size = np.where(ordinary, size, np.log(abs(direct)))
    return size, np.where(ordinary, np.sign(weight) * sign, np.sign(direct)) + 0.0  # not -0


def _complex(real, imaginary):
    """Not real + 1j * imaginary, in which an infinite part makes the other one NaN."""
    real, imaginary = np.broadcast_arrays(real, imaginary)
    z = np.empty(imaginary.shape, np.result_type(imaginary, np.complex64))
    z.real, z.imag = real, imaginary
    return z


def _times(b, z):
    """b * z; where b is real it multiplies each part by itself, and infinities stay in theirs."""
    if z.dtype.kind != "c":
        return b * z
    return np.where(b.imag == 0, _complex(b.real * z.real, b.real * z.imag), b * z)


def _complex_log1p(z):
    return 0.5 * np.log1p(z.real * (2 + z.real) + z.imag**2) + 1j * np.arctan2(z.imag, 1 + z.real)


def _principal(angle):
    """The angle in (-pi, pi]."""
    pi = np.arctan2(angle.dtype.type(0), angle.dtype.type(-1))
    return np.where(abs(angle) <= pi, angle, pi - (pi - angle) % (2 * pi))


# Whole arrays


def _prepare(x, axis, gradient=False, zero=False):
    """How `x` is seen as rows, the dtype of the result, and the rows; `zero` ends each with an entry 0."""
    x = np.asarray(x)
    rows = Rows(x.shape, axis)
    dtype = result_dtype(x.dtype)
    x = rows.of(x).astype(dtype, copy=False).astype(_work_dtype(dtype, gradient))
    return rows, dtype, with_entry(x, 0) if zero else x


def _prepare_weighted(a, b, axis, gradient=False, zero=False):
    """As `_prepare`, with the weights; dropped entries have become a = -inf, b = 1."""
    a, b = np.broadcast_arrays(a, b)
    dtype = result_dtype(a.dtype)
    if b.dtype.kind == "c":
        dtype = np.result_type(dtype, np.complex64)
    rows = Rows(a.shape, axis)
    work = _work_dtype(dtype, gradient)
    a, b = rows.of(a).astype(work), rows.of(b).astype(weight_dtype(dtype), copy=False).astype(work)
    if zero:
        a, b = with_entry(a, 0), with_entry(b, 1)
    return rows, dtype, np.where(b == 0, -np.inf, a), np.where(b == 0, 1, b)


def logsumexp(a, axis=None, b=None, keepdims=False, return_sign=False):
    """log(sum(b * exp(a))); with `return_sign` the log of the absolute sum and its sign.

    `b` is broadcast against `a`, and never changes the precision.  Without `return_sign` a
    negative sum is NaN.  A sum of nothing is 0: log -inf, sign 0.
    """
    return _logsumexp(a, axis, b, keepdims, return_sign)


def logsumexp0(a, axis=None, b=None, keepdims=False, return_sign=False):
    """log(1 + sum(b * exp(a))), as `logsumexp`."""
    return _logsumexp(a, axis, b, keepdims, return_sign, zero=True)


@quiet
def _logsumexp(a, axis, b, keepdims, return_sign, zero=False):
    if b is None and np.asarray(a).dtype.kind == "c":
        b = 1
    if b is None:
        rows, dtype, x = _prepare(a, axis, zero=zero)
        value = _logsumexp_rows(x) if x.size else np.full((len(x), 1), -np.inf)
        sign = np.where(np.isnan(value), value, value > -np.inf)
    else:
        rows, dtype, x, b = _prepare_weighted(a, b, axis, zero=zero)
        empty = np.full((len(x), 1), -np.inf), np.zeros((len(x), 1))
        value, sign = _weighted_logsumexp_rows(x, b) if x.size else empty
        if dtype.kind != "c" and not return_sign:
            value = np.where(sign < 0, np.nan, value)
    shape = rows.result_shape(keepdims)
    if not return_sign:
        return value.astype(dtype).reshape(shape)[()]
    size = value.real.astype(np.empty(0, dtype).real.dtype)
    return size.reshape(shape)[()], sign.astype(dtype).reshape(shape)[()]


@quiet
def softmax(x, axis=None):
    """exp(x) / sum(exp(x))."""
    rows, dtype, x = _prepare(x, axis)
    return rows.whole((softmax_rows(x) if x.size else x).astype(dtype))[()]


@quiet
def softmax0(x, axis=None):
    """exp(x) / (1 + sum(exp(x))), the multivariable logistic function."""
    rows, dtype, x = _prepare(x, axis, zero=True)
    return rows.whole(softmax_rows(x)[:, :-1].astype(dtype))[()]


@quiet
def log_softmax(x, axis=None):
    """log(softmax(x)), to full relative precision at a dominant entry too."""
    rows, dtype, x = _prepare(x, axis)
    return rows.whole((log_softmax_rows(x) if x.size else x).astype(dtype))[()]


# Gradients


def logsumexp_backward(dy, x, axis=None, b=None, keepdims=False):
    """dy times the derivative of log(abs(sum(b * exp(x)))): the weighted softmax.

    `dy` has the shape of the result, with `keepdims` or without; the gradient has that of `x`.
    """
    return _logsumexp_backward(dy, x, axis, b)


def logsumexp0_backward(dy, x, axis=None, b=None, keepdims=False):
    """As `logsumexp_backward`, of `logsumexp0`."""
    return _logsumexp_backward(dy, x, axis, b, zero=True)


@quiet
def _logsumexp_backward(dy, x, axis, b, zero=False):
    x = np.asarray(x)
    if b is None:
        rows, dtype, a = _prepare(x, axis, gradient=True, zero=zero)
        p = softmax_rows(a) if a.size else a
    else:
        rows, dtype, a, b = _prepare_weighted(x, b, axis, gradient=True, zero=zero)
        p = _weighted_softmax_rows(a, b) if a.size else a
    dy = np.asarray(dy).astype(a.dtype).reshape(len(a), 1)
    dx = np.where((p == 0) | (a == -np.inf), 0, dy * p)
    dx = rows.whole(dx[:, : rows.rows[1]])  # without the entry 0
    return _sum_to_shape(dx, x.shape).astype(dtype)[()]


def _weighted_softmax_rows(a, b):
    _, _, terms, lead, rest = _weighted(a, b)
    one_hot, undefined = _limits(a)
    p = np.where(one_hot, a == np.inf, terms / (lead + rest))
    return np.where(undefined, np.nan, p)


def _sum_to_shape(a, shape):
    """Sum over the axes along which an array of this shape was broadcast."""
    a = a.sum(axis=tuple(range(a.ndim - len(shape))))
    return a.sum(axis=tuple(i for i, n in enumerate(shape) if n != a.shape[i]), keepdims=True)


def _prepare_gradient(dy, x, y, axis, forward):
    """Rows of dy and of the output, and which entries are -inf; from the input where no output is given."""
    rows, dtype, known = _prepare(x if y is None else y, axis, gradient=True)
    y = forward(known) if y is None and known.size else known
    return rows, dtype, rows.of(np.asarray(dy)).astype(known.dtype), y, known == -np.inf


@quiet
def softmax_backward(dy, x=None, *, y=None, axis=None):
    """y * (dy - sum(dy * y)), from the input or from the output y = softmax(x)."""
    rows, dtype, dy, y, absent = _prepare_gradient(dy, x, y, axis, softmax_rows)
    dx = _softmax_gradient(dy, y, absent | (y == 0)) if y.size else y
    return rows.whole(dx.astype(dtype))[()]


def _softmax_gradient(dy, y, absent):
    # y sums to 1, so dy may be counted from its value at the largest y: what then remains there is small
    leading = _pick(dy, np.argmax(y, axis=-1, keepdims=True))
    dy = np.where(absent, 0, dy - leading)
    dx = y * (dy - np.where(absent, 0, dy * y).sum(axis=-1, keepdims=True))
    return np.where(absent, 0, dx)


@quiet
def softmax0_backward(dy, x=None, *, y=None, axis=None):
    """As `softmax_backward`, of `softmax0`: the entry that has no value has the gradient 0."""
    rows, dtype, known = _prepare(x if y is None else y, axis, gradient=True)
    if y is None:
        y = softmax_rows(with_entry(known, 0))
    else:
        y = np.concatenate([known, np.maximum(1 - known.sum(axis=-1, keepdims=True), 0)], axis=-1)
    dy = with_entry(rows.of(np.asarray(dy)).astype(known.dtype), 0)
    dx = _softmax_gradient(dy, y, (y == 0) | (with_entry(known, 0) == -np.inf))
    return rows.whole(dx[:, :-1].astype(dtype))[()]


@quiet
def log_softmax_backward(dy, x=None, *, y=None, axis=None):
    """dy - softmax * sum(dy), from the input or from the output y = log_softmax(x)."""
    rows, dtype, dy, y, absent = _prepare_gradient(dy, x, y, axis, log_softmax_rows)
    if not y.size:
        return rows.whole(y.astype(dtype))
    absent = absent | (y == -np.inf)
    dy = np.where(absent, 0, dy)
    # dy_j (1 - p_j) - p_j (sum of the other dy): 1 - p_j is small where p_j dominates
    dx = np.exp(y) * (dy - dy.sum(axis=-1, keepdims=True)) - dy * np.expm1(y)
    return rows.whole(np.where(absent, 0, dx).astype(dtype))[()]
