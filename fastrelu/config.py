"""What a bug report needs: versions, CPU, instruction sets, threads and settings."""

from __future__ import annotations

import platform

from . import control, machine
from .backends import cython, known

__all__ = ["configuration", "show_config"]

PACKAGES = ("numpy", "scipy", "torch", "onnxruntime", "numexpr", "jax", "numba", "ml_dtypes")


def _version(package):
    from importlib.metadata import PackageNotFoundError, version  # 20 ms that import fastrelu need not pay

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def configuration() -> dict:
    """The configuration as nested dictionaries of plain values."""
    return {
        "versions": {
            "fastrelu": _version("fastrelu"),
            "python": platform.python_version(),
            **{name: found for name in PACKAGES if (found := _version(name))},
        },
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu": machine.cpu_model(),
            "usable processors": machine.usable_processors(),
            "last-level cache": f"{machine.last_level_cache() >> 10} KiB",
        },
        "instruction sets": {
            "built": ", ".join(cython.BUILT) or "none",
            "chosen": cython.ISA or "none",
        },
        "settings": {
            "backend": control.BACKEND.get().name,
            "accuracy": control.ACCURACY.get(),
            "threads": control.get_num_threads(),
            "cache for large results": f"{control.get_cache_limit()} MiB",
            "streaming stores from": f"{control.STREAMING_BYTES >> 10} KiB",
        },
        "backends": {
            name: ("available: " if b.available else "not available: ") + b.detail
            for name, b in known().items()
        },
    }


def show_config(mode="stdout"):
    """Print what fastrelu was built with and runs on.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print it, or return it as nested dictionaries.

    Raises
    ------
    ValueError
        If `mode` is neither.
    """
    if mode == "dicts":
        return configuration()
    if mode != "stdout":
        raise ValueError(f"show_config: argument 'mode' is {mode!r}; expected 'stdout' or 'dicts'")
    for section, values in configuration().items():
        print(f"{section}:")
        for name, value in values.items():
            print(f"  {name}: {value}")
    return None
