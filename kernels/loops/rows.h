// Sums of exponentials: what logsumexp, softmax and log_softmax have in common.
//
// exp(x) comes as 2^k (1 + t), so that sums may be taken in units of any power of two without an error,
// and no entry is ever rounded to x - max.  Where a logarithm follows, entries equal to the maximum are
// counted instead of added: each of them is 1 and would swallow a small rest.
//
// The order of a sum belongs to the row, not to its layout: entry i goes to partial sum i mod lanes, whose
// lanes are those of one register along a row, or that many registers across rows; the partial sums are
// added pairwise, and so a row's bits depend on the instruction set alone.
#pragma once
#include <math.h>
#include <type_traits>
#include "loops/blocks.h"

// The formulas of formulas/rows.pxi, given as literals and therefore inlined.
template<class T> struct RowFormulas {
    vec<T> (*exponent)(vec<T> x);
    vec<T> (*excess)(vec<T> x, vec<T> exponent);
    wide<T> (*leading_factor)(wide<T> x, wide<T> exponent);
    wide<T> (*rescaled)(wide<T> sum, wide<T> difference);
    wide<T> (*log1p)(wide<T> v);
};

// Terms are kept times UNIT = 2^BIAS, so that none is subnormal; those below 2^-DEPTH of the largest count as
// that, and sums of such as nothing: as much as LEAST.  What terms are multiplied by is kept times SPARE, so
// that its low part is not subnormal where it counts.  A maximum beyond SHIFTED is subtracted before exp,
// which is exact for every entry that matters: the smaller is more than half the larger.
template<class T> struct RowRange;
template<> struct RowRange<float> {
    static constexpr double BIAS = 64, UNIT = 0x1p64, DEPTH = 190, LEAST = 0x1p-96, SPARE = 0x1p24,
                            SHIFTED = 300;
};
template<> struct RowRange<double> {
    static constexpr double BIAS = 512, UNIT = 0x1p512, DEPTH = 1200, LEAST = 0x1p-650, SPARE = 0x1p53,
                            SHIFTED = 1700;
};

// What the entries of a row are measured against, lane by lane: exp(x - shift) in units of 2^exponent.
// `above` is the maximum less the shift, or 0 where that is infinite.
template<class T> struct Reference {
    vec<T> top, shift, above, exponent, floor, bias;
};

template<class T> ALWAYS_INLINE Reference<T> reference_for(const RowFormulas<T>& f, vec<T> top) {
    const vec<T> zero = splat(top, 0.0), finite = where_eq(top - top, zero, top, zero);
    const vec<T> shift = where_gt(magnitude(finite), splat(top, RowRange<T>::SHIFTED), finite, zero);
    const vec<T> above = finite - shift, exponent = f.exponent(above);
    const vec<T> floor = (exponent - splat(top, RowRange<T>::DEPTH)) * splat(top, LN2[0]);
    return {top, shift, above, exponent, floor, power_bias(splat(top, RowRange<T>::BIAS) - exponent)};
}

// A register of partial sums, and how many entries were equal to the maximum.
template<class T> struct Partial {
    wide<T> sum;
    vec<T> low, count;
};
template<class T> ALWAYS_INLINE Partial<T> no_entries() {
    const vec<T> zero = broadcast((T)0);
    return {widen(zero), zero, zero};
}
static ALWAYS_INLINE void add_term(Partial<float>& p, vec<float> term, vec<float> error) {
    p.sum.lower = p.sum.lower + lower_half(term);
    p.sum.upper = p.sum.upper + upper_half(term);
    p.low = p.low + error;
}
static ALWAYS_INLINE void add_term(Partial<double>& p, vec<double> term, vec<double> error) {
    vd s = p.sum.hi + term, t = s - p.sum.hi;
    p.low = p.low + (((p.sum.hi - (s - t)) + (term - t)) + error);
    p.sum.hi = s;
}
static ALWAYS_INLINE wide<float> sum_of(const Partial<float>& p) { return p.sum + widen(p.low); }
static ALWAYS_INLINE wide<double> sum_of(const Partial<double>& p) { return {p.sum.hi, p.low}; }
static ALWAYS_INLINE Partial<float> operator+(const Partial<float>& p, const Partial<float>& q) {
    return {p.sum + q.sum, p.low + q.low, p.count + q.count};
}
static ALWAYS_INLINE Partial<double> operator+(const Partial<double>& p, const Partial<double>& q) {
    const wide<double> sum = sum_of(p) + sum_of(q);
    return {sum, sum.lo, p.count + q.count};
}

