"""Settings and their scope, what `explain` says, and calls from several threads."""

import asyncio
import concurrent.futures
import contextvars
import threading

import numpy as np
import pytest
from calls import LAYOUTS, public, refused
from cases import BY_NAME, function, parameter_sets, same_bits

import fastrelu as fr
from fastrelu.backends import cython

pytestmark = pytest.mark.every_backend

FORWARD = [name for name, (_, kernel) in BY_NAME.items() if kernel.pass_ == "forward"]


# Threads


def test_concurrent_calls(thresholds):
    """One region at a time runs in parallel; whoever finds it taken runs alone: the bits are the same."""
    thresholds(3, 1, 1 << 14)
    x = np.random.default_rng(0).normal(0, 3, 30_000).astype(np.float32)
    work = [(name, x[: 3000 * (1 + i % 9)]) for i, name in enumerate(FORWARD * 12)]
    rows = {name: parameter_sets(BY_NAME[name][0])[0] for name in FORWARD}

    def run(item):
        name, array = item
        return function(BY_NAME[name][1])(array, *rows[name]), public(*BY_NAME[name])(array, *rows[name])

    expected = {name: public(*BY_NAME[name])(x, *rows[name]) for name in FORWARD}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for (name, array), results in zip(work, pool.map(run, work), strict=True):
            assert all(same_bits(r, expected[name][: array.size]) for r in results)


def test_bad_settings():
    before = fr.show_config("dicts")
    for bad in ("nonsense", "", None, 3, "Numpy"):
        for change in (fr.set_backend, fr.use_backend):
            with refused(ValueError, change.__name__, repr(bad), *fr.backends()):
                change(bad)
        for change in (fr.set_accuracy, fr.accuracy):
            with refused(ValueError, change.__name__, repr(bad), "high", "fast"):
                change(bad)
    for backend in fr.backends().values():
        if not backend.available:
            with refused(ValueError, "set_backend", backend.name, backend.detail, "numpy"):
                fr.set_backend(backend.name)
    for bad in (0, -1, 1.5, "2", None, True):
        with refused(ValueError, "n", repr(bad), "whole number", "1"):
            fr.set_num_threads(bad)
    with refused(ValueError, "'mode'", "'nonsense'", "'dicts'"):
        fr.show_config("nonsense")
    with refused(TypeError, "explain", "'function'", "expected"):
        fr.explain(np.exp, [1.0])
    with refused(TypeError, "explain"):
        fr.explain(fr.relu)
    assert fr.show_config("dicts") == before


