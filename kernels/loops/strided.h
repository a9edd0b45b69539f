// Runs a block over operands of any number of axes, shared out among threads.
//
// Axes are ordered by the result's strides and merged where all operands allow it.  What remains is run row
// by row where rows are long (grid.h), many rows at a time where they are short (pieces.h), tile by tile
// where an operand's rows are the result's columns (tiles.h).  A thread takes a range of elements or tiles,
// whatever rows it cuts, so that one long row and many short ones scale alike.
#pragma once
#include "loops/pieces.h"
#include "loops/pool.h"
#include "loops/tiles.h"

enum {
    SHORT_ROW = 64,   // elements: shorter rows are brought together
    LONG_ROW = 1024,  // and so are shorter ones than this where nothing need be copied for it
};

// The axes that a way needs last are brought there.
static Way choose_way(Grid& g) {
    if (g.axes == 1) return BY_ROWS;
    const int columns = axis_of_columns(g);
    if (columns >= 0) {
        for (int a = columns; a < g.axes - 2; a++) swap_axes(g, a, a + 1);
        return IN_TILES;
    }
    const ptrdiff_t length = g.shape[g.axes - 1];
    return length < SHORT_ROW || (length < LONG_ROW && inputs_are_free(g)) ? IN_PIECES : BY_ROWS;
}

static void run_share(void* work, int index, int threads) {
    const Grid& g = *(const Grid*)work;
    const SilentFlags silent;
    if (g.way == IN_TILES) {
        const Tiling tiling(g);
        const ptrdiff_t end = tiling.count * (index + 1) / threads;
        for (ptrdiff_t i = tiling.count * index / threads; i < end; i++) run_tile(g, tiling, i);
    } else {
        const ptrdiff_t chunks = (g.size + CHUNK - 1) / CHUNK;
        ptrdiff_t first = chunks * index / threads * CHUNK, end = chunks * (index + 1) / threads * CHUNK;
        if (end > g.size) end = g.size;
        if (g.way == IN_PIECES) run_pieces(g, first, end);
        else run_rows_of(g, first, end);
    }
    if (g.plan.streaming) _mm_sfence();
}

// The result takes the place of an operand, element by element.
static bool in_place(const Grid& g) {
    const int last = g.kernel->inputs;
    for (int j = 0; j < last; j++)
        if (g.data[j] == g.data[last]) return true;
    return false;
}

// Everything but size, plan and the order of axes must be filled in.
static void run_grid(Grid& g, const Settings& settings) {
    g.size = 1;
    for (int a = 0; a < g.axes; a++) g.size *= g.shape[a];
    if (g.size == 0) return;
    simplify(g);
    g.way = choose_way(g);
    g.plan = make_plan(*g.kernel, g.size, in_place(g), g.types[g.kernel->inputs], settings);
    if (g.plan.threads > 1) run_in_parallel(run_share, &g, g.plan.threads, settings.processors);
    else run_share(&g, 0, 1);
}

// Whether an input's memory and the result's meet otherwise than in the same place, as NumPy allows where all
// is right as long as elements are taken in order.
static bool is_shifted(const Kernel& kernel, const Row& row, int input, ptrdiff_t n) {
    const int last = kernel.inputs;
    const char *a = row.data[input], *b = row.data[last];
    if (a == b && row.steps[input] == row.steps[last]) return false;
    const ptrdiff_t a_reach = row.steps[input] * (n - 1), b_reach = row.steps[last] * (n - 1);
    const char *a_low = a_reach < 0 ? a + a_reach : a, *b_low = b_reach < 0 ? b + b_reach : b;
    const ptrdiff_t a_bytes = (a_reach < 0 ? -a_reach : a_reach) + STORAGE_BYTES[row.types[input]];
    const ptrdiff_t b_bytes = (b_reach < 0 ? -b_reach : b_reach) + STORAGE_BYTES[row.types[last]];
    return a_low < b_low + b_bytes && b_low < a_low + a_bytes;
}

// Along one axis, without a grid where one thread does it: what a small call pays for.
static void run(const Kernel& kernel, const Row& row, ptrdiff_t n, const Settings& settings) {
    bool same_place = false;
    for (int j = 0; j < kernel.inputs; j++) same_place |= row.data[j] == row.data[kernel.inputs];
    const Plan plan = make_plan(kernel, n, same_place, row.types[kernel.inputs], settings);
    bool alone = plan.threads == 1;
    for (int j = 0; j < kernel.inputs && !alone; j++) alone = is_shifted(kernel, row, j, n);
    if (alone) {
        const SilentFlags silent;
        run_row(kernel, row, n, plan.streaming);
        if (plan.streaming) _mm_sfence();
        return;
    }
    Grid g;
    g.kernel = &kernel;
    g.axes = 1;
    g.shape[0] = n;
    for (int j = 0; j <= kernel.inputs; j++) {
        g.data[j] = row.data[j];
        g.strides[j][0] = row.steps[j];
        g.types[j] = row.types[j];
    }
    run_grid(g, settings);
}
