"""Numba intrinsics that call the compiled kernels: LLVM code that describes arrays and calls jit.h.

They raise the contract's errors: an unusable parameter, shapes that do not fit, a kernel that this
installation does not have.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import numpy_support
from numba.np.arrayobj import make_array

from . import symbols
from .errors import Misfit

__all__ = ["broadcast_shape", "fill", "fill_losses", "fill_rows", "one", "sum_up"]

POINTER, WORD, INT, DOUBLE = ir.IntType(8).as_pointer(), ir.IntType(64), ir.IntType(32), ir.DoubleType()
NOT_A_CLASS = -3  # jit.h
VIEW = ir.LiteralStructType([POINTER, WORD.as_pointer(), WORD.as_pointer(), WORD, WORD])


# Pieces of LLVM


def _function(builder, name, result, *arguments):
    kind = ir.FunctionType(result, arguments)
    return cgutils.get_or_insert_function(builder.module, kind, symbols.symbol(name))


def _raise(context, builder, kind, message):
    context.call_conv.return_user_exc(builder, kind, (message,))


def _misfit(context, builder, message, kind, value):
    """Raise a ValueError whose message shows a value of a Numba type."""
    context.call_conv.return_dynamic_user_exc(builder, Misfit, (message, value), (None, kind))


def _raise_if(context, builder, condition, kind, message):
    with builder.if_then(condition, likely=False):
        _raise(context, builder, kind, message)


def _kernel(context, builder, call):
    """The address of the kernel: looked up by its name when the code first runs, and remembered."""
    name = symbols.kernel_name(call.kernel, call.dtype)
    remembered = f".fastrelu.{name}"
    if remembered in builder.module.globals:
        place = builder.module.globals[remembered]
    else:
        place = ir.GlobalVariable(builder.module, POINTER, remembered)
        place.linkage, place.initializer = "internal", ir.Constant(POINTER, None)
    with builder.if_then(cgutils.is_null(builder, builder.load(place)), likely=False):
        look_up = _function(builder, "kernel", POINTER, POINTER)
        found = builder.call(look_up, [context.insert_const_string(builder.module, name)])
        message = f"{call.name}: this installation of fastrelu has no compiled kernel {name!r}"
        _raise_if(context, builder, cgutils.is_null(builder, found), RuntimeError, message)
        builder.store(found, place)
    return builder.load(place)


def _view(context, builder, kind, value, dtype):
    """A description of an array, or of a number in `dtype`."""
    null = ir.Constant(WORD.as_pointer(), None)
    if isinstance(kind, types.Array):
        array = make_array(kind)(context, builder, value)
        shape, strides = (
            builder.bitcast(cgutils.alloca_once_value(builder, part), WORD.as_pointer())
            for part in (array.shape, array.strides)
        )
        data, axes, dtype = array.data, kind.ndim, numpy_support.as_dtype(kind.dtype)
    else:
        number = context.cast(builder, value, kind, numpy_support.from_dtype(dtype))
        data, shape, strides, axes = cgutils.alloca_once_value(builder, number), null, null, 0
    storage = symbols.STORAGES[np.dtype(dtype).name]
    parts = builder.bitcast(data, POINTER), shape, strides, WORD(axes), WORD(storage)
    made = ir.Constant(VIEW, ir.Undefined)
    for i, part in enumerate(parts):
        made = builder.insert_value(made, part, i)
    return made


def _views(context, builder, operands, dtype):
    """The address of one view after another; an operand is its Numba type and its value, or None."""
    made = cgutils.alloca_once(builder, VIEW, size=len(operands))
    for i, operand in enumerate(operands):
        view = ir.Constant(VIEW, None) if operand is None else _view(context, builder, *operand, dtype)
        builder.store(view, builder.gep(made, [INT(i)]))
    return made


def _each(builder, kind, value):
    """The Numba type and the value of each element of a tuple."""
    return list(zip(kind.types, cgutils.unpack_tuple(builder, value, len(kind.types)), strict=True))


def _check_parameters(context, builder, call, operands):
    """A number that the table does not accept, in the dtype of the computation, is a ValueError."""
    for p in call.parameters:
        kind, value = operands[call.operands.index(p.name)]
        number = context.cast(builder, value, kind, numpy_support.from_dtype(call.dtype))

        def compare(sign, limit, number=number):
            return builder.fcmp_ordered(sign, number, ir.Constant(number.type, limit))

        if p.above > -math.inf:
            usable = builder.and_(compare(">", p.above), compare("<", math.inf))
        else:
            usable = builder.and_(compare(">=", p.at_least), compare("<=", p.at_most))
        if p.not_below:
            kind, value = operands[call.operands.index(p.not_below)]
            least = context.cast(builder, value, kind, numpy_support.from_dtype(call.dtype))
            usable = builder.and_(usable, builder.fcmp_ordered(">=", number, least))
        with builder.if_then(builder.not_(usable), likely=False):
            _misfit(context, builder, call.unusable(p), numpy_support.from_dtype(call.dtype), number)


def _check_status(context, builder, call, status, operands, given):
    """Turn what jit.h returned into errors; `operands` are the names of what is given as views."""
    failed = builder.icmp_signed("!=", status, INT(0))
    with builder.if_then(failed, likely=False):
        for i, (operand, view) in enumerate(zip(operands, given, strict=False)):
            if view is None or not isinstance(view[0], types.Array):
                continue
            kind, value = view
            shape = make_array(kind)(context, builder, value).shape
            wrong = builder.icmp_signed("==", status, INT(i + 1))
            with builder.if_then(wrong, likely=False):
                message, axes = call.wrong_shape(operand), types.UniTuple(types.intp, kind.ndim)
                _misfit(context, builder, message, axes, shape)
        _raise(context, builder, MemoryError, f"{call.name}: there is not enough memory")


# Intrinsics, one for each call


def one(call):
    """``one(operands)``: the kernel's value for a tuple of numbers."""
    result = numpy_support.from_dtype(call.dtype)

    @intrinsic
    def of_numbers(typingctx, operands):
        def generate(context, builder, signature, args):
            numbers = _each(builder, operands, args[0])
            _check_parameters(context, builder, call, numbers)
            real = context.get_value_type(result)
            inputs = cgutils.alloca_once(builder, real, size=len(numbers))
            for i, (kind, value) in enumerate(numbers):
                builder.store(context.cast(builder, value, kind, result), builder.gep(inputs, [INT(i)]))
            run = _function(builder, f"one_{call.dtype}", real, POINTER, real.as_pointer())
            return builder.call(run, [_kernel(context, builder, call), inputs])

        return result(operands), generate

    return of_numbers


