"""What is measured: an operation, the arrays of one measurement, and a job, one library's way to do it.

A job is Python source, the line that a user of the library would write, so that timing it costs no wrapper
and a report can show what ran.  The line writes into `out`, which all jobs of a measurement share, or it
makes a fresh `result` where the library cannot write into a given array.
"""

from __future__ import annotations

import functools
import re
import timeit
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..row import Kernel, Row
from ..table import REDUCTIONS, ROWS

if TYPE_CHECKING:
    from ..custom import CustomActivation

__all__ = ["PASSES", "Data", "Job", "Operation", "deviation", "operations", "own_job"]

PASSES = ("forward", "backward", "backward_from_y")
ROW_LENGTH = 1000  # reductions run along rows of this length, or over a single shorter one
CHECKED = 2000  # elements or rows of a result that are compared with the reference
IN_A_ROW = 32  # calls over the same operand before it is restored: gelu 150 times over is 0

# The passes of a reduction: how fastrelu's user writes it, and what it means.  The gradient of the softmaxes
# is the one from the output, which is what every library saves.
REDUCTION_PASSES = {
    "logsumexp forward": ("fr.logsumexp(x, axis=-1, out=out)", "logsumexp(x, axis=-1)"),
    "logsumexp backward": (
        "fr.logsumexp.backward(dy, x, axis=-1, out=out)",
        "logsumexp_backward(dy, x, axis=-1)",
    ),
    "softmax forward": ("fr.softmax(x, axis=-1, out=out)", "softmax(x, axis=-1)"),
    "softmax backward_from_y": (
        "fr.softmax.backward(dy, y=y, axis=-1, out=out)",
        "softmax_backward(dy, y=y, axis=-1)",
    ),
    "log_softmax forward": ("fr.log_softmax(x, axis=-1, out=out)", "log_softmax(x, axis=-1)"),
    "log_softmax backward_from_y": (
        "fr.log_softmax.backward(dy, y=y, axis=-1, out=out)",
        "log_softmax_backward(dy, y=y, axis=-1)",
    ),
}


@dataclass(frozen=True)
class Operation:
    """One pass of one function."""

    function: str  # the dotted path below fastrelu
    pass_: str
    statement: str  # as a user of fastrelu writes it
    reference: str  # a call of a function of `fastrelu.reference.rows`, or empty for a kernel of the table
    kernel: Kernel | None = None
    parameters: dict[str, float] = field(default_factory=dict, hash=False)
    axis: int = -1  # that a reduction runs along
    domain: tuple[float, float] = (-np.inf, np.inf)  # of x, as in the table
    custom: CustomActivation | None = field(default=None, repr=False, compare=False)  # a user's, `f` above

    def __str__(self):
        return f"{self.function} {self.pass_}"

    @property
    def is_reduction(self) -> bool:
        return self.kernel is None

    def line(self, lines: dict[str, str]) -> str | None:
        """A peer's line for it; those of reductions are written for the last axis."""
        line = lines.get(str(self))
        if line is None or self.axis == -1:
            return line
        return re.sub(r"-1\b", str(self.axis), line).replace("[..., None]", "[None]")

    def arrays_moved(self) -> int:
        """How many arrays of the size of `x` the operation must at least read and write."""
        if str(self) == "logsumexp forward":
            return 1
        without_dy = "logsumexp backward", "heaviside backward"  # one a row, or none is read
        return 2 if self.pass_ == "forward" or str(self) in without_dy else 3


def _of_row(row: Row) -> list[Operation]:
    values = {p.name: p.typical[0] if p.default is None else p.default for p in row.parameters}
    required = "".join(f", {p.name}={p.typical[0]!r}" for p in row.parameters if p.default is None)
    learned = ', wrt="x"' if any(p.learned for p in row.parameters) else ""
    f = f"fr.{row.qualname}"
    statements = {
        "forward": f"{f}(x{required}, out=out)",
        "backward": f"{f}.backward(dy, x{required}{learned}, out=out)",
        "backward_from_y": f"{f}.backward(dy, y=y{required}{learned}, out=out)",
    }
    kernels = row.kernels()
    return [
        Operation(row.qualname, pass_, statements[pass_], "", kernels[pass_], values, domain=row.domain)
        for pass_ in PASSES
        if pass_ in kernels
    ]


