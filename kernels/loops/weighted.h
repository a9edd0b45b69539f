// Sums of weight * exp(entry - maximum) over contiguous rows, in the wide arithmetic and not yet rounded:
// what logsumexp with weights, and of chunks, is made of.
//
// Entries equal to the maximum are added up apart, as their weights alone.  A row that holds anything out of
// the ordinary (see `is_odd`) is left to the caller: its maximum is given out as NaN.
#pragma once
#include <math.h>
#include <string.h>
#include "loops/blocks.h"

enum { MAXIMUM, LEAD, LEAD_LOW, REST, REST_LOW };  // of Sums, five doubles for each row

// One register of a row: entries whose weight is 0 become -inf, as does what lies beyond the end.
template<class T> struct Weighted {
    vec<T> x, weight;
};
template<class T> ALWAYS_INLINE vec<T> load_padded(const T* p, ptrdiff_t left, T fill) {
    if (left >= vec<T>::lanes) return load(p);
    T buffer[vec<T>::lanes];
    for (int j = 0; j < vec<T>::lanes; j++) buffer[j] = fill;
    memcpy(buffer, p, left * sizeof(T));
    return load(buffer);
}
template<class T> ALWAYS_INLINE Weighted<T> load_weighted(const T* a, const T* b, ptrdiff_t i, ptrdiff_t n) {
    const vec<T> x = load_padded(a + i, n - i, (T)-INFINITY);
    if (!b) return {x, broadcast((T)1)};
    const vec<T> weight = load_padded(b + i, n - i, (T)0);
    return {where_eq(weight, splat(weight, 0.0), splat(x, -INFINITY), x), weight};
}

// Lanes are 1 where an entry is +inf or NaN, or its weight so large or small that products could leave the
// range of double; the flag is kept where it is set.
template<class T> ALWAYS_INLINE vec<T> is_odd(const Weighted<T>& w, vec<T> odd) {
    const vec<T> one = splat(odd, 1.0), size = magnitude(w.weight);
    const vec<T> unless_zero = where_eq(size, splat(size, 0.0), odd, one);
    odd = where_ge(size, splat(size, 0x1p-100), where_ge(splat(size, 0x1p100), size, odd, one), unless_zero);
    return where_gt(splat(w.x, INFINITY), w.x, odd, one);
}

static ALWAYS_INLINE void add_lanes(wide<float> a, double* sum) {
    double lanes[2 * vec<double>::lanes];
    store(lanes, a.lower);
    store(lanes + vec<double>::lanes, a.upper);
    sum[0] = sum[1] = 0;
    for (double lane : lanes) sum[0] += lane;
}
static ALWAYS_INLINE void add_lanes(wide<double> a, double* sum) {
    double hi[vec<double>::lanes], lo[vec<double>::lanes];
    store(hi, a.hi);
    store(lo, a.lo);
    sum[0] = sum[1] = 0;
    for (int j = 0; j < vec<double>::lanes; j++) {
        const double s = sum[0] + hi[j], t = s - sum[0];
        sum[1] += (sum[0] - (s - t)) + (hi[j] - t) + lo[j];
        sum[0] = s;
    }
}

template<class T> ALWAYS_INLINE void weighted_sum(wide<T> (*term)(wide<T> difference, wide<T> weight),
                                                  const T* a, const T* b, ptrdiff_t n, double* sums) {
    const ptrdiff_t lanes = vec<T>::lanes;
    vec<T> top = broadcast((T)-INFINITY), odd = broadcast((T)0);
    for (ptrdiff_t i = 0; i < n; i += lanes) {
        const Weighted<T> w = load_weighted(a, b, i, n);
        top = where_gt(w.x, top, w.x, top);
        odd = is_odd(w, odd);
    }
    T tops[vec<T>::lanes], odds[vec<T>::lanes], maximum = (T)-INFINITY;
    store(tops, top);
    store(odds, odd);
    bool is_plain = true;
    for (int j = 0; j < lanes; j++) {
        if (tops[j] > maximum) maximum = tops[j];
        is_plain &= odds[j] == 0;
    }
    if (!is_plain || isinf(maximum)) {
        for (int j = 0; j < 5; j++) sums[j] = NAN;
        return;
    }
    const wide<T> m = widen(broadcast(maximum)), zero = widen(broadcast((T)0));
    wide<T> lead = zero, rest = zero;
    for (ptrdiff_t i = 0; i < n; i += lanes) {
        const Weighted<T> w = load_weighted(a, b, i, n);
        const wide<T> x = widen(w.x), weight = widen(w.weight);
        lead = lead + where_eq(x, m, weight, zero);
        rest = rest + where_eq(x, m, zero, term(x - m, weight));
    }
    sums[MAXIMUM] = maximum;
    add_lanes(lead, sums + LEAD);
    add_lanes(rest, sums + REST);
}

// `b` may be null: every weight is 1.  It advances by `b_step` elements from row to row.
template<class T> ALWAYS_INLINE void weighted_sums(wide<T> (*term)(wide<T> difference, wide<T> weight),
                                                   const T* a, const T* b, ptrdiff_t b_step, double* sums,
                                                   ptrdiff_t rows, ptrdiff_t n) {
    for (ptrdiff_t r = 0; r < rows; r++)
        weighted_sum(term, a + r * n, b ? b + r * b_step : b, n, sums + 5 * r);
}
