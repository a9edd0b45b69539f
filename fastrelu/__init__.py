"""Activations, softplus and LogSumExp for NumPy: SIMD kernels within 1 ULP, forward and backward.

>>> y = fr.gelu(x)                    # out of place
>>> fr.gelu(x, out=x)                 # in place
>>> dx = fr.gelu.backward(dy, x)      # dy * f'(x)

The activations are instances of `Activation`, read from ``fastrelu/table.py``.
"""

import sys as _sys
from importlib import import_module as _import_module

try:
    import fastrelu.kernels  # noqa: F401
except ModuleNotFoundError as missing:
    if missing.name != "fastrelu.kernels":
        raise
    raise ImportError(
        f"{__path__[0]} is a source checkout that hides the installed fastrelu: "
        "run `pip install -e .`, or start Python elsewhere"
    ) from None

from .activation import Activation
from .activity import Activity, ActivityMonitor, activity
from .backends import Backend
from .binary import logaddexp
from .bridges import BRIDGES as _BRIDGES
from .check import DerivativeCheck, check_derivative
from .config import show_config
from .control import (
    accuracy,
    backends,
    get_cache_limit,
    get_num_threads,
    set_accuracy,
    set_backend,
    set_cache_limit,
    set_num_threads,
    use_backend,
)
from .custom import activation
from .dispatch import Plan, explain
from .fused import bias_act
from .gated import GATED as _GATED
from .keys import NoiseKey, noise_key
from .largest import maxout
from .losses import cross_entropy
from .noisy import noisy_relu, rrelu
from .normalising import log_softmax, softmax, softmax0
from .reductions import logsumexp, logsumexp0
from .stepped import stepped_sigmoid
from .streaming import LogSumExp
from .table import ROWS as _ROWS

__version__ = "0.1.0"


def _activations():
    """The public objects of the table, by every name they go under."""
    variants = {}
    for row in _ROWS:
        if row.variant_of:
            variants.setdefault(row.variant_of, []).append(Activation(row))
    made = {}
    for row in _ROWS:
        if not row.variant_of:
            activation = Activation(row, variants.get(row.name, ()))
            made.update(dict.fromkeys((row.name, *row.aliases), activation))
    return made


ACTIVATIONS = _activations()
globals().update(ACTIVATIONS)
globals().update(_GATED)


def __getattr__(name):
    """The bridges, which are imported when they are asked for."""
    if name not in _BRIDGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _import_module(f"{__name__}.{name}")


__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Activity",
    "ActivityMonitor",
    "Backend",
    "DerivativeCheck",
    "LogSumExp",
    "NoiseKey",
    "Plan",
    "accuracy",
    "activation",
    "activity",
    "backends",
    "bias_act",
    "check_derivative",
    "cross_entropy",
    "explain",
    "get_cache_limit",
    "get_num_threads",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "logsumexp0",
    "maxout",
    "noise_key",
    "noisy_relu",
    "rrelu",
    "set_accuracy",
    "set_backend",
    "set_cache_limit",
    "set_num_threads",
    "show_config",
    "softmax",
    "softmax0",
    "stepped_sigmoid",
    "use_backend",
    *ACTIVATIONS,
    *_GATED,
]

if hasattr(_sys.modules.get("threadpoolctl"), "register"):  # whoever uses it; it is not imported for this
    from . import threadpool  # noqa: F401
