// Draws as an array, shared out among threads by whole groups: for what cannot make them on the way.
#pragma once
#include "loops/pool.h"
#include "loops/run.h"

struct Draws {
    Kernel kernel;
    char* to;
    uint64_t first;
    ptrdiff_t count;
};

static void share_draws(void* work, int index, int threads) {
    const Draws& d = *(const Draws*)work;
    const SilentFlags silent;
    const ptrdiff_t groups = (d.count + GROUP - 1) / GROUP;
    const ptrdiff_t first = groups * index / threads * GROUP;
    ptrdiff_t end = groups * (index + 1) / threads * GROUP;
    if (end > d.count) end = d.count;
    if (end > first) make_draws(d.kernel, d.to + first * d.kernel.item_bytes, d.first + first, end - first);
}

static void run_draws(const Draws& d, const Settings& settings) {
    const int threads = threads_for(d.count * d.kernel.cost, settings);
    if (threads > 1) run_in_parallel(share_draws, (void*)&d, threads, settings.processors);
    else share_draws((void*)&d, 0, 1);
}
