// Cross entropy, loss and gradient, from the sums of rows.h.  With w the weights of C classes, e the
// smoothing and y the logarithm of a row's shares s = exp(x) / sum(exp(x)):
//
//   target    q = w ((1 - e) p + e / C), p being 1 at the row's label and 0 elsewhere, or probabilities
//   loss      -sum(q y) = sum(q (top - x)) + sum(q) log(sum(exp(x - top)))
//   gradient  s (sum(q) - q) - q (1 - s), times what flows in
//
// in which no two large numbers meet: the sums leave out the maximum, so that the small rest of a row that
// one entry dominates is 1 - s there.  A row whose targets are all 0 costs nothing, whatever its logits are.
//
// "Labels" are targets of one class alone: their gradient is a share everywhere but at the label, whose value
// is worked out once for each row.  "Targets" are all others: entry by entry, in the lanes of in_double.
#pragma once
#include "loops/rows_backward.h"

// One double for each row.
template<class T> ALWAYS_INLINE wide<T> load_of_rows(const double* p) { return to_sum(load_double(p, T())); }

// Calls f(row, columns, first entry, entries, index of its piece) for all segments and rows.
template<bool ALONG, class T, class F> ALWAYS_INLINE void for_segments(const RowTile& tile, F f) {
    const ptrdiff_t lanes = vec<T>::lanes;
    for (ptrdiff_t first = 0, at = 0; first < tile.length; first += SEGMENT, at += tile.width) {
        const ptrdiff_t n = tile.length - first < SEGMENT ? tile.length - first : SEGMENT;
        for (ptrdiff_t row = 0; row < tile.rows; row += ALONG ? 1 : lanes) {
            const ptrdiff_t left = tile.rows - row;
            f(row, left < lanes ? left : lanes, first, n, at + row);
        }
    }
}

// Where what `Losses` holds of a segment lies, which counts from the whole tile's first.
static ALWAYS_INLINE ptrdiff_t index_in_whole(const RowTile& tile, ptrdiff_t at) {
    return at + tile.first / SEGMENT * tile.width;
}

// --- sums -----------------------------------------------------------------------------------------------

// Calls f(row, entry) for the rows whose label is among the entries of this part of the tile.
template<class F> ALWAYS_INLINE void for_labels(const RowTile& tile, F f) {
    for (ptrdiff_t row = 0; row < tile.rows; row++) {
        const ptrdiff_t entry = tile.losses->label[row] - tile.first;
        if ((size_t)entry < (size_t)tile.length) f(row, entry);  // a label of -1 is in no part
    }
}

// The entries at the labels, one for each row.
template<class T> ALWAYS_INLINE void take_at_labels(const RowTile& tile, void* to, const void* from,
                                                    ptrdiff_t row_from, ptrdiff_t step_from) {
    for_labels(tile, [&](ptrdiff_t row, ptrdiff_t entry) __attribute__((always_inline)) {
        ((T*)to)[row] = ((const T*)from)[row * row_from + entry * step_from];
    });
}

// The logits; before anything is written, for the result may take their place.
template<class T> ALWAYS_INLINE void take_logits(const RowTile& tile) {
    take_at_labels<T>(tile, tile.losses->at_label, tile.x, tile.row_x, tile.step_x);
}

template<class T> ALWAYS_INLINE void sum_for_labels(const RowFormulas<T>& f, const RowTile& tile) {
    take_logits<T>(tile);
    sum_segments<BESIDE_TOP>(f, tile);
}
template<class T> ALWAYS_INLINE void keep_for_labels(const RowFormulas<T>& f, const RowTile& tile) {
    take_logits<T>(tile);
    sum_segments<BESIDE_TOP_KEPT>(f, tile);
}

// The targets of a register of entries, but for what a label has alone.
template<bool ALONG, class T> ALWAYS_INLINE wide<T> targets_at(const RowTile& tile,
                                                               const Entries<ALONG, T>& p, ptrdiff_t from,
                                                               ptrdiff_t i, ptrdiff_t left) {
    const Losses& l = *tile.losses;
    const wide<T> zero = widen(broadcast((T)0));
    const double* weight = l.weight + tile.first + from + i;
    wide<T> q = constant(zero, l.spread, l.spread_low);
    if (p.p) q = widen(p.at(i, left)) * constant(zero, l.hard, l.hard_low) + q;
    return q * (ALONG ? load_of_rows<T>(weight) : splat(zero, *weight));
}

