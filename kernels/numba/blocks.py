"""Blocks of Numba: what the compiled drivers (``loops/run.h``) call with whole registers of operands.

A block has the signature of those that Cython compiles, so the same drivers see to strides, types, tails,
threads and streaming stores.  Its argument is the address of ``Operands`` (``loops/exports.h``), seen here
as machine words.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .scalar import inline

__all__ = ["REGISTER", "SIGNATURE", "run1", "run2", "run3", "run4", "run5"]

SIGNATURE = types.void(types.CPointer(types.intp))
REGISTER = 64  # bytes: what the drivers take for the width of a register
MAX_INPUTS = 8
IN, ADVANCE, OUT, REGISTERS = 0, MAX_INPUTS, 2 * MAX_INPUTS, 2 * MAX_INPUTS + 1  # words of Operands
CHUNK = 512  # elements: what a number is repeated for, and a result kept back


@intrinsic
def pointer(typing, address, like):
    """The address as a pointer to values of the type of `like`."""

    def build(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like)(address, like), build


@intrinsic
def buffer(typing, like):
    """The address of room for CHUNK values of the type of `like`, until the function returns."""

    def build(context, builder, signature, arguments):
        room = cgutils.alloca_once(builder, context.get_data_type(like), size=CHUNK)
        return builder.ptrtoint(room, ir.IntType(64))

    return types.intp(like), build


@intrinsic
def of_type(typing, like, number):
    """The number in the type of `like`."""

    def build(context, builder, signature, arguments):
        return context.cast(builder, arguments[1], number, like)

    return like(like, number), build


@intrinsic
def size_of(typing, like):
    def build(context, builder, signature, arguments):
        return ir.Constant(ir.IntType(64), context.get_abi_sizeof(context.get_data_type(like)))

    return types.intp(like), build


@inline
def source(o, j, like):
    """Where operand `j` is read: a number that stands for all is repeated first."""
    if o[ADVANCE + j]:
        return o[IN + j]
    repeated = buffer(like)
    values, number = pointer(repeated, like), pointer(o[IN + j], like)[0]
    for i in range(CHUNK):
        values[i] = number
    return repeated


@inline
def chunk_of(o, j, start, address, like):
    """Where elements from `start` on of operand `j` are."""
    if o[ADVANCE + j]:
        address += start * size_of(like)
    return pointer(address, like)


@inline
def overlaps(o, j, n, like):
    """Whether operand `j` shares memory with the result, which in-place calls make it do."""
    return abs(o[IN + j] - o[OUT]) < n * size_of(like)


@inline
def finish(o, start, count, kept_back, like):
    if kept_back:
        made, out = pointer(kept_back, like), pointer(o[OUT] + start * size_of(like), like)
        for i in range(count):
            out[i] = made[i]


@inline
def result(o, start, kept_back, like):
    return pointer(kept_back or o[OUT] + start * size_of(like), like)


@inline
def run1(f, o, like):
    n = o[REGISTERS] * (REGISTER // size_of(like))
    x0 = source(o, 0, like)
    kept_back = buffer(like) if overlaps(o, 0, n, like) else 0
    for start in range(0, n, CHUNK):
        count = min(CHUNK, n - start)
        a0, out = chunk_of(o, 0, start, x0, like), result(o, start, kept_back, like)
        for i in range(count):
            out[i] = f(a0[i])
        finish(o, start, count, kept_back, like)


@inline
def run2(f, o, like):
    n = o[REGISTERS] * (REGISTER // size_of(like))
    x0, x1 = source(o, 0, like), source(o, 1, like)
    kept_back = buffer(like) if overlaps(o, 0, n, like) or overlaps(o, 1, n, like) else 0
    for start in range(0, n, CHUNK):
        count = min(CHUNK, n - start)
        a0, a1 = chunk_of(o, 0, start, x0, like), chunk_of(o, 1, start, x1, like)
        out = result(o, start, kept_back, like)
        for i in range(count):
            out[i] = f(a0[i], a1[i])
        finish(o, start, count, kept_back, like)


@inline
def run3(f, o, like):
    n = o[REGISTERS] * (REGISTER // size_of(like))
    x0, x1, x2 = source(o, 0, like), source(o, 1, like), source(o, 2, like)
    shared = overlaps(o, 0, n, like) or overlaps(o, 1, n, like) or overlaps(o, 2, n, like)
    kept_back = buffer(like) if shared else 0
    for start in range(0, n, CHUNK):
        count = min(CHUNK, n - start)
        a0, a1 = chunk_of(o, 0, start, x0, like), chunk_of(o, 1, start, x1, like)
        a2, out = chunk_of(o, 2, start, x2, like), result(o, start, kept_back, like)
        for i in range(count):
            out[i] = f(a0[i], a1[i], a2[i])
        finish(o, start, count, kept_back, like)


@inline
def run4(f, o, like):
    n = o[REGISTERS] * (REGISTER // size_of(like))
    x0, x1, x2, x3 = source(o, 0, like), source(o, 1, like), source(o, 2, like), source(o, 3, like)
    shared = overlaps(o, 0, n, like) or overlaps(o, 1, n, like) or overlaps(o, 2, n, like)
    kept_back = buffer(like) if shared or overlaps(o, 3, n, like) else 0
    for start in range(0, n, CHUNK):
        count = min(CHUNK, n - start)
        a0, a1 = chunk_of(o, 0, start, x0, like), chunk_of(o, 1, start, x1, like)
        a2, a3 = chunk_of(o, 2, start, x2, like), chunk_of(o, 3, start, x3, like)
        out = result(o, start, kept_back, like)
        for i in range(count):
            out[i] = f(a0[i], a1[i], a2[i], a3[i])
        finish(o, start, count, kept_back, like)


@inline
def run5(f, o, like):
    n = o[REGISTERS] * (REGISTER // size_of(like))
    x0, x1, x2, x3 = source(o, 0, like), source(o, 1, like), source(o, 2, like), source(o, 3, like)
    x4 = source(o, 4, like)
    shared = overlaps(o, 0, n, like) or overlaps(o, 1, n, like) or overlaps(o, 2, n, like)
    shared = shared or overlaps(o, 3, n, like) or overlaps(o, 4, n, like)
    kept_back = buffer(like) if shared else 0
    for start in range(0, n, CHUNK):
        count = min(CHUNK, n - start)
        a0, a1 = chunk_of(o, 0, start, x0, like), chunk_of(o, 1, start, x1, like)
        a2, a3 = chunk_of(o, 2, start, x2, like), chunk_of(o, 3, start, x3, like)
        a4, out = chunk_of(o, 4, start, x4, like), result(o, start, kept_back, like)
        for i in range(count):
            out[i] = f(a0[i], a1[i], a2[i], a3[i], a4[i])
        finish(o, start, count, kept_back, like)
