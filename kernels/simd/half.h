// float16 by integer arithmetic: the compiler's own conversion calls a library that raises x87 exceptions.
//
// The bits are those of the F16C instructions: a NaN keeps its sign and what fits of its payload, and
// becomes quiet.
#pragma once
#include <stdint.h>
#include <string.h>

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
    if (x > 0x7f800000) rounded = 0x7e00 | (x >> 13 & 0x1ff);
    else if (x >= 0x47800000) rounded = 0x7c00;  // at least 2^16
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
    return same_bits<float>(wide | sign | (x > 0x7c00 ? 0x400000 : 0));
}
