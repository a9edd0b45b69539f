// Runs a row kernel over the rows of a contiguous matrix, shared out among threads by whole rows.
#pragma once
#include "loops/pool.h"
#include "loops/run.h"

struct Matrix {
    RowKernel kernel;
    const char* a;
    char* out;
    ptrdiff_t rows, length;
    int item_bytes, cost;       // of an entry, as Kernel's
    ptrdiff_t results_per_row;  // 1, or as many as entries
};

static void run_rows_share(void* work, int index, int threads) {
    const Matrix& m = *(const Matrix*)work;
    const SilentFlags silent;
    const ptrdiff_t first = m.rows * index / threads, end = m.rows * (index + 1) / threads;
    if (end > first)
        m.kernel(m.a + first * m.length * m.item_bytes, m.out + first * m.results_per_row * m.item_bytes,
                 end - first, m.length);
}

static void run_rows(const Matrix& m, const Settings& settings) {
    ptrdiff_t threads = threads_for(m.rows * m.length * m.cost, settings);
    if (threads > m.rows) threads = m.rows;
    if (threads > 1) run_in_parallel(run_rows_share, (void*)&m, (int)threads, settings.processors);
    else run_rows_share((void*)&m, 0, 1);
}
