# Rectifiers of several pieces.  Those of straight lines through the origin or of whole numbers are exact or
# round once; where a piece has more than one operation it is computed wide.

cdef inline N relu6(N x) noexcept nogil:
    cdef N y = where_ge(x, splat(x, 6.0), splat(x, 6.0), x)
    return where_ge(splat(x, 0.0), y, splat(x, 0.0), y)

cdef inline V relu6_slope(V x) noexcept nogil:
    return where_gt(x, splat(x, 6.0), splat(x, 0.0), relu_slope(x))


cdef inline V if_ordered(V low, V high, V y) noexcept nogil:
    return where_ge(high, low, y, splat(y, NAN))

cdef inline V hardtanh(V x, V min_val, V max_val) noexcept nogil:
    cdef V y = where_ge(x, max_val, max_val, x)
    return if_ordered(min_val, max_val, where_ge(min_val, y, min_val, y))

cdef inline V hardtanh_slope(V x, V min_val, V max_val) noexcept nogil:
    cdef V above = where_gt(x, max_val, splat(x, 0.0), splat(x, 1.0))
    return if_ordered(min_val, max_val, where_gt(x, min_val, above, zero_unless_nan(x)))

cdef inline V hardtanh_wrt_min_val(V x, V min_val, V max_val) noexcept nogil:
    cdef V y = where_ge(min_val, x, splat(x, 1.0), zero_unless_nan(x))
    return if_ordered(min_val, max_val, y)

cdef inline V hardtanh_wrt_max_val(V x, V min_val, V max_val) noexcept nogil:
    cdef V y = where_gt(x, min_val, where_gt(x, max_val, splat(x, 1.0), splat(x, 0.0)), zero_unless_nan(x))
    return if_ordered(min_val, max_val, y)


# NaN in x or in the threshold is neither above nor below.
cdef inline V above_or_not(V x, V threshold, V above, V otherwise) noexcept nogil:
    return where_gt(x, threshold, above, where_ge(threshold, x, otherwise, x + threshold))

cdef inline V threshold(V x, V threshold, V value) noexcept nogil:
    return above_or_not(x, threshold, x, value)

cdef inline V threshold_slope(V x, V threshold, V value) noexcept nogil:
    return above_or_not(x, threshold, splat(x, 1.0), splat(x, 0.0))

cdef inline V threshold_wrt_threshold(V x, V threshold, V value) noexcept nogil:
    return above_or_not(x, threshold, splat(x, 0.0), splat(x, 0.0))

cdef inline V threshold_wrt_value(V x, V threshold, V value) noexcept nogil:
    return above_or_not(x, threshold, splat(x, 0.0), splat(x, 1.0))


cdef inline V if_not_negative(V parameter, V y) noexcept nogil:
    return where_ge(parameter, splat(y, 0.0), y, splat(y, NAN))

# Above lambd, not above -lambd, between them, or NaN.
cdef inline V beyond(V x, V lambd, V above, V below, V between) noexcept nogil:
    cdef V minus_lambd = splat(x, 0.0) - lambd
    cdef V y = where_gt(x, minus_lambd, where_gt(x, lambd, above, between), where_eq(x, x, below, x))
    return if_not_negative(lambd, y)

cdef inline V hardshrink(V x, V lambd) noexcept nogil:
    cdef V zero = turn_sign(splat(x, 0.0), x)
    return if_not_negative(lambd, where_ge(lambd, magnitude(x), zero, x))

cdef inline V hardshrink_slope(V x, V lambd) noexcept nogil:
    return beyond(x, lambd, splat(x, 1.0), splat(x, 1.0), splat(x, 0.0))

cdef inline V hardshrink_wrt_lambd(V x, V lambd) noexcept nogil:
    return if_not_negative(lambd, zero_unless_nan(x))

cdef inline V softshrink(V x, V lambd) noexcept nogil:
    cdef V inside = turn_sign(splat(x, 0.0), x)
    cdef V outside = turn_sign(magnitude(x) - lambd, x)
    return if_not_negative(lambd, where_ge(lambd, magnitude(x), inside, outside))

cdef inline V softshrink_slope(V x, V lambd) noexcept nogil:
    return hardshrink_slope(x, lambd)

cdef inline V softshrink_wrt_lambd(V x, V lambd) noexcept nogil:
    return beyond(x, lambd, splat(x, -1.0), splat(x, 1.0), splat(x, 0.0))


cdef inline V relu_squared(V x) noexcept nogil:
    return where_gt(x, splat(x, 0.0), x * x, zero_unless_nan(x))

# Wide, because 2 x may be too large where its product with dy is not.
cdef inline W relu_squared_slope(W x) noexcept nogil:
    return where_ge(splat(x, 0.0), x, splat(x, 0.0), x + x)

cdef inline V relu_squared_slope_from_y(V y) noexcept nogil:
    return where_gt(y, splat(y, 0.0), splat(y, 2.0) * square_root(y), zero_unless_nan(y))


# Not above -end, not above end, above, or NaN, which `between` has kept.
cdef inline X in_pieces(X x, X end, X below, X between, X above) noexcept nogil:
    return where_gt(x, end, above, where_ge(splat(x, 0.0) - end, x, below, between))

# What 3 + x loses is exact in both, and counts.
cdef inline V hard_sigmoid(V x) noexcept nogil:
    cdef V c = clamped(x, splat(x, -3.0), splat(x, 3.0))
    cdef V total = c + splat(x, 3.0)
    return times_constant(total, c - (total - splat(x, 3.0)), SIXTH)

cdef inline V hard_sigmoid_slope(V x) noexcept nogil:
    cdef V between = where_eq(x, x, splat(x, SIXTH[0]), x)
    return in_pieces(x, splat(x, 3.0), splat(x, 0.0), between, splat(x, 0.0))

cdef inline V hard_swish(V x) noexcept nogil:
    cdef V c = larger(splat(x, -3.0), x)
    cdef V total = c + splat(x, 3.0)
    cdef V sixth = splat(x, SIXTH[0])
    cdef V share = total * sixth
    cdef V lost = fused(c - (total - splat(x, 3.0)), sixth, product_error(total, sixth, share))
    cdef V y = times_pair(c, share, fused(total, constant_low(x, SIXTH), lost))
    return where_gt(x, splat(x, 3.0), x, turn_sign(magnitude(y), x))

cdef inline V hard_swish_slope(V x) noexcept nogil:
    cdef V twice = x + x
    cdef V total = twice + splat(x, 3.0)
    cdef V between = times_constant(total, twice - (total - splat(x, 3.0)), SIXTH)
    return in_pieces(x, splat(x, 3.0), splat(x, 0.0), between, splat(x, 1.0))


cdef inline W smelu(W x, W beta) noexcept nogil:
    cdef W t = x + beta
    cdef W between = scaled(t * (t / beta), splat(x, 0.25))
    return if_positive_and_finite(beta, in_pieces(x, beta, splat(x, 0.0), between, x))

cdef inline V smelu_slope(V x, V beta) noexcept nogil:
    cdef V total = x + beta
    cdef V share = small_quotient(total, sum_error(x, beta, total), beta) * splat(x, 0.5)
    return if_positive_and_finite(beta, in_pieces(x, beta, splat(x, 0.0), share, splat(x, 1.0)))

cdef inline W smelu_wrt_beta(W x, W beta) noexcept nogil:
    cdef W between = scaled(((beta - x) / beta) * ((beta + x) / beta), splat(x, 0.25))
    return if_positive_and_finite(beta, in_pieces(x, beta, splat(x, 0.0), between, splat(x, 0.0)))
