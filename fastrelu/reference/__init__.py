"""The reference twin: every activation, its derivative and its limits in plain NumPy.

This module defines what the kernels compute.  It is the oracle of the tests (called with a
wider dtype), the fallback where nothing was compiled, and the baseline of the benchmarks.
There is one function for each ``Kernel.formula`` of the table, on arrays of one dtype that
broadcast; the result has the dtype of the first.  float16, bfloat16 and float32 are computed
in float64 and rounded once; float64 and longdouble are computed as they are, within 4 ULP
(`evaluate` with ``work=numpy.longdouble`` rounds float64 once as well).

How accuracy is kept: everything stands on an exponential of a number <= 0, so nothing
overflows; products in an exponent (beta * x, x**2) are carried exactly as two numbers,
because an error of the exponent is a relative error of the result; `decay` reaches the last
subnormal with full relative accuracy; positive and negative x have their own expression
wherever one would cancel.

Special cases, the same for every function unless its docstring says more:

    x = NaN             NaN, the step functions and their derivatives included
    x = +-inf           the limit; where that is 0, with the sign of the side it comes from
    x = +-0             as the formula has it: f(-0.0) is -0.0 for odd-looking f; relu gives +0.0
    x at a knot         the left derivative
    unusable parameter  NaN in that lane, whatever x is (`Parameter.accepts` in the table)

No function raises a floating-point warning.
"""

from __future__ import annotations

import math

import numpy as np

from .arithmetic import INVERSE_SQRT_2PI, decay, mills, pair, two_product, two_sum
from .formula import formula, keep_nan, working_dtypes
from .gated import *  # noqa: F403
from .hard import *  # noqa: F403
from .logarithmic import *  # noqa: F403
from .stepped import *  # noqa: F403

__all__ = ["backward", "evaluate"]  # and one function for every formula of the table

TWO_SQRT_2_OVER_PI = "1.5957691216057307117597842397375274739034344524660"
GELU_TANH_CUBIC = "0.044715"
TWO_PI = "6.2831853071795864769252867665590057683943387987502"
GELU_SIGMOID_SCALE = "1.702"
SELU_LAMBDA = "1.0507009873554804934193349852946063519589812043764"
SELU_LAMBDA_ALPHA = "1.7580993408473768599402175208122795773235068371620"


def evaluate(kernel, *inputs, work=None):
    """Run a `Kernel` of the table on its inputs, ``dy`` and ``at_zero`` included.

    ``work=numpy.longdouble`` computes in it, whatever the inputs are, and rounds once.
    """
    function = globals()[kernel.formula]
    inputs = [np.asarray(a) for a in inputs]
    named = dict(zip(kernel.inputs, inputs, strict=True))
    dtype, own_work = working_dtypes(kernel.formula, named[kernel.arguments[0]].dtype)
    with np.errstate(all="ignore"):
        values = {n: a.astype(dtype, copy=False).astype(work or own_work) for n, a in named.items()}
        result = function.exact(*(values[n] for n in kernel.arguments))
        for knot in kernel.knots:
            at_knot = knot.reached(values[kernel.arguments[0]], values) & ~np.isnan(result)
            result = np.where(at_knot, values["at_zero"], result)
        if "dy" in values:
            result = _chain(values["dy"], result)
        return np.asarray(result).astype(dtype)[()]


def backward(slope, dy, *arguments):
    """``dy * slope(*arguments)`` rounded once, for `slope` a derivative of this module.

    Where the derivative is 0 the result is 0 whatever `dy` is, NaN and infinity included:
    nothing flows through a dead unit.
    """
    dtype, work = working_dtypes(slope.__name__, np.asarray(arguments[0]).dtype)
    with np.errstate(all="ignore"):
        dy, *arguments = (np.asarray(a).astype(dtype, copy=False).astype(work) for a in (dy, *arguments))
        return np.asarray(_chain(dy, slope.exact(*arguments))).astype(dtype)[()]


