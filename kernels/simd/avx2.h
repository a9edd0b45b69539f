// Registers of x86-64-v3 (AVX2, FMA): 8 float, 4 double.
// Sibling of x86_64_v2.h and avx512.h: the same names in the same order, so that a diff is the review.
#pragma once
#include <immintrin.h>

#include "simd/half.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

template<class T> struct vec;

template<> struct vec<float> {
    typedef __m256 raw;
    typedef int mask __attribute__((vector_size(32)));
    static const int lanes = 8;
    raw v;
};
template<> struct vec<double> {
    typedef __m256d raw;
    typedef long long mask __attribute__((vector_size(32)));
    static const int lanes = 4;
    raw v;
};

static ALWAYS_INLINE vec<float> broadcast(float a) { return {_mm256_set1_ps(a)}; }
static ALWAYS_INLINE vec<double> broadcast(double a) { return {_mm256_set1_pd(a)}; }

static ALWAYS_INLINE vec<float> load(const float* p) { return {_mm256_loadu_ps(p)}; }
static ALWAYS_INLINE vec<double> load(const double* p) { return {_mm256_loadu_pd(p)}; }
static ALWAYS_INLINE vec<float> load(const half* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p))};
}
static ALWAYS_INLINE void store(float* p, vec<float> a) { _mm256_storeu_ps(p, a.v); }
static ALWAYS_INLINE void store(double* p, vec<double> a) { _mm256_storeu_pd(p, a.v); }
static ALWAYS_INLINE void store(half* p, vec<float> a) {
    _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}

static ALWAYS_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
    return {_mm256_fmadd_pd(a.v, b.v, c.v)};
}
// The rounding error of the product p = a * b, exact.
static ALWAYS_INLINE vec<double> product_error(vec<double> a, vec<double> b, vec<double> p) {
    return {_mm256_fmsub_pd(a.v, b.v, p.v)};
}

static ALWAYS_INLINE vec<float> product_error(vec<float> a, vec<float> b, vec<float> p) {
    return {_mm256_fmsub_ps(a.v, b.v, p.v)};
}
// a * b + c, rounded once.
static ALWAYS_INLINE vec<float> fused(vec<float> a, vec<float> b, vec<float> c) {
    return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
static ALWAYS_INLINE vec<double> fused(vec<double> a, vec<double> b, vec<double> c) {
    return {_mm256_fmadd_pd(a.v, b.v, c.v)};
}

// a where a > b (a < b), elsewhere and beside NaN b.
static ALWAYS_INLINE vec<float> larger(vec<float> a, vec<float> b) { return {_mm256_max_ps(a.v, b.v)}; }
static ALWAYS_INLINE vec<double> larger(vec<double> a, vec<double> b) { return {_mm256_max_pd(a.v, b.v)}; }
static ALWAYS_INLINE vec<float> smaller(vec<float> a, vec<float> b) { return {_mm256_min_ps(a.v, b.v)}; }
static ALWAYS_INLINE vec<double> smaller(vec<double> a, vec<double> b) { return {_mm256_min_pd(a.v, b.v)}; }

// A float register is two double registers: its lower and its upper half.
static ALWAYS_INLINE vec<double> lower_half(vec<float> a) {
    return {_mm256_cvtps_pd(_mm256_castps256_ps128(a.v))};
}
static ALWAYS_INLINE vec<double> upper_half(vec<float> a) {
    return {_mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1))};
}
static ALWAYS_INLINE vec<float> join_halves(vec<double> lower, vec<double> upper) {
    return {_mm256_set_m128(_mm256_cvtpd_ps(upper.v), _mm256_cvtpd_ps(lower.v))};
}