def fill(call):
    """``fill(operands, out)``: the kernel over arrays, and numbers, that broadcast to `out`."""

    @intrinsic
    def of_arrays(typingctx, operands, out):
        def generate(context, builder, signature, args):
            inputs = _each(builder, operands, args[0])
            _check_parameters(context, builder, call, inputs)
            views = _views(context, builder, [*inputs, (out, args[1])], call.dtype)
            run = _function(builder, "map", INT, POINTER, VIEW.as_pointer(), INT)
            arguments = _kernel(context, builder, call), views, INT(int(call.backward))
            status = builder.call(run, arguments)
            given = [*inputs, (out, args[1])]
            _check_status(context, builder, call, status, [*call.operands, "out"], given)
            return context.get_dummy_value()

        return types.none(operands, out), generate

    return of_arrays


def broadcast_shape(call):
    """``broadcast_shape(operands)``: the common shape of a tuple of arrays and numbers."""

    @intrinsic
    def of_operands(typingctx, operands):
        axes = max(getattr(kind, "ndim", 0) for kind in operands.types)
        result = types.UniTuple(types.intp, axes)

        def generate(context, builder, signature, args):
            inputs = _each(builder, operands, args[0])
            views = _views(context, builder, inputs, call.dtype)
            shape = cgutils.alloca_once(builder, context.get_value_type(result))
            run = _function(builder, "broadcast", INT, VIEW.as_pointer(), WORD, WORD, WORD.as_pointer())
            place = builder.bitcast(shape, WORD.as_pointer())
            status = builder.call(run, [views, WORD(len(inputs)), WORD(axes), place])
            _check_status(context, builder, call, status, call.operands, inputs)
            return builder.load(shape)

        return result(operands), generate

    return of_operands


def _mark_axes(context, builder, call, ndim, kind, value):
    """One flag for each axis: set for all where `value` is None, else for the one that it names."""
    everything = isinstance(kind, types.NoneType)
    flags = cgutils.alloca_once(builder, INT, size=max(ndim, 1))
    for i in range(ndim):
        builder.store(INT(int(everything)), builder.gep(flags, [INT(i)]))
    if not everything:
        axis = context.cast(builder, value, kind, types.int64)
        negative = builder.icmp_signed("<", axis, WORD(0))
        axis = builder.select(negative, builder.add(axis, WORD(ndim)), axis)
        outside = builder.icmp_unsigned(">=", axis, WORD(ndim))
        _raise_if(context, builder, outside, np.exceptions.AxisError, call.no_axis(ndim))
        builder.store(INT(1), builder.gep(flags, [axis]))
    return flags


