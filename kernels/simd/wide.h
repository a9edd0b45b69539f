// wide<T>: a register of T computed with spare precision, so that one formula serves both types.
//
//   wide<float>   two registers of double: every operation is exact enough that only the last
//                 rounding counts
//   wide<double>  an unevaluated sum hi + lo of two doubles (the pair arithmetic of Lange & Rump,
//                 Faithfully rounded floating-point computations, ACM TOMS 46, 2020): about 100 bits
//
// hi is always what plain double arithmetic would give, so infinities and NaN appear in a formula just
// where its ordinary reading says; `narrow` drops a lo that became NaN beside an infinite hi.
// Formulas see both types under the same names; each name stands in this file once for each.
#pragma once
#include "simd/vec.h"

template<class T> struct wide;
template<> struct wide<float> {
    vec<double> lower, upper;
};
template<> struct wide<double> {
    vec<double> hi, lo;
};
typedef wide<float> wide_f;
typedef wide<double> wide_d;
typedef vec<double> vd;

// Declared for every T, defined for each: Cython names T at every call, which only templates allow.
template<class T> wide<T> constant(wide<T> like, double high, double low);
template<class T> wide<T> where_gt(wide<T> a, wide<T> b, wide<T> yes, wide<T> no);
template<class T> wide<T> where_ge(wide<T> a, wide<T> b, wide<T> yes, wide<T> no);
template<class T> wide<T> where_eq(wide<T> a, wide<T> b, wide<T> yes, wide<T> no);
template<class T> wide<T> magnitude(wide<T> a);
template<class T> wide<T> turn_sign(wide<T> a, wide<T> s);
template<class T> wide<T> nearest_integer(wide<T> a);
template<class T> wide<T> binade(wide<T> a);
template<class T> wide<T> power_of_two(wide<T> k);
template<class T> wide<T> scaled(wide<T> a, wide<T> scale);
template<class T> wide<T> normalised(wide<T> a);
template<class T> wide<T> settled(wide<T> a);
template<class T> wide<T> rough_product(wide<T> a, wide<T> b);
template<class T> wide<T> rough_sum(wide<T> a, wide<T> b);
template<class T> wide<T> attached(wide<T> a, wide<T> b);
template<class T> wide<T> square_root(wide<T> a);

// --- in and out ---------------------------------------------------------------------------------------

static ALWAYS_INLINE wide_f widen(vec<float> a) { return {lower_half(a), upper_half(a)}; }
static ALWAYS_INLINE wide_d widen(vec<double> a) { return {a, splat(a, 0.0)}; }

template<class T> ALWAYS_INLINE vec<T> narrow(vec<T> a) { return a; }
static ALWAYS_INLINE vec<float> narrow(wide_f a) { return join_halves(a.lower, a.upper); }
static ALWAYS_INLINE vec<double> narrow(wide_d a) {
    vd sum = a.hi + a.lo, zero = splat(a.hi, 0.0);
    sum = where_eq(sum, sum, sum, a.hi);                // lo is NaN beside an infinite hi
    return where_gt(magnitude(a.lo), zero, sum, a.hi);  // -0 + 0 would be +0
}

// A constant given to 106 bits as high + low.
template<> ALWAYS_INLINE wide_f constant(wide_f a, double high, double) {
    vd c = splat(a.lower, high);
    return {c, c};
}
template<> ALWAYS_INLINE wide_d constant(wide_d a, double high, double low) {
    return {splat(a.hi, high), splat(a.hi, low)};
}
template<class T> ALWAYS_INLINE wide<T> splat(wide<T> a, double c) { return constant(a, c, 0.0); }

// --- arithmetic ---------------------------------------------------------------------------------------

