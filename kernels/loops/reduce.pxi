# Row kernels on ndarrays: which axes are the rows, which operands go entry by entry.

cdef cnp.ndarray new_row_values(cnp.ndarray x, const bint* reduced, bint keepdims, int type_num):
    cdef cnp.npy_intp shape[MAX_AXES]
    cdef int axis, ndim = 0
    for axis in range(cnp.PyArray_NDIM(x)):
        if keepdims or not reduced[axis]:
            shape[ndim] = 1 if reduced[axis] else cnp.PyArray_DIMS(x)[axis]
            ndim += 1
    return cnp.PyArray_EMPTY(ndim, shape, type_num, 0)


# An array with one value for each row, its reduced axes left out or kept with length 1; False if it is not.
cdef bint add_row_values(Reduction* r, cnp.ndarray x, const bint* reduced, bint keepdims,
                         cnp.ndarray values) noexcept:
    return 0 <= readable(values) <= FLOAT16 and add_of_rows(r, OF_ROW, x, reduced, keepdims, values)


# The same of any storage.
cdef inline bint add_of_rows(Reduction* r, int operand, cnp.ndarray x, const bint* reduced, bint keepdims,
                             cnp.ndarray values) noexcept:
    return add_view_of_rows(r[0], operand, view_of(x), reduced, keepdims, view_of(values))


# An array of the shape of x; False if its reduced axes are not one in memory.
cdef bint add_entries(Reduction* r, int operand, const bint* reduced, cnp.ndarray a) noexcept:
    return 0 <= readable(a) <= FLOAT16 and add_view_of_entries(r[0], operand, reduced, view_of(a))


# Which axes `axis` names (None: all); False if it is not None, an integer or a tuple of different ones in range.
cdef bint mark_axes(axis, int ndim, bint* reduced) except -1:
    cdef int i
    cdef Py_ssize_t one
    for i in range(ndim):
        reduced[i] = axis is None
    if axis is None:
        return True
    for value in axis if type(axis) is tuple else (axis,):
        if type(value) is not int:
            return False
        one = value
        if one < 0:
            one += ndim
        if one < 0 or one >= ndim or reduced[one]:
            return False
        reduced[one] = True
    return True


cdef void begin_reduction(Reduction* r, int storage, int index) noexcept:
    cdef int i
    r.zero = False
    r.computes_in = <Storage> (FLOAT64 if storage == FLOAT64 else FLOAT32)
    r.item_bytes = 8 if storage == FLOAT64 else 4
    r.kernel = tables.exports.rows[1 if storage == FLOAT64 else 0][index]
    r.converters = tables.exports.converters
    r.cost = 30 if storage == FLOAT64 else 8
    for i in range(ROW_OPERANDS):
        r.used[i] = False


def reduce_rows(int index, bint zero, x, axis, out=None, bint keepdims=False, dy=None, bint one_dy_a_row=False):
    """Run row kernel `index` over exact ndarrays; None where they must be prepared first.

    `zero` gives each row one more entry, 0, of which nothing is written.
    `x` is float16, float32 or float64 with at least one axis and one element, and `out`, if given, of its dtype;
    a gradient takes `dy`, of the shape of `x` or one value a row.  Whatever is not so, axes that are not one
    axis in memory and overlapping arrays included, is the caller's to prepare or to refuse.
    """
    cdef Reduction r
    cdef bint reduced[MAX_AXES]
    cdef cnp.ndarray a, result
    cdef int ndim, storage
    cdef bint enough
    if type(x) is not np.ndarray or (out is not None and type(out) is not np.ndarray):
        return None
    a = x
    ndim = cnp.PyArray_NDIM(a)
    storage = readable(a)
    if storage < 0 or storage > FLOAT16 or ndim == 0 or cnp.PyArray_SIZE(a) == 0:
        return None
    if not mark_axes(axis, ndim, reduced):
        return None
    begin_reduction(&r, storage, index)
    r.zero = zero
    r.writes_row = r.kernel.apply == NULL
    if not add_entries(&r, IN_X, reduced, a):
        return None
    if dy is not None:
        if type(dy) is not np.ndarray or readable(dy) < 0:
            return None
        if one_dy_a_row:
            if not add_row_values(&r, a, reduced, keepdims, dy):
                return None
        elif not same_shape(a, dy) or not add_entries(&r, IN_DY, reduced, dy):
            return None
    if out is None:
        if r.writes_row:
            result = new_row_values(a, reduced, keepdims, cnp.PyArray_TYPE(a))
        else:
            result = new_result(NULL, ndim, cnp.PyArray_DIMS(a), cnp.PyArray_TYPE(a), 0)
    else:
        result = out
        if cnp.PyArray_TYPE(result) != cnp.PyArray_TYPE(a) or readable(result) < 0 or not cnp.PyArray_ISWRITEABLE(result):
            return None
        if repeats_itself(result) or conflicts(a, result) or (dy is not None and conflicts(dy, result)):
            return None
    if r.writes_row:
        if not add_row_values(&r, a, reduced, keepdims, result):
            return None
    elif not same_shape(a, result) or not add_entries(&r, TO_OUT, reduced, result):
        return None
    if cnp.PyArray_SIZE(a) >= RELEASE_GIL_FROM:
        with nogil:
            enough = run_reduction(r, settings)
    else:
        enough = run_reduction(r, settings)
    if not enough:
        raise MemoryError
    return result
