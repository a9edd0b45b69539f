# exp in one register of plain arithmetic, for formulas/fast/: off by about a unit in the last place.
#
# exp(x) = 2^k p, k = round(x / ln 2), p = exp(x - k ln 2) near 1.  A formula reckons with p and with `power`, which
# is 2^k but stops before the subnormals, where it is nothing beside 1; its last step puts all of 2^k in
# (`times_power_of_two`), so that a tail is rounded once.

cdef extern from * nogil:
    """
    static const double FLOAT_TAIL = -100.0;
    static const double DOUBLE_TAIL = -900.0;
    """
    const double FLOAT_TAIL
    const double DOUBLE_TAIL

cdef inline V clamped(V x, V low, V high) noexcept nogil:
    return smaller(high, larger(low, x))

# Below this exp(x), and x exp(x), are 0; above the other exp(-x) and x exp(-x) are nothing beside 1.
cdef inline V plain_floor(V x) noexcept nogil:
    if V is vec_f:
        return splat(x, -120.0)
    else:
        return splat(x, -760.0)

cdef inline V plain_ceiling(V x) noexcept nogil:
    if V is vec_f:
        return splat(x, 21.0)
    else:
        return splat(x, 45.0)

cdef inline V plain_remainder(V x, V k) noexcept nogil:
    if V is vec_f:
        return fma(k, splat(k, -LN2_SPLIT_FLOAT[1]), fma(k, splat(k, -LN2_SPLIT_FLOAT[0]), x))
    else:
        return fma(k, splat(k, -LN2_SPLIT[1]), fma(k, splat(k, -LN2_SPLIT[0]), x))

# exp(r) - 1 for a remainder r, with full relative accuracy.
cdef inline V plain_expm1_remainder(V r) noexcept nogil:
    if V is vec_f:
        return fma(r * r, polynomial(r, EXP_FLOAT), r)
    else:
        return fma(r * r, polynomial(r, EXP_FULL), r)

# p - 1, and p itself: products with p are more exact by way of p - 1.
cdef inline V plain_excess(V x, V k) noexcept nogil:
    return plain_expm1_remainder(plain_remainder(x, k))

cdef inline V plain_mantissa(V x, V k) noexcept nogil:
    return splat(x, 1.0) + plain_excess(x, k)

# k, but no less than where 2^k is nothing beside 1 and stays a normal number; and that power.
cdef inline V plain_head(V k) noexcept nogil:
    if V is vec_f:
        return larger(splat(k, FLOAT_TAIL), k)
    else:
        return larger(splat(k, DOUBLE_TAIL), k)

cdef inline V plain_power(V k) noexcept nogil:
    return power_of_two(plain_head(k))

# expm1(x) for x <= 0 as fast as it may be; the sign of -0 is lost.
cdef inline V plain_expm1(V x) noexcept nogil:
    cdef V c = larger(splat(x, 0.0) - plain_ceiling(x), x)
    cdef V k = nearest_exponent(c)
    cdef V power = power_of_two(k)
    return fma(power, plain_excess(c, k), power - splat(x, 1.0))

# k ln 2 + 2 atanh(s).
cdef inline V plain_log_of_ratio(V k, V s) noexcept nogil:
    cdef V v = s * s
    cdef V y
    if V is vec_f:
        y = fma(s * v, polynomial(v, ATANH_FLOAT), s + s)
        return fma(k, splat(k, LN2_SPLIT_FLOAT[0]), fma(k, splat(k, LN2_SPLIT_FLOAT[1]), y))
    else:
        y = fma(s * v, polynomial(v, ATANH_FULL), s + s)
        return fma(k, splat(k, LN2_SPLIT[0]), fma(k, splat(k, LN2_SPLIT[1]), y))

# log(1 + 2^k p) / 2^k for k <= 0, by its odd series as in log1p_unit.
cdef inline V plain_log1p(V p, V power) noexcept nogil:
    cdef V s = p / fma(power, p, splat(p, 2.0))
    cdef V t = power * s
    cdef V v = t * t
    if V is vec_f:
        return fma(s * v, polynomial(v, ATANH_FLOAT), s + s)
    else:
        return fma(s * v, polynomial(v, ATANH_FULL), s + s)

# plain_excess of c, which is a = b x within limits: what rounding the product has lost counts between them.
cdef inline V plain_excess_of_product(V b, V x, V a, V c, V k) noexcept nogil:
    cdef V lost = where_eq(a, c, product_error(b, x, a), splat(x, 0.0))
    return plain_expm1_remainder(plain_remainder(c, k) + lost)

# y 2^k for any y, in two steps: k goes down to where the largest number becomes 0.
cdef inline V times_small_power(V y, V k) noexcept nogil:
    cdef V first
    if V is vec_f:
        first = larger(splat(k, -150.0), k)
    else:
        first = larger(splat(k, -1000.0), k)
    return times_power_of_two(times_power_of_two(y, first), k - first)

# Below this even the largest number times exp(x) is 0.
cdef inline V plain_abyss(V x) noexcept nogil:
    if V is vec_f:
        return splat(x, -210.0)
    else:
        return splat(x, -1500.0)
