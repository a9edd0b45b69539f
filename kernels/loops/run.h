// Runs a block along one axis: splits, packs, pads and streams.
//
// Every element goes through the block in a full register, the last partial one by way of a padded
// buffer, so its bits do not depend on where it lies.  Compiled for the baseline: no formula is here.
#pragma once
#include <emmintrin.h>
#include <string.h>

#include "loops/plan.h"

enum { MAX_REGISTER = 64, LINE = 64, CHUNK = 512 };  // CHUNK elements of each operand stay in cache
enum { WORTH_ALIGNING = 8192 };                      // bytes; so long rows repay a partial register more

// The operands of a call along one axis; the result is the last.
struct Row {
    char* data[MAX_INPUTS + 1];
    ptrdiff_t steps[MAX_INPUTS + 1];
    Storage types[MAX_INPUTS + 1];
};

// Exceptions that a formula raises on the way to a right result (exp underflows, inf - inf in a branch not
// taken) are not the caller's business: the status flags leave as they came.  Nor are the caller's rounding,
// flushing and traps the formula's: a worker has others, and bits must not depend on the thread.
class SilentFlags {
    enum : unsigned { FLAGS = 0x3f, TO_NEAREST_WITHOUT_TRAPS = 0x1f80 };
    unsigned before_;

public:
    SilentFlags() : before_(_mm_getcsr()) {
        if ((before_ & ~FLAGS) != TO_NEAREST_WITHOUT_TRAPS) _mm_setcsr(TO_NEAREST_WITHOUT_TRAPS);
    }
    ~SilentFlags() {
        if (_mm_getcsr() != before_) _mm_setcsr(before_);
    }
};

// Copies whole cache lines past the cache; `to` begins one.
static inline void stream_lines(char* to, const char* from, ptrdiff_t bytes) {
    for (ptrdiff_t i = 0; i < bytes; i += 16)
        _mm_stream_si128((__m128i*)(to + i), _mm_load_si128((const __m128i*)(from + i)));
}

// Draws number `first` and the n - 1 after it, contiguous.
static void make_draws(const Kernel& kernel, char* to, uint64_t first, ptrdiff_t n) {
    alignas(64) char group[GROUP * 8];
    const ptrdiff_t bytes = kernel.item_bytes;
    for (ptrdiff_t count; n > 0; n -= count, first += count, to += count * bytes) {
        const ptrdiff_t skipped = first % GROUP;
        count = skipped || n < GROUP ? GROUP - skipped : n / GROUP * GROUP;
        if (count <= n && !skipped) {
            kernel.generator(to, first / GROUP, count / GROUP, kernel.key);
            continue;
        }
        if (count > n) count = n;
        kernel.generator(group, first / GROUP, 1, kernel.key);
        memcpy(to, group + skipped * bytes, count * bytes);
    }
}

// From an operand to a buffer of what the kernel computes in; of draws, which are numbered, always in order.
static inline void pack(const Kernel& kernel, Storage type, char* to, ptrdiff_t to_step, const char* from,
                        ptrdiff_t from_step, ptrdiff_t n) {
    if (type == DRAWN) make_draws(kernel, to, (uint64_t)from, n);
    else packer(kernel, type)(to, to_step, from, from_step, n);
}

// Operands that a block can read and write where they are: its own type, contiguous or one value for all.
static inline bool needs_no_packing(const Kernel& kernel, const Row& row) {
    for (int j = 0; j <= kernel.inputs; j++) {
        if (row.types[j] == DRAWN) continue;
        if (row.types[j] != kernel.computes_in) return false;
        if (row.steps[j] != kernel.item_bytes && (row.steps[j] != 0 || j == kernel.inputs)) return false;
    }
    return true;
}

// At most a register, without a call: the last pieces overlap.
static inline void copy_short(char* to, const char* from, ptrdiff_t bytes) {
    if (bytes >= 16) {
        for (ptrdiff_t i = 0; i < bytes - 16; i += 16) memcpy(to + i, from + i, 16);
        memcpy(to + bytes - 16, from + bytes - 16, 16);
    } else if (bytes >= 8) {
        memcpy(to, from, 8), memcpy(to + bytes - 8, from + bytes - 8, 8);
    } else if (bytes >= 4) {
        memcpy(to, from, 4), memcpy(to + bytes - 4, from + bytes - 4, 4);
    } else {
        for (ptrdiff_t i = 0; i < bytes; i++) to[i] = from[i];
    }
}

