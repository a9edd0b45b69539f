// An activation or its gradient together with what surrounds it in a training step, in one pass over memory:
//
//   forward    y  = residual + dropout(f(x + bias))
//   gradient   dx = dropout(dy) f'(x + bias), and its sum over each channel
//   activity   how often y > 0 in each channel, and its sum; by itself, or of f(x + bias) on the way
//   masks      one bit an element of a single run: where f' is 1 and not its other value.  It is told from
//              the gradient of dy = 1, computed in the cache; later dx = dy or other * dy by the bits alone
//
// Work goes piece by piece, each so short that the steps between two kernels meet it in the first-level
// cache; the activation is its ordinary block.  Arrays are contiguous, their axes `outer` x `kept` x `inner`,
// with a channel for each of the second.  As in sums.h, what is added to what depends on these numbers only:
//
//   inner is long     a task is a part of one run along it, whose channel is one
//   inner is short    a task is a band of the matrix of outer rows and kept * inner columns, a tile of it
//                     wide; its rows are walked through in their order, narrow ones several at a time
#pragma once
#include <stdlib.h>

#include "loops/fused_exports.h"
#include "loops/pool.h"
#include "loops/run.h"

enum {
    PORTION = 4096,      // bytes of a piece in what the kernel computes in
    SHORTEST_RUN = 256,  // a shorter inner axis is taken by columns
    RUN = 8192,          // elements of a task along a run
    TILE = 4096,         // columns whose sums stay in the second-level cache
    BAND = 65536,        // least elements of a task, and the most bands: their sums are added up at the end
    MOST_BANDS = 128,
    TOGETHER = 8  // rows whose columns are summed at once
};

// Rows of numbers: the high and the low parts of sums, and counts. Of floats there are no low parts.
struct Tallies {
    double *high, *low, *counts;
};

struct Fused {
    const Kernel* kernel;  // what it computes in is what everything else does, too
    const FusedBlocks *blocks, *doubles;
    bool applies;          // else there is no activation: y is x
    Storage storage;       // of the arrays
    const char *x, *dy;    // dy: of a gradient
    const char* residual;  // each of these may be null
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
    // filled in by `run_fused`
    bool streaming;
    ptrdiff_t pieces, columns, width, band_rows, tiles;
    Tallies partial;
};

static inline bool in_pairs(const Fused& s) { return s.kernel->computes_in == FLOAT64; }

static inline ptrdiff_t portion(const Fused& s) { return PORTION / s.kernel->item_bytes; }
// Of a band, whose sums do not depend on it: a processor that waits for memory sees beyond a short piece.
static inline ptrdiff_t piece_of_band(const Fused& s) { return portion(s) / (s.streaming ? 2 : 1); }

// What a thread works in.
struct Room {
    alignas(64) char x[PORTION], dy[PORTION], draws[PORTION], last[PORTION], result[TOGETHER][PORTION];
    alignas(64) char bias[TILE * 8], parameter[TILE * 8];  // for each column
    enum { COLUMNS = TILE + MAX_REGISTER / 4 };
    alignas(64) double high[COLUMNS], low[COLUMNS], counts[COLUMNS];
    alignas(64) char line[LINE];  // the begin of one, which goes to `line_to`
    char* line_to;
    ptrdiff_t waiting = 0;
};

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
static void stream_piece(Room& room, char* to, const char* from, ptrdiff_t bytes) {
    if (room.waiting && to != room.line_to + room.waiting) end_line(room);
    if (room.waiting) {
        const ptrdiff_t most = LINE - room.waiting, taken = bytes < most ? bytes : most;
        memcpy(room.line + room.waiting, from, taken);
        room.waiting += taken, to += taken, from += taken, bytes -= taken;
        if (room.waiting < LINE) return;
        stream_lines(room.line_to, room.line, LINE);
        room.waiting = 0;
    }
    ptrdiff_t head = -(uintptr_t)to & (LINE - 1);
    if (head > bytes) head = bytes;
    const ptrdiff_t end = head + (bytes - head) / LINE * LINE;
    memcpy(to, from, head);
    for (ptrdiff_t i = head; i < end; i += 16)
        _mm_stream_si128((__m128i*)(to + i), _mm_loadu_si128((const __m128i*)(from + i)));
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
        if (s.streaming) stream_piece(room, to, narrow, n * bytes);
    } else if (s.streaming) {
        stream_piece(room, to, from, n * bytes);
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
    s.blocks->to_bits(s.bits + element / 8, room.dy, s.told, s.where_equal, n);
}

