// vec<T>: one SIMD register of float or double, with the operations that formulas use.
//
// Plain IEEE arithmetic, no contraction.  Comparisons are false for NaN, so `where_gt(x, limit, limit, x)`
// keeps a NaN where the processor's own min and max would swallow it.
#pragma once
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include "simd/avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "simd/avx2.h"
#else
#include "simd/x86_64_v2.h"
#endif
#include "simd/integers.h"

template<class T> ALWAYS_INLINE vec<T> splat(vec<T>, double a) { return broadcast((T)a); }

template<class T> ALWAYS_INLINE vec<T> operator+(vec<T> a, vec<T> b) { return {a.v + b.v}; }
template<class T> ALWAYS_INLINE vec<T> operator-(vec<T> a, vec<T> b) { return {a.v - b.v}; }
template<class T> ALWAYS_INLINE vec<T> operator*(vec<T> a, vec<T> b) { return {a.v * b.v}; }
template<class T> ALWAYS_INLINE vec<T> operator/(vec<T> a, vec<T> b) { return {a.v / b.v}; }

// The instruction set's own, as templates: Cython names T at every call.
template<class T> ALWAYS_INLINE vec<T> fused(vec<T> a, vec<T> b, vec<T> c) { return fused(a, b, c); }
template<class T> ALWAYS_INLINE vec<T> product_error(vec<T> a, vec<T> b, vec<T> p) {
    return product_error(a, b, p);
}
template<class T> ALWAYS_INLINE vec<T> larger(vec<T> a, vec<T> b) { return larger(a, b); }
template<class T> ALWAYS_INLINE vec<T> smaller(vec<T> a, vec<T> b) { return smaller(a, b); }

template<class T> ALWAYS_INLINE vec<T> bits_and(vec<T> a, vec<T> b) {
    typedef typename vec<T>::mask M;
    return {(typename vec<T>::raw)((M)a.v & (M)b.v)};
}
template<class T> ALWAYS_INLINE vec<T> bits_xor(vec<T> a, vec<T> b) {
    typedef typename vec<T>::mask M;
    return {(typename vec<T>::raw)((M)a.v ^ (M)b.v)};
}
template<class T> ALWAYS_INLINE vec<T> bits_clear(vec<T> a, vec<T> b) {
    typedef typename vec<T>::mask M;
    return {(typename vec<T>::raw)((M)a.v & ~(M)b.v)};
}

// Lane by lane: `yes` where the comparison of a with b holds, `no` elsewhere and where either is NaN.
template<class T> ALWAYS_INLINE vec<T> where_gt(vec<T> a, vec<T> b, vec<T> yes, vec<T> no) {
    return {a.v > b.v ? yes.v : no.v};
}
template<class T> ALWAYS_INLINE vec<T> where_ge(vec<T> a, vec<T> b, vec<T> yes, vec<T> no) {
    return {a.v >= b.v ? yes.v : no.v};
}
template<class T> ALWAYS_INLINE vec<T> where_eq(vec<T> a, vec<T> b, vec<T> yes, vec<T> no) {
    return {a.v == b.v ? yes.v : no.v};
}

template<class T> ALWAYS_INLINE vec<T> sign_bit(vec<T> a) { return bits_and(a, splat(a, -0.0)); }
template<class T> ALWAYS_INLINE vec<T> magnitude(vec<T> a) { return bits_clear(a, splat(a, -0.0)); }
// a, with its sign turned where s has its sign bit set.
template<class T> ALWAYS_INLINE vec<T> turn_sign(vec<T> a, vec<T> s) { return bits_xor(a, sign_bit(s)); }

// 2^k for an integral k between -1022 and 1023.
static ALWAYS_INLINE vec<double> power_of_two(vec<double> k) {
    vec<double> biased = k + splat(k, 0x1.8p52 + 1023.0);  // k + 1023 in the low bits
    return {(vec<double>::raw)((vec<double>::mask)biased.v << 52)};
}
// The nearest integer, where abs(a) < 2^51.
static ALWAYS_INLINE vec<double> nearest_integer(vec<double> a) {
    vec<double> magic = splat(a, 0x1.8p52);
    return (a + magic) - magic;
}
