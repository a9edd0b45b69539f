# What a sum of weighted exponentials adds up; `difference` is the entry less the row's largest.

cdef inline W weighted_term(W difference, W weight) noexcept nogil:
    return restore_tail(weight * exp_nonpositive(difference), difference)
