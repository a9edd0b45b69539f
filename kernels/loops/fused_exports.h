// What a module compiled for one instruction set hands to the fused passes: the steps around an activation.
#pragma once
#include "loops/sum_exports.h"

// Steps over n contiguous floats or doubles, which may end anywhere; results may take an input's place.
struct FusedBlocks {
    void (*add)(void* to, const void* a, const void* b, bool b_is_one, ptrdiff_t n);
    void (*scale)(void* to, const void* a, double factor, ptrdiff_t n);
    // factor * a where the draw, centred, is at least `limit`; elsewhere 0.
    void (*drop)(void* to, const void* a, const void* draws, double limit, double factor, ptrdiff_t n);
    Pair (*sum)(const void* a, ptrdiff_t n);
    // Of some rows each column to its sum, from the first row to the last.
    void (*sum_columns)(const void* const* rows, int count, ptrdiff_t n, double* high, double* low);
    // How many are positive; a NaN counts.
    ptrdiff_t (*count)(const void* a, ptrdiff_t n);
    void (*count_columns)(const void* const* rows, int count, ptrdiff_t n, double* counts);
    // One bit for each, the first the lowest of the first byte: set where a is `value`, or where it is not.
    void (*to_bits)(uint8_t* bits, const void* a, double value, bool where_equal, ptrdiff_t n);
    // a where its bit is set, elsewhere factor * a, and 0 if that factor is 0.
    void (*by_bits)(void* to, const void* a, const uint8_t* bits, double factor, ptrdiff_t n);
};

static const char FUSED_NAME[] = "fastrelu.kernels.fused";
