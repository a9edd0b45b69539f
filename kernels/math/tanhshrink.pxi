# x - tanh(x) = x^3 (1/3 + x^2 bend(x^2)) near 0.

cdef inline V tanhshrink_bend(V u) noexcept nogil:
    if V is vec_f:
        return polynomial(u, TANHSHRINK_FLOAT)
    else:
        return polynomial(u, TANHSHRINK_FULL)

# Up to where the series is better than the table.
cdef inline V tanhshrink_bound(V x) noexcept nogil:
    if V is vec_f:
        return splat(x, 0.6875)
    else:
        return splat(x, 0.5)
