"""The shell command, run in this process with small settings: what it prints, writes and returns."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import fastrelu as fr
from fastrelu.cli import main, options, plain, plot
from fastrelu.cli.network import Fastrelu, Network, Timed, Unfused, trains

TRAINABLE = [f for f in options.unique_activations() if trains(f)]
QUICK = ["--epochs", "2", "--hidden", "32,16"]


def output(capsys, *arguments, code=0):
    assert main(list(arguments)) == code
    return capsys.readouterr().out


def refusal(capsys, *arguments):
    """What a wrong command line prints."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    assert stopped.value.code == 2
    return capsys.readouterr().err


def number(label, text):
    return float(re.search(rf"{label} +([\d.]+)", text).group(1))


def by_name(function):
    return function.row.qualname


# --- the front --------------------------------------------------------------------------------------------


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("info", "plot", "bench", "train"))


@pytest.mark.parametrize("arguments", [[], ["trian"]])
def test_no_or_unknown_command(arguments, capsys):
    assert "COMMAND" in refusal(capsys, *arguments)


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert fr.__version__ in capsys.readouterr().out


def test_missing_package_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert main(["train"]) == 1
    assert "pip install 'fastrelu[train]'" in capsys.readouterr().err


def test_module_and_lazy_imports(tmp_path):
    """`python -m fastrelu` works, and `info` waits for none of the packages that other commands need."""
    run = [sys.executable, "-X", "importtime", "-m", "fastrelu", "info", "--json"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["versions"]["fastrelu"] == fr.__version__
    assert not re.search(r"\| +(rich|sklearn|matplotlib|scipy|torch)\b", done.stderr)


# --- info -------------------------------------------------------------------------------------------------


def test_info(capsys):
    out = output(capsys, "info")
    for function in options.unique_activations():
        assert by_name(function) in out
    for name in fr.backends():
        assert name in out
    assert "1,000,000" in out


def test_info_json(capsys):
    made = json.loads(output(capsys, "info", "--json"))
    chosen = [isa for isa, facts in made["instruction sets"].items() if facts["chosen"]]
    assert all(made["instruction sets"][isa][fact] for isa in chosen for fact in ("built", "supported"))
    assert set(made["activations"]) == set(map(by_name, options.unique_activations()))
    x = np.empty(1000, np.float32)
    plan = made["activations"]["gelu"]["forward"]["1000"]
    assert (plan["path"], plan["threads"]) == (fr.explain(fr.gelu, x).path, fr.explain(fr.gelu, x).threads)


def test_info_of_another_backend(capsys):
    with fr.use_backend("numpy"):
        assert "reference, 1 thread" in output(capsys, "info")


# --- plot -------------------------------------------------------------------------------------------------


def test_plot_png(tmp_path, capsys):
    from matplotlib.image import imread

    file = tmp_path / "two.png"
    assert str(file) in output(capsys, "plot", "relu", "gelu.tanh", "--output", str(file))
    pixels = imread(file)[..., :3]
    for colour in plot.COLOURS[:2]:
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        assert (np.abs(pixels - rgb) < 0.01).all(axis=-1).sum() > 1000


def test_plot_of_everything(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    output(capsys, "plot", "--output", "all.svg", "--range", "-3", "5")
    words = {e.text for e in ET.parse(tmp_path / "all.svg").iter("{http://www.w3.org/2000/svg}text")}
    assert {"relu", "gelu", "gelu.tanh", "f(x)", "f′(x)"} <= words
    first = (tmp_path / "all.svg").read_bytes()
    output(capsys, "plot", "--output", "all.svg", "--range", "-3", "5")
    assert (tmp_path / "all.svg").read_bytes() == first
    output(capsys, "plot", "--output", "all.svg", "--no-derivatives")
    assert "f′(x)" not in (tmp_path / "all.svg").read_text()


@pytest.mark.parametrize("function", options.unique_activations(), ids=by_name)
def test_jumps_are_gaps(function):
    """A curve is drawn through small changes only, and lifted exactly where a knot of the table is a jump."""
    f, slope, _ = plot._passes(function)
    step = 8 / (plot.POINTS - 1)
    row = function.row
    named = {p.name: p.typical[0] if p.default is None else p.default for p in row.parameters}
    knots = [0.0] if row.name == "heaviside" else [knot.place(named) for knot in row.knots]
    low, high = max(-4.0, row.domain[0]), min(4.0, row.domain[1])
    for which in (f, slope):
        sides = [which(np.array([place - 1e-9, place + 1e-9])) for place in knots if low < place < high]
        jumps = [abs(after - before) > 0.1 for before, after in sides]  # elu's knot is none with alpha = 1
        x, y = plot.curve(which, -4.0, 4.0)
        inside = (x > low + 0.4) & (x < high - 0.4) if (low, high) != (-4, 4) else x == x
        assert np.nanmax(np.abs(np.diff(y[inside]))) < 10 * step
        gaps = np.flatnonzero(np.isnan(y) & inside)
        assert len(gaps) == sum(jumps)
        for place in x[gaps]:
            assert np.abs(place - np.array(knots)).min() < 1e-12
        assert (x[0], x[-1]) == (-4, 4)
        assert np.all(np.diff(x) >= 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rleu"], ["rleu", "relu", "gelu.tanh"]),
        (["relu", "--output", "relu.gif"], [".png", ".svg"]),
        (["relu", "--output", "nowhere/relu.png"], ["nowhere"]),
        (["relu", "--range", "4", "-4"], ["--range"]),
        (["relu", "--range", "0", "inf"], ["--range"]),
    ],
)
def test_plot_refusals(arguments, words, capsys):
    message = refusal(capsys, "plot", *arguments)
    assert all(word in message for word in words)


# --- train ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_train_reads_digits(seed, capsys):
    out = output(capsys, "train", "--seed", str(seed), "--epochs", "15")
    assert number("test accuracy", out) >= 0.96
    assert re.search(r"1 +512 +[\d.]+% +\d+\n2 +256 +[\d.]+% +\d+", out)
    assert re.search(r"activations and softmax take [\d.]+% of a step", out)
    assert "\x1b" not in out


def test_wide_spends_a_fifth_in_activations(capsys):
    out = output(capsys, "train", "--wide", "--epochs", "3")
    assert float(re.search(r"softmax take ([\d.]+)%", out).group(1)) >= 20


def test_compare(capsys):
    out = output(capsys, "train", "--compare", *QUICK)
    assert "losses agree" in out
    assert re.search(r"fastrelu +[\d.]+ +1\.00 ", out)
    assert re.search(r"fastrelu, unfused +[\d.]+ +[\d.]+ .* 14 KiB ", out)
    assert re.search(r"plain NumPy +[\d.]+ +[\d.]+ .* 26 KiB ", out)
    assert ("torch is not installed" in out) != bool(re.search(r"torch [\d.]+ +[\d.]+ +[\d.]+ ", out))


def test_compare_notices_a_wrong_derivative(monkeypatch, capsys):
    f, _ = plain.SPELLINGS["relu"]
    monkeypatch.setitem(plain.SPELLINGS, "relu", (f, lambda dy, x, y: dy * (x > -0.01)))
    assert "losses DIFFER" in output(capsys, "train", "--compare", *QUICK, code=1)


def test_compare_without_a_spelling(monkeypatch, capsys):
    monkeypatch.delitem(plain.SPELLINGS, "relu")
    assert "not compared: plain NumPy" in output(capsys, "train", "--compare", *QUICK)


def test_all_compared(capsys):
    out = output(capsys, "train", "--all", "--compare", *QUICK)
    for function in TRAINABLE:
        assert re.search(rf"^{re.escape(by_name(function))} +0\.\d+ +[\d.]+ ", out, re.MULTILINE)
    assert "heaviside" not in out
    assert "losses agree" in out


@pytest.mark.parametrize("function", TRAINABLE, ids=by_name)
def test_torch_agrees(function):
    pytest.importorskip("torch")
    from fastrelu.cli.torch_twin import TorchTwin

    network = Network((64, 32, 16, 10), Fastrelu(function), 50, 0.05, 0.9, seed=1)
    twin = TorchTwin(network, function, 1)
    rng = np.random.default_rng(0)
    x, labels = rng.random((200, 64), np.float32), rng.integers(0, 10, 200)
    batches = [(x[i : i + 50], labels[i : i + 50]) for i in range(0, 200, 50)]
    for _ in range(3):
        assert network.epoch(batches) == pytest.approx(twin.epoch(batches), rel=1e-5)
    assert network.evaluate(x, labels) == pytest.approx(twin.evaluate(x, labels), rel=1e-4)


def test_backends_train_alike(capsys):
    losses = []
    for backend in ("numpy", fr.show_config(mode="dicts")["settings"]["backend"]):
        out = output(capsys, "train", "--backend", backend, *QUICK)
        assert f"backend {backend} " in out
        losses.append(number("training loss", out))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_train_leaves_settings_alone(capsys):
    before = fr.show_config(mode="dicts")["settings"]
    output(capsys, "train", "--backend", "numpy", "--threads", "1", *QUICK)
    assert fr.show_config(mode="dicts")["settings"] == before


def test_divergence_is_an_error(capsys):
    assert main(["train", "--learning-rate", "1e30", *QUICK]) == 1
    assert "--learning-rate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--activation", "rleu"], ["rleu", "relu", "gelu.tanh"]),
        (["--activation", "heaviside"], ["heaviside", "derivative is 0"]),
        (["--activation", "relu", "--all"], ["--all"]),
        (["--backend", "nmupy"], ["nmupy", "cython"]),
        (["--backend", "cuda"], ["cuda", "not available"]),
        (["--hidden", "128,,64"], ["--hidden", "whole number"]),
        (["--epochs", "0"], ["--epochs", "whole number"]),
        (["--learning-rate", "-1"], ["--learning-rate", "above 0"]),
        (["--learning-rate", "fast"], ["--learning-rate", "above 0"]),
        (["--seed", "x"], ["--seed"]),
    ],
)
def test_train_refusals(arguments, words, capsys):
    message = refusal(capsys, "train", *arguments)
    assert all(word in message for word in words)


