// How a call of `size` elements will be run: a pure function of what is known before it starts.
#pragma once
#include <atomic>

#include "loops/exports.h"

// Set from fastrelu/control.py, which names the constants and says where they come from; atomic, for other
// threads may be computing.
struct Settings {
    std::atomic<int> max_threads;
    std::atomic<int> processors;             // more threads than these never wait awake
    std::atomic<ptrdiff_t> work_per_thread;  // a thread more for each such amount of elements * cost
    std::atomic<ptrdiff_t> streaming_bytes;  // out of place and from here on: stores past the cache ...
    std::atomic<int> streaming_costs[2];  // ... of float32 and float64 whose cost is no more, for each thread
};

// The threads that pay for an amount of elements * cost.
static inline int threads_for(ptrdiff_t work, const Settings& settings) {
    const ptrdiff_t most = settings.max_threads, each = settings.work_per_thread;
    if (most == 1 || work / 2 < each) return 1;
    const ptrdiff_t threads = work / each;
    return (int)(threads < most ? threads : most);
}

struct Kernel {
    int index;              // in the table
    const Kernel* faster;   // at accuracy "fast", the same one where no formula is
    const Kernel* shorter;  // for operands in 16 bits, likewise
    const Block* block;     // of the chosen instruction set, as are its conversions
    const Block* two;       // computes its result and that of the table's next kernel, or is null
    const Converters* converters;
    int inputs;
    int lanes;
    Storage computes_in;  // an integer's kernel takes operands of just that type
    int item_bytes;       // of that type
    int cost;             // of an element: rough nanoseconds per 16 of them
    Generator generator;  // of its last input, in a kernel for one call with draws
    uint64_t key;
};

// From an operand's storage to what the kernel computes in, and back.
static inline Converter packer(const Kernel& kernel, Storage from) {
    if (from == kernel.computes_in) return kernel.converters->copy[kernel.item_bytes];
    return kernel.converters->to_float[kernel.computes_in][from];
}
static inline Converter unpacker(const Kernel& kernel, Storage to) {
    if (to == kernel.computes_in) return kernel.converters->copy[kernel.item_bytes];
    return kernel.converters->from_float[kernel.computes_in][to];
}

struct Plan {
    int threads;
    bool streaming;
};

// `to` is what the result is stored as.
static inline Plan make_plan(const Kernel& kernel, ptrdiff_t size, bool in_place, Storage to,
                             const Settings& settings) {
    const int threads = threads_for(size * kernel.cost, settings);
    const ptrdiff_t most = settings.streaming_costs[kernel.item_bytes == sizeof(double)];
    return {threads, !in_place && size * STORAGE_BYTES[to] >= settings.streaming_bytes &&
                             kernel.cost <= most * threads};
}

// What other compiled modules (and, by cimport, other people's) need to run a kernel.
struct Runner {
    const Kernel* kernels;  // [index of the table's kernel][FLOAT32, FLOAT64]
    void (*run)(const Kernel& kernel, char* const* args, ptrdiff_t n, const ptrdiff_t* steps);
    float (*one_float)(const Kernel& kernel, const float* inputs);
    double (*one_double)(const Kernel& kernel, const double* inputs);
};
static const char RUNNER_NAME[] = "fastrelu.kernels.runner";
