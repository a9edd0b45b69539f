# blocks.h, rows.h and exports.h for the generated module: one declaration for each number of arguments.

from cpython.pycapsule cimport PyCapsule_New

cdef extern from * nogil:
    """
    #include "loops/blocks.h"
    #include "loops/rows.h"
    #include "loops/weighted.h"
    static Exports exports;
    static void fill_exports(Exports* e, int count, const Block* f, const Block* d,
                             const RowKernel* rows_f, const RowKernel* rows_d, WeightedKernel sums_f,
                             WeightedKernel sums_d) {
        *e = {count, {vec<float>::lanes, vec<double>::lanes}, {f, d}, {rows_f, rows_d}, {sums_f, sums_d}};
    }
    """
    cdef struct Operands:
        pass
    ctypedef void (*Block)(const Operands&) noexcept nogil
    ctypedef void (*RowKernel)(const void*, void*, ptrdiff_t, ptrdiff_t) noexcept nogil
    cdef struct Exports:
        pass
    Exports exports
    const char* EXPORTS_NAME
    ctypedef void (*WeightedKernel)(const void*, const void*, ptrdiff_t, double*, ptrdiff_t, ptrdiff_t) noexcept nogil
    void fill_exports(Exports*, int, const Block*, const Block*, const RowKernel*, const RowKernel*, WeightedKernel,
                      WeightedKernel)
    void weighted_sums[T](wide[T] (*)(wide[T], wide[T]) noexcept nogil, const T*, const T*, ptrdiff_t, double*,
                          ptrdiff_t, ptrdiff_t)

    void forward1 "forward" [R](R (*)(R) noexcept nogil, const Operands&)
    void forward2 "forward" [R](R (*)(R, R) noexcept nogil, const Operands&)
    void backward1 "backward" [R](R (*)(R) noexcept nogil, const Operands&)
    void backward2 "backward" [R](R (*)(R, R) noexcept nogil, const Operands&)
    void backward_with_knot1 "backward_with_knot" [R](R (*)(R) noexcept nogil, double, const Operands&)
    void backward_with_knot2 "backward_with_knot" [R](R (*)(R, R) noexcept nogil, double, const Operands&)

    cdef cppclass RowFormulas[T]:
        wide[T] (*sum_entry)(wide[T]) noexcept nogil
        wide[T] (*log1p)(wide[T]) noexcept nogil
        wide[T] (*softmax_entry)(wide[T], wide[T]) noexcept nogil
    void logsumexp_rows[T](const RowFormulas[T]&, const T*, T*, ptrdiff_t, ptrdiff_t)
    void softmax_rows[T](const RowFormulas[T]&, const T*, T*, ptrdiff_t, ptrdiff_t)
    void log_softmax_rows[T](const RowFormulas[T]&, const T*, T*, ptrdiff_t, ptrdiff_t)
