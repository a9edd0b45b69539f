// The steps around an activation, register by register (fused_exports.h says what each does).
//
// The last, partial register is read and written as far as it goes, by the same arithmetic.
#pragma once
#include "loops/fused_exports.h"
#include "loops/sum_blocks.h"

// to[i] = f(register i of a, where it begins) for all of n elements.
template<class T, class F> ALWAYS_INLINE void each_register(T* to, const T* a, ptrdiff_t n, F f) {
    const ptrdiff_t lanes = vec<T>::lanes, whole = n / lanes * lanes;
    for (ptrdiff_t i = 0; i < whole; i += lanes) store(to + i, f(load(a + i), i, lanes));
    if (whole < n) {
        const vec<T> last = load_first(a + whole, n - whole, broadcast((T)0));
        store_first(to + whole, n - whole, f(last, whole, n - whole));
    }
}

// The elements from p on, as many as f of `each_register` is told.
template<class T> ALWAYS_INLINE vec<T> further(const T* p, ptrdiff_t count) {
    return count == vec<T>::lanes ? load(p) : load_first(p, count, broadcast((T)0));
}

template<class T> static void add_step(void* to, const void* a, const void* b, bool b_is_one, ptrdiff_t n) {
    const T* const q = (const T*)b;
    if (b_is_one) {
        const vec<T> one = broadcast(*q);
        each_register((T*)to, (const T*)a, n, [=](vec<T> x, ptrdiff_t, ptrdiff_t) { return x + one; });
    } else {
        each_register((T*)to, (const T*)a, n,
                      [=](vec<T> x, ptrdiff_t i, ptrdiff_t count) { return x + further(q + i, count); });
    }
}

template<class T> static void scale_step(void* to, const void* a, double factor, ptrdiff_t n) {
    const vec<T> by = broadcast((T)factor);
    each_register((T*)to, (const T*)a, n, [=](vec<T> x, ptrdiff_t, ptrdiff_t) { return x * by; });
}

template<class T>
static void drop_step(void* to, const void* a, const void* draws, double limit, double factor, ptrdiff_t n) {
    const T* const drawn = (const T*)draws;
    const vec<T> least = broadcast((T)limit), by = broadcast((T)factor), zero = broadcast((T)0);
    each_register((T*)to, (const T*)a, n, [=](vec<T> x, ptrdiff_t i, ptrdiff_t count) {
        return where_ge(further(drawn + i, count), least, x * by, zero);
    });
}

static ALWAYS_INLINE wide<float> sums_at(const double* high, const double*, wide<float>) {
    return {load(high), load(high + vec<double>::lanes)};
}
static ALWAYS_INLINE wide<double> sums_at(const double* high, const double* low, wide<double>) {
    return {load(high), load(low)};
}
static ALWAYS_INLINE void keep_sums(double* high, double*, wide<float> a) {
    store(high, a.lower);
    store(high + vec<double>::lanes, a.upper);
}
static ALWAYS_INLINE void keep_sums(double* high, double* low, wide<double> a) {
    store(high, a.hi);
    store(low, a.lo);
}

// 1 where an element is positive or NaN, else 0.
template<class T> ALWAYS_INLINE vec<T> activity(vec<T> a) {
    const vec<T> zero = broadcast((T)0);
    return where_ge(zero, a, zero, broadcast((T)1));
}

// One register of results, which begins at column `at`.
template<bool COUNTS, class T> ALWAYS_INLINE void add_to_tallies(const Tallies& to, ptrdiff_t at, vec<T> a) {
    const ptrdiff_t slot = at & to.ring;
    double *const high = to.high + slot, *const low = to.low + slot;
    if (to.high) keep_sums(high, low, sums_at(high, low, wide<T>()) + widen(a));
    if (!COUNTS || !to.counts) return;
    if constexpr (sizeof(T) == sizeof(float)) add_to(to.counts + slot, nullptr, widen(activity(a)));
    else store(to.counts + slot, load(to.counts + slot) + activity(a));
}

template<class T> static void tally_step(const void* a, ptrdiff_t n, const Tallies& tallies) {
    const Tallies to = tallies;
    const ptrdiff_t lanes = vec<T>::lanes;
    for (ptrdiff_t i = 0; i < n; i += lanes)
        add_to_tallies<true>(to, i, further((const T*)a + i, n - i < lanes ? n - i : lanes));
}

template<class T> static void stream_step(void* to, const void* from, ptrdiff_t bytes) {
    for (ptrdiff_t i = 0; i < bytes / (ptrdiff_t)sizeof(T); i += vec<T>::lanes)
        stream((T*)to + i, load((const T*)from + i));
}

// All bits of a word, for as many elements as it has bits: registers that share a byte are brought together.
template<class T> ALWAYS_INLINE uint64_t bits_of(const T* p, ptrdiff_t n, vec<T> value) {
    const ptrdiff_t lanes = vec<T>::lanes;
    uint64_t word = 0;
    for (ptrdiff_t i = 0; i < n; i += lanes)
        word |= (uint64_t)lanes_equal(further(p + i, n - i < lanes ? n - i : lanes), value) << i;
    return word;
}

enum { WORD = 64 };  // elements of a word of bits

template<class T>
static void to_bits_step(uint8_t* bits, const void* a, double value, bool where_equal, ptrdiff_t n) {
    const T* const p = (const T*)a;
    const vec<T> asked = broadcast((T)value);
    const uint64_t turned = where_equal ? 0 : ~(uint64_t)0;
    for (ptrdiff_t i = 0; i < n; i += WORD) {
        uint64_t word;
        if (n - i >= WORD) {
            word = bits_of(p + i, WORD, asked) ^ turned;
            memcpy(bits + i / 8, &word, sizeof word);
        } else {
            word = (bits_of(p + i, n - i, asked) ^ turned) & (((uint64_t)1 << (n - i)) - 1);
            memcpy(bits + i / 8, &word, (n - i + 7) / 8);
        }
    }
}

template<class T>
static void by_bits_step(void* to, const void* a, const uint8_t* bits, double factor, ptrdiff_t n) {
    typedef typename vec<T>::mask mask;
    const ptrdiff_t lanes = vec<T>::lanes;
    const bool dead = factor == 0;
    const vec<T> by = broadcast((T)factor), zero = broadcast((T)0);
    mask own;
    for (int j = 0; j < lanes; j++) own[j] = 1 << j;
    for (ptrdiff_t start = 0; start < n; start += WORD) {
        const ptrdiff_t count = n - start < WORD ? n - start : WORD;
        uint64_t word = 0;
        if (count == WORD) memcpy(&word, bits + start / 8, sizeof word);
        else memcpy(&word, bits + start / 8, (count + 7) / 8);
        each_register((T*)to + start, (const T*)a + start, count, [=](vec<T> x, ptrdiff_t i, ptrdiff_t) {
            const mask found = (mask{} + (int)(word >> i & ((1 << lanes) - 1))) & own;
            return vec<T>{found == own ? x.v : dead ? zero.v : (x * by).v};
        });
    }
}

template<class T> constexpr FusedSteps fused_steps() {
    return {add_step<T>,    scale_step<T>,   drop_step<T>,   tally_step<T>,
            stream_step<T>, to_bits_step<T>, by_bits_step<T>};
}
