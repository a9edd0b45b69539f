"""The benchmarks: what they compare computes the same thing, and what they report can be read.

Nothing here looks at a time.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fastrelu as fr
from fastrelu import peers
from fastrelu.cli import main
from fastrelu.peers import compiled, eager, work
from fastrelu.peers.timing import Copy, interleaved
from fastrelu.table import REDUCTIONS, ROWS

OPERATIONS = peers.operations()
JOBS = [
    (peer, operation)
    for peer in ("fastrelu", *peers.installed())
    for operation in OPERATIONS
    if peers.knows(peer, operation)
]
DTYPES = ("float32", "float64")
# ONNX Runtime and, for 1/6, PyTorch compute them with float32 constants.
KNOWN_TO_BE_OFF = {
    ("onnxruntime", "gelu.tanh forward", "float64"),
    ("onnxruntime", "gelu.sigmoid forward", "float64"),
    ("torch", "hard_sigmoid backward", "float64"),
}


def run(capsys, *arguments):
    status = main(["bench", *arguments])
    return status, *capsys.readouterr()


def relu(size=100):
    operation = peers.operations(["relu"], ["forward"])[0]
    return operation, peers.Data(operation, "float32", size)


# --- operations and jobs ----------------------------------------------------------------------------------


def test_operations_cover_the_table():
    expected = {(row.qualname, pass_) for row in ROWS for pass_ in row.kernels() if pass_ in peers.PASSES}
    made = {(o.function, o.pass_) for o in OPERATIONS}
    assert expected <= made
    assert {(who, o) for who in ("fastrelu", "numpy") for o in OPERATIONS} <= set(JOBS)
    assert {f for f, _ in made} == {row.qualname for row in ROWS} | set(REDUCTIONS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("peer", "operation"), JOBS, ids=str)
def test_results_agree_with_the_reference(peer, operation, dtype):
    with peers.session([] if peer == "fastrelu" else [peer], threads=1):
        for size in (17, 5000):
            data = peers.Data(operation, dtype, size)
            job = peers.prepare(peer, operation, data, threads=1)
            if job is None:
                assert peer == "onnxruntime"
                continue
            good = peers.deviation(job, data) <= peers.TOLERANCE[dtype]
            assert good != ((peer, str(operation), dtype) in KNOWN_TO_BE_OFF)
            job.call()
            assert job.timeit(1) > 0


@pytest.mark.parametrize("table", ["NUMPY", "SCIPY", "TORCH", "ONNXRUNTIME", "NUMEXPR", "JAX"])
def test_every_line_of_a_peer_is_for_an_operation(table):
    lines = getattr(eager, table, None) or getattr(compiled, table)
    assert lines.keys() <= {str(operation) for operation in OPERATIONS}


def test_a_new_row_is_compared_with_the_reference():
    row = replace(ROWS[0], name="newcomer")
    for operation in work._of_row(row):
        assert operation.statement.startswith("fr.newcomer")
        kernel = replace(operation.kernel, formula=operation.kernel.formula.replace("newcomer", "relu"))
        operation = replace(operation, kernel=kernel)
        # `y` is made by fastrelu's forward function, which a row out of thin air does not have
        if operation.pass_ != "backward_from_y":
            data = peers.Data(operation, "float32", 100)
            job = peers.prepare("numpy", operation, data, threads=1)
            assert job.mode == "reference"
            assert peers.deviation(job, data) == 0


def test_a_wrong_result_is_noticed():
    operation, data = relu()
    names = {"np": np, **data.arrays}
    peers.prepare("fastrelu", operation, data, 1).call()  # leaves the right result in `out`
    for wrong in (
        "np.maximum(x, 1e-3, out=out)",
        "np.maximum(x, 0)",
        "np.maximum(x[1:], 0, out=out[1:])",
        "result = np.maximum(x, 0).astype(np.float64)",
        "result = np.maximum(x, 0)[1:]",
    ):
        assert peers.deviation(peers.Job("wrong", wrong, names, data.out), data) > peers.TOLERANCE["float32"]


def test_the_check_of_a_large_result_reaches_both_ends():
    _, data = relu(1_000_000)
    checked = data.sample(np.arange(1_000_000))
    assert checked.max() == 999_999
    assert checked.min() < 1000
    assert len(checked) < 10_000


def test_a_session_leaves_no_trace():
    before = fr.get_num_threads()
    with peers.session(["numpy"], threads=before + 1):
        assert fr.get_num_threads() == before + 1
    assert fr.get_num_threads() == before


# --- timing -----------------------------------------------------------------------------------------------


def test_everybody_takes_turns():
    class Fake:
        def __init__(self, name):
            self.name = name

        def timeit(self, calls):
            log.append(self.name)
            return took[self.name]

    log, took = [], dict.fromkeys("abc", 1e-3)
    timings = interleaved({name: Fake(name) for name in "abc"}, seconds=0.0)
    assert all(timing.best == timing.median == 1e-3 for timing in timings.values())
    assert all(len(timing.turns) == 3 for timing in timings.values())
    assert log == [*"abc", *"aabbcc", *"bbccaa", *"ccaabb"]
    log, took["b"] = [], 1.0  # too long to need a call that warms up, and out of the race after one turn
    interleaved({name: Fake(name) for name in "abc"}, seconds=0.0, contenders=set("bc"))
    assert log == [*"abc", *"aabcc", *"ccaa", *"ccaa"]
    log, took = [], {"a": 1.0, "b": 1.0, "c": 5.0}  # counting calls is a turn
    timings = interleaved({name: Fake(name) for name in "abc"}, seconds=0.0, contenders=set("bc"))
    assert log == [*"abc", *"ab", *"ba"]
    assert [len(timings[name].turns) for name in "abc"] == [3, 3, 1]


def test_every_mode_gives_the_same_result():
    here = [peer for peer in ("fastrelu", *peers.installed()) if peer != "jax"]
    missing = {"onnxruntime": {"in place", "fresh"}}
    always_fresh = {key for key, line in eager.TORCH.items() if line.startswith("result = ")}  # no out= there
    for peer in here:
        with peers.session([] if peer == "fastrelu" else [peer], threads=1):
            for operation in OPERATIONS:
                data = peers.Data(operation, "float32", 3000)
                pristine = {name: array.copy() for name, array in data.arrays.items() if name != "out"}
                for mode in peers.MODES:
                    job = peers.prepare(peer, operation, data, 1, mode)
                    if job is None or job.mode == "reference" or operation.is_reduction:
                        continue
                    assert mode not in missing.get(peer, ())
                    assert peers.deviation(job, data) <= peers.TOLERANCE["float32"], job.shown
                    for calls in (1, 40):
                        assert job.timeit(calls) > 0
                    assert job.mode == mode or (peer == "torch" and str(operation) in always_fresh), job.shown
                    assert ("out=out" in job.statement) <= (mode == "out" or "; " in job.statement)
                for name, values in pristine.items():
                    np.testing.assert_array_equal(data.arrays[name], values)


@pytest.mark.parametrize("threads", [1, 3])
def test_copying_copies(threads):
    copy = Copy(np.arange(10.0), threads)
    assert copy.timeit(2) > 0
    assert np.concatenate([target for target, _ in copy.parts]).tolist() == list(range(10))
    given = np.zeros(10)
    assert Copy(np.arange(10.0), threads, target=given).timeit(1) > 0
    assert given.tolist() == list(range(10))


# --- the command ------------------------------------------------------------------------------------------


def test_json(capsys):
    status, text, _ = run(capsys, "--sizes", "16", "--seconds", "0.01", "relu", "--json", "-")
    report = json.loads(text)
    assert status == 0
    configuration = report["configuration"]
    assert configuration["versions"]["numpy"] == np.__version__
    assert configuration["machine"]["cpu"]
    assert {"built", "chosen"} <= configuration["instruction sets"].keys()
    assert [line["pass"] for line in report["measured"]] == list(peers.PASSES)
    for line in report["measured"]:
        assert line["threads"] == fr.get_num_threads()
        assert {"fastrelu", "numpy"} <= line["results"].keys()
        for result in line["results"].values():
            assert 0 < result["seconds"] <= result["median seconds"]
            assert result["deviation"] <= peers.TOLERANCE["float32"]
            assert result["mode"] in ("out", "fresh")
            assert "x" in result["statement"] or "y" in result["statement"]


@pytest.mark.parametrize("rich", [True, False])
def test_table(capsys, monkeypatch, tmp_path, rich):
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    file = tmp_path / "bench.json"
    arguments = ["tanh", "softmax", "--pass", "forward", "--dtype", "float64", "--threads", "1"]
    arguments += ["--sizes", "10,2_000", "--peers", "numpy", "--seconds", "0.01", "--json", str(file)]
    status, text, _ = run(capsys, *arguments)
    assert status == 0
    assert text.count("float64, 10 elements, out=, 1 thread,") == 1
    assert text.count("float64, 2,000 elements, out=, 1 thread,") == 1
    for word in ("tanh", "softmax", "numpy", "geometric mean"):
        assert text.count(word) == 2
    assert len(json.loads(file.read_text())["measured"]) == 4


def test_a_wrong_peer_is_reported_and_not_timed(capsys, monkeypatch):
    monkeypatch.setitem(eager.NUMPY, "relu forward", "np.abs(x, out=out)")
    arguments = ["relu", "--pass", "forward", "--peers", "numpy", "--sizes", "100", "--seconds", "0.01"]
    status, text, _ = run(capsys, *arguments)
    assert "off" in text
    assert status == 0
    _, text, _ = run(capsys, *arguments, "--json", "-")
    result = json.loads(text)["measured"][0]["results"]["numpy"]
    assert result["seconds"] is None
    assert result["deviation"] > 0.1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["rleu"], "unknown function 'rleu'; expected one of relu,"),
        (["--peers", "tensorflow"], "unknown peer 'tensorflow'; expected names among numpy,"),
        (["--sizes", "0"], "got '0'; expected numbers of elements"),
        (["--sizes", "1.5"], "got '1.5'; expected numbers of elements"),
        (["--sizes", "16,x"], "got '16,x'; expected numbers of elements"),
        (["--sizes", "inf"], "got 'inf'; expected numbers of elements"),
        (["--threads", "0"], "got '0'; expected a whole number of at least 1"),
        (["--seconds", "nan"], "got 'nan'; expected a number above 0"),
        (["--json", "no/such/folder.json"], "there is no such folder"),
    ],
)
def test_bad_arguments(capsys, arguments, complaint):
    with pytest.raises(SystemExit, match="2"):
        run(capsys, *arguments)
    out, err = capsys.readouterr()
    assert out == ""
    assert complaint in " ".join(err.split())


# --- pytest bench -----------------------------------------------------------------------------------------


def test_suite_measures_and_says_where(tmp_path):
    file = tmp_path / "bench.json"
    wanted = "relu-forward-float32-16 and not leaky and not prelu and (fastrelu or numpy)"
    command = [sys.executable, "-P", "-m", "pytest", "bench", "-q", "-k", wanted, f"--benchmark-json={file}"]
    command += ["--benchmark-max-time=0.001", "-p", "no:cacheprovider"]
    # pytest-benchmark measures nothing where it sees pytest-xdist, whose worker this may be
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(command, cwd=Path(__file__).parents[1], env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(file.read_text())
    assert [b["group"] for b in report["benchmarks"]] == ["relu forward float32 16"] * 2
    assert report["benchmarks"][0]["extra_info"]["statement"] == "fr.relu(x, out=out)"
    assert report["machine_info"]["fastrelu"]["machine"]["cpu"]
    assert report["fastrelu"]["threads"] == fr.get_num_threads()


# --- bench/speed.py ---------------------------------------------------------------------------------------


needs_cc = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")


@needs_cc
def test_speed_page_from_a_state_that_can_go_on(tmp_path):
    state, written = tmp_path / "speed.json", tmp_path / "speed.md"
    root = Path(__file__).parents[1]
    command = [sys.executable, "bench/speed.py", "--op", "relu", "--threads", "1", "--seconds", "0.001"]
    command += ["--state", str(state), "--write", str(written)]

    def measure(sizes):
        done = subprocess.run([*command, "--sizes", sizes], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(state.read_text())["cells"]

    first, both = measure("16"), measure("16,1000")
    passes = [o for o in OPERATIONS if o.function == "relu"]
    assert len(first) == len(passes) * len(peers.MODES)
    assert first.items() <= both.items()
    assert len(both) == 2 * len(first)
    page = written.read_text()
    assert f"all {len(both)} cells" in page
    assert f"| float32 | high | {len(both)} |" in page
    for mode in ("`out=`", "in place", "fresh"):
        _, _, table = page.partition(f"## float32, {mode}, 1 thread\n")
        rows = [line for line in table.partition("##")[0].splitlines() if line.startswith("| relu ")]
        assert len(rows) == len(passes)
        for row in rows:  # who is the best peer is for the clock to say; small arrays show no limit
            assert re.fullmatch(r"\| [\w ]+ \| [\d.]+ [a-z]\*? \| [\d.]+ [a-z]\*? \[[\d.]+\] \|", row), row


@needs_cc
def test_the_limit_of_the_speed_page_copies(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    import speed

    copy, source = speed.streaming_copy(), np.arange(1000.0, dtype=np.float32)
    for start, end in ((0, 1000), (1, 999), (3, 5), (2, 2)):
        target = np.zeros(1000, np.float32)
        copy(target[start:end], source[start:end])
        expected = np.where((np.arange(1000) >= start) & (np.arange(1000) < end), source, 0)
        np.testing.assert_array_equal(target, expected)


def test_reductions_page_from_a_state_that_can_go_on(tmp_path):
    state, written = tmp_path / "reductions.json", tmp_path / "reductions.md"
    root = Path(__file__).parents[1]
    command = [sys.executable, "bench/reductions.py", "--dtype", "float32", "--threads", "1"]
    command += ["--seconds", "0.001", "--shape", "3x5", "--state", str(state), "--write", str(written)]

    def measure(*more):
        done = subprocess.run([*command, *more], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout == written.read_text()
        return json.loads(state.read_text())["cells"]

    first = measure("--op", "softmax")
    assert measure("--minutes", "0") == first
    both = measure("--op", "softmax", "--op", "cross_entropy", "--shape", "5x4")
    assert len(first) == 2 * 3  # passes, axes
    assert first.items() <= both.items()
    assert len(both) == 2 * (6 + 3 * 2)  # cross entropy is along an axis
    _, _, table = written.read_text().partition("## float32, 1 thread\n")
    rows = [line for line in table.partition("##")[0].splitlines() if line.startswith("| softmax")]
    assert len(rows) == 6
    assert all(row.count("|") == 5 for row in rows)


def test_the_page_beside_scipy_from_a_state(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    import from_scipy
    import speed

    monkeypatch.setattr(from_scipy, "CALLS", from_scipy.CALLS[:1])
    monkeypatch.setattr(from_scipy, "SHAPES", ((10,), (3, 4)))
    path = tmp_path / "state.json"
    state = from_scipy.measure_all(path, 0.001)
    assert speed.load(path) == from_scipy.measure_all(path, 0.001) == state  # nothing is measured twice
    assert len(state["cells"]) == 2 * 3
    state["cells"]["logsumexp(x) float64 (3, 4)"] = [2e-6, 1e-6]
    rows = [line for line in from_scipy.page(state).splitlines() if line.startswith("| `logsumexp(x)` |")]
    assert len(rows) == 2
    assert " 2 µs | 0.5× |" in rows[1]
    assert from_scipy.slower(state)[-1] == "logsumexp(x) float64 (3, 4): 0.50"


@pytest.fixture
def reductions(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    import reductions

    return reductions


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("peer", ["scipy", "torch", "onnxruntime", "jax"])
def test_peers_reduce_along_every_axis(reductions, peer, dtype):
    if peer not in peers.installed():
        pytest.skip(f"{peer} is not installed")
    with peers.session([peer], threads=1):
        for operation in reductions.operations():
            for axis in (-1, 0, None)[: 2 if operation.function == "cross_entropy" else 3]:
                cell = reductions.measure(operation, axis, dtype, (7, 40), [peer], 1, 0.0)
                assert all(cell.values()), (operation, axis, cell)


def test_the_reductions_page_lists_misses_and_results_that_are_off(reductions, tmp_path):
    state = reductions.load(tmp_path / "none.json")
    for axis, torch in (("last", 0.5), ("first", 1.5), ("all", None)):
        cell = {"function": "softmax", "pass": "forward", "axis": axis, "shape": [2, 3], "dtype": "float64"}
        seconds = {"fastrelu": 1e-6, "torch": torch and torch * 1e-6, "jax": 4e-6}
        state["cells"][axis] = cell | {"threads": 1, "seconds": seconds}
    page = reductions.page(state)
    assert "all 3 cells: 1.44.** Below 0.97 of the best peer: **1 cells**" in page
    assert "| softmax | all | 1 µs, 4.00 j |" in page
    assert "| softmax | all | 2×3 | float64 | 1 | torch |" in page
    _, _, missed = page.partition("## Cells that miss the target\n")
    assert missed.count("softmax") == 1
    assert "| softmax | last | 2×3 | float64 | 1 | 1 µs, 0.50 t |" in missed


def test_a_wrong_loss_is_noticed(reductions):
    operation = reductions.operations()[-1]
    data = reductions.Data(operation, "float64", (4, 3))
    own = reductions.job("fastrelu", operation, data, 1)
    data.expected = data.sample(own.result()).copy()
    assert reductions.deviation(own, own, data) == 0
    wrong = replace(own, statement=own.statement + " * 1.01")
    assert peers.deviation(wrong, data) == 0
    assert reductions.deviation(wrong, own, data) > peers.TOLERANCE["float64"]


def test_data_dependence_reports_every_kind_of_input(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    import data_dependence

    file = tmp_path / "ratios.json"
    arguments = ["--op", "tanh", "--size", "100", "--seconds", "0", "--json", str(file)]
    assert data_dependence.main(arguments) == 0
    ratios = json.loads(file.read_text())["ratios"]
    assert set(ratios) == {str(o) for o in OPERATIONS if o.function == "tanh"}
    for row in ratios.values():
        assert row.keys() == data_dependence.INPUTS.keys()
        assert row["N(0, 1)"] == 1
    assert capsys.readouterr().out.count("tanh backward_from_y") == 1
    operation = peers.operations(["tanh"], ["forward"])[0]
    tails = data_dependence.given(operation, "float32", 1000, data_dependence.tails).x.astype(float)
    size = np.where(tails > -15, np.exp(-(tails**2) / 2), np.exp(tails))  # N(0, 1)'s density, or exp
    assert np.mean((size > 0) & (size < np.finfo(np.float32).tiny)) > 0.99