// Sums over a segment: of q (top - x), top being its own, and of q.
template<class T> struct Spread {
    wide<T> apart, mass;
};
template<class T> ALWAYS_INLINE Spread<T> operator+(Spread<T> a, Spread<T> b) {
    return {a.apart + b.apart, a.mass + b.mass};
}
template<class T> ALWAYS_INLINE Spread<T> over_lanes(Spread<T> a) {
    return {over_lanes<T>(a.apart), over_lanes<T>(a.mass)};
}

template<bool ALONG, class T> ALWAYS_INLINE Entries<ALONG, T> entries_of(const void* p, ptrdiff_t row_step,
                                                                         ptrdiff_t step, ptrdiff_t columns,
                                                                         ptrdiff_t row, ptrdiff_t first) {
    return {p ? (const T*)p + row * row_step + first * step : nullptr, step, columns};
}

template<bool ALONG, class T> ALWAYS_INLINE void sum_spread(const RowTile& tile) {
    const Losses& l = *tile.losses;
    for_segments<ALONG, T>(tile, [&](ptrdiff_t row, ptrdiff_t columns, ptrdiff_t first, ptrdiff_t n,
                                     ptrdiff_t at) __attribute__((always_inline)) {
        const auto x = entries_of<ALONG, T>(tile.x, tile.row_x, tile.step_x, columns, row, first);
        const auto p = entries_of<ALONG, T>(tile.dy, tile.row_dy, tile.step_dy, columns, row, first);
        vec<T> top;
        if (ALONG) top = top_along(x.p, n);
        else top_across<1>(x.p, x.step, columns, n, &top);
        const wide<T> zero = widen(splat(top, 0.0));
        const Spread<T> sum = sum_registers<ALONG, T>(
                n, Spread<T>{zero, zero}, [&](ptrdiff_t i, ptrdiff_t left) __attribute__((always_inline)) {
                    const vec<T> entry = x.at(i, left);
                    const wide<T> q = targets_at(tile, p, first, i, left);
                    const wide<T> below = widen(top) - widen(entry);
                    const wide<T> apart = where_eq(widen(entry), widen(top), zero, q * below);
                    return Spread<T>{where_eq(q, zero, zero, apart), q};
                });
        const ptrdiff_t to = index_in_whole(tile, at);
        if (ALONG) {
            store_lane(l.apart + to, l.apart_low + to, sum.apart);
            store_lane(l.mass + to, l.mass_low + to, sum.mass);
        } else {
            store_wide(l.apart + to, l.apart_low + to, sum.apart);
            store_wide(l.mass + to, l.mass_low + to, sum.mass);
        }
    });
}

template<class T> ALWAYS_INLINE void take_targets(const RowTile& tile) {
    take_logits<T>(tile);
    if (tile.along) sum_spread<true, T>(tile);
    else sum_spread<false, T>(tile);
}
template<class T> ALWAYS_INLINE void sum_for_targets(const RowFormulas<T>& f, const RowTile& tile) {
    take_targets<T>(tile);
    sum_segments<BESIDE_TOP>(f, tile);
}
template<class T> ALWAYS_INLINE void keep_for_targets(const RowFormulas<T>& f, const RowTile& tile) {
    take_targets<T>(tile);
    sum_segments<BESIDE_TOP_KEPT>(f, tile);
}

// --- rows -----------------------------------------------------------------------------------------------

// What the targets of a row add up to.
template<class T> struct RowTargets {
    wide<T> weight;  // of the label's class
    wide<T> hard;    // what the label has alone
    wide<T> apart;   // sum of the others' q (top - x)
    wide<T> others;  // sum of the others' q
};

