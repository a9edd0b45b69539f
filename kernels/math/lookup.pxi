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
cdef inline V near_root(V x, V error, const double* c, V otherwise) noexcept nogil:
    cdef V exact = x - splat(x, c[0])
    cdef V rest = (error - splat(x, c[1])) - splat(x, c[2])
    cdef V u = exact + rest
    cdef V lost = (exact - u) + rest
    cdef V w, near
    if V is vec_f:
        w = fused(splat(x, c[8]), u, splat(x, c[7]))
        w = fused(fused(fused(w, u, splat(x, c[6])), u, splat(x, c[5])), u, splat(x, c[4]))
        near = fused(u, splat(x, c[3]), fused(u, w, lost * splat(x, c[3])))
        return where_gt(splat(x, ROOT_NEIGHBOURHOOD), magnitude(u), near, otherwise)
    else:
        return otherwise
