"""`activity` and `ActivityMonitor` on device arrays: counts stay on the device until somebody reads them."""

from __future__ import annotations

import numpy as np

from .arrays import SIZES, View, c_strides
from .calls import Operands, any_on_device, divided, launching
from .layout import broadcast, summation
from .reductions import named

__all__ = ["Tallies", "any_on_device", "tally"]

ROWS = 3  # two parts of the sum of each unit's outputs, and how often it was active


class Tallies:
    """What the calls on one device have counted, by unit.

    Attributes
    ----------
    shape : tuple of int
        Of the units.
    samples : int
    """

    def __init__(self, called, shape):
        self.library, self.shape, self.samples = called.library, shape, 0
        self.memory = self.library.workspace(called.array, ROWS * max(1, int(np.prod(shape))))
        self.place = self.library.view(self.memory).place

    def on_host(self):
        """The rows as an array, for which the host waits."""
        count = ROWS * int(np.prod(self.shape))
        rows = self.library.to_host(self.memory).view(np.float64)[:count].reshape(ROWS, -1)
        return np.array(rows if self.samples else np.zeros_like(rows))

    def add(self, f, function, char, operands, shape, axes, called):
        """Count what a function of a dtype makes of operands of `shape`, whose samples lie along `axes`."""
        from fastrelu.kernels.cuda import sums, tallies

        launch, stream = launching(), called.library.stream(called.array)
        on = launch.device(called.lead.device)
        pattern, views, numbers = divided(operands, char)
        kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
        out = View(self.place, kept, c_strides(kept, SIZES["d"]), "d", called.lead.device)
        arrays = tuple(broadcast(v, shape) for v in views)
        blocks = on.processors * launch.BLOCKS_A_PROCESSOR
        plan = summation(out, arrays, shape, kept, launch.THREADS, sums.WIDTH, blocks)
        plan.check(f.__qualname__)
        samples = int(np.prod([shape[i] for i in axes], dtype=np.int64))
        if samples and plan.kept:
            count = tallies.PART_BYTES // SIZES["d"] * plan.parts * plan.kept
            workspace = called.library.workspace(called.array, count)
            work = called.library.view(workspace).place
            part = tallies.partial(function, char, pattern, *plan.ranks)
            whole = tallies.finished(plan.ranks[0], sums.is_single(function, char))
            places = [v.place for v in views]
            on.launch(part, plan.blocks, stream, (*places, *numbers, work, *plan.partial))
            kept_count, parts, *rest = plan.finished
            row, begins = plan.kept * SIZES["d"], int(self.samples == 0)
            values = (self.place, work, kept_count, parts, row, begins, *rest)
            on.launch(whole, -(-plan.kept // whole.threads), stream, values)
        self.samples += samples


def tally(name, y, axes_of, counted):
    """Count the outputs `y` in `Tallies`.

    Parameters
    ----------
    name : str
        Of the function that is called.
    y : array
    axes_of : callable
        Of the number of axes: those of the samples.
    counted : callable
        Of `Operands` and the shape of the units: where to count.
    """
    from fastrelu.kernels.cuda import fused

    function = named(name)
    called = Operands(function, "y", y, {})
    shape = called.lead.shape
    axes = axes_of(len(shape))
    found = counted(called, tuple(n for i, n in enumerate(shape) if i not in axes))
    found.add(function, fused.itself(), called.lead.char, (called.lead,), shape, axes, called)
    return found
