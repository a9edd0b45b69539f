// Arrays as plain descriptions: what NumPy's arrays and those of other callers have in common.
#pragma once
#include "loops/matrix.h"
#include "loops/strided.h"

struct View {
    char* data;
    const ptrdiff_t *shape, *strides;  // in bytes
    ptrdiff_t axes, storage;
};

static bool same_shape(const View& a, const View& b) {
    return a.axes == b.axes && memcmp(a.shape, b.shape, a.axes * sizeof(ptrdiff_t)) == 0;
}

// Where the elements lie in memory, first byte and first byte after.
static void extent(const View& a, const char** low, const char** high) {
    *low = *high = a.data;
    for (int i = 0; i < a.axes; i++) {
        const ptrdiff_t reach = (a.shape[i] - 1) * a.strides[i];
        if (reach < 0) *low += reach;
        else *high += reach;
    }
    *high += STORAGE_BYTES[a.storage];
}

static bool same_layout(const View& a, const View& b) {
    if (a.data != b.data || a.storage != b.storage || !same_shape(a, b)) return false;
    for (int i = 0; i < a.axes; i++)
        if (a.strides[i] != b.strides[i]) return false;
    return true;
}

static bool overlaps(const View& a, const View& b) {
    const char *a_low, *a_high, *b_low, *b_high;
    extent(a, &a_low, &a_high);
    extent(b, &b_low, &b_high);
    return a_low < b_high && b_low < a_high;
}

// Whether writing `out` could change what is still to be read of `a`, element by element.
static bool conflicts(const View& a, const View& out) { return overlaps(a, out) && !same_layout(a, out); }

static bool repeats_itself(const View& out) {
    for (int i = 0; i < out.axes; i++)
        if (out.strides[i] == 0 && out.shape[i] > 1) return true;
    return false;
}

// --- operands of a reduction
// --------------------------------------------------------------------------------

// An array of the shape of x; false if its reduced axes are not one in memory.
static bool add_entries(Reduction& r, int operand, const int* reduced, const View& a) {
    ptrdiff_t length = 1;
    int kept = 0;
    r.used[operand] = true;
    r.types[operand] = (Storage)a.storage;
    r.data[operand] = a.data;
    r.steps[operand] = r.item_bytes;
    for (int axis = (int)a.axes - 1; axis >= 0; axis--) {
        if (!reduced[axis] || a.shape[axis] == 1) continue;
        if (length == 1) r.steps[operand] = a.strides[axis];
        else if (a.strides[axis] != r.steps[operand] * length) return false;
        length *= a.shape[axis];
    }
    r.length = length;
    for (int axis = 0; axis < a.axes; axis++) {
        if (reduced[axis]) continue;
        r.shape[kept] = a.shape[axis];
        r.strides[operand][kept++] = a.strides[axis];
    }
    r.axes = kept;
    return true;
}

// One value for each row of x, its reduced axes left out or kept with length 1; false if it is not that.
static bool add_of_rows(Reduction& r, int operand, const View& x, const int* reduced, bool keepdims,
                        const View& values) {
    int own = 0, kept = 0;
    r.used[operand] = true;
    r.types[operand] = (Storage)values.storage;
    r.data[operand] = values.data;
    for (int axis = 0; axis < x.axes; axis++) {
        if (reduced[axis] && !keepdims) continue;
        if (own == values.axes || values.shape[own] != (reduced[axis] ? 1 : x.shape[axis])) return false;
        if (!reduced[axis]) r.strides[operand][kept++] = values.strides[own];
        own++;
    }
    return own == values.axes;
}
