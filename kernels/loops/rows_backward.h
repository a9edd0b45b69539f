// Gradients of softmax and log_softmax from their results, which are the tile's `x`.
//
// Partial sums belong to the entries as in rows.h.  Whatever dy is where a share is 0, nothing comes of it.
#pragma once
#include <type_traits>
#include "loops/rows_forward.h"

// Products of floats are taken and added in double lanes, those of doubles in their own.
static ALWAYS_INLINE wide<float> in_double(vec<float> a) { return widen(a); }
static ALWAYS_INLINE vec<double> in_double(vec<double> a) { return a; }
static ALWAYS_INLINE vec<float> from_double(wide<float> a) { return narrow(a); }
static ALWAYS_INLINE vec<double> from_double(vec<double> a) { return a; }
static ALWAYS_INLINE wide<float> load_double(const double* p, float) {
    return load_wide(p, p, (vec<float>*)0);
}
static ALWAYS_INLINE vec<double> load_double(const double* p, double) { return load(p); }
// To be summed: a double's sum is a pair.
static ALWAYS_INLINE wide<float> to_sum(wide<float> a) { return a; }
static ALWAYS_INLINE wide<double> to_sum(vec<double> a) { return widen(a); }
static ALWAYS_INLINE wide<float> rounded_sum(wide<float> a) { return a; }
static ALWAYS_INLINE vec<double> rounded_sum(wide<double> a) { return narrow(a); }
static ALWAYS_INLINE wide<float> first_part(wide<float> a) { return a; }
static ALWAYS_INLINE vec<double> first_part(wide<double> a) { return a.hi; }

// One row along a register, or as many rows as `columns` across it: the entries of one operand.
template<bool ALONG, class T> struct Entries {
    const T* p;
    ptrdiff_t step, columns;

    // Entry i of all rows, or the `left` entries from i on; 0 where there is none.
    ALWAYS_INLINE vec<T> at(ptrdiff_t i, ptrdiff_t left) const {
        if (ALONG) return left < vec<T>::lanes ? load_first(p + i, left, broadcast((T)0)) : load(p + i);
        return load_columns(p + i * step, columns);
    }
};

template<bool ALONG, class T, class F> ALWAYS_INLINE void for_registers(ptrdiff_t n, F f) {
    for (ptrdiff_t i = 0; i < n; i += ALONG ? vec<T>::lanes : 1) f(i, n - i);
}

// The sum of term(i, left) over all registers of a segment, whose type S can be added.
template<bool ALONG, class T, class S, class F> ALWAYS_INLINE S sum_registers(ptrdiff_t n, S zero, F term) {
    const int lanes = vec<T>::lanes;
    if (ALONG) {
        S sum = zero;
        for (ptrdiff_t i = 0; i < n; i += lanes) sum = sum + term(i, n - i);
        return over_lanes<T>(sum);
    }
    S sums[vec<T>::lanes];
    for_partials<T>(n, [&](auto abreast, int first) __attribute__((always_inline)) {
        constexpr int N = decltype(abreast)::value;
        S own[N];
#pragma GCC unroll 4
        for (int j = 0; j < N; j++) own[j] = zero;
        for (ptrdiff_t i = first; i < n; i += lanes) {
#pragma GCC unroll 4
            for (int j = 0; j < N; j++) own[j] = own[j] + term(i + j, 1);
        }
#pragma GCC unroll 4
        for (int j = 0; j < N; j++) sums[first + j] = own[j];
    });
    return over_partials<T>(n, sums);
}

// --- softmax ----------------------------------------------------------------------------------------------

// A sum over the entries with their shares as factors, and that of the shares alone.
template<class S> struct Moments {
    S slope, share;
};
template<class S> ALWAYS_INLINE Moments<S> operator+(Moments<S> a, Moments<S> b) {
    return {a.slope + b.slope, a.share + b.share};
}
template<class T> ALWAYS_INLINE Moments<wide<T>> widen(Moments<vec<T>> a) {
    return {widen(a.slope), widen(a.share)};
}

// Every fourth entry of a partial sum and the three that follow are added in their own precision, and what
// comes of that in the wide one.
template<bool ALONG, class T, class F> ALWAYS_INLINE Moments<wide<T>> sum_fours(ptrdiff_t n, F term) {
    const ptrdiff_t lanes = vec<T>::lanes, stride = 4 * lanes;
    auto four = [&](ptrdiff_t i) __attribute__((always_inline)) {
        const ptrdiff_t left = n - i;
        auto one = [&](int k)
                           __attribute__((always_inline)) { return term(i + k * lanes, left - k * lanes); };
        if (left > 3 * lanes) return (one(0) + one(1)) + (one(2) + one(3));
        if (left > 2 * lanes) return (one(0) + one(1)) + one(2);
        return left > lanes ? one(0) + one(1) : one(0);
    };
    auto fours = [&](ptrdiff_t first) __attribute__((always_inline)) {
        Moments<wide<T>> sum = widen(four(first));
        for (ptrdiff_t i = first + stride; i < n; i += stride) sum = sum + widen(four(i));
        return sum;
    };
    if (ALONG) {
        const Moments<wide<T>> sum = fours(0);
        return {over_lanes<T>(sum.slope), over_lanes<T>(sum.share)};
    }
    Moments<wide<T>> sums[vec<T>::lanes];
    for (int p = 0; p < lanes && p < n; p++) sums[p] = fours(p);
    return over_partials<T>(n, sums);
}

