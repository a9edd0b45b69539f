// Runs a row kernel over arrays of any strides: chooses how rows are read, cuts them into tiles, shares the
// tiles, or the segments of a few long rows, out among threads.
//
//   ALONG   the entries of a row are contiguous
//   ACROSS  the rows lie side by side: a register holds an entry of each
//   COLUMNS anything else whose rows are short: a tile is transposed into a buffer, then as ACROSS
//   BUFFER  anything else: the rows of a tile are packed into a buffer, then as ALONG
//
// None of it changes a bit of the result (rows.h).
#pragma once
#include "loops/grid.h"
#include "loops/labels.h"
#include "loops/pool.h"
#include "loops/transpose.h"

enum RowLayout { ALONG, ACROSS, COLUMNS, BUFFER };
enum {
    SHORT = 64,              // entries of a row that are rather transposed
    FEW = 8,                 // fewer short rows than these are not worth it
    MOST_ROWS = 512,         // of a tile
    REGISTER = 16,           // rows of a tile are counted in these, the most that a register holds
    ROWS_BYTES = 1 << 15,    // of contiguous rows: the first cache
    SEGMENT_BYTES = 3 << 18  // of rows side by side, all operands together: most of the second
};

// Operands: x and the result, or for a gradient x, dy and the result, entry by entry; one value a row;
// labels.
enum { IN_X, IN_DY, TO_OUT, OF_ROW, LABELS, ROW_OPERANDS };

struct Reduction {
    RowKernel kernel;
    const Converters* converters;
    Storage computes_in;
    int item_bytes, cost;  // of an entry, as Kernel's
    bool used[ROW_OPERANDS];
    bool writes_row;  // OF_ROW is the result
    bool zero;        // RowTile's
    Storage types[ROW_OPERANDS];
    char* data[ROW_OPERANDS];
    ptrdiff_t length, steps[ROW_OPERANDS];
    int axes;  // of the rows; the last one is cut into tiles
    ptrdiff_t shape[MAX_AXES], strides[ROW_OPERANDS][MAX_AXES];
    LossCall* losses = nullptr;  // of cross entropy only
    // chosen by `prepare`
    RowLayout layout;
    ptrdiff_t tile_rows, tiles_in_last, tiles, segments;
    std::atomic<bool> failed;
};

static inline bool by_entry(const Reduction& r, int operand) { return operand < OF_ROW && r.used[operand]; }

// The rows as few axes as possible, the last one that along which x is densest.
static void merge_row_axes(Reduction& r) {
    auto swap = [&](int a, int b) {
        ptrdiff_t kept = r.shape[a];
        r.shape[a] = r.shape[b], r.shape[b] = kept;
        for (auto& strides : r.strides) kept = strides[a], strides[a] = strides[b], strides[b] = kept;
    };
    auto size = [&](int a) { return r.strides[IN_X][a] < 0 ? -r.strides[IN_X][a] : r.strides[IN_X][a]; };
    int axes = 0;
    for (int a = 0; a < r.axes; a++)
        if (r.shape[a] != 1) swap(axes++, a);
    for (int a = 1; a < axes; a++)
        for (int b = a; b > 0 && size(b - 1) < size(b); b--) swap(b - 1, b);
    int kept = axes ? 1 : 0;
    for (int a = 1; a < axes; a++) {
        bool mergeable = true;
        for (int j = 0; j < ROW_OPERANDS; j++)
            mergeable &= !r.used[j] || r.strides[j][kept - 1] == r.strides[j][a] * r.shape[a];
        if (!mergeable) {
            swap(a, kept++);
            continue;
        }
        r.shape[kept - 1] *= r.shape[a];
        for (auto& strides : r.strides) strides[kept - 1] = strides[a];
    }
    if (!kept) {
        r.shape[0] = 1;
        for (auto& strides : r.strides) strides[0] = r.item_bytes;
        kept = 1;
    }
    r.axes = kept;
}

static ptrdiff_t rows_that_fit(ptrdiff_t bytes, ptrdiff_t row_bytes, ptrdiff_t most) {
    const ptrdiff_t rows = bytes / row_bytes;
    return rows < 1 ? 1 : rows > most ? most : rows;
}

