// Registers of x86-64-v2 (SSE4.2): 4 float, 2 double.  No fused multiply-add.
// Sibling of avx2.h and avx512.h: the same names in the same order, so that a diff is the review.
#pragma once
#include <nmmintrin.h>
#include <stddef.h>

#include "simd/half.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

template<class T> struct vec;

template<> struct vec<float> {
    typedef __m128 raw;
    typedef int mask __attribute__((vector_size(16)));
    static const int lanes = 4;
    raw v;
};
template<> struct vec<double> {
    typedef __m128d raw;
    typedef long long mask __attribute__((vector_size(16)));
    static const int lanes = 2;
    raw v;
};

static ALWAYS_INLINE vec<float> broadcast(float a) { return {_mm_set1_ps(a)}; }
static ALWAYS_INLINE vec<double> broadcast(double a) { return {_mm_set1_pd(a)}; }

static ALWAYS_INLINE vec<float> load(const float* p) { return {_mm_loadu_ps(p)}; }
static ALWAYS_INLINE vec<double> load(const double* p) { return {_mm_loadu_pd(p)}; }
static ALWAYS_INLINE vec<float> load(const half* p) { return {__m128{p[0], p[1], p[2], p[3]}}; }
static ALWAYS_INLINE void store(float* p, vec<float> a) { _mm_storeu_ps(p, a.v); }
static ALWAYS_INLINE void store(double* p, vec<double> a) { _mm_storeu_pd(p, a.v); }
static ALWAYS_INLINE void store(half* p, vec<float> a) {
    for (int i = 0; i < 4; i++) p[i] = half(a.v[i]);
}
// Past the cache; p is aligned to a register.
static ALWAYS_INLINE void stream(float* p, vec<float> a) { _mm_stream_ps(p, a.v); }
static ALWAYS_INLINE void stream(double* p, vec<double> a) { _mm_stream_pd(p, a.v); }

// The first n elements of a register, 0 < n <= lanes; `fill` stands for the rest.
static ALWAYS_INLINE vec<float> load_first(const float* p, ptrdiff_t n, vec<float> fill) {
    for (ptrdiff_t i = 0; i < n; i++) fill.v[i] = p[i];
    return fill;
}
static ALWAYS_INLINE vec<double> load_first(const double* p, ptrdiff_t n, vec<double> fill) {
    for (ptrdiff_t i = 0; i < n; i++) fill.v[i] = p[i];
    return fill;
}
static ALWAYS_INLINE void store_first(float* p, ptrdiff_t n, vec<float> a) {
    for (ptrdiff_t i = 0; i < n; i++) p[i] = a.v[i];
}
static ALWAYS_INLINE void store_first(double* p, ptrdiff_t n, vec<double> a) {
    for (ptrdiff_t i = 0; i < n; i++) p[i] = a.v[i];
}

// Two roundings: used where one more of them in a low-order term does not matter.
static ALWAYS_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) {
    return {_mm_add_ps(_mm_mul_ps(a.v, b.v), c.v)};
}
static ALWAYS_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
    return {_mm_add_pd(_mm_mul_pd(a.v, b.v), c.v)};
}
// The rounding error of the product p = a * b, exact (Dekker 1971): both factors are cut to 26 bits by
// clearing the lower 27, which unlike Veltkamp's splitting cannot overflow.
static ALWAYS_INLINE vec<double> product_error(vec<double> a, vec<double> b, vec<double> p) {
    const __m128d cut = _mm_castsi128_pd(_mm_set1_epi64x(-1LL << 27));
    __m128d ah = _mm_and_pd(a.v, cut), al = _mm_sub_pd(a.v, ah);
    __m128d bh = _mm_and_pd(b.v, cut), bl = _mm_sub_pd(b.v, bh);
    __m128d e = _mm_sub_pd(_mm_mul_pd(ah, bh), p.v);
    e = _mm_add_pd(_mm_add_pd(e, _mm_mul_pd(ah, bl)), _mm_mul_pd(al, bh));
    e = _mm_add_pd(e, _mm_mul_pd(al, bl));
    // near the subnormals the partial products are rounded themselves: no error is better than a wrong one
    const __m128d size = _mm_andnot_pd(_mm_set1_pd(-0.0), p.v);
    return {_mm_and_pd(e, _mm_cmpgt_pd(size, _mm_set1_pd(0x1p-960)))};
}