// Leaves the sum of the shares, a pivot, and the sum of share (dy - pivot).  All shares of a row sum to 1 but
// for their rounding, so that dy may be counted from anything; it is from that of a share of more than a
// half, because there dy less its mean is small.  Beside a share that is not there, from 0 only.
template<bool ALONG, class T> ALWAYS_INLINE Piece<T> sum_slopes(const Entries<ALONG, T>& y,
                                                                const Entries<ALONG, T>& dy, ptrdiff_t n,
                                                                bool lacks_one) {
    const vec<T> zero = broadcast((T)0), half = broadcast((T)0.5), none = broadcast((T)-INFINITY);
    vec<T> top = none, pivot = zero;
    if (ALONG) top = top_along(y.p, n);
    else
        for (ptrdiff_t i = 0; i < n; i++) top = at_least(top, y.at(i, 1));
    if (!lacks_one && top_of_lanes<T>(top).v[0] > (T)0.5) {
        vec<T> found = none;
        for_registers<ALONG, T>(n, [&](ptrdiff_t i, ptrdiff_t left) __attribute__((always_inline)) {
            found = where_eq(y.at(i, left), top, at_least(found, dy.at(i, left)), found);
        });
        pivot = where_gt(top, half, ALONG ? top_of_lanes<T>(found) : found, zero);
    }
    const Moments<wide<T>> sums =
            sum_fours<ALONG, T>(n, [&](ptrdiff_t i, ptrdiff_t left) __attribute__((always_inline)) {
                const vec<T> share = y.at(i, left), slope = dy.at(i, left) - pivot;
                return Moments<vec<T>>{where_eq(share, zero, zero, share * slope), share};
            });
    return {narrow(sums.share), pivot, sums.slope};
}

// Calls f(Entries of y, Entries of dy, entries of the segment, index of its piece) for all segments and rows.
template<bool ALONG, class T, class F> ALWAYS_INLINE void for_pieces(const RowTile& tile, F f) {
    const ptrdiff_t lanes = vec<T>::lanes;
    for (ptrdiff_t first = 0, at = 0; first < tile.length; first += SEGMENT, at += tile.width) {
        const ptrdiff_t n = tile.length - first < SEGMENT ? tile.length - first : SEGMENT;
        if (!ALONG) {
            fetch_across<T>((const T*)tile.x + first * tile.step_x, tile.step_x, n, tile.rows);
            fetch_across<T>((const T*)tile.dy + first * tile.step_dy, tile.step_dy, n, tile.rows);
        }
        for (ptrdiff_t row = 0; row < tile.rows; row += ALONG ? 1 : lanes) {
            const ptrdiff_t left = tile.rows - row, columns = left < lanes ? left : lanes;
            const T* y = (const T*)tile.x + first * tile.step_x + row * tile.row_x;
            const T* dy = (const T*)tile.dy + first * tile.step_dy + row * tile.row_dy;
            if (ALONG || columns == lanes)
                f(Entries<ALONG, T>{y, tile.step_x, lanes}, Entries<ALONG, T>{dy, tile.step_dy, lanes}, n,
                  at + row);
            else
                f(Entries<ALONG, T>{y, tile.step_x, columns}, Entries<ALONG, T>{dy, tile.step_dy, columns}, n,
                  at + row);
        }
    }
}

// For every segment and row the piece that sum(y, dy, n) makes of its entries.
template<class T, class F> ALWAYS_INLINE void sum_pieces(const RowTile& tile, F sum) {
    const Pieces<T> pieces(tile);
    if (tile.along)
        for_pieces<true, T>(tile,
                            [&](const auto& y, const auto& dy, ptrdiff_t n, ptrdiff_t at)
                                    __attribute__((always_inline)) { pieces.put_lane(at, sum(y, dy, n)); });
    else
        for_pieces<false, T>(tile, [&](const auto& y, const auto& dy, ptrdiff_t n, ptrdiff_t at)
                                           __attribute__((always_inline)) { pieces.put(at, sum(y, dy, n)); });
}

template<class T> ALWAYS_INLINE void sum_softmax_backward(const RowFormulas<T>&, const RowTile& tile) {
    sum_pieces<T>(tile, [&](const auto& y, const auto& dy, ptrdiff_t n)
                                __attribute__((always_inline)) { return sum_slopes(y, dy, n, tile.zero); });
}

