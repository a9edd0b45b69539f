"""``fastrelu info``: what was built, what was chosen, and what each activation would run on."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

import fastrelu as fr

from ..backends import cython
from .options import unique_activations

__all__ = ["add_parser", "report", "run"]

SIZES = (16, 1_000, 1_000_000, 16_000_000)


def add_parser(subparsers):
    """Add ``info`` to the command line."""
    parser = subparsers.add_parser(
        "info",
        help="versions, instruction sets, backends, and what each activation runs on",
        description="What fastrelu was built with and would run on here; all that a bug report needs.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def _instruction_sets():
    """Each known instruction set: built into this installation, supported by this CPU, chosen."""
    return {
        name: {
            "built": name in cython.BUILT,
            "supported": bool(cython.ufuncs and cython.ufuncs.supports(level)),
            "chosen": name == cython.ISA,
        }
        for name, level in cython.INSTRUCTION_SETS.items()
    }


def _plans(function):
    """Both passes at each size, on contiguous float32, in and out of cache."""
    arrays = {size: np.empty(size, np.float32) for size in SIZES}
    return {
        "forward": {str(n): dataclasses.asdict(fr.explain(function, x)) for n, x in arrays.items()},
        "backward": {
            str(n): dataclasses.asdict(fr.explain(function.backward, x, x)) for n, x in arrays.items()
        },
    }


def report() -> dict:
    """Everything as nested dictionaries of plain values."""
    return fr.show_config(mode="dicts") | {
        "instruction sets": _instruction_sets(),
        "activations": {f.row.qualname: _plans(f) for f in unique_activations()},
    }


def run(options):
    """Print the report."""
    made = report()
    if options.json:
        print(json.dumps(made, indent=2))
        return 0
    for section, values in made.items():
        print(f"{section}:")
        (_SECTIONS.get(section) or _print_values)(values)
    return 0


def _print_values(values):
    width = max(map(len, values)) + 2
    for name, value in values.items():
        print(f"  {name:<{width}}{value}")


def _print_instruction_sets(values):
    for name, facts in values.items():
        words = [
            "built" if facts["built"] else "not built",
            "supported by this CPU" if facts["supported"] else "not supported by this CPU",
            *(["chosen"] if facts["chosen"] else []),
        ]
        print(f"  {name:<11}{', '.join(words)}")


def _in_words(plan):
    threads = f"{plan['threads']} thread{'s' * (plan['threads'] > 1)}"
    streaming = ", streaming" if plan["stores"] == "streaming" else ""
    return f"{plan['path']}, {threads}{streaming}"


def _print_activations(values):
    """A line for each pass, or one for both where they run alike."""
    lines = [("float32 elements", *(f"{size:,}" for size in SIZES))]
    for name, passes in values.items():
        forward, backward = ([_in_words(p) for p in plans.values()] for plans in passes.values())
        if forward == backward:
            lines.append((f"{name}, backward", *forward))
        else:
            lines += [(name, *forward), (f"{name} backward", *backward)]
    widths = [max(map(len, column)) + 2 for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        print(f"  {''.join(cells)}".rstrip())


_SECTIONS = {"instruction sets": _print_instruction_sets, "activations": _print_activations}
