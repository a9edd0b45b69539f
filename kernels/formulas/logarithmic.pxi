# Logit, and log(exp(x) - 1) and log(1 - exp(-x)), each exact through its zero (math/compensated.pxi).
#
# A logarithm is k ln 2 + 2 atanh((m - b) / (m + b)) of a mantissa m and a number b of its size.

# y for x > 0, its limit at 0, NaN below.
cdef inline V on_positive(V x, V limit, V y) noexcept nogil:
    return where_gt(x, splat(x, 0.0), y, where_eq(x, splat(x, 0.0), limit, splat(x, NAN)))


# Everything stands on c, the smaller of x and 1 - x, which is exact: logit(1 - c) = -logit(c).
cdef inline X logit_side(X x) noexcept nogil:
    return where_gt(x, splat(x, 0.5), splat(x, 1.0) - x, x)

cdef inline X if_a_margin(X eps, X y) noexcept nogil:
    return where_ge(splat(y, 0.5), eps, y, splat(y, NAN))

# `dead` where x is clamped, with the left slope at the knots; `otherwise` elsewhere, NaN beyond 0 and 1.  A
# negative eps clamps nothing, not even infinities.
cdef inline X where_clamped(X x, X c, X eps, X dead_below, X dead_above, X otherwise) noexcept nogil:
    cdef X inside = where_gt(splat(x, 0.0), c, splat(x, NAN), otherwise)
    cdef X bound = where_gt(splat(x, 0.0), eps, splat(x, NAN), eps)
    cdef X above = where_gt(bound, c, dead_above, inside)
    cdef X y = where_gt(x, splat(x, 0.5), above, where_ge(bound, c, dead_below, inside))
    return if_a_margin(eps, y)

cdef inline V logit(V x, V eps) noexcept nogil:
    cdef V c = larger(eps, logit_side(x))
    cdef V raised = lifted(c)
    cdef V k = where_gt(raised, splat(x, 0.3333333333333333), splat(x, 0.0), binade(raised) + splat(x, 1.0))
    cdef V m = raised * power_of_two(splat(x, 0.0) - k)
    cdef V rest = splat(x, 1.0) - c
    cdef V lost = (splat(x, 1.0) - rest) - c
    cdef V total = rest + m
    cdef V total_low = short_sum_error(rest, m, total) + lost
    cdef V y = plain_log_ratio(k - lift(c), m - rest, splat(x, 0.0) - lost, total, total_low)
    return if_a_margin(eps, turn_sign(on_positive(c, splat(x, -INFINITY), y), splat(x, 0.5) - x))

# 1 / (c (1 - c)) for c up to 1/2, so that c - c^2 is no less than c / 2.
cdef inline V logit_steepness(V c) noexcept nogil:
    cdef V minus = splat(c, 0.0) - c
    cdef V product = fused(minus, c, c)
    cdef V lost = fused(minus, c, c - product)
    cdef V y = splat(c, 1.0) / product
    cdef V rest = fused(lost, y, product_error(product, y, splat(c, 1.0)))
    return where_gt(splat(c, INFINITY), magnitude(y), y - rest * y, magnitude(y))

cdef inline V logit_slope(V x, V eps) noexcept nogil:
    cdef V c = logit_side(x)
    cdef V zero = splat(x, 0.0)
    return where_clamped(x, c, eps, zero, zero, logit_steepness(c))

cdef inline V logit_slope_at_default(V x, V eps) noexcept nogil:
    cdef V c = smaller(splat(x, 1.0) - x, x)
    return where_gt(splat(x, 0.0), c, splat(x, NAN), logit_steepness(c))

cdef inline W logit_wrt_eps(W x, W eps) noexcept nogil:
    cdef W c = logit_side(x)
    cdef W moved = 1.0 / (eps * (1.0 - eps))
    return where_clamped(x, c, eps, moved, 0.0 - moved, where_eq(c, c, splat(x, 0.0), c))


# log(1 - exp(-x)): of n = 1 - exp(-x) itself up to ln 2, from there log1p(-exp(-x)) (Maechler 2012).
cdef inline V log1mexp(V x) noexcept nogil:
    cdef V c = larger(plain_floor(x), negative_magnitude(x))
    cdef V k = nearest_exponent(c)
    cdef V power = plain_power(k)
    cdef V high = remainder_high(c, k)
    cdef V low = excess_low(high, k)
    cdef V t = high + low
    cdef V t_low = short_sum_error(high, low, t)
    cdef V middle = splat(x, LN2[0])
    # minus exp(-x), or n
    cdef V base = where_gt(x, middle, splat(x, 0.0), splat(x, 1.0)) - power
    cdef V part = power * t
    cdef V n = base - part
    cdef V n_low = ((base - n) - part) - power * t_low
    cdef V raised = lifted(n)
    cdef V exponent = where_gt(x, middle, splat(x, 0.0), binade(raised) + splat(x, 1.0))
    cdef V shrink = power_of_two(splat(x, 0.0) - exponent)
    cdef V m = where_gt(x, middle, n, raised * shrink)
    cdef V m_low = n_low * shrink
    cdef V difference = where_gt(x, middle, n, m - splat(x, 1.0))
    cdef V whole = where_gt(x, middle, splat(x, 2.0), splat(x, 1.0))
    cdef V total = whole + m
    cdef V total_low = short_sum_error(whole, m, total) + m_low
    exponent = where_gt(x, middle, splat(x, 0.0), exponent - lift(n))
    cdef V y = plain_log_ratio(exponent, difference, m_low, total, total_low)
    y = y * power_of_two(k - plain_head(k))
    return on_positive(x, splat(x, -INFINITY), turn_sign(magnitude(y), splat(x, -1.0)))

