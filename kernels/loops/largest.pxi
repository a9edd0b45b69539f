# The largest of a few entries along an axis of ndarrays, and its gradient.

cdef extern from * nogil:
    """
    #include "loops/largest.h"
    """
    cdef struct Largest:
        const Kernel* kernel
        Grid grid
        int pieces
        ptrdiff_t step_x
        ptrdiff_t step_dx
        int x
        int which
        int y
        int dy
        int dx
    void run_largest(Largest&, int operands, const Settings&)
    bint counts_below(Storage, const void* counts, ptrdiff_t n, size_t limit)

# In this order the operands of either pass stand.
cdef enum:
    OF_DY
    OF_X
    OF_WHICH
    OF_Y
    OF_DX
    PLACES


# `arrays` by those places, NULL for what takes no part; x and dx have `pieces` entries along `axis` for one of the
# others.  False, and nothing is written, where an array is byte-swapped, unaligned or of a dtype without a kernel.
cdef bint fill_largest(PyObject** arrays, int pieces, int axis) except -1:
    cdef Largest t
    cdef cnp.ndarray a
    cdef int[PLACES] places
    cdef int place, i, j = 0, storage, computes_in = FLOAT32
    for place in range(PLACES):
        places[place] = -1
        if arrays[place] == NULL:
            continue
        a = <cnp.ndarray> arrays[place]
        storage = operand_storage(a)
        if storage < 0 or (storage > BFLOAT16) != (place == OF_WHICH):
            return False
        if storage == FLOAT64:
            computes_in = FLOAT64
        t.grid.types[j] = <Storage> storage
        t.grid.data[j] = <char*> cnp.PyArray_DATA(a)
        t.grid.axes = cnp.PyArray_NDIM(a)
        for i in range(t.grid.axes):
            t.grid.shape[i] = cnp.PyArray_DIMS(a)[i]
            t.grid.strides[j][i] = cnp.PyArray_STRIDES(a)[i]
        if place == OF_X or place == OF_DX:
            if place == OF_X:
                t.step_x = t.grid.strides[j][axis]
            else:
                t.step_dx = t.grid.strides[j][axis]
            t.grid.shape[axis] //= pieces
            t.grid.strides[j][axis] *= pieces
        places[place] = j
        j += 1
    t.dy, t.x, t.which, t.y, t.dx = places[OF_DY], places[OF_X], places[OF_WHICH], places[OF_Y], places[OF_DX]
    t.pieces = pieces
    t.kernel = &kernels_of(0)[computes_in]
    with nogil:
        run_largest(t, j, settings)
    return True


def largest(x, which, y, dy, dx, int pieces, int axis):
    """Of exact ndarrays: y, the largest of every `pieces` entries of x, and which it is; or dx, the gradient.

    Forward: x, y and perhaps which; backward: dy, dx and one of x and which.  What is not taken part in is None.
    False, and nothing is written, where an array is byte-swapped, unaligned or of a dtype without a kernel.
    """
    cdef PyObject* arrays[PLACES]
    cdef int place
    arrays[OF_DY], arrays[OF_X], arrays[OF_WHICH] = <PyObject*> dy, <PyObject*> x, <PyObject*> which
    arrays[OF_Y], arrays[OF_DX] = <PyObject*> y, <PyObject*> dx
    for place in range(PLACES):
        if arrays[place] == <PyObject*> None:
            arrays[place] = NULL
        elif not plain_array(arrays[place]):
            return False
    return fill_largest(arrays, pieces, axis)


# What plain calls have in common: whether the arguments are as usual, and then the number of pieces and the axis.
cdef bint usual_pieces(cnp.ndarray a, object pieces, object axis, int* count, int* along) except -1:
    cdef Py_ssize_t number, where
    if not fast_calls or first_kernel or type(pieces) is not int or type(axis) is not int:
        return False
    if not 1 <= pieces <= 65536 or not -MAX_AXES <= axis < MAX_AXES:
        return False
    number, where = pieces, axis
    if where < 0:
        where += cnp.PyArray_NDIM(a)
    if not 0 <= where < cnp.PyArray_NDIM(a):
        return False
    count[0], along[0] = number, where
    return True


cdef inline int counting_type(int pieces) noexcept:
    return cnp.NPY_UINT8 if pieces <= 256 else cnp.NPY_UINT16


