"""The reference twin as a backend: slow, right, and there without a compiler."""

from __future__ import annotations

import functools

import numpy as np

from ..table import ROWS
from . import Backend

__all__ = ["BACKEND", "ReferenceUfunc"]

KEEP_INTEGERS = {row.qualname for row in ROWS if row.keeps_integers}  # as the names of forward kernels


class ReferenceUfunc:
    """One kernel, computed by the reference or by `evaluate`, called as a ufunc is called."""

    def __init__(self, kernel, evaluate=None):
        self.kernel, self.evaluate = kernel, evaluate or functools.partial(_by_reference, kernel)
        self.nin = len(kernel.inputs)
        self.__name__ = f"{kernel.name}.ufunc"

    def __repr__(self):
        return f"<reference ufunc '{self.__name__}'>"

    def __call__(self, *inputs, dtype=None, **keywords):
        arrays = [np.asanyarray(a) for a in inputs]
        if dtype is None:
            dtype = self.result_type(*inputs)
        if np.dtype(dtype).kind in "cOSUMm":
            raise TypeError(f"{self.__name__}: dtype is {np.dtype(dtype)}; expected a real one")
        casting = keywords.get("casting", "same_kind")
        for a in arrays:
            if not np.can_cast(a.dtype, dtype, casting):
                raise TypeError(f"{self.__name__}: cannot cast {a.dtype} to {np.dtype(dtype)} by {casting!r}")
        with np.errstate(over="ignore"):
            result = self.evaluate(*(a.astype(dtype, copy=False) for a in arrays))
        subclasses = [a for a in arrays if type(a) is not np.ndarray]
        if subclasses:
            result = max(subclasses, key=lambda a: a.__array_priority__).__array_wrap__(np.asarray(result))
        masks = [np.broadcast_to(a.mask, result.shape) for a in subclasses if np.ma.isMaskedArray(a)]
        if masks and np.ma.isMaskedArray(result):
            result.mask = functools.reduce(np.logical_or, masks)
        # `positive` copies, and brings a ufunc's out=, where=, casting=, order= and subok= with it
        if result.dtype == bool:
            return np.logical_or(result, False, **keywords)
        return np.positive(result, **keywords)

    def result_type(self, *inputs):
        """The dtype in which a ufunc with float16, float32, float64 and longdouble loops would run."""
        if self.kernel.name in KEEP_INTEGERS and all(np.asarray(a).dtype.kind in "biu" for a in inputs):
            return np.asarray(inputs[0]).dtype
        weak = {bool: bool, int: int, float: float}
        kinds = [weak.get(type(a)) or np.asarray(a).dtype for a in inputs]
        return functools.reduce(lambda a, b: np.logaddexp.resolve_dtypes((a, b, None))[-1], kinds, kinds[0])


def _by_reference(kernel, *inputs):
    from .. import reference

    return reference.evaluate(kernel, *inputs)


@functools.cache
def _elementwise(kernel):
    return ReferenceUfunc(kernel)


BACKEND = Backend("numpy", True, f"the reference, on NumPy {np.__version__}", _elementwise)
