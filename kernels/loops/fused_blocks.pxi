# fused_blocks.h for the generated module, which has nothing to choose there.

cdef extern from * nogil:
    """
    #include "loops/fused_blocks.h"
    """
    const void* FUSED
    const char* FUSED_NAME

steps = PyCapsule_New(<void*> FUSED, FUSED_NAME, NULL)
