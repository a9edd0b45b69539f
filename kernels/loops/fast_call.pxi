# The fast path.  Plain, alike, contiguous arrays of a type that the kernel computes in go straight to it; arrays
# of any strides and real dtype, and lists of numbers, through the grid; what else NumPy understands by itself,
# its subclasses included, to the ufunc.  All that remains, every error included, is handed on, unchanged, to
# the general path in Python.

cdef extern from *:
    """
    static inline bool plain_array(PyObject* o) { return Py_TYPE(o) == &PyArray_Type; }
    static inline bool plain_list(PyObject* o) { return PyList_CheckExact(o) || PyTuple_CheckExact(o); }
    // What a ufunc may be given without asking which library it belongs to; of a dtype that it knows already.
    static inline bool plain_scalar(PyObject* o) {
        return PyFloat_CheckExact(o) || PyLong_CheckExact(o) || PyBool_Check(o) || PyArray_IsScalar(o, Number) ||
               PyArray_IsScalar(o, Bool) || plain_list(o);
    }
    // Whether the ufunc may have it unseen.  With parameters integers may not: they take part in the
    // promotion there, but are cast to the type of x here.
    static inline bool suits_ufunc(PyObject* o, bool parameters) {
        if (!PyArray_Check(o))
            return parameters ? PyFloat_CheckExact(o) || PyArray_IsScalar(o, Floating) : plain_scalar(o);
        const int type = PyArray_TYPE((PyArrayObject*)o);
        return type == NPY_HALF || (type <= NPY_LONGDOUBLE && (type >= NPY_FLOAT || !parameters));
    }
    // A scalar of NumPy that a double holds; 0 and an error where it is none.
    static inline bool plain_number(PyObject* o, double* value) {
        if (PyArray_IsScalar(o, Float)) *value = PyArrayScalar_VAL(o, Float);
        else if (PyArray_IsScalar(o, Double)) *value = PyArrayScalar_VAL(o, Double);
        else return false;
        return true;
    }
    // FLOAT64 for a Python float or numpy.float64, FLOAT32 for numpy.float32, -1 for anything else.
    static inline int scalar_storage(PyObject* o) {
        if (PyFloat_CheckExact(o) || Py_TYPE(o) == &PyDoubleArrType_Type) return FLOAT64;
        return Py_TYPE(o) == &PyFloatArrType_Type ? FLOAT32 : -1;
    }
    // A scalar of NumPy with 0 in it, and where that is.
    static PyObject* new_scalar(int storage, char** place) {
        PyTypeObject* const type = storage == FLOAT64 ? &PyDoubleArrType_Type : &PyFloatArrType_Type;
        PyObject* const made = type->tp_alloc(type, 0);
        if (made && storage == FLOAT64) *place = (char*)&PyArrayScalar_VAL(made, Double);
        else if (made) *place = (char*)&PyArrayScalar_VAL(made, Float);
        return made;
    }
    // One call, and another if it raises: without the cost of a try where nothing does.
    static PyObject* call_or_else(PyObject* f, PyObject* const* args, size_t nargsf, PyObject* names, PyObject* other,
                                  PyObject* const* its_args, size_t its_nargsf, PyObject* its_names) {
        PyObject* result = PyObject_Vectorcall(f, args, nargsf, names);
        if (result || !PyErr_ExceptionMatches(PyExc_Exception)) return result;
        PyErr_Clear();
        return PyObject_Vectorcall(other, its_args, its_nargsf, its_names);
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
    bint plain_list(PyObject*)
    bint plain_number(PyObject*, double*)
    int scalar_storage(PyObject*)
    object new_scalar(int storage, char** place)
    bint suits_ufunc(PyObject*, bint)
    object PyArray_FROM_O(PyObject*)
    ctypedef struct PyArray_Dims:
        cnp.npy_intp* ptr
        int len
    cdef enum: NPY_CORDER
    object PyArray_Newshape(cnp.ndarray, PyArray_Dims*, int)
    void enable_vectorcall(PyTypeObject*, Py_ssize_t)
    Py_ssize_t PyVectorcall_NARGS(size_t)
    object call_or_else(object, PyObject* const*, size_t, PyObject*, object, PyObject* const*, size_t, PyObject*)
    object PyObject_Vectorcall(object, PyObject* const*, size_t, PyObject*)
    PyObject* PyList_GET_ITEM(list, Py_ssize_t)
    Py_ssize_t PyTuple_GET_SIZE(PyObject*)
    PyObject* PyTuple_GET_ITEM(PyObject*, Py_ssize_t)
    bint PyFloat_CheckExact(PyObject*)
    bint PyLong_CheckExact(PyObject*)
    double PyFloat_AS_DOUBLE(PyObject*)
    double PyLong_AsDouble(PyObject*) except? -1.0

cdef enum:
    MAX_PARAMETERS = MAX_INPUTS - 2
    MAX_ARGUMENTS = 8

cdef bint fast_calls = False
cdef ptrdiff_t first_kernel = 0  # of the table's, or of the same with other blocks
cdef str OUT = "out"
cdef str Y = "y"
cdef str AXIS = "axis"
cdef str AT_ZERO = "at_zero"
cdef tuple UFUNC_KEYWORDS = ("where", "dtype", "casting", "order", "subok")
cdef double LEAST_OF_HALF = 2.0 ** -24
cdef double MOST_OF_HALF = 65504.0


def allow_fast_calls(bint allowed, int first=0):
    """Open or close the fast path for the process: closed while a setting needs the general one.

    The kernels it runs are those from `first` on: of the table, or of the same with other blocks.
    """
    global fast_calls, first_kernel
    fast_calls, first_kernel = allowed, 2 * first


cdef class FastCall:
    """A callable over one kernel; its subclass supplies `general` for all that is not the fast path."""

    cdef vectorcallfunc vectorcall
    cdef const Kernel* kernels      # [FLOAT32, FLOAT64]
    cdef const Kernel* from_y       # the same for backward(dy, y=y), or NULL
    cdef const Kernel* at_knot      # and for backward(dy, x, at_zero=...)
    cdef bint of_table              # which has the same kernels with other blocks, too
    cdef int arrays, parameters
    cdef bint positional_out
    cdef int channel_axis           # negative: its parameter has no channels
    cdef int gradient_index, learned_index  # of kernels, where a parameter is learned
    cdef object of_x                        # and what gives the gradient of x alone
    cdef int[2] gated                       # the kernels of a gated unit: forward and -1, or both gradients
    cdef tuple names
    cdef object fast_ufunc
    cdef double[MAX_PARAMETERS] defaults
    cdef double[MAX_PARAMETERS] at_least
    cdef double[MAX_PARAMETERS] above
    cdef double[MAX_PARAMETERS] at_most
    cdef int[MAX_PARAMETERS] not_below      # the parameter that this one must reach, or itself
    cdef double[MAX_PARAMETERS] from_y_at_least
    cdef bint[MAX_PARAMETERS] required
    cdef public object general
    cdef str option                 # the keyword that chooses among `choices`, callables by its value
    cdef dict choices

    def __cinit__(self):
        self.vectorcall = <vectorcallfunc> fast_call
        self.channel_axis = -1

    def __call__(self, *args, **kwargs):  # replaced by vectorcall, but must exist for obj.__call__
        return self.general(*args, **kwargs)

    def bind_forward(self, int index, ufunc, row, bint positional_out):
        """Compute kernel `index` of one array and the parameters of a `row` of the table."""
        self.bind(index, 1, row.parameters)
        self.fast_ufunc = ufunc
        self.positional_out = positional_out
        if row.channel_axis is not None:
            self.channel_axis = row.channel_axis

    def bind_backward(self, int index, int index_from_y, int index_at_knot, parameters, from_y_at_least):
        """Compute kernel `index` of dy and x; of dy and y, or with `at_zero`, another one (unless negative)."""
        self.bind(index, 2, parameters)
        if index_from_y >= 0:
            self.from_y = kernels_of(index_from_y)
        if index_at_knot >= 0:
            self.at_knot = kernels_of(index_at_knot)
        for i, least in enumerate(from_y_at_least):
            self.from_y_at_least[i] = least

    def unbind(self):
        """Leave every call to `general` again."""
        self.kernels = self.from_y = NULL

    def bind_option(self, str keyword, dict choices):
        """With `keyword` call the one of `choices` that it names instead, without it."""
        self.option, self.choices = sys.intern(keyword), choices

    cdef bind(self, int index, int arrays, parameters):
        self.kernels = kernels_of(index)
        self.of_table = index < tables.fixed
        self.arrays = arrays
        self.parameters = len(parameters)
        self.names = tuple(sys.intern(p.name) for p in parameters)
        for i, p in enumerate(parameters):
            self.required[i] = p.default is None
            self.defaults[i] = 0.0 if p.default is None else p.default
            self.at_least[i] = p.at_least
            self.above[i] = p.above
            self.at_most[i] = p.at_most
            self.not_below[i] = self.names.index(p.not_below) if p.not_below else i


def enable(type subclass):
    """Let instances of this subclass of FastCall be called through vectorcall."""
    cdef FastCall probe = FastCall.__new__(FastCall)
    enable_vectorcall(<PyTypeObject*> subclass, <char*> &probe.vectorcall - <char*> <PyObject*> probe)


# What was given, once it is known to be plain.
cdef struct Given:
    PyObject* arrays[3]  # x or y; dy and x or y; then a parameter that is an array
    bint array_parameter
    PyObject* out
    double parameters[MAX_PARAMETERS + 1]  # the last may be `at_zero`
    int parameter_count
    const Kernel* kernels
    bint only_out        # no keyword of a ufunc but `out`
    int axis


# Sort the arguments; False where they are not simple enough.
cdef inline bint sort_arguments(FastCall self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames,
                                Given* given) except -1:
    cdef bint[MAX_PARAMETERS] known
    cdef Py_ssize_t i, k, count = 0 if kwnames == NULL else PyTuple_GET_SIZE(kwnames)
    cdef PyObject* name
    cdef Py_ssize_t arrays = min(nargs, <Py_ssize_t> self.arrays)
    given.out = NULL
    given.kernels = self.kernels
    given.parameter_count = self.parameters
    given.only_out = True
    given.axis = self.channel_axis
    given.arrays[1] = NULL
    given.array_parameter = False
    for i in range(arrays):
        given.arrays[i] = args[i]
    for k in range(self.parameters):
        known[k] = False
    for i in range(self.arrays, nargs):
        k = i - self.arrays
        if self.arrays == 1 and k < self.parameters:
            if not read_parameter(self, k, args[i], given):
                return False
            known[k] = True
        elif k == 0 and self.positional_out:
            given.out = args[i]
        else:
            return False
    for i in range(count):
        name = PyTuple_GET_ITEM(kwnames, i)
        if name == <PyObject*> OUT:
            if given.out != NULL:
                return False
            given.out = args[nargs + i]
        elif name == <PyObject*> AT_ZERO and self.at_knot != NULL and nargs == 2:
            if PyFloat_CheckExact(args[nargs + i]):
                given.parameters[self.parameters] = PyFloat_AS_DOUBLE(args[nargs + i])
            elif PyLong_CheckExact(args[nargs + i]):
                given.parameters[self.parameters] = PyLong_AsDouble(args[nargs + i])
            else:
                return False
            given.parameter_count = self.parameters + 1
            given.kernels = self.at_knot
        elif name == <PyObject*> Y and self.from_y != NULL and nargs == 1:
            given.arrays[1] = args[nargs + i]
            given.kernels = self.from_y
            arrays = 2
        elif name == <PyObject*> AXIS and self.channel_axis >= 0 and PyLong_CheckExact(args[nargs + i]):
            if not -MAX_AXES <= <object> args[nargs + i] < MAX_AXES:
                return False
            given.axis = <object> args[nargs + i]
        else:
            for k in range(self.parameters):
                if name == <PyObject*> (<object> self.names[k]):
                    if known[k] or not read_parameter(self, k, args[nargs + i], given):
                        return False
                    known[k] = True
                    break
            else:
                if not is_ufunc_keyword(name):
                    return False
                given.only_out = False
    for k in range(self.parameters):
        if not known[k]:
            if self.required[k]:
                return False
            given.parameters[k] = self.defaults[k]
        if self.not_below[k] != k and not given.parameters[k] >= given.parameters[self.not_below[k]]:
            return False
        if given.kernels == self.from_y and self.from_y != NULL and (
                given.array_parameter or not given.parameters[k] >= self.from_y_at_least[k]):
            return False
    if given.out == <PyObject*> None:
        given.out = NULL
    return arrays == self.arrays


# By identity: names in calls are interned, and the general path knows the others.
cdef inline bint is_ufunc_keyword(PyObject* name) noexcept:
    cdef Py_ssize_t i
    for i in range(PyTuple_GET_SIZE(<PyObject*> UFUNC_KEYWORDS)):
        if name == PyTuple_GET_ITEM(<PyObject*> UFUNC_KEYWORDS, i):
            return True
    return False


# A parameter that is a plain number and that the table accepts, or an array where nothing is unacceptable.
cdef inline bint read_parameter(FastCall self, Py_ssize_t k, PyObject* value, Given* given) except -1:
    cdef double number
    if PyFloat_CheckExact(value):
        number = PyFloat_AS_DOUBLE(value)
    elif PyLong_CheckExact(value):
        number = PyLong_AsDouble(value)
    elif plain_number(value, &number):
        pass
    elif plain_array(value) and self.parameters == 1:
        given.array_parameter = True
        given.arrays[self.arrays] = value
        given.parameters[k] = 0.0
        return self.above[k] == -INFINITY and self.at_least[k] == -INFINITY and self.at_most[k] == INFINITY
    else:
        return False
    given.parameters[k] = number
    if self.above[k] == -INFINITY:
        return (number >= self.at_least[k] or self.at_least[k] == -INFINITY) and (
            number <= self.at_most[k] or self.at_most[k] == INFINITY)
    # and that every type holds: in a narrow one a small number may become 0 and a large one infinite
    return self.above[k] < number and LEAST_OF_HALF <= number <= MOST_OF_HALF


# The array parameter, one value per channel shaped to broadcast along its axis; None where that takes a closer look.
cdef object along_channels(FastCall self, Given* given):
    cdef cnp.ndarray weight = <cnp.ndarray> given.arrays[self.arrays]
    cdef cnp.npy_intp shape[MAX_AXES]
    cdef PyArray_Dims shaped
    cdef int i, ndim = cnp.PyArray_NDIM(<cnp.ndarray> given.arrays[0])
    cdef int axis = given.axis + ndim if given.axis < 0 else given.axis
    if self.channel_axis < 0 or cnp.PyArray_NDIM(weight) != 1 or cnp.PyArray_SIZE(weight) == 1:
        return weight
    if ndim < 2 and given.axis == self.channel_axis:
        return weight
    if not 0 <= axis < ndim or cnp.PyArray_SIZE(weight) != cnp.PyArray_DIMS(<cnp.ndarray> given.arrays[0])[axis]:
        return None
    if axis == ndim - 1:
        return weight
    shape[0] = cnp.PyArray_SIZE(weight)
    for i in range(1, ndim - axis):
        shape[i] = 1
    shaped.ptr, shaped.len = shape, ndim - axis
    return PyArray_Newshape(weight, &shaped, NPY_CORDER)


# The layouts in which `a` is contiguous: 1 C, 2 Fortran, 3 both, 0 neither or not of `type_num`.
cdef inline int layout(PyObject* o, int type_num) noexcept:
    cdef cnp.ndarray a = <cnp.ndarray> o
    cdef int flags = cnp.PyArray_FLAGS(a)
    if cnp.PyArray_TYPE(a) != type_num or not flags & cnp.NPY_ARRAY_ALIGNED or not PyArray_ISNOTSWAPPED(a):
        return 0
    return (1 if flags & cnp.NPY_ARRAY_C_CONTIGUOUS else 0) | (2 if flags & cnp.NPY_ARRAY_F_CONTIGUOUS else 0)

cdef inline bint partly_overlaps(cnp.ndarray a, cnp.ndarray b, Py_ssize_t bytes) noexcept:
    cdef char* p = <char*> cnp.PyArray_DATA(a)
    cdef char* q = <char*> cnp.PyArray_DATA(b)
    return p != q and p < q + bytes and q < p + bytes


# Alike and contiguous arrays; None where they are not.
cdef inline object run_alike(FastCall self, Given* given):
    cdef cnp.ndarray x = <cnp.ndarray> given.arrays[0]
    cdef int type_num = cnp.PyArray_TYPE(x), order, j, k, last, bytes, storage
    cdef const Kernel* kernel
    cdef double[MAX_PARAMETERS + 1] parameters
    cdef KernelRow row
    cdef Py_ssize_t size
    storage = FLOAT32
    if type_num == cnp.NPY_FLOAT:
        kernel = chosen(&given.kernels[FLOAT32])
    elif type_num == cnp.NPY_DOUBLE:
        kernel = chosen(&given.kernels[FLOAT64])
    else:
        storage = storage_of(type_num)
        kernel = half_kernel(given.kernels, storage) if is_half(storage) else kept_kernel(given.kernels, storage)
        if kernel == NULL or (kernel.inputs > 1 and not is_half(storage)):
            return None
    order = layout(given.arrays[0], type_num)
    if self.arrays == 2:
        order &= layout(given.arrays[1], type_num)
    if given.out != NULL:
        order &= layout(given.out, type_num)
    if order == 0 or cnp.PyArray_NDIM(x) == 0:
        return None
    size = cnp.PyArray_SIZE(x)
    if not is_half(storage):
        storage = kernel.computes_in
    bytes = STORAGE_BYTES[storage]
    last = kernel.inputs
    if self.arrays == 2 and not same_shape(x, <cnp.ndarray> given.arrays[1]):
        return None
    if given.out == NULL:
        result = new_result(NULL, cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), type_num, not order & 1)
    else:
        result = <object> given.out
        if not same_shape(x, <cnp.ndarray> result) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> result):
            return None
        for j in range(self.arrays):
            if partly_overlaps(<cnp.ndarray> given.arrays[j], <cnp.ndarray> result, size * bytes):
                return None
    for j in range(last + 1):
        row.steps[j] = bytes
        row.types[j] = <Storage> storage
    for j in range(self.arrays):
        row.data[j] = <char*> cnp.PyArray_DATA(<cnp.ndarray> given.arrays[j])
    for k in range(given.parameter_count):
        row.data[self.arrays + k] = put_parameter(&parameters[k], given.parameters[k], storage, kernel.computes_in)
        row.steps[self.arrays + k] = 0
        row.types[self.arrays + k] = kernel.computes_in
    row.data[last] = <char*> cnp.PyArray_DATA(<cnp.ndarray> result)
    if size >= RELEASE_GIL_FROM:
        with nogil:
            run(kernel[0], row, size, settings)
    else:
        run(kernel[0], row, size, settings)
    return result


# One number.
cdef inline object run_scalar(FastCall self, Given* given, int storage):
    cdef const Kernel* kernel = chosen(&given.kernels[storage])
    cdef double x
    cdef float[MAX_PARAMETERS + 1] as_float
    cdef KernelRow row
    cdef int k
    cdef object result = new_scalar(storage, &row.data[kernel.inputs])
    if not plain_number(given.arrays[0], &x):
        x = PyFloat_AS_DOUBLE(given.arrays[0])
    as_float[0] = <float> x
    row.data[0] = <char*> &as_float[0] if storage == FLOAT32 else <char*> &x
    for k in range(self.parameters):
        as_float[k + 1] = <float> given.parameters[k]
        row.data[k + 1] = <char*> &as_float[k + 1] if storage == FLOAT32 else <char*> &given.parameters[k]
    for k in range(kernel.inputs + 1):
        row.steps[k] = kernel.item_bytes
        row.types[k] = kernel.computes_in
    run(kernel[0], row, 1, settings)
    return result


# Whether the kernel has blocks for whatever the array, or a number, may be computed in.
cdef inline bint has_blocks(Given* given) noexcept:
    if plain_array(given.arrays[0]) and cnp.PyArray_TYPE(<cnp.ndarray> given.arrays[0]) == cnp.NPY_FLOAT:
        return has_block(given.kernels)
    return has_block(&given.kernels[FLOAT32]) and has_block(&given.kernels[FLOAT64])


# The ufunc, with parameters where it has inputs.  If it refuses, the general path finds out why.
cdef object run_ufunc(FastCall self, PyObject* const* args, Py_ssize_t nargs, size_t nargsf, PyObject* kwnames,
                      Given* given):
    cdef PyObject* stack[2 * MAX_ARGUMENTS]
    cdef Py_ssize_t i, count = 0 if kwnames == NULL else PyTuple_GET_SIZE(kwnames), used = 0
    cdef list numbers
    cdef object left
    if self.parameters == 0:
        return call_or_else(self.fast_ufunc, args, nargsf, kwnames, self.general, args, nargsf, kwnames)
    if count > MAX_ARGUMENTS:
        return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
    numbers = [given.parameters[i] for i in range(self.parameters)]
    stack[0] = args[0]
    for i in range(self.parameters):
        stack[1 + i] = PyList_GET_ITEM(numbers, i)
    for i in range(count):
        if (<object> PyTuple_GET_ITEM(kwnames, i)) not in self.names:
            stack[1 + self.parameters + used] = args[nargs + i]
            used += 1
    cdef PyObject* named = kwnames
    if 0 < used < count:
        left = tuple([name for name in <object> kwnames if name not in self.names])
        named = <PyObject*> left
    return call_or_else(self.fast_ufunc, stack, 1 + self.parameters, named if used else NULL,
                        self.general, args, nargsf, kwnames)


# A list or tuple as an array, or None where it does not make one.
cdef object as_array(PyObject* values):
    try:
        return PyArray_FROM_O(values)
    except Exception:
        return None


cdef inline bint suits_grid(FastCall self, Given* given) noexcept:
    if self.arrays == 2:
        return same_shape(<cnp.ndarray> given.arrays[0], <cnp.ndarray> given.arrays[1])
    return True


# The same call without one of its arguments, the last positional one or a keyword.
cdef object call_without(object callable, Py_ssize_t left_out, PyObject* const* args, Py_ssize_t nargs,
                         PyObject* kwnames):
    cdef PyObject* stack[2 * MAX_ARGUMENTS]
    cdef Py_ssize_t i, used = 0, count = 0 if kwnames == NULL else PyTuple_GET_SIZE(kwnames)
    cdef tuple names = () if kwnames == NULL else <tuple> (<object> kwnames)
    for i in range(nargs + count):
        if i != left_out:
            stack[used] = args[i]
            used += 1
    if left_out < nargs:
        nargs -= 1
    else:
        names = names[:left_out - nargs] + names[left_out - nargs + 1:]
    return PyObject_Vectorcall(callable, stack, nargs, <PyObject*> names if names else NULL)


# Where among the arguments keyword `name` stands, or -1; nowhere, too, if there are more of them than usual.
cdef inline Py_ssize_t position_of(str name, Py_ssize_t nargs, PyObject* kwnames) noexcept:
    cdef Py_ssize_t i
    if kwnames != NULL and nargs <= MAX_ARGUMENTS and PyTuple_GET_SIZE(kwnames) <= MAX_ARGUMENTS:
        for i in range(PyTuple_GET_SIZE(kwnames)):
            if PyTuple_GET_ITEM(kwnames, i) == <PyObject*> name:
                return nargs + i
    return -1


# The variant that an option chooses, called without it; None where the general path must look.
cdef object call_chosen(FastCall self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames):
    cdef Py_ssize_t position = position_of(self.option, nargs, kwnames)
    if position < 0 and self.arrays == 1 and nargs == 2 and (
            kwnames == NULL or PyTuple_GET_SIZE(kwnames) <= MAX_ARGUMENTS):
        position = 1
    elif position < 0 or nargs > self.arrays:
        return None
    value = <object> args[position]
    variant = self.choices.get(value) if type(value) is str else None
    return None if variant is None else call_without(variant, position, args, nargs, kwnames)


cdef object fast_call(object obj, PyObject* const* args, size_t nargsf, PyObject* kwnames):
    cdef FastCall self = <FastCall> obj
    cdef Py_ssize_t nargs = PyVectorcall_NARGS(nargsf)
    cdef Given given
    cdef int j, count, scalar
    cdef bint plain = fast_calls and self.kernels != NULL and nargs > 0
    cdef object listed, weight, result
    if self.option is not None and (kwnames != NULL or nargs > self.arrays):
        result = call_chosen(self, args, nargs, kwnames)
        if result is not None:
            return result
    plain = plain and sort_arguments(self, args, nargs, kwnames, &given)
    plain = plain and not (self.arrays == 2 and given.array_parameter)
    if plain and first_kernel and self.of_table:
        given.kernels += first_kernel
        plain = has_blocks(&given)
    if plain:
        scalar = scalar_storage(given.arrays[0])
        if scalar >= 0 and self.arrays == 1 and given.only_out and given.out == NULL and not given.array_parameter:
            return run_scalar(self, &given, scalar)
        if given.only_out and self.arrays == 1 and plain_list(given.arrays[0]):
            listed = as_array(given.arrays[0])
            if listed is not None:
                given.arrays[0] = <PyObject*> listed
        for j in range(self.arrays):
            plain = plain and plain_array(given.arrays[j])
        if given.out != NULL:
            plain = plain and plain_array(given.out)
        if plain and given.only_out:
            result = None if given.array_parameter else run_alike(self, &given)
            if given.array_parameter:
                weight = along_channels(self, &given)
                if weight is None:
                    return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
                given.arrays[self.arrays] = <PyObject*> weight
            if result is None and suits_grid(self, &given):
                count = self.arrays + given.array_parameter
                result = run_on_grid(given.kernels, given.arrays, count, self.arrays - 1, given.parameters,
                                     given.parameter_count - given.array_parameter, given.out)
            if result is not None:
                return result
        if self.fast_ufunc is not None and not (first_kernel and self.of_table) and not given.array_parameter and suits_ufunc(given.arrays[0], self.parameters > 0):
            return run_ufunc(self, args, nargs, nargsf, kwnames, &given)
    return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
