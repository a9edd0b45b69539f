// What a module compiled for one instruction set hands to the rest: its blocks, in the table's order, and
// its conversions.
#pragma once
#include <stddef.h>
#include <stdint.h>

// What an operand may be stored as.  Blocks compute in floats and doubles, and in integers where the
// formula serves them; those of 16 bits are read and written only, a bool is a byte.
enum Storage {
    FLOAT32,
    FLOAT64,
    FLOAT16,
    BFLOAT16,
    BOOL,
    INT8,
    UINT8,
    INT16,
    UINT16,
    INT32,
    UINT32,
    INT64,
    UINT64,
    STORAGES,
    DRAWN = STORAGES  // not stored at all, but made on the way: its addresses are the elements' numbers
};

static inline bool is_half(int storage) { return storage == FLOAT16 || storage == BFLOAT16; }
static const int STORAGE_BYTES[STORAGES] = {4, 8, 2, 2, 1, 1, 1, 2, 2, 4, 4, 8, 8};

enum { MAX_INPUTS = 8 };  // dy, x and parameters; fastrelu/custom.py counts on it

struct Operands {
    const void* in[MAX_INPUTS];
    // Elements from one register to the next: a register's lanes, or 0 to stay.
    ptrdiff_t advance[MAX_INPUTS];
    void* out;
    ptrdiff_t registers;
    void* second;  // of a block that has two results
};
typedef void (*Block)(const Operands&);
// n elements of one storage to another, `step` bytes apart.
typedef void (*Converter)(char* to, ptrdiff_t to_step, const char* from, ptrdiff_t from_step, ptrdiff_t n);

struct Converters {
    Converter to_float[2][STORAGES];  // [FLOAT32, FLOAT64] from each storage
    Converter from_float[2][4];  // [FLOAT32, FLOAT64] to FLOAT32, FLOAT64, FLOAT16, and from the first to
                                 // BFLOAT16
    Converter copy[9];           // by an item's bytes, as what follows
    // Short rows, of one value each where from_step is 0, else contiguous; up to a register behind the last
    // may be written.
    void (*copy_rows[9])(char* to, ptrdiff_t to_row, const char* from, ptrdiff_t from_row,
                         ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t length);
    // Contiguous rows to columns of a contiguous matrix.
    void (*transpose[9])(char* to, const char* from, ptrdiff_t from_row, ptrdiff_t rows, ptrdiff_t length);
};
typedef void (*WeightedKernel)(const void* a, const void* b, ptrdiff_t b_step, double* sums, ptrdiff_t rows,
                               ptrdiff_t n);

// Random draws come in groups, each a function of its number and the key alone (philox.h).
enum { GROUP = 64 };
enum Distribution { UNIFORM, NORMAL, DISTRIBUTIONS };
typedef void (*Generator)(void* to, uint64_t group, ptrdiff_t groups, uint64_t key);

// Entries of a row that are summed together; longer rows are merged from as many segments as they need.
enum { SEGMENT = 2048 };

// What cross entropy has besides (cross_entropy.h).
struct Losses {
    // Of the whole call.  A class's target is weight (hard p + spread), p being 1 at the row's label, or its
    // probability; numbers in two parts.
    const double* weight;  // of each class, and zeros for a register more; null where each is 1 and spread 0
    double hard, hard_low, spread, spread_low;
    double factor, factor_low;  // of all gradients
    bool losses_wanted;
    bool losses_of_rows, factor_of_row;  // of_row is a row's loss, or one more factor of its gradient
    // Of a tile, for each row:
    ptrdiff_t* label;       // negative where there is none
    double* weight_of_row;  // of its class: 0 where there is no label, negative where the row does not count
    void* at_label;         // the logit, later the gradient
    void* term_at_label;    // what the sum keeps of the logit
    // for each segment and row, of targets only: sums of target * (maximum - logit), and of targets
    double *apart, *apart_low, *mass, *mass_low;
    double* sum;  // of the losses of a tile's rows, in two parts
};

// Rows to reduce, of float or double, and room for what a pass leaves to the next.
struct RowTile {
    const void *x, *dy;  // the first row's first entry; a gradient takes dy, laid out as x
    void* out;           // as many values as entries, laid out in its own way
    ptrdiff_t rows, length;
    bool along;  // entries are contiguous; else the rows lie side by side
    bool zero;   // each row has one more entry, 0, of which nothing is written
    ptrdiff_t row_x, row_dy, row_out, step_x, step_dy, step_out;  // elements to the next row, the next entry
    // For each segment and row, in this order: the largest entry, how often it occurs, the sum of the rest.
    void *top, *count;
    double *hi, *lo;
    ptrdiff_t width;       // of a segment in these: rows, and enough more for whole registers
    void* of_row;          // one value for each row: a result of `finish`, or a factor of its gradient
    const Losses* losses;  // of cross entropy only
    ptrdiff_t first;       // which entry of the rows is the tile's first
};

// A reduction in three passes, so that those over entries may be shared out by segments.
struct RowKernel {
    void (*sum)(const RowTile&);
    void (*finish)(const RowTile&);
    void (*apply)(const RowTile&);  // null where a row has one value
};

enum Accuracy { HIGH, FAST };

static const char EXPORTS_NAME[] = "fastrelu.kernels.blocks";

struct Exports {
    int count;
    int register_bytes;
    const Block* blocks[STORAGES];  // null entries: a type that the formula does not compute in
    const Block* fast[2];           // FLOAT32, FLOAT64 at accuracy "fast"; null: no faster formula
    const Block* shorter;           // FLOAT32, for what comes from 16 bits; null: no formula for them alone
    const Block* two[2][2];  // ["high", "fast"][FLOAT32, FLOAT64]: the result of a kernel and of the next one
    const RowKernel* rows[2];  // the same two
    const Converters* converters;
    WeightedKernel weighted[2];         // FLOAT32, FLOAT64
    Generator draws[DISTRIBUTIONS][2];  // FLOAT32, FLOAT64
};