def _chain(dy, slope):
    return np.where(slope == 0, slope, dy * slope)


# Piecewise linear


@formula
def relu(x):
    """max(0, x); +0.0 for x = -0.0.  Integers stay integers."""
    if x.dtype.kind in "biu":
        return np.maximum(x, x.dtype.type(0))
    return np.where(x <= 0, x.dtype.type(0), x)


@formula
def relu_slope(x):
    """1 if x > 0 else 0."""
    return keep_nan(x, (x > 0).astype(x.dtype))


@formula
def relu_slope_from_y(y):
    return relu_slope(y)


@formula
def heaviside(x, at_zero):
    """1 if x > 0, at_zero if x == 0, else 0."""
    return np.where(x == 0, at_zero, keep_nan(x, x > 0))


@formula
def heaviside_slope(x, at_zero):
    """0, at the jump too."""
    return keep_nan(x, np.zeros_like(at_zero))


@formula
def heaviside_wrt_at_zero(x, at_zero):
    return keep_nan(x, np.where(x == 0, np.ones_like(at_zero), 0))


@formula
def leaky_relu(x, negative_slope):
    """x if x > 0 else negative_slope * x; with slope 0, f(-inf) is -0.0, the limit of 0 * x."""
    below = np.where(negative_slope == 0, np.maximum(x, np.finfo(x.dtype).min), x)
    return np.where(x > 0, x, negative_slope * below)


@formula
def leaky_relu_slope(x, negative_slope):
    """1 if x > 0 else negative_slope."""
    return keep_nan(x, np.where(x > 0, 1, negative_slope))


@formula
def leaky_relu_slope_from_y(y, negative_slope):
    """1 if y > 0 else negative_slope; NaN for a negative slope, where y does not tell the side."""
    return leaky_relu_slope(y, negative_slope)


@formula
def leaky_relu_wrt_negative_slope(x, negative_slope):
    return np.where(x > 0, np.zeros_like(negative_slope), x)


@formula
def prelu(x, weight):
    """leaky_relu whose slope is learned."""
    return leaky_relu(x, weight)


@formula
def prelu_slope(x, weight):
    return leaky_relu_slope(x, weight)


@formula
def prelu_slope_from_y(y, weight):
    return leaky_relu_slope_from_y(y, weight)


@formula
def prelu_wrt_weight(x, weight):
    return leaky_relu_wrt_negative_slope(x, weight)


# Exponential and logistic


@formula
def elu(x, alpha):
    """x if x > 0 else alpha * expm1(x); alpha = inf gives -inf for x < 0 and NaN at 0."""
    return np.where(x > 0, x, alpha * np.expm1(x))


@formula
def elu_slope(x, alpha):
    """1 if x > 0 else alpha * exp(x)."""
    return np.where(x > 0, 1, decay(alpha, x))


@formula
def elu_slope_from_y(y, alpha):
    """1 if y > 0 else y + alpha."""
    return np.where(y > 0, 1, y + alpha)


@formula
def elu_wrt_alpha(x, alpha):
    return np.where(x > 0, np.zeros_like(alpha), np.expm1(x))


def _quotient(x, alpha):
    """x / alpha as high + low; low is 0 where high is not finite."""
    high = x / alpha
    product, error = two_product(high, alpha)
    return high, np.where(np.isfinite(high), ((x - product) - error) / alpha, 0)


@formula
def celu(x, alpha):
    """x if x > 0 else alpha * expm1(x / alpha), which is x while the quotient is tiny."""
    v = x / alpha
    return np.where((x > 0) | (np.abs(v) < 1e-30), x, alpha * np.expm1(v))


@formula
def celu_slope(x, alpha):
    """1 if x > 0 else exp(x / alpha)."""
    return np.where(x > 0, 1, decay(np.ones_like(alpha), *_quotient(-np.abs(x), alpha)))


