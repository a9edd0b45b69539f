# Fused passes and one-bit masks: what Python hands to fused.h.

cdef extern from * nogil:
    """
    #include "loops/fused.h"
    static const FusedExports* fused_exports;
    """
    cdef struct FusedRows:
        pass
    cdef struct FusedSteps:
        pass
    cdef struct FusedLoop:
        void (*run)(const FusedRows&) noexcept nogil
        bint of_y
    cdef struct FusedExports:
        const FusedSteps* steps
        const FusedLoop* loops[2]
    cdef struct Fused:
        const Kernel* kernel
        const FusedSteps* steps
        const FusedSteps* doubles
        void (*loop)(const FusedRows&) noexcept nogil
        bint applies
        Storage storage
        const char* x
        const char* dy
        const char* residual
        char* out
        const char* bias
        double before
        int parameters
        const char* parameter[8]
        bint varies[8]
        bint drops
        Kernel drawing
        double limit
        double factor
        unsigned char* bits
        const Kernel* slope
        double told
        double other
        bint where_equal
        ptrdiff_t outer
        ptrdiff_t kept
        ptrdiff_t inner
        double* high
        double* low
        double* counted
    const FusedExports* fused_exports
    const char* FUSED_NAME
    bint run_fused(Fused&, const Settings&)


def use_fused(module):
    """Take the steps around an activation, and the loops of all of them, of one instruction set."""
    global fused_exports
    fused_exports = <const FusedExports*> PyCapsule_GetPointer(module.steps, FUSED_NAME)


cdef const Kernel* kernel_of_array(int index, cnp.ndarray a) except NULL:
    """The kernel that computes an array's elements, widened where they are halves; without one, whatever it is."""
    cdef int storage = storage_of(cnp.PyArray_TYPE(a))
    cdef const Kernel* kernel = &kernels_of(max(index, 0))[FLOAT64 if storage == FLOAT64 else FLOAT32]
    if index >= 0 and not has_block(kernel):
        raise RuntimeError(f"kernel {index} has no block for {a.dtype}")
    return kernel_of_storage(kernel, storage)


cdef void begin_fused(Fused* s, const Kernel* kernel, bint applies, cnp.ndarray x) noexcept:
    """Nothing but a kernel of x."""
    s.kernel = kernel
    s.applies = applies
    s.steps = &fused_exports.steps[1 if kernel.computes_in == FLOAT64 else 0]
    s.doubles = &fused_exports.steps[1]
    s.loop = NULL
    s.storage = <Storage> storage_of(cnp.PyArray_TYPE(x))
    s.x = <char*> cnp.PyArray_DATA(x)
    s.dy = s.residual = s.bias = NULL
    s.out = NULL
    s.before = 1
    s.parameters = 0
    s.drops = False
    s.bits = NULL
    s.slope = NULL
    s.high = s.low = s.counted = NULL


cdef void add_parameters(Fused* s, tuple parameters):
    cdef int k
    s.parameters = len(parameters)
    for k, value in enumerate(parameters):
        s.parameter[k] = <char*> cnp.PyArray_DATA(<cnp.ndarray> value)
        s.varies[k] = cnp.PyArray_SIZE(<cnp.ndarray> value) > 1


# The loop of all steps, where the kernel has one and it fits.
cdef void find_loop(Fused* s) noexcept:
    cdef const Kernel* kernel = s.kernel
    cdef int compute = kernel.computes_in
    if kernel.index < tables.fixed and kernel == &tables.kernels[2 * kernel.index + compute]:
        if fused_exports.loops[compute][kernel.index].of_y == (s.bias == NULL):
            s.loop = fused_exports.loops[compute][kernel.index].run


cdef int finish_fused(Fused* s) except -1:
    cdef bint done = True
    cdef ptrdiff_t size = s.outer * s.kept * s.inner
    if size >= RELEASE_GIL_FROM:
        with nogil:
            done = run_fused(s[0], settings)
    elif size:
        done = run_fused(s[0], settings)
    if not done:
        raise MemoryError
    return 0


