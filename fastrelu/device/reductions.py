"""The reductions on device arrays: logsumexp, the softmaxes, and their gradients.

As in `calls`, everything is checked before anything is launched, nothing waits for the device, and no
number is fetched from it.
"""

from __future__ import annotations

import functools
import math
import operator

import numpy as np

from .. import rowwise
from .arrays import SIZES, View
from .calls import Operands, any_on_device, launching, run_function, target_of
from .layout import broadcast, layout_of
from .rows import Block, TooManyStrides, row_plan

__all__ = [
    "Rows",
    "any_on_device",
    "called_by",
    "gradient_of_logsumexp",
    "logsumexp",
    "normalise",
    "operation_of",
    "softmax_gradient",
    "weights_of",
]

X = 1  # among the arrays of a kernel: result, entries, dy


class _Named:
    """What `Operands` asks of the function that is called."""

    def __init__(self, name):
        self.__qualname__ = name

    def _fail(self, kind, argument, got, expected):
        rowwise.fail(self.__qualname__, kind, argument, got, expected)


named = functools.cache(_Named)


def called_by(name, argument, array, **others):
    return Operands(named(name), argument, array, others)


@functools.cache
def _block(few, small):
    from fastrelu.kernels.cuda import row_kernels, team

    entries = functools.partial(row_kernels.entries_of_thread, few)
    most = team.MOST_THREADS // 2 if small else team.MOST_THREADS
    return Block(team.LANES, min(team.LEAST_THREADS, most), most, entries)


@functools.lru_cache(maxsize=1024)
def _parts(name, axis, shape):
    """The axes that are reduced, those that are kept, and the shape of these."""
    axes = rowwise.as_axes(name, axis, len(shape))
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    return axes, kept, tuple(shape[i] for i in kept)


@functools.lru_cache(maxsize=1024)
def _plan(f, operation, shape, axes, char, layouts):
    """How an operation goes over arrays of these layouts, None where one is not there."""
    there = [View(*one, device=0) for one in layouts if one is not None]
    by_vectors = not any(one.place for one in there if one.shape == shape)
    strides = tuple(None if one is None else one[2] for one in layouts)
    block = _block(operation.few, char in operation.small)
    try:
        return row_plan(shape, axes, char, strides, X, by_vectors, block)
    except TooManyStrides as error:
        f._fail(ValueError, "axis", f"along {error} strides", "axes along two at most")


