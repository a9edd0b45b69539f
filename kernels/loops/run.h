// Runs a block over operands of any stride: splits, packs, pads, streams and shares out among threads.
//
// Every element goes through the block in a full register, the last partial one by way of a padded
// buffer, so its bits do not depend on where it lies.  Compiled for the baseline: no formula is here.
#pragma once
#include <emmintrin.h>
#include <string.h>
#include "loops/exports.h"
#include "loops/plan.h"
#include "loops/pool.h"

enum { MAX_INPUTS = 4, MAX_REGISTER = 64, CHUNK = 512 };  // CHUNK elements of every operand stay in L1

// Exceptions that a formula raises on the way to a right result (exp underflows, inf - inf in a branch not
// taken) are not the caller's business: the status flags leave as they came.
class SilentFlags {
    unsigned before_;

public:
    SilentFlags() : before_(_mm_getcsr()) {}
    ~SilentFlags() {
        if (_mm_getcsr() != before_) _mm_setcsr(before_);
    }
};

static inline void copy_elements(char* to, ptrdiff_t to_step, const char* from, ptrdiff_t from_step,
                                 ptrdiff_t n, int bytes) {
    if (bytes == 4)
        for (ptrdiff_t i = 0; i < n; i++) *(float*)(to + i * to_step) = *(const float*)(from + i * from_step);
    else
        for (ptrdiff_t i = 0; i < n; i++)
            *(double*)(to + i * to_step) = *(const double*)(from + i * from_step);
}
static inline void halves_to_floats(float* to, const char* from, ptrdiff_t step, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) to[i] = (float)*(const _Float16*)(from + i * step);
}
static inline void floats_to_halves(char* to, ptrdiff_t step, const float* from, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) *(_Float16*)(to + i * step) = (_Float16)from[i];
}

// Copies past the cache; `to` needs no alignment beyond its type's.
static inline void stream(char* to, const char* from, ptrdiff_t bytes) {
    ptrdiff_t head = -(ptrdiff_t)to & 15;
    if (head > bytes) head = bytes;
    memcpy(to, from, head);
    ptrdiff_t i = head;
    for (; i + 16 <= bytes; i += 16)
        _mm_stream_si128((__m128i*)(to + i), _mm_loadu_si128((const __m128i*)(from + i)));
    memcpy(to + i, from + i, bytes - i);
}

// Operands that a block can read and write where they are: contiguous, or one value for all.
static inline bool runs_in_place(const Kernel& kernel, const ptrdiff_t* steps) {
    if (kernel.half || steps[kernel.inputs] != kernel.item_bytes) return false;
    for (int j = 0; j < kernel.inputs; j++)
        if (steps[j] != kernel.item_bytes && steps[j] != 0) return false;
    return true;
}

// n contiguous elements (or splats) to a contiguous result.
static void run_contiguous(const Kernel& kernel, char* const* args, ptrdiff_t n, const ptrdiff_t* steps) {
    alignas(64) char buffers[MAX_INPUTS + 1][MAX_REGISTER];
    const Block block = *kernel.blocks;
    const int bytes = kernel.item_bytes;
    const ptrdiff_t rest = n % kernel.lanes, whole = n - rest;
    Operands o;
    o.registers = whole / kernel.lanes;
    o.out = args[kernel.inputs];
    for (int j = 0; j < kernel.inputs; j++) {
        const bool splat = steps[j] == 0;
        if (splat) copy_elements(buffers[j], bytes, args[j], 0, kernel.lanes, bytes);
        o.in[j] = splat ? buffers[j] : args[j];
        o.advance[j] = splat ? 0 : kernel.lanes;
    }
    if (whole) block(o);
    if (!rest) return;
    for (int j = 0; j < kernel.inputs; j++) {
        if (steps[j] == 0) continue;
        memset(buffers[j], 0, sizeof buffers[j]);
        memcpy(buffers[j], args[j] + whole * bytes, rest * bytes);
        o.in[j] = buffers[j];
    }
    o.out = buffers[MAX_INPUTS];
    o.registers = 1;
    block(o);
    memcpy(args[kernel.inputs] + whole * bytes, buffers[MAX_INPUTS], rest * bytes);
}

