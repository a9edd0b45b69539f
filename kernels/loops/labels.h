// What cross entropy is told of its rows: labels of any integer type, or probabilities, checked before
// anything is written, and what each tile needs of them.
#pragma once
#include <stdint.h>
#include <stdlib.h>

#include <type_traits>

#include "loops/run.h"
#include "loops/sum_exports.h"

// One call, for all of its tiles.
struct LossCall {
    Losses common = {};
    bool spreads;  // targets entry by entry, not labels alone
    ptrdiff_t classes;
    bool ignores;
    int64_t ignored;
    double* sums = nullptr;  // of the losses of each tile, in two parts

    ~LossCall() {
        if (sums != few_) free(sums);
        free((void*)common.weight);
    }
    bool has_room_for(ptrdiff_t tiles) {
        sums = tiles <= FEW_TILES ? few_ : (double*)malloc(2 * tiles * sizeof(double));
        return sums;
    }
    // Memory for the weights of the classes, and for as much behind them as a register may read.
    double* new_weights() {
        double* const made = (double*)calloc(classes + MOST_LANES, sizeof(double));
        common.weight = made;
        return made;
    }

private:
    enum { FEW_TILES = 16, MOST_LANES = 16 };
    double few_[2 * FEW_TILES];
};

template<class F> static auto with_integer(Storage type, F f) {
    switch (type) {
        case INT8:
            return f(int8_t());
        case UINT8:
            return f(uint8_t());
        case INT16:
            return f(int16_t());
        case UINT16:
            return f(uint16_t());
        case INT32:
            return f(int32_t());
        case UINT32:
            return f(uint32_t());
        case UINT64:
            return f(uint64_t());
        default:
            return f(int64_t());
    }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3")
#endif

// How many labels count; -1 where one is neither a class nor ignored.  The sign of `wrong` says so: of a
// label below 0, of the last class less one above it, and of an unsigned one that is too large for its
// neighbour.
template<class I, bool IGNORES>
static ptrdiff_t count_labels(const I* labels, ptrdiff_t n, ptrdiff_t classes, int64_t ignored) {
    int64_t wrong = 0, counted = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const int64_t label = (int64_t)labels[i], outside = label | (classes - 1 - label);
        wrong |= IGNORES && label == ignored ? 0 : outside;
        counted += !(IGNORES && label == ignored);
    }
    return wrong < 0 ? -1 : counted;
}