cdef inline V log1mexp_from_table(V x, V at, V high, V low, V scale) noexcept nogil:
    return entry_sum(high, low, scale)

# 1 - exp(-x) and what it has lost.
cdef inline V complement(V x) noexcept nogil:
    cdef V c = larger(plain_floor(x), negative_magnitude(x))
    cdef V k = nearest_exponent(c)
    cdef V power = plain_power(k)
    cdef V high = remainder_high(c, k)
    return (splat(x, 1.0) - power) - power * (high + excess_low(high, k))

cdef inline V complement_lost(V x) noexcept nogil:
    cdef V c = larger(plain_floor(x), negative_magnitude(x))
    cdef V k = nearest_exponent(c)
    cdef V power = plain_power(k)
    cdef V high = remainder_high(c, k)
    cdef V low = excess_low(high, k)
    cdef V t = high + low
    cdef V base = splat(x, 1.0) - power
    cdef V n = base - power * t
    cdef V lost = ((base - n) - power * t) + ((splat(x, 1.0) - base) - power)
    return lost - power * short_sum_error(high, low, t)

cdef inline V log1mexp_slope(V x) noexcept nogil:
    cdef V c = larger(plain_floor(x), negative_magnitude(x))
    cdef V k = nearest_exponent(c)
    cdef V high = remainder_high(c, k)
    cdef V low = excess_low(high, k)
    cdef V t = high + low
    cdef V e = splat(x, 1.0) + t
    cdef V e_low = short_sum_error(splat(x, 1.0), t, e) + short_sum_error(high, low, t)
    cdef V y = bounded_quotient(e, e_low, complement(x), complement_lost(x))
    return on_positive(x, splat(x, INFINITY), (y * plain_power(k)) * power_of_two(k - plain_head(k)))

cdef inline V log1mexp_slope_from_table(V x, V at, V high, V low, V scale) noexcept nogil:
    return entry_sum(high, low, scale)

cdef inline V softplus_inverse_slope(V x) noexcept nogil:
    cdef V y = bounded_quotient(splat(x, 1.0), splat(x, 0.0), complement(x), complement_lost(x))
    return on_positive(x, splat(x, INFINITY), y)

cdef inline V softplus_inverse_slope_from_table(V x, V at, V high, V low, V scale) noexcept nogil:
    return entry_sum(high, low, scale)


# log(exp(x) - 1).  One exponential serves three sides: exp(x) - 1 itself for small x; around its value 1,
# 1 + 2 (exp(x - ln 2) - 1); beyond log 3 it is exp(x) (1 - exp(-x)).
cdef inline V softplus_inverse(V x) noexcept nogil:
    cdef V low_end = splat(x, 0.4453125)
    cdef V high_end = splat(x, 1.0986122886681098)
    cdef V zero = splat(x, 0.0)
    cdef V shifted = where_gt(x, low_end, x - splat(x, LN2[0]), x)
    cdef V c = larger(plain_floor(x), where_gt(x, high_end, zero - x, shifted))
    cdef V c_low = where_gt(x, high_end, zero, where_gt(x, low_end, zero - constant_low(x, LN2), zero))
    cdef V k = nearest_exponent(c)
    cdef V power = plain_power(k)
    cdef V high = remainder_high(c, k)
    cdef V low = remainder_low(c_low, k)
    # r^2 / 2 keeps what it has lost: below log 1.5 that doubles, and the logarithm's slope triples it
    cdef V r = high + low
    cdef V square = (splat(x, 0.5) * r) * r
    cdef V rest = excess_beyond_square(r, square, low)
    cdef V leading = high + square
    rest = short_sum_error(high, square, leading) + rest
    cdef V t = leading + rest
    cdef V t_low = short_sum_error(leading, rest, t)
    # exp(c) - 1, beyond the high end exp(c)
    cdef V base = power - where_gt(x, high_end, zero, splat(x, 1.0))
    cdef V part = power * t
    cdef V e = base + part
    cdef V e_low = short_sum_error(base, part, e) + power * t_low
    cdef V raised = lifted(e)
    cdef V exponent = where_gt(x, low_end, zero, binade(raised) + splat(x, 1.0))
    cdef V shrink = power_of_two(zero - exponent)
    cdef V m = where_gt(x, high_end, zero - e, where_gt(x, low_end, e, raised * shrink))
    cdef V m_low = where_gt(x, high_end, zero - e_low, e_low * shrink)
    cdef V difference = where_gt(x, low_end, m, m - splat(x, 1.0))
    cdef V whole = where_gt(x, high_end, splat(x, 2.0), splat(x, 1.0))
    cdef V total = whole + m
    cdef V total_low = short_sum_error(whole, m, total) + m_low
    exponent = where_gt(x, low_end, zero, exponent - lift(e))
    cdef V y = plain_log_ratio(exponent, difference, m_low, total, total_low)
    return on_positive(x, splat(x, -INFINITY), where_gt(x, high_end, x + y, y))

cdef inline V softplus_inverse_position(V x) noexcept nogil:
    return x

# x - log 2, of which nothing may be lost, times the entry.
cdef inline V softplus_inverse_from_softplus_inverse_ratio(V x, V at, V high, V low, V scale) noexcept nogil:
    cdef V root = splat(x, -LN2[0])
    cdef V away = x + root
    cdef V lost = sum_error(x, root, away) - constant_low(x, LN2)
    return where_gt(x, at, x, fused(away, high, fused(away, low, lost * (high + low))))
