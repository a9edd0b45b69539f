// AVX-512 out of pairs of AVX2 registers, so that kernels/simd/avx512.h itself, the sibling with 16 lanes,
// runs where no CPU has it: tests/test_emulated.py compiles the kernels with this in front of everything
// else.
//
// Only what the kernels use is here; a compiler error names what a change of them needs besides.
#pragma once
#include <immintrin.h>

#ifdef __AVX512F__
#error "emulation is pointless where the compiler may use AVX-512"
#endif
#define __AVX512F__ 1
#define __AVX512DQ__ 1
#define __AVX512VL__ 1

namespace emulated {

#define EMULATED static inline __attribute__((always_inline))

EMULATED __m256 lower(__m512 a) { return __builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7); }
EMULATED __m256 upper(__m512 a) { return __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15); }
EMULATED __m256d lower(__m512d a) { return __builtin_shufflevector(a, a, 0, 1, 2, 3); }
EMULATED __m256d upper(__m512d a) { return __builtin_shufflevector(a, a, 4, 5, 6, 7); }
EMULATED __m512 join(__m256 a, __m256 b) {
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
EMULATED __m512d join(__m256d a, __m256d b) { return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7); }

EMULATED __m512 set1_ps(float a) { return join(_mm256_set1_ps(a), _mm256_set1_ps(a)); }
EMULATED __m512d set1_pd(double a) { return join(_mm256_set1_pd(a), _mm256_set1_pd(a)); }
EMULATED __m512 loadu_ps(const float* p) { return join(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
EMULATED __m512d loadu_pd(const double* p) { return join(_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)); }
EMULATED void storeu_ps(float* p, __m512 a) {
    _mm256_storeu_ps(p, lower(a));
    _mm256_storeu_ps(p + 8, upper(a));
}
EMULATED void storeu_pd(double* p, __m512d a) {
    _mm256_storeu_pd(p, lower(a));
    _mm256_storeu_pd(p + 4, upper(a));
}

EMULATED void stream_ps(float* p, __m512 a) {
    _mm256_stream_ps(p, lower(a));
    _mm256_stream_ps(p + 8, upper(a));
}
EMULATED void stream_pd(double* p, __m512d a) {
    _mm256_stream_pd(p, lower(a));
    _mm256_stream_pd(p + 4, upper(a));
}

EMULATED __m512 mask_loadu_ps(__m512 fill, unsigned mask, const float* p) {
    for (int j = 0; j < 16; j++)
        if (mask >> j & 1) fill[j] = p[j];
    return fill;
}
EMULATED __m512d mask_loadu_pd(__m512d fill, unsigned mask, const double* p) {
    for (int j = 0; j < 8; j++)
        if (mask >> j & 1) fill[j] = p[j];
    return fill;
}
EMULATED void mask_storeu_ps(float* p, unsigned mask, __m512 a) {
    for (int j = 0; j < 16; j++)
        if (mask >> j & 1) p[j] = a[j];
}
EMULATED void mask_storeu_pd(double* p, unsigned mask, __m512d a) {
    for (int j = 0; j < 8; j++)
        if (mask >> j & 1) p[j] = a[j];
}

EMULATED __m512d fmadd_pd(__m512d a, __m512d b, __m512d c) {
    return join(_mm256_fmadd_pd(lower(a), lower(b), lower(c)), _mm256_fmadd_pd(upper(a), upper(b), upper(c)));
}
EMULATED __m512d fmsub_pd(__m512d a, __m512d b, __m512d c) {
    return join(_mm256_fmsub_pd(lower(a), lower(b), lower(c)), _mm256_fmsub_pd(upper(a), upper(b), upper(c)));
}
EMULATED __m512 fmadd_ps(__m512 a, __m512 b, __m512 c) {
    return join(_mm256_fmadd_ps(lower(a), lower(b), lower(c)), _mm256_fmadd_ps(upper(a), upper(b), upper(c)));
}
EMULATED __m512 fmsub_ps(__m512 a, __m512 b, __m512 c) {
    return join(_mm256_fmsub_ps(lower(a), lower(b), lower(c)), _mm256_fmsub_ps(upper(a), upper(b), upper(c)));
}
EMULATED __m512 max_ps(__m512 a, __m512 b) {
    return join(_mm256_max_ps(lower(a), lower(b)), _mm256_max_ps(upper(a), upper(b)));
}
EMULATED __m512d max_pd(__m512d a, __m512d b) {
    return join(_mm256_max_pd(lower(a), lower(b)), _mm256_max_pd(upper(a), upper(b)));
}
EMULATED __m512 min_ps(__m512 a, __m512 b) {
    return join(_mm256_min_ps(lower(a), lower(b)), _mm256_min_ps(upper(a), upper(b)));
}
EMULATED __m512d min_pd(__m512d a, __m512d b) {
    return join(_mm256_min_pd(lower(a), lower(b)), _mm256_min_pd(upper(a), upper(b)));
}

template<int RELATION> EMULATED unsigned cmp_ps_mask(__m512 a, __m512 b) {
    return _mm256_movemask_ps(_mm256_cmp_ps(lower(a), lower(b), RELATION)) |
           _mm256_movemask_ps(_mm256_cmp_ps(upper(a), upper(b), RELATION)) << 8;
}
template<int RELATION> EMULATED unsigned cmp_pd_mask(__m512d a, __m512d b) {
    return _mm256_movemask_pd(_mm256_cmp_pd(lower(a), lower(b), RELATION)) |
           _mm256_movemask_pd(_mm256_cmp_pd(upper(a), upper(b), RELATION)) << 4;
}

EMULATED __m512 sqrt_ps(__m512 a) { return join(_mm256_sqrt_ps(lower(a)), _mm256_sqrt_ps(upper(a))); }
EMULATED __m512d sqrt_pd(__m512d a) { return join(_mm256_sqrt_pd(lower(a)), _mm256_sqrt_pd(upper(a))); }
EMULATED __m512i mul_epu32(__m512i a, __m512i b) {
    const __m512i words = __m512i{} + 0xffffffff;
    return (a & words) * (b & words);
}
EMULATED __m512 scalef_ps(__m512 a, __m512 k) {
    for (int j = 0; j < 16; j++) a[j] = __builtin_ldexpf(a[j], (int)__builtin_floorf(k[j]));
    return a;
}
EMULATED __m512d scalef_pd(__m512d a, __m512d k) {
    for (int j = 0; j < 8; j++) a[j] = __builtin_ldexp(a[j], (int)__builtin_floor(k[j]));
    return a;
}
EMULATED __m512 permutexvar_ps(__m512i index, __m512 a) {
    __m512 from = a;
    for (int j = 0; j < 16; j++) a[j] = from[(index[j / 2] >> j % 2 * 32) & 15];
    return a;
}
EMULATED __m512d permutex2var_pd(__m512d a, __m512i index, __m512d b) {
    __m512d from = a;
    for (int j = 0; j < 8; j++) a[j] = index[j] & 8 ? b[index[j] & 7] : from[index[j] & 7];
    return a;
}

EMULATED __m512d cvtps_pd(__m256 a) {
    return join(_mm256_cvtps_pd(_mm256_castps256_ps128(a)), _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)));
}
EMULATED __m256 cvtpd_ps(__m512d a) {
    return _mm256_set_m128(_mm256_cvtpd_ps(upper(a)), _mm256_cvtpd_ps(lower(a)));
}
EMULATED __m512 cvtph_ps(__m256i a) {
    return join(_mm256_cvtph_ps(_mm256_castsi256_si128(a)), _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1)));
}
template<int ROUNDING> EMULATED __m256i cvtps_ph(__m512 a) {
    return _mm256_set_m128i(_mm256_cvtps_ph(upper(a), ROUNDING), _mm256_cvtps_ph(lower(a), ROUNDING));
}
EMULATED __m256 castps512_ps256(__m512 a) { return lower(a); }
EMULATED __m512 castps256_ps512(__m256 a) { return join(a, a); }
EMULATED __m256 extractf32x8_ps(__m512 a, int half) { return half ? upper(a) : lower(a); }
EMULATED __m512 insertf32x8(__m512 a, __m256 b, int half) {
    return half ? join(lower(a), b) : join(b, upper(a));
}

}  // namespace emulated

