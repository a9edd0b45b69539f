# The fast path: exact ndarrays, float32 or float64, native, aligned, contiguous and alike, go to the kernel
# without a ufunc's set-up.  Whatever else comes is handed on, unchanged, to the general path in Python.

cdef extern from *:
    """
    static inline bool plain_array(PyObject* o) {
        return Py_TYPE(o) == &PyArray_Type;
    }
    // Turns on vectorcall for a type, which Cython cannot declare.
    static void enable_vectorcall(PyTypeObject* type, Py_ssize_t offset) {
        type->tp_vectorcall_offset = offset;
        type->tp_call = PyVectorcall_Call;
        type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
        PyType_Modified(type);
    }
    """
    ctypedef PyObject* (*vectorcallfunc)(PyObject*, PyObject* const*, size_t, PyObject*)
    bint plain_array(PyObject*)
    void enable_vectorcall(PyTypeObject*, Py_ssize_t)
    Py_ssize_t PyVectorcall_NARGS(size_t)
    object PyObject_Vectorcall(object, PyObject* const*, size_t, PyObject*)
    Py_ssize_t PyTuple_GET_SIZE(PyObject*)
    PyObject* PyTuple_GET_ITEM(PyObject*, Py_ssize_t)
    bint PyFloat_CheckExact(PyObject*)
    bint PyLong_CheckExact(PyObject*)
    double PyFloat_AS_DOUBLE(PyObject*)
    double PyLong_AsDouble(PyObject*) except? -1.0

cdef extern from "numpy/arrayobject.h":
    bint PyArray_ISNOTSWAPPED(cnp.ndarray)

cdef enum:
    MAX_PARAMETERS = 2
    RELEASE_GIL_FROM = 4096  # elements; below, taking it back could cost more than the work

cdef bint fast_calls = False
cdef str OUT = "out"


def allow_fast_calls(bint allowed):
    """Open or close the fast path for the process: closed while a setting needs the general one."""
    global fast_calls
    fast_calls = allowed


cdef class FastCall:
    """A callable over one kernel; its subclass supplies `general` for all that is not the fast path."""

    cdef vectorcallfunc vectorcall
    cdef Kernel* kernels  # [storage]
    cdef int arrays, parameters
    cdef bint positional_out
    cdef tuple names
    cdef double[MAX_PARAMETERS] defaults
    cdef double[MAX_PARAMETERS] at_least
    cdef double[MAX_PARAMETERS] above
    cdef bint[MAX_PARAMETERS] required
    cdef public object general

    def __cinit__(self):
        self.vectorcall = <vectorcallfunc> fast_call

    def __call__(self, *args, **kwargs):  # replaced by vectorcall, but must exist for obj.__call__
        return self.general(*args, **kwargs)

    def bind_kernel(self, int index, int arrays, parameters, bint positional_out):
        """Use kernel `index` with `arrays` array inputs, then scalar `parameters` (rows of the table)."""
        self.kernels = &tables.kernels[index * STORAGES]
        self.arrays = arrays
        self.parameters = len(parameters)
        self.positional_out = positional_out
        self.names = tuple(intern_name(p.name) for p in parameters)
        for i, p in enumerate(parameters):
            self.required[i] = p.default is None
            self.defaults[i] = 0.0 if p.default is None else p.default
            self.at_least[i] = p.at_least
            self.above[i] = p.above


cdef str intern_name(str name):
    import sys
    return sys.intern(name)


def enable(type subclass):
    """Let instances of this subclass of FastCall be called through vectorcall."""
    cdef FastCall probe = FastCall.__new__(FastCall)
    enable_vectorcall(<PyTypeObject*> subclass, <char*> &probe.vectorcall - <char*> <PyObject*> probe)


# The layout in which `a` is contiguous: 1 C, 2 Fortran, 3 both, 0 neither or not plain.
cdef inline int layout(cnp.ndarray a, int* storage) noexcept:
    cdef int type_num = cnp.PyArray_TYPE(a)
    if type_num == cnp.NPY_FLOAT:
        storage[0] = FLOAT32
    elif type_num == cnp.NPY_DOUBLE:
        storage[0] = FLOAT64
    else:
        return 0
    cdef int flags = cnp.PyArray_FLAGS(a)
    if not flags & cnp.NPY_ARRAY_ALIGNED or not PyArray_ISNOTSWAPPED(a) or cnp.PyArray_NDIM(a) == 0:
        return 0
    return (1 if flags & cnp.NPY_ARRAY_C_CONTIGUOUS else 0) | (2 if flags & cnp.NPY_ARRAY_F_CONTIGUOUS else 0)

