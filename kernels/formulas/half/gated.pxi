# Formulas in one register, for 16-bit types and accuracy "fast", where formulas/fast has none: at most 4 ULP
# of float32.  Only devices compute them; CPUs read tables or double lanes in the same time.
#
# exp(a) = 2^k (1 + t) as in math/plain.pxi, with what the product a has lost: far down that is many units.

cdef inline V half_gaussian_exponent(V z) noexcept nogil:
    return nearest_exponent(splat(z, -0.5) * (z * z))

cdef inline V half_gaussian_excess(V z, V k) noexcept nogil:
    cdef V square = z * z
    cdef V lost = splat(z, -0.5) * product_error(z, z, square)
    return plain_expm1_remainder(plain_remainder(splat(z, -0.5) * square, k) + lost)

# As mills_long, and as far out as a large value finds something of it.
cdef inline V half_mills(V z) noexcept nogil:
    cdef V t = (z - splat(z, MILLS_FLOAT_C)) / (z + splat(z, MILLS_FLOAT_C))
    return polynomial(t, MILLS_FLOAT) / (z + splat(z, MILLS_FLOAT_D))

cdef inline V half_end(V z) noexcept nogil:
    return smaller(splat(z, 20.25), magnitude(z))

# z mills(z) exp(-z^2/2), and the slope of that, but for the power of two.
cdef inline V half_gelu_below(V z, V k) noexcept nogil:
    cdef V factor = z * half_mills(z)
    return multiply_add(factor, half_gaussian_excess(z, k), factor)

cdef inline V half_gelu_slope_below(V z, V k) noexcept nogil:
    cdef V factor = multiply_add(z, splat(z, -INV_SQRT_2PI_FLOAT[1]), half_mills(z))
    factor = multiply_add(z, splat(z, -INV_SQRT_2PI[0]), factor)
    return multiply_add(factor, half_gaussian_excess(z, k), factor)


cdef inline V gelu_half(V x) noexcept nogil:
    cdef V c = smaller(splat(x, SHORT_END), magnitude(x))
    cdef V k = half_gaussian_exponent(c)
    cdef V below = times_power_of_two(half_gelu_below(c, k), k)
    return turn_sign(where_positive(x, magnitude(x) - below, below), x)

cdef inline V gelu_slope_half(V x) noexcept nogil:
    cdef V c = smaller(splat(x, SHORT_END), magnitude(x))
    cdef V k = half_gaussian_exponent(c)
    cdef V below = times_power_of_two(half_gelu_slope_below(c, k), k)
    return where_positive(x, splat(x, 1.0) - below, below)


cdef inline V geglu_half(V value, V gate) noexcept nogil:
    cdef V c = half_end(gate)
    cdef V k = half_gaussian_exponent(c)
    cdef V below = half_gelu_below(c, k)
    cdef V unit = where_positive(gate, magnitude(gate) - below * plain_power(k), below)
    cdef V y = fast_product(value, turn_sign(unit, gate), where_positive(gate, splat(gate, 0.0), k))
    return unless_shut(gate, value * splat(value, -0.0), beside_zero(value, gate, y))

cdef inline V geglu_value_slope_half(V value, V gate) noexcept nogil:
    return gelu_half(gate)

cdef inline V geglu_gate_slope_half(V value, V gate) noexcept nogil:
    cdef V c = half_end(gate)
    cdef V k = half_gaussian_exponent(c)
    cdef V below = half_gelu_slope_below(c, k)
    cdef V slope = where_positive(gate, splat(gate, 1.0) - below * plain_power(k), below)
    cdef V y = fast_product(value, slope, where_positive(gate, splat(gate, 0.0), k))
    return unless_shut(gate, value * splat(value, -0.0), y)


# 2 sqrt(2/pi) and its cubic term as z (scale + scale_low), exp(-that) = 2^k (1 + t).
cdef inline V half_scale(V z) noexcept nogil:
    return splat(z, TWO_SQRT_2_OVER_PI[0]) + z * z * splat(z, GELU_TANH_CUBIC[0])

cdef inline V half_scale_low(V z) noexcept nogil:
    cdef V square = z * z
    cdef V cubic = square * splat(z, GELU_TANH_CUBIC[0])
    cdef V lost = product_error(square, splat(z, GELU_TANH_CUBIC[0]), cubic)
    lost = multiply_add(product_error(z, z, square), splat(z, GELU_TANH_CUBIC[0]), lost)
    cdef V first = splat(z, TWO_SQRT_2_OVER_PI[0])
    lost = lost + multiply_add(square, splat(z, GELU_TANH_CUBIC_FLOAT[1]), splat(z, TWO_SQRT_2_OVER_PI_FLOAT[1]))
    return sum_error(first, cubic, first + cubic) + lost

cdef inline V half_gate_exponent(V z) noexcept nogil:
    return nearest_exponent(negative_magnitude(z * half_scale(z)))

cdef inline V half_gate_excess(V z, V k) noexcept nogil:
    cdef V a = z * half_scale(z)
    cdef V lost = multiply_add(z, half_scale_low(z), product_error(z, half_scale(z), a))
    return plain_expm1_remainder(plain_remainder(splat(z, 0.0) - a, k) - lost)

cdef inline V gelu_tanh_half(V x) noexcept nogil:
    cdef V z = magnitude(x)
    cdef V c = smaller(splat(z, 11.5), z)
    cdef V k = half_gate_exponent(c)
    cdef V p = splat(x, 1.0) + half_gate_excess(c, k)
    cdef V d = multiply_add(plain_power(k), p, splat(x, 1.0))
    return turn_sign(where_positive(x, z / d, times_power_of_two(c * p / d, k)), x)

