// y 2^k for an integral k down to -226 in float and -1922 in double; rounded once where y is near 1.
#pragma once
#ifdef __AVX512F__
#include "simd/avx512_scaling.h"
#else
#include "simd/vec.h"

// By two powers that are normal numbers; formulas have use for the first.
template<class T> ALWAYS_INLINE vec<T> times_power(vec<T> y, vec<T> k) {
    vec<T> first = larger(broadcast((T)(sizeof(T) == sizeof(float) ? -100 : -900)), k);
    return y * power_of_two(first) * power_of_two(k - first);
}

// Beyond these 2^t is 0 or infinite.
template<class T> ALWAYS_INLINE vec<T> end_of_powers() {
    return broadcast((T)(sizeof(T) == sizeof(float) ? 225 : 1900));
}
template<class T> ALWAYS_INLINE vec<T> within_powers(vec<T> t) {
    const vec<T> end = end_of_powers<T>();
    return smaller(end, larger(broadcast((T)0) - end, t));
}
template<class T> ALWAYS_INLINE vec<T> fraction_of(vec<T> t) {
    const vec<T> c = within_powers(t);
    return c - floor(c);
}
template<class T> ALWAYS_INLINE vec<T> times_power_below_of(vec<T> y, vec<T> t) {
    const vec<T> nothing = broadcast((T)0), scaled = times_power(y, floor(within_powers(t)));
    return where_gt(t, nothing - end_of_powers<T>(), scaled, y * nothing);
}
template<class T> ALWAYS_INLINE vec<T> inverse_of(vec<T> x) { return broadcast((T)1) / x; }
template<class T> ALWAYS_INLINE vec<T> product_unless_zero_of(vec<T> a, vec<T> b) {
    const vec<T> zero = broadcast((T)0), still = where_eq(b, zero, b, broadcast((T)-__builtin_nanf("")));
    return where_gt(magnitude(b), zero, a * b, still);
}
#endif
template<class T> ALWAYS_INLINE vec<T> times_power_of_two(vec<T> y, vec<T> k) { return times_power(y, k); }

// 2^t = times_power_below(2^fraction(t), t) for any t: the fraction is that above the next lower integer.
template<class T> ALWAYS_INLINE vec<T> fraction(vec<T> t) { return fraction_of(t); }
template<class T> ALWAYS_INLINE vec<T> times_power_below(vec<T> y, vec<T> t) {
    return times_power_below_of(y, t);
}
// 1 / x, off by 2^-14 of it at most.
template<class T> ALWAYS_INLINE vec<T> rough_inverse(vec<T> x) { return inverse_of(x); }
// a b; b where it is 0, even if a is infinite, and one NaN where b is any.
template<class T> ALWAYS_INLINE vec<T> product_unless_zero(vec<T> a, vec<T> b) {
    return product_unless_zero_of(a, b);
}
