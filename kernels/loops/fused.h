// An activation or its gradient together with what surrounds it in a training step, in one pass over memory:
//
//   forward    y  = residual + dropout(f(x + bias))
//   gradient   dx = dropout(dy) f'(x + bias), and its sum over each channel
//   activity   how often y > 0 in each channel, and its sum; by itself, or of f(x + bias) on the way
//   masks      one bit an element of a single run: where f' is 1 and not its other value.  It is told from
//              the gradient of dy = 1, computed in the cache; later dx = dy or other * dy by the bits alone
//
// Where the activation is cheap, one loop takes all of it in registers.  Else work goes piece by piece, each
// so short that the steps between two kernels meet it in the first-level cache, and the activation is its
// ordinary block.  Arrays are contiguous, their axes `outer` x `kept` x `inner`, with a channel for each of
// the second.  As in sums.h, what is added to what depends on these numbers only:
//
//   inner is long     a task is a part of one run along it, whose channel is one
//   inner is short    a task is a band of the matrix of outer rows and kept * inner columns, a tile of it
//                     wide; its rows are walked through in their order, one at a time, for rows that lie a
//                     power of two apart push each other out of the cache; narrow ones side by side
#pragma once
#include <stdlib.h>

#include "loops/fused_pieces.h"
#include "loops/pool.h"

// Values of columns, and behind them once more those of the first ones.
static const char* with_begin(const char* values, ptrdiff_t width, ptrdiff_t late, int bytes, char* room) {
    if (!values) return nullptr;
    if (values != room) memcpy(room, values, width * bytes);
    memcpy(room + width * bytes, values, late * bytes);
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
    if (to.counts) s.doubles->add(to.counts, to.counts, from.counts, false, n);
}

static Tallies further_on(const Tallies& a, ptrdiff_t n) {
    return {a.high + n, a.low + n, a.counts ? a.counts + n : nullptr, a.ring};
}

