// Blocks: a formula applied to whole registers of contiguous operands.
//
// This is the only place where a formula meets memory.  Each block is one compiled function for one
// formula and one type; strides, tails, casts, threads and stores are the business of run.h, which
// hands blocks full registers only (the last, partial one by way of a padded buffer), so that a value
// never depends on its position.
#pragma once
#include <stddef.h>
#include <utility>
#include "loops/exports.h"
#include "simd/wide.h"

// How a formula's kind of value is read from what is stored, and written.
template<class T> ALWAYS_INLINE vec<T> take(vec<T>*, const T* p) { return load(p); }
template<class T> ALWAYS_INLINE wide<T> take(wide<T>*, const T* p) { return widen(load(p)); }
template<class T> ALWAYS_INLINE void put(T* p, vec<T> a) { store(p, a); }
template<class T> ALWAYS_INLINE void put(T* p, wide<T> a) { store(p, narrow(a)); }
template<class T> T scalar_of(vec<T>*);
template<class T> T scalar_of(wide<T>*);

// dy * slope, and 0 wherever the slope is 0: nothing flows through a dead side, not even infinity.  A slope
// of NaN gives one NaN, the processor's own, which is negative: of two NaN an operation takes the one that
// the compiler happens to write first, and so their sign would depend on the position. In double lanes a
// slope that float calls 0 may be as large as the exponential's last value.
template<class T> ALWAYS_INLINE vec<T> vanishing(vec<T> like) { return splat(like, 0.0); }
template<class T> ALWAYS_INLINE wide<T> vanishing(wide<T> like) {
    return splat(like, sizeof(T) == sizeof(float) ? 0x1p-800 : 0.0);
}
template<class R> ALWAYS_INLINE R chain(R dy, R slope) {
    R still = where_eq(slope, slope, slope, splat(slope, -__builtin_nan("")));
    return where_gt(magnitude(slope), vanishing(slope), dy * slope, still);
}

// Of operands from number FIRST on.
template<int FIRST, class T, class R, class... A, size_t... I>
ALWAYS_INLINE R apply(R (*formula)(A...), const Operands& o, ptrdiff_t i, std::index_sequence<I...>) {
    return formula(take((A*)0, (const T*)o.in[FIRST + I] + i * o.advance[FIRST + I])...);
}

// Parameters of plain formulas that are one value for all are read once, and what follows from them alone is
// computed once: such formulas cost little more than their loads.
template<class R, size_t N> struct Held {
    R value[N];
};
template<class T> constexpr bool holds_parameters(vec<T>*) { return true; }
template<class T> constexpr bool holds_parameters(wide<T>*) { return false; }
template<int FIRST> ALWAYS_INLINE bool all_held(const Operands& o, int arguments) {
    bool held = o.registers > 0;
    for (int j = FIRST + 1; j < FIRST + arguments; j++) held &= o.advance[j] == 0;
    return held;
}

template<int FIRST, class T, class R, class... A, size_t... I>
ALWAYS_INLINE Held<R, sizeof...(A)> hold(R (*)(A...), const Operands& o, std::index_sequence<I...>) {
    return {take((A*)0, (const T*)o.in[FIRST + I])...};
}
template<int FIRST, class T, class R, class... A, size_t... I>
ALWAYS_INLINE R apply_held(R (*formula)(A...), const Operands& o, ptrdiff_t i,
                           const Held<R, sizeof...(A)>& held, std::index_sequence<I...>) {
    return formula((I ? held.value[I] : take((A*)0, (const T*)o.in[FIRST] + i * o.advance[FIRST]))...);
}

// to(i, formula of register i) for every register.
template<int FIRST, class T, class To, class R, class... A>
ALWAYS_INLINE void for_each_register(const To& to, R (*formula)(A...), const Operands& o) {
    const auto indices = std::index_sequence_for<A...>();
    if constexpr (sizeof...(A) > 1 && holds_parameters((R*)0))
        if (all_held<FIRST>(o, sizeof...(A))) {
            const Held<R, sizeof...(A)> held = hold<FIRST, T>(formula, o, indices);
            for (ptrdiff_t i = 0; i < o.registers; i++)
                to(i, apply_held<FIRST, T>(formula, o, i, held, indices));
            return;
        }
    for (ptrdiff_t i = 0; i < o.registers; i++) to(i, apply<FIRST, T>(formula, o, i, indices));
}

