# What a formula may say: its kinds of value, each for float and for double, and the operations on them.
#
#   V  one register, plain IEEE arithmetic            for formulas that are exact or rounded once anyway
#   N  V, and the same for every integer              for formulas that keep integers
#   W  the same lanes with spare precision (wide.h)   for everything else
#   X  V or W                                         for what reads the same in both

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from * nogil:
    """
    #include <math.h>
    #include "simd/sixteenths.h"
    #include "simd/wide.h"
    
    """
    const double NAN
    const double INFINITY

    cdef cppclass vec[T]:
        vec operator+(vec)
        vec operator-(vec)
        vec operator*(vec)
        vec operator/(vec)
    cdef cppclass wide[T]:
        wide operator+(wide)
        wide operator-(wide)
        wide operator*(wide)
        wide operator/(wide)
        wide operator+(double)
        wide operator-(double)
        wide operator*(double)
    wide[T] operator+[T](double, wide[T])
    wide[T] operator-[T](double, wide[T])
    wide[T] operator*[T](double, wide[T])
    wide[T] operator/[T](double, wide[T])

    vec[T] splat[T](vec[T], double)
    vec[T] fma[T](vec[T], vec[T], vec[T])
    vec[T] multiply_add "fma" [T](vec[T], vec[T], vec[T])
    vec[T] nearest_integer[T](vec[T], vec[T])
    vec[T] polynomial[T](vec[T], const double*)
    vec[T] power_of_two[T](vec[T])
    vec[T] binade[T](vec[T])
    vec[T] times_power_of_two[T](vec[T], vec[T])
    vec[T] fraction[T](vec[T])
    vec[T] times_power_below[T](vec[T], vec[T])
    vec[T] rough_inverse[T](vec[T])
    vec[T] times_power_of_sixteenths[T](vec[T], vec[T])
    vec[T] entry[T](const double*, vec[T])
    wide[T] splat[T](wide[T], double)
    wide[T] constant[T](wide[T], double, double)

    vec[T] where_gt[T](vec[T], vec[T], vec[T], vec[T])
    wide[T] where_gt[T](wide[T], wide[T], wide[T], wide[T])
    vec[T] where_ge[T](vec[T], vec[T], vec[T], vec[T])
    wide[T] where_ge[T](wide[T], wide[T], wide[T], wide[T])
    vec[T] where_eq[T](vec[T], vec[T], vec[T], vec[T])
    wide[T] where_eq[T](wide[T], wide[T], wide[T], wide[T])

    vec[T] fused[T](vec[T], vec[T], vec[T])
    vec[T] product_error[T](vec[T], vec[T], vec[T])
    vec[T] square_root[T](vec[T])
    vec[T] larger[T](vec[T], vec[T])
    vec[T] smaller[T](vec[T], vec[T])

    vec[T] magnitude[T](vec[T])
    wide[T] magnitude[T](wide[T])
    vec[T] turn_sign[T](vec[T], vec[T])
    wide[T] turn_sign[T](wide[T], wide[T])
    wide[T] nearest_integer[T](wide[T])
    wide[T] binade[T](wide[T])
    wide[T] power_of_two[T](wide[T])
    wide[T] scaled[T](wide[T], wide[T])
    wide[T] normalised[T](wide[T])
    wide[T] settled[T](wide[T])
    wide[T] rough_sum[T](wide[T], wide[T])
    wide[T] attached[T](wide[T], wide[T])
    wide[T] square_root[T](wide[T])
    wide[T] rough_product[T](wide[T], wide[T])
    wide[T] rough_polynomial[T](wide[T], const double*)

ctypedef vec[float] vec_f
ctypedef vec[double] vec_d
ctypedef wide[float] wide_f
ctypedef wide[double] wide_d

ctypedef vec[int8_t] vec_int8
ctypedef vec[uint8_t] vec_uint8
ctypedef vec[int16_t] vec_int16
ctypedef vec[uint16_t] vec_uint16
ctypedef vec[int32_t] vec_int32
ctypedef vec[uint32_t] vec_uint32
ctypedef vec[int64_t] vec_int64
ctypedef vec[uint64_t] vec_uint64

ctypedef fused V:
    vec_f
    vec_d

ctypedef fused N:
    vec_f
    vec_d
    vec_int8
    vec_uint8
    vec_int16
    vec_uint16
    vec_int32
    vec_uint32
    vec_int64
    vec_uint64

ctypedef fused W:
    wide_f
    wide_d

ctypedef fused X:
    vec_f
    vec_d
    wide_f
    wide_d
