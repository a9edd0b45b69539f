# Where plain registers meet the ends of their type, which double lanes do not.

# abs(x), but no larger than where its quotients have reached their limits.
cdef inline V bounded_magnitude(V x) noexcept nogil:
    if V is vec_f:
        return smaller(splat(x, 1e27), magnitude(x))
    else:
        return smaller(splat(x, 1e180), magnitude(x))

# A power of two that brings the smallest squares away from the subnormals, which they meet once, at the end.
cdef inline V square_scale(V x) noexcept nogil:
    if V is vec_f:
        return splat(x, 18446744073709551616.0)
    else:
        return splat(x, 1.3407807929942597e154)

# Squares overflow: a large b, and the x that it is added to the square of, are made smaller, and x no larger
# than what b is nothing beside.
cdef inline V shrink_for(V b) noexcept nogil:
    if V is vec_f:
        return where_gt(b, splat(b, 1e18), splat(b, 1.0 / 4294967296.0), splat(b, 1.0))
    else:
        return where_gt(b, splat(b, 1e150), splat(b, 1.0 / 1.3407807929942597e154), splat(b, 1.0))

cdef inline V square_bound(V x) noexcept nogil:
    if V is vec_f:
        return splat(x, 4611686018427387904.0)
    else:
        return splat(x, 1e153)

# y / (a b), whose product may overflow where it is not in double lanes.
cdef inline W over_product(W y, W a, W b) noexcept nogil:
    if W is wide_f:
        return y / (a * b)
    else:
        return (y / a) / b
