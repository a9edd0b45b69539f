"""Calls on device arrays: checked before anything is launched, with results of the caller's kind.

Nothing here waits for the device, and no number is fetched from it: what can only be seen there, as a
parameter beyond its domain in an array, is NaN in its lane.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from ..row import Kernel
from . import dtypes
from .arrays import (
    EVERY,
    INTEGERS,
    SIZES,
    Unsuitable,
    View,
    c_strides,
    dtype_name,
    is_on_device,
    library_of,
    view,
)
from .launches import divided, launches, launching
from .layout import broadcast, halves, passes, summation
from .repeated import again, remember

__all__ = [
    "Gradient",
    "Operands",
    "alone",
    "any_on_device",
    "backward",
    "explained",
    "forward",
    "gradients",
    "key_words",
    "known_here",
    "launches",
    "launching",
    "rounded",
    "run",
    "run_forward",
    "run_function",
    "run_sums",
    "target_of",
]

HOST = {np.ndarray, float, int, type(None), list, tuple, str, bool, np.float32, np.float64}
UNKNOWN = np.array([math.nan])  # for an array of which nothing is fetched


def known_here(cast):
    """Parameters as far as the host knows them, for checks of their values."""
    return [UNKNOWN if type(value) is View else value for value in cast]


def any_on_device(*values):
    """Whether one of these is an array on a device."""
    return any(type(v) not in HOST and is_on_device(v) for v in values)


def _kind(value):
    return f"{type(value).__module__}.{type(value).__qualname__}"


# Arguments


class Operands:
    """The arguments of one call as they are checked; all lie where the first array does.

    Attributes
    ----------
    array : object
        The caller's array, whose kind the result has.
    lead : View
    every : bool
        Whether arrays may have any dtype, integers and bools included.
    char : str
        The dtype that numbers are rounded to: that which is computed in.
    """

    def __init__(self, f, argument, array, others, every=False):
        self.f, self.argument, self.array, self.every = f, argument, array, every
        if not is_on_device(array):
            name, other = next((n, o) for n, o in others.items() if any_on_device(o))
            expected = f"an array on a device, as argument {name!r} is, a {_kind(other)}"
            f._fail(TypeError, argument, f"a {_kind(array)} in host memory", expected)
        self.library = library_of(array)
        self.lead = view(f.__qualname__, argument, array, EVERY if every else ())
        self.char = self.lead.char

    @property
    def _beside(self):
        return f"device {self.lead.device}, where {self.argument} is"

    def view(self, argument, array, integers=False, mixed=False) -> View:
        """An array beside the first one, of its dtype, or of integers or any where these are taken too."""
        f, lead = self.f, self.lead
        if array is self.array:
            return lead
        library = library_of(array)
        if library is None or not library.is_on_device(array):
            f._fail(TypeError, argument, f"a {_kind(array)} in host memory", f"an array on {self._beside}")
        if library is not self.library:
            f._fail(TypeError, argument, f"a {_kind(array)}", f"a {_kind(self.array)}, as {self.argument}")
        found = view(f.__qualname__, argument, array, EVERY if self.every else INTEGERS if integers else ())
        if found.device != lead.device:
            f._fail(ValueError, argument, f"on device {found.device}", self._beside)
        mixed = mixed or self.every or (integers and found.char in INTEGERS)
        if found.char != lead.char and not mixed:
            expected = f"{dtype_name(lead.char)}, that of {self.argument}"
            f._fail(TypeError, argument, f"of dtype {dtype_name(found.char)}", expected)
        return found

    def number(self, argument, value, mixed=False):
        """A number of the host, rounded to the dtype, or an array beside the first one, see `view`."""
        if type(value) is float:
            return np.float64(rounded(value, self.char))
        if is_on_device(value) or np.ndim(value):
            return self.view(argument, value, mixed=mixed)
        return np.float64(rounded(float(self.f._real(argument, value)), self.char))

    def parameter(self, p, value):
        number = self.number(p.name, value, mixed=True)
        if type(number) is not View and p.constrained and not p.accepts(number):
            self.f._fail(ValueError, p.name, value, p.requirement)
        return number

    def out(self, argument, array, shape, mixed=False) -> View:
        """Memory to write a result of `shape` to, of any dtype if it may be `mixed`."""
        f, found = self.f, self.view(argument, array, mixed=mixed)
        if not found.writeable:
            f._fail(ValueError, argument, "read-only", "a writeable array")
        if found.shape != shape:
            f._fail(ValueError, argument, f"of shape {found.shape}", f"shape {shape}")
        if any(n > 1 and step == 0 for n, step in zip(found.shape, found.strides, strict=True)):
            expected = "one where each has its own"
            f._fail(ValueError, argument, "an array whose numbers share memory", expected)
        return found

    def char_of_out(self, out):
        """The dtype of memory that was given."""
        return None if out is None else self.view("out", out).char

    def gradient(self, out, shape, char):
        """Where a gradient of a dtype goes, and the array that the caller gets."""
        if out is not None:
            dtypes.check_out(self.f, self.view("out", out).char, char)
        return target_of(self, out, shape, char=char)

    def overlaps(self, target, views):
        """Whether a result lies where an operand does: over all of it as it is, or it is an error."""
        (low, high), found = target.extent, False
        for one in views:
            if type(one) is not View or not one.size or not target.size:
                continue
            start, end = one.extent
            if low < end and start < high:
                found = True
                if (one.place, one.shape, one.strides) != (target.place, target.shape, target.strides):
                    expected = "that very array, or other memory"
                    self.f._fail(ValueError, "out", "over another part of an operand's memory", expected)
        return found

    def apart(self, targets):
        """Refuse that results share memory; `targets` are Views of what was given, by result."""
        for (one, first), (other, second) in itertools.combinations(targets.items(), 2):
            if first.size and second.size and np.shares_memory(*map(_addresses, (first, second))):
                got = f"the same memory for {one} and {other}"
                self.f._fail(ValueError, "out", got, "arrays that share none")


def _addresses(view):
    """A View as an array of NumPy, of which nothing can be read."""
    layout = {"data": (view.place, True), "shape": view.shape, "strides": view.strides}
    kind = f"|V{SIZES[view.char]}"
    return np.asarray(SimpleNamespace(__array_interface__={"typestr": kind, "version": 3, **layout}))


def rounded(value, char):
    """A number as one of the dtype."""
    return _rounded(value, char) if value else value  # two zeros are equal, and what is kept may be the other


@functools.lru_cache(maxsize=4096)
def _rounded(value, char):
    with np.errstate(all="ignore"):
        if char != "b":
            return float(np.float64(value).astype(char))
        number = np.float32(value)
        if np.isnan(number):
            return math.nan
        bits = int(number.view(np.uint32))
        bits = bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000
        return float(np.uint32(bits).view(np.float32))


# Launching


def run(f, kernel, out, operands, stream, char=None, ends=(), where=True):
    """Launch a kernel of the table over views and numbers; see `launches`."""
    on = launching().device(out.device)
    function = f._on_device(kernel, char or out.char, on.cc)
    if where is not False:
        run_function(function, kernel.cost, out, operands, stream, char, ends, where)


def run_function(function, cost, out, operands, stream, char=None, ends=(), where=True):
    """Launch a device function over views and numbers; see `launches`."""
    for compiled, blocks, values in launches(function, cost, out, operands, char, ends, where):
        launching().device(out.device).launch(compiled, blocks, stream, values)


def _run_sums(f, kernel, out, operands, shape, kept_shape, called, stream):
    """Sum the results of a kernel of the table."""
    on = launching().device(out.device)
    function = f._summed_on_device(kernel, called.char, on.cc)
    run_sums(f, function, out, operands, shape, kept_shape, called, stream)


def key_words(key):
    """A key's halves, as kernels take them."""
    return (0, 0) if key is None else (key.bits & 0xFFFFFFFF, key.bits >> 32)


