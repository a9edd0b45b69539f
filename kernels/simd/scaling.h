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
#endif
template<class T> ALWAYS_INLINE vec<T> times_power_of_two(vec<T> y, vec<T> k) { return times_power(y, k); }