// The results of formulas, and of slopes times dy.
template<class R, class... A> ALWAYS_INLINE void forward(R (*formula)(A...), const Operands& operands) {
    typedef decltype(scalar_of((R*)0)) T;
    const Operands o = operands;
    const auto to = [&](ptrdiff_t i, R y)
                            __attribute__((always_inline)) { put((T*)o.out + i * vec<T>::lanes, y); };
    for_each_register<0, T>(to, formula, o);
}
template<class R, class... A> ALWAYS_INLINE void backward(R (*slope)(A...), const Operands& operands) {
    typedef decltype(scalar_of((R*)0)) T;
    const Operands o = operands;
    const auto to = [&](ptrdiff_t i, R f) __attribute__((always_inline)) {
        R dy = take((R*)0, (const T*)o.in[0] + i * o.advance[0]);
        put((T*)o.out + i * vec<T>::lanes, chain(dy, f));
    };
    for_each_register<1, T>(to, slope, o);
}
// A slope that is 0 where it is not NaN: no dy flows through, so none is read.
template<class R, class... A> ALWAYS_INLINE void standstill(R (*slope)(A...), const Operands& operands) {
    typedef decltype(scalar_of((R*)0)) T;
    const Operands o = operands;
    const auto to = [&](ptrdiff_t i, R f) __attribute__((always_inline)) {
        put((T*)o.out + i * vec<T>::lanes, where_eq(f, f, splat(f, 0.0), splat(f, -__builtin_nan(""))));
    };
    for_each_register<1, T>(to, slope, o);
}
// Two slopes times dy: what the formulas have in common, the compiler finds, is computed once.
template<class R, class... A>
ALWAYS_INLINE void backward_two(R (*first)(A...), R (*second)(A...), const Operands& operands) {
    typedef decltype(scalar_of((R*)0)) T;
    const Operands o = operands;
    const auto indices = std::index_sequence_for<A...>();
    for (ptrdiff_t i = 0; i < o.registers; i++) {
        R dy = take((R*)0, (const T*)o.in[0] + i * o.advance[0]);
        R f = apply<1, T>(first, o, i, indices), g = apply<1, T>(second, o, i, indices);
        put((T*)o.out + i * vec<T>::lanes, chain(dy, f));
        put((T*)o.second + i * vec<T>::lanes, chain(dy, g));
    }
}

// A point where f' jumps: at + factor * an argument of the formula, or no argument if that is x.
struct Knot {
    double at, factor;
    int argument;
};

// Where x is at a knot the slope is the last input instead, unless it is NaN.
template<class R, class... A, size_t KNOTS> ALWAYS_INLINE void backward_with_knots(R (*slope)(A...),
                                                                                   const Knot (&knots)[KNOTS],
                                                                                   const Operands& operands) {
    typedef decltype(scalar_of((R*)0)) T;
    const Operands o = operands;
    constexpr size_t last = 1 + sizeof...(A);
    for (ptrdiff_t i = 0; i < o.registers; i++) {
        R dy = take((R*)0, (const T*)o.in[0] + i * o.advance[0]);
        R x = take((R*)0, (const T*)o.in[1] + i * o.advance[1]);
        R at_knot = take((R*)0, (const T*)o.in[last] + i * o.advance[last]);
        R f = apply<1, T>(slope, o, i, std::index_sequence_for<A...>());
        for (const Knot& knot : knots) {
            R place = splat(x, 0.0);
            if (const int j = knot.argument)
                place = splat(x, knot.factor) * take((R*)0, (const T*)o.in[1 + j] + i * o.advance[1 + j]);
            f = where_eq(x - splat(x, knot.at), place, where_eq(f, f, at_knot, f), f);
        }
        put((T*)o.out + i * vec<T>::lanes, chain(dy, f));
    }
}