# A result of `shape`: a new array, or `out` where that is usual and lies apart from `a` and `b`; else None.
cdef object usual_result(object out, int ndim, cnp.npy_intp* shape, cnp.ndarray like, cnp.ndarray a, cnp.ndarray b):
    cdef int i
    if out is None:
        return new_result(NULL, ndim, shape, cnp.PyArray_TYPE(like), 0)
    if type(out) is not np.ndarray or cnp.PyArray_TYPE(<cnp.ndarray> out) != cnp.PyArray_TYPE(like):
        return None
    if operand_storage(<cnp.ndarray> out) < 0 or cnp.PyArray_NDIM(<cnp.ndarray> out) != ndim:
        return None
    for i in range(ndim):
        if cnp.PyArray_DIMS(<cnp.ndarray> out)[i] != shape[i]:
            return None
    if not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out) or repeats_itself(<cnp.ndarray> out):
        return None
    return None if overlaps(a, <cnp.ndarray> out) or overlaps(b, <cnp.ndarray> out) else out


def plain_maxout(x, pieces, axis, out, bint indexed):
    """maxout of a plain array, with its index if that is wanted; None where that takes a closer look."""
    cdef PyObject* arrays[PLACES]
    cdef cnp.npy_intp shape[MAX_AXES]
    cdef int count, along, i, storage
    if type(x) is not np.ndarray or not usual_pieces(<cnp.ndarray> x, pieces, axis, &count, &along):
        return None
    cdef cnp.ndarray array = <cnp.ndarray> x
    storage = operand_storage(array)
    if not 0 <= storage <= BFLOAT16 or cnp.PyArray_DIMS(array)[along] % count:
        return None
    for i in range(cnp.PyArray_NDIM(array)):
        shape[i] = cnp.PyArray_DIMS(array)[i]
    shape[along] //= count
    y = usual_result(out, cnp.PyArray_NDIM(array), shape, array, array, array)
    if y is None:
        return None
    arrays[OF_DY] = arrays[OF_WHICH] = arrays[OF_DX] = NULL
    arrays[OF_X], arrays[OF_Y] = <PyObject*> x, <PyObject*> y
    if not indexed:
        return y if fill_largest(arrays, count, along) else None
    index = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(array), shape, counting_type(count), 0)
    arrays[OF_WHICH] = <PyObject*> index
    return (y, index) if fill_largest(arrays, count, along) else None


def plain_maxout_gradient(dy, x, pieces, axis, index, out):
    """The gradient of maxout for plain arrays, one of `x` and `index` not None; None as `plain_maxout`."""
    cdef PyObject* arrays[PLACES]
    cdef cnp.npy_intp shape[MAX_AXES]
    cdef int count, along, i, ndim
    if type(dy) is not np.ndarray or (x is None) == (index is None):
        return None
    if not usual_pieces(<cnp.ndarray> dy, pieces, axis, &count, &along):
        return None
    cdef cnp.ndarray upstream = <cnp.ndarray> dy
    source = index if x is None else x
    if type(source) is not np.ndarray or operand_storage(upstream) < 0 or operand_storage(<cnp.ndarray> source) < 0:
        return None
    ndim = cnp.PyArray_NDIM(upstream)
    if operand_storage(upstream) > BFLOAT16 or cnp.PyArray_NDIM(<cnp.ndarray> source) != ndim:
        return None
    for i in range(ndim):
        shape[i] = cnp.PyArray_DIMS(upstream)[i] * (count if i == along else 1)
    if x is None:
        if cnp.PyArray_TYPE(<cnp.ndarray> source) != counting_type(count):
            return None
        if not same_shape(upstream, <cnp.ndarray> source) or not cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray> source):
            return None
        if not counts_below(<Storage> operand_storage(<cnp.ndarray> source), cnp.PyArray_DATA(<cnp.ndarray> source),
                            cnp.PyArray_SIZE(<cnp.ndarray> source), count):
            return None
    else:
        if cnp.PyArray_TYPE(<cnp.ndarray> source) != cnp.PyArray_TYPE(upstream):
            return None
        for i in range(ndim):
            if cnp.PyArray_DIMS(<cnp.ndarray> source)[i] != shape[i]:
                return None
    dx = usual_result(out, ndim, shape, upstream, upstream, <cnp.ndarray> source)
    if dx is None:
        return None
    arrays[OF_X] = arrays[OF_WHICH] = arrays[OF_Y] = NULL
    arrays[OF_WHICH if x is None else OF_X] = <PyObject*> source
    arrays[OF_DY] = <PyObject*> dy
    arrays[OF_DX] = <PyObject*> dx
    return dx if fill_largest(arrays, count, along) else None