static ALWAYS_INLINE vec<float> product_error(vec<float> a, vec<float> b, vec<float> p) {
    const auto half = [](__m128 a, __m128 b, __m128 p) {
        return _mm_cvtpd_ps(_mm_sub_pd(_mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b)), _mm_cvtps_pd(p)));
    };
    const auto up = [](__m128 a) { return _mm_movehl_ps(a, a); };
    return {_mm_movelh_ps(half(a.v, b.v, p.v), half(up(a.v), up(b.v), up(p.v)))};
}
// a * b + c, rounded once but for rare ties: in double lanes, and in pairs.
static ALWAYS_INLINE vec<float> fused(vec<float> a, vec<float> b, vec<float> c) {
    const auto half = [](__m128 a, __m128 b, __m128 c) {
        return _mm_cvtpd_ps(_mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b)), _mm_cvtps_pd(c)));
    };
    const auto up = [](__m128 a) { return _mm_movehl_ps(a, a); };
    return {_mm_movelh_ps(half(a.v, b.v, c.v), half(up(a.v), up(b.v), up(c.v)))};
}
static ALWAYS_INLINE vec<double> fused(vec<double> a, vec<double> b, vec<double> c) {
    vec<double> p = {_mm_mul_pd(a.v, b.v)};
    vec<double> error = product_error(a, b, p), sum = {_mm_add_pd(p.v, c.v)};
    __m128d t = _mm_sub_pd(sum.v, p.v);
    __m128d lost = _mm_add_pd(_mm_sub_pd(p.v, _mm_sub_pd(sum.v, t)), _mm_sub_pd(c.v, t));
    lost = _mm_add_pd(lost, error.v);
    // beside an infinity there is nothing to restore
    return {_mm_add_pd(sum.v, _mm_and_pd(lost, _mm_cmpord_pd(lost, lost)))};
}

// a where a > b (a < b), elsewhere and beside NaN b.
static ALWAYS_INLINE vec<float> larger(vec<float> a, vec<float> b) { return {_mm_max_ps(a.v, b.v)}; }
static ALWAYS_INLINE vec<double> larger(vec<double> a, vec<double> b) { return {_mm_max_pd(a.v, b.v)}; }
static ALWAYS_INLINE vec<float> smaller(vec<float> a, vec<float> b) { return {_mm_min_ps(a.v, b.v)}; }
static ALWAYS_INLINE vec<double> smaller(vec<double> a, vec<double> b) { return {_mm_min_pd(a.v, b.v)}; }

// A float register is two double registers: its lower and its upper half.
static ALWAYS_INLINE vec<double> lower_half(vec<float> a) { return {_mm_cvtps_pd(a.v)}; }
static ALWAYS_INLINE vec<double> upper_half(vec<float> a) { return {_mm_cvtps_pd(_mm_movehl_ps(a.v, a.v))}; }
static ALWAYS_INLINE vec<float> join_halves(vec<double> lower, vec<double> upper) {
    return {_mm_movelh_ps(_mm_cvtpd_ps(lower.v), _mm_cvtpd_ps(upper.v))};
}

// a (high + low), rounded once but for the last bits of low.
static ALWAYS_INLINE vec<float> product_with_sum(vec<float> a, vec<float> high, vec<float> low) {
    vec<double> lower = {lower_half(a).v * (lower_half(high).v + lower_half(low).v)};
    vec<double> upper = {upper_half(a).v * (upper_half(high).v + upper_half(low).v)};
    return join_halves(lower, upper);
}
static ALWAYS_INLINE vec<double> product_with_sum(vec<double> a, vec<double> high, vec<double> low) {
    vec<double> p = {a.v * high.v};
    return {p.v + (product_error(a, high, p).v + a.v * low.v)};
}

static ALWAYS_INLINE vec<float> square_root(vec<float> a) { return {_mm_sqrt_ps(a.v)}; }
static ALWAYS_INLINE vec<double> square_root(vec<double> a) { return {_mm_sqrt_pd(a.v)}; }

// The next lower integer.
static ALWAYS_INLINE vec<float> floor(vec<float> a) { return {_mm_floor_ps(a.v)}; }
static ALWAYS_INLINE vec<double> floor(vec<double> a) { return {_mm_floor_pd(a.v)}; }

// A bit for each lane, the first the lowest: set where a is b.
static ALWAYS_INLINE unsigned lanes_equal(vec<float> a, vec<float> b) {
    return _mm_movemask_ps(_mm_cmpeq_ps(a.v, b.v));
}
static ALWAYS_INLINE unsigned lanes_equal(vec<double> a, vec<double> b) {
    return _mm_movemask_pd(_mm_cmpeq_pd(a.v, b.v));
}

// A 32-bit word in each 64-bit lane; what stands above it does not count.
typedef unsigned long long words __attribute__((vector_size(16)));
static ALWAYS_INLINE words word_products(words a, words b) {
    return (words)_mm_mul_epu32((__m128i)a, (__m128i)b);
}

// A register of 32-bit words from as many of 16 bits, and back; what stands above those is 0.
static ALWAYS_INLINE words load_words(const uint16_t* p) {
    return (words)_mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i*)p));
}
static ALWAYS_INLINE void store_words(uint16_t* p, words a) {
    _mm_storel_epi64((__m128i*)p, _mm_packus_epi32((__m128i)a, (__m128i)a));
}