cdef inline bint same_shape(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef int i, n = cnp.PyArray_NDIM(a)
    if n != cnp.PyArray_NDIM(b):
        return False
    for i in range(n):
        if cnp.PyArray_DIMS(a)[i] != cnp.PyArray_DIMS(b)[i]:
            return False
    return True

cdef inline bint partly_overlaps(cnp.ndarray a, cnp.ndarray b, Py_ssize_t bytes) noexcept:
    cdef char* p = <char*> cnp.PyArray_DATA(a)
    cdef char* q = <char*> cnp.PyArray_DATA(b)
    return p != q and p < q + bytes and q < p + bytes


cdef object fast_call(object obj, PyObject* const* args, size_t nargsf, PyObject* kwnames):
    cdef FastCall self = <FastCall> obj
    cdef Py_ssize_t nargs = PyVectorcall_NARGS(nargsf), given, i, k
    cdef cnp.ndarray x, other
    cdef PyObject* out = NULL
    cdef PyObject* name
    cdef PyObject* value
    cdef double[MAX_PARAMETERS] parameters
    cdef bint[MAX_PARAMETERS] known
    cdef int storage = 0, other_storage = 0, order, item
    cdef char* pointers[6]
    cdef ptrdiff_t steps[6]
    cdef float[MAX_PARAMETERS] as_float
    cdef const Kernel* kernel
    cdef Py_ssize_t size

    if not fast_calls or self.kernels == NULL or nargs < self.arrays or not plain_array(args[0]):
        return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
    x = <cnp.ndarray> args[0]
    order = layout(x, &storage)

    # positional parameters or `out`
    for k in range(self.parameters):
        known[k] = False
    for i in range(self.arrays, nargs):
        k = i - self.arrays
        if k < self.parameters:
            if not read_parameter(self, k, args[i], storage, parameters):
                return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
            known[k] = True
        elif k == 0 and self.positional_out:
            out = args[i]
        else:
            return PyObject_Vectorcall(self.general, args, nargsf, kwnames)

    # keywords
    given = 0 if kwnames == NULL else PyTuple_GET_SIZE(kwnames)
    for i in range(given):
        name = PyTuple_GET_ITEM(kwnames, i)
        value = args[nargs + i]
        if name == <PyObject*> OUT and out == NULL:
            out = value
            continue
        for k in range(self.parameters):
            if name == <PyObject*> (<object> self.names[k]):
                break
        else:
            return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
        if known[k] or not read_parameter(self, k, value, storage, parameters):
            return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
        known[k] = True
    for k in range(self.parameters):
        if not known[k]:
            if self.required[k]:
                return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
            parameters[k] = self.defaults[k]
    if out == <PyObject*> None:
        out = NULL

    # arrays alike
    if order == 0:
        return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
    size = cnp.PyArray_SIZE(x)
    kernel = &self.kernels[storage]
    item = kernel.item_bytes
    pointers[0] = <char*> cnp.PyArray_DATA(x)
    steps[0] = item
    for i in range(1, self.arrays):
        if not plain_array(args[i]):
            return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
        other = <cnp.ndarray> args[i]
        order &= layout(other, &other_storage)
        if order == 0 or other_storage != storage or not same_shape(x, other):
            return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
        pointers[i] = <char*> cnp.PyArray_DATA(other)
        steps[i] = item
    if out == NULL:
        result = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), not order & 1)
    else:
        if not plain_array(out):
            return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
        result = <object> out
        order &= layout(<cnp.ndarray> result, &other_storage)
        if (order == 0 or other_storage != storage or not same_shape(x, <cnp.ndarray> result)
                or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> result)):
            return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
        for i in range(self.arrays):
            if partly_overlaps(<cnp.ndarray> args[i], <cnp.ndarray> result, size * item):
                return PyObject_Vectorcall(self.general, args, nargsf, kwnames)

    for k in range(self.parameters):
        as_float[k] = <float> parameters[k]
        pointers[self.arrays + k] = <char*> &as_float[k] if storage == FLOAT32 else <char*> &parameters[k]
        steps[self.arrays + k] = 0
    pointers[kernel.inputs] = <char*> cnp.PyArray_DATA(<cnp.ndarray> result)
    steps[kernel.inputs] = item
    if size >= RELEASE_GIL_FROM:
        with nogil:
            run(kernel[0], pointers, size, steps, settings)
    else:
        run(kernel[0], pointers, size, steps, settings)
    return result


# A parameter as the kernel will see it, if it is a plain number that the table accepts.
cdef inline bint read_parameter(FastCall self, Py_ssize_t k, PyObject* value, int storage, double* parameters) except -1:
    cdef double number
    if PyFloat_CheckExact(value):
        number = PyFloat_AS_DOUBLE(value)
    elif PyLong_CheckExact(value):
        number = PyLong_AsDouble(value)
    else:
        return False
    if storage == FLOAT32:
        number = <float> number
    parameters[k] = number
    if self.above[k] == -INFINITY:
        return number >= self.at_least[k] or self.at_least[k] == -INFINITY
    return self.above[k] < number < INFINITY
