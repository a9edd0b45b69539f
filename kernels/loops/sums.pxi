# Gradients of parameters, summed: what Python hands to sums.h, and the fast path of learned parameters.

cdef extern from * nogil:
    """
    #include "loops/sums.h"
    static const SumExports* sum_exports;
    """
    cdef struct SumBlocks:
        pass
    cdef struct SumExports:
        int count
        const SumBlocks* blocks[2]
    cdef struct Sums:
        const Kernel* kernel
        const SumBlocks* blocks
        const Kernel* gradient
        char* data "in"[4]
        bint varies[4]
        char* dx
        ptrdiff_t outer
        ptrdiff_t kept
        ptrdiff_t inner
    const SumExports* sum_exports
    const char* SUMS_NAME
    bint sum_up(Sums&, char*, const Settings&)

cdef str WRT = "wrt"


def use_sums(module):
    """Take the blocks that sum of one instruction set."""
    global sum_exports
    sum_exports = <const SumExports*> PyCapsule_GetPointer(module.sums, SUMS_NAME)


cdef inline bint contiguous(PyObject* o, int type_num) noexcept:
    return layout(o, type_num) & 1


# All but the parameters and the three lengths.
cdef inline void begin_sums(Sums* s, int compute, int index, int gradient, PyObject* dy, PyObject* x,
                            PyObject* dx) noexcept:
    s.kernel = &tables.kernels[2 * index + compute]
    s.blocks = &sum_exports.blocks[compute][index]
    s.gradient = chosen(&tables.kernels[2 * gradient + compute])
    s.data[0] = <char*> cnp.PyArray_DATA(<cnp.ndarray> dy)
    s.data[1] = <char*> cnp.PyArray_DATA(<cnp.ndarray> x)
    s.dx = <char*> NULL if dx == NULL else <char*> cnp.PyArray_DATA(<cnp.ndarray> dx)


cdef inline int finish_sums(Sums* s, char* result) except -1:
    cdef bint done
    if s.outer * s.kept * s.inner >= RELEASE_GIL_FROM:
        with nogil:
            done = sum_up(s[0], result, settings)
    else:
        done = sum_up(s[0], result, settings)
    if not done:
        raise MemoryError
    return 0


def sum_terms(int index, int gradient, tuple lengths, tuple arrays, result, dx):
    """Sum the results of kernel `index` over the outer and inner of three axes with these `lengths`.

    `arrays` are dy, x and the parameters, contiguous and of one dtype, float32 or float64; a parameter has one
    value, or one for each result.  `dx`, if not None, receives kernel `gradient` of the same arrays.
    """
    cdef Sums s
    cdef int j, compute = FLOAT64 if cnp.PyArray_TYPE(<cnp.ndarray> result) == cnp.NPY_DOUBLE else FLOAT32
    begin_sums(&s, compute, index, gradient, <PyObject*> arrays[0], <PyObject*> arrays[1],
               <PyObject*> NULL if dx is None else <PyObject*> dx)
    for j in range(2, len(arrays)):
        s.data[j] = <char*> cnp.PyArray_DATA(<cnp.ndarray> arrays[j])
        s.varies[j] = cnp.PyArray_SIZE(<cnp.ndarray> arrays[j]) > 1
    s.outer, s.kept, s.inner = lengths
    if 0 in lengths:
        result[...] = 0
    else:
        finish_sums(&s, <char*> cnp.PyArray_DATA(<cnp.ndarray> result))


# backward(dy, x, <learned>=a number, or a vector of one value per channel) of plain arrays, contiguous and alike.
cdef object run_learned(FastCall self, PyObject* dy, PyObject* x, PyObject* weight):
    cdef Sums s
    cdef int type_num, compute, ndim, axis
    cdef float as_float
    cdef double as_double
    cdef cnp.ndarray a = <cnp.ndarray> x
    cdef cnp.npy_intp* shape = cnp.PyArray_DIMS(a)
    type_num = cnp.PyArray_TYPE(a)
    ndim = cnp.PyArray_NDIM(a)
    if type_num != cnp.NPY_FLOAT and type_num != cnp.NPY_DOUBLE:
        return None
    if not contiguous(x, type_num) or not contiguous(dy, type_num) or not same_shape(a, <cnp.ndarray> dy):
        return None
    compute = FLOAT64 if type_num == cnp.NPY_DOUBLE else FLOAT32
    s.outer = s.kept = s.inner = 1
    s.varies[2] = False
    if PyFloat_CheckExact(weight) or PyLong_CheckExact(weight):
        as_double = PyFloat_AS_DOUBLE(weight) if PyFloat_CheckExact(weight) else PyLong_AsDouble(weight)
        as_float = <float> as_double
        s.data[2] = <char*> &as_double if compute == FLOAT64 else <char*> &as_float
        s.inner = cnp.PyArray_SIZE(a)
        dweight = cnp.PyArray_EMPTY(0, shape, type_num, 0)
    elif plain_array(weight) and contiguous(weight, type_num) and cnp.PyArray_NDIM(<cnp.ndarray> weight) == 1:
        if cnp.PyArray_SIZE(<cnp.ndarray> weight) == 1:
            s.inner = cnp.PyArray_SIZE(a)
        elif ndim < 2 or cnp.PyArray_DIMS(<cnp.ndarray> weight)[0] != shape[1]:
            return None
        else:
            s.outer, s.kept, s.varies[2] = shape[0], shape[1], True
            for axis in range(2, ndim):
                s.inner *= shape[axis]
        s.data[2] = <char*> cnp.PyArray_DATA(<cnp.ndarray> weight)
        dweight = cnp.PyArray_EMPTY(1, cnp.PyArray_DIMS(<cnp.ndarray> weight), type_num, 0)
    else:
        return None
    if s.outer * s.kept * s.inner == 0 or ndim == 0:
        return None
    dx = new_result(NULL, ndim, shape, type_num, 0)
    begin_sums(&s, compute, self.learned_index, self.gradient_index, dy, x, <PyObject*> dx)
    finish_sums(&s, <char*> cnp.PyArray_DATA(<cnp.ndarray> dweight))
    return dx, dweight[()] if cnp.PyArray_NDIM(<cnp.ndarray> dweight) == 0 else dweight


cdef object learned_call(object obj, PyObject* const* args, size_t nargsf, PyObject* kwnames):
    cdef FastCall self = <FastCall> obj
    cdef Py_ssize_t nargs = PyVectorcall_NARGS(nargsf), chosen = position_of(WRT, nargs, kwnames)
    if chosen >= 0:
        value = <object> args[chosen]
        if type(value) is str and value == "x":
            return call_without(self.of_x, chosen, args, nargs, kwnames)
    elif fast_calls and not first_kernel and nargs == 2 and kwnames != NULL and PyTuple_GET_SIZE(kwnames) == 1:
        if PyTuple_GET_ITEM(kwnames, 0) == <PyObject*> (<object> self.names[0]):
            if plain_array(args[0]) and plain_array(args[1]):
                result = run_learned(self, args[0], args[1], args[2])
                if result is not None:
                    return result
    return PyObject_Vectorcall(self.general, args, nargsf, kwnames)


enable(FastCall)


def bind_learned(FastCall callable, FastCall of_x, int gradient, int learned, str name):
    """Let `callable` compute kernels `gradient` and `learned`, of x and of its only parameter, in one pass.

    With ``wrt="x"`` it becomes `of_x`.
    """
    callable.gradient_index, callable.learned_index = gradient, learned
    callable.of_x = of_x
    callable.names = (sys.intern(name),)
    callable.vectorcall = <vectorcallfunc> learned_call
