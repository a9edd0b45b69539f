# Kernels on ndarrays: layouts, results and the grid of operands.

cdef extern from *:
    """
    #include "numpy/arrayobject.h"
    #include "simd/bfloat16.h"

    static int the_bfloat16_type = -1;

    // NumPy's type numbers as storages; -1 where a kernel cannot read the type.
    static int storage_of(int type_num) {
        switch (type_num) {
            case NPY_FLOAT: return FLOAT32;
            case NPY_DOUBLE: return FLOAT64;
            case NPY_HALF: return FLOAT16;
            case NPY_BOOL: return BOOL;
            case NPY_BYTE: return INT8;
            case NPY_UBYTE: return UINT8;
            case NPY_SHORT: return INT16;
            case NPY_USHORT: return UINT16;
            case NPY_INT: return INT32;
            case NPY_UINT: return UINT32;
            case NPY_LONG: return sizeof(long) == 8 ? INT64 : INT32;
            case NPY_ULONG: return sizeof(long) == 8 ? UINT64 : UINT32;
            case NPY_LONGLONG: return INT64;
            case NPY_ULONGLONG: return UINT64;
            default: return type_num == the_bfloat16_type && type_num >= 0 ? BFLOAT16 : -1;
        }
    }
    // What a ufunc with loops for float16, float32 and float64 returns for an input of this storage.
    static int result_storage(int storage) {
        if (storage <= BFLOAT16) return storage;
        return STORAGE_BYTES[storage] == 1 ? FLOAT16 : STORAGE_BYTES[storage] == 2 ? FLOAT32 : FLOAT64;
    }
    // A parameter as the storage's type has it.
    static float rounded_parameter(double parameter, int storage) {
        if (storage == FLOAT16) return half(parameter);
        return storage == BFLOAT16 ? (float)bfloat16((float)parameter) : (float)parameter;
    }
    // The same where a kernel that computes in such a type reads it.
    static char* put_parameter(double* to, double parameter, int storage, int computes_in) {
        if (computes_in == FLOAT64) *to = parameter;
        else if (computes_in == FLOAT32) *(float*)to = rounded_parameter(parameter, storage);
        else if (computes_in == FLOAT16) *(half*)to = half(parameter);
        else *(bfloat16*)to = bfloat16((float)parameter);
        return (char*)to;
    }
    static int type_of(int storage) {
        static const int OF_C[] = {NPY_FLOAT, NPY_DOUBLE, NPY_HALF};
        return storage == BFLOAT16 ? the_bfloat16_type : OF_C[storage];
    }

    static PyDataMem_Handler memory_handler = {
        "fastrelu", 1, {nullptr, cached_malloc, cached_calloc, cached_realloc, cached_free}};
    static PyObject* memory_capsule = nullptr;

    // A new array; a large one on a block of the cache.
    static PyObject* new_result(PyArrayObject* like, int ndim, npy_intp* shape, int type, int fortran) {
        npy_intp bytes = STORAGE_BYTES[storage_of(type)];
        for (int i = 0; i < ndim; i++) bytes *= shape[i];
        PyObject* before = nullptr;
        if (bytes >= (npy_intp)CACHED_FROM && memory_cache.limit) {
            before = PyDataMem_SetHandler(memory_capsule);
            if (!before) return nullptr;
        }
        PyObject* made = like ? PyArray_NewLikeArray(like, NPY_KEEPORDER, PyArray_DescrFromType(type), 0)
                              : PyArray_EMPTY(ndim, shape, type, fortran);
        if (before) {  // also after an error, which this must not meet
            PyObject *type, *value, *traceback;
            PyErr_Fetch(&type, &value, &traceback);
            PyObject* ours = PyDataMem_SetHandler(before);
            Py_XDECREF(ours);
            Py_DECREF(before);
            PyErr_Restore(type, value, traceback);
        }
        return made;
    }

    // An array that `readable` accepts.
    static View view_of(PyArrayObject* a) {
        return {PyArray_BYTES(a), PyArray_DIMS(a), PyArray_STRIDES(a), PyArray_NDIM(a), storage_of(PyArray_TYPE(a))};
    }
    static bool overlaps(PyArrayObject* a, PyArrayObject* out) { return overlaps(view_of(a), view_of(out)); }
    static bool conflicts(PyArrayObject* a, PyArrayObject* out) { return conflicts(view_of(a), view_of(out)); }
    static bool repeats_itself(PyArrayObject* out) { return repeats_itself(view_of(out)); }
    """
    ctypedef struct PyArrayObject:
        pass
    int storage_of(int type_num)
    int result_storage(int storage)
    int type_of(int storage)
    float rounded_parameter(double, int)
    char* put_parameter(double*, double, int, int)
    object new_result(PyArrayObject* like, int ndim, cnp.npy_intp* shape, int type, int fortran)
    cdef struct View:
        pass
    View view_of(cnp.ndarray)
    bint overlaps(cnp.ndarray, cnp.ndarray)
    bint conflicts(cnp.ndarray, cnp.ndarray)
    bint repeats_itself(cnp.ndarray)
    bint PyArray_ISNOTSWAPPED(cnp.ndarray)
    void* memory_handler_address "&memory_handler"
    PyObject* memory_capsule

