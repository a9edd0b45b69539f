"""Signatures and docstrings of the gated units, read from the table."""

from __future__ import annotations

import textwrap
from inspect import Parameter as Argument
from inspect import Signature

from .docstrings import UFUNC_ARGUMENTS
from .row import Gate

__all__ = ["backward_doc", "backward_signature", "forward_doc", "forward_signature"]

VALUE_AND_GATE = """\
value : array_like
    Real, of any shape and strides; without a `gate`, the array whose halves along `axis` are value and gate.
gate : array_like, optional
    Real, of a shape that broadcasts with that of `value`.
axis : int, default -1
    Along which one array is halved; its length there is even."""


def forward_signature() -> Signature:
    keywords = {"axis": -1} | UFUNC_ARGUMENTS
    return Signature(
        [
            Argument("value", Argument.POSITIONAL_OR_KEYWORD),
            Argument("gate", Argument.POSITIONAL_OR_KEYWORD, default=None),
            *(Argument(name, Argument.KEYWORD_ONLY, default=d) for name, d in keywords.items()),
        ]
    )


def backward_signature() -> Signature:
    both = Argument.POSITIONAL_OR_KEYWORD
    keywords = {"axis": -1, "out": None, "wrt": None}
    return Signature(
        [
            Argument("dy", both),
            Argument("value", both),
            Argument("gate", both, default=None),
            *(Argument(name, Argument.KEYWORD_ONLY, default=d) for name, d in keywords.items()),
        ]
    )


def _accuracy(gate, pass_):
    bound = f"At most {gate.ulp[pass_]:g} ULP for float32 and float64, subnormal results included"
    if pass_ == "backward" and gate.roots:
        bound += f"; in float64, within 1/2 of an interior zero of {gate.activation}', value * 2**-56"
    elif pass_ == "forward":
        bound += ": the product is rounded once"
    return textwrap.fill(f"{bound}. float16 is computed in float32 and rounded once.", 100)


def forward_doc(gate: Gate) -> str:
    return f"""{gate.summary}

    f(value, gate) = value * {gate.activation}(gate) = {gate.formula}

Parameters
----------
{VALUE_AND_GATE}
out, where, dtype, casting, order, subok : optional
    As for every NumPy ufunc; ``out=value`` and ``out=gate`` work in place.

Returns
-------
ndarray or scalar
    Of the broadcast shape, or of one half's, and of the dtype that NumPy's promotion gives; integers give a
    float.

Raises
------
TypeError
    An argument is complex, object, string or datetime; `axis` is no integer; an unknown argument.
ValueError
    One array has an odd length along `axis`; `axis` beside a `gate`; shapes that do not broadcast; `out` has
    the wrong shape or is read-only.
numpy.exceptions.AxisError
    There is no such axis.

Notes
-----
{_accuracy(gate, "forward")} NaN in either gives NaN; an
infinite value whose gate is shut (minus infinity, or where {gate.activation} is 0 at a point only) does, too.

``{gate.name}.ufunc`` is the ufunc of two arrays.

References
----------
{textwrap.fill(gate.source, 100)}

Examples
--------
>>> x = np.array([[1.0, -2.0, 0.5, 3.0]])
>>> y = fr.{gate.name}(x)
>>> bool(np.all(y == fr.{gate.name}(x[:, :2], x[:, 2:])))
True
"""


def backward_doc(gate: Gate) -> str:
    of_value, of_gate = gate.derivatives
    return f"""Backward pass of `{gate.name}`: both gradients in one pass.

    df/dvalue = {of_value}
    df/dgate = {of_gate}

Parameters
----------
dy : array_like
    The gradient with respect to the result, of its shape.
{VALUE_AND_GATE}
out : ndarray or pair of ndarray or None, optional
    Where to write: of one array, an array of its shape; of two, one for each gradient. They may be the
    operands themselves.
wrt : str or tuple of str, optional
    "value", "gate" or both, of two arrays; by default both.

Returns
-------
dvalue, dgate : ndarray or scalar
    Each of the shape of its operand (axes along which that was broadcast are summed) and of its dtype. One
    alone where `wrt` is a name.
dx : ndarray
    Of one array, in its shape and dtype.

Raises
------
TypeError
    An argument is complex, object, string or datetime; `axis` is no integer; `out` cannot hold a gradient.
ValueError
    As the forward pass; `dy` has another shape than its result; `wrt` names something else; two of `out`
    share memory.
numpy.exceptions.AxisError
    There is no such axis.

Notes
-----
{_accuracy(gate, "backward")} Measured with dy = 1. NaN
in an operand gives NaN; where a derivative is 0 the gradient is 0 whatever `dy` is.

References
----------
{textwrap.fill(gate.source, 100)}

Examples
--------
>>> value, gate = np.array([1.0, -2.0]), np.array([0.5, 3.0])
>>> dvalue, dgate = fr.{gate.name}.backward(np.ones(2), value, gate)
>>> dx = fr.{gate.name}.backward(np.ones(2), np.concatenate([value, gate]))
>>> bool(np.all(dx == np.concatenate([dvalue, dgate])))
True
"""
