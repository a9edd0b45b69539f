"""The README's tour runs as it stands, and so do the examples of the docs."""

import doctest
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
FROM_SCIPY = README.parent / "docs/from-scipy.md"


def test_tour():
    results = doctest.testfile(str(README), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted > 20
    assert results.failed == 0


def test_from_scipy():
    results = doctest.testfile(str(FROM_SCIPY), module_relative=False)
    assert results.attempted > 3
    assert results.failed == 0
