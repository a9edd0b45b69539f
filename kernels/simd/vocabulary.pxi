# What a formula may say: two kinds of value, each for float and for double, and the operations on them.
#
#   V  one register, plain IEEE arithmetic            for formulas that are exact or rounded once anyway
#   W  the same lanes with spare precision (wide.h)   for everything else
#   N  either of them                                 for what reads the same in both

cdef extern from * nogil:
    """
    #include <math.h>
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
    vec[T] larger[T](vec[T], vec[T])
    vec[T] smaller[T](vec[T], vec[T])

    vec[T] magnitude[T](vec[T])
    wide[T] magnitude[T](wide[T])
    vec[T] turn_sign[T](vec[T], vec[T])
    wide[T] turn_sign[T](wide[T], wide[T])
    wide[T] nearest_integer[T](wide[T])
    wide[T] power_of_two[T](wide[T])
    wide[T] scaled[T](wide[T], wide[T])
    wide[T] normalised[T](wide[T])
    wide[T] settled[T](wide[T])
    wide[T] rough_product[T](wide[T], wide[T])
    wide[T] rough_polynomial[T](wide[T], const double*)

ctypedef vec[float] vec_f
ctypedef vec[double] vec_d
ctypedef wide[float] wide_f
ctypedef wide[double] wide_d

ctypedef fused V:
    vec_f
    vec_d

ctypedef fused W:
    wide_f
    wide_d

ctypedef fused N:
    vec_f
    vec_d
    wide_f
    wide_d
