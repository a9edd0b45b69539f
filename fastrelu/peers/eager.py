"""NumPy, SciPy and PyTorch: the lines that a good user of each writes, by function and pass.

Names: `x`, `dy`, `y` and `out` are the shared arrays (for PyTorch tensors over the same memory), `t` and `u`
scratch arrays made beforehand, so that nobody pays for temporaries that could be avoided.  Parameters have
the values of the table (`Parameter.default`, or the first of `typical`).  A function without a line here is
timed against the reference, which is plain NumPy.
"""

from __future__ import annotations

import contextlib

import numpy as np

from . import family
from .work import Data, Job, Operation

__all__ = ["numpy_job", "numpy_session", "scipy_job", "scipy_session", "torch_job", "torch_session"]


def _steps(*steps):
    return "; ".join(steps)


# 1 / (1 + exp(-x)) without its last step
_NUMPY_ONE_PLUS_EXP = _steps("np.negative(x, out=out)", "np.exp(out, out=out)", "np.add(out, 1, out=out)")
_NUMPY_SIGMOID = _steps(_NUMPY_ONE_PLUS_EXP, "np.reciprocal(out, out=out)")
_SIGMOID_SLOPE = _steps(
    "np.subtract(1, out, out=t)", "np.multiply(out, t, out=out)", "np.multiply(dy, out, out=out)"
)
_NUMPY_TANH_SOFTPLUS = _steps("np.logaddexp(x, 0, out=out)", "np.tanh(out, out=out)")
_SILU_SLOPE = _steps(
    "np.subtract(1, out, out=t)",
    "np.multiply(t, x, out=t)",
    "np.add(t, 1, out=t)",
    "np.multiply(out, t, out=out)",
    "np.multiply(dy, out, out=out)",
)
# sqrt(2 / pi) (x + 0.044715 x**3), with x**2 left in t
_GELU_TANH_EXPONENT = _steps(
    "np.multiply(x, x, out=t)",
    "np.multiply(t, 0.035677408136300125, out=out)",
    "np.add(out, 0.7978845608028654, out=out)",
    "np.multiply(out, x, out=out)",
)
_NUMPY_EXPONENTIALS = _steps("np.subtract(x, x.max(axis=-1, keepdims=True), out={0})", "np.exp({0}, out={1})")

