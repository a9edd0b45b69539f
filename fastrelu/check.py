"""`check_derivative`: whether the gradients of an activation are those of its forward pass.

The forward pass is computed in long double by the activation's own formula: a user's Python function, whose
calls of ``math`` are answered by NumPy, or the reference.  Where that is analytic and takes complex numbers,
the imaginary part of f(x + ih) / h is the derivative to the last digits; elsewhere central differences are
extrapolated (Ridders, Accurate computation of F'(x), 1982), which also say how sure they are.  At a knot they
are not: there the given derivative may lie anywhere between those of the two sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import reference
from .activation import Activation
from .widening import widened

__all__ = ["DerivativeCheck", "check_derivative"]

TOLERANCE = 1e-6
STEP, SHRINK, TERMS = 0.02, 2.0, 6  # of x or of 1: the widest difference, what follows, how many there are
COMPLEX_STEP = np.longdouble("1e-300")


@dataclass(frozen=True)
class DerivativeCheck:
    """What `check_derivative` found for one activation.

    Attributes
    ----------
    name : str
    errors : dict of str to float
        By what the gradient is with respect to: the largest difference, relative to the derivative there plus
        its typical size.
    worst : dict of str to dict
        Where that is: ``x`` and the parameters, ``got`` and ``expected``.
    points : int
        How many inputs were compared.
    method : str
        "complex step" or "differences".
    """

    name: str
    errors: dict[str, float]
    worst: dict[str, dict[str, float]]
    points: int
    method: str

    def __str__(self):
        lines = [f"{self.name}: {self.points} points, by {self.method} in long double"]
        for wrt, error in self.errors.items():
            at = ", ".join(
                f"{n} = {v:.6g}" for n, v in self.worst[wrt].items() if n not in ("got", "expected")
            )
            got, expected = self.worst[wrt]["got"], self.worst[wrt]["expected"]
            lines.append(f"d/d{wrt}: off by at most {error:.1e}, at {at}: {got:.9g}, expected {expected:.9g}")
        return "\n  ".join(lines)

    __repr__ = __str__


def check_derivative(f, x=None, **parameters):
    """Compare the gradients of an activation with derivatives of its forward pass.

    Parameters
    ----------
    f : Activation
        With parameters, every gradient that it has is checked.
    x : array_like, optional
        Where; by default 400 numbers of both signs and many sizes.
    **parameters : array_like
        As in a call of `f`; by default their defaults, and 1 where there is none.

    Returns
    -------
    DerivativeCheck
        The largest error for each gradient, and where it is.

    Raises
    ------
    ValueError
        If a gradient is off by more than 1e-6, relative to the derivative and its typical size; the message
        says where the difference is largest.
    TypeError
        If `f` is not an activation.
    NotImplementedError
        If no derivative was given.

    Examples
    --------
    >>> check = fr.check_derivative(fr.softplus, beta=2.0)
    >>> check.errors["x"] < 1e-12
    True
    """
    if not isinstance(f, Activation):
        raise TypeError(f"check_derivative: argument 'f' is {f!r}; expected an Activation")
    x = _points() if x is None else np.asarray(x, np.float64).ravel()
    given = {p.name: p.typical[0] if p.default is None else p.default for p in f.row.parameters}
    unknown = next((name for name in parameters if name not in given), None)
    if unknown:
        known = " and ".join(given) or "none"
        raise TypeError(
            f"check_derivative: {f.__qualname__} has no parameter {unknown!r}; its parameters: {known}"
        )
    operands = {"x": x} | given | parameters
    arrays = dict(zip(operands, np.broadcast_arrays(*operands.values()), strict=True))
    arrays = {name: np.array(a, np.float64).ravel() for name, a in arrays.items()}
    x = arrays["x"]
    forward, analytic = _in_long_double(f)
    found = {}
    dy, rest = np.ones_like(x), {name: a for name, a in arrays.items() if name != "x"}
    for wrt in _gradients(f):
        got = f.backward(dy, x, wrt=wrt, **rest)
        found[wrt] = _compare(forward, analytic, arrays, wrt, got)
    if "y" in getattr(f, "derivatives", ()):
        got = f.backward(dy, y=f(x, **rest), wrt="x", **rest)
        found["x, from y"] = _compare(forward, analytic, arrays, "x", got)
    method = "complex step" if analytic else "differences"
    errors = {wrt: error for wrt, (error, _) in found.items()}
    worst = {wrt: where for wrt, (_, where) in found.items()}
    check = DerivativeCheck(f.__qualname__, errors, worst, x.size, method)
    if not all(error <= TOLERANCE for error in errors.values()):  # NaN too
        raise ValueError(f"check_derivative: a gradient is wrong: {check}")
    return check


def _points():
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(-4, 1, 200)
    return np.concatenate([sizes * rng.choice([-1, 1], 200), rng.normal(0, 2, 200)])


def _gradients(f):
    names = ["x", *(p.name for p in f.row.parameters)]
    given = getattr(f, "derivatives", names)  # of a user's own
    return [name for name in names if name in given] or ["x"]


# --- the forward pass ---------------------------------------------------------------------------------------


def _in_long_double(f):
    """f of arrays in long double, and whether it may be given complex numbers."""
    function = getattr(f, "function", None)
    if function is None:
        return lambda *arrays: np.asarray(reference.evaluate(f.kernel, *arrays)), False
    wide, analytic = widened(function)
    count = len(f.kernel.inputs)
    takes_wide = _takes(wide, np.longdouble(0.5), count)  # not where a closure holds code of Numba
    each = np.frompyfunc(wide if takes_wide else function, count, 1)

    def evaluate(*arrays):
        work = arrays if takes_wide else [a.astype(np.float64) for a in arrays]
        with np.errstate(all="ignore"):
            return each(*work).astype(np.result_type(*arrays))

    return evaluate, analytic and _takes(wide, np.clongdouble(0.5), count)


def _takes(function, value, count):
    try:
        function(*[value] * count)
    except Exception:  # whatever Numba or the user's function raises
        return False
    return True


# --- derivatives --------------------------------------------------------------------------------------------


def _compare(forward, analytic, arrays, wrt, got):
    """The largest relative error of `got`, and where it is."""
    wide = {name: a.astype(np.longdouble) for name, a in arrays.items()}

    def along(moved):
        return forward(*(wide | {wrt: moved}).values())

    at = wide[wrt]
    if analytic:
        low = high = along(at + 1j * COMPLEX_STEP).imag / COMPLEX_STEP
        doubt = np.zeros(at.shape)
    else:
        low, high, doubt = _by_differences(along, at)
    expected = np.clip(got, low, high)
    size = abs(expected) + np.median(abs(expected))
    off = np.maximum(abs(got - expected) - doubt, 0)
    error = np.where(off == 0, 0, off / np.where(size == 0, np.finfo(float).tiny, size))
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    where = {name: float(a[worst]) for name, a in arrays.items()}
    return float(error[worst]), where | {"got": float(got[worst]), "expected": float(expected[worst])}


def _by_differences(f, x):
    """The least and the greatest that the derivative may be, and the doubt that is left."""
    step = STEP * np.maximum(abs(x), 1)
    smooth, doubt = _extrapolated(lambda h: (f(x + h) - f(x - h)) / (2 * h), step, 2)
    right, _ = _extrapolated(lambda h: (f(x + h) - f(x)) / h, step, 1)
    left, _ = _extrapolated(lambda h: (f(x) - f(x - h)) / h, step, 1)
    # exactly at a knot differences to both sides do not notice it
    knot = np.maximum(doubt, abs(right - left)) > TOLERANCE * (abs(smooth) + 1)
    low, high = np.minimum(left, right), np.maximum(left, right)
    return np.where(knot, low, smooth), np.where(knot, high, smooth), np.where(knot, 0, doubt)


def _extrapolated(difference, step, order):
    """Differences over smaller and smaller steps, extrapolated to none; the best, and how far it is off."""
    best, doubt, before = None, None, []
    for i in range(TERMS):
        row = [difference(step / SHRINK**i)]
        for j in range(i):
            factor = SHRINK ** (order * (j + 1))
            row.append((row[j] * factor - before[j]) / (factor - 1))
            change = np.maximum(abs(row[-1] - row[-2]), abs(row[-1] - before[j]))
            if best is None:
                best, doubt = row[-1], change
            better = change < doubt
            best, doubt = np.where(better, row[-1], best), np.where(better, change, doubt)
        before = row
    return best, doubt
