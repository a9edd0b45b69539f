// bfloat16, the upper half of a float, for every instruction set.
//
// Rounding is to nearest, ties to even; a NaN keeps its sign and what fits of its payload, and becomes quiet.
//
// `load_two` and `store_two` are for both 16-bit types: a whole register of them is two of floats, in
// whatever order costs least, for all operands and the result are taken apart alike.
#pragma once
#include "simd/vec.h"

struct bfloat16 {
    uint16_t bits;
    bfloat16() = default;
    explicit bfloat16(float value) {
        const uint32_t x = same_bits<uint32_t>(value);
        const bool nan = (x & 0x7fffffff) > 0x7f800000;
        bits = (uint16_t)((nan ? x | 0x400000 : x + 0x7fff + (x >> 16 & 1)) >> 16);
    }
    operator float() const { return same_bits<float>((uint32_t)bits << 16); }
};

// One register of floats as integers.
typedef uint32_t Words __attribute__((vector_size(sizeof(vec<float>::raw))));

static ALWAYS_INLINE vec<float> load(const bfloat16* p) {
    return {(vec<float>::raw)((Words)load_words(&p->bits) << 16)};
}
static ALWAYS_INLINE void store(bfloat16* p, vec<float> a) {
    const Words x = (Words)a.v, rounded = x + 0x7fff + (x >> 16 & 1);
    const Words chosen = a.v == a.v ? rounded : x | 0x400000;
    store_words(&p->bits, (words)(chosen >> 16));
}

// The odd ones are floats where they stand.
static ALWAYS_INLINE void load_two(const bfloat16* p, vec<float> (&a)[2]) {
    Words x;
    memcpy(&x, p, sizeof x);
    a[0] = {(vec<float>::raw)(x << 16)};
    a[1] = {(vec<float>::raw)(x & 0xffff0000)};
}
// Of results of formulas: what they have of a NaN came from 16 bits, and so rounding leaves it alone.
static ALWAYS_INLINE Words rounded_upper_half(vec<float> a) {
    const Words x = (Words)a.v;
    return x + 0x7fff + (x >> 16 & 1);
}
static ALWAYS_INLINE void store_two(bfloat16* p, vec<float> a, vec<float> b) {
    const Words x = rounded_upper_half(a) >> 16 | (rounded_upper_half(b) & 0xffff0000);
    memcpy(p, &x, sizeof x);
}

static ALWAYS_INLINE void load_two(const half* p, vec<float> (&a)[2]) {
    a[0] = load(p), a[1] = load(p + vec<float>::lanes);
}
static ALWAYS_INLINE void store_two(half* p, vec<float> a, vec<float> b) {
    store(p, a), store(p + vec<float>::lanes, b);
}
