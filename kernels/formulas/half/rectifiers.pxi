# The rectifiers' remaining formulas in one register for 16-bit types (half/gated.pxi).

cdef inline V half_pieces(V x, V end, V between, V above) noexcept nogil:
    cdef V zero = splat(x, 0.0)
    return if_positive_and_finite(end, where_gt(x, end, above, where_ge(zero - end, x, zero, between)))

cdef inline V smelu_half(V x, V beta) noexcept nogil:
    cdef V t = x + beta
    return half_pieces(x, beta, splat(x, 0.25) * t * (t / beta), x)

cdef inline V smelu_wrt_beta_half(V x, V beta) noexcept nogil:
    cdef V between = splat(x, 0.25) * ((beta - x) / beta) * ((beta + x) / beta)
    return half_pieces(x, beta, between, splat(x, 0.0))


# sqrt(x^2 + b), by way of 2^-70 x where the square would overflow.
cdef inline V half_root(V x, V b) noexcept nogil:
    cdef V large = splat(x, 1e10)
    cdef V shrink = where_gt(magnitude(x), large, power_of_two(splat(x, -70.0)), splat(x, 1.0))
    cdef V stretch = where_gt(magnitude(x), large, power_of_two(splat(x, 70.0)), splat(x, 1.0))
    cdef V t = x * shrink
    return square_root(multiply_add(t, t, b * shrink * shrink)) * stretch

cdef inline V squareplus_slope_half(V x, V b) noexcept nogil:
    cdef V root = half_root(x, b)
    cdef V h = splat(x, 0.5) * magnitude(x) + splat(x, 0.5) * root
    cdef V share = where_positive(x, h, splat(x, 0.25) * b / h) / root
    cdef V limit = where_positive(x, splat(x, 1.0), splat(x, 0.0))
    return if_positive_and_finite(b, where_eq(magnitude(x), splat(x, INFINITY), limit, share))

cdef inline V squareplus_wrt_b_half(V x, V b) noexcept nogil:
    return if_positive_and_finite(b, splat(x, 0.25) / half_root(x, b))


cdef inline V celu_wrt_alpha_half(V x, V alpha) noexcept nogil:
    cdef V v = negative_magnitude(x) / alpha
    cdef V z = smaller(splat(v, 1.0), magnitude(v))
    cdef V series = polynomial(z, CELU_BEND) * z + splat(z, 0.125)
    series = (series * z - splat(z, THIRD[0])) * z + splat(z, 0.5)
    cdef V far = half_until_floor(v, v) * half_exp(v) - plain_expm1(v)
    cdef V y = where_gt(splat(v, -1.0), v, far, z * (z * series))
    return if_positive_and_finite(alpha, where_positive(x, splat(x, 0.0), turn_sign(y, splat(x, -1.0))))


cdef inline V softplus_wrt_beta_half(V x, V beta) noexcept nogil:
    cdef V a = negative_magnitude(beta * x)
    cdef V c = larger(plain_floor(x), a)
    cdef V k = nearest_exponent(c)
    cdef V p = plain_mantissa(c, k)
    cdef V e = times_power_of_two(p, k)
    cdef V bend = times_power_of_two(plain_log1p(p, plain_power(k)), k)
    cdef V y = half_until_floor(magnitude(x), a) * e / (splat(x, 1.0) + e) + bend / beta
    return if_positive_and_finite(beta, turn_sign(y / beta, splat(x, -1.0)))