static void choose_layout(Reduction& r) {
    const int last = r.axes - 1;
    const ptrdiff_t rows = r.shape[last];
    bool plain = true, along = true, across = true;
    int operands = 0;
    for (int j = 0; j < OF_ROW; j++) {
        if (!by_entry(r, j)) continue;
        operands++;
        plain &= r.types[j] == r.computes_in && r.steps[j] % r.item_bytes == 0;
        for (int a = 0; a <= last; a++) plain &= r.strides[j][a] % r.item_bytes == 0;
        along &= r.steps[j] == r.item_bytes || r.length == 1;
        across &= r.strides[j][last] == r.item_bytes || rows == 1;
    }
    const bool short_rows = r.length <= SHORT && rows >= FEW;
    const ptrdiff_t segment = r.length < SEGMENT ? r.length : SEGMENT;
    if (plain && along && !short_rows) r.layout = ALONG;
    else if (plain && across && (rows >= FEW || !along)) r.layout = ACROSS;
    else r.layout = short_rows ? COLUMNS : BUFFER;
    r.tile_rows = r.layout == COLUMNS ? SHORT
                  : r.layout == ACROSS
                          ? rows_that_fit(SEGMENT_BYTES, operands * segment * r.item_bytes, MOST_ROWS)
                          : rows_that_fit(ROWS_BYTES, r.length * r.item_bytes, SHORT);
    if (r.layout == ACROSS) r.tile_rows = (r.tile_rows + REGISTER - 1) / REGISTER * REGISTER;
    r.tiles_in_last = (rows + r.tile_rows - 1) / r.tile_rows;
    r.tiles = r.tiles_in_last;
    for (int a = 0; a < last; a++) r.tiles *= r.shape[a];
    r.segments = (r.length + SEGMENT - 1) / SEGMENT;
}

// Memory for the pieces of a tile and for its packed rows: on the stack where it is little.
class Scratch {
    alignas(64) char own_[1 << 15];
    char* memory_;
    size_t used_ = 0;

public:
    explicit Scratch(size_t bytes) : memory_(bytes <= sizeof own_ ? own_ : (char*)malloc(bytes)) {}
    ~Scratch() {
        if (memory_ != own_) free(memory_);
    }
    Scratch(const Scratch&) = delete;
    bool failed() const { return !memory_; }
    char* take(size_t bytes) {
        char* taken = memory_ + used_;
        used_ += (bytes + 63) / 64 * 64;
        return taken;
    }
};

static size_t scratch_bytes(const Reduction& r) {
    const ptrdiff_t width = (r.tile_rows + REGISTER - 1) / REGISTER * REGISTER;
    const size_t pieces = r.segments * width * 2 * (r.item_bytes + sizeof(double)) + width * r.item_bytes;
    const bool packs = r.layout == COLUMNS || r.layout == BUFFER;
    const size_t losses = r.losses ? loss_bytes(*r.losses, width, r.segments) : 0;
    return losses + pieces + (packs ? 2 * (r.tile_rows * r.length * r.item_bytes + 64) : 0) + 5 * 64;
}

// The rows of one tile, where they lie and where they are worked on.
struct Tile {
    const Reduction& r;
    Scratch& scratch;
    char* data[ROW_OPERANDS];
    ptrdiff_t row_stride[ROW_OPERANDS];
    RowTile rows;
    Losses losses;

