// What a module compiled for one instruction set hands to the sums over a parameter's gradient.
#pragma once
#include "loops/exports.h"

// The unevaluated sum high + low; of float terms, which a double sums well enough, low is 0 at first.
struct Pair {
    double high, low;
};
static inline Pair operator+(Pair a, Pair b) {
    const double s = a.high + b.high, t = s - a.high;
    return {s, ((a.high - (s - t)) + (b.high - t)) + (a.low + b.low)};
}

// Of n elements: all terms to one sum, or each to the sum of its column.  `registers` and `out` are not read.
typedef Pair (*SumAlong)(const Operands& terms, ptrdiff_t n);
typedef void (*SumColumns)(const Operands& terms, ptrdiff_t n, double* high, double* low);

struct SumBlocks {
    SumAlong along;
    SumColumns columns;
};

static const char SUMS_NAME[] = "fastrelu.kernels.sums";

// In the order of the table's kernels; null but for gradients of parameters.  Index 0 is float, 1 is double.
struct SumExports {
    int count;
    const SumBlocks* blocks[2];
};
