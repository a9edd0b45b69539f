// Reductions over contiguous rows: log(sum(exp(row))) and its relatives, two or three passes in cache.
//
// Sums run in the wide arithmetic of wide.h and leave out the entries equal to the maximum, which are
// counted instead: exp(0) = 1 would swallow a small rest.  The partial sums are one per lane of a
// register, so a row's bits depend on the instruction set alone.
#pragma once
#include <math.h>
#include <string.h>
#include "loops/blocks.h"

// The formulas of formulas/rows.pxi, given as literals and therefore inlined.
template<class T> struct RowFormulas {
    wide<T> (*sum_entry)(wide<T> difference);
    wide<T> (*log1p)(wide<T>);
    wide<T> (*softmax_entry)(wide<T> difference, wide<T> total);
};

// What a pass over a row leaves behind: its maximum, how often it occurs, the sum of the other exp(x - max).
template<class T> struct RowSum {
    T maximum;
    bool has_nan;
    wide<T> count, rest;  // every lane holds the row's value
};

// The last, partial register of a row, padded with `fill`.
template<class T> ALWAYS_INLINE vec<T> load_tail(const T* p, ptrdiff_t n, T fill) {
    T buffer[vec<T>::lanes];
    for (int j = 0; j < vec<T>::lanes; j++) buffer[j] = fill;
    memcpy(buffer, p, n * sizeof(T));
    return load(buffer);
}
template<class T> ALWAYS_INLINE void store_tail(T* p, ptrdiff_t n, vec<T> a) {
    T buffer[vec<T>::lanes];
    store(buffer, a);
    memcpy(p, buffer, n * sizeof(T));
}

static ALWAYS_INLINE wide<float> over_lanes(wide<float> a) {
    double buffer[2 * vec<double>::lanes], sum = 0;
    store(buffer, a.lower);
    store(buffer + vec<double>::lanes, a.upper);
    for (double part : buffer) sum += part;
    return {broadcast(sum), broadcast(sum)};
}
static ALWAYS_INLINE wide<double> over_lanes(wide<double> a) {
    double hi[vec<double>::lanes], lo[vec<double>::lanes];
    store(hi, a.hi);
    store(lo, a.lo);
    wide<double> sum = {broadcast(0.0), broadcast(0.0)};
    for (int j = 0; j < vec<double>::lanes; j++) sum = sum + wide<double>{broadcast(hi[j]), broadcast(lo[j])};
    return sum;
}

template<class T> ALWAYS_INLINE RowSum<T> sum_row(wide<T> (*entry)(wide<T>), const T* row, ptrdiff_t n) {
    const ptrdiff_t lanes = vec<T>::lanes, body = n - n % lanes;
    const vec<T> lowest = broadcast((T)-INFINITY);
    vec<T> top = lowest, nan = broadcast((T)0);
    for (ptrdiff_t i = 0; i < body; i += lanes) {
        vec<T> x = load(row + i);
        top = where_gt(x, top, x, top);
        nan = where_eq(x, x, nan, x);
    }
    if (body < n) {
        vec<T> x = load_tail(row + body, n - body, (T)-INFINITY);
        top = where_gt(x, top, x, top);
        nan = where_eq(x, x, nan, x);
    }
    T tops[vec<T>::lanes], nans[vec<T>::lanes];
    store(tops, top);
    store(nans, nan);
    RowSum<T> sum = {(T)-INFINITY, false, widen(broadcast((T)0)), widen(broadcast((T)0))};
    for (int j = 0; j < lanes; j++) {
        if (tops[j] > sum.maximum) sum.maximum = tops[j];
        sum.has_nan |= nans[j] != 0;
    }
    if (sum.has_nan || isinf(sum.maximum)) {  // no sum is needed, only how many entries are +inf
        T count = 0;
        for (ptrdiff_t i = 0; i < n && count < 2; i++) count += row[i] == sum.maximum;
        sum.count = widen(broadcast(count));
        return sum;
    }
    const wide<T> m = widen(broadcast(sum.maximum)), zero = widen(broadcast((T)0)), one = splat(zero, 1.0);
    for (ptrdiff_t i = 0; i < n; i += lanes) {
        wide<T> x = widen(i < body ? load(row + i) : load_tail(row + i, n - i, (T)-INFINITY));
        sum.rest = sum.rest + where_eq(x, m, zero, entry(x - m));
        sum.count = where_eq(x, m, sum.count + one, sum.count);
    }
    sum.rest = over_lanes(sum.rest);
    sum.count = over_lanes(sum.count);
    return sum;
}

