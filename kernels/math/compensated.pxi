# Plain registers that keep what a rounding has lost: high + low, where low is no more than a few units of
# high's last place (Dekker, Numerische Mathematik 18, 1971; Knuth, The Art of Computer Programming 2, 4.2.2).

# What total = a + b has lost, exact.
cdef inline V sum_error(V a, V b, V total) noexcept nogil:
    cdef V t = total - a
    return (a - (total - t)) + (b - t)

# The same where a is 0, or no smaller than b.
cdef inline V short_sum_error(V a, V b, V total) noexcept nogil:
    return b - (total - a)

# (high + low) / (d + d_low) by one division, whose remainder corrects it.
cdef inline V quotient(V high, V low, V d, V d_low) noexcept nogil:
    cdef V inverse = splat(d, 1.0) / d
    cdef V q = high * inverse
    return fused((low - q * d_low) - product_error(q, d, high), inverse, q)

# (high + low) / d, at most 1 in size, for d > 0: by the inverse, of a d that is a parameter made once.
cdef inline V small_quotient(V high, V low, V d) noexcept nogil:
    cdef V raise_by = where_gt(splat(d, 1e-30), d, splat(d, 18446744073709551616.0), splat(d, 1.0))
    cdef V inverse = splat(d, 1.0) / (d * raise_by)
    cdef V raised = high * raise_by
    cdef V q = raised * inverse
    return fused(low * raise_by - product_error(q, d * raise_by, raised), inverse, q)

# (high + low) / (d + d_low) where it may be infinite, which leaves no remainder; d > 0.
cdef inline V bounded_quotient(V high, V low, V d, V d_low) noexcept nogil:
    cdef V inverse = splat(d, 1.0) / d
    cdef V q = high * inverse
    cdef V rest = (low - q * d_low) - product_error(q, d, high)
    return where_gt(splat(d, INFINITY), magnitude(inverse), fused(rest, inverse, q), magnitude(inverse))

# A positive number away from the subnormals, and the exponent of the power of two that did it.
cdef inline V lifted(V a) noexcept nogil:
    if V is vec_f:
        return where_gt(splat(a, 1e-30), a, a * splat(a, 18446744073709551616.0), a)
    else:
        return where_gt(splat(a, 1e-290), a, a * splat(a, 18446744073709551616.0), a)

cdef inline V lift(V a) noexcept nogil:
    if V is vec_f:
        return where_gt(splat(a, 1e-30), a, splat(a, 64.0), splat(a, 0.0))
    else:
        return where_gt(splat(a, 1e-290), a, splat(a, 64.0), splat(a, 0.0))

# k ln 2 + 2 atanh((difference + difference_low) / (total + total_low)), the ratio within 1/3 of 0.
cdef inline V plain_log_ratio(V k, V difference, V difference_low, V total, V total_low) noexcept nogil:
    cdef V inverse = splat(k, 1.0) / total
    cdef V s = difference * inverse
    cdef V rest = (difference_low - s * total_low) - product_error(s, total, difference)
    cdef V v = s * s
    cdef V twice = s + s
    cdef V bend, exact, low, y
    if V is vec_f:
        bend = polynomial(v, ATANH_FLOAT)
        exact, low = k * splat(k, LN2_SPLIT_FLOAT[0]), k * splat(k, LN2_SPLIT_FLOAT[1])
    else:
        bend = polynomial(v, ATANH_LONG)
        exact, low = k * splat(k, LN2_SPLIT[0]), k * splat(k, LN2_SPLIT[1])
    y = exact + twice
    low = fma(s * v, bend, fma(rest + rest, inverse, low))
    return y + (short_sum_error(exact, twice, y) + low)

# exp(x + x_low) = 2^k exp(remainder_high + remainder_low), the first exact; and, where x_low is 0, it is
# 2^k (1 + remainder_high + excess_low), good to spare bits.
cdef inline V remainder_high(V x, V k) noexcept nogil:
    if V is vec_f:
        return fma(k, splat(k, -LN2_SPLIT_FLOAT[0]), x)
    else:
        return fma(k, splat(k, -LN2_SPLIT[0]), x)

cdef inline V remainder_low(V x_low, V k) noexcept nogil:
    if V is vec_f:
        return fma(k, splat(k, -LN2_SPLIT_FLOAT[1]), x_low)
    else:
        return fma(k, splat(k, -LN2_SPLIT[1]), x_low)

# q(r): exp(r) = 1 + r + r^2 q(r).
cdef inline V excess_bend(V r) noexcept nogil:
    if V is vec_f:
        return polynomial(r, EXP_SHORT)
    else:
        return polynomial(r, EXP_LONG)

cdef inline V excess_low(V high, V k) noexcept nogil:
    cdef V low = remainder_low(splat(k, 0.0), k)
    cdef V r = high + low
    return fma(r * r, excess_bend(r), low)

# The same less square = r^2 / 2, rounded, and with what that has lost.
cdef inline V excess_beyond_square(V r, V square, V low) noexcept nogil:
    cdef V rest = fma(excess_bend(r), splat(r, 2.0), splat(r, -1.0))
    return fma(square, rest, low + product_error(splat(r, 0.5) * r, r, square))
