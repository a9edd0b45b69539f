"""What holds for every bridge, whether its framework is installed or not."""

import doctest
from pathlib import Path

import pytest
from fresh import output

import fastrelu as fr
from fastrelu import bridges


def test_frameworks_are_imported_on_demand():
    code = "import fastrelu, sys; print([name for name in fastrelu.bridges.BRIDGES if name in sys.modules])"
    assert output(code, start="") == "[]"
    with pytest.raises(AttributeError, match="no attribute 'tensorflow'"):
        fr.tensorflow  # noqa: B018


@pytest.mark.parametrize("framework", bridges.BRIDGES)
def test_a_framework_that_is_not_installed(framework, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=rf"fastrelu\.{framework} needs {framework}.*\[{framework}\]"):
        bridges.load(framework)


def test_every_function_with_a_gradient_is_bridged():
    functions = bridges.functions()
    assert {"relu", "prelu", "rrelu", "softmax", "logsumexp0", "logaddexp", "cross_entropy"} <= set(functions)
    assert functions["prelu"].arrays == ("x", "weight")
    assert functions["logaddexp"].arrays == ("a", "b")
    assert set(fr.ACTIVATIONS) <= set(functions)


def test_the_page():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    page = Path(__file__).parent.parent / "docs/bridges.md"
    results = doctest.testfile(str(page), module_relative=False)
    assert results.attempted > 10
    assert results.failed == 0
