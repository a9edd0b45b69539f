# The logistic family and the exponential linear unit.
#
# All stand on e = exp(-abs(x)), which never overflows: for x > 0 the sigmoid is 1 / (1 + e), for x < 0 it
# is e / (1 + e), and f'(x) follows from f'(-x) by symmetry.  `restore_tail` closes the side that goes to 0.

cdef inline W where_positive(W x, W yes, W no) noexcept nogil:
    return where_gt(x, splat(x, 0.0), yes, no)

cdef inline W negative_magnitude(W x) noexcept nogil:
    return turn_sign(magnitude(x), splat(x, -1.0))

# A parameter outside its domain makes the lane NaN.
cdef inline W if_positive_and_finite(W parameter, W y) noexcept nogil:
    cdef W nan = splat(y, NAN)
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

cdef inline W elu_slope(W x, W alpha) noexcept nogil:
    cdef W a = negative_magnitude(x)
    cdef W y = where_positive(x, splat(x, 1.0), restore_tail(alpha * exp_nonpositive(a), a))
    return where_ge(alpha, splat(x, 0.0), y, splat(x, NAN))

cdef inline W elu_slope_from_y(W y, W alpha) noexcept nogil:
    return where_ge(alpha, splat(y, 0.0), where_positive(y, splat(y, 1.0), y + alpha), splat(y, NAN))

cdef inline W elu_wrt_alpha(W x, W alpha) noexcept nogil:
    cdef W y = where_positive(x, splat(x, 0.0), expm1_below(x))
    return where_ge(alpha, splat(x, 0.0), y, splat(x, NAN))


cdef inline W selu_lambda(W x) noexcept nogil:
    return constant(x, SELU_LAMBDA[0], SELU_LAMBDA[1])

cdef inline W selu_lambda_alpha(W x) noexcept nogil:
    return constant(x, SELU_LAMBDA_ALPHA[0], SELU_LAMBDA_ALPHA[1])

cdef inline W selu(W x) noexcept nogil:
    return where_positive(x, x * selu_lambda(x), selu_lambda_alpha(x) * expm1_below(x))

cdef inline W selu_slope(W x) noexcept nogil:
    cdef W e = where_positive(x, splat(x, 1.0), exp_nonpositive(negative_magnitude(x)))
    return restore_tail(e * where_positive(x, selu_lambda(x), selu_lambda_alpha(x)), x)

cdef inline W selu_slope_from_y(W y) noexcept nogil:
    # settled, because beside -lambda alpha only the low part is left
    return where_positive(y, selu_lambda(y), settled(y + selu_lambda_alpha(y)))


cdef inline W softplus(W x, W beta) noexcept nogil:
    cdef W a = beta * x
    cdef W bend = log1p_unit(exp_nonpositive(negative_magnitude(a))) / beta
    return if_positive_and_finite(beta, where_positive(x, x + bend, restore_tail(bend, a)))

cdef inline W softplus_slope(W x, W beta) noexcept nogil:
    return if_positive_and_finite(beta, sigmoid(beta * x))

cdef inline W softplus_slope_from_y(W y, W beta) noexcept nogil:
    return if_positive_and_finite(beta, magnitude(expm1_nonpositive(negative_magnitude(beta * y))))

cdef inline W softplus_wrt_beta(W x, W beta) noexcept nogil:
    cdef W a = negative_magnitude(beta * x)
    cdef W e = exp_nonpositive(a)
    cdef W y = until_floor(magnitude(x), a) * e / (1.0 + e) + log1p_unit(e) / beta
    return if_positive_and_finite(beta, restore_tail(turn_sign(y / beta, splat(x, -1.0)), a))


cdef inline W sigmoid(W x) noexcept nogil:
    cdef W e = exp_nonpositive(negative_magnitude(x))
    return restore_tail(where_positive(x, splat(x, 1.0), e) / (1.0 + e), x)

cdef inline W sigmoid_slope(W x) noexcept nogil:
    cdef W a = negative_magnitude(x)
    cdef W e = exp_nonpositive(a)
    cdef W d = 1.0 + e
    return restore_tail(e / (d * d), a)

cdef inline W sigmoid_slope_from_y(W y) noexcept nogil:
    return y * (1.0 - y)


cdef inline W log_sigmoid(W x) noexcept nogil:
    cdef W a = negative_magnitude(x)
    cdef W bend = log1p_unit(exp_nonpositive(a))
    return where_positive(x, restore_tail(turn_sign(bend, splat(x, -1.0)), a), x - bend)

cdef inline W log_sigmoid_slope(W x) noexcept nogil:
    return sigmoid(turn_sign(x, splat(x, -1.0)))

cdef inline W log_sigmoid_slope_from_y(W y) noexcept nogil:
    return magnitude(expm1_nonpositive(negative_magnitude(y)))


cdef inline W silu(W x, W beta) noexcept nogil:
    cdef W a = beta * x
    cdef W e = exp_nonpositive(negative_magnitude(a))
    cdef W y = until_floor(x, a) * where_positive(x, splat(x, 1.0), e) / (1.0 + e)
    return if_positive_and_finite(beta, restore_tail(y, a))

cdef inline W silu_slope(W x, W beta) noexcept nogil:
    cdef W a = beta * x
    cdef W z = at_most(magnitude(a), 0.0 - exp_floor(a))
    cdef W e = exp_nonpositive_full(0.0 - z)
    cdef W d = 1.0 + e
    cdef W y = where_positive(x, d + z * e, e * (d - z)) / (d * d)
    return if_positive_and_finite(beta, restore_tail(y, a))

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

# (n d + 4 x exp(x) (1 + exp(x))) / d^2, for x > 0 divided by exp(4x).
cdef inline W mish_slope(W x) noexcept nogil:
    cdef W z = at_most(magnitude(x), 0.0 - exp_floor(x))
    cdef W e = exp_nonpositive_full(0.0 - z)
    cdef W n = mish_numerator(x, e)
    cdef W d = mish_denominator(x, e, n)
    cdef W bend = turn_sign(z, x) * 4.0 * (where_positive(x, e * e, e) * (1.0 + e))
    return restore_tail((n * d + bend) / (d * d), x)


cdef inline W tanh(W x) noexcept nogil:
    cdef W n = expm1_nonpositive(scaled(magnitude(x), splat(x, -2.0)))
    return turn_sign(magnitude(n / (n + 2.0)), x)

cdef inline W tanh_slope(W x) noexcept nogil:
    cdef W a = scaled(magnitude(x), splat(x, -2.0))
    cdef W e = exp_nonpositive(a)
    cdef W d = 1.0 + e
    return restore_tail(scaled(e, splat(x, 4.0)) / (d * d), a)

cdef inline W tanh_slope_from_y(W y) noexcept nogil:
    return (1.0 - y) * (1.0 + y)
