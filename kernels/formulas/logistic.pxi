# The logistic family and the exponential linear unit.
#
# All stand on e = exp(-abs(x)), which never overflows: for x > 0 the sigmoid is 1 / (1 + e), for x < 0 it
# is e / (1 + e), and f'(x) follows from f'(-x) by symmetry.  `restore_tail` closes the side that goes to 0.

cdef inline X where_positive(X x, X yes, X no) noexcept nogil:
    return where_gt(x, splat(x, 0.0), yes, no)

cdef inline X negative_magnitude(X x) noexcept nogil:
    return turn_sign(magnitude(x), splat(x, -1.0))

# A parameter outside its domain makes the lane NaN.
cdef inline X if_positive_and_finite(X parameter, X y) noexcept nogil:
    cdef X nan = splat(y, NAN)
    y = where_gt(parameter, splat(y, 0.0), y, nan)
    return where_gt(splat(y, INFINITY), parameter, y, nan)

# exp(x) - 1 for x <= 0; with the sign of x for -0 as well.
cdef inline W expm1_below(W x) noexcept nogil:
    return turn_sign(magnitude(expm1_nonpositive(negative_magnitude(x))), x)

# x, but 0 where exp(a) has vanished: there x itself may be infinite.
cdef inline W until_floor(W x, W a) noexcept nogil:
    return where_gt(exp_floor(a), a, turn_sign(splat(x, 0.0), x), x)


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


cdef inline W selu_lambda(W x) noexcept nogil:
    return constant(x, SELU_LAMBDA[0], SELU_LAMBDA[1])

cdef inline W selu_lambda_alpha(W x) noexcept nogil:
    return constant(x, SELU_LAMBDA_ALPHA[0], SELU_LAMBDA_ALPHA[1])

cdef inline W selu(W x) noexcept nogil:
    return where_positive(x, x * selu_lambda(x), selu_lambda_alpha(x) * expm1_below(x))

cdef inline V selu_from_expm1_ratio(V x, V at, V high, V low, V scale) noexcept nogil:
    cdef V total = fused(at, high, at * low)
    cdef V lost = fused(at, high, splat(x, 0.0) - total) + at * low
    cdef V below = times_constant(total, lost, SELU_LAMBDA_ALPHA)
    return where_positive(x, times_constant(x, splat(x, 0.0), SELU_LAMBDA), turn_sign(magnitude(below), x))

cdef inline W selu_slope(W x) noexcept nogil:
    cdef W e = where_positive(x, splat(x, 1.0), exp_nonpositive(negative_magnitude(x)))
    return restore_tail(e * where_positive(x, selu_lambda(x), selu_lambda_alpha(x)), x)

cdef inline V selu_slope_from_exp(V x, V at, V high, V low, V scale) noexcept nogil:
    cdef V total = high + low
    cdef V below = times_constant(total, (high - total) + low, SELU_LAMBDA_ALPHA) * scale
    return where_positive(x, splat(x, SELU_LAMBDA[0]), below)

# Beside y = -lambda alpha only what rounding that constant lost is left of the sum.
cdef inline V selu_slope_from_y(V y) noexcept nogil:
    cdef V below = (y + splat(y, SELU_LAMBDA_ALPHA[0])) + constant_low(y, SELU_LAMBDA_ALPHA)
    return where_positive(y, splat(y, SELU_LAMBDA[0]), below)


cdef inline V softplus_position(V x, V beta) noexcept nogil:
    return beta * x

cdef inline V softplus_position_error(V x, V beta) noexcept nogil:
    return product_error(beta, x, beta * x)

cdef inline W softplus(W x, W beta) noexcept nogil:
    cdef W a = beta * x
    cdef W bend = log1p_unit(exp_nonpositive(negative_magnitude(a))) / beta
    return if_positive_and_finite(beta, where_positive(x, x + bend, restore_tail(bend, a)))