static ALWAYS_INLINE wide_f operator+(wide_f a, wide_f b) { return {a.lower + b.lower, a.upper + b.upper}; }
static ALWAYS_INLINE wide_d operator+(wide_d a, wide_d b) {
    vd s = a.hi + b.hi, t = s - a.hi;
    vd error = (a.hi - (s - t)) + (b.hi - t);
    return {s, error + (a.lo + b.lo)};
}
static ALWAYS_INLINE wide_f operator-(wide_f a, wide_f b) { return {a.lower - b.lower, a.upper - b.upper}; }
static ALWAYS_INLINE wide_d operator-(wide_d a, wide_d b) {
    vd s = a.hi - b.hi, t = s - a.hi;
    vd error = (a.hi - (s - t)) - (b.hi + t);
    return {s, error + (a.lo - b.lo)};
}
static ALWAYS_INLINE wide_f operator*(wide_f a, wide_f b) { return {a.lower * b.lower, a.upper * b.upper}; }
static ALWAYS_INLINE wide_d operator*(wide_d a, wide_d b) {
    vd p = a.hi * b.hi;
    return {p, fma(a.hi, b.lo, fma(a.lo, b.hi, product_error(a.hi, b.hi, p)))};
}
static ALWAYS_INLINE wide_f operator/(wide_f a, wide_f b) { return {a.lower / b.lower, a.upper / b.upper}; }
// The quotient's own remainder corrects it, so one division serves both parts.
static ALWAYS_INLINE wide_d operator/(wide_d a, wide_d b) {
    vd inverse = splat(b.hi, 1.0) / b.hi, q = a.hi * inverse, p = q * b.hi;
    vd rest = ((a.hi - p) - product_error(q, b.hi, p)) + (a.lo - q * b.lo);
    return {q, rest * inverse};
}

template<class T> ALWAYS_INLINE wide<T> operator+(wide<T> a, double b) { return a + splat(a, b); }
template<class T> ALWAYS_INLINE wide<T> operator-(wide<T> a, double b) { return a - splat(a, b); }
template<class T> ALWAYS_INLINE wide<T> operator+(double a, wide<T> b) { return splat(b, a) + b; }
template<class T> ALWAYS_INLINE wide<T> operator-(double a, wide<T> b) { return splat(b, a) - b; }
template<class T> ALWAYS_INLINE wide<T> operator/(double a, wide<T> b) { return splat(b, a) / b; }
// By a power of two, or where one rounding of the low part does not matter.
static ALWAYS_INLINE wide_f operator*(wide_f a, double b) { return a * splat(a, b); }
static ALWAYS_INLINE wide_d operator*(wide_d a, double b) {
    vd c = splat(a.hi, b), p = a.hi * c;
    return {p, fma(a.lo, c, product_error(a.hi, c, p))};
}
template<class T> ALWAYS_INLINE wide<T> operator*(double a, wide<T> b) { return b * a; }

// A product good to one rounding only: for terms that are small beside what they are added to.
template<> ALWAYS_INLINE wide_f rough_product(wide_f a, wide_f b) { return a * b; }
template<> ALWAYS_INLINE wide_d rough_product(wide_d a, wide_d b) { return {a.hi * b.hi, splat(a.hi, 0.0)}; }

// A sum of leading parts with one rounding only: where it is known to have none.
template<> ALWAYS_INLINE wide_f rough_sum(wide_f a, wide_f b) { return a + b; }
template<> ALWAYS_INLINE wide_d rough_sum(wide_d a, wide_d b) { return {a.hi + b.hi, splat(a.hi, 0.0)}; }
// a + b for a small b of one part, which joins the low one: for a factor, or a term of a sum.
template<> ALWAYS_INLINE wide_f attached(wide_f a, wide_f b) { return a + b; }
template<> ALWAYS_INLINE wide_d attached(wide_d a, wide_d b) { return {a.hi, a.lo + b.hi}; }

// A polynomial by Horner's rule in plain double, highest coefficient first: likewise for small terms.
template<class T, int N> ALWAYS_INLINE wide<T> rough_polynomial(wide<T> x, const double (&c)[N]) {
    if constexpr (sizeof(T) == sizeof(float)) return {polynomial(x.lower, c), polynomial(x.upper, c)};
    else return {polynomial(x.hi, c), splat(x.hi, 0.0)};
}

// The root's own remainder corrects it; that of 0, and of infinity, has none.
template<> ALWAYS_INLINE wide_f square_root(wide_f a) { return {square_root(a.lower), square_root(a.upper)}; }
template<> ALWAYS_INLINE wide_d square_root(wide_d a) {
    vd root = square_root(a.hi), square = root * root, zero = splat(a.hi, 0.0);
    vd rest = ((a.hi - square) - product_error(root, root, square)) + a.lo;
    vd low = rest / (root + root);
    return {root, where_eq(low, low, low, zero)};
}

// --- choice, by the leading part; comparisons with NaN are false -----------------------------------------