// Registers that are worked on at once: a chain of dependent operations leaves most of the processor idle.
template<class T, bool RARE = false> constexpr int ABREAST = RARE                              ? 1
                                                             : vec<T>::lanes * sizeof(T) == 64 ? 4
                                                                                               : 2;

// What is summed: all terms, or the rest beside those equal to the maximum, which are counted; and whether
// all terms are kept for later.
enum Summed { BESIDE_TOP, ALL_KEPT, BESIDE_TOP_KEPT };

// Adds an entry of each row to its partial sum, N times over; `x` becomes exp(x) in units of the reference,
// times 2^BIAS.  INFINITE: where the maximum is +inf it is 1 and all others 0, or NaN.  Where all terms are
// kept, 0 is that of -inf alone, to which no gradient flows whatever the row's sum is.  Lanes where `live` is
// 0 are not there.  The partial sums lie `apart`; 0: there is one.
template<Summed SUMMED, bool INFINITE, int N, class T>
ALWAYS_INLINE void add_entries(const RowFormulas<T>& f, const Reference<T>& r, vec<T> (&x)[N],
                               Partial<T>* partial, int apart, const vec<T>* live = nullptr) {
    const vec<T> zero = splat(r.top, 0.0), one = splat(r.top, 1.0), none = splat(r.top, -INFINITY);
    vec<T> k[N], t[N];
#pragma GCC unroll 4
    for (int j = 0; j < N; j++) {
        t[j] = at_least(x[j] - r.shift, r.floor);
        k[j] = f.exponent(t[j]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < N; j++) t[j] = f.excess(t[j], k[j]);
#pragma GCC unroll 4
    for (int j = 0; j < N; j++) {
        Partial<T>& own = partial[j * apart];
        vec<T> power = power_of_two_biased(k[j] + r.bias);
        if (SUMMED == BESIDE_TOP) power = where_eq(x[j], r.top, zero, power);
        if (SUMMED == ALL_KEPT) power = where_eq(x[j], none, zero, power);
        if (live) power = where_eq(live[j], zero, zero, power);
        vec<T> term = fma(power, t[j], power), error = fma(power, t[j], power - term);
        if (INFINITE) {
            const vec<T> infinite = splat(zero, INFINITY), nothing = where_eq(x[j], x[j], zero, x[j]);
            const vec<T> unit = splat(zero, SUMMED == BESIDE_TOP ? 0.0 : RowRange<T>::UNIT);
            term = where_eq(r.top, infinite, where_eq(x[j], infinite, unit, nothing), term);
            error = where_eq(r.top, infinite, zero, error);
        }
        if (SUMMED == BESIDE_TOP_KEPT)
            add_term(own, where_eq(x[j], r.top, zero, term), where_eq(x[j], r.top, zero, error));
        else add_term(own, term, error);
        if (SUMMED != ALL_KEPT) own.count = where_eq(x[j], r.top, own.count + one, own.count);
        if (INFINITE && SUMMED == ALL_KEPT) {
            const vec<T> least = splat(zero, RowRange<T>::LEAST);
            term = where_eq(term, zero, where_eq(x[j], none, zero, least), term);
        }
        x[j] = term;
    }
}

// --- over the lanes of a register -----------------------------------------------------------------------

template<int distance> ALWAYS_INLINE wide<double> folded(wide<double> a) {
    return a + wide<double>{rotated<distance>(a.hi), rotated<distance>(a.lo)};
}
template<int distance> ALWAYS_INLINE wide<float> folded(wide<float> a) {
    if constexpr (distance == vec<double>::lanes) return {a.lower + a.upper, a.lower + a.upper};
    else return {a.lower + rotated<distance>(a.lower), a.upper + rotated<distance>(a.upper)};
}
template<int distance> ALWAYS_INLINE vec<float> folded(vec<float> a) { return a + rotated<distance>(a); }
template<int distance> ALWAYS_INLINE vec<double> folded(vec<double> a) { return a + rotated<distance>(a); }

// The sum of all lanes, in every one of them.
template<class T, int distance = vec<T>::lanes / 2, class R> ALWAYS_INLINE R over_lanes(R a) {
    if constexpr (distance == 0) return a;
    else return over_lanes<T, distance / 2>(folded<distance>(a));
}
static ALWAYS_INLINE Partial<float> over_lanes(const Partial<float>& p) {
    return {over_lanes<float>(p.sum), over_lanes<float>(p.low), over_lanes<float>(p.count)};
}
static ALWAYS_INLINE Partial<double> over_lanes(const Partial<double>& p) {
    const wide<double> sum = over_lanes<double>(sum_of(p));
    return {sum, sum.lo, over_lanes<double>(p.count)};
}
template<class T, int distance = vec<T>::lanes / 2> ALWAYS_INLINE vec<T> top_of_lanes(vec<T> a) {
    if constexpr (distance == 0) return a;
    else return top_of_lanes<T, distance / 2>(at_least(a, rotated<distance>(a)));
}

// --- segments -------------------------------------------------------------------------------------------

// What is kept of one segment of rows: its maximum, how often it occurs, the sum of the rest.  In `Pieces`
// lies one of them for each row of a tile, segment after segment.
template<class T> struct Piece {
    vec<T> top, count;
    wide<T> rest;
};

static ALWAYS_INLINE wide<float> load_wide(const double* hi, const double*, vec<float>*) {
    return {load(hi), load(hi + vec<double>::lanes)};
}
static ALWAYS_INLINE wide<double> load_wide(const double* hi, const double* lo, vec<double>*) {
    return {load(hi), load(lo)};
}
static ALWAYS_INLINE void store_wide(double* hi, double*, wide<float> a) {
    store(hi, a.lower);
    store(hi + vec<double>::lanes, a.upper);
}
static ALWAYS_INLINE void store_wide(double* hi, double* lo, wide<double> a) {
    store(hi, a.hi);
    store(lo, a.lo);
}
static ALWAYS_INLINE void store_lane(double* hi, double*, wide<float> a) { *hi = a.lower.v[0]; }
static ALWAYS_INLINE void store_lane(double* hi, double* lo, wide<double> a) {
    *hi = a.hi.v[0];
    *lo = a.lo.v[0];
}

template<class T> struct Pieces {
    T *top, *count;
    double *hi, *lo;

    explicit Pieces(const RowTile& tile)
        : top((T*)tile.top), count((T*)tile.count), hi(tile.hi), lo(tile.lo) {}
    ALWAYS_INLINE Piece<T> at(ptrdiff_t i) const {
        return {load(top + i), load(count + i), load_wide(hi + i, lo + i, (vec<T>*)0)};
    }
    ALWAYS_INLINE void put(ptrdiff_t i, const Piece<T>& piece) const {
        store(top + i, piece.top);
        store(count + i, piece.count);
        store_wide(hi + i, lo + i, piece.rest);
    }
    ALWAYS_INLINE void put_lane(ptrdiff_t i, const Piece<T>& piece) const {
        top[i] = piece.top.v[0];
        count[i] = piece.count.v[0];
        store_lane(hi + i, lo + i, piece.rest);
    }
};

template<int N> using Number = std::integral_constant<int, N>;

template<class T> constexpr T ONES[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
// As load_first and store_first, of any number of elements.
template<class T> ALWAYS_INLINE vec<T> load_some(const T* p, ptrdiff_t n, vec<T> fill) {
    if (n <= 0) return fill;
    return load_first(p, n < vec<T>::lanes ? n : vec<T>::lanes, fill);
}
template<class T> ALWAYS_INLINE void store_some(T* p, ptrdiff_t n, vec<T> a) {
    if (n > 0) store_first(p, n < vec<T>::lanes ? n : vec<T>::lanes, a);
}

// What is left of a segment; `zero` adds the entry 0.
template<Summed SUMMED, bool INFINITE, class T>
ALWAYS_INLINE Piece<T> piece_of(const RowFormulas<T>& f, const Reference<T>& r, Partial<T> whole, bool zero) {
    if (zero) {
        vec<T> entry[] = {broadcast((T)0)};
        add_entries<SUMMED, INFINITE>(f, r, entry, &whole, 0);
    }
    return {r.top, whole.count, sum_of(whole)};
}

// A segment of one contiguous row; its maximum is known.
template<Summed SUMMED, bool INFINITE, class T>
ALWAYS_INLINE Piece<T> sum_along(const RowFormulas<T>& f, const T* x, ptrdiff_t n, bool zero, vec<T> top,
                                 T* terms) {
    constexpr int PACK = ABREAST<T, INFINITE>;
    const ptrdiff_t lanes = vec<T>::lanes;
    const Reference<T> r = reference_for(f, top);
    Partial<T> partial = no_entries<T>();
    const ptrdiff_t pack = PACK * lanes, body = n - n % pack, rest = n - body;
    for (ptrdiff_t i = 0; i < body; i += pack) {
        vec<T> entries[PACK];
#pragma GCC unroll 4
        for (int j = 0; j < PACK; j++) entries[j] = load(x + i + j * lanes);
        add_entries<SUMMED, INFINITE>(f, r, entries, &partial, 0);
#pragma GCC unroll 4
        for (int j = 0; SUMMED != BESIDE_TOP && j < PACK; j++) store(terms + i + j * lanes, entries[j]);
    }
    auto add_rest = [&](auto abreast) __attribute__((always_inline)) {
        constexpr int N = decltype(abreast)::value;
        vec<T> entries[N], live[N];
#pragma GCC unroll 4
        for (int j = 0; j < N; j++) {
            const ptrdiff_t first = body + j * lanes;
            entries[j] = load_some(x + first, n - first, broadcast((T)-INFINITY));
            live[j] = load_some(ONES<T>, n - first, broadcast((T)0));
        }
        add_entries<SUMMED, INFINITE>(f, r, entries, &partial, 0, live);
#pragma GCC unroll 4
        for (int j = 0; SUMMED != BESIDE_TOP && j < N; j++)
            store_some(terms + body + j * lanes, n - body - j * lanes, entries[j]);
    };
    if (PACK > 1 && rest > lanes) add_rest(Number<PACK>());
    else if (rest) add_rest(Number<1>());
    return piece_of<SUMMED, INFINITE>(f, r, over_lanes(partial), zero);
}

template<class T> ALWAYS_INLINE vec<T> top_along(const T* x, ptrdiff_t n) {
    const ptrdiff_t lanes = vec<T>::lanes, body = n - n % lanes;
    const vec<T> lowest = broadcast((T)-INFINITY);
    vec<T> top = lowest, other = lowest;
    ptrdiff_t i = 0;
    for (; i + lanes < body; i += 2 * lanes) {
        top = at_least(top, load(x + i));
        other = at_least(other, load(x + i + lanes));
    }
    if (i < body) top = at_least(top, load(x + i));
    if (body < n) other = at_least(other, load_first(x + body, n - body, lowest));
    return top_of_lanes(at_least(top, other));
}

template<class T> ALWAYS_INLINE vec<T> load_columns(const T* p, ptrdiff_t columns) {
    return columns == vec<T>::lanes ? load(p) : load_first(p, columns, broadcast((T)0));
}
template<class T> ALWAYS_INLINE void store_columns(T* p, ptrdiff_t columns, vec<T> a) {
    if (columns == vec<T>::lanes) store(p, a);
    else store_first(p, columns, a);
}

// Calls f(how many, first) for the partial sums of a segment across, as many abreast as have equally many
// entries.
template<class T, bool RARE = false, class F> ALWAYS_INLINE void for_partials(ptrdiff_t n, F f) {
    constexpr int PACK = ABREAST<T, RARE>;
    const int lanes = vec<T>::lanes, longer = n % lanes, all = n < lanes ? (int)n : lanes;
    int p = 0;
    for (const int end : {longer, all}) {
        if (PACK > 1)
            for (; p + PACK <= end; p += PACK) f(Number<PACK>(), p);
        for (; p < end; p++) f(Number<1>(), p);
    }
}
// Their sum, in the order of `over_lanes`.
template<class T, class S> ALWAYS_INLINE S over_partials(ptrdiff_t n, S* sums) {
    const int lanes = vec<T>::lanes, used = n < lanes ? (int)n : lanes;
    for (int distance = lanes / 2; distance; distance /= 2)
        for (int p = 0; p < distance && p + distance < used; p++) sums[p] = sums[p] + sums[p + distance];
    return sums[0];
}

// A segment of as many rows as a register has lanes, or fewer, which lie side by side.
template<Summed SUMMED, bool INFINITE, class T>
ALWAYS_INLINE Piece<T> sum_across(const RowFormulas<T>& f, const T* x, ptrdiff_t step, ptrdiff_t columns,
                                  ptrdiff_t n, bool zero, vec<T> top, T* terms, ptrdiff_t term_step) {
    const int lanes = vec<T>::lanes;
    const Reference<T> r = reference_for(f, top);
    Partial<T> partials[vec<T>::lanes];
    for_partials<T, INFINITE>(n, [&](auto abreast, int first) __attribute__((always_inline)) {
        constexpr int N = decltype(abreast)::value;
        Partial<T> own[N];
#pragma GCC unroll 4
        for (int j = 0; j < N; j++) own[j] = no_entries<T>();
        for (ptrdiff_t i = first; i < n; i += lanes) {
            vec<T> entries[N];
#pragma GCC unroll 4
            for (int j = 0; j < N; j++) entries[j] = load_columns(x + (i + j) * step, columns);
            add_entries<SUMMED, INFINITE>(f, r, entries, own, 1);
#pragma GCC unroll 4
            for (int j = 0; SUMMED != BESIDE_TOP && j < N; j++)
                store_columns(terms + (i + j) * term_step, columns, entries[j]);
        }
#pragma GCC unroll 4
        for (int j = 0; j < N; j++) partials[first + j] = own[j];
    });
    return piece_of<SUMMED, INFINITE>(f, r, over_partials<T>(n, partials), zero);
}

// The maxima of REGISTERS registers of columns: as many, for memory likes long reads.
template<int REGISTERS, class T>
ALWAYS_INLINE void top_across(const T* x, ptrdiff_t step, ptrdiff_t columns, ptrdiff_t n, vec<T>* top) {
    vec<T> found[REGISTERS];
    for (int j = 0; j < REGISTERS; j++) found[j] = broadcast((T)-INFINITY);
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = 0; j < REGISTERS; j++)
            found[j] = at_least(found[j], load_columns(x + i * step + j * vec<T>::lanes, columns));
    for (int j = 0; j < REGISTERS; j++) top[j] = found[j];
}

// Rows side by side are worked on in narrow strips, for which memory is slow: the segments of an operand come
// into the cache in its own order.
template<class T>
ALWAYS_INLINE void fetch_across(const void* p, ptrdiff_t step, ptrdiff_t n, ptrdiff_t rows) {
    for (ptrdiff_t i = 0; i < n; i++)
        for (ptrdiff_t at = 0; at < rows; at += 64 / sizeof(T))
            __builtin_prefetch((const T*)p + i * step + at, 0, 2);
}

// One segment of the rows of a tile, its pieces from `at` on.  Terms are kept where there is a place for
// them; `zero`: there is one more entry.
template<Summed SUMMED, class T> ALWAYS_INLINE void sum_segment(const RowFormulas<T>& f, const RowTile& tile,
                                                                const T* x, T* terms, ptrdiff_t n, bool zero,
                                                                const Pieces<T>& pieces, ptrdiff_t at) {
    const ptrdiff_t lanes = vec<T>::lanes;
    const T infinite = (T)INFINITY;
    const vec<T> lowest = broadcast(zero ? (T)0 : -infinite);
    if (tile.along) {
        for (ptrdiff_t row = 0; row < tile.rows; row++, x += tile.row_x, terms += terms ? tile.row_out : 0) {
            const vec<T> top = at_least(top_along(x, n), lowest);
            pieces.put_lane(at + row, top.v[0] == infinite
                                              ? sum_along<SUMMED, true>(f, x, n, zero, top, terms)
                                              : sum_along<SUMMED, false>(f, x, n, zero, top, terms));
        }
        return;
    }
    const ptrdiff_t step = tile.step_x, term_step = tile.step_out;
    fetch_across<T>(x, step, n, tile.rows);
    if (SUMMED != BESIDE_TOP) fetch_across<T>(terms, term_step, n, tile.rows);
    for (ptrdiff_t row = 0; row < tile.rows;) {
        const ptrdiff_t left = tile.rows - row, columns = left < lanes ? left : lanes;
        const int group = left < 4 * lanes ? 1 : 4;
        vec<T> tops[4];
        if (group == 4) top_across<4>(x, step, lanes, n, tops);
        else top_across<1>(x, step, columns, n, tops);
        for (int j = 0; j < group; j++, row += lanes, x += lanes, terms += terms ? lanes : 0) {
            const vec<T> top = at_least(tops[j], lowest);
            auto sum = [&](auto is_infinite, ptrdiff_t columns) __attribute__((always_inline)) {
                pieces.put(at + row, sum_across<SUMMED, decltype(is_infinite)::value>(
                                             f, x, step, columns, n, zero, top, terms, term_step));
            };
            if (top_of_lanes(top).v[0] == infinite) sum(std::true_type(), columns);
            else if (columns == lanes) sum(std::false_type(), lanes);
            else sum(std::false_type(), columns);
        }
    }
}

template<Summed SUMMED, class T>
ALWAYS_INLINE void sum_segments(const RowFormulas<T>& f, const RowTile& tile) {
    for (ptrdiff_t first = 0, at = 0; first < tile.length; first += SEGMENT, at += tile.width) {
        const ptrdiff_t n = tile.length - first < SEGMENT ? tile.length - first : SEGMENT;
        const bool zero = tile.zero && tile.first + first == 0;
        T* terms = SUMMED != BESIDE_TOP ? (T*)tile.out + first * tile.step_out : nullptr;
        sum_segment<SUMMED>(f, tile, (const T*)tile.x + first * tile.step_x, terms, n, zero, Pieces<T>(tile),
                            at);
    }
}

// Counts the maximum and sums the rest.
template<class T> ALWAYS_INLINE void sum_rows(const RowFormulas<T>& f, const RowTile& tile) {
    sum_segments<BESIDE_TOP>(f, tile);
}
// Sums all terms and leaves them in the place of the result, for `apply`.
template<class T> ALWAYS_INLINE void keep_rows(const RowFormulas<T>& f, const RowTile& tile) {
    sum_segments<ALL_KEPT>(f, tile);
}
