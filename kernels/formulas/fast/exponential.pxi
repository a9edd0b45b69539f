# The exponential linear units in plain arithmetic (math/plain.pxi).

cdef inline V expm1_below_fast(V x) noexcept nogil:
    return turn_sign(magnitude(plain_expm1(x)), x)

cdef inline V elu_fast(V x, V alpha) noexcept nogil:
    cdef V y = where_positive(x, x, alpha * expm1_below_fast(x))
    return where_ge(alpha, splat(x, 0.0), y, splat(x, NAN))

cdef inline V elu_at_default_fast(V x, V alpha) noexcept nogil:
    return where_positive(x, x, expm1_below_fast(x))

cdef inline V elu_slope_fast(V x, V alpha) noexcept nogil:
    cdef V c = larger(plain_abyss(x), x)
    cdef V k = nearest_exponent(c)
    cdef V y = where_positive(x, splat(x, 1.0), times_small_power(alpha, k) * plain_mantissa(c, k))
    return where_ge(alpha, splat(x, 0.0), y, splat(x, NAN))

cdef inline V elu_slope_at_default_fast(V x, V alpha) noexcept nogil:
    cdef V c = larger(plain_floor(x), x)
    cdef V k = nearest_exponent(c)
    return where_positive(x, splat(x, 1.0), times_power_of_two(plain_mantissa(c, k), k))

cdef inline V elu_wrt_alpha_fast(V x, V alpha) noexcept nogil:
    cdef V y = where_positive(x, splat(x, 0.0), expm1_below_fast(x))
    return where_ge(alpha, splat(x, 0.0), y, splat(x, NAN))


cdef inline V selu_fast(V x) noexcept nogil:
    cdef V above = x * splat(x, SELU_LAMBDA[0])
    return where_positive(x, above, splat(x, SELU_LAMBDA_ALPHA[0]) * expm1_below_fast(x))

cdef inline V selu_slope_fast(V x) noexcept nogil:
    cdef V c = larger(plain_floor(x), x)
    cdef V k = nearest_exponent(c)
    cdef V below = times_power_of_two(splat(x, SELU_LAMBDA_ALPHA[0]) * plain_mantissa(c, k), k)
    return where_positive(x, splat(x, SELU_LAMBDA[0]), below)
