// Short contiguous rows into columns and back, so that a register holds an entry of many rows: in cache, by
// squares of 16-byte registers.
#pragma once
#include <emmintrin.h>
#include <stddef.h>

static inline void transpose_square(const float* from, ptrdiff_t from_row, float* to, ptrdiff_t to_row) {
    __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + from_row);
    __m128 c = _mm_loadu_ps(from + 2 * from_row), d = _mm_loadu_ps(from + 3 * from_row);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + to_row, b);
    _mm_storeu_ps(to + 2 * to_row, c);
    _mm_storeu_ps(to + 3 * to_row, d);
}
static inline void transpose_square(const double* from, ptrdiff_t from_row, double* to, ptrdiff_t to_row) {
    const __m128d a = _mm_loadu_pd(from), b = _mm_loadu_pd(from + from_row);
    _mm_storeu_pd(to, _mm_unpacklo_pd(a, b));
    _mm_storeu_pd(to + to_row, _mm_unpackhi_pd(a, b));
}

// to[j][i] = from[i][j] for i < rows, j < n.  The last squares may lie over those before.
template<class T> static void transpose(const T* from, ptrdiff_t from_row, T* to, ptrdiff_t to_row,
                                        ptrdiff_t rows, ptrdiff_t n) {
    const ptrdiff_t side = 16 / sizeof(T);
    if (rows < side || n < side) {
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t j = 0; j < n; j++) to[j * to_row + i] = from[i * from_row + j];
        return;
    }
    for (ptrdiff_t row = 0; row < rows; row += side) {
        const ptrdiff_t i = row + side <= rows ? row : rows - side;
        for (ptrdiff_t column = 0; column < n; column += side) {
            const ptrdiff_t j = column + side <= n ? column : n - side;
            transpose_square(from + i * from_row + j, from_row, to + j * to_row + i, to_row);
        }
    }
}
