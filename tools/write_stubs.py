"""Write ``fastrelu/__init__.pyi`` from the table, so that type checkers see the activations.

``--check`` writes nothing and fails if the file would change.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kernel_sources import ROOT, table

STUB = ROOT / "fastrelu/__init__.pyi"
HEAD = """# Written by tools/write_stubs.py from fastrelu/table.py: edit those.
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .activity import Activity as Activity
from .activity import ActivityMonitor as ActivityMonitor
from .activity import activity as activity
from .backends import Backend as Backend
from .backward import Backward as Backward
from .binary import logaddexp as logaddexp
from .check import DerivativeCheck as DerivativeCheck
from .check import check_derivative as check_derivative
from .config import show_config as show_config
from .control import accuracy as accuracy
from .control import backends as backends
from .control import get_cache_limit as get_cache_limit
from .control import get_num_threads as get_num_threads
from .control import set_accuracy as set_accuracy
from .control import set_backend as set_backend
from .control import set_cache_limit as set_cache_limit
from .control import set_num_threads as set_num_threads
from .control import use_backend as use_backend
from .custom import activation as activation
from .dispatch import Plan as Plan
from .dispatch import explain as explain
from .fused import bias_act as bias_act
from .gated import GatedUnit as GatedUnit
from .keys import NoiseKey as NoiseKey
from .keys import noise_key as noise_key
from .largest import maxout as maxout
from .losses import cross_entropy as cross_entropy
from .normalising import log_softmax as log_softmax
from .normalising import softmax as softmax
from .normalising import softmax0 as softmax0
from .reductions import logsumexp as logsumexp
from .reductions import logsumexp0 as logsumexp0
from .stepped import stepped_sigmoid as stepped_sigmoid
from .streaming import LogSumExp as LogSumExp

__version__: str

class Activation:
    backward: Backward
    variants: Mapping[str, Activation]
    @property
    def ufunc(self) -> np.ufunc: ...
    def __call__(
        self,
        x: ArrayLike,
        /,
        *parameters: Any,
        out: np.ndarray | tuple[np.ndarray] | None = ...,
        where: ArrayLike = ...,
        dtype: DTypeLike | None = ...,
        casting: str = ...,
        order: str = ...,
        subok: bool = ...,
        **named: Any,
    ) -> Any: ...
    def with_mask(
        self,
        x: ArrayLike,
        *,
        at_zero: int | None = ...,
        out: np.ndarray | None = ...,
        **parameters: Any,
    ) -> tuple[np.ndarray, np.ndarray]: ...
"""


def variant_class(name, variants):
    """A class for an activation whose variants are attributes."""
    attributes = "".join(f"    {v}: Activation\n" for v in variants)
    return f"\nclass _{name.title()}(Activation):\n{attributes}"


def stub():
    rows = table().ROWS
    variants = {}
    for row in rows:
        if row.variant_of:
            variants.setdefault(row.variant_of, []).append(row.option[1])
    classes = "".join(variant_class(name, found) for name, found in variants.items())
    lines = []
    for row in rows:
        if not row.variant_of:
            kind = f"_{row.name.title()}" if row.name in variants else "Activation"
            lines += [f"{name}: {kind}" for name in (row.name, *row.aliases)]
    lines += [f"{row.name}: Activation" for row in table().RANDOM if not row.variant_of]
    lines += [f"{gate.name}: GatedUnit" for gate in table().GATES]
    return HEAD + classes + "\nACTIVATIONS: Mapping[str, Activation]\n" + "\n".join(lines) + "\n"


def main(arguments):
    text = stub()
    if "--check" in arguments:
        if not STUB.exists() or STUB.read_text() != text:
            sys.exit(f"{STUB.relative_to(Path.cwd())} does not follow the table: run tools/write_stubs.py")
    else:
        STUB.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
