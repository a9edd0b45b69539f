"""Lines for the rest of the family, of every library; `eager` and `compiled` say what the names in them are.

numexpr's numbers with a fraction are named in `CONSTANTS`, which joins that of ``compiled.py``.
"""

from __future__ import annotations

__all__ = ["CONSTANTS", "JAX", "NUMEXPR", "NUMPY", "ONNXRUNTIME", "SCIPY", "TORCH"]


def _steps(*steps):
    return "; ".join(steps)


def _calls(library, *steps):
    """Steps "name(arguments)" that all write into `out`."""
    return _steps(*(f"{library}.{step[:-1]}, out=out)" for step in steps))


_SHARE = "np.multiply(dy, 0.16666666666666666, out=out); np.multiply(out, (x > -3) & (x <= 3), out=out)"
_SWISH_SLOPE = _steps(
    "np.multiply(x, 0.3333333333333333, out=out)",
    "np.add(out, 0.5, out=out)",
    "np.copyto(out, 0, where=x <= -3)",
    "np.copyto(out, 1, where=x > 3)",
    "np.multiply(dy, out, out=out)",
)
_SMELU = _steps(
    _calls("np", "clip(x, -1, 1)", "add(out, 1)", "multiply(out, out)", "multiply(out, 0.25)"),
    "np.subtract(x, 1, out=t)",
    "np.maximum(t, 0, out=t)",
    "np.add(out, t, out=out)",
)
_GELU_SIGMOID = _calls(
    "np", "multiply(x, -1.702)", "exp(out)", "add(out, 1)"
)  # 1 / (1 + exp(-1.702 x)) without its last step
NUMPY = {
    "relu6 forward": "np.clip(x, 0, 6, out=out)",
    "relu6 backward": "np.multiply(dy, (x > 0) & (x <= 6), out=out)",
    "hardtanh forward": "np.clip(x, -1, 1, out=out)",
    "hardtanh backward": "np.multiply(dy, (x > -1) & (x <= 1), out=out)",
    "hard_sigmoid forward": _calls("np", "add(x, 3)", "clip(out, 0, 6)", "divide(out, 6)"),
    "hard_sigmoid backward": _SHARE,
    "hard_swish forward": _calls("np", "add(x, 3)", "clip(out, 0, 6)", "multiply(x, out)", "divide(out, 6)"),
    "hard_swish backward": _SWISH_SLOPE,
    "threshold forward": "np.copyto(out, x); np.copyto(out, 0, where=x <= 0.5)",
    "threshold backward": "np.multiply(dy, x > 0.5, out=out)",
    "hardshrink forward": "np.multiply(x, np.abs(x) > 0.5, out=out)",
    "hardshrink backward": "np.multiply(dy, np.abs(x) > 0.5, out=out)",
    "softshrink forward": _calls("np", "clip(x, -0.5, 0.5)", "subtract(x, out)"),
    "softshrink backward": "np.multiply(dy, np.abs(x) > 0.5, out=out)",
    "relu_squared forward": _calls("np", "maximum(x, 0)", "multiply(out, out)"),
    "relu_squared backward": _calls("np", "maximum(x, 0)", "add(out, out)", "multiply(dy, out)"),
    "relu_squared backward_from_y": _calls("np", "sqrt(y)", "add(out, out)", "multiply(dy, out)"),
    "smelu forward": _SMELU,
    "smelu backward": _calls("np", "add(x, 1)", "multiply(out, 0.5)", "clip(out, 0, 1)", "multiply(dy, out)"),
    "softsign forward": _calls("np", "abs(x)", "add(out, 1)", "divide(x, out)"),
    "softsign backward": _calls("np", "abs(x)", "add(out, 1)", "multiply(out, out)", "divide(dy, out)"),
    "softsign backward_from_y": _calls(
        "np", "abs(y)", "subtract(1, out)", "multiply(out, out)", "multiply(dy, out)"
    ),
    "squareplus forward": _calls(
        "np", "multiply(x, x)", "add(out, 4)", "sqrt(out)", "add(x, out)", "multiply(out, 0.5)"
    ),
    "squareplus backward": _calls(
        "np",
        *("multiply(x, x)", "add(out, 4)", "sqrt(out)", "divide(x, out)", "add(out, 1)"),
        *("multiply(out, 0.5)", "multiply(dy, out)"),
    ),
    "squareplus backward_from_y": _calls(
        "np", "multiply(y, y)", "add(out, 1)", "divide(dy, out)", "subtract(dy, out)"
    ),
    "celu forward": _steps(
        "np.minimum(x, 0, out=t)",
        "np.expm1(t, out=t)",
        "np.maximum(x, 0, out=out)",
        "np.add(out, t, out=out)",
    ),
    "celu backward": _calls("np", "minimum(x, 0)", "exp(out)", "multiply(dy, out)"),
    "celu backward_from_y": _calls("np", "minimum(y, 0)", "add(out, 1)", "multiply(dy, out)"),
    "logit forward": _calls("np", "subtract(1, x)", "divide(x, out)", "log(out)"),
    "logit backward": _calls("np", "subtract(1, x)", "multiply(x, out)", "divide(dy, out)"),
    "softplus_inverse forward": _calls("np", "expm1(x)", "log(out)"),
    "softplus_inverse backward": _calls(
        "np", "negative(x)", "expm1(out)", "divide(dy, out)", "negative(out)"
    ),
    "log1mexp forward": _calls("np", "negative(x)", "expm1(out)", "negative(out)", "log(out)"),
    "log1mexp backward": _calls("np", "expm1(x)", "divide(dy, out)"),
    "gelu.sigmoid forward": _steps(_GELU_SIGMOID, "np.divide(x, out, out=out)"),
    "gelu.sigmoid backward": _steps(
        _GELU_SIGMOID,
        "np.reciprocal(out, out=out)",
        "np.subtract(1, out, out=t)",
        "np.multiply(t, x, out=t)",
        "np.multiply(t, 1.702, out=t)",
        "np.add(t, 1, out=t)",
        "np.multiply(out, t, out=out)",
        "np.multiply(dy, out, out=out)",
    ),
    "tanhshrink forward": _calls("np", "tanh(x)", "subtract(x, out)"),
    "tanhshrink backward": _calls("np", "tanh(x)", "multiply(out, out)", "multiply(dy, out)"),
}

