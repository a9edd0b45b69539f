# cython: language_level=3, freethreading_compatible=True
"""Where the blocks of one instruction set become NumPy ufuncs and fast calls.

Compiled for the baseline: it probes the CPU before any module with wider instructions is imported.
"""

cimport numpy as cnp
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_XDECREF
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.limits cimport INT_MAX
from libc.math cimport INFINITY
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

import itertools
import sys

import numpy as np

cnp.import_array()
cnp.import_umath()

cdef extern from * nogil:
    """
    #include <fenv.h>
    #include "loops/views.h"
    #include "loops/draws.h"
    #include "loops/share_weighted.h"
    #include "loops/memory.h"

    static const size_t CACHED_FROM = HUGE_PAGE;

    static bool cpu_has(int level) {
        __builtin_cpu_init();
        if (level == 4) return __builtin_cpu_supports("x86-64-v4");
        if (level == 3) return __builtin_cpu_supports("x86-64-v3");
        return __builtin_cpu_supports("x86-64-v2");
    }

    static Settings settings = {{1}, {1}, {1}, {PTRDIFF_MAX}};

    // A binary ufunc's reduce and accumulate: each result is the first operand of the next.
    static bool feeds_itself(const Kernel& kernel, char* const* args, const npy_intp* steps) {
        if (kernel.inputs != 2 || steps[0] != steps[2]) return false;
        return args[2] == args[0] + steps[2];
    }

    // NumPy's inner loop: the ufunc's data is the kernel and what its operands are stored as.
    struct UfuncLoop {
        const Kernel* kernel;
        Storage type;
    };
    static inline const Kernel* kernel_of_storage(const Kernel* kernel, int storage);
    static void ufunc_loop(char** args, const npy_intp* n, const npy_intp* steps, void* data) {
        const UfuncLoop& loop = *(const UfuncLoop*)data;
        const Kernel& kernel = *kernel_of_storage(loop.kernel, loop.type);
        Row row;
        for (int j = 0; j <= kernel.inputs; j++) {
            row.data[j] = args[j];
            row.steps[j] = steps[j];
            row.types[j] = loop.type;
        }
        if (!feeds_itself(kernel, args, steps)) {
            run(kernel, row, *n, settings);
            return;
        }
        for (npy_intp i = 0; i < *n; i++) run(kernel, from_element(kernel, row, i), 1, settings);
    }

    static void run_contiguously(const Kernel& kernel, char* const* args, ptrdiff_t n, const ptrdiff_t* steps) {
        Row row;
        for (int j = 0; j <= kernel.inputs; j++) {
            row.data[j] = args[j];
            row.steps[j] = steps[j];
            row.types[j] = kernel.computes_in;
        }
        run(kernel, row, n, settings);
    }
    static bool has_block(const Kernel* kernel) { return *kernel->block != nullptr; }
    static Block as_block(size_t address) { return (Block)address; }
    static void share_work(size_t share, size_t work, ptrdiff_t cost, const Settings& settings) {
        SilentFlags silent;
        const int threads = threads_for(cost, settings);
        if (threads == 1) ((Share)share)((void*)work, 0, 1);
        else run_in_parallel((Share)share, (void*)work, threads, settings.processors);
    }
    static Runner the_runner = {nullptr, run_contiguously, run_one<float>, run_one<double>};
    """
    cdef struct RowKernel:
        void* apply
    ctypedef void (*Block)(const void*) noexcept nogil
    cdef struct Converters:
        pass
    ctypedef void (*WeightedKernel)(const void*, const void*, ptrdiff_t, double*, ptrdiff_t, ptrdiff_t) noexcept nogil
    ctypedef void (*Generator)(void*, uint64_t, ptrdiff_t, uint64_t) noexcept nogil
    cdef struct Exports:
        int count
        int register_bytes
        const Block* blocks[13]
        const Block* fast[2]
        const Block* shorter
        const Block* two[2][2]
        const RowKernel* rows[2]
        const Converters* converters
        WeightedKernel weighted[2]
        Generator draws[2][2]
    const char* EXPORTS_NAME
    enum: MAX_INPUTS
    enum: MAX_REGISTER
    enum: MAX_AXES
    enum: MAX_THREADS
    enum: FLOAT32
    enum: FLOAT64
    enum: FLOAT16
    enum: BFLOAT16
    bint is_half(int)
    enum: BOOL
    enum: INT8
    enum: UINT8
    enum: STORAGES
    enum: DRAWN
    enum: UNIFORM
    ctypedef enum Storage:
        pass
    cdef struct Settings:
        int max_threads
        int processors
        ptrdiff_t work_per_thread
        ptrdiff_t streaming_bytes
        int streaming_costs[2]
    cdef struct Kernel:
        int index
        const Kernel* faster
        const Kernel* shorter
        const Block* block
        const Block* two
        const Converters* converters
        int inputs
        int lanes
        Storage computes_in
        int item_bytes
        int cost
        Generator generator
        uint64_t key
    cdef struct Plan:
        int threads
        bint streaming
    cdef struct KernelRow "Row":
        char* data[9]
        ptrdiff_t steps[9]
        Storage types[9]
    cdef struct Grid:
        const Kernel* kernel
        int axes
        ptrdiff_t shape[64]
        char* data[9]
        ptrdiff_t strides[9][64]
        Storage types[9]
    enum: IN_X
    enum: IN_DY
    enum: TO_OUT
    enum: OF_ROW
    enum: LABELS
    enum: ROW_OPERANDS
    cdef struct Reduction:
        RowKernel kernel
        const Converters* converters
        Storage computes_in
        int item_bytes
        int cost
        bint used[5]
        bint writes_row
        bint zero
        Storage types[5]
        char* data[5]
        ptrdiff_t length
        ptrdiff_t steps[5]
        int axes
        ptrdiff_t shape[64]
        ptrdiff_t strides[5][64]
        ptrdiff_t tiles
    cdef struct Draws:
        Kernel kernel
        char* to
        uint64_t first
        ptrdiff_t count
    cdef struct WeightedRows:
        WeightedKernel kernel
        const char* a
        const char* b
        double* sums
        ptrdiff_t rows
        ptrdiff_t length
        ptrdiff_t b_step
        int item_bytes
        int cost
    cdef struct UfuncLoop:
        const Kernel* kernel
        Storage type
    cdef struct Runner:
        const Kernel* kernels
    cdef struct MemoryState:
        size_t held
        size_t reused
    Settings settings
    Runner the_runner
    const char* RUNNER_NAME
    const int NPY_HALF
    const int* STORAGE_BYTES
    bint cpu_has(int level)
    bint has_block(const Kernel*)
    Block as_block(size_t address)
    void share_work(size_t share, size_t work, ptrdiff_t cost, const Settings&)
    Plan make_plan(const Kernel&, ptrdiff_t, bint, Storage, const Settings&)
    void run(const Kernel&, const KernelRow&, ptrdiff_t, const Settings&)
    void run_grid(Grid&, const Settings&)
    void simplify(Grid&)
    void run_draws(const Draws&, const Settings&)
    bint add_view_of_entries "add_entries" (Reduction&, int, const bint*, const View&)
    bint add_view_of_rows "add_of_rows" (Reduction&, int, const View&, const bint*, bint, const View&)
    bint run_reduction(Reduction&, const Settings&)
    void run_weighted(const WeightedRows&, const Settings&)
    void ufunc_loop(char**, const cnp.npy_intp*, const cnp.npy_intp*, void*)
    void set_memory_limit(size_t)
    void set_memory_idle_time(int64_t)
    MemoryState memory_state()
    void pool_in_child()
    void memory_before_fork()
    void memory_after_fork()
    void memory_in_child()
    int pthread_atfork(void (*)() noexcept nogil, void (*)() noexcept nogil, void (*)() noexcept nogil)
    int feclearexcept(int)
    const int PyUFunc_IdentityValue
    object PyUFunc_FromFuncAndDataAndSignatureAndIdentity(
        cnp.PyUFuncGenericFunction*, void**, char*, int, int, int, int, char*, char*, int, char*, PyObject*)
    int FE_ALL_EXCEPT

