# Normal draws and what noisy_relu makes of them in one register (half/gated.pxi, formulas/random.pxi).

# log(1/2 + c) as in math/normal.pxi: e is exact.
cdef inline V half_log_of_uniform(V c) noexcept nogil:
    cdef V k = binade((c + splat(c, 0.5)) * splat(c, 1.4142135))
    cdef V scale = power_of_two(splat(k, 0.0) - k)
    cdef V e = c * scale + (scale * splat(c, 0.5) - splat(c, 1.0))
    return plain_log_of_ratio(k, e / (e + splat(e, 2.0)))

cdef inline V normal_radius_half(V draw) noexcept nogil:
    return square_root(splat(draw, -2.0) * half_log_of_uniform(draw))

cdef inline V half_quarters(V angle) noexcept nogil:
    return nearest_integer(magnitude(angle), splat(angle, 4.0))

cdef inline V half_within_quarter(V angle, V quarter) noexcept nogil:
    return magnitude(angle) - quarter * splat(angle, 0.25)

cdef inline V half_sine(V f) noexcept nogil:
    return f * multiply_add(f * f, polynomial(f * f, SINE_SHORT), splat(f, TWO_PI[0]))

cdef inline V half_cosine(V f) noexcept nogil:
    cdef V t = f * f
    cdef V bend = multiply_add(t, polynomial(t, COSINE_SHORT), splat(t, -TWO_PI_SQUARED[0]))
    return multiply_add(t, bend, splat(t, 1.0))

cdef inline V half_turned(V y, V quarter, V least) noexcept nogil:
    return turn_sign(y, where_ge(quarter, least, splat(y, -1.0), splat(y, 1.0)))

cdef inline V normal_cosine_half(V angle) noexcept nogil:
    cdef V quarter = half_quarters(angle)
    cdef V f = half_within_quarter(angle, quarter)
    cdef V one = splat(quarter, 1.0)
    return half_turned(where_eq(quarter, one, half_sine(f), half_cosine(f)), quarter, one)

cdef inline V normal_sine_half(V angle) noexcept nogil:
    cdef V quarter = half_quarters(angle)
    cdef V f = half_within_quarter(angle, quarter)
    cdef V size = where_eq(quarter, splat(quarter, 1.0), half_cosine(f), half_sine(f))
    return turn_sign(half_turned(size, quarter, splat(quarter, 2.0)), angle)


cdef inline V half_with_sigmoid_noise(V x, V draw) noexcept nogil:
    cdef V c = clamped(splat(x, 0.0) - x, plain_floor(x), splat(x, 40.0))
    cdef V k = nearest_exponent(c)
    return x + draw / square_root(multiply_add(plain_power(k), plain_mantissa(c, k), splat(x, 1.0)))

cdef inline V noisy_relu_half(V x, V draw) noexcept nogil:
    return relu(half_with_sigmoid_noise(x, draw))

cdef inline V noisy_relu_slope_half(V x, V draw) noexcept nogil:
    return relu_slope(half_with_sigmoid_noise(x, draw))

cdef inline V half_with_noise(V x, V variance, V draw) noexcept nogil:
    cdef V y = multiply_add(square_root(variance), draw, x)
    return where_ge(variance, splat(y, 0.0), y, splat(y, NAN))

cdef inline V noisy_relu_of_variance_half(V x, V variance, V draw) noexcept nogil:
    return relu(half_with_noise(x, variance, draw))

cdef inline V noisy_relu_of_variance_slope_half(V x, V variance, V draw) noexcept nogil:
    return relu_slope(half_with_noise(x, variance, draw))