@formula
def celu_slope_from_y(y, alpha):
    """1 if y > 0 else 1 + y / alpha."""
    return np.where(y > 0, 1, (y + alpha) / alpha)


@formula
def celu_wrt_alpha(x, alpha):
    """expm1(v) - v exp(v), v = x / alpha <= 0; above -1 by its series, -v**2 (1/2 + v/3 + v**2/8 ...)."""
    v = -np.abs(x) / alpha
    near, series = np.maximum(v, -1), np.zeros_like(v)
    for k in range(24, 1, -1):
        series = series * near + x.dtype.type(k - 1) / math.factorial(k)
    far = np.expm1(v) - np.maximum(v, np.finfo(x.dtype).min) * np.exp(v)
    return np.where(x > 0, 0, np.where(v > -1, -near * near * series, far))


@formula
def selu(x):
    """elu with alpha = 1.6732..., times lambda = 1.0507...; f(-inf) = -lambda alpha."""
    scale, depth = x.dtype.type(SELU_LAMBDA), x.dtype.type(SELU_LAMBDA_ALPHA)
    return np.where(x > 0, scale * x, depth * np.expm1(x))


@formula
def selu_slope(x):
    """lambda if x > 0 else lambda alpha exp(x)."""
    return np.where(x > 0, x.dtype.type(SELU_LAMBDA), decay(x.dtype.type(SELU_LAMBDA_ALPHA), x))


@formula
def selu_slope_from_y(y):
    """lambda if y > 0 else y + lambda alpha."""
    depth, depth_low = pair(SELU_LAMBDA_ALPHA, y.dtype)
    return np.where(y > 0, y.dtype.type(SELU_LAMBDA), (y + depth) + depth_low)


def _decay_of_product(beta, x):
    """beta * abs(x) as high + low, and e = exp(-beta * abs(x))."""
    high, low = two_product(beta, np.abs(x))
    return high, low, decay(np.ones_like(high), -high, -low)


@formula
def softplus(x, beta):
    """max(x, 0) + log1p(exp(-abs(beta * x))) / beta, without a threshold."""
    high, low, e = _decay_of_product(beta, x)
    # far out log1p(e) is e, and dividing by a small beta may bring back what has underflowed
    bend = np.where(high > 80, decay(1 / beta, -high, -low), np.log1p(e) / beta)
    return np.maximum(x, 0) + bend


@formula
def softplus_slope(x, beta):
    """The logistic function of beta * x."""
    _, _, e = _decay_of_product(beta, x)
    return np.where(x > 0, 1, e) / (1 + e)


@formula
def softplus_slope_from_y(y, beta):
    """1 - exp(-beta * y)."""
    return -np.expm1(-beta * y)


@formula
def softplus_wrt_beta(x, beta):
    """-(v e / (1 + e) + log1p(e)) / beta**2 with v = abs(beta * x), e = exp(-v): even in x."""
    high, low, e = _decay_of_product(beta, x)
    entropy = high / (1 + e) + np.where(e > 0, np.log1p(e) / e, 1)
    mantissa, exponent = np.frexp(beta)
    return -decay(entropy / mantissa**2, -high, -low, -2 * exponent)


@formula
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    e = np.exp(-np.abs(x))
    return np.where(x > 0, 1, e) / (1 + e)


@formula
def sigmoid_slope(x):
    """e / (1 + e)**2, e = exp(-abs(x))."""
    e = np.exp(-np.abs(x))
    return e / (1 + e) ** 2


@formula
def sigmoid_slope_from_y(y):
    return y * (1 - y)


@formula
def log_sigmoid(x):
    """min(x, 0) - log1p(exp(-abs(x))); f(inf) is -0.0, the limit from below."""
    bend = np.log1p(np.exp(-np.abs(x)))
    return np.where(x > 0, -bend, x - bend)


@formula
def log_sigmoid_slope(x):
    """The logistic function of -x."""
    return sigmoid.exact(-x)


