// What exp needs of a table of 2^(j/16) that lies in registers: AVX-512 has one instruction for either.
#pragma once
#include "simd/scaling.h"

#ifdef __AVX512F__
#include "simd/avx512_sixteenths.h"
// y 2^floor(k / 16) for an integral k.
template<class T> ALWAYS_INLINE vec<T> times_power_of_sixteenths(vec<T> y, vec<T> k) {
    return times_power(y, k * broadcast((T)0.0625));  // which takes the floor
}
#else
template<class T> ALWAYS_INLINE vec<T> entry_of(const double (&table)[16], vec<T> number) {
    for (int j = 0; j < vec<T>::lanes; j++) {
        const T one = number.v[j];
        unsigned char low;
        memcpy(&low, &one, 1);
        number.v[j] = (T)table[low & 15];
    }
    return number;
}
template<class T> ALWAYS_INLINE vec<T> times_power_of_sixteenths(vec<T> y, vec<T> k) {
    return times_power(y, nearest_integer(k * broadcast((T)0.0625) - broadcast((T)0.46875)));
}
#endif

// The entry that the last four bits of `number` name.
template<class T> ALWAYS_INLINE vec<T> entry(const double (&table)[16], vec<T> number) {
    return entry_of(table, number);
}
