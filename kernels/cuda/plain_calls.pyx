# cython: cdivision=True
"""Calls on whole device arrays, read without Python where their library has a table of functions.

That table is DLPack's: ``__dlpack_c_exchange_api__`` of a type, with a function that describes an array and one
that gives the current stream.  Arrays of other libraries, of which only those in C order are plain, are asked
by their attributes.
"""

from cpython.exc cimport PyErr_Clear
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

__all__ = ["PlainCalls", "take_for_a_device"]

cdef enum:
    VERSION = 1  # of DLPack: the major one
    VECTOR_BYTES = 16
    MOST_ARRAYS = 4
    MOST_KEPT = 1024
    CUDA = 2
    FLOAT = 2
    BFLOAT = 4


cdef struct Version:
    uint32_t major, minor


cdef struct Device:
    int32_t kind, ordinal


cdef struct Dtype:
    uint8_t code, bits
    uint16_t lanes


cdef struct Tensor:
    void* data
    Device device
    int32_t ndim
    Dtype dtype
    int64_t* shape
    int64_t* strides
    uint64_t byte_offset


ctypedef int (*describe_type)(void*, Tensor*) noexcept
ctypedef int (*stream_type)(int32_t, int32_t, void**) noexcept


cdef struct Exchange:
    Version version
    void* older
    void* allocate
    void* lend
    void* make
    describe_type describe
    stream_type stream


cdef struct Place:
    uintptr_t start
    int64_t count
    int32_t device
    char char


cdef int32_t on_a_device = CUDA


def take_for_a_device(int32_t kind):
    """Take memory of this kind, a number of DLPack's, for that of a device: for benchmarks without one."""
    global on_a_device
    on_a_device = kind


cdef inline int size_of(char char) noexcept:
    return 2 if char == c"e" or char == c"b" else 4 if char == c"f" else 8


cdef inline char char_of(Dtype dtype) noexcept:
    """The character of `arrays.SIZES`, 0 for what has none."""
    if dtype.lanes != 1:
        return 0
    if dtype.code == BFLOAT:
        return c"b" if dtype.bits == 16 else 0
    if dtype.code != FLOAT:
        return 0
    return c"e" if dtype.bits == 16 else c"f" if dtype.bits == 32 else c"d" if dtype.bits == 64 else 0


cdef bint in_c_order(Tensor* tensor) noexcept:
    cdef int64_t step = 1
    cdef int32_t i
    for i in range(tensor.ndim - 1, -1, -1):
        if tensor.shape[i] != 1 and tensor.strides[i] != step:
            return False
        step *= tensor.shape[i]
    return True


cdef bint without_gaps(Tensor* tensor) noexcept:
    """Whether the axes in some order are those of one run of memory."""
    cdef int64_t step = 1
    cdef uint64_t done = 0
    cdef int32_t i, left = tensor.ndim
    cdef bint found = tensor.ndim <= 64
    while left and found:
        found = False
        for i in range(tensor.ndim):
            if not done >> i & 1 and (tensor.shape[i] == 1 or tensor.strides[i] == step):
                step *= tensor.shape[i]
                done |= <uint64_t> 1 << i
                left -= 1
                found = True
    return found or not left


cdef bint described(Tensor* tensor, Place* place) noexcept:
    """Whether this is an array as `PlainCalls` takes them; then where it is."""
    cdef int64_t count = 1
    cdef int32_t i
    for i in range(tensor.ndim):
        count *= tensor.shape[i]
    place.start = <uintptr_t> tensor.data + tensor.byte_offset
    place.count = count
    place.device = tensor.device.ordinal
    place.char = char_of(tensor.dtype)
    if tensor.device.kind != on_a_device or not place.char:
        return False
    if not tensor.ndim:
        return True
    return tensor.strides != NULL and (in_c_order(tensor) or without_gaps(tensor))


cdef bint alike(Tensor* a, Tensor* b) noexcept:
    """Whether two arrays have one shape and go through their memory in one order."""
    cdef int32_t i
    if a.ndim != b.ndim:
        return False
    for i in range(a.ndim):
        if a.shape[i] != b.shape[i] or (a.shape[i] != 1 and a.strides[i] != b.strides[i]):
            return False
    return True


cdef int checked(int status) except -1:
    """Raise the error that a function of the table has set."""
    return -1 if status else 0