cdef inline V gelu_tanh_slope_half(V x) noexcept nogil:
    cdef V z = smaller(splat(x, 11.5), magnitude(x))
    cdef V k = half_gate_exponent(z)
    cdef V t = half_gate_excess(z, k)
    cdef V e = multiply_add(plain_power(k), t, plain_power(k))
    cdef V square = square_above(e)
    cdef V lost = splat(x, TWO_SQRT_2_OVER_PI_FLOAT[1])
    cdef V cubic = z * multiply_add(z * z, splat(x, 3.0 * GELU_TANH_CUBIC[0]), lost)
    cdef V growth = multiply_add(z, splat(x, TWO_SQRT_2_OVER_PI[0]), cubic)
    cdef V factor = multiply_add(z, splat(x, -TWO_SQRT_2_OVER_PI[0]), (splat(x, 1.0) - cubic) + e)
    cdef V below = times_power_of_two(multiply_add(factor, t, factor) / square, k)
    return where_positive(x, (multiply_add(growth, e, e) + splat(x, 1.0)) / square, below)


# With e = exp(-abs(x)) = 2^k (1 + t) and d = s + 2, s = e (2 + e): of a negative x
# e (4 (1 - z) (1 + e) + e (e (4 + e) + 2)) / d^2.
cdef inline V mish_slope_half(V x) noexcept nogil:
    cdef V z = smaller(splat(x, 0.0) - plain_floor(x), magnitude(x))
    cdef V k = nearest_exponent(splat(x, 0.0) - z)
    cdef V t = plain_excess(splat(x, 0.0) - z, k)
    cdef V e = multiply_add(plain_power(k), t, plain_power(k))
    cdef V four = splat(x, 4.0)
    cdef V n = multiply_add(e, splat(x, 2.0), splat(x, 1.0))
    cdef V above = multiply_add(splat(x, 2.0) * e, e, n)
    cdef V ratio = multiply_add(four * z * e, multiply_add(e, e, e), n * above) / (above * above)
    cdef V s = multiply_add(e, e, e + e)
    cdef V lead = four - four * z
    cdef V rest = multiply_add(e, multiply_add(e, e + four, splat(x, 2.0)), multiply_add(lead, e, lead))
    cdef V below = multiply_add(rest, t, rest) / multiply_add(s, s + four, four)
    below = times_power_of_two(below, k)
    return where_positive(x, ratio, where_eq(below, splat(x, 0.0), splat(x, -0.0), below))

# x^2 p / (1 + e)^2 2^k: either x has half of the power, so that it is rounded once.
cdef inline V silu_wrt_beta_half(V x, V beta) noexcept nogil:
    cdef V a = negative_magnitude(beta * x)
    cdef V c = larger(splat(x, -174.0), a)
    cdef V k = nearest_exponent(c)
    cdef V t = plain_excess_of_product(beta, negative_magnitude(x), a, c, k)
    cdef V share = (splat(x, 1.0) + t) / square_above(multiply_add(plain_power(k), t, plain_power(k)))
    cdef V part = nearest_integer(k, splat(k, 0.5))
    cdef V z = where_gt(c, a, splat(x, 0.0), x)
    return if_positive_and_finite(beta, z * power_of_two(part) * share * (z * power_of_two(k - part)))


# tanh z = -n / (n + 2), n = expm1(-2 z), and what that has lost.
cdef inline V half_expm1(V z, V k) noexcept nogil:
    return multiply_add(power_of_two(k), plain_excess(z, k), power_of_two(k) - splat(z, 1.0))

cdef inline V half_expm1_lost(V z, V k, V n) noexcept nogil:
    return short_sum_error(power_of_two(k) - splat(z, 1.0), power_of_two(k) * plain_excess(z, k), n)

cdef inline V half_tanh_argument(V z) noexcept nogil:
    return larger(splat(z, -42.0), splat(z, -2.0) * z)

cdef inline V half_tanh(V z) noexcept nogil:
    cdef V a = half_tanh_argument(z)
    cdef V n = half_expm1(a, nearest_exponent(a))
    return magnitude(n / (n + splat(z, 2.0)))

cdef inline V half_tanh_lost(V z, V t) noexcept nogil:
    cdef V a = half_tanh_argument(z)
    cdef V k = nearest_exponent(a)
    cdef V n = half_expm1(a, k)
    cdef V n_low = half_expm1_lost(a, k, n)
    cdef V d = n + splat(z, 2.0)
    cdef V d_low = short_sum_error(splat(z, 2.0), n, d) + n_low
    return (multiply_add(t, d_low, product_error(t, d, splat(z, 0.0) - n)) + n_low) / d

cdef inline V tanhshrink_half(V x) noexcept nogil:
    cdef V z = magnitude(x)
    cdef V c = smaller(splat(x, 0.75), z)
    cdef V u = c * c
    cdef V near = c * (u * multiply_add(u, polynomial(u, TANHSHRINK_FLOAT), splat(x, THIRD[0])))
    cdef V t = half_tanh(z)
    return turn_sign(where_gt(z, splat(x, 0.75), (z - t) + half_tanh_lost(z, t), near), x)

cdef inline V tanhshrink_slope_half(V x) noexcept nogil:
    cdef V z = magnitude(x)
    cdef V t = half_tanh(z)
    cdef V square = t * t
    return multiply_add(splat(x, -2.0) * t, half_tanh_lost(z, t), square)
