"""SciPy's own tests of logsumexp, softmax and log_softmax and NumPy's of logaddexp, run on fastrelu's."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fastrelu as fr

theirs = pytest.importorskip("scipy.special.tests.test_logsumexp", reason="SciPy came without its tests")

DOCS = Path(__file__).parent.parent / "docs/from-scipy.md"
PRIVATE = {"test_wrap_radians"}  # of a helper that only SciPy has
NAMES = []
for name, found in vars(theirs).items():
    if name.startswith("Test"):
        globals()[name] = type(name, (found,), {"__module__": __name__})
        NAMES += [attribute for attribute in vars(found) if attribute.startswith("test_")]
    elif name.startswith("test_") and name not in PRIVATE:  # before SciPy 1.15 some stood alone
        globals()[name] = found
        NAMES.append(name)
numpys = pytest.importorskip("numpy._core.tests.test_umath", reason="NumPy came without its tests")
TestLogAddExp = type("TestLogAddExp", (numpys.TestLogAddExp,), {"__module__": __name__})


def widens(dtype_a, dtype_b):
    """Whether SciPy's result has another dtype than a weightless one would have."""
    own = np.dtype(dtype_a) if np.dtype(dtype_a).kind in "fc" else np.dtype(float)
    both = np.result_type(dtype_a, dtype_b)
    return both.kind in "fc" and np.empty(0, both).real.itemsize > np.empty(0, own).real.itemsize


# Those that fail by design: for which arguments, and why.
BY_DESIGN = {"test_dtypes_ab": (widens, "the weights `b` never widen the dtype of `a`")}


@pytest.fixture(autouse=True)
def ours(request, monkeypatch):
    """Our functions in the place of SciPy's; what differs by design must fail, or the list is out of date."""
    for name in ("logsumexp", "softmax", "log_softmax"):
        monkeypatch.setattr(theirs, name, getattr(fr, name))
    monkeypatch.setattr(numpys, "np", SimpleNamespace(**vars(np) | {"logaddexp": fr.logaddexp}))
    applies, reason = BY_DESIGN.get(request.node.originalname, (None, None))
    if applies:
        given = {k: v for k, v in request.node.callspec.params.items() if k in ("dtype_a", "dtype_b")}
        if applies(**given):
            request.applymarker(pytest.mark.xfail(reason=reason, raises=AssertionError, strict=True))


@pytest.fixture
def xp():
    """The array library under test, of those that SciPy knows."""
    return np


@pytest.fixture
def devices():
    return ["cpu"]


def test_what_differs_by_design_is_documented():
    text = DOCS.read_text()
    for name, (_, reason) in BY_DESIGN.items():
        assert name in NAMES
        assert name in text
        assert reason in text
