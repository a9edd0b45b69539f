"""The scripts of ``examples/`` with small settings: that they show what they say."""

import importlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def one_thread():
    """For products of small matrices; more threads wait for each other."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with threadpoolctl.threadpool_limits(1, "blas"):
        yield


@pytest.fixture
def run(monkeypatch, capsys):
    """Run an example's `main` with these options: what it returns, and what it printed."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def run(name, *options):
        made = importlib.import_module(name).main([str(option) for option in options])
        return made, capsys.readouterr().out

    return run


@pytest.mark.parametrize("activation", ["gelu", "relu", "tanh"])
def test_digits_network(run, activation):
    right, printed = run("digits_network", "--epochs", 6, "--hidden", 32, "--activation", activation)
    assert right > 0.85
    assert "epoch   6" in printed


def test_prelu_slopes(run):
    right, slopes = run("prelu_slopes", "--epochs", 1)[0]
    assert right > 0.7
    assert [len(s) for s in slopes] == [8, 16]
    assert all(abs(s - 0.25).max() > 1e-3 for s in slopes)


def test_noisy_rbm(run):
    for errors, right in run("noisy_rbm", "--epochs", 4, "--hidden", 40)[0].values():
        assert errors[-1] < errors[0]
        assert right > 0.8


def test_mixture_em(run):
    by_fastrelu, by_scipy = run("mixture_em", "--components", 8, "--iterations", 10)[0]
    assert np.all(np.diff(by_fastrelu) > -1e-6)  # which EM promises, but for the floor of the variances
    np.testing.assert_allclose(by_fastrelu, by_scipy, rtol=1e-12)


def test_hidden_markov(run):
    (ours, learned, right), (theirs, *_) = run("hidden_markov", "--states", 4, "--iterations", 3)[0]
    assert np.all(learned[:, -1] > learned[:, 0])
    assert right > 0.8
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_memory_mapped(run):
    (memory, total), (memory_of_numpy, total_of_numpy) = run("memory_mapped", "--megabytes", 8)[0]
    assert memory < 1e5 < memory_of_numpy
    assert abs(total - total_of_numpy) < 1e-5


def test_dying_units(run, tmp_path):
    """Half of the units are active at first; the rate kills ReLU units for good, and no leaky ones."""
    options = "--epochs", 6, "--rates", 0.001, 0.2, "--plot", tmp_path / "dying.svg"
    fresh, found = run("dying_units", *options)[0]
    assert 0.45 < fresh < 0.55
    dead = {key: shares[:, 0] for key, (shares, _) in found.items()}
    assert dead["relu", 0.2][3] > 0.1
    assert dead["relu", 0.2][-1] > 0.1
    assert dead["relu", 0.001].max() < 0.05
    assert dead["leaky_relu", 0.2].max() == 0
    assert dead["elu", 0.2][-1] < dead["relu", 0.2][-1] / 2
    assert (tmp_path / "dying.svg").stat().st_size > 1000