def fuse(int index, tuple arrays, bias, tuple parameters, tuple lengths, double before, dropout, tallies):
    """Run kernel `index` with what surrounds it, in one pass.

    Parameters
    ----------
    index : int
        Of an activation, or with dy of its gradient; negative: none, x is only summed and counted.
    arrays : tuple
        x (or y), dy, residual, out: contiguous and of one dtype; all but the first may be None.
    bias : ndarray or None
        A value for each channel, of the type that the kernel computes in; as are
    parameters : tuple of ndarray
        With one value, or one for each channel.
    lengths : tuple of int
        Outer, kept and inner; the channels are along the second.
    before : float
        What x is multiplied by, if there is no bias.
    dropout : tuple or None
        The key, what a centred draw must reach to be kept, and the factor of what is.
    tallies : ndarray or None
        Receives for each channel, in two rows, the two parts of the sum of the activation's or the gradient's
        results, and in a third one, if there is any, how many are positive.
    """
    cdef Fused s
    cdef Drawing drawing
    x, dy, residual, out = arrays
    begin_fused(&s, kernel_of_array(index, <cnp.ndarray> x), index >= 0, <cnp.ndarray> x)
    if dy is not None:
        s.dy = <char*> cnp.PyArray_DATA(<cnp.ndarray> dy)
    if residual is not None:
        s.residual = <char*> cnp.PyArray_DATA(<cnp.ndarray> residual)
    if out is not None:
        s.out = <char*> cnp.PyArray_DATA(<cnp.ndarray> out)
    if bias is not None:
        s.bias = <char*> cnp.PyArray_DATA(<cnp.ndarray> bias)
    s.before = before
    add_parameters(&s, parameters)
    s.outer, s.kept, s.inner = lengths
    if dropout is not None:
        drawing.distribution = UNIFORM
        drawing.key, s.limit, s.factor = dropout
        s.drops, s.drawing = True, drawing_version(s.kernel, &drawing)
    if tallies is not None:
        s.high = <double*> cnp.PyArray_DATA(<cnp.ndarray> tallies)
        s.low = s.high + s.kept
        s.counted = s.low + s.kept if len(tallies) > 2 else NULL
    if index >= 0:
        find_loop(&s)
    finish_fused(&s)


def keep_mask(int index, int slope, tuple arrays, tuple parameters, double told, bint where_equal):
    """Run kernel `index`, and keep a bit for each element: where the results of kernel `slope` for dy = 1 are `told`,
    or where they are not.

    `arrays` are x, out, both contiguous and of one dtype, and the bytes of the bits.
    """
    cdef Fused s
    cdef cnp.ndarray x = arrays[0]
    begin_fused(&s, kernel_of_array(index, x), True, x)
    s.slope = kernel_of_array(slope, x)
    s.out = <char*> cnp.PyArray_DATA(<cnp.ndarray> arrays[1])
    s.bits = <unsigned char*> cnp.PyArray_DATA(<cnp.ndarray> arrays[2])
    add_parameters(&s, parameters)
    s.told, s.where_equal = told, where_equal
    s.outer, s.kept, s.inner = 1, 1, cnp.PyArray_SIZE(x)
    finish_fused(&s)


def by_mask(tuple arrays, double other):
    """dy where its bit is set, else other * dy; `arrays` are dy, out and the bytes of the bits, as in `keep_mask`."""
    cdef Fused s
    cdef cnp.ndarray dy = arrays[0]
    begin_fused(&s, kernel_of_array(-1, dy), False, dy)
    s.out = <char*> cnp.PyArray_DATA(<cnp.ndarray> arrays[1])
    s.bits = <unsigned char*> cnp.PyArray_DATA(<cnp.ndarray> arrays[2])
    s.other = other
    s.outer, s.kept, s.inner = 1, 1, cnp.PyArray_SIZE(dy)
    finish_fused(&s)


# --- the fast path ------------------------------------------------------------------------------------------
#
# bias_act and its backward pass of plain arrays, contiguous and alike, with numbers for parameters: the
# activation's own fast path sorts the arguments.

cdef extern from *:
    """
    // The sums in the type that they are wanted in; beside an infinity the low part is NaN.
    template<class T> static void round_sums(T* to, const double* high, const double* low, ptrdiff_t n) {
        for (ptrdiff_t i = 0; i < n; i++) {
            const double sum = high[i] + low[i];
            to[i] = (T)(sum == sum ? sum : high[i]);
        }
    }
    """
    void round_sums[T](T*, const double*, const double*, ptrdiff_t) nogil
    bint PyTuple_CheckExact(PyObject*)

cdef str ACT = "act"
cdef str RESIDUAL = "residual"
cdef str DROPOUT = "dropout"
cdef str KEY = "key"
cdef type key_type


# What is not the activation's own among the arguments.
cdef struct Around:
    PyObject* bias
    PyObject* dbias  # where that goes, if it is given
    PyObject* residual
    PyObject* key
    double rate      # of dropout
    Py_ssize_t axis


