// What a module compiled for one instruction set hands to the rest: its blocks, in the table's order, and
// its conversions.
#pragma once
#include <stddef.h>

// What an operand may be stored as.  Blocks compute in floats and doubles, and in integers where the
// formula serves them; float16 is read and written only, a bool is a byte.
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

struct Operands {
    const void* in[4];
    ptrdiff_t advance[4];  // elements from one register to the next: a register's lanes, or 0 to stay
    void* out;
    ptrdiff_t registers;
};
typedef void (*Block)(const Operands&);
typedef void (*RowKernel)(const void* a, void* out, ptrdiff_t rows, ptrdiff_t n);
// n elements of one storage to another, `step` bytes apart.
typedef void (*Converter)(char* to, ptrdiff_t to_step, const char* from, ptrdiff_t from_step, ptrdiff_t n);

struct Converters {
    Converter to_float[2][STORAGES];  // [FLOAT32, FLOAT64] from each storage
    Converter from_float[2][3];       // [FLOAT32, FLOAT64] to FLOAT32, FLOAT64, FLOAT16
    Converter copy[9];                // by an item's bytes, as what follows
    // Short rows, of one value each where from_step is 0, else contiguous; up to a register behind the last
    // may be written.
    void (*copy_rows[9])(char* to, ptrdiff_t to_row, const char* from, ptrdiff_t from_row,
                         ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t length);
    // Contiguous rows to columns of a contiguous matrix.
    void (*transpose[9])(char* to, const char* from, ptrdiff_t from_row, ptrdiff_t rows, ptrdiff_t length);
};
typedef void (*WeightedKernel)(const void* a, const void* b, ptrdiff_t b_step, double* sums, ptrdiff_t rows,
                               ptrdiff_t n);

static const char EXPORTS_NAME[] = "fastrelu.kernels.blocks";

struct Exports {
    int count;
    int register_bytes;
    const Block* blocks[STORAGES];  // null entries: a type that the formula does not compute in
    const RowKernel* rows[2];       // FLOAT32, FLOAT64
    const Converters* converters;
    WeightedKernel weighted[2];  // FLOAT32, FLOAT64
};
