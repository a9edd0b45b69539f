"""Code in an interpreter of its own: for what changes the process, ends it, or could hang."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # OpenBLAS starts a thread for each processor
START = """
import contextlib, os, sys, threading, time
import numpy as np
from fresh import *
import fastrelu as fr
from fastrelu.backends import cython
"""

# Everything of some size in parallel, on 4 threads
PARALLEL = """
cython.ufuncs.configure(4, 1000, 1 << 16, 4)
x = np.random.default_rng(0).normal(0, 3, 100_000).astype(np.float32)
expected = fr.gelu(x).tobytes()
def right():
    return all(fr.gelu(x).tobytes() == expected for _ in range(20))
def workers():
    return task_names().count("fastrelu")
def three_workers():  # one that has just been started does not have its name yet
    return until(lambda: workers() == 3)
assert right() and three_workers()
"""


def output(code, *, start=START, timeout=60, **environment):
    """What `code` prints in a fresh interpreter, which must end well and without complaint."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FASTRELU_") and k not in LIMITS}
    # a fork beside other threads is what some of the tests are about
    options = ("-W", "error", "-W", "ignore:.*fork:DeprecationWarning")
    done = subprocess.run(
        [sys.executable, *options, "-c", start + textwrap.dedent(code)],
        env=clean | {"OPENBLAS_NUM_THREADS": "1"} | environment,
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    assert not done.stderr
    return done.stdout.strip()


def run_tests(*selected, hidden=(), timeout=900, **environment):
    """Run tests in a fresh interpreter, in which these modules cannot be imported; they must pass."""
    hide = "".join(f"sys.modules[{name!r}] = None; " for name in hidden)
    code = f"import sys; {hide}import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FASTRELU_")}
    done = subprocess.run(
        [sys.executable, "-c", code, "-q", "-p", "no:cacheprovider", "--tb=short", *selected],
        env=clean | environment,
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


# For use inside


def task_names():
    """The names of this process's threads, ours among them."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        try:
            names.append((task / "comm").read_text().strip())
        except OSError:  # it has just ended
            continue
    return names


def resident():
    """Bytes of memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def virtual():
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def until(condition):
    """Whether it comes true within 20 seconds: a new thread, say, takes a while to give itself a name."""
    end = time.monotonic() + 20
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.002)
    return true


def in_child(work):
    """Whether work() is true in a forked child, which is ended after 20 seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if work() else 1)
    return os.waitpid(child, 0)[1] == 0
