# The gradient of logit's margin in one register (half/gated.pxi).

cdef inline V logit_wrt_eps_half(V x, V eps) noexcept nogil:
    cdef V c = logit_side(x)
    cdef V moved = splat(x, 1.0) / (eps * (splat(x, 1.0) - eps))
    return where_clamped(x, c, eps, moved, splat(x, 0.0) - moved, where_eq(c, c, splat(x, 0.0), c))
