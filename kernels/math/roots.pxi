# sqrt(x^2 + b) for b > 0.  In double x^2 would overflow, which a power of two prevents.

cdef inline W root_of_sum(W x, W b) noexcept nogil:
    cdef W exponent, shrink, t
    if W is wide_f:
        return square_root(x * x + b)
    else:
        exponent = where_gt(magnitude(x), splat(x, 1e150), splat(x, 600.0), splat(x, 0.0))
        shrink = power_of_two(0.0 - exponent)
        t = scaled(x, shrink)
        return scaled(square_root(t * t + scaled(scaled(b, shrink), shrink)), power_of_two(exponent))