template<> ALWAYS_INLINE wide_f where_gt(wide_f a, wide_f b, wide_f yes, wide_f no) {
    return {where_gt(a.lower, b.lower, yes.lower, no.lower), where_gt(a.upper, b.upper, yes.upper, no.upper)};
}
template<> ALWAYS_INLINE wide_d where_gt(wide_d a, wide_d b, wide_d yes, wide_d no) {
    return {where_gt(a.hi, b.hi, yes.hi, no.hi), where_gt(a.hi, b.hi, yes.lo, no.lo)};
}
template<> ALWAYS_INLINE wide_f where_ge(wide_f a, wide_f b, wide_f yes, wide_f no) {
    return {where_ge(a.lower, b.lower, yes.lower, no.lower), where_ge(a.upper, b.upper, yes.upper, no.upper)};
}
template<> ALWAYS_INLINE wide_d where_ge(wide_d a, wide_d b, wide_d yes, wide_d no) {
    return {where_ge(a.hi, b.hi, yes.hi, no.hi), where_ge(a.hi, b.hi, yes.lo, no.lo)};
}
template<> ALWAYS_INLINE wide_f where_eq(wide_f a, wide_f b, wide_f yes, wide_f no) {
    return {where_eq(a.lower, b.lower, yes.lower, no.lower), where_eq(a.upper, b.upper, yes.upper, no.upper)};
}
template<> ALWAYS_INLINE wide_d where_eq(wide_d a, wide_d b, wide_d yes, wide_d no) {
    return {where_eq(a.hi, b.hi, yes.hi, no.hi), where_eq(a.hi, b.hi, yes.lo, no.lo)};
}

// --- sign and scale -------------------------------------------------------------------------------------

template<> ALWAYS_INLINE wide_f magnitude(wide_f a) { return {magnitude(a.lower), magnitude(a.upper)}; }
template<> ALWAYS_INLINE wide_d magnitude(wide_d a) {
    return {magnitude(a.hi), bits_xor(a.lo, sign_bit(a.hi))};
}
// a, with its sign turned where s has its sign bit set.
template<> ALWAYS_INLINE wide_f turn_sign(wide_f a, wide_f s) {
    return {bits_xor(a.lower, sign_bit(s.lower)), bits_xor(a.upper, sign_bit(s.upper))};
}
template<> ALWAYS_INLINE wide_d turn_sign(wide_d a, wide_d s) {
    return {bits_xor(a.hi, sign_bit(s.hi)), bits_xor(a.lo, sign_bit(s.hi))};
}
template<> ALWAYS_INLINE wide_f nearest_integer(wide_f a) {
    return {nearest_integer(a.lower), nearest_integer(a.upper)};
}
template<> ALWAYS_INLINE wide_d nearest_integer(wide_d a) {
    return {nearest_integer(a.hi), splat(a.hi, 0.0)};
}
// k for the largest 2^k not above the leading part, a positive normal number.
template<> ALWAYS_INLINE wide_f binade(wide_f a) { return {binade(a.lower), binade(a.upper)}; }
template<> ALWAYS_INLINE wide_d binade(wide_d a) { return {binade(a.hi), splat(a.hi, 0.0)}; }
template<> ALWAYS_INLINE wide_f power_of_two(wide_f k) {
    return {power_of_two(k.lower), power_of_two(k.upper)};
}
template<> ALWAYS_INLINE wide_d power_of_two(wide_d k) { return {power_of_two(k.hi), splat(k.hi, 0.0)}; }
// a * scale for a power of two.
template<> ALWAYS_INLINE wide_f scaled(wide_f a, wide_f scale) { return a * scale; }
template<> ALWAYS_INLINE wide_d scaled(wide_d a, wide_d scale) { return {a.hi * scale.hi, a.lo * scale.hi}; }
// The same finite number with lo at most half a unit of hi.
template<> ALWAYS_INLINE wide_f normalised(wide_f a) { return a; }
template<> ALWAYS_INLINE wide_d normalised(wide_d a) {
    vd sum = a.hi + a.lo;
    return {sum, a.lo - (sum - a.hi)};
}
// The same for any number, so that scaling it into the subnormals rounds once.
template<> ALWAYS_INLINE wide_f settled(wide_f a) { return a; }
template<> ALWAYS_INLINE wide_d settled(wide_d a) {
    vd value = narrow(a);
    return {value, a.lo - (value - a.hi)};
}
