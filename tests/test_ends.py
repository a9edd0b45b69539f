"""The thread pool across forks, in processes of every kind, and at their end.

Everything that could hang runs in a process of its own with a time limit.
"""

import numpy as np
import pytest
from fresh import PARALLEL, output

import fastrelu as fr

pytestmark = pytest.mark.usefixtures("kernels_only")

ENDS = {
    "a fork after use": "assert in_child(lambda: right() and three_workers()) and right()",
    "a fork of a fork": "assert in_child(lambda: in_child(right) and right()) and right()",
    "a fork while another thread is inside": """
stop = threading.Event()
def work():
    while not stop.is_set(): fr.gelu(x)
threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
for thread in threads: thread.start()
for _ in range(25): assert in_child(lambda: right() and three_workers())
stop.set()
for thread in threads: thread.join()
assert right()
""",
    "a process id that comes round": """
# Process 1 of a namespace is the child of process 1 of another: it owns no thread of its parent's pool.
import ctypes
def first_of_a_namespace(work):
    if ctypes.CDLL(None, use_errno=True).unshare(0x20000000): return True  # not allowed here
    child = os.fork()
    if child == 0: os._exit(0 if os.getpid() == 1 and work() else 1)
    for _ in range(2000):
        if (done := os.waitpid(child, os.WNOHANG))[0]: return done[1] == 0
        time.sleep(0.01)
    os.kill(child, 9)
assert first_of_a_namespace(lambda: right() and first_of_a_namespace(right))
""",
    "processes of multiprocessing": """
import multiprocessing
if __name__ == "__main__":
    for method in ("fork", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            for result in pool.imap(fr.gelu, [x] * 4):
                assert result.tobytes() == expected
    def leave(): os._exit(0 if right() else 1)
    process = multiprocessing.get_context("fork").Process(target=leave, daemon=True)
    process.start()
    process.join(20)
    assert process.exitcode == 0
""",
    "spawned processes": """
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for result in pool.imap(fr.gelu, [x] * 4):
            assert result.tobytes() == expected
""",
    "futures in processes": """
import concurrent.futures, multiprocessing
with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
    for result in pool.map(fr.gelu, [x] * 4): assert result.tobytes() == expected
assert right()
""",
    "joblib": """
try:
    from joblib import Parallel, delayed
except ImportError:
    sys.exit()
for backend in ("loky", "threading", "multiprocessing"):
    for result in Parallel(n_jobs=2, backend=backend)(delayed(fr.gelu)(x) for _ in range(4)):
        assert result.tobytes() == expected
assert right()
""",
    "dask": """
try:
    import dask
except ImportError:
    sys.exit()
for scheduler in ("threads", "processes"):
    for result in dask.compute(*[dask.delayed(fr.gelu)(x) for _ in range(4)], scheduler=scheduler):
        assert result.tobytes() == expected
""",
    "exec": "os.execv(sys.executable, [sys.executable, '-c', 'import fastrelu'])",
}


@pytest.mark.parametrize("name", ENDS)
def test_processes(name):
    # a process that multiprocessing or joblib starts holds warnings against them that are not ours
    output(PARALLEL + ENDS[name], PYTHONWARNINGS="ignore")


def test_an_end_with_work_in_flight():
    """Daemon threads compute while the main one leaves: no hang, no crash, no word."""
    code = (
        PARALLEL
        + """
big = np.ones(3_000_000, np.float32)
def work(a):
    while True: fr.gelu(a), fr.gelu(a[::2])
for a in (x, big, x): threading.Thread(target=work, args=(a,), daemon=True).start()
time.sleep(0.02)
"""
    )
    for _ in range(5):
        output(code)


def test_an_end_inside_a_setting():
    output("setting = fr.use_backend('numpy'); setting.__enter__()")
    output("def run():\n    with fr.accuracy('fast'): yield\nleft = run(); next(left)")


def test_a_task_keeps_its_settings_beyond_the_block():
    """A context that was copied inside of it still holds them: the fast path must not pass them by."""
    import contextvars

    with fr.use_backend("numpy"):
        inside = contextvars.copy_context()
    plans = [run(fr.explain, fr.relu, np.ones(3)).backend for run in (inside.run, lambda f, *a: f(*a))]
    assert plans == ["numpy", "cython"]
    seen = []
    before = fr.backends()["numpy"].elementwise(fr.relu.kernel)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(before), "__call__", lambda *a, **k: seen.append("numpy") or np.zeros(3))
        inside.run(fr.relu, np.ones(3))
        fr.relu(np.ones(3))
    assert seen == ["numpy"]
    del inside
