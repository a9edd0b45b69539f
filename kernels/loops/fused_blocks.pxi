# fused_loops.h for the generated module: one declaration for each number of arguments.

cdef extern from * nogil:
    """
    #include "loops/fused_loops.h"
    """
    cdef struct FusedRows:
        pass
    cdef struct FusedLoop:
        void (*run)(const FusedRows&) noexcept nogil
        bint of_y
    cdef struct FusedExports:
        const FusedLoop* loops[2]
    FusedExports fused_exports
    const char* FUSED_NAME

    void fused_forward1 "fused_forward" [R](R (*)(R) noexcept nogil, const FusedRows&)
    void fused_forward2 "fused_forward" [R](R (*)(R, R) noexcept nogil, const FusedRows&)
    void fused_forward3 "fused_forward" [R](R (*)(R, R, R) noexcept nogil, const FusedRows&)
    void fused_backward1 "fused_backward" [R](R (*)(R) noexcept nogil, const FusedRows&)
    void fused_backward2 "fused_backward" [R](R (*)(R, R) noexcept nogil, const FusedRows&)
    void fused_backward3 "fused_backward" [R](R (*)(R, R, R) noexcept nogil, const FusedRows&)
    void fused_backward_from_y1 "fused_backward_from_y" [R](R (*)(R) noexcept nogil, const FusedRows&)
    void fused_backward_from_y2 "fused_backward_from_y" [R](R (*)(R, R) noexcept nogil, const FusedRows&)
    void fused_backward_from_y3 "fused_backward_from_y" [R](R (*)(R, R, R) noexcept nogil, const FusedRows&)
