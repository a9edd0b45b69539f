"""The table of activations: one row each, and everything else is read from it.

The build reads it to write the kernels' entry points, the package to make the public
objects and their docstrings, and tests, benchmarks, docs and plots to know what exists
and what is promised.  Adding an activation is one row here, one formula with its
derivative in ``kernels/formulas/`` and the same two in ``fastrelu/reference.py``; CONTRIBUTING.md
has the steps.

Only the standard library is imported, because the build loads this file before NumPy
or any kernel exists.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf

__all__ = [
    "KERNELS",
    "LOGADDEXP",
    "LOSS_KERNELS",
    "RANDOM",
    "REDUCTIONS",
    "ROWS",
    "ROW_KERNELS",
    "Kernel",
    "Parameter",
    "Row",
]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of an activation; it may be an array that broadcasts against ``x``."""

    name: str
    doc: str
    default: float | None = None  # None: the caller must give it
    at_least: float = -inf
    above: float = -inf
    learned: bool = False  # its gradient is part of the default result of ``backward``
    typical: tuple[float, ...] = ()  # values that tests, benchmarks and plots use

    def accepts(self, value):
        """Whether `value`, a number or an array, can be used (elementwise; NaN cannot)."""
        if self.above > -inf:
            return (value > self.above) & (value < inf)
        return value >= self.at_least

    @property
    def constrained(self) -> bool:
        return self.at_least > -inf or self.above > -inf

    @property
    def requirement(self) -> str:
        """The constraint in words, for error messages and docs."""
        if self.above > -inf:
            return f"{self.name} > {self.above:g} and finite"
        return f"{self.name} >= {self.at_least:g}"


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One compiled elementwise loop: which formula it runs, on which inputs."""

    row: str  # the dotted path of the activation, "gelu.tanh"
    pass_: str  # "forward", "backward", "backward_from_y", "backward_at_zero", "backward_wrt_<parameter>"
    formula: str  # "elu_slope_from_y": in kernels/formulas/ and in the reference
    inputs: tuple[str, ...]  # "dy" first where the result is multiplied by it
    knot: float | None = None  # replace the slope there by the last input
    cost: int = 20  # as its row's
    identity: float | None = None  # of the ufunc, where it is a binary operation

    @property
    def name(self) -> str:
        """Unique, and the name of the kernel's ufunc."""
        return self.row if self.pass_ == "forward" else f"{self.row}.{self.pass_}"

    @property
    def summed(self) -> bool:
        """Whether its results are summed: a parameter may have been broadcast."""
        return self.pass_.startswith("backward_wrt_")

    @property
    def arguments(self) -> tuple[str, ...]:
        """The inputs that the formula itself takes."""
        named = self.inputs if self.inputs[0] != "dy" else self.inputs[1:]
        return named if self.knot is None else named[:-1]


@dataclass(frozen=True, kw_only=True)
class Row:
    """An activation f, its derivative f′ and what is promised of both."""

    name: str
    summary: str
    formula: str
    derivative: str
    source: str
    parameters: tuple[Parameter, ...] = ()
    aliases: tuple[str, ...] = ()
    variant_of: str = ""  # "gelu": reached as fr.gelu.<variant> and by fr.gelu(option=variant)
    option: tuple[str, str] | None = None  # the keyword and the value that choose this variant
    channel_axis: int | None = None  # the learned parameter may be one value per channel
    slope_from_y: bool = False  # f′ is a function of y = f(x) ...
    from_y_needs: Parameter | None = None  # ... if its parameter obeys this
    knot: float | None = None  # where f′ jumps; the value there is the left one, or at_zero
    keeps_integers: bool = False
    cost: int = 8  # nanoseconds for 16 float32 elements in cache, roughly: what threads are worth
    draw: str = ""  # "uniform" (centred, u - 1/2) or "normal": the formula's last argument, drawn for each x
    ulp: dict[str, float] = field(default_factory=lambda: {"forward": 1.0, "backward": 1.0})
    roots: tuple[float, ...] = ()  # interior zeros of f′
    points: tuple[float, ...] = ()  # where formulas switch or results leave the normal range

    @property
    def family(self) -> str:
        """The public name under which the row is reached."""
        return self.variant_of or self.name

    @property
    def qualname(self) -> str:
        """The dotted path of the public object below ``fastrelu``."""
        return f"{self.variant_of}.{self.option[1]}" if self.variant_of else self.name

    @property
    def defaults(self) -> dict[str, float | None]:
        return {p.name: p.default for p in self.parameters}

    def kernels(self) -> dict[str, Kernel]:
        """Every elementwise loop that the row needs, by pass."""
        names = tuple(p.name for p in self.parameters) + (("draw",) if self.draw else ())
        made = {}

        def add(pass_, formula, inputs, knot=None):
            made[pass_] = Kernel(
                row=self.qualname,
                pass_=pass_,
                formula=formula,
                inputs=(*inputs, *names),
                knot=knot,
                cost=self.cost,
            )

        add("forward", self.name, ("x",))
        add("backward", f"{self.name}_slope", ("dy", "x"))
        if self.draw:
            return made
        if self.slope_from_y:
            add("backward_from_y", f"{self.name}_slope_from_y", ("dy", "y"))
        if self.knot is not None:
            add("backward_at_zero", f"{self.name}_slope", ("dy", "x"), self.knot)
            at_zero = made["backward_at_zero"]
            made["backward_at_zero"] = replace(at_zero, inputs=(*at_zero.inputs, "at_zero"))
        for p in names:
            add(f"backward_wrt_{p}", f"{self.name}_wrt_{p}", ("dy", "x"))
        return made


GLOROT = "Glorot, Bordes & Bengio, Deep Sparse Rectifier Neural Networks, AISTATS 2011"
HENDRYCKS = "Hendrycks & Gimpel, Gaussian Error Linear Units (GELUs), arXiv:1606.08415"

ROWS: tuple[Row, ...] = (
    Row(
        name="relu",
        summary="Rectified linear unit, the positive part of its argument.",
        formula="x if x > 0 else 0",
        derivative="1 if x > 0 else 0",
        source=GLOROT,
        slope_from_y=True,
        knot=0.0,
        keeps_integers=True,
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
        knot=0.0,
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
        knot=0.0,
        cost=1,
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
        knot=0.0,
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
        knot=0.0,
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
        name="gelu",
        summary="Gaussian error linear unit, x times the standard normal distribution function.",
        formula="x * Phi(x)",
        derivative="Phi(x) + x * phi(x)",
        source=HENDRYCKS,
        option=("approximate", "none"),
        roots=(-0.7517915246935645,),
        points=(-5.5, 5.5, -8.5, 8.5, -12.9, -13.1, -14.2, -14.5, -37.5, -38.0, -38.6),
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
        cost=32,
    ),
)

KERNELS: tuple[Kernel, ...] = (
    *(k for row in ROWS for k in row.kernels().values()),
    *LOGADDEXP,
    *(k for row in RANDOM for k in row.kernels().values()),
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
