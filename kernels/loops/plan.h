// How a call of `size` elements will be run: a pure function of what is known before it starts.
#pragma once
#include "loops/exports.h"

// Set once from fastrelu/dispatch.py, which names the constants and says where they come from.
struct Settings {
    int max_threads;
    ptrdiff_t work_per_thread;  // a thread more for each such amount of element * cost
    ptrdiff_t streaming_bytes;  // out of place and from here on: stores past the cache
};

struct Kernel {
    const Block* blocks;  // this kernel's block, once the instruction set is chosen
    int inputs;
    int lanes;
    int item_bytes;  // of the type that the block computes in
    bool half;       // operands are float16 and are converted on the way
    int cost;        // rough nanoseconds per 16 elements, for the number of threads
};

struct Plan {
    int threads;
    bool streaming;
};

static inline Plan make_plan(const Kernel& kernel, ptrdiff_t size, bool in_place, const Settings& settings) {
    Plan plan = {1, false};
    const ptrdiff_t work = size * kernel.cost;
    if (settings.max_threads > 1 && work >= 2 * settings.work_per_thread) {
        const ptrdiff_t threads = work / settings.work_per_thread;
        plan.threads = threads < settings.max_threads ? (int)threads : settings.max_threads;
    }
    plan.streaming = !in_place && !kernel.half && size * kernel.item_bytes >= settings.streaming_bytes;
    return plan;
}

// What other compiled modules (and, by cimport, other people's) need to run a kernel.
struct Runner {
    const Kernel* kernels;  // [index of the table's kernel][float32, float64, float16]
    int storages;
    void (*run)(const Kernel& kernel, char* const* args, ptrdiff_t n, const ptrdiff_t* steps);
};
static const char RUNNER_NAME[] = "fastrelu.kernels.runner";
