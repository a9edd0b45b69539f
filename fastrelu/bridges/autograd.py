"""The passes of a function as operations that PyTorch differentiates and maps, for `fastrelu.torch`."""

from __future__ import annotations

import numpy as np

from .. import bridges
from . import slopes

torch = bridges.load("torch")

from torch.autograd import forward_ad  # noqa: E402

__all__ = ["call", "is_transformed", "memory", "numpy_dtype", "shared", "tensor"]

# Whether a transform of torch.func is at work, and whether a graph is to be used once more.
is_transformed = torch._C._are_functorch_transforms_active
_graph_is_kept = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)


# Memory


def memory(tensor):
    """A tensor of the CPU as an ndarray over the same memory; one of a device as it is."""
    tensor = tensor.detach()
    if tensor.device.type != "cpu":
        return tensor
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(numpy_dtype(tensor.dtype))
    return tensor.numpy()


def numpy_dtype(dtype):
    """What NumPy calls a dtype of PyTorch."""
    if dtype != torch.bfloat16:
        return np.dtype(str(dtype).removeprefix("torch."))
    try:
        from ml_dtypes import bfloat16
    except ModuleNotFoundError:
        raise TypeError(
            "fastrelu.torch: bfloat16 needs ml_dtypes, which is not installed: pip install 'fastrelu[half]'"
        ) from None
    return bfloat16


def tensor(result):
    """What a function returned, as a tensor over the same memory."""
    if isinstance(result, torch.Tensor):
        return result
    array = np.asarray(result)
    if array.dtype.kind == "V":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def shared(given, names, tensors):
    """The arguments of a call by name, with arrays over the memory of the tensors called `names`."""
    return given | {name: memory(tensor) for name, tensor in zip(names, tensors, strict=True)}


# The operations


class _Call:
    """A call of a function: `names` are those of the tensors, in order, `given` are the other arguments."""

    def __init__(self, function, given, names):
        self.function, self.given, self.names = function, given, names
        self.replaced = None  # what stood in the first tensor, where the call is in place

    def mapped(self, size):
        return self

    def maps_as_it_is(self):
        """Whether a batch may stand before all other axes of the tensors, which have one shape."""
        function = self.function
        if len(self.names) > 1 or function.draws:
            return False
        if function.elementwise:
            return True
        axis = self.given.get("axis", function.takes.get("axis"))
        return isinstance(axis, int) and axis < 0 and "reduction" not in function.takes


class _Linear:
    """What the two passes of a call that are linear know of it: `shape` is that of the call's result.

    The tensors that a pass is not linear in are the call's, or with `from_y` its result instead of the first.
    """

    def __init__(self, call, wanted, from_y, shape):
        self.call, self.wanted, self.from_y, self.shape = call, wanted, from_y, shape

    def maps_as_it_is(self):
        return self.call.maps_as_it_is()

    def mapped(self, size):
        return _Linear(self.call, self.wanted, self.from_y, (size, *self.shape))

    def arguments(self, kept):
        call = self.call
        first, *others = kept
        values = shared(call.given, call.names[1:], others)
        if self.from_y:
            return values, memory(first)
        return {call.names[0]: memory(first)} | values, None

    def plain(self, dy, kept, moves):
        """The gradient as a function of the first of what was kept, in functions of PyTorch; None where it
        does not depend on that. `moves` says which of what was kept may move."""
        function = self.call.function
        if function.piecewise_linear and self.wanted == ("x",):
            return None
        values = self.call.given | dict(zip(self.call.names, kept, strict=True))
        if any(moves[1:]) or not slopes.known(function, values, self.wanted, self.from_y):
            raise NotImplementedError(
                f"fastrelu.torch.{function.name}: the second derivative with respect to "
                f"{' and '.join(self.wanted)} is not known; expected one backward pass, or a function of "
                "torch.nn.functional where there are two"
            )
        return lambda first: slopes.gradient(torch, function, dy, first, values)

    def bent(self, dy, kept, directions, moves):
        """How ``<gradient, directions>`` moves with what was kept, of which `moves` says what may."""
        plain = self.plain(dy, kept, moves) if any(moves) else None
        made = (None,) if plain is None else torch.func.vjp(plain, kept[0])[1](*directions)
        return *made, *(None for _ in kept[1:])


