# Logit's derivative and logarithms of exponentials for 16-bit types.

cdef inline V logit_slope_short(V x, V eps) noexcept nogil:
    cdef V c = logit_side(x)
    cdef V zero = splat(x, 0.0)
    return where_clamped(x, c, eps, zero, zero, magnitude(rough_inverse(c * (splat(x, 1.0) - c))))

# log(w); beside 1 by w - 1, which is given.
cdef inline V short_log(V w, V beyond_one) noexcept nogil:
    cdef V raised = lifted(w)
    cdef V k = binade(raised * splat(w, 1.5))
    cdef V d = raised * power_of_two(splat(w, 0.0) - k) - splat(w, 1.0)
    d = where_eq(k, lift(w), beyond_one, d)
    return multiply_add(k - lift(w), splat(w, LN2[0]), d * polynomial(d, LOG_HALF))

# log(exp(x) - 1), and x beyond where that counts.
cdef inline V softplus_inverse_short(V x) noexcept nogil:
    cdef V c = smaller(splat(x, 20.0), x)
    cdef V k = nearest_exponent(c)
    cdef V power = power_of_two(k)
    cdef V w = multiply_add(power, plain_excess(c, k), power - splat(x, 1.0))
    return on_positive(x, splat(x, -INFINITY), short_log(w, w - splat(x, 1.0)) + (x - c))

# log(1 - e), e = exp(-x)
cdef inline V log1mexp_short(V x) noexcept nogil:
    cdef V c = larger(plain_floor(x), negative_magnitude(x))
    cdef V k = nearest_exponent(c)
    cdef V t = plain_excess(c, k)
    cdef V n = (splat(x, 1.0) - plain_power(k)) - plain_power(k) * t
    cdef V minus_e = times_power_of_two(splat(x, -1.0) - t, k)
    return on_positive(x, splat(x, -INFINITY), turn_sign(magnitude(short_log(n, minus_e)), splat(x, -1.0)))
