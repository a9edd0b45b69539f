"""Pieces of rows that stay in the shared memory of their block between the sums and the results.

Each thread keeps its own entries, in the dtype of the arrays and by vectors of 16 bytes, a block's threads
side by side: neighbours use different banks, and nobody waits for anybody.  How much there is says the
launch.
"""

import numpy as np
from llvmlite import ir
from numba import cuda, types

from .access import vector_into
from .primitives import SIMULATED, intrinsic
from .storage import SHARED, VECTOR_BYTES
from .team import cooperative

__all__ = ["kept_pieces"]


if SIMULATED:

    @cooperative
    def memory_of_launch():
        """Where the shared memory of this launch begins, and how many bytes of it there are."""
        memory = cuda.shared.array(0, np.dtype(np.int8))
        return memory.ctypes.data, memory.size
else:

    @intrinsic
    def memory_of_launch(typing):
        def build(context, builder, signature, arguments):
            word, place = ir.IntType(32), ir.IntType(64)
            kind = ir.ArrayType(ir.IntType(8), 0)
            memory = ir.GlobalVariable(builder.module, kind, "fastrelu_of_launch", SHARED)
            memory.linkage, memory.align = "external", VECTOR_BYTES
            size = ir.InlineAsm(ir.FunctionType(word, []), "mov.u32 $0, %dynamic_smem_size;", "=r")
            found = builder.ptrtoint(memory, place), builder.zext(builder.call(size, []), place)
            return context.make_tuple(builder, signature.return_type, found)

        return types.UniTuple(types.int64, 2)(), build


def kept_pieces(storage, count, arrays):
    """Functions over a block's pieces of `arrays` arrays, of which each thread has `count` entries.

    room()                where they are kept, and how many pieces there is room for
    keep(e, place, k, j)  puts away a thread's entries of piece k of array j
    take(e, place, k, j)  brings them back
    """
    lanes = min(storage.lanes, count)
    load_vector, store_vector = vector_into(storage, lanes, SHARED)
    vectors, size = count // lanes, lanes * storage.size

    @cooperative
    def room():
        place, there = memory_of_launch()
        return place, there // (cuda.blockDim.x * arrays * vectors * size)

    @cooperative
    def slot(place, k, j, v):
        return place + (((k * arrays + j) * vectors + v) * cuda.blockDim.x + cuda.threadIdx.x) * size

    @cooperative
    def keep(e, place, k, j):
        for v in range(vectors):
            store_vector(e, v * lanes, slot(place, k, j, v))

    @cooperative
    def take(e, place, k, j):
        for v in range(vectors):
            load_vector(e, v * lanes, slot(place, k, j, v))

    return room, keep, take
