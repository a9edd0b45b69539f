"""The gated units: the part of the table whose rows multiply one array by an activation of another.

A row names the activation f whose formula it uses, and whose roots and points are its own too;
``kernels/formulas/gated.pxi`` and ``fastrelu/reference/gated.py`` hold the products, which are rounded once.
Like the table this imports the standard library only.
"""

from __future__ import annotations

from .row import Gate

__all__ = ["GATES"]

SHAZEER = "Shazeer, GLU Variants Improve Transformer, 2020, arXiv:2002.05202"

GATES: tuple[Gate, ...] = (
    Gate(
        name="glu",
        activation="sigmoid",
        summary="Gated linear unit.",
        formula="value / (1 + exp(-gate))",
        derivatives=("s", "value * s * (1 - s), s = 1 / (1 + exp(-gate))"),
        source="Dauphin, Fan, Auli & Grangier, Language Modeling with Gated Convolutional Networks, "
        "ICML 2017, arXiv:1612.08083",
        cost=9,
        points=(-37.0, 17.5, 37.5, -110.0, -600.0),
    ),
    Gate(
        name="reglu",
        activation="relu",
        summary="Rectified gated linear unit.",
        formula="value * max(0, gate)",
        derivatives=("max(0, gate)", "value if gate > 0 else 0"),
        source=SHAZEER,
        cost=3,
    ),
    Gate(
        name="geglu",
        activation="gelu",
        summary="Gated linear unit with a GELU.",
        formula="value * gate * Phi(gate)",
        derivatives=("gate * Phi(gate)", "value * (Phi(gate) + gate * phi(gate))"),
        source=SHAZEER,
        cost=9,
        points=(-15.0, 6.5, 9.5, -34.64, -39.5),
    ),
    Gate(
        name="swiglu",
        activation="silu",
        summary="Gated linear unit with a SiLU.",
        formula="value * gate / (1 + exp(-gate))",
        derivatives=("gate * s", "value * (s + gate * s * (1 - s)), s = 1 / (1 + exp(-gate))"),
        source=SHAZEER,
        cost=9,
        points=(-37.0, 17.5, 37.5, -46.0, 46.0, 21.0, -110.0, -600.0),
    ),
)
