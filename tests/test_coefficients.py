"""The stored coefficients, evaluated in high precision against what they approximate."""

import importlib.util
from fractions import Fraction
from pathlib import Path

import mpmath as mp
import pytest
from truth import selu_constants

from fastrelu.kernels.math import coefficients

GENERATOR = Path(__file__).resolve().parent.parent / "tools" / "coefficients.py"


@pytest.fixture(autouse=True)
def high_precision():
    with mp.workdps(50):
        yield


def polynomial(descending, x):
    total = mp.mpf(0)
    for c in descending:
        total = total * x + mp.mpf(c)
    return total


def points(low, high, count=400):
    """Both ends, and points denser towards them; an even count leaves out the middle, where expm1(r) is 0."""
    low, high = mp.mpf(low), mp.mpf(high)
    return [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]


def scaled_mills(z):
    return mp.exp(z * z / 2) * mp.ncdf(-z)


def exp_error(q):
    return lambda r: (1 + r + r**2 * polynomial(q, r)) / mp.exp(r) - 1


def expm1_error(q):
    return lambda r: (r + r**2 * polynomial(q, r)) / mp.expm1(r) - 1


def atanh_error(p):
    # The error has a limit at s = 0, the quotient has not.
    return lambda s: (2 * s + s**3 * polynomial(p, s * s)) / (2 * mp.atanh(s)) - 1 if s else 0


def mills_rational_error(n, d):
    return lambda z: polynomial(n, z) / polynomial(d, z) / scaled_mills(z) - 1


def gelu_slope_error(n, d):
    root = mp.mpf(coefficients.GELU_ROOT[0]) + mp.mpf(coefficients.GELU_ROOT[1])

    def error(z):
        derivative = mp.ncdf(-z) - z * mp.npdf(z)
        return mp.exp(-z * z / 2) * (root - z) * polynomial(n, z) / polynomial(d, z) / derivative - 1

    return error


def mills_polynomial_error(f, c, d):
    return lambda z: polynomial(f, (z - c) / (z + c)) / (z + d) / scaled_mills(z) - 1


def celu_bend_error(p):
    def error(z):
        true = 1 - (1 + z) * mp.exp(-z)
        return z**2 * (mp.mpf("0.5") - z / 3 + z**2 / 8 + z**3 * polynomial(p, z)) / true - 1 if z else 0

    return error


def lag_error(p):
    def error(u):
        x = mp.sqrt(u)
        # The error has a limit at 0, the quotient has not.
        return x**3 * (mp.mpf(1) / 3 + u * polynomial(p, u)) / (x - mp.tanh(x)) - 1 if u else 0

    return error


MILLS_LONG = (*coefficients.MILLS_LONG, sum(map(Fraction, coefficients.MILLS_LONG_CONSTANT)))
HALF_LN2 = 0.34657391

