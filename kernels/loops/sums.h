// The gradient of a parameter: dy * df/dparameter, summed over the axes along which it was broadcast, and in
// the same pass over memory, if it is wanted too, the gradient of x.
//
// Operands are contiguous.  Their axes are `outer` x `kept` x `inner`, of which the sums run over the first
// and the last.  What is added to what depends on these three numbers only, never on the threads: the terms
// of a result are cut into pieces of fixed size, threads take pieces, and one of them adds the pieces' sums
// up in order.
//
//   inner is long     a piece is a part of one run along it
//   inner is short    a piece is a band of the matrix of outer rows and kept * inner columns, which are
//                     summed side by side; narrow rows are taken several at a time
#pragma once
#include <stdlib.h>

#include "loops/pool.h"
#include "loops/run.h"
#include "loops/sum_exports.h"

enum {
    SHORT_RUN = 32,    // a shorter inner axis is summed by columns
    PIECE = 4096,      // terms of a run
    BAND_WIDTH = 512,  // columns whose sums stay in cache
    BAND_ROWS = 64
};

struct Sums {
    const Kernel* kernel;  // of the terms, but for what it does with them
    const SumBlocks* blocks;
    const Kernel* gradient;   // of x, or null
    char* in[MAX_INPUTS];     // dy, x, parameters
    bool varies[MAX_INPUTS];  // a parameter with a value for each of `kept`; otherwise it has one
    char* dx;                 // where that of x goes
    ptrdiff_t outer, kept, inner;
    bool streaming;
    // filled in by `sum_up`
    ptrdiff_t pieces, columns, width, band_rows, tiles;
    Pair* partial;
};

// The terms from one element on, with the parameters of `kept` or those in `values`.
static inline void operands_at(const Sums& s, ptrdiff_t element, ptrdiff_t kept,
                               char (*values)[BAND_WIDTH * 8], Operands& o, Row& row) {
    const Kernel& kernel = *s.kernel;
    const int bytes = kernel.item_bytes;
    for (int j = 0; j < kernel.inputs; j++) {
        const bool array = j < 2 || (values && s.varies[j]);
        char* const data = j < 2 ? s.in[j] + element * bytes : array ? values[j] : s.in[j];
        row.data[j] = data + (!array && s.varies[j] ? kept * bytes : 0);
        row.steps[j] = array ? bytes : 0;
        row.types[j] = kernel.computes_in;
        o.in[j] = row.data[j];
        o.advance[j] = array ? kernel.lanes : 0;
    }
    row.data[kernel.inputs] = s.dx + (s.dx ? element * bytes : 0);
    row.steps[kernel.inputs] = bytes;
    row.types[kernel.inputs] = kernel.computes_in;
}

// A block reads a whole register of a value that stays.
static inline void spread(const Sums& s, char (*splats)[MAX_REGISTER], Operands& o) {
    for (int j = 2; j < s.kernel->inputs; j++) {
        if (o.advance[j]) continue;
        for (int at = 0; at < MAX_REGISTER; at += s.kernel->item_bytes)  // whatever the register's length
            memcpy(splats[j] + at, o.in[j], s.kernel->item_bytes);
        o.in[j] = splats[j];
    }
}

// A part of a run.  The terms come first: dx may take the place of dy or x.
static void sum_run(const Sums& s, ptrdiff_t task) {
    alignas(64) char splats[MAX_INPUTS][MAX_REGISTER];
    const ptrdiff_t run = task / s.pieces, start = task % s.pieces * PIECE;
    const ptrdiff_t n = s.inner - start < PIECE ? s.inner - start : PIECE;
    Operands o;
    Row row;
    operands_at(s, run * s.inner + start, run % s.kept, nullptr, o, row);
    spread(s, splats, o);
    s.partial[task] = s.blocks->along(o, n);
    if (s.dx) run_row(*s.gradient, row, n, s.streaming);
}

