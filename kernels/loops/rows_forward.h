// What follows from the sums of rows.h: logsumexp, softmax, log_softmax, and logsumexp's gradient, which is
// softmax times a factor.
#pragma once
#include "loops/rows.h"

static ALWAYS_INLINE ptrdiff_t segments_of(const RowTile& tile) {
    return (tile.length + SEGMENT - 1) / SEGMENT;
}

template<class T, class F> ALWAYS_INLINE void for_rows(const RowTile& tile, F f) {
    for (ptrdiff_t row = 0; row < tile.rows; row += vec<T>::lanes) f(row);
}

// --- after sum_rows ---------------------------------------------------------------------------------------

// The sums of a segment in units of exp(top), and what its terms must be multiplied by for that, in units of
// 2^-BIAS.
template<class T> struct Normalised {
    vec<T> top;
    wide<T> count, rest, factor;
};

template<class T>
ALWAYS_INLINE Normalised<T> normalised_piece(const RowFormulas<T>& f, const Piece<T>& piece) {
    const Reference<T> r = reference_for(f, piece.top);
    const wide<T> factor = f.leading_factor(widen(r.above), widen(r.exponent));
    const wide<T> least = splat(factor, RowRange<T>::LEAST), unit = splat(factor, 1 / RowRange<T>::UNIT);
    const wide<T> rest = where_gt(least, piece.rest, splat(factor, 0.0), normalised(piece.rest));
    return {piece.top, widen(piece.count), scaled(settled(rest * factor), unit), factor};
}

// The sums over all segments of the rows at `row`.
template<class T>
ALWAYS_INLINE Normalised<T> whole_rows(const RowFormulas<T>& f, const RowTile& tile, ptrdiff_t row) {
    const Pieces<T> pieces(tile);
    Normalised<T> whole = normalised_piece(f, pieces.at(row));
    const ptrdiff_t end = segments_of(tile) * tile.width;
    if (end == tile.width) return whole;
    for (ptrdiff_t at = row + tile.width; at < end; at += tile.width)
        whole.top = at_least(whole.top, load(pieces.top + at));
    const wide<T> top = widen(whole.top), zero = splat(top, 0.0), none = splat(top, -INFINITY);
    whole.count = whole.rest = zero;
    for (ptrdiff_t at = row; at < end; at += tile.width) {
        const Normalised<T> one = normalised_piece(f, pieces.at(at));
        const wide<T> own = widen(one.top);
        wide<T> lesser = f.rescaled(one.count + one.rest, own - top);
        lesser = where_eq(own, none, one.rest, lesser);
        whole.count = whole.count + where_eq(own, top, one.count, zero);
        whole.rest = whole.rest + where_eq(own, top, one.rest, lesser);
    }
    return whole;
}

// log(count + rest) = e ln 2 + log1p(v), count + rest = 2^e (1 + v), 0 <= v <= 1: the difference that makes v
// is exact, so a tiny rest beside a count of 1 keeps its full precision.
template<class T> ALWAYS_INLINE wide<T> log_of_sum(const RowFormulas<T>& f, const Normalised<T>& whole) {
    const wide<T> e = binade(whole.count + whole.rest);
    const wide<T> v = scaled((whole.count - power_of_two(e)) + whole.rest, power_of_two(splat(e, 0.0) - e));
    return e * constant(v, LN2[0], LN2[1]) + f.log1p(v);
}

template<class T> ALWAYS_INLINE void finish_logsumexp(const RowFormulas<T>& f, const RowTile& tile) {
    for_rows<T>(tile, [&](ptrdiff_t row) __attribute__((always_inline)) {
        const Normalised<T> whole = whole_rows(f, tile, row);
        const vec<T> zero = splat(whole.top, 0.0), rest = narrow(whole.rest);
        const vec<T> value = narrow(widen(whole.top) + log_of_sum(f, whole));
        const vec<T> infinite = where_eq(rest, rest, whole.top, rest);
        store((T*)tile.of_row + row, where_eq(whole.top - whole.top, zero, value, infinite));
    });
}

// The logarithm of the sum in units of exp(top): 0 beside a single +inf, NaN where there is none.
template<class T> ALWAYS_INLINE wide<T> log_of_rows(const RowFormulas<T>& f, const Normalised<T>& whole) {
    const wide<T> top = widen(whole.top), zero = splat(top, 0.0), undefined = splat(top, NAN);
    wide<T> one_hot = where_eq(whole.count, splat(top, 1.0), zero, undefined);
    one_hot = where_eq(whole.rest, whole.rest, one_hot, undefined);
    const wide<T> log_sum = where_eq(top - top, zero, log_of_sum(f, whole), one_hot);
    return where_gt(top, splat(top, -INFINITY), log_sum, undefined);
}

