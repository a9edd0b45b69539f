"""Compiled code of users' functions on disk: what a function was made from, and the file that keeps its code.

A file is found by where the function stands and for which machine it was compiled, and is believed only if
its first bytes are the digest of all that the code depends on and of the code itself.  Whatever goes wrong
here costs a compilation and no more.
"""

from __future__ import annotations

import builtins
import contextlib
import dis
import hashlib
import marshal
import os
import re
import secrets
import tempfile
import types
from pathlib import Path

import numpy as np

__all__ = ["fingerprint", "load", "path_for", "store"]


class _Unknown(Exception):
    """The function depends on something that cannot be written down."""


def fingerprint(function) -> str | None:
    """A text that changes whenever the function would compile to other code, or None.

    It covers what the function reads of its module and of others: numbers, and functions of Python or Numba
    with what they read in turn.
    """
    try:
        return hashlib.sha256(repr(_of_function(function, set())).encode()).hexdigest()
    except (_Unknown, ValueError):  # a cell that is empty yet
        return None


def _of_function(function, seen):
    if function in seen:
        return "again"
    seen.add(function)
    cells = [_of(cell.cell_contents, seen) for cell in function.__closure__ or ()]
    return function.__qualname__, _of_code(function.__code__, function.__globals__, seen), cells


def _of_code(code, names, seen):
    constants = [
        _of_code(c, names, seen) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts
    ]
    read, value = [], _Unknown  # the value that an attribute could be read from
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            builtin = getattr(builtins, instruction.argval, _Unknown)
            value = names.get(instruction.argval, builtin)
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and isinstance(value, types.ModuleType):
            value = getattr(value, instruction.argval, _Unknown)
        else:
            continue
        read.append((instruction.argval, value is not _Unknown and _of(value, seen)))
    return code.co_code, code.co_varnames, code.co_names, constants, read


def _of(value, seen):
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic)):
        return type(value).__name__, repr(value)
    if isinstance(value, (tuple, list)):
        return type(value).__name__, [_of(v, seen) for v in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, types.ModuleType):
        return value.__name__, getattr(value, "__version__", "")
    function = getattr(value, "py_func", value)  # of Numba's dispatchers
    if isinstance(function, types.FunctionType):
        return _of_function(function, seen)
    if isinstance(value, (types.BuiltinFunctionType, np.ufunc, type)) or _is_ours(value):
        return getattr(value, "__module__", None), getattr(value, "__qualname__", value.__name__)
    raise _Unknown


def _is_ours(value):
    """Whether it is something public of fastrelu, which compiled code finds again by its name."""
    return getattr(value, "__module__", None) == "fastrelu" and hasattr(value, "__qualname__")


# --- files --------------------------------------------------------------------------------------------------


def _directories(source):
    """Where the code of functions of one module may be kept, best first."""
    apart = f"{source.parent.name}_{hashlib.sha256(str(source.parent).encode()).hexdigest()[:10]}"
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(chosen, apart)]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [source.parent / "__pycache__", *([Path(home, "fastrelu", apart)] if os.path.isabs(home) else [])]


def _is_writable(directory):
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def path_for(function, purpose, machine) -> Path | None:
    """The file for a function's code; None where it has no module on disk or nothing can be written."""
    source = Path(function.__code__.co_filename).absolute()
    if not source.is_file():
        return None
    name = re.sub(r"[^\w.-]", "_", f"{source.stem}.{function.__qualname__}")
    file = f"{name}-{function.__code__.co_firstlineno}.{purpose}.{machine}.fastrelu"
    for directory in _directories(source):
        if (directory / file).exists() or _is_writable(directory):
            return directory / file
    return None


def _digest(key, content):
    return hashlib.sha256(key.encode() + content).digest()


def load(path, key):
    """What was stored under `key`, or None."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    digest, content = found[:32], found[32:]
    return marshal.loads(content) if digest == _digest(key, content) else None


def store(path, key, state) -> bool:
    """Keep `state`, of plain values, for `load`; whether that worked."""
    content = marshal.dumps(state)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(_digest(key, content) + content)
        temporary.replace(path)  # at once, for other processes may be reading
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        return False
    return True
