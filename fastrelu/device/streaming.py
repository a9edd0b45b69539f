"""LogSumExp of device arrays: its sums stay on the device, in memory of the caller's library.

As in `reductions`, nothing waits for the device, and no number is fetched from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .arrays import SIZES, View, c_strides, dtype_name, library_of
from .calls import any_on_device, launching, target_of
from .dtypes import dtype_of
from .reductions import Rows, called_by, operation_of, weights_of

__all__ = ["Sums", "any_on_device"]

KEPT = "logsumexp.weighted"  # the operation whose states are kept


def _kernels():
    from fastrelu.kernels.cuda import row_kernels, streaming

    return row_kernels, streaming


@dataclass(frozen=True)
class Sums:
    """What a LogSumExp has seen; its memory is never written again.

    Attributes
    ----------
    memory : object
        An array of the caller's library, with a state for each number of the result.
    kind : object
        One with a number of the result's dtype.
    shape : tuple of int
        Of the result.
    """

    memory: object
    kind: object
    shape: tuple[int, ...]

    @property
    def library(self):
        return library_of(self.kind)

    @property
    def dtype(self):
        char = self.library.char(self.kind)
        try:
            return dtype_of(char)
        except ImportError:  # bfloat16, which goes by its name then
            return dtype_name(char)

    @property
    def count(self):
        return math.prod(self.shape)

    @property
    def states(self):
        """A View of the states, which lie in C order; its strides are their distances."""
        char, (kernels, _) = self.library.char(self.kind), _kernels()
        size = kernels.state_bytes(operation_of(KEPT), char)
        place, device = self.library.view(self.memory).place, self.library.device(self.kind)
        return View(place, self.shape, c_strides(self.shape, size), char, device)

    @classmethod
    def _empty(cls, library, array, char, shape, kind=None):
        size = _kernels()[0].state_bytes(operation_of(KEPT), char)
        memory = library.workspace(array, max(1, math.prod(shape) * size // 8))
        return cls(memory, library.empty(array, (1,)) if kind is None else kind, shape)

    @classmethod
    def of_chunk(cls, name, chunk, b, axis, dtype, before):
        """Those of `before`, if there are any, and of a chunk, and how many entries it has."""
        if before:
            before.beside(name, "chunk", chunk)
        called = called_by(name, "chunk", chunk, b=b)
        char, rows = called.lead.char, Rows(called, axis)
        if dtype is not None and dtype_name(char) != str(dtype):
            called.f._fail(TypeError, "chunk", f"of dtype {dtype_name(char)}", f"{dtype}, that of the result")
        if before and rows.kept_shape != before.shape:
            got = f"one whose result has the shape {rows.kept_shape}"
            called.f._fail(ValueError, "chunk", got, f"{before.shape}, as before")
        return cls._added(rows, b, before), called.lead.size

    def beside(self, name, argument, array):
        """Refuse what is not of the library, device and dtype of the first chunk."""
        called_by(name, "the first chunk", self.kind).view(argument, array)

    @classmethod
    def _added(cls, rows, b, before):
        kernels, streaming = _kernels()
        called, lead = rows.called, rows.called.lead
        library, char, weights = called.library, lead.char, weights_of(called, "chunk", b)
        made = cls._empty(library, called.array, char, rows.kept_shape, before and before.kind)
        if not rows.count:
            return made
        operation = operation_of("logsumexp" if weights is None else KEPT)
        arrays = made.states, lead, weights, *(None,) * operation.more_strides
        plan = rows.plan(operation, arrays)
        pieces = plan.pieces if rows.length else 0
        size = kernels.state_bytes(operation, char) * plan.rows * pieces
        workspace = library.workspace(called.array, max(1, size // 8))
        states, stream = library.view(workspace).place, library.stream(called.array)
        start = before.states.place if before else 0
        add = streaming.adding(weights is not None, char)
        for offsets in plan.offsets:
            if pieces:
                values = rows.values(plan, offsets, arrays, states)
                rows.launch(operation, plan, "sums", plan.groups * pieces, values)
            places = made.states.place + offsets[0], start and start + offsets[0], states
            values = (*places, *plan.lengths, *plan.strides[:4], plan.rows, pieces)
            _launch_by_rows(add, lead.device, stream, plan.rows, values)
        return made

    def with_those_of(self, name, other):
        """Both."""
        self.beside(name, "other", other.kind)
        library, place = self.library, [one.states.place for one in (self, other)]
        char, device = self.states.char, self.states.device
        made = self._empty(library, self.kind, char, self.shape, self.kind)
        values = (made.states.place, *place, 1, 1, *_step(made.states), self.count, 1)
        add = _kernels()[1].adding(True, char)
        _launch_by_rows(add, device, library.stream(self.kind), self.count, values)
        return made

    def results(self, signed):
        """The logarithms, and the signs if they are wanted."""
        called = called_by("LogSumExp.result", "chunk", self.kind)
        made = [target_of(called, None, self.shape) for _ in range(1 + signed)]
        if self.count:
            kernels, operation = _kernels()[0], operation_of(KEPT + ".signed" * signed)
            threads, size = launching().THREADS, SIZES[called.lead.char]
            kernel = kernels.kernel_of(operation, called.lead.char, "single", 1, "results", threads)
            out, *sign = (target.place for target, _ in made)
            step = size, 0, 0, 0
            places = out, 0, 0, self.states.place, *(sign or (0,))
            values = (*places, 1, 1, *step, *(0,) * 8, *step, 0, self.count, 1, 1)
            _launch_by_rows(kernel, called.lead.device, called.library.stream(self.kind), self.count, values)
        return [result for _, result in made]


def _step(view):
    """That of rows in C order, as one of the strides of a kernel."""
    return (view.strides[-1] if view.strides else 0), 0, 0, 0


def _launch_by_rows(kernel, device, stream, rows, values):
    on = launching().device(device)
    most = on.processors * launching().BLOCKS_A_PROCESSOR
    on.launch(kernel, max(1, min(-(-rows // kernel.threads), most)), stream, values)
