"""The shell command: ``fastrelu info | plot | bench | train``, also ``python -m fastrelu``.

Each subcommand is a module with ``add_parser(subparsers)`` and ``run(options)``, imported only when it is
the one asked for (or for the help), so `fastrelu info` does not wait for scikit-learn or matplotlib.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

import fastrelu

__all__ = ["COMMANDS", "main"]

COMMANDS = ("info", "plot", "bench", "train")


def _parser(commands):
    parser = argparse.ArgumentParser(prog="fastrelu", description=fastrelu.__doc__.partition("\n")[0])
    parser.add_argument("--version", action="version", version=f"fastrelu {fastrelu.__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in commands:
        importlib.import_module(f".{command}", __name__).add_parser(subparsers)
    return parser


def main(arguments=None) -> int:
    """Run one subcommand.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line without the program's name; by default that of the process.

    Returns
    -------
    int
        The exit code: 0, or 1 where the command could not do its work. A wrong command line raises
        SystemExit(2), as argparse does.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    command = arguments[0] if arguments and arguments[0] in COMMANDS else None
    try:
        options = _parser([command] if command else COMMANDS).parse_args(arguments)
        command = options.command
        return importlib.import_module(f".{command}", __name__).run(options) or 0
    except ModuleNotFoundError as missing:
        package = (missing.name or "fastrelu").partition(".")[0]
        if package == "fastrelu" or command is None:
            raise
        print(
            f"fastrelu {command} needs {package}, which is not installed: pip install 'fastrelu[{command}]'",
            file=sys.stderr,
        )
        return 1
    except BrokenPipeError:  # `fastrelu info | head`: nobody reads on, and the last flush must not fail too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130  # what a shell makes of an interrupt
