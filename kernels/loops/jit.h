// What code that is compiled at run time calls (kernels/numba/native.py): kernels over views, without Python.
//
// The names below are the symbols of users' cached code.  Whoever changes what one of them takes or returns
// gives it another name (native.py: ABI), so that old code meets a missing symbol, never a wrong one.
#pragma once
#include "loops/sums.h"
#include "loops/views.h"

// A positive result is the number, from 1, of the first view whose shape does not fit.
enum { DONE = 0, NO_MEMORY = -1, NOT_ONE_AXIS = -2, NOT_A_CLASS = -3 };

// A reduction, as Kernel is an elementwise function.
struct RowFunction {
    RowKernel kernel;
    const Converters* converters;
    Storage computes_in;
    int item_bytes, cost;
    bool zero;
};

// The shape to which views are broadcast together, of as many axes as the longest has.
static int broadcast_shape(const View* views, ptrdiff_t count, ptrdiff_t axes, ptrdiff_t* shape) {
    for (int a = 0; a < axes; a++) shape[a] = 1;
    for (int j = 0; j < count; j++)
        for (int a = 0; a < views[j].axes; a++) {
            const ptrdiff_t n = views[j].shape[a];
            ptrdiff_t& common = shape[axes - views[j].axes + a];
            if (common == 1) common = n;
            else if (n != 1 && n != common) return j + 1;
        }
    return DONE;
}

static bool broadcasts_to(const View& a, ptrdiff_t axes, const ptrdiff_t* shape) {
    const ptrdiff_t missing = axes - a.axes;
    if (missing < 0) return false;
    for (int i = 0; i < a.axes; i++)
        if (a.shape[i] != 1 && a.shape[i] != shape[missing + i]) return false;
    return true;
}

static int check_forward(const View* views, int inputs) {
    ptrdiff_t shape[MAX_AXES], axes = 0;
    for (int j = 0; j < inputs; j++)
        if (views[j].axes > axes) axes = views[j].axes;
    if (const int wrong = broadcast_shape(views, inputs, axes, shape)) return wrong;
    const View common = {nullptr, shape, shape, axes, FLOAT32};
    return broadcasts_to(common, views[inputs].axes, views[inputs].shape) ? DONE : inputs + 1;
}

// Of dy and x, and parameters that do not stretch x: nothing is summed.
static int check_backward(const View* views, int inputs) {
    const View& x = views[1];
    for (int j = 2; j < inputs; j++)
        if (!broadcasts_to(views[j], x.axes, x.shape)) return j + 1;
    if (!same_shape(views[0], x)) return 1;
    return same_shape(views[inputs], x) ? DONE : inputs + 1;
}

static ptrdiff_t elements(const View& a) {
    ptrdiff_t size = 1;
    for (int i = 0; i < a.axes; i++) size *= a.shape[i];
    return size;
}

// Where results go at first that may not overwrite what is still to be read.
class Aside {
    ptrdiff_t strides_[MAX_AXES];
    char* memory_ = nullptr;

public:
    View view;

    Aside() = default;
    ~Aside() { free(memory_); }
    Aside(const Aside&) = delete;
    // False if there is not enough memory.
    bool stand_in_for(const View& out, Storage storage) {
        ptrdiff_t bytes = STORAGE_BYTES[storage];
        for (int i = (int)out.axes - 1; i >= 0; i--) {
            strides_[i] = bytes;
            bytes *= out.shape[i];
        }
        memory_ = (char*)malloc(bytes);
        view = {memory_, out.shape, strides_, out.axes, storage};
        return memory_;
    }
};

// Elements in C order, `step` bytes apart, or one for all.
static void write_out(const View& out, const char* from, ptrdiff_t step, Converter convert) {
    const ptrdiff_t last = out.axes - 1, n = last < 0 ? 1 : out.shape[last], size = elements(out);
    ptrdiff_t index[MAX_AXES] = {};
    for (ptrdiff_t done = 0; done < size; done += n) {
        char* to = out.data;
        for (int a = 0; a < last; a++) to += index[a] * out.strides[a];
        convert(to, last < 0 ? 0 : out.strides[last], from + done * step, step, n);
        for (ptrdiff_t a = last - 1; a >= 0; a--) {
            if (++index[a] < out.shape[a]) break;
            index[a] = 0;
        }
    }
}

static void map_views(const Kernel& kernel, const View* inputs, const View& out) {
    Grid g;
    g.kernel = &kernel;
    g.axes = (int)out.axes;
    memcpy(g.shape, out.shape, out.axes * sizeof(ptrdiff_t));
    for (int j = 0; j <= kernel.inputs; j++) {
        const View& view = j < kernel.inputs ? inputs[j] : out;
        const ptrdiff_t missing = out.axes - view.axes;
        g.data[j] = view.data;
        g.types[j] = (Storage)view.storage;
        for (int a = 0; a < out.axes; a++)
            g.strides[j][a] = a < missing || view.shape[a - missing] == 1 ? 0 : view.strides[a - missing];
    }
    run_grid(g, settings);
}

// The inputs of a kernel, then its result.
static int jit_map(const Kernel* kernel, const View* views, int backward) {
    const int inputs = kernel->inputs;
    const View& out = views[inputs];
    if (const int wrong = backward ? check_backward(views, inputs) : check_forward(views, inputs))
        return wrong;
    bool aside = repeats_itself(out);
    for (int j = 0; j < inputs; j++) aside |= conflicts(views[j], out);
    if (!aside || !elements(out)) {
        map_views(*kernel, views, out);
        return DONE;
    }
    Aside made;
    if (!made.stand_in_for(out, kernel->computes_in)) return NO_MEMORY;
    map_views(*kernel, views, made.view);
    write_out(out, made.view.data, kernel->item_bytes, unpacker(*kernel, (Storage)out.storage));
    return DONE;
}