SCIPY = {"logit forward": "special.logit(x, out=out)"}

TORCH = {
    "relu6 forward": "nn.hardtanh(x, 0.0, 6.0, out=out)",
    "relu6 backward": "aten.hardtanh_backward.grad_input(dy, x, 0.0, 6.0, grad_input=out)",
    "hardtanh forward": "nn.hardtanh(x, -1.0, 1.0, out=out)",
    "hardtanh backward": "aten.hardtanh_backward.grad_input(dy, x, -1.0, 1.0, grad_input=out)",
    "hard_sigmoid forward": "nn.hardsigmoid(x, out=out)",
    "hard_sigmoid backward": "aten.hardsigmoid_backward.grad_input(dy, x, grad_input=out)",
    "hard_swish forward": "nn.hardswish(x, out=out)",
    "hard_swish backward": "result = aten.hardswish_backward(dy, x)",
    "threshold forward": "aten.threshold(x, 0.5, 0.0, out=out)",
    "threshold backward": "aten.threshold_backward.grad_input(dy, x, 0.5, grad_input=out)",
    "hardshrink forward": "aten.hardshrink(x, 0.5, out=out)",
    "hardshrink backward": "aten.hardshrink_backward.grad_input(dy, x, 0.5, grad_input=out)",
    "softshrink forward": "nn.softshrink(x, 0.5, out=out)",
    "softshrink backward": "aten.softshrink_backward.grad_input(dy, x, 0.5, grad_input=out)",
    "relu_squared forward": _calls("torch", "clamp_min(x, 0)", "mul(out, out)"),
    "relu_squared backward": _calls("torch", "clamp_min(x, 0)", "add(out, out)", "mul(dy, out)"),
    "relu_squared backward_from_y": _calls("torch", "sqrt(y)", "add(out, out)", "mul(dy, out)"),
    "smelu forward": "result = torch.where(x.abs() <= 1, (x + 1).square() / 4, torch.relu(x))",
    "smelu backward": _calls("torch", "add(x, 1)", "mul(out, 0.5)", "clamp(out, 0, 1)", "mul(dy, out)"),
    "softsign forward": _calls("torch", "abs(x)", "add(out, 1)", "div(x, out)"),
    "softsign backward": _calls("torch", "abs(x)", "add(out, 1)", "mul(out, out)", "div(dy, out)"),
    "softsign backward_from_y": _calls(
        "torch", "abs(y)", "neg(out)", "add(out, 1)", "mul(out, out)", "mul(dy, out)"
    ),
    "squareplus forward": _calls(
        "torch", "mul(x, x)", "add(out, 4)", "sqrt(out)", "add(x, out)", "mul(out, 0.5)"
    ),
    "squareplus backward": _calls(
        "torch",
        *("mul(x, x)", "add(out, 4)", "rsqrt(out)", "mul(x, out)", "add(out, 1)", "mul(out, 0.5)"),
        "mul(dy, out)",
    ),
    "celu forward": "result = torch.celu(x)",
    "celu backward": "aten.elu_backward.grad_input(dy, 1.0, 1.0, 1.0, False, x, grad_input=out)",
    "celu backward_from_y": "aten.elu_backward.grad_input(dy, 1.0, 1.0, 1.0, True, y, grad_input=out)",
    "logit forward": "torch.logit(x, out=out)",
    "logit backward": "aten.logit_backward.grad_input(dy, x, grad_input=out)",
    "softplus_inverse forward": _calls("torch", "expm1(x)", "log(out)"),
    "softplus_inverse backward": _calls("torch", "neg(x)", "expm1(out)", "div(dy, out)", "neg(out)"),
    "log1mexp forward": _calls("torch", "neg(x)", "expm1(out)", "neg(out)", "log(out)"),
    "log1mexp backward": _calls("torch", "expm1(x)", "div(dy, out)"),
    "gelu.sigmoid forward": _calls("torch", "mul(x, 1.702)", "sigmoid(out)", "mul(x, out)"),
    "gelu.sigmoid backward": "torch.mul(x, 1.702, out=out); "
    "aten.silu_backward.grad_input(dy, out, grad_input=out)",
    "tanhshrink forward": _calls("torch", "tanh(x)", "sub(x, out)"),
    "tanhshrink backward": _calls("torch", "tanh(x)", "mul(out, out)", "mul(dy, out)"),
}


