// Blocks that sum: dy * f(x, ...) in wide arithmetic, added up register by register.
//
// A product of two floats is exact in a double, one of two doubles in a pair, so each term is as good as
// its formula, and sums lose nothing that a result could show.  Partial sums are one per lane: a total's
// bits depend on the instruction set and on the order of its terms, on nothing else.
#pragma once
#include <string.h>

#include "loops/blocks.h"
#include "loops/sum_exports.h"

template<class T> ALWAYS_INLINE wide<T> widened(vec<T> a) { return widen(a); }
template<class T> ALWAYS_INLINE wide<T> widened(wide<T> a) { return a; }

// Register i of operand j.  The kernel of the same name may have been lent by another instruction set, so
// what `advance` says counts only as yes or no.
template<class T> ALWAYS_INLINE const T* place(const Operands& o, size_t j, ptrdiff_t i) {
    return (const T*)o.in[j] + (o.advance[j] ? i * vec<T>::lanes : 0);
}

// The terms of register i.
template<class T, class R, class... A, size_t... I>
ALWAYS_INLINE wide<T> term(R (*formula)(A...), const Operands& o, ptrdiff_t i, std::index_sequence<I...>) {
    const wide<T> dy = widen(load(place<T>(o, 0, i)));
    return chain(dy, widened(formula(take((A*)0, place<T>(o, 1 + I, i))...)));
}

// The same for a last, partial register; lanes behind its end count as 0, whatever the formula makes of them.
template<class T, class R, class... A>
ALWAYS_INLINE wide<T> last_term(R (*formula)(A...), const Operands& o, ptrdiff_t i, ptrdiff_t rest) {
    const int lanes = vec<T>::lanes;
    T buffers[1 + sizeof...(A)][lanes] = {}, counts[lanes] = {};
    Operands padded = {};
    for (size_t j = 0; j <= sizeof...(A); j++) {
        memcpy(buffers[j], place<T>(o, j, i), (o.advance[j] ? rest : lanes) * sizeof(T));
        padded.in[j] = buffers[j];
    }
    for (int lane = 0; lane < rest; lane++) counts[lane] = 1;
    const wide<T> zero = widen(broadcast((T)0)), counted = widen(load(counts));
    return where_gt(counted, zero, term<T>(formula, padded, 0, std::index_sequence_for<A...>()), zero);
}

// The sum over lanes, by halves.
template<int N, class P> ALWAYS_INLINE P by_halves(P (&parts)[N]) {
    for (int half = N / 2; half; half /= 2)
        for (int j = 0; j < half; j++) parts[j] = parts[j] + parts[j + half];
    return parts[0];
}
static ALWAYS_INLINE Pair total(wide<float> a) {
    const int lanes = vec<double>::lanes;
    double parts[lanes];
    store(parts, a.lower + a.upper);
    return {by_halves(parts), 0};
}
static ALWAYS_INLINE Pair total(wide<double> a) {
    const int lanes = vec<double>::lanes;
    double high[lanes], low[lanes];
    store(high, a.hi);
    store(low, a.lo);
    Pair parts[lanes];
    for (int j = 0; j < lanes; j++) parts[j] = {high[j], low[j]};
    return by_halves(parts);
}

static ALWAYS_INLINE void add_to(double* high, double*, wide<float> a) {
    store(high, load(high) + a.lower);
    store(high + vec<double>::lanes, load(high + vec<double>::lanes) + a.upper);
}
static ALWAYS_INLINE void add_to(double* high, double* low, wide<double> a) {
    const wide<double> sum = wide<double>{load(high), load(low)} + a;
    store(high, sum.hi);
    store(low, sum.lo);
}

template<class R, class... A>
ALWAYS_INLINE Pair sum_along(R (*formula)(A...), const Operands& terms, ptrdiff_t n) {
    typedef decltype(scalar_of((R*)0)) T;
    const std::index_sequence_for<A...> each;
    const Operands o = terms;
    const ptrdiff_t rest = n % vec<T>::lanes, whole = n / vec<T>::lanes;
    const wide<T> zero = widen(broadcast((T)0));
    wide<T> sums[] = {zero, zero, zero, zero};  // four, so that additions need not wait
    for (ptrdiff_t i = 0; i < whole; i++) sums[i % 4] = sums[i % 4] + term<T>(formula, o, i, each);
    if (rest) sums[3] = sums[3] + last_term<T>(formula, o, whole, rest);
    return total((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template<class R, class... A> ALWAYS_INLINE void sum_columns(R (*formula)(A...), const Operands& terms,
                                                             ptrdiff_t n, double* high, double* low) {
    typedef decltype(scalar_of((R*)0)) T;
    const Operands o = terms;
    const int lanes = vec<T>::lanes;
    const ptrdiff_t rest = n % lanes, whole = n / lanes;
    for (ptrdiff_t i = 0; i < whole; i++)
        add_to(high + i * lanes, low + i * lanes, term<T>(formula, o, i, std::index_sequence_for<A...>()));
    if (rest) add_to(high + whole * lanes, low + whole * lanes, last_term<T>(formula, o, whole, rest));
}
