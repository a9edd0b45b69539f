"""From a kernel in Python to machine code: PTX by Numba and NVVM, machine code of that by nvJitLink.

Neither needs a device or a driver, so all of it can be tested anywhere.
"""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import dataclass
from types import SimpleNamespace

from numba import types

__all__ = ["Assembled", "Ptx", "assembled", "compile_device", "ptx"]

_lock = threading.RLock()


@dataclass(frozen=True)
class Ptx:
    """A kernel as PTX, and the name of its entry."""

    entry: str
    text: str


@dataclass(frozen=True)
class Assembled:
    """A kernel as machine code.

    Attributes
    ----------
    cubin : bytes
    registers : int
        Of a thread.
    spilled : int
        Bytes of local memory of a thread, which no kernel should need.
    """

    cubin: bytes
    registers: int
    spilled: int


@contextlib.contextmanager
def _compiling_for(cc):
    """Numba asks the device, which there need not be, what the functions that a kernel calls are for."""
    from numba.cuda import dispatcher

    with _lock:
        asked, stand_in = dispatcher.get_current_device, SimpleNamespace(compute_capability=cc)
        dispatcher.get_current_device = lambda: stand_in
        try:
            yield
        finally:
            dispatcher.get_current_device = asked


def compile_device(function, arguments, cc):
    """Compile a device function for arguments of these types, which says what is wrong with it."""
    with _compiling_for(cc):
        function.compile_device(arguments)


def ptx(kernel, arguments, cc, threads) -> Ptx:
    """A kernel, of Python, for a compute capability and at most so many threads in a block.

    Nothing is contracted: the formulas say themselves where a multiply-add is rounded once.
    """
    from numba.cuda import compiler
    from numba.cuda.cudadrv import nvvm

    with _compiling_for(cc):
        made = compiler.compile_cuda(
            kernel, types.void, tuple(arguments), nvvm_options={"opt": 3, "fma": 0}, cc=cc
        )
        library, entry = made.library, made.fndesc.llvm_func_name
        function = library.get_function(entry)
        compiler.kernel_fixup(function, False)
        nvvm.set_launch_bounds(function, threads)
        return Ptx(entry, library.get_asm_str(cc=cc))


def assembled(code: Ptx, cc) -> Assembled:
    """The machine code of PTX for one compute capability."""
    from cuda.bindings import nvjitlink

    handle = nvjitlink.create(2, [f"-arch=sm_{cc[0]}{cc[1]}", "-verbose"])
    try:
        text = code.text.encode()
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, text, len(text), "kernel")
        nvjitlink.complete(handle)
        cubin = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, cubin)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
    finally:
        nvjitlink.destroy(handle)
    said = log.decode(errors="replace")
    registers = int(re.search(r"Used (\d+) registers", said)[1])
    spilled = sum(int(n) for n in re.findall(r"(\d+) bytes (?:stack frame|lmem)", said))
    return Assembled(bytes(cubin), registers, spilled)