def in_thread(work):
    """The result of work() in a thread of its own."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(timeout=60)


def backend_and_path():
    plan = fr.explain(fr.gelu, np.ones(3))
    return plan.backend, plan.path


def test_use_backend_is_local_to_its_context():
    here = backend_and_path()
    entered, leave = threading.Event(), threading.Event()
    seen = []

    def other():
        with fr.use_backend("numpy"), fr.accuracy("fast"):
            seen.append((backend_and_path()[0], fr.show_config("dicts")["settings"]["accuracy"]))
            entered.set()
            leave.wait(60)
        seen.append(backend_and_path())

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(60)
    assert backend_and_path()[0] == here[0]
    assert in_thread(backend_and_path)[0] == here[0]
    assert fr.show_config("dicts")["settings"]["accuracy"] == "high"
    assert fr.gelu(np.zeros(1, np.float32)) == 0
    leave.set()
    thread.join(60)
    assert seen == [("numpy", "fast"), here]
    assert backend_and_path() == here


def test_use_backend_nests_and_leaves_by_exception():
    here = backend_and_path()
    with fr.use_backend("numpy"):
        for inner in [b.name for b in fr.backends().values() if b.available and b.name != "cuda"]:
            with fr.use_backend(inner):
                assert backend_and_path()[0] == inner
            assert backend_and_path()[0] == "numpy"
    with pytest.raises(ZeroDivisionError), fr.use_backend("numpy"):
        1 / 0  # noqa: B018
    assert backend_and_path() == here

    async def task(name):
        with fr.use_backend(name):
            await asyncio.sleep(0.01)
            return backend_and_path()[0]

    async def both():
        return await asyncio.gather(task("numpy"), task(here[0]))

    assert asyncio.run(both()) == ["numpy", here[0]]
    context = contextvars.copy_context()
    with fr.use_backend("numpy"):
        assert context.run(backend_and_path)[0] == here[0]
        assert contextvars.copy_context().run(backend_and_path)[0] == "numpy"


def test_set_backend_is_the_process_default():
    here = backend_and_path()
    try:
        fr.set_backend("numpy")
        assert in_thread(backend_and_path) == ("numpy", "reference")
        with fr.use_backend(here[0]):
            assert backend_and_path()[0] == here[0]
    finally:
        fr.set_backend(here[0])
    assert in_thread(backend_and_path) == here


# explain


def test_explain_shows_the_compiled_plan(thresholds):
    for f in (fr.relu, fr.gelu, fr.tanh.backward):
        kernel = f.kernel
        index = cython.KERNEL_INDEX[kernel.name]
        for threads, work, streaming in ((1, 1, 1 << 14), (4, 5000, 1 << 14), (64, 1, 2**62)):
            thresholds(threads, work, streaming)
            for size in (1, 511, 4096, 20_000):
                for dtype in (np.float32, np.float64):
                    x = np.zeros(size, dtype)
                    arrays = (x,) if kernel.pass_ == "forward" else (x, x)
                    for out in (None, x, np.zeros(size, dtype)):
                        plan = fr.explain(f, *arrays, out=out)
                        made = cython.ufuncs.plan(index, x.dtype, size, out is x)
                        assert (plan.threads, plan.stores == "streaming") == made
                        assert (plan.size, plan.dtype) == (size, x.dtype.name)
                        assert str(plan.threads) in str(plan)
                        assert all(reason in str(plan) for reason in plan.reasons)


def test_explain_knows_the_path_that_a_call_takes(kernels_only):
    """A call that is said to take the fast path reaches neither a ufunc nor the general path."""
    taken = []

    class Spy:
        def __init__(self, inner):
            self.inner = inner

        def __call__(self, *args, **keywords):
            taken.append(1)
            return self.inner(*args, **keywords)

    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(2, 3, 4)
    inputs = [arrange(x) for arrange in LAYOUTS.values()]
    inputs += [
        x.transpose(1, 0, 2),
        x[0, 0, 0].reshape(()),
        x[:0],
        x.astype(np.float16),
        x.astype(np.longdouble),
    ]
    inputs += [x.tolist(), np.ma.masked_array(x), x.astype(int), 1.5, np.float32(1.5), np.float16(1.5), 2]
    for f in (fr.gelu, fr.leaky_relu):
        before = f.general
        f.general = Spy(before)
        try:
            for given in inputs:
                taken.clear()
                f(given)
                if fr.explain(f, given).path == "fast":
                    assert not taken
        finally:
            f.general = before
    for given in (x, x.tolist(), 1.5, np.float32(1.5), np.float64(1.5)):
        assert fr.explain(fr.gelu, given).path == "fast"
    for given in (np.ma.masked_array(x), np.float16(1.5), 2, np.array(1.5)):
        assert fr.explain(fr.gelu, given).path == "ufunc"
    assert fr.explain(fr.gelu, x.astype(np.longdouble)).path == "reference"
    for given in (x.astype(np.float16), x.astype(pytest.importorskip("ml_dtypes").bfloat16)):
        plan = fr.explain(fr.gelu, given)
        assert (plan.path, plan.instruction_set) == ("fast", cython.ISA)
        assert "rounded once" in str(plan)
        assert fr.explain(fr.gelu.backward, given, given).path == "fast"
        assert fr.explain(fr.gelu, given[..., ::2]).path == "grid"
    for number in (1, 0.5, np.float32(0.5), np.float64(0.5)):
        assert fr.explain(fr.elu, x, number).path == "fast"
        assert fr.explain(fr.elu, x[..., ::2], number).path == "grid"
    with fr.use_backend("numpy"):
        assert fr.explain(fr.gelu, x).path == "reference"