template<bool SPREAD, class T>
ALWAYS_INLINE RowTargets<T> targets_of_rows(const RowTile& tile, ptrdiff_t row, wide<T> top) {
    const Losses& l = *tile.losses;
    const wide<T> zero = splat(top, 0.0), weight = load_of_rows<T>(l.weight_of_row + row);
    const wide<T> counted = where_gt(weight, zero, weight, zero);
    if (!SPREAD) return {counted, counted, zero, zero};
    RowTargets<T> sums = {counted, counted * constant(zero, l.hard, l.hard_low), zero, zero};
    const ptrdiff_t end = segments_of(tile) * tile.width;
    for (ptrdiff_t at = row; at < end; at += tile.width) {
        const wide<T> own = widen(load((const T*)tile.top + at));
        const wide<T> apart = load_wide(l.apart + at, l.apart_low + at, (vec<T>*)0);
        const wide<T> mass = load_wide(l.mass + at, l.mass_low + at, (vec<T>*)0);
        wide<T> moved = where_eq(own, top, zero, mass * (top - own));
        moved = where_eq(mass, zero, zero, moved);
        sums.apart = sums.apart + apart + moved;
        sums.others = sums.others + mass;
    }
    sums.apart = where_gt(zero, weight, zero, sums.apart);  // an ignored row has no targets
    sums.others = where_gt(zero, weight, zero, sums.others);
    return sums;
}

// Two powers of two whose product is 2^exponent, as far as the type goes.
template<class T> struct Scales {
    vec<T> first, second;
};
template<class T> ALWAYS_INLINE Scales<T> scales_for(vec<T> exponent) {
    const vec<T> most = splat(exponent, Bits<T>::BIAS - 1), least = splat(exponent, 1 - Bits<T>::BIAS);
    const vec<T> first = smaller(larger(exponent, least), most);
    return {power_of_two(first), power_of_two(smaller(larger(exponent - first, least), most))};
}

// A row's factor, mantissa and exponent apart: a term times the one stays in range, whatever the other is.
template<class T> struct Parts {
    wide<T> mantissa;
    Scales<T> scales;  // and from a term's unit to 1
};
template<class T> ALWAYS_INLINE Parts<T> parts_of(wide<T> factor) {
    const wide<T> zero = splat(factor, 0.0), most = splat(factor, 1022.0);
    wide<T> exponent = where_eq(factor - factor, zero, binade(magnitude(factor)), zero);
    exponent = where_gt(exponent, most, most, exponent);
    const vec<T> in_type = narrow(exponent),
                 to_one = splat(in_type, RowRange<T>::BIAS + Bits<T>::MANTISSA + 1);
    return {scaled(factor, power_of_two(zero - exponent)), scales_for(in_type - to_one)};
}

