// What takes one instruction here and several in the narrower sets (scaling.h).
#pragma once
#include "simd/vec.h"

static ALWAYS_INLINE vec<float> times_power(vec<float> y, vec<float> k) {
    return {_mm512_scalef_ps(y.v, k.v)};
}
static ALWAYS_INLINE vec<double> times_power(vec<double> y, vec<double> k) {
    return {_mm512_scalef_pd(y.v, k.v)};
}

static ALWAYS_INLINE vec<float> fraction_of(vec<float> t) {
    return {_mm512_reduce_ps(t.v, _MM_FROUND_TO_NEG_INF)};
}
static ALWAYS_INLINE vec<double> fraction_of(vec<double> t) {
    return {_mm512_reduce_pd(t.v, _MM_FROUND_TO_NEG_INF)};
}
static ALWAYS_INLINE vec<float> times_power_below_of(vec<float> y, vec<float> t) { return times_power(y, t); }
static ALWAYS_INLINE vec<double> times_power_below_of(vec<double> y, vec<double> t) {
    return times_power(y, t);
}
static ALWAYS_INLINE vec<float> inverse_of(vec<float> x) { return {_mm512_rcp14_ps(x.v)}; }
static ALWAYS_INLINE vec<double> inverse_of(vec<double> x) { return {_mm512_rcp14_pd(x.v)}; }

// By what b is: 0 stands for itself, NaN for the processor's own.
static ALWAYS_INLINE vec<float> product_unless_zero_of(vec<float> a, vec<float> b) {
    enum { NAN_IS_DEFAULT = 0x33, ZERO_IS_ITSELF = 0x100 };
    const __m512i table = _mm512_set1_epi32(NAN_IS_DEFAULT | ZERO_IS_ITSELF);
    return {_mm512_fixupimm_ps(_mm512_mul_ps(a.v, b.v), b.v, table, 0)};
}