NUMPY = {
    "relu forward": "np.maximum(x, 0, out=out)",
    "relu backward": "np.multiply(dy, x > 0, out=out)",
    "relu backward_from_y": "np.multiply(dy, y > 0, out=out)",
    "heaviside forward": "np.heaviside(x, 0, out=out)",
    "heaviside backward": "np.multiply(x, 0, out=out)",
    "leaky_relu forward": "np.multiply(x, 0.01, out=out); np.maximum(x, out, out=out)",
    "leaky_relu backward": "np.multiply(dy, 0.01, out=out); np.copyto(out, dy, where=x > 0)",
    "leaky_relu backward_from_y": "np.multiply(dy, 0.01, out=out); np.copyto(out, dy, where=y > 0)",
    "prelu forward": "np.multiply(x, 0.25, out=out); np.maximum(x, out, out=out)",
    "prelu backward": "np.multiply(dy, 0.25, out=out); np.copyto(out, dy, where=x > 0)",
    "prelu backward_from_y": "np.multiply(dy, 0.25, out=out); np.copyto(out, dy, where=y > 0)",
    "elu forward": _steps(
        "np.minimum(x, 0, out=t)",
        "np.expm1(t, out=t)",
        "np.maximum(x, 0, out=out)",
        "np.add(out, t, out=out)",
    ),
    "elu backward": _steps(
        "np.minimum(x, 0, out=out)", "np.exp(out, out=out)", "np.multiply(dy, out, out=out)"
    ),
    "elu backward_from_y": _steps(
        "np.minimum(y, 0, out=out)", "np.add(out, 1, out=out)", "np.multiply(dy, out, out=out)"
    ),
    "selu forward": _steps(
        "np.minimum(x, 0, out=t)",
        "np.expm1(t, out=t)",
        "np.multiply(t, 1.6732632423543772, out=t)",
        "np.maximum(x, 0, out=out)",
        "np.add(out, t, out=out)",
        "np.multiply(out, 1.0507009873554805, out=out)",
    ),
    "selu backward": _steps(
        "np.minimum(x, 0, out=out)",
        "np.exp(out, out=out)",
        "np.multiply(out, 1.7580993408473768, out=out)",
        "np.copyto(out, 1.0507009873554805, where=x > 0)",
        "np.multiply(dy, out, out=out)",
    ),
    "selu backward_from_y": _steps(
        "np.add(y, 1.7580993408473768, out=out)",
        "np.copyto(out, 1.0507009873554805, where=y > 0)",
        "np.multiply(dy, out, out=out)",
    ),
    "softplus forward": "np.logaddexp(x, 0, out=out)",
    "softplus backward": _steps(_NUMPY_ONE_PLUS_EXP, "np.divide(dy, out, out=out)"),
    "softplus backward_from_y": _steps(
        "np.negative(y, out=out)",
        "np.expm1(out, out=out)",
        "np.multiply(dy, out, out=out)",
        "np.negative(out, out=out)",
    ),
    "sigmoid forward": _NUMPY_SIGMOID,
    "sigmoid backward": _steps(_NUMPY_SIGMOID, _SIGMOID_SLOPE),
    "sigmoid backward_from_y": _steps(
        "np.subtract(1, y, out=out)", "np.multiply(out, y, out=out)", "np.multiply(dy, out, out=out)"
    ),
    "log_sigmoid forward": _steps(
        "np.negative(x, out=out)", "np.logaddexp(out, 0, out=out)", "np.negative(out, out=out)"
    ),
    "log_sigmoid backward": _steps(
        "np.exp(x, out=out)", "np.add(out, 1, out=out)", "np.divide(dy, out, out=out)"
    ),
    "log_sigmoid backward_from_y": _steps(
        "np.expm1(y, out=out)", "np.multiply(dy, out, out=out)", "np.negative(out, out=out)"
    ),
    "gelu.tanh forward": _steps(
        _GELU_TANH_EXPONENT,
        "np.tanh(out, out=out)",
        "np.add(out, 1, out=out)",
        "np.multiply(out, x, out=out)",
        "np.multiply(out, 0.5, out=out)",
    ),
    "gelu.tanh backward": _steps(
        _GELU_TANH_EXPONENT,
        "np.tanh(out, out=out)",
        "np.multiply(t, 0.10703222440890037, out=t)",
        "np.add(t, 0.7978845608028654, out=t)",
        "np.multiply(t, x, out=t)",
        "np.subtract(1, out, out=u)",
        "np.multiply(t, u, out=t)",
        "np.add(t, 1, out=t)",
        "np.add(out, 1, out=out)",
        "np.multiply(out, t, out=out)",
        "np.multiply(out, 0.5, out=out)",
        "np.multiply(dy, out, out=out)",
    ),
    "silu forward": _steps(_NUMPY_ONE_PLUS_EXP, "np.divide(x, out, out=out)"),
    "silu backward": _steps(_NUMPY_SIGMOID, _SILU_SLOPE),
    "mish forward": _steps(_NUMPY_TANH_SOFTPLUS, "np.multiply(x, out, out=out)"),
    "mish backward": _steps(
        "np.negative(x, out=t)",
        "np.exp(t, out=t)",
        "np.add(t, 1, out=t)",
        "np.divide(x, t, out=u)",
        _NUMPY_TANH_SOFTPLUS,
        "np.multiply(out, out, out=t)",
        "np.subtract(1, t, out=t)",
        "np.multiply(t, u, out=t)",
        "np.add(out, t, out=out)",
        "np.multiply(dy, out, out=out)",
    ),
    "tanh forward": "np.tanh(x, out=out)",
    "tanh backward": _steps(
        "np.tanh(x, out=out)",
        "np.multiply(out, out, out=out)",
        "np.subtract(1, out, out=out)",
        "np.multiply(dy, out, out=out)",
    ),
    "tanh backward_from_y": _steps(
        "np.multiply(y, y, out=out)", "np.subtract(1, out, out=out)", "np.multiply(dy, out, out=out)"
    ),
    "logsumexp forward": _steps(
        "largest = x.max(axis=-1, keepdims=True)",
        "np.subtract(x, largest, out=t)",
        "np.exp(t, out=t)",
        "np.add(np.log(t.sum(axis=-1)), largest[..., 0], out=out)",
    ),
    "logsumexp backward": _steps(
        _NUMPY_EXPONENTIALS.format("out", "out"),
        "np.multiply(out, dy[..., None] / out.sum(axis=-1, keepdims=True), out=out)",
    ),
    "softmax forward": _steps(
        _NUMPY_EXPONENTIALS.format("out", "out"),
        "np.divide(out, out.sum(axis=-1, keepdims=True), out=out)",
    ),
    "softmax backward_from_y": _steps(
        "np.multiply(dy, y, out=t)",
        "np.subtract(dy, t.sum(axis=-1, keepdims=True), out=out)",
        "np.multiply(out, y, out=out)",
    ),
    "log_softmax forward": _steps(
        _NUMPY_EXPONENTIALS.format("out", "t"),
        "np.subtract(out, np.log(t.sum(axis=-1, keepdims=True)), out=out)",
    ),
    "log_softmax backward_from_y": _steps(
        "np.exp(y, out=out)",
        "np.multiply(out, dy.sum(axis=-1, keepdims=True), out=out)",
        "np.subtract(dy, out, out=out)",
    ),
} | family.NUMPY