def run_sums(f, function, out, operands, shape, kept_shape, called, stream, terms=None, key=None):
    """Sum a function's results of `shape` over the axes that `kept_shape` lacks, into `out`.

    They are computed in the dtype of `called`, and the results themselves go to `terms`, if that is given.
    With a `key`, the function's last argument is a uniform draw for each of them.
    """
    from fastrelu.kernels.cuda import sums

    targets = () if terms is None else (terms,)
    launch, char = launching(), called.char
    on = launch.device(out.device)
    pattern, views, numbers = divided(operands, char)
    counted = () if key is None else (View(0, shape, c_strides(shape, 1), "f", out.device),)  # C order
    plan = summation(
        out,
        tuple(broadcast(v, shape) for v in (*targets, *views, *counted)),
        shape,
        kept_shape,
        launch.THREADS,
        sums.WIDTH,
        on.processors * launch.BLOCKS_A_PROCESSOR,
    )
    plan.check(f.__qualname__)
    workspace = called.library.workspace(called.array, 2 * max(1, plan.parts * plan.kept))
    work = called.library.view(workspace).place
    kernels = (
        sums.partial(function, char, pattern, *plan.ranks, terms is not None, key is not None),
        sums.finished(out.char, plan.ranks[0], sums.is_single(function, char)),
    )
    places, words = [v.place for v in (*targets, *views, *counted)], key_words(key)
    if plan.kept:
        on.launch(kernels[0], plan.blocks, stream, (*places, *numbers, work, *plan.partial, *words))
        blocks = -(-plan.kept // kernels[1].threads)
        on.launch(kernels[1], blocks, stream, (out.place, work, *plan.finished))


# Calls


def _plain(f, plain, arrays, out, parameters):
    """The result of a plain call with these parameters; None where it is not so plain."""
    values = tuple([parameters[p.name] for p in f.row.parameters])
    return plain(arrays, out, values) if all(type(value) is float for value in values) else None


def forward(f, x, parameters, axis, given):
    """The forward pass, its arguments as `Activation._call` has sorted them."""
    out = alone(f, given.pop("out", None))
    if not given and axis is None:
        result = _plain(f, f.on_device, (x,), out, parameters)
        if result is not None:
            return result
    where = given.pop("where", True)
    call, result = again(f, (x, *parameters.values()), where, out, (axis, *given, *given.values()))
    if result is not None:
        return result
    called = Operands(f, "x", x, {**parameters, "out": out, "where": where}, every=True)
    computed = dtypes.forward(f, called.lead.char, given, called.char_of_out(out))
    called.char = computed.char
    cast = [called.parameter(p, parameters[p.name]) for p in f.row.parameters]
    f._check_order(known_here(cast))
    if axis is not None:
        cast = [f._along_channels(c, axis, called.lead.shape) for c in cast]
    shape = f._result_shape(called.lead, cast)
    return run_forward(called, (called.lead, *cast), shape, computed, out, where, call)


def alone(f, out):
    """The `out` of a call with one result, which may come in a tuple."""
    if not isinstance(out, tuple):
        return out
    if len(out) != 1:
        f._fail(ValueError, "out", f"a tuple of {len(out)}", "one array")
    return out[0]


def run_forward(called, operands, shape, computed, out, where, call=None):
    """Launch the kernel of a forward pass whose operands broadcast to `shape`; the result.

    It is remembered as that of a `call`; see ``repeated``.
    """
    f = called.f
    where = dtypes.where(called, where, out)
    if type(where) is View:
        try:
            shape = np.broadcast_shapes(shape, where.shape)
        except ValueError:
            expected = f"a shape that broadcasts with {shape}, that of the result"
            f._fail(ValueError, "where", f"of shape {where.shape}", expected)
    if out is not None:
        shape = _as_large_as(called.view("out", out).shape, shape)
    target, result = target_of(called, out, shape, char=computed.result)
    views = [broadcast(v, shape) for v in (*operands, where) if type(v) is View]
    if out is not None:
        called.overlaps(target, views)
    stream = called.library.stream(called.array)
    ends = computed.ends(target.char)
    run(f, f.kernel, target, operands, stream, computed.char, ends, where)
    if call is not None and where is not False:
        remember(call, called, f.kernel, target, operands, *computed, ends, where)
    return result


def _as_large_as(memory, shape):
    """The shape of memory that a result of `shape` broadcasts to, as that of a ufunc does; else `shape`."""
    try:
        return memory if np.broadcast_shapes(shape, memory) == memory else shape
    except ValueError:
        return shape


def target_of(called, out, shape, like=None, char=None):
    """Where a result goes, and the array that the caller gets.

    That is of the dtype of an array that it is `like`, of one by its `char`, or of that of the call.
    """
    if out is not None:
        return called.out("out", out, shape, like is not None), out
    library, array, lead = called.library, called.array, called.lead
    try:
        if like is not None:
            result = library.empty(like, shape)
        elif char is not None and char != lead.char:
            result = library.empty(array, shape, dtype_name(char))
        elif shape != lead.shape:
            result = library.empty(array, shape)
        else:
            result = library.empty_like(array)
            if lead.strides != c_strides(shape, SIZES[lead.char]):
                return library.view(result, EVERY), result
    except Unsuitable as error:
        raise TypeError(f"{called.f.__qualname__}: {error}") from None
    if like is not None:
        return library.view(result, EVERY), result
    char = char or lead.char
    return View(library.place(result), shape, c_strides(shape, SIZES[char]), char, lead.device), result


def backward(f, dy, source_name, source, parameters, axis, at_zero, pass_, wanted, wrt, out):
    """The backward pass, its arguments as `Backward._call` has sorted them."""
    outs = f._each_out(out, wanted)
    if wanted == ["x"] and source_name == "x" and at_zero is None and axis is None and pass_ in f.on_device:
        result = _plain(f, f.on_device[pass_], (dy, source), outs["x"], parameters)
        if result is not None:
            return f._result([result], wrt)
    call = None
    if wanted == ["x"]:
        numbers = dy, source, *parameters.values(), at_zero
        call, found = again(f, numbers, True, outs["x"], (source_name, axis, pass_), source)
        if found is not None:
            return f._result([found], wrt)
    called = Operands(f, source_name, source, {"dy": dy, **parameters, "out": out}, every=True)
    gradient = called.view("dy", dy)
    called.char, result = dtypes.backward(called.lead.char, gradient.char)
    cast = [called.parameter(p, parameters[p.name]) for p in f.row.parameters]
    names = [p.name for p in f.row.parameters]
    shapes = {"x": called.lead.shape} | {n: c.shape for n, c in zip(names, cast, strict=True)}
    f._check_order(known_here(cast))
    if axis is not None:
        cast = [f._along_channels(c, axis, called.lead.shape) for c in cast]
    if source_name == "y":
        f._check_from_y(known_here(cast))
    shape = f._result_shape(called.lead, cast)
    if gradient.shape != shape:
        f._fail(ValueError, "dy", f"of shape {gradient.shape}", f"the shape of the forward result, {shape}")
    inputs = gradient, called.lead, *cast
    knots = () if at_zero is None else (called.number("at_zero", at_zero),)
    kept = {"x": called.lead.shape} | {n: c.shape for n, c in zip(names, cast, strict=True)}
    passes_of = {"x": pass_} | {name: f"backward_wrt_{name}" for name in names}
    jobs = {
        name: Gradient(
            f.kernels[passes_of[name]],
            (*inputs, *knots) if name == "x" else inputs,
            kept[name],
            *called.gradient(outs[name], shapes[name], result),
            outs[name] is not None,
        )
        for name in wanted
    }
    results = gradients(f, called, jobs, shape)
    if call is not None and jobs["x"].kept == shape:
        kernel, operands, _, target, *_ = jobs["x"]
        ends = (target.char,) if target.char != called.char else ()
        remember(call, called, kernel, target, operands, called.char, result, ends, True)
    return f._result(results, wrt)


class Gradient(NamedTuple):
    """One gradient of a backward pass: what computes it, from what, and where it goes.

    `kept` is the shape of its operand, which is summed where that was broadcast; `target` the memory of
    `result`, which the caller gave or not.
    """

    kernel: Kernel
    operands: tuple
    kept: tuple[int, ...]
    target: View
    result: object
    given: bool


def gradients(f, called, jobs, shape):
    """Compute gradients by name, of operands that broadcast to `shape`; the arrays in their order."""
    called.apart({name: job.target for name, job in jobs.items() if job.given})
    over = []
    for name, job in jobs.items():
        operands = [broadcast(v, shape) for v in job.operands if type(v) is View]
        if job.given and called.overlaps(job.target, operands):
            over.append(name)
            if job.kept != shape:
                f._fail(ValueError, "out", f"over an operand, but {name} is summed", "other memory")
    if len(over) > 1:
        f._fail(ValueError, "out", "over operands for more than one gradient", "that for one of them")
    stream = called.library.stream(called.array)
    for name in sorted(jobs, key=over.__contains__):  # what is written over an operand comes last
        kernel, operands, kept, target, *_ = jobs[name]
        if kept == shape:
            target = target if target.shape == shape else target.reshape(shape)
            ends = (target.char,) if target.char != called.char else ()
            run(f, kernel, target, operands, stream, called.char, ends)
        else:
            operands = replace(operands[0], rounded=False), *operands[1:]  # dy: only sums are rounded
            _run_sums(f, kernel, target, operands, shape, kept, called, stream)
    return [job.result for job in jobs.values()]


def explained(f, kernel, arrays, out):
    """What `explain` says of a call: size, dtype, architecture, path, threads and reasons."""
    given = dict(zip(kernel.inputs, arrays, strict=False))
    lead = kernel.arguments[0]
    called = Operands(f, lead, given[lead], given, every=True)
    if "gate" in kernel.inputs and "gate" not in given:  # halves of one array
        given |= zip(("value", "gate"), halves(called.lead, f._axis("value", called.lead, -1)), strict=True)
    views = [
        value if type(value) is View else called.number(name, value)
        for name, value in ((name, given.get(name, 1.0)) for name in kernel.inputs)
    ]
    computed = dtypes.explained(f, kernel, views, called.char_of_out(out))
    char, result = computed
    shape = np.broadcast_shapes(*(v.shape for v in views))
    if out is not None:
        target = called.out("out", out, shape)
    else:
        whole = replace(called.lead, place=0, char=result)
        dense = shape == whole.shape and [one.rank for one in passes(called.lead, ())] == [0]
        strides = whole.strides if dense and result == called.lead.char else c_strides(shape, SIZES[result])
        target = replace(whole, shape=shape, strides=strides)
    ends = computed.ends(target.char)
    on = launching().device(target.device)
    made = list(launches(f._on_device(kernel, char, on.cc), kernel.cost, target, views, char, ends))
    views = tuple(broadcast(v, shape) for v in views if type(v) is View)
    over = list(passes(target, views, tuple(v.char == char for v in views)))
    ranks = [one.rank for one in over]
    width = "16 bytes" if {SIZES[v.char] for v in views} <= {SIZES[target.char]} else "at most 16 bytes"
    by_vectors = bool(made) and ranks[0] == 0 and made[0][2][-1] > 0
    threads = max((blocks * compiled.threads for compiled, blocks, _ in made), default=0)
    major, minor = on.cc
    if not made:
        reason = "there is no number: nothing is launched"
    elif by_vectors:
        reason = f"contiguous and alike in alignment: loads and stores of {width}"
    elif ranks[0] == 0:
        reason = "contiguous, but not alike in alignment: number by number"
    elif over[0].alike is not None:
        by_vectors, reason = (
            True,
            f"runs of memory along the last of {ranks[0]} axes: loads and stores of {width}",
        )
    else:
        reason = f"strides of its own along {ranks[0]} axes: number by number"
    reasons = reason, f"device {target.device}, where the arrays are", *(one.name for one, _, _ in made)
    path = "vectors" if by_vectors else "numbers"
    return target.size, dtype_name(target.char), f"sm_{major}{minor}", path, threads, reasons
