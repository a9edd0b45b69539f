"""CUDA as a backend: whether arrays on a device can be computed with, found out when someone asks.

It computes where the arrays are, so there is nothing to choose: arrays on a device go to it, arrays in host
memory never do.
"""

from __future__ import annotations

import functools
import importlib.util

from . import Backend

__all__ = ["record"]

NEEDED = {"numba": "Numba", "numba_cuda": "numba-cuda", "cuda.bindings": "cuda-bindings"}


def _missing():
    for module, name in NEEDED.items():
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:  # the package around it
            found = None
        if found is None:
            return f"{name} is not installed: pip install 'fastrelu[cuda]'"
    return None


@functools.cache
def record() -> Backend:
    """What there is for device arrays, or what is missing: a package, the driver or a device."""
    if reason := _missing():
        return Backend("cuda", False, reason)
    from fastrelu.kernels.cuda import driver

    try:
        count = driver.devices()
    except driver.DriverError as error:
        return Backend("cuda", False, str(error))
    what = "Numba's simulator" if driver.SIMULATED else f"{count} device{'s' if count > 1 else ''}"
    return Backend("cuda", True, f"{what}, for arrays that lie there")
