// Entries of a table (kernels/math/tables.py), fetched for every lane of a register of avx2.h.
//
// Each lane reads its entry whole and the register is transposed: vgather costs three times as much, and
// 512-bit registers lose (joining halves costs more than the arithmetic gains), so the wider set takes these
// blocks, too.
#pragma once
#include <stdint.h>
#include "simd/avx2.h"

// The low bits of t times the size of an entry, modulo 2^32: where the lanes' entries begin.
static ALWAYS_INLINE void store_offsets(uint32_t* to, vec<float> t) {
    _mm256_store_si256((__m256i*)to, _mm256_slli_epi32(_mm256_castps_si256(t.v), 4));
}
static ALWAYS_INLINE void store_offsets(uint32_t* to, vec<double> t) {
    __m128 lower = _mm_castpd_ps(_mm256_castpd256_pd128(t.v));
    __m128 upper = _mm_castpd_ps(_mm256_extractf128_pd(t.v, 1));
    __m128i index = _mm_castps_si128(_mm_shuffle_ps(lower, upper, _MM_SHUFFLE(2, 0, 2, 0)));
    _mm_store_si128((__m128i*)to, _mm_slli_epi32(index, 6));
}

// a > 0 rounded to a mantissa without its last bits, as that number and as those bits alone.
static ALWAYS_INLINE vec<float> without_last_bits(vec<float> a, int bits) {
    __m256i sum = _mm256_add_epi32(_mm256_castps_si256(a.v), _mm256_set1_epi32(1 << (bits - 1)));
    return {_mm256_castsi256_ps(_mm256_and_si256(sum, _mm256_set1_epi32(-(1 << bits))))};
}
static ALWAYS_INLINE vec<double> without_last_bits(vec<double> a, int bits) {
    __m256i sum = _mm256_add_epi64(_mm256_castpd_si256(a.v), _mm256_set1_epi64x(1ll << (bits - 1)));
    return {_mm256_castsi256_pd(_mm256_and_si256(sum, _mm256_set1_epi64x(-(1ll << bits))))};
}
static ALWAYS_INLINE vec<float> kept_bits(vec<float> a, int bits) {
    __m256i sum = _mm256_add_epi32(_mm256_castps_si256(a.v), _mm256_set1_epi32(1 << (bits - 1)));
    return {_mm256_castsi256_ps(_mm256_srli_epi32(sum, bits))};
}
static ALWAYS_INLINE vec<double> kept_bits(vec<double> a, int bits) {
    __m256i sum = _mm256_add_epi64(_mm256_castpd_si256(a.v), _mm256_set1_epi64x(1ll << (bits - 1)));
    return {_mm256_castsi256_pd(_mm256_srli_epi64(sum, bits))};
}

// The columns of the entries of all lanes.
static ALWAYS_INLINE void load_entries(const char* base, const uint32_t* offsets, vec<float> (&c)[4]) {
    __m256 rows[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m128 lower = _mm_load_ps((const float*)(base + offsets[i]));
        __m128 upper = _mm_load_ps((const float*)(base + offsets[i + 4]));
        rows[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(lower), upper, 1);
    }
    __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(rows[0], rows[1]));
    __m256d b = _mm256_castps_pd(_mm256_unpackhi_ps(rows[0], rows[1]));
    __m256d e = _mm256_castps_pd(_mm256_unpacklo_ps(rows[2], rows[3]));
    __m256d f = _mm256_castps_pd(_mm256_unpackhi_ps(rows[2], rows[3]));
    c[0] = {_mm256_castpd_ps(_mm256_unpacklo_pd(a, e))};
    c[1] = {_mm256_castpd_ps(_mm256_unpackhi_pd(a, e))};
    c[2] = {_mm256_castpd_ps(_mm256_unpacklo_pd(b, f))};
    c[3] = {_mm256_castpd_ps(_mm256_unpackhi_pd(b, f))};
}
static ALWAYS_INLINE void load_entries(const char* base, const uint32_t* offsets, vec<double> (&c)[8]) {
#pragma GCC unroll 2
    for (int half = 0; half < 8; half += 4) {
        __m256d rows[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) rows[i] = _mm256_load_pd((const double*)(base + offsets[i]) + half);
        __m256d a = _mm256_unpacklo_pd(rows[0], rows[1]), b = _mm256_unpackhi_pd(rows[0], rows[1]);
        __m256d e = _mm256_unpacklo_pd(rows[2], rows[3]), f = _mm256_unpackhi_pd(rows[2], rows[3]);
        c[half] = {_mm256_permute2f128_pd(a, e, 0x20)};
        c[half + 1] = {_mm256_permute2f128_pd(b, f, 0x20)};
        c[half + 2] = {_mm256_permute2f128_pd(a, e, 0x31)};
        c[half + 3] = {_mm256_permute2f128_pd(b, f, 0x31)};
    }
}

// What the lower bits of the last word say: the part of c0 that its rounding lost.
static ALWAYS_INLINE vec<float> low_part(vec<float> last) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(last.v), 22))};
}
static ALWAYS_INLINE vec<double> low_part(vec<double> last) {
    return {_mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(last.v), 32))};
}

static ALWAYS_INLINE bool any_gt(vec<float> a, vec<float> b) {
    return _mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ));
}
static ALWAYS_INLINE bool any_gt(vec<double> a, vec<double> b) {
    return _mm256_movemask_pd(_mm256_cmp_pd(a.v, b.v, _CMP_GT_OQ));
}
