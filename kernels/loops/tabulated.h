// Blocks of formulas that read a table: where in the table, then what follows from the entry found there.
//
// Two passes over a few hundred elements at a time: the first stores where each lane's entry begins, the
// second fetches the entries and finishes.  In one pass the addresses would travel from vector to integer
// registers, which costs a third of the time.  Outputs of a block are written after all its offsets are, so
// in place works.
//
// An instruction set without these loads evaluates the arithmetic formula of the same name, or exports
// nothing and takes the blocks of the next lower one.
#pragma once
#include "loops/blocks.h"

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define LOOK_UP 0
enum { BORROWS_TABULATED = 1 };
#elif defined(__AVX2__) && defined(__FMA__)
#define LOOK_UP 1
#include "simd/avx2_lookup.h"
enum { BORROWS_TABULATED = 0 };
#else
#define LOOK_UP 0
enum { BORROWS_TABULATED = 0 };
#endif

template<class T> struct Table {
    const void* entries;
    T first, last;  // a table that begins at 0 is read at magnitudes only
    T magic;        // adding it to a clamped position leaves the entry's number in the low bits
    T bend;
    T scaled_below;      // entries before this point are multiplied by `scale`
    T unscale;           // 1 / scale
    bool formula_below;  // before `first` the arithmetic formula takes over, in those lanes only
    bool formula_above;  // and after `last`
    int dropped;         // 0, or how many bits the points' mantissas lack: then these are its entries' points
    uint32_t origin;     // the offset of the first entry as `store_offsets` computes it
};

// The table without its first entry, where f may be 0 already, for a product with f that is not.
template<class T> ALWAYS_INLINE Table<T> with_formula_below(Table<T> table, double step) {
    table.first += (T)step;
    table.formula_below = true;
    return table;
}

#if LOOK_UP
template<class T> struct Found {
    vec<T> at, high, low, scale;
};

template<class T> ALWAYS_INLINE vec<T> series(const Table<T>& table, vec<T> d, vec<T> point, vec<T> (&c)[4]) {
    vec<T> last = table.bend == 0 ? c[3] : c[3] * (point * d - broadcast(table.bend));
    return fused(d, fused(d, fused(d, last, c[2]), c[1]), low_part(c[3]));
}
template<class T> ALWAYS_INLINE vec<T> series(const Table<T>& table, vec<T> d, vec<T> point, vec<T> (&c)[8]) {
    vec<T> last = table.bend == 0 ? c[7] : c[7] * (point * d - broadcast(table.bend)), square = d * d;
    vec<T> upper = fused(fused(last, d, c[6]), square, fused(c[5], d, c[4]));
    return fused(d, fused(fused(upper, square, fused(c[3], d, c[2])), d, c[1]), low_part(c[7]));
}

// In the low bits the number of an entry, of a position inside the table; and the entry's point.
template<class T> ALWAYS_INLINE vec<T> entry_number(const Table<T>& table, vec<T> at) {
    return table.dropped ? kept_bits(at, table.dropped) : at + broadcast(table.magic);
}
template<class T> ALWAYS_INLINE vec<T> entry_point(const Table<T>& table, vec<T> at) {
    if (table.dropped) return without_last_bits(at, table.dropped);
    const vec<T> magic = broadcast(table.magic);
    return (at + magic) - magic;
}

// `position` may be NaN, then low is.  What its own rounding lost, if it is `rounded`, counts inside the
// table.
template<class T> ALWAYS_INLINE Found<T> find(const Table<T>& table, const uint32_t* offsets, vec<T> position,
                                              bool rounded, vec<T> error) {
    const vec<T> first = broadcast(table.first), last = broadcast(table.last);
    vec<T> at = smaller(last, table.first == 0 ? position : larger(first, position));
    vec<T> point = entry_point(table, at);
    vec<T> d = at - point;
    if (rounded) d = d + where_eq(at, position, error, broadcast((T)0));
    vec<T> c[sizeof(T)];
    load_entries((const char*)table.entries - table.origin, offsets, c);
    vec<T> one = broadcast((T)1);
    vec<T> scale = where_gt(broadcast(table.scaled_below), point, broadcast(table.unscale), one);
    if (table.scaled_below <= table.first) scale = one;  // known when this is compiled
    return {at, c[0], series(table, d, point, c), scale};
}

