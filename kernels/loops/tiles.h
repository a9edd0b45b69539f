// An operand whose rows are the result's columns: tile by tile, so that every line of its memory is read
// once.
#pragma once
#include "loops/grid.h"

enum {
    TILE_SIDE = 64,      // elements, unless the grid is narrower
    TILE_BYTES = 16384,  // at most
};

// The axis whose neighbours in memory an input has far apart along the last one; -1 where none has.
static int axis_of_columns(const Grid& g) {
    const int rows = g.axes - 1;
    for (int j = 0; j < g.kernel->inputs; j++) {
        int densest = rows;
        for (int a = 0; a < rows; a++)
            if (g.strides[j][a] && distance(g.strides[j][a]) < distance(g.strides[j][densest])) densest = a;
        if (densest != rows && distance(g.strides[j][rows]) >= LINE) return densest;
    }
    return -1;
}

// The last two axes of a grid, in tiles.
struct Tiling {
    ptrdiff_t columns, rows, across, down, count;

    explicit Tiling(const Grid& g) {
        const ptrdiff_t *shape = g.shape + g.axes - 2, most = TILE_BYTES / g.kernel->item_bytes;
        rows = shape[0] < TILE_SIDE ? shape[0] : TILE_SIDE;
        columns = shape[1] < most / rows ? shape[1] : most / rows;
        if (rows == TILE_SIDE && columns > TILE_SIDE) columns = TILE_SIDE;
        down = (shape[0] + rows - 1) / rows;
        across = (shape[1] + columns - 1) / columns;
        count = g.size / (shape[0] * shape[1]) * down * across;
    }
};

// An input's tile into a contiguous buffer of what the kernel computes in.
static void gather_tile(const Kernel& kernel, char* to, Storage type, const char* from,
                        const ptrdiff_t* strides, ptrdiff_t rows, ptrdiff_t columns) {
    const int bytes = kernel.item_bytes;
    if (type == kernel.computes_in && strides[0] == bytes) {
        kernel.converters->transpose[bytes](to, from, strides[1], columns, rows);
    } else if (distance(strides[0]) < distance(strides[1]) && strides[0]) {
        for (ptrdiff_t i = 0; i < columns; i++)
            pack(kernel, type, to + i * bytes, columns * bytes, from + i * strides[1], strides[0], rows);
    } else {
        for (ptrdiff_t i = 0; i < rows; i++)
            pack(kernel, type, to + i * columns * bytes, bytes, from + i * strides[0], strides[1], columns);
    }
}

static void run_tile(const Grid& g, const Tiling& tiling, ptrdiff_t index) {
    alignas(LINE) char buffers[MAX_INPUTS + 1][TILE_BYTES];
    const Kernel& kernel = *g.kernel;
    const int last = kernel.inputs, p = g.axes - 2, bytes = kernel.item_bytes;
    const ptrdiff_t column = index % tiling.across * tiling.columns;
    index /= tiling.across;
    const ptrdiff_t row = index % tiling.down * tiling.rows;
    index /= tiling.down;
    const ptrdiff_t rows = g.shape[p] - row < tiling.rows ? g.shape[p] - row : tiling.rows;
    const ptrdiff_t columns =
            g.shape[p + 1] - column < tiling.columns ? g.shape[p + 1] - column : tiling.columns;
    char* corner[MAX_INPUTS + 1];
    for (int j = 0; j <= last; j++)
        corner[j] = g.data[j] + row * g.strides[j][p] + column * g.strides[j][p + 1];
    for (int a = p - 1; a >= 0; a--) {
        for (int j = 0; j <= last; j++) corner[j] += index % g.shape[a] * g.strides[j][a];
        index /= g.shape[a];
    }
    Row whole;
    for (int j = 0; j <= last; j++) {
        const ptrdiff_t* const strides = g.strides[j] + p;
        const bool one_value = j < last && strides[0] == 0 && strides[1] == 0;
        whole.data[j] = buffers[j];
        whole.steps[j] = one_value ? 0 : bytes;
        whole.types[j] = kernel.computes_in;
        if (one_value) packer(kernel, g.types[j])(buffers[j], bytes, corner[j], 0, 1);
        else if (j < last) gather_tile(kernel, buffers[j], g.types[j], corner[j], strides, rows, columns);
    }
    run_contiguous(kernel, whole, rows * columns);
    const Converter unpack = unpacker(kernel, g.types[last]);
    for (ptrdiff_t i = 0; i < rows; i++, corner[last] += g.strides[last][p]) {
        const char* const from = buffers[last] + i * columns * bytes;
        const bool lines = ((uintptr_t)corner[last] | columns * bytes) % LINE == 0;
        if (g.plan.streaming && lines && g.types[last] == kernel.computes_in &&
            g.strides[last][p + 1] == bytes)
            stream_lines(corner[last], from, columns * bytes);
        else unpack(corner[last], g.strides[last][p + 1], from, bytes, columns);
    }
}
