// y 2^k by one instruction, which the narrower sets lack.
#pragma once
#include "simd/vec.h"

static ALWAYS_INLINE vec<float> times_power(vec<float> y, vec<float> k) {
    return {_mm512_scalef_ps(y.v, k.v)};
}
static ALWAYS_INLINE vec<double> times_power(vec<double> y, vec<double> k) {
    return {_mm512_scalef_pd(y.v, k.v)};
}
