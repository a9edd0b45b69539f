// Short rows: many of them at a time, so that a block sees long ones.
//
// An operand whose elements lie one after the other is used where it is, whatever the others do; one that
// repeats itself after a few rows, as a weight does, is written out once; the rest is copied piece by piece.
#pragma once
#include "loops/grid.h"

enum {
    PIECE_BYTES = 8192,   // so that two operands and the result fit a first-level cache
    SLACK = MAX_REGISTER  // that copy_rows may write behind a piece
};

// The next `count` elements into a contiguous buffer of what the kernel computes in.
static void gather(const Kernel& kernel, Stream& from, Storage type, char* to, ptrdiff_t count) {
    const int bytes = kernel.item_bytes;
    const bool plain = type == kernel.computes_in && (from.step() == 0 || from.step() == bytes);
    while (count > 0) {
        ptrdiff_t apart, rows = 0, n;
        if (plain && from.left() == from.length()) {
            rows = from.even_rows(apart);
            if (rows > count / from.length()) rows = count / from.length();
        }
        if (rows) {
            n = rows * from.length();
            kernel.converters->copy_rows[bytes](to, from.length() * bytes, from.place(), apart, from.step(),
                                                rows, from.length());
            from.next_rows(rows);
        } else {
            n = from.left() < count ? from.left() : count;
            pack(kernel, type, to, bytes, from.place(), from.step(), n);
            from.advance(n);
        }
        to += n * bytes;
        count -= n;
    }
}

static void scatter(const Kernel& kernel, const char* from, Stream& to, Storage type, ptrdiff_t count) {
    const Converter unpack = unpacker(kernel, type);
    for (ptrdiff_t n; count > 0; count -= n, from += n * kernel.item_bytes) {
        n = to.left() < count ? to.left() : count;
        unpack(to.place(), to.step(), from, kernel.item_bytes, n);
        to.advance(n);
    }
}

static inline ptrdiff_t piece_length(const Kernel& kernel) { return PIECE_BYTES / kernel.item_bytes; }

// One input of a share of the grid, as a contiguous row wherever the share has got to.
class Source {
    enum { IN_PLACE, WRITTEN_OUT, COPIED } how_;
    const Kernel* kernel_;
    Stream stream_;
    Storage type_;
    ptrdiff_t period_;
    alignas(64) char buffer_[2 * PIECE_BYTES + SLACK];

public:
    void begin(const Grid& g, int operand, ptrdiff_t first) {
        kernel_ = g.kernel;
        stream_.begin(g, operand);
        type_ = g.types[operand];
        period_ = stream_.period();
        how_ = type_ == DRAWN || !is_free(*kernel_, stream_, type_) ? COPIED
               : stream_.is_one_row()                               ? IN_PLACE
                                                                    : WRITTEN_OUT;
        stream_.seek(how_ == WRITTEN_OUT ? 0 : first);
        if (how_ == WRITTEN_OUT) gather(*kernel_, stream_, type_, buffer_, period_ + piece_length(*kernel_));
    }

    // Whether pieces of it are had without copying each.
    static bool is_free(const Kernel& kernel, const Stream& stream, Storage type) {
        if (type == DRAWN) return true;  // it is made anyway
        if (stream.is_one_row())
            return type == kernel.computes_in && (stream.step() == 0 || stream.step() == kernel.item_bytes);
        return stream.period() > 0 && stream.period() <= piece_length(kernel);
    }

    // Elements [first, first + count), which follow those of the call before.
    char* next(ptrdiff_t first, ptrdiff_t count) {
        if (how_ == WRITTEN_OUT) return buffer_ + first % period_ * kernel_->item_bytes;
        if (how_ == COPIED) {
            gather(*kernel_, stream_, type_, buffer_, count);
            return buffer_;
        }
        char* const place = stream_.place();
        stream_.advance(count);
        return place;
    }

    ptrdiff_t step() const { return how_ == IN_PLACE ? stream_.step() : kernel_->item_bytes; }
};

static bool inputs_are_free(const Grid& g) {
    Stream stream;
    for (int j = 0; j < g.kernel->inputs; j++) {
        stream.begin(g, j);
        if (!Source::is_free(*g.kernel, stream, g.types[j])) return false;
    }
    return true;
}

static void run_pieces(const Grid& g, ptrdiff_t first, ptrdiff_t end) {
    const Kernel& kernel = *g.kernel;
    const int last = kernel.inputs;
    Source sources[MAX_INPUTS];
    alignas(64) char buffer[PIECE_BYTES];
    Stream results;
    Row row;
    for (int j = 0; j < last; j++) {
        sources[j].begin(g, j, first);
        row.steps[j] = sources[j].step();
        row.types[j] = kernel.computes_in;
    }
    results.begin(g, last);
    results.seek(first);
    row.steps[last] = kernel.item_bytes;
    row.types[last] = kernel.computes_in;
    const bool in_place = results.is_one_row() && results.step() == kernel.item_bytes &&
                          g.types[last] == kernel.computes_in;
    for (ptrdiff_t count; first < end; first += count) {
        count = end - first < piece_length(kernel) ? end - first : piece_length(kernel);
        for (int j = 0; j < last; j++) row.data[j] = sources[j].next(first, count);
        row.data[last] = in_place ? results.place() : buffer;
        run_row(kernel, row, count, in_place && g.plan.streaming);
        if (in_place) results.advance(count);
        else scatter(kernel, buffer, results, g.types[last], count);
    }
}
