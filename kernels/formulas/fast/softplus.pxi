# Softplus and its mirror image in plain arithmetic (math/plain.pxi): max(x, 0) + log1p(exp(-abs(x))).

cdef inline V softplus_at_default_fast(V x, V beta) noexcept nogil:
    cdef V c = larger(plain_floor(x), negative_magnitude(x))
    cdef V k = nearest_exponent(c)
    cdef V bend = times_power_of_two(plain_log1p(plain_mantissa(c, k), plain_power(k)), k)
    return larger(x, splat(x, 0.0)) + bend

# 2^k comes in parts, before and after the division, which neither overflows nor meets subnormals so.
cdef inline V softplus_fast(V x, V beta) noexcept nogil:
    cdef V a = negative_magnitude(beta * x)
    cdef V c = larger(plain_abyss(x), a)
    cdef V k = nearest_exponent(c)
    cdef V p = splat(x, 1.0) + plain_excess_of_product(beta, negative_magnitude(x), a, c, k)
    cdef V bend = plain_log1p(p, plain_power(k))
    cdef V first = plain_head(k)
    bend = times_power_of_two(times_power_of_two(bend, first) / beta, k - first)
    return if_positive_and_finite(beta, larger(x, splat(x, 0.0)) + bend)

cdef inline V softplus_slope_at_default_fast(V x, V beta) noexcept nogil:
    return sigmoid_fast(x)

cdef inline V softplus_slope_fast(V x, V beta) noexcept nogil:
    cdef V a = beta * x
    cdef V c = clamped(a, plain_floor(x), plain_ceiling(x))
    cdef V k = nearest_exponent(c)
    cdef V p = splat(x, 1.0) + plain_excess_of_product(beta, x, a, c, k)
    cdef V y = times_power_of_two(p / multiply_add(plain_power(k), p, splat(x, 1.0)), k)
    return if_positive_and_finite(beta, y)

cdef inline V softplus_slope_from_y_fast(V y, V beta) noexcept nogil:
    return if_positive_and_finite(beta, magnitude(plain_expm1(negative_magnitude(beta * y))))


cdef inline V log_sigmoid_fast(V x) noexcept nogil:
    cdef V minus = splat(x, 0.0) - x
    return turn_sign(softplus_at_default_fast(minus, minus), splat(x, -1.0))

cdef inline V log_sigmoid_slope_fast(V x) noexcept nogil:
    return sigmoid_fast(splat(x, 0.0) - x)

cdef inline V log_sigmoid_slope_from_y_fast(V y) noexcept nogil:
    return magnitude(plain_expm1(negative_magnitude(y)))
