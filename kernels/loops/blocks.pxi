# blocks.h, rows.h and exports.h for the generated module: one declaration for each number of arguments.

from cpython.pycapsule cimport PyCapsule_New

cdef extern from * nogil:
    """
    #include "loops/tabulated.h"
    #include "loops/half_blocks.h"
    #include "loops/cross_entropy.h"
    #include "loops/weighted.h"
    #include "loops/philox.h"
    #include "loops/pack.h"
    static Exports exports = {0, sizeof(vec<float>), {}, {}, {}, {}, {}, &CONVERTERS};
    """
    cdef struct Operands:
        pass
    ctypedef void (*Block)(const Operands&) noexcept nogil
    cdef struct RowTile:
        pass
    cdef struct RowKernel:
        void (*sum)(const RowTile&) noexcept nogil
        void (*finish)(const RowTile&) noexcept nogil
        void (*apply)(const RowTile&) noexcept nogil
    ctypedef void (*WeightedKernel)(const void*, const void*, ptrdiff_t, double*, ptrdiff_t, ptrdiff_t) noexcept nogil
    ctypedef void (*Generator)(void*, uint64_t, ptrdiff_t, uint64_t) noexcept nogil
    enum: UNIFORM
    enum: NORMAL
    enum: STORAGES
    enum: HIGH
    enum: FAST
    cdef struct Exports:
        int count
        const Block* blocks[STORAGES]
        const Block* fast[2]
        const Block* shorter
        const Block* two[2][2]
        const RowKernel* rows[2]
        WeightedKernel weighted[2]
        Generator draws[2][2]
    enum: FLOAT32
    enum: FLOAT64
    enum: FLOAT16
    enum: BFLOAT16
    enum: INT8
    enum: UINT8
    enum: INT16
    enum: UINT16
    enum: INT32
    enum: UINT32
    enum: INT64
    enum: UINT64
    Exports exports
    const char* EXPORTS_NAME
    void weighted_sums[T](wide[T] (*)(wide[T], wide[T]) noexcept nogil, const T*, const T*, ptrdiff_t, double*,
                          ptrdiff_t, ptrdiff_t)

    void forward1 "forward" [R](R (*)(R) noexcept nogil, const Operands&)
    void forward2 "forward" [R](R (*)(R, R) noexcept nogil, const Operands&)
    void forward3 "forward" [R](R (*)(R, R, R) noexcept nogil, const Operands&)
    void forward4 "forward" [R](R (*)(R, R, R, R) noexcept nogil, const Operands&)
    void backward1 "backward" [R](R (*)(R) noexcept nogil, const Operands&)
    void backward2 "backward" [R](R (*)(R, R) noexcept nogil, const Operands&)
    void backward3 "backward" [R](R (*)(R, R, R) noexcept nogil, const Operands&)
    void backward4 "backward" [R](R (*)(R, R, R, R) noexcept nogil, const Operands&)
    cdef cppclass half:
        pass
    cdef cppclass bfloat16:
        pass
    void backward_two2 "backward_two" [R](R (*)(R, R) noexcept nogil, R (*)(R, R) noexcept nogil, const Operands&)
    void forward_of_halves1 "forward_of_halves" [S](vec[float] (*)(vec[float]) noexcept nogil, const Operands&)
    void forward_of_halves2 "forward_of_halves" [S](vec[float] (*)(vec[float], vec[float]) noexcept nogil, const Operands&)
    void forward_of_halves3 "forward_of_halves" [S](vec[float] (*)(vec[float], vec[float], vec[float]) noexcept nogil, const Operands&)
    void forward_of_halves4 "forward_of_halves" [S](vec[float] (*)(vec[float], vec[float], vec[float], vec[float]) noexcept nogil, const Operands&)
    void backward_of_halves1 "backward_of_halves" [S](vec[float] (*)(vec[float]) noexcept nogil, const Operands&)
    void backward_of_halves2 "backward_of_halves" [S](vec[float] (*)(vec[float], vec[float]) noexcept nogil, const Operands&)
    void backward_of_halves3 "backward_of_halves" [S](vec[float] (*)(vec[float], vec[float], vec[float]) noexcept nogil, const Operands&)
    void backward_of_halves4 "backward_of_halves" [S](vec[float] (*)(vec[float], vec[float], vec[float], vec[float]) noexcept nogil, const Operands&)
    void forward_widened1 "forward_widened" [R](R (*)(R) noexcept nogil, const Operands&)
    void forward_widened2 "forward_widened" [R](R (*)(R, R) noexcept nogil, const Operands&)
    void forward_widened3 "forward_widened" [R](R (*)(R, R, R) noexcept nogil, const Operands&)
    void forward_widened4 "forward_widened" [R](R (*)(R, R, R, R) noexcept nogil, const Operands&)
    void backward_widened1 "backward_widened" [R](R (*)(R) noexcept nogil, const Operands&)
    void backward_widened2 "backward_widened" [R](R (*)(R, R) noexcept nogil, const Operands&)
    void backward_widened3 "backward_widened" [R](R (*)(R, R, R) noexcept nogil, const Operands&)
    void backward_widened4 "backward_widened" [R](R (*)(R, R, R, R) noexcept nogil, const Operands&)
    bint is_all_of_halves[S](const Operands&, int, double)
    void standstill2 "standstill" [R](R (*)(R, R) noexcept nogil, const Operands&)

    cdef struct Knot:
        pass
    void backward_with_knots1 "backward_with_knots" [R](R (*)(R) noexcept nogil, const Knot*, const Operands&)
    void backward_with_knots2 "backward_with_knots" [R](R (*)(R, R) noexcept nogil, const Knot*, const Operands&)
    void backward_with_knots3 "backward_with_knots" [R](R (*)(R, R, R) noexcept nogil, const Knot*, const Operands&)

    cdef cppclass Table[T]:
        pass
    Table[T] with_formula_below[T](const Table[T]&, double)
    const bint LOOK_UP
    const bint BORROWS_TABULATED
    bint is_all[T](const Operands&, int, double)
    void tabulated_forward1 "tabulated_forward" [R, S, T](
        R (*)(R, R, R, R, R) noexcept nogil, R (*)(R) noexcept nogil, R (*)(R) noexcept nogil,
        S (*)(S) noexcept nogil, const Table[T]&, const Operands&)
    void tabulated_forward2 "tabulated_forward" [R, S, T](
        R (*)(R, R, R, R, R, R) noexcept nogil, R (*)(R, R) noexcept nogil, R (*)(R, R) noexcept nogil,
        S (*)(S, S) noexcept nogil, const Table[T]&, const Operands&)
    void tabulated_backward1 "tabulated_backward" [R, S, T](
        R (*)(R, R, R, R, R) noexcept nogil, R (*)(R) noexcept nogil, R (*)(R) noexcept nogil,
        S (*)(S) noexcept nogil, const Table[T]&, const Operands&)
    void tabulated_backward2 "tabulated_backward" [R, S, T](
        R (*)(R, R, R, R, R, R) noexcept nogil, R (*)(R, R) noexcept nogil, R (*)(R, R) noexcept nogil,
        S (*)(S, S) noexcept nogil, const Table[T]&, const Operands&)
    void tabulated_two2 "tabulated_two" [R, S, T](
        R (*)(R, R, R, R, R, R) noexcept nogil, R (*)(R, R, R, R, R, R) noexcept nogil,
        R (*)(R, R) noexcept nogil, S (*)(S, S) noexcept nogil, S (*)(S, S) noexcept nogil, const Table[T]&,
        const Operands&)

    void uniform_draws[T](T*, uint64_t, ptrdiff_t, uint64_t)
    void normal_draws[T, R](R (*)(R) noexcept nogil, R (*)(R) noexcept nogil, R (*)(R) noexcept nogil, T*,
                            uint64_t, ptrdiff_t, uint64_t)

    cdef cppclass RowFormulas[T]:
        vec[T] (*exponent)(vec[T]) noexcept nogil
        vec[T] (*excess)(vec[T], vec[T]) noexcept nogil
        wide[T] (*leading_factor)(wide[T], wide[T]) noexcept nogil
        wide[T] (*rescaled)(wide[T], wide[T]) noexcept nogil
        wide[T] (*log1p)(wide[T]) noexcept nogil
    void sum_rows[T](const RowFormulas[T]&, const RowTile&)
    void keep_rows[T](const RowFormulas[T]&, const RowTile&)
    void finish_logsumexp[T](const RowFormulas[T]&, const RowTile&)
    void finish_softmax[T](const RowFormulas[T]&, const RowTile&)
    void finish_logsumexp_backward[T](const RowFormulas[T]&, const RowTile&)
    void finish_log_softmax[T](const RowFormulas[T]&, const RowTile&)
    void apply_softmax[T](const RowFormulas[T]&, const RowTile&)
    void apply_log_softmax[T](const RowFormulas[T]&, const RowTile&)
    void apply_logsumexp_backward[T](const RowFormulas[T]&, const RowTile&)
    void sum_softmax_backward[T](const RowFormulas[T]&, const RowTile&)
    void finish_softmax_backward[T](const RowFormulas[T]&, const RowTile&)
    void apply_softmax_backward[T](const RowFormulas[T]&, const RowTile&)
    void sum_log_softmax_backward[T](const RowFormulas[T]&, const RowTile&)
    void finish_log_softmax_backward[T](const RowFormulas[T]&, const RowTile&)
    void apply_log_softmax_backward[T](const RowFormulas[T]&, const RowTile&)
    void sum_for_labels[T](const RowFormulas[T]&, const RowTile&)
    void keep_for_labels[T](const RowFormulas[T]&, const RowTile&)
    void sum_for_targets[T](const RowFormulas[T]&, const RowTile&)
    void keep_for_targets[T](const RowFormulas[T]&, const RowTile&)
    void finish_labels[T](const RowFormulas[T]&, const RowTile&)
    void finish_label_gradients[T](const RowFormulas[T]&, const RowTile&)
    void finish_targets[T](const RowFormulas[T]&, const RowTile&)
    void finish_target_gradients[T](const RowFormulas[T]&, const RowTile&)
    void apply_label_gradients[T](const RowFormulas[T]&, const RowTile&)
    void apply_target_gradients[T](const RowFormulas[T]&, const RowTile&)