# Where the table ends, and for NaN in it, x is the result; the quotient's remainder corrects it.
cdef inline V softplus_from_table(V x, V beta, V at, V high, V low, V scale) noexcept nogil:
    cdef V total = high + low
    cdef V quotient = total / beta
    cdef V rest = fused(splat(x, 0.0) - quotient, beta, total) + ((high - total) + low)
    cdef V y = (quotient + rest / beta) * scale
    return if_positive_and_finite(beta, larger(x, y))

cdef inline V softplus_at_default_from_table(V x, V beta, V at, V high, V low, V scale) noexcept nogil:
    return larger(x, entry_sum(high, low, scale))

cdef inline W softplus_slope(W x, W beta) noexcept nogil:
    return if_positive_and_finite(beta, sigmoid(beta * x))

cdef inline V softplus_slope_from_sigmoid(V x, V beta, V at, V high, V low, V scale) noexcept nogil:
    return if_positive_and_finite(beta, entry_sum(high, low, scale))

cdef inline V softplus_slope_at_default_from_sigmoid(V x, V beta, V at, V high, V low, V scale) noexcept nogil:
    return entry_sum(high, low, scale)

cdef inline V softplus_slope_from_y_position(V y, V beta) noexcept nogil:
    return (splat(y, 0.0) - beta) * y

cdef inline V softplus_slope_from_y_position_error(V y, V beta) noexcept nogil:
    return product_error(splat(y, 0.0) - beta, y, (splat(y, 0.0) - beta) * y)

cdef inline W softplus_slope_from_y(W y, W beta) noexcept nogil:
    return if_positive_and_finite(beta, magnitude(expm1_nonpositive(negative_magnitude(beta * y))))

cdef inline V softplus_slope_from_y_from_expm1_ratio(V y, V beta, V at, V high, V low, V scale) noexcept nogil:
    cdef V position = (splat(y, 0.0) - beta) * y
    cdef V error = where_eq(at, position, product_error(splat(y, 0.0) - beta, y, position), splat(y, 0.0))
    return if_positive_and_finite(beta, magnitude(fused(at, high, fused(error, high, at * low))))

cdef inline W softplus_wrt_beta(W x, W beta) noexcept nogil:
    cdef W a = negative_magnitude(beta * x)
    cdef W e = exp_nonpositive(a)
    cdef W y = until_floor(magnitude(x), a) * e / (1.0 + e) + log1p_unit(e) / beta
    return if_positive_and_finite(beta, restore_tail(turn_sign(y / beta, splat(x, -1.0)), a))


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


cdef inline W log_sigmoid(W x) noexcept nogil:
    cdef W a = negative_magnitude(x)
    cdef W bend = log1p_unit(exp_nonpositive(a))
    return where_positive(x, restore_tail(turn_sign(bend, splat(x, -1.0)), a), x - bend)

cdef inline V log_sigmoid_position(V x) noexcept nogil:
    return splat(x, 0.0) - x

cdef inline V log_sigmoid_from_softplus(V x, V at, V high, V low, V scale) noexcept nogil:
    return splat(x, -1.0) * larger(splat(x, 0.0) - x, entry_sum(high, low, scale))

cdef inline W log_sigmoid_slope(W x) noexcept nogil:
    return sigmoid(turn_sign(x, splat(x, -1.0)))

cdef inline V log_sigmoid_slope_from_sigmoid(V x, V at, V high, V low, V scale) noexcept nogil:
    return entry_sum(high, low, scale)

cdef inline V log_sigmoid_slope_from_y_position(V y) noexcept nogil:
    return negative_magnitude(y)

cdef inline V log_sigmoid_slope_from_y_from_expm1_ratio(V y, V at, V high, V low, V scale) noexcept nogil:
    return magnitude(fused(at, high, at * low))

cdef inline W log_sigmoid_slope_from_y(W y) noexcept nogil:
    return magnitude(expm1_nonpositive(negative_magnitude(y)))


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


# tanh(log(1 + exp(x))) = n / d with n = exp(x) (exp(x) + 2), d = n + 2; for x > 0 both are divided by exp(2x).
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
