"""How numbers lie in device memory: 16 bytes at once or one by one, as the float32 or float64 computed in.

A kernel never sees a pointer: it hands over places, addresses of the result and of each array, and
`applied` makes of a function of numbers one that loads, computes and stores.

A *pattern* says for each argument of a function where its numbers come from:

    a    an array of the dtype of the call
    s    the same, but one number for all that a vector of the others holds
    n    a number that is the same for all
    e, b, f, d    an array of this other dtype, whose numbers are rounded to that of the call
    E, B, F, D    one whose numbers are taken as they are, as far as what is computed in holds them
"""

import ctypes
from dataclasses import dataclass

import numpy as np
from llvmlite import ir
from numba import types

from .primitives import simulated

__all__ = [
    "STORAGES",
    "VECTOR_BYTES",
    "Storage",
    "applied",
    "arrays_of",
    "evaluated",
    "loaded",
    "located",
    "some_of",
    "stored",
]

VECTOR_BYTES = 16
WORD = ir.IntType(32)
GLOBAL, SHARED = 1, 3  # address spaces


@dataclass(frozen=True)
class Storage:
    """A dtype in memory.

    Attributes
    ----------
    char : str
        NumPy's character; "b" for bfloat16.
    size : int
        Bytes of a number.
    real : numba type
        What it is computed in.
    """

    char: str
    size: int
    real: types.Float

    @property
    def lanes(self):
        """Numbers in a vector."""
        return VECTOR_BYTES // self.size

    # As LLVM code

    def load(self, builder, place, lanes, space=GLOBAL):
        """The numbers at an address: one, or a vector of them."""
        if self.size > 2:
            kind = ir.FloatType() if self.size == 4 else ir.DoubleType()
            if lanes == 1:
                return [self._from(builder, place, kind, space)]
            vector = self._from(builder, place, ir.VectorType(kind, lanes), space)
            return [builder.extract_element(vector, WORD(i)) for i in range(lanes)]
        if lanes == 1:
            bits = self._from(builder, place, ir.IntType(16), space)
            return [self.widened(builder, bits)]
        words = self._from(builder, place, ir.VectorType(WORD, lanes // 2), space)
        found = []
        for i in range(lanes // 2):
            word = builder.extract_element(words, WORD(i))
            for part in (word, builder.lshr(word, WORD(16))):
                found.append(self.widened(builder, builder.trunc(part, ir.IntType(16))))
        return found

    def store(self, builder, place, numbers, space=GLOBAL):
        if self.size > 2:
            if len(numbers) == 1:
                return self._to(builder, place, numbers[0], space)
            vector = ir.Constant(ir.VectorType(numbers[0].type, len(numbers)), ir.Undefined)
            for i, number in enumerate(numbers):
                vector = builder.insert_element(vector, number, WORD(i))
            return self._to(builder, place, vector, space)
        # in shared memory there is what has been read from an array
        narrowed = self.narrowed if space == GLOBAL else self.shortened
        halves = [narrowed(builder, number) for number in numbers]
        if len(halves) == 1:
            return self._to(builder, place, halves[0], space)
        words = ir.Constant(ir.VectorType(WORD, len(halves) // 2), ir.Undefined)
        for i in range(len(halves) // 2):
            low, high = (builder.zext(half, WORD) for half in halves[2 * i : 2 * i + 2])
            word = builder.or_(low, builder.shl(high, WORD(16)))
            words = builder.insert_element(words, word, WORD(i))
        return self._to(builder, place, words, space)

    def _pointer(self, builder, place, kind, space):
        return builder.inttoptr(place, ir.PointerType(kind, space))

    def _from(self, builder, place, kind, space):
        loaded = builder.load(self._pointer(builder, place, kind, space))
        loaded.align = self._alignment(kind)
        return loaded

    def _to(self, builder, place, value, space):
        stored = builder.store(value, self._pointer(builder, place, value.type, space))
        stored.align = self._alignment(value.type)

    def _alignment(self, kind):
        return kind.count * max(self.size, 4) if isinstance(kind, ir.VectorType) else self.size

    def widened(self, builder, bits):
        """The float32 of 16 bits."""
        if self.char == "e":
            return builder.fpext(builder.bitcast(bits, ir.HalfType()), ir.FloatType())
        return builder.bitcast(builder.shl(builder.zext(bits, WORD), WORD(16)), ir.FloatType())

    def narrowed(self, builder, number):
        """A float32 rounded to 16 bits, half to even."""
        if self.char == "e":
            return builder.bitcast(builder.fptrunc(number, ir.HalfType()), ir.IntType(16))
        bits = builder.bitcast(number, WORD)
        odd = builder.and_(builder.lshr(bits, WORD(16)), WORD(1))
        rounded = builder.add(builder.add(bits, WORD(0x7FFF)), odd)
        quiet = builder.or_(bits, WORD(0x400000))
        chosen = builder.select(builder.fcmp_unordered("uno", number, number), quiet, rounded)
        return builder.trunc(builder.lshr(chosen, WORD(16)), ir.IntType(16))

    def shortened(self, builder, number):
        """A float32 that 16 bits hold."""
        if self.char == "e":
            return self.narrowed(builder, number)
        return builder.trunc(builder.lshr(builder.bitcast(number, WORD), WORD(16)), ir.IntType(16))

    # As Python, on the memory of the process, which the simulator calls that of the device

    @property
    def dtype(self):
        if self.char == "b":
            import ml_dtypes

            return np.dtype(ml_dtypes.bfloat16)
        return np.dtype(self.char)

    def _memory(self, place, lanes):
        if place % (lanes * self.size):
            raise ValueError(f"{lanes} numbers of {self.size} bytes at the misaligned address {place:#x}")
        return np.frombuffer((ctypes.c_char * (lanes * self.size)).from_address(place), self.dtype)

    def read(self, place, lanes):
        return list(self._memory(place, lanes).astype(str(self.real)))

    def write(self, place, numbers):
        self._memory(place, len(numbers))[:] = np.array(numbers, str(self.real)).astype(self.dtype)


STORAGES = {
    "e": Storage("e", 2, types.float32),
    "b": Storage("b", 2, types.float32),
    "f": Storage("f", 4, types.float32),
    "d": Storage("d", 8, types.float64),
}


@dataclass(frozen=True)
class Source:
    """Where one argument's numbers come from, by its letter in a pattern."""

    kind: str
    to: Storage  # of the call

    @property
    def storage(self):
        return self.to if self.kind in "as" else STORAGES[self.kind.lower()]

    @property
    def rounds(self):
        return self.kind in STORAGES and self.to.size == 2

    def load(self, builder, place, lanes):
        """A number for each lane, as LLVM code."""
        found = self.storage.load(builder, place, 1 if self.kind == "s" else lanes)
        if self.storage.real != self.to.real and self.to.real == types.float32:
            found = [builder.fptrunc(one, ir.FloatType()) for one in found]
        elif self.storage.real != self.to.real:
            found = [builder.fpext(one, ir.DoubleType()) for one in found]
        if self.rounds:
            found = [self.to.widened(builder, self.to.narrowed(builder, one)) for one in found]
        return found * (lanes // len(found))

    def read(self, place, lanes):
        """The same as Python."""
        found = self.storage.read(place, 1 if self.kind == "s" else lanes)
        found = np.array(found, str(self.to.real))
        if self.rounds:
            found = found.astype(self.to.dtype).astype(str(self.to.real))
        return list(found) * (lanes // len(found))


def arrays_of(pattern):
    """How many arrays it has."""
    return len(pattern) - pattern.count("n")


def _sources(storage, pattern):
    return [Source(kind, storage) for kind in pattern if kind != "n"]


def applied(f, storage, pattern, lanes=1, count=1):
    """An intrinsic ``run(places, numbers, offset, step)`` that stores what `f` makes of what it loads.

    Parameters
    ----------
    f : function
        Of numbers, compiled for the device.
    storage : Storage
    pattern : str
        Where its arguments come from.
    lanes : int
        1 or `storage.lanes`.
    count : int
        Vectors that are loaded before any is computed: at `offset` bytes from each place, and every `step`.
    """
    sources = _sources(storage, pattern)

    def twin(places, numbers, offset, step):
        out, *arrays = places
        with np.errstate(all="ignore"):
            found = [
                [one.read(int(p + offset + k * step), lanes) for one, p in zip(sources, arrays, strict=True)]
                for k in range(count)
            ]
            for k, loaded in enumerate(found):
                each = zip(*loaded, strict=True) if loaded else [()] * lanes
                results = [f(*_arguments(pattern, lane, numbers)) for lane in each]
                storage.write(int(out + offset + k * step), results)

    @simulated(twin)
    def run(context, places, numbers, offset, step):
        def write(target, builder, signature, arguments):
            places, numbers, offset, step = arguments
            callee, resolved = _callee(context, target, f, (storage.real,) * len(pattern))
            of_all = [builder.extract_value(numbers, i) for i in range(pattern.count("n"))]
            bases = [builder.extract_value(places, i) for i in range(1 + len(sources))]
            offsets = [offset]
            for _ in range(1, count):
                offsets.append(builder.add(offsets[-1], step))
            loaded = [
                [
                    one.load(builder, builder.add(base, at), lanes)
                    for one, base in zip(sources, bases[1:], strict=True)
                ]
                for at in offsets
            ]
            for at, vectors in zip(offsets, loaded, strict=True):
                results = []
                for lane in zip(*vectors, strict=True) if vectors else [()] * lanes:
                    result = callee(builder, _arguments(pattern, lane, of_all))
                    results.append(target.cast(builder, result, resolved, storage.real))
                storage.store(builder, builder.add(bases[0], at), results)
            return target.get_dummy_value()

        return types.void(places, numbers, offset, step), write

    return run


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


def loaded(storage, lanes=1):
    """An intrinsic ``read(place)``: a tuple of numbers that lie behind each other."""

    @simulated(lambda place: tuple(storage.read(int(place), lanes)))
    def read(context, place):
        def write(target, builder, signature, arguments):
            numbers = storage.load(builder, arguments[0], lanes)
            return target.make_tuple(builder, signature.return_type, numbers)

        return types.UniTuple(storage.real, lanes)(place), write

    return read


def stored(storage):
    """An intrinsic ``write(place, numbers)``: as many as there are, or one vector of them."""

    @simulated(lambda place, numbers: storage.write(int(place), numbers))
    def put(context, place, numbers):
        def write(target, builder, signature, arguments):
            place, given = arguments
            kinds = signature.args[1]
            values = [
                target.cast(builder, builder.extract_value(given, i), kind, storage.real)
                for i, kind in enumerate(kinds)
            ]
            storage.store(builder, place, values)
            return target.get_dummy_value()

        return types.void(place, numbers), write

    return put


def some_of(first, count):
    """An intrinsic ``some(numbers)``: so many numbers of a tuple, from the first that is wanted."""

    @simulated(lambda numbers: numbers[first : first + count])
    def some(context, numbers):
        def write(target, builder, signature, arguments):
            found = [builder.extract_value(arguments[0], first + i) for i in range(count)]
            return target.make_tuple(builder, signature.return_type, found)

        return types.UniTuple(numbers.dtype, count)(numbers), write

    return some


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


def located(rank, count):
    """An intrinsic ``find(places, i, lengths, strides)``: where number `i` lies in each of `count` arrays.

    `lengths` has the lengths of all axes but the first; `strides` those of each array in turn along all axes,
    in bytes.
    """

    def twin(places, i, lengths, strides):
        positions = []
        for n in reversed(lengths):
            i, position = divmod(int(i), n)
            positions.insert(0, position)
        positions.insert(0, int(i))
        parts = (strides[j * rank : (j + 1) * rank] for j in range(count))
        offsets = (sum(p * s for p, s in zip(positions, part, strict=True)) for part in parts)
        return tuple(place + offset for place, offset in zip(places, offsets, strict=True))

    @simulated(twin)
    def find(context, places, i, lengths, strides):
        def write(target, builder, signature, arguments):
            places, i, lengths, strides = arguments
            positions = []
            for axis in reversed(range(rank - 1)):
                n = builder.extract_value(lengths, axis)
                quotient = builder.udiv(i, n)
                positions.insert(0, builder.sub(i, builder.mul(quotient, n)))
                i = quotient
            positions = [builder.zext(p, ir.IntType(64)) for p in (i, *positions)]
            found = []
            for j in range(count):
                place = builder.extract_value(places, j)
                for axis, position in enumerate(positions):
                    stride = builder.extract_value(strides, j * rank + axis)
                    place = builder.add(place, builder.mul(position, stride))
                found.append(place)
            return target.make_tuple(builder, signature.return_type, found)

        return places(places, i, lengths, strides), write

    return find