# name: error(x), interval, log2 of the bound.
BOUNDS = {
    "CELU_BEND": (celu_bend_error(coefficients.CELU_BEND), (0, 1), -65),
    "TANHSHRINK_FLOAT": (lag_error(coefficients.TANHSHRINK_FLOAT), (0, 0.5625), -28.6),
    "TANHSHRINK_FULL": (lag_error(coefficients.TANHSHRINK_FULL), (0, 0.5625), -58.8),
    "EXP_FLOAT, exp": (exp_error(coefficients.EXP_FLOAT), (-HALF_LN2, HALF_LN2), -28),
    "EXP_FLOAT, expm1": (expm1_error(coefficients.EXP_FLOAT), (-HALF_LN2, HALF_LN2), -25.5),
    "EXP_SHORT, exp": (exp_error(coefficients.EXP_SHORT), (-HALF_LN2, HALF_LN2), -38.5),
    "EXP_SHORT, expm1": (expm1_error(coefficients.EXP_SHORT), (-HALF_LN2, HALF_LN2), -37),
    "EXP_FULL, exp": (exp_error(coefficients.EXP_FULL), (-HALF_LN2, HALF_LN2), -56.5),
    "EXP_FULL, expm1": (expm1_error(coefficients.EXP_FULL), (-HALF_LN2, HALF_LN2), -55),
    "EXP_LONG, exp": (exp_error(coefficients.EXP_LONG), (-HALF_LN2, HALF_LN2), -62.5),
    "EXP_LONG, expm1": (expm1_error(coefficients.EXP_LONG), (-HALF_LN2, HALF_LN2), -61.5),
    "ATANH_SHORT": (atanh_error(coefficients.ATANH_SHORT), (0, mp.mpf(1) / 3), -38),
    "ATANH_LONG": (atanh_error(coefficients.ATANH_LONG), (0, mp.mpf(1) / 3), -64),
    "MILLS_SHORT": (
        mills_rational_error(coefficients.MILLS_SHORT_N, coefficients.MILLS_SHORT_D),
        (0, 14.5),
        -27.3,
    ),
    "GELU_SLOPE_SHORT": (
        gelu_slope_error(coefficients.GELU_SLOPE_SHORT_N, coefficients.GELU_SLOPE_SHORT_D),
        (0, 15.2),
        -28.1,
    ),
    "MILLS_LONG": (
        mills_polynomial_error(MILLS_LONG, coefficients.MILLS_LONG_C, coefficients.MILLS_LONG_D),
        (0, 39.5),
        -57.5,
    ),
    "MILLS_EXACT": (
        mills_polynomial_error(
            coefficients.MILLS_EXACT, coefficients.MILLS_EXACT_C, coefficients.MILLS_EXACT_D
        ),
        (0, 39.5),
        -68,
    ),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_relative_error(name):
    error, interval, bound = BOUNDS[name]
    worst = max((abs(error(x)), x) for x in points(*interval))
    assert worst[0] <= mp.mpf(2) ** bound, f"2^{mp.nstr(mp.log(worst[0], 2), 5)} at {mp.nstr(worst[1], 8)}"


def test_long_polynomials_lead_with_what_pair_arithmetic_adds():
    assert coefficients.EXP_LONG[-1] == 0.5
    constant, c, d = coefficients.MILLS_LONG_CONSTANT[0], coefficients.MILLS_LONG_C, coefficients.MILLS_LONG_D
    assert all(abs((z + d) * scaled_mills(z) / constant - 1) < 0.24 for z in points(0, 39.5))
    assert abs((c + d) * scaled_mills(mp.mpf(c)) / constant - 1) < mp.mpf(2) ** -53


@pytest.mark.parametrize("name", ["MILLS_SHORT_D", "GELU_SLOPE_SHORT_D"])
def test_denominators_are_monic_and_without_positive_roots(name):
    denominator = getattr(coefficients, name)
    assert denominator[0] == 1
    assert min(denominator) > 0


CONSTANTS = {
    "LN2": lambda: mp.log(2),
    "LOG2E": lambda: 1 / mp.log(2),
    "TWO_SQRT_2_OVER_PI": lambda: 2 * mp.sqrt(2 / mp.pi),
    "GELU_TANH_CUBIC": lambda: 2 * mp.sqrt(2 / mp.pi) * mp.mpf("0.044715"),
    "INV_SQRT_2PI": lambda: 1 / mp.sqrt(2 * mp.pi),
    "SELU_LAMBDA": lambda: selu_constants(50)[0],
    "SELU_LAMBDA_ALPHA": lambda: selu_constants(50)[1],
    "GELU_ROOT": lambda: mp.findroot(lambda z: mp.ncdf(-z) - z * mp.npdf(z), (0.75, 0.76)),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_pairs(name):
    high, low = getattr(coefficients, name)
    value = CONSTANTS[name]()
    assert high == float(value)
    assert abs(mp.mpf(high) + mp.mpf(low) - value) <= value * mp.mpf(2) ** -106


def test_split_ln2_multiplies_exactly():
    a, b = coefficients.LN2_SPLIT
    assert all(Fraction(k * a) == k * Fraction(a) for k in range(-2047, 2048))
    assert abs(mp.mpf(a) + mp.mpf(b) - mp.log(2)) <= mp.mpf(2) ** -95


def test_generator_reproduces_a_stored_polynomial():
    spec = importlib.util.spec_from_file_location("coefficient_generator", GENERATOR)
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    with mp.workdps(generator.DIGITS):
        entry = next(e for e in generator.atanh_entries() if e.name == "ATANH_SHORT")
    assert entry.value == coefficients.ATANH_SHORT
