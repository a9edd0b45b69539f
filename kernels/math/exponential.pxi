# exp and expm1 of x <= 0: what all formulas but the algebraic ones stand on.
#
# exp(x) = 2^k (1 + r + r^2 q(r)),  k = round(x / ln 2),  r = x - k ln 2  (Tang, ACM TOMS 15, 1989).
# Error of the pair (wide_d): below 2^-60 of the result; in double lanes: 2^-33, with `_full` 2^-51.
#
# A double's result may be subnormal where the formula still multiplies it, so 2^k stops at 2^-900 and
# the formula's last step is `restore_tail`, which puts the rest of the power in and rounds once.

cdef extern from * nogil:
    """
    static const double TAIL = -900.0;  // 2^TAIL is nothing beside 1, and far from the subnormals
    """
    const double TAIL

# Below this exp(x) is 0 in the result's type, whatever reasonable factor stands before it.
cdef inline W exp_floor(W x) noexcept nogil:
    if W is wide_f:
        return splat(x, -650.0)
    else:
        return splat(x, -1300.0)

cdef inline W binary_exponent(W x) noexcept nogil:
    return nearest_integer(at_least(x, exp_floor(x)) * LOG2E[0])

cdef inline W exp_scale(W k) noexcept nogil:
    return power_of_two(at_least(k, splat(k, TAIL)))

# x - k ln 2.  The product is exact: the first part of LN2_SPLIT ends in zeros.
cdef inline W exp_remainder(W x, W k) noexcept nogil:
    cdef W c = at_least(x, exp_floor(x))
    if W is wide_f:
        return (c - k * LN2_SPLIT[0]) - k * LN2_SPLIT[1]
    else:
        # normalised, because the series sees the high part only
        return normalised(c - k * constant(k, LN2_SPLIT[0], LN2_SPLIT[1]))

# exp(r) - 1 for a remainder r.
cdef inline W expm1_remainder(W r) noexcept nogil:
    if W is wide_f:
        return r + (r * r) * rough_polynomial(r, EXP_SHORT)
    else:
        return r + rough_product(rough_product(r, r), rough_polynomial(r, EXP_LONG))

cdef inline W expm1_remainder_full(W r) noexcept nogil:
    if W is wide_f:
        return r + (r * r) * rough_polynomial(r, EXP_FULL)
    else:
        return expm1_remainder(r)

cdef inline W exp_nonpositive(W x) noexcept nogil:
    cdef W k = binary_exponent(x)
    return scaled(1.0 + expm1_remainder(exp_remainder(x, k)), exp_scale(k))

# For derivatives with a root, whose cancellation needs all of a double.
cdef inline W exp_nonpositive_full(W x) noexcept nogil:
    cdef W k = binary_exponent(x)
    return scaled(1.0 + expm1_remainder_full(exp_remainder(x, k)), exp_scale(k))

# Full relative accuracy at 0, but the sign of -0 is lost.
cdef inline W expm1_nonpositive(W x) noexcept nogil:
    cdef W k = binary_exponent(x)
    cdef W scale = exp_scale(k)
    return (scale - 1.0) + scaled(expm1_remainder(exp_remainder(x, k)), scale)

# exp(x) - 1 for x <= 0; with the sign of x for -0 as well.
cdef inline W expm1_below(W x) noexcept nogil:
    return turn_sign(magnitude(expm1_nonpositive(negative_magnitude(x))), x)

# x, but 0 where exp(a) has vanished: there x itself may be infinite.
cdef inline W until_floor(W x, W a) noexcept nogil:
    return where_gt(exp_floor(a), a, turn_sign(splat(x, 0.0), x), x)

# y, a multiple of exp_nonpositive(x), times the power of two that was left out of it.
cdef inline W restore_tail(W y, W x) noexcept nogil:
    if W is wide_f:
        return y
    else:
        return scaled(settled(y), power_of_two(at_most(binary_exponent(x) - TAIL, splat(x, 0.0))))

# In double, a large value times exp(a) may be a number where exp(a) is out of reach: far down exp(a + 600 ln 2) is
# taken of them instead, with 2^-600 value.
cdef inline W tail_within_reach(W a) noexcept nogil:
    if W is wide_f:
        return a
    else:
        return where_gt(splat(a, -600.0), a, a + constant(a, LN2[0], LN2[1]) * 600.0, a)

cdef inline W value_within_reach(W value, W a) noexcept nogil:
    if W is wide_f:
        return value
    else:
        return where_gt(splat(a, -600.0), a, scaled(value, power_of_two(splat(a, -600.0))), value)

# value factor, a multiple of exp_nonpositive(a), times the power of two that was left out of it.  A product that
# nears the subnormals loses its error: it is taken of larger ones.
cdef inline W product_with_tail(W value, W factor, W a) noexcept nogil:
    cdef W rough, zero, lift, power, tail
    if W is wide_f:
        return value * factor
    else:
        rough, zero = magnitude(rough_product(value, factor)), splat(value, 0.0)
        lift = where_gt(rough, zero, splat(value, 300.0), zero)
        lift = where_gt(splat(value, 1e-271), rough, lift, zero)
        power = power_of_two(lift)
        tail = at_most(binary_exponent(a) - TAIL, zero) - scaled(lift, splat(value, 2.0))
        factor = scaled(value, power) * scaled(factor, power)
        return scaled(settled(factor), power_of_two(at_least(tail, splat(value, -1000.0))))

# In plain registers exp(x) = 2^k (1 + t), where t is off by no more than a unit of its last place and 2^-28
# (float) or 2^-62 (double) of the result: who keeps 2^k and t apart loses nothing to their addition.
# abs(k) < 2^10 in float and 2^12 in double, so that k times the first part of ln 2 is exact.

cdef inline V nearest_exponent(V x) noexcept nogil:
    return nearest_integer(x, splat(x, LOG2E[0]))

# t = expm1(x - k ln 2).  The two parts of the remainder meet rounded in small terms only.
cdef inline V exp_excess(V x, V k) noexcept nogil:
    cdef V high, low, r
    if V is vec_f:
        high, low = fma(k, splat(k, -LN2_SPLIT_FLOAT[0]), x), k * splat(k, -LN2_SPLIT_FLOAT[1])
        r = high + low
        return high + fma(r * r, polynomial(r, EXP_FLOAT), low)
    else:
        high, low = fma(k, splat(k, -LN2_SPLIT[0]), x), k * splat(k, -LN2_SPLIT[1])
        r = high + low
        return high + fma(r * r, polynomial(r, EXP_LONG), low)
