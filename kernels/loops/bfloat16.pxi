# bfloat16, whose type number is not known before ml_dtypes is imported, and never is without it.

cdef extern from *:
    """
    static int add_loop(PyObject* ufunc, int type, PyUFuncGenericFunction loop, const int* types, void* data) {
        return PyUFunc_RegisterLoopForType((PyUFuncObject*)ufunc, type, loop, types, data);
    }
    """
    int the_bfloat16_type
    int add_loop(object ufunc, int type, cnp.PyUFuncGenericFunction loop, const int* types, void* data) except -1

cdef list ufuncs_made = []  # (ufunc, index of its kernel)


cdef int bfloat16_type() noexcept:
    return the_bfloat16_type


# NumPy keeps what the operands' types led to, but not that `out` had a say: a first call with bfloat16 there
# would make all later ones of bools and bytes bfloat16.  Without it they are settled beforehand.
cdef settle_small_integers(ufunc, int inputs):
    if inputs <= 2:
        for types in itertools.product(map(np.dtype, "?bB"), repeat=inputs):
            ufunc.resolve_dtypes((*types, None))


cdef int add_bfloat16_loop(ufunc, int index) except -1:
    cdef const Kernel* kernel = kernels_of(index)
    cdef UfuncLoop* loop = <UfuncLoop*> malloc(sizeof(UfuncLoop))
    cdef int types[MAX_INPUTS + 1]
    cdef int j
    if loop == NULL:
        raise MemoryError
    loop.kernel, loop.type = kernel, <Storage> BFLOAT16
    for j in range(kernel.inputs + 1):
        types[j] = the_bfloat16_type
    settle_small_integers(ufunc, kernel.inputs)
    add_loop(ufunc, the_bfloat16_type, <cnp.PyUFuncGenericFunction> ufunc_loop, types, loop)
    return 0


def use_bfloat16(dtype):
    """Let every ufunc, and the fast path, read and write this dtype, which is ml_dtypes' bfloat16.

    A ufunc that has met the dtype before keeps the loop that it found then.
    """
    global the_bfloat16_type
    if the_bfloat16_type == dtype.num:
        return
    the_bfloat16_type = dtype.num
    for ufunc, index in ufuncs_made:
        add_bfloat16_loop(ufunc, index)
