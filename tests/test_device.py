"""Arrays on a CUDA device without one: Numba's simulator, how calls go over memory, what is missing."""

import importlib.util
import itertools
import math
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import fastrelu as fr
from fastrelu.device import layout as device_layout
from fastrelu.device.arrays import View
from fastrelu.device.layout import axes_of, passes, summation

TESTS = Path(__file__).resolve().parent
HAS_NUMBA_CUDA = importlib.util.find_spec("numba_cuda") is not None
needs_numba_cuda = pytest.mark.skipif(not HAS_NUMBA_CUDA, reason="numba-cuda is not installed")


def in_simulator(*command):
    """Run Python with Numba's simulator in the place of a device."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FASTRELU_")}
    return subprocess.run(
        [sys.executable, *command],
        env=clean | {"NUMBA_ENABLE_CUDASIM": "1"},
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@needs_numba_cuda
def test_everything_on_the_simulator():
    files = [f"on_device{part}.py" for part in ("", "_dtypes", "_fused", "_arrays", "_repeated")]
    done = in_simulator("-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


# What is missing


def test_the_backend_says_why_it_is_not_there():
    cuda = fr.backends()["cuda"]
    reasons = ("not installed", "no NVIDIA driver", "no device")
    assert cuda.available or any(reason in cuda.detail for reason in reasons)


class FakeDriver:
    """The bindings of a driver with one device, as far as looking for it goes."""

    CUDA_VERSION, CUresult = 13050, int
    cuInit = staticmethod(lambda flags: (0,))
    cuDriverGetVersion = staticmethod(lambda: (0, 13000))
    cuDeviceGetCount = staticmethod(lambda: (0, 1))
    cuGetErrorString = staticmethod(lambda status: (0, b"as it says"))


def raises(flags):
    raise OSError("libcuda.so.1 not found")


REASONS = {
    "a device": ({}, "1 device, for arrays"),
    "no driver": ({"cuInit": raises}, "no NVIDIA driver is installed"),
    "a driver that fails": ({"cuInit": lambda flags: (100,)}, r"no device that can be used \(.*as it says\)"),
    "no device": ({"cuDeviceGetCount": lambda: (0, 0)}, "no device that can be used"),
    "an old driver": ({"cuDriverGetVersion": lambda: (0, 12080)}, r"too old, one for CUDA 12, .*\[cu12\]"),
}


@pytest.mark.parametrize("case", REASONS)
def test_every_reason_why_the_backend_is_not_there(case, monkeypatch):
    from fastrelu.backends import cuda
    from fastrelu.kernels.cuda import driver

    changed, reason = REASONS[case]
    bindings = types.ModuleType("cuda.bindings")
    bindings.driver = type("Driver", (FakeDriver,), {k: staticmethod(v) for k, v in changed.items()})
    monkeypatch.setitem(sys.modules, "cuda", types.ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setattr(cuda, "_missing", lambda: None)
    monkeypatch.setattr(driver, "devices", driver.devices.__wrapped__)
    found = cuda.record.__wrapped__()
    assert found.available == (case == "a device")
    assert re.search(reason, found.detail)


@pytest.mark.parametrize("module", ["numba", "numba_cuda", "cuda.bindings"])
def test_a_package_that_is_missing_is_named(module, monkeypatch):
    from fastrelu.backends import cuda

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else "found")
    found = cuda.record.__wrapped__()
    assert not found.available
    assert found.detail == f"{cuda.NEEDED[module]} is not installed: pip install 'fastrelu[cuda]'"


def test_nothing_of_cuda_is_imported_before_it_is_needed():
    code = "import sys, fastrelu as fr; fr.relu([1.0]); print({m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TESTS)
    assert "'numba'" not in done.stdout
    assert "'cuda'" not in done.stdout


@pytest.mark.parametrize("script", ["bandwidth", "rows", "ulp", "all"])
def test_a_benchmark_says_why_it_is_skipped(script, tmp_path):
    if fr.backends()["cuda"].available:
        pytest.skip("there is a device")
    more = ["--out", tmp_path / "shown"] if script == "all" else []
    command = [sys.executable, TESTS.parent / f"bench/cuda_{script}.py", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"skipped: {fr.backends()['cuda'].detail}\n"
    assert not list(tmp_path.iterdir())


def test_what_a_device_can_show_is_written_to_a_folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TESTS.parent / "bench")
    import cuda_all

    def says_and_sleeps(seconds):
        return sys.executable, "-c", f"import time; print('said', flush=True); time.sleep({seconds})"

    steps = {
        "two": cuda_all.Step({"one": says_and_sleeps(0), "other": (sys.executable, "-c", "1 / 0")}, 30),
        "long": cuda_all.Step({"long": says_and_sleeps(60)}, 2),
        "missing": cuda_all.Step({}, 1, ("sys", "no-such-program", "no_such.module")),
    }
    *lines, last = cuda_all.lines(steps, tmp_path, 1)
    lines = [line.split(": ")[1].split(",")[0] for line in lines]
    assert lines == ["ok", "status 1", "stopped after 2 s"]
    assert last == "missing: left out, not there: no-such-program, no_such.module"
    assert (tmp_path / "one.txt").read_text() == (tmp_path / "long.txt").read_text() == "said\n"
    assert "ZeroDivisionError" in (tmp_path / "other.txt").read_text()
    for step in cuda_all.STEPS.values():
        for command in step.commands.values():
            assert all((cuda_all.ROOT / "tests" / part).is_file() for part in command if part.endswith(".py"))
    assert sum(step.seconds for step in cuda_all.STEPS.values()) <= 600


def test_units_of_the_sweep_on_a_device(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(TESTS.parent / "bench")
    import cuda_ulp
    from ulp import distances

    exact = np.array([1, 2 - 1e-9, 2, 1e-44, 1e-39, 3e38, 1e39, np.inf, np.nan, 0.3, 2.0**-126])
    with np.errstate(over="ignore"):
        got = exact.astype(np.float32)
    got[[0, 2, 9]] = np.nextafter(got[[0, 2, 9]], np.float32(0))
    made = cuda_ulp.errors(torch, torch.from_numpy(got), torch.from_numpy(exact), 0.0)
    np.testing.assert_allclose(made, distances(got, exact))
    for start in (0, 2**31 + 7):
        bits = cuda_ulp.floats(torch, start, 5, 1001, "cpu").numpy().view(np.uint32)
        assert bits.tolist() == [start + 1001 * i for i in range(5)]
    assert len(cuda_ulp.floats(torch, 2**32 - 1500, 5, 1001, "cpu")) == 2


@needs_numba_cuda
def test_without_a_device_a_call_says_so():
    if fr.backends()["cuda"].available:
        pytest.skip("there is a device")
    from simulated import DeviceArray

    from fastrelu.kernels.cuda.driver import DriverError

    x = DeviceArray(np.zeros(3, np.float32))
    for call in (lambda: fr.relu(x), lambda: fr.relu.backward(x, x), lambda: fr.explain(fr.relu, x)):
        with pytest.raises(DriverError, match=r"driver|device"):
            call()


# How a call goes over memory: every number once, wherever it lies


def view(array, place=0):
    return View(array.ctypes.data if place is None else place, array.shape, array.strides, "f", 0)


def reached(out, one):
    """The offsets from the first number that one launch writes to."""
    if one.rank == 0:
        n, head, vectors = one.rest
        assert head + 4 * vectors <= n
        assert vectors == 0 or (one.places[0] + 4 * head) % 16 == 0
        return [one.places[0] - out.place + 4 * i for i in range(n)]
    n, lengths, steps = one.rest[0], one.rest[1 : one.rank], one.rest[one.rank : 2 * one.rank]
    lengths = (n // math.prod(lengths), *lengths)
    found = [sum(i * step for i, step in zip(at, steps, strict=True)) for at in np.ndindex(*lengths)]
    found = [one.places[0] - out.place + offset for offset in found]
    if one.alike is None:
        return found
    assert not any((out.place + offset) % 16 for offset in found)
    return [offset + 4 * i for offset in found for i in range(4)]


SHAPES = [(), (1,), (7,), (3, 5), (2, 3, 4), (2, 1, 3, 1, 2), (2,) * 10]


@pytest.mark.parametrize("most", [2**31, 5])
def test_every_number_is_reached_once(most, monkeypatch):
    monkeypatch.setattr(device_layout, "MOST_NUMBERS", most)
    for shape in SHAPES:
        whole = np.zeros(tuple(2 * n for n in shape), np.float32)
        plain = np.zeros(shape, np.float32)
        layouts = [
            plain,
            plain.T.copy().T,
            whole[tuple(slice(0, None, 2) for _ in shape)],
            plain[::-1] if shape else plain,
        ]
        for a, b in itertools.product(layouts, repeat=2):
            out = view(a, 1024)
            expected = sorted(
                sum(i * step for i, step in zip(at, a.strides, strict=True)) for at in np.ndindex(*shape)
            )
            got = [offset for one in passes(out, (view(b, 4096),)) for offset in reached(out, one)]
            assert sorted(got) == expected


def test_axes_are_merged_in_the_order_of_memory():
    x = np.zeros((4, 5, 6), np.float32)
    assert axes_of(x.shape, (x.strides, x.strides)).lengths == (120,)
    turned = x.transpose(2, 0, 1)
    assert axes_of(turned.shape, (turned.strides, turned.strides)).lengths == (120,)
    channels = np.broadcast_to(np.zeros((5, 1), np.float32), x.shape)
    assert axes_of(x.shape, (x.strides, channels.strides)) == device_layout.Axes(
        (4, 5, 6), ((120, 24, 4), (0, 4, 0))
    )


def test_vectors_need_one_alignment():
    x = np.zeros(64, np.float32)
    for first, second in itertools.product(range(0, 20, 4), repeat=2):
        ((_, head, vectors),) = [one.rest for one in passes(view(x, 256 + first), (view(x, 512 + second),))]
        assert bool(vectors) == (first % 16 == second % 16)
        if vectors:
            assert (head, vectors) == (-(first // 4) % 4, (64 - head) // 4)


@pytest.mark.parametrize(("kept", "width"), [((), 1), ((6,), 32), ((4, 1), 1), ((1, 6), 32), ((4, 6), 1)])
def test_sums_cover_every_term(kept, width):
    x = np.zeros((4, 6), np.float32)
    out = np.zeros(kept, np.float32)
    plan = summation(view(out), (view(x), view(x)), (4, 6), kept, 256, 32, 1000)
    assert plan.kept * plan.partial[1] == 24
    assert plan.kept == out.size
    assert plan.partial[3] == width
    assert plan.blocks == plan.parts * -(-plan.kept // width)


@needs_numba_cuda
def test_what_reaches_the_driver(tmp_path):
    """With a library in the driver's place, which remembers what it was asked."""
    if fr.backends()["cuda"].available:
        pytest.skip("there is a driver, which would be found first")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    driver = tmp_path / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", driver, TESTS / "fake_driver.c"], check=True)
    done = subprocess.run(
        [sys.executable, "on_fake_driver.py", driver],
        env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path)},
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "nvrtc" in done.stderr or "nvvm" in done.stderr:
        pytest.skip("CUDA's compilers are not installed")
    assert done.stdout.strip() == "as expected", done.stderr


def test_the_modules_are_those_that_the_build_writes():
    """The vocabulary that CUDA shares with Numba, and the formulas over it."""
    tools, folder = TESTS.parent / "tools", TESTS.parent / "kernels/cuda"
    if folder.resolve() not in {(Path(p) / "cuda").resolve() for p in fr.kernels.__path__}:
        pytest.skip("an installed package is under test, not this checkout")
    sys.path.insert(0, str(tools))
    try:
        import write_python
    finally:
        sys.path.remove(str(tools))
    assert (folder / "formulas.py").read_text() == write_python.formulas_py(cuda=True), "build again"
    for name in write_python.SHARED_WITH_CUDA:
        assert (folder / name).read_text() == write_python.shared_py(name), "build again"