def _of_custom(path: str) -> list[Operation]:
    """The passes that there are of a user's activation."""
    from ..custom import CustomActivation, imported

    f = imported(path)
    if not isinstance(f, CustomActivation):
        return _of_row(f.row)
    return [
        replace(o, function=path, statement=o.statement.replace(f"fr.{f.row.qualname}", "f", 1), custom=f)
        for o in _of_row(f.row)
        if o.pass_ in f.codes
    ]


def operations(names: Iterable[str] = (), passes: Iterable[str] = PASSES) -> list[Operation]:
    """The operations of the table, of some functions or of all, in the table's order.

    Raises
    ------
    ValueError
        If a name is not a function of the table, nor "package.module:name" an activation.
    """
    names = list(names)
    by_name = {row.qualname: _of_row(row) for row in ROWS}
    by_name |= {name: _of_custom(name) for name in names if ":" in name}
    for name in REDUCTIONS:
        found = [(key, *value) for key, value in REDUCTION_PASSES.items() if key.startswith(f"{name} ")]
        by_name[name] = [Operation(name, key.split()[1], ours, theirs) for key, ours, theirs in found]
    spelled = {name: name for name in by_name}
    for row in ROWS:
        spelled |= dict.fromkeys((row.name, *row.aliases), row.qualname)
    for name in names:
        if name not in spelled:
            raise ValueError(f"unknown function {name!r}; expected one of {', '.join(spelled)}")
    wanted = {spelled[name] for name in names} or set(by_name)
    return [o for name, made in by_name.items() if name in wanted for o in made if o.pass_ in passes]


def named_dtype(dtype):
    """NumPy's dtype, which for bfloat16 is that of ml_dtypes."""
    if dtype != "bfloat16":
        return np.dtype(dtype)
    from ml_dtypes import bfloat16

    return np.dtype(bfloat16)


