# Gated units value * f(gate): the product is taken before anything is rounded, and its tail is restored after
# it, so that a large value finds what is left of f far down.  At minus infinity f is 0 and the gate shut.

# A gate of 0 or less is shut, even for an infinite value.
cdef inline V reglu(V value, V gate) noexcept nogil:
    return where_positive(gate, value, bounded(value)) * relu(gate)

cdef inline V reglu_value_slope(V value, V gate) noexcept nogil:
    return relu(gate)

cdef inline V reglu_gate_slope(V value, V gate) noexcept nogil:
    return where_eq(value, value, where_positive(gate, value, zero_unless_nan(gate)), value)


cdef inline V glu_position(V value, V gate) noexcept nogil:
    return gate

cdef inline W glu(W value, W gate) noexcept nogil:
    cdef W a = tail_within_reach(gate)
    cdef W e = exp_nonpositive(negative_magnitude(a))
    cdef W share = where_positive(gate, splat(gate, 1.0), e) / (1.0 + e)
    cdef W y = product_with_tail(value_within_reach(value, gate), share, a)
    return where_eq(gate, splat(gate, -INFINITY), value * splat(value, 0.0), y)

cdef inline V glu_from_sigmoid(V value, V gate, V at, V high, V low, V scale) noexcept nogil:
    return times_sum(value, high, low, scale)

cdef inline W glu_value_slope(W value, W gate) noexcept nogil:
    return sigmoid(gate)

# Both slopes stand on one entry, s = sigmoid(-abs(gate)), and on 1 - s, what rounding has lost of it beside.
cdef inline V glu_value_slope_position(V value, V gate) noexcept nogil:
    return negative_magnitude(gate)

cdef inline V glu_gate_slope_position(V value, V gate) noexcept nogil:
    return negative_magnitude(gate)

cdef inline V rest_of_sigmoid(V high, V low, V scale) noexcept nogil:
    return splat(high, 1.0) - (high + low) * scale

cdef inline V rest_of_sigmoid_lost(V high, V low, V scale) noexcept nogil:
    cdef V s = high + low
    cdef V rest = splat(high, 1.0) - s * scale
    return ((splat(high, 1.0) - rest) - s * scale) - short_sum_error(high, low, s) * scale

cdef inline V glu_value_slope_from_sigmoid(V value, V gate, V at, V high, V low, V scale) noexcept nogil:
    cdef V above = rest_of_sigmoid(high, low, scale) + rest_of_sigmoid_lost(high, low, scale)
    return where_positive(gate, above, entry_sum(high, low, scale))

# s (1 - s) but for the scale.
cdef inline V sigmoid_product(V high, V low, V scale) noexcept nogil:
    return (high + low) * rest_of_sigmoid(high, low, scale)

cdef inline V sigmoid_product_lost(V high, V low, V scale) noexcept nogil:
    cdef V s = high + low
    cdef V rest = rest_of_sigmoid(high, low, scale)
    cdef V lost = fused(s, rest_of_sigmoid_lost(high, low, scale), short_sum_error(high, low, s) * rest)
    return product_error(s, rest, s * rest) + lost

cdef inline W glu_gate_slope(W value, W gate) noexcept nogil:
    cdef W z = negative_magnitude(gate)
    cdef W a = tail_within_reach(z)
    cdef W e = exp_nonpositive(a)
    cdef W d = 1.0 + e
    cdef W y = product_with_tail(value_within_reach(value, z), e / (d * d), a)
    return where_eq(z, splat(z, -INFINITY), value * splat(value, 0.0), y)

cdef inline V glu_gate_slope_from_sigmoid(V value, V gate, V at, V high, V low, V scale) noexcept nogil:
    return times_sum(value, sigmoid_product(high, low, scale), sigmoid_product_lost(high, low, scale), scale)


cdef inline V geglu_position(V value, V gate) noexcept nogil:
    return gate

# As gelu, further out.
cdef inline W geglu(W value, W gate) noexcept nogil:
    cdef W z = magnitude(gate)
    cdef W c = at_most(z, splat(z, 54.5))
    cdef W exponent = gaussian_exponent(c)
    cdef W below = c * (exp_nonpositive(tail_within_reach(exponent)) * mills_anywhere(c))
    cdef W unit = where_positive(gate, z - below, below)
    cdef W a = where_positive(gate, splat(gate, 0.0), exponent)
    cdef W y = product_with_tail(value_within_reach(value, a), turn_sign(unit, gate), tail_within_reach(a))
    y = beside_zero(value, gate, y)
    return where_eq(gate, splat(gate, -INFINITY), value * splat(value, -0.0), y)

cdef inline V geglu_from_normal(V value, V gate, V at, V high, V low, V scale) noexcept nogil:
    return times_entry_product(value, gate, high, low, scale)