def _mapped(operation, info, axes, about, tensors):
    """`operation` over a batch: as it is where entries do not matter to each other, else one by one."""
    size, pairs = info.batch_size, list(zip(tensors, axes, strict=True))
    if about.maps_as_it_is():
        whole = [t.expand(size, *t.shape) if a is None else t.movedim(a, 0) for t, a in pairs]
        made = operation.apply(about.mapped(size), *whole)
        return made, 0 if isinstance(made, torch.Tensor) else (0,) * len(made)
    made = [
        operation.apply(about, *(t if a is None else t.select(a, i) for t, a in pairs)) for i in range(size)
    ]
    if isinstance(made[0], torch.Tensor):
        return torch.stack(made), 0
    return tuple(torch.stack(parts) for parts in zip(*made, strict=True)), (0,) * len(made[0])


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(call, *tensors):
        values = shared(call.given, call.names, tensors)
        if call.replaced is None:
            return tensor(call.function.forward(values))
        call.function.forward(values, out=memory(tensors[0]))
        return tensors[0]

    @staticmethod
    def setup_context(ctx, inputs, y):
        call, *tensors = inputs
        function = call.function
        wanted = tuple(n for n, needed in zip(call.names, ctx.needs_input_grad[1:], strict=True) if needed)
        function.check(wanted)
        from_y = function.needs_only_y(call.given, wanted) and not set(call.names[1:]) & set(function.arrays)
        if call.replaced is not None:
            ctx.mark_dirty(tensors[0])
            tensors[0] = call.replaced
        ctx.about = _Linear(call, wanted, from_y, y.shape)
        ctx.save_for_backward(*((y, *tensors[1:]) if from_y else tensors))
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, dy):
        about = ctx.about
        if torch.is_grad_enabled() or is_transformed():
            made = _Backward.apply(about, dy, *ctx.saved_tensors)
        else:
            made = _Backward.forward(about, dy, *ctx.saved_tensors)
        made = dict(zip(about.wanted, made, strict=True))
        return None, *(made.get(name) for name in about.call.names)

    @staticmethod
    def jvp(ctx, _, *moved):
        call = ctx.about.call
        wanted = tuple(n for n, t in zip(call.names, moved, strict=True) if t is not None)
        call.function.check(wanted)
        about = _Linear(call, wanted, False, ctx.about.shape)
        return _Tangent.apply(about, *(t for t in moved if t is not None), *ctx.saved_tensors)

    @staticmethod
    def vmap(info, axes, call, *tensors):
        return _mapped(_Forward, info, axes[1:], call, tensors)


class _Plain(torch.autograd.Function):
    """`_Forward` where nothing is transformed: in this older form PyTorch takes half the time for a call."""

    @staticmethod
    def forward(ctx, call, *tensors):
        y = _Forward.forward(call, *tensors)
        _Forward.setup_context(ctx, (call, *tensors), y)
        return y

    backward = _Forward.backward


