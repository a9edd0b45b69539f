"""ONNX Runtime, numexpr and JAX, which compile an expression first: the expressions, by function and pass.

`x`, `dy` and `y` are the shared arrays.  ONNX Runtime and numexpr write into the shared `out`; JAX always
allocates.  All of it is prepared before the timing starts.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import replace

import numpy as np

from . import family
from .work import Data, Job, Operation

__all__ = [
    "jax_job",
    "jax_session",
    "numexpr_job",
    "numexpr_session",
    "onnxruntime_job",
    "onnxruntime_session",
]

# --- ONNX Runtime: inference only, so there is no backward pass -------------------------------------------

# In ONNX's text form. OPSET is the first with Gelu.
OPSET, IR_VERSION = 20, 10
ONNXRUNTIME = {
    "relu forward": "out = Relu(x)",
    "heaviside forward": "number = Constant<value_float=0.0>() zero = CastLike(number, x) "
    "above = Greater(x, zero) out = CastLike(above, x)",
    "leaky_relu forward": "out = LeakyRelu<alpha=0.01>(x)",
    "prelu forward": "number = Constant<value_floats=[0.25]>() weight = CastLike(number, x) "
    "out = PRelu(x, weight)",
    "elu forward": "out = Elu(x)",
    "selu forward": "out = Selu(x)",
    "softplus forward": "out = Softplus(x)",
    "sigmoid forward": "out = Sigmoid(x)",
    "log_sigmoid forward": "t = Neg(x) u = Softplus(t) out = Neg(u)",
    "gelu forward": "out = Gelu(x)",
    "gelu.tanh forward": 'out = Gelu<approximate="tanh">(x)',
    "silu forward": "gate = Sigmoid(x) out = Mul(x, gate)",
    "mish forward": "out = Mish(x)",
    "tanh forward": "out = Tanh(x)",
    "logsumexp forward": "axes = Constant<value_ints=[-1]>() out = ReduceLogSumExp<keepdims=0>(x, axes)",
    "softmax forward": "out = Softmax<axis=-1>(x)",
    "log_softmax forward": "out = LogSoftmax<axis=-1>(x)",
} | family.ONNXRUNTIME


def onnxruntime_job(operation: Operation, data: Data, threads: int) -> Job | None:
    if not (body := operation.line(ONNXRUNTIME)):
        return None
    import onnx.parser
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

    element = {"float16": "float16", "float32": "float", "float64": "double"}[data.dtype.name]
    x, out = (f"{element}[{', '.join(map(str, a.shape))}] {n}" for n, a in (("x", data.x), ("out", data.out)))
    header = f'<ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>'
    model = onnx.parser.parse_model(f"{header} graph ({x}) => ({out}) {{ {body} }}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # a missing kernel is reported below
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except NoKernel:  # some operators exist for float32 only
        return None
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(data.x))
    binding.bind_ortvalue_output("out", onnxruntime.OrtValue.ortvalue_from_numpy(data.out))
    names = {"session": session, "binding": binding}
    return Job("onnxruntime", "session.run_with_iobinding(binding)", names, data.out, body, spins=threads > 1)


onnxruntime_session = contextlib.nullcontext  # each of its sessions has its own threads

# --- numexpr ----------------------------------------------------------------------------------------------

# A number with a fraction in an expression would turn float32 into float64, so constants are named.
CONSTANTS = {
    "slope": 0.01,
    "weight": 0.25,
    "one": 1.0,
    "half": 0.5,
    "scale": 1.0507009873554805,
    "depth": 1.7580993408473768,
    "c1": 0.7978845608028654,
    "c2": 0.035677408136300125,
    "c3": 0.10703222440890037,
} | family.CONSTANTS
_TANH = "tanh(x * (c1 + c2 * x * x))"
_TANH_SOFTPLUS = "tanh(where(x > 0, x, 0) + log1p(exp(-abs(x))))"
NUMEXPR = {
    "relu forward": "where(x > 0, x, 0)",
    "relu backward": "where(x > 0, dy, 0)",
    "relu backward_from_y": "where(y > 0, dy, 0)",
    "heaviside forward": "where(x > 0, one, 0)",
    "leaky_relu forward": "where(x > 0, x, slope * x)",
    "leaky_relu backward": "where(x > 0, dy, slope * dy)",
    "leaky_relu backward_from_y": "where(y > 0, dy, slope * dy)",
    "prelu forward": "where(x > 0, x, weight * x)",
    "prelu backward": "where(x > 0, dy, weight * dy)",
    "prelu backward_from_y": "where(y > 0, dy, weight * dy)",
    "elu forward": "where(x > 0, x, expm1(x))",
    "elu backward": "where(x > 0, dy, dy * exp(x))",
    "elu backward_from_y": "where(y > 0, dy, dy * (y + 1))",
    "selu forward": "where(x > 0, scale * x, depth * expm1(x))",
    "selu backward": "dy * where(x > 0, scale, depth * exp(x))",
    "selu backward_from_y": "dy * where(y > 0, scale, depth + y)",
    "softplus forward": "where(x > 0, x, 0) + log1p(exp(-abs(x)))",
    "softplus backward": "dy / (1 + exp(-x))",
    "softplus backward_from_y": "-dy * expm1(-y)",
    "sigmoid forward": "1 / (1 + exp(-x))",
    "sigmoid backward": "dy * exp(-x) / (1 + exp(-x))**2",
    "sigmoid backward_from_y": "dy * y * (1 - y)",
    "log_sigmoid forward": "where(x < 0, x, 0) - log1p(exp(-abs(x)))",
    "log_sigmoid backward": "dy / (1 + exp(x))",
    "log_sigmoid backward_from_y": "-dy * expm1(y)",
    "gelu.tanh forward": f"half * x * (1 + {_TANH})",
    "gelu.tanh backward": f"half * dy * (1 + {_TANH}) * (1 + (1 - {_TANH}) * x * (c1 + c3 * x * x))",
    "silu forward": "x / (1 + exp(-x))",
    "silu backward": "dy * (1 + exp(-x) * (1 + x)) / (1 + exp(-x))**2",
    "mish forward": f"x * {_TANH_SOFTPLUS}",
    "mish backward": f"dy * ({_TANH_SOFTPLUS} + x * (1 - {_TANH_SOFTPLUS}**2) / (1 + exp(-x)))",
    "tanh forward": "tanh(x)",
    "tanh backward": "dy * (1 - tanh(x)**2)",
    "tanh backward_from_y": "dy * (1 - y * y)",
} | family.NUMEXPR


def numexpr_job(operation: Operation, data: Data, threads: int) -> Job | None:
    if not (expression := NUMEXPR.get(str(operation))):
        return None
    import numexpr
    from numexpr.expressions import kind_to_type

    values = data.arrays | {name: np.array(c, data.dtype) for name, c in CONSTANTS.items()}
    used = [name for name in dict.fromkeys(re.findall(r"[a-z]\w*", expression)) if name in values]
    kind = kind_to_type["float" if data.dtype == np.float32 else "double"]
    f = numexpr.NumExpr(expression, signature=[(name, kind) for name in used])
    names = {"f": f, "out": data.out, "vml": numexpr.use_vml, **{name: values[name] for name in used}}
    statement = f"f({', '.join(used)}, out=out, ex_uses_vml=vml)"
    return Job("numexpr", statement, names, data.out, expression)


@contextlib.contextmanager
def numexpr_session(threads: int):
    import numexpr

    before = numexpr.set_num_threads(threads)
    try:
        yield
    finally:
        numexpr.set_num_threads(before)


# --- JAX --------------------------------------------------------------------------------------------------

# The backward pass from x is jax.vjp's, from y what jax.vjp would compute if it kept y.
JAX = {
    "relu forward": "jax.nn.relu(x)",
    "relu backward_from_y": "jnp.where(y > 0, dy, 0)",
    "heaviside forward": "jnp.heaviside(x, 0)",
    "leaky_relu forward": "jax.nn.leaky_relu(x, 0.01)",
    "leaky_relu backward_from_y": "jnp.where(y > 0, dy, 0.01 * dy)",
    "prelu forward": "jax.nn.leaky_relu(x, 0.25)",
    "prelu backward_from_y": "jnp.where(y > 0, dy, 0.25 * dy)",
    "elu forward": "jax.nn.elu(x)",
    "elu backward_from_y": "jnp.where(y > 0, dy, dy * (y + 1))",
    "selu forward": "jax.nn.selu(x)",
    "selu backward_from_y": "dy * jnp.where(y > 0, 1.0507009873554805, y + 1.7580993408473768)",
    "softplus forward": "jax.nn.softplus(x)",
    "softplus backward_from_y": "-dy * jnp.expm1(-y)",
    "sigmoid forward": "jax.nn.sigmoid(x)",
    "sigmoid backward_from_y": "dy * y * (1 - y)",
    "log_sigmoid forward": "jax.nn.log_sigmoid(x)",
    "log_sigmoid backward_from_y": "-dy * jnp.expm1(y)",
    "gelu forward": "jax.nn.gelu(x, approximate=False)",
    "gelu.tanh forward": "jax.nn.gelu(x, approximate=True)",
    "silu forward": "jax.nn.silu(x)",
    "mish forward": "jax.nn.mish(x)",
    "tanh forward": "jnp.tanh(x)",
    "tanh backward_from_y": "dy * (1 - y * y)",
    "logsumexp forward": "jax.nn.logsumexp(x, axis=-1)",
    "softmax forward": "jax.nn.softmax(x, axis=-1)",
    "softmax backward_from_y": "y * (dy - jnp.sum(dy * y, axis=-1, keepdims=True))",
    "log_softmax forward": "jax.nn.log_softmax(x, axis=-1)",
    "log_softmax backward_from_y": "dy - jnp.exp(y) * jnp.sum(dy, axis=-1, keepdims=True)",
} | family.JAX
# XLA takes its number of threads from the environment when JAX is first used, and keeps it.
JAX_THREADS = ("NPROC", "PJRT_NPROC")
_jax_threads = None


def jax_job(operation: Operation, data: Data, threads: int) -> Job | None:
    forward = replace(operation, pass_="forward").line(JAX)
    expression = forward if operation.pass_ == "backward" else operation.line(JAX)
    if not expression or _jax_threads != threads:
        return None
    import jax
    import jax.numpy as jnp

    used = {"forward": "x", "backward": "dy, x", "backward_from_y": "dy, y"}[operation.pass_]
    if operation.pass_ == "backward":
        expression = f"jax.vjp(lambda x: {forward}, x)[1](dy)[0]"
    f = jax.jit(eval(f"lambda {used}: {expression}", {"jax": jax, "jnp": jnp}))
    names = {"f": f, **{name: jnp.asarray(getattr(data, name)) for name in used.split(", ")}}
    return Job(
        "jax",
        f"result = f({used}).block_until_ready()",
        names,
        data.out,
        f"jit: {expression}",
        spins=threads > 1,
    )


@contextlib.contextmanager
def jax_session(threads: int):
    """JAX on the CPU, with float64 and, if this is its first use in the process, so many threads."""
    global _jax_threads
    before = {name: os.environ.get(name) for name in (*JAX_THREADS, "JAX_PLATFORMS")}
    if _jax_threads is None:
        os.environ |= dict.fromkeys(JAX_THREADS, str(threads)) | {"JAX_PLATFORMS": "cpu"}
    try:
        import jax

        jax.devices("cpu")
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    _jax_threads = _jax_threads or threads
    with jax.enable_x64(True):
        yield
