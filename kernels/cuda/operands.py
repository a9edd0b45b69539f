"""Where a function's numbers come from and its results go: loaded, converted, computed, converted and stored.

A *pattern* says for each argument of a function where its numbers come from:

    a    an array of the dtype that is computed in
    s    the same, but one number for all that a vector of the others holds
    n    a number that is the same for all
    e, b, f, d    an array of this other dtype, whose numbers are rounded to that which is computed in
    E, B, F, D    one whose numbers are taken as they are, as far as what is computed in holds them
    t, c, C, h, H, i, I, q, Q    one of bools or integers, by `LETTERS`

and a last letter w, for no argument, that an array of bools says which results are stored.  The *ends* are
the dtypes that results are rounded to in turn, the last of them that of memory; there are none where that is
the dtype computed in.
"""

from dataclasses import dataclass

import numpy as np
from numba import types

from .primitives import simulated
from .storage import STORAGES, VECTOR_BYTES, Storage, converted, converted_in_python

__all__ = ["LETTERS", "applied", "arrays_of", "evaluated", "lanes_of"]

# NumPy's own where these are free: "b" and "B" are bfloat16, and "?" has a meaning in names of files.
LETTERS = {"bool": "t", "int8": "c", "uint8": "C", "int16": "h", "uint16": "H"}
LETTERS |= {"int32": "i", "uint32": "I", "int64": "q", "uint64": "Q"}
NAMES = {letter: name for name, letter in LETTERS.items()}
MASK = STORAGES["bool"]


