# Sums, quotients and square roots only: softsign and squareplus.

cdef inline V softsign(V x) noexcept nogil:
    cdef V z = bounded_magnitude(x)
    cdef V d = splat(x, 1.0) + z
    return turn_sign(quotient(z, splat(x, 0.0), d, sum_error(splat(x, 1.0), z, d)), x)

cdef inline V softsign_slope(V x) noexcept nogil:
    cdef V z = bounded_magnitude(x)
    cdef V d = splat(x, 1.0) + z
    cdef V share = splat(x, 1.0) / d
    cdef V rest = fused(splat(x, 0.0) - share, d, splat(x, 1.0)) - share * sum_error(splat(x, 1.0), z, d)
    cdef V large = share * square_scale(x)
    cdef V square = share * large
    cdef V lost = fused((share + share) * rest, large, product_error(share, large, square))
    return (square + lost) * (splat(x, 1.0) / square_scale(x))

cdef inline V softsign_slope_from_y(V y) noexcept nogil:
    cdef V rest = splat(y, 1.0) - magnitude(y)
    cdef V lost = (splat(y, 1.0) - rest) - magnitude(y)
    return times_pair(rest, rest, lost + lost)


# With r = sqrt(x^2 + b) and h = (abs(x) + r) / 2, f is h above 0 and b / (4 h) below.
#
# From `square_bound` on h is abs(x).
cdef inline V squareplus(V x, V b) noexcept nogil:
    cdef V shrink = shrink_for(b)
    cdef V quarter = (b * splat(x, 0.25)) * (shrink * shrink)
    cdef V size = magnitude(x * shrink)
    cdef V z = smaller(square_bound(x), size)
    cdef V square = z * z
    cdef V whole = quarter * splat(x, 4.0)
    cdef V total = square + whole
    cdef V root = square_root(total)
    cdef V part = splat(x, 0.5)
    cdef V h = where_gt(size, z, size, part * z + part * root)
    # one division serves the root's remainder and the quotient
    cdef V inverse = splat(x, 1.0) / where_gt(size, z, size, root * h)
    cdef V of_h = inverse * where_gt(size, z, splat(x, 1.0), root)
    cdef V rest = product_error(z, z, square) + sum_error(square, whole, total)
    rest = rest - product_error(root, root, total)
    cdef V lost = (part * z - (h - part * root)) + (rest * splat(x, 0.25)) * (inverse * h)
    lost = where_gt(size, z, splat(x, 0.0), lost)
    cdef V share = quarter * of_h
    cdef V below = fused((splat(x, 0.0) - share * lost) - product_error(share, h, quarter), of_h, share)
    cdef V y = where_positive(x, h + lost, below) * (splat(x, 1.0) / shrink)
    y = where_eq(size, splat(x, INFINITY), where_positive(x, x, splat(x, 0.0)), y)
    return if_positive_and_finite(b, y)

cdef inline W squareplus_mean(W x, W root) noexcept nogil:
    return scaled(magnitude(x), splat(x, 0.5)) + scaled(root, splat(x, 0.5))

cdef inline W squareplus_slope(W x, W b) noexcept nogil:
    cdef W root = root_of_sum(x, b)
    cdef W h = squareplus_mean(x, root)
    cdef W numerator = where_positive(x, h, scaled(b, splat(x, 0.25)))
    cdef W y = over_product(numerator, where_positive(x, splat(x, 1.0), h), root)
    y = where_eq(magnitude(x), splat(x, INFINITY), where_positive(x, splat(x, 1.0), splat(x, 0.0)), y)
    return if_positive_and_finite(b, y)

# (x + r) / 2 = y and (r - x) / 2 = b / (4 y).
cdef inline V squareplus_slope_from_y(V y, V b) noexcept nogil:
    cdef V shrink = shrink_for(b)
    cdef V quarter = (b * splat(y, 0.25)) * (shrink * shrink)
    cdef V z = smaller(square_bound(y), y * shrink)
    cdef V square = z * z
    cdef V total = square + quarter
    cdef V lost = product_error(z, z, square) + sum_error(square, quarter, total)
    cdef V inverse = splat(y, 1.0) / total
    cdef V part = z * inverse
    cdef V rest = ((splat(y, 0.0) - part * lost) - product_error(part, total, z)) * inverse
    return if_positive_and_finite(b, times_pair(z, part, rest))

cdef inline W squareplus_wrt_b(W x, W b) noexcept nogil:
    return if_positive_and_finite(b, splat(x, 0.25) / root_of_sum(x, b))
