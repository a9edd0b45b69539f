# Logarithms by 2 atanh(s), s = (a - b) / (a + b) for log(a / b): exact near a = b, where the logarithm vanishes.
#
# Error of the pair (wide_d): below 2^-60 of the result; in double lanes: 2^-37.

# Its odd series, abs(s) <= 1/3.
cdef inline W twice_atanh(W s) noexcept nogil:
    cdef W v = rough_product(s, s)
    if W is wide_f:
        return scaled(s, splat(s, 2.0)) + s * v * rough_polynomial(v, ATANH_SHORT)
    else:
        return scaled(s, splat(s, 2.0)) + rough_product(rough_product(s, v), rough_polynomial(v, ATANH_LONG))

# log(1 + e), -1/2 <= e <= 1: no logarithm of a rounded 1 + e.
cdef inline W log1p_unit(W e) noexcept nogil:
    return twice_atanh(e / (e + 2.0))
