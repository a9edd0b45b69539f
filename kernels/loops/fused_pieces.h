// One piece of a fused pass, in a loop of all steps or step by step; and how its results come to where they
// belong.
#pragma once
#include "loops/fused_exports.h"
#include "loops/run.h"

enum {
    PORTION = 2048,      // bytes of a piece in what the kernel computes in
    SHORTEST_RUN = 256,  // a shorter inner axis is taken by columns
    RUN = 8192,          // elements of a task along a run
    TILE = 4096,         // columns whose sums stay in the second-level cache
    BAND = 65536,        // least elements of a task, and the most bands: their sums are added up at the end
    MOST_BANDS = 128,
    WIDE = 64,   // columns from which on a row is not too short by itself
    WHOLE = 16,  // columns that are whole registers of any instruction set
    RING = 64    // sums of a run, so that additions need not wait
};

struct Fused {
    const Kernel* kernel;  // what it computes in is what everything else does, too
    const FusedSteps *steps, *doubles;
    void (*loop)(const FusedRows&);  // of all steps in one, or null
    bool applies;                    // else there is no activation: y is x
    Storage storage;                 // of the arrays
    const char *x, *dy;              // dy: of a gradient
    const char* residual;            // each of these may be null
    char* out;
    const char* bias;  // a value for each channel
    double before;     // what x is multiplied by first
    int parameters;
    const char* parameter[MAX_INPUTS];
    bool varies[MAX_INPUTS];  // one of them may have a value for each channel; else it is one number
    bool drops;
    Kernel drawing;  // the same kernel with the draws
    double limit, factor;
    uint8_t* bits;        // written forward, read by a gradient without a kernel
    const Kernel* slope;  // the gradient that they are told from
    double told, other;   // what they tell of f', and what f' is where they are not set
    bool where_equal;     // they are set where it is `told`; else where it is not
    ptrdiff_t outer, kept, inner;
    // Of each channel, where asked for: the sum of what the kernel gives in two parts, and how many are
    // positive.
    double *high, *low, *counted;
    const SumBlocks* learned;  // likewise the sum of a gradient's terms of a learned parameter, or null
    double *learned_high, *learned_low;
    // filled in by `run_fused`
    bool streaming;
    ptrdiff_t pieces, columns, width, band_rows, tiles;
    Tallies partial, learned_partial;
};

static inline bool in_pairs(const Fused& s) { return s.kernel->computes_in == FLOAT64; }

static inline ptrdiff_t portion(const Fused& s) { return PORTION / s.kernel->item_bytes; }
// Whether results need no conversion.
static inline bool is_direct(const Fused& s) { return s.out && s.storage == s.kernel->computes_in; }
// Whether a loop needs nothing but the arrays themselves.
static inline bool loops_freely(const Fused& s) { return s.loop && is_direct(s) && !s.drops; }
// Where results go past the cache: elements up to the first line.
static inline ptrdiff_t to_line(const Fused& s, ptrdiff_t element) {
    const int bytes = s.kernel->item_bytes;
    return s.streaming && is_direct(s) ? (-(uintptr_t)(s.out + element * bytes) & (LINE - 1)) / bytes : 0;
}

// What a thread works in.
struct Room {
    alignas(64) char x[PORTION], dy[PORTION], draws[PORTION], last[PORTION], result[PORTION];
    alignas(64) char bias[TILE * 8 + LINE], parameter[TILE * 8 + LINE];  // for each column
    alignas(64) char splats[MAX_INPUTS][MAX_REGISTER];                   // registers of one value
    enum { COLUMNS = TILE + MAX_REGISTER / 4 };
    alignas(64) double high[COLUMNS], low[COLUMNS], counts[COLUMNS], learned_high[COLUMNS],
            learned_low[COLUMNS];
    alignas(64) char line[LINE];  // the begin of one, which goes to `line_to`
    char* line_to;
    ptrdiff_t waiting = 0;
};

// The sums from `column` on, as many as are asked for.
static Tallies tallies_at(const Fused& s, Room& room, ptrdiff_t column, ptrdiff_t ring) {
    return {s.high ? room.high + column : nullptr, room.low + column,
            s.counted ? room.counts + column : nullptr, ring};
}
// Those of a learned parameter.
static Tallies learned_at(Room& room, ptrdiff_t column) {
    return {room.learned_high + column, room.learned_low + column, nullptr, -1};
}
static void clear_tallies(const Fused& s, Room& room, ptrdiff_t width) {
    const size_t zeros = (width + MAX_REGISTER / 4) * sizeof(double);
    if (s.high) memset(room.high, 0, zeros);
    if (s.high && in_pairs(s)) memset(room.low, 0, zeros);
    if (s.counted) memset(room.counts, 0, zeros);
    if (s.learned) memset(room.learned_high, 0, zeros), memset(room.learned_low, 0, zeros);
}

// The bias and the parameters of a piece: of its one channel, or for each element, a column from `column` on.
struct Values {
    const char* bias;
    const char* parameter[MAX_INPUTS];
    bool one;
    ptrdiff_t column;
};

