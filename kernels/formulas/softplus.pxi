# Softplus and its mirror image, log(1 / (1 + exp(-x))) = -softplus(-x).
#
# Both stand on log1p(e) with e = exp(-abs(x)), which never overflows: softplus(x) = max(x, 0) + log1p(e).
# `restore_tail` closes the side that goes to 0.

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
