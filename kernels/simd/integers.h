// Registers of integers, for the formulas that serve them too: the same for every instruction set, for the
// compiler knows what each has.
#pragma once
#include <stdint.h>
#include <string.h>

// Once for each type: GCC 12 ignores vector_size where the type depends on a template's.
#define INTEGER_REGISTER(T)                                                    \
    template<> struct vec<T> {                                                 \
        typedef T raw __attribute__((vector_size(sizeof(vec<float>::raw))));   \
        static const int lanes = sizeof(raw) / sizeof(T);                      \
        raw v;                                                                 \
    };                                                                         \
    static ALWAYS_INLINE vec<T> broadcast(T a) { return {vec<T>::raw{} + a}; } \
    static ALWAYS_INLINE vec<T> load(const T* p) {                             \
        vec<T> a;                                                              \
        memcpy(&a.v, p, sizeof a.v);                                           \
        return a;                                                              \
    }                                                                          \
    static ALWAYS_INLINE void store(T* p, vec<T> a) { memcpy(p, &a.v, sizeof a.v); }

INTEGER_REGISTER(int8_t)
INTEGER_REGISTER(uint8_t)
INTEGER_REGISTER(int16_t)
INTEGER_REGISTER(uint16_t)
INTEGER_REGISTER(int32_t)
INTEGER_REGISTER(uint32_t)
INTEGER_REGISTER(int64_t)
INTEGER_REGISTER(uint64_t)
#undef INTEGER_REGISTER