# Over `dy`, where that is not the last step written elsewhere; `m` is a scratch mask.
_LEAK_IN_PLACE = "np.less_equal({0}, 0, out=m); np.multiply(dy, {1}, out=dy, where=m)"
NUMPY_IN_PLACE = {
    "leaky_relu backward": _LEAK_IN_PLACE.format("x", 0.01),
    "leaky_relu backward_from_y": _LEAK_IN_PLACE.format("y", 0.01),
    "prelu backward": _LEAK_IN_PLACE.format("x", 0.25),
    "prelu backward_from_y": _LEAK_IN_PLACE.format("y", 0.25),
}

_SCIPY_SIGMOID = "special.expit(x, out=out)"

SCIPY = {
    "softplus backward": _steps(_SCIPY_SIGMOID, "np.multiply(dy, out, out=out)"),
    "sigmoid forward": _SCIPY_SIGMOID,
    "sigmoid backward": _steps(_SCIPY_SIGMOID, _SIGMOID_SLOPE),
    "log_sigmoid forward": "special.log_expit(x, out=out)",
    "log_sigmoid backward": _steps(
        "np.negative(x, out=out)", "special.expit(out, out=out)", "np.multiply(dy, out, out=out)"
    ),
    "gelu forward": _steps("special.ndtr(x, out=out)", "np.multiply(x, out, out=out)"),
    "gelu backward": _steps(
        "np.multiply(x, x, out=t)",
        "np.multiply(t, -0.5, out=t)",
        "np.exp(t, out=t)",
        "np.multiply(t, 0.3989422804014327, out=t)",
        "np.multiply(t, x, out=t)",
        "special.ndtr(x, out=out)",
        "np.add(out, t, out=out)",
        "np.multiply(dy, out, out=out)",
    ),
    "gelu.tanh forward": _steps(
        _GELU_TANH_EXPONENT,
        "np.multiply(out, 2, out=out)",
        "special.expit(out, out=out)",
        "np.multiply(x, out, out=out)",
    ),
    "silu forward": _steps(_SCIPY_SIGMOID, "np.multiply(x, out, out=out)"),
    "silu backward": _steps(_SCIPY_SIGMOID, _SILU_SLOPE),
    "logsumexp forward": "result = special.logsumexp(x, axis=-1)",
    "softmax forward": "result = special.softmax(x, axis=-1)",
    "log_softmax forward": "result = special.log_softmax(x, axis=-1)",
} | family.SCIPY

