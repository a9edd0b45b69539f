// A call's operands over any number of axes, and the order in which to walk them.
#pragma once
#include "loops/run.h"

enum { MAX_AXES = 64 };

enum Way { BY_ROWS, IN_PIECES, IN_TILES };  // strided.h

struct Grid {
    const Kernel* kernel;
    int axes;
    ptrdiff_t shape[MAX_AXES];
    char* data[MAX_INPUTS + 1];
    ptrdiff_t strides[MAX_INPUTS + 1][MAX_AXES];
    Storage types[MAX_INPUTS + 1];
    ptrdiff_t size;
    Plan plan;
    Way way;
};

static inline ptrdiff_t distance(ptrdiff_t stride) { return stride < 0 ? -stride : stride; }

static void swap_axes(Grid& g, int a, int b) {
    ptrdiff_t kept = g.shape[a];
    g.shape[a] = g.shape[b], g.shape[b] = kept;
    for (int j = 0; j <= g.kernel->inputs; j++) {
        kept = g.strides[j][a];
        g.strides[j][a] = g.strides[j][b], g.strides[j][b] = kept;
    }
}

static bool can_merge(const Grid& g, int outer, int inner) {
    for (int j = 0; j <= g.kernel->inputs; j++)
        if (g.strides[j][outer] != g.strides[j][inner] * g.shape[inner]) return false;
    return true;
}

// The smallest equivalent grid, its last axis the one along which the result is densest.
static void simplify(Grid& g) {
    const int last = g.kernel->inputs;
    int axes = 0;
    for (int a = 0; a < g.axes; a++)
        if (g.shape[a] != 1) swap_axes(g, axes++, a);
    for (int a = 1; a < axes; a++)
        for (int b = a; b > 0 && distance(g.strides[last][b - 1]) < distance(g.strides[last][b]); b--)
            swap_axes(g, b - 1, b);
    int kept = axes ? 1 : 0;
    for (int a = 1; a < axes; a++) {
        if (can_merge(g, kept - 1, a)) {
            g.shape[kept - 1] *= g.shape[a];
            for (int j = 0; j <= last; j++) g.strides[j][kept - 1] = g.strides[j][a];
        } else {
            swap_axes(g, kept++, a);
        }
    }
    if (!kept) {  // a single element
        kept = 1;
        g.shape[0] = 1;
        for (int j = 0; j <= last; j++) g.strides[j][0] = 0;
        g.strides[last][0] = g.kernel->item_bytes;
    }
    g.axes = kept;
}

// A walk over the grid, element `at` of row `index`.
class Walk {
    const Grid& g_;
    ptrdiff_t index_[MAX_AXES];
    ptrdiff_t at_;
    char* row_[MAX_INPUTS + 1];

public:
    Walk(const Grid& g, ptrdiff_t element) : g_(g), at_(element % g.shape[g.axes - 1]) {
        ptrdiff_t rest = element / g.shape[g.axes - 1];
        for (int a = g.axes - 2; a >= 0; a--) {
            index_[a] = rest % g.shape[a];
            rest /= g.shape[a];
        }
        for (int j = 0; j <= g.kernel->inputs; j++) {
            row_[j] = g.data[j];
            for (int a = 0; a < g.axes - 1; a++) row_[j] += index_[a] * g.strides[j][a];
        }
    }

    // The rest of the present row, at most `limit` elements of it: how many, and where they are.
    ptrdiff_t next(ptrdiff_t limit, char** data) {
        const int columns = g_.axes - 1, last = g_.kernel->inputs;
        const ptrdiff_t left = g_.shape[columns] - at_, n = left < limit ? left : limit;
        for (int j = 0; j <= last; j++) data[j] = row_[j] + at_ * g_.strides[j][columns];
        at_ += n;
        if (n == left) {
            at_ = 0;
            for (int a = columns - 1; a >= 0; a--) {
                const bool carry = ++index_[a] == g_.shape[a];
                if (carry) index_[a] = 0;
                for (int j = 0; j <= last; j++)
                    row_[j] += carry ? (1 - g_.shape[a]) * g_.strides[j][a] : g_.strides[j][a];
                if (!carry) break;
            }
        }
        return n;
    }
};

static void run_rows_of(const Grid& g, ptrdiff_t first, ptrdiff_t end) {
    Row row;
    for (int j = 0; j <= g.kernel->inputs; j++) {
        row.steps[j] = g.strides[j][g.axes - 1];
        row.types[j] = g.types[j];
    }
    const bool direct = needs_no_packing(*g.kernel, row);
    Walk walk(g, first);
    for (ptrdiff_t n; first < end; first += n) {
        n = walk.next(end - first, row.data);
        if (direct) run_direct(*g.kernel, row, n, g.plan.streaming);
        else run_packed(*g.kernel, row, n, g.plan.streaming);
    }
}

// One operand's elements in the grid's order, its axes merged as far as it allows by itself.
class Stream {
    int axes_ = 0;
    ptrdiff_t shape_[MAX_AXES], strides_[MAX_AXES], index_[MAX_AXES];
    char *data_ = nullptr, *row_ = nullptr;
    ptrdiff_t at_ = 0;  // of the row

public:
    void begin(const Grid& g, int operand) {
        data_ = g.data[operand];
        axes_ = 1;
        shape_[0] = g.shape[0], strides_[0] = g.strides[operand][0];
        for (int a = 1; a < g.axes; a++) {
            const ptrdiff_t n = g.shape[a], stride = g.strides[operand][a];
            if (strides_[axes_ - 1] == stride * n) shape_[axes_ - 1] *= n, strides_[axes_ - 1] = stride;
            else shape_[axes_] = n, strides_[axes_++] = stride;
        }
    }

    ptrdiff_t length() const { return shape_[axes_ - 1]; }
    ptrdiff_t step() const { return strides_[axes_ - 1]; }

    // The elements lie one after the other, or there is only one.
    bool is_one_row() const { return axes_ == 1; }

    // After so many elements they come again; 0 where they do not.
    ptrdiff_t period() const {
        if (axes_ == 1 || strides_[0] != 0) return 0;
        ptrdiff_t elements = 1;
        for (int a = 1; a < axes_; a++) elements *= shape_[a];
        return elements;
    }

    void seek(ptrdiff_t element) {
        at_ = element % length();
        element /= length();
        row_ = data_;
        for (int a = axes_ - 2; a >= 0; a--) {
            index_[a] = element % shape_[a];
            element /= shape_[a];
            row_ += index_[a] * strides_[a];
        }
    }

    char* place() const { return row_ + at_ * step(); }
    ptrdiff_t left() const { return length() - at_; }

    // Rows from the present one on, it included, that are as far apart as the first two; and how far.
    ptrdiff_t even_rows(ptrdiff_t& apart) const {
        apart = axes_ > 1 ? strides_[axes_ - 2] : 0;
        return axes_ > 1 ? shape_[axes_ - 2] - index_[axes_ - 2] : 1;
    }

    // Within the present row, or to the beginning of the next.
    void advance(ptrdiff_t elements) {
        at_ += elements;
        if (at_ == length()) at_ = 0, next_rows(1);
    }

    // No more than even_rows().
    void next_rows(ptrdiff_t rows) {
        for (int a = axes_ - 2; a >= 0; a--, rows = 1) {
            index_[a] += rows;
            row_ += rows * strides_[a];
            if (index_[a] < shape_[a]) break;
            row_ -= shape_[a] * strides_[a];
            index_[a] = 0;
        }
    }
};
