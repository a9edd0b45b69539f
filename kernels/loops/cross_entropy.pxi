# Cross entropy on ndarrays: what the logits are compared with, checked before anything is written.

cdef extern from * nogil:
    """
    // The kernels in the order of the table's LOSS_KERNELS.
    enum { OF_LABELS, OF_LABELS_GRADIENT, OF_TARGETS, OF_TARGETS_GRADIENT };

    static void attach(Reduction& r, LossCall& call) { r.losses = &call; }
    // The weights of the classes as doubles, or ones; false if one is negative or NaN.
    static bool take_weights(LossCall& call, double* to, const Converters& converters, const void* from,
                             ptrdiff_t step, Storage type) {
        if (from) converters.to_float[FLOAT64][type]((char*)to, sizeof(double), (const char*)from, step, call.classes);
        else for (ptrdiff_t i = 0; i < call.classes; i++) to[i] = 1;
        return are_weights(to, call.classes);
    }
    """
    enum: OF_LABELS
    enum: OF_LABELS_GRADIENT
    enum: OF_TARGETS
    enum: OF_TARGETS_GRADIENT
    cdef struct Pair:
        double high
        double low
    cdef struct Losses:
        bint losses_wanted
        bint losses_of_rows
        bint factor_of_row
    cdef struct LossCall:
        Losses common
        bint spreads
        ptrdiff_t classes
        bint ignores
        int64_t ignored
        double* new_weights()
    void attach(Reduction&, LossCall&)
    bint take_weights(LossCall&, double*, const Converters&, const void*, ptrdiff_t, Storage)
    void set_shares(LossCall&, double, double, Pair)
    Pair weigh_labels(const LossCall&, const void*, Storage, ptrdiff_t)
    bint are_probabilities[P](const P*, ptrdiff_t)
    double total_loss(const LossCall&, ptrdiff_t, Pair, Storage)


# The only one of `reduced` axes, an integer in range; negative where `axis` is none.
cdef inline int mark_axis(axis, int ndim, bint* reduced) except -2:
    cdef Py_ssize_t one
    cdef int i
    if type(axis) is not int:
        return -1
    one = axis
    one += ndim if one < 0 else 0
    if one < 0 or one >= ndim:
        return -1
    for i in range(ndim):
        reduced[i] = i == one
    return <int> one


# Class indices as an operand, and in `divisor` the sum of their weights; False where one of them is wrong.
cdef bint add_labels(Reduction* r, LossCall* call, cnp.ndarray x, const bint* reduced, cnp.ndarray labels,
                     Pair* divisor) noexcept:
    if not add_of_rows(r, LABELS, x, reduced, False, labels):
        return False
    divisor[0] = weigh_labels(call[0], cnp.PyArray_DATA(labels), r.types[LABELS], cnp.PyArray_SIZE(labels))
    return divisor.high >= 0


# Class probabilities as an operand; False where one is not from 0 to 1, unless that is known.
cdef bint add_probabilities(Reduction* r, cnp.ndarray x, const bint* reduced, cnp.ndarray p, bint checked) noexcept:
    cdef ptrdiff_t size = cnp.PyArray_SIZE(p)
    if not same_shape(x, p) or not add_entries(r, IN_DY, reduced, p):
        return False
    if checked:
        return True
    if not cnp.PyArray_IS_C_CONTIGUOUS(p):
        return False
    if r.types[IN_DY] == FLOAT32:
        return are_probabilities[float](<const float*> cnp.PyArray_DATA(p), size)
    return r.types[IN_DY] == FLOAT64 and are_probabilities[double](<const double*> cnp.PyArray_DATA(p), size)


cdef object loss_scalar(int storage, double value):
    cdef char* place = NULL
    if storage == FLOAT16:
        return np.float16(value)
    scalar = new_scalar(storage, &place)
    if storage == FLOAT64:
        (<double*> place)[0] = value
    else:
        (<float*> place)[0] = <float> value
    return scalar


