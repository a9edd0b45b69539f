"""Signatures and docstrings of the public objects, read from the table."""

from __future__ import annotations

import textwrap
from inspect import Parameter as Argument
from inspect import Signature, cleandoc
from math import inf

from .row import Row

__all__ = [
    "UFUNC_ARGUMENTS",
    "attached",
    "backward_doc",
    "backward_signature",
    "completed",
    "custom_backward_doc",
    "custom_forward_doc",
    "forward_doc",
    "forward_signature",
    "sharing",
]

UFUNC_ARGUMENTS = {
    "out": None, "where": True, "dtype": None, "casting": "same_kind", "order": "K", "subok": True,
}  # fmt: skip


def _parameters(row, kind):
    made = [
        Argument(p.name, kind, default=Argument.empty if p.default is None else p.shown_default)
        for p in row.parameters
    ]
    if row.channel_axis is not None:
        made.append(Argument("axis", Argument.KEYWORD_ONLY, default=row.channel_axis))
    if row.option and not row.variant_of:
        made.append(Argument(row.option[0], kind, default=row.option[1]))
    return made


def forward_signature(row: Row) -> Signature:
    keywords = [Argument(name, Argument.KEYWORD_ONLY, default=d) for name, d in UFUNC_ARGUMENTS.items()]
    x = Argument("x", Argument.POSITIONAL_ONLY)
    return Signature([x, *_parameters(row, Argument.POSITIONAL_OR_KEYWORD), *keywords])


def backward_signature(row: Row) -> Signature:
    both = Argument.POSITIONAL_OR_KEYWORD
    given = [Argument("dy", Argument.POSITIONAL_ONLY), Argument("x", both, default=None)]
    names = ["y", "out", "wrt", *(["at_zero"] if row.knots else [])]
    names += ["mask"] if row.other_slope is not None else []
    keywords = [Argument(name, Argument.KEYWORD_ONLY, default=None) for name in names]
    parameters = [p.replace(kind=Argument.KEYWORD_ONLY) for p in _parameters(row, both)]
    # the required ones first is a rule for positional arguments only
    return Signature([*given, *keywords, *parameters])


def _entry(name, kind, text):
    return f"{name} : {kind}\n" + textwrap.indent(textwrap.fill(text, 96), "    ")


def _parameter_entries(row):
    made = []
    for p in row.parameters:
        shown = None if p.shown_default is None else f"{p.shown_default:g}"
        default = "" if p.default is None else f", default {shown}"
        needs = f" Must be usable: {p.requirement}." if p.constrained or p.not_below else ""
        made.append(_entry(p.name, f"array_like{default}", f"{p.doc}{needs} Cast to the dtype of `x`."))
    if row.channel_axis is not None:
        text = "The axis of `x` along which a vector of parameters has one value per channel."
        made.append(_entry("axis", f"int, default {row.channel_axis}", text))
    if row.option and not row.variant_of:
        made.append(_entry(row.option[0], f"str, default {row.option[1]!r}", "Which variant to compute."))
    return made


def _example_arguments(row):
    return "".join(f", {p.name}={p.typical[0]:g}" for p in row.parameters if p.default is None)


def _accuracy(row, pass_):
    return (
        f"At most {row.ulp[pass_]:g} ULP for float32 and float64, subnormal results included"
        + (
            "; in float64, within 1/2 of an interior zero of f', an absolute 2**-56"
            if row.roots and pass_ == "backward"
            else ""
        )
        + ". float16 is computed in float32 and rounded once. The bits do not depend on size, strides, "
        "alignment or threads."
    )


def _outside(row):
    low, high = row.domain
    if low == -inf:
        return ""
    return f", and so does x outside [{low:g}, {high:g}]" if high < inf else f", and so does x < {low:g}"


def _constraint_error(row):
    return "".join(
        f" {p.requirement} is violated by a scalar (in an array the lane becomes NaN)."
        for p in row.parameters
        if p.constrained or p.not_below
    )


def forward_doc(row: Row) -> str:
    entries = [
        _entry(
            "x",
            "array_like",
            "Input of any shape and strides; real (integers promote as in np.exp"
            + (", but stay integers here)." if row.keeps_integers else ")."),
        ),
        *_parameter_entries(row),
        _entry(
            "out, where, dtype, casting, order, subok",
            "optional",
            "As for every NumPy ufunc; `out=x` works in place.",
        ),
    ]
    aliases = f"\n\nAlso called {', '.join(f'``{a}``' for a in row.aliases)}." if row.aliases else ""
    return f"""{row.summary}{aliases}

    f(x) = {row.formula}

Parameters
----------
{chr(10).join(entries)}

Returns
-------
ndarray or scalar
    The shape of `x` broadcast with the parameters, the dtype of `x`.

Raises
------
TypeError
    `x` or a parameter is complex, object, string or datetime; an unknown argument.
ValueError
    `out` has the wrong shape or is read-only.{_constraint_error(row)}

Notes
-----
{textwrap.fill(_accuracy(row, "forward"), 100)} NaN gives NaN{_outside(row)}.

References
----------
{textwrap.fill(row.source, 100)}

Examples
--------
>>> x = np.array([-1.0, 0.0, 2.0])
>>> y = fr.{row.qualname}(x{_example_arguments(row)})
>>> y.shape
(3,)
"""


