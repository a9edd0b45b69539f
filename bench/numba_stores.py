"""Stores that pass the caches by, written in Numba, beside ordinary ones and beside the compiled drivers'.

    python bench/numba_stores.py [--elements N] [--seconds S]

relu of float32, out of place, one thread: as a loop of Numba's over registers with either kind of store, and
as `fr.relu` on the backend "numba", whose blocks the compiled drivers run, streaming where that pays.
"""

import argparse
import math
import time

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

import fastrelu as fr

LANES = 16


def moving(streamed):
    """``move(x, out, i)``: relu of the register of elements from `i` on; addresses are multiples of 64."""

    @intrinsic
    def move(typing, x, out, i):
        def build(context, builder, signature, arguments):
            register = ir.VectorType(ir.FloatType(), LANES)
            places = (
                builder.bitcast(
                    context.make_array(types.float32[::1])(context, builder, array).data,
                    register.as_pointer(),
                )
                for array in arguments[:2]
            )
            from_, to = (builder.gep(place, [arguments[2]]) for place in places)
            value = builder.load(from_, align=4 * LANES)
            zero = ir.Constant(register, [0.0] * LANES)
            kept = builder.select(builder.fcmp_ordered(">", value, zero), value, zero)
            stored = builder.store(kept, to, align=4 * LANES)
            if streamed:
                one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
                stored.set_metadata("nontemporal", one)
            return context.get_dummy_value()

        return types.none(x, out, i), build

    @numba.njit
    def run(x, out):
        for i in range(x.size // LANES):
            move(x, out, i)

    return run


def aligned(n):
    """An array of zeros that begins on a line."""
    room = np.zeros(n + LANES, np.float32)
    start = -(room.ctypes.data // 4) % LANES
    return room[start : start + n]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--elements", type=int, default=20_000_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    n = options.elements // LANES * LANES
    x, out = aligned(n), aligned(n)
    x[:] = np.random.default_rng(0).normal(size=n)
    fr.set_num_threads(1)
    fr.set_backend("numba")
    jobs = {
        "ordinary stores": moving(False),
        "streaming stores": moving(True),
        "fr.relu": lambda x, out: fr.relu(x, out=out),
    }
    for job in jobs.values():  # compiles it
        job(x, out)
    best = dict.fromkeys(jobs, math.inf)
    end = time.perf_counter() + options.seconds
    while time.perf_counter() < end:
        for name, job in jobs.items():
            start = time.perf_counter()
            job(x, out)
            best[name] = min(best[name], time.perf_counter() - start)
            assert (out[:: n // 99] >= 0).all()
    for name, seconds in best.items():
        print(f"{name:20}{seconds / n * 1e9:8.3f} ns an element")


if __name__ == "__main__":
    main()