// One register of elements from `start` on, or fewer, by way of a buffer, whose result is left there.
static inline void run_buffered(const Kernel& kernel, const Row& row, Operands o, ptrdiff_t start,
                                ptrdiff_t n, char (*buffers)[MAX_REGISTER]) {
    const int bytes = kernel.item_bytes, last = kernel.inputs;
    for (int j = 0; j < last; j++) {
        if (row.steps[j] == 0) continue;
        if (n < kernel.lanes) memset(buffers[j], 0, MAX_REGISTER);
        copy_short(buffers[j], row.data[j] + start * bytes, n * bytes);
        o.in[j] = buffers[j];
    }
    o.out = buffers[last];
    o.registers = 1;
    (*kernel.block)(o);
}

// n elements of such operands.  What whole registers leave over is computed in one that overlaps them: after
// them, or first, where writing them could change what it reads.
static void run_registers(const Kernel& kernel, const Row& row, ptrdiff_t n) {
    alignas(64) char buffers[MAX_INPUTS + 1][MAX_REGISTER];
    const Block block = *kernel.block;
    const int bytes = kernel.item_bytes, last = kernel.inputs, lanes = kernel.lanes;
    const ptrdiff_t rest = n & (lanes - 1), whole = n - rest;
    char* const out = row.data[last];
    bool beforehand = false;
    Operands o;
    o.out = out;
    for (int j = 0; j < last; j++) {
        const bool splat = row.steps[j] == 0;
        if (splat) packer(kernel, kernel.computes_in)(buffers[j], bytes, row.data[j], 0, lanes);
        beforehand |= row.data[j] < out + n * bytes && out < row.data[j] + n * bytes;
        o.in[j] = splat ? buffers[j] : row.data[j];
        o.advance[j] = splat ? 0 : lanes;
    }
    if (!whole) {
        if (!rest) return;
        run_buffered(kernel, row, o, 0, rest, buffers);
        return copy_short(out, buffers[last], rest * bytes);
    }
    if (rest && beforehand) run_buffered(kernel, row, o, n - lanes, lanes, buffers);
    o.registers = whole / lanes;
    block(o);
    if (!rest) return;
    char* const end = out + (n - lanes) * bytes;
    if (beforehand) return copy_short(end, buffers[last], lanes * bytes);
    for (int j = 0; j < last; j++)
        if (row.steps[j]) o.in[j] = row.data[j] + (n - lanes) * bytes;
    o.out = end;
    o.registers = 1;
    block(o);
}

static inline Row from_element(const Kernel& kernel, const Row& row, ptrdiff_t start) {
    Row moved = row;
    for (int j = 0; j <= kernel.inputs; j++) moved.data[j] += start * row.steps[j];
    return moved;
}

// The same with registers that lie across no lines of the result, nor of operands that begin at the same
// place in one, as those do that malloc maps: they would cost up to a fifth more.  What lies before the first
// line is computed before the rest is written, and written after the rest is computed.
static void run_contiguous(const Kernel& kernel, const Row& row, ptrdiff_t n) {
    const int bytes = kernel.item_bytes, last = kernel.inputs;
    const ptrdiff_t head = (-(uintptr_t)row.data[last] & (LINE - 1)) / bytes;
    if (head == 0 || n * bytes < WORTH_ALIGNING) return run_registers(kernel, row, n);
    alignas(LINE) char before[LINE];
    Row first = row;
    first.data[last] = before;
    run_registers(kernel, first, head);
    run_registers(kernel, from_element(kernel, row, head), n - head);
    memcpy(row.data[last], before, head * bytes);
}

// One element of each input, straight to the block: what a call with numbers costs.
template<class T> static T run_one(const Kernel& kernel, const T* inputs) {
    alignas(64) T registers[MAX_INPUTS + 1][MAX_REGISTER / sizeof(T)];
    Operands o;
    for (int j = 0; j < kernel.inputs; j++) {
        const T value = inputs[j];
        for (T& lane : registers[j]) lane = value;
        o.in[j] = registers[j];
        o.advance[j] = 0;
    }
    o.out = registers[kernel.inputs];
    o.registers = 1;
    const SilentFlags silent;
    (*kernel.block)(o);
    return registers[kernel.inputs][0];
}

// Contiguous buffers of the computing type for one chunk of every operand.
struct Buffers {
    alignas(64) char memory[MAX_INPUTS + 1][CHUNK * 8];
    Row row;

    explicit Buffers(const Kernel& kernel) {
        for (int j = 0; j <= kernel.inputs; j++) {
            row.data[j] = memory[j];
            row.steps[j] = kernel.item_bytes;
            row.types[j] = kernel.computes_in;
        }
    }
};

