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
static ALWAYS_INLINE void store_double(double* p, wide<float> a) { store_wide(p, p, a); }
static ALWAYS_INLINE void store_double(double* p, vec<double> a) { store(p, a); }
// To be summed: a double's sum is a pair.
static ALWAYS_INLINE wide<float> to_sum(wide<float> a) { return a; }
static ALWAYS_INLINE wide<double> to_sum(vec<double> a) { return widen(a); }
static ALWAYS_INLINE wide<float> rounded_sum(wide<float> a) { return a; }
static ALWAYS_INLINE vec<double> rounded_sum(wide<double> a) { return narrow(a); }
static ALWAYS_INLINE wide<float> first_part(wide<float> a) { return a; }
static ALWAYS_INLINE vec<double> first_part(wide<double> a) { return a.hi; }
static ALWAYS_INLINE vec<double> lower_lanes(wide<float> a) { return a.lower; }
static ALWAYS_INLINE vec<double> lower_lanes(vec<double> a) { return a; }

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
    const int lanes = vec<T>::lanes, used = ALONG ? 1 : n < lanes ? (int)n : lanes;
    S sums[ALONG ? 1 : vec<T>::lanes];
    for (int p = 0; p < used; p++) {
        S sum = zero;
        for (ptrdiff_t i = p; i < n; i += lanes) sum = sum + term(i, n - i);
        sums[p] = sum;
    }
    if (ALONG) return over_lanes<T>(sums[0]);
    for (int distance = lanes / 2; distance; distance /= 2)
        for (int p = 0; p < distance && p + distance < used; p++) sums[p] = sums[p] + sums[p + distance];
    return sums[0];
}

// --- softmax ----------------------------------------------------------------------------------------------

// The shares sum to 1 but for their rounding, so dy may be counted from any pivot; the largest dy at the
// largest share keeps the digits of a dominated row, where dy less its mean is small.
template<class T> struct Moments {
    wide<T> slope;  // of share (dy - pivot)
    decltype(in_double(vec<T>())) share;
};
template<class T> ALWAYS_INLINE Moments<T> operator+(Moments<T> a, Moments<T> b) {
    return {a.slope + b.slope, a.share + b.share};
}
template<class T> ALWAYS_INLINE Moments<T> over_lanes(Moments<T> a) {
    return {over_lanes<T>(a.slope), over_lanes<T>(a.share)};
}

template<bool ALONG, class T> ALWAYS_INLINE void sum_moments(const Entries<ALONG, T>& y,
                                                             const Entries<ALONG, T>& dy, ptrdiff_t n,
                                                             const Pieces<T>& pieces, ptrdiff_t at) {
    const vec<T> zero = broadcast((T)0), none = broadcast((T)-INFINITY);
    vec<T> top = none, pivot = none;
    for_registers<ALONG, T>(n, [&](ptrdiff_t i, ptrdiff_t left) __attribute__((always_inline)) {
        const vec<T> share = y.at(i, left), slope = dy.at(i, left);
        pivot = where_gt(share, top, slope, where_eq(share, top, at_least(pivot, slope), pivot));
        top = at_least(top, share);
    });
    if (ALONG) {
        const vec<T> own = top;
        top = top_of_lanes<T>(own);
        pivot = top_of_lanes<T>(where_eq(own, top, pivot, none));
    }
    const auto origin = in_double(pivot), nothing = in_double(zero);
    const Moments<T> sums = sum_registers<ALONG, T>(
            n, Moments<T>{widen(zero), nothing},
            [&](ptrdiff_t i, ptrdiff_t left) __attribute__((always_inline)) {
                const vec<T> share = y.at(i, left), slope = where_eq(share, zero, pivot, dy.at(i, left));
                const auto weight = in_double(share), product = weight * (in_double(slope) - origin);
                return Moments<T>{to_sum(where_eq(weight, nothing, nothing, product)), weight};
            });
    const auto total = rounded_sum(sums.slope);
    if (ALONG) {
        pieces.top[at] = top.v[0];
        pieces.count[at] = pivot.v[0];
        pieces.hi[at] = lower_lanes(total).v[0];
        pieces.lo[at] = lower_lanes(sums.share).v[0];
    } else {
        store(pieces.top + at, top);
        store(pieces.count + at, pivot);
        store_double(pieces.hi + at, total);
        store_double(pieces.lo + at, sums.share);
    }
}