template<class T> ALWAYS_INLINE T first_lane(wide<T> a) {
    T buffer[vec<T>::lanes];
    store(buffer, narrow(a));
    return buffer[0];
}

// log(count + rest) = e ln 2 + log1p(v), count + rest = 2^e (1 + v), 0 <= v <= 1: the difference that makes v
// is exact, so a tiny rest beside a count of 1 keeps its full precision.
template<class T> ALWAYS_INLINE wide<T> log_of_sum(wide<T> (*log1p)(wide<T>), const RowSum<T>& sum) {
    double total[vec<double>::lanes];
    store(total, leading(sum.count + sum.rest));
    const int e = ilogb(total[0]);
    const wide<T> v = scaled((sum.count - ldexp(1.0, e)) + sum.rest, splat(sum.rest, ldexp(1.0, -e)));
    return splat(v, e) * constant(v, LN2[0], LN2[1]) + log1p(v);
}

template<class T>
ALWAYS_INLINE void logsumexp_rows(const RowFormulas<T>& f, const T* a, T* out, ptrdiff_t rows, ptrdiff_t n) {
    for (ptrdiff_t r = 0; r < rows; r++, a += n) {
        RowSum<T> sum = sum_row(f.sum_entry, a, n);
        if (sum.has_nan) out[r] = NAN;
        else if (isinf(sum.maximum)) out[r] = sum.maximum;
        else out[r] = first_lane(widen(broadcast(sum.maximum)) + log_of_sum(f.log1p, sum));
    }
}

// A single +inf takes all; several of them, or nothing above -inf, have no limit.
template<class T> ALWAYS_INLINE bool takes_all(const RowSum<T>& sum) {
    return !sum.has_nan && sum.maximum > 0 && first_lane(sum.count) == 1;
}

template<class T, class F> ALWAYS_INLINE void rewrite_row(const T* a, T* out, ptrdiff_t n, F f) {
    const ptrdiff_t lanes = vec<T>::lanes, body = n - n % lanes;
    for (ptrdiff_t i = 0; i < body; i += lanes) put(out + i, f(widen(load(a + i))));
    if (body < n)
        store_tail(out + body, n - body, narrow(f(widen(load_tail(a + body, n - body, (T)-INFINITY)))));
}

template<class T>
ALWAYS_INLINE void softmax_rows(const RowFormulas<T>& f, const T* a, T* out, ptrdiff_t rows, ptrdiff_t n) {
    for (ptrdiff_t r = 0; r < rows; r++, a += n, out += n) {
        RowSum<T> sum = sum_row(f.sum_entry, a, n);
        if (sum.has_nan || isinf(sum.maximum)) {
            const bool one_hot = takes_all(sum);
            for (ptrdiff_t i = 0; i < n; i++) out[i] = one_hot ? (T)(a[i] == sum.maximum) : (T)NAN;
            continue;
        }
        const wide<T> m = widen(broadcast(sum.maximum)), total = sum.count + sum.rest;
        rewrite_row(a, out, n,
                    [&](wide<T> x) __attribute__((always_inline)) { return f.softmax_entry(x - m, total); });
    }
}

template<class T> ALWAYS_INLINE void log_softmax_rows(const RowFormulas<T>& f, const T* a, T* out,
                                                      ptrdiff_t rows, ptrdiff_t n) {
    for (ptrdiff_t r = 0; r < rows; r++, a += n, out += n) {
        RowSum<T> sum = sum_row(f.sum_entry, a, n);
        if (sum.has_nan || isinf(sum.maximum)) {
            const bool one_hot = takes_all(sum);
            for (ptrdiff_t i = 0; i < n; i++)
                out[i] = one_hot ? (a[i] == sum.maximum ? (T)0 : (T)-INFINITY) : (T)NAN;
            continue;
        }
        const wide<T> m = widen(broadcast(sum.maximum)), log_total = log_of_sum(f.log1p, sum);
        rewrite_row(a, out, n, [&](wide<T> x) __attribute__((always_inline)) { return (x - m) - log_total; });
    }
}
