"""Forks, spawned processes and threads around the thread pool and the memory that results leave behind.

Everything that could hang runs in a process of its own with a time limit.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

import fastrelu as fr

SETUP = """
import os, sys, threading, time, warnings
import numpy as np
import fastrelu as fr
from fastrelu.backends import cython
warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what is tested

cython.ufuncs.configure(4, 1, 1 << 16, 4)
x = np.random.default_rng(0).normal(0, 3, 200_000).astype(np.float32)
expected = fr.gelu(x[:100]).tobytes()

def right():
    assert fr.explain(fr.gelu, x).threads == 4
    big = fr.gelu(x)
    strided = fr.gelu(x.reshape(400, 500)[:, ::2])
    rows = fr.softmax(x.reshape(400, 500), axis=-1)
    cython.ufuncs.configure(1, 2**62, 2**62, 1)
    alone = fr.gelu(x)
    same = alone.tobytes() == big.tobytes() and alone[:100].tobytes() == expected
    same = same and alone.reshape(400, 500)[:, ::2].tobytes() == strided.tobytes()
    same = same and fr.softmax(x.reshape(400, 500), axis=-1).tobytes() == rows.tobytes()
    cython.ufuncs.configure(4, 1, 1 << 16, 4)
    return same

def in_child(work):
    child = os.fork()
    if child == 0:
        os._exit(0 if work() else 1)
    assert os.waitpid(child, 0)[1] == 0
"""

SCRIPTS = {
    "a fork before the first parallel call": "in_child(right); assert right()",
    "a fork after a parallel call": "assert right(); in_child(right); assert right()",
    "a fork of a fork": """
assert right()
in_child(lambda: right() and (in_child(right) or right()))
assert right()
""",
    "many forks": "assert right()\nfor _ in range(20): in_child(right)",
    "forks while another thread computes": """
stop = threading.Event()
def busy():
    while not stop.is_set():
        fr.gelu(x)
threads = [threading.Thread(target=busy) for _ in range(3)]
for t in threads: t.start()
for _ in range(20): in_child(right)
stop.set()
for t in threads: t.join()
assert right()
""",
    "an end with workers alive": "assert right()",
    "an end from a thread that computes": """
threading.Thread(target=lambda: [fr.gelu(x) for _ in range(10**9)], daemon=True).start()
time.sleep(0.2)
sys.stdout.flush()
""",
    "a pool of forked processes": """
import multiprocessing
assert right()
with multiprocessing.get_context("fork").Pool(3) as pool:
    assert all(r.tobytes() == fr.gelu(x).tobytes() for r in pool.imap(fr.gelu, [x] * 6))
""",
    "a pool of spawned processes": """
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert [r.tobytes() for r in pool.map(fr.gelu, [x] * 4)] == [fr.gelu(x).tobytes()] * 4
""",
    "a new number of threads": """
for n in (1, 2, 7, 3, 300, 1, 4):
    fr.set_num_threads(n)
    cython.ufuncs.configure(n, 1, 1 << 16, n)
    assert fr.gelu(x)[:100].tobytes() == expected
""",
    "signals": """
import signal
caught = []
signal.signal(signal.SIGALRM, lambda *_: caught.append(threading.current_thread() is threading.main_thread()))
signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
while len(caught) < 30: fr.gelu(x)
signal.setitimer(signal.ITIMER_REAL, 0)
assert all(caught)
""",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_around_the_pool(name, tmp_path, kernels_only):
    script = tmp_path / "script.py"
    script.write_text(SETUP + SCRIPTS[name])
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr


# Large results: memory that is used again


@pytest.fixture
def cache(kernels_only):
    before = fr.get_cache_limit()
    fr.set_cache_limit(64 << 20)
    yield
    fr.set_cache_limit(before)


def test_large_results_are_ordinary_arrays(cache):
    n = 5 << 18  # 5 MiB of float32
    x = np.random.default_rng(1).normal(0, 3, n).astype(np.float32)
    expected = np.maximum(x, 0).tobytes()
    for _ in range(4):  # from the second on in used memory
        y = fr.relu(x)
        assert y.flags.owndata
        assert y.flags.writeable
        assert y.tobytes() == expected
        y.resize(n // 2, refcheck=False)
        assert y.tobytes() == expected[: 2 * n]
        y.resize(3 * n, refcheck=False)
        assert y[: n // 2].tobytes() == expected[: 2 * n]
        assert not y[n // 2 :].any()
        y.resize(7, refcheck=False)
        assert y.tobytes() == expected[:28]


def test_results_that_live_at_once_share_nothing(cache):
    x = np.random.default_rng(2).normal(0, 3, 1 << 20)
    alive = [fr.relu(x * k) for k in range(5)]
    del alive[1], alive[2]
    alive += [fr.relu(x * k) for k in (7, 8, 9)]
    for y, k in zip(alive, (0, 2, 4, 7, 8, 9), strict=True):
        np.testing.assert_array_equal(y, np.maximum(x * k, 0))
    assert not any(np.shares_memory(a, b) for i, a in enumerate(alive) for b in alive[:i])


def test_the_handler_is_set_around_our_allocations_only(cache):
    from numpy._core.multiarray import get_handler_name

    before = get_handler_name()
    y = fr.relu(np.ones(1 << 21, np.float32))
    assert get_handler_name() == before
    assert get_handler_name(np.empty(1 << 21, np.float32)) == before
    assert get_handler_name(y) != before
    assert get_handler_name(fr.relu(np.ones(16, np.float32))) == before
    assert get_handler_name(y.copy()) == before


def test_the_cache_can_be_limited_and_turned_off(cache):
    x = np.ones(3 << 20, np.float32)
    for limit in (0, 1 << 20, 64 << 20):
        fr.set_cache_limit(limit)
        assert fr.get_cache_limit() == limit
        for _ in range(3):
            np.testing.assert_array_equal(fr.relu(x), x)
    for bad in (-1, 1.5, "64", None, True):
        with pytest.raises(ValueError, match="whole number"):
            fr.set_cache_limit(bad)
    assert fr.get_cache_limit() == 64 << 20


def test_memory_outlives_the_cache_and_its_thread(cache):
    from concurrent.futures import ThreadPoolExecutor

    x = np.ones(1 << 21, np.float32)
    with ThreadPoolExecutor(4) as pool:  # made in one thread, freed in another
        results = list(pool.map(fr.relu, [x] * 12))
    fr.set_cache_limit(0)
    assert all((y == 1).all() for y in results)
    del results
    fr.set_cache_limit(64 << 20)
    assert (fr.relu(x) == 1).all()


def test_the_reference_starts_no_thread():
    tasks = "/proc/self/task"
    if not os.path.exists(tasks):
        pytest.skip("no /proc here")
    code = "import os, numpy as np, fastrelu as fr; fr.gelu(np.ones(10**6)); print(len(os.listdir({!r})))"
    environment = os.environ | {"FASTRELU_BACKEND": "numpy", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code.format(tasks)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "1", done.stderr
