# Two kernels of the same ndarrays in one pass, and calls of gated units, of two arrays or of the halves of one.

cdef extern from * nogil:
    """
    #include "loops/two_results.h"
    """
    cdef struct TwoResults:
        const Kernel* kernels[2]
        Grid grid
    void run_two_results(TwoResults&, const Settings&)


# `apart`: it is known that nothing overlaps but in the same place.
cdef bint run_two(const int* indices, PyObject* const* arrays, int inputs, PyObject* const* outs, bint apart) except -1:
    cdef TwoResults t
    cdef cnp.ndarray a, out = <cnp.ndarray> outs[0], other = <cnp.ndarray> outs[1]
    cdef int i, j, axis, ndim = cnp.PyArray_NDIM(out), storage = operand_storage(out)
    if storage < 0 or storage > BFLOAT16 or ndim == 0 or not same_shape(out, other):
        return False
    if not apart and overlaps(out, other):
        return False
    for j in range(inputs + 2):
        a = <cnp.ndarray> (arrays[j] if j < inputs else outs[j - inputs])
        if operand_storage(a) != storage or cnp.PyArray_NDIM(a) > ndim:
            return False
        if j < inputs and not apart and (conflicts(a, out) or conflicts(a, other)):
            return False
        if j >= inputs and (repeats_itself(a) or not cnp.PyArray_ISWRITEABLE(a)):
            return False
        t.grid.types[j] = <Storage> storage
        t.grid.data[j] = <char*> cnp.PyArray_DATA(a)
        for i in range(ndim):
            axis = i - (ndim - cnp.PyArray_NDIM(a))
            if axis < 0 or cnp.PyArray_DIMS(a)[axis] == 1:
                t.grid.strides[j][i] = 0
            elif cnp.PyArray_DIMS(a)[axis] == cnp.PyArray_DIMS(out)[i]:
                t.grid.strides[j][i] = cnp.PyArray_STRIDES(a)[axis]
            else:
                return False
    for j in range(2):
        t.kernels[j] = kernel_of_storage(
            &kernels_of(indices[j])[FLOAT64 if storage == FLOAT64 else FLOAT32], storage)
    t.grid.axes = ndim
    for i in range(ndim):
        t.grid.shape[i] = cnp.PyArray_DIMS(out)[i]
    if cnp.PyArray_SIZE(out) >= RELEASE_GIL_FROM:
        with nogil:
            run_two_results(t, settings)
    else:
        run_two_results(t, settings)
    return True


def call_two(int first, int second, tuple arrays, tuple outs, bint apart):
    """Kernels `first` and `second` of the same exact ndarrays into the two `outs`, to whose shape they broadcast.

    False, and nothing is written, where that takes two calls: dtypes that differ or have no kernel, byte-swapped,
    unaligned or overlapping operands, 0-d.  `apart`: the caller knows that nothing overlaps but in the same place.
    """
    cdef int[2] indices = [first, second]
    cdef PyObject* operands[MAX_INPUTS]
    cdef PyObject* results[2]
    cdef int j
    for j, a in enumerate(arrays + outs):
        if type(a) is not np.ndarray:
            return False
        if j < len(arrays):
            operands[j] = <PyObject*> a
        else:
            results[j - len(arrays)] = <PyObject*> a
    return bool(run_two(indices, operands, len(arrays), results, apart))


# One half of an array along its last axis, whose length is even, for as long as the array lives.
cdef cnp.ndarray half_of(cnp.ndarray a, bint second):
    cdef cnp.npy_intp shape[MAX_AXES]
    cdef int i, last = cnp.PyArray_NDIM(a) - 1
    for i in range(last + 1):
        shape[i] = cnp.PyArray_DIMS(a)[i]
    shape[last] //= 2
    cdef char* data = <char*> cnp.PyArray_DATA(a)
    if second:
        data += shape[last] * cnp.PyArray_STRIDES(a)[last]
    return cnp.PyArray_New(cnp.ndarray, last + 1, shape, cnp.PyArray_TYPE(a), cnp.PyArray_STRIDES(a), data, 0,
                           cnp.PyArray_FLAGS(a) & (cnp.NPY_ARRAY_ALIGNED | cnp.NPY_ARRAY_WRITEABLE), None)


