# cython: language_level=3, freethreading_compatible=True
"""Where the blocks of one instruction set become NumPy ufuncs and fast calls.

Compiled for the baseline: it probes the CPU before any module with wider instructions is imported.
"""

cimport cython
cimport numpy as cnp
from cpython.object cimport PyObject, PyTypeObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stddef cimport ptrdiff_t
from libc.math cimport INFINITY
from libc.stdlib cimport malloc

import numpy as np

cnp.import_array()
cnp.import_umath()

cdef extern from * nogil:
    """
    #include <fenv.h>
    #include "loops/run.h"

    static bool cpu_has(int level) {
        __builtin_cpu_init();
        if (level == 4) return __builtin_cpu_supports("x86-64-v4");
        if (level == 3) return __builtin_cpu_supports("x86-64-v3");
        return __builtin_cpu_supports("x86-64-v2");
    }

    // NumPy's inner loop: the ufunc's data is the kernel.
    static Settings settings = {1, 1, PTRDIFF_MAX};
    static void ufunc_loop(char** args, const npy_intp* n, const npy_intp* steps, void* data) {
        run(*(const Kernel*)data, args, *n, steps, settings);
    }
    static void run_with_settings(const Kernel& kernel, char* const* args, ptrdiff_t n, const ptrdiff_t* steps) {
        run(kernel, args, n, steps, settings);
    }
    static Runner the_runner = {nullptr, 0, run_with_settings};
    """
    const int NPY_HALF
    ctypedef void (*RowKernel)(const void*, void*, ptrdiff_t, ptrdiff_t) noexcept nogil
    ctypedef void (*Block)(const void*) noexcept nogil
    cdef struct Exports:
        int count
        int lanes[2]
        const Block* blocks[2]
        const RowKernel* rows[2]
    const char* EXPORTS_NAME
    cdef struct Settings:
        int max_threads
        ptrdiff_t work_per_thread
        ptrdiff_t streaming_bytes
    cdef struct Kernel:
        const Block* blocks
        int inputs
        int lanes
        int item_bytes
        bint half
        int cost
    cdef struct Plan:
        int threads
        bint streaming
    cdef struct Runner:
        const Kernel* kernels
        int storages
    Runner the_runner
    const char* RUNNER_NAME
    Settings settings
    bint cpu_has(int level)
    Plan make_plan(const Kernel&, ptrdiff_t, bint, const Settings&)
    void run(const Kernel&, char* const*, ptrdiff_t, const ptrdiff_t*, const Settings&)
    void ufunc_loop(char**, const cnp.npy_intp*, const cnp.npy_intp*, void*)
    int feclearexcept(int)
    int FE_ALL_EXCEPT

# The storage types with kernels, in the order of Kernel arrays.
cdef enum:
    FLOAT32
    FLOAT64
    FLOAT16
    STORAGES

cdef struct Tables:
    const Exports* exports
    Kernel* kernels  # [index of the table's kernel][storage]

cdef Tables tables


def supports(int level):
    """Whether this CPU and its operating system run x86-64-v<level>."""
    return bool(cpu_has(level))


def use_blocks(module, kernels):
    """Take the blocks of one instruction set; `kernels` lists (inputs, cost) in the table's order."""
    cdef const Exports* exports = <const Exports*> PyCapsule_GetPointer(module.blocks, EXPORTS_NAME)
    if exports.count != len(kernels):
        raise ImportError(f"{module.__name__} was built from another table: rebuild fastrelu")
    cdef Kernel* made = <Kernel*> malloc(exports.count * STORAGES * sizeof(Kernel))
    if made == NULL:
        raise MemoryError
    cdef Kernel* kernel
    cdef int i, s, compute
    for i in range(exports.count):
        inputs, cost = kernels[i]
        for s in range(STORAGES):
            compute = 1 if s == FLOAT64 else 0
            kernel = &made[i * STORAGES + s]
            kernel.blocks = &exports.blocks[compute][i]
            kernel.inputs = inputs
            kernel.lanes = exports.lanes[compute]
            kernel.item_bytes = 8 if compute else 4
            kernel.half = s == FLOAT16
            kernel.cost = 3 * cost if compute else cost
    tables.exports = exports
    tables.kernels = made  # lives as long as the ufuncs that point into it: for ever
    the_runner.kernels = made
    the_runner.storages = STORAGES


def configure(int max_threads, ptrdiff_t work_per_thread, ptrdiff_t streaming_bytes):
    """Set what `plan` decides by."""
    settings.max_threads = max_threads
    settings.work_per_thread = work_per_thread
    settings.streaming_bytes = streaming_bytes