// n elements of an array as the kernel computes: where they are, or in `buffer`.
static const char* taken(const Fused& s, const char* array, ptrdiff_t element, ptrdiff_t n, char* buffer) {
    const int bytes = STORAGE_BYTES[s.storage];
    const char* const place = array + element * bytes;
    if (s.storage == s.kernel->computes_in) return place;
    packer(*s.kernel, s.storage)(buffer, s.kernel->item_bytes, place, bytes, n);
    return buffer;
}

// Past the cache, in whole lines: a part of one waits for the piece that goes on where this one ends, for an
// ordinary store would hold up all that follow until its line has come from memory.
static void end_line(Room& room) {
    memcpy(room.line_to, room.line, room.waiting);
    room.waiting = 0;
}
static void stream_piece(const Fused& s, Room& room, char* to, const char* from, ptrdiff_t bytes) {
    if (room.waiting && to != room.line_to + room.waiting) end_line(room);
    if (room.waiting) {
        const ptrdiff_t most = LINE - room.waiting, taken = bytes < most ? bytes : most;
        memcpy(room.line + room.waiting, from, taken);
        room.waiting += taken, to += taken, from += taken, bytes -= taken;
        if (room.waiting < LINE) return;
        s.steps->stream(room.line_to, room.line, LINE);
        room.waiting = 0;
    }
    ptrdiff_t head = -(uintptr_t)to & (LINE - 1);
    if (head > bytes) head = bytes;
    const ptrdiff_t end = head + (bytes - head) / LINE * LINE;
    memcpy(to, from, head);
    s.steps->stream(to + head, from + head, end - head);
    room.waiting = bytes - end;
    room.line_to = to + end;
    memcpy(room.line, from + end, room.waiting);
}

static void put_back(const Fused& s, ptrdiff_t element, const char* from, ptrdiff_t n, Room& room) {
    const int bytes = STORAGE_BYTES[s.storage];
    char* const to = s.out + element * bytes;
    if (s.storage != s.kernel->computes_in) {
        char* const narrow = s.streaming ? room.x : to;
        unpacker(*s.kernel, s.storage)(narrow, bytes, from, s.kernel->item_bytes, n);
        if (s.streaming) stream_piece(s, room, to, narrow, n * bytes);
    } else if (s.streaming) {
        stream_piece(s, room, to, from, n * bytes);
    }
}

// `dy` may be null; as the first of a gradient's arrays it may be one number.
static void run_kernel(const Fused& s, const Kernel& kernel, const char* dy, bool dy_is_one, const char* x,
                       const Values& values, char* to, ptrdiff_t n) {
    const int bytes = kernel.item_bytes;
    Row row;
    int j = 0;
    if (dy) row.data[j] = (char*)dy, row.steps[j++] = dy_is_one ? 0 : bytes;
    row.data[j] = (char*)x, row.steps[j++] = bytes;
    for (int k = 0; j < kernel.inputs; k++, j++) {
        row.steps[j] = s.varies[k] && !values.one ? bytes : 0;
        row.data[j] = (char*)values.parameter[k] + values.column * row.steps[j];
    }
    row.data[j] = to, row.steps[j] = bytes;
    run_contiguous(kernel, row, n);
}

static void keep_bits(const Fused& s, ptrdiff_t element, const char* x, const Values& values, ptrdiff_t n,
                      Room& room) {
    const float one = 1;
    const double one_in_double = 1;
    const char* const dy = s.kernel->computes_in == FLOAT64 ? (const char*)&one_in_double : (const char*)&one;
    run_kernel(s, *s.slope, dy, true, x, values, room.dy, n);
    s.steps->to_bits(s.bits + element / 8, room.dy, s.told, s.where_equal, n);
}

// A register of one value, whatever its length.
static void splat(const Fused& s, const char* value, char* to) {
    const int bytes = s.kernel->item_bytes;
    for (int at = 0; at < MAX_REGISTER; at += bytes) memcpy(to + at, value, bytes);
}

// The terms of a learned parameter's gradient, to columns as `tallies` has them or all to one sum.
static void add_learned(const Fused& s, const char* dy, const char* x, const Values& values, ptrdiff_t n,
                        Room& room, const Tallies& tallies) {
    const int bytes = s.kernel->item_bytes;
    Operands o;
    o.in[0] = dy, o.in[1] = x;
    o.advance[0] = o.advance[1] = s.kernel->lanes;
    for (int k = 0; k < s.parameters; k++) {
        const bool each = s.varies[k] && !values.one;
        if (!each) splat(s, values.parameter[k], room.splats[k]);
        o.in[2 + k] = each ? values.parameter[k] + values.column * bytes : room.splats[k];
        o.advance[2 + k] = each ? s.kernel->lanes : 0;
    }
    const Tallies to = learned_at(room, tallies.ring < 0 ? values.column : 0);
    if (tallies.ring < 0) return s.learned->columns(o, n, to.high, to.low);
    const Pair sum = Pair{*to.high, *to.low} + s.learned->along(o, n);
    *to.high = sum.high, *to.low = sum.low;
}

