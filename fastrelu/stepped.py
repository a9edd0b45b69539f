"""stepped_sigmoid: the sum of sigmoid units that share their weights, each with a bias lower by 1.

It has no compiled kernel: the reference computes it, Numba where that is the chosen backend, and on arrays on
a device the same lines as there.
"""

from __future__ import annotations

import dataclasses
import functools
from math import inf

import numpy as np

from . import control, reference
from .activation import Activation
from .backends import BACKENDS
from .backends.numpy import ReferenceUfunc
from .backward import Backward
from .row import Parameter, Row

__all__ = ["stepped_sigmoid"]

FROM_SOFTPLUS = 0.0106  # the most that the infinite sum is away from it, rounded up

ROW = Row(
    name="stepped_sigmoid",
    summary=f"Sum of sigmoids at steps of 1: without an end at most {FROM_SOFTPLUS} away from softplus, "
    "which it would be if n were integrated from 1/2 on.",
    formula="sum(1 / (1 + exp(-(x + 1/2 - n))) for n = 1, 2, ..., units)",
    derivative="sum(s * (1 - s)), s = 1 / (1 + exp(-(x + 1/2 - n)))",
    source="Nair & Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines, ICML 2010",
    parameters=(
        Parameter(
            name="units",
            doc="How many sigmoids, a whole number; None: infinitely many.",
            default=inf,
            at_least=1.0,
            none_is_default=True,
            typical=(inf, 1.0, 7.0),
        ),
    ),
    ulp={"forward": 4.0, "backward": 8.0},
    cost=400,
)


class Stepped:
    """What both passes share: which code runs, and that units are counted."""

    def _bind(self, row):
        """There is no kernel for the compiled fast path."""

    def _elementwise(self, kernel):
        return _by_numba(kernel) if control.BACKEND.get().name == "numba" else _by_reference(kernel)

    def _on_device(self, kernel, char, cc):
        from fastrelu.kernels.cuda import elementwise, single_steps, steps

        name, single = kernel.name.replace(".", "_"), char in "eb"
        body = getattr(single_steps if single else steps, name)
        return elementwise.Function(f"{name}_s" if single else name, body, single=single)

    _summed_on_device = _on_device

    @property
    def ufunc(self):
        raise AttributeError(f"{self.__qualname__} has no ufunc: no kernel of it was compiled")

    def runs(self, settings):
        """The settings under which a call runs, for `explain`, and no number of a compiled kernel."""
        name = "numba" if settings.backend.name == "numba" else "numpy"
        return dataclasses.replace(settings, backend=BACKENDS[name]), None

    def _check_order(self, cast):
        (units,) = cast
        if units.ndim == 0 and np.isfinite(units) and units != np.rint(units):
            self._fail(ValueError, "units", units[()], "a whole number, or None")


class SteppedBackward(Stepped, Backward):
    def _wanted(self, wrt):
        if wrt not in (None, "x"):
            self._fail(ValueError, "wrt", repr(wrt), "'x': units are counted")
        return ["x"]


class SteppedActivation(Stepped, Activation):
    backward_class = SteppedBackward


@functools.cache
def _by_reference(kernel):
    return ReferenceUfunc(kernel)


@functools.cache
def _by_numba(kernel):
    from fastrelu.kernels.numba import stepped

    function = getattr(stepped, "forward" if kernel.pass_ == "forward" else "backward")()

    def evaluate(*inputs):
        if inputs[0].dtype.char not in "fd":
            return reference.evaluate(kernel, *inputs)
        with np.errstate(all="ignore"):
            return function(*inputs)

    return ReferenceUfunc(kernel, evaluate)


stepped_sigmoid = SteppedActivation(ROW)
