"""Launches by the addresses of the driver's functions, so that no library of CUDA is linked or included.

The arguments of a launch are laid out on the stack: nothing is allocated, threads share nothing, and the
driver has copied them before it returns, so that a stream can be captured.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uintptr_t

__all__ = ["Context", "Launcher"]

cdef enum:
    MOST_ARGUMENTS = 512  # each of 8 bytes, which is what the driver takes


cdef union Slot:
    int64_t q
    int32_t i
    uint32_t I
    float f
    double d


ctypedef int (*get_current_type)(void**) noexcept nogil
ctypedef int (*push_type)(void*) noexcept nogil
ctypedef int (*launch_type)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                            void*, void**, void**) noexcept nogil


cdef class Context:
    """The context of a device, and what a launch calls.

    Parameters
    ----------
    handle : int
    addresses : tuple of int
        Of cuCtxGetCurrent, cuCtxPushCurrent, cuCtxPopCurrent and cuLaunchKernel.
    failed : callable
        ``failed(name, status)`` raises.
    """

    cdef void* handle
    cdef get_current_type get_current
    cdef push_type push
    cdef get_current_type pop
    cdef launch_type launch
    cdef object failed

    def __init__(self, uintptr_t handle, addresses, failed):
        cdef uintptr_t get_current, push, pop, launch
        get_current, push, pop, launch = addresses
        self.handle = <void*> handle
        self.get_current = <get_current_type> get_current
        self.push = <push_type> push
        self.pop = <get_current_type> pop
        self.launch = <launch_type> launch
        self.failed = failed


cdef class Launcher:
    """A kernel that was loaded into a context.

    Parameters
    ----------
    context : Context
    function : int
        Its handle.
    threads : int
        Of a block.
    formats : str
        Of its arguments, as `struct` has them: q, i, I, f or d.
    """

    cdef Context context
    cdef void* function
    cdef unsigned threads
    cdef bytes formats

    def __init__(self, Context context, uintptr_t function, unsigned threads, str formats):
        if len(formats) > MOST_ARGUMENTS:
            raise ValueError(f"a kernel of {len(formats)} arguments; expected at most {MOST_ARGUMENTS}")
        self.context, self.function, self.threads = context, <void*> function, threads
        self.formats = formats.encode()

    def __call__(self, unsigned blocks, uintptr_t stream, tuple values, unsigned shared=0):
        """Run it in so many blocks on a stream, each with so many bytes of shared memory."""
        cdef Slot slots[MOST_ARGUMENTS]
        cdef void* pointers[MOST_ARGUMENTS]
        cdef Context context = self.context
        cdef const char* formats = self.formats
        cdef Py_ssize_t count = len(self.formats), i
        cdef void* current = NULL
        cdef int status, kind
        if len(values) != count:
            raise ValueError(f"{len(values)} arguments for a kernel; expected {count}")
        for i in range(count):
            pointers[i] = &slots[i]
            kind = formats[i]
            if kind == c"q":
                slots[i].q = values[i]
            elif kind == c"d":
                slots[i].d = values[i]
            elif kind == c"f":
                slots[i].f = <float> <double> values[i]
            elif kind == c"I":
                slots[i].I = values[i]
            else:
                slots[i].i = values[i]
        if status := context.get_current(&current):
            context.failed("cuCtxGetCurrent", status)
        if current != context.handle and (status := context.push(context.handle)):
            context.failed("cuCtxPushCurrent", status)
        with nogil:
            status = context.launch(self.function, blocks, 1, 1, self.threads, 1, 1, shared,
                                    <void*> stream, pointers, NULL)
        if current != context.handle:
            context.pop(&current)
        if status:
            context.failed("cuLaunchKernel", status)
