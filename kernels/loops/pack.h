// Elements of any stride and type into contiguous buffers of the type that a block computes in, and back.
#pragma once
#include <stddef.h>
#include <stdint.h>

// What an operand may be stored as.  Blocks compute in the first two.
enum Storage {
    FLOAT32,
    FLOAT64,
    FLOAT16,
    BOOL,
    INT8,
    UINT8,
    INT16,
    UINT16,
    INT32,
    UINT32,
    INT64,
    UINT64,
    STORAGES
};

static const int STORAGE_BYTES[STORAGES] = {4, 8, 2, 1, 1, 1, 2, 2, 4, 4, 8, 8};

typedef void (*Converter)(char* to, ptrdiff_t to_step, const char* from, ptrdiff_t from_step, ptrdiff_t n);

template<class To, class From>
static void convert(char* to, ptrdiff_t to_step, const char* from, ptrdiff_t from_step, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) *(To*)(to + i * to_step) = (To) * (const From*)(from + i * from_step);
}

#define FROM_EVERY_STORAGE(To)                                                                  \
    {convert<To, float>,   convert<To, double>,   convert<To, _Float16>, convert<To, bool>,     \
     convert<To, int8_t>,  convert<To, uint8_t>,  convert<To, int16_t>,  convert<To, uint16_t>, \
     convert<To, int32_t>, convert<To, uint32_t>, convert<To, int64_t>,  convert<To, uint64_t>}

// [what the block computes in][what the operand is stored as]
static const Converter PACK[2][STORAGES] = {FROM_EVERY_STORAGE(float), FROM_EVERY_STORAGE(double)};
// [what the block computes in][float32, float64, float16]
static const Converter UNPACK[2][3] = {
        {convert<float, float>, convert<double, float>, convert<_Float16, float>},
        {convert<float, double>, convert<double, double>, convert<_Float16, double>}};