def backward_doc(row: Row) -> str:
    from_y = (
        "may be given instead of `x`"
        if row.slope_from_y
        else "is not possible here: f' is not a function of y"
    )
    if row.from_y_needs:
        from_y += f", if {row.from_y_needs.requirement}"
    knot = []
    if row.knots:
        places = " and ".join(map(str, row.knots))
        knot.append(
            _entry(
                "at_zero",
                "array_like, optional",
                f"The derivative's value at x = {places}, where it jumps; the left one by default.",
            )
        )
    if row.other_slope is not None:
        text = "The bits that `with_mask` gave, instead of `x` and `y`; an element that was NaN is active."
        knot.append(_entry("mask", "ndarray of uint8, optional", text))
    learned = [p.name for p in row.parameters if p.learned]
    default = "the gradient of x" if not learned else f"(dx, {', '.join('d' + n for n in learned)})"
    return f"""Backward pass of `{row.qualname}`: dy * f'(x).

    f'(x) = {row.derivative}

Parameters
----------
{_entry("dy", "array_like", "Incoming gradient, of the shape of the forward result.")}
{_entry("x", "array_like, optional", "The forward pass's input.")}
{_entry("y", "array_like, optional", f"The forward pass's output, which {from_y}.")}
{_entry("out", "ndarray or tuple, optional", "Where to write, `dy` and `x` included; one for each gradient.")}
{_entry("wrt", "str or tuple of str, optional", f"Which gradients; by default {default}.")}
{chr(10).join([*knot, *_parameter_entries(row)])}

Returns
-------
ndarray or tuple
    Each gradient has the shape of its operand (axes along which that was broadcast are summed) and the
    dtype of `x`.

Raises
------
TypeError
    An operand is complex, object, string or datetime; an unknown argument.
ValueError
    Both or neither of `x` and `y`; `y` where the derivative is not a function of it; a shape that does
    not fit; an `out` that is read-only, or in one memory with another.{_constraint_error(row)}

Notes
-----
{textwrap.fill(_accuracy(row, "backward"), 100)} Measured with dy = 1. NaN in `x` gives NaN; where f' is 0
the result is 0 whatever `dy` is.

References
----------
{textwrap.fill(row.source, 100)}

Examples
--------
>>> x = np.array([-1.0, 0.5, 2.0])
>>> dx = fr.{row.qualname}.backward(np.ones(3), x{_example_arguments(row)}, wrt="x")
>>> dx.shape
(3,)
"""


def custom_forward_doc(row: Row) -> str:
    """Of a user's activation: what the user wrote, and how to call it."""
    x = _entry("x", "array_like", "Input of any shape and strides; real, at most float64.")
    others = "As for every NumPy ufunc; `out=x` works in place."
    return f"""{row.summary}

Parameters
----------
{chr(10).join([x, *_parameter_entries(row)])}
{_entry("out, where, dtype, casting, order, subok", "optional", others)}

Returns
-------
ndarray or scalar
    The shape of `x` broadcast with the parameters, the dtype of `x`.

Raises
------
TypeError
    The function does not compile; `x` or a parameter is of no real dtype, or wider than float64; an unknown
    argument.
ValueError
    `out` has the wrong shape or is read-only.

Notes
-----
{row.formula} is defined at {row.source}; see `fastrelu.activation`.
"""


def custom_backward_doc(row: Row) -> str:
    from_y = "may be given instead of `x`" if row.slope_from_y else "no derivative was given for"
    return f"""Backward pass of `{row.qualname}`: dy times the derivative that was given.

Parameters
----------
{_entry("dy", "array_like", "Incoming gradient, of the shape of the forward result.")}
{_entry("x", "array_like, optional", "The forward pass's input.")}
{_entry("y", "array_like, optional", f"The forward pass's output, which {from_y}.")}
{_entry("out", "ndarray or tuple, optional", "Where to write, `dy` and `x` included; one for each gradient.")}
{_entry("wrt", "str or tuple of str, optional", "Which gradients; by default that of x.")}
{chr(10).join(_parameter_entries(row))}

Returns
-------
ndarray or tuple
    Each gradient has the shape of its operand (axes along which that was broadcast are summed) and the
    dtype of `x`.

Raises
------
NotImplementedError
    The derivative was not given; the message shows how to add it.
TypeError
    The derivative does not compile; an operand is of no real dtype, or wider than float64; an unknown
    argument.
ValueError
    Both or neither of `x` and `y`; a shape that does not fit; an `out` that is read-only, or in one memory
    with another.

Notes
-----
Where the derivative is 0 the result is 0 whatever `dy` is.
"""


# Functions that are not of the table write their docstrings themselves, but for what several have in common.


def completed(doc, **sections):
    """A docstring with a text in the place of each ``{name}`` that is a line of it."""
    doc = cleandoc(doc)
    for name, text in sections.items():
        doc = doc.replace(f"{{{name}}}", cleandoc(text))
    return doc


def sharing(**sections):
    """A decorator: complete the docstring of a function."""

    def complete(function):
        function.__doc__ = completed(function.__doc__, **sections)
        return function

    return complete


def attached(forward, name="backward"):
    """A decorator: make a function an attribute of `forward`; it pickles by that path."""

    def attach(function):
        function.__name__, function.__qualname__ = name, f"{forward.__name__}.{name}"
        setattr(forward, name, function)
        return function

    return attach
