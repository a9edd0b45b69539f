"""Types of command-line arguments that several subcommands take; a wrong value ends with exit code 2."""

from __future__ import annotations

import argparse

import fastrelu as fr

__all__ = ["activation", "activations", "backend", "positive", "unique_activations", "whole"]


def activations():
    """Every activation by the name that a command line gives it: aliases and variants included."""
    named = {}
    for name, function in fr.ACTIVATIONS.items():
        named[name] = function
        named.update((v.row.qualname, v) for v in function.variants.values() if v is not function)
    return named


def unique_activations():
    """Every activation once, variants included."""
    return list(dict.fromkeys(activations().values()))


def activation(text):
    """The `Activation` called `text`: "gelu", "gelu.tanh", or a user's own, "package.module:name"."""
    if ":" in text:
        from ..custom import imported

        try:
            return imported(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    named = activations()
    if text not in named:
        raise argparse.ArgumentTypeError(f"unknown activation {text!r}; expected one of {', '.join(named)}")
    return named[text]


def backend(text):
    """The name of a backend that is available."""
    known = fr.backends()
    if text not in known:
        raise argparse.ArgumentTypeError(f"unknown backend {text!r}; expected one of {', '.join(known)}")
    if not known[text].available:
        raise argparse.ArgumentTypeError(f"backend {text!r} is not available: {known[text].detail}")
    return text


def whole(least):
    """A type: whole numbers of at least `least`."""

    def parse(text):
        if not text.strip().isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"got {text!r}; expected a whole number of at least {least}")
        return int(text)

    return parse


def positive(text):
    """A type: finite numbers above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a number above 0")
    return value
