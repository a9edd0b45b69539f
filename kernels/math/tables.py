"""The tables that formulas read: a function's short polynomial around every point of a uniform grid.

Only what a table covers stands here; `tools/tables.py` fits the entries and writes them to `tables.bin`
beside this file, in this order.  Only the standard library is imported, for the build loads this file.

An entry is 4 words of float32 or 8 of float64, and for x = point + d

    float32    f(x) = c0 + (low + d (c1 + d (c2 + d c3 b)))
    float64    f(x) = c0 + (low + d (c1 + ... + d (c6 + d c7 b)))

`low` is what rounding c0 lost: its upper bits are the lower bits of the last word, which as a coefficient
needs few itself.  b is 1, or point * d - bend: the next Taylor coefficient of a Gaussian function is nearly
-point / bend times the last, so that one multiplication buys one more degree.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, inf
from pathlib import Path

__all__ = ["COLUMNS", "LOW_BITS", "TABLES", "Table", "words"]

COLUMNS = {"f": 4, "d": 8}
MANTISSA = {"f": 23, "d": 52}  # its bits
LOW_BITS = {"f": 10, "d": 32}  # of the last word; the rest of it is the coefficient


@dataclass(frozen=True, kw_only=True)
class Table:
    """A function on [first, last] at steps of 2**-steps, for one type.

    With `per_octave` that is a step's share of the power of two below it, for a function that bends like a
    power or a logarithm at 0: the points are the numbers whose mantissa has no more than `steps` bits.
    """

    function: str  # a name in tools/tables.py
    type: str  # "f" or "d"
    first: float
    last: float
    steps: int
    per_octave: bool = False
    bend: float = 0.0  # 0: b is 1
    scaled_below: float = -inf  # entries before it are multiplied by
    scale: float = 2.0**56  # this, to stay away from the subnormals; negative where f comes to -0
    zero_first: bool = False  # the first entry is 0, which is right from there on
    one_last: bool = False  # the last entry is 1, which is right from there on
    formula_below: bool = False  # what lies before the first takes the arithmetic formula
    formula_above: bool = False  # and what lies after the last

    @property
    def name(self) -> str:
        return f"{self.function}_{self.type}"

    @property
    def entries(self) -> int:
        return round((self._place(self.last) - self._place(self.first)) * 2**self.steps) + 1

    def point(self, index: int) -> float:
        place = self._place(self.first) + index * 2.0**-self.steps
        return (place % 1 + 1) * 2.0 ** (place // 1) if self.per_octave else place

    def step(self, index: int) -> float:
        """From a point to the next."""
        return 2.0 ** (self._place(self.point(index)) // 1 * self.per_octave - self.steps)

    @property
    def dropped_bits(self) -> int:
        """How many of a number's last bits are 0 in the points; 0 where the points are even."""
        return MANTISSA[self.type] - self.steps if self.per_octave else 0

    def _place(self, point):
        """A number that grows evenly from point to point."""
        if not self.per_octave:
            return point
        mantissa, exponent = frexp(point)
        return exponent + 2 * mantissa - 2


# float32 reaches down to where the result is 0.  In float64 that would take megabytes.
_EXPONENTIAL = {"scaled_below": -40.0, "zero_first": True}
_FROM_BELOW = {"scale": -(2.0**56)}
_CUBIC = {"scaled_below": -7.25, "zero_first": True}
_CENTRE = {"formula_below": True}
_GAUSSIAN = {"scaled_below": -8.5, "zero_first": True, "one_last": True}
_OCTAVES = {"per_octave": True, "formula_below": True}
_BETWEEN = {**_OCTAVES, "formula_above": True}

