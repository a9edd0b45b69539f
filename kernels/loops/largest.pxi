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


def largest(x, which, y, dy, dx, int axis):
    """Of exact ndarrays: y, the largest of the entries of x along `axis`, and which it is; or dx, the gradient.

    x and dx have that axis, of entries, which the others lack.  Forward: x, y and perhaps which; backward: dy, dx
    and one of x and which.  What is not taken part in is None.  False, and nothing is written, where an array is
    byte-swapped, unaligned or of a dtype without a kernel.
    """
    cdef Largest t
    cdef cnp.ndarray a
    cdef list given = [("dy", dy), ("x", x), ("which", which), ("y", y), ("dx", dx)]
    cdef int j = 0, i, kept, storage, computes_in = FLOAT32, ndim = 0
    t.x = t.which = t.y = t.dy = t.dx = -1
    for name, value in given:
        if value is None:
            continue
        if type(value) is not np.ndarray or j > 2:
            return False
        a = <cnp.ndarray> value
        storage = operand_storage(a)
        if storage < 0 or (storage > BFLOAT16) != (name == "which"):
            return False
        if storage == FLOAT64:
            computes_in = FLOAT64
        t.grid.types[j] = <Storage> storage
        t.grid.data[j] = <char*> cnp.PyArray_DATA(a)
        kept = 0
        for i in range(cnp.PyArray_NDIM(a)):
            if i == axis and name == "x":
                t.step_x, t.pieces = cnp.PyArray_STRIDES(a)[i], cnp.PyArray_DIMS(a)[i]
            elif i == axis and name == "dx":
                t.step_dx, t.pieces = cnp.PyArray_STRIDES(a)[i], cnp.PyArray_DIMS(a)[i]
            else:
                t.grid.shape[kept] = cnp.PyArray_DIMS(a)[i]
                t.grid.strides[j][kept] = cnp.PyArray_STRIDES(a)[i]
                kept += 1
        ndim = kept
        if name == "x":
            t.x = j
        elif name == "which":
            t.which = j
        elif name == "y":
            t.y = j
        elif name == "dy":
            t.dy = j
        else:
            t.dx = j
        j += 1
    t.kernel = &kernels_of(0)[computes_in]
    t.grid.axes = ndim
    with nogil:
        run_largest(t, j, settings)
    return True