class Data:
    """The arrays of one measurement, the same for all who take part: `x`, `dy`, `y` and `out`.

    They lie where `numpy.empty` puts them, as a user's do.  With `like`, the data of another operation, its
    arrays serve again if they fit.
    """

    def __init__(self, operation: Operation, dtype, size: int, like: Data | None = None):
        self.operation, self.dtype = operation, named_dtype(dtype)
        if operation.is_reduction and size > ROW_LENGTH:
            self.shape = (size // ROW_LENGTH, ROW_LENGTH)
        else:
            self.shape = (size,)
        of_rows = self.shape[:-1] if operation.function == "logsumexp" else self.shape
        forward, backward = operation.pass_ == "forward", operation.pass_ != "forward"
        earlier = like.arrays if like and like.dtype == self.dtype and like.shape == self.shape else {}
        rng = np.random.default_rng(0)
        if like and like.operation.domain != operation.domain:
            earlier.pop("x", None)
        self.x = earlier["x"] if "x" in earlier else self._inside(self._normal(rng, self.shape))
        self.dy = self.y = None
        if backward:
            fits = "dy" in earlier and earlier["dy"].shape == of_rows
            self.dy = earlier["dy"] if fits else self._normal(rng, of_rows)
        if operation.pass_ == "backward_from_y":
            self.y = self._forward()
        self.out = np.full(of_rows if forward else self.shape, 0, self.dtype)  # touched, as zeros are not

    def _normal(self, rng, shape):
        return np.asarray(rng.standard_normal(shape, dtype=np.float64)).astype(self.dtype)

    def _inside(self, x):
        """`x`, normal, where the function is NaN for none: its size on a half line, its sigmoid on [0, 1]."""
        low, high = self.operation.domain
        if low == -np.inf:
            return x
        return np.abs(x, out=x) if high == np.inf else 1 / (1 + np.exp(-x))

    def _forward(self):
        """The forward result, by fastrelu: fast, and the same for every job."""
        import fastrelu

        forward = next(o for o in operations([self.operation.function]) if o.pass_ == "forward")
        names = {"fr": fastrelu, "f": forward.custom, "x": self.x, "out": np.empty_like(self.x)}
        exec(forward.statement, names)
        return names["out"]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        named = {"x": self.x, "dy": self.dy, "y": self.y, "out": self.out}
        return {name: array for name, array in named.items() if array is not None}

    def sample(self, array) -> np.ndarray:
        """The part of an operand or result that is compared: spread evenly, the end included."""
        n = self.shape[0]
        if n <= CHECKED or (self.operation.is_reduction and len(self.shape) == 1):
            return array
        return array[:: -(n // CHECKED)]

    @functools.cached_property
    def expected(self) -> np.ndarray:
        """The reference's result, sampled; of 16 bits in more."""
        from .. import reference
        from ..reference import rows as reference_rows

        inputs = {name: self.sample(array) for name, array in self.arrays.items() if name != "out"}
        if self.dtype.itemsize == 2:
            inputs = {name: array.astype(np.float32) for name, array in inputs.items()}
        if self.operation.is_reduction:
            names = vars(reference_rows) | inputs
            return np.asarray(eval(self.operation.reference, names))
        kernel = self.operation.kernel
        inputs |= self.operation.parameters
        if custom := self.operation.custom:
            return custom.codes[kernel.pass_].by_python(*(inputs[name] for name in kernel.inputs))
        return np.asarray(reference.evaluate(kernel, *(inputs[name] for name in kernel.inputs)))


@dataclass(eq=False)
class Job:
    """One library's way to do an operation on the shared arrays."""

    peer: str
    statement: str
    names: dict = field(repr=False)
    out: np.ndarray = field(repr=False)
    shown: str = ""  # what to report where the statement alone does not say what runs
    spins: bool = False  # its threads keep a processor busy for a while after the call
    over: tuple[np.ndarray, np.ndarray] | None = None  # the operand that it writes over, and its values

    def __post_init__(self):
        self.shown = self.shown or self.statement
        namespace = dict(self.names)
        exec(f"def call():\n    {self.statement}", namespace)
        self.call = namespace["call"]  # for those who time a callable
        self._timeit = timeit.Timer(self.statement, globals=self.names).timeit  # for the rest: no call at all

    def timeit(self, calls: int) -> float:
        """Seconds of so many calls; an operand that they write over is restored in between, untimed."""
        if self.over is None:
            return self._timeit(calls)
        seconds = 0.0
        for done in range(0, calls, IN_A_ROW):
            np.copyto(*self.over)
            with np.errstate(over="ignore", invalid="ignore"):  # it is applied again and again
                seconds += self._timeit(min(IN_A_ROW, calls - done))
        return seconds

    @property
    def mode(self) -> str:
        """Where the result goes: "out", the array given, "fresh", a new one, or "in place", over an operand;
        "reference" if that runs."""
        if "reference.evaluate" in self.statement:
            return "reference"
        if self.over is not None:
            return "in place"
        return "fresh" if "result = " in self.statement else "out"

    def result(self) -> np.ndarray:
        """Run once; `out` holds NaN before, so nothing left over can pass for a result."""
        namespace = dict(self.names)
        self.out.fill(np.nan)
        if self.over is not None:
            np.copyto(*self.over)
        exec(self.statement, namespace)
        if self.over is not None:
            return self.over[0]
        return self.out if self.mode == "out" else _array(namespace["result"])


def _array(result):
    """What a library returned, as an array; NumPy does not know torch's bfloat16."""
    if "torch.bfloat16" in str(getattr(result, "dtype", "")):
        import torch

        return result.view(torch.int16).numpy().view(named_dtype("bfloat16"))
    return np.asarray(result)


def own_job(operation: Operation, data: Data) -> Job:
    """fastrelu's own."""
    import fastrelu

    names = {"fr": fastrelu, "f": operation.custom, **data.arrays}
    spins = fastrelu.get_num_threads() > 1
    return Job("fastrelu", operation.statement, names, data.out, spins=spins)


def deviation(job: Job, data: Data) -> float:
    """The largest difference of a job's result from the reference, over the value plus the typical value."""
    result = job.result()
    if result.shape != data.out.shape or result.dtype != data.dtype:
        return np.inf
    result, expected = (np.atleast_1d(a).astype(np.float64) for a in (data.sample(result), data.expected))
    difference = np.abs(result - expected)
    scale = np.abs(expected) + np.sqrt(np.mean(expected**2))
    worst = np.max(np.divide(difference, scale, out=difference, where=difference != 0))
    return float(worst) if np.isfinite(worst) else np.inf
