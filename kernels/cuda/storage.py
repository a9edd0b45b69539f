"""How numbers lie in device memory: up to 16 bytes at once or one by one, as the numbers computed in.

A kernel never sees a pointer: it hands over places, addresses of the result and of each array.  Floating
numbers are computed in float32 or float64, integers in their own type and bools as uint8.
"""

import ctypes
from dataclasses import dataclass

import numpy as np
from llvmlite import ir
from numba import types

from .integers import INTEGERS
from .primitives import simulated

__all__ = [
    "STORAGES",
    "VECTOR_BYTES",
    "Storage",
    "converted",
    "converted_in_python",
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
        NumPy's character; "b" for bfloat16, and the names of integers and of bool.
    size : int
        Bytes of a number.
    real : numba type
        What it is computed in.
    """

    char: str
    size: int
    real: types.Number

    @property
    def lanes(self):
        """Numbers in a vector."""
        return VECTOR_BYTES // self.size

    @property
    def integral(self):
        return isinstance(self.real, types.Integer)

    # As LLVM code

    @property
    def kind(self):
        """The type in memory."""
        return {"f": ir.FloatType(), "d": ir.DoubleType()}.get(self.char, ir.IntType(8 * self.size))

    @property
    def computed(self):
        """The type computed in."""
        return ir.FloatType() if self.real == types.float32 else self.kind

    def load(self, builder, place, lanes, space=GLOBAL):
        """The numbers at an address: one, or a vector."""
        if lanes == 1:
            return [self.widened(builder, self._from(builder, place, self.kind, 1, space))]
        if self.size > 2:
            vector = self._from(builder, place, ir.VectorType(self.kind, lanes), lanes, space)
            return [builder.extract_element(vector, WORD(i)) for i in range(lanes)]
        word, count = self._words(lanes)
        kind = ir.VectorType(word, count) if count > 1 else word
        words = self._from(builder, place, kind, lanes, space)
        found = []
        for i in range(count):
            one = builder.extract_element(words, WORD(i)) if count > 1 else words
            shifts = range(self.kind.width, word.width, self.kind.width)
            for part in (one, *(builder.lshr(one, word(shift)) for shift in shifts)):
                found.append(self.widened(builder, builder.trunc(part, self.kind)))
        return found

    def store(self, builder, place, numbers, space=GLOBAL):
        # in shared memory there is what has been read from an array
        narrowed = self.narrowed if space == GLOBAL else self.shortened
        numbers, lanes = [narrowed(builder, number) for number in numbers], len(numbers)
        if lanes == 1:
            return self._to(builder, place, numbers[0], 1, space)
        if self.size > 2:
            vector = ir.Constant(ir.VectorType(self.kind, lanes), ir.Undefined)
            for i, number in enumerate(numbers):
                vector = builder.insert_element(vector, number, WORD(i))
            return self._to(builder, place, vector, lanes, space)
        word, count = self._words(lanes)
        words = ir.Constant(ir.VectorType(word, count), ir.Undefined)
        for i in range(count):
            one, *others = (
                builder.zext(number, word)
                for number in numbers[i * lanes // count : (i + 1) * lanes // count]
            )
            for j, other in enumerate(others, 1):
                one = builder.or_(one, builder.shl(other, word(j * self.kind.width)))
            words = builder.insert_element(words, one, WORD(i)) if count > 1 else one
        return self._to(builder, place, words, lanes, space)

    def _words(self, lanes):
        """How so many numbers of at most 16 bits are read and written: of what type, and how many."""
        bits = lanes * self.kind.width
        return ir.IntType(min(bits, 32)), max(1, bits // 32)

    def _pointer(self, builder, place, kind, space):
        return builder.inttoptr(place, ir.PointerType(kind, space))

    def _from(self, builder, place, kind, lanes, space):
        loaded = builder.load(self._pointer(builder, place, kind, space))
        loaded.align = lanes * self.size
        return loaded

    def _to(self, builder, place, value, lanes, space):
        stored = builder.store(value, self._pointer(builder, place, value.type, space))
        stored.align = lanes * self.size

    def widened(self, builder, bits):
        """What is in memory as the number computed in: the float32 of 16 bits."""
        if self.char == "bool":
            return builder.zext(builder.icmp_unsigned("!=", bits, bits.type(0)), bits.type)
        if self.kind == self.computed:
            return bits
        if self.char == "e":
            return builder.fpext(builder.bitcast(bits, ir.HalfType()), ir.FloatType())
        return builder.bitcast(builder.shl(builder.zext(bits, WORD), WORD(16)), ir.FloatType())

    def narrowed(self, builder, number):
        """A number computed in as it is in memory: a float32 rounded to 16 bits, half to even."""
        if self.kind == self.computed:
            return number
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
        if self.char != "b":
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
    "bool": Storage("bool", 1, types.uint8),
} | {name: Storage(name, size, getattr(types, name)) for name, (size, _) in INTEGERS.items()}


def converted(builder, number, of: Storage, to: Storage, rounds=True):
    """A number of one dtype as what another one is computed in, as LLVM code; rounded to that dtype or not.

    NumPy rounds once, but for bfloat16, which it reaches by way of float32.
    """
    if to.char == "bool":
        unequal = builder.icmp_unsigned if of.integral else builder.fcmp_unordered
        return builder.zext(unequal("!=", number, ir.Constant(number.type, 0)), to.kind)
    if to.integral and of.integral:
        if of.size >= to.size:
            return number if of.size == to.size else builder.trunc(number, to.kind)
        return (builder.sext if of.real.signed else builder.zext)(number, to.kind)
    if to.integral:
        return (builder.fptosi if to.real.signed else builder.fptoui)(number, to.kind)
    if of.integral:
        number = (builder.sitofp if of.real.signed else builder.uitofp)(number, to.computed)
    elif rounds and (of.char, to.char) == ("d", "e"):
        return builder.fpext(builder.fptrunc(number, ir.HalfType()), to.computed)
    elif of.real != to.real:
        number = (builder.fptrunc if of.real == types.float64 else builder.fpext)(number, to.computed)
    if rounds and to.size == 2:
        return to.widened(builder, to.narrowed(builder, number))
    return number


def converted_in_python(numbers, of: Storage, to: Storage, rounds=True):
    """The same of several numbers as Python."""
    numbers = np.array(numbers, str(of.real))
    return list((numbers.astype(to.dtype) if rounds else numbers).astype(str(to.real)))


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


def located(rank, count):
    """An intrinsic ``find(places, i, lengths, strides)``: where number `i` lies in each of `count` arrays.

    `lengths` has the lengths of all axes but the first; `strides` those of each array in turn along all axes,
    in bytes.  Along several axes it counts in 32 bits, along one in 64.
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
            if rank > 1:
                i = builder.trunc(i, WORD)
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
