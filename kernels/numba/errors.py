"""The errors of calls inside @njit: compiled code hands over values, of which Python makes the words."""

from __future__ import annotations

__all__ = ["Misfit"]


class Misfit(ValueError):
    """A ValueError with the values of the call in its message.

    Numba raises a class with the arguments that compiled code gave; what comes of that is an ordinary
    ValueError, so nobody meets this class.
    """

    def __new__(cls, message, *values):
        return ValueError(message.format(*map(_shown, values)))


def _shown(value):
    """A number or a shape as in the errors of calls outside."""
    return repr(value) if not isinstance(value, float) else f"{value:.9g}"