// Any strides and float16: a chunk at a time through contiguous buffers.
static void run_packed(const Kernel& kernel, char* const* args, ptrdiff_t n, const ptrdiff_t* steps) {
    alignas(64) char buffers[MAX_INPUTS + 1][CHUNK * 8];
    char* packed[MAX_INPUTS + 1];
    ptrdiff_t packed_steps[MAX_INPUTS + 1];
    const int last = kernel.inputs;
    for (int j = 0; j <= last; j++) {
        packed[j] = buffers[j];
        packed_steps[j] = j < last && steps[j] == 0 ? 0 : kernel.item_bytes;
    }
    for (ptrdiff_t start = 0; start < n; start += CHUNK) {
        const ptrdiff_t count = n - start < CHUNK ? n - start : CHUNK;
        for (int j = 0; j < last; j++) {
            const char* from = args[j] + start * steps[j];
            const ptrdiff_t needed = steps[j] == 0 ? 1 : count;
            if (kernel.half) halves_to_floats((float*)buffers[j], from, steps[j], needed);
            else copy_elements(buffers[j], kernel.item_bytes, from, steps[j], needed, kernel.item_bytes);
        }
        run_contiguous(kernel, packed, count, packed_steps);
        char* to = args[last] + start * steps[last];
        if (kernel.half) floats_to_halves(to, steps[last], (const float*)buffers[last], count);
        else copy_elements(to, steps[last], buffers[last], kernel.item_bytes, count, kernel.item_bytes);
    }
}

// Contiguous, with stores that do not pull the result's old lines into the cache.
static void run_streaming(const Kernel& kernel, char* const* args, ptrdiff_t n, const ptrdiff_t* steps) {
    alignas(64) char buffer[CHUNK * 8];
    char* moved[MAX_INPUTS + 1];
    const int last = kernel.inputs;
    moved[last] = buffer;
    for (ptrdiff_t start = 0; start < n; start += CHUNK) {
        const ptrdiff_t count = n - start < CHUNK ? n - start : CHUNK;
        for (int j = 0; j < last; j++) moved[j] = args[j] + start * steps[j];
        run_contiguous(kernel, moved, count, steps);
        stream(args[last] + start * steps[last], buffer, count * kernel.item_bytes);
    }
    _mm_sfence();
}

struct Work {
    const Kernel* kernel;
    char* const* args;
    const ptrdiff_t* steps;
    ptrdiff_t n;
    Plan plan;
};

// The share of thread `index`: whole chunks, so that threads never meet in a register.
static void run_share(void* shared, int index, int threads) {
    const Work& w = *(const Work*)shared;
    const SilentFlags silent;
    const ptrdiff_t chunks = (w.n + CHUNK - 1) / CHUNK;
    const ptrdiff_t first = chunks * index / threads * CHUNK, end = chunks * (index + 1) / threads * CHUNK;
    const ptrdiff_t n = (end < w.n ? end : w.n) - first;
    if (n <= 0) return;
    char* args[MAX_INPUTS + 1];
    for (int j = 0; j <= w.kernel->inputs; j++) args[j] = w.args[j] + first * w.steps[j];
    if (!runs_in_place(*w.kernel, w.steps)) run_packed(*w.kernel, args, n, w.steps);
    else if (w.plan.streaming) run_streaming(*w.kernel, args, n, w.steps);
    else run_contiguous(*w.kernel, args, n, w.steps);
}

static inline bool in_place(const Kernel& kernel, char* const* args) {
    for (int j = 0; j < kernel.inputs; j++)
        if (args[j] == args[kernel.inputs]) return true;
    return false;
}

static void run(const Kernel& kernel, char* const* args, ptrdiff_t n, const ptrdiff_t* steps,
                const Settings& settings) {
    if (n <= 0) return;
    Work work = {&kernel, args, steps, n, make_plan(kernel, n, in_place(kernel, args), settings)};
    if (work.plan.threads > 1) run_in_parallel(run_share, &work, work.plan.threads);
    else run_share(&work, 0, 1);
}