// SPREAD: targets; else labels.  Leaves the gradient at the label and for each segment what its terms are
// multiplied by; for targets also the sum of a row's targets and 1 - s at the segment's maximum.
template<bool SPREAD, bool GRADIENT, class T>
ALWAYS_INLINE void finish_losses(const RowFormulas<T>& f, const RowTile& tile) {
    const Losses& l = *tile.losses;
    const Pieces<T> pieces(tile);
    const ptrdiff_t end = segments_of(tile) * tile.width;
    const bool several = end > tile.width;
    if (GRADIENT && !several) take_at_labels<T>(tile, l.term_at_label, tile.out, tile.row_out, tile.step_out);
    wide<T> tile_loss = widen(broadcast((T)0));
    for_rows<T>(tile, [&](ptrdiff_t row) __attribute__((always_inline)) {
        const Normalised<T> whole = whole_rows(f, tile, row);
        const wide<T> top = widen(whole.top), zero = splat(top, 0.0), one = splat(top, 1.0),
                      undefined = splat(top, NAN), unit_to_one = splat(top, 1 / RowRange<T>::UNIT);
        const wide<T> target_logit = widen(load((const T*)l.at_label + row));
        const RowTargets<T> targets = targets_of_rows<SPREAD, T>(tile, row, top);
        const wide<T> sum_of_targets = targets.hard + targets.others;

        if (l.losses_wanted) {
            const wide<T> log_sum = log_of_rows(f, whole),
                          below = where_eq(target_logit, top, zero, top - target_logit);
            wide<T> loss = where_eq(targets.hard, zero, zero, targets.hard * (below + log_sum));
            if (SPREAD)
                loss = loss + where_eq(targets.others, zero, zero, targets.apart + targets.others * log_sum);
            tile_loss = tile_loss + loss;
            if (l.losses_of_rows) store((T*)tile.of_row + row, narrow(loss));
        }
        if (!GRADIENT) return;

        const wide<T> infinite_total = where_eq(whole.count, one, whole.count + whole.rest, undefined);
        wide<T> total = where_eq(top - top, zero, whole.count + whole.rest, infinite_total);
        total = where_gt(top, splat(top, -INFINITY), total, undefined);
        wide<T> factor = constant(zero, l.factor, l.factor_low);
        if (l.factor_of_row) factor = factor * widen(load((const T*)tile.of_row + row));
        wide<T> at_label;
        if (several) at_label = f.rescaled(one, target_logit - top);
        else at_label = whole.factor * scaled(widen(load((const T*)l.term_at_label + row)), unit_to_one);
        at_label = where_eq(target_logit, top, one, at_label);
        const wide<T> beside_label = (whole.count - at_label) + whole.rest;
        wide<T> own = targets.hard;  // the label's target
        if (SPREAD) own = own + targets.weight * constant(zero, l.spread, l.spread_low);
        wide<T> gradient = own * (zero - beside_label);
        if (SPREAD) gradient = gradient + at_label * (sum_of_targets - own);
        const wide<T> inverse = one / normalised(total);
        gradient = factor * gradient * inverse;
        store((T*)l.at_label + row, narrow(where_eq(sum_of_targets, zero, zero, gradient)));

        if (!SPREAD) factor = factor * targets.hard;
        const Parts<T> parts = parts_of(factor);
        const wide<T> spare = splat(zero, RowRange<T>::SPARE);
        const wide<T> share = scaled(SPREAD ? inverse : normalised(parts.mantissa) * inverse, spare);
        for (ptrdiff_t at = row; at < end; at += tile.width) {
            const Reference<T> r = reference_for(f, several ? load(pieces.top + at) : whole.top);
            wide<T> to_whole = whole.factor, here = one;
            if (several) {
                here = where_eq(widen(r.top), top, one, f.rescaled(one, widen(r.top) - top));
                to_whole = f.leading_factor(widen(r.above), widen(r.exponent)) * here;
            }
            wide<T> for_terms = normalised(share * to_whole);
            for_terms = where_eq(sum_of_targets, zero, zero, for_terms);
            if (!SPREAD) {
                pieces.put(at, {parts.scales.first, parts.scales.second, for_terms});
                continue;
            }
            const vec<T> t = f.excess(r.above, r.exponent), power = splat(t, RowRange<T>::UNIT);
            const wide<T> beside = ((whole.count - here) + whole.rest) / total;
            pieces.put(at, {fma(power, t, power), narrow(beside), for_terms});
            wide<T> flowing = where_eq(total, total, factor, undefined);
            flowing = where_eq(sum_of_targets, zero, zero, flowing);
            store_wide(l.apart + at, l.apart_low + at, flowing);
            store_wide(l.mass + at, l.mass_low + at, sum_of_targets);
        }
    });
    store_lane(l.sum, l.sum + 1, over_lanes<T>(tile_loss));
}

template<class T> ALWAYS_INLINE void finish_labels(const RowFormulas<T>& f, const RowTile& tile) {
    finish_losses<false, false>(f, tile);
}
template<class T> ALWAYS_INLINE void finish_label_gradients(const RowFormulas<T>& f, const RowTile& tile) {
    finish_losses<false, true>(f, tile);
}
template<class T> ALWAYS_INLINE void finish_targets(const RowFormulas<T>& f, const RowTile& tile) {
    finish_losses<true, false>(f, tile);
}
template<class T> ALWAYS_INLINE void finish_target_gradients(const RowFormulas<T>& f, const RowTile& tile) {
    finish_losses<true, true>(f, tile);
}

// --- gradients ------------------------------------------------------------------------------------------

template<class T> ALWAYS_INLINE void put_label_gradients(const RowTile& tile) {
    for_labels(tile, [&](ptrdiff_t row, ptrdiff_t entry) __attribute__((always_inline)) {
        ((T*)tile.out)[row * tile.row_out + entry * tile.step_out] = ((const T*)tile.losses->at_label)[row];
    });
}

// A term, but 0 for one that is as small as terms become: of what it stands for nothing else is known, and it
// may be multiplied by a large number.
template<class T> ALWAYS_INLINE vec<T> known_part(vec<T> term) {
    const double least = __builtin_ldexp(1.25, (int)(RowRange<T>::BIAS - RowRange<T>::DEPTH));
    return where_gt(splat(term, least), term, splat(term, 0.0), term);
}

template<class T> struct LabelFactor {
    vec<T> high, low;
    Scales<T> scales;
};