@formula
def log_sigmoid_slope_from_y(y):
    """1 - exp(y)."""
    return np.abs(np.expm1(-np.abs(y)))


@formula
def silu(x, beta):
    """x / (1 + exp(-beta * x))."""
    high, low, e = _decay_of_product(beta, x)
    size = np.where(x > 0, np.abs(x), decay(np.abs(x), -high, -low)) / (1 + e)
    return np.copysign(size, x)


def _gate_slope(x, grown, high, low, e):
    """d/dx of x / (1 + exp(-v(x))) for odd v: v = high + low and e = exp(-v) are those of
    abs(x), and so is the pair grown = x v'(x).  The negative side is f'(-x) = 1 - f'(x),
    arranged so that the root costs only the digits that it must.
    """
    growth, growth_low = grown
    below = decay((1 - growth) + (e - growth_low), -high, -low)
    above = 1 + e + decay(growth, -high, -low)
    return np.where(x > 0, above, below) / (1 + e) ** 2


@formula
def silu_slope(x, beta):
    """s (1 + beta x (1 - s)), s the logistic function of beta * x; f'(-inf) is -0.0."""
    high, low, e = _decay_of_product(beta, x)
    return _gate_slope(x, (high, low), high, low, e)


@formula
def silu_wrt_beta(x, beta):
    """x**2 s (1 - s)."""
    high, low, e = _decay_of_product(beta, x)
    mantissa, exponent = np.frexp(x)
    return decay(mantissa**2 / (1 + e) ** 2, -high, -low, 2 * exponent)


def _gelu_sigmoid_exponent(x):
    """1.702 * abs(x) as high + low, and exp of minus it."""
    scale, scale_low = pair(GELU_SIGMOID_SCALE, x.dtype)
    high, low = two_product(scale, np.abs(x))
    low = np.where(np.isfinite(high), low + scale_low * np.abs(x), 0)
    return high, low, decay(np.ones_like(high), -high, -low)


@formula
def gelu_sigmoid(x):
    """silu with beta = 1.702; f(-inf) is -0.0."""
    high, low, e = _gelu_sigmoid_exponent(x)
    size = np.where(x > 0, np.abs(x), decay(np.abs(x), -high, -low)) / (1 + e)
    return np.copysign(size, x)


@formula
def gelu_sigmoid_slope(x):
    """That of silu with beta = 1.702; f'(-inf) is -0.0."""
    high, low, e = _gelu_sigmoid_exponent(x)
    return _gate_slope(x, (high, low), high, low, e)


@formula
def mish(x):
    """x n / (n + 2), n = exp(x) (exp(x) + 2), for x > 0 divided by exp(2 x); f(-inf) is -0.0."""
    z, e = np.abs(x), np.exp(-np.abs(x))
    below = decay(z, -z) * (2 + e) / (2 + e * (2 + e))
    return np.copysign(np.where(x > 0, z * ((1 + 2 * e) / (1 + 2 * e * (1 + e))), below), x)


@formula
def mish_slope(x):
    """The quotient rule on `mish`, arranged so that around the root 1 - z is exact; f'(-inf) is -0.0."""
    z, e = np.abs(x), np.exp(-np.abs(x))
    d = np.where(x > 0, 1 + 2 * e * (1 + e), 2 + e * (2 + e))
    bend = decay(2 * z, -z) / d
    below = decay(2 * (1 - z) + e * (1 + bend), -z)
    above = 1 + 2 * e * (1 + bend * (1 + e))
    return np.where(x > 0, above, below) / d


@formula
def tanh(x):
    return np.tanh(x)


@formula
def tanh_slope(x):
    """4 e / (1 + e)**2, e = exp(-2 abs(x)): 1 - tanh(x)**2 without its cancellation."""
    v = 2 * np.abs(x)
    return decay(np.full_like(v, 4), -v) / (1 + np.exp(-v)) ** 2