def _clip(low, high):
    return (
        f"a = Constant<value_float={low}>() b = Constant<value_float={high}>() "
        "low = CastLike(a, x) high = CastLike(b, x) out = Clip(x, low, high)"
    )


ONNXRUNTIME = {
    "relu6 forward": _clip(0.0, 6.0),
    "hardtanh forward": _clip(-1.0, 1.0),
    "hard_sigmoid forward": "out = HardSigmoid<alpha=0.16666667, beta=0.5>(x)",
    "hard_swish forward": "out = HardSwish(x)",
    "threshold forward": "out = ThresholdedRelu<alpha=0.5>(x)",
    "relu_squared forward": "t = Relu(x) out = Mul(t, t)",
    "softsign forward": "out = Softsign(x)",
    "celu forward": "out = Elu(x)",
    "gelu.sigmoid forward": "a = Constant<value_float=1.702>() scale = CastLike(a, x) t = Mul(x, scale) "
    "gate = Sigmoid(t) out = Mul(x, gate)",
    "tanhshrink forward": "t = Tanh(x) out = Sub(x, t)",
}

CONSTANTS = {"sixth": 1 / 6, "quarter": 0.25, "quick": 1.702}
NUMEXPR = {
    "relu6 forward": "where(x > 0, where(x > 6, 6, x), 0)",
    "relu6 backward": "where((x > 0) & (x <= 6), dy, 0)",
    "hardtanh forward": "where(x > -1, where(x > 1, 1, x), -1)",
    "hardtanh backward": "where((x > -1) & (x <= 1), dy, 0)",
    "hard_sigmoid forward": "where(x > -3, where(x > 3, 1, sixth * (x + 3)), 0)",
    "hard_sigmoid backward": "where((x > -3) & (x <= 3), sixth * dy, 0)",
    "hard_swish forward": "where(x > -3, where(x > 3, x, sixth * x * (x + 3)), 0)",
    "hard_swish backward": "where(x > -3, where(x > 3, dy, sixth * dy * (2 * x + 3)), 0)",
    "threshold forward": "where(x > half, x, 0)",
    "threshold backward": "where(x > half, dy, 0)",
    "hardshrink forward": "where(abs(x) > half, x, 0)",
    "hardshrink backward": "where(abs(x) > half, dy, 0)",
    "softshrink forward": "where(x > half, x - half, where(x < -half, x + half, 0))",
    "softshrink backward": "where(abs(x) > half, dy, 0)",
    "relu_squared forward": "where(x > 0, x * x, 0)",
    "relu_squared backward": "where(x > 0, 2 * dy * x, 0)",
    "relu_squared backward_from_y": "2 * dy * sqrt(y)",
    "smelu forward": "where(x > 1, x, where(x > -1, quarter * (x + 1) * (x + 1), 0))",
    "smelu backward": "where(x > 1, dy, where(x > -1, half * dy * (x + 1), 0))",
    "softsign forward": "x / (1 + abs(x))",
    "softsign backward": "dy / (1 + abs(x))**2",
    "softsign backward_from_y": "dy * (1 - abs(y))**2",
    "squareplus forward": "half * (x + sqrt(x * x + 4))",
    "squareplus backward": "half * dy * (1 + x / sqrt(x * x + 4))",
    "squareplus backward_from_y": "dy * y * y / (1 + y * y)",
    "celu forward": "where(x > 0, x, expm1(x))",
    "celu backward": "where(x > 0, dy, dy * exp(x))",
    "celu backward_from_y": "where(y > 0, dy, dy * (y + 1))",
    "logit forward": "log(x / (1 - x))",
    "logit backward": "dy / (x * (1 - x))",
    "softplus_inverse forward": "log(expm1(x))",
    "softplus_inverse backward": "-dy / expm1(-x)",
    "log1mexp forward": "log(-expm1(-x))",
    "log1mexp backward": "dy / expm1(x)",
    "gelu.sigmoid forward": "x / (1 + exp(-quick * x))",
    "gelu.sigmoid backward": "dy * (1 + exp(-quick * x) * (1 + quick * x)) / (1 + exp(-quick * x))**2",
    "tanhshrink forward": "x - tanh(x)",
    "tanhshrink backward": "dy * tanh(x)**2",
}

