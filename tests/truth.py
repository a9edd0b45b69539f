"""What every formula of the table is, in mpmath, and the points at which tests look."""

import functools
import itertools

import mpmath as mp
import numpy as np
from ulp import exact

from fastrelu.table import ROWS

DIGITS = 60
KERNELS = {k.formula: (row, k) for row in ROWS for k in row.kernels().values() if not k.knots}


# The formulas, as the papers have them


def expm(v):
    """exp(-v); beyond 1e5 it is 0 in every dtype, and mpmath slow."""
    return mp.exp(-min(v, mp.mpf(10) ** 5))


def logistic(v):
    return 1 / (1 + expm(v)) if v > 0 else expm(-v) / (1 + expm(-v))


def normal_cdf(x):
    return mp.erfc(-max(x, mp.mpf(-1000)) / mp.sqrt(2)) / 2


def normal_pdf(x):
    return expm(x * x / 2) / mp.sqrt(2 * mp.pi)


def tanh_argument(x):
    """v and v' of the approximation x * logistic(v(x))."""
    scale = 2 * mp.sqrt(2 / mp.pi)
    cubic = mp.mpf("0.044715")
    return scale * (x + cubic * x**3), scale * (1 + 3 * cubic * x**2)


def step(x, below, above=1):
    return above if x > 0 else below


def pieces(x, end, below, between, above):
    return above if x > end else below if x <= -end else between


def ordered(low, high, value):
    return value if low <= high else mp.nan


def squareplus(x, b):
    h = (abs(x) + mp.sqrt(x * x + b)) / 2
    return h if x > 0 else b / (4 * h)


def positive(x, limit, function):
    return mp.nan if x < 0 else limit if x == 0 else function(x)


def log1mexp(x):
    return mp.log(-mp.expm1(-x)) if x < 1 else mp.log1p(-expm(x))


def logit(x, eps):
    x = min(max(x, eps), 1 - eps)
    if not 0 < x < 1:
        return mp.nan if x < 0 or x > 1 else -mp.inf if x == 0 else mp.inf
    return mp.log(x / (1 - x)) if x < 0.25 else mp.log1p((2 * x - 1) / (1 - x))


def clamped(x, eps, below, above, inside):
    if eps >= 0 and (x <= eps or x > 1 - eps):
        return below if x <= eps else above
    return inside() if 0 <= x <= 1 else mp.nan


def celu_bend(v):
    if abs(v) < 1e-6:  # the next term is 1e-60 times smaller
        return -v * v * mp.fsum((k - 1) / mp.factorial(k) * v ** (k - 2) for k in range(2, 12))
    return mp.expm1(max(v, -(mp.mpf(10) ** 5))) - v * expm(-v)


def tanhshrink(x):
    if abs(x) < 1e-8:  # the next term is 1e-64 times smaller
        return x**3 / 3 - 2 * x**5 / 15 + 17 * x**7 / 315 - 62 * x**9 / 2835
    return x - mp.tanh(max(min(x, 10**5), -(10**5)))


def gate_slope(x, v, dv):
    return logistic(v) + x * dv * logistic(v) * logistic(-v)


@functools.cache
def selu_constants(digits):
    """lambda and lambda alpha: N(0, 1) keeps its mean and its variance."""
    with mp.workdps(digits):
        depth = (1 / mp.sqrt(2 * mp.pi)) / (mp.mpf(1) / 2 - mp.sqrt(mp.e) * mp.ncdf(-1))
        square = mp.e**2 * mp.ncdf(-2) - 2 * mp.sqrt(mp.e) * mp.ncdf(-1) + mp.mpf(1) / 2
        scale = 1 / mp.sqrt(mp.mpf(1) / 2 + depth**2 * square)
        return scale, scale * depth


def selu(x, positive, negative):
    scale, depth = selu_constants(DIGITS + 10)
    return positive(scale) if x > 0 else negative(depth)


def mish_slope(x):
    if x < -150:  # the next term of the series is exp(-150) times smaller
        return (1 + x) * expm(-x)
    t = mp.tanh(mp.log1p(mp.exp(min(x, 1000))))
    return t + x * (1 - t * t) * logistic(x)