#define _mm512_set1_ps emulated::set1_ps
#define _mm512_set1_pd emulated::set1_pd
#define _mm512_loadu_ps emulated::loadu_ps
#define _mm512_loadu_pd emulated::loadu_pd
#define _mm512_storeu_ps emulated::storeu_ps
#define _mm512_storeu_pd emulated::storeu_pd
#define _mm512_stream_ps emulated::stream_ps
#define _mm512_stream_pd emulated::stream_pd
#define _mm512_mask_loadu_ps emulated::mask_loadu_ps
#define _mm512_mask_loadu_pd emulated::mask_loadu_pd
#define _mm512_mask_storeu_ps emulated::mask_storeu_ps
#define _mm512_mask_storeu_pd emulated::mask_storeu_pd
#define _mm512_scalef_ps emulated::scalef_ps
#define _mm512_scalef_pd emulated::scalef_pd
#define _mm512_permutexvar_ps emulated::permutexvar_ps
#define _mm512_permutex2var_pd emulated::permutex2var_pd
#define _mm512_fmadd_pd emulated::fmadd_pd
#define _mm512_fmsub_pd emulated::fmsub_pd
#define _mm512_fmadd_ps emulated::fmadd_ps
#define _mm512_fmsub_ps emulated::fmsub_ps
#define _mm512_max_ps emulated::max_ps
#define _mm512_max_pd emulated::max_pd
#define _mm512_min_ps emulated::min_ps
#define _mm512_min_pd emulated::min_pd
#define _mm512_cmp_ps_mask(a, b, relation) emulated::cmp_ps_mask<relation>(a, b)
#define _mm512_cmp_pd_mask(a, b, relation) emulated::cmp_pd_mask<relation>(a, b)
#define _mm512_sqrt_ps emulated::sqrt_ps
#define _mm512_sqrt_pd emulated::sqrt_pd
#define _mm512_mul_epu32 emulated::mul_epu32
#define _mm512_cvtps_pd emulated::cvtps_pd
#define _mm512_cvtpd_ps emulated::cvtpd_ps
#define _mm512_cvtph_ps emulated::cvtph_ps
#define _mm512_cvtps_ph(a, rounding) emulated::cvtps_ph<rounding>(a)
#define _mm512_castps512_ps256 emulated::castps512_ps256
#define _mm512_castps256_ps512 emulated::castps256_ps512
#define _mm512_extractf32x8_ps emulated::extractf32x8_ps
#define _mm512_insertf32x8 emulated::insertf32x8