@dataclass(frozen=True)
class Source:
    """Where one argument's numbers come from, by its letter in a pattern."""

    kind: str
    to: Storage  # that is computed in

    @property
    def storage(self):
        return self.to if self.kind in "as" else STORAGES[NAMES.get(self.kind) or self.kind.lower()]

    @property
    def rounds(self):
        return self.kind not in "EBFD"

    def load(self, builder, place, lanes):
        """A number for each lane, as LLVM code."""
        found = self.storage.load(builder, place, 1 if self.kind == "s" else lanes)
        if self.storage != self.to:
            found = [converted(builder, one, self.storage, self.to, self.rounds) for one in found]
        return found * (lanes // len(found))

    def read(self, place, lanes):
        """The same as Python."""
        found = self.storage.read(place, 1 if self.kind == "s" else lanes)
        if self.storage != self.to:
            found = converted_in_python(found, self.storage, self.to, self.rounds)
        return found * (lanes // len(found))


def arrays_of(pattern):
    """How many arrays it has."""
    return len(pattern) - pattern.count("n")


def lanes_of(storage, pattern, ends=()):
    """Numbers in a vector: as many as 16 bytes hold of the widest dtype."""
    sizes = [source.storage.size for source in _sources(storage, pattern)]
    return VECTOR_BYTES // max(_stored(storage, ends).size, *sizes, 1)


def _sources(storage, pattern):
    return [Source(kind, storage) for kind in pattern if kind not in "nw"]


def _stored(storage, ends):
    return STORAGES[ends[-1]] if ends else storage


def _steps(storage, ends):
    """The conversions that a result goes through."""
    if ends and storage.size == 2:
        yield storage, storage
    for of, to in zip((storage.char, *ends), ends, strict=False):
        yield STORAGES[of], STORAGES[to]


def applied(f, storage, pattern, lanes=1, count=1, ends=()):
    """An intrinsic ``run(places, numbers, offset, step)`` that stores what `f` makes of what it loads.

    Parameters
    ----------
    f : function
        Of numbers, compiled for the device.
    storage : Storage
        What is computed in.
    pattern : str
        Where its arguments come from.
    lanes : int
        1 or `lanes_of`.
    count : int
        Vectors that are loaded before any is computed: at `offset` from each place, and every `step`, both in
        bytes of an array of `storage`.
    ends : tuple of str
        Where its results go.
    """
    sources, target, masked = _sources(storage, pattern), _stored(storage, ends), pattern.endswith("w")
    arguments = pattern.removesuffix("w")

    def scaled(at, size):
        return at * size // storage.size

    def twin(places, numbers, offset, step):
        out, *arrays = map(int, places)
        for k in range(count):
            at = int(offset + k * step)
            with np.errstate(all="ignore"):
                found = [
                    one.read(p + scaled(at, one.storage.size), lanes)
                    for one, p in zip(sources, arrays, strict=False)
                ]
                each = zip(*found, strict=True) if found else [()] * lanes
                results = [f(*_arguments(arguments, lane, numbers)) for lane in each]
                results = converted_in_python(results, storage, storage, False)
                for of, to in _steps(storage, ends):
                    results = converted_in_python(results, of, to)
            if not masked:
                target.write(out + scaled(at, target.size), results)
                continue
            for j, stores in enumerate(MASK.read(arrays[-1] + scaled(at, MASK.size), lanes)):
                if stores:
                    target.write(out + scaled(at, target.size) + j * target.size, results[j : j + 1])

    @simulated(twin)
    def run(context, places, numbers, offset, step):
        def write(target_context, builder, signature, given):
            places, numbers, offset, step = given
            callee, resolved = _callee(context, target_context, f, (storage.real,) * len(arguments))
            of_all = [builder.extract_value(numbers, i) for i in range(arguments.count("n"))]
            bases = [builder.extract_value(places, i) for i in range(1 + len(sources) + masked)]
            offsets = [offset]
            for _ in range(1, count):
                offsets.append(builder.add(offsets[-1], step))
            loaded = [
                [
                    one.load(builder, _moved(builder, base, at, storage, one.storage), lanes)
                    for one, base in zip(sources, bases[1:], strict=False)
                ]
                for at in offsets
            ]
            for at, vectors in zip(offsets, loaded, strict=True):
                results = []
                for lane in zip(*vectors, strict=True) if vectors else [()] * lanes:
                    result = callee(builder, _arguments(arguments, lane, of_all))
                    result = target_context.cast(builder, result, resolved, storage.real)
                    for of, to in _steps(storage, ends):
                        result = converted(builder, result, of, to)
                    results.append(result)
                place = _moved(builder, bases[0], at, storage, target)
                if masked:
                    bits = MASK.load(builder, _moved(builder, bases[-1], at, storage, MASK), lanes)
                    _store_some(builder, target, place, results, bits)
                else:
                    target.store(builder, place, results)
            return target_context.get_dummy_value()

        return types.void(places, numbers, offset, step), write

    return run


def _moved(builder, base, at, of, storage):
    """A place in an array of `storage`, as many numbers from its base as `at` bytes are of another one."""
    apart = storage.size.bit_length() - of.size.bit_length()
    if apart:
        at = (builder.shl if apart > 0 else builder.ashr)(at, at.type(abs(apart)))
    return builder.add(base, at)


def _store_some(builder, storage, place, numbers, bits):
    """Store a vector, or of it those numbers whose bits are set."""
    active = [builder.icmp_unsigned("!=", one, one.type(0)) for one in bits]
    if len(numbers) == 1:
        with builder.if_then(active[0]):
            storage.store(builder, place, numbers)
        return
    every = active[0]
    for one in active[1:]:
        every = builder.and_(every, one)
    with builder.if_else(every) as (whole, parts):
        with whole:
            storage.store(builder, place, numbers)
        with parts:
            for j, (one, number) in enumerate(zip(active, numbers, strict=True)):
                with builder.if_then(one):
                    storage.store(builder, builder.add(place, place.type(j * storage.size)), [number])


def evaluated(f, storage, pattern):
    """An intrinsic ``value(places, numbers)``: what `f` makes of one number of each array; see `applied`."""
    sources = _sources(storage, pattern)

    def twin(places, numbers):
        with np.errstate(all="ignore"):
            found = [one.read(int(p), 1)[0] for one, p in zip(sources, places, strict=True)]
            return f(*_arguments(pattern, found, numbers))

    @simulated(twin)
    def value(context, places, numbers):
        arguments = (storage.real,) * len(pattern)
        result = context.resolve_value_type(f).get_call_type(context, arguments, {}).return_type

        def write(target, builder, signature, arguments):
            places, numbers = arguments
            callee, _ = _callee(context, target, f, (storage.real,) * len(pattern))
            of_all = [builder.extract_value(numbers, i) for i in range(pattern.count("n"))]
            bases = [builder.extract_value(places, i) for i in range(len(sources))]
            loaded = [one.load(builder, base, 1)[0] for one, base in zip(sources, bases, strict=True)]
            return callee(builder, _arguments(pattern, loaded, of_all))

        return result(places, numbers), write

    return value


def _arguments(pattern, arrays, numbers):
    """A function's arguments in their order, from those of each kind."""
    arrays, numbers = iter(arrays), iter(numbers)
    return [next(numbers if kind == "n" else arrays) for kind in pattern]


def _callee(context, target, f, arguments):
    """A device function for arguments of these types as something to call while building, and its result."""
    kind = context.resolve_value_type(f)
    signature = kind.get_call_type(context, arguments, {})
    function, (*_, last) = target.get_function(kind, signature), signature.args

    def call(builder, values):
        if isinstance(last, (types.StarArgTuple, types.StarArgUniTuple)):  # def f(a, *others)
            alone = len(signature.args) - 1
            values = [*values[:alone], target.make_tuple(builder, last, values[alone:])]
        return function(builder, values)

    return call, signature.return_type
