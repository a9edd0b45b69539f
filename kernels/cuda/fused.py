"""What surrounds an activation in a training step, as one device function with it.

Each operation is rounded in what is computed in: the result has the bits of the calls one by one, but that
16 bits are computed in float32 and rounded once.
"""

from __future__ import annotations

import functools

from numba import types
from numpy import float32, float64

from .elementwise import Function
from .primitives import inline, select
from .storage import STORAGES

__all__ = ["forward", "gradient", "itself", "term"]


def _named(kind, f, *flags):
    return f"{f.name}.{kind}{''.join('01'[flag] for flag in flags)}"


def _real(char):
    return float32 if STORAGES[char].real == types.float32 else float64


@functools.cache
def forward(f, char, adds, drops) -> Function:
    """residual + dropout(f(x + bias, *parameters)).

    Its arguments: x, the bias, the residual if it `adds` one, parameters, and if it `drops` elements the
    least draw that keeps one, the factor of those that are kept, and the draw.
    """
    real, body = _real(char), f.body
    ZERO = real(0)

    @inline
    def plain(x, bias, *parameters):
        return real(body(x + bias, *parameters))

    @inline
    def added(x, bias, residual, *parameters):
        return plain(x, bias, *parameters) + residual

    @inline
    def dropped(x, bias, *rest):
        y = plain(x, bias, *rest[:-3])
        return select(rest[-1] >= rest[-3], y * rest[-2], ZERO)

    @inline
    def dropped_and_added(x, bias, residual, *rest):
        return dropped(x, bias, *rest) + residual

    chosen = (dropped_and_added if adds else dropped) if drops else added if adds else plain
    return Function(_named("fused", f, adds, drops), chosen, kept=f.kept, single=f.single)


@functools.cache
def gradient(f, char, from_y, drops) -> Function:
    """f(dropout(dy), x + bias, *parameters), f being a gradient; or of y, which is first taken times `scale`.

    Its arguments: dy, x, the bias (or y, and the scale), parameters, and what `drops` as in `forward`.
    """
    real, body = _real(char), f.body
    ZERO = real(0)

    @inline
    def of_x(dy, x, bias, *parameters):
        return real(body(dy, x + bias, *parameters))

    @inline
    def of_y(dy, y, scale, *parameters):
        return real(body(dy, y * scale, *parameters))

    plain = of_y if from_y else of_x

    @inline
    def dropped(dy, source, beside, *rest):
        dy = select(rest[-1] >= rest[-3], dy * rest[-2], ZERO)
        return plain(dy, source, beside, *rest[:-3])

    return Function(
        _named("gradient", f, from_y, drops), dropped if drops else plain, kept=f.kept, single=f.single
    )


@functools.cache
def term(f, char, drops) -> Function:
    """What is summed for a parameter: f(dropout(dy), x + bias, *parameters), not rounded."""
    body, ZERO = f.body, _real(char)(0)

    @inline
    def plain(dy, x, bias, *parameters):
        return body(dy, x + bias, *parameters)

    @inline
    def dropped(dy, x, bias, *rest):
        dy = select(rest[-1] >= rest[-3], dy * rest[-2], ZERO)
        return plain(dy, x, bias, *rest[:-3])

    return Function(_named("term", f, drops), dropped if drops else plain, f.gives_pairs, f.kept, f.single)


@inline
def _itself(x):
    return x


def itself(single=False) -> Function:
    """A number as it is, which may have been computed in float32 alone."""
    return Function(f"itself{'_s' * single}", _itself, single=single)
