// Two kernels of the same operands in one pass: both gradients of a product.
//
// Where the first kernel has a block of both results, a register of each operand is read once.  Else a chunk
// of each comes from memory once, and both kernels find it in the first-level cache; the first result waits
// in a buffer for the second wherever it may take the place of an operand.
#pragma once
#include "loops/strided.h"

struct TwoResults {
    const Kernel* kernels[2];
    Kernel both;  // what the grid takes for its kernel: the first result is one more operand
    Grid grid;    // the inputs, then the results
};

// Both results of n contiguous elements by one block: `row` has the first.  An operand may lie just where a
// result goes, but not across it.
static void run_two_contiguous(const Kernel& kernel, const Row& row, char* second, ptrdiff_t n) {
    alignas(64) char buffers[MAX_INPUTS + 1][MAX_REGISTER];
    const int bytes = kernel.item_bytes, last = kernel.inputs, lanes = kernel.lanes;
    const ptrdiff_t rest = n & (lanes - 1), whole = n - rest;
    Operands o;
    for (int j = 0; j < last; j++) {
        const bool splat = row.steps[j] == 0;
        if (splat) packer(kernel, kernel.computes_in)(buffers[j], bytes, row.data[j], 0, lanes);
        o.in[j] = splat ? buffers[j] : row.data[j];
        o.advance[j] = splat ? 0 : lanes;
    }
    o.out = row.data[last];
    o.second = second;
    o.registers = whole / lanes;
    if (whole) (*kernel.two)(o);
    if (!rest) return;
    for (int j = 0; j < last; j++) {
        if (row.steps[j] == 0) continue;
        memset(buffers[j], 0, MAX_REGISTER);
        copy_short(buffers[j], row.data[j] + whole * bytes, rest * bytes);
        o.in[j] = buffers[j];
    }
    o.out = buffers[last];
    o.second = buffers[last + 1];
    o.registers = 1;
    (*kernel.two)(o);
    copy_short(row.data[last] + whole * bytes, buffers[last], rest * bytes);
    copy_short(second + whole * bytes, buffers[last + 1], rest * bytes);
}

static void run_two_rows(const TwoResults& t, ptrdiff_t first, ptrdiff_t end) {
    alignas(LINE) char buffers[MAX_INPUTS + 1][CHUNK * 8];
    const Grid& g = t.grid;
    const Kernel& kernel = *t.kernels[0];
    const int inputs = kernel.inputs, columns = g.axes - 1, bytes = kernel.item_bytes;
    const bool at_once = kernel.two && t.kernels[1]->index == kernel.index + 1;
    bool plain[MAX_INPUTS + 1];
    Row row, results[2];
    for (int j = 0; j < inputs + 2; j++) {
        const ptrdiff_t step = g.strides[j][columns];
        plain[j] = g.types[j] == kernel.computes_in && (step == bytes || (step == 0 && j < inputs));
        row.steps[j] = step == 0 && j < inputs ? 0 : bytes;
        row.types[j] = kernel.computes_in;
    }
    bool direct[2] = {plain[inputs] && !g.plan.streaming, plain[inputs + 1] && !g.plan.streaming};
    for (int j = 0; j < inputs && !at_once; j++) direct[0] &= g.data[j] != g.data[inputs];
    Walk walk(g, first);
    char* data[MAX_INPUTS + 1];
    for (ptrdiff_t n; first < end; first += n) {
        n = walk.next(end - first < CHUNK ? end - first : CHUNK, data);
        for (int j = 0; j < inputs; j++) {
            row.data[j] = plain[j] ? data[j] : buffers[j];
            if (!plain[j])
                pack(kernel, g.types[j], buffers[j], bytes, data[j], g.strides[j][columns],
                     row.steps[j] ? n : 1);
        }
        char* to[2];
        for (int k = 0; k < 2; k++) to[k] = direct[k] ? data[inputs + k] : buffers[inputs + k];
        row.data[inputs] = to[0];
        if (at_once) {
            run_two_contiguous(kernel, row, to[1], n);
        } else {
            run_contiguous(kernel, row, n);
            row.data[inputs] = to[1];
            run_contiguous(*t.kernels[1], row, n);
        }
        for (int k = 0; k < 2; k++) {
            if (direct[k]) continue;
            results[k].data[inputs] = data[inputs + k];
            results[k].steps[inputs] = g.strides[inputs + k][columns];
            results[k].types[inputs] = g.types[inputs + k];
            const bool streaming = g.plan.streaming && plain[inputs + k];
            unpack(*t.kernels[k], results[k], 0, buffers[inputs + k], n, streaming);
        }
    }
}

static void run_two_share(void* work, int index, int threads) {
    const TwoResults& t = *(const TwoResults*)work;
    const SilentFlags silent;
    const ptrdiff_t chunks = (t.grid.size + CHUNK - 1) / CHUNK;
    const ptrdiff_t first = chunks * index / threads * CHUNK, end = chunks * (index + 1) / threads * CHUNK;
    run_two_rows(t, first, end < t.grid.size ? end : t.grid.size);
    if (t.grid.plan.streaming) _mm_sfence();
}

// The kernels compute in one type and take the same inputs; of the grid, all but size, plan and the order of
// axes must be filled in.
static void run_two_results(TwoResults& t, const Settings& settings) {
    Grid& g = t.grid;
    const int inputs = t.kernels[0]->inputs;
    t.both = *t.kernels[0];
    t.both.inputs = inputs + 1;
    t.both.cost += t.kernels[1]->cost;
    g.kernel = &t.both;
    g.size = 1;
    for (int a = 0; a < g.axes; a++) g.size *= g.shape[a];
    if (g.size == 0) return;
    bool same_place = false;
    for (int j = 0; j < inputs; j++)
        same_place |= g.data[j] == g.data[inputs] || g.data[j] == g.data[inputs + 1];
    simplify(g);
    g.plan = make_plan(t.both, g.size, same_place, g.types[inputs + 1], settings);
    g.plan.streaming = make_plan(*t.kernels[1], g.size, same_place, g.types[inputs + 1], settings).streaming;
    if (g.plan.threads > 1) run_in_parallel(run_two_share, &t, g.plan.threads, settings.processors);
    else run_two_share(&t, 0, 1);
}
