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
        const SumBlocks* learned
        double* learned_high
        double* learned_low
    const FusedExports* fused_exports
    const char* FUSED_NAME
    bint run_fused(Fused&, const Settings&)


cdef extern from *:
    """
    // The sums in the type that they are wanted in; beside an infinity the low part is NaN.
    template<class T> static void round_sums_to(T* to, const double* high, ptrdiff_t n) {
        for (ptrdiff_t i = 0; i < n; i++) {
            const double sum = high[i] + high[n + i];
            to[i] = (T)(sum == sum ? sum : high[i]);
        }
    }
    static void round_sums(void* to, int storage, const double* high, ptrdiff_t n) {
        if (storage == FLOAT32) round_sums_to((float*)to, high, n);
        else if (storage == FLOAT64) round_sums_to((double*)to, high, n);
        else if (storage == FLOAT16) round_sums_to((half*)to, high, n);
        else round_sums_to((bfloat16*)to, high, n);
    }
    // All of them in the first.
    static void sum_up_all(double* high, ptrdiff_t n) {
        Pair sum = {high[0], high[n]};
        for (ptrdiff_t i = 1; i < n; i++) sum = sum + Pair{high[i], high[n + i]};
        high[0] = sum.high, high[1] = sum.low;
    }
    """
    void round_sums(void*, int, const double*, ptrdiff_t) nogil
    void sum_up_all(double*, ptrdiff_t) nogil
    ctypedef void (*Converter)(char*, ptrdiff_t, const char*, ptrdiff_t, ptrdiff_t) noexcept nogil
    Converter packer(const Kernel&, Storage) nogil
    bint PyTuple_CheckExact(PyObject*)


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
    return kernel_of_widened(kernel, storage)


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
    s.learned = NULL


cdef void add_parameters(Fused* s, tuple parameters):
    cdef int k
    s.parameters = len(parameters)
    for k, value in enumerate(parameters):
        s.parameter[k] = <char*> cnp.PyArray_DATA(<cnp.ndarray> value)
        s.varies[k] = cnp.PyArray_SIZE(<cnp.ndarray> value) > 1


# The loop of all steps, where the kernel has one and it fits; it knows of no learned parameter.
cdef void find_loop(Fused* s) noexcept:
    cdef const Kernel* kernel = s.kernel
    cdef int compute = kernel.computes_in
    if kernel.index < tables.fixed and s.learned == NULL and kernel == &tables.kernels[2 * kernel.index + compute]:
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


cdef void sum_learned(Fused* s, int index, cnp.ndarray tallies) noexcept:
    s.learned = &sum_exports.blocks[<int> s.kernel.computes_in][index]
    s.learned_high = <double*> cnp.PyArray_DATA(tallies)
    s.learned_low = s.learned_high + s.kept


def fuse(int index, tuple arrays, bias, tuple parameters, tuple lengths, double before, dropout, tallies,
         int learned=-1, learned_tallies=None):
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
    learned : int
        The kernel of the terms of a learned parameter's gradient, which is summed with that of x, or negative.
    learned_tallies : ndarray or None
        Receives its sum for each channel, in two rows; of a parameter with one value the two parts are the first.
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
    if learned >= 0:
        sum_learned(&s, learned, learned_tallies)
    if index >= 0:
        find_loop(&s)
    finish_fused(&s)
    if learned >= 0 and not s.varies[0]:
        sum_up_all(s.learned_high, s.kept)


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
