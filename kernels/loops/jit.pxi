# The addresses of what code compiled at run time calls: functions of jit.h and the kernels they are given.

from libc.stdlib cimport realloc
from libc.string cimport strcmp

cdef extern from * nogil:
    """
    #include "loops/jit.h"
    """
    cdef struct RowFunction:
        RowKernel kernel
        const Converters* converters
        Storage computes_in
        int item_bytes
        int cost
        bint zero
    int broadcast_shape(const View*, ptrdiff_t, ptrdiff_t, ptrdiff_t*)
    int jit_map(const Kernel*, const View*, int)
    int jit_rows(const RowFunction*, const View*, const int*, int, int)
    int jit_sum(const Kernel*, const View*, ptrdiff_t, ptrdiff_t, ptrdiff_t)
    int jit_loss(const RowFunction*, const View*, const int*, double, int, int, int, ptrdiff_t, double*)
    float jit_one_float "run_one<float>" (const Kernel&, const float*)
    double jit_one_double "run_one<double>" (const Kernel&, const double*)


cdef struct Named:
    const char* name
    const void* kernel

cdef Named* named = NULL
cdef int named_count = 0


# Without Python: the caller may run in a thread for which another waits that has the interpreter.
cdef const void* jit_kernel(const char* name) noexcept nogil:
    for i in range(named_count):
        if strcmp(named[i].name, name) == 0:
            return named[i].kernel
    return NULL


cdef int name_kernel(str name, const void* kernel) except -1:
    global named, named_count
    cdef Named* grown = <Named*> realloc(named, (named_count + 1) * sizeof(Named))
    if grown == NULL:
        raise MemoryError
    encoded = name.encode()
    kept_alive.append(encoded)
    grown[named_count] = Named(encoded, kernel)
    named = grown
    named_count += 1
    return 0


def jit_name_kernel(str name, int index, dtype):
    """Let compiled code find kernel `index` for a dtype that it computes in."""
    name_kernel(name, kernel_for(index, storage_of(np.dtype(dtype).num)))


def jit_name_row_function(str name, int index, bint zero, dtype):
    """Let compiled code find row kernel `index`, with one more entry 0 or not, for float32 or float64."""
    cdef RowFunction* function = <RowFunction*> malloc(sizeof(RowFunction))
    cdef int storage = storage_of(np.dtype(dtype).num)
    cdef Reduction r
    if function == NULL:
        raise MemoryError
    begin_reduction(&r, storage, index)
    function.kernel, function.converters, function.computes_in = r.kernel, r.converters, r.computes_in
    function.item_bytes, function.zero = r.item_bytes, zero
    function.cost = r.cost
    name_kernel(name, function)


def jit_functions():
    """The address of each C function by the name it has in symbols."""
    return {
        "kernel": <size_t> &jit_kernel,
        "broadcast": <size_t> &broadcast_shape,
        "map": <size_t> &jit_map,
        "rows": <size_t> &jit_rows,
        "sum": <size_t> &jit_sum,
        "loss": <size_t> &jit_loss,
        "one_float32": <size_t> &jit_one_float,
        "one_float64": <size_t> &jit_one_double,
    }


def jit_storage(dtype):
    """How a view says that it holds this dtype."""
    return storage_of(np.dtype(dtype).num)
