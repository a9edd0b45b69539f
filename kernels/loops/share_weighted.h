// Runs the kernel of weighted.h over the rows of a contiguous matrix, shared out among threads by whole rows.
#pragma once
#include "loops/pool.h"
#include "loops/run.h"

struct WeightedRows {
    WeightedKernel kernel;
    const char *a, *b;
    double* sums;
    ptrdiff_t rows, length, b_step;
    int item_bytes, cost;  // of an entry, as Kernel's
};

static void share_weighted(void* work, int index, int threads) {
    const WeightedRows& s = *(const WeightedRows*)work;
    const SilentFlags silent;
    const ptrdiff_t first = s.rows * index / threads, end = s.rows * (index + 1) / threads;
    const char* b = s.b ? s.b + first * s.b_step * s.item_bytes : s.b;
    if (end > first)
        s.kernel(s.a + first * s.length * s.item_bytes, b, s.b_step, s.sums + 5 * first, end - first,
                 s.length);
}

static void run_weighted(const WeightedRows& s, const Settings& settings) {
    ptrdiff_t threads = threads_for(s.rows * s.length * s.cost, settings);
    if (threads > s.rows) threads = s.rows;
    if (threads > 1) run_in_parallel(share_weighted, (void*)&s, (int)threads, settings.processors);
    else share_weighted((void*)&s, 0, 1);
}