template<class T> ALWAYS_INLINE vec<T> clamp_to_table(const Table<T>& table, vec<T> position) {
    if (table.first != 0) position = larger(position, broadcast(table.first));
    return smaller(position, broadcast(table.last));  // NaN, too
}
#endif

// Same for a formula that takes n arguments: the vec of their element.
template<class V, class> struct Same {
    typedef V type;
};

#if LOOK_UP
// use(i, position, entry) for every register.
template<class T, class Where, class Lost, class Use>
ALWAYS_INLINE void for_each_entry(const Table<T>& table, ptrdiff_t registers, const Where& where,
                                  bool rounded, const Lost& lost, const Use& use) {
    enum { LANES = vec<T>::lanes, AT_ONCE = 256 / LANES };
    alignas(64) uint32_t offsets[AT_ONCE * LANES];
    for (ptrdiff_t start = 0; start < registers; start += AT_ONCE) {
        const ptrdiff_t end = start + AT_ONCE < registers ? start + AT_ONCE : registers;
        for (ptrdiff_t i = start; i < end; i++) {
            vec<T> t = entry_number(table, clamp_to_table(table, where(i)));
            store_offsets(offsets + (i - start) * LANES, t);
        }
        for (ptrdiff_t i = start; i < end; i++) {
            vec<T> x = where(i);
            use(i, x, find(table, offsets + (i - start) * LANES, x, rounded, lost(i, x)));
        }
    }
}

// y, but in the lanes outside the table, as it says, the arithmetic formula.
template<int FIRST, class T, class W, class... A>
ALWAYS_INLINE vec<T> or_formula(const Table<T>& table, vec<T> x, vec<T> y, W (*formula)(A...),
                                const Operands& o, ptrdiff_t i) {
    const vec<T> first = broadcast(table.first), last = broadcast(table.last);
    const bool below = table.formula_below && any_gt(first, x);
    const bool above = table.formula_above && any_gt(x, last);
    if (__builtin_expect(below || above, 0)) {
        vec<T> z = narrow(apply<FIRST, T>(formula, o, i, std::index_sequence_for<A...>()));
        y = where_gt(first, x, z, y);
        if (table.formula_above) y = where_gt(x, last, z, y);
    }
    return y;
}
#endif

template<int FIRST, class V, class W, class T, class... A, size_t... I>
ALWAYS_INLINE void look_up(V (*from)(typename Same<V, A>::type..., V, V, V, V),
                           V (*position)(typename Same<V, A>::type...),
                           V (*error)(typename Same<V, A>::type...), W (*formula)(A...),
                           const Table<T>& table, const Operands& operands, std::index_sequence<I...>) {
#if LOOK_UP
    const Operands o = operands;
    const auto argument = [&](ptrdiff_t i, size_t j) __attribute__((always_inline)) {
        return load((const T*)o.in[FIRST + j] + i * o.advance[FIRST + j]);
    };
    const auto where = [&](ptrdiff_t i) __attribute__((always_inline)) {
        return position ? position(argument(i, I)...) : argument(i, 0);
    };
    const auto lost = [&](ptrdiff_t i, vec<T> x)
                              __attribute__((always_inline)) { return error ? error(argument(i, I)...) : x; };
    const auto use = [&](ptrdiff_t i, vec<T> x, const Found<T>& found) __attribute__((always_inline)) {
        vec<T> y = from(argument(i, I)..., found.at, found.high, found.low, found.scale);
        y = or_formula<FIRST>(table, x, y, formula, o, i);
        if (FIRST == 1) y = chain(load((const T*)o.in[0] + i * o.advance[0]), y);
        store((T*)o.out + i * vec<T>::lanes, y);
    };
    for_each_entry(table, o.registers, where, error, lost, use);
#endif
}

