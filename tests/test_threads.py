"""The thread pool: the same results, one parallel region at a time, no more threads than pay."""

import concurrent.futures
import contextlib
import ctypes
import itertools
import sys
import threading
import time

import numpy as np
import pytest
from cases import same_bits
from fresh import PARALLEL, output

import fastrelu as fr

pytestmark = pytest.mark.usefixtures("kernels_only")


@pytest.fixture(scope="module")
def calls():
    """Calls that take the pool by every way there is."""
    rng = np.random.default_rng(0)
    x, dy = rng.normal(0, 3, (2, 300, 401)).astype(np.float32)
    wide = x.astype(np.float64)
    labels, weights = rng.integers(0, 401, 300), rng.uniform(0, 1, 401)
    weight = rng.uniform(0, 1, (300, 1)).astype(np.float32)
    return {
        "fast": lambda: fr.gelu(x),
        "out": lambda: fr.elu(x, out=np.empty_like(x)),
        "backward": lambda: fr.gelu.backward(dy, x),
        "float64": lambda: fr.sigmoid(wide),
        "float16": lambda: fr.silu(x.astype(np.float16)),
        "integers": lambda: fr.tanh(np.arange(100_000)),
        "strided": lambda: fr.elu(x[:, ::2]),
        "short rows": lambda: fr.sigmoid(x[:, :7]),
        "transposed": lambda: fr.relu(x.T, out=np.empty(x.T.shape, np.float32)),
        "broadcast": lambda: fr.leaky_relu(x, weight),
        "ufunc": lambda: fr.gelu.ufunc(x),
        "rows": lambda: fr.softmax(x, axis=-1),
        "sums": lambda: fr.logsumexp(wide, axis=-1),
        "loss": lambda: fr.cross_entropy(x, labels, weight=weights),
        "gradients": lambda: fr.cross_entropy.backward(0.3, wide, labels, label_smoothing=0.1),
    }


# Results


def test_the_number_of_threads_changes_no_bit(calls, thresholds):
    thresholds(1, 2**62, 2**62)
    alone = {name: call().tobytes() for name, call in calls.items()}
    for threads in (2, 3, 4, 64):
        thresholds(threads, 100, 1 << 14)
        for name, call in calls.items():
            assert call().tobytes() == alone[name], (name, threads)


def test_the_callers_rounding_changes_no_bit(calls, thresholds):
    """Workers have a control word of their own, and so do formulas."""
    libm = ctypes.CDLL("libm.so.6")
    thresholds(4, 100, 1 << 14)
    expected = {name: call().tobytes() for name, call in calls.items()}
    upward, nearest = 0x800, 0
    for threads in (1, 4):
        thresholds(threads, 100, 1 << 14)
        for name, call in calls.items():
            if name in ("float16", "integers"):  # NumPy's own casts are in there
                continue
            try:
                assert libm.fesetround(upward) == 0
                got = call()
                kept = libm.fegetround()
            finally:
                libm.fesetround(nearest)
            assert kept == upward
            assert got.tobytes() == expected[name], (name, threads)


def test_eight_threads_mix_everything(calls):
    """Sizes, backends, accuracies, numbers of threads and cache limits, for two seconds."""
    sizes = (3, 100, 5_000, 70_000, 1_200_000)
    arrays = [np.random.default_rng(n).normal(0, 3, n).astype(np.float32) for n in sizes]
    functions = (fr.relu, fr.gelu, fr.elu, fr.tanh)
    before = fr.get_num_threads(), fr.get_cache_limit()
    expected = {}
    for backend, level in itertools.product(("cython", "numpy"), ("high", "fast")):
        with fr.use_backend(backend), fr.accuracy(level):
            for f in functions:
                for x in arrays[: 5 if backend == "cython" else 4]:
                    expected[f, backend, level, x.size] = f(x).tobytes()
    end = time.monotonic() + 2
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        turns = 0
        while time.monotonic() < end and not wrong:
            turns += 1
            f, x = functions[rng.integers(4)], arrays[rng.integers(5)]
            backend = "numpy" if rng.random() < 0.2 and x.size < 10_000 else None
            level = rng.choice(["high", "fast"]) if rng.random() < 0.2 else None
            with contextlib.ExitStack() as settings:
                if backend:
                    settings.enter_context(fr.use_backend(backend))
                if level:
                    settings.enter_context(fr.accuracy(level))
                if rng.random() < 0.1:
                    fr.set_num_threads(int(rng.integers(1, 5)))
                if rng.random() < 0.1:
                    fr.set_cache_limit(int(rng.integers(0, 20)))
                out = np.empty_like(x) if rng.random() < 0.5 else None
                got = f(x, out=out)
                if (plan := fr.explain(f, x).backend) != (backend or "cython"):
                    wrong.append((plan, backend))
            if got.tobytes() != expected[f, backend or "cython", level or "high", x.size]:
                wrong.append((f, backend, level, x.size))
        return turns

    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            turns = list(pool.map(work, range(8)))
    finally:
        fr.set_num_threads(before[0])
        fr.set_cache_limit(before[1])
    assert not wrong
    assert min(turns) > 1
    assert fr.explain(fr.relu, arrays[0]).path == "fast"  # no setting was left behind