def runner():
    """A capsule with what another compiled module needs to run kernels."""
    return PyCapsule_New(&the_runner, RUNNER_NAME, NULL)


def plan(int index, dtype, ptrdiff_t size, bint in_place):
    """The number of threads and whether stores stream: the very decision that a call executes."""
    cdef int storage = storage_of(cnp.dtype(dtype).type_num)
    cdef Plan made = make_plan(tables.kernels[index * STORAGES + storage], size, in_place, settings)
    return made.threads, bool(made.streaming)


cdef int storage_of(int type_num) except -1:
    if type_num == cnp.NPY_FLOAT:
        return FLOAT32
    if type_num == cnp.NPY_DOUBLE:
        return FLOAT64
    if type_num == NPY_HALF:
        return FLOAT16
    raise TypeError("there are kernels for float16, float32 and float64 only")


# --- ufuncs -----------------------------------------------------------------------------------------------

# A loop that calls the reference: for dtypes without a kernel (longdouble, the integers that relu keeps).
cdef struct ReferenceLoop:
    PyObject* function
    int type_num
    int inputs

cdef object wrap(int type_num, cnp.npy_intp n, cnp.npy_intp step, char* data):
    return cnp.PyArray_New(cnp.ndarray, 1, &n, type_num, &step, data, 0,
                           cnp.NPY_ARRAY_ALIGNED | cnp.NPY_ARRAY_WRITEABLE, None)

cdef void reference_loop(char** args, const cnp.npy_intp* n, const cnp.npy_intp* steps, void* data) noexcept with gil:
    cdef ReferenceLoop* loop = <ReferenceLoop*> data
    inputs = [wrap(loop.type_num, n[0], steps[j], args[j]) for j in range(loop.inputs)]
    out = wrap(loop.type_num, n[0], steps[loop.inputs], args[loop.inputs])
    out[...] = (<object> loop.function)(*inputs)
    feclearexcept(FE_ALL_EXCEPT)

cdef list kept_alive = []  # NumPy keeps pointers to names, docs and reference functions


def make_ufunc(int index, str name, str doc, reference, str reference_types):
    """A ufunc over kernel `index`; `reference` serves the dtype characters in `reference_types`."""
    cdef int inputs = tables.kernels[index * STORAGES].inputs
    cdef list integers = [c for c in reference_types if c != "g"]
    cdef list chars = integers + ["e", "f", "d"] + (["g"] if "g" in reference_types else [])
    cdef int count = len(chars), i, j, s
    cdef cnp.PyUFuncGenericFunction* loops = <cnp.PyUFuncGenericFunction*> malloc(count * sizeof(void*))
    cdef void** data = <void**> malloc(count * sizeof(void*))
    cdef char* types = <char*> malloc(count * (inputs + 1))
    cdef ReferenceLoop* fallback
    if loops == NULL or data == NULL or types == NULL:
        raise MemoryError
    for i, char in enumerate(chars):
        type_num = np.dtype(char).num
        for j in range(inputs + 1):
            types[i * (inputs + 1) + j] = type_num
        if char in "efd":
            s = storage_of(type_num)
            loops[i] = <cnp.PyUFuncGenericFunction> ufunc_loop
            data[i] = &tables.kernels[index * STORAGES + s]
        else:
            fallback = <ReferenceLoop*> malloc(sizeof(ReferenceLoop))
            fallback.function = <PyObject*> reference
            fallback.type_num = type_num
            fallback.inputs = inputs
            loops[i] = <cnp.PyUFuncGenericFunction> reference_loop
            data[i] = fallback
    encoded = name.encode(), doc.encode()
    kept_alive.extend([encoded, reference])
    return cnp.PyUFunc_FromFuncAndData(loops, data, types, count, inputs, 1, cnp.PyUFunc_None,
                                       <char*> encoded[0], <char*> encoded[1], 0)


# --- rows -------------------------------------------------------------------------------------------------

def rows(int index, a, out):
    """Run row kernel `index` over the rows of the contiguous float32 or float64 matrix `a`."""
    cdef cnp.ndarray matrix = a, result = out
    cdef int compute = 1 if matrix.dtype.itemsize == 8 else 0
    cdef RowKernel kernel = tables.exports.rows[compute][index]
    cdef ptrdiff_t count = matrix.shape[0], length = matrix.shape[1]
    with nogil:
        kernel(cnp.PyArray_DATA(matrix), cnp.PyArray_DATA(result), count, length)


include "loops/fast_call.pxi"
