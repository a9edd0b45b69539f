# The logistic family: the sigmoid, its products with x, and tanh.
#
# All stand on e = exp(-abs(x)), which never overflows: for x > 0 the sigmoid is 1 / (1 + e), for x < 0 it
# is e / (1 + e), and f'(x) follows from f'(-x) by symmetry.  `restore_tail` closes the side that goes to 0.

cdef inline W sigmoid(W x) noexcept nogil:
    cdef W e = exp_nonpositive(negative_magnitude(x))
    return restore_tail(where_positive(x, splat(x, 1.0), e) / (1.0 + e), x)

cdef inline V sigmoid_from_table(V x, V at, V high, V low, V scale) noexcept nogil:
    return entry_sum(high, low, scale)

cdef inline V sigmoid_slope_position(V x) noexcept nogil:
    return negative_magnitude(x)

cdef inline W sigmoid_slope(W x) noexcept nogil:
    cdef W a = negative_magnitude(x)
    cdef W e = exp_nonpositive(a)
    cdef W d = 1.0 + e
    return restore_tail(e / (d * d), a)

cdef inline V sigmoid_slope_from_table(V x, V at, V high, V low, V scale) noexcept nogil:
    return entry_sum(high, low, scale)

cdef inline V sigmoid_slope_from_y(V y) noexcept nogil:
    cdef V rest = splat(y, 1.0) - y
    return times_pair(y, rest, (splat(y, 1.0) - rest) - y)


cdef inline V silu_position(V x, V beta) noexcept nogil:
    return beta * x

cdef inline V silu_position_error(V x, V beta) noexcept nogil:
    return product_error(beta, x, beta * x)

cdef inline W silu(W x, W beta) noexcept nogil:
    cdef W a = beta * x
    cdef W e = exp_nonpositive(negative_magnitude(a))
    cdef W y = until_floor(x, a) * where_positive(x, splat(x, 1.0), e) / (1.0 + e)
    return if_positive_and_finite(beta, restore_tail(y, a))

cdef inline V silu_from_sigmoid(V x, V beta, V at, V high, V low, V scale) noexcept nogil:
    return if_positive_and_finite(beta, entry_product(x, high, low, scale))

cdef inline V silu_at_default_from_sigmoid(V x, V beta, V at, V high, V low, V scale) noexcept nogil:
    return entry_product(x, high, low, scale)

cdef inline W silu_slope(W x, W beta) noexcept nogil:
    cdef W a = beta * x
    cdef W z = at_most(magnitude(a), 0.0 - exp_floor(a))
    cdef W e = exp_nonpositive_full(0.0 - z)
    cdef W d = 1.0 + e
    cdef W y = where_positive(x, d + z * e, e * (d - z)) / (d * d)
    return if_positive_and_finite(beta, restore_tail(y, a))

cdef inline V silu_slope_from_table(V x, V beta, V at, V high, V low, V scale) noexcept nogil:
    cdef V error = product_error(beta, x, beta * x)
    cdef V y = near_root(beta * x, error, SILU_SLOPE_NEAR, entry_sum(high, low, scale))
    return if_positive_and_finite(beta, y)

cdef inline V silu_slope_at_default_from_table(V x, V beta, V at, V high, V low, V scale) noexcept nogil:
    return near_root(x, splat(x, 0.0), SILU_SLOPE_NEAR, entry_sum(high, low, scale))

cdef inline W silu_wrt_beta(W x, W beta) noexcept nogil:
    cdef W a = negative_magnitude(beta * x)
    cdef W e = exp_nonpositive(a)
    cdef W t = until_floor(x, a) / (1.0 + e)
    return if_positive_and_finite(beta, restore_tail(t * (t * e), a))


# tanh(log(1 + exp(x))) = n / d with n = exp(x) (exp(x) + 2), d = n + 2; for x > 0 both are divided by
# exp(2x).
cdef inline W mish_numerator(W x, W e) noexcept nogil:
    return e * 2.0 + where_positive(x, splat(x, 1.0), e * e)

cdef inline W mish_denominator(W x, W e, W n) noexcept nogil:
    return n + where_positive(x, e * e, splat(x, 1.0)) * 2.0

