# Gaussian error linear units, from the negative side, where they are small: for x > 0
# gelu(x) = x - abs(gelu(-x)) and f'(x) = 1 - f'(-x) lose nothing.

cdef inline W gelu(W x) noexcept nogil:
    cdef W z = magnitude(x)
    cdef W c = at_most(z, gaussian_end(z))
    cdef W a = gaussian_exponent(c)
    cdef W below = c * (exp_nonpositive(a) * mills(c))
    return turn_sign(where_positive(x, z - below, restore_tail(below, a)), x)

cdef inline V gelu_from_normal(V x, V at, V high, V low, V scale) noexcept nogil:
    return entry_product(x, high, low, scale)

cdef inline W gelu_slope(W x) noexcept nogil:
    cdef W z = magnitude(x)
    cdef W c = at_most(z, gaussian_end(z))
    cdef W a = gaussian_exponent(c)
    cdef W below = exp_nonpositive(a) * gelu_slope_factor(c)
    return where_positive(x, 1.0 - below, restore_tail(below, a))

cdef inline V gelu_slope_from_table(V x, V at, V high, V low, V scale) noexcept nogil:
    return near_root(x, splat(x, 0.0), GELU_SLOPE_NEAR, entry_sum(high, low, scale))


# x s, s = 1 / (1 + exp(-v)), v = 2 sqrt(2/pi) (x + 0.044715 x^3).
# Where abs(x) > 25, v > 1150 and s has reached its limit.
cdef inline W gelu_tanh_exponent(W z) noexcept nogil:
    return z * (constant(z, TWO_SQRT_2_OVER_PI[0], TWO_SQRT_2_OVER_PI[1])
                + z * z * constant(z, GELU_TANH_CUBIC[0], GELU_TANH_CUBIC[1]))

cdef inline W gelu_tanh(W x) noexcept nogil:
    cdef W z = magnitude(x)
    cdef W c = at_most(z, splat(z, 25.0))
    cdef W a = negative_magnitude(gelu_tanh_exponent(c))
    cdef W e = exp_nonpositive(a)
    cdef W above = z / (1.0 + e)
    cdef W below = c * e / (1.0 + e)
    return turn_sign(where_positive(x, above, restore_tail(below, a)), x)

cdef inline V gelu_tanh_from_gelu_tanh_ratio(V x, V at, V high, V low, V scale) noexcept nogil:
    return entry_product(x, high, low, scale)

# f'(-z) = e (1 + e - z v'(z)) / (1 + e)^2; `growth` is z v'(z).
cdef inline W gelu_tanh_slope(W x) noexcept nogil:
    cdef W z = at_most(magnitude(x), splat(x, 25.0))
    cdef W cubic = z * z * constant(z, GELU_TANH_CUBIC[0], GELU_TANH_CUBIC[1]) * 3.0
    cdef W growth = z * (constant(z, TWO_SQRT_2_OVER_PI[0], TWO_SQRT_2_OVER_PI[1]) + cubic)
    cdef W a = negative_magnitude(gelu_tanh_exponent(z))
    cdef W e = exp_nonpositive_full(a)
    cdef W d = 1.0 + e
    cdef W below = restore_tail(e * (d - growth) / (d * d), a)
    return where_positive(x, (d + growth * e) / (d * d), below)

cdef inline V gelu_tanh_slope_from_table(V x, V at, V high, V low, V scale) noexcept nogil:
    return near_root(x, splat(x, 0.0), GELU_TANH_SLOPE_NEAR, entry_sum(high, low, scale))


# silu with a fixed beta, whose decimals are none of a float's.
cdef inline W gelu_sigmoid_scale(W x) noexcept nogil:
    return constant(x, GELU_SIGMOID_SCALE[0], GELU_SIGMOID_SCALE[1])

cdef inline V gelu_sigmoid_position(V x) noexcept nogil:
    return splat(x, GELU_SIGMOID_SCALE[0]) * x

cdef inline V gelu_sigmoid_position_error(V x) noexcept nogil:
    cdef V high = splat(x, GELU_SIGMOID_SCALE[0])
    return fused(constant_low(x, GELU_SIGMOID_SCALE), x, product_error(high, x, high * x))

cdef inline W gelu_sigmoid(W x) noexcept nogil:
    return silu(x, gelu_sigmoid_scale(x))

cdef inline V gelu_sigmoid_from_sigmoid(V x, V at, V high, V low, V scale) noexcept nogil:
    return entry_product(x, high, low, scale)

cdef inline W gelu_sigmoid_slope(W x) noexcept nogil:
    return silu_slope(x, gelu_sigmoid_scale(x))

cdef inline V gelu_sigmoid_slope_from_silu_slope(V x, V at, V high, V low, V scale) noexcept nogil:
    cdef V otherwise = entry_sum(high, low, scale)
    return near_root(gelu_sigmoid_position(x), gelu_sigmoid_position_error(x), SILU_SLOPE_NEAR, otherwise)
