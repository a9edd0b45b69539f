// Entries of a table in registers: one instruction each (sixteenths.h).
#pragma once
#include "simd/scaling.h"

static ALWAYS_INLINE vec<float> entry_of(const double (&table)[16], vec<float> number) {
    vec<float>::raw c;
    for (int j = 0; j < 16; j++) c[j] = (float)table[j];
    return {_mm512_permutexvar_ps((__m512i)number.v, c)};
}
static ALWAYS_INLINE vec<double> entry_of(const double (&table)[16], vec<double> number) {
    return {_mm512_permutex2var_pd(_mm512_loadu_pd(table), (__m512i)number.v, _mm512_loadu_pd(table + 8))};
}
