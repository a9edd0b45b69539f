# exp in as few operations as results of 16 bits allow, for formulas/short/: exp(x) to 2^-17 of it, for any x.

# 2^f of the fraction f of t, in few steps one after the other: a step's latency counts more than its cost.
cdef inline V short_mantissa(V t) noexcept nogil:
    cdef V f = fraction(t)
    cdef V square = f * f
    cdef V middle = multiply_add(splat(t, EXP2_HALF[1]), f, splat(t, EXP2_HALF[2]))
    cdef V low = multiply_add(splat(t, EXP2_HALF[3]), f, splat(t, EXP2_HALF[4]))
    return multiply_add(multiply_add(splat(t, EXP2_HALF[0]), square, middle), square, low)

# 2^t
cdef inline V short_power(V t) noexcept nogil:
    return times_power_below(short_mantissa(t), t)

cdef inline V short_exp(V x) noexcept nogil:
    return short_power(x * splat(x, LOG2E[0]))

# To 2^-24 where x is near 0: for derivatives beside their roots.
cdef inline V short_exp_long(V x) noexcept nogil:
    cdef V t = x * splat(x, LOG2E[0])
    return times_power_below(polynomial(fraction(t), EXP2_HALF_LONG), t)

# exp(-z^2/2)
cdef inline V short_tail(V z) noexcept nogil:
    return short_power((z * z) * splat(z, EXPONENT_HALF))

# A parameter that must be positive and finite, else NaN: what follows from it is computed once for all x.
cdef inline V if_it_is_positive(V parameter) noexcept nogil:
    return if_positive_and_finite(parameter, parameter)
