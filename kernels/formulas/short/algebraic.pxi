# Softsign and squareplus for 16-bit types.

cdef inline V softsign_short(V x) noexcept nogil:
    cdef V z = bounded_magnitude(x)
    return turn_sign(z * rough_inverse(splat(x, 1.0) + z), x)

cdef inline V softsign_slope_short(V x) noexcept nogil:
    cdef V inverse = rough_inverse(splat(x, 1.0) + magnitude(x))
    return inverse * inverse

cdef inline V softsign_slope_from_y_short(V y) noexcept nogil:
    cdef V rest = splat(y, 1.0) - magnitude(y)
    return rest * rest


# As squareplus, abs(x) and sqrt(x^2 + b) made smaller alike where b is large.
cdef inline V short_root(V size, V z, V b) noexcept nogil:
    return where_gt(size, z, size, square_root(multiply_add(z, z, b)))

cdef inline V squareplus_short(V x, V b) noexcept nogil:
    cdef V positive = if_it_is_positive(b)
    cdef V shrink = shrink_for(positive)
    cdef V small = positive * (shrink * shrink)
    cdef V size = magnitude(x * shrink)
    cdef V root = short_root(size, smaller(square_bound(x), size), small)
    cdef V h = splat(x, 0.5) * size + splat(x, 0.5) * root
    cdef V y = where_positive(x, h, (splat(x, 0.25) * small) * rough_inverse(h)) * (splat(x, 1.0) / shrink)
    return where_eq(positive, positive, y, positive)

cdef inline V squareplus_slope_short(V x, V b) noexcept nogil:
    cdef V positive = if_it_is_positive(b)
    cdef V shrink = shrink_for(positive)
    cdef V small = positive * (shrink * shrink)
    cdef V size = smaller(greatest(x), magnitude(x * shrink))
    cdef V root = short_root(size, smaller(square_bound(x), size), small)
    cdef V h = splat(x, 0.5) * size + splat(x, 0.5) * root
    cdef V y = where_positive(x, h, (splat(x, 0.25) * small) * rough_inverse(h)) * rough_inverse(root)
    return where_eq(positive, positive, y, positive)