cdef class Reader:
    """How arrays of a type are read."""

    cdef object library
    cdef Exchange* exchange

    def __cinit__(self, library, kind):
        self.library = library
        table = getattr(kind, "__dlpack_c_exchange_api__", None) if library.exchanges else None
        if table is not None and PyCapsule_IsValid(table, "dlpack_exchange_api"):
            self.exchange = <Exchange*> PyCapsule_GetPointer(table, "dlpack_exchange_api")
            if self.exchange.version.major != VERSION or not self.exchange.describe:
                self.exchange = NULL

    cdef bint read(self, object array, Tensor* tensor, Place* place) except -1:
        """Whether it is an array without gaps that can be written; then where it is."""
        if self.exchange:
            if self.exchange.describe(<void*> array, tensor):
                PyErr_Clear()
                return False
            return described(tensor, place) and not array.requires_grad and not array.is_neg()
        try:
            found = self.library.plain(array)
        except TypeError:  # no array for kernels: the general call says why
            return False
        if found is None:
            return False
        start, count, char, device = found
        place.start, place.count, place.device, place.char = start, count, device, ord(char)
        return True

    cdef object stream(self, object array, Place* place):
        cdef void* found
        if not self.exchange:
            return self.library.stream(array)
        checked(self.exchange.stream(on_a_device, place.device, &found))
        return <uintptr_t> found


cdef dict READERS = {}  # by type


cdef class PlainCalls:
    """Calls of one kernel on arrays without gaps and numbers: what they need is kept by dtype, device and numbers.

    A subclass has ``prepared(char, device, values)``, which gives the device, the kernel, its threads, the most
    blocks and the numbers as the kernel takes them.

    Parameters
    ----------
    defaults : tuple
        The numbers where none are given; None for one that has to be.
    library_of : callable
        The library of a type, or None.
    accuracy : callable
        The current one.
    """

    cdef public dict ready
    cdef tuple defaults
    cdef bint has_defaults
    cdef object library_of, accuracy

    def __init__(self, tuple defaults, library_of, accuracy):
        self.ready, self.defaults, self.has_defaults = {}, defaults, None not in defaults
        self.library_of, self.accuracy = library_of, accuracy

    cdef Reader reader(self, kind):
        if kind not in READERS:
            library = self.library_of(kind)
            READERS[kind] = None if library is None else Reader(library, kind)
        return READERS[kind]

    def __call__(self, tuple arrays, out, tuple values=None):
        """The result; None where the call is not so plain, or something is wrong with its arrays.

        `values` are floats, by default the defaults.
        """
        cdef Tensor tensor, other
        cdef Place places[MOST_ARRAYS]
        cdef Place lead, to
        cdef Py_ssize_t count = len(arrays), i
        cdef int64_t step, head, vectors, items
        cdef Reader reader
        cdef uint64_t steps = 0
        cdef int size, lanes
        said = values
        if values is None:
            if not self.has_defaults:
                return None
            values = said = self.defaults
        elif 0.0 in values:
            said = repr(values)  # two zeros that are equal
        first = arrays[count - 1]
        reader = self.reader(type(first))
        if count > MOST_ARRAYS or reader is None or not reader.read(first, &tensor, &lead):
            return None
        places[count - 1] = lead
        for i in range(count - 1):
            if not self.beside(reader, arrays[i], first, &tensor, &lead, &places[i]):
                return None
        if out is None:
            try:
                result = reader.library.empty_like(first)
            except TypeError:  # its library makes none
                return None
            to = lead
            if not reader.exchange:
                to.start = reader.library.place(result)
            elif type(result) is not type(first) or not reader.read(result, &other, &to) or not alike(&other, &tensor):
                return None
        else:
            result = out
            if not self.beside(reader, out, first, &tensor, &lead, &to):
                return None
        size = size_of(lead.char)
        for i in range(count):
            step = <int64_t> (places[i].start - to.start)
            steps |= <uint64_t> step
            if step and -lead.count * size < step < lead.count * size:
                return None
        if (steps | to.start) & (size - 1):
            return None
        key = lead.char, lead.device, self.accuracy(), said
        ready = self.ready.get(key)
        if ready is None:
            if len(self.ready) >= MOST_KEPT:
                self.ready.clear()
            ready = self.ready[key] = self.prepared(chr(lead.char), lead.device, values)
        if not lead.count:
            return result
        device, kernel, threads, most, numbers = ready
        lanes = VECTOR_BYTES // size
        head = (-to.start % VECTOR_BYTES) // size
        vectors = (lead.count - head) // lanes if lead.count > head and not steps % VECTOR_BYTES else 0
        items = max(vectors, lead.count - vectors * lanes)
        begins = (to.start, *[places[i].start for i in range(count)])
        blocks = min((items + threads - 1) // threads, most)
        device.launch(kernel, blocks, reader.stream(first, &lead), (*begins, *numbers, lead.count, head, vectors))
        return result

    cdef bint beside(self, Reader reader, array, first, Tensor* tensor, Place* lead, Place* place) except -1:
        """Whether an array is of the kind, shape, dtype and device of the first one."""
        cdef Tensor other
        if type(array) is not type(first) or not reader.read(array, &other, place):
            return False
        if not (alike(&other, tensor) if reader.exchange else reader.library.alike(array, first)):
            return False
        return place.char == lead.char and place.device == lead.device