// Of a task, where the tallies of all are added up.
static void keep_tallies(const Fused& s, const Tallies& to, const Tallies& sums, ptrdiff_t n) {
    memcpy(to.high, sums.high, n * sizeof(double));
    if (in_pairs(s)) memcpy(to.low, sums.low, n * sizeof(double));
    if (to.counts) memcpy(to.counts, sums.counts, n * sizeof(double));
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
    const ptrdiff_t at = task % s.pieces * RUN, n = s.inner - at < RUN ? s.inner - at : RUN;
    clear_tallies(s, room, RING);
    run_row_of(s, run * s.inner + at, 0, n, values, room, RING - 1);
    if (!s.high) return;
    const Tallies sums = tallies_at(s, room, 0, -1);
    for (ptrdiff_t half = RING / 2; half; half /= 2) add_sums(s, sums, tallies_at(s, room, half, -1), half);
    keep_tallies(s, further_on(s.partial, task), sums, 1);
    if (s.learned) keep_tallies(s, further_on(s.learned_partial, task), learned_at(room, 0), 1);
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

// Whole rows in one loop, as long as there are any up to `last`; returns where it ends.  What is stored past
// the cache must begin a line, so there each row of the loop begins as many columns later, and ends in the
// next one.
static ptrdiff_t fuse_rows(const Fused& s, ptrdiff_t element, ptrdiff_t last, ptrdiff_t width,
                           ptrdiff_t pitch, Values values, Room& room) {
    const ptrdiff_t rows = (last - element + pitch - width) / pitch, late = to_line(s, element);
    if (rows <= 0) return element;
    if (!late) {
        run_loop(s, element, rows, pitch, width, values, room, tallies_at(s, room, 0, -1), true);
        return element + rows * pitch;
    }
    const int bytes = s.kernel->item_bytes;
    run_row_of(s, element, 0, late, values, room, -1);
    values.bias = with_begin(values.bias, width, late, bytes, room.bias);
    for (int k = 0; k < s.parameters; k++)
        if (s.varies[k])
            values.parameter[k] = with_begin(values.parameter[k], width, late, bytes, room.parameter);
    // the sums of those columns, which go on behind the others
    double* const sums[] = {room.high, room.low, room.counts};
    for (double* const of : sums)
        for (ptrdiff_t i = 0; i < late; i++) of[width + i] = of[i], of[i] = 0;
    values.column = late;
    const ptrdiff_t element_of_last = element + (rows - 1) * pitch;
    run_loop(s, element + late, rows - 1, pitch, width, values, room, tallies_at(s, room, late, -1), true);
    run_row_of(s, element_of_last + late, late, width, values, room, -1);
    if (s.high) add_sums(s, tallies_at(s, room, 0, -1), tallies_at(s, room, width, -1), late);
    return element + rows * pitch;
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
    values.column = 0;
    clear_tallies(s, room, width);
    ptrdiff_t element = band * s.band_rows * s.columns + first_column;
    ptrdiff_t last = (band + 1) * s.band_rows * s.columns;
    if (last > end) last = end;
    const bool alike = !s.streaming || pitch % WHOLE == 0;  // how far their lines are
    if (loops_freely(s) && width % WHOLE == 0 && alike && (pitch == width || !to_line(s, element)))
        element = fuse_rows(s, element, last, width, pitch, values, room);
    for (; element < last; element += pitch)  // the last row may be shorter
        run_row_of(s, element, 0, last - element < width ? last - element : width, values, room, -1);
    if (!s.high) return;
    const ptrdiff_t own = width < s.columns ? width : s.columns, at = band * s.columns + first_column;
    for (ptrdiff_t j = s.columns; j < width; j += s.columns) {  // narrow rows, side by side
        add_sums(s, tallies_at(s, room, 0, -1), tallies_at(s, room, j, -1), own);
        if (s.learned) add_sums(s, learned_at(room, 0), learned_at(room, j), own);
    }
    keep_tallies(s, further_on(s.partial, at), tallies_at(s, room, 0, -1), own);
    if (s.learned) keep_tallies(s, further_on(s.learned_partial, at), learned_at(room, 0), own);
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
static void add_parts(const Fused& s, const Tallies& parts, double* high, double* low, double* counted) {
    if (s.columns)
        for (ptrdiff_t band = 1; band < s.pieces; band++)
            add_sums(s, parts, further_on(parts, band * s.columns), s.columns);
    if (s.columns == s.kept && !in_pairs(s)) {
        memcpy(high, parts.high, s.kept * sizeof(double));
        memset(low, 0, s.kept * sizeof(double));
        if (counted) memcpy(counted, parts.counts, s.kept * sizeof(double));
        return;
    }
    const ptrdiff_t outer = s.columns ? 1 : s.outer, inner = s.columns ? s.inner : s.pieces;
    for (ptrdiff_t channel = 0; channel < s.kept; channel++) {
        Pair sum = {0, 0};
        double positive = 0;
        for (ptrdiff_t i = 0; i < outer; i++)
            for (ptrdiff_t j = 0; j < inner; j++) {
                const ptrdiff_t part = (i * s.kept + channel) * inner + j;
                sum = sum + Pair{parts.high[part], in_pairs(s) ? parts.low[part] : 0};
                if (counted) positive += parts.counts[part];
            }
        high[channel] = sum.high, low[channel] = sum.low;
        if (counted) counted[channel] = positive;
    }
}

// So many rows of odd length that they are whole registers side by side, if few are enough.
static ptrdiff_t whole_rows(ptrdiff_t columns, ptrdiff_t together) {
    ptrdiff_t rows = WHOLE;
    while (rows % 2 == 0 && rows / 2 * columns % WHOLE == 0) rows /= 2;
    return rows * columns > TILE ? together : rows > together ? rows : together / rows * rows;
}

// Everything but what it fills in must be there; none of the three lengths is 0.  False: no memory.
static bool run_fused(Fused& s, const Settings& settings) {
    const ptrdiff_t size = s.outer * s.kept * s.inner;
    if (s.inner < SHORTEST_RUN) {
        s.columns = s.kept * s.inner;
        ptrdiff_t together = s.columns < portion(s) ? portion(s) / s.columns : 1;  // rows
        if (s.loop && s.columns >= WIDE)
            together = s.columns % WHOLE == 0 ? 1 : whole_rows(s.columns, together);
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
    const int parts_of_sum = in_pairs(s) ? 2 : 1,
              kinds = parts_of_sum * (s.learned ? 2 : 1) + (s.counted != nullptr);
    double* const memory = s.high ? (double*)malloc(kinds * partials * sizeof(double)) : nullptr;
    if (s.high && !memory) return false;
    if (memory) {
        double* const low = memory + (parts_of_sum - 1) * partials;
        s.partial = {memory, low, s.counted ? memory + (kinds - 1) * partials : nullptr, -1};
        s.learned_partial = further_on({memory, low, nullptr, -1}, s.learned ? parts_of_sum * partials : 0);
    }
    const bool in_place = !s.out || s.out == s.x || s.out == s.dy || s.out == s.residual;
    s.streaming = make_plan(*s.kernel, size, in_place, s.storage, settings).streaming;
    const int threads = threads_for(size * (s.kernel->cost + (s.drops ? 8 : 1)), settings);
    if (threads > 1) run_in_parallel(share_fused, &s, threads, settings.processors);
    else share_fused(&s, 0, 1);
    if (s.high) {
        const SilentFlags silent;
        add_parts(s, s.partial, s.high, s.low, s.counted);
        if (s.learned) add_parts(s, s.learned_partial, s.learned_high, s.learned_low, nullptr);
        free(memory);
    }
    return true;
}