cdef inline object new_like(cnp.ndarray a):
    return new_result(NULL, cnp.PyArray_NDIM(a), cnp.PyArray_DIMS(a), cnp.PyArray_TYPE(a), 0)


# Both gradients of plain arrays; None where that takes a closer look.  `whole` is what `arrays` has halves of.
cdef object run_gradients(FastCall self, PyObject* const* arrays, PyObject* whole, PyObject* out):
    cdef cnp.ndarray dy = <cnp.ndarray> arrays[0], result
    cdef PyObject* results[2]
    cdef bint apart = out == NULL
    if not same_shape(dy, <cnp.ndarray> arrays[1]) or not same_shape(dy, <cnp.ndarray> arrays[2]):
        return None
    if whole == NULL:
        if apart:
            first, second = new_like(dy), new_like(dy)
        else:
            pair = <object> out
            if type(pair) is not tuple or len(pair) != 2:
                return None
            first, second = pair
            if type(first) is not np.ndarray or type(second) is not np.ndarray:
                return None
            if not same_shape(dy, first) or not same_shape(dy, second):
                return None
        results[0], results[1] = <PyObject*> first, <PyObject*> second
        return (first, second) if run_two(self.gated, arrays, 3, results, apart) else None
    if apart:
        result = new_like(<cnp.ndarray> whole)
    elif plain_array(out) and same_shape(<cnp.ndarray> whole, <cnp.ndarray> out):
        result = <cnp.ndarray> out
        if operand_storage(result) != operand_storage(dy) or overlaps(dy, result):
            return None
        if conflicts(<cnp.ndarray> whole, result) or repeats_itself(result):
            return None
    else:
        return None
    first, second = half_of(result, False), half_of(result, True)
    results[0], results[1] = <PyObject*> first, <PyObject*> second
    return result if run_two(self.gated, arrays, 3, results, True) else None


# f(value, gate) and f(x), backward(dy, value, gate) and backward(dy, x), each with or without `out`.
cdef object gated_call(object obj, PyObject* const* args, size_t nargsf, PyObject* kwnames):
    cdef FastCall self = <FastCall> obj
    cdef Py_ssize_t nargs = PyVectorcall_NARGS(nargsf), lead = 0 if self.gated[1] < 0 else 1, j
    cdef Py_ssize_t names = 0 if kwnames == NULL else PyTuple_GET_SIZE(kwnames)
    cdef PyObject* arrays[3]
    cdef PyObject* out = NULL
    cdef PyObject* whole = NULL
    cdef bint simple = fast_calls and not first_kernel and 1 <= nargs - lead <= 2 and names <= 1
    if simple and names:
        simple = PyTuple_GET_ITEM(kwnames, 0) == <PyObject*> OUT and args[nargs] != <PyObject*> None
        out = args[nargs]
    for j in range(nargs if simple else 0):
        arrays[j] = args[j]
        simple = plain_array(args[j]) and 0 <= operand_storage(<cnp.ndarray> args[j]) <= BFLOAT16
        if simple and j:
            simple = cnp.PyArray_TYPE(<cnp.ndarray> args[j]) == cnp.PyArray_TYPE(<cnp.ndarray> args[0])
        if not simple:
            break
    if simple and nargs - lead == 1:
        whole = args[lead]
        j = cnp.PyArray_NDIM(<cnp.ndarray> whole)
        simple = j > 0 and cnp.PyArray_DIMS(<cnp.ndarray> whole)[j - 1] % 2 == 0
        if simple:
            value, gate = half_of(<cnp.ndarray> whole, False), half_of(<cnp.ndarray> whole, True)
            arrays[lead], arrays[lead + 1] = <PyObject*> value, <PyObject*> gate
    if simple:
        if lead:
            result = run_gradients(self, arrays, whole, out)
        elif out != NULL and not plain_array(out):
            result = None
        else:
            result = run_on_grid(kernels_of(self.gated[0]), arrays, 2, 0, NULL, 0, out)
        if result is not None:
            return result
    return PyObject_Vectorcall(self.general, args, nargsf, kwnames)


def bind_gated(FastCall callable, int first, int second=-1):
    """Let `callable` compute kernel `first` of value and gate; or, of dy besides, both gradients in one pass."""
    callable.gated = [first, second]
    callable.vectorcall = <vectorcallfunc> gated_call