static void begin(Reduction& r, const RowFunction& function) {
    r.kernel = function.kernel;
    r.converters = function.converters;
    r.computes_in = function.computes_in;
    r.item_bytes = function.item_bytes;
    r.cost = function.cost;
    r.zero = function.zero;
    for (bool& used : r.used) used = false;
}

// x; dy, or nothing where its data is null; the result.  One value a row: dy, or without dy the result.
static int jit_rows(const RowFunction* function, const View* views, const int* reduced, int row_values,
                    int keepdims) {
    const View &x = views[0], &dy = views[1], &out = views[2];
    const bool writes_row = row_values && !dy.data;
    Reduction r;
    begin(r, *function);
    r.writes_row = writes_row;
    if (dy.data && !row_values && !same_shape(x, dy)) return 2;
    if (dy.data && row_values && !add_of_rows(r, OF_ROW, x, reduced, keepdims, dy)) return 2;
    if (writes_row ? !add_of_rows(r, OF_ROW, x, reduced, keepdims, out) : !same_shape(x, out)) return 3;
    const Converter unpack = r.converters->from_float[r.computes_in][out.storage];
    if (!elements(x)) {
        const float f = function->zero ? 0 : -INFINITY;
        const double d = f;
        if (writes_row) write_out(out, r.computes_in == FLOAT32 ? (char*)&f : (char*)&d, 0, unpack);
        return DONE;
    }
    const bool aside = repeats_itself(out) || conflicts(x, out) || (dy.data && conflicts(dy, out));
    Aside made;
    if (aside && !made.stand_in_for(out, r.computes_in)) return NO_MEMORY;
    const View& target = aside ? made.view : out;
    if (!add_entries(r, IN_X, reduced, x)) return NOT_ONE_AXIS;
    if (dy.data && !row_values && !add_entries(r, IN_DY, reduced, dy)) return NOT_ONE_AXIS;
    if (writes_row) add_of_rows(r, OF_ROW, x, reduced, keepdims, target);
    else if (!add_entries(r, TO_OUT, reduced, target)) return NOT_ONE_AXIS;
    if (!run_reduction(r, settings)) return NO_MEMORY;
    if (aside) write_out(out, made.view.data, r.item_bytes, unpack);
    return DONE;
}

// dy, x and parameters, contiguous, in the type that the kernel computes in; then the sums (sums.h).
static int jit_sum(const Kernel* kernel, const View* views, ptrdiff_t outer, ptrdiff_t kept,
                   ptrdiff_t inner) {
    const View& sums = views[kernel->inputs];
    if (!outer || !kept || !inner) {
        memset(sums.data, 0, elements(sums) * kernel->item_bytes);
        return DONE;
    }
    Sums s;
    s.kernel = kernel;
    s.blocks = &sum_exports->blocks[kernel->computes_in][kernel->index];
    s.gradient = nullptr;
    s.dx = nullptr;
    for (int j = 0; j < kernel->inputs; j++) {
        s.in[j] = views[j].data;
        s.varies[j] = j >= 2 && elements(views[j]) > 1;
    }
    s.outer = outer, s.kept = kept, s.inner = inner;
    return sum_up(s, sums.data, settings) ? DONE : NO_MEMORY;
}

// Cross entropy with contiguous labels.  The views are logits, labels, gradient and losses, or what flows
// into them; the last two may be nothing (data null), and then `loss` is the total, with `mean` divided by
// the number of labels that count.  Where one is not a class, `loss` is that label.
static int jit_loss(const RowFunction* function, const View* views, const int* reduced, double dy,
                    int dy_of_row, int mean, int ignores, ptrdiff_t ignored, double* loss) {
    const View &x = views[0], &labels = views[1], &gradient = views[2], &of_rows = views[3];
    Reduction r;
    LossCall call;
    begin(r, *function);
    for (int axis = 0; axis < x.axes; axis++)
        if (reduced[axis]) call.classes = x.shape[axis];
    call.spreads = false;
    call.ignores = ignores;
    call.ignored = ignored;
    r.losses = &call;
    r.writes_row = of_rows.data && !dy_of_row;
    if (!add_of_rows(r, LABELS, x, reduced, false, labels)) return 2;
    if (gradient.data && !same_shape(x, gradient)) return 3;
    if (of_rows.data && !add_of_rows(r, OF_ROW, x, reduced, false, of_rows)) return 4;
    Pair divisor = weigh_labels(call, labels.data, (Storage)labels.storage, elements(labels));
    if (divisor.high < 0) {
        *loss = first_wrong(call, labels.data, (Storage)labels.storage, elements(labels));
        return NOT_A_CLASS;
    }
    if (!mean) divisor = {1, 0};
    call.common.losses_wanted = true;
    call.common.losses_of_rows = r.writes_row;
    call.common.factor_of_row = dy_of_row;
    set_shares(call, 0, dy, divisor);
    if (!elements(x)) {
        *loss = mean ? NAN : 0;
        return DONE;
    }
    Aside made;
    const bool aside = gradient.data && (conflicts(x, gradient) || overlaps(labels, gradient) ||
                                         repeats_itself(gradient) || overlaps(of_rows, gradient));
    if (aside && !made.stand_in_for(gradient, r.computes_in)) return NO_MEMORY;
    add_entries(r, IN_X, reduced, x);
    if (gradient.data) add_entries(r, TO_OUT, reduced, aside ? made.view : gradient);
    if (!run_reduction(r, settings)) return NO_MEMORY;
    if (aside)
        write_out(gradient, made.view.data, r.item_bytes,
                  r.converters->from_float[r.computes_in][gradient.storage]);
    *loss = total_loss(call, r.tiles, divisor, r.computes_in);
    return DONE;
}
