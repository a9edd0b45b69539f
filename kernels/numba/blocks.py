"""Blocks of Numba: what the compiled drivers (``loops/run.h``) call with whole registers of operands.

A block has the signature of those that Cython compiles, so the same drivers see to strides, types, tails,
threads and streaming stores.  Its argument is the address of ``Operands`` (``loops/exports.h``), seen here
as machine words.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .loop import independent
from .scalar import inline

__all__ = [
    "ADVANCE",
    "CHUNK",
    "IN",
    "REGISTER",
    "SIGNATURE",
    "buffer",
    "count_of",
    "each",
    "of_type",
    "part_of",
    "pointer",
    "result_of",
    "room",
    "run",
    "size_of",
    "sources",
]

SIGNATURE = types.void(types.CPointer(types.intp))
REGISTER = 64  # bytes: what the drivers take for the width of a register
MAX_INPUTS = 8
IN, ADVANCE, OUT, REGISTERS = 0, MAX_INPUTS, 2 * MAX_INPUTS, 2 * MAX_INPUTS + 1  # words of Operands
CHUNK = 512  # elements: what a number is repeated for


@intrinsic
def pointer(typing, address, like):
    """The address as a pointer to values of the type of `like`."""

    def build(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like)(address, like), build


def room(builder, type_, count):
    """Room on the stack, on its own cache lines, until the function returns."""
    room = cgutils.alloca_once(builder, type_, size=count)
    room.align = 64
    return room


@intrinsic
def buffer(typing, like):
    """The address of room for CHUNK values of the type of `like`, until the function returns."""

    def build(context, builder, signature, arguments):
        return builder.ptrtoint(room(builder, context.get_data_type(like), CHUNK), ir.IntType(64))

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
def count_of(o, likes):
    """How many elements the operands have."""
    return o[REGISTERS] * (REGISTER // size_of(likes[0]))


@intrinsic
def sources(typing, o, likes):
    """Where operands are read, as pointers: a number that stands for all is repeated first."""

    def build(context, builder, signature, arguments):
        real, word = context.get_data_type(likes.dtype), ir.IntType(64)
        made = []
        for j in range(likes.count):
            start, advance = (
                builder.load(cgutils.gep_inbounds(builder, arguments[0], at + j)) for at in (IN, ADVANCE)
            )
            start = cgutils.alloca_once_value(builder, builder.inttoptr(start, real.as_pointer()))
            with builder.if_then(builder.icmp_signed("==", advance, word(0)), likely=False):
                repeated = room(builder, real, CHUNK)
                number = builder.load(builder.load(start))
                with independent(builder, word(CHUNK)) as (i, access):
                    access(builder.store(number, builder.gep(repeated, [i])))
                builder.store(repeated, start)
            made.append(builder.load(start))
        return cgutils.pack_array(builder, made)

    return types.UniTuple(types.CPointer(likes.dtype), likes.count)(o, likes), build


@intrinsic
def part_of(typing, o, given, start):
    """Pointers to the operands' elements from `start` on."""

    def build(context, builder, signature, arguments):
        made = []
        for j, pointer in enumerate(cgutils.unpack_tuple(builder, arguments[1], given.count)):
            advance = builder.load(cgutils.gep_inbounds(builder, arguments[0], ADVANCE + j))
            stays = builder.icmp_signed("==", advance, advance.type(0))
            place = builder.select(stays, advance.type(0), arguments[2])
            made.append(builder.gep(pointer, [place]))
        return cgutils.pack_array(builder, made)

    return given(o, given, types.intp), build


@intrinsic
def each(typing, function, count, inputs, out):
    """out[i] = function(inputs[0][i], inputs[1][i], ...) for i < count, in place as well."""
    of_numbers = function.get_call_type(typing, [kind.dtype for kind in inputs], {})

    def build(context, builder, signature, arguments):
        call = context.get_function(function, of_numbers)
        _, n, pointers, out = arguments
        pointers = cgutils.unpack_tuple(builder, pointers, inputs.count)
        with independent(builder, n) as (i, access):
            numbers = [access(builder.load(builder.gep(pointer, [i]))) for pointer in pointers]
            result = call(builder, numbers)
            access(builder.store(result, builder.gep(out, [i])))
        return context.get_dummy_value()

    return types.none(function, types.intp, inputs, out), build


@inline
def result_of(o, start, likes):
    return pointer(o[OUT] + start * size_of(likes[0]), likes[0])


@inline
def run(function, o, likes):
    """A function of numbers over the operands; `likes` has a number of its type for each of them."""
    n, start = count_of(o, likes), 0
    given = sources(o, likes)
    while start < n:
        count = CHUNK if n - start > CHUNK else n - start
        each(function, count, part_of(o, given, start), result_of(o, start, likes))
        start += CHUNK
