"""bias_act and its backward pass: bad input, the class of the error and what it names, and their names."""

import copy
import inspect
import pickle

import numpy as np
import pytest
from calls import refused

import fastrelu as fr

pytestmark = pytest.mark.usefixtures("kernels_only")

X, DY, BIAS = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32), np.ones(3, np.float32)
WRONG = {
    "length": (
        ValueError,
        ["bias_act", "bias", "(2,)", "(3,)", "axis 1", "(2, 3)"],
        lambda f: f(X, np.ones(2), fr.relu),
    ),
    "shape": (ValueError, ["bias", "(1, 3)"], lambda f: f(X, np.ones((1, 3)), fr.relu)),
    "number": (ValueError, ["x", "()"], lambda f: f(1.0, np.ones(1), fr.relu)),
    "act": (TypeError, ["act", "Activation"], lambda f: f(X, BIAS, np.tanh)),
    "complex": (TypeError, ["bias", "complex"], lambda f: f(X, BIAS + 1j, fr.relu)),
    "axis": (np.exceptions.AxisError, ["axis"], lambda f: f(X, BIAS, fr.relu, axis=2)),
    "no axis": (TypeError, ["axis", "1.0"], lambda f: f(X, BIAS, fr.relu, axis=1.0)),
    "unknown": (TypeError, ["slope"], lambda f: f(X, BIAS, fr.relu, slope=1)),
    "parameter": (ValueError, ["alpha"], lambda f: f(X, BIAS, fr.elu, alpha=-1.0)),
    "rate": (ValueError, ["dropout", "1.5"], lambda f: f(X, BIAS, fr.relu, dropout=1.5)),
    "no rate": (TypeError, ["dropout"], lambda f: f(X, BIAS, fr.relu, dropout="half")),
    "no key": (ValueError, ["key", "noise_key"], lambda f: f(X, BIAS, fr.relu, dropout=0.5)),
    "key": (TypeError, ["key", "int"], lambda f: f(X, BIAS, fr.relu, dropout=0.5, key=3)),
}


@pytest.mark.parametrize("what", WRONG)
def test_errors_name_the_argument(what):
    kind, words, call = WRONG[what]
    out = np.zeros((2, 3), np.float32)
    with refused(kind, *words, untouched=[out]):
        call(lambda *args, **keywords: fr.bias_act(*args, out=out, **keywords))
    if what != "number":
        with refused(kind, *words, untouched=[out]):
            call(lambda *args, **keywords: fr.bias_act.backward(DY, *args, out=out, **keywords))


def test_errors_of_one_pass():
    with refused(ValueError, "residual", "(3,)", "(2, 3)"):
        fr.bias_act(X, BIAS, fr.relu, residual=BIAS)
    with refused(TypeError, "monitor", "ActivityMonitor"):
        fr.bias_act(X, BIAS, fr.relu, monitor=[])
    monitor, out = fr.ActivityMonitor(), np.zeros((2, 3), np.float32)
    monitor.update(np.ones((4, 5)))
    for _ in range(2):  # of this epoch, of the one before
        for call in (fr.bias_act, fr.bias_act.general):
            with refused(ValueError, "monitor", "(5,)", "(3,)", untouched=[out]):
                call(X, BIAS, fr.relu, monitor=monitor, out=out)
        monitor.end_epoch()
    assert len(monitor.history) == 1
    with refused(ValueError, "out", "(3,)"):
        fr.bias_act(X, BIAS, fr.relu, out=np.empty(3, np.float32))
    with refused(TypeError, "out", "int"):
        fr.bias_act(X, BIAS, fr.relu, out=np.empty((2, 3), int))
    with refused(ValueError, "dy", "(3,)", "(2, 3)"):
        fr.bias_act.backward(BIAS, X, BIAS, fr.relu)
    for name in ("residual", "monitor"):  # of the forward pass
        with refused(TypeError, "unexpected", name):
            fr.bias_act.backward(DY, X, BIAS, fr.relu, **{name: None})
    with refused(ValueError, "neither"):
        fr.bias_act.backward(DY, act=fr.relu)
    with refused(ValueError, "both"):
        fr.bias_act.backward(DY, X, BIAS, fr.relu, y=X)
    with refused(ValueError, "bias", "forward pass"):
        fr.bias_act.backward(DY, X, act=fr.relu)
    with refused(ValueError, "y", "not a function of the output"):
        fr.bias_act.backward(DY, act=fr.gelu, y=X)
    with refused(ValueError, "y", "negative"):
        fr.bias_act.backward(DY, act=fr.leaky_relu, y=X, negative_slope=-1.0)
    with refused(ValueError, "out", "tuple of 3"):
        fr.bias_act.backward(DY, X, BIAS, fr.relu, out=(None, None, None))
    for bad, word in ((np.ones(4), "(4,)"), (np.ones(3, int), "int64"), ([1.0] * 3, "list")):
        with refused((ValueError, TypeError), "out", word, untouched=[out]):
            fr.bias_act.backward(DY, X, BIAS, fr.prelu, weight=BIAS, out=(out, None, bad))
    with pytest.raises(AttributeError, match="ufunc"):
        fr.bias_act.ufunc  # noqa: B018


def test_it_is_found_again_by_name():
    for f in (fr.bias_act, fr.bias_act.backward):
        assert pickle.loads(pickle.dumps(f)) is f
        assert copy.deepcopy(f) is f
    assert list(inspect.signature(fr.bias_act).parameters)[:3] == ["x", "bias", "act"]