cdef enum:
    RELEASE_GIL_FROM = 4096  # elements; below, taking it back could cost more than the work

cdef struct Tables:
    const Exports* exports
    Kernel* kernels   # [index of the table's kernel][FLOAT32, FLOAT64], then the same with other blocks
    Block* others     # those blocks, one for each of the latter, or NULL where there is none yet
    Kernel* integers  # [index of the table's kernel][from INT8 to UINT64]; without a block where there is none
    Kernel* halves    # [index of the table's kernel][FLOAT16, BFLOAT16]; likewise, all operands of that storage
    int fixed         # how many formulas those are; the indices from here on are of kernels added later
    Kernel** added    # each as FLOAT32, FLOAT64; first those of the table with the other blocks
    int added_count
    int added_room

cdef Tables tables
cdef int INTEGER_TYPES = STORAGES - INT8


def supports(int level):
    """Whether this CPU and its operating system run x86-64-v<level>."""
    return bool(cpu_has(level))


cdef const Exports* exports_of(module, Py_ssize_t count) except NULL:
    cdef const Exports* exports = <const Exports*> PyCapsule_GetPointer(module.blocks, EXPORTS_NAME)
    if exports.count != count:
        raise ImportError(f"{module.__name__} was built from another table: rebuild fastrelu")
    return exports