// Contiguous operands, the last input perhaps drawn: as it is needed, so that it never leaves the cache.
static void run_drawing(const Kernel& kernel, const Row& row, ptrdiff_t n) {
    const int drawn = kernel.inputs - 1;
    if (row.types[drawn] != DRAWN) return run_contiguous(kernel, row, n);
    alignas(64) char draws[CHUNK * 8];
    for (ptrdiff_t start = 0; start < n; start += CHUNK) {
        const ptrdiff_t count = n - start < CHUNK ? n - start : CHUNK;
        Row piece = from_element(kernel, row, start);
        make_draws(kernel, draws, (uint64_t)piece.data[drawn], count);
        piece.data[drawn] = draws;
        piece.steps[drawn] = kernel.item_bytes;
        piece.types[drawn] = kernel.computes_in;
        run_contiguous(kernel, piece, count);
    }
}

// The results of one chunk to where they belong; `streaming`, past the cache.
static inline void unpack(const Kernel& kernel, const Row& row, ptrdiff_t start, const char* from,
                          ptrdiff_t count, bool streaming) {
    const int last = kernel.inputs, bytes = STORAGE_BYTES[row.types[last]];
    const Converter to_storage = unpacker(kernel, row.types[last]);
    char* const to = row.data[last] + start * row.steps[last];
    if (!streaming || ((uintptr_t)to | (count * bytes)) % LINE)
        return to_storage(to, row.steps[last], from, kernel.item_bytes, count);
    alignas(LINE) char lines[CHUNK * 8];
    to_storage(lines, bytes, from, kernel.item_bytes, count);
    stream_lines(to, lines, count * bytes);
}

// Any strides and types: a chunk at a time through contiguous buffers.  Only whole chunks of lines stream.
static void run_packed(const Kernel& kernel, const Row& row, ptrdiff_t n, bool streaming) {
    Buffers buffers(kernel);
    const int last = kernel.inputs, bytes = STORAGE_BYTES[row.types[last]];
    streaming = streaming && row.steps[last] == bytes;
    for (int j = 0; j < last; j++)
        if (row.steps[j] == 0) buffers.row.steps[j] = 0;
    const ptrdiff_t to_line = (-(uintptr_t)row.data[last] & (LINE - 1)) / bytes;
    ptrdiff_t most = streaming && to_line ? to_line : CHUNK;  // up to the first line, then chunks of lines
    for (ptrdiff_t start = 0, count; start < n; start += count, most = CHUNK) {
        count = n - start < most ? n - start : most;
        for (int j = 0; j < last; j++)
            pack(kernel, row.types[j], buffers.row.data[j], kernel.item_bytes,
                 row.data[j] + start * row.steps[j], row.steps[j], row.steps[j] == 0 ? 1 : count);
        run_contiguous(kernel, buffers.row, count);
        unpack(kernel, row, start, buffers.row.data[last], count, streaming);
    }
}

// Contiguous, with stores that do not pull the result's old lines into the cache.  Only whole lines are
// stored so: parts of one cost several times as much, as an array whose rows begin off a line would show.
// Whoever called last must fence.
static void run_streaming(const Kernel& kernel, const Row& row, ptrdiff_t n) {
    alignas(LINE) char buffer[CHUNK * 8];
    const int last = kernel.inputs, per_line = LINE / kernel.item_bytes;
    ptrdiff_t start = (-(uintptr_t)row.data[last] & (LINE - 1)) / kernel.item_bytes;
    if (start > n) start = n;
    const ptrdiff_t end = start + (n - start) / per_line * per_line;
    run_drawing(kernel, row, start);
    for (ptrdiff_t count; start < end; start += count) {
        count = end - start < CHUNK ? end - start : CHUNK;
        Row piece = from_element(kernel, row, start);
        char* const to = piece.data[last];
        piece.data[last] = buffer;
        run_drawing(kernel, piece, count);
        stream_lines(to, buffer, count * kernel.item_bytes);
    }
    if (end < n) run_drawing(kernel, from_element(kernel, row, end), n - end);
}

// Of operands that need no packing.
static inline void run_direct(const Kernel& kernel, const Row& row, ptrdiff_t n, bool streaming) {
    if (streaming) run_streaming(kernel, row, n);
    else run_drawing(kernel, row, n);
}

static inline void run_row(const Kernel& kernel, const Row& row, ptrdiff_t n, bool streaming) {
    if (needs_no_packing(kernel, row)) run_direct(kernel, row, n, streaming);
    else run_packed(kernel, row, n, streaming);
}