JAX = {
    "relu6 forward": "jax.nn.relu6(x)",
    "hardtanh forward": "jax.nn.hard_tanh(x)",
    "hard_sigmoid forward": "jax.nn.hard_sigmoid(x)",
    "hard_swish forward": "jax.nn.hard_silu(x)",
    "threshold forward": "jnp.where(x > 0.5, x, 0)",
    "hardshrink forward": "jnp.where(jnp.abs(x) > 0.5, x, 0)",
    "softshrink forward": "x - jnp.clip(x, -0.5, 0.5)",
    "relu_squared forward": "jnp.square(jax.nn.relu(x))",
    "smelu forward": "jnp.where(jnp.abs(x) <= 1, jnp.square(x + 1) / 4, jax.nn.relu(x))",
    "softsign forward": "jax.nn.soft_sign(x)",
    "squareplus forward": "jax.nn.squareplus(x)",
    "celu forward": "jax.nn.celu(x)",
    "celu backward_from_y": "jnp.where(y > 0, dy, dy * (y + 1))",
    "logit forward": "jax.scipy.special.logit(x)",
    "softplus_inverse forward": "jnp.log(jnp.expm1(x))",
    "log1mexp forward": "jnp.log(-jnp.expm1(-x))",
    "gelu.sigmoid forward": "x * jax.nn.sigmoid(1.702 * x)",
    "tanhshrink forward": "x - jnp.tanh(x)",
}