class _Backward(torch.autograd.Function):
    """The backward pass, linear in dy: the gradients with respect to what is wanted."""

    @staticmethod
    def forward(about, dy, *kept):
        values, y = about.arguments(kept)
        return tuple(map(tensor, about.call.function.backward(memory(dy), values, about.wanted, y)))

    @staticmethod
    def setup_context(ctx, inputs, outputs):
        ctx.about = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx, *directions):
        about, (dy, *kept) = ctx.about, ctx.saved_tensors
        bent = about.bent(dy, kept, directions, ctx.needs_input_grad[2:])
        return None, _Tangent.apply(about, *directions, *kept), *bent

    @staticmethod
    def jvp(ctx, _, moved, *directions):
        about, (dy, *kept) = ctx.about, ctx.saved_tensors
        parts = [] if moved is None else [_Backward.apply(about, moved, *kept)]
        moves = [d is not None for d in directions]
        plain = about.plain(dy, kept, moves) if any(moves) else None
        if plain is not None:
            parts.append(torch.func.jvp(plain, (kept[0],), (directions[0],))[1:])
        if not parts:
            return tuple(torch.zeros_like(k) for k in kept[: len(about.wanted)])
        return tuple(sum(p[1:], p[0]) for p in zip(*parts, strict=True))

    @staticmethod
    def vmap(info, axes, about, *tensors):
        return _mapped(_Backward, info, axes[1:], about, tensors)


class _Tangent(torch.autograd.Function):
    """The pass of forward mode, linear in a direction for each of what is wanted: `_Backward` transposed."""

    @staticmethod
    def forward(about, *tensors):
        count = len(about.wanted)
        values, y = about.arguments(tensors[count:])
        moved = {name: memory(t) for name, t in zip(about.wanted, tensors[:count], strict=True)}
        return tensor(about.call.function.tangent(moved, values, about.shape, y))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.about = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx, dt):
        about, tensors, count = ctx.about, ctx.saved_tensors, len(ctx.about.wanted)
        moved, kept = tensors[:count], tensors[count:]
        bent = about.bent(dt, kept, moved, ctx.needs_input_grad[1 + count :])
        return None, *_Backward.apply(about, dt, *kept), *bent

    @staticmethod
    def vmap(info, axes, about, *tensors):
        return _mapped(_Tangent, info, axes[1:], about, tensors)


class _Loss(torch.autograd.Function):
    """`cross_entropy`, and its gradient in the same pass, which is all that is kept."""

    @staticmethod
    def forward(ctx, call, *tensors):
        values = shared(call.given, call.names, tensors)
        both = call.function.function.value_and_grad
        loss, gradient = map(tensor, both(values.pop("logits"), values.pop("labels"), **values))
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(gradient)
        return loss, gradient

    @staticmethod
    def backward(ctx, dy, gradient_moves):
        given, (gradient,) = ctx.call.given, ctx.saved_tensors
        if gradient_moves is not None:
            raise NotImplementedError(
                "fastrelu.torch.cross_entropy: the second derivative with respect to logits is not known; "
                "expected one backward pass, or torch.nn.functional.cross_entropy where there are two"
            )
        if dy is None:
            return (None,) * (1 + len(ctx.call.names))
        if given.get("reduction") == "none":
            dy = dy.unsqueeze(given.get("axis", -1))
        if torch.is_grad_enabled() or _graph_is_kept():
            gradient = gradient * dy
        elif dy.numel() > 1 or dy.device.type != "cpu" or dy.item() != 1:
            gradient = gradient.mul_(dy)
        return None, gradient, *(None for _ in ctx.call.names[1:])


# Calls


def call(function, given, inplace):
    """The result of a function for arguments by name, some of which are tensors."""
    tensors = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
    values = tensors.values()
    wanted = tuple(name for name, t in tensors.items() if t.requires_grad) if torch.is_grad_enabled() else ()
    transformed = is_transformed() or forward_ad._current_level >= 0
    if not (wanted or transformed):
        given = shared(given, tensors, values)
        if not inplace:
            return tensor(function.forward(given))
        lead = next(iter(values))
        function.forward(given, out=memory(lead))
        torch.autograd.graph.increment_version(lead)
        return lead
    about = _Call(function, bridges.without(given, tensors), tuple(tensors))
    if transformed:
        made = _Forward.apply(about, *values)
        return next(iter(values)).copy_(made) if inplace else made
    if wanted == ("logits",):
        return _Loss.apply(about, *values)[0]
    if inplace:
        x = next(iter(values))
        about.replaced = x.detach() if function.needs_only_y(about.given, wanted) else x.detach().clone()
    return _Plain.apply(about, *values)
