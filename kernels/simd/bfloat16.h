// bfloat16, the upper half of a float, for every instruction set.
//
// Rounding is to nearest, ties to even; a NaN keeps its sign and what fits of its payload, and becomes quiet.
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