def softplus_wrt_beta(x, b):
    v = b * x
    if abs(v) > 150:  # the next term of the series is exp(-150) times smaller
        return -(abs(v) + 1) * expm(abs(v)) / b**2
    with mp.workdps(2 * DIGITS + 20):  # the two terms cancel down to exp(-abs(v))
        return x * logistic(v) / b - mp.log1p(mp.exp(v)) / b**2


LEAKY = {
    "": lambda x, a: step(x, a * x, x),
    "_slope": lambda x, a: step(x, a),
    "_slope_from_y": lambda y, a: step(y, a),
}
TRUE = {
    "relu": lambda x: step(x, 0, x),
    "relu_slope": lambda x: step(x, 0),
    "relu_slope_from_y": lambda y: step(y, 0),
    "heaviside": lambda x, h: h if x == 0 else step(x, 0),
    "heaviside_slope": lambda x, h: 0,
    "heaviside_wrt_at_zero": lambda x, h: int(x == 0),
    **{f"leaky_relu{key}": f for key, f in LEAKY.items()},
    **{f"prelu{key}": f for key, f in LEAKY.items()},
    "leaky_relu_wrt_negative_slope": lambda x, a: step(x, x, 0),
    "prelu_wrt_weight": lambda x, a: step(x, x, 0),
    "relu6": lambda x: min(max(x, 0), 6),
    "relu6_slope": lambda x: int(0 < x <= 6),
    "hardtanh": lambda x, low, high: ordered(low, high, min(max(x, low), high)),
    "hardtanh_slope": lambda x, low, high: ordered(low, high, int(low < x <= high)),
    "hardtanh_wrt_min_val": lambda x, low, high: ordered(low, high, int(x <= low)),
    "hardtanh_wrt_max_val": lambda x, low, high: ordered(low, high, int(low < x > high)),
    "hard_sigmoid": lambda x: pieces(x, 3, 0, (x + 3) / 6, 1),
    "hard_sigmoid_slope": lambda x: pieces(x, 3, 0, mp.mpf(1) / 6, 0),
    "hard_swish": lambda x: pieces(x, 3, 0, x * (x + 3) / 6, x),
    "hard_swish_slope": lambda x: pieces(x, 3, 0, (2 * x + 3) / 6, 1),
    "threshold": lambda x, t, v: x if x > t else v,
    "threshold_slope": lambda x, t, v: int(x > t),
    "threshold_wrt_threshold": lambda x, t, v: 0,
    "threshold_wrt_value": lambda x, t, v: int(x <= t),
    "hardshrink": lambda x, c: x if abs(x) > c else 0,
    "hardshrink_slope": lambda x, c: pieces(x, c, 1, 0, 1),
    "hardshrink_wrt_lambd": lambda x, c: 0,
    "softshrink": lambda x, c: mp.sign(x) * max(abs(x) - c, 0),
    "softshrink_slope": lambda x, c: pieces(x, c, 1, 0, 1),
    "softshrink_wrt_lambd": lambda x, c: pieces(x, c, 1, 0, -1),
    "relu_squared": lambda x: max(x, 0) ** 2,
    "relu_squared_slope": lambda x: 2 * max(x, 0),
    "relu_squared_slope_from_y": lambda y: 2 * mp.sqrt(y),
    "smelu": lambda x, b: pieces(x, b, 0, (x + b) ** 2 / (4 * b), x),
    "smelu_slope": lambda x, b: pieces(x, b, 0, (x + b) / (2 * b), 1),
    "smelu_wrt_beta": lambda x, b: pieces(x, b, 0, (b * b - x * x) / (2 * b) ** 2, 0),
    "softsign": lambda x: x / (1 + abs(x)),
    "softsign_slope": lambda x: 1 / (1 + abs(x)) ** 2,
    "softsign_slope_from_y": lambda y: (1 - abs(y)) ** 2,
    "squareplus": squareplus,
    "squareplus_slope": lambda x, b: squareplus(x, b) / mp.sqrt(x * x + b),
    "squareplus_slope_from_y": lambda y, b: y / (y + b / (4 * y)) if y else 0,
    "squareplus_wrt_b": lambda x, b: 1 / (4 * mp.sqrt(x * x + b)),
    "elu": lambda x, a: x if x > 0 else a * mp.expm1(max(x, -(mp.mpf(10) ** 5))),
    "elu_slope": lambda x, a: 1 if x > 0 else a * expm(-x),
    "elu_slope_from_y": lambda y, a: 1 if y > 0 else y + a,
    "elu_wrt_alpha": lambda x, a: 0 if x > 0 else mp.expm1(max(x, -(mp.mpf(10) ** 5))),
    "celu": lambda x, a: x if x > 0 else a * mp.expm1(max(x / a, -(mp.mpf(10) ** 5))),
    "celu_slope": lambda x, a: 1 if x > 0 else expm(-x / a),
    "celu_slope_from_y": lambda y, a: 1 if y > 0 else 1 + y / a,
    "celu_wrt_alpha": lambda x, a: 0 if x > 0 else celu_bend(x / a),
    "logit": logit,
    "logit_slope": lambda x, e: clamped(x, e, 0, 0, lambda: 1 / (x * (1 - x)) if x * (1 - x) else mp.inf),
    "logit_wrt_eps": lambda x, e: clamped(x, e, 1 / (e * (1 - e)), -1 / (e * (1 - e)), lambda: 0),
    "log1mexp": lambda x: positive(x, -mp.inf, log1mexp),
    "log1mexp_slope": lambda x: positive(x, mp.inf, lambda x: expm(x) / -mp.expm1(-min(x, mp.mpf(10) ** 5))),
    "softplus_inverse": lambda x: positive(
        x, -mp.inf, lambda x: x + log1mexp(x) if x > 1 else mp.log(mp.expm1(x))
    ),
    "softplus_inverse_slope": lambda x: positive(
        x, mp.inf, lambda x: -1 / mp.expm1(-min(x, mp.mpf(10) ** 5))
    ),
    "gelu_sigmoid": lambda x: x * logistic(mp.mpf("1.702") * x),
    "gelu_sigmoid_slope": lambda x: gate_slope(x, mp.mpf("1.702") * x, mp.mpf("1.702")),
    "tanhshrink": tanhshrink,
    "tanhshrink_slope": lambda x: mp.tanh(max(min(x, 10**5), -(10**5))) ** 2,
    "selu": lambda x: selu(x, lambda s: s * x, lambda d: d * mp.expm1(max(x, -(mp.mpf(10) ** 5)))),
    "selu_slope": lambda x: selu(x, lambda s: s, lambda d: d * expm(-x)),
    "selu_slope_from_y": lambda y: selu(y, lambda s: s, lambda d: d + y),
    "softplus": lambda x, b: max(x, 0) + mp.log1p(expm(abs(b * x))) / b,
    "softplus_slope": lambda x, b: logistic(b * x),
    "softplus_slope_from_y": lambda y, b: -mp.expm1(-min(b * y, mp.mpf(10) ** 5)),
    "softplus_wrt_beta": softplus_wrt_beta,
    "sigmoid": logistic,
    "sigmoid_slope": lambda x: logistic(x) * logistic(-x),
    "sigmoid_slope_from_y": lambda y: y * (1 - y),
    "log_sigmoid": lambda x: min(x, 0) - mp.log1p(expm(abs(x))),
    "log_sigmoid_slope": lambda x: logistic(-x),
    "log_sigmoid_slope_from_y": lambda y: -mp.expm1(max(y, -(mp.mpf(10) ** 5))),
    "gelu": lambda x: x * normal_cdf(x),
    "gelu_slope": lambda x: normal_cdf(x) + x * normal_pdf(x),
    "gelu_tanh": lambda x: x * logistic(tanh_argument(x)[0]),
    "gelu_tanh_slope": lambda x: gate_slope(x, *tanh_argument(x)),
    "silu": lambda x, b: x * logistic(b * x),
    "silu_slope": lambda x, b: gate_slope(x, b * x, b),
    "silu_wrt_beta": lambda x, b: x * x * logistic(b * x) * logistic(-b * x),
    "mish": lambda x: x * mp.tanh(mp.log1p(mp.exp(max(min(x, 10**5), -(10**5))))),
    "mish_slope": mish_slope,
    "tanh": lambda x: mp.tanh(max(min(x, 10**5), -(10**5))),
    "tanh_slope": lambda x: 1 / mp.cosh(min(abs(x), mp.mpf(10) ** 5)) ** 2,
    "tanh_slope_from_y": lambda y: 1 - y * y,
}
# Gated units, of value and gate.
TRUE_GATED = {
    f"{name}{part}": formula
    for name, f, slope in (
        ("glu", "sigmoid", "sigmoid_slope"),
        ("reglu", "relu", "relu_slope"),
        ("geglu", "gelu", "gelu_slope"),
    )
    for part, formula in (
        ("", lambda value, gate, f=f: value * TRUE[f](gate)),
        ("_value_slope", lambda value, gate, f=f: TRUE[f](gate)),
        ("_gate_slope", lambda value, gate, slope=slope: value * TRUE[slope](gate)),
    )
} | {
    "swiglu": lambda value, gate: value * TRUE["silu"](gate, 1),
    "swiglu_value_slope": lambda value, gate: TRUE["silu"](gate, 1),
    "swiglu_gate_slope": lambda value, gate: value * TRUE["silu_slope"](gate, 1),
}
OUTPUTS = {  # the values that f takes, where it does not take all
    "relu": lambda y: y >= 0,
    "elu": lambda y, alpha: y >= -alpha,
    "selu": lambda y: y >= -1.7580993408473768,
    "softplus": lambda y, beta: y >= 0,
    "sigmoid": lambda y: (y >= 0) & (y <= 1),
    "log_sigmoid": lambda y: y <= 0,
    "tanh": lambda y: abs(y) <= 1,
    "relu_squared": lambda y: y >= 0,
    "softsign": lambda y: abs(y) <= 1,
    "squareplus": lambda y, b: y >= 0,
    "celu": lambda y, alpha: y >= -alpha,
}