// One piece, step by step.
static void run_steps(const Fused& s, ptrdiff_t element, ptrdiff_t n, const Values& values, Room& room,
                      const Tallies& tallies) {
    const bool direct = is_direct(s) && !s.streaming;
    const bool goes_on = !s.dy && (s.drops || s.residual);  // after the activation
    char* const last = direct ? s.out + element * s.kernel->item_bytes : goes_on ? room.last : room.result;
    const char* x = taken(s, s.x, element, n, s.applies ? room.x : room.result);
    if (s.bias) {
        s.steps->add(room.x, x, values.bias + values.column * s.kernel->item_bytes, values.one, n);
        x = room.x;
    } else if (s.before != 1) {
        s.steps->scale(room.x, x, s.before, n);
        x = room.x;
    }
    if (s.drops) make_draws(s.drawing, room.draws, element, n);
    const char* dy = s.dy ? taken(s, s.dy, element, n, room.dy) : nullptr;
    if (s.dy && s.drops) {
        s.steps->drop(room.dy, dy, room.draws, s.limit, s.factor, n);
        dy = room.dy;
    }
    if (s.learned) add_learned(s, dy, x, values, n, room, tallies);
    if (s.slope) keep_bits(s, element, x, values, n, room);
    char* const to = goes_on ? room.result : last;
    if (s.applies) run_kernel(s, *s.kernel, dy, false, x, values, to, n);
    else if (s.bits) s.steps->by_bits(to, x, s.bits + element / 8, s.other, n);
    if (s.high) s.steps->tally(s.applies ? to : x, n, tallies);
    const char* y = to;
    if (goes_on && s.drops) {  // the residual may lie where the result goes
        char* const dropped = s.residual ? room.x : last;
        s.steps->drop(dropped, y, room.draws, s.limit, s.factor, n);
        y = dropped;
    }
    if (s.residual) s.steps->add(last, y, taken(s, s.residual, element, n, room.dy), false, n);
    if (s.out && !direct) put_back(s, element, last, n, room);
}

// Whole registers of some rows, in one loop, which ends where the result goes, or in a piece from where that
// is put back; of a single row unless that `loops_freely`.
static void run_loop(const Fused& s, ptrdiff_t element, ptrdiff_t rows, ptrdiff_t pitch, ptrdiff_t n,
                     const Values& values, Room& room, const Tallies& tallies, bool direct) {
    const Kernel& kernel = *s.kernel;
    const int bytes = kernel.item_bytes;
    FusedRows r;
    r.x = taken(s, s.x, element, n, room.x);
    r.dy = s.dy ? taken(s, s.dy, element, n, room.dy) : nullptr;
    r.residual = s.residual ? taken(s, s.residual, element, n, room.last) : nullptr;
    r.draws = s.drops ? room.draws : nullptr;
    if (s.drops) make_draws(s.drawing, room.draws, element, n);
    for (int k = 0; k <= s.parameters; k++) {
        const char* const value = k ? values.parameter[k - 1] : values.bias;
        const bool each = !values.one && (!k || s.varies[k - 1]);
        if (!value) continue;
        if (!each) splat(s, value, room.splats[k]);
        r.values[k] = each ? value + values.column * bytes : room.splats[k];
        r.advance[k] = each ? kernel.lanes : 0;
    }
    r.before = s.before, r.limit = s.limit, r.factor = s.factor;
    r.out = direct ? s.out + element * bytes : room.result;
    r.past_cache = direct && s.streaming;
    r.tallies = tallies;
    r.rows = rows, r.registers = n / kernel.lanes, r.pitch = pitch;
    s.loop(r);
    if (!direct) put_back(s, element, room.result, n, room);
}

// Columns `from` to `end` of one row, the first of which is `element`.
static void run_row_of(const Fused& s, ptrdiff_t element, ptrdiff_t from, ptrdiff_t end, Values values,
                       Room& room, ptrdiff_t ring) {
    // elements meet the sums of a run by whole registers, so where it is cut must not follow the lines
    const bool direct = is_direct(s) && !(values.one && to_line(s, element));
    const ptrdiff_t most = loops_freely(s) && direct ? end : portion(s);
    const ptrdiff_t whole = s.streaming ? LINE / s.kernel->item_bytes : s.kernel->lanes;
    for (ptrdiff_t n, column = from; column < end; column += n, element += n) {
        const ptrdiff_t left = end - column, head = s.loop && direct ? to_line(s, element) : 0;
        n = head ? head : most;
        if (n > left) n = left;
        const bool loops = s.loop && !head && n >= whole;
        if (loops) n -= n % whole;
        values.column = values.one ? 0 : column;
        const Tallies tallies = tallies_at(s, room, column & ring, ring);
        if (loops) run_loop(s, element, 1, 0, n, values, room, tallies, direct);
        else run_steps(s, element, n, values, room, tallies);
    }
}
