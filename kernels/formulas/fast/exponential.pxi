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


# Linear wherever expm1 is: the quotient may be too small a number there.
cdef inline V celu_fast(V x, V alpha) noexcept nogil:
    cdef V v = x / alpha
    cdef V below = where_gt(splat(x, 1e-35), magnitude(v), x, alpha * expm1_below_fast(v))
    return if_positive_and_finite(alpha, where_positive(x, x, below))

cdef inline V celu_at_default_fast(V x, V alpha) noexcept nogil:
    return where_positive(x, x, expm1_below_fast(x))

# What the quotient has lost counts where it is large.
cdef inline V celu_slope_fast(V x, V alpha) noexcept nogil:
    cdef V a = negative_magnitude(x)
    cdef V v = a / alpha
    cdef V c = larger(plain_floor(x), v)
    cdef V k = nearest_exponent(c)
    cdef V lost = where_eq(v, c, product_error(v, alpha, a) / alpha, splat(x, 0.0))
    cdef V p = splat(x, 1.0) + plain_expm1_remainder(plain_remainder(c, k) - lost)
    return if_positive_and_finite(alpha, where_positive(x, splat(x, 1.0), times_power_of_two(p, k)))

cdef inline V celu_slope_at_default_fast(V x, V alpha) noexcept nogil:
    return elu_slope_at_default_fast(x, alpha)
