# The rectifiers' remaining formulas in one register (half/gated.pxi).

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

# With s = x^2 + b and d = abs(x) sqrt(s) + s, b / (2 d), or from above d / (2 s); a large x leaves no s.
cdef inline V squareplus_slope_half(V x, V b) noexcept nogil:
    cdef V z = magnitude(x)
    cdef V s = multiply_add(x, x, b)
    cdef V one_half = splat(x, 0.5)
    cdef V d = multiply_add(z, square_root(s), s)
    cdef V near = where_positive(x, one_half * d / s, one_half * b / d)
    cdef V h = one_half * z + one_half * half_root(x, b)
    cdef V far = where_positive(x, h, splat(x, 0.25) * b / h) / half_root(x, b)
    cdef V limit = where_positive(x, splat(x, 1.0), splat(x, 0.0))
    far = where_eq(z, splat(x, INFINITY), limit, far)
    return if_positive_and_finite(b, where_gt(z, splat(x, 1e10), far, where_eq(x, x, near, x)))

cdef inline V squareplus_wrt_b_half(V x, V b) noexcept nogil:
    return if_positive_and_finite(b, splat(x, 0.25) / half_root(x, b))


cdef inline V celu_wrt_alpha_half(V x, V alpha) noexcept nogil:
    cdef V v = negative_magnitude(x) / alpha
    cdef V z = smaller(splat(v, 1.0), magnitude(v))
    cdef V series = polynomial(z, CELU_BEND) * z + splat(z, 0.125)
    series = (series * z - splat(z, THIRD[0])) * z + splat(z, 0.5)
    cdef V c = larger(plain_floor(v), v)
    cdef V k = nearest_exponent(c)
    cdef V e = times_power_of_two(plain_mantissa(c, k), k)
    cdef V far = where_gt(c, v, splat(v, 0.0), v) * e - plain_expm1(v)
    cdef V y = where_gt(splat(v, -1.0), v, far, z * (z * series))
    return if_positive_and_finite(alpha, where_positive(x, splat(x, 0.0), turn_sign(y, splat(x, -1.0))))


# (abs(x) sigmoid(a) + log1p(exp(a)) / beta) / beta, a = -beta abs(x); the power of two as in softplus.
cdef inline V softplus_wrt_beta_half(V x, V beta) noexcept nogil:
    cdef V a = negative_magnitude(beta * x)
    cdef V c = larger(plain_abyss(x), a)
    cdef V k = nearest_exponent(c)
    cdef V t = plain_excess_of_product(beta, negative_magnitude(x), a, c, k)
    cdef V p = splat(x, 1.0) + t
    cdef V power = plain_power(k)
    cdef V z = where_gt(c, a, splat(x, 0.0), magnitude(x)) / multiply_add(power, p, splat(x, 1.0))
    cdef V y = multiply_add(z, t, z + plain_log1p(p, power) / beta)
    cdef V first = plain_head(k)
    y = times_power_of_two(times_power_of_two(y, first) / beta, k - first)
    return if_positive_and_finite(beta, turn_sign(y, splat(x, -1.0)))


# dy times the slope, for the slope itself may be too large; the sum is rounded once.
cdef inline V relu_squared_slope_times_half(V dy, V x) noexcept nogil:
    cdef V nothing = where_eq(x, x, splat(x, 0.0), magnitude(x))
    return where_positive(x, multiply_add(dy, x, dy * x), nothing)