def fill_rows(call, row_values, keepdims=False):
    """``fill_rows(x, dy, out, axis)``: a reduction, or with `dy` its gradient; see `jit_rows`.

    Axes that are not one in memory must not be asked for.
    """

    @intrinsic
    def of_rows(typingctx, x, dy, out, axis):
        def generate(context, builder, signature, args):
            flags = _mark_axes(context, builder, call, x.ndim, axis, args[3])
            given = None if isinstance(dy, types.NoneType) else (dy, args[1])
            given = [(x, args[0]), given, (out, args[2])]
            views = _views(context, builder, given, call.dtype)
            run = _function(builder, "rows", INT, POINTER, VIEW.as_pointer(), INT.as_pointer(), INT, INT)
            arguments = (
                _kernel(context, builder, call),
                views,
                flags,
                INT(int(row_values)),
                INT(int(keepdims)),
            )
            status = builder.call(run, arguments)
            _check_status(context, builder, call, status, [*call.operands, "out"], given)
            return context.get_dummy_value()

        return types.none(x, dy, out, axis), generate

    return of_rows


def fill_losses(call, mean, dy_of_row=False):
    """``fill_losses(logits, labels, gradient, losses, dy, axis, ignore_index)``: see `jit_loss`.

    It returns the total loss.
    """

    @intrinsic
    def of_labels(typingctx, logits, labels, gradient, losses, dy, axis, ignore_index):
        kinds = logits, labels, gradient, losses

        def generate(context, builder, signature, args):
            flags = _mark_axes(context, builder, call, logits.ndim, axis, args[5])
            given = [
                None if isinstance(kind, types.NoneType) else (kind, value)
                for kind, value in zip(kinds, args, strict=False)
            ]
            ignores = not isinstance(ignore_index, types.NoneType)
            ignored = context.cast(builder, args[6], ignore_index, types.int64) if ignores else WORD(0)
            total = cgutils.alloca_once(builder, DOUBLE)
            arguments = [
                (POINTER, _kernel(context, builder, call)),
                (VIEW.as_pointer(), _views(context, builder, given, call.dtype)),
                (INT.as_pointer(), flags),
                (DOUBLE, context.cast(builder, args[4], dy, types.float64)),
                *((INT, INT(int(flag))) for flag in (dy_of_row, mean, ignores)),
                (WORD, ignored),
                (DOUBLE.as_pointer(), total),
            ]
            run = _function(builder, "loss", INT, *(kind for kind, _ in arguments))
            status = builder.call(run, [value for _, value in arguments])
            wrong = builder.icmp_signed("==", status, INT(NOT_A_CLASS))
            with builder.if_then(wrong, likely=False):
                label = builder.fptosi(builder.load(total), WORD)
                _misfit(context, builder, call.wrong_label, types.int64, label)
            _check_status(context, builder, call, status, call.operands, given)
            return builder.load(total)

        return types.float64(logits, labels, gradient, losses, dy, axis, ignore_index), generate

    return of_labels


def sum_up(call):
    """``sum_up(operands, total, outer, kept, inner)``: the kernel's results, summed for each of `kept`.

    Operands are contiguous and in the dtype of the computation; see loops/sums.h.
    """

    @intrinsic
    def of_operands(typingctx, operands, total, outer, kept, inner):
        def generate(context, builder, signature, args):
            inputs = _each(builder, operands, args[0])
            views = _views(context, builder, [*inputs, (total, args[1])], call.dtype)
            lengths = [
                context.cast(builder, n, k, types.int64)
                for n, k in zip(args[2:], signature.args[2:], strict=True)
            ]
            run = _function(builder, "sum", INT, POINTER, VIEW.as_pointer(), WORD, WORD, WORD)
            status = builder.call(run, [_kernel(context, builder, call), views, *lengths])
            given = [*inputs, (total, args[1])]
            _check_status(context, builder, call, status, [*call.operands, "out"], given)
            return context.get_dummy_value()

        return types.none(operands, total, outer, kept, inner), generate

    return of_operands
