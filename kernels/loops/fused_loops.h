// A cheap activation and all that surrounds it, register by register: what fused.h does in steps, where each
// step would cost as much as the activation.
#pragma once
#include "loops/fused_blocks.h"

enum Pass { FORWARD, BACKWARD, BACKWARD_FROM_Y };

// result(at, i): of register i of a row, whose column is `at`, the activation's result or its slope.
template<Pass PASS, class T, class F> ALWAYS_INLINE void walk_rows(const FusedRows& p, F result) {
    const ptrdiff_t lanes = vec<T>::lanes;
    const vec<T> limit = broadcast((T)p.limit), factor = broadcast((T)p.factor), zero = broadcast((T)0);
    for (ptrdiff_t row = 0; row < p.rows; row++) {
        const ptrdiff_t from = row * p.pitch;
        for (ptrdiff_t i = 0; i < p.registers; i++) {
            const ptrdiff_t at = i * lanes;
            const auto dropped = [&](vec<T> a) __attribute__((always_inline)) {
                return p.draws ? where_ge(load((const T*)p.draws + at), limit, a * factor, zero) : a;
            };
            vec<T> y = result(load((const T*)p.x + from + at), i);
            if constexpr (PASS != FORWARD) y = chain(dropped(load((const T*)p.dy + from + at)), y);
            add_to_tallies<PASS == FORWARD>(p.tallies, at, y);
            if constexpr (PASS == FORWARD) {
                y = dropped(y);
                if (p.residual) y = y + load((const T*)p.residual + from + at);
            }
            T* const to = (T*)p.out + from + at;
            if (p.past_cache) stream(to, y);
            else store(to, y);
        }
    }
}

template<Pass PASS, class R, class... A, size_t... I>
ALWAYS_INLINE void fuse_in_registers(R (*formula)(A...), const FusedRows& rows, std::index_sequence<I...>) {
    typedef decltype(scalar_of((R*)0)) T;
    const FusedRows p = rows;
    const R before = broadcast((T)p.before);
    const auto shifted = [&](R x, ptrdiff_t i) __attribute__((always_inline)) {
        if constexpr (PASS == BACKWARD_FROM_Y) return x * before;
        else return x + load((const T*)p.values[0] + i * p.advance[0]);
    };
    if constexpr (sizeof...(A) > 1) {
        bool varies = false;
        for (size_t k = 1; k < sizeof...(A); k++) varies |= p.advance[k] != 0;
        if (varies)
            return walk_rows<PASS, T>(p, [&](R x, ptrdiff_t i) __attribute__((always_inline)) {
                return formula((I ? load((const T*)p.values[I] + i * p.advance[I]) : shifted(x, i))...);
            });
    }
    const R held[] = {I ? load((const T*)p.values[I]) : before...};
    walk_rows<PASS, T>(p, [&](R x, ptrdiff_t i) __attribute__((always_inline)) {
        return formula((I ? held[I] : shifted(x, i))...);
    });
}

template<class R, class... A> ALWAYS_INLINE void fused_forward(R (*formula)(A...), const FusedRows& rows) {
    fuse_in_registers<FORWARD>(formula, rows, std::index_sequence_for<A...>());
}
template<class R, class... A> ALWAYS_INLINE void fused_backward(R (*slope)(A...), const FusedRows& rows) {
    fuse_in_registers<BACKWARD>(slope, rows, std::index_sequence_for<A...>());
}
template<class R, class... A>
ALWAYS_INLINE void fused_backward_from_y(R (*slope)(A...), const FusedRows& rows) {
    fuse_in_registers<BACKWARD_FROM_Y>(slope, rows, std::index_sequence_for<A...>());
}

static FusedExports fused_exports = {{fused_steps<float>(), fused_steps<double>()}, {}};
