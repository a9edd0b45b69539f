"""Sums of weighted exponentials over rows, by the compiled kernel: for weights, and for chunks of data."""

from __future__ import annotations

import numpy as np

from . import dispatch
from .reference import rows as reference_rows
from .reference.rows import Rows, log_and_sign, quiet, weight_dtype

__all__ = ["logsumexp_rows", "parts", "weight_rows"]

NEGLIGIBLE = 2.0**-800  # what is left after cancelling may not be as small as what underflow left out


def weight_rows(weights, rows):
    """Weights that broadcast to the shape of `rows`, as its rows, or as one for all of them."""
    whole = np.broadcast_to(weights, rows.shape)
    if all(whole.strides[i] == 0 for i in rows.kept) and whole.size:
        first = whole[tuple(slice(0, 1) if i in rows.kept else slice(None) for i in range(whole.ndim))]
        return Rows(first.shape, rows.reduced).of(first)
    return rows.of(whole)


@quiet
def parts(a, b, dtype):
    """Of rows whose result has this dtype: m, lead, rest (pairs, the sum is exp(m) (lead + rest)) and which
    rows these describe; None where there is no kernel.  `b` has a row for each, or one, or is None."""
    work = weight_dtype(dtype)
    kernel = dispatch.weighted_kernel(work)
    if kernel is None or not a.size:
        return None
    a, b = (None if v is None else np.require(v, work, ["C", "A"]) for v in (a, b))
    wide = np.longdouble if work.char == "d" else np.float64
    m, lead, lead_low, rest, rest_low = kernel(a, b).T.astype(wide, copy=False)
    return m, (lead, lead_low), (rest, rest_low), abs(lead + rest) > NEGLIGIBLE


@quiet
def logsumexp_rows(a, b, dtype):
    """The log of the absolute sum of each row, and its sign; None where there is no kernel."""
    made = parts(a, b, dtype)
    if made is None:
        return None
    m, lead, rest, known = made
    value, sign = log_and_sign(m, lead[0], lead[1] + (rest[0] + rest[1]))
    if not known.all():
        left = ~known
        weights = b[left] if len(b) > 1 else b
        value[left], sign[left] = reference_rows.logsumexp(a[left], axis=1, b=weights, return_sign=True)
    return value, sign