def cross_entropy(int first, bint wants_loss, bint wants_gradient, dy, logits, labels, axis, weight, reduction,
                  smoothing, ignore_index, out, bint checked=False):
    """Loss, gradient or both of exact ndarrays; None where they must be prepared first, or something is wrong.

    The kernels of the table's LOSS_KERNELS begin with number `first`.  `logits` are float16, float32 or float64
    with at least one entry, `labels` of any integer type, or probabilities, which were `checked` unless they
    are contiguous; `dy` is None, a float or an array of the loss's shape; `out` is for the gradient, or for the
    losses where nothing else is wanted and they are not reduced.
    """
    cdef Reduction r
    cdef LossCall call
    cdef Pair divisor
    cdef bint reduced[MAX_AXES]
    cdef bint enough, of_rows = reduction == "none"
    cdef cnp.ndarray x, target, known
    cdef cnp.ndarray losses = None, gradient = None
    cdef double factor = 1, share, value
    cdef double* weights
    cdef int ndim, storage, type_num, one
    if type(logits) is not np.ndarray or type(labels) is not np.ndarray:
        return None
    if (out is not None and type(out) is not np.ndarray) or (weight is not None and type(weight) is not np.ndarray):
        return None
    if not of_rows and reduction != "mean" and reduction != "sum":
        return None
    if type(smoothing) is not float or not 0 <= <double> smoothing <= 1:
        return None
    x, target, share = logits, labels, smoothing
    ndim, storage, type_num = cnp.PyArray_NDIM(x), readable(x), cnp.PyArray_TYPE(x)
    if storage < 0 or storage > FLOAT16 or ndim == 0 or cnp.PyArray_SIZE(x) == 0 or readable(target) < 0:
        return None
    one = mark_axis(axis, ndim, reduced)
    if one < 0:
        return None

    call.classes = cnp.PyArray_DIMS(x)[one]
    call.spreads = share != 0 or readable(target) <= FLOAT16
    call.ignores = ignore_index is not None
    if call.ignores:
        if type(ignore_index) is not int or not -2**63 <= ignore_index < 2**63:
            return None
        call.ignored = ignore_index
    begin_reduction(&r, storage, first + (
        (OF_TARGETS_GRADIENT if wants_gradient else OF_TARGETS) if call.spreads else
        (OF_LABELS_GRADIENT if wants_gradient else OF_LABELS)))
    attach(r, call)
    if not add_entries(&r, IN_X, reduced, x):
        return None
    if weight is not None or call.spreads:
        weights = call.new_weights()
        if weights == NULL:
            raise MemoryError
        if weight is None:
            take_weights(call, weights, r.converters[0], NULL, 0, <Storage> FLOAT64)
        else:
            known = weight
            if cnp.PyArray_NDIM(known) != 1 or cnp.PyArray_DIMS(known)[0] != call.classes or readable(known) < 0:
                return None
            if not take_weights(call, weights, r.converters[0], cnp.PyArray_DATA(known),
                                cnp.PyArray_STRIDES(known)[0], <Storage> readable(known)):
                return None
    if readable(target) <= FLOAT16:
        divisor.high, divisor.low = cnp.PyArray_SIZE(x) // call.classes, 0
        if call.ignores or not add_probabilities(&r, x, reduced, target, checked):
            return None
    else:
        if readable(target) == BOOL:
            return None
        if not cnp.PyArray_IS_C_CONTIGUOUS(target):
            target = cnp.PyArray_GETCONTIGUOUS(target)
        if not add_labels(&r, &call, x, reduced, target, &divisor):
            return None
    if reduction != "mean":
        divisor.high, divisor.low = 1, 0

    r.writes_row = of_rows and wants_loss
    call.common.losses_wanted = wants_loss
    call.common.losses_of_rows = r.writes_row
    call.common.factor_of_row = False
    if type(dy) is float:
        if of_rows and ndim > 1:
            return None
        factor = dy
    elif dy is not None:
        if type(dy) is not np.ndarray:
            return None
        known = dy
        if not of_rows:
            if cnp.PyArray_NDIM(known) or not 0 <= readable(known) <= FLOAT16:
                return None
            factor = float(known)
        elif not add_row_values(&r, x, reduced, False, known):
            return None
        else:
            call.common.factor_of_row = True
    set_shares(call, share, factor, divisor)

    if wants_gradient:
        gradient = out if out is not None else new_result(NULL, ndim, cnp.PyArray_DIMS(x), type_num, 0)
        if not same_shape(x, gradient) or not add_entries(&r, TO_OUT, reduced, gradient):
            return None
        if call.common.factor_of_row and conflicts(dy, gradient):
            return None
    elif out is not None:
        if not of_rows:
            return None
        losses = out
    if r.writes_row:
        if losses is None:
            losses = new_row_values(x, reduced, False, type_num)
        if not add_row_values(&r, x, reduced, False, losses):
            return None
    if out is not None:
        known = out
        if cnp.PyArray_TYPE(known) != type_num or not cnp.PyArray_ISWRITEABLE(known) or repeats_itself(known):
            return None
        if conflicts(x, known) or overlaps(target, known):
            return None
    if cnp.PyArray_SIZE(x) >= RELEASE_GIL_FROM:
        with nogil:
            enough = run_reduction(r, settings)
    else:
        enough = run_reduction(r, settings)
    if not enough:
        raise MemoryError
    if not wants_loss:
        return gradient
    if not of_rows:
        value = total_loss(call, r.tiles, divisor, r.computes_in)
        loss = loss_scalar(storage, value)
    else:
        loss = losses if cnp.PyArray_NDIM(losses) or out is losses else losses[()]
    return (loss, gradient) if wants_gradient else loss
