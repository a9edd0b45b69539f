// What a module compiled for one instruction set hands to the fused passes: the steps around an activation,
// and for activations that cost less than such steps, loops that take all of them in registers.
#pragma once
#include "loops/sum_exports.h"

// What is added up of each column: the two parts of its sum, and how many elements were positive.  Of floats
// there are no low parts; each may be null.  Element i goes to number i & ring: -1 for columns, or a power of
// two less 1 for a run, whose one sum is then that of so many.
struct Tallies {
    double *high, *low, *counts;
    ptrdiff_t ring;
};

// Steps over n contiguous floats or doubles, which may end anywhere; results may take an input's place.
struct FusedSteps {
    void (*add)(void* to, const void* a, const void* b, bool b_is_one, ptrdiff_t n);
    void (*scale)(void* to, const void* a, double factor, ptrdiff_t n);
    // factor * a where the draw, centred, is at least `limit`; elsewhere 0.
    void (*drop)(void* to, const void* a, const void* draws, double limit, double factor, ptrdiff_t n);
    // A NaN counts as positive.
    void (*tally)(const void* a, ptrdiff_t n, const Tallies& to);
    // Whole cache lines past the cache; `to` begins one.
    void (*stream)(void* to, const void* from, ptrdiff_t bytes);
    // One bit for each, the first the lowest of the first byte: set where a is `value`, or where it is not.
    void (*to_bits)(uint8_t* bits, const void* a, double value, bool where_equal, ptrdiff_t n);
    // a where its bit is set, elsewhere factor * a, and 0 if that factor is 0.
    void (*by_bits)(void* to, const void* a, const uint8_t* bits, double factor, ptrdiff_t n);
};

// Rows of whole registers.  What has a value for each column, or one for all, advances by a register or
// stays.
struct FusedRows {
    const void *x, *dy;              // x is y where the slope is a function of that; dy: of a gradient
    const void *draws, *residual;    // each may be null
    const void* values[MAX_INPUTS];  // the bias, then the parameters
    ptrdiff_t advance[MAX_INPUTS];
    double before, limit, factor;  // of y; of what the draws keep
    void* out;
    bool past_cache;  // where it goes; then each row begins a line
    Tallies tallies;
    ptrdiff_t rows, registers, pitch;  // of x, dy, residual and out, in elements
};
struct FusedLoop {
    void (*run)(const FusedRows&);  // null where there is none
    bool of_y;                      // which has no bias
};

static const char FUSED_NAME[] = "fastrelu.kernels.fused";

// Index 0 is float, 1 is double; loops are in the order of the table's kernels.
struct FusedExports {
    FusedSteps steps[2];
    const FusedLoop* loops[2];
};
