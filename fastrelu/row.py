"""What a row of the table of activations says, and the kernels that it needs.

Only the standard library is imported, because the build loads this file before NumPy
or any kernel exists.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf

__all__ = ["Gate", "Kernel", "Knot", "Parameter", "Row"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of an activation; it may be an array that broadcasts against ``x``."""

    name: str
    doc: str
    default: float | None = None  # None: the caller must give it
    at_least: float = -inf
    above: float = -inf
    at_most: float = inf
    not_below: str = ""  # an earlier parameter that this one must reach
    none_is_default: bool = False  # the default is shown as None, which may be given for it
    learned: bool = False  # its gradient is part of the default result of ``backward``
    typical: tuple[float, ...] = ()  # values that tests, benchmarks and plots use

    def accepts(self, value):
        """Whether `value`, a number or an array, can be used (elementwise; NaN cannot)."""
        if self.above > -inf:
            return (value > self.above) & (value < inf)
        return (value >= self.at_least) & (value <= self.at_most)

    @property
    def constrained(self) -> bool:
        return self.at_least > -inf or self.above > -inf or self.at_most < inf

    @property
    def requirement(self) -> str:
        """The constraint in words, for error messages and docs."""
        if self.above > -inf:
            return f"{self.name} > {self.above:g} and finite"
        if self.at_most < inf:
            return f"{self.name} <= {self.at_most:g}"
        return f"{self.name} >= {self.not_below or format(self.at_least, 'g')}"

    @property
    def shown_default(self) -> float | None:
        """The default as callers see it."""
        return None if self.none_is_default else self.default


@dataclass(frozen=True, kw_only=True)
class Knot:
    """A point where f′ jumps: at + factor * parameter."""

    at: float = 0.0
    factor: float = 0.0
    parameter: str = ""

    def reached(self, x, parameters):
        """Where `x` is this point, for parameters by name; exact where x - at and the product are."""
        return x - self.at == (self.factor * parameters[self.parameter] if self.parameter else 0)

    def place(self, parameters) -> float:
        return self.at + (self.factor * parameters[self.parameter] if self.parameter else 0)

    def __str__(self):
        if not self.parameter:
            return f"{self.at:g}"
        term = {1.0: "", -1.0: "-"}[self.factor] + self.parameter
        return term if not self.at else f"{self.at:g} {'+ -'[-1 if self.factor < 0 else 0]} {self.parameter}"


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One compiled elementwise loop: which formula it runs, on which inputs."""

    row: str  # the dotted path of the activation, "gelu.tanh"
    # "forward", "backward", "backward_from_y", "backward_at_zero", "backward_wrt_<parameter>"; of a gated
    # unit "forward", "backward_value", "backward_gate"
    pass_: str
    formula: str  # "elu_slope_from_y": in kernels/formulas/ and in the reference
    inputs: tuple[str, ...]  # "dy" first where the result is multiplied by it
    knots: tuple[Knot, ...] = ()  # replace the slope there by the last input
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
        return named[:-1] if self.knots else named


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
    knots: tuple[Knot, ...] = ()  # where f′ jumps; the value there is the left one, or at_zero
    piecewise_linear: bool = False  # f″ is 0 but there
    other_slope: float | str | None = None  # f′ is 1, or this number or parameter: one bit tells which
    domain: tuple[float, float] = (-inf, inf)  # NaN outside
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

        def add(pass_, formula, inputs, knots=()):
            made[pass_] = Kernel(
                row=self.qualname,
                pass_=pass_,
                formula=formula,
                inputs=(*inputs, *names),
                knots=knots,
                cost=self.cost,
            )

        add("forward", self.name, ("x",))
        add("backward", f"{self.name}_slope", ("dy", "x"))
        if self.draw:
            return made
        if self.slope_from_y:
            add("backward_from_y", f"{self.name}_slope_from_y", ("dy", "y"))
        if self.knots:
            add("backward_at_zero", f"{self.name}_slope", ("dy", "x"), self.knots)
            at_zero = made["backward_at_zero"]
            made["backward_at_zero"] = replace(at_zero, inputs=(*at_zero.inputs, "at_zero"))
        for p in names:
            add(f"backward_wrt_{p}", f"{self.name}_wrt_{p}", ("dy", "x"))
        return made


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A gated unit value * f(gate), f an activation of the table, and what is promised of it."""

    name: str
    activation: str  # the name of f, under which callers know it
    summary: str
    formula: str
    derivatives: tuple[str, str]  # with respect to value, and to gate
    source: str
    cost: int  # as a row's
    ulp: dict[str, float] = field(default_factory=lambda: {"forward": 1.0, "backward": 1.0})
    roots: tuple[float, ...] = ()  # interior zeros of f'
    points: tuple[float, ...] = ()  # of gate: where formulas switch
    parameters: tuple[Parameter, ...] = ()

    def kernels(self) -> dict[str, Kernel]:
        """The forward pass, and the gradient of each argument; both take the same operands."""
        made = {
            "forward": (self.name, ("value", "gate")),
            "backward_value": (f"{self.name}_value_slope", ("dy", "value", "gate")),
            "backward_gate": (f"{self.name}_gate_slope", ("dy", "value", "gate")),
        }
        return {
            pass_: Kernel(row=self.name, pass_=pass_, formula=formula, inputs=inputs, cost=self.cost)
            for pass_, (formula, inputs) in made.items()
        }
