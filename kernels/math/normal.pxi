# What a pair of normal draws is made of (Box & Muller, Annals of Mathematical Statistics 29, 1958): the radius
# sqrt(-2 log u) and the cosine and sine of an angle in turns.

# log(1/2 + c) for a uniform draw c = n 2^-25 (float) or n 2^-54 (double), n odd: 2^k (1 + e) with e near 0 and
# exact in one part, for c 2^-k is, and 2^(-k - 1) - 1, and so is their sum, of at most as many bits as c.
cdef inline W log_of_uniform(W c) noexcept nogil:
    cdef W k = binade(rough_product(rough_sum(c, splat(c, 0.5)), splat(c, 1.4142135623730951)))
    cdef W scale = power_of_two(scaled(k, splat(k, -1.0)))
    cdef W shift = rough_sum(rough_product(scale, splat(k, 0.5)), splat(k, -1.0))
    cdef W e = rough_sum(rough_product(c, scale), shift)
    return k * constant(k, LN2[0], LN2[1]) + log1p_unit(e)

# sin(2 pi f) and cos(2 pi f), abs(f) <= 1/8, f in one part.

cdef inline W sine_of_turn(W f) noexcept nogil:
    cdef W t = rough_product(f, f)
    if W is wide_f:
        return f * (TWO_PI[0] + t * rough_polynomial(t, SINE_SHORT))
    else:
        return f * attached(constant(f, TWO_PI[0], TWO_PI[1]), rough_product(t, rough_polynomial(t, SINE_LONG)))

cdef inline W cosine_of_turn(W f) noexcept nogil:
    cdef W t = f * f
    cdef W bend = rough_product(t, t)
    if W is wide_f:
        return 1.0 - (t * TWO_PI_SQUARED[0] - bend * rough_polynomial(t, COSINE_SHORT))
    else:
        bend = rough_product(bend, rough_polynomial(t, COSINE_LONG))
        t = t * constant(t, -TWO_PI_SQUARED[0], -TWO_PI_SQUARED[1])
        return 1.0 + attached(t, bend)
