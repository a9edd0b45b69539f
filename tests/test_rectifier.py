"""docs/rectifier.md: its examples run, and what its networks show can be seen with small settings too."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page():
    results = doctest.testfile(str(DOCS / "rectifier.md"), module_relative=False)
    assert results.attempted > 70
    assert results.failed == 0


@pytest.fixture(autouse=True)
def one_thread():
    """For products of small matrices; more threads wait for each other."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with threadpoolctl.threadpool_limits(1, "blas"):
        yield


@pytest.fixture
def rectifier(monkeypatch):
    pytest.importorskip("sklearn")
    for folder in ("docs", "bench", "examples"):
        monkeypatch.syspath_prepend(str(DOCS.parent / folder))
    made = importlib.import_module("rectifier")
    monkeypatch.setattr(made, "DEPTHS", (1, 2, 4))
    return made


def test_the_networks(rectifier, monkeypatch):
    """In the page's tables, by name and row: what the text says of them."""
    rows = {}
    monkeypatch.setattr(rectifier, "table", lambda head, made: rows.update({r[0]: r[1:] for r in made}) or "")
    rectifier.main(["--epochs", "2", "--rates", "0.2"])
    relu_dead, leaky_dead, _ = (float(cell.split()[0]) for cell in rows["0.2"])
    assert relu_dead > 5
    assert leaky_dead == 0
    assert {"forward", "backward", "sigmoid", "tanh", "relu"} < set(rows)


def test_half_is_active_and_gradients_vanish(rectifier):
    x, labels, *_ = rectifier.digits.load()
    x -= x.mean(axis=0)
    found = rectifier.at_initialisation(x[:300])
    assert 0.45 < found["relu"][0] < 0.55
    np.testing.assert_allclose(found["relu"][:2].sum(), 1, atol=1e-3)
    assert abs(found["elu"][2]) < abs(found["relu"][2]) / 2
    ratios = rectifier.vanishing(x[:100], labels[:100])
    assert np.all(np.diff(np.log(ratios["sigmoid"])) < -1)
    assert ratios["relu"].min() > 0.5


def test_the_pictures(rectifier, monkeypatch, tmp_path):
    monkeypatch.setattr(rectifier, "PICTURES", tmp_path)
    rectifier.draw({"relu": np.ones(len(rectifier.DEPTHS))}, lambda: rectifier.picture(1)[0])
    made = {path.name for path in tmp_path.iterdir()}
    drawn = {path.name for path in (DOCS / "rectifier").iterdir()}
    assert made == drawn
    assert all(f"rectifier/{name})" in (DOCS / "rectifier.md").read_text() for name in drawn)