# --- the network ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", TRAINABLE, ids=by_name)
def test_gradient_is_that_of_the_loss(function):
    """Along its own direction the gradient predicts how the loss changes."""
    network = Network((8, 12, 6, 10), Fastrelu(function), 64, 1.0, 0.0, seed=2)
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(64, 8)).astype(np.float32), rng.integers(0, 10, 64)
    start = network.parameters.copy()
    network.step(x, labels)
    gradient = network.velocity.astype(np.float64)
    step = 1e-3 / np.linalg.norm(gradient)
    losses = []
    for side in (-1, 1):
        network.parameters[:] = start + side * step * gradient
        losses.append(network.evaluate(x, labels)[0])
    predicted = 2 * step * np.sum(gradient**2)
    assert losses[1] - losses[0] == pytest.approx(predicted, rel=0.02)


@pytest.mark.parametrize("function", TRAINABLE, ids=by_name)
def test_single_calls_train_alike(function):
    rng = np.random.default_rng(0)
    batches = [(rng.random((50, 8), np.float32), rng.integers(0, 10, 50)) for _ in range(4)]
    fused, unfused = (
        Network((8, 12, 6, 10), operations(function), 50, 0.05, 0.9, seed=1)
        for operations in (Fastrelu, Unfused)
    )
    for _ in range(2):
        assert fused.epoch(batches) == pytest.approx(unfused.epoch(batches), rel=1e-5)
    np.testing.assert_allclose(fused.gradient, unfused.gradient, rtol=1e-3, atol=1e-6)


