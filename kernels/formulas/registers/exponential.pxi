# Slopes that are an exponential, of a table in registers (math/sixteenths.pxi): for the side below 0.

cdef inline V exp_below(V x, V x_low) noexcept nogil:
    return times_power_of_sixteenths(power(x) + power_low(x, x_low), sixteenths(x))

# 1 - exp(x + x_low).
cdef inline V complement_below(V x, V x_low) noexcept nogil:
    cdef V k = sixteenths(x)
    cdef V leading = times_power_of_sixteenths(power(x), k)
    cdef V rest = splat(x, 1.0) - leading
    cdef V lost = (splat(x, 1.0) - rest) - leading
    return rest + (lost - times_power_of_sixteenths(power_low(x, x_low), k))


# A large alpha finds something of the power far down, and of all of it its product may overflow.
cdef inline V elu_slope_in_registers(V x, V alpha) noexcept nogil:
    cdef V c = larger(plain_abyss(x), x)
    cdef V high = splat(x, 0.5) * power(c)
    cdef V low = splat(x, 0.5) * power_low(c, splat(x, 0.0))
    cdef V total = high + low
    cdef V below = times_pair(alpha, total, (high - total) + low)
    below = times_power_of_sixteenths(below, sixteenths(c) + splat(x, 16.0))
    cdef V y = where_positive(x, splat(x, 1.0), below)
    return where_ge(alpha, splat(x, 0.0), y, splat(x, NAN))

cdef inline V elu_slope_at_default_in_registers(V x, V alpha) noexcept nogil:
    cdef V c = larger(plain_floor(x), x)
    return where_positive(x, splat(x, 1.0), exp_below(c, splat(x, 0.0)))

cdef inline V celu_slope_in_registers(V x, V alpha) noexcept nogil:
    cdef V v = celu_position(x, alpha)
    cdef V c = larger(plain_floor(x), v)
    cdef V below = exp_below(c, where_eq(c, v, celu_position_error(x, alpha), splat(x, 0.0)))
    return if_positive_and_finite(alpha, where_positive(x, splat(x, 1.0), below))

cdef inline V celu_slope_at_default_in_registers(V x, V alpha) noexcept nogil:
    return elu_slope_at_default_in_registers(x, alpha)

cdef inline V selu_slope_in_registers(V x) noexcept nogil:
    cdef V c = larger(plain_floor(x), x)
    cdef V high = power(c)
    cdef V low = power_low(c, splat(x, 0.0))
    cdef V total = high + low
    cdef V below = times_constant(total, (high - total) + low, SELU_LAMBDA_ALPHA)
    return where_positive(x, splat(x, SELU_LAMBDA[0]), times_power_of_sixteenths(below, sixteenths(c)))


cdef inline V softplus_slope_from_y_in_registers(V y, V beta) noexcept nogil:
    cdef V a = softplus_slope_from_y_position(y, beta)
    cdef V c = larger(splat(y, 0.0) - plain_ceiling(y), negative_magnitude(a))
    cdef V lost = where_eq(c, a, softplus_slope_from_y_position_error(y, beta), splat(y, 0.0))
    return if_positive_and_finite(beta, magnitude(complement_below(c, lost)))

cdef inline V log_sigmoid_slope_from_y_in_registers(V y) noexcept nogil:
    cdef V c = larger(splat(y, 0.0) - plain_ceiling(y), negative_magnitude(y))
    return magnitude(complement_below(c, splat(y, 0.0)))
