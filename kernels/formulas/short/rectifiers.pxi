# Rectifiers of several pieces for 16-bit types, whose sums in float lose nothing that would count.

cdef inline V hard_sigmoid_short(V x) noexcept nogil:
    return clamped(x + splat(x, 3.0), splat(x, 0.0), splat(x, 6.0)) * splat(x, SIXTH[0])

cdef inline V hard_swish_short(V x) noexcept nogil:
    cdef V c = larger(splat(x, -3.0), x)
    return c * (smaller(splat(x, 6.0), c + splat(x, 3.0)) * splat(x, SIXTH[0]))

cdef inline V hard_swish_slope_short(V x) noexcept nogil:
    cdef V between = ((x + x) + splat(x, 3.0)) * splat(x, SIXTH[0])
    return in_pieces(x, splat(x, 3.0), splat(x, 0.0), between, splat(x, 1.0))


# (x + a) / a times a factor; beside a tiny a the sum is made larger before the product.
cdef inline V short_share(V x, V a, V factor) noexcept nogil:
    cdef V raise_by = where_gt(splat(a, 1e-30), a, splat(a, 18446744073709551616.0), splat(a, 1.0))
    return ((x + a) * raise_by) * (factor / (a * raise_by))

# Of the largest numbers the sum itself would overflow.
cdef inline V half_sum(V x, V b) noexcept nogil:
    return splat(x, 0.5) * x + splat(x, 0.5) * b

cdef inline V smelu_slope_short(V x, V beta) noexcept nogil:
    cdef V b = if_it_is_positive(beta)
    return where_eq(b, b, in_pieces(x, b, splat(x, 0.0), half_sum(x, b) / b, splat(x, 1.0)), b)

cdef inline V smelu_short(V x, V beta) noexcept nogil:
    cdef V b = if_it_is_positive(beta)
    cdef V h = half_sum(x, b)
    return where_eq(b, b, in_pieces(x, b, splat(x, 0.0), h * (h / b), x), b)

cdef inline V celu_slope_from_y_short(V y, V alpha) noexcept nogil:
    cdef V a = if_it_is_positive(alpha)
    return where_eq(a, a, where_positive(y, splat(y, 1.0), short_share(y, a, splat(y, 1.0))), a)


# Twice the product, for the slope 2 x may be too large; the sum is rounded once.
cdef inline V relu_squared_slope_times_short(V dy, V x) noexcept nogil:
    cdef V nothing = where_eq(x, x, splat(x, 0.0), splat(x, -NAN))
    return where_positive(x, multiply_add(dy, x, dy * x), nothing)
