// Blocks over operands in 16 bits, computed in floats: two registers of these at a time (simd/bfloat16.h).
//
// What a formula in plain registers costs is little more than what two passes around it would, to buffers of
// floats and back.
#pragma once
#include "loops/blocks.h"
#include "simd/bfloat16.h"
#include "simd/scaling.h"

typedef vec<float> Floats;
enum { HALF_LANES = 2 * Floats::lanes };

template<class S> ALWAYS_INLINE void load_operand(const Operands& o, int j, ptrdiff_t i, Floats (&a)[2]) {
    load_two((const S*)o.in[j] + i * o.advance[j], a);
}

// to(i, formula of both registers of number i) for every one; parameters may be held as in blocks.h.
template<int FIRST, class S, class To, class... A, size_t... I>
ALWAYS_INLINE void for_each_two(const To& to, Floats (*formula)(A...), const Operands& o,
                                std::index_sequence<I...>) {
    Floats in[sizeof...(A)][2];
    if (sizeof...(A) > 1 && all_held<FIRST>(o, sizeof...(A))) {
        (load_operand<S>(o, FIRST + I, 0, in[I]), ...);
        for (ptrdiff_t i = 0; i < o.registers; i++) {
            load_operand<S>(o, FIRST, i, in[0]);
            to(i, formula(in[I][0]...), formula((I ? in[I][0] : in[I][1])...));
        }
        return;
    }
    for (ptrdiff_t i = 0; i < o.registers; i++) {
        (load_operand<S>(o, FIRST + I, i, in[I]), ...);
        to(i, formula(in[I][0]...), formula(in[I][1]...));
    }
}

template<class S, class... A>
ALWAYS_INLINE void forward_of_halves(Floats (*formula)(A...), const Operands& operands) {
    const Operands o = operands;
    const auto to = [&](ptrdiff_t i, Floats y, Floats z)
                            __attribute__((always_inline)) { store_two((S*)o.out + i * HALF_LANES, y, z); };
    for_each_two<0, S>(to, formula, o, std::index_sequence_for<A...>());
}
template<class S, class... A>
ALWAYS_INLINE void backward_of_halves(Floats (*slope)(A...), const Operands& operands) {
    const Operands o = operands;
    const auto to = [&](ptrdiff_t i, Floats f, Floats g) __attribute__((always_inline)) {
        Floats dy[2];
        load_operand<S>(o, 0, i, dy);
        store_two((S*)o.out + i * HALF_LANES, product_unless_zero(dy[0], f), product_unless_zero(dy[1], g));
    };
    for_each_two<1, S>(to, slope, o, std::index_sequence_for<A...>());
}

// The same of operands that were widened before, on the way through buffers.
template<class... A> ALWAYS_INLINE void forward_widened(Floats (*formula)(A...), const Operands& operands) {
    forward(formula, operands);
}
template<class... A> ALWAYS_INLINE void backward_widened(Floats (*slope)(A...), const Operands& operands) {
    const Operands o = operands;
    const auto to = [&](ptrdiff_t i, Floats f) __attribute__((always_inline)) {
        const Floats dy = load((const float*)o.in[0] + i * o.advance[0]);
        store((float*)o.out + i * Floats::lanes, product_unless_zero(dy, f));
    };
    for_each_register<1, float>(to, slope, o);
}

// Whether operand `index` is one value for all, and that value.
template<class S> ALWAYS_INLINE bool is_all_of_halves(const Operands& o, int index, double value) {
    return o.advance[index] == 0 && (float)*(const S*)o.in[index] == (float)value;
}
