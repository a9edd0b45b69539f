"""The driver: whether there is one, how many devices it finds, and calls that become errors of Python.

Needs the package ``cuda.bindings`` and not Numba, so that asking for a device does not load a compiler.
"""

from __future__ import annotations

import functools
import os

__all__ = [
    "LOADS_WHILE_CAPTURING",
    "SIMULATED",
    "DriverError",
    "address",
    "call",
    "device_of",
    "devices",
    "failed",
]

SIMULATED = (os.environ.get("NUMBA_ENABLE_CUDASIM") or "0") != "0"  # Numba's simulator runs in its place

# The least version of CUDA whose driver loads machine code on a thread that captures a stream.
LOADS_WHILE_CAPTURING = 12030


class DriverError(RuntimeError):
    """A call of the driver failed: which one, and what it said."""


def call(function, *arguments):
    """A call of the driver: its results without the status, or an error."""
    status, *results = function(*arguments)
    if status:
        failed(function.__name__, status)
    return results[0] if len(results) == 1 else results


def failed(name, status):
    """Raise what the driver says of a status of the function with a name."""
    from cuda.bindings import driver

    status = driver.CUresult(status)
    text = driver.cuGetErrorString(status)[1]
    raise DriverError(f"{name}: {text.decode() if text else status.name}")


def address(name) -> int:
    """Where a function of the driver begins."""
    from cuda.bindings import driver

    version = call(driver.cuDriverGetVersion)
    found, _ = call(driver.cuGetProcAddress, name.encode(), version, 0)
    return int(found)


@functools.cache
def devices() -> int:
    """How many devices there are; none is an error.

    Raises
    ------
    DriverError
        If there is no driver or no device, or it is older than CUDA's packages; the message says which.
    """
    if SIMULATED:
        return 1
    from cuda.bindings import driver

    try:
        call(driver.cuInit, 0)
    except DriverError as error:
        raise DriverError(f"there is no device that can be used ({error})") from error
    except Exception as error:  # cuda.pathfinder's own, where the library is missing
        raise DriverError("no NVIDIA driver is installed") from error
    version, wanted = call(driver.cuDriverGetVersion) // 1000, driver.CUDA_VERSION // 1000
    if version < wanted:
        raise DriverError(
            f"the NVIDIA driver is too old, one for CUDA {version}, and the packages are for CUDA {wanted}: "
            f"update it, or pip install 'numba-cuda[cu{version}]'"
        )
    if not (count := call(driver.cuDeviceGetCount)):
        raise DriverError("there is no device that can be used (none is visible)")
    return count


def device_of(place) -> int:
    """The device on which memory at an address lies; the first one for no memory."""
    if SIMULATED or not place:
        return 0
    from cuda.bindings import driver

    devices()
    return call(
        driver.cuPointerGetAttribute, driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, place
    )