    Tile(const Reduction& reduction, Scratch& memory, ptrdiff_t index) : r(reduction), scratch(memory) {
        const int last = r.axes - 1;
        const ptrdiff_t first = index % r.tiles_in_last * r.tile_rows, left = r.shape[last] - first;
        rows.rows = left < r.tile_rows ? left : r.tile_rows;
        rows.length = r.length;
        for (int j = 0; j < ROW_OPERANDS; j++) {
            row_stride[j] = r.strides[j][last];
            data[j] = r.used[j] ? r.data[j] + first * row_stride[j] : nullptr;
        }
        ptrdiff_t rest = index / r.tiles_in_last;
        for (int a = last - 1; a >= 0; a--, rest /= r.shape[a + 1])
            for (int j = 0; j < ROW_OPERANDS; j++)
                if (r.used[j]) data[j] += rest % r.shape[a] * r.strides[j][a];
        rows.zero = r.zero;
        rows.along = r.layout == ALONG || r.layout == BUFFER;
        rows.width = (rows.rows + REGISTER - 1) / REGISTER * REGISTER;
        const size_t pieces = r.segments * rows.width;
        rows.top = scratch.take(pieces * r.item_bytes);
        rows.count = scratch.take(pieces * r.item_bytes);
        rows.hi = (double*)scratch.take(pieces * sizeof(double));
        rows.lo = (double*)scratch.take(pieces * sizeof(double));
        rows.of_row = scratch.take(rows.width * r.item_bytes);
        rows.first = 0;
        rows.losses = r.losses ? &losses : nullptr;
        if (r.losses) {
            losses = r.losses->common;
            losses.sum = r.losses->sums + 2 * index;
            losses.sum[1] = 0;  // of floats there is one part only
            place_losses(*r.losses, losses, rows.width, r.segments,
                         [&](size_t bytes) { return scratch.take(bytes); });
        }
        ptrdiff_t step[OF_ROW], row[OF_ROW];
        char* at[OF_ROW];
        for (int j = 0; j < OF_ROW; j++) {
            at[j] = data[j], step[j] = r.steps[j] / r.item_bytes, row[j] = row_stride[j] / r.item_bytes;
            if (!by_entry(r, j)) at[j] = nullptr, step[j] = row[j] = 0;
            else if (r.layout == ALONG) step[j] = 1;
            else if (r.layout != ACROSS) {  // packed: a result may take the place of what it is made of
                at[j] = j == TO_OUT ? at[IN_X] : buffer();
                step[j] = r.layout == COLUMNS ? r.tile_rows : 1;
                row[j] = r.layout == COLUMNS ? 1 : r.length;
            }
        }
        rows.x = at[IN_X], rows.dy = at[IN_DY], rows.out = at[TO_OUT];
        rows.step_x = step[IN_X], rows.step_dy = step[IN_DY], rows.step_out = step[TO_OUT];
        rows.row_x = row[IN_X], rows.row_dy = row[IN_DY], rows.row_out = row[TO_OUT];
    }

    char* buffer() { return scratch.take(r.tile_rows * r.length * r.item_bytes); }

    template<class T> bool transposed_in(int j, char* to) {
        if (r.layout != COLUMNS || r.types[j] != r.computes_in || r.steps[j] != (ptrdiff_t)sizeof(T))
            return false;
        if (row_stride[j] % (ptrdiff_t)sizeof(T)) return false;
        transpose((const T*)data[j], row_stride[j] / (ptrdiff_t)sizeof(T), (T*)to, r.tile_rows, rows.rows,
                  r.length);
        return true;
    }
    template<class T> bool transposed_out(const char* from) {
        if (r.layout != COLUMNS || r.types[TO_OUT] != r.computes_in ||
            r.steps[TO_OUT] != (ptrdiff_t)sizeof(T))
            return false;
        if (row_stride[TO_OUT] % (ptrdiff_t)sizeof(T)) return false;
        transpose((const T*)from, r.tile_rows, (T*)data[TO_OUT], row_stride[TO_OUT] / (ptrdiff_t)sizeof(T),
                  r.length, rows.rows);
        return true;
    }
    void read(int j, char* to) {
        if (r.computes_in == FLOAT32 ? transposed_in<float>(j, to) : transposed_in<double>(j, to)) return;
        const Converter pack = r.converters->to_float[r.computes_in][r.types[j]];
        const ptrdiff_t item = r.item_bytes;
        if (r.layout == COLUMNS)
            for (ptrdiff_t i = 0; i < r.length; i++)
                pack(to + i * r.tile_rows * item, item, data[j] + i * r.steps[j], row_stride[j], rows.rows);
        else
            for (ptrdiff_t i = 0; i < rows.rows; i++)
                pack(to + i * r.length * item, item, data[j] + i * row_stride[j], r.steps[j], r.length);
    }
    void write(const char* from) {
        if (r.computes_in == FLOAT32 ? transposed_out<float>(from) : transposed_out<double>(from)) return;
        const Converter unpack = r.converters->from_float[r.computes_in][r.types[TO_OUT]];
        const ptrdiff_t item = r.item_bytes;
        if (r.layout == COLUMNS)
            for (ptrdiff_t i = 0; i < r.length; i++)
                unpack(data[TO_OUT] + i * r.steps[TO_OUT], row_stride[TO_OUT], from + i * r.tile_rows * item,
                       item, rows.rows);
        else
            for (ptrdiff_t i = 0; i < rows.rows; i++)
                unpack(data[TO_OUT] + i * row_stride[TO_OUT], r.steps[TO_OUT], from + i * r.length * item,
                       item, r.length);
    }

