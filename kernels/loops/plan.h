// How a call of `size` elements will be run: a pure function of what is known before it starts.
#pragma once
#include "loops/exports.h"
#include "loops/pack.h"

enum { MAX_INPUTS = 4 };

// Set once from fastrelu/control.py, which names the constants and says where they come from.
struct Settings {
    int max_threads;
    int processors;             // more threads than these never wait awake
    ptrdiff_t work_per_thread;  // a thread more for each such amount of elements * cost
    ptrdiff_t streaming_bytes;  // out of place and from here on: stores past the cache
};

struct Kernel {
    const Block* block;  // of the chosen instruction set
    int inputs;
    int lanes;
    Storage computes_in;  // FLOAT32 or FLOAT64
    int item_bytes;       // of that type
    int cost;             // of an element: rough nanoseconds per 16 of them
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
    plan.streaming = !in_place && size * kernel.item_bytes >= settings.streaming_bytes;
    return plan;
}

// What other compiled modules (and, by cimport, other people's) need to run a kernel.
struct Runner {
    const Kernel* kernels;  // [index of the table's kernel][FLOAT32, FLOAT64]
    void (*run)(const Kernel& kernel, char* const* args, ptrdiff_t n, const ptrdiff_t* steps);
};
static const char RUNNER_NAME[] = "fastrelu.kernels.runner";