@formula
def tanh_slope_from_y(y):
    return (1 - y) * (1 + y)


@formula
def tanhshrink(x):
    """x - tanh(x); up to 1 (x cosh(x) - sinh(x)) / cosh(x), whose numerator is a series of positive terms."""
    z = np.minimum(np.abs(x), 1)
    series = np.zeros_like(z)
    for k in range(13, 0, -1):
        series = series * z * z + x.dtype.type(2 * k) / math.factorial(2 * k + 1)
    near = z * (z * z) * series / np.cosh(z)
    return np.copysign(np.where(np.abs(x) > 1, np.abs(x) - np.tanh(np.abs(x)), near + 0 * x), x)


@formula
def tanhshrink_slope(x):
    """tanh(x)**2."""
    return np.tanh(x) ** 2


# Gaussian


def _gaussian(x):
    """z = abs(x), but no larger than where phi(z) vanishes, and z**2 / 2 as high + low."""
    end = np.sqrt(-2 * np.log(np.finfo(x.dtype).smallest_subnormal)) + 0.5
    z = np.minimum(np.abs(x), end)
    high, low = two_product(z, z)
    return z, high / 2, low / 2


@formula
def gelu(x):
    """x Phi(x), from the small side: z exp(-z**2 / 2) mills(z) is abs(gelu(-z)); f(-inf) is -0.0."""
    z, high, low = _gaussian(x)
    below = decay(z * mills(z), -high, -low)
    return np.copysign(np.where(x > 0, np.abs(x) - below, below), x)


@formula
def gelu_slope(x):
    """Phi(x) + x phi(x); f'(-x) = 1 - f'(x); f'(-inf) is -0.0."""
    z, high, low = _gaussian(x)
    below = decay(mills(z) - z * z.dtype.type(INVERSE_SQRT_2PI), -high, -low)
    return np.where(x > 0, 1 - below, below)


def _gelu_tanh_exponent(x, cubic=GELU_TANH_CUBIC):
    """z = abs(x) until exp vanishes, and 2 sqrt(2/pi) z (1 + cubic z**2) as high + low."""
    z = np.minimum(np.abs(x), 64)
    linear, linear_low = pair(TWO_SQRT_2_OVER_PI, x.dtype)
    cube, cube_low = pair(cubic, x.dtype)
    square, square_low = two_product(z, z)
    bend, bend_low = two_product(cube, square)
    bracket, bracket_low = two_sum(x.dtype.type(1), bend)
    bracket_low = bracket_low + bend_low + cube * square_low + cube_low * square
    scaled, scaled_low = two_product(linear, bracket)
    scaled_low = scaled_low + linear * bracket_low + linear_low * bracket
    high, low = two_product(scaled, z)
    return z, high, low + scaled_low * z


@formula
def gelu_tanh(x):
    """x s, s the logistic function of v(x) = 2 sqrt(2/pi) (x + 0.044715 x**3); f(-inf) is -0.0."""
    z, high, low = _gelu_tanh_exponent(x)
    e = decay(np.ones_like(z), -high, -low)
    size = np.where(x > 0, np.abs(x), decay(z, -high, -low)) / (1 + e)
    return np.copysign(size, x)


@formula
def gelu_tanh_slope(x):
    """s (1 + x v'(x) (1 - s)); f'(-inf) is -0.0."""
    z, high, low = _gelu_tanh_exponent(x)
    _, growth, growth_low = _gelu_tanh_exponent(x, cubic="0.134145")  # z v'(z): three times the cubic
    return _gate_slope(x, (growth, growth_low), high, low, decay(np.ones_like(z), -high, -low))


# Random; `draw` as in draws.py


@formula
def normal_cosine(draw, angle):
    """sqrt(-2 log(1/2 + draw)) cos(2 pi angle), both in (-1/2, 1/2)."""
    sine, cosine, quarter = _within_quarter(angle)
    return _normal_radius(draw) * np.where(quarter == 1, -sine, np.where(quarter == 2, -cosine, cosine))