// One piece; returns what is to be summed of it, which stays until as many others as there are slots are
// done.
static const char* run_piece(const Fused& s, ptrdiff_t element, ptrdiff_t n, const Values& values, Room& room,
                             int slot) {
    const bool direct = s.out && !s.streaming && s.storage == s.kernel->computes_in;
    const bool goes_on = !s.dy && (s.drops || s.residual);  // after the activation
    char* const last = direct    ? s.out + element * s.kernel->item_bytes
                       : goes_on ? room.last
                                 : room.result[slot];
    const char* x = taken(s, s.x, element, n, s.applies ? room.x : room.result[slot]);
    if (s.bias) {
        s.blocks->add(room.x, x, values.bias + values.column * s.kernel->item_bytes, values.one, n);
        x = room.x;
    } else if (s.before != 1) {
        s.blocks->scale(room.x, x, s.before, n);
        x = room.x;
    }
    if (s.drops) make_draws(s.drawing, room.draws, element, n);
    const char* dy = s.dy ? taken(s, s.dy, element, n, room.dy) : nullptr;
    if (s.dy && s.drops) {
        s.blocks->drop(room.dy, dy, room.draws, s.limit, s.factor, n);
        dy = room.dy;
    }
    if (s.slope) keep_bits(s, element, x, values, n, room);
    char* const to = goes_on ? room.result[slot] : last;
    if (s.applies) run_kernel(s, *s.kernel, dy, false, x, values, to, n);
    else if (s.bits) s.blocks->by_bits(to, x, s.bits + element / 8, s.other, n);
    const char* y = to;
    if (goes_on && s.drops) {  // the residual may lie where the result goes
        char* const dropped = s.residual ? room.x : last;
        s.blocks->drop(dropped, y, room.draws, s.limit, s.factor, n);
        y = dropped;
    }
    if (s.residual) s.blocks->add(last, y, taken(s, s.residual, element, n, room.dy), false, n);
    if (s.out && !direct) put_back(s, element, last, n, room);
    return s.applies ? to : x;
}

// A part of a run.
static void fuse_run(const Fused& s, ptrdiff_t task, Room& room) {
    const int bytes = s.kernel->item_bytes;
    const ptrdiff_t run = task / s.pieces, channel = run % s.kept;
    Values values;
    values.one = true, values.column = 0;
    values.bias = s.bias + (s.bias ? channel * bytes : 0);
    for (int k = 0; k < s.parameters; k++)
        values.parameter[k] = s.parameter[k] + (s.varies[k] ? channel * bytes : 0);
    ptrdiff_t at = task % s.pieces * RUN, end = at + RUN < s.inner ? at + RUN : s.inner;
    Pair sum = {0, 0};
    ptrdiff_t positive = 0;
    for (ptrdiff_t n; at < end; at += n) {
        n = end - at < portion(s) ? end - at : portion(s);
        const char* const y = run_piece(s, run * s.inner + at, n, values, room, 0);
        if (s.high) sum = sum + s.blocks->sum(y, n);
        if (s.counted) positive += s.blocks->count(y, n);
    }
    if (s.high) s.partial.high[task] = sum.high, s.partial.low[task] = sum.low;
    if (s.counted) s.partial.counts[task] = (double)positive;
}

// The channels' values for columns from `first` on.
static void spread_out(const Fused& s, const char* values, ptrdiff_t first, ptrdiff_t width, char* to) {
    const int bytes = s.kernel->item_bytes;
    if (s.inner == 1) {  // whole rows, side by side
        for (ptrdiff_t i = 0; i < width; i += s.kept) memcpy(to + i * bytes, values, s.kept * bytes);
        return;
    }
    ptrdiff_t channel = first % s.columns / s.inner, left = s.inner - first % s.inner;
    for (ptrdiff_t i = 0; i < width; i++, left--) {
        if (!left) left = s.inner, channel = channel + 1 == s.kept ? 0 : channel + 1;
        memcpy(to + i * bytes, values + channel * bytes, bytes);
    }
}