def test_a_picture_of_the_activity(tmp_path, capsys):
    pytest.importorskip("matplotlib").use("Agg")
    output(capsys, "train", "--picture", str(tmp_path / "activity.png"), *QUICK)
    assert (tmp_path / "activity.png").stat().st_size > 10_000


def test_measuring_the_share_changes_nothing():
    network = Network((8, 12, 10), Fastrelu(fr.gelu), 16, 0.1, 0.9, seed=0)
    rng = np.random.default_rng(0)
    batches = [(rng.random((16, 8), np.float32), rng.integers(0, 10, 16))]
    network.epoch(batches)
    before = network.parameters.copy(), network.velocity.copy(), network.operations
    assert 0 < network.share(batches) < 1
    assert np.array_equal(network.parameters, before[0])
    assert np.array_equal(network.velocity, before[1])
    assert network.operations is before[2]
    assert not isinstance(network.operations, Timed)


def test_active_and_dead_units():
    network = Network((2, 3, 10), Fastrelu(fr.relu), 4, 0.1, 0.9, seed=0)
    network.layers[0].weight[:] = [[1, -1, 0], [0, 0, 0]]
    network.layers[0].bias[:] = [0, 0, -1]
    x = np.array([[1, 0], [2, 0], [3, 0], [-1, 0], [5, 0]], np.float32)
    (found,) = network.watch(x, network.monitors())
    assert found.fraction.tolist() == [0.8, 0.2, 0.0]
    assert found.dead.tolist() == [False, False, True]
