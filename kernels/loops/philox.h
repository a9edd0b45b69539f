// Random draws: Philox4x32-10 (Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as 1, 2, 3,
// SC 2011), a function of a key and a counter, so that any draw can be had alone, and again.
//
// Draw i is number i % 64 of group i / 64.  A group is made of 16 counters, the four words of each 16 draws
// apart, for then registers of words are registers of draws, however many lanes they have: draw i takes word
// i % 64 / 16 of the counter {16 (i / 64) + i % 16, 0}, and a double its further digits from that word of the
// counter {the same, 1}.  fastrelu/draws.py says it in NumPy.
#pragma once
#include "loops/blocks.h"

enum { COUNTERS = 16, ROUNDS = 10 };

// The same counters for two registers; each lane computes by itself.
struct Counters {
    words number[2], digits[2];
};
struct Philox {
    words word[2][4];
};

static ALWAYS_INLINE words same_words(uint64_t a) { return words{} + a; }
static ALWAYS_INLINE words lane_numbers() {
    words lanes;
    for (unsigned j = 0; j < sizeof lanes / sizeof lanes[0]; j++) lanes[j] = j;
    return lanes;
}

static ALWAYS_INLINE Philox philox(const Counters& counters, uint64_t key) {
    const words first = same_words(0xD2511F53), second = same_words(0xCD9E8D57);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    Philox p;
    for (int j = 0; j < 2; j++) {
        p.word[j][0] = counters.number[j];
        p.word[j][1] = counters.number[j] >> 32;
        p.word[j][2] = counters.digits[j];
        p.word[j][3] = same_words(0);
    }
#pragma GCC unroll 10
    for (int round = 0; round < ROUNDS; round++, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
        const words key0 = same_words(k0), key1 = same_words(k1);
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            words(&c)[4] = p.word[j];
            const words a = word_products(c[0], first), b = word_products(c[2], second);
            c[0] = (b >> 32) ^ c[1] ^ key0;
            c[1] = b;
            c[2] = (a >> 32) ^ c[3] ^ key1;
            c[3] = a;
        }
    }
    return p;
}

// u - 1/2, u the middle of one of 2^24 (float) or 2^53 (double) equal parts of the unit interval: exact, as
// likely negative as positive, and never 0.

static ALWAYS_INLINE vec<float> centred(vec<float>::mask word) {
    typedef unsigned bits __attribute__((vector_size(sizeof word)));
    const vec<float>::mask odd = (vec<float>::mask)(((bits)word >> 7) | 1) - (1 << 24);
    return vec<float>{__builtin_convertvector(odd, vec<float>::raw)} * broadcast(0x1p-25f);
}
static ALWAYS_INLINE vec<double> centred(words word, words further) {
    const words low_half = same_words(0xffffffff), exponent = same_words(0x4330000000000000);
    const words digits = ((further & low_half) >> 10) | 1;
    const vec<double> high = {(vec<double>::raw)((word & low_half) | exponent)};
    const vec<double> low = {(vec<double>::raw)(digits | exponent)};
    return (high - broadcast(0x1p52 + 0x1p31)) * broadcast(0x1p-32) +
           (low - broadcast(0x1p52)) * broadcast(0x1p-54);
}

// One group.

static ALWAYS_INLINE void uniform_group(float* to, uint64_t group, uint64_t key) {
    const int lanes = vec<float>::lanes;
    const words low_half = same_words(0xffffffff), even = lane_numbers() * 2, none = same_words(0);
    for (int j = 0; j < COUNTERS; j += lanes) {
        const words number = same_words(group * COUNTERS + j) + even;
        const Philox p = philox({{number, number + 1}, {none, none}}, key);
        for (int k = 0; k < 4; k++) {
            const words both = (p.word[0][k] & low_half) | (p.word[1][k] << 32);
            store(to + k * COUNTERS + j, centred((vec<float>::mask)both));
        }
    }
}
static ALWAYS_INLINE void uniform_group(double* to, uint64_t group, uint64_t key) {
    const int lanes = vec<double>::lanes;
    for (int j = 0; j < COUNTERS; j += lanes) {
        const words number = same_words(group * COUNTERS + j) + lane_numbers();
        const Philox p = philox({{number, number}, {same_words(0), same_words(1)}}, key);
        for (int k = 0; k < 4; k++) store(to + k * COUNTERS + j, centred(p.word[0][k], p.word[1][k]));
    }
}

template<class T> ALWAYS_INLINE void uniform_draws(T* to, uint64_t group, ptrdiff_t groups, uint64_t key) {
    for (ptrdiff_t i = 0; i < groups; i++) uniform_group(to + i * GROUP, group + i, key);
}

// A uniform draw of the first half of a group and its fellow of the second become two normal ones.  The radii
// come first: in one loop the processor would see too little beyond the long chain of each.
template<class T, class W> ALWAYS_INLINE void normal_draws(W (*radius)(W), W (*cosine)(W), W (*sine)(W),
                                                           T* to, uint64_t group, ptrdiff_t groups,
                                                           uint64_t key) {
    const int lanes = vec<T>::lanes, half = GROUP / 2;
    W radii[half / lanes];
    for (ptrdiff_t i = 0; i < groups; i++, to += GROUP) {
        uniform_group(to, group + i, key);
        for (int j = 0; j < half / lanes; j++) radii[j] = radius(take((W*)0, to + j * lanes));
        for (int j = 0; j < half / lanes; j++) {
            const W angle = take((W*)0, to + half + j * lanes);
            put(to + j * lanes, radii[j] * cosine(angle));
            put(to + half + j * lanes, radii[j] * sine(angle));
        }
    }
}
