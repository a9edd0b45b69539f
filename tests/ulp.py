"""Errors in units in the last place (ULP), against exact numbers in mpmath."""

import mpmath as mp
import numpy as np

HAS_EXTENDED = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant


def exact(value):
    """A NumPy scalar as an mpmath number, every bit of it (subnormals of long double included)."""
    if not np.isfinite(value):
        return mp.mpf(float(value))
    numerator, denominator = value.as_integer_ratio()
    return mp.mpf(numerator) / denominator


def unit(true, dtype, floor=0):
    """The spacing of `dtype` at a number, or at `floor` if that is larger in size."""
    info = np.finfo(dtype)
    size = max(abs(true), abs(mp.mpf(floor)))
    exponent = max(mp.frexp(size)[1] - 1, int(info.minexp)) if size else int(info.minexp)
    return mp.ldexp(1, exponent - int(info.nmant))


def error(got, true, dtype=None, floor=0):
    """How many units in the last place of `dtype` a scalar is away from the true number.

    `dtype` may be narrower than the scalar's own: then the scalar is judged as an oracle for it.
    `floor` makes the unit at least that of a given size, where the error is promised absolutely.
    """
    dtype = np.dtype(dtype or got.dtype)
    if mp.isnan(true):
        return 0.0 if np.isnan(got) else np.inf
    if np.isnan(got):
        return np.inf
    top = mp.ldexp(1, int(np.finfo(dtype).maxexp))
    # what rounds to infinity counts as the first number that is too large
    got, true = (max(-top, min(top, v)) for v in (exact(got), true))
    return float(abs(got - true) / unit(true, dtype, floor))


def distances(got, true, floor=0.0):
    """`error` for whole arrays, against truth in a wider floating type; `floor` may be an array.

    A NaN on one side only, an infinity of the wrong sign, a finite number where the truth lies beyond the
    dtype, and a zero of the wrong sign where 0 is right are infinitely wrong.
    """
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        wide = got.astype(true.dtype)
        top = np.ldexp(true.dtype.type(1), info.maxexp)
        size = np.maximum(np.minimum(abs(true), top), floor)
        exponent = np.where(size == 0, info.minexp, np.frexp(size)[1] - 1)
        exponent = np.clip(exponent, info.minexp, info.maxexp - 1)
        difference = abs(np.clip(wide, -top, top) - np.clip(true, -top, top))
        units = np.ldexp(difference, (info.nmant - exponent).astype(np.int32)).astype(np.float64)
        units = np.where(wide == true, 0, units)  # infinities, where the truth is no wider
    wrong = np.isnan(got) != np.isnan(true)
    wrong |= np.isfinite(got) & (abs(true) > top)
    zero_is_right = (got == 0) & (abs(true) < info.smallest_subnormal)
    wrong |= (zero_is_right | np.isinf(got)) & (np.signbit(got) != np.signbit(true))
    return np.where(np.isnan(got) & np.isnan(true), 0.0, np.where(wrong, np.inf, units))


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent))
    from sweep import main

    raise SystemExit(main())
