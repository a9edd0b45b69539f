# The exponential linear units: expm1 below 0, where -0 keeps its sign, and x or a multiple of it above.

cdef inline W elu(W x, W alpha) noexcept nogil:
    cdef W y = where_positive(x, x, alpha * expm1_below(x))
    return where_ge(alpha, splat(x, 0.0), y, splat(x, NAN))

cdef inline V elu_from_expm1_ratio(V x, V alpha, V at, V high, V low, V scale) noexcept nogil:
    cdef V total = fused(at, high, at * low)
    cdef V lost = fused(at, high, splat(x, 0.0) - total) + at * low
    cdef V below = where_eq(alpha, splat(x, 1.0), total, times_pair(alpha, total, lost))
    cdef V y = where_positive(x, x, turn_sign(magnitude(below), x))
    return where_ge(alpha, splat(x, 0.0), y, splat(x, NAN))

cdef inline V elu_at_default_from_expm1_ratio(V x, V alpha, V at, V high, V low, V scale) noexcept nogil:
    return where_positive(x, x, fused(at, high, at * low))

cdef inline W elu_slope(W x, W alpha) noexcept nogil:
    cdef W a = negative_magnitude(x)
    cdef W y = where_positive(x, splat(x, 1.0), restore_tail(alpha * exp_nonpositive(a), a))
    return where_ge(alpha, splat(x, 0.0), y, splat(x, NAN))

cdef inline V elu_slope_from_exp(V x, V alpha, V at, V high, V low, V scale) noexcept nogil:
    cdef V total = high + low
    cdef V y = where_positive(x, splat(x, 1.0), times_pair(alpha, total, (high - total) + low) * scale)
    return where_ge(alpha, splat(x, 0.0), y, splat(x, NAN))

cdef inline V elu_slope_at_default_from_exp(V x, V alpha, V at, V high, V low, V scale) noexcept nogil:
    return where_positive(x, splat(x, 1.0), entry_sum(high, low, scale))

cdef inline V elu_slope_from_y(V y, V alpha) noexcept nogil:
    return where_ge(alpha, splat(y, 0.0), where_positive(y, splat(y, 1.0), y + alpha), splat(y, NAN))

cdef inline W elu_wrt_alpha(W x, W alpha) noexcept nogil:
    cdef W y = where_positive(x, splat(x, 0.0), expm1_below(x))
    return where_ge(alpha, splat(x, 0.0), y, splat(x, NAN))

cdef inline V elu_wrt_alpha_from_expm1_ratio(V x, V alpha, V at, V high, V low, V scale) noexcept nogil:
    cdef V y = where_positive(x, splat(x, 0.0), fused(at, high, at * low))
    return where_ge(alpha, splat(x, 0.0), y, splat(x, NAN))


# Linear wherever expm1 is: the quotient may be too small a number there.
cdef inline W celu(W x, W alpha) noexcept nogil:
    cdef W v = x / alpha
    cdef W below = where_gt(splat(x, 1e-35), magnitude(v), x, alpha * expm1_below(v))
    return if_positive_and_finite(alpha, where_positive(x, x, below))

cdef inline V celu_position(V x, V alpha) noexcept nogil:
    return x / alpha

cdef inline V celu_position_error(V x, V alpha) noexcept nogil:
    return fused(splat(x, 0.0) - x / alpha, alpha, x) / alpha

# x times the ratio; before the table's first entry the exponential is nothing beside 1.
cdef inline V celu_from_expm1_ratio(V x, V alpha, V at, V high, V low, V scale) noexcept nogil:
    cdef V below = where_gt(at, x / alpha, splat(x, 0.0) - alpha, fused(x, high, x * low))
    return if_positive_and_finite(alpha, where_positive(x, x, below))

cdef inline V celu_at_default_from_expm1_ratio(V x, V alpha, V at, V high, V low, V scale) noexcept nogil:
    return where_positive(x, x, fused(at, high, at * low))