cdef inline W mish(W x) noexcept nogil:
    cdef W e = exp_nonpositive(negative_magnitude(x))
    cdef W n = mish_numerator(x, e)
    return restore_tail(until_floor(x, x) * (n / mish_denominator(x, e, n)), x)

cdef inline V mish_from_mish_ratio(V x, V at, V high, V low, V scale) noexcept nogil:
    return entry_product(x, high, low, scale)

# (n d + 4 x exp(x) (1 + exp(x))) / d^2, for x > 0 divided by exp(4x).
cdef inline W mish_slope(W x) noexcept nogil:
    cdef W z = at_most(magnitude(x), 0.0 - exp_floor(x))
    cdef W e = exp_nonpositive_full(0.0 - z)
    cdef W n = mish_numerator(x, e)
    cdef W d = mish_denominator(x, e, n)
    cdef W bend = turn_sign(z, x) * 4.0 * (where_positive(x, e * e, e) * (1.0 + e))
    return restore_tail((n * d + bend) / (d * d), x)

cdef inline V mish_slope_from_table(V x, V at, V high, V low, V scale) noexcept nogil:
    return near_root(x, splat(x, 0.0), MISH_SLOPE_NEAR, entry_sum(high, low, scale))


cdef inline V tanh_position(V x) noexcept nogil:
    return magnitude(x)

cdef inline W tanh(W x) noexcept nogil:
    cdef W n = expm1_nonpositive(scaled(magnitude(x), splat(x, -2.0)))
    return turn_sign(magnitude(n / (n + 2.0)), x)

cdef inline V tanh_from_tanh_ratio(V x, V at, V high, V low, V scale) noexcept nogil:
    return turn_sign(fused(at, high, at * low), x)

cdef inline V tanh_slope_position(V x) noexcept nogil:
    return splat(x, -2.0) * magnitude(x)

cdef inline W tanh_slope(W x) noexcept nogil:
    cdef W a = scaled(magnitude(x), splat(x, -2.0))
    cdef W e = exp_nonpositive(a)
    cdef W d = 1.0 + e
    return restore_tail(scaled(e, splat(x, 4.0)) / (d * d), a)

cdef inline V tanh_slope_from_sigmoid_slope(V x, V at, V high, V low, V scale) noexcept nogil:
    return entry_sum(high, low, splat(x, 4.0) * scale)

cdef inline V tanh_slope_from_y(V y) noexcept nogil:
    return fused(splat(y, 0.0) - y, y, splat(y, 1.0))


# x - tanh(x), up to 3/4 by what is left of the series.
cdef inline W tanhshrink_near(W z) noexcept nogil:
    cdef W c = at_most(z, splat(z, 0.75))
    cdef W u = c * c
    cdef W lag = constant(z, THIRD[0], THIRD[1]) + rough_product(u, rough_polynomial(u, TANHSHRINK_FULL))
    return c * (u * lag)

cdef inline W tanhshrink(W x) noexcept nogil:
    cdef W z = magnitude(x)
    cdef W n = expm1_nonpositive(scaled(z, splat(x, -2.0)))
    return turn_sign(where_gt(z, splat(x, 0.75), z + n / (n + 2.0), tanhshrink_near(z)), x)

cdef inline V tanhshrink_position(V x) noexcept nogil:
    return magnitude(x)

# No less than x - 1, which it is beyond the table.
cdef inline V tanhshrink_from_table(V x, V at, V high, V low, V scale) noexcept nogil:
    cdef V z = magnitude(x)
    return turn_sign(larger(z - splat(x, 1.0), entry_sum(high, low, scale)), x)

# The square doubles the error of tanh, which is less by way of x - tanh(x) for small x.
cdef inline W tanhshrink_slope(W x) noexcept nogil:
    cdef W z = magnitude(x)
    cdef W t = where_gt(z, splat(x, 0.75), tanh(z), z - tanhshrink_near(z))
    return t * t

cdef inline V tanhshrink_slope_position(V x) noexcept nogil:
    return magnitude(x)

cdef inline V tanhshrink_slope_from_table(V x, V at, V high, V low, V scale) noexcept nogil:
    return entry_sum(high, low, scale)
