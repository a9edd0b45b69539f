// Registers of x86-64-v3 (AVX2, FMA): 8 float, 4 double.
// Sibling of x86_64_v2.h and avx512.h: the same names in the same order, so that a diff is the review.
#pragma once
#include <immintrin.h>
#include <stddef.h>

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
// Past the cache; p is aligned to a register.
static ALWAYS_INLINE void stream(float* p, vec<float> a) { _mm256_stream_ps(p, a.v); }
static ALWAYS_INLINE void stream(double* p, vec<double> a) { _mm256_stream_pd(p, a.v); }

// The first n elements of a register, 0 < n <= lanes; `fill` stands for the rest.
static ALWAYS_INLINE vec<float> load_first(const float* p, ptrdiff_t n, vec<float> fill) {
    const __m256i mask =
            _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return {_mm256_blendv_ps(fill.v, _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask))};
}
static ALWAYS_INLINE vec<double> load_first(const double* p, ptrdiff_t n, vec<double> fill) {
    const __m256i mask = _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
    return {_mm256_blendv_pd(fill.v, _mm256_maskload_pd(p, mask), _mm256_castsi256_pd(mask))};
}
static ALWAYS_INLINE void store_first(float* p, ptrdiff_t n, vec<float> a) {
    const __m256i mask =
            _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    _mm256_maskstore_ps(p, mask, a.v);
}
static ALWAYS_INLINE void store_first(double* p, ptrdiff_t n, vec<double> a) {
    const __m256i mask = _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
    _mm256_maskstore_pd(p, mask, a.v);
}

static ALWAYS_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) {
    return {_mm256_fmadd_ps(a.v, b.v, c.v)};
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

// a (high + low), rounded once but for the last bits of low.
static ALWAYS_INLINE vec<float> product_with_sum(vec<float> a, vec<float> high, vec<float> low) {
    return fma(a, high, {a.v * low.v});
}
static ALWAYS_INLINE vec<double> product_with_sum(vec<double> a, vec<double> high, vec<double> low) {
    return fma(a, high, {a.v * low.v});
}

static ALWAYS_INLINE vec<float> square_root(vec<float> a) { return {_mm256_sqrt_ps(a.v)}; }
static ALWAYS_INLINE vec<double> square_root(vec<double> a) { return {_mm256_sqrt_pd(a.v)}; }

// The next lower integer.
static ALWAYS_INLINE vec<float> floor(vec<float> a) { return {_mm256_floor_ps(a.v)}; }
static ALWAYS_INLINE vec<double> floor(vec<double> a) { return {_mm256_floor_pd(a.v)}; }

// A bit for each lane, the first the lowest: set where a is b.
static ALWAYS_INLINE unsigned lanes_equal(vec<float> a, vec<float> b) {
    return _mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ));
}
static ALWAYS_INLINE unsigned lanes_equal(vec<double> a, vec<double> b) {
    return _mm256_movemask_pd(_mm256_cmp_pd(a.v, b.v, _CMP_EQ_OQ));
}

// A 32-bit word in each 64-bit lane; what stands above it does not count.
typedef unsigned long long words __attribute__((vector_size(32)));
static ALWAYS_INLINE words word_products(words a, words b) {
    return (words)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}

// A register of 32-bit words from as many of 16 bits, and back; what stands above those is 0.
static ALWAYS_INLINE words load_words(const uint16_t* p) {
    return (words)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p));
}
static ALWAYS_INLINE void store_words(uint16_t* p, words a) {
    _mm_storeu_si128((__m128i*)p, _mm_packus_epi32(_mm256_castsi256_si128((__m256i)a),
                                                   _mm256_extracti128_si256((__m256i)a, 1)));
}
