"""Where a result goes: into `out=`, over the operand (`x`, backward `dy`), or into fresh memory.

The peers' lines are written for `out=`; the other two follow from them by rule, as a user would write them.
"""

from __future__ import annotations

import copy
import re
from dataclasses import replace

from . import eager
from .work import Data, Job, Operation

__all__ = ["MODES", "in_mode"]

MODES = ("out", "in place", "fresh")
_INTO_OUT = re.compile(r"(out|grad_input)=out\b")


def in_mode(mode: str, prepare, operation: Operation, data: Data) -> Job | None:
    """The job that `prepare(data)` makes, in this mode; None where the library cannot do it so.

    Reductions have the mode "out" only.
    """
    if mode != "out" and operation.is_reduction:
        return None
    if mode == "in place":
        return _in_place(prepare, operation, data)
    job = prepare(data)
    return job if job is None or mode == "out" else _fresh(job)


def _in_place(prepare, operation, data):
    target = "x" if operation.pass_ == "forward" else "dy"
    own, values = copy.copy(data), getattr(data, target)
    setattr(own, target, values.copy())
    job = prepare(own)
    if job is None or job.mode != "out":
        return None
    statement = eager.NUMPY_IN_PLACE.get(str(operation)) if job.peer == "numpy" else None
    if not statement:
        *before, last = job.statement.split("; ")
        last, found = _INTO_OUT.subn(rf"\1={target}", last)
        if not found:
            return None
        statement = "; ".join([*before, last])
    return replace(job, statement=statement, shown="", over=(getattr(own, target), values))


def _fresh(job):
    if job.mode != "out":
        return job
    if not _INTO_OUT.search(job.statement):  # ONNX Runtime writes where it was bound to
        return None
    if "; " in job.statement:
        library = "torch" if job.peer == "torch" else "np"
        statement = f"out = {library}.empty_like(x); {job.statement}; result = out"
    else:
        statement = "result = " + _INTO_OUT.sub("", job.statement.replace(".grad_input(", "("))
        statement = statement.replace(", )", ")").replace(", ,", ",")
    return replace(job, statement=statement, shown="")