def use_blocks(module, lower, kernels):
    """Take the blocks of one instruction set, and what it lacks from the next lower one.

    `kernels` lists (inputs, cost) in the table's order.
    """
    cdef const Exports* exports = exports_of(module, len(kernels))
    cdef const Exports* lent = exports_of(lower, len(kernels))
    cdef const Exports* source
    # these live as long as the ufuncs that point into them: for ever
    tables.kernels = <Kernel*> malloc(exports.count * 4 * sizeof(Kernel))
    if tables.others == NULL:
        tables.others = <Block*> calloc(exports.count * 2, sizeof(Block))
        while tables.added_room < exports.count:
            tables.added_room = 2 * tables.added_room + 1
        tables.added = <Kernel**> malloc(tables.added_room * sizeof(Kernel*))
        tables.added_count = exports.count
    tables.halves = <Kernel*> malloc(exports.count * 2 * sizeof(Kernel))
    cdef Kernel* faster = <Kernel*> malloc(exports.count * 2 * sizeof(Kernel))
    cdef Kernel* shorter = <Kernel*> malloc(exports.count * sizeof(Kernel))
    tables.integers = <Kernel*> malloc(exports.count * INTEGER_TYPES * sizeof(Kernel))
    if tables.kernels == NULL or tables.others == NULL or tables.added == NULL or tables.integers == NULL:
        raise MemoryError
    if tables.halves == NULL or faster == NULL or shorter == NULL:
        raise MemoryError
    cdef int i, compute
    cdef Kernel* kernel
    cdef Kernel* other
    for i in range(exports.count):
        inputs, cost = kernels[i]
        for compute in range(2):
            source = exports if exports.blocks[compute][i] != NULL else lent
            kernel = &tables.kernels[2 * i + compute]
            set_kernel(kernel, source, compute, i, inputs, 5 * cost // 2 if compute else cost)
            kernel.two = two_results_of(source, HIGH, compute, i)
            other = &tables.kernels[2 * (exports.count + i) + compute]
            other[0] = kernel[0]
            other.faster = other.shorter = other
            other.two = NULL
            other.block = &tables.others[2 * i + compute]
            other.lanes = MAX_REGISTER // other.item_bytes
            if exports.fast[compute][i] != NULL:
                kernel.faster = &faster[2 * i + compute]
                set_kernel(&faster[2 * i + compute], exports, compute, i, inputs, (kernel.cost + 1) // 2)
                faster[2 * i + compute].block = &exports.fast[compute][i]
                faster[2 * i + compute].two = two_results_of(exports, FAST, compute, i)
                kernel.shorter = kernel.faster
        kernel = &tables.kernels[2 * i + FLOAT32]
        if exports.shorter[i] != NULL:
            kernel.shorter = &shorter[i]
            set_kernel(&shorter[i], exports, FLOAT32, i, inputs, (cost + 1) // 2)
            shorter[i].block = &exports.shorter[i]
        tables.added[i] = &tables.kernels[2 * (exports.count + i)]
        for compute in range(FLOAT16, BFLOAT16 + 1):
            set_kernel(&tables.halves[2 * i + compute - FLOAT16], exports, compute, i, inputs, kernel.shorter.cost)
        for compute in range(INT8, STORAGES):
            set_kernel(integer_kernel(i, compute), exports, compute, i, inputs, cost)
    tables.exports = exports
    tables.fixed = exports.count
    the_runner.kernels = tables.kernels


cdef const Block* two_results_of(const Exports* exports, int accuracy, int compute, int index) noexcept:
    cdef const Block* block = &exports.two[accuracy][compute][index]
    return block if block[0] != NULL else NULL


cdef void set_kernel(Kernel* kernel, const Exports* exports, int compute, int index, int inputs, int cost) noexcept:
    kernel.index = index
    kernel.faster = kernel.shorter = kernel
    kernel.block = &exports.blocks[compute][index]
    kernel.two = NULL
    kernel.converters = exports.converters
    kernel.inputs = inputs
    kernel.computes_in = <Storage> compute
    kernel.item_bytes = STORAGE_BYTES[compute]
    kernel.lanes = exports.register_bytes // kernel.item_bytes
    kernel.cost = cost
    kernel.generator = NULL
    kernel.key = 0


cdef inline const Kernel* kernels_of(int index) noexcept:
    """The kernels of one formula by what they compute in, FLOAT32 and FLOAT64."""
    if index < tables.fixed:
        return &tables.kernels[2 * index]
    return tables.added[index - tables.fixed]


cdef struct AddedKernels:
    Kernel kernels[2]
    Block blocks[2]


MOST_INPUTS = MAX_INPUTS
REGISTER_BYTES = MAX_REGISTER


def add_kernel(int inputs, blocks, costs):
    """The index of a new kernel, whose blocks for float32 and float64 were compiled elsewhere.

    `blocks` are their addresses, `costs` as the table's.  To the blocks a register is REGISTER_BYTES long,
    whatever the instruction set.  The kernel stays for ever, for ufuncs point to it.
    """
    cdef AddedKernels* made = <AddedKernels*> malloc(sizeof(AddedKernels))
    cdef Kernel** longer
    cdef int i, compute, count = tables.added_count
    if made == NULL:
        raise MemoryError
    for compute in range(2):
        made.blocks[compute] = <Block> <size_t> blocks[compute]
        set_kernel(&made.kernels[compute], tables.exports, compute, 0, inputs, costs[compute])
        made.kernels[compute].index = tables.fixed + count
        made.kernels[compute].block = &made.blocks[compute]
        made.kernels[compute].lanes = MAX_REGISTER // made.kernels[compute].item_bytes
    if count == tables.added_room:  # the old array may be in use, and all of them together are small
        tables.added_room = 2 * count
        longer = <Kernel**> malloc(tables.added_room * sizeof(Kernel*))
        if longer == NULL:
            raise MemoryError
        for i in range(count):
            longer[i] = tables.added[i]
        tables.added = longer
    tables.added[count] = made.kernels
    tables.added_count = count + 1
    return tables.fixed + count


cdef inline Kernel* integer_kernel(int index, int storage) noexcept:
    """The kernel that keeps integers of a storage; a bool is one of 8 bits."""
    return &tables.integers[index * INTEGER_TYPES + max(storage, UINT8 if storage == BOOL else INT8) - INT8]


def set_block(int index, bint double_precision, size_t address):
    """Let kernel `index`, counted on behind the table's own, run the block at an address.

    A block takes ``Operands`` (loops/exports.h) with registers of 64 bytes and must stay where it is.
    """
    tables.others[2 * (index - tables.fixed) + double_precision] = as_block(address)


def share_out(size_t share, size_t work, ptrdiff_t cost):
    """Call the function at an address, a ``Share`` of loops/pool.h, for every part of its work.

    `cost`, in sixteenths of a nanosecond, decides how many threads that pays for.
    """
    with nogil:
        share_work(share, work, cost, settings)


MOST_THREADS = MAX_THREADS


def configure(
    int max_threads, ptrdiff_t work_per_thread, ptrdiff_t streaming_bytes, int processors, streaming_costs=None
):
    """Set what `plan` decides by; more threads than `processors` never wait awake.

    `streaming_costs` for float32 and float64; without them the cost of a kernel does not count.
    """
    settings.max_threads = max_threads
    settings.processors = processors
    settings.work_per_thread = work_per_thread
    settings.streaming_bytes = streaming_bytes
    for compute in range(2):
        settings.streaming_costs[compute] = INT_MAX if streaming_costs is None else streaming_costs[compute]


def runner():
    """A capsule with what another compiled module needs to run kernels."""
    return PyCapsule_New(&the_runner, RUNNER_NAME, NULL)


def plan(int index, dtype, ptrdiff_t size, bint in_place, bint fast=False):
    """The number of threads and whether stores stream, the very decision that a call executes.

    `fast`: at accuracy "fast".  None where no kernel computes the dtype.
    """
    cdef int storage = storage_of(np.dtype(dtype).num)
    cdef const Kernel* kernel = kernel_for(index, storage) if storage >= 0 else NULL
    if kernel == NULL:
        return None
    kernel = kernel.shorter if is_half(storage) else kernel.faster if fast else kernel
    cdef Plan made = make_plan(kernel[0], size, in_place, <Storage> storage, settings)
    return made.threads, bool(made.streaming)


# --- ufuncs -----------------------------------------------------------------------------------------------

# A loop that calls the reference: for dtypes without a kernel.
cdef struct ReferenceLoop:
    PyObject* function
    int type_num
    int inputs

cdef object wrap(int type_num, cnp.npy_intp n, cnp.npy_intp step, char* data):
    return cnp.PyArray_New(cnp.ndarray, 1, &n, type_num, &step, data, 0,
                           cnp.NPY_ARRAY_ALIGNED | cnp.NPY_ARRAY_WRITEABLE, None)

cdef void reference_loop(char** args, const cnp.npy_intp* n, const cnp.npy_intp* steps, void* data) noexcept with gil:
    cdef ReferenceLoop* loop = <ReferenceLoop*> data
    inputs = [wrap(loop.type_num, n[0], steps[j], args[j]) for j in range(loop.inputs)]
    out = wrap(loop.type_num, n[0], steps[loop.inputs], args[loop.inputs])
    if loop.inputs == 2 and n[0] > 1 and steps[0] == steps[2] and args[2] == args[0] + steps[2]:
        for i in range(n[0]):  # reduce or accumulate
            out[i] = (<object> loop.function)(inputs[0][i], inputs[1][i])
    else:
        out[...] = (<object> loop.function)(*inputs)
    feclearexcept(FE_ALL_EXCEPT)

cdef list kept_alive = []  # NumPy keeps pointers to names, docs and reference functions


cdef inline const Kernel* half_kernel(const Kernel* kernels, int storage) noexcept:
    """The kernel for contiguous operands that are all of a storage of 16 bits."""
    if kernels == kernels_of(kernels.index) and kernels.index < tables.fixed:
        if has_block(&tables.halves[2 * kernels.index + storage - FLOAT16]):
            return &tables.halves[2 * kernels.index + storage - FLOAT16]
    return kernels.shorter


cdef const Kernel* kernel_for(int index, int storage) noexcept:
    """The kernel that computes operands of a storage, or NULL."""
    if storage <= BFLOAT16:
        return &kernels_of(index)[FLOAT64 if storage == FLOAT64 else FLOAT32]
    if index >= tables.fixed:
        return NULL
    cdef const Kernel* kernel = integer_kernel(index, storage)
    return kernel if has_block(kernel) else NULL


def make_ufunc(int index, str name, str doc, reference, str chars, identity):
    """A ufunc over kernel `index` with loops for the dtype characters; `reference` serves what has no kernel."""
    cdef int inputs = kernels_of(index).inputs
    cdef int count = len(chars), i, j, storage
    cdef const Kernel* kernel
    cdef UfuncLoop* loop
    cdef cnp.PyUFuncGenericFunction* loops = <cnp.PyUFuncGenericFunction*> malloc(count * sizeof(void*))
    cdef void** data = <void**> malloc(count * sizeof(void*))
    cdef char* types = <char*> malloc(count * (inputs + 1))
    cdef ReferenceLoop* fallback
    if loops == NULL or data == NULL or types == NULL:
        raise MemoryError
    for i, char in enumerate(chars):
        type_num = np.dtype(char).num
        for j in range(inputs + 1):
            types[i * (inputs + 1) + j] = type_num
        storage = storage_of(type_num)
        kernel = kernel_for(index, storage) if storage >= 0 else NULL
        if kernel != NULL:
            loop = <UfuncLoop*> malloc(sizeof(UfuncLoop))
            loop.type = <Storage> storage if storage <= BFLOAT16 else kernel.computes_in
            loop.kernel = kernel
            loops[i] = <cnp.PyUFuncGenericFunction> ufunc_loop
            data[i] = loop
        else:
            fallback = <ReferenceLoop*> malloc(sizeof(ReferenceLoop))
            fallback.function = <PyObject*> reference
            fallback.type_num = type_num
            fallback.inputs = inputs
            loops[i] = <cnp.PyUFuncGenericFunction> reference_loop
            data[i] = fallback
    encoded = name.encode(), doc.encode()
    kept_alive.extend([encoded, reference])
    ufunc = PyUFunc_FromFuncAndDataAndSignatureAndIdentity(
        loops, data, types, count, inputs, 1, cnp.PyUFunc_None if identity is None else PyUFunc_IdentityValue,
        <char*> encoded[0], <char*> encoded[1], 0, NULL, <PyObject*> identity)
    ufuncs_made.append((ufunc, index))
    if bfloat16_type() >= 0:
        add_bfloat16_loop(ufunc, index)
    return ufunc


# --- rows with weights ---------------------------------------------------------------------------------------

cdef void describe_weighted(WeightedRows* s, cnp.ndarray a, ptrdiff_t length, double* sums) noexcept:
    s.item_bytes = cnp.PyArray_ITEMSIZE(a)
    s.kernel = tables.exports.weighted[1 if s.item_bytes == 8 else 0]
    s.cost = 120 if s.item_bytes == 8 else 40  # two exponentials
    s.a = <const char*> cnp.PyArray_DATA(a)
    s.length = length
    s.rows = cnp.PyArray_SIZE(a) // length
    s.sums = sums


def weighted_sums(a, b):
    """Columns m, and (high, low) of the sums of b exp(a - m) where a is m, and where it is not.

    `a` is a contiguous float32 or float64 matrix, `b` None, one of its kind or a single row of it.  A row is NaN
    where loops/weighted.h leaves it to the reference.
    """
    cdef cnp.ndarray weights, result = np.empty((len(a), 5))
    cdef WeightedRows s
    describe_weighted(&s, a, cnp.PyArray_DIMS(a)[1], <double*> cnp.PyArray_DATA(result))
    s.b = NULL
    s.b_step = 0
    if b is not None:
        weights = b
        s.b = <const char*> cnp.PyArray_DATA(weights)
        s.b_step = s.length if cnp.PyArray_DIMS(weights)[0] > 1 else 0
    with nogil:
        run_weighted(s, settings)
    return result


include "loops/arrays.pxi"
include "loops/bfloat16.pxi"
include "loops/accuracy.pxi"
include "loops/reduce.pxi"
include "loops/weighted_logs.pxi"
include "loops/cross_entropy.pxi"
include "loops/fast_call.pxi"
include "loops/sums.pxi"
include "loops/two_results.pxi"
include "loops/largest.pxi"
include "loops/fused.pxi"
include "loops/fused_call.pxi"
include "loops/jit.pxi"
