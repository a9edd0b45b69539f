# The Gaussian error linear unit for 16-bit types: by a polynomial in 1 / (z + c), which needs no division.

# Beyond it exp(-z^2/2) is 0.
cdef inline V short_end(V z) noexcept nogil:
    return smaller(splat(z, SHORT_END), z)

cdef inline V gelu_short(V x) noexcept nogil:
    cdef V z = magnitude(x)
    cdef V c = short_end(z)
    cdef V u = rough_inverse(c + splat(z, MILLS_HALF_C))
    cdef V below = (c * short_tail(c)) * (u * polynomial(u, MILLS_HALF))
    return turn_sign(where_positive(x, z - below, below), x)

cdef inline V gelu_slope_short(V x) noexcept nogil:
    cdef V c = short_end(magnitude(x))
    cdef V u = rough_inverse(c + splat(x, MILLS_HALF_C))
    cdef V below = short_tail(c) * ((splat(x, GELU_ROOT[0]) - c) * polynomial(u, GELU_SLOPE_HALF))
    return where_positive(x, splat(x, 1.0) - below, below)


# As the wide formulas, on an exponential of all of float's digits.
cdef inline V short_full_exp(V a) noexcept nogil:
    cdef V c = larger(plain_floor(a), a)
    cdef V k = nearest_exponent(c)
    return times_power_of_two(plain_mantissa(c, k), k)

cdef inline V short_cubic(V z) noexcept nogil:
    return z * z * splat(z, GELU_TANH_CUBIC[0])

cdef inline V short_gate(V z) noexcept nogil:
    return short_full_exp(negative_magnitude(z * (splat(z, TWO_SQRT_2_OVER_PI[0]) + short_cubic(z))))

cdef inline V gelu_tanh_short(V x) noexcept nogil:
    cdef V z = magnitude(x)
    cdef V c = smaller(splat(z, 25.0), z)
    cdef V e = short_gate(c)
    cdef V d = splat(x, 1.0) + e
    return turn_sign(where_positive(x, z / d, c * e / d), x)

cdef inline V gelu_tanh_slope_short(V x) noexcept nogil:
    cdef V z = smaller(splat(x, 25.0), magnitude(x))
    cdef V growth = z * (splat(x, TWO_SQRT_2_OVER_PI[0]) + short_cubic(z) * splat(x, 3.0))
    cdef V e = short_gate(z)
    cdef V d = splat(x, 1.0) + e
    return where_positive(x, d + growth * e, e * (d - growth)) / (d * d)
