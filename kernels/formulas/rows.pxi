# What the reductions over rows apply to each entry; `difference` is the entry less the row's maximum.

cdef inline W sum_entry(W difference) noexcept nogil:
    return restore_tail(exp_nonpositive(difference), difference)

cdef inline W softmax_entry(W difference, W total) noexcept nogil:
    return restore_tail(exp_nonpositive(difference) / total, difference)
