# Rectifiers with a random draw, which is one more argument; the drivers make it (loops/philox.h).
#
# A uniform draw is centred, u - 1/2; a normal one comes from two of those, a radius and an angle in turns.

cdef inline W normal_radius(W draw) noexcept nogil:
    return square_root(scaled(log_below_one(draw + 0.5), splat(draw, -2.0)))

cdef inline W quarters(W angle) noexcept nogil:
    return nearest_integer(scaled(magnitude(angle), splat(angle, 4.0)))

cdef inline W within_quarter(W angle, W quarter) noexcept nogil:
    return magnitude(angle) - scaled(quarter, splat(angle, 0.25))

cdef inline W normal_cosine(W draw, W angle) noexcept nogil:
    cdef W quarter = quarters(angle)
    cdef W f = within_quarter(angle, quarter)
    cdef W one = splat(quarter, 1.0)
    cdef W cosine = cosine_of_turn(f)
    cosine = where_gt(quarter, one, 0.0 - cosine, cosine)
    return normal_radius(draw) * where_eq(quarter, one, 0.0 - sine_of_turn(f), cosine)

cdef inline W normal_sine(W draw, W angle) noexcept nogil:
    cdef W quarter = quarters(angle)
    cdef W f = within_quarter(angle, quarter)
    cdef W one = splat(quarter, 1.0)
    cdef W sine = sine_of_turn(f)
    sine = where_gt(quarter, one, 0.0 - sine, sine)
    return normal_radius(draw) * turn_sign(where_eq(quarter, one, cosine_of_turn(f), sine), angle)


# One rounding each, so that every backend draws the same bits; the last sum may round past a bound.  Bounds
# outside 0 <= lower <= upper < 1 make the lane NaN.
cdef inline V drawn_slope(V lower, V upper, V draw) noexcept nogil:
    cdef V nan = splat(draw, NAN)
    cdef V slope = (lower + upper) * splat(draw, 0.5) + (upper - lower) * draw
    slope = larger(lower, smaller(upper, slope))
    slope = where_ge(lower, splat(draw, 0.0), where_ge(upper, lower, slope, nan), nan)
    return where_gt(splat(draw, 1.0), upper, slope, nan)

cdef inline V rrelu(V x, V lower, V upper, V draw) noexcept nogil:
    cdef V slope = drawn_slope(lower, upper, draw)
    return where_eq(slope, slope, leaky_relu(x, slope), slope)

cdef inline V rrelu_slope(V x, V lower, V upper, V draw) noexcept nogil:
    cdef V slope = drawn_slope(lower, upper, draw)
    return where_eq(slope, slope, leaky_relu_slope(x, slope), slope)


cdef inline W positive_part(W y) noexcept nogil:
    return where_ge(splat(y, 0.0), y, splat(y, 0.0), y)

cdef inline W positive_part_slope(W y) noexcept nogil:
    return where_positive(y, splat(y, 1.0), where_eq(y, y, splat(y, 0.0), y))

# draw sqrt(s), s = 1 / (1 + exp(-x)) the variance; where exp is cut short, the noise is lost beside x anyway.
cdef inline W with_sigmoid_noise(W x, W draw) noexcept nogil:
    cdef W e = exp_nonpositive(at_most(0.0 - x, splat(x, 40.0)))
    return x + draw / square_root(1.0 + e)

cdef inline W noisy_relu(W x, W draw) noexcept nogil:
    return positive_part(with_sigmoid_noise(x, draw))

cdef inline W noisy_relu_slope(W x, W draw) noexcept nogil:
    return positive_part_slope(with_sigmoid_noise(x, draw))

# A negative variance makes the lane NaN.
cdef inline W with_noise(W x, W variance, W draw) noexcept nogil:
    cdef W y = x + square_root(variance) * draw
    return where_ge(variance, splat(y, 0.0), y, splat(y, NAN))

cdef inline W noisy_relu_of_variance(W x, W variance, W draw) noexcept nogil:
    return positive_part(with_noise(x, variance, draw))

cdef inline W noisy_relu_of_variance_slope(W x, W variance, W draw) noexcept nogil:
    return positive_part_slope(with_noise(x, variance, draw))