// What is at hand for each column is used where it is.
static const char* for_columns(const Fused& s, const char* values, ptrdiff_t first, ptrdiff_t width,
                               char* room) {
    if (s.inner == 1 && width <= s.columns - first) return values + first * s.kernel->item_bytes;
    spread_out(s, values, first, width, room);
    return room;
}

// n sums to others, each to its own.
static void add_sums(const Fused& s, const Tallies& to, const Tallies& from, ptrdiff_t n) {
    if (!in_pairs(s)) {
        s.doubles->add(to.high, to.high, from.high, false, n);
    } else {
        for (ptrdiff_t i = 0; i < n; i++) {
            const Pair sum = Pair{to.high[i], to.low[i]} + Pair{from.high[i], from.low[i]};
            to.high[i] = sum.high, to.low[i] = sum.low;
        }
    }
    if (s.counted) s.doubles->add(to.counts, to.counts, from.counts, false, n);
}

// A band: some rows of one tile of columns.
static void fuse_band(const Fused& s, ptrdiff_t task, Room& room) {
    const ptrdiff_t band = task / s.tiles, first_column = task % s.tiles * TILE;
    const ptrdiff_t rest = s.columns - first_column;
    const ptrdiff_t width = s.tiles == 1 ? s.width : rest < TILE ? rest : TILE;
    const ptrdiff_t end = s.outer * s.columns, pitch = s.tiles == 1 ? s.width : s.columns;
    Values values;
    values.one = false;
    values.bias = s.bias ? for_columns(s, s.bias, first_column, width, room.bias) : nullptr;
    for (int k = 0; k < s.parameters; k++)
        values.parameter[k] = s.varies[k]
                                      ? for_columns(s, s.parameter[k], first_column, width, room.parameter)
                                      : s.parameter[k];
    const size_t zeros = (width + MAX_REGISTER / 4) * sizeof(double);
    if (s.high) memset(room.high, 0, zeros);
    if (s.high && in_pairs(s)) memset(room.low, 0, zeros);
    if (s.counted) memset(room.counts, 0, zeros);
    ptrdiff_t element = band * s.band_rows * s.columns + first_column;
    ptrdiff_t last = (band + 1) * s.band_rows * s.columns;
    if (last > end) last = end;
    const int bytes = STORAGE_BYTES[s.storage];
    const bool begins_lines = ((uintptr_t)s.out | (s.columns * bytes)) % LINE == 0;
    const int most = s.streaming && !begins_lines ? 1 : TOGETHER;  // so that pieces lie side by side
    while (element < last) {
        ptrdiff_t count = last - element < width ? last - element : width;  // the last row may be shorter
        int rows = 1;
        while (count == width && rows < most && element + rows * pitch + width <= last) rows++;
        for (values.column = 0; values.column < count; values.column += piece_of_band(s)) {
            const ptrdiff_t left = count - values.column;
            const ptrdiff_t n = left < piece_of_band(s) ? left : piece_of_band(s);
            const void* y[TOGETHER];
            for (int k = 0; k < rows; k++)
                y[k] = run_piece(s, element + k * pitch + values.column, n, values, room, k);
            double* const high = room.high + values.column;
            if (s.high) s.blocks->sum_columns(y, rows, n, high, room.low + values.column);
            if (s.counted) s.blocks->count_columns(y, rows, n, room.counts + values.column);
        }
        element += rows * pitch;
    }
    if (!s.high) return;
    const ptrdiff_t to = band * s.columns + first_column, own = width < s.columns ? width : s.columns;
    for (ptrdiff_t j = s.columns; j < width; j += s.columns) {  // narrow rows, side by side
        add_sums(s, {room.high, room.low, room.counts}, {room.high + j, room.low + j, room.counts + j}, own);
    }
    memcpy(s.partial.high + to, room.high, own * sizeof(double));
    if (in_pairs(s)) memcpy(s.partial.low + to, room.low, own * sizeof(double));
    if (s.counted) memcpy(s.partial.counts + to, room.counts, own * sizeof(double));
}

