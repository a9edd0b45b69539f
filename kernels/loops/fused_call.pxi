# The fast path of fused passes: bias_act and its backward pass of plain arrays, contiguous and alike, with numbers
# for parameters or one of them a value for each channel.  The activation's own fast path sorts the arguments.

cdef str ACT = "act"
cdef str RESIDUAL = "residual"
cdef str DROPOUT = "dropout"
cdef str KEY = "key"
cdef str MONITOR = "monitor"
cdef type key_type
cdef type monitor_type


# What is not the activation's own among the arguments.
cdef struct Around:
    PyObject* bias
    PyObject* dbias    # where that goes, if it is given
    PyObject* dweight  # likewise, of a learned parameter
    PyObject* residual
    PyObject* key
    PyObject* monitor
    double rate      # of dropout
    Py_ssize_t axis
    Py_ssize_t results  # that places are given for


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
        elif name == <PyObject*> MONITOR:
            around.monitor = values[i]
        elif name == <PyObject*> DROPOUT:
            if not PyFloat_CheckExact(values[i]) or not 0 <= PyFloat_AS_DOUBLE(values[i]) <= 1:
                return None
            around.rate = PyFloat_AS_DOUBLE(values[i])
        elif name == <PyObject*> OUT and PyTuple_CheckExact(values[i]):
            if not 2 <= PyTuple_GET_SIZE(values[i]) <= 3:
                return None
            names.append(OUT)
            stack[used] = PyTuple_GET_ITEM(values[i], 0)
            around.dbias = PyTuple_GET_ITEM(values[i], 1)
            around.results = PyTuple_GET_SIZE(values[i])
            if around.results == 3:
                around.dweight = PyTuple_GET_ITEM(values[i], 2)
            used += 1
        else:
            names.append(<object> name)
            stack[used] = values[i]
            used += 1
    return tuple(names)


cdef inline bint alike(PyObject* o, cnp.ndarray x, int type_num) noexcept:
    return plain_array(o) and contiguous(o, type_num) and same_shape(<cnp.ndarray> o, x)


# A value for each channel, in what the kernel computes in; None where it is not plain.
cdef object channel_values(Fused* s, PyObject* o, bint narrow_only):
    cdef cnp.ndarray a, wide
    cdef int bytes = STORAGE_BYTES[<int> s.storage]
    if not plain_array(o) or cnp.PyArray_NDIM(<cnp.ndarray> o) != 1:
        return None
    a = <cnp.ndarray> o
    if cnp.PyArray_DIMS(a)[0] != s.kept:
        return None
    if contiguous(o, type_of(s.kernel.computes_in)) and not (narrow_only and is_half(s.storage)):
        return a
    if not is_half(s.storage) or not contiguous(o, type_of(s.storage)):
        return None
    wide = cnp.PyArray_EMPTY(1, cnp.PyArray_DIMS(a), cnp.NPY_FLOAT, 0)
    packer(s.kernel[0], s.storage)(<char*> cnp.PyArray_DATA(wide), sizeof(float), <char*> cnp.PyArray_DATA(a),
                                   bytes, s.kept)
    return wide


# `rows` for each channel.
cdef inline cnp.ndarray new_tallies(Fused* s, int rows):
    cdef cnp.npy_intp[2] shape
    shape[0], shape[1] = rows, s.kept
    return cnp.PyArray_EMPTY(2, shape, cnp.NPY_DOUBLE, 0)


# A value, or one for each channel: where it is to go, if that is plain and apart from `out`, else new memory.
cdef object small_result(PyObject* given, int ndim, cnp.npy_intp kept, int type_num, cnp.ndarray out):
    if given == NULL:
        return cnp.PyArray_EMPTY(ndim, &kept, type_num, 0)
    if not plain_array(given) or not contiguous(given, type_num) or cnp.PyArray_NDIM(<cnp.ndarray> given) != ndim:
        return None
    if cnp.PyArray_SIZE(<cnp.ndarray> given) != (kept if ndim else 1) or overlaps(<cnp.ndarray> given, out):
        return None
    return <object> given if cnp.PyArray_ISWRITEABLE(<cnp.ndarray> given) else None


