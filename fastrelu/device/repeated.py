"""Forward passes that are made again, with other arrays that are laid out alike.

All that is checked and decided before a launch follows from the kinds, dtypes, shapes, strides and
alignments of arrays, from the numbers beside them, the keywords and the accuracy that is set.  What followed
from them is kept here by these; only whether a result would lie over an operand is looked up each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import add

from .. import control
from . import layout
from .arrays import EVERY, View, dtype_name, library_of_type
from .launches import launches, launching
from .layout import VECTOR_BYTES, broadcast

__all__ = ["again", "remember"]

MOST = 1024  # that are kept
NUMBERS = {float, int, bool, type(None)}
_KEPT = {}


@dataclass(slots=True, eq=False)
class Call:
    """What tells a call from others, and where its operands, its mask and its `out` lie."""

    key: tuple
    views: list[View]
    out: View | None


@dataclass(slots=True, eq=False)
class Forward:
    """A forward pass as it was made.

    Attributes
    ----------
    shape : tuple of int or None
        Of memory for the result; None where that is like the first array.
    dtype : str or None
        Of that, where it is not the first array's.
    sources : tuple of int
        In which of the call's arrays each of a launch lies.
    apart : tuple
        With memory that was given, for each of these the begin and the end of its bytes, and whether it has
        the shape and the strides of that memory; then its own begin and end, all from the first number.
    launches : dict
        Kernels, blocks, by how much places are beyond those of the arrays, and last arguments; by where the
        result begins between two vectors, and what else launches depend on.
    """

    shape: tuple[int, ...] | None
    dtype: str | None
    sources: tuple[int, ...]
    apart: tuple
    launches: dict = field(default_factory=dict)

    def is_apart(self, call):
        """Whether memory that was given has nothing of an operand, or is that very array."""
        to, (*others, (low, high)) = call.out.place, self.apart
        low, high = to + low, to + high
        for source, (start, end, alike) in zip(self.sources, others, strict=True):
            place = call.views[source].place
            if place + start < high and low < place + end and not (alike and place == to):
                return False
        return True


def again(f, operands, where, out, options, array=None):
    """A call for `remember`, or None, and the result where such a call was made before, or None.

    `operands` are arrays and numbers, `options` what else a result depends on; memory is made as for `array`,
    by default the first one.
    """
    if array is None:
        array = next((one for one in operands if type(one) not in NUMBERS), None)
    if any(hasattr(one, "__index__") and type(one) not in NUMBERS for one in options):
        return None, None  # which may be an array that says something else by now
    library, views = library_of_type(type(array)), []
    if library is None:
        return None, None
    try:
        key = [f, type(array), *options, *map(type, options), control.ACCURACY.get()]
        for one in (*operands, where, out):
            if type(one) in NUMBERS:
                key += type(one), one or str(one)  # two zeros are equal
                continue
            if type(one) is not type(array) or not library.is_on_device(one):
                return None, None
            v = library.view(one, EVERY)
            views.append(v)
            key += v.place % VECTOR_BYTES, v.shape, v.strides, v.char, v.device, v.writeable
        key = tuple(key)
        kept = _KEPT.get(key)
    except (TypeError, ValueError):  # no such arrays, or nothing to keep them by: the general call goes on
        return None, None
    call = Call(key, views, None if out is None else views.pop())
    return call, None if kept is None else _made(kept, call, library, array, out)


def _made(kept, call, library, array, out):
    """The result of a call as one that was kept; None where that has to be seen again."""
    on = launching().device(call.views[0].device)
    if out is not None:
        if not kept.is_apart(call):
            return None
        result, to = out, call.out.place
    else:
        like = kept.shape is None
        result = library.empty_like(array) if like else library.empty(array, kept.shape, kept.dtype)
        to = library.place(result)
    launched = kept.launches.get((to % VECTOR_BYTES, on.processors, layout.MOST_NUMBERS))
    if launched is None:
        return None
    places = to, *[call.views[i].place for i in kept.sources]
    stream = library.stream(array)
    for kernel, blocks, beyond, rest in launched:
        on.launch(kernel, blocks, stream, (*map(add, places, beyond), *rest))
    return result


def remember(call, called, kernel, target, operands, char, result_char, ends, where):
    """Keep what a call was found to be, which has been launched over Views and numbers."""
    f, masks = called.f, () if where is True else (where,)
    found = [one for one in (*operands, *masks) if type(one) is View]
    halves = len(found) - len(call.views)  # two of one array, the first
    sources = tuple(max(0, i - halves) for i in range(len(found)))
    begins = [call.views[i].place for i in sources]
    kept = _KEPT.get(call.key)
    if kept is None:
        apart = () if call.out is None else _apart(target, found, begins)
        kept = Forward(*_memory(called, target, result_char), sources, apart)
    on = launching().device(target.device)
    arguments = f._on_device(kernel, char, on.cc), kernel.cost, target, operands, char, ends, where
    begins, made = (target.place, *begins), []
    for compiled, blocks, values in launches(*arguments):
        beyond = tuple(value - begin for value, begin in zip(values, begins, strict=False))
        made.append((compiled, blocks, beyond, values[len(begins) :]))
    kept.launches[target.place % VECTOR_BYTES, on.processors, layout.MOST_NUMBERS] = made
    if len(_KEPT) >= MOST:
        _KEPT.clear()
    _KEPT[call.key] = kept  # whole: another thread may read it


def _apart(target, views, begins):
    """See `Forward`."""
    found = []
    for begin, one in zip(begins, views, strict=True):
        one = broadcast(one, target.shape)
        start, end = one.extent if one.size else (begin, begin)
        alike = (begin, one.shape, one.strides) == (one.place, target.shape, target.strides)
        found.append((start - begin, end - begin, alike))
    return *found, tuple(end - target.place for end in target.extent)


def _memory(called, target, result_char):
    """The shape and the dtype of a result's memory, each None where the first array's are meant."""
    lead = called.lead
    if result_char != lead.char:
        return target.shape, dtype_name(result_char)
    return (None if target.shape == lead.shape else target.shape), None
