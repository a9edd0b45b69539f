"""Errors of cross_entropy: each names the argument, what came and what was expected; nothing is written."""

import numpy as np
import pytest
from loss_cases import FUNCTIONS

import fastrelu as fr

NAN = np.nan

ERRORS = [
    (
        {"labels": [0, 3]},
        ValueError,
        r"'labels' is 3 at position \(1,\); expected a class index from 0 to 2$",
    ),
    ({"labels": [-1, 9]}, ValueError, r"'labels' is -1 at position \(0,\)"),
    ({"labels": [0, -1], "ignore_index": -100}, ValueError, "is -1 at .*, or ignore_index, -100"),
    ({"labels": np.uint64([0, 2**63])}, ValueError, r"'labels' is 9223372036854775808 at position \(1,\)"),
    ({"labels": [0.0, 1.0]}, TypeError, r"of dtype float64 \(0.0 at position \(0,\)\) .*integer dtype"),
    ({"labels": [True, False]}, TypeError, r"of dtype bool \(True at position \(0,\)\)"),
    ({"labels": [[0, 0.5, 0.5], [0, -0.5, 1]]}, ValueError, r"'labels' is -0.5 at position \(1, 1\)"),
    ({"labels": [[0, NAN, 0.5], [0, 2, 1]]}, ValueError, r"'labels' is nan at position \(0, 1\)"),
    (
        {"labels": [[0, 1, 0], [1, 0, 0]]},
        ValueError,
        r"'labels' is of dtype int64 and of shape \(2, 3\); expected",
    ),
    ({"labels": [0, 1, 2]}, ValueError, r"shape \(3,\); expected class indices.* of shape \(2,\)"),
    ({"labels": [1j, 0]}, TypeError, "'labels' is of dtype complex128"),
    ({"labels": np.ma.array([0, 1])}, TypeError, "'labels' is a masked array"),
    ({"labels": np.ones((2, 3)) / 3, "ignore_index": 0}, ValueError, "'ignore_index' is 0; expected None"),
    ({"ignore_index": 1.5}, TypeError, "'ignore_index' is 1.5; expected None or an integer"),
    ({"weight": [1.0, 2.0]}, ValueError, r"'weight' is of shape \(2,\); expected shape \(3,\)"),
    ({"weight": [1.0, -2.0, 1]}, ValueError, r"'weight' is -2.0 at position \(1,\); expected numbers >= 0"),
    ({"weight": [1.0, NAN, 1]}, ValueError, "'weight' is nan"),
    ({"label_smoothing": 1.5}, ValueError, "'label_smoothing' is 1.5; expected a number from 0 to 1"),
    ({"label_smoothing": NAN}, ValueError, "'label_smoothing' is nan"),
    ({"reduction": "average"}, ValueError, "'reduction' is 'average'; expected 'mean', 'sum' or 'none'"),
    ({"axis": 2}, np.exceptions.AxisError, "argument 'axis': axis 2 is out of bounds"),
    ({"axis": None}, TypeError, "'axis' is None; expected an integer"),
    ({"axis": (0, 1)}, TypeError, r"'axis' is \(0, 1\); expected an integer"),
    ({"logits": np.ones((2, 3)) * 1j}, TypeError, "'logits' is of dtype complex128; expected a real dtype"),
    ({"logits": np.ma.array(np.ones((2, 3)))}, TypeError, "'logits' is a masked array"),
]


@pytest.mark.parametrize(("changed", "kind", "message"), ERRORS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__qualname__)
def test_errors(function, changed, kind, message):
    logits = np.zeros((2, 3))
    given = {"logits": logits, "labels": [0, 1]} | changed
    losses = np.zeros(2 if given.get("reduction") == "none" else ())
    given["out"] = losses if function is fr.cross_entropy else logits
    if function is fr.cross_entropy.backward:
        given["dy"] = 1.0
    with pytest.raises(kind, match=message) as caught:
        function(**given)
    assert str(caught.value).startswith(f"{function.__qualname__}: ")
    assert not np.any(logits)
    assert not np.any(losses)


@pytest.mark.parametrize("code", "bBhHiIlLqQ")
def test_the_first_wrong_label_of_many(code, backend):
    """Whatever the type, and where the last one is wrong too: the rows before it are not written either."""
    x = np.zeros((3, 500, 7), np.float32)
    labels = np.zeros((3, 500), code)
    for bad in (7, 127) if np.dtype(code).kind == "u" else (7, 127, -1, -128):
        labels[1, 321] = labels[2, 499] = bad
        for own in (labels, np.asfortranarray(labels)):
            with pytest.raises(ValueError, match=rf"'labels' is {bad} at position \(1, 321\); expected"):
                fr.cross_entropy.value_and_grad(x, own, out=x, ignore_index=bad - 1)
            with pytest.raises(ValueError, match=r"at position \(1, 321\); expected"):
                fr.cross_entropy(x, own, reduction="none", weight=np.ones(7))
    assert not np.any(x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_first_number_that_is_no_probability(dtype, backend):
    x = np.zeros((3, 500, 7), dtype)
    for bad in (-0.5, 1.5, np.nan, np.inf):
        p = np.full(x.shape, 1 / 7, dtype)
        p[1, 321, 3] = p[2, 499, 6] = bad
        with pytest.raises(
            ValueError, match=rf"'labels' is {bad} at position \(1, 321, 3\); expected a prob"
        ):
            fr.cross_entropy.value_and_grad(x, p, out=x)
    assert not np.any(x)


def test_errors_of_dy_and_out():
    x, frozen = np.zeros((2, 3)), np.zeros((2, 3))
    frozen.flags.writeable = False
    with pytest.raises(
        ValueError, match=r"'dy' is of shape \(2,\); expected the shape of the forward result, \(\)"
    ):
        fr.cross_entropy.backward(np.ones(2), x, [0, 1])
    with pytest.raises(TypeError, match="'dy' is of dtype object"):
        fr.cross_entropy.backward(None, x, [0, 1])
    with pytest.raises(ValueError, match=r"'out' is of shape \(3,\); expected shape \(2, 3\)"):
        fr.cross_entropy.value_and_grad(x, [0, 1], out=np.zeros(3))
    with pytest.raises(TypeError, match="'out' is of dtype int64"):
        fr.cross_entropy.value_and_grad(x, [0, 1], out=np.zeros((2, 3), int))
    with pytest.raises(ValueError, match=r"'out' is of shape \(2, 3\); expected shape \(\)"):
        fr.cross_entropy(x, [0, 1], out=np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"'out' is of shape \(\); expected shape \(2,\)"):
        fr.cross_entropy(x, [0, 1], reduction="none", out=np.zeros(()))
    for logits in (x, frozen):
        with pytest.raises(ValueError, match="'out' is read-only"):
            fr.cross_entropy.value_and_grad(logits, [0, 1], out=frozen)
