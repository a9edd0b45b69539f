# sum_blocks.h for the generated module: one declaration for each number of arguments.

cdef extern from * nogil:
    """
    #include "loops/sum_blocks.h"
    static SumExports sum_exports;
    """
    cdef struct Pair:
        pass
    ctypedef Pair (*SumAlong)(const Operands&, ptrdiff_t) noexcept nogil
    ctypedef void (*SumColumns)(const Operands&, ptrdiff_t, double*, double*) noexcept nogil
    cdef struct SumBlocks:
        SumAlong along
        SumColumns columns
    cdef struct SumExports:
        int count
        const SumBlocks* blocks[2]
    SumExports sum_exports
    const char* SUMS_NAME

    Pair sum_along2 "sum_along" [R](R (*)(R, R) noexcept nogil, const Operands&, ptrdiff_t)
    Pair sum_along3 "sum_along" [R](R (*)(R, R, R) noexcept nogil, const Operands&, ptrdiff_t)
    void sum_columns2 "sum_columns" [R](R (*)(R, R) noexcept nogil, const Operands&, ptrdiff_t, double*, double*)
    void sum_columns3 "sum_columns" [R](R (*)(R, R, R) noexcept nogil, const Operands&, ptrdiff_t, double*, double*)
