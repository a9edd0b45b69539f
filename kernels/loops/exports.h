// What a module compiled for one instruction set hands to the rest: its blocks, in the table's order.
#pragma once
#include <stddef.h>

struct Operands {
    const void* in[4];
    ptrdiff_t advance[4];  // elements from one register to the next: a register's lanes, or 0 to stay
    void* out;
    ptrdiff_t registers;
};
typedef void (*Block)(const Operands&);
typedef void (*RowKernel)(const void* a, void* out, ptrdiff_t rows, ptrdiff_t n);
typedef void (*WeightedKernel)(const void* a, const void* b, ptrdiff_t b_step, double* sums, ptrdiff_t rows,
                          ptrdiff_t n);

static const char EXPORTS_NAME[] = "fastrelu.kernels.blocks";

// Index 0 is float, 1 is double.
struct Exports {
    int count;
    int lanes[2];
    const Block* blocks[2];
    const RowKernel* rows[2];
    WeightedKernel weighted[2];
};
