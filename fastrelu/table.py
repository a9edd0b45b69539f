"""The table of activations: one row each, and everything else is read from it.

The build reads it to write the kernels' entry points, the package to make the public
objects and their docstrings, and tests, benchmarks, docs and plots to know what exists
and what is promised.  Adding an activation is one row here, one formula with its
derivative in ``kernels/formulas/`` and the same two in ``fastrelu/reference/``; CONTRIBUTING.md
has the steps.

Only the standard library is imported, because the build loads this file before NumPy
or any kernel exists.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from . import table_gates
from .row import Gate, Kernel, Knot, Parameter, Row

__all__ = [
    "GATES",
    "KERNELS",
    "LOGADDEXP",
    "LOSS_KERNELS",
    "RANDOM",
    "REDUCTIONS",
    "ROWS",
    "ROW_KERNELS",
]

AT_0 = Knot()
GLOROT = "Glorot, Bordes & Bengio, Deep Sparse Rectifier Neural Networks, AISTATS 2011"
HENDRYCKS = "Hendrycks & Gimpel, Gaussian Error Linear Units (GELUs), arXiv:1606.08415"
LAMBD = Parameter(name="lambd", doc="What counts as small.", default=0.5, at_least=0.0, typical=(0.5, 0.0))
SHRINK_KNOTS = Knot(factor=-1.0, parameter="lambd"), Knot(factor=1.0, parameter="lambd")

ROWS: tuple[Row, ...] = (
    Row(
        name="relu",
        summary="Rectified linear unit, the positive part of its argument.",
        formula="x if x > 0 else 0",
        derivative="1 if x > 0 else 0",
        source=GLOROT,
        slope_from_y=True,
        knots=(AT_0,),
        keeps_integers=True,
        piecewise_linear=True,
        other_slope=0.0,
        cost=1,
    ),
    Row(
        name="heaviside",
        summary="Heaviside step function, the derivative of the rectifier.",
        formula="1 if x > 0, at_zero if x == 0, else 0",
        derivative="0",
        source="numpy.heaviside; Abramowitz & Stegun, Handbook of Mathematical Functions, 29.1.3",
        parameters=(
            Parameter(name="at_zero", doc="The value at x = 0.", default=0.0, typical=(0.0, 0.5, 1.0)),
        ),
        piecewise_linear=True,
        cost=1,
    ),
    Row(
        name="leaky_relu",
        summary="Rectifier with a small slope on the negative side.",
        formula="x if x > 0 else negative_slope * x",
        derivative="1 if x > 0 else negative_slope",
        source="Maas, Hannun & Ng, Rectifier Nonlinearities Improve Neural Network Acoustic Models, 2013",
        parameters=(
            Parameter(
                name="negative_slope", doc="Slope where x <= 0.", default=0.01, typical=(0.01, 0.2, 1.5)
            ),
        ),
        slope_from_y=True,
        from_y_needs=Parameter(name="negative_slope", doc="", at_least=0.0),
        knots=(AT_0,),
        piecewise_linear=True,
        other_slope="negative_slope",
        cost=1,
    ),
    Row(
        name="prelu",
        summary="Parametric rectifier, whose negative slope is learned.",
        formula="x if x > 0 else weight * x",
        derivative="1 if x > 0 else weight",
        source="He, Zhang, Ren & Sun, Delving Deep into Rectifiers, ICCV 2015, arXiv:1502.01852",
        parameters=(
            Parameter(
                name="weight",
                doc="The learned slope: a scalar, one value per channel along `axis`, "
                "or any array that broadcasts to `x`.",
                learned=True,
                typical=(0.25, 0.05),
            ),
        ),
        channel_axis=1,
        slope_from_y=True,
        from_y_needs=Parameter(name="weight", doc="", at_least=0.0),
        knots=(AT_0,),
        piecewise_linear=True,
        cost=1,
    ),
    Row(
        name="relu6",
        summary="Rectifier capped at 6.",
        formula="min(max(0, x), 6)",
        derivative="1 if 0 < x <= 6 else 0",
        source="Krizhevsky, Convolutional Deep Belief Networks on CIFAR-10, 2010",
        knots=(AT_0, Knot(at=6.0)),
        keeps_integers=True,
        piecewise_linear=True,
        other_slope=0.0,
        cost=1,
    ),
    Row(
        name="hardtanh",
        summary="Identity between two limits, constant beyond them.",
        formula="min(max(x, min_val), max_val)",
        derivative="1 if min_val < x <= max_val else 0",
        source="Collobert, Large Scale Machine Learning, thesis, Universite de Paris VI, 2004; "
        "torch.nn.functional.hardtanh",
        parameters=(
            Parameter(name="min_val", doc="The least value.", default=-1.0, typical=(-1.0, 0.0)),
            Parameter(
                name="max_val",
                doc="The greatest value.",
                default=1.0,
                not_below="min_val",
                typical=(1.0, 6.0),
            ),
        ),
        knots=(Knot(factor=1.0, parameter="min_val"), Knot(factor=1.0, parameter="max_val")),
        piecewise_linear=True,
        other_slope=0.0,
        cost=1,
    ),
    Row(
        name="hard_sigmoid",
        summary="Sigmoid of three straight pieces.",
        formula="min(max(0, x + 3), 6) / 6",
        derivative="1/6 if -3 < x <= 3 else 0",
        source="Courbariaux, Bengio & David, BinaryConnect, NIPS 2015, arXiv:1511.00363; "
        "torch.nn.functional.hardsigmoid",
        knots=(Knot(at=-3.0), Knot(at=3.0)),
        piecewise_linear=True,
        cost=2,
    ),
    Row(
        name="hard_swish",
        summary="x times the hard sigmoid.",
        formula="x * min(max(0, x + 3), 6) / 6",
        derivative="0 if x <= -3, (2 * x + 3) / 6 if x <= 3, else 1",
        source="Howard et al., Searching for MobileNetV3, ICCV 2019, arXiv:1905.02244",
        knots=(Knot(at=-3.0), Knot(at=3.0)),
        cost=2,
        roots=(-1.5,),
    ),
    Row(
        name="threshold",
        summary="Identity above a threshold, another value up to it.",
        formula="x if x > threshold else value",
        derivative="1 if x > threshold else 0",
        source="torch.nn.functional.threshold",
        parameters=(
            Parameter(name="threshold", doc="What x must exceed.", typical=(0.5, -1.25)),
            Parameter(name="value", doc="The result where it does not.", typical=(0.0, -2.0)),
        ),
        knots=(Knot(factor=1.0, parameter="threshold"),),
        piecewise_linear=True,
        other_slope=0.0,
        cost=1,
    ),
    Row(
        name="hardshrink",
        summary="Identity but for a neighbourhood of 0, where it is 0.",
        formula="x if abs(x) > lambd else 0",
        derivative="0 if -lambd < x <= lambd else 1",
        source="Donoho & Johnstone, Ideal Spatial Adaptation by Wavelet Shrinkage, Biometrika 81, 1994; "
        "torch.nn.functional.hardshrink",
        parameters=(LAMBD,),
        knots=SHRINK_KNOTS,
        piecewise_linear=True,
        other_slope=0.0,
        cost=1,
    ),
    Row(
        name="softshrink",
        summary="Shrinks towards 0 by a constant, and to 0 what is smaller.",
        formula="x - lambd if x > lambd, x + lambd if x < -lambd, else 0",
        derivative="0 if -lambd < x <= lambd else 1",
        source="Donoho, De-Noising by Soft-Thresholding, IEEE Transactions on Information Theory 41, 1995; "
        "torch.nn.functional.softshrink",
        parameters=(LAMBD,),
        knots=SHRINK_KNOTS,
        piecewise_linear=True,
        other_slope=0.0,
        cost=1,
    ),
    Row(
        name="relu_squared",
        summary="Square of the rectifier.",
        formula="max(0, x)**2",
        derivative="2 * max(0, x)",
        source="So et al., Primer: Searching for Efficient Transformers for Language Modeling, NeurIPS 2021, "
        "arXiv:2109.08668",
        slope_from_y=True,
        cost=2,
        points=(1.0842021724855044e-19, 1.8446743e19, 1.4916681462400413e-154, 1.3407807929942596e154),
    ),
    Row(
        name="smelu",
        summary="Rectifier whose knot is rounded off by a parabola.",
        formula="0 if x <= -beta, (x + beta)**2 / (4 * beta) if x <= beta, else x",
        derivative="0 if x <= -beta, (x + beta) / (2 * beta) if x <= beta, else 1",
        source="Shamir, Lin & Coviello, Smooth Activations and Reproducibility in Deep Networks, 2020, "
        "arXiv:2010.09931",
        parameters=(
            Parameter(
                name="beta",
                doc="Half the width of the parabola.",
                default=1.0,
                above=0.0,
                typical=(1.0, 3.0),
            ),
        ),
        cost=5,
        points=(0.25, 3.0, 9.0),
    ),
    Row(
        name="softsign",
        summary="Sigmoidal quotient, with tails that die as 1 / x.",
        formula="x / (1 + abs(x))",
        derivative="1 / (1 + abs(x))**2",
        source="Turian, Bergstra & Bengio, Quadratic Features and Deep Architectures for Chunking, "
        "NAACL 2009",
        slope_from_y=True,
        cost=3,
        points=(9.2233720e18, 6.7039039649712985e153),
    ),
    Row(
        name="squareplus",
        summary="Algebraic counterpart of softplus.",
        formula="(x + sqrt(x**2 + b)) / 2",
        derivative="(1 + x / sqrt(x**2 + b)) / 2",
        source="Barron, Squareplus: A Softplus-Like Algebraic Rectifier, 2021, arXiv:2112.11687",
        parameters=(
            Parameter(
                name="b",
                doc="Four times the square of the value at 0.",
                default=4.0,
                above=0.0,
                typical=(4.0, 0.25),
            ),
        ),
        slope_from_y=True,
        cost=10,
        points=(1e150, 9.2233720e18, 1.3407807929942596e154),
    ),
    Row(
        name="elu",
        summary="Exponential linear unit.",
        formula="x if x > 0 else alpha * (exp(x) - 1)",
        derivative="1 if x > 0 else alpha * exp(x)",
        source="Clevert, Unterthiner & Hochreiter, Fast and Accurate Deep Network Learning by "
        "Exponential Linear Units, ICLR 2016, arXiv:1511.07289",
        parameters=(
            Parameter(
                name="alpha",
                doc="Minus the limit as x goes to minus infinity.",
                default=1.0,
                at_least=0.0,
                typical=(1.0, 0.3, 1.6732632423543772),
            ),
        ),
        slope_from_y=True,
        knots=(AT_0,),
        points=(
            -87.33654,
            -103.97208,
            -16.635532,
            -708.3964185322641,
            -745.1332191019411,
            -36.04365338911715,
        ),
    ),
    Row(
        name="selu",
        summary="Scaled exponential linear unit, which keeps mean 0 and variance 1.",
        formula="1.0507... * (x if x > 0 else 1.6732... * (exp(x) - 1))",
        derivative="1.0507... * (1 if x > 0 else 1.6732... * exp(x))",
        source="Klambauer, Unterthiner, Mayr & Hochreiter, Self-Normalizing Neural Networks, NeurIPS 2017, "
        "arXiv:1706.02515",
        slope_from_y=True,
        knots=(AT_0,),
        points=(
            -87.33654,
            -87.9,
            -103.97208,
            -104.6,
            -16.635532,
            -708.3964185322641,
            -708.96,
            -745.1332191019411,
            -745.7,
            -36.04365338911715,
            -1.7580993408473768,
        ),
        cost=10,
    ),
    Row(
        name="celu",
        summary="Continuously differentiable exponential linear unit.",
        formula="x if x > 0 else alpha * (exp(x / alpha) - 1)",
        derivative="1 if x > 0 else exp(x / alpha)",
        source="Barron, Continuously Differentiable Exponential Linear Units, 2017, arXiv:1704.07483",
        parameters=(
            Parameter(
                name="alpha",
                doc="Minus the limit as x goes to minus infinity.",
                default=1.0,
                above=0.0,
                typical=(1.0, 0.3),
            ),
        ),
        slope_from_y=True,
        points=(
            -87.33654,
            -103.97208,
            -16.635532,
            -708.3964185322641,
            -745.1332191019411,
            -36.04365338911715,
        ),
    ),
    Row(
        name="softplus",
        summary="Smooth rectifier, without a threshold.",
        formula="log(1 + exp(beta * x)) / beta",
        derivative="1 / (1 + exp(-beta * x))",
        source="Dugas, Bengio, Belisle, Nadeau & Garcia, Incorporating Second-Order Functional "
        "Knowledge for Better Option Pricing, NIPS 2000",
        parameters=(
            Parameter(
                name="beta", doc="Sharpness of the bend.", default=1.0, above=0.0, typical=(1.0, 0.5, 20.0)
            ),
        ),
        slope_from_y=True,
        points=(
            -87.33654,
            -103.97208,
            16.635532,
            88.72284,
            -708.3964185322641,
            -745.1332191019411,
            36.7368005696771,
        ),
    ),
    Row(
        name="sigmoid",
        summary="Logistic sigmoid, the derivative of softplus.",
        formula="1 / (1 + exp(-x))",
        derivative="f(x) * (1 - f(x))",
        source="LeCun, Bottou, Orr & Mueller, Efficient BackProp, 1998; scipy.special.expit",
        aliases=("expit",),
        slope_from_y=True,
        points=(
            -87.33654,
            -103.97208,
            16.635532,
            88.72284,
            -708.3964185322641,
            -745.1332191019411,
            36.7368005696771,
        ),
        cost=7,
    ),
    Row(
        name="log_sigmoid",
        summary="Logarithm of the logistic sigmoid.",
        formula="-log(1 + exp(-x))",
        derivative="1 / (1 + exp(x))",
        source="scipy.special.log_expit; Goodfellow, Bengio & Courville, Deep Learning, 2016, 3.10",
        aliases=("log_expit",),
        slope_from_y=True,
        points=(
            87.33654,
            88.72284,
            103.97208,
            -16.635532,
            708.3964185322641,
            745.1332191019411,
            -36.7368005696771,
        ),
    ),
    Row(
        name="logit",
        summary="Logarithm of the odds, the inverse of the sigmoid.",
        formula="log(x / (1 - x)), x clamped to [eps, 1 - eps]",
        derivative="1 / (x * (1 - x)) if eps < x <= 1 - eps else 0",
        source="scipy.special.logit; torch.logit",
        parameters=(
            Parameter(
                name="eps",
                doc="How far x is clamped away from 0 and 1; None, or a negative number: not at all.",
                default=-inf,
                at_most=0.5,
                none_is_default=True,
                typical=(-inf, 0.0078125),
            ),
        ),
        domain=(0.0, 1.0),
        knots=(Knot(factor=1.0, parameter="eps"), Knot(at=1.0, factor=-1.0, parameter="eps")),
        points=(0.5, 0.3333333333333333, 0.6666666666666666, 0.25, 1e-290),
        cost=10,
    ),
    Row(
        name="softplus_inverse",
        summary="Inverse of softplus.",
        formula="log(exp(x) - 1)",
        derivative="1 / (1 - exp(-x))",
        source="Maechler, Accurately Computing log(1 - exp(-|a|)), R package Rmpfr, 2012",
        domain=(0.0, inf),
        points=(
            0.6931471805599453,
            0.4054651081081644,
            1.0986122886681098,
            16.635532,
            36.04365338911715,
            0.0009765625,
            0.00390625,
            18.0,
            38.0,
        ),
        cost=10,
    ),
    Row(
        name="log1mexp",
        summary="Logarithm of the complement of a decaying exponential.",
        formula="log(1 - exp(-x))",
        derivative="1 / (exp(x) - 1)",
        source="Maechler, Accurately Computing log(1 - exp(-|a|)), R package Rmpfr, 2012",
        domain=(0.0, inf),
        points=(
            0.6931471805599453,
            0.0009765625,
            0.00390625,
            7.9375,
            15.9375,
            87.33654,
            88.72284,
            103.97208,
            708.3964185322641,
            709.782712893384,
            745.1332191019411,
        ),
        cost=7,
    ),
    Row(
        name="gelu",
        summary="Gaussian error linear unit, x times the standard normal distribution function.",
        formula="x * Phi(x)",
        derivative="Phi(x) + x * phi(x)",
        source=HENDRYCKS,
        option=("approximate", "none"),
        roots=(-0.7517915246935645,),
        points=(-5.5, 5.5, -8.5, 8.5, -12.9, -13.1, -14.2, -14.5, -37.5, -38.0, -38.6),
        cost=9,
    ),
    Row(
        name="gelu_tanh",
        summary="GELU by its tanh approximation, at most 4.8e-4 away from the exact one.",
        formula="x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))",
        derivative="s + x * s * (1 - s) * u'(x), where f(x) = x * s, s = 1 / (1 + exp(-u(x)))",
        source=HENDRYCKS,
        variant_of="gelu",
        option=("approximate", "tanh"),
        roots=(-0.7524614220710162,),
        points=(-5.5, 5.5, -9.6, -9.95, -10.1, -10.6, -21.0, -21.5, 21.15, -21.9),
        cost=10,
    ),
    Row(
        name="gelu_sigmoid",
        summary="GELU by its sigmoid approximation, at most 0.0204 away from the exact one.",
        formula="x / (1 + exp(-1.702 * x))",
        derivative="s + 1.702 * x * s * (1 - s), s = 1 / (1 + exp(-1.702 * x))",
        source=HENDRYCKS,
        variant_of="gelu",
        option=("approximate", "sigmoid"),
        roots=(-0.7511542090253077,),
        points=(-51.314, -54.0, -61.09, -63.87, 9.774, 52.128, -416.214, -420.1, -437.838, -441.7),
        cost=11,
    ),
    Row(
        name="silu",
        summary="Sigmoid linear unit, also called swish.",
        formula="x / (1 + exp(-beta * x))",
        derivative="s + beta * x * s * (1 - s), s = 1 / (1 + exp(-beta * x))",
        source="Elfwing, Uchibe & Doya, Sigmoid-Weighted Linear Units, 2018; "
        "Ramachandran, Zoph & Le, Searching for Activation Functions, 2017, arXiv:1710.05941",
        parameters=(
            Parameter(
                name="beta", doc="Sharpness of the bend.", default=1.0, above=0.0, typical=(1.0, 1.702, 0.25)
            ),
        ),
        roots=(-1.2784645427610738,),
        points=(
            -87.33654,
            -91.9,
            -103.97208,
            -108.7,
            16.635532,
            88.72284,
            -708.3964185322641,
            -715.0,
            -745.2,
            -751.8,
        ),
        cost=9,
    ),
    Row(
        name="mish",
        summary="x times the hyperbolic tangent of its softplus.",
        formula="x * tanh(log(1 + exp(x)))",
        derivative="t + x * (1 - t**2) / (1 + exp(-x)), t = tanh(log(1 + exp(x)))",
        source="Misra, Mish: A Self Regularized Non-Monotonic Activation Function, BMVC 2020, "
        "arXiv:1908.08681",
        roots=(-1.1924312145154952,),
        points=(
            -87.33654,
            -91.9,
            -103.97208,
            -108.7,
            9.010913,
            44.361,
            -708.3964185322641,
            -715.0,
            -745.2,
            -751.8,
            19.06154746539849,
            372.9,
        ),
        cost=9,
    ),
    Row(
        name="tanh",
        summary="Hyperbolic tangent.",
        formula="tanh(x)",
        derivative="1 - tanh(x)**2",
        source="LeCun, Bottou, Orr & Mueller, Efficient BackProp, 1998; numpy.tanh",
        slope_from_y=True,
        points=(-9.010913, 9.010913, 0.34657359, 19.06154746539849, 44.0, -44.36, -52.33, 355.0, -372.9),
    ),
    Row(
        name="tanhshrink",
        summary="What tanh leaves of its argument.",
        formula="x - tanh(x)",
        derivative="tanh(x)**2",
        source="torch.nn.functional.tanhshrink",
        points=(
            1.0,
            0.34657359,
            9.010913,
            9.25,
            19.06154746539849,
            19.5,
            0.00390625,
            0.0009765625,
            1.0842021724855044e-19,
            1.4e-154,
        ),
        cost=9,
    ),
)

# The binary operation behind logsumexp; the gradient of the second operand is that of the first, exchanged.
LOGADDEXP: tuple[Kernel, ...] = (
    Kernel(row="logaddexp", pass_="forward", formula="logaddexp", inputs=("x1", "x2"), identity=-inf),
    Kernel(row="logaddexp", pass_="backward", formula="logaddexp_slope", inputs=("dy", "x1", "x2")),
)

# Random ones, for which there is no ufunc: their formula takes the draw, which the call makes from a key.
RANDOM: tuple[Row, ...] = (
    Row(
        name="rrelu",
        summary="Randomised leaky rectifier, whose negative slope is drawn anew for each element.",
        formula="x if x > 0 else a * x, a ~ U(lower, upper); a = (lower + upper) / 2 unless training",
        derivative="1 if x > 0 else a",
        source="Xu, Wang, Chen & Li, Empirical Evaluation of Rectified Activations in Convolutional Network, "
        "2015, arXiv:1505.00853",
        parameters=(
            Parameter(
                name="lower", doc="The least slope.", default=1 / 8, at_least=0.0, typical=(1 / 8, 0.0)
            ),
            Parameter(
                name="upper",
                doc="The largest slope, below 1.",
                default=1 / 3,
                at_least=0.0,
                typical=(1 / 3, 0.9375),
            ),
        ),
        draw="uniform",
        slope_from_y=True,
        piecewise_linear=True,
        cost=9,
    ),
    Row(
        name="noisy_relu",
        summary="Rectifier of its argument plus normal noise.",
        formula="max(0, x + Y), Y ~ N(0, variance); max(0, x) unless training",
        derivative="1 if x + Y > 0 else 0",
        source="Nair & Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines, ICML 2010",
        option=("variance", "sigmoid"),
        draw="normal",
        slope_from_y=True,
        piecewise_linear=True,
        cost=40,
    ),
    Row(
        name="noisy_relu_of_variance",
        summary="Rectifier of its argument plus normal noise of a given variance.",
        formula="max(0, x + Y), Y ~ N(0, variance)",
        derivative="1 if x + Y > 0 else 0",
        source="Nair & Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines, ICML 2010",
        parameters=(Parameter(name="variance", doc="", at_least=0.0, typical=(1.0, 0.25)),),
        variant_of="noisy_relu",
        option=("variance", "of_variance"),
        draw="normal",
        slope_from_y=True,
        piecewise_linear=True,
        cost=32,
    ),
)

_ROW_OF = {row.name: row for row in ROWS}
GATES: tuple[Gate, ...] = tuple(
    replace(gate, roots=row.roots, points=(*row.points, *gate.points))
    for gate in table_gates.GATES
    for row in [_ROW_OF[gate.activation]]
)

KERNELS: tuple[Kernel, ...] = (
    *(k for row in ROWS for k in row.kernels().values()),
    *LOGADDEXP,
    *(k for row in RANDOM for k in row.kernels().values()),
    *(k for gate in GATES for k in gate.kernels().values()),
)

# What a reduction over rows is made of, in the order of their table in the compiled modules: the pass that
# sums entries, the one that finishes rows, and the one that writes entries, where it has one.
ROW_KERNELS: dict[str, tuple[str, str, str | None]] = {
    "logsumexp": ("sum_rows", "finish_logsumexp", None),
    "softmax": ("keep_rows", "finish_softmax", "apply_softmax"),
    "log_softmax": ("sum_rows", "finish_log_softmax", "apply_log_softmax"),
    "logsumexp.backward": ("keep_rows", "finish_logsumexp_backward", "apply_logsumexp_backward"),
    "softmax.backward": ("sum_softmax_backward", "finish_softmax_backward", "apply_softmax_backward"),
    "log_softmax.backward": (
        "sum_log_softmax_backward",
        "finish_log_softmax_backward",
        "apply_log_softmax_backward",
    ),
}
# The same for cross entropy, whose kernels follow: of one label a row, and of targets for every class.
LOSS_KERNELS: dict[str, tuple[str, str, str | None]] = {
    "cross_entropy": ("sum_for_labels", "finish_labels", None),
    "cross_entropy.gradient": ("keep_for_labels", "finish_label_gradients", "apply_label_gradients"),
    "cross_entropy of targets": ("sum_for_targets", "finish_targets", None),
    "cross_entropy.gradient of targets": (
        "keep_for_targets",
        "finish_target_gradients",
        "apply_target_gradients",
    ),
}
REDUCTIONS: tuple[str, ...] = tuple(name for name in ROW_KERNELS if not name.endswith(".backward"))