// Calls f(Entries of y, Entries of dy, entries of the segment, index of its piece) for all segments and rows.
template<bool ALONG, class T, class F> ALWAYS_INLINE void for_pieces(const RowTile& tile, F f) {
    const ptrdiff_t lanes = vec<T>::lanes;
    for (ptrdiff_t first = 0, at = 0; first < tile.length; first += SEGMENT, at += tile.width) {
        const ptrdiff_t n = tile.length - first < SEGMENT ? tile.length - first : SEGMENT;
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

template<class T> ALWAYS_INLINE void sum_softmax_backward(const RowFormulas<T>&, const RowTile& tile) {
    const Pieces<T> pieces(tile);
    if (tile.along)
        for_pieces<true, T>(tile, [&](const auto& y, const auto& dy, ptrdiff_t n, ptrdiff_t at) {
            sum_moments(y, dy, n, pieces, at);
        });
    else
        for_pieces<false, T>(tile, [&](const auto& y, const auto& dy, ptrdiff_t n, ptrdiff_t at) {
            sum_moments(y, dy, n, pieces, at);
        });
}

// Leaves the mean of dy for each segment, as the sum of two numbers (Knuth's two-sum).
template<class T> ALWAYS_INLINE void finish_softmax_backward(const RowFormulas<T>&, const RowTile& tile) {
    const Pieces<T> pieces(tile);
    const ptrdiff_t end = segments_of(tile) * tile.width;
    for_rows<T>(tile, [&](ptrdiff_t row) {
        vec<T> top = load(pieces.top + row), pivot = load(pieces.count + row);
        for (ptrdiff_t at = row + tile.width; at < end; at += tile.width) {
            const vec<T> own = load(pieces.top + at), other = load(pieces.count + at);
            pivot = where_gt(own, top, other, where_eq(own, top, at_least(pivot, other), pivot));
            top = at_least(top, own);
        }
        const auto origin = in_double(pivot), zero = in_double(splat(pivot, 0.0));
        auto sum = zero;
        for (ptrdiff_t at = row; at < end; at += tile.width) {
            const auto own = in_double(load(pieces.count + at)), share = load_double(pieces.lo + at, T());
            const auto moved = where_eq(own, origin, zero, share * (own - origin));
            sum = sum + (load_double(pieces.hi + at, T()) + where_eq(share, zero, zero, moved));
        }
        const auto mean = origin + sum, t = mean - origin;
        const vec<T> low = from_double((origin - (mean - t)) + (sum - t));
        for (ptrdiff_t at = row; at < end; at += tile.width) {
            store(pieces.count + at, low);
            store_double(pieces.hi + at, mean);
        }
    });
}

template<class D> struct Mean {
    D high, low;
};

template<class T> ALWAYS_INLINE void apply_softmax_backward(const RowFormulas<T>&, const RowTile& tile) {
    typedef decltype(in_double(vec<T>())) D;
    apply_rows<T>(
            tile, tile.x, tile.row_x, tile.step_x,
            [](const Piece<T>& piece, vec<T>) __attribute__((always_inline)) {
                return Mean<D>{first_part(piece.rest), in_double(piece.count)};
            },
            [](const Mean<D>& mean, vec<T> y, const T* dy, ptrdiff_t n) __attribute__((always_inline)) {
                const vec<T> zero = splat(y, 0.0), slope = load_columns(dy, n);
                const vec<T> gradient =
                        from_double(in_double(y) * ((in_double(slope) - mean.high) - mean.low));
                return where_eq(y, zero, zero, gradient);
            });
}

// --- log_softmax ------------------------------------------------------------------------------------------

template<class T> ALWAYS_INLINE void sum_log_softmax_backward(const RowFormulas<T>&, const RowTile& tile) {
    const Pieces<T> pieces(tile);
    auto sum = [&](const auto& y, const auto& dy, ptrdiff_t n, ptrdiff_t at) __attribute__((always_inline)) {
        constexpr bool along = std::is_same<decltype(y), const Entries<true, T>&>::value;
        const vec<T> zero = broadcast((T)0), none = broadcast((T)-INFINITY);
        const wide<T> total = sum_registers<along, T>(
                n, widen(zero), [&](ptrdiff_t i, ptrdiff_t left) __attribute__((always_inline)) {
                    return widen(where_eq(y.at(i, left), none, zero, dy.at(i, left)));
                });
        if (along) store_lane(pieces.hi + at, pieces.lo + at, total);
        else store_wide(pieces.hi + at, pieces.lo + at, total);
    };
    if (tile.along) for_pieces<true, T>(tile, sum);
    else for_pieces<false, T>(tile, sum);
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
