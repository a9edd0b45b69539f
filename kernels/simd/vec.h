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
template<class T> ALWAYS_INLINE vec<T> fma(vec<T> a, vec<T> b, vec<T> c) { return fma(a, b, c); }
template<class T> ALWAYS_INLINE vec<T> fused(vec<T> a, vec<T> b, vec<T> c) { return fused(a, b, c); }
template<class T> ALWAYS_INLINE vec<T> product_error(vec<T> a, vec<T> b, vec<T> p) {
    return product_error(a, b, p);
}
template<class T> ALWAYS_INLINE vec<T> square_root(vec<T> a) { return square_root(a); }
template<class T> ALWAYS_INLINE vec<T> larger(vec<T> a, vec<T> b) { return larger(a, b); }
template<class T> ALWAYS_INLINE vec<T> smaller(vec<T> a, vec<T> b) { return smaller(a, b); }
// The larger of the two; x where it is NaN.
template<class T> ALWAYS_INLINE vec<T> at_least(vec<T> x, vec<T> limit) { return larger(limit, x); }

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

// Lane by lane the element `distance` lanes further on, around the end.
template<int distance, class T> ALWAYS_INLINE vec<T> rotated(vec<T> a) {
    typename vec<T>::mask from;
    for (int j = 0; j < vec<T>::lanes; j++) from[j] = (j + distance) % vec<T>::lanes;
    return {__builtin_shuffle(a.v, from)};
}

// What a number is added to so that the nearest integer to it stands in the last bits, and 2^k's bias.
template<class T> struct Bits;
template<> struct Bits<float> {
    static constexpr float INTEGER = 0x1.8p23f;
    static constexpr int BIAS = 127, MANTISSA = 23;
};
template<> struct Bits<double> {
    static constexpr double INTEGER = 0x1.8p52;
    static constexpr int BIAS = 1023, MANTISSA = 52;
};

// 2^k from k + power_bias(0): the bias may hold another integral exponent, and then costs nothing.
template<class T> ALWAYS_INLINE vec<T> power_bias(vec<T> exponent) {
    return exponent + broadcast(Bits<T>::INTEGER + Bits<T>::BIAS);
}
template<class T> ALWAYS_INLINE vec<T> power_of_two_biased(vec<T> k) {
    return {(typename vec<T>::raw)((typename vec<T>::mask)k.v << Bits<T>::MANTISSA)};
}
// 2^k for an integral k whose power is a normal number.
template<class T> ALWAYS_INLINE vec<T> power_of_two(vec<T> k) { return power_of_two_biased(power_bias(k)); }
// k for the largest 2^k not above a positive normal number.
template<class T> ALWAYS_INLINE vec<T> binade(vec<T> a) {
    vec<T> k = {(typename vec<T>::raw)(((typename vec<T>::mask)a.v >> Bits<T>::MANTISSA) +
                                       (typename vec<T>::mask)broadcast(Bits<T>::INTEGER).v)};
    return k - broadcast(Bits<T>::INTEGER + Bits<T>::BIAS);
}
// The nearest integer, where abs(a) is below 2^22 in float and 2^51 in double.
template<class T> ALWAYS_INLINE vec<T> nearest_integer(vec<T> a) {
    vec<T> magic = broadcast(Bits<T>::INTEGER);
    return (a + magic) - magic;
}
// The same of a product, which need not be rounded before.
template<class T> ALWAYS_INLINE vec<T> nearest_integer(vec<T> a, vec<T> factor) {
    vec<T> magic = broadcast(Bits<T>::INTEGER);
    return fma(a, factor, magic) - magic;
}

// A polynomial by Horner's rule, highest coefficient first.
template<class T, int N> ALWAYS_INLINE vec<T> polynomial(vec<T> x, const double (&c)[N]) {
    vec<T> sum = splat(x, c[0]);
    for (int i = 1; i < N; i++) sum = fma(sum, x, splat(x, c[i]));
    return sum;
}