template<class T> ALWAYS_INLINE void apply_label_gradients(const RowFormulas<T>&, const RowTile& tile) {
    apply_rows<T>(
            tile, tile.out, tile.row_out, tile.step_out,
            [](const Piece<T>& piece, vec<T>) __attribute__((always_inline)) {
                const vec<T> high = narrow(piece.rest), low = narrow(piece.rest - widen(high));
                const vec<T> zero = splat(high, 0.0);
                return LabelFactor<T>{high, where_eq(low, low, low, zero), {piece.top, piece.count}};
            },
            [](const LabelFactor<T>& factor, vec<T> term, const T*, ptrdiff_t)
                    __attribute__((always_inline)) {
                        const vec<T> zero = splat(term, 0.0);
                        const vec<T> gradient = product_with_sum(known_part(term), factor.high, factor.low) *
                                                factor.scales.first * factor.scales.second;
                        return where_eq(factor.high, zero, zero, gradient);
                    });
    put_label_gradients<T>(tile);
}

static ALWAYS_INLINE wide<float> term_times(vec<float> term, wide<float> factor) {
    return widen(term) * factor;
}
static ALWAYS_INLINE vec<double> term_times(vec<double> term, wide<double> factor) {
    return product_with_sum(term, factor.hi, factor.lo);
}
static ALWAYS_INLINE wide<float> second_part(wide<float> a) { return splat(a, 0.0); }
static ALWAYS_INLINE vec<double> second_part(wide<double> a) { return a.lo; }

// One value for each row of a register, or that of one row in all lanes.
template<bool ALONG, class T> ALWAYS_INLINE wide<T> rows_value(const double* hi, const double* lo) {
    if (ALONG) return broadcast_wide(*hi, *lo, T());
    return load_wide(hi, lo, (vec<T>*)0);
}

template<bool ALONG, class T> ALWAYS_INLINE void apply_spread(const RowTile& tile) {
    typedef decltype(in_double(vec<T>())) D;
    const Losses& l = *tile.losses;
    for_segments<ALONG, T>(tile, [&](ptrdiff_t row, ptrdiff_t columns, ptrdiff_t first, ptrdiff_t n,
                                     ptrdiff_t at) __attribute__((always_inline)) {
        const auto terms = entries_of<ALONG, T>(tile.out, tile.row_out, tile.step_out, columns, row, first);
        const auto p = entries_of<ALONG, T>(tile.dy, tile.row_dy, tile.step_dy, columns, row, first);
        T* const out = (T*)terms.p;
        const T *tops = (const T*)tile.top + at, *counts = (const T*)tile.count + at;
        const vec<T> top = ALONG ? broadcast(*tops) : load(tops);
        const D beside_top = in_double(ALONG ? broadcast(*counts) : load(counts));
        const wide<T> factor = rows_value<ALONG, T>(tile.hi + at, tile.lo + at);
        const ptrdiff_t whole = index_in_whole(tile, at);
        const wide<T> sum = rows_value<ALONG, T>(l.mass + whole, l.mass_low + whole);
        const D sum_high = first_part(sum), sum_low = second_part(sum);
        const D flowing = first_part(rows_value<ALONG, T>(l.apart + whole, l.apart_low + whole));
        const D zero = in_double(splat(top, 0.0)), one = splat(zero, 1.0);
        const D to_one = splat(zero, 1 / (RowRange<T>::UNIT * RowRange<T>::SPARE));
        for_registers<ALONG, T>(n, [&](ptrdiff_t i, ptrdiff_t left) __attribute__((always_inline)) {
            const vec<T> term = terms.at(i, left);
            const D share = term_times(known_part(term), factor) * to_one;
            const D beside = where_eq(in_double(term), in_double(top), beside_top, one - share);
            const D q = rounded_sum(targets_at(tile, p, first, i, left));
            const D gradient = (share * ((sum_high - q) + sum_low) - q * beside) * flowing;
            const vec<T> value = from_double(where_eq(flowing, zero, zero, gradient));
            if (!ALONG) store_columns(out + i * tile.step_out, columns, value);
            else if (left < vec<T>::lanes) store_first(out + i, left, value);
            else store(out + i, value);
        });
    });
}

template<class T> ALWAYS_INLINE void apply_target_gradients(const RowFormulas<T>&, const RowTile& tile) {
    if (tile.along) apply_spread<true, T>(tile);
    else apply_spread<false, T>(tile);
    put_label_gradients<T>(tile);
}
