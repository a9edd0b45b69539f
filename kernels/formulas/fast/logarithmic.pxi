# Logit, and the derivatives beside it, by the formulas of formulas/logarithmic.pxi with fewer low parts.

cdef inline V logit_fast(V x, V eps) noexcept nogil:
    cdef V c = larger(eps, logit_side(x))
    cdef V raised = lifted(c)
    cdef V k = where_gt(raised, splat(x, 0.3333333333333333), splat(x, 0.0), binade(raised) + splat(x, 1.0))
    cdef V m = raised * power_of_two(splat(x, 0.0) - k)
    cdef V rest = splat(x, 1.0) - c
    cdef V lost = (splat(x, 1.0) - rest) - c
    cdef V y = plain_log_of_ratio(k - lift(c), ((m - rest) - lost) / (m + rest))
    return if_a_margin(eps, turn_sign(on_positive(c, splat(x, -INFINITY), y), splat(x, 0.5) - x))

cdef inline V logit_slope_fast(V x, V eps) noexcept nogil:
    cdef V c = logit_side(x)
    cdef V zero = splat(x, 0.0)
    return where_clamped(x, c, eps, zero, zero, magnitude(splat(x, 1.0) / (c * (splat(x, 1.0) - c))))

cdef inline V logit_slope_at_default_fast(V x, V eps) noexcept nogil:
    cdef V c = smaller(splat(x, 1.0) - x, x)
    return where_gt(splat(x, 0.0), c, splat(x, NAN), magnitude(splat(x, 1.0) / fused(splat(x, 0.0) - c, c, c)))

cdef inline V log1mexp_slope_fast(V x) noexcept nogil:
    cdef V c = larger(plain_floor(x), negative_magnitude(x))
    cdef V k = nearest_exponent(c)
    cdef V t = plain_excess(c, k)
    cdef V power = plain_power(k)
    cdef V n = (splat(x, 1.0) - power) - power * t
    return on_positive(x, splat(x, INFINITY), times_power_of_two((splat(x, 1.0) + t) / n, k))

cdef inline V softplus_inverse_slope_fast(V x) noexcept nogil:
    cdef V n = magnitude(plain_expm1(negative_magnitude(x)))
    return on_positive(x, splat(x, INFINITY), splat(x, 1.0) / n)
