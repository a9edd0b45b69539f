# logaddexp in one register (half/gated.pxi).

cdef inline V logaddexp_half(V x1, V x2) noexcept nogil:
    cdef V above = where_gt(x2, x1, x2, x1)
    cdef V apart = negative_magnitude(x1 - x2)
    cdef V c = larger(plain_floor(apart), apart)
    cdef V k = nearest_exponent(c)
    cdef V bend = times_power_of_two(plain_log1p(plain_mantissa(c, k), plain_power(k)), k)
    return where_eq(x1, x2, x1 + splat(x1, LN2[0]), above + bend)

# sigmoid_fast(x1 - x2), with what the difference has lost.
cdef inline V logaddexp_slope_half(V x1, V x2) noexcept nogil:
    cdef V d = x1 - x2
    cdef V c = clamped(d, plain_floor(d), plain_ceiling(d))
    cdef V k = nearest_exponent(c)
    cdef V lost = where_eq(d, c, sum_error(x1, splat(x2, 0.0) - x2, d), splat(d, 0.0))
    cdef V p = splat(d, 1.0) + plain_expm1_remainder(plain_remainder(c, k) + lost)
    cdef V share = times_power_of_two(p / multiply_add(plain_power(k), p, splat(d, 1.0)), k)
    cdef V nothing = where_eq(x2, x2, splat(x1, 0.0), x2)
    return where_eq(x1, splat(x1, -INFINITY), nothing, share)