    void begin() {
        if (r.layout == COLUMNS || r.layout == BUFFER) {
            if (r.used[IN_X]) read(IN_X, (char*)rows.x);
            if (by_entry(r, IN_DY)) read(IN_DY, (char*)rows.dy);
        }
        if (r.losses)
            read_labels(*r.losses, losses, r.used[LABELS] ? data[LABELS] : nullptr, r.types[LABELS],
                        row_stride[LABELS], rows.rows, rows.width);
        if (r.used[OF_ROW] && !r.writes_row)
            r.converters->to_float[r.computes_in][r.types[OF_ROW]](
                    (char*)rows.of_row, r.item_bytes, data[OF_ROW], row_stride[OF_ROW], rows.rows);
    }
    void end() {
        if (by_entry(r, TO_OUT) && (r.layout == COLUMNS || r.layout == BUFFER)) write((char*)rows.out);
        if (r.used[OF_ROW] && r.writes_row)
            r.converters->from_float[r.computes_in][r.types[OF_ROW]](
                    data[OF_ROW], row_stride[OF_ROW], (char*)rows.of_row, r.item_bytes, rows.rows);
    }
    // The segments from `first` on, as a tile of their own.
    RowTile part(ptrdiff_t first, ptrdiff_t end) const {
        RowTile tile = rows;
        const ptrdiff_t skipped = first * SEGMENT, item = r.item_bytes;
        tile.length = (end * SEGMENT < r.length ? end * SEGMENT : r.length) - skipped;
        tile.x = (const char*)tile.x + skipped * tile.step_x * item;
        tile.dy = (const char*)tile.dy + skipped * tile.step_dy * item;
        tile.out = (char*)tile.out + skipped * tile.step_out * item;
        tile.top = (char*)tile.top + first * tile.width * item;
        tile.count = (char*)tile.count + first * tile.width * item;
        tile.hi += first * tile.width;
        tile.lo += first * tile.width;
        tile.first = skipped;
        return tile;
    }
};

static void run_tiles_share(void* work, int index, int parts) {
    Reduction& r = *(Reduction*)work;
    const SilentFlags silent;
    for (ptrdiff_t t = r.tiles * index / parts, end = r.tiles * (index + 1) / parts; t < end; t++) {
        Scratch scratch(scratch_bytes(r));
        if (scratch.failed()) {
            r.failed = true;
            return;
        }
        Tile tile(r, scratch, t);
        tile.begin();
        r.kernel.sum(tile.rows);
        r.kernel.finish(tile.rows);
        if (r.kernel.apply) r.kernel.apply(tile.rows);
        tile.end();
    }
}

struct SegmentsOfTile {
    const Tile* tile;
    void (*pass)(const RowTile&);
};

static void run_segments_share(void* work, int index, int parts) {
    const SegmentsOfTile& all = *(const SegmentsOfTile*)work;
    const SilentFlags silent;
    const ptrdiff_t n = all.tile->r.segments, first = n * index / parts, end = n * (index + 1) / parts;
    if (end > first) all.pass(all.tile->part(first, end));
}

// A few long rows: their segments are shared out.
static void run_by_segments(Reduction& r, int threads, int processors) {
    for (ptrdiff_t t = 0; t < r.tiles; t++) {
        const SilentFlags silent;
        Scratch scratch(scratch_bytes(r));
        if (scratch.failed()) {
            r.failed = true;
            return;
        }
        Tile tile(r, scratch, t);
        tile.begin();
        SegmentsOfTile work = {&tile, r.kernel.sum};
        run_in_parallel(run_segments_share, &work, threads, processors);
        r.kernel.finish(tile.rows);
        work.pass = r.kernel.apply;
        if (work.pass) run_in_parallel(run_segments_share, &work, threads, processors);
        tile.end();
    }
}

// False if there was not enough memory.
static bool run_reduction(Reduction& r, const Settings& settings) {
    r.failed = false;
    merge_row_axes(r);
    choose_layout(r);
    if (r.losses && !r.losses->has_room_for(r.tiles)) return false;
    ptrdiff_t rows = 1;
    for (int a = 0; a < r.axes; a++) rows *= r.shape[a];
    const int threads = threads_for(rows * r.length * r.cost, settings);
    if (threads == 1) run_tiles_share(&r, 0, 1);
    else if (r.tiles < 2 * threads && r.segments >= threads) run_by_segments(r, threads, settings.processors);
    else run_in_parallel(run_tiles_share, &r, threads, settings.processors);
    return !r.failed;
}
