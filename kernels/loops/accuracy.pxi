# Which formulas a call takes: a kernel's own, of accuracy "high", or those of `faster`.

cdef extern from *:
    """
    enum { ASK_CONTEXT = FAST + 1 };

    static std::atomic<int> process_accuracy{HIGH};
    static int (*accuracy_of_context)();

    static inline const Kernel* chosen(const Kernel* kernel) {
        int accuracy = process_accuracy.load(std::memory_order_relaxed);
        if (__builtin_expect(accuracy == ASK_CONTEXT, 0)) accuracy = accuracy_of_context();
        return accuracy == FAST ? kernel->faster : kernel;
    }
    // The same for operands of a storage: those of 16 bits are rounded to fewer digits than are ever wrong.
    static inline const Kernel* kernel_of_storage(const Kernel* kernel, int storage) {
        return is_half(storage) ? kernel->shorter : chosen(kernel);
    }
    // The same where results in float are used further before they are rounded to a storage.
    static inline const Kernel* kernel_of_widened(const Kernel* kernel, int storage) {
        return is_half(storage) ? kernel->faster : chosen(kernel);
    }
    """
    enum: HIGH
    enum: FAST
    enum: ASK_CONTEXT
    int process_accuracy
    int (*accuracy_of_context)() noexcept nogil
    const Kernel* chosen(const Kernel*) noexcept nogil
    const Kernel* kernel_of_storage(const Kernel*, int) noexcept nogil
    const Kernel* kernel_of_widened(const Kernel*, int) noexcept nogil
    int PyContextVar_Get(object, PyObject*, PyObject**) except -1

cdef object accuracy_variable = None  # of overrides with a `value`, or None
cdef bint fast_by_default = False


cdef int ask_context() noexcept with gil:
    cdef PyObject* found = NULL
    try:
        PyContextVar_Get(accuracy_variable, NULL, &found)
        override = <object> found
        Py_XDECREF(found)
        if override is not None:
            return FAST if override.value == "fast" else HIGH
    except Exception:  # another thread has closed its last override in this moment
        pass
    return FAST if fast_by_default else HIGH

accuracy_of_context = ask_context


def set_accuracy(bint fast, variable):
    """Take the formulas of accuracy "fast", or not, unless `variable` says otherwise in a call's context.

    `variable`, a context variable of overrides or None, is looked at in every call, which costs some nanoseconds.
    """
    global accuracy_variable, fast_by_default, process_accuracy
    accuracy_variable, fast_by_default = variable, fast
    process_accuracy = (FAST if fast else HIGH) if variable is None else ASK_CONTEXT


def has_faster_formula(int index, dtype):
    """Whether accuracy "fast" makes a difference for kernel `index` and operands of this dtype."""
    cdef int storage = storage_of(np.dtype(dtype).num)
    cdef const Kernel* kernel = kernel_for(index, storage) if storage >= 0 else NULL
    return kernel != NULL and kernel.faster != kernel