# The functions of torch.nn.functional that take out= live in torch._C._nn, here `nn`; `aten` is
# torch.ops.aten.
TORCH = {
    "relu forward": "torch.clamp_min(x, 0, out=out)",
    "relu backward": "aten.threshold_backward.grad_input(dy, x, 0, grad_input=out)",
    "relu backward_from_y": "aten.threshold_backward.grad_input(dy, y, 0, grad_input=out)",
    "heaviside forward": "torch.heaviside(x, zero, out=out)",
    "leaky_relu forward": "nn.leaky_relu(x, 0.01, out=out)",
    "leaky_relu backward": "aten.leaky_relu_backward.grad_input(dy, x, 0.01, False, grad_input=out)",
    "leaky_relu backward_from_y": "aten.leaky_relu_backward.grad_input(dy, y, 0.01, True, grad_input=out)",
    "prelu forward": "result = torch.prelu(x, weight)",
    "prelu backward": "result = aten._prelu_kernel_backward(dy, x, weight)[0]",
    "elu forward": "nn.elu(x, 1.0, out=out)",
    "elu backward": "aten.elu_backward.grad_input(dy, 1.0, 1.0, 1.0, False, x, grad_input=out)",
    "elu backward_from_y": "aten.elu_backward.grad_input(dy, 1.0, 1.0, 1.0, True, y, grad_input=out)",
    "selu forward": "nn.elu(x, 1.6732632423543772, 1.0507009873554805, out=out)",
    "selu backward": "aten.elu_backward.grad_input("
    "dy, 1.6732632423543772, 1.0507009873554805, 1.0, False, x, grad_input=out)",
    "selu backward_from_y": "aten.elu_backward.grad_input("
    "dy, 1.6732632423543772, 1.0507009873554805, 1.0, True, y, grad_input=out)",
    "softplus forward": "nn.softplus(x, out=out)",
    "softplus backward": "aten.softplus_backward.grad_input(dy, x, 1.0, 20.0, grad_input=out)",
    "sigmoid forward": "torch.sigmoid(x, out=out)",
    "sigmoid backward": _steps(
        "torch.sigmoid(x, out=out)", "aten.sigmoid_backward.grad_input(dy, out, grad_input=out)"
    ),
    "sigmoid backward_from_y": "aten.sigmoid_backward.grad_input(dy, y, grad_input=out)",
    "log_sigmoid forward": "nn.log_sigmoid(x, out=out)",
    "log_sigmoid backward": "aten.log_sigmoid_backward.grad_input(dy, x, buffer, grad_input=out)",
    "gelu forward": "nn.gelu(x, out=out)",
    "gelu backward": "aten.gelu_backward.grad_input(dy, x, grad_input=out)",
    "gelu.tanh forward": 'nn.gelu(x, approximate="tanh", out=out)',
    "gelu.tanh backward": 'aten.gelu_backward.grad_input(dy, x, approximate="tanh", grad_input=out)',
    "silu forward": "nn.silu(x, out=out)",
    "silu backward": "aten.silu_backward.grad_input(dy, x, grad_input=out)",
    "mish forward": "nn.mish(x, out=out)",
    "mish backward": "result = aten.mish_backward(dy, x)",
    "tanh forward": "torch.tanh(x, out=out)",
    "tanh backward": _steps(
        "torch.tanh(x, out=out)", "aten.tanh_backward.grad_input(dy, out, grad_input=out)"
    ),
    "tanh backward_from_y": "aten.tanh_backward.grad_input(dy, y, grad_input=out)",
    "logsumexp forward": "torch.logsumexp(x, -1, out=out)",
    "logsumexp backward": "torch.softmax(x, -1, out=out); torch.mul(out, dy[..., None], out=out)",
    "softmax forward": "torch.softmax(x, -1, out=out)",
    "softmax backward_from_y": "aten._softmax_backward_data.out(dy, y, -1, dtype, grad_input=out)",
    "log_softmax forward": "torch.log_softmax(x, -1, out=out)",
    "log_softmax backward_from_y": "aten._log_softmax_backward_data.out(dy, y, -1, dtype, out=out)",
} | family.TORCH


def _scratch(data):
    return {name: np.empty_like(data.x) for name in ("t", "u")} | {"m": np.empty(data.shape, bool)}


def _of_custom(operation, data):
    """A user's function of numbers, given arrays instead; None where it has conditions, and fails."""
    code = operation.custom.codes[operation.pass_]
    names = {"function": code.function, **data.arrays, **operation.parameters}
    product = "dy * " if "dy" in code.kernel.inputs else ""
    statement = f"result = {product}function({', '.join(code.kernel.arguments)})"
    try:
        exec(statement, names | {name: a[:2] for name, a in data.arrays.items()})
    except (TypeError, ValueError):
        return None
    return Job("numpy", statement, names, data.out)


def numpy_job(operation: Operation, data: Data, threads: int) -> Job | None:
    if statement := NUMPY.get(str(operation)):
        return Job("numpy", statement, {"np": np, **data.arrays, **_scratch(data)}, data.out)
    if operation.custom:
        return _of_custom(operation, data)
    from .. import reference

    kernel = operation.kernel
    names = {"reference": reference, "kernel": kernel, **data.arrays, **operation.parameters}
    statement = f"result = reference.evaluate(kernel, {', '.join(kernel.inputs)})"
    return Job("numpy", statement, names, data.out)


def scipy_job(operation: Operation, data: Data, threads: int) -> Job | None:
    if not (statement := operation.line(SCIPY)):
        return None
    from scipy import special

    return Job("scipy", statement, {"np": np, "special": special, **data.arrays, **_scratch(data)}, data.out)


def _tensor(torch, array):
    """Over the same memory; torch does not know ml_dtypes' bfloat16."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def torch_job(operation: Operation, data: Data, threads: int) -> Job | None:
    if not (statement := operation.line(TORCH)):
        return None
    import torch

    names = {name: _tensor(torch, array) for name, array in data.arrays.items()}
    dtype = names["x"].dtype
    names |= {"torch": torch, "nn": torch._C._nn, "aten": torch.ops.aten, "dtype": dtype}
    if "buffer" in statement:  # what the forward pass keeps on the CPU
        names["buffer"] = torch.ops.aten.log_sigmoid_forward(names["x"])[1]
    names |= {"zero": torch.zeros((), dtype=dtype), "weight": torch.full((1,), 0.25, dtype=dtype)}
    return Job("torch", statement, names, data.out, spins=threads > 1)


numpy_session = scipy_session = contextlib.nullcontext  # one thread, whatever is asked for


@contextlib.contextmanager
def torch_session(threads: int):
    """PyTorch with so many threads and without recording for autograd."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(before)
