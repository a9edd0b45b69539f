"""What a call on device arrays costs the host, by part, beside PyTorch's own.

    python bench/cuda_call_cost.py [--repeats 200] [--write docs/cuda.md]

On a device its arrays are PyTorch's there, and so is the line beside.  Without one a driver that runs nothing
takes the real one's place (tests/fake_driver.c, for which a C compiler is needed), and tensors in host memory
are taken for ones on a device: asking them where they lie costs the same.  PyTorch's line is then that of the
CPU, which computes 1 000 numbers besides, and stands for what its own dispatch takes.

Nanoseconds, the least mean of many short loops.  ``empty``: memory for the result, ``view``: an array's
attributes where its library has no table of functions for that, ``launch``: arguments are packed and the
driver is called.  The rest of a call is its whole cost without the first and the last of these.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from speed import put_between

import fastrelu as fr
from fastrelu.kernels.cuda import plain_calls

MARKS = "<!-- bench/cuda_call_cost.py -->", "<!-- end -->"
ROOT = Path(__file__).resolve().parent.parent
COUNT, LOOP = 1000, 100  # short loops, of which some are not interrupted


def nanoseconds(function, repeats):
    """Of a call: the least mean of so many loops."""
    spans = []
    for _ in range(repeats + 1):  # the first warms
        start = time.perf_counter_ns()
        for _ in range(LOOP):
            function()
        spans.append((time.perf_counter_ns() - start) / LOOP)
    return min(spans[1:])


def pretend(torch):
    """Take tensors in host memory for ones on a device, whose current stream has the number 1."""
    torch.Tensor.is_cuda = torch.Tensor.is_cpu
    torch._C._cuda_getCurrentRawStream = abs  # they are on device -1
    plain_calls.take_for_a_device(1)


def cases(torch, device):
    """Name -> (our call, PyTorch's, whether the result is given)."""
    x, dy = (torch.randn(10, COUNT // 10, device=device) for _ in range(2))
    y, functions = torch.empty_like(x), torch.nn.functional
    turned, wide = x.T, torch.randn(10, COUNT // 5, device=device)[:, ::2]
    bias, double = torch.randn(COUNT // 10, device=device), x.double()
    labels, mask = torch.arange(10, device=device), x > 0
    return x, {
        "relu(x)": (lambda: fr.relu(x), lambda: torch.relu(x), False),
        "relu(x, out=y)": (lambda: fr.relu(x, out=y), lambda: torch.relu(x), True),
        "leaky_relu(x, negative_slope=0.1)": (
            lambda: fr.leaky_relu(x, negative_slope=0.1),
            lambda: functions.leaky_relu(x, 0.1),
            False,
        ),
        "gelu.backward(dy, x, out=y)": (
            lambda: fr.gelu.backward(dy, x, out=y),
            lambda: torch.ops.aten.gelu_backward(dy, x),
            True,
        ),
        "relu(x.T, out=y.T)": (lambda: fr.relu(turned, out=y.T), lambda: torch.relu(turned), True),
        "relu(x[:, ::2])": (lambda: fr.relu(wide), lambda: torch.relu(wide), False),
        "gelu.backward(dy, x[:, ::2])": (
            lambda: fr.gelu.backward(dy, wide),
            lambda: torch.ops.aten.gelu_backward(dy, wide),
            False,
        ),
        "logaddexp(x, bias)": (lambda: fr.logaddexp(x, bias), lambda: torch.logaddexp(x, bias), False),
        "logaddexp(x, float64)": (
            lambda: fr.logaddexp(x, double),
            lambda: torch.logaddexp(x, double),
            False,
        ),
        "relu(x, out=y, where=mask)": (
            lambda: fr.relu(x, out=y, where=mask),
            lambda: torch.where(mask, torch.relu(x), y),
            True,
        ),
        "softmax(x)": (lambda: fr.softmax(x), lambda: torch.softmax(x, -1), False),
        "logsumexp(x, axis=1)": (lambda: fr.logsumexp(x, axis=1), lambda: torch.logsumexp(x, 1), False),
        "cross_entropy(x, labels)": (
            lambda: fr.cross_entropy(x, labels),
            lambda: functions.cross_entropy(x, labels),
            False,
        ),
    }


def lines(repeats):
    """The table."""
    import torch

    from fastrelu.device.arrays import library_of
    from fastrelu.kernels.cuda import elementwise, launch

    on_device = torch.cuda.is_available()
    if not on_device:
        pretend(torch)
    torch.set_num_threads(1)
    x, calls = cases(torch, "cuda" if on_device else "cpu")
    library, on = library_of(x), launch.device(x.get_device())
    kernel = elementwise.compiled(elementwise.function_of("relu", "f", "high"), 1, "f", "a", 0)
    values = (x.data_ptr(), x.data_ptr(), COUNT, 0, COUNT // 4)
    parts = {
        "empty": lambda: library.empty_like(x),
        "view": lambda: library.view(x),
        "launch": lambda: on.launch(kernel, 1, 0, values),
    }
    ns = {name: nanoseconds(function, repeats) for name, function in parts.items()}
    if on_device:
        yield f"On {torch.cuda.get_device_name()}, beside PyTorch {torch.__version__}:"
    else:
        yield f"A driver that runs nothing, beside PyTorch {torch.__version__} on the CPU:"
    yield ", ".join(f"{name} {value:.0f}" for name, value in ns.items()) + "."
    yield ""
    yield "| call | whole | without `empty` and `launch` | PyTorch |"
    yield "| --- | --: | --: | --: |"
    for name, (ours, theirs, given) in calls.items():
        whole = nanoseconds(ours, repeats)
        rest = whole - ns["launch"] - (not given) * ns["empty"]
        yield f"| `{name}` | {whole:.0f} | {rest:.0f} | {nanoseconds(theirs, repeats):.0f} |"


def with_a_driver_that_runs_nothing(arguments):
    """This script again, beside that driver; None where it cannot be built."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        driver = Path(folder, "libcuda.so.1")
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O2", "-o", driver, ROOT / "tests/fake_driver.c"], check=True
        )
        command = [sys.executable, __file__, "--here", *arguments]
        return subprocess.run(command, env=os.environ | {"LD_LIBRARY_PATH": folder}, check=False).returncode


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--write", type=Path, help="put the table between the marks of this page")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    cuda = fr.backends()["cuda"]
    if not cuda.available and not given.here:
        status = with_a_driver_that_runs_nothing(sys.argv[1:] if arguments is None else arguments)
        if status is None:
            print(f"skipped: {cuda.detail}, and there is no C compiler for a stand-in")
        return status or 0
    shown = []
    for line in lines(given.repeats):
        print(line, flush=True)
        shown.append(line)
    if given.write:
        put_between(MARKS, "\n".join(shown) + "\n", given.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
