# The logistic family for 16-bit types, on e = exp(x) or exp(-abs(x)).

# e / (1 + e), e = 2^t, where e does not overflow; the sum need not wait for e.
cdef inline V share_of_power(V t) noexcept nogil:
    cdef V c = smaller(splat(t, 90.0), t)
    cdef V p = short_mantissa(c)
    cdef V power = times_power_below(splat(t, 1.0), c)
    return (p * power) * rough_inverse(multiply_add(p, power, splat(t, 1.0)))

cdef inline V sigmoid_short(V x) noexcept nogil:
    return share_of_power(x * splat(x, LOG2E[0]))

cdef inline V sigmoid_slope_short(V x) noexcept nogil:
    cdef V e = short_exp(negative_magnitude(x))
    cdef V inverse = rough_inverse(splat(x, 1.0) + e)
    return (e * inverse) * inverse

cdef inline V sigmoid_slope_from_y_short(V y) noexcept nogil:
    return y * (splat(y, 1.0) - y)


# The power comes last: of a small beta x is large where the power is next to nothing.
cdef inline V silu_short(V x, V beta) noexcept nogil:
    cdef V t = (if_it_is_positive(beta) * x) * splat(x, LOG2E[0])
    cdef V c = smaller(splat(t, 90.0), t)
    cdef V p = short_mantissa(c)
    cdef V power = times_power_below(splat(t, 1.0), c)
    cdef V factor = p * rough_inverse(multiply_add(p, power, splat(t, 1.0)))
    cdef V y = times_power_below((splat(x, 0.5) * short_of_infinity_below(x)) * factor, c)
    return y + y

cdef inline V short_of_infinity_below(V x) noexcept nogil:
    return larger(splat(x, 0.0) - greatest(x), x)

# f'(-z) = e (1 + e - z) / (1 + e)^2 and f'(z) = (1 + e + z e) / (1 + e)^2, e = exp(-z).
cdef inline V gate_slope_short(V x, V z, V e) noexcept nogil:
    cdef V d = splat(x, 1.0) + e
    cdef V inverse = rough_inverse(d)
    return where_positive(x, multiply_add(z, e, d), e * (d - z)) * inverse * inverse

cdef inline V silu_slope_short(V x, V beta) noexcept nogil:
    cdef V z = smaller(splat(x, 1000.0), magnitude(if_it_is_positive(beta) * x))
    return gate_slope_short(x, z, short_exp_long(splat(x, 0.0) - z))


cdef inline V gelu_sigmoid_short(V x) noexcept nogil:
    return short_of_infinity_below(x) * sigmoid_short(gelu_sigmoid_position(x))

cdef inline V gelu_sigmoid_slope_short(V x) noexcept nogil:
    cdef V z = smaller(splat(x, 1000.0), magnitude(gelu_sigmoid_position(x)))
    return gate_slope_short(x, z, short_exp_long(splat(x, 0.0) - z))


cdef inline V softplus_slope_short(V x, V beta) noexcept nogil:
    return sigmoid_short(if_it_is_positive(beta) * x)

cdef inline V log_sigmoid_slope_short(V x) noexcept nogil:
    return share_of_power(x * splat(x, -LOG2E[0]))

# max(x, 0) + log1p(exp(-abs(x)))
cdef inline V short_bend(V a) noexcept nogil:
    cdef V e = short_exp(a)
    return e * polynomial(e, LOG1P_HALF)

# short_bend(a) / b; as above.
cdef inline V short_bend_over(V a, V b) noexcept nogil:
    cdef V t = a * splat(a, LOG2E[0])
    cdef V p = short_mantissa(t)
    return times_power_below(p * polynomial(times_power_below(p, t), LOG1P_HALF) / b, t)

cdef inline V softplus_short(V x, V beta) noexcept nogil:
    cdef V b = if_it_is_positive(beta)
    return larger(x, splat(x, 0.0)) + short_bend_over(negative_magnitude(b * x), b)

cdef inline V softplus_at_default_short(V x, V beta) noexcept nogil:
    return larger(x, splat(x, 0.0)) + short_bend_over(negative_magnitude(x), splat(x, 1.0))

cdef inline V log_sigmoid_short(V x) noexcept nogil:
    return turn_sign(larger(splat(x, 0.0) - x, splat(x, 0.0)) + short_bend(negative_magnitude(x)), splat(x, -1.0))


# As the wide formula.
cdef inline V mish_slope_short(V x) noexcept nogil:
    cdef V z = smaller(splat(x, 0.0) - plain_floor(x), magnitude(x))
    cdef V e = short_full_exp(splat(x, 0.0) - z)
    cdef V square = e * e
    cdef V n = e + e + where_positive(x, splat(x, 1.0), square)
    cdef V d = n + splat(x, 2.0) * where_positive(x, square, splat(x, 1.0))
    cdef V bend = turn_sign(z, x) * splat(x, 4.0) * (where_positive(x, square, e) * (splat(x, 1.0) + e))
    cdef V y = (n * d + bend) / (d * d)
    return where_eq(y, splat(x, 0.0), turn_sign(splat(x, 0.0), x), y)


cdef inline V short_tanh(V z) noexcept nogil:
    cdef V n = plain_expm1(splat(z, -2.0) * z)
    return magnitude(n / (n + splat(z, 2.0)))

cdef inline V tanhshrink_short(V x) noexcept nogil:
    cdef V z = magnitude(x)
    cdef V c = smaller(splat(x, 0.75), z)
    cdef V u = c * c
    cdef V near = c * (u * (splat(x, THIRD[0]) + u * polynomial(u, TANHSHRINK_FLOAT)))
    return turn_sign(where_gt(z, splat(x, 0.75), z - short_tanh(z), near), x)

cdef inline V tanhshrink_slope_short(V x) noexcept nogil:
    cdef V t = short_tanh(magnitude(x))
    return t * t
