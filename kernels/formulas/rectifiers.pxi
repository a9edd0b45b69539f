# Piecewise linear: exact, or one rounding.

cdef inline V zero_unless_nan(V x) noexcept nogil:
    return where_eq(x, x, splat(x, 0.0), x)

# slope * x for x <= 0, and its limit 0 for a slope of 0 at minus infinity.
cdef inline V leak(V slope, V x) noexcept nogil:
    cdef V finite = where_gt(splat(x, 0.0), x, splat(x, -1.0), x)
    return slope * where_eq(slope, splat(x, 0.0), finite, x)


cdef inline N relu(N x) noexcept nogil:
    return where_ge(splat(x, 0.0), x, splat(x, 0.0), x)

cdef inline V relu_slope(V x) noexcept nogil:
    return where_gt(x, splat(x, 0.0), splat(x, 1.0), zero_unless_nan(x))

cdef inline V relu_slope_from_y(V y) noexcept nogil:
    return relu_slope(y)


cdef inline V heaviside(V x, V at_zero) noexcept nogil:
    return where_eq(x, splat(x, 0.0), at_zero, relu_slope(x))

cdef inline V heaviside_slope(V x, V at_zero) noexcept nogil:
    return zero_unless_nan(x)

cdef inline V heaviside_wrt_at_zero(V x, V at_zero) noexcept nogil:
    return where_eq(x, splat(x, 0.0), splat(x, 1.0), zero_unless_nan(x))


cdef inline V leaky_relu(V x, V negative_slope) noexcept nogil:
    return where_gt(x, splat(x, 0.0), x, leak(negative_slope, x))

cdef inline V leaky_relu_slope(V x, V negative_slope) noexcept nogil:
    return where_gt(x, splat(x, 0.0), splat(x, 1.0), where_eq(x, x, negative_slope, x))

# y and x have the same sign, unless the slope is negative.
cdef inline V leaky_relu_slope_from_y(V y, V negative_slope) noexcept nogil:
    return where_ge(negative_slope, splat(y, 0.0), leaky_relu_slope(y, negative_slope), splat(y, NAN))

cdef inline V leaky_relu_wrt_negative_slope(V x, V negative_slope) noexcept nogil:
    return where_gt(x, splat(x, 0.0), splat(x, 0.0), x)


cdef inline V prelu(V x, V weight) noexcept nogil:
    return leaky_relu(x, weight)

cdef inline V prelu_slope(V x, V weight) noexcept nogil:
    return leaky_relu_slope(x, weight)

cdef inline V prelu_slope_from_y(V y, V weight) noexcept nogil:
    return leaky_relu_slope_from_y(y, weight)

cdef inline V prelu_wrt_weight(V x, V weight) noexcept nogil:
    return leaky_relu_wrt_negative_slope(x, weight)