// Leaves the maximum and the logarithm of the sum for each segment.
template<class T> ALWAYS_INLINE void finish_log_softmax(const RowFormulas<T>& f, const RowTile& tile) {
    const Pieces<T> pieces(tile);
    const ptrdiff_t end = segments_of(tile) * tile.width;
    for_rows<T>(tile, [&](ptrdiff_t row) __attribute__((always_inline)) {
        const Normalised<T> whole = whole_rows(f, tile, row);
        const wide<T> log_sum = log_of_rows(f, whole);
        for (ptrdiff_t at = row; at < end; at += tile.width) pieces.put(at, {whole.top, whole.top, log_sum});
    });
}

// --- after keep_rows --------------------------------------------------------------------------------------

// Leaves for each segment what its terms must be multiplied by, and its largest term with its own value: so
// equal entries have equal shares to the last bit.  A single +inf takes all, several of them have no limit.
// Where nothing is above -inf, nothing can be shared: that is NaN, but no gradient.
template<bool GRADIENT, class T>
ALWAYS_INLINE void finish_shares(const RowFormulas<T>& f, const RowTile& tile) {
    const Pieces<T> pieces(tile);
    const ptrdiff_t end = segments_of(tile) * tile.width;
    const bool several = end > tile.width;
    for_rows<T>(tile, [&](ptrdiff_t row) __attribute__((always_inline)) {
        const wide<T> zero = widen(broadcast((T)0)), infinite = splat(zero, INFINITY),
                      undefined = splat(zero, NAN);
        const wide<T> unit = splat(zero, RowRange<T>::UNIT), spare = splat(zero, RowRange<T>::SPARE);
        Piece<T> whole = pieces.at(row);
        if (several) {
            for (ptrdiff_t at = row; at < end; at += tile.width)
                whole.top = at_least(whole.top, load(pieces.top + at));
            whole.rest = zero;
        }
        const wide<T> top = widen(whole.top);
        const Reference<T> r = reference_for(f, whole.top);
        // a number in units of a segment, in those of the row; beside an infinite maximum 0
        auto rescaled = [&](const Reference<T>& own, wide<T> a) __attribute__((always_inline)) {
            const wide<T> difference = (widen(own.shift) - widen(r.shift)) +
                                       widen(own.exponent - r.exponent) * constant(zero, LN2[0], LN2[1]);
            const wide<T> beside = where_eq(widen(own.top), infinite, a, a * zero);
            return where_eq(top, infinite, beside, f.rescaled(a, difference));
        };
        if (several)
            for (ptrdiff_t at = row; at < end; at += tile.width) {
                const Piece<T> piece = pieces.at(at);
                whole.rest = whole.rest + rescaled(reference_for(f, piece.top), normalised(piece.rest));
            }
        wide<T> inverse = scaled(unit, spare) / normalised(whole.rest);
        inverse = where_eq(top, infinite, where_eq(whole.rest, unit, inverse, undefined), inverse);
        inverse = where_gt(top, zero - infinite, inverse, GRADIENT ? whole.rest * zero : undefined);
        for (ptrdiff_t at = row; at < end; at += tile.width) {
            const Reference<T> own = several ? reference_for(f, load(pieces.top + at)) : r;
            const wide<T> factor = normalised(several ? rescaled(own, inverse) : inverse);
            const vec<T> t = f.excess(own.above, own.exponent), power = splat(t, RowRange<T>::UNIT);
            const vec<T> term = fma(power, t, power), error = fma(power, t, power - term);
            const wide<T> share = (widen(term) + widen(error)) * factor;
            const wide<T> to_one = splat(zero, 1 / (RowRange<T>::UNIT * RowRange<T>::SPARE));
            pieces.put(at, {term, narrow(scaled(share, to_one)), factor});
        }
    });
}

template<class T> ALWAYS_INLINE void finish_softmax(const RowFormulas<T>& f, const RowTile& tile) {
    finish_shares<false>(f, tile);
}
template<class T> ALWAYS_INLINE void finish_logsumexp_backward(const RowFormulas<T>& f, const RowTile& tile) {
    finish_shares<true>(f, tile);
}

// --- the results of a row's entries -----------------------------------------------------------------------

static ALWAYS_INLINE wide<float> broadcast_wide(double hi, double, float) {
    return {broadcast(hi), broadcast(hi)};
}
static ALWAYS_INLINE wide<double> broadcast_wide(double hi, double lo, double) {
    return {broadcast(hi), broadcast(lo)};
}

