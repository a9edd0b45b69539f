// Registers of x86-64-v4 (AVX-512 F, BW, CD, DQ, VL): 16 float, 8 double.
// Sibling of x86_64_v2.h and avx2.h: the same names in the same order, so that a diff is the review.
#pragma once
#include <immintrin.h>
#include <stddef.h>

#include "simd/half.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

template<class T> struct vec;

template<> struct vec<float> {
    typedef __m512 raw;
    typedef int mask __attribute__((vector_size(64)));
    static const int lanes = 16;
    raw v;
};
template<> struct vec<double> {
    typedef __m512d raw;
    typedef long long mask __attribute__((vector_size(64)));
    static const int lanes = 8;
    raw v;
};

static ALWAYS_INLINE vec<float> broadcast(float a) { return {_mm512_set1_ps(a)}; }
static ALWAYS_INLINE vec<double> broadcast(double a) { return {_mm512_set1_pd(a)}; }

static ALWAYS_INLINE vec<float> load(const float* p) { return {_mm512_loadu_ps(p)}; }
static ALWAYS_INLINE vec<double> load(const double* p) { return {_mm512_loadu_pd(p)}; }
static ALWAYS_INLINE vec<float> load(const half* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p))};
}
static ALWAYS_INLINE void store(float* p, vec<float> a) { _mm512_storeu_ps(p, a.v); }
static ALWAYS_INLINE void store(double* p, vec<double> a) { _mm512_storeu_pd(p, a.v); }
static ALWAYS_INLINE void store(half* p, vec<float> a) {
    _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
// Past the cache; p is aligned to a register.
static ALWAYS_INLINE void stream(float* p, vec<float> a) { _mm512_stream_ps(p, a.v); }
static ALWAYS_INLINE void stream(double* p, vec<double> a) { _mm512_stream_pd(p, a.v); }

// The first n elements of a register, 0 < n <= lanes; `fill` stands for the rest.
static ALWAYS_INLINE vec<float> load_first(const float* p, ptrdiff_t n, vec<float> fill) {
    return {_mm512_mask_loadu_ps(fill.v, (__mmask16)((1u << n) - 1), p)};
}
static ALWAYS_INLINE vec<double> load_first(const double* p, ptrdiff_t n, vec<double> fill) {
    return {_mm512_mask_loadu_pd(fill.v, (__mmask8)((1u << n) - 1), p)};
}
static ALWAYS_INLINE void store_first(float* p, ptrdiff_t n, vec<float> a) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a.v);
}
static ALWAYS_INLINE void store_first(double* p, ptrdiff_t n, vec<double> a) {
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), a.v);
}

static ALWAYS_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
static ALWAYS_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
    return {_mm512_fmadd_pd(a.v, b.v, c.v)};
}
// The rounding error of the product p = a * b, exact.
static ALWAYS_INLINE vec<double> product_error(vec<double> a, vec<double> b, vec<double> p) {
    return {_mm512_fmsub_pd(a.v, b.v, p.v)};
}

static ALWAYS_INLINE vec<float> product_error(vec<float> a, vec<float> b, vec<float> p) {
    return {_mm512_fmsub_ps(a.v, b.v, p.v)};
}
// a * b + c, rounded once.
static ALWAYS_INLINE vec<float> fused(vec<float> a, vec<float> b, vec<float> c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
static ALWAYS_INLINE vec<double> fused(vec<double> a, vec<double> b, vec<double> c) {
    return {_mm512_fmadd_pd(a.v, b.v, c.v)};
}

// a where a > b (a < b), elsewhere and beside NaN b.
static ALWAYS_INLINE vec<float> larger(vec<float> a, vec<float> b) { return {_mm512_max_ps(a.v, b.v)}; }
static ALWAYS_INLINE vec<double> larger(vec<double> a, vec<double> b) { return {_mm512_max_pd(a.v, b.v)}; }
static ALWAYS_INLINE vec<float> smaller(vec<float> a, vec<float> b) { return {_mm512_min_ps(a.v, b.v)}; }
static ALWAYS_INLINE vec<double> smaller(vec<double> a, vec<double> b) { return {_mm512_min_pd(a.v, b.v)}; }

// A float register is two double registers: its lower and its upper half.
static ALWAYS_INLINE vec<double> lower_half(vec<float> a) {
    return {_mm512_cvtps_pd(_mm512_castps512_ps256(a.v))};
}
static ALWAYS_INLINE vec<double> upper_half(vec<float> a) {
    return {_mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1))};
}
static ALWAYS_INLINE vec<float> join_halves(vec<double> lower, vec<double> upper) {
    return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lower.v)), _mm512_cvtpd_ps(upper.v),
                               1)};
}

// a (high + low), rounded once but for the last bits of low.
static ALWAYS_INLINE vec<float> product_with_sum(vec<float> a, vec<float> high, vec<float> low) {
    return fma(a, high, {a.v * low.v});
}
static ALWAYS_INLINE vec<double> product_with_sum(vec<double> a, vec<double> high, vec<double> low) {
    return fma(a, high, {a.v * low.v});
}

static ALWAYS_INLINE vec<float> square_root(vec<float> a) { return {_mm512_sqrt_ps(a.v)}; }
static ALWAYS_INLINE vec<double> square_root(vec<double> a) { return {_mm512_sqrt_pd(a.v)}; }

// The next lower integer.
static ALWAYS_INLINE vec<float> floor(vec<float> a) { return {_mm512_floor_ps(a.v)}; }
static ALWAYS_INLINE vec<double> floor(vec<double> a) { return {_mm512_floor_pd(a.v)}; }

// A bit for each lane, the first the lowest: set where a is b.
static ALWAYS_INLINE unsigned lanes_equal(vec<float> a, vec<float> b) {
    return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ);
}
static ALWAYS_INLINE unsigned lanes_equal(vec<double> a, vec<double> b) {
    return _mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ);
}

// A 32-bit word in each 64-bit lane; what stands above it does not count.
typedef unsigned long long words __attribute__((vector_size(64)));
static ALWAYS_INLINE words word_products(words a, words b) {
    return (words)_mm512_mul_epu32((__m512i)a, (__m512i)b);
}

// A register of 32-bit words from as many of 16 bits, and back; what stands above those is 0.
static ALWAYS_INLINE words load_words(const uint16_t* p) {
    return (words)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
}
static ALWAYS_INLINE void store_words(uint16_t* p, words a) {
    _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16((__m512i)a));
}
