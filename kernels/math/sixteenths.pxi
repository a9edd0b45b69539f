# exp(x) = 2^(k/16) exp(r), k = ceil(16 x / ln 2), by powers that lie in registers (Tang, ACM TOMS 15, 1989): for
# instruction sets that can look up lanes there, formulas/registers/.
#
# exp(x + x_low) = 2^floor(k/16) (power + power_low), x_low small beside r.  Error below 2^-29 (float) or 2^-58
# (double) of the result; and of exp(x) - 1, for r is not rounded where k is 0.

# k + a number that leaves it in the last bits.  Rounded up, no k but 0 comes near x = 0, where exp(x) - 1 has little
# left.
cdef inline V numbered_sixteenths(V x) noexcept nogil:
    cdef V sixteenths = fma(x, splat(x, 16.0 * LOG2E[0]), splat(x, 0.5))
    if V is vec_f:
        return sixteenths + splat(x, 12582912.0)
    else:
        return sixteenths + splat(x, 6755399441055744.0)

cdef inline V sixteenths(V x) noexcept nogil:
    if V is vec_f:
        return numbered_sixteenths(x) - splat(x, 12582912.0)
    else:
        return numbered_sixteenths(x) - splat(x, 6755399441055744.0)

cdef inline V power(V x) noexcept nogil:
    if V is vec_f:
        return entry(POWERS_FLOAT, numbered_sixteenths(x))
    else:
        return entry(POWERS, numbered_sixteenths(x))

cdef inline V power_low(V x, V x_low) noexcept nogil:
    cdef V k = sixteenths(x)
    cdef V high, low, r, missing
    if V is vec_f:
        high = fma(k, splat(k, -LN2_SIXTEENTH_FLOAT[0]), x)
        low = fma(k, splat(k, -LN2_SIXTEENTH_FLOAT[1]), x_low)
        r = high + low
        low = fma(r * r, polynomial(r, EXP_SIXTEENTH_FLOAT), low)
        missing = entry(POWERS_LOW_FLOAT, numbered_sixteenths(x))
    else:
        high = fma(k, splat(k, -LN2_SIXTEENTH[0]), x)
        low = fma(k, splat(k, -LN2_SIXTEENTH[1]), x_low)
        r = high + low
        low = fma(r * r, polynomial(r, EXP_SIXTEENTH), low)
        missing = entry(POWERS_LOW, numbered_sixteenths(x))
    return fma(power(x), high, fma(power(x), low, missing))
