"""The tables that formulas read: the entries against their functions, and the generator against itself."""

import importlib.util
import random
import struct
from pathlib import Path

import mpmath as mp
import pytest

from fastrelu.kernels.math import tables

ROOT = Path(__file__).resolve().parent.parent
GENERATOR = ROOT / "tools" / "tables.py"
DATA = ROOT / "kernels" / "math" / "tables.bin"
WORD = {"f": ("<4I", "<I", "<f"), "d": ("<8Q", "<Q", "<d")}

# What an entry may be off by, beside its largest value there: far below a unit of the type.  Near the root of
# a derivative float64 promises an absolute error only, and float32 takes a polynomial (math/lookup.pxi).
ALLOWED = {"f": mp.mpf(2) ** -25.5, "d": mp.mpf(2) ** -56}
SLOPES_WITH_A_ROOT = ("gelu_slope", "gelu_tanh_slope", "silu_slope", "mish_slope")

pytestmark = pytest.mark.skipif(not GENERATOR.exists(), reason="the source tree is not beside the tests")


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generator_of_tables", GENERATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def high_precision():
    with mp.workdps(40):
        yield


def value(table, entry, point, d):
    """What an entry says of the function at point + d, computed without rounding."""
    words, word, real = WORD[table.type]
    stored = struct.unpack(words, entry)
    *c, last = (mp.mpf(struct.unpack(real, struct.pack(word, w))[0]) for w in stored)
    shift = 22 if table.type == "f" else 32
    low_bits = (stored[-1] << shift) % 2 ** (8 * struct.calcsize(word))
    low = mp.mpf(struct.unpack(real, struct.pack(word, low_bits))[0])
    bend = point * d - table.bend if table.bend else 1
    total = c[0] + low + sum(k * d**j for j, k in enumerate(c[1:], 1)) + last * bend * d ** (len(stored) - 1)
    return total / table.scale if point < table.scaled_below else total


@pytest.mark.parametrize("table", tables.TABLES, ids=lambda table: table.name)
def test_entries_say_what_the_function_is(table, generator):
    """At every 23rd entry and the last, in its middle, at its ends and where an interpolant is worst."""
    stored = tables.words(DATA)[table.name]
    f = getattr(generator, table.function)
    skipped = (table.zero_first, table.one_last)
    chosen = range(int(skipped[0]), table.entries - int(skipped[1]))
    for index in {*chosen[::23], *chosen[-1:]}:
        point, step = mp.mpf(table.point(index)), mp.mpf(table.step(index))
        size = abs(f(point)) + abs(f(point + step / 2))
        if table.type == "d" and table.function in SLOPES_WITH_A_ROOT and -2 < point < 0:
            size = max(size, mp.mpf(1) / 2)
        for d in (mp.mpf(0), step / 2, -step / 2, step / 5, -step / 3):
            error = abs(value(table, stored[index], point, d) - f(point + d)) / size
            # where the result is subnormal, its own unit is coarser than this
            floor = mp.mpf(2) ** -150 / size if table.type == "f" else 0
            assert error < max(ALLOWED[table.type], floor), f"{table.name}[{index}] at {point + d}"


@pytest.mark.parametrize("table", tables.TABLES, ids=lambda table: table.name)
def test_the_generator_gives_these_entries(table, generator):
    """Refits a few entries, the first and the last among them."""
    stored = tables.words(DATA)[table.name]
    chosen = random.Random(table.name).sample(range(table.entries), 4)
    for index in {0, table.entries - 1, *chosen}:
        words, _ = generator.fit(table, index)
        assert generator.packed(words, table.type) == stored[index], f"{table.name}[{index}]"


def test_nothing_else_is_stored():
    size = sum(table.entries * {"f": 16, "d": 64}[table.type] for table in tables.TABLES)
    assert DATA.stat().st_size == size
