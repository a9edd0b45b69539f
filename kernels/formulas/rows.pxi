# What the reductions over rows are made of: exp(x) = 2^k (1 + t) for each entry, the rest once for each row.

cdef inline V entry_exponent(V x) noexcept nogil:
    return nearest_exponent(x)

cdef inline V entry_excess(V x, V k) noexcept nogil:
    return exp_excess(x, k)

# 2^k / exp(x), which is near 1: from sums in units of 2^k to sums in units of the largest entry.
cdef inline W leading_factor(W x, W k) noexcept nogil:
    return 1.0 + expm1_remainder(0.0 - exp_remainder(x, k))

# A sum in units of exp(m), in units of the larger exp(m - difference).
cdef inline W rescaled_sum(W sum, W difference) noexcept nogil:
    return restore_tail(sum * exp_nonpositive(difference), difference)

cdef inline W log_of_excess(W v) noexcept nogil:
    return where_gt(splat(v, 1e-35), v, v, log1p_unit(v))
