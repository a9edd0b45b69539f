# Choices that formulas share.

cdef inline X where_positive(X x, X yes, X no) noexcept nogil:
    return where_gt(x, splat(x, 0.0), yes, no)

cdef inline X negative_magnitude(X x) noexcept nogil:
    return turn_sign(magnitude(x), splat(x, -1.0))

# A parameter outside its domain makes the lane NaN.
cdef inline X if_positive_and_finite(X parameter, X y) noexcept nogil:
    cdef X nan = splat(y, NAN)
    y = where_gt(parameter, splat(y, 0.0), y, nan)
    return where_gt(splat(y, INFINITY), parameter, y, nan)

cdef inline W at_least(W x, W limit) noexcept nogil:
    return where_gt(limit, x, limit, x)

cdef inline W at_most(W x, W limit) noexcept nogil:
    return where_gt(x, limit, limit, x)

# value x / 2 where x is so small that f(x) / x has its value at 0, and where a product with x may lose digits.
cdef inline X beside_zero(X value, X x, X otherwise) noexcept nogil:
    return where_gt(splat(x, 1e-30), magnitude(x), value * splat(x, 0.5) * x, otherwise)
