"""What the generators of kernels read: the table, the formulas and which of them look something up.

``fastrelu/table.py`` says which kernels exist, ``kernels/formulas/`` whether a formula works on plain
registers (``V``) or on wide ones (``W``), ``kernels/math/coefficients.py`` holds the numbers.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
TYPES = {"f": "float", "d": "double"}


def load(path, name):
    """Import one file of the source tree under a name of its own, without its package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table():
    """The table and fastrelu/row.py under it, out of a package that never runs fastrelu/__init__.py."""
    source = sys.modules["fastrelu_source"] = ModuleType("fastrelu_source")
    source.__path__ = [str(ROOT / "fastrelu")]
    return importlib.import_module("fastrelu_source.table")


@functools.cache
def tables():
    return load("kernels/math/tables.py", "fastrelu_tables")


def formula_kinds():
    """Map each formula to the kind of value it takes: ``V``, ``W`` or ``N``."""
    kinds = {}
    for path in sorted((ROOT / "kernels/formulas").rglob("*.pxi")):
        for kind, name in re.findall(r"^cdef inline ([VWN]) (\w+)\(", path.read_text(), re.MULTILINE):
            kinds[name] = kind
    return kinds


def coefficients():
    """The numbers of formulas by name: floats and tuples of floats."""
    values = dict(vars(load("kernels/math/coefficients.py", "fastrelu_coefficients")))
    *rest, c6, c5, c4, c3, c2, c1 = values["MILLS_LONG"]
    values["MILLS_LONG_REST"] = tuple(rest)
    values |= {f"MILLS_LONG_C{i}": c for i, c in enumerate((c1, c2, c3, c4, c5, c6), 1)}
    numbers = {name: value for name, value in values.items() if name.isupper()}
    # not the decimals, which are for the reference only
    return {n: v for n, v in numbers.items() if isinstance(v[0] if isinstance(v, tuple) else v, float)}


def gated():
    """The kernels whose result is a product with a value, which may find something where a table is 0."""
    rows = (gate.kernels() for gate in table().GATES)
    return [kernel for made in rows for pass_, kernel in made.items() if pass_ != "backward_value"]


# Formulas that multiply or divide by a parameter what they read.
SCALED = {"softplus", "silu", "elu_slope"}


def reaches_beyond(kernel, read):
    """Whether a result may find something where its table is 0: a product with a value or a parameter."""
    return kernel in gated() or (kernel.formula in SCALED and not read.at_default)


def tabulated(formulas):
    """Map a formula to its form that reads a table, and that table: f_from_table or f_from_<table>."""
    known, found = {table.function for table in tables().TABLES}, {}
    for name in formulas:
        formula, _, table = name.rpartition("_from_")
        table = formula.removesuffix("_at_default") if table == "table" else table
        if table in known:
            found[formula] = name, table
    return found


def table_position(formula, formulas):
    """The functions that say where the table is read, and how far off that is: the longest name that fits."""
    if formula.endswith("_at_default"):
        return None, None  # x itself
    at = [n for n in formulas if n.endswith("_position") and formula.startswith(n.removesuffix("_position"))]
    position = max(at, key=len, default=None)
    error = f"{position}_error" if f"{position}_error" in formulas else None
    return position, error


@dataclass(frozen=True)
class Reading:
    """A form of a kernel that reads a table, by the names of formulas; the first is that for Numba."""

    name: str
    formula: str
    table: str
    position: str | None
    error: str | None
    at_default: bool


def readings(kernel, kinds):
    """The forms of a kernel that read a table, that for a row's defaults first."""
    looks_up, found = tabulated(kinds), []
    for ending in ("_at_default", ""):
        literal = kernel.formula + ending
        if literal in looks_up and not kernel.knots:
            name = f"{kernel.name.replace('.', '_')}{ending}_from_table"
            found.append(Reading(name, *looks_up[literal], *table_position(literal, kinds), bool(ending)))
    return found


def write_text(path, text):
    """Write what changed only, so that an untouched file is not compiled again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