// Two slopes times dy that read the same entry.  It waits in a buffer: with both slopes in one loop too few
// registers' chains of operations would be under way at once.
template<class V, class W, class T, class... A, size_t... I>
ALWAYS_INLINE void look_up_two(V (*first_from)(typename Same<V, A>::type..., V, V, V, V),
                               V (*second_from)(typename Same<V, A>::type..., V, V, V, V),
                               V (*position)(typename Same<V, A>::type...), W (*first)(A...),
                               W (*second)(A...), const Table<T>& table, const Operands& operands,
                               std::index_sequence<I...>) {
#if LOOK_UP
    const Operands o = operands;
    enum { LANES = vec<T>::lanes, AT_ONCE = 256 / LANES };
    alignas(64) T high[AT_ONCE * LANES], low[AT_ONCE * LANES], scale[AT_ONCE * LANES];
    const auto argument = [&](ptrdiff_t i, size_t j) __attribute__((always_inline)) {
        return load((const T*)o.in[1 + j] + i * o.advance[1 + j]);
    };
    const auto lost = [&](ptrdiff_t, vec<T> x) __attribute__((always_inline)) { return x; };
    for (ptrdiff_t start = 0; start < o.registers; start += AT_ONCE) {
        const ptrdiff_t count = o.registers - start < AT_ONCE ? o.registers - start : AT_ONCE;
        const auto where = [&](ptrdiff_t i) __attribute__((always_inline)) {
            return position(argument(start + i, I)...);
        };
        const auto keep = [&](ptrdiff_t i, vec<T>, const Found<T>& found) __attribute__((always_inline)) {
            store(high + i * LANES, found.high);
            store(low + i * LANES, found.low);
            store(scale + i * LANES, found.scale);
        };
        for_each_entry(table, count, where, false, lost, keep);
        for (ptrdiff_t j = 0; j < count; j++) {
            const ptrdiff_t i = start + j;
            const vec<T> x = where(j), h = load(high + j * LANES), l = load(low + j * LANES);
            const vec<T> unit = broadcast((T)1);
            const vec<T> s = table.scaled_below <= table.first ? unit : load(scale + j * LANES);
            vec<T> y = first_from(argument(i, I)..., x, h, l, s);
            vec<T> z = second_from(argument(i, I)..., x, h, l, s);
            y = or_formula<1>(table, x, y, first, o, i);
            z = or_formula<1>(table, x, z, second, o, i);
            const vec<T> dy = load((const T*)o.in[0] + i * o.advance[0]);
            store((T*)o.out + i * LANES, chain(dy, y));
            store((T*)o.second + i * LANES, chain(dy, z));
        }
    }
#endif
}

// Whether operand `index` is one value for all, and that value.
template<class T> ALWAYS_INLINE bool is_all(const Operands& operands, int index, double value) {
    return operands.advance[index] == 0 && *(const T*)operands.in[index] == (T)value;
}

template<int FIRST, class V, class W, class T, class... A>
ALWAYS_INLINE void tabulated(V (*from)(typename Same<V, A>::type..., V, V, V, V),
                             V (*position)(typename Same<V, A>::type...),
                             V (*error)(typename Same<V, A>::type...), W (*formula)(A...),
                             const Table<T>& table, const Operands& operands) {
    if (LOOK_UP)
        look_up<FIRST, V, W, T, A...>(from, position, error, formula, table, operands,
                                      std::index_sequence_for<A...>());
    else if (!BORROWS_TABULATED && FIRST) backward(formula, operands);
    else if (!BORROWS_TABULATED) forward(formula, operands);
}

template<class V, class W, class T, class... A>
ALWAYS_INLINE void tabulated_forward(V (*from)(typename Same<V, A>::type..., V, V, V, V),
                                     V (*position)(typename Same<V, A>::type...),
                                     V (*error)(typename Same<V, A>::type...), W (*formula)(A...),
                                     const Table<T>& table, const Operands& operands) {
    tabulated<0, V, W, T, A...>(from, position, error, formula, table, operands);
}
template<class V, class W, class T, class... A>
ALWAYS_INLINE void tabulated_backward(V (*from)(typename Same<V, A>::type..., V, V, V, V),
                                      V (*position)(typename Same<V, A>::type...),
                                      V (*error)(typename Same<V, A>::type...), W (*formula)(A...),
                                      const Table<T>& table, const Operands& operands) {
    tabulated<1, V, W, T, A...>(from, position, error, formula, table, operands);
}
template<class V, class W, class T, class... A>
ALWAYS_INLINE void tabulated_two(V (*first_from)(typename Same<V, A>::type..., V, V, V, V),
                                 V (*second_from)(typename Same<V, A>::type..., V, V, V, V),
                                 V (*position)(typename Same<V, A>::type...), W (*first)(A...),
                                 W (*second)(A...), const Table<T>& table, const Operands& operands) {
    if (LOOK_UP)
        look_up_two<V, W, T, A...>(first_from, second_from, position, first, second, table, operands,
                                   std::index_sequence_for<A...>());
    else if (!BORROWS_TABULATED) backward_two(first, second, operands);
}
