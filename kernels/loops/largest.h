// The largest of a few entries that follow each other along an axis, the first of equals, and which it is.
//
// Entry by entry over a chunk of results: each pass compares contiguous lanes with the largest so far.  A NaN
// is larger than any number, and the first one stays.
#pragma once
#include "loops/strided.h"

struct Largest {
    const Kernel* kernel;       // for its conversions, and what it computes in
    Kernel stand;               // what the grid takes for its kernel
    Grid grid;                  // of x and dx the first entries only
    int pieces;                 // entries
    ptrdiff_t step_x, step_dx;  // bytes from one to the next
    // Their places among the operands, or -1: x and y, perhaps with which; or dy, x or which, and dx.
    int x, which, y, dy, dx;
};

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3")
#endif

template<class T> struct SameWidth;
template<> struct SameWidth<float> {
    typedef int32_t type;
};
template<> struct SameWidth<double> {
    typedef int64_t type;
};

template<class T, class I>
static void compare(T* __restrict most, I* __restrict which, const T* __restrict x, I entry, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const T a = most[i], b = x[i];
        const bool larger = (b > a) | ((b != b) & (a == a));
        most[i] = larger ? b : a;
        which[i] = larger ? entry : which[i];
    }
}

template<class T, class I> static void pass_on(T* __restrict dx, const T* __restrict dy,
                                               const I* __restrict which, I entry, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) dx[i] = which[i] == entry ? dy[i] : (T)0;
}

template<class To, class From> static void recount(char* to, ptrdiff_t step, const From* from, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) *(To*)(to + i * step) = (To)from[i];
}
template<class To, class From> static void count_of(To* to, const char* from, ptrdiff_t step, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) to[i] = (To) * (const From*)(from + i * step);
}

template<class I> static bool all_below(const I* counts, ptrdiff_t n, size_t limit) {
    I most = 0;
    for (ptrdiff_t i = 0; i < n; i++) most = counts[i] > most ? counts[i] : most;
    return n == 0 || most < limit;
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

template<class I> static void put_counts(Storage type, char* to, ptrdiff_t step, const I* from, ptrdiff_t n) {
    if (type == UINT8) recount<uint8_t>(to, step, from, n);
    else if (type == UINT16) recount<uint16_t>(to, step, from, n);
    else recount<uint32_t>(to, step, from, n);
}
template<class I>
static void take_counts(Storage type, I* to, const char* from, ptrdiff_t step, ptrdiff_t n) {
    if (type == UINT8) count_of<I, uint8_t>(to, from, step, n);
    else if (type == UINT16) count_of<I, uint16_t>(to, from, step, n);
    else count_of<I, uint32_t>(to, from, step, n);
}

static bool counts_below(Storage type, const void* counts, ptrdiff_t n, size_t limit) {
    if (type == UINT8) return all_below((const uint8_t*)counts, n, limit);
    return all_below((const uint16_t*)counts, n, limit);
}

template<class T> static void run_largest_rows(const Largest& t, ptrdiff_t first, ptrdiff_t end) {
    typedef typename SameWidth<T>::type I;
    alignas(LINE) T most[CHUNK], entries[CHUNK], upstream[CHUNK];
    alignas(LINE) I which[CHUNK];
    const Grid& g = t.grid;
    const Kernel& kernel = *t.kernel;
    const int columns = g.axes - 1;
    const auto step = [&](int operand) { return g.strides[operand][columns]; };
    // a pass's operand where it lies, if that is contiguous, else packed
    const auto read = [&](int operand, char* from, T* buffer, ptrdiff_t n) -> const T* {
        if (g.types[operand] == kernel.computes_in && step(operand) == sizeof(T)) return (const T*)from;
        pack(kernel, g.types[operand], (char*)buffer, sizeof(T), from, step(operand), n);
        return buffer;
    };
    const auto write = [&](int operand, char* to, const T* from, ptrdiff_t n) {
        unpacker(kernel, g.types[operand])(to, step(operand), (const char*)from, sizeof(T), n);
    };
    const bool side_by_side = t.dx >= 0 && g.types[t.dx] == kernel.computes_in && t.step_dx == sizeof(T) &&
                              step(t.dx) == t.pieces * t.step_dx;
    Walk walk(g, first);
    char* data[MAX_INPUTS + 1];
    for (ptrdiff_t n; first < end; first += n) {
        n = walk.next(end - first < CHUNK ? end - first : CHUNK, data);
        if (t.x >= 0) {
            memcpy(most, read(t.x, data[t.x], entries, n), n * sizeof(T));
            memset(which, 0, n * sizeof(I));
            for (int entry = 1; entry < t.pieces; entry++) {
                char* const at = data[t.x] + entry * t.step_x;
                compare(most, which, read(t.x, at, entries, n), (I)entry, n);
            }
        } else {
            take_counts(g.types[t.which], which, data[t.which], step(t.which), n);
        }
        if (t.y >= 0) write(t.y, data[t.y], most, n);
        if (t.dx < 0 && t.which >= 0) put_counts(g.types[t.which], data[t.which], step(t.which), which, n);
        if (t.dx < 0) continue;
        const T* const dy = read(t.dy, data[t.dy], upstream, n);
        if (side_by_side) {
            T* const dx = (T*)data[t.dx];
            memset(dx, 0, n * t.pieces * sizeof(T));
            for (ptrdiff_t i = 0; i < n; i++) dx[i * t.pieces + which[i]] = dy[i];
            continue;
        }
        for (int entry = 0; entry < t.pieces; entry++) {
            pass_on(entries, dy, which, (I)entry, n);
            write(t.dx, data[t.dx] + entry * t.step_dx, entries, n);
        }
    }
}

static void run_largest_share(void* work, int index, int threads) {
    const Largest& t = *(const Largest*)work;
    const SilentFlags silent;
    const ptrdiff_t chunks = (t.grid.size + CHUNK - 1) / CHUNK;
    const ptrdiff_t first = chunks * index / threads * CHUNK, end = chunks * (index + 1) / threads * CHUNK;
    const ptrdiff_t last = end < t.grid.size ? end : t.grid.size;
    if (t.kernel->computes_in == FLOAT64) run_largest_rows<double>(t, first, last);
    else run_largest_rows<float>(t, first, last);
}

// Of the grid, all but kernel, size, plan and the order of axes must be filled in.
static void run_largest(Largest& t, int operands, const Settings& settings) {
    Grid& g = t.grid;
    t.stand = *t.kernel;
    t.stand.inputs = operands - 1;
    t.stand.cost = 2 * t.pieces * t.kernel->item_bytes / 4;
    g.kernel = &t.stand;
    g.size = 1;
    for (int a = 0; a < g.axes; a++) g.size *= g.shape[a];
    if (g.size == 0) return;
    simplify(g);
    g.plan = make_plan(t.stand, g.size, true, g.types[operands - 1], settings);
    if (g.plan.threads > 1) run_in_parallel(run_largest_share, &t, g.plan.threads, settings.processors);
    else run_largest_share(&t, 0, 1);
}