# Take that out of the keywords; a new tuple of the others' names, or None where they are not simple enough.
cdef object others_names(Around* around, PyObject** act, PyObject* const* values, PyObject* kwnames,
                         PyObject** stack, Py_ssize_t used):
    cdef Py_ssize_t i, count = 0 if kwnames == NULL else PyTuple_GET_SIZE(kwnames)
    cdef PyObject* name
    cdef list names = []
    if count > MAX_ARGUMENTS:
        return None
    for i in range(count):
        name = PyTuple_GET_ITEM(kwnames, i)
        if name == <PyObject*> AXIS:
            if not PyLong_CheckExact(values[i]) or not -MAX_AXES <= <object> values[i] < MAX_AXES:
                return None
            around.axis = <object> values[i]
        elif name == <PyObject*> ACT and act[0] == NULL:
            act[0] = values[i]
        elif name == <PyObject*> RESIDUAL:
            around.residual = values[i]
        elif name == <PyObject*> KEY:
            around.key = values[i]
        elif name == <PyObject*> DROPOUT:
            if not PyFloat_CheckExact(values[i]) or not 0 <= PyFloat_AS_DOUBLE(values[i]) <= 1:
                return None
            around.rate = PyFloat_AS_DOUBLE(values[i])
        elif name == <PyObject*> OUT and PyTuple_CheckExact(values[i]):
            if PyTuple_GET_SIZE(values[i]) != 2:
                return None
            names.append(OUT)
            stack[used] = PyTuple_GET_ITEM(values[i], 0)
            around.dbias = PyTuple_GET_ITEM(values[i], 1)
            used += 1
        else:
            names.append(<object> name)
            stack[used] = values[i]
            used += 1
    return tuple(names)


cdef inline bint alike(PyObject* o, cnp.ndarray x, int type_num) noexcept:
    return plain_array(o) and contiguous(o, type_num) and same_shape(<cnp.ndarray> o, x)


# None where this is not simple enough.
cdef object run_around(FastCall act, Given* given, Around* around):
    cdef Fused s
    cdef cnp.ndarray x, out, bias, dbias
    cdef int type_num, compute, i, j, ndim, last = act.arrays - 1
    cdef float[MAX_PARAMETERS] as_float
    cdef Py_ssize_t axis, bytes
    cdef Drawing drawing
    cdef double* tallies = NULL
    if not plain_array(given.arrays[last]):
        return None
    x = <cnp.ndarray> given.arrays[last]
    type_num, ndim = cnp.PyArray_TYPE(x), cnp.PyArray_NDIM(x)
    axis = around.axis + ndim if around.axis < 0 else around.axis
    if type_num != cnp.NPY_FLOAT and type_num != cnp.NPY_DOUBLE or not 0 <= axis < ndim or cnp.PyArray_SIZE(x) == 0:
        return None
    for j in range(act.arrays):
        if not alike(given.arrays[j], x, type_num):
            return None
    compute = FLOAT64 if type_num == cnp.NPY_DOUBLE else FLOAT32
    begin_fused(&s, chosen(&given.kernels[compute]), True, x)
    s.outer = s.inner = 1
    for i in range(ndim):
        if i < axis:
            s.outer *= cnp.PyArray_DIMS(x)[i]
        elif i > axis:
            s.inner *= cnp.PyArray_DIMS(x)[i]
    s.kept = cnp.PyArray_DIMS(x)[axis]
    bytes = cnp.PyArray_SIZE(x) * cnp.PyArray_ITEMSIZE(x)
    if around.bias != NULL:
        if not plain_array(around.bias) or not contiguous(around.bias, type_num):
            return None
        bias = <cnp.ndarray> around.bias
        if cnp.PyArray_NDIM(bias) != 1 or cnp.PyArray_DIMS(bias)[0] != s.kept:
            return None
        s.bias = <char*> cnp.PyArray_DATA(bias)
    if around.residual != NULL:
        if act.arrays == 2 or not alike(around.residual, x, type_num):
            return None
        s.residual = <char*> cnp.PyArray_DATA(<cnp.ndarray> around.residual)
    if around.key != NULL and type(<object> around.key) is not key_type:
        return None
    if around.rate != 0:
        if around.key == NULL:
            return None
        drawing.distribution, drawing.key = UNIFORM, (<object> around.key).bits
        s.drops, s.drawing = True, drawing_version(s.kernel, &drawing)
        s.limit = around.rate - 0.5
        s.factor = 1 / (1 - around.rate) if around.rate < 1 else 0
        if around.bias == NULL:
            s.before = 1 - around.rate
    if given.out != NULL:
        if not alike(given.out, x, type_num) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> given.out):
            return None
        out = <cnp.ndarray> given.out
        for j in range(act.arrays):
            if partly_overlaps(<cnp.ndarray> given.arrays[j], out, bytes):
                return None
        if around.bias != NULL and overlaps(bias, out):
            return None
        if around.residual != NULL and partly_overlaps(<cnp.ndarray> around.residual, out, bytes):
            return None
    else:
        out = new_result(NULL, ndim, cnp.PyArray_DIMS(x), type_num, 0)
    s.out = <char*> cnp.PyArray_DATA(out)
    s.parameters = given.parameter_count
    for j in range(s.parameters):
        as_float[j] = <float> given.parameters[j]
        s.parameter[j] = <char*> &given.parameters[j] if compute == FLOAT64 else <char*> &as_float[j]
        s.varies[j] = False
    find_loop(&s)
    if act.arrays == 1:
        finish_fused(&s)
        return out
    s.dy = <char*> cnp.PyArray_DATA(<cnp.ndarray> given.arrays[0])
    if around.dbias == NULL:
        dbias = cnp.PyArray_EMPTY(1, <cnp.npy_intp*> &s.kept, type_num, 0)
    else:
        if not plain_array(around.dbias) or not contiguous(around.dbias, type_num):
            return None
        dbias = <cnp.ndarray> around.dbias
        if cnp.PyArray_NDIM(dbias) != 1 or cnp.PyArray_DIMS(dbias)[0] != s.kept or overlaps(dbias, out):
            return None
        if not cnp.PyArray_ISWRITEABLE(dbias):
            return None
    tallies = <double*> malloc(2 * s.kept * sizeof(double))
    if tallies == NULL:
        raise MemoryError
    s.high, s.low = tallies, tallies + s.kept
    try:
        finish_fused(&s)
        if compute == FLOAT64:
            round_sums(<double*> cnp.PyArray_DATA(dbias), s.high, s.low, s.kept)
        else:
            round_sums(<float*> cnp.PyArray_DATA(dbias), s.high, s.low, s.kept)
    finally:
        free(tallies)
    return out, dbias