def _grid(operation, char, plan, role, tasks, processors, shared_bytes):
    """The kernel for work for so many blocks, and the blocks and the bytes of shared memory of its launch."""
    from fastrelu.kernels.cuda import row_kernels

    launch, shared = launching(), 0
    kernel = row_kernels.kernel_of(operation, char, plan.how, plan.count, role, plan.threads)
    blocks = processors * max(1, launch.THREADS * launch.BLOCKS_A_PROCESSOR // plan.threads)
    if kernel.static is not None:
        of_entry = SIZES[char] * (1 + operation.reads_dy)
        shared = plan.kept_bytes(shared_bytes - kernel.static, of_entry)
    return kernel, max(1, min(tasks, blocks)), shared


@functools.lru_cache(maxsize=1024)
def _launches(f, operation, shape, axes, char, layouts, processors, shared_bytes):
    """A plan, the bytes of states that its kernels share, and their `_grid`s for each of its offsets."""
    from fastrelu.kernels.cuda import row_kernels

    plan = _plan(f, operation, shape, axes, char, layouts)
    roles, state_bytes = plan.roles(processors), 0
    if "sums" in roles:
        state_bytes = row_kernels.state_bytes(operation, char) * plan.rows * plan.pieces
    grids = [_grid(operation, char, plan, *one, processors, shared_bytes) for one in roles.items()]
    return plan, state_bytes, grids


class Rows:
    """The entries of a call as rows, and launches over them.

    Attributes
    ----------
    called : Operands
    shape, axes, kept_shape : tuple of int
    count, length : int
        Of rows, of a row.
    """

    def __init__(self, called, axis):
        self.called, self.shape = called, called.lead.shape
        of = _parts if axis is None or type(axis) is int else _parts.__wrapped__  # True equals 1
        self.axes, self.kept, self.kept_shape = of(called.f.__qualname__, axis, self.shape)
        self.count, self.length = math.prod(self.kept_shape), math.prod([self.shape[i] for i in self.axes])

    def result_shape(self, keepdims):
        return (
            tuple(1 if i in self.axes else n for i, n in enumerate(self.shape))
            if keepdims
            else self.kept_shape
        )

    def of_shape(self, argument, array, shape):
        """A View of an array that has to have the forward result's shape."""
        found = self.called.view(argument, array)
        if found.shape != shape:
            expected = f"the shape of the forward result, {shape}"
            self.called.f._fail(ValueError, argument, f"of shape {found.shape}", expected)
        return found

    def by_row(self, view):
        """A View with one number for each row, without the reduced axes, which may be kept as 1."""
        if view.ndim == len(self.kept):
            return view
        strides = tuple(view.strides[i] for i in self.kept)
        return View(view.place, self.kept_shape, strides, view.char, view.device, view.writeable)

    def plan(self, operation, arrays):
        """How to go over Views of entries and of rows, None where a kernel's array is not there."""
        called, layouts = self.called, tuple(map(layout_of, arrays))
        return _plan(called.f, operation, self.shape, self.axes, called.lead.char, layouts)

    def values(self, plan, offsets, arrays, states=0, more_places=(), options=(0,)):
        """What a launch hands over of Views: of the result, of the entries, of `dy`, of an operation's own.

        `more_places` are of what has no strides: they follow those of the states, before its own arrays.
        """
        places = [0 if one is None else one.place for one in arrays]
        out, x, dy, *more = map(operator.add, places, offsets)
        places = out, x, dy, states, *more_places, *more
        return (*places, *plan.lengths, *plan.strides, *options, plan.rows, plan.length, plan.team)

    def launch(self, operation, plan, role, tasks, values):
        """One kernel of an operation, with work for so many blocks."""
        called = self.called
        on = launching().device(called.lead.device)
        limits = on.processors, on.shared_bytes
        kernel, blocks, shared = _grid(operation, called.lead.char, plan, role, tasks, *limits)
        on.launch(kernel, blocks, called.library.stream(called.array), values, shared)

    def run(self, operation, arrays, more_places=(), options=(0,)):
        """Launch an operation over Views, see `values`."""
        called, layouts, states = self.called, tuple(map(layout_of, arrays)), 0
        on, library = launching().device(called.lead.device), called.library
        given = called.f, operation, self.shape, self.axes, called.lead.char, layouts
        plan, state_bytes, grids = _launches(*given, on.processors, on.shared_bytes)
        if state_bytes:
            workspace = library.workspace(called.array, -(-state_bytes // 8))
            states = library.place(workspace)
        stream = library.stream(called.array)
        for offsets in plan.offsets:
            values = self.values(plan, offsets, arrays, states, more_places, options)
            for kernel, blocks, shared in grids:
                on.launch(kernel, blocks, stream, values, shared)


@functools.cache
def operation_of(name):
    """One of the reductions, or of their gradients, by name."""
    from fastrelu.kernels.cuda import rows, rows_backward, weighted_rows

    return (rows.forward() | rows_backward.backward() | weighted_rows.weighted())[name]


def weights_of(called, argument, b):
    """A View of the weights with the shape of the entries; None without."""
    if b is None:
        return None
    found, shape = called.view("b", b), called.lead.shape
    try:
        fits = np.broadcast_shapes(found.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        expected = f"a shape that broadcasts to {shape}, that of {argument}"
        called.f._fail(ValueError, "b", f"of shape {found.shape}", expected)
    return broadcast(found, shape)


def _outs(name, out, return_sign):
    """`out` for the value and for the sign."""
    outs = out if isinstance(out, tuple) else (out,) + (None,) * bool(return_sign and out is None)
    if len(outs) != 1 + bool(return_sign):
        expected = "a pair, for the result and for its sign" if return_sign else "one array"
        rowwise.fail(name, TypeError, "out", f"for {len(outs)} results", expected)
    return outs


def logsumexp(function, a, axis, b, keepdims, return_sign, out):
    """`logsumexp` and `logsumexp0`."""
    name = function.__name__
    outs = _outs(name, out, return_sign)
    called = called_by(name, "a", a, b=b, **dict(zip(("out", "out's sign"), outs, strict=False)))
    rows, weights = Rows(called, axis), weights_of(called, "a", b)
    made = [target_of(called, o, rows.result_shape(keepdims)) for o in outs]
    targets, results = [rows.by_row(target) for target, _ in made], tuple(result for _, result in made)
    for target, _ in made if out is not None else ():
        called.overlaps(target, [called.lead, weights])
    if return_sign and out is not None and called.overlaps(made[1][0], [made[0][0]]):
        called.f._fail(ValueError, "out", "one array twice", "one for the result and one for its sign")
    if rows.count and weights is not None:
        suffix = ".weighted.signed" if return_sign else ".weighted"
        beside = targets[1] if return_sign else None
        rows.run(operation_of(name + suffix), (targets[0], called.lead, weights, beside))
    elif rows.count:
        rows.run(operation_of(name), (targets[0], called.lead, None))
        if return_sign:
            from fastrelu.kernels.cuda import weighted_rows

            stream = called.library.stream(a)
            run_function(weighted_rows.sign_of_log(), 1, targets[1], (targets[0],), stream)
    return results if return_sign else results[0]


def gradient_of_logsumexp(function, dy, x, axis, b, keepdims, out):
    name = function.backward.__qualname__
    called = called_by(name, "x", x, dy=dy, b=b, out=out)
    rows, weights = Rows(called, axis), weights_of(called, "x", b)
    flow = rows.by_row(rows.of_shape("dy", dy, rows.result_shape(keepdims)))
    target, result = target_of(called, out, rows.shape)
    if out is not None:
        called.overlaps(target, [called.lead, flow, weights])
    if target.size and weights is not None:
        rows.run(operation_of(f"{name}.weighted"), (target, called.lead, weights, flow))
    elif target.size:
        rows.run(operation_of(name), (target, called.lead, flow))
    return result


def normalise(function, x, axis, out):
    """`softmax`, `softmax0` and `log_softmax`."""
    name = function.__name__
    called = called_by(name, "x", x, out=out)
    rows = Rows(called, axis)
    target, result = target_of(called, out, rows.shape)
    if out is not None:
        called.overlaps(target, [called.lead])
    if target.size:
        rows.run(operation_of(name), (target, called.lead, None))
    return result


def softmax_gradient(function, dy, x, y, axis, out):
    """The gradients of those, from their result, or by way of it where that is not given."""
    name = function.backward.__qualname__
    argument, source = ("y", y) if x is None else ("x", x)
    called = called_by(name, argument, source, dy=dy, out=out)
    rows = Rows(called, axis)
    flow = rows.of_shape("dy", dy, rows.shape)
    target, result = target_of(called, out, rows.shape)
    over_dy = out is not None and called.overlaps(target, [flow])
    if out is not None:
        called.overlaps(target, [called.lead])
    if not target.size:
        return result
    made = called.lead
    if x is not None:
        between = called.library.empty(x, rows.shape) if over_dy else None
        made = called.library.view(between) if over_dy else target
        forward = function.__name__.replace("softmax", "shares")
        rows.run(operation_of(forward), (made, called.lead, None))
    rows.run(operation_of(name), (target, made, flow))
    return result
