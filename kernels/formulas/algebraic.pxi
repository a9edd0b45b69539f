# Sums, quotients and square roots only: softsign and squareplus.

# abs(x), but no larger than what 1 + abs(x) may be without overflow of its square.
cdef inline W bounded_magnitude(W x) noexcept nogil:
    return at_most(magnitude(x), splat(x, 1e300))

cdef inline W softsign(W x) noexcept nogil:
    cdef W z = bounded_magnitude(x)
    return turn_sign(z / (1.0 + z), x)

cdef inline W softsign_slope(W x) noexcept nogil:
    cdef W share = 1.0 / (1.0 + magnitude(x))
    # the square of what is tiny meets the subnormals once
    cdef W tiny = where_gt(splat(x, 1e-100), share, splat(x, 300.0), splat(x, 0.0))
    cdef W large = scaled(share, power_of_two(tiny))
    cdef W small = power_of_two(0.0 - tiny)
    return scaled(scaled(settled(large * large), small), small)

cdef inline W softsign_slope_from_y(W y) noexcept nogil:
    cdef W rest = 1.0 - magnitude(y)
    return rest * rest


# With r = sqrt(x^2 + b) and h = (abs(x) + r) / 2, f is h above 0 and b / (4 h) below.
cdef inline W squareplus_mean(W x, W root) noexcept nogil:
    return scaled(magnitude(x), splat(x, 0.5)) + scaled(root, splat(x, 0.5))

cdef inline W squareplus(W x, W b) noexcept nogil:
    cdef W h = squareplus_mean(x, root_of_sum(x, b))
    return if_positive_and_finite(b, where_positive(x, h, scaled(b, splat(x, 0.25)) / h))

cdef inline W squareplus_slope(W x, W b) noexcept nogil:
    cdef W root = root_of_sum(x, b)
    cdef W h = squareplus_mean(x, root)
    cdef W y = where_positive(x, h, scaled(b, splat(x, 0.25)) / h) / root
    y = where_eq(magnitude(x), splat(x, INFINITY), where_positive(x, splat(x, 1.0), splat(x, 0.0)), y)
    return if_positive_and_finite(b, y)

# (x + r) / 2 = y and (r - x) / 2 = b / (4 y).
cdef inline W squareplus_slope_from_y(W y, W b) noexcept nogil:
    cdef W share = y / (y + scaled(b, splat(y, 0.25)) / y)
    return if_positive_and_finite(b, where_eq(y, splat(y, INFINITY), splat(y, 1.0), share))

cdef inline W squareplus_wrt_b(W x, W b) noexcept nogil:
    return if_positive_and_finite(b, splat(x, 0.25) / root_of_sum(x, b))
