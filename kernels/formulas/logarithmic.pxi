# Logit, and log(exp(x) - 1) and log(1 - exp(-x)), each exact through its zero.
#
# A logarithm is k ln 2 + 2 atanh((m - b) / (m + b)) of a mantissa m and a number b of its size.

cdef inline W log_sum(W k, W difference, W total) noexcept nogil:
    return k * constant(k, LN2[0], LN2[1]) + twice_atanh(difference / total)

# y for x > 0, its limit at 0, NaN below.
cdef inline W on_positive(W x, W limit, W y) noexcept nogil:
    return where_gt(splat(x, 0.0), x, splat(x, NAN), where_eq(x, splat(x, 0.0), limit, y))


# Everything stands on c, the smaller of x and 1 - x, which is exact: logit(1 - c) = -logit(c).
cdef inline W logit_side(W x) noexcept nogil:
    return where_gt(x, splat(x, 0.5), 1.0 - x, x)

cdef inline W if_a_margin(W eps, W y) noexcept nogil:
    return where_ge(splat(y, 0.5), eps, y, splat(y, NAN))

# `dead` where x is clamped, with the left slope at the knots; `otherwise` elsewhere, NaN beyond 0 and 1.
cdef inline W where_clamped(W x, W c, W eps, W dead_below, W dead_above, W otherwise) noexcept nogil:
    cdef W inside = where_gt(splat(x, 0.0), c, splat(x, NAN), otherwise)
    cdef W y = where_gt(x, splat(x, 0.5), where_gt(eps, c, dead_above, inside), where_ge(eps, c, dead_below, inside))
    return if_a_margin(eps, y)

cdef inline W logit(W x, W eps) noexcept nogil:
    cdef W c = at_least(logit_side(x), eps)
    cdef W k = where_gt(splat(x, 0.3333333333333333), c, exponent_above(c), splat(x, 0.0))
    cdef W m = mantissa(c, k)
    cdef W rest = 1.0 - c
    cdef W y = on_positive(c, splat(x, -INFINITY), log_sum(k, m - rest, m + rest))
    return if_a_margin(eps, where_gt(x, splat(x, 0.5), turn_sign(y, splat(x, -1.0)), y))

cdef inline W logit_slope(W x, W eps) noexcept nogil:
    cdef W c = logit_side(x)
    cdef W zero = splat(x, 0.0)
    return where_clamped(x, c, eps, zero, zero, magnitude(1.0 / (c * (1.0 - c))))

cdef inline W logit_wrt_eps(W x, W eps) noexcept nogil:
    cdef W c = logit_side(x)
    cdef W moved = 1.0 / (eps * (1.0 - eps))
    return where_clamped(x, c, eps, moved, 0.0 - moved, where_eq(c, c, splat(x, 0.0), c))


# log(1 - exp(-x)): of n = 1 - exp(-x) itself up to ln 2, from there log1p(-exp(-x)) (Maechler 2012).
cdef inline W log1mexp(W x) noexcept nogil:
    cdef W a = negative_magnitude(x)
    cdef W e = exp_nonpositive(a)
    cdef W n = magnitude(expm1_nonpositive(a))
    cdef W k = exponent_above(n)
    cdef W m = mantissa(n, k)
    cdef W middle = splat(x, LN2[0])
    cdef W difference = where_gt(x, middle, 0.0 - e, m - 1.0)
    cdef W y = log_sum(where_gt(x, middle, splat(x, 0.0), k), difference, where_gt(x, middle, 2.0 - e, m + 1.0))
    y = turn_sign(magnitude(restore_tail(y, a)), splat(x, -1.0))
    return on_positive(x, splat(x, -INFINITY), y)

cdef inline W log1mexp_slope(W x) noexcept nogil:
    cdef W a = negative_magnitude(x)
    cdef W y = restore_tail(exp_nonpositive(a) / magnitude(expm1_nonpositive(a)), a)
    return on_positive(x, splat(x, INFINITY), y)


# log(exp(x) - 1).  One exponential serves three sides: exp(x) - 1 up to log 1.5, from 1/4 on as h (h + 2),
# h = exp(x / 2) - 1, which is better than the whole; around its value 1,
# 1 + 2 (exp(x - ln 2) - 1); beyond log 3 it is exp(x) (1 - exp(-x)).
cdef inline W softplus_inverse(W x) noexcept nogil:
    cdef W low = splat(x, 0.4054651081081644)
    cdef W high = splat(x, 1.0986122886681098)
    cdef W from_root = ((x - LN2[0]) - LN2[1]) - LN2_REST
    cdef W part = where_gt(x, splat(x, 0.25), scaled(x, splat(x, 0.5)), x)
    cdef W t = where_gt(x, high, splat(x, 0.0) - x, where_gt(x, low, from_root, part))
    cdef W h = expm1_nonpositive(t)
    cdef W e = where_gt(x, low, h, where_gt(x, splat(x, 0.25), h * (h + 2.0), h))
    cdef W k = exponent_above(e)
    cdef W m = mantissa(e, k)
    cdef W difference = where_gt(x, high, -1.0 - e, where_gt(x, low, e * 2.0, m - 1.0))
    cdef W total = where_gt(x, high, 1.0 - e, where_gt(x, low, 2.0 + e * 2.0, m + 1.0))
    cdef W y = log_sum(where_gt(x, low, splat(x, 0.0), k), difference, total)
    y = where_gt(x, high, x + y, y)
    return on_positive(x, splat(x, -INFINITY), y)

cdef inline W softplus_inverse_slope(W x) noexcept nogil:
    cdef W y = 1.0 / magnitude(expm1_nonpositive(negative_magnitude(x)))
    return on_positive(x, splat(x, INFINITY), y)
