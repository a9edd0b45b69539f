# Formulas in one register for 16-bit types, where accuracy "fast" has none: what they lose in float32 is
# nothing beside 2^-11.  Only devices compute them; CPUs read tables or double lanes in the same time.

cdef inline V half_exp(V a) noexcept nogil:
    cdef V c = larger(plain_floor(a), a)
    cdef V k = nearest_exponent(c)
    return times_power_of_two(plain_mantissa(c, k), k)

# x, but 0 where exp(a) has vanished: there x itself may be infinite.
cdef inline V half_until_floor(V x, V a) noexcept nogil:
    return where_gt(plain_floor(a), a, splat(x, 0.0), x)

cdef inline V half_tail(V z) noexcept nogil:
    return half_exp(splat(z, -0.5) * z * z)

cdef inline V half_end(V z) noexcept nogil:
    return smaller(splat(z, SHORT_END), z)


cdef inline V gelu_half(V x) noexcept nogil:
    cdef V z = magnitude(x)
    cdef V c = half_end(z)
    cdef V below = c * (half_tail(c) * (polynomial(c, MILLS_SHORT_N) / polynomial(c, MILLS_SHORT_D)))
    return turn_sign(where_positive(x, z - below, below), x)

cdef inline V gelu_slope_half(V x) noexcept nogil:
    cdef V c = half_end(magnitude(x))
    cdef V ratio = polynomial(c, GELU_SLOPE_SHORT_N) / polynomial(c, GELU_SLOPE_SHORT_D)
    cdef V below = half_tail(c) * ((splat(x, GELU_ROOT[0]) - c) * ratio)
    return where_positive(x, splat(x, 1.0) - below, below)


cdef inline V half_cubic(V z) noexcept nogil:
    return z * z * splat(z, GELU_TANH_CUBIC[0])

cdef inline V half_gate(V z) noexcept nogil:
    return half_exp(negative_magnitude(z * (splat(z, TWO_SQRT_2_OVER_PI[0]) + half_cubic(z))))

cdef inline V gelu_tanh_half(V x) noexcept nogil:
    cdef V z = magnitude(x)
    cdef V c = smaller(splat(z, 25.0), z)
    cdef V e = half_gate(c)
    cdef V d = splat(x, 1.0) + e
    return turn_sign(where_positive(x, z / d, c * e / d), x)

cdef inline V gelu_tanh_slope_half(V x) noexcept nogil:
    cdef V z = smaller(splat(x, 25.0), magnitude(x))
    cdef V growth = z * (splat(x, TWO_SQRT_2_OVER_PI[0]) + half_cubic(z) * splat(x, 3.0))
    cdef V e = half_gate(z)
    cdef V d = splat(x, 1.0) + e
    return where_positive(x, d + growth * e, e * (d - growth)) / (d * d)


cdef inline V mish_slope_half(V x) noexcept nogil:
    cdef V z = smaller(splat(x, 0.0) - plain_floor(x), magnitude(x))
    cdef V e = half_exp(splat(x, 0.0) - z)
    cdef V square = e * e
    cdef V n = e + e + where_positive(x, splat(x, 1.0), square)
    cdef V d = n + splat(x, 2.0) * where_positive(x, square, splat(x, 1.0))
    cdef V bend = turn_sign(z, x) * splat(x, 4.0) * (where_positive(x, square, e) * (splat(x, 1.0) + e))
    cdef V y = (n * d + bend) / (d * d)
    return where_eq(y, splat(x, 0.0), turn_sign(splat(x, 0.0), x), y)

cdef inline V silu_wrt_beta_half(V x, V beta) noexcept nogil:
    cdef V a = negative_magnitude(beta * x)
    cdef V e = half_exp(a)
    cdef V t = half_until_floor(x, a) / (splat(x, 1.0) + e)
    return if_positive_and_finite(beta, t * (t * e))


cdef inline V half_tanh(V z) noexcept nogil:
    cdef V n = plain_expm1(splat(z, -2.0) * z)
    return magnitude(n / (n + splat(z, 2.0)))

cdef inline V tanhshrink_half(V x) noexcept nogil:
    cdef V z = magnitude(x)
    cdef V c = smaller(splat(x, 0.75), z)
    cdef V u = c * c
    cdef V near = c * (u * (splat(x, THIRD[0]) + u * polynomial(u, TANHSHRINK_FLOAT)))
    return turn_sign(where_gt(z, splat(x, 0.75), z - half_tanh(z), near), x)

cdef inline V tanhshrink_slope_half(V x) noexcept nogil:
    cdef V t = half_tanh(magnitude(x))
    return t * t
