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
