// Runs a block over operands of any number of axes, shared out among threads.
//
// Axes are ordered by the result's strides and merged where all operands allow it; what remains is a grid
// of rows.  A thread takes a range of elements of the grid, whatever rows it cuts, so that one long row and
// many short ones scale alike.
#pragma once
#include "loops/pool.h"
#include "loops/run.h"

enum {
    MAX_AXES = 64,
    SHORT_ROW = 64  // shorter rows are gathered into chunks first
};

struct Grid {
    const Kernel* kernel;
    int axes;
    ptrdiff_t shape[MAX_AXES];
    char* data[MAX_INPUTS + 1];
    ptrdiff_t strides[MAX_INPUTS + 1][MAX_AXES];
    Storage types[MAX_INPUTS + 1];
    ptrdiff_t size;
    Plan plan;
};

static inline ptrdiff_t distance(ptrdiff_t stride) { return stride < 0 ? -stride : stride; }

static void swap_axes(Grid& g, int a, int b) {
    ptrdiff_t kept = g.shape[a];
    g.shape[a] = g.shape[b], g.shape[b] = kept;
    for (int j = 0; j <= g.kernel->inputs; j++) {
        kept = g.strides[j][a];
        g.strides[j][a] = g.strides[j][b], g.strides[j][b] = kept;
    }
}

static bool can_merge(const Grid& g, int outer, int inner) {
    for (int j = 0; j <= g.kernel->inputs; j++)
        if (g.strides[j][outer] != g.strides[j][inner] * g.shape[inner]) return false;
    return true;
}

// The smallest equivalent grid, its last axis the one along which the result is densest.
static void simplify(Grid& g) {
    const int last = g.kernel->inputs;
    int axes = 0;
    for (int a = 0; a < g.axes; a++)
        if (g.shape[a] != 1) swap_axes(g, axes++, a);
    for (int a = 1; a < axes; a++)
        for (int b = a; b > 0 && distance(g.strides[last][b - 1]) < distance(g.strides[last][b]); b--)
            swap_axes(g, b - 1, b);
    int kept = axes ? 1 : 0;
    for (int a = 1; a < axes; a++) {
        if (can_merge(g, kept - 1, a)) {
            g.shape[kept - 1] *= g.shape[a];
            for (int j = 0; j <= last; j++) g.strides[j][kept - 1] = g.strides[j][a];
        } else {
            swap_axes(g, kept++, a);
        }
    }
    if (!kept) {  // a single element
        kept = 1;
        g.shape[0] = 1;
        for (int j = 0; j <= last; j++) g.strides[j][0] = 0;
        g.strides[last][0] = g.kernel->item_bytes;
    }
    g.axes = kept;
}

// A walk over the grid, element `at` of row `index`.
class Walk {
    const Grid& g_;
    ptrdiff_t index_[MAX_AXES];
    ptrdiff_t at_;
    Row row_;

public:
    Walk(const Grid& g, ptrdiff_t element) : g_(g), at_(element % g.shape[g.axes - 1]) {
        ptrdiff_t rest = element / g.shape[g.axes - 1];
        for (int a = g.axes - 2; a >= 0; a--) {
            index_[a] = rest % g.shape[a];
            rest /= g.shape[a];
        }
        for (int j = 0; j <= g.kernel->inputs; j++) {
            row_.data[j] = g.data[j];
            for (int a = 0; a < g.axes - 1; a++) row_.data[j] += index_[a] * g.strides[j][a];
            row_.steps[j] = g.strides[j][g.axes - 1];
            row_.types[j] = g.types[j];
        }
    }

    // The rest of the present row, at most `limit` elements of it.
    Row next(ptrdiff_t limit, ptrdiff_t& n) {
        const ptrdiff_t left = g_.shape[g_.axes - 1] - at_;
        n = left < limit ? left : limit;
        Row piece = row_;
        for (int j = 0; j <= g_.kernel->inputs; j++) piece.data[j] += at_ * row_.steps[j];
        at_ += n;
        if (n == left) {
            at_ = 0;
            for (int a = g_.axes - 2; a >= 0; a--) {
                const bool carry = ++index_[a] == g_.shape[a];
                if (carry) index_[a] = 0;
                for (int j = 0; j <= g_.kernel->inputs; j++)
                    row_.data[j] += carry ? (1 - g_.shape[a]) * g_.strides[j][a] : g_.strides[j][a];
                if (!carry) break;
            }
        }
        return piece;
    }
};

// Short rows: fill a chunk from as many as it holds, so that the block sees long ones.
static void run_gathered(const Grid& g, ptrdiff_t first, ptrdiff_t end) {
    const Kernel& kernel = *g.kernel;
    const int last = kernel.inputs;
    Buffers buffers(kernel);
    Walk reading(g, first), writing(g, first);
    while (first < end) {
        const ptrdiff_t count = end - first < CHUNK ? end - first : CHUNK;
        for (ptrdiff_t filled = 0, n; filled < count; filled += n) {
            const Row row = reading.next(count - filled, n);
            for (int j = 0; j < last; j++)
                PACK[kernel.computes_in][row.types[j]](buffers.memory[j] + filled * kernel.item_bytes,
                                                       kernel.item_bytes, row.data[j], row.steps[j], n);
        }
        run_contiguous(kernel, buffers.row, count);
        for (ptrdiff_t emptied = 0, n; emptied < count; emptied += n) {
            const Row row = writing.next(count - emptied, n);
            UNPACK[kernel.computes_in][row.types[last]](row.data[last], row.steps[last],
                                                        buffers.memory[last] + emptied * kernel.item_bytes,
                                                        kernel.item_bytes, n);
        }
        first += count;
    }
}

static void run_share(void* work, int index, int threads) {
    const Grid& g = *(const Grid*)work;
    const SilentFlags silent;
    const ptrdiff_t chunks = (g.size + CHUNK - 1) / CHUNK;
    ptrdiff_t first = chunks * index / threads * CHUNK, end = chunks * (index + 1) / threads * CHUNK;
    if (end > g.size) end = g.size;
    if (g.axes > 1 && g.shape[g.axes - 1] < SHORT_ROW) return run_gathered(g, first, end);
    Walk walk(g, first);
    for (ptrdiff_t n; first < end; first += n) {
        const Row row = walk.next(end - first, n);
        run_row(*g.kernel, row, n, g.plan.streaming);
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
    g.plan = make_plan(*g.kernel, g.size, in_place(g), settings);
    if (g.plan.threads > 1) run_in_parallel(run_share, &g, g.plan.threads, settings.processors);
    else run_share(&g, 0, 1);
}

// Along one axis, without a grid where one thread does it: what a small call pays for.
static void run(const Kernel& kernel, const Row& row, ptrdiff_t n, const Settings& settings) {
    bool same_place = false;
    for (int j = 0; j < kernel.inputs; j++) same_place |= row.data[j] == row.data[kernel.inputs];
    const Plan plan = make_plan(kernel, n, same_place, settings);
    if (plan.threads == 1) {
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
