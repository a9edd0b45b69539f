# The logistic family in plain arithmetic (math/plain.pxi): exp(x) = 2^k p, e = power * p.

cdef inline V sigmoid_fast(V x) noexcept nogil:
    cdef V c = clamped(x, plain_floor(x), plain_ceiling(x))
    cdef V k = nearest_exponent(c)
    cdef V p = plain_mantissa(c, k)
    return times_power_of_two(p / multiply_add(plain_power(k), p, splat(x, 1.0)), k)

# (1 + e)^2, which is rounded once where e is small.
cdef inline V square_above(V e) noexcept nogil:
    return multiply_add(e, e + splat(e, 2.0), splat(e, 1.0))

cdef inline V sigmoid_slope_fast(V x) noexcept nogil:
    cdef V c = larger(plain_floor(x), negative_magnitude(x))
    cdef V k = nearest_exponent(c)
    cdef V p = plain_mantissa(c, k)
    return times_power_of_two(p / square_above(plain_power(k) * p), k)


cdef inline V silu_at_default_fast(V x, V beta) noexcept nogil:
    cdef V c = clamped(x, plain_floor(x), plain_ceiling(x))
    cdef V k = nearest_exponent(c)
    cdef V p = plain_mantissa(c, k)
    cdef V ratio = p / multiply_add(plain_power(k), p, splat(x, 1.0))
    return times_power_of_two(larger(plain_floor(x), x) * ratio, k)

cdef inline V silu_fast(V x, V beta) noexcept nogil:
    cdef V a = beta * x
    cdef V c = clamped(a, plain_abyss(x), plain_ceiling(x))
    cdef V k = nearest_exponent(c)
    cdef V p = splat(x, 1.0) + plain_excess_of_product(beta, x, a, c, k)
    cdef V ratio = p / multiply_add(plain_power(k), p, splat(x, 1.0))
    cdef V above = where_gt(plain_abyss(x), a, splat(x, -0.0), x)
    return if_positive_and_finite(beta, times_small_power(above * ratio, k))

# f'(-z) = e (e + 1 - z) / (1 + e)^2 and f'(z) = 1 - f'(-z), for z = -c.
cdef inline V gate_slope(V x, V c, V k, V t) noexcept nogil:
    cdef V e = multiply_add(plain_power(k), t, plain_power(k))
    cdef V factor = (splat(x, 1.0) + c) + e
    cdef V below = multiply_add(factor, t, factor) / square_above(e)
    cdef V tail = times_power_of_two(below, k)
    return where_positive(x, splat(x, 1.0) - tail, tail)

cdef inline V silu_slope_at_default_fast(V x, V beta) noexcept nogil:
    cdef V c = larger(plain_floor(x), negative_magnitude(x))
    cdef V k = nearest_exponent(c)
    return gate_slope(x, c, k, plain_excess(c, k))

cdef inline V silu_slope_fast(V x, V beta) noexcept nogil:
    cdef V a = negative_magnitude(beta * x)
    cdef V c = larger(plain_floor(x), a)
    cdef V k = nearest_exponent(c)
    cdef V t = plain_excess_of_product(beta, negative_magnitude(x), a, c, k)
    return if_positive_and_finite(beta, gate_slope(x, c, k, t))


# silu of beta x = a + lost.
cdef inline V gelu_sigmoid_excess(V c, V a, V lost, V k) noexcept nogil:
    return plain_expm1_remainder(plain_remainder(c, k) + where_eq(a, c, lost, splat(c, 0.0)))

cdef inline V gelu_sigmoid_fast(V x) noexcept nogil:
    cdef V a = gelu_sigmoid_position(x)
    cdef V c = clamped(a, plain_floor(x), plain_ceiling(x))
    cdef V k = nearest_exponent(c)
    cdef V p = splat(x, 1.0) + gelu_sigmoid_excess(c, a, gelu_sigmoid_position_error(x), k)
    cdef V ratio = p / multiply_add(plain_power(k), p, splat(x, 1.0))
    return times_power_of_two(larger(plain_floor(x), x) * ratio, k)

cdef inline V gelu_sigmoid_slope_fast(V x) noexcept nogil:
    cdef V z = negative_magnitude(x)
    cdef V a = gelu_sigmoid_position(z)
    cdef V c = larger(plain_floor(x), a)
    cdef V k = nearest_exponent(c)
    return gate_slope(x, c, k, gelu_sigmoid_excess(c, a, gelu_sigmoid_position_error(z), k))


# x n / (n + 2), n = e (e + 2).
cdef inline V mish_fast(V x) noexcept nogil:
    cdef V c = clamped(x, plain_floor(x), plain_ceiling(x))
    cdef V k = nearest_exponent(c)
    cdef V t = plain_excess(c, k)
    cdef V p = splat(x, 1.0) + t
    cdef V power = plain_power(k)
    cdef V numerator = splat(x, 2.0) + multiply_add(power * p, p, t + t)
    cdef V ratio = numerator / multiply_add(power, numerator, splat(x, 2.0))
    return times_power_of_two(larger(plain_floor(x), x) * ratio, k)


cdef inline V tanh_fast(V x) noexcept nogil:
    cdef V n = plain_expm1(splat(x, -2.0) * magnitude(x))
    return turn_sign(magnitude(n / (n + splat(x, 2.0))), x)

cdef inline V tanh_slope_fast(V x) noexcept nogil:
    cdef V c = larger(plain_floor(x), splat(x, -2.0) * magnitude(x))
    cdef V k = nearest_exponent(c)
    cdef V p = plain_mantissa(c, k)
    return times_power_of_two(p / square_above(plain_power(k) * p), k + splat(x, 2.0))
