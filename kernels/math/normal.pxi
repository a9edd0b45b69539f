# What a pair of normal draws is made of (Box & Muller, Annals of Mathematical Statistics 29, 1958): the radius
# sqrt(-2 log u) and the cosine and sine of an angle in turns.

# log(u), 0 < u < 1, relative accuracy up to 1, where the difference from 1 must not be rounded.
cdef inline W log_below_one(W u) noexcept nogil:
    cdef W k = binade(scaled(u, splat(u, 1.4142135623730951)))
    cdef W e = normalised(scaled(u, power_of_two(0.0 - k)) - 1.0)
    return k * constant(k, LN2[0], LN2[1]) + log1p_unit(e)

# sin(2 pi f) and cos(2 pi f), abs(f) <= 1/8.

cdef inline W sine_of_turn(W f) noexcept nogil:
    cdef W t = rough_product(f, f)
    if W is wide_f:
        return f * (TWO_PI[0] + t * rough_polynomial(t, SINE_SHORT))
    else:
        return f * (constant(f, TWO_PI[0], TWO_PI[1]) + rough_product(t, rough_polynomial(t, SINE_LONG)))

cdef inline W cosine_of_turn(W f) noexcept nogil:
    cdef W t = f * f
    cdef W bend = rough_product(t, t)
    if W is wide_f:
        return 1.0 - (t * TWO_PI_SQUARED[0] - bend * rough_polynomial(t, COSINE_SHORT))
    else:
        bend = rough_product(bend, rough_polynomial(t, COSINE_LONG))
        return 1.0 - (t * constant(t, TWO_PI_SQUARED[0], TWO_PI_SQUARED[1]) - bend)
