"""Kernels that draw: Philox4x32-10 in the kernel, by the definition in ``fastrelu/draws.py``.

A thread takes one counter and so four draws of its group, 16 numbers apart: every load and store of a warp
covers whole runs of 16 numbers.
"""

import functools

import numpy as np
from numba import cuda, types

from . import formulas, pair
from .elementwise import Function
from .launch import Kernel
from .operands import applied, arrays_of
from .primitives import inline
from .storage import STORAGES, located

__all__ = ["COUNTERS", "GROUP", "compiled", "themselves", "uniform_double_of", "uniform_float_of"]

GROUP, COUNTERS, ROUNDS = 64, 16, 10
INDEX = types.int64
WORD, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
FIRST, SECOND = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
KEY_STEPS = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
SEVEN, TEN, TWENTY_TWO, ONE = np.uint64(7), np.uint64(10), np.uint64(22), np.uint64(1)


@inline
def philox(counter, digits, key0, key1):
    """Four words, each in 64 bits, of the counter {counter, digits}."""
    c0, c1, c2, c3 = counter & WORD, counter >> HALF, digits, digits ^ digits
    for _ in range(ROUNDS):
        a, b = c0 * FIRST, c2 * SECOND
        c0, c1 = (b >> HALF) ^ c1 ^ key0, b & WORD
        c2, c3 = (a >> HALF) ^ c3 ^ key1, a & WORD
        key0, key1 = (key0 + KEY_STEPS[0]) & WORD, (key1 + KEY_STEPS[1]) & WORD
    return c0, c1, c2, c3


# u - 1/2 for a uniform draw u


@inline
def centred_float(word):
    odd = np.int64((word >> SEVEN) | ONE) - np.int64(1 << 24)
    return np.float32(odd) * np.float32(2.0**-25)


@inline
def centred_double(word, further):
    odd = np.int64((word << TWENTY_TWO) | (further >> TEN) | ONE) - np.int64(1 << 53)
    return np.float64(odd) * np.float64(2.0**-54)


@inline
def uniform_floats(counter, key0, key1):
    a, b, c, d = philox(counter, np.uint64(0), key0, key1)
    return centred_float(a), centred_float(b), centred_float(c), centred_float(d)


@inline
def uniform_doubles(counter, key0, key1):
    a, b, c, d = philox(counter, np.uint64(0), key0, key1)
    p, q, r, s = philox(counter, np.uint64(1), key0, key1)
    return centred_double(a, p), centred_double(b, q), centred_double(c, r), centred_double(d, s)


# The same of one number alone


@inline
def counter_of(i):
    return np.uint64(i // GROUP * COUNTERS + i % COUNTERS)


@inline
def word_of(i, words):
    place = i % GROUP
    first = words[0] if place < COUNTERS else words[1]
    second = words[2] if place < 3 * COUNTERS else words[3]
    return first if place < 2 * COUNTERS else second


@inline
def uniform_float_of(i, key0, key1):
    return centred_float(word_of(i, philox(counter_of(i), np.uint64(0), key0, key1)))


@inline
def uniform_double_of(i, key0, key1):
    word = word_of(i, philox(counter_of(i), np.uint64(0), key0, key1))
    return centred_double(word, word_of(i, philox(counter_of(i), np.uint64(1), key0, key1)))


# A draw of the first half of a group and its fellow of the second become two normal ones


@inline
def two_floats(draw, angle):
    radius, angle = formulas.normal_radius_wide_f(np.float64(draw)), np.float64(angle)
    first = radius * formulas.normal_cosine_wide_f(angle)
    return np.float32(first), np.float32(radius * formulas.normal_sine_wide_f(angle))


@inline
def two_doubles(draw, angle):
    radius, angle = formulas.normal_radius_wide_d(pair.widen(draw)), pair.widen(angle)
    first = pair.mul(radius, formulas.normal_cosine_wide_d(angle))
    return pair.narrow(first), pair.narrow(pair.mul(radius, formulas.normal_sine_wide_d(angle)))


@inline
def two_singles(draw, angle):
    """In float32 alone."""
    radius = formulas.normal_radius_half_vec_f(draw)
    first = radius * formulas.normal_cosine_half_vec_f(angle)
    return first, radius * formulas.normal_sine_half_vec_f(angle)


@inline
def normal_singles(counter, key0, key1):
    a, b, c, d = uniform_floats(counter, key0, key1)
    (a, c), (b, d) = two_singles(a, c), two_singles(b, d)
    return a, b, c, d


@inline
def normal_floats(counter, key0, key1):
    a, b, c, d = uniform_floats(counter, key0, key1)
    (a, c), (b, d) = two_floats(a, c), two_floats(b, d)
    return a, b, c, d


@inline
def normal_doubles(counter, key0, key1):
    a, b, c, d = uniform_doubles(counter, key0, key1)
    (a, c), (b, d) = two_doubles(a, c), two_doubles(b, d)
    return a, b, c, d


# By distribution and form: in float32 alone, in float32, in float64.
DRAWS = {
    "uniform": {"s": uniform_floats, "f": uniform_floats, "d": uniform_doubles},
    "normal": {"s": normal_singles, "f": normal_floats, "d": normal_doubles},
}


@inline
def _itself(draw):
    return draw


def themselves(distribution, char) -> Kernel:
    """The kernel that writes draws one behind the other: of float32 or float64, as `char` says."""
    return compiled(Function("draw", _itself), distribution, char, "", 1)


@functools.cache
def compiled(function: Function, distribution, char, pattern, rank) -> Kernel:
    """The kernel that runs a function, whose last argument is a draw, over arrays of any strides.

    ``kernel(places, numbers, key, n, lengths, strides)``: number i of the result, counted in C order, has
    draw i of the key, which comes in two words; for the others see ``elementwise.strided``, for `pattern`
    ``storage``.
    """
    storage, arrays = STORAGES[char], 1 + arrays_of(pattern)
    draw = DRAWS[distribution]["d" if char == "d" else "s" if function.single else "f"]
    make = functools.partial(_drawing, function.body, draw, storage, pattern, rank)
    arguments = (
        types.UniTuple(INDEX, arrays),
        types.UniTuple(storage.real, max(1, pattern.count("n"))),
        *(types.UniTuple(INDEX, 2), INDEX),
        types.UniTuple(types.uint32, rank - 1),
        types.UniTuple(INDEX, rank * arrays),
    )
    name = f"{function.name}.{distribution}.{char}.{pattern}.{rank}"
    return Kernel(name, make, arguments, kept=function.kept)


def _drawing(f, draw, storage, pattern, rank):
    arrays = 1 + arrays_of(pattern)
    has_numbers = "n" in pattern
    run = applied(f, storage, pattern + "n")
    find = located(rank, arrays)

    @inline
    def given(numbers, number):
        return (*numbers, number) if has_numbers else (number,)

    def kernel(places, numbers, key, n, lengths, strides):
        key0, key1 = np.uint64(key[0]), np.uint64(key[1])
        step = cuda.gridsize(1)
        task, tasks = np.int64(cuda.grid(1)), (n + GROUP - 1) // GROUP * COUNTERS
        while task < tasks:
            a, b, c, d = draw(np.uint64(task), key0, key1)
            first = task // COUNTERS * GROUP + task % COUNTERS
            for k in range(4):
                i = first + k * COUNTERS
                number = a if k == 0 else b if k == 1 else c if k == 2 else d
                if i < n:
                    at = find(places, i, lengths, strides)
                    run(at, given(numbers, number), 0, 0)
            task += step

    return kernel
