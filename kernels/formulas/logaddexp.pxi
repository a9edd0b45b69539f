# log(exp(x1) + exp(x2)) = m + log1p(exp(-abs(x1 - x2))), m the larger of the two; the sum cancels near 0 and
# is therefore taken before anything is rounded.  Equal infinities have no difference.

cdef inline W logaddexp(W x1, W x2) noexcept nogil:
    cdef W larger = where_gt(x2, x1, x2, x1)
    cdef W d = negative_magnitude(x1 - x2)
    cdef W y = larger + restore_tail(log1p_unit(exp_nonpositive(d)), d)
    return where_eq(x1, x2, x1 + constant(x1, LN2[0], LN2[1]), y)

# The share of x1, which is 0 where there is nothing of it.
cdef inline W logaddexp_slope(W x1, W x2) noexcept nogil:
    return where_eq(x1, splat(x1, -INFINITY), where_eq(x2, x2, splat(x1, 0.0), x2), sigmoid(x1 - x2))