// A band: some rows of one tile of columns.
static void sum_band(const Sums& s, ptrdiff_t task) {
    alignas(64) char values[MAX_INPUTS][BAND_WIDTH * 8], splats[MAX_INPUTS][MAX_REGISTER];
    enum { PADDING = MAX_REGISTER / 4 };  // a register of floats
    alignas(64) double high[BAND_WIDTH + PADDING], low[BAND_WIDTH + PADDING];
    const int bytes = s.kernel->item_bytes;
    const ptrdiff_t band = task / s.tiles, first_column = task % s.tiles * BAND_WIDTH;
    const ptrdiff_t width = s.tiles == 1                            ? s.width
                            : s.columns - first_column < BAND_WIDTH ? s.columns - first_column
                                                                    : BAND_WIDTH;
    memset(high, 0, (width + PADDING) * sizeof(double));
    memset(low, 0, (width + PADDING) * sizeof(double));
    for (int j = 2; j < s.kernel->inputs; j++)
        if (s.varies[j])
            for (ptrdiff_t i = 0; i < width; i++)
                memcpy(values[j] + i * bytes, s.in[j] + (first_column + i) % s.columns / s.inner * bytes,
                       bytes);
    const ptrdiff_t end = s.outer * s.columns, pitch = s.tiles == 1 ? s.width : s.columns;
    ptrdiff_t element = band * s.band_rows * s.columns + first_column;
    ptrdiff_t last = (band + 1) * s.band_rows * s.columns;
    if (last > end) last = end;
    for (; element < last; element += pitch) {
        const ptrdiff_t n = last - element < width ? last - element : width;
        Operands o;
        Row row;
        operands_at(s, element, 0, values, o, row);
        spread(s, splats, o);
        s.blocks->columns(o, n, high, low);
        if (s.dx) run_row(*s.gradient, row, n, s.streaming);
    }
    for (ptrdiff_t i = 0; i < width && i < s.columns; i++) {
        Pair sum = {high[i], low[i]};
        for (ptrdiff_t j = i + s.columns; j < width; j += s.columns) sum = sum + Pair{high[j], low[j]};
        s.partial[band * s.columns + first_column + i] = sum;
    }
}

static void sum_share(void* work, int index, int parts) {
    const Sums& s = *(const Sums*)work;
    const SilentFlags silent;
    const ptrdiff_t tasks = s.pieces * (s.columns ? s.tiles : s.outer * s.kept);
    for (ptrdiff_t task = tasks * index / parts; task < tasks * (index + 1) / parts; task++)
        s.columns ? sum_band(s, task) : sum_run(s, task);
    if (s.streaming) _mm_sfence();
}

// The sum of result `kept` from the sums of its pieces, in the order of its terms.
static Pair add_pieces(const Sums& s, ptrdiff_t kept) {
    Pair sum = {0, 0};
    const ptrdiff_t outer = s.columns ? s.pieces : s.outer, inner = s.columns ? s.inner : s.pieces;
    for (ptrdiff_t i = 0; i < outer; i++)
        for (ptrdiff_t j = 0; j < inner; j++) sum = sum + s.partial[(i * s.kept + kept) * inner + j];
    return sum;
}

// Everything but what it fills in must be there; none of the three lengths is 0.  False: no memory.
static bool sum_up(Sums& s, char* result, const Settings& settings) {
    enum { FEW = 64 };
    Pair few[FEW];
    const Kernel& kernel = *s.kernel;
    const ptrdiff_t size = s.outer * s.kept * s.inner;
    const bool by_columns = s.kept > 1 && s.inner < SHORT_RUN;
    if (by_columns) {
        s.columns = s.kept * s.inner;
        ptrdiff_t together = s.columns < BAND_WIDTH ? BAND_WIDTH / s.columns : 1;
        if (together > s.outer) together = s.outer;
        s.width = together * s.columns;
        s.tiles = (s.columns + BAND_WIDTH - 1) / BAND_WIDTH;
        s.band_rows = together * BAND_ROWS;
        s.pieces = (s.outer + s.band_rows - 1) / s.band_rows;
    } else {
        s.columns = 0;
        s.pieces = (s.inner + PIECE - 1) / PIECE;
    }
    const ptrdiff_t partials = s.pieces * (by_columns ? s.columns : s.outer * s.kept);
    s.partial = partials <= FEW ? few : (Pair*)malloc(partials * sizeof(Pair));
    if (!s.partial) return false;
    bool in_place = !s.dx;
    for (int j = 0; j < 2; j++) in_place |= s.dx == s.in[j];
    s.streaming = make_plan(kernel, size, in_place, kernel.computes_in, settings).streaming;
    const int threads = threads_for(size * kernel.cost * (s.dx ? 2 : 1), settings);
    if (threads > 1) run_in_parallel(sum_share, &s, threads, settings.processors);
    else sum_share(&s, 0, 1);
    const SilentFlags silent;
    for (ptrdiff_t k = 0; k < s.kept; k++) {
        const Pair sum = add_pieces(s, k);
        const double value = sum.high + sum.low,
                     settled = value == value ? value : sum.high;  // beside infinity
        if (kernel.computes_in == FLOAT32) ((float*)result)[k] = (float)settled;
        else ((double*)result)[k] = settled;
    }
    if (s.partial != few) free(s.partial);
    return true;
}
