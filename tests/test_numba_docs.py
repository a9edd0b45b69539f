"""What the docs and the example say of fastrelu inside @njit."""

import doctest
from pathlib import Path

import pytest
from fresh import output

pytest.importorskip("numba")
pytestmark = pytest.mark.usefixtures("kernels_only")

ROOT = Path(__file__).parent.parent
HEAD = "## Inside `@njit`"


def test_the_section():
    section = (ROOT / "docs/numba.md").read_text().partition(HEAD)[2]
    test = doctest.DocTestParser().get_doctest(section, {}, HEAD, None, None)
    results = doctest.DocTestRunner().run(test)
    assert results.attempted > 10
    assert results.failed == 0


def test_the_training_step(tmp_path):
    """In a process of its own, for its cache is kept beside the module's name."""
    pytest.importorskip("sklearn")
    code = """
    import numpy as np, numba_training_step
    by_numpy, compiled = numba_training_step.main(["--epochs", "1", "--hidden", "32"])
    print(np.allclose(compiled, by_numpy, rtol=1e-4), compiled[-1] < compiled[0])
    """
    paths = {"PYTHONPATH": str(ROOT / "examples"), "NUMBA_CACHE_DIR": str(tmp_path)}
    lines = output(code, start="", **paths).splitlines()
    assert lines[0].startswith("numpy")
    assert "us a step" in lines[1]
    assert lines[2] == "True True"