TABLES: tuple[Table, ...] = (
    Table(function="normal", type="f", first=-14.5, last=5.5, steps=6, bend=4.0625, **_GAUSSIAN),
    Table(function="normal", type="d", first=-8.5, last=8.5, steps=6, bend=8.0, one_last=True, **_CENTRE),
    Table(
        function="gelu_slope",
        type="f",
        first=-15.0,
        last=6.5,
        steps=6,
        bend=4.125,
        **_GAUSSIAN,
        **_FROM_BELOW,
    ),
    Table(function="gelu_slope", type="d", first=-9.5, last=9.5, steps=6, bend=8.0, one_last=True, **_CENTRE),
    Table(function="gelu_tanh_ratio", type="f", first=-11.0, last=5.75, steps=8, one_last=True, **_CUBIC),
    Table(function="gelu_tanh_ratio", type="d", first=-7.0, last=7.25, steps=7, one_last=True, **_CENTRE),
    Table(
        function="gelu_tanh_slope",
        type="f",
        first=-11.0,
        last=6.75,
        steps=8,
        one_last=True,
        **_CUBIC,
        **_FROM_BELOW,
    ),
    Table(function="gelu_tanh_slope", type="d", first=-7.0, last=7.75, steps=7, one_last=True, **_CENTRE),
    Table(function="sigmoid", type="f", first=-110.0, last=17.5, steps=4, **_EXPONENTIAL),
    Table(function="sigmoid", type="d", first=-37.0, last=37.5, steps=4, one_last=True, **_CENTRE),
    Table(function="sigmoid_slope", type="f", first=-110.0, last=0.0, steps=4, **_EXPONENTIAL),
    Table(function="sigmoid_slope", type="d", first=-37.0, last=0.0, steps=4, **_CENTRE),
    Table(
        function="silu_slope",
        type="f",
        first=-110.0,
        last=21.0,
        steps=5,
        one_last=True,
        **_EXPONENTIAL,
        **_FROM_BELOW,
    ),
    Table(function="silu_slope", type="d", first=-46.0, last=46.0, steps=4, one_last=True, **_CENTRE),
    Table(function="softplus", type="f", first=-105.0, last=17.5, steps=4, **_EXPONENTIAL),
    Table(function="softplus", type="d", first=-37.0, last=37.5, steps=4, **_CENTRE),
    Table(function="mish_ratio", type="f", first=-110.0, last=10.5, steps=4, one_last=True, **_EXPONENTIAL),
    Table(function="mish_ratio", type="d", first=-37.0, last=19.5, steps=5, one_last=True, **_CENTRE),
    Table(
        function="mish_slope",
        type="f",
        first=-110.0,
        last=11.5,
        steps=5,
        one_last=True,
        **_EXPONENTIAL,
        **_FROM_BELOW,
    ),
    Table(function="mish_slope", type="d", first=-46.0, last=23.0, steps=5, one_last=True, **_CENTRE),
    Table(function="tanh_ratio", type="f", first=0.0, last=9.0625, steps=5),
    Table(function="tanh_ratio", type="d", first=0.0, last=19.0625, steps=5),
    Table(function="expm1_ratio", type="f", first=-17.5, last=0.0, steps=4),
    Table(function="expm1_ratio", type="d", first=-37.5, last=0.0, steps=4),
    Table(function="exp", type="f", first=-105.0, last=0.0, steps=4, **_EXPONENTIAL),
    Table(function="exp", type="d", first=-37.0, last=0.0, steps=4, **_CENTRE),
    Table(function="sqrt_sigmoid", type="f", first=-8.0, last=18.5, steps=4, one_last=True),
    Table(function="sqrt_sigmoid", type="d", first=-8.0, last=37.5, steps=4, one_last=True),
    Table(function="tanhshrink", type="f", first=2.0**-10, last=9.25, steps=5, **_OCTAVES),
    Table(function="tanhshrink", type="d", first=2.0**-8, last=19.5, steps=5, **_OCTAVES),
    Table(
        function="tanhshrink_slope", type="f", first=2.0**-10, last=9.5, steps=6, one_last=True, **_OCTAVES
    ),
    Table(
        function="tanhshrink_slope", type="d", first=2.0**-8, last=20.0, steps=5, one_last=True, **_OCTAVES
    ),
    Table(function="log1mexp", type="f", first=2.0**-10, last=15.9375, steps=7, **_BETWEEN),
    Table(function="log1mexp", type="d", first=2.0**-8, last=7.9375, steps=6, **_BETWEEN),
    Table(function="log1mexp_slope", type="f", first=2.0**-10, last=15.9375, steps=7, **_BETWEEN),
    Table(function="log1mexp_slope", type="d", first=2.0**-8, last=7.9375, steps=6, **_BETWEEN),
    Table(function="softplus_inverse_ratio", type="f", first=2.0**-10, last=18.0, steps=6, **_OCTAVES),
    Table(function="softplus_inverse_ratio", type="d", first=2.0**-8, last=38.0, steps=5, **_OCTAVES),
    Table(
        function="softplus_inverse_slope",
        type="f",
        first=2.0**-10,
        last=18.0,
        steps=6,
        one_last=True,
        **_OCTAVES,
    ),
    Table(
        function="softplus_inverse_slope",
        type="d",
        first=2.0**-8,
        last=38.0,
        steps=6,
        one_last=True,
        **_OCTAVES,
    ),
    Table(function="selu_ratio", type="f", first=-19.0, last=0.0, steps=4),
    Table(function="selu_ratio", type="d", first=-40.0, last=0.0, steps=4),
    Table(function="selu_slope", type="f", first=-106.0, last=0.0, steps=4, **_EXPONENTIAL),
    Table(function="selu_slope", type="d", first=-37.0, last=0.0, steps=4, **_CENTRE),
)

PATH = Path(__file__).with_name("tables.bin")


def words(path: Path = PATH) -> dict[str, list[bytes]]:
    """The entries of every table as stored, little-endian, by the table's name."""
    data, found, start = path.read_bytes(), {}, 0
    for table in TABLES:
        size = COLUMNS[table.type] * (4 if table.type == "f" else 8)
        found[table.name] = [data[start + i * size : start + (i + 1) * size] for i in range(table.entries)]
        start += table.entries * size
    if start != len(data):
        raise ValueError(f"{path.name}: {len(data)} bytes, expected {start}: run tools/tables.py")
    return found
