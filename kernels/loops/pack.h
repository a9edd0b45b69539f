// Elements of any stride and type into contiguous buffers of the type that a block computes in, and back.
//
// Compiled for each instruction set, which is where converting costs least.
#pragma once
#include <type_traits>
#include "loops/exports.h"
#include "simd/bfloat16.h"

// Loops over a step that the compiler knows become vector code; -O2 leaves them alone.  Where the type
// changes that is worth its code for one step only.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3")
#endif

template<class To, class From, ptrdiff_t TO, ptrdiff_t FROM>
static void convert_at(To* __restrict to, const From* __restrict from, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) to[i * TO] = (To)from[i * FROM];
}

template<class To> static void fill(To* to, To value, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) to[i] = value;
}

template<class To, class From>
static void convert(char* to, ptrdiff_t to_step, const char* from, ptrdiff_t from_step, ptrdiff_t n) {
    const ptrdiff_t to_item = sizeof(To), item = sizeof(From);
    To* const p = (To*)to;
    const From* const q = (const From*)from;
    if (to_step == to_item && from_step == item) return convert_at<To, From, 1, 1>(p, q, n);
    if constexpr (std::is_same_v<To, From>) {
        if (to_step == to_item && from_step == 2 * item) return convert_at<To, From, 1, 2>(p, q, n);
        if (to_step == to_item && from_step == -item) return convert_at<To, From, 1, -1>(p, q, n);
        if (to_step == 2 * to_item && from_step == item) return convert_at<To, From, 2, 1>(p, q, n);
    }
    if (to_step == to_item && from_step == 0) return fill<To>(p, (To)*q, n);
    for (ptrdiff_t i = 0; i < n; i++) *(To*)(to + i * to_step) = (To) * (const From*)(from + i * from_step);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

enum { HALVES = 64 };  // of any stride, brought together at a time

// Whole registers; the last ones overlap.
template<class To, class From> static void convert_registers(To* to, const From* from, ptrdiff_t n) {
    const ptrdiff_t lanes = vec<float>::lanes;
    if (n < lanes) {
        for (ptrdiff_t i = 0; i < n; i++) to[i] = To(from[i]);
        return;
    }
    for (ptrdiff_t i = 0; i < n - lanes; i += lanes) store(to + i, load(from + i));
    store(to + n - lanes, load(from + n - lanes));
}

// Between floats and a type of 16 bits.
template<class H>
static void widen(char* to, ptrdiff_t to_step, const char* from, ptrdiff_t from_step, ptrdiff_t n) {
    const ptrdiff_t item = sizeof(H), to_item = sizeof(float);
    if (to_step == to_item && from_step == item) return convert_registers((float*)to, (const H*)from, n);
    H halves[HALVES];
    float floats[HALVES];
    for (ptrdiff_t i = 0, count; i < n; i += count) {
        count = n - i < HALVES ? n - i : HALVES;
        convert<uint16_t, uint16_t>((char*)halves, item, from + i * from_step, from_step, count);
        convert_registers(floats, halves, count);
        convert<float, float>(to + i * to_step, to_step, (const char*)floats, to_item, count);
    }
}
template<class H>
static void narrow(char* to, ptrdiff_t to_step, const char* from, ptrdiff_t from_step, ptrdiff_t n) {
    const ptrdiff_t item = sizeof(float), to_item = sizeof(H);
    if (to_step == to_item && from_step == item) return convert_registers((H*)to, (const float*)from, n);
    H halves[HALVES];
    float floats[HALVES];
    for (ptrdiff_t i = 0, count; i < n; i += count) {
        count = n - i < HALVES ? n - i : HALVES;
        convert<float, float>((char*)floats, item, from + i * from_step, from_step, count);
        convert_registers(halves, floats, count);
        convert<uint16_t, uint16_t>(to + i * to_step, to_step, (const char*)halves, to_item, count);
    }
}

template<class T> static void copy_rows(char* to, ptrdiff_t to_row, const char* from, ptrdiff_t from_row,
                                        ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t length) {
    const ptrdiff_t lanes = vec<T>::lanes;
    for (ptrdiff_t i = 0; i < rows; i++, to += to_row, from += from_row) {
        const T* const row = (const T*)from;
        if (from_step && length >= lanes) {
            for (ptrdiff_t k = 0; k < length - lanes; k += lanes) store((T*)to + k, load(row + k));
            store((T*)to + length - lanes, load(row + length - lanes));
        } else if (from_step) {
            for (ptrdiff_t k = 0; k < length; k++) ((T*)to)[k] = row[k];
        } else {
            const vec<T> value = broadcast(*row);
            for (ptrdiff_t k = 0; k < length; k += lanes) store((T*)to + k, value);
        }
    }
}

// Four by four where an item is as wide as a float.
template<class T>
static void transpose(char* to, const char* from, ptrdiff_t from_row, ptrdiff_t rows, ptrdiff_t length) {
    ptrdiff_t i = 0;
    if (sizeof(T) == sizeof(float)) {
        for (; i + 4 <= rows; i += 4) {
            const float* row[4];
            for (int k = 0; k < 4; k++) row[k] = (const float*)(from + (i + k) * from_row);
            ptrdiff_t j = 0;
            for (; j + 4 <= length; j += 4) {
                __m128 a = _mm_loadu_ps(row[0] + j), b = _mm_loadu_ps(row[1] + j);
                __m128 c = _mm_loadu_ps(row[2] + j), d = _mm_loadu_ps(row[3] + j);
                _MM_TRANSPOSE4_PS(a, b, c, d);
                float* const corner = (float*)to + j * rows + i;
                _mm_storeu_ps(corner, a), _mm_storeu_ps(corner + rows, b);
                _mm_storeu_ps(corner + 2 * rows, c), _mm_storeu_ps(corner + 3 * rows, d);
            }
            for (; j < length; j++)
                for (int k = 0; k < 4; k++) ((T*)to)[j * rows + i + k] = ((const T*)row[k])[j];
        }
    }
    for (; i < rows; i++)
        for (ptrdiff_t j = 0; j < length; j++) ((T*)to)[j * rows + i] = ((const T*)(from + i * from_row))[j];
}

#define BY_BYTES(f) \
    {nullptr, f<uint8_t>, f<uint16_t>, nullptr, f<uint32_t>, nullptr, nullptr, nullptr, f<uint64_t>}
template<class T>
static void copy(char* to, ptrdiff_t to_step, const char* from, ptrdiff_t from_step, ptrdiff_t n) {
    convert<T, T>(to, to_step, from, from_step, n);
}

#define FROM_EVERY_STORAGE(To, of_half, of_bfloat16)                     \
    {convert<To, float>,   convert<To, double>,   of_half,               \
     of_bfloat16,          convert<To, bool>,     convert<To, int8_t>,   \
     convert<To, uint8_t>, convert<To, int16_t>,  convert<To, uint16_t>, \
     convert<To, int32_t>, convert<To, uint32_t>, convert<To, int64_t>,  \
     convert<To, uint64_t>}

static const Converters CONVERTERS = {
        {FROM_EVERY_STORAGE(float, widen<half>, widen<bfloat16>),
         FROM_EVERY_STORAGE(double, (convert<double, half>), (convert<double, bfloat16>))},
        {{convert<float, float>, convert<double, float>, narrow<half>, narrow<bfloat16>},
         {convert<float, double>, convert<double, double>, convert<half, double>, nullptr}},
        BY_BYTES(copy),
        BY_BYTES(copy_rows),
        BY_BYTES(transpose)};
#undef FROM_EVERY_STORAGE
#undef BY_BYTES