// Writes `entry(prepared, source, dy)` for every entry of a tile, where prepared is `prepare(what finish
// left, the value of the row)`.
template<class T, class Prepare, class Entry>
ALWAYS_INLINE void apply_rows(const RowTile& tile, const void* from, ptrdiff_t row_from, ptrdiff_t step_from,
                              Prepare prepare, Entry entry) {
    const ptrdiff_t lanes = vec<T>::lanes;
    const Pieces<T> pieces(tile);
    const T* of_row = (const T*)tile.of_row;
    for (ptrdiff_t first = 0, at = 0; first < tile.length; first += SEGMENT, at += tile.width) {
        const ptrdiff_t n = tile.length - first < SEGMENT ? tile.length - first : SEGMENT;
        for (ptrdiff_t row = 0; row < tile.rows; row += tile.along ? 1 : lanes) {
            const T* source = (const T*)from + first * step_from + row * row_from;
            const T* dy = (const T*)tile.dy + first * tile.step_dy + row * tile.row_dy;
            T* out = (T*)tile.out + first * tile.step_out + row * tile.row_out;
            if (tile.along) {
                const Piece<T> own = {broadcast(pieces.top[at + row]), broadcast(pieces.count[at + row]),
                                      broadcast_wide(pieces.hi[at + row], pieces.lo[at + row], T())};
                const auto prepared = prepare(own, broadcast(of_row[row]));
                const ptrdiff_t body = n - n % lanes;
                for (ptrdiff_t i = 0; i < body; i += lanes)
                    store(out + i, entry(prepared, load(source + i), dy + i, lanes));
                if (body < n) {
                    const vec<T> last = load_first(source + body, n - body, broadcast((T)0));
                    store_first(out + body, n - body, entry(prepared, last, dy + body, n - body));
                }
                continue;
            }
            const ptrdiff_t left = tile.rows - row, columns = left < lanes ? left : lanes;
            const auto prepared = prepare(pieces.at(at + row), load(of_row + row));
            if (columns == lanes) {
                for (ptrdiff_t i = 0; i < n; i++)
                    store(out + i * tile.step_out,
                          entry(prepared, load(source + i * step_from), dy + i * tile.step_dy, lanes));
            } else {
                for (ptrdiff_t i = 0; i < n; i++)
                    store_first(out + i * tile.step_out, columns,
                                entry(prepared, load_columns(source + i * step_from, columns),
                                      dy + i * tile.step_dy, columns));
            }
        }
    }
}

template<class T> struct Factor {
    vec<T> top, of_top, high, low, of_row;
};
template<class T> ALWAYS_INLINE Factor<T> split_factor(const Piece<T>& piece, vec<T> of_row) {
    const vec<T> high = narrow(piece.rest);
    return {piece.top, piece.count, high, narrow(piece.rest - widen(high)), of_row};
}
template<class T> ALWAYS_INLINE vec<T> share_of(const Factor<T>& factor, vec<T> term) {
    const vec<T> to_one = splat(term, 1 / (RowRange<T>::UNIT * RowRange<T>::SPARE));
    const vec<T> share = product_with_sum(term, factor.high, factor.low) * to_one;
    return where_eq(term, factor.top, factor.of_top, share);
}

template<class T> ALWAYS_INLINE void apply_softmax(const RowFormulas<T>&, const RowTile& tile) {
    apply_rows<T>(tile, tile.out, tile.row_out, tile.step_out, split_factor<T>,
                  [](const Factor<T>& factor, vec<T> term, const T*, ptrdiff_t)
                          __attribute__((always_inline)) { return share_of(factor, term); });
}

// Nothing flows to an entry whose share is 0, whatever the factor, nor to -inf in a row that has no shares.
template<class T> ALWAYS_INLINE void apply_logsumexp_backward(const RowFormulas<T>&, const RowTile& tile) {
    apply_rows<T>(tile, tile.out, tile.row_out, tile.step_out, split_factor<T>,
                  [](const Factor<T>& factor, vec<T> term, const T*, ptrdiff_t)
                          __attribute__((always_inline)) {
                              const vec<T> zero = splat(term, 0.0);
                              const vec<T> share = where_eq(term, zero, zero, share_of(factor, term));
                              return where_eq(share, zero, zero, share * factor.of_row);
                          });
}

template<class T> struct LogSum {
    vec<T> top, of_top, high, low;  // high + low: logsumexp of the row
};

// (x - high) - low, rounded once (two-sum: Knuth, The Art of Computer Programming 2, 4.2.2).  Beside the
// maximum the rest of a dominated row is too small for that: `of_top` is its value.
template<class T> ALWAYS_INLINE void apply_log_softmax(const RowFormulas<T>&, const RowTile& tile) {
    apply_rows<T>(
            tile, tile.x, tile.row_x, tile.step_x,
            [](const Piece<T>& piece, vec<T>) __attribute__((always_inline)) {
                const wide<T> sum = widen(piece.top) + piece.rest;
                const vec<T> zero = splat(piece.top, 0.0), of_top = narrow(widen(zero) - piece.rest);
                const vec<T> high = narrow(sum), low = narrow(sum - widen(high));
                return LogSum<T>{piece.top, of_top, high, where_eq(low, low, low, zero)};
            },
            [](const LogSum<T>& row, vec<T> x, const T*, ptrdiff_t) __attribute__((always_inline)) {
                const vec<T> zero = splat(x, 0.0), s = x - row.high, t = s - x;
                vec<T> error = (x - (s - t)) - (row.high + t);
                error = where_eq(error, error, error, zero);  // beside an infinite s
                return where_eq(x, row.top, row.of_top, s + (error - row.low));
            });
}
