// Elements of any stride and type into contiguous buffers of the type that a block computes in, and back.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// What an operand may be stored as.  Blocks compute in the first two.
enum Storage {
    FLOAT32,
    FLOAT64,
    FLOAT16,
    BOOL,
    INT8,
    UINT8,
    INT16,
    UINT16,
    INT32,
    UINT32,
    INT64,
    UINT64,
    STORAGES
};

static const int STORAGE_BYTES[STORAGES] = {4, 8, 2, 1, 1, 1, 2, 2, 4, 4, 8, 8};

// float16 by integer arithmetic: the compiler's own conversion calls a library that raises x87 exceptions.
struct half {
    uint16_t bits;
    half() = default;
    explicit half(float value);
    explicit half(double value);
    operator float() const;
};

template<class To, class From> static inline To same_bits(From from) {
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

// Rounds to nearest, ties to even.
inline half::half(float value) {
    const uint32_t whole = same_bits<uint32_t>(value), x = whole & 0x7fffffff, sign = whole >> 16 & 0x8000;
    uint32_t rounded;
    if (x >= 0x47800000) rounded = x > 0x7f800000 ? 0x7e00 : 0x7c00;  // NaN; at least 2^16
    else if (x < 0x38800000)
        rounded = same_bits<uint32_t>(same_bits<float>(x) + 0.5f) - 0x3f000000;  // subnormal
    else rounded = (x - 0x38000000 + 0xfff + (x >> 13 & 1)) >> 13;
    bits = (uint16_t)(sign | rounded);
}
// By way of a float rounded to odd, which keeps the second rounding right.
inline half::half(double value) {
    float near = (float)value;
    if (near - near == 0 && near != value) {
        uint32_t b = same_bits<uint32_t>(near);
        if (__builtin_fabs((double)near) > __builtin_fabs(value)) b--;
        near = same_bits<float>(b | 1);
    }
    *this = half(near);
}
inline half::operator float() const {
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16, x = bits & 0x7fff;
    if (x < 0x0400) return same_bits<float>(same_bits<uint32_t>((float)x * 0x1p-24f) | sign);
    const uint32_t wide = (x << 13) + (x >= 0x7c00 ? 0x70000000 : 0x38000000);
    return same_bits<float>(wide | sign);
}

typedef void (*Converter)(char* to, ptrdiff_t to_step, const char* from, ptrdiff_t from_step, ptrdiff_t n);

template<class To, class From>
static void convert(char* to, ptrdiff_t to_step, const char* from, ptrdiff_t from_step, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) *(To*)(to + i * to_step) = (To) * (const From*)(from + i * from_step);
}

#define FROM_EVERY_STORAGE(To)                                                                 \
    {convert<To, float>,   convert<To, double>,   convert<To, half>,    convert<To, bool>,     \
     convert<To, int8_t>,  convert<To, uint8_t>,  convert<To, int16_t>, convert<To, uint16_t>, \
     convert<To, int32_t>, convert<To, uint32_t>, convert<To, int64_t>, convert<To, uint64_t>}

// [what the block computes in][what the operand is stored as]
static const Converter PACK[2][STORAGES] = {FROM_EVERY_STORAGE(float), FROM_EVERY_STORAGE(double)};
// [what the block computes in][float32, float64, float16]
static const Converter UNPACK[2][3] = {
        {convert<float, float>, convert<double, float>, convert<half, float>},
        {convert<float, double>, convert<double, double>, convert<half, double>}};
