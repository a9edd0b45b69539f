# Gated units in plain arithmetic (math/plain.pxi).  All stand on e = exp(-abs(gate)) = 2^k p, so that both
# gradients have their exponential and their sigmoid in common.

cdef inline V fast_exponent(V gate) noexcept nogil:
    return nearest_exponent(larger(plain_abyss(gate), negative_magnitude(gate)))

cdef inline V fast_excess(V gate) noexcept nogil:
    return plain_excess(larger(plain_abyss(gate), negative_magnitude(gate)), fast_exponent(gate))

# 1 / (1 + e)
cdef inline V fast_inverse(V gate) noexcept nogil:
    cdef V one = splat(gate, 1.0)
    return one / multiply_add(plain_power(fast_exponent(gate)), one + fast_excess(gate), one)

# sigmoid(gate) but for the power of two with fast_tail(gate).
cdef inline V fast_share(V gate) noexcept nogil:
    cdef V one = splat(gate, 1.0)
    return where_positive(gate, one, one + fast_excess(gate)) * fast_inverse(gate)

cdef inline V fast_tail(V gate) noexcept nogil:
    return where_positive(gate, splat(gate, 0.0), fast_exponent(gate))

# value factor 2^k: the power in two parts, or a large value would overflow before the second.
cdef inline V fast_product(V value, V factor, V k) noexcept nogil:
    cdef V first = plain_head(k)
    return times_power_of_two(value * times_power_of_two(factor, first), k - first)

# A gate that is not so low that its products would overflow.
cdef inline V fast_gate(V gate) noexcept nogil:
    return larger(splat(gate, -2000.0), gate)

# A gate at minus infinity is shut; an infinite value finds NaN there.
cdef inline V unless_shut(V gate, V shut, V y) noexcept nogil:
    return where_eq(gate, splat(gate, -INFINITY), shut, y)


cdef inline V glu_fast(V value, V gate) noexcept nogil:
    cdef V y = fast_product(value, fast_share(gate), fast_tail(gate))
    return unless_shut(gate, value * splat(value, 0.0), y)

cdef inline V glu_value_slope_fast(V value, V gate) noexcept nogil:
    return times_small_power(fast_share(gate), fast_tail(gate))

cdef inline V fast_square(V gate) noexcept nogil:
    cdef V power = plain_power(fast_exponent(gate))
    return square_above(multiply_add(power, fast_excess(gate), power))

cdef inline V glu_gate_slope_fast(V value, V gate) noexcept nogil:
    cdef V share = (splat(gate, 1.0) + fast_excess(gate)) / fast_square(gate)
    cdef V y = fast_product(value, share, fast_exponent(gate))
    return where_eq(magnitude(gate), splat(gate, INFINITY), value * splat(value, 0.0), y)


cdef inline V swiglu_fast(V value, V gate) noexcept nogil:
    cdef V y = fast_product(value, fast_gate(gate) * fast_share(gate), fast_tail(gate))
    return unless_shut(gate, value * splat(value, -0.0), beside_zero(value, gate, y))

cdef inline V swiglu_value_slope_fast(V value, V gate) noexcept nogil:
    cdef V y = times_small_power(fast_gate(gate) * fast_share(gate), fast_tail(gate))
    return unless_shut(gate, splat(gate, -0.0), y)

# Of a negative gate e (e + 1 - z) / (1 + e)^2, of a positive one 1 less that.
cdef inline V swiglu_gate_slope_fast(V value, V gate) noexcept nogil:
    cdef V k = fast_exponent(gate)
    cdef V c = larger(plain_abyss(gate), negative_magnitude(gate))
    cdef V t = fast_excess(gate)
    cdef V factor = (splat(gate, 1.0) + c) + multiply_add(plain_power(k), t, plain_power(k))
    cdef V below = multiply_add(factor, t, factor) / fast_square(gate)
    cdef V above = splat(gate, 1.0) - below * plain_power(k)
    cdef V y = fast_product(value, where_positive(gate, above, below), fast_tail(gate))
    return unless_shut(gate, value * splat(value, -0.0), y)
