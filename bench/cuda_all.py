"""Everything that a machine with a GPU can show of the CUDA kernels, in ten minutes, into one folder.

    python bench/cuda_all.py --out FOLDER [--only STEP] [--times 1] [--list]

Each step is a command of this repository: what it writes goes to FOLDER/STEP.txt, the commands, their status
and time to FOLDER/summary.txt.  A step that runs out of its time is stopped and keeps what it has written;
``--times 4`` gives each four times as much.  ``--list`` says what would run, and runs nothing.  Without a
device the reason is printed, and nothing is run.  On a machine that has only the source, build it first, with
the Python that has PyTorch and numba-cuda there::

    python setup.py build_ext --inplace
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import fastrelu as fr

ROOT = Path(__file__).resolve().parent.parent
PYTEST = sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"
ON_DEVICE = (
    *PYTEST,
    *(
        "on_device.py",
        "on_device_dtypes.py",
        "on_device_fused.py",
        "on_device_repeated.py",
        "on_device_rows.py",
        "on_device_streaming.py",
        "on_device_weighted.py",
    ),
)
SANITIZER = "compute-sanitizer", "--error-exitcode", "9"
DTYPES = {
    "float16": "float16 and not bfloat16",
    "bfloat16": "bfloat16",
    "float32": "float32",
    "float64": "float64",
    "others": "not float16 and not float32 and not float64",
}


@dataclass(frozen=True)
class Step:
    """Commands that run side by side, and how long they may.

    Attributes
    ----------
    commands : dict
        By the name of the file that each writes.
    seconds : int
    needs : tuple of str
        Programs and modules without which it is left out.
    """

    commands: dict
    seconds: int
    needs: tuple = ()

    def missing(self):
        """What it needs and is not there."""
        return [name for name in self.needs if shutil.which(name) is None and not _is_module(name)]


def _is_module(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it
        return False


def benchmark(name, *arguments):
    return sys.executable, str(ROOT / "bench" / f"{name}.py"), *arguments


BUILT = "fastrelu.kernels.cuda.formulas", "fastrelu.kernels.ufuncs"
FOR_TESTS = *BUILT, "pytest", "mpmath", "ml_dtypes"
STEPS = {
    "device": Step({"device": ("nvidia-smi",)}, 10, ("nvidia-smi",)),
    # what compiles most comes first, side by side: machine code stays on disk for the others
    "tests": Step(
        {f"tests-{name}": (*ON_DEVICE, "-k", which) for name, which in DTYPES.items()}, 215, FOR_TESTS
    ),
    "libraries": Step({"libraries": (*PYTEST, "on_libraries.py")}, 40, (*FOR_TESTS, "torch")),
    "cost": Step({"cost": benchmark("cuda_call_cost")}, 15, (*BUILT, "torch")),
    "ulp": Step({"ulp": benchmark("cuda_ulp")}, 110, (*BUILT, "torch")),
    "bandwidth": Step(
        {"bandwidth": benchmark("cuda_bandwidth", "--megabytes", "256", "--eager")}, 80, (*BUILT, "torch")
    ),
    "rows": Step({"rows": benchmark("cuda_rows", "--megabytes", "128")}, 80, (*BUILT, "torch")),
    "sanitizer": Step(
        {"sanitizer": (*SANITIZER, *ON_DEVICE, "-k", "row or offset")}, 50, (*FOR_TESTS, SANITIZER[0])
    ),
}


def run(step, folder, times):
    """Run the commands of a step; a line about each."""
    limit, started = step.seconds * times, time.monotonic()
    environment = os.environ | {"ON_HARDWARE": "1"}
    running = {}
    for name, command in step.commands.items():
        with (folder / f"{name}.txt").open("w") as file:
            running[name] = subprocess.Popen(
                command, cwd=ROOT / "tests", env=environment, stdout=file, stderr=subprocess.STDOUT
            )
    for name, process in running.items():
        try:
            status = process.wait(max(1, limit - (time.monotonic() - started)))
            verdict = "ok" if status == 0 else f"status {status}"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            verdict = f"stopped after {limit} s"
        yield f"{name}: {verdict}, {time.monotonic() - started:.0f} s: {' '.join(step.commands[name])}"


def lines(steps, folder, times):
    """Run the steps; a line about each command."""
    for name, step in steps.items():
        if missing := step.missing():
            yield f"{name}: left out, not there: {', '.join(missing)}"
        else:
            yield from run(step, folder, times)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder for what is written")
    parser.add_argument("--only", choices=STEPS, help="one step")
    parser.add_argument("--times", type=int, default=1, help="what each step's time is multiplied by")
    parser.add_argument("--list", action="store_true", help="say what would run")
    given = parser.parse_args(arguments)
    steps = {name: step for name, step in STEPS.items() if given.only in (None, name)}
    if given.list:
        for name, step in steps.items():
            for command in step.commands.values():
                print(f"{name}, {step.seconds * given.times} s: {' '.join(command)}")
        return 0
    cuda = fr.backends()["cuda"]
    if not cuda.available:
        print(f"skipped: {cuda.detail}")
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    failed = False
    with (given.out / "summary.txt").open("w") as summary:
        for line in lines(steps, given.out.resolve(), given.times):
            print(line, flush=True)
            print(line, file=summary, flush=True)
            failed |= ": status" in line
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