cdef inline W geglu_value_slope(W value, W gate) noexcept nogil:
    return gelu(gate)

cdef inline V geglu_value_slope_from_normal(V value, V gate, V at, V high, V low, V scale) noexcept nogil:
    return entry_product(gate, high, low, scale)

cdef inline W geglu_gate_slope(W value, W gate) noexcept nogil:
    cdef W c = at_most(magnitude(gate), splat(gate, 54.5))
    cdef W exponent = gaussian_exponent(c)
    cdef W below = exp_nonpositive(tail_within_reach(exponent)) * gelu_slope_factor_anywhere(c)
    cdef W slope = where_positive(gate, 1.0 - below, below)
    cdef W a = where_positive(gate, splat(gate, 0.0), exponent)
    cdef W y = product_with_tail(value_within_reach(value, a), slope, tail_within_reach(a))
    return where_eq(gate, splat(gate, -INFINITY), value * splat(value, -0.0), y)

cdef inline V geglu_gate_slope_from_gelu_slope(V value, V gate, V at, V high, V low, V scale) noexcept nogil:
    return times_near_root(value, gate, splat(gate, 0.0), GELU_SLOPE_NEAR, high, low, scale)


cdef inline V swiglu_position(V value, V gate) noexcept nogil:
    return gate

cdef inline W swiglu(W value, W gate) noexcept nogil:
    cdef W a = tail_within_reach(gate)
    cdef W e = exp_nonpositive(negative_magnitude(a))
    cdef W share = where_positive(gate, splat(gate, 1.0), e) / (1.0 + e)
    cdef W unit = at_least(gate, splat(gate, -2000.0)) * share
    cdef W y = beside_zero(value, gate, product_with_tail(value_within_reach(value, gate), unit, a))
    # where NaN meets NaN of another sign, the compiler's order of a product would decide
    y = where_eq(value, value, where_eq(gate, gate, y, gate), value)
    return where_eq(gate, splat(gate, -INFINITY), value * splat(value, -0.0), y)

cdef inline V swiglu_from_sigmoid(V value, V gate, V at, V high, V low, V scale) noexcept nogil:
    return times_entry_product(value, gate, high, low, scale)

cdef inline W swiglu_value_slope(W value, W gate) noexcept nogil:
    return silu(gate, splat(gate, 1.0))

cdef inline V swiglu_value_slope_position(V value, V gate) noexcept nogil:
    return negative_magnitude(gate)

cdef inline V swiglu_gate_slope_position(V value, V gate) noexcept nogil:
    return negative_magnitude(gate)

# sigmoid(gate), whose entry has no scale for a positive gate.
cdef inline V share_high(V gate, V high, V low, V scale) noexcept nogil:
    return where_positive(gate, rest_of_sigmoid(high, low, scale), high + low)

cdef inline V share_low(V gate, V high, V low, V scale) noexcept nogil:
    return where_positive(gate, rest_of_sigmoid_lost(high, low, scale), short_sum_error(high, low, high + low))

cdef inline V share_scale(V gate, V scale) noexcept nogil:
    return where_positive(gate, splat(gate, 1.0), scale)

cdef inline V swiglu_value_slope_from_sigmoid(V value, V gate, V at, V high, V low, V scale) noexcept nogil:
    cdef V share = share_high(gate, high, low, scale)
    return entry_product(gate, share, share_low(gate, high, low, scale), share_scale(gate, scale))

cdef inline W swiglu_gate_slope(W value, W gate) noexcept nogil:
    cdef W a = tail_within_reach(gate)
    cdef W z = at_most(magnitude(gate), splat(gate, 2000.0))
    cdef W e = exp_nonpositive_full(negative_magnitude(a))
    cdef W d = 1.0 + e
    cdef W slope = where_positive(gate, d + z * e, e * (d - z)) / (d * d)
    cdef W y = product_with_tail(value_within_reach(value, gate), slope, a)
    return where_eq(gate, splat(gate, -INFINITY), value * splat(value, -0.0), y)

# sigmoid(gate) + gate s (1 - s)
cdef inline V swiglu_gate_slope_from_sigmoid(V value, V gate, V at, V high, V low, V scale) noexcept nogil:
    cdef V inner = where_positive(gate, scale, splat(gate, 1.0))
    cdef V s = sigmoid_product(high, low, scale) * inner
    cdef V bend = gate * s
    cdef V bend_lost = fused(gate, sigmoid_product_lost(high, low, scale) * inner, product_error(gate, s, bend))
    cdef V share = share_high(gate, high, low, scale)
    cdef V total = share + bend
    cdef V lost = sum_error(share, bend, total) + (share_low(gate, high, low, scale) + bend_lost)
    return times_near_root(value, gate, splat(gate, 0.0), SILU_SLOPE_NEAR, total, lost, share_scale(gate, scale))