# Where to look


@functools.cache
def points(formula, dtype):
    """All binades, both signs; a grid for every scale; the row's points and roots, and their neighbours."""
    row, _ = KERNELS[formula]
    info, rng = np.finfo(dtype), np.random.default_rng(7)
    lowest, top = int(info.minexp) - int(info.nmant), int(info.maxexp)
    exponents = np.arange(lowest, top, max(1, (top - lowest) // 150))
    x = [np.ldexp(rng.uniform(0.5, 1, len(exponents)).astype(dtype), exponents + 1)]
    for end in (1, 6, 40, 110, 152, 760, 11500):
        x += [np.linspace(0, end, 21, dtype=dtype), rng.uniform(0, end, 30).astype(dtype)]
    x += [info.smallest_subnormal * np.arange(4), [info.tiny, info.max], 1 + info.eps * np.arange(-2, 3)]
    special = np.array([p for p in row.points if abs(p) < float(info.max)], dtype)
    for root in np.array(row.roots, dtype):
        offsets = np.ldexp(dtype(1), -np.arange(1, info.nmant + 1))
        x += [root * (1 + offsets), root * (1 - offsets)]
        special = np.append(special, root)
    x += [special * (1 + info.eps * k) for k in (-256, -3, -1, 0, 1, 3, 256)]
    x = np.concatenate([np.asarray(part, dtype) for part in x])
    return np.unique(np.concatenate([x, -x]))


def lanes(formula, dtype):
    """The arguments as columns: x (or y, where f reaches it) against each typical parameter."""
    row, kernel = KERNELS[formula]
    names = kernel.arguments[1:]
    columns = []
    typical = [p.typical for p in row.parameters]
    for values in itertools.product(*typical):
        parameters = [dtype(v) for v in values]
        named = dict(zip((p.name for p in row.parameters), parameters, strict=True))
        knots = np.array([knot.place(named) for knot in row.knots], dtype)
        x = np.concatenate([points(formula, dtype), knots, np.nextafter(knots, dtype(9)), -knots])
        if kernel.arguments[0] == "y" and row.name in OUTPUTS:
            x = x[OUTPUTS[row.name](x, *parameters)]
        columns.append([x, *(np.full_like(x, v) for v in parameters)])
    assert len(names) == len(row.parameters)
    return [np.concatenate(column) for column in zip(*columns, strict=True)]


@functools.cache
def truth(formula, dtype):
    """[(arguments, f of them)], exact numbers."""
    with mp.workdps(DIGITS):
        rows = [[exact(v) for v in lane] for lane in zip(*lanes(formula, dtype), strict=True)]
        return [(lane, mp.mpf(TRUE[formula](*lane))) for lane in rows]