# None where this is not simple enough.
cdef object run_around(FastCall act, Given* given, Around* around, int learned):
    cdef Fused s
    cdef cnp.ndarray x, out, dbias, dweight, tallies, of_learned
    cdef object units, bias = None, weight = None
    cdef int type_num, kept_type, storage, compute, i, j, ndim, last = act.arrays - 1
    cdef double[MAX_PARAMETERS] parameters
    cdef Py_ssize_t axis, bytes
    cdef Drawing drawing
    if not plain_array(given.arrays[last]):
        return None
    x = <cnp.ndarray> given.arrays[last]
    type_num, ndim = cnp.PyArray_TYPE(x), cnp.PyArray_NDIM(x)
    storage = storage_of(type_num)
    axis = around.axis + ndim if around.axis < 0 else around.axis
    if not FLOAT32 <= storage <= BFLOAT16 or not 0 <= axis < ndim or cnp.PyArray_SIZE(x) == 0:
        return None
    for j in range(act.arrays):
        if not alike(given.arrays[j], x, type_num):
            return None
    compute = FLOAT64 if storage == FLOAT64 else FLOAT32
    begin_fused(&s, kernel_of_widened(&given.kernels[compute], storage), True, x)
    s.outer = s.inner = 1
    for i in range(ndim):
        if i < axis:
            s.outer *= cnp.PyArray_DIMS(x)[i]
        elif i > axis:
            s.inner *= cnp.PyArray_DIMS(x)[i]
    s.kept = cnp.PyArray_DIMS(x)[axis]
    bytes = cnp.PyArray_SIZE(x) * cnp.PyArray_ITEMSIZE(x)
    kept_type = type_num
    if around.bias != NULL:
        bias = channel_values(&s, around.bias, False)
        if bias is None:
            return None
        kept_type = cnp.PyArray_TYPE(<cnp.ndarray> around.bias)
        s.bias = <char*> cnp.PyArray_DATA(<cnp.ndarray> bias)
    if given.array_parameter:
        weight = channel_values(&s, given.arrays[act.arrays], True)
        if weight is None:
            return None
    if around.residual != NULL:
        if act.arrays == 2 or not alike(around.residual, x, type_num):
            return None
        s.residual = <char*> cnp.PyArray_DATA(<cnp.ndarray> around.residual)
    if around.key != NULL and type(<object> around.key) is not key_type:
        return None
    if around.monitor != NULL:
        if act.arrays == 2 or type(<object> around.monitor) is not monitor_type:
            return None
        units = (<object> around.monitor)._units
        if units is not None and units != (s.kept,):
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
        if bias is not None and overlaps(<cnp.ndarray> bias, out):
            return None
        if weight is not None and overlaps(<cnp.ndarray> weight, out):
            return None
        if around.residual != NULL and partly_overlaps(<cnp.ndarray> around.residual, out, bytes):
            return None
    else:
        out = new_result(NULL, ndim, cnp.PyArray_DIMS(x), type_num, 0)
    s.out = <char*> cnp.PyArray_DATA(out)
    s.parameters = given.parameter_count
    for j in range(s.parameters):
        s.varies[j] = weight is not None and s.kept > 1
        if weight is not None:
            s.parameter[j] = <char*> cnp.PyArray_DATA(<cnp.ndarray> weight)
        else:
            s.parameter[j] = put_parameter(&parameters[j], given.parameters[j], storage, compute)
    if act.arrays == 1:
        if around.monitor != NULL:
            tallies = new_tallies(&s, 3)
            s.high = <double*> cnp.PyArray_DATA(tallies)
            s.low = s.high + s.kept
            s.counted = s.low + s.kept
        find_loop(&s)
        finish_fused(&s)
        if around.monitor != NULL:
            (<object> around.monitor).add_tallies(tallies, s.outer * s.inner)
        return out
    s.dy = <char*> cnp.PyArray_DATA(<cnp.ndarray> given.arrays[0])
    dbias = small_result(around.dbias, 1, s.kept, kept_type, out)
    if learned >= 0:
        dweight = small_result(around.dweight, weight is not None, s.kept, type_num, out)
    if dbias is None or (learned >= 0 and (dweight is None or overlaps(dweight, dbias))):
        return None
    tallies = new_tallies(&s, 2)
    s.high = <double*> cnp.PyArray_DATA(tallies)
    s.low = s.high + s.kept
    if learned >= 0:
        of_learned = new_tallies(&s, 2)
        sum_learned(&s, learned, of_learned)
    find_loop(&s)
    finish_fused(&s)
    round_sums(cnp.PyArray_DATA(dbias), storage_of(kept_type), s.high, s.kept)
    if learned < 0:
        return out, dbias
    if weight is None:
        sum_up_all(s.learned_high, s.kept)
    round_sums(cnp.PyArray_DATA(dweight), storage, s.learned_high, 1 if weight is None else s.kept)
    return out, dbias, dweight


# bias_act(x, bias, act), bias_act.backward(dy, x, bias, act) and bias_act.backward(dy, act=act, y=y).
cdef object around_call(object obj, PyObject* const* args, size_t nargsf, PyObject* kwnames):
    cdef FastCall self = <FastCall> obj, inner
    cdef Py_ssize_t nargs = PyVectorcall_NARGS(nargsf), used
    cdef PyObject* stack[MAX_ARGUMENTS + 2]
    cdef PyObject* act = NULL
    cdef Around around
    cdef Given given
    cdef object names, result
    cdef int learned = -1
    cdef bint backward = self.arrays == 2
    around.bias = around.dbias = around.dweight = around.residual = around.key = around.monitor = NULL
    around.results = 0
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
            if inner.kernels == NULL and isinstance(inner.of_x, FastCall) and nargs > 1 and not first_kernel:
                learned, inner = inner.learned_index, inner.of_x
            if inner.kernels != NULL and sort_arguments(
                    inner, stack, used, <PyObject*> names if names else NULL, &given):
                if first_kernel and inner.of_table:
                    given.kernels += first_kernel
                if around.dbias == <PyObject*> None:
                    around.dbias = NULL
                if around.dweight == <PyObject*> None:
                    around.dweight = NULL
                if around.residual == <PyObject*> None and not backward:
                    around.residual = NULL
                if around.key == <PyObject*> None:
                    around.key = NULL
                if around.monitor == <PyObject*> None and not backward:
                    around.monitor = NULL
                if around.results and (not backward or around.results != 2 + (learned >= 0)):
                    return PyObject_Vectorcall(self.general, args, nargsf, kwnames)
                if given.only_out and given.parameter_count == inner.parameters:
                    result = run_around(inner, &given, &around, learned) if has_blocks(&given) else None
                    if result is not None:
                        return result
    return PyObject_Vectorcall(self.general, args, nargsf, kwnames)


def bind_around(FastCall callable, type activation, type key, type monitor, bint backward):
    """Let `callable` be the fast path of bias_act, or its backward pass, around instances of `activation`.

    `key` is the class of what draws are made from, `monitor` of what counts.
    """
    global key_type, monitor_type
    key_type, monitor_type = key, monitor
    callable.arrays = 2 if backward else 1
    callable.of_x = activation
    callable.vectorcall = <vectorcallfunc> around_call