# How many threads


def test_workers_start_with_the_first_work_that_pays():
    code = """
        x = np.ones(10**6, np.float32)
        names = task_names()
        fr.set_num_threads(3)
        fr.gelu(x[:1000]), fr.relu(x[:10_000])
        fr.set_num_threads(1)
        fr.gelu(x, out=x)
        assert task_names() == names
        fr.set_num_threads(3)
        fr.gelu(x, out=x)
        assert until(lambda: task_names().count("fastrelu") == 2)
        assert len(task_names()) == len(names) + 2
    """
    output(code)


def test_threads_grow_with_size_and_cost():
    before = fr.get_num_threads()
    fr.set_num_threads(16)
    try:
        plans = {
            f: [fr.explain(f, np.broadcast_to(np.float32(1), n)).threads for n in 2 ** np.arange(4, 26)]
            for f in (fr.relu, fr.gelu)
        }
        for threads in plans.values():
            assert threads[0] == 1
            assert threads[-1] == 16
            assert threads == sorted(threads)
            assert len(set(threads)) > 3
        pairs = list(zip(plans[fr.relu], plans[fr.gelu], strict=True))
        assert all(cheap <= costly for cheap, costly in pairs)
        assert any(cheap < costly for cheap, costly in pairs)
    finally:
        fr.set_num_threads(before)


def test_eight_callers_share_one_pool():
    code = (
        PARALLEL
        + """
import concurrent.futures
most = 0
def work(_):
    global most
    for _ in range(40):
        if fr.gelu(x).tobytes() != expected: return False
        most = max(most, len(task_names()))
    return True
before = len(task_names())
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    assert all(pool.map(work, range(8)))
assert three_workers()
assert most <= before + 8
"""
    )
    output(code)


def test_unreasonable_numbers_of_threads():
    code = """
        x = np.random.default_rng(0).normal(0, 3, 10**6).astype(np.float32)
        expected = fr.gelu(x).tobytes()
        for n in (2**70, 10**6, np.int64(3)):
            fr.set_num_threads(n)
            assert fr.get_num_threads() == n
            assert fr.gelu(x[:200_000]).tobytes() == expected[:800_000]
        assert fr.explain(fr.gelu, np.broadcast_to(np.float32(1), 2**40)).threads <= 256
    """
    output(code)


LITTLE_ROOM = """
import resource
def leave(bytes):
    resource.setrlimit(resource.RLIMIT_AS, (virtual() + bytes, resource.RLIM_INFINITY))
"""


def test_threads_that_cannot_be_started():
    """Where their stacks do not fit the address space that is left, fewer do the work."""
    code = """
out = np.empty_like(x)
cython.ufuncs.configure(200, 10, 1 << 30, 200)
leave(30 << 20)
for _ in range(3): assert fr.gelu(x, out=out).tobytes() == expected
assert until(lambda: 3 <= workers() < 199)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert fr.gelu(x, out=out).tobytes() == expected
assert until(lambda: workers() > 3)
"""
    output(PARALLEL + LITTLE_ROOM + code)


def test_no_thread_at_all_can_be_started():
    code = """
cython.ufuncs.configure(4, 10, 1 << 30, 4)
x = np.ones(100_000, np.float32)
out, y = np.empty_like(x), cython.ufuncs.empty((1 << 20,), np.dtype(np.float32))
leave(1 << 20)
for _ in range(3): fr.gelu(x, out=out)
assert "fastrelu" not in task_names() and (out > 0).all()
del y  # without a trimmer nobody would give it back
assert cython.ufuncs.cache_state()[0] == 0
"""
    output(LITTLE_ROOM + code)


def test_work_is_done_without_the_gil():
    """The other thread cannot run before the GIL is given up: nothing else here does it."""
    x = np.ones(3_000_000, np.float32)
    out = np.empty_like(x)
    begin, begun = threading.Event(), []
    thread = threading.Thread(target=lambda: (begin.wait(), begun.append(True)))
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        begin.set()
        for _ in range(1000):
            fr.gelu(x, out=out)
            if begun:
                break
        progress = bool(begun)
    finally:
        sys.setswitchinterval(interval)
        thread.join()
    assert progress


def test_an_overlap_that_needs_order_is_not_shared_out(thresholds):
    """NumPy hands over a result that trails its operand in the same memory: right in order only."""
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64, np.float16, np.int32):
        values = rng.normal(0, 100, 100_003).astype(dtype)
        thresholds(1, 2**62, 2**62)
        expected = fr.relu(values[1:])
        for streaming in (2**62, 1):
            thresholds(4, 1, streaming)
            for _ in range(20):
                memory = values.copy()
                fr.relu.ufunc(memory[1:], out=memory[:-1])
                assert same_bits(memory[:-1], expected)
