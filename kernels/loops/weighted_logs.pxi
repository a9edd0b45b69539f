# logsumexp with weights of a few plain arrays: straight from the sums of weighted.h to the result.

from libc.math cimport NAN, fabsl, log1pl, logl

cdef enum:
    FEW_WEIGHTED = 256  # rows whose sums have room on the stack; what comes before and after them matters less

# What is left after cancelling may not be as small as what underflow left out.
cdef long double NEGLIGIBLE = 2.0 ** -800


# log(abs(sum)) of a row's sums, and the sign; False where the reference must say.
cdef bint log_of_weighted(const double* sums, double* value, double* sign) noexcept nogil:
    cdef long double lead = sums[1], others = (<long double> sums[3] + sums[4]) + sums[2]
    cdef long double total = lead + others, log
    if not fabsl(total) > NEGLIGIBLE:
        return False
    sign[0] = 1 if total > 0 else -1
    if fabsl(total) < 0.5:
        log = logl(fabsl(total))
    else:  # no logarithm of a rounded sum
        log = log1pl((sign[0] * lead - 1) + sign[0] * others)
    value[0] = <double> (sums[0] + log)
    return True


def weighted_logsumexp(a, b, axis, bint return_sign):
    """logsumexp of contiguous float32 or float64 ndarrays along their last axis; None where it is not so simple.

    `b` has the shape of `a`, or is one row.
    """
    cdef double sums[5 * FEW_WEIGHTED]
    cdef double value, sign
    cdef cnp.ndarray source, weights, results, signs = None
    cdef WeightedRows s
    cdef int type_num, last
    cdef ptrdiff_t i
    if type(a) is not np.ndarray or type(b) is not np.ndarray or (axis is not None and type(axis) is not int):
        return None
    source, weights = a, b
    last = cnp.PyArray_NDIM(source) - 1
    type_num = cnp.PyArray_TYPE(source)
    if cnp.PyArray_TYPE(weights) != type_num or (type_num != cnp.NPY_FLOAT and type_num != cnp.NPY_DOUBLE):
        return None
    if last < 0 or cnp.PyArray_SIZE(source) == 0 or not (axis == -1 or axis == last or (axis is None and last == 0)):
        return None
    if not (cnp.PyArray_ISCARRAY_RO(source) and cnp.PyArray_ISCARRAY_RO(weights)):
        return None
    if not same_shape(source, weights) and not (
        cnp.PyArray_NDIM(weights) == 1 and cnp.PyArray_DIMS(weights)[0] == cnp.PyArray_DIMS(source)[last]
    ):
        return None
    describe_weighted(&s, source, cnp.PyArray_DIMS(source)[last], sums)
    if s.rows > FEW_WEIGHTED:
        return None
    s.b = <const char*> cnp.PyArray_DATA(weights)
    s.b_step = s.length if cnp.PyArray_NDIM(weights) == last + 1 and s.rows > 1 else 0
    with nogil:
        run_weighted(s, settings)
    results = cnp.PyArray_EMPTY(last, cnp.PyArray_DIMS(source), type_num, 0)
    if return_sign:
        signs = cnp.PyArray_EMPTY(last, cnp.PyArray_DIMS(source), type_num, 0)
    for i in range(s.rows):
        if not log_of_weighted(sums + 5 * i, &value, &sign):
            return None
        if return_sign:
            store_number(signs, i, sign)
        elif sign < 0:
            value = NAN
        store_number(results, i, value)
    return (results, signs) if return_sign else results


cdef inline void store_number(cnp.ndarray a, ptrdiff_t i, double value) noexcept:
    if cnp.PyArray_TYPE(a) == cnp.NPY_FLOAT:
        (<float*> cnp.PyArray_DATA(a))[i] = <float> value
    else:
        (<double*> cnp.PyArray_DATA(a))[i] = value