@formula
def normal_sine(draw, angle):
    """sqrt(-2 log(1/2 + draw)) sin(2 pi angle)."""
    sine, cosine, quarter = _within_quarter(angle)
    size = np.where(quarter == 1, cosine, np.where(quarter == 2, -sine, sine))
    return _normal_radius(draw) * np.copysign(1, angle) * size


def _normal_radius(draw):
    half = draw.dtype.type(0.5)  # draw - 1/2 and draw + 1/2 are exact where they are used
    return np.sqrt(-2 * np.where(draw > 0, np.log1p(draw - half), np.log(draw + half)))


def _within_quarter(angle):
    """sin and cos of 2 pi f, where abs(angle) is f + quarter / 4 and abs(f) <= 1/8."""
    quarter = np.rint(4 * np.abs(angle))
    x = (np.abs(angle) - quarter / 4) * angle.dtype.type(TWO_PI)
    return np.sin(x), np.cos(x), quarter


def _drawn_slope(lower, upper, draw):
    """The slope of U(lower, upper); NaN unless 0 <= lower <= upper < 1."""
    slope = (lower + upper) / 2 + (upper - lower) * draw
    slope = np.maximum(lower, np.minimum(upper, slope))
    return np.where((lower >= 0) & (lower <= upper) & (upper < 1), slope, np.nan).astype(draw.dtype)


@formula
def rrelu(x, lower, upper, draw):
    """leaky_relu with a drawn slope; NaN unless 0 <= lower <= upper < 1."""
    slope = _drawn_slope(lower, upper, draw)
    return np.where(np.isnan(slope), slope, leaky_relu.exact(x, slope))


@formula
def rrelu_slope(x, lower, upper, draw):
    """1 if x > 0, else the drawn slope."""
    slope = _drawn_slope(lower, upper, draw)
    return np.where(np.isnan(slope), slope, leaky_relu_slope.exact(x, slope))


@formula
def noisy_relu(x, draw):
    """max(0, x + Y), Y = draw / sqrt(1 + exp(-x)), so of variance 1 / (1 + exp(-x))."""
    return relu.exact(_with_sigmoid_noise(x, draw))


@formula
def noisy_relu_slope(x, draw):
    """1 if x + Y > 0 else 0."""
    return relu_slope.exact(_with_sigmoid_noise(x, draw))


def _with_sigmoid_noise(x, draw):
    return x + draw / np.sqrt(1 + np.exp(-x))


@formula
def noisy_relu_of_variance(x, variance, draw):
    """max(0, x + Y), Y = draw sqrt(variance)."""
    return relu.exact(x + draw * np.sqrt(variance))


@formula
def noisy_relu_of_variance_slope(x, variance, draw):
    """1 if x + Y > 0 else 0."""
    return relu_slope.exact(x + draw * np.sqrt(variance))


# Two arrays


@formula
def logaddexp(x1, x2):
    """m + log1p(exp(-abs(x1 - x2))), m the larger; of equal infinities that infinity."""
    high, low = two_sum(np.minimum(x1, x2), -np.maximum(x1, x2))
    e = decay(np.ones_like(high), high, np.where(np.isfinite(high), low, 0))
    return np.where(x1 == x2, x1 + np.log(x1.dtype.type(2)), np.maximum(x1, x2) + np.log1p(e))


@formula
def logaddexp_slope(x1, x2):
    """The logistic function of x1 - x2; 0 at x1 = -inf, NaN where both are +inf."""
    high, low = two_sum(x1, -x2)
    low = np.where(np.isfinite(high), low, 0)
    e = decay(np.ones_like(high), -np.abs(high), np.where(high > 0, -low, low))
    share = np.where(high > 0, 1, e) / (1 + e)
    return np.where((x1 == -np.inf) & (x2 == x2), 0, share)