cdef inline int operand_storage(cnp.ndarray a) noexcept:
    """The storage of an aligned, native array, or -1."""
    if not cnp.PyArray_FLAGS(a) & cnp.NPY_ARRAY_ALIGNED or not PyArray_ISNOTSWAPPED(a):
        return -1
    return storage_of(cnp.PyArray_TYPE(a))

cdef inline int readable(cnp.ndarray a) noexcept:
    """The same for reductions, which read no bfloat16."""
    cdef int storage = operand_storage(a)
    return -1 if storage == BFLOAT16 else storage

cdef inline bint same_shape(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef int i, n = cnp.PyArray_NDIM(a)
    if n != cnp.PyArray_NDIM(b):
        return False
    for i in range(n):
        if cnp.PyArray_DIMS(a)[i] != cnp.PyArray_DIMS(b)[i]:
            return False
    return True


cdef inline const Kernel* kept_kernel(const Kernel* kernels, int storage) noexcept:
    """The kernel that keeps integers of a storage, of the same formula; NULL where there is none."""
    if storage <= BFLOAT16:
        return NULL
    return kernel_for(kernels.index, storage)


# Which draws are a call's last operand.
cdef struct Drawing:
    int distribution
    uint64_t key


cdef Kernel drawing_version(const Kernel* kernel, const Drawing* drawing) noexcept:
    cdef Kernel made = kernel[0]
    made.generator = tables.exports.draws[drawing.distribution][1 if kernel.computes_in == FLOAT64 else 0]
    made.key = drawing.key
    return made


cdef cnp.ndarray made_draws(const Kernel* kernel, uint64_t first, cnp.npy_intp count):
    """Draws in the type that the kernel computes in."""
    cdef cnp.ndarray made = new_result(NULL, 1, &count, type_of(kernel.computes_in), 0)
    cdef Draws d
    d.kernel = kernel[0]
    d.to = <char*> cnp.PyArray_DATA(made)
    d.first = first
    d.count = count
    with nogil:
        run_draws(d, settings)
    return made


# Run a kernel over ndarrays of any strides that broadcast, then scalar parameters; array `lead` decides the
# dtype.  None where that takes a ufunc: byte-swapped, unaligned, overlapping, 0-d, or a type without kernels.
cdef object run_on_grid(const Kernel* kernels, PyObject* const* arrays, int count, int lead,
                        const double* parameters, int parameter_count, PyObject* given_out,
                        const Drawing* drawing=NULL):
    cdef Grid g
    cdef Kernel drawing_kernel
    cdef object draws = None
    cdef ptrdiff_t step
    cdef cnp.npy_intp shape[MAX_AXES]
    cdef cnp.ndarray a, out
    cdef int ndim = 0, i, j, axis, storage, made, last
    cdef bint in_half, keeps
    cdef int in_type
    cdef const Kernel* kept
    cdef float[MAX_INPUTS] as_float
    cdef double[MAX_INPUTS] as_double
    cdef PyArrayObject* like = NULL

    for j in range(count):
        a = <cnp.ndarray> arrays[j]
        storage = operand_storage(a)
        if storage < 0:
            return None
        g.types[j] = <Storage> storage
        ndim = max(ndim, cnp.PyArray_NDIM(a))
    if ndim == 0 or ndim > MAX_AXES:
        return None
    kept = kept_kernel(kernels, g.types[lead])
    keeps = kept != NULL
    if keeps and count + parameter_count > 1:
        return None
    made = g.types[lead] if keeps else result_storage(g.types[lead])
    for j in range(count):  # what float16 rounds must be rounded before: the ufunc casts it
        storage = <int> g.types[j]
        if is_half(made) and STORAGE_BYTES[storage] > 1 and storage != made:
            return None
    in_half = is_half(made)
    in_type = made
    g.kernel = kept if keeps else kernel_of_storage(&kernels[FLOAT64 if made == FLOAT64 else FLOAT32], made)
    last = g.kernel.inputs
    for i in range(ndim):
        shape[i] = 1
    for j in range(count):
        a = <cnp.ndarray> arrays[j]
        for i in range(cnp.PyArray_NDIM(a)):
            axis = ndim - cnp.PyArray_NDIM(a) + i
            if cnp.PyArray_DIMS(a)[i] != 1:
                if shape[axis] != 1 and shape[axis] != cnp.PyArray_DIMS(a)[i]:
                    return None  # the ufunc will say what is wrong
                shape[axis] = cnp.PyArray_DIMS(a)[i]

    if given_out == NULL:
        for j in range(count):
            a = <cnp.ndarray> arrays[j]
            if like == NULL and cnp.PyArray_NDIM(a) == ndim:
                like = <PyArrayObject*> a
                for i in range(ndim):
                    if cnp.PyArray_DIMS(a)[i] != shape[i]:
                        like = NULL
        out = new_result(like, ndim, shape, cnp.PyArray_TYPE(<cnp.ndarray> arrays[lead]) if keeps else type_of(made), 0)
    else:
        out = <cnp.ndarray> given_out
        storage = operand_storage(out)
        if (storage != made if keeps else storage < 0 or storage > BFLOAT16) or cnp.PyArray_NDIM(out) != ndim or not cnp.PyArray_ISWRITEABLE(out):
            return None
        for i in range(ndim):
            if cnp.PyArray_DIMS(out)[i] != shape[i]:
                return None
        if repeats_itself(out) or (storage != made and (in_half or storage == BFLOAT16)):
            return None
        for j in range(count):
            if conflicts(<cnp.ndarray> arrays[j], out):
                return None
        made = storage

    g.axes = ndim
    for i in range(ndim):
        g.shape[i] = shape[i]
        g.strides[last][i] = cnp.PyArray_STRIDES(out)[i]
    g.data[last] = <char*> cnp.PyArray_DATA(out)
    g.types[last] = g.kernel.computes_in if keeps else <Storage> made
    if keeps:
        g.types[lead] = g.kernel.computes_in
    for j in range(count):
        a = <cnp.ndarray> arrays[j]
        g.data[j] = <char*> cnp.PyArray_DATA(a)
        for i in range(ndim):
            axis = i - (ndim - cnp.PyArray_NDIM(a))
            g.strides[j][i] = 0 if axis < 0 or cnp.PyArray_DIMS(a)[axis] == 1 else cnp.PyArray_STRIDES(a)[axis]
    for j in range(parameter_count):
        as_float[j] = rounded_parameter(parameters[j], in_type)
        as_double[j] = parameters[j]
        g.data[count + j] = <char*> &as_float[j] if g.kernel.computes_in == FLOAT32 else <char*> &as_double[j]
        g.types[count + j] = g.kernel.computes_in
        for i in range(ndim):
            g.strides[count + j][i] = 0
    if drawing != NULL:
        drawing_kernel = drawing_version(g.kernel, drawing)
        g.kernel = &drawing_kernel
        g.data[last - 1] = NULL
        g.types[last - 1] = <Storage> DRAWN
        step = 1
        for i in range(ndim - 1, -1, -1):
            g.strides[last - 1][i] = step
            step *= shape[i]
        simplify(g)
        if g.strides[last - 1][g.axes - 1] > 1:  # not in their order
            draws = made_draws(g.kernel, 0, cnp.PyArray_SIZE(out))
            g.data[last - 1] = <char*> cnp.PyArray_DATA(<cnp.ndarray> draws)
            g.types[last - 1] = g.kernel.computes_in
            for i in range(g.axes):
                g.strides[last - 1][i] *= g.kernel.item_bytes
    if cnp.PyArray_SIZE(out) >= RELEASE_GIL_FROM:
        with nogil:
            run_grid(g, settings)
    else:
        run_grid(g, settings)
    return out


def call_arrays(int index, tuple arrays, out, int lead):
    """Kernel `index` on a tuple of exact ndarrays, or None where that takes its ufunc.

    Array `lead` decides the dtype of the result; the others are cast to it on the way.
    """
    cdef PyObject* pointers[MAX_INPUTS]
    cdef int j
    if out is not None and type(out) is not np.ndarray:
        return None
    for j in range(len(arrays)):
        if type(arrays[j]) is not np.ndarray:
            return None
        pointers[j] = <PyObject*> arrays[j]
    return run_on_grid(kernels_of(index), pointers, len(arrays), lead, NULL, 0,
                       <PyObject*> NULL if out is None else <PyObject*> out)


def call_drawn(int index, tuple arrays, tuple parameters, out, int lead, int distribution, uint64_t key):
    """As `call_arrays`, followed by numbers and by a draw for each element of the result."""
    cdef PyObject* pointers[MAX_INPUTS]
    cdef double numbers[MAX_INPUTS]
    cdef Drawing drawing
    cdef int j
    if out is not None and type(out) is not np.ndarray:
        return None
    for j in range(len(arrays)):
        if type(arrays[j]) is not np.ndarray:
            return None
        pointers[j] = <PyObject*> arrays[j]
    for j in range(len(parameters)):
        numbers[j] = parameters[j]
    drawing.distribution, drawing.key = distribution, key
    return run_on_grid(kernels_of(index), pointers, len(arrays), lead, numbers, len(parameters),
                       <PyObject*> NULL if out is None else <PyObject*> out, &drawing)


def draws(int distribution, uint64_t key, uint64_t first, Py_ssize_t count, bint double):
    """Draws of a key from number `first` on, an array of float32 or float64."""
    cdef Drawing drawing
    cdef Kernel kernel
    drawing.distribution, drawing.key = distribution, key
    kernel = drawing_version(&tables.kernels[FLOAT64 if double else FLOAT32], &drawing)
    kernel.cost = 8 if distribution == UNIFORM else 20
    return made_draws(&kernel, first, count)


def empty(tuple shape, dtype):
    """As numpy.empty for float16, float32 and float64; a large array comes on a block of the cache."""
    cdef cnp.npy_intp lengths[MAX_AXES]
    for i, n in enumerate(shape):
        lengths[i] = n
    return new_result(NULL, len(shape), lengths, dtype.num, 0)


def set_cache_limit(size_t limit):
    """Let the cache of blocks for large results hold at most `limit` bytes; 0 turns it off."""
    set_memory_limit(limit)


def set_cache_idle_time(double seconds):
    """Give blocks back that no result has used for so long (10 seconds unless set)."""
    set_memory_idle_time(<int64_t> (seconds * 1e9))


def cache_state():
    """The bytes that the cache holds for coming results, and how often it has served one."""
    cdef MemoryState state = memory_state()
    return state.held, state.reused


cdef object capsule = PyCapsule_New(memory_handler_address, "mem_handler", NULL)  # kept: arrays remember it
memory_capsule = <PyObject*> capsule
if (pthread_atfork(memory_before_fork, memory_after_fork, memory_in_child)
        or pthread_atfork(NULL, NULL, pool_in_child)):
    raise MemoryError