// Leaves the mean of dy less the pivot of the row, and that, for each segment.
template<class T> ALWAYS_INLINE void finish_softmax_backward(const RowFormulas<T>&, const RowTile& tile) {
    const Pieces<T> pieces(tile);
    const ptrdiff_t end = segments_of(tile) * tile.width;
    for_rows<T>(tile, [&](ptrdiff_t row) __attribute__((always_inline)) {
        Piece<T> whole = pieces.at(row);
        const vec<T> zero = splat(whole.count, 0.0);
        for (ptrdiff_t at = row + tile.width; at < end; at += tile.width)
            whole.count = where_eq(whole.count, zero, load(pieces.count + at), whole.count);
        if (end > tile.width) whole.rest = widen(zero);
        const wide<T> pivot = widen(whole.count), nothing = widen(zero);
        for (ptrdiff_t at = row; at < end && end > tile.width; at += tile.width) {
            const Piece<T> piece = pieces.at(at);
            const wide<T> own = widen(piece.count), share = widen(piece.top), moved = share * (own - pivot);
            whole.rest = whole.rest + (piece.rest + where_eq(own, pivot, nothing, moved));
        }
        for (ptrdiff_t at = row; at < end; at += tile.width) pieces.put(at, whole);
    });
}

template<class T> ALWAYS_INLINE void apply_softmax_backward(const RowFormulas<T>&, const RowTile& tile) {
    struct Mean {
        vec<T> pivot, rest;
    };
    apply_rows<T>(
            tile, tile.x, tile.row_x, tile.step_x,
            [](const Piece<T>& piece, vec<T>)
                    __attribute__((always_inline)) { return Mean{piece.count, narrow(piece.rest)}; },
            [](const Mean& mean, vec<T> y, const T* dy, ptrdiff_t n) __attribute__((always_inline)) {
                const vec<T> zero = splat(y, 0.0), slope = load_columns(dy, n);
                return where_eq(y, zero, zero, y * ((slope - mean.pivot) - mean.rest));
            });
}

// --- log_softmax ------------------------------------------------------------------------------------------

template<class T> ALWAYS_INLINE void sum_log_softmax_backward(const RowFormulas<T>&, const RowTile& tile) {
    sum_pieces<T>(tile, [](const auto& y, const auto& dy, ptrdiff_t n) __attribute__((always_inline)) {
        constexpr bool along = std::is_same<decltype(y), const Entries<true, T>&>::value;
        const vec<T> zero = broadcast((T)0), none = broadcast((T)-INFINITY);
        const wide<T> total = sum_registers<along, T>(
                n, widen(zero), [&](ptrdiff_t i, ptrdiff_t left) __attribute__((always_inline)) {
                    return widen(where_eq(y.at(i, left), none, zero, dy.at(i, left)));
                });
        return Piece<T>{zero, zero, total};
    });
}

template<class T> ALWAYS_INLINE void finish_log_softmax_backward(const RowFormulas<T>&, const RowTile& tile) {
    const Pieces<T> pieces(tile);
    const ptrdiff_t end = segments_of(tile) * tile.width;
    for_rows<T>(tile, [&](ptrdiff_t row) {
        wide<T> total = widen(broadcast((T)0));
        for (ptrdiff_t at = row; at < end; at += tile.width) total = total + pieces.at(at).rest;
        for (ptrdiff_t at = row; at < end; at += tile.width)
            store_wide(pieces.hi + at, pieces.lo + at, normalised(total));
    });
}

// exp(y) (dy - total) - dy expm1(y), which is dy (1 - exp(y)) less exp(y) times the sum of the other dy: 1 -
// exp(y) is small where exp(y) dominates.
template<class T>
ALWAYS_INLINE void apply_log_softmax_backward(const RowFormulas<T>& f, const RowTile& tile) {
    struct Total {
        vec<T> high, low;
    };
    apply_rows<T>(
            tile, tile.x, tile.row_x, tile.step_x,
            [](const Piece<T>& piece, vec<T>) __attribute__((always_inline)) {
                const vec<T> high = narrow(piece.rest);
                return Total{high, narrow(piece.rest - widen(high))};
            },
            [&f](const Total& total, vec<T> y, const T* dy, ptrdiff_t n) __attribute__((always_inline)) {
                const vec<T> zero = splat(y, 0.0), one = splat(y, 1.0), slope = load_columns(dy, n);
                const vec<T> d = at_least(y, splat(y, -RowRange<T>::DEPTH * LN2[0]));
                const vec<T> k = f.exponent(d), t = f.excess(d, k);
                const vec<T> power =
                        power_of_two(k + splat(y, RowRange<T>::BIAS)) * splat(y, 1 / RowRange<T>::UNIT);
                const vec<T> share = fma(power, t, power), less_one = fma(power, t, power - one);
                const vec<T> gradient = share * ((slope - total.high) - total.low) - slope * less_one;
                return where_eq(y, splat(y, -INFINITY), zero, gradient);
            });
}
