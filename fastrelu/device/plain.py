"""Calls on whole device arrays and numbers, which most calls are.

Where nothing was compiled they are general ones, see `calls`.
"""

from __future__ import annotations

import numpy as np

from .. import control
from .arrays import library_of_type
from .calls import launching, rounded

try:
    from fastrelu.kernels.cuda.plain_calls import PlainCalls
except ModuleNotFoundError as missing:
    if missing.name != "fastrelu.kernels.cuda.plain_calls":
        raise

    class PlainCalls:
        """Stands in for the compiled class: every call is a general one."""

        def __init__(self, *arguments):
            pass

        def __call__(self, *arguments):
            return None


__all__ = ["Plain"]


class Plain(PlainCalls):
    """Calls of a kernel on arrays without gaps, alike in their strides, and numbers.

    This is what their cost on the host is: no view is made and nothing is looked up twice.
    """

    def __init__(self, f, kernel):
        self.f, self.kernel = f, kernel
        defaults = tuple(p.default for p in f.row.parameters)
        super().__init__(defaults, library_of_type, control.ACCURACY.get)

    def prepared(self, char, device, values):
        """Device, kernel, its threads, most blocks, and the parameters as rounded.

        Raises
        ------
        ValueError
            If a parameter is not in its domain.
        """
        from fastrelu.kernels.cuda import elementwise

        f, numbers = self.f, [np.float64(rounded(value, char)) for value in values]
        for p, value, number in zip(f.row.parameters, values, numbers, strict=True):
            if p.constrained and not p.accepts(number):
                f._fail(ValueError, p.name, value, p.requirement)
        f._check_order(numbers)
        on, arrays = launching().device(device), len(self.kernel.inputs) - len(numbers)
        function = f._on_device(self.kernel, char, on.cc)
        compiled = elementwise.compiled(
            function, self.kernel.cost, char, "a" * arrays + "n" * len(numbers), 0
        )
        most = on.processors * launching().BLOCKS_A_PROCESSOR
        return on, compiled, compiled.threads, most, tuple(map(float, numbers))
