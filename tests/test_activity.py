"""activity and ActivityMonitor: which units are active, and which are dead."""

import math
import pickle

import numpy as np
import pytest
from calls import LAYOUTS, refused

import fastrelu as fr

pytestmark = pytest.mark.every_backend

CASES = {"rows": ((300, 17), 0), "images": ((6, 5, 8, 9), (0, 2, 3)), "columns": ((40, 700), 1)}
CASES |= {"scattered": ((4, 5, 6, 7), (1, 3)), "everything": ((30, 40), None), "nothing": ((3, 4), ())}


def outputs(shape, dtype=np.float32, seed=0):
    y = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    y[y < 0.2] = 0
    return y


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_what_numpy_counts(case, dtype):
    shape, axis = CASES[case]
    y = outputs(shape, dtype)
    found = fr.activity(y, axis)
    np.testing.assert_array_equal(found.fraction, (y > 0).mean(axis=axis))
    np.testing.assert_array_equal(found.dead, ~(y > 0).any(axis=axis))
    np.testing.assert_allclose(found.mean, y.astype(np.longdouble).mean(axis=axis).astype(float), rtol=1e-14)
    assert found.samples * found.fraction.size == y.size


def test_means_lose_nothing():
    y = np.float64([1e16, 1.0, -1e16, 1.0] * 500).reshape(-1, 1)
    assert fr.activity(y).mean == [math.fsum(y[:, 0]) / len(y)]


def test_nan_is_active_and_infinity_no_mistake():
    y = np.zeros((200, 4), np.float32)
    y[3] = np.nan, np.inf, -np.inf, -1
    found = fr.activity(y)
    np.testing.assert_array_equal(found.dead, [False, False, True, True])
    np.testing.assert_array_equal(found.mean, [np.nan, np.inf, -np.inf, -1 / 200])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    y = outputs((6, 5, 11))
    found, plain = fr.activity(LAYOUTS[layout](y), (0, 2)), fr.activity(y, (0, 2))
    np.testing.assert_array_equal(found.fraction, plain.fraction)
    np.testing.assert_allclose(found.mean, plain.mean, rtol=1e-15)


@pytest.mark.usefixtures("kernels_only")
def test_the_number_of_threads_changes_no_bit(thresholds):
    arrays = [outputs((900, 301)), outputs((5, 9000), np.float64), outputs((7, 3, 5000))]
    axes = [0, 0, (0, 2)]
    thresholds(1, 2**62, 2**62)
    alone = [fr.activity(y, axis).mean.tobytes() for y, axis in zip(arrays, axes, strict=True)]
    for threads in (2, 3, 7):
        thresholds(threads, 100, 2**62)
        found = [fr.activity(y, axis).mean.tobytes() for y, axis in zip(arrays, axes, strict=True)]
        assert found == alone


def test_no_samples():
    found = fr.activity(np.zeros((0, 3)))
    assert np.isnan(found.fraction).all()
    assert not found.dead.any()
    assert str(found) == "no outputs"
    assert str(fr.ActivityMonitor().result()) == "no outputs"


def same(a, b):
    np.testing.assert_array_equal(a.fraction, b.fraction)
    np.testing.assert_array_equal(a.dead, b.dead)
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-15)
    assert a.samples == b.samples


def test_a_monitor_does_not_mind_how_data_arrives():
    y = outputs((1000, 7))
    whole = fr.activity(y)
    parts = [fr.ActivityMonitor() for _ in range(3)]
    for number, chunk in enumerate(np.split(y, [10, 11, 400, 730])):
        parts[number % 3].update(chunk)
    first = pickle.loads(pickle.dumps(parts[0]))
    first.merge(parts[1])
    first.merge(parts[2])
    same(first.result(), whole)


def test_epochs_are_merged_one_by_one():
    one, other = fr.ActivityMonitor(), fr.ActivityMonitor()
    y = outputs((5, 40, 3))
    for epoch in range(4):
        one.update(y[epoch, :20])
        other.update(y[epoch, 20:])
        if epoch < 3:
            one.end_epoch()
            other.end_epoch()
    one.merge(other)
    assert len(one.history) == 3
    for epoch, found in enumerate([*one.history, one.result()]):
        same(found, fr.activity(y[epoch]))
    fresh = fr.ActivityMonitor()
    fresh.merge(one)
    assert len(fresh.history) == 3
    same(fresh.result(), one.result())
    fresh.update(y[4])
    same(one.result(), fr.activity(y[3]))  # what was merged is no part of it
    assert "3 epochs" in repr(one)


def test_a_monitor_counts_inside_the_forward_pass():
    monitor, x = fr.ActivityMonitor(), np.random.default_rng(0).normal(size=(90, 5, 30)).astype(np.float32)
    bias = np.linspace(-4, 1, 5).astype(np.float32)
    y = fr.bias_act(x, bias, fr.relu, axis=1, monitor=monitor)
    same(monitor.end_epoch(), fr.activity(y, (0, 2)))


def test_a_monitor_draws_itself():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    monitor = fr.ActivityMonitor()
    for seed in range(3):
        monitor.update(outputs((50, 9), seed=seed))
        monitor.end_epoch()
    axes = monitor.plot()
    assert [len(line.get_xdata()) for line in axes.lines] == [3, 3]
    assert monitor.plot(axes) is axes
    matplotlib.pyplot.close(axes.figure)


def test_errors():
    monitor = fr.ActivityMonitor()
    monitor.update(np.ones((3, 4)))
    with refused(TypeError, "activity", "y", "complex"):
        fr.activity(np.ones(3, complex))
    with refused(TypeError, "axis", "0.5"):
        fr.activity(np.ones(3), 0.5)
    with pytest.raises(np.exceptions.AxisError):
        fr.activity(np.ones(3), 1)
    with refused(ValueError, "ActivityMonitor.update", "(5,)", "(4,)"):
        monitor.update(np.ones((3, 5)))
    with refused(TypeError, "merge", "Activity"):
        monitor.merge(fr.activity(np.ones((3, 4))))
    other = fr.ActivityMonitor()
    other.update(np.ones((3, 5)))
    with refused(ValueError, "merge", "(5,)", "(4,)"):
        monitor.merge(other)
    assert monitor.result().samples == 3
    monitor.end_epoch()
    with refused(ValueError, "ActivityMonitor.update", "(5,)", "(4,)"):
        monitor.update(np.ones((3, 5)))
    assert (len(monitor.history), monitor.result().samples) == (1, 0)