# bias_act(x, bias, act), bias_act.backward(dy, x, bias, act) and bias_act.backward(dy, act=act, y=y).
cdef object around_call(object obj, PyObject* const* args, size_t nargsf, PyObject* kwnames):
    cdef FastCall self = <FastCall> obj, inner
    cdef Py_ssize_t nargs = PyVectorcall_NARGS(nargsf), used
    cdef PyObject* stack[MAX_ARGUMENTS + 2]
    cdef PyObject* act = NULL
    cdef Around around
    cdef Given given
    cdef object names, result
    cdef bint backward = self.arrays == 2
    around.bias = around.dbias = around.residual = around.key = NULL
    around.rate = 0
    around.axis = -1
    if fast_calls and (nargs == 3 + backward or (backward and nargs == 1)):
        used = 2 if nargs == 4 else 1
        stack[0] = args[0]
        if nargs == 4:
            stack[1] = args[1]
        if nargs > 1:
            around.bias = args[nargs - 2]
            act = args[nargs - 1]
        names = others_names(&around, &act, args + nargs, kwnames, stack, used)
        if names is not None and act != NULL and isinstance(<object> act, self.of_x):
            inner = (<object> act).backward if backward else <FastCall> <object> act
            if inner.kernels != NULL and sort_arguments(
                    inner, stack, used, <PyObject*> names if names else NULL, &given):
                if first_kernel and inner.of_table:
                    given.kernels += first_kernel
                if around.dbias == <PyObject*> None:
                    around.dbias = NULL
                if around.residual == <PyObject*> None:
                    around.residual = NULL
                if around.key == <PyObject*> None:
                    around.key = NULL
                if around.dbias != NULL and not backward:
                    return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
                if given.only_out and not given.array_parameter and given.parameter_count == inner.parameters:
                    result = run_around(inner, &given, &around) if has_blocks(&given) else None
                    if result is not None:
                        return result
    return PyObject_Vectorcall(self.general, args, nargsf, kwnames)


def bind_around(FastCall callable, type activation, type key, bint backward):
    """Let `callable` be the fast path of bias_act, or its backward pass, around instances of `activation`.

    `key` is the class of what draws are made from.
    """
    global key_type
    key_type = key
    callable.arrays = 2 if backward else 1
    callable.of_x = activation
    callable.vectorcall = <vectorcallfunc> around_call
