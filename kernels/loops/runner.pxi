# Runs a kernel of the table from compiled code: what the scalar and array functions of activations.pyx call.

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stddef cimport ptrdiff_t

from fastrelu.kernels import ufuncs

cdef extern from * nogil:
    """
    #include "loops/plan.h"
    static const Runner* runner;
    static inline void run_kernel(int index, int is_double, char* const* args, ptrdiff_t n, const ptrdiff_t* steps) {
        runner->run(runner->kernels[2 * index + is_double], args, n, steps);
    }
    static inline float run_one(int index, const float* inputs) {
        return runner->one_float(runner->kernels[2 * index], inputs);
    }
    static inline double run_one(int index, const double* inputs) {
        return runner->one_double(runner->kernels[2 * index + 1], inputs);
    }
    """
    cdef struct Runner:
        pass
    const Runner* runner
    const char* RUNNER_NAME
    void run_kernel(int, int, char* const*, ptrdiff_t, const ptrdiff_t*)
    float run_one(int, const float*)
    double run_one(int, const double*)

runner = <const Runner*> PyCapsule_GetPointer(ufuncs.runner(), RUNNER_NAME)