template<class P> static bool are_probabilities(const P* p, ptrdiff_t n) {
    int wrong = 0;
    for (ptrdiff_t i = 0; i < n; i++) wrong |= !(p[i] >= 0) | !(p[i] <= 1);
    return !wrong;
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

static bool are_weights(const double* weight, ptrdiff_t n) {
    bool right = true;
    for (ptrdiff_t i = 0; i < n; i++) right &= weight[i] >= 0;
    return right;
}

// An ignored label below 0 is none of an unsigned type.
template<class I> static bool may_be_ignored(const LossCall& call) {
    return call.ignores && (call.ignored >= 0 || std::is_signed<I>::value);
}

// The sum of the weights of contiguous labels, to divide a mean by; its high part is negative where a label
// is wrong.
static Pair weigh_labels(const LossCall& call, const void* data, Storage type, ptrdiff_t n) {
    const SilentFlags silent;
    return with_integer(type, [&](auto integer) {
        typedef decltype(integer) I;
        const I* const labels = (const I*)data;
        const bool ignores = may_be_ignored<I>(call);
        const ptrdiff_t counted = ignores ? count_labels<I, true>(labels, n, call.classes, call.ignored)
                                          : count_labels<I, false>(labels, n, call.classes, 0);
        if (counted < 0 || !call.common.weight) return Pair{(double)counted, 0};
        Pair sum = {0, 0};
        for (ptrdiff_t i = 0; i < n; i++)
            if (!ignores || (int64_t)labels[i] != call.ignored)
                sum = sum + Pair{call.common.weight[labels[i]], 0};
        return sum;
    });
}

// The first label that is neither a class nor ignored.
static double first_wrong(const LossCall& call, const void* data, Storage type, ptrdiff_t n) {
    return with_integer(type, [&](auto integer) {
        typedef decltype(integer) I;
        const I* const labels = (const I*)data;
        for (ptrdiff_t i = 0; i < n; i++) {
            const int64_t label = (int64_t)labels[i];
            const bool ignored = may_be_ignored<I>(call) && label == call.ignored;
            if (!ignored && (label < 0 || label >= call.classes)) return (double)labels[i];
        }
        return 0.0;
    });
}

static size_t loss_bytes(const LossCall& call, ptrdiff_t width, ptrdiff_t segments) {
    const ptrdiff_t arrays = 4 + (call.spreads ? 4 * segments : 0);
    return arrays * (width * sizeof(double) + 64);
}

// Where the arrays of a tile lie: taken, one by one, from its scratch memory.
template<class Take> static void place_losses(const LossCall& call, Losses& losses, ptrdiff_t width,
                                              ptrdiff_t segments, Take take) {
    losses.label = (ptrdiff_t*)take(width * sizeof(ptrdiff_t));
    losses.weight_of_row = (double*)take(width * sizeof(double));
    losses.at_label = take(width * sizeof(double));
    losses.term_at_label = take(width * sizeof(double));
    if (!call.spreads) return;
    for (double** sums : {&losses.apart, &losses.apart_low, &losses.mass, &losses.mass_low})
        *sums = (double*)take(segments * width * sizeof(double));
}

// The labels of a tile; without data there are none, as where the targets are probabilities.
static void read_labels(const LossCall& call, Losses& losses, const char* data, Storage type, ptrdiff_t step,
                        ptrdiff_t rows, ptrdiff_t width) {
    for (ptrdiff_t row = data ? rows : 0; row < width; row++) {
        losses.label[row] = -1;
        losses.weight_of_row[row] = row < rows ? 0 : -1;
    }
    if (!data) return;
    with_integer(type, [&](auto integer) {
        typedef decltype(integer) I;
        const bool ignores = may_be_ignored<I>(call);
        for (ptrdiff_t row = 0; row < rows; row++) {
            const I label = *(const I*)(data + row * step);
            const bool counts = !(ignores && (int64_t)label == call.ignored);
            losses.label[row] = counts ? (ptrdiff_t)label : -1;
            losses.weight_of_row[row] = !counts ? -1 : losses.weight ? losses.weight[label] : 1;
        }
        return true;
    });
}

// a / b; where the rest is none, as beside an infinite quotient, in one part.
static Pair quotient(Pair a, Pair b) {
    const double high = a.high / b.high;
    const double rest = __builtin_fma(-high, b.high, a.high) + (a.low - high * b.low), low = rest / b.high;
    return {high, low - low == 0 ? low : 0};
}

// A class's target is weight (hard p + spread); every gradient is multiplied by dy / divisor.
static void set_shares(LossCall& call, double smoothing, double dy, Pair divisor) {
    const SilentFlags silent;
    const double hard = 1 - smoothing;
    const Pair spread = quotient({smoothing, 0}, {(double)call.classes, 0}),
               factor = quotient({dy, 0}, divisor);
    call.common.hard = hard, call.common.hard_low = (1 - hard) - smoothing;
    call.common.spread = spread.high, call.common.spread_low = spread.low;
    call.common.factor = factor.high, call.common.factor_low = factor.low;
}

// The sum of the losses of all tiles over `divisor`, rounded to what the losses are computed in.
static double total_loss(const LossCall& call, ptrdiff_t tiles, Pair divisor, Storage computes_in) {
    const SilentFlags silent;
    Pair sum = {0, 0};
    for (ptrdiff_t i = 0; i < tiles; i++) sum = sum + Pair{call.sums[2 * i], call.sums[2 * i + 1]};
    if (sum.low - sum.low != 0) sum.low = 0;  // beside an infinite sum
    const Pair loss = quotient(sum, divisor);
    const double rounded = loss.high + loss.low;
    return computes_in == FLOAT32 ? (double)(float)rounded : rounded;
}
