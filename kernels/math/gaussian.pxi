# The standard normal distribution's tail, Phi(-z) = exp(-z^2/2) mills(z), z >= 0.
#
# In double lanes mills is a rational function good to 2^-27.3.  The pair takes a polynomial in
# t = (z - c) / (z + c) for (z + d) mills(z), which varies so little about its constant that only the
# first terms need the pair; error below 2^-56.

cdef extern from * nogil:
    """
    static const double SHORT_END = 15.0;  // the rational functions' end: exp(-z^2/2) is 0 in float there
    """
    const double SHORT_END

# Beyond it z Phi(-z) is 0 in either type.
cdef inline W gaussian_end(W z) noexcept nogil:
    return splat(z, 39.5)

# -z^2/2, the argument of every exponential here, z up to gaussian_end.
cdef inline W gaussian_exponent(W z) noexcept nogil:
    return scaled(z * z, splat(z, -0.5))

cdef inline W mills_long(W z) noexcept nogil:
    # normalised, because the series sees the high part only
    cdef W t = normalised((z - MILLS_LONG_C) / (z + MILLS_LONG_C))
    # the next terms in pairs, too: t (c1 + t (c2 + ... + t (c6 + t (...))))
    cdef W f = rough_product(t, rough_polynomial(t, MILLS_LONG_REST))
    f = t * (MILLS_LONG_C4 + t * (MILLS_LONG_C5 + t * (MILLS_LONG_C6 + f)))
    f = t * (MILLS_LONG_C1 + t * (MILLS_LONG_C2 + t * (MILLS_LONG_C3 + f)))
    return (f + constant(z, MILLS_LONG_CONSTANT[0], MILLS_LONG_CONSTANT[1])) / (z + MILLS_LONG_D)

cdef inline W mills(W z) noexcept nogil:
    if W is wide_f:
        z = at_most(z, splat(z, SHORT_END))
        return rough_polynomial(z, MILLS_SHORT_N) / rough_polynomial(z, MILLS_SHORT_D)
    else:
        return mills_long(z)

# mills(z) - z / sqrt(2 pi), relative accuracy through its root in double lanes, absolute in the pair.
cdef inline W gelu_slope_factor(W z) noexcept nogil:
    if W is wide_f:
        z = at_most(z, splat(z, SHORT_END))
        return (GELU_ROOT[0] - z) * (
            rough_polynomial(z, GELU_SLOPE_SHORT_N) / rough_polynomial(z, GELU_SLOPE_SHORT_D))
    else:
        return mills_long(z) - z * constant(z, INV_SQRT_2PI[0], INV_SQRT_2PI[1])

# Beyond the fits by the asymptotic series in 1/z^2 (Abramowitz & Stegun 26.2.12): what a large factor needs.
cdef inline W mills_far(W z) noexcept nogil:
    cdef W u = 1.0 / (z * z)
    cdef W series = 1.0 + rough_product(u, rough_polynomial(u, MILLS_FAR))
    return constant(z, INV_SQRT_2PI[0], INV_SQRT_2PI[1]) / z * series

cdef inline W mills_end(W z) noexcept nogil:
    if W is wide_f:
        return splat(z, 14.5)
    else:
        return splat(z, 39.5)

cdef inline W mills_anywhere(W z) noexcept nogil:
    return where_gt(z, mills_end(z), mills_far(z), mills(z))

cdef inline W gelu_slope_factor_anywhere(W z) noexcept nogil:
    cdef W far = mills_far(z) - z * constant(z, INV_SQRT_2PI[0], INV_SQRT_2PI[1])
    return where_gt(z, mills_end(z), far, gelu_slope_factor(z))
