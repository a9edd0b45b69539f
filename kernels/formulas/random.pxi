# Rectifiers with a random draw, which is one more argument; the drivers make it (loops/philox.h).
#
# A uniform draw is centred, u - 1/2; a normal one comes from two of those, a radius and an angle in turns.

cdef inline W normal_radius(W draw) noexcept nogil:
    return square_root(scaled(log_of_uniform(draw), splat(draw, -2.0)))

# abs(angle) is a number of quarters, 0 to 2, and a rest of at most an eighth.
cdef inline W quarters(W angle) noexcept nogil:
    return nearest_integer(scaled(magnitude(angle), splat(angle, 4.0)))

cdef inline W within_quarter(W angle, W quarter) noexcept nogil:
    return rough_sum(magnitude(angle), scaled(quarter, splat(angle, -0.25)))

# The sign that a half turn changes.
cdef inline W half_turn(W y, W quarter, W least) noexcept nogil:
    return turn_sign(y, where_ge(quarter, least, splat(y, -1.0), splat(y, 1.0)))

cdef inline W normal_cosine(W angle) noexcept nogil:
    cdef W quarter = quarters(angle)
    cdef W f = within_quarter(angle, quarter)
    cdef W one = splat(quarter, 1.0)
    return half_turn(where_eq(quarter, one, sine_of_turn(f), cosine_of_turn(f)), quarter, one)

cdef inline W normal_sine(W angle) noexcept nogil:
    cdef W quarter = quarters(angle)
    cdef W f = within_quarter(angle, quarter)
    cdef W size = where_eq(quarter, splat(quarter, 1.0), cosine_of_turn(f), sine_of_turn(f))
    return turn_sign(half_turn(size, quarter, splat(quarter, 2.0)), angle)


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

# The same with sqrt(s) from a table, whose ends are good enough: before the first x outweighs all noise.
cdef inline V with_table_noise(V x, V draw, V high, V low) noexcept nogil:
    cdef V noise = draw * high
    cdef V y = x + noise
    cdef V taken = y - x
    cdef V lost = (x - (y - taken)) + (noise - taken)
    lost = lost + (product_error(draw, high, noise) + draw * low)
    return where_eq(lost, lost, y + lost, y)

cdef inline V noisy_relu_from_sqrt_sigmoid(V x, V draw, V at, V high, V low, V scale) noexcept nogil:
    return relu(with_table_noise(x, draw, high, low))

cdef inline V noisy_relu_slope_from_sqrt_sigmoid(V x, V draw, V at, V high, V low, V scale) noexcept nogil:
    return relu_slope(with_table_noise(x, draw, high, low))

# A negative variance makes the lane NaN.
cdef inline W with_noise(W x, W variance, W draw) noexcept nogil:
    cdef W y = x + square_root(variance) * draw
    return where_ge(variance, splat(y, 0.0), y, splat(y, NAN))

cdef inline W noisy_relu_of_variance(W x, W variance, W draw) noexcept nogil:
    return positive_part(with_noise(x, variance, draw))

cdef inline W noisy_relu_of_variance_slope(W x, W variance, W draw) noexcept nogil:
    return positive_part_slope(with_noise(x, variance, draw))
