# What formulas that read a table are made of.  An entry is found at `at` (where the table was read: inside it,
# or NaN) and says f = (high + low) scale, good to spare bits beyond the type.

cdef extern from * nogil:
    """
    #include <float.h>
    """
    const double FLT_MAX
    const double DBL_MAX

cdef inline V greatest(V x) noexcept nogil:
    if V is vec_f:
        return splat(x, FLT_MAX)
    else:
        return splat(x, DBL_MAX)

cdef inline V entry_sum(V high, V low, V scale) noexcept nogil:
    return (high + low) * scale

# x times the entry.  Infinity times an entry of 0 would be NaN: high is 0 at the lower end only, low at both.
cdef inline V entry_product(V x, V high, V low, V scale) noexcept nogil:
    cdef V above = larger(splat(x, 0.0) - greatest(x), x)
    cdef V bounded = smaller(greatest(x), above)
    return fused(above, high, bounded * low) * scale

# x, or the greatest number of its sign where it is infinite.
cdef inline V bounded(V x) noexcept nogil:
    return smaller(greatest(x), larger(splat(x, 0.0) - greatest(x), x))

# Any value times (a sum that is not 0, times a power of two): one near the subnormals is taken out of them, for
# its product with low would lose digits there.  Twice itself is a zero, which keeps its sign without low, and
# infinity, which low could turn into NaN; and where all overflows, low must not do so alone.
cdef inline V times_sum(V value, V high, V low, V scale) noexcept nogil:
    cdef V small = splat(value, 5.421010862427522e-20)  # 2^-64
    cdef V one = splat(value, 1.0)
    cdef V v = value * where_gt(small, magnitude(value), splat(value, 18446744073709551616.0), one)
    cdef V y = fused(v, high, bounded(v * where_eq(v + v, v, high, low)))
    return y * (scale * where_gt(small, magnitude(value), small, one))

# value times (x times the entry), which is 1/2 at 0.
cdef inline V times_entry_product(V value, V x, V high, V low, V scale) noexcept nogil:
    cdef V product = x * high
    cdef V rest = fused(x, low, product_error(x, high, product))
    rest = where_gt(magnitude(product), greatest(x), splat(x, 0.0), rest)
    return beside_zero(value, x, times_sum(value, product, rest, scale))

# factor times (total + lost), lost being the rounding error of total.
cdef inline V times_pair(V factor, V total, V lost) noexcept nogil:
    return fused(factor, total, factor * lost)

# What rounding a constant, given as a pair of doubles, to the type has lost.
cdef inline V constant_low(V x, const double* c) noexcept nogil:
    if V is vec_f:
        return splat(x, c[0] - <double> <float> c[0])
    else:
        return splat(x, c[1])

# Such a constant times (total + lost).
cdef inline V times_constant(V total, V lost, const double* c) noexcept nogil:
    cdef V high = splat(total, c[0])
    return fused(high, total, fused(high, lost, constant_low(total, c) * total))

# A table's absolute error is too large beside a root of the function.  There, in float, f = u (slope + u (...))
# with u + lost the distance from the root, which is given in three parts: its nearest float may be an x.
# Double promises an absolute error only.
cdef inline V distance_from_root(V x, V error, const double* c) noexcept nogil:
    return (x - splat(x, c[0])) + ((error - splat(x, c[1])) - splat(x, c[2]))

cdef inline V distance_lost(V x, V error, const double* c, V u) noexcept nogil:
    return ((x - splat(x, c[0])) - u) + ((error - splat(x, c[1])) - splat(x, c[2]))

# What f has beside u slope.
cdef inline V bend_near_root(V u, V lost, const double* c) noexcept nogil:
    cdef V w = fused(splat(u, c[8]), u, splat(u, c[7]))
    w = fused(fused(fused(w, u, splat(u, c[6])), u, splat(u, c[5])), u, splat(u, c[4]))
    return fused(u, w, lost * splat(u, c[3]))

cdef inline V near_root(V x, V error, const double* c, V otherwise) noexcept nogil:
    cdef V u = distance_from_root(x, error, c)
    cdef V near
    if V is vec_f:
        near = fused(u, splat(x, c[3]), bend_near_root(u, distance_lost(x, error, c, u), c))
        return where_gt(splat(x, ROOT_NEIGHBOURHOOD), magnitude(u), near, otherwise)
    else:
        return otherwise

# A value times f, which is (high + low) scale but beside the root, where scale is 1; rounded once.
cdef inline V times_near_root(V value, V x, V error, const double* c, V high, V low, V scale) noexcept nogil:
    cdef V u = distance_from_root(x, error, c)
    cdef V near, rest
    if V is vec_f:
        near = u * splat(x, c[3])
        rest = product_error(u, splat(x, c[3]), near) + bend_near_root(u, distance_lost(x, error, c, u), c)
        high = where_gt(splat(x, ROOT_NEIGHBOURHOOD), magnitude(u), near, high)
        low = where_gt(splat(x, ROOT_NEIGHBOURHOOD), magnitude(u), rest, low)
    return times_sum(value, high, low, scale)