static void share_fused(void* work, int index, int parts) {
    const Fused& s = *(const Fused*)work;
    const SilentFlags silent;
    const ptrdiff_t tasks = s.pieces * (s.columns ? s.tiles : s.outer * s.kept);
    Room room;
    for (ptrdiff_t task = tasks * index / parts; task < tasks * (index + 1) / parts; task++)
        s.columns ? fuse_band(s, task, room) : fuse_run(s, task, room);
    if (room.waiting) end_line(room);
    if (s.streaming) _mm_sfence();
}

// The tallies of the channels from those of their parts, in the order of the elements.
static void add_parts(const Fused& s) {
    const Tallies& p = s.partial;
    if (s.columns)
        for (ptrdiff_t band = 1, at = s.columns; band < s.pieces; band++, at += s.columns)
            add_sums(s, p, {p.high + at, p.low + at, p.counts + at}, s.columns);
    if (s.columns == s.kept && !in_pairs(s)) {
        memcpy(s.high, p.high, s.kept * sizeof(double));
        memset(s.low, 0, s.kept * sizeof(double));
        if (s.counted) memcpy(s.counted, p.counts, s.kept * sizeof(double));
        return;
    }
    const ptrdiff_t outer = s.columns ? 1 : s.outer, inner = s.columns ? s.inner : s.pieces;
    for (ptrdiff_t channel = 0; channel < s.kept; channel++) {
        Pair sum = {0, 0};
        double positive = 0;
        for (ptrdiff_t i = 0; i < outer; i++)
            for (ptrdiff_t j = 0; j < inner; j++) {
                const ptrdiff_t part = (i * s.kept + channel) * inner + j;
                sum = sum + Pair{p.high[part], in_pairs(s) ? p.low[part] : 0};
                if (s.counted) positive += p.counts[part];
            }
        s.high[channel] = sum.high, s.low[channel] = sum.low;
        if (s.counted) s.counted[channel] = positive;
    }
}

// Everything but what it fills in must be there; none of the three lengths is 0.  False: no memory.
static bool run_fused(Fused& s, const Settings& settings) {
    const ptrdiff_t size = s.outer * s.kept * s.inner;
    if (s.inner < SHORTEST_RUN) {
        s.columns = s.kept * s.inner;
        ptrdiff_t together = s.columns < portion(s) ? portion(s) / s.columns : 1;  // rows
        if (together > s.outer) together = s.outer;
        s.width = together * s.columns;
        s.tiles = (s.columns + TILE - 1) / TILE;
        const ptrdiff_t enough = (BAND + s.columns - 1) / s.columns, least = (s.outer - 1) / MOST_BANDS + 1;
        s.band_rows = ((enough > least ? enough : least) + together - 1) / together * together;
        s.pieces = (s.outer + s.band_rows - 1) / s.band_rows;
    } else {
        s.columns = 0;
        s.pieces = (s.inner + RUN - 1) / RUN;
    }
    const ptrdiff_t partials = s.pieces * (s.columns ? s.columns : s.outer * s.kept);
    double* const parts = s.high ? (double*)malloc(3 * partials * sizeof(double)) : nullptr;
    if (s.high && !parts) return false;
    s.partial = {parts, parts + partials, parts + 2 * partials};
    const bool in_place = !s.out || s.out == s.x || s.out == s.dy || s.out == s.residual;
    s.streaming = make_plan(*s.kernel, size, in_place, s.storage, settings).streaming;
    const int threads = threads_for(size * (s.kernel->cost + (s.drops ? 8 : 1)), settings);
    if (threads > 1) run_in_parallel(share_fused, &s, threads, settings.processors);
    else share_fused(&s, 0, 1);
    if (s.high) {
        const SilentFlags silent;
        add_parts(s);
        free(parts);
    }
    return true;
}