cdef inline W celu_slope(W x, W alpha) noexcept nogil:
    cdef W v = negative_magnitude(x) / alpha
    return if_positive_and_finite(alpha, where_positive(x, splat(x, 1.0), restore_tail(exp_nonpositive(v), v)))

cdef inline V celu_slope_from_exp(V x, V alpha, V at, V high, V low, V scale) noexcept nogil:
    return if_positive_and_finite(alpha, where_positive(x, splat(x, 1.0), entry_sum(high, low, scale)))

cdef inline V celu_slope_at_default_from_exp(V x, V alpha, V at, V high, V low, V scale) noexcept nogil:
    return where_positive(x, splat(x, 1.0), entry_sum(high, low, scale))

cdef inline V celu_slope_from_y(V y, V alpha) noexcept nogil:
    cdef V total = y + alpha
    cdef V below = small_quotient(total, sum_error(y, alpha, total), alpha)
    return if_positive_and_finite(alpha, where_positive(y, splat(y, 1.0), below))

# expm1(v) - v exp(v), v = x / alpha, which vanishes as v^2: with z = -v, up to 1 by its series.
cdef inline W celu_wrt_alpha(W x, W alpha) noexcept nogil:
    cdef W v = negative_magnitude(x) / alpha
    cdef W z = at_most(magnitude(v), splat(v, 1.0))
    cdef W rest = rough_product(rough_product(z, rough_product(z, z)), rough_polynomial(z, CELU_BEND))
    cdef W series = (z * z * 0.125 + rest) - z * constant(z, THIRD[0], THIRD[1]) + 0.5
    # the square of what is tiny meets the subnormals once
    cdef W tiny = where_gt(splat(v, 1e-100), z, splat(v, 300.0), splat(v, 0.0))
    cdef W large = scaled(z, power_of_two(tiny))
    cdef W small = power_of_two(0.0 - tiny)
    cdef W near = scaled(scaled(settled(large * (large * series)), small), small)
    cdef W far = until_floor(v, v) * exp_nonpositive_full(v) - expm1_nonpositive(v)
    cdef W y = where_gt(splat(v, -1.0), v, far, near)
    return if_positive_and_finite(alpha, where_positive(x, splat(x, 0.0), turn_sign(y, splat(x, -1.0))))


cdef inline W selu_lambda(W x) noexcept nogil:
    return constant(x, SELU_LAMBDA[0], SELU_LAMBDA[1])

cdef inline W selu_lambda_alpha(W x) noexcept nogil:
    return constant(x, SELU_LAMBDA_ALPHA[0], SELU_LAMBDA_ALPHA[1])

cdef inline W selu(W x) noexcept nogil:
    return where_positive(x, x * selu_lambda(x), selu_lambda_alpha(x) * expm1_below(x))

cdef inline V selu_from_selu_ratio(V x, V at, V high, V low, V scale) noexcept nogil:
    cdef V below = turn_sign(magnitude(fused(at, high, at * low)), x)
    cdef V above = times_constant(smaller(greatest(x), x), splat(x, 0.0), SELU_LAMBDA)
    return where_positive(x, where_gt(x, greatest(x), x, above), below)

cdef inline W selu_slope(W x) noexcept nogil:
    cdef W e = where_positive(x, splat(x, 1.0), exp_nonpositive(negative_magnitude(x)))
    return restore_tail(e * where_positive(x, selu_lambda(x), selu_lambda_alpha(x)), x)

cdef inline V selu_slope_from_table(V x, V at, V high, V low, V scale) noexcept nogil:
    return where_positive(x, splat(x, SELU_LAMBDA[0]), entry_sum(high, low, scale))

cdef inline V selu_slope_from_y(V y) noexcept nogil:
    cdef V below = (y + splat(y, SELU_LAMBDA_ALPHA[0])) + constant_low(y, SELU_LAMBDA_ALPHA)
    return where_positive(y, splat(y, SELU_LAMBDA[0]), below)
