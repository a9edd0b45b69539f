"""LogSumExp of device arrays on Numba's simulator: test_device_rows.py runs this file."""

import copy

import numpy as np
import pytest
from on_device_rows import DTYPES, LONG, each_dtype, normal, off, reference, shared, wide
from on_device_weighted import problem
from simulated import LIBRARY, DeviceArray

import fastrelu as fr
from fastrelu.kernels.cuda import launch
from fastrelu.reference import rows as reference_rows

D, INF, NAN = DeviceArray, np.inf, np.nan


def streamed(chunks, weights=None, **options):
    total = fr.LogSumExp(**options)
    for i, chunk in enumerate(chunks):
        total.update(D(chunk), *(() if weights is None else (D(weights[i]),)))
    return total


@each_dtype
def test_chunks(dtype):
    """However they lie, and whichever axes are kept."""
    x = normal(dtype, 3, 4, 11)
    chunks = x[..., :8], x[..., 8:9].copy(), np.asfortranarray(x[..., 9:])
    total = streamed(chunks, axis=2)
    got = total.result()
    assert type(got) is D
    assert (got.host.dtype, got.shape, total.entries) == (dtype, (3, 4), x.size)
    assert off(got.host, reference(fr.logsumexp, x, 2), 0.5) <= 1
    assert type(total.dtype) is type(x.dtype)
    assert repr(total) == f"LogSumExp(axis=2, dtype={dtype}) over 132 entries"
    if dtype == np.float32:
        turned = streamed([x.transpose(1, 0, 2)[:, :, ::-2], x.transpose(1, 0, 2)[:, :, 1::2]], axis=(0, 2))
        assert off(turned.result().host, reference(fr.logsumexp, x, (1, 2)), 0.5) <= 1


def test_weights_and_what_has_none():
    a, b = problem(np.dtype("d"), 2, 24)
    total = streamed([a[:, :10], a[:, 10:]], [b[:, :10], b[:, 10:]], axis=1, return_sign=True)
    total.update(D(a))
    both = np.concatenate([a, a], 1), np.concatenate([b, np.ones_like(b)], 1)
    exact = reference_rows.logsumexp(wide(both[0]), axis=1, b=wide(both[1]), return_sign=True)
    value, sign = (one.host for one in total.result())
    np.testing.assert_allclose(value, exact[0].astype(float), rtol=1e-14)
    assert np.array_equal(sign, exact[1])
    opposite = streamed([a, a], [b, -2 * b], axis=1).result().host
    assert np.array_equal(
        np.isnan(opposite), reference_rows.logsumexp(a, axis=1, b=b, return_sign=True)[1] > 0
    )


def test_one_long_row_whose_pieces_are_shared_out(monkeypatch):
    monkeypatch.setattr(launch.device(0), "processors", 1000)
    x = normal("f", 3 * LONG)
    got = streamed([x[:LONG], x[LONG : LONG + 3], x[LONG + 3 :]]).result().host
    assert got.shape == ()
    assert off(got, reference(fr.logsumexp, x, None), 0.5) <= 1


def test_limits():
    """Infinities and NaN, in the same chunk or in another; chunks of nothing."""
    rows = [[-INF, -INF, 1], [INF, 1, -INF], [INF, 0, INF], [-INF] * 3, [NAN, 1, INF], [0, 1, NAN], [2, 0, 1]]
    for dtype in DTYPES:
        x = np.array(rows, dtype)
        total = streamed([x[:, i : i + 1] for i in range(3)], axis=1)
        total.update(D(x[:, :0]))
        assert off(total.result().host, reference(fr.logsumexp, x, 1), 0.5) <= 1
    x = np.array(rows)
    weights = np.array([[1, 1, 1], [1, 1, 0], [1, 1, -1], [1, 2, 3], [0, 1, 1], [1, 1, 1], [1, -1, 0]])
    total = streamed(x.T[:, :, None], weights.T[:, :, None].astype(float), axis=1, return_sign=True)
    exact = reference_rows.logsumexp(x, axis=1, b=weights, return_sign=True)
    for got, expected in zip(total.result(), exact, strict=True):
        np.testing.assert_allclose(got.host, expected, rtol=1e-15)
    nothing = streamed([np.zeros((2, 0), "f")], axis=1).result()
    assert np.array_equal(nothing.host, [-INF, -INF])
    assert streamed([np.zeros((0, 3), "f")], axis=1).result().shape == (0,)


def test_merged_and_copied():
    x = normal("f", 2, 30)
    here, there = streamed([x[:, :10]], axis=1), streamed([x[:, 10:]], axis=1)
    before, all_of = copy.copy(here), fr.LogSumExp(axis=1)
    here.merge(there)
    all_of.merge(here)
    assert off(all_of.result().host, reference(fr.logsumexp, x, 1), 0.5) <= 1
    assert off(before.result().host, reference(fr.logsumexp, x[:, :10], 1), 0.5) <= 1
    assert all_of.entries == 60


def test_what_is_allocated_and_launched():
    x, total, device = D(normal("f", 3, 7)), fr.LogSumExp(axis=1), launch.device(0)
    for call, made, launched in (
        (lambda: total.update(x), 3, 2),  # the chunk's states and the sums; at first one number for its dtype
        (lambda: total.update(x), 2, 2),
        (total.result, 1, 1),
    ):
        before = LIBRARY.made, len(device.launched)
        call()
        assert (LIBRARY.made - before[0], len(device.launched) - before[1]) == (made, launched)


X = shared(normal("f", 3, 4))


def seen(x):
    total = fr.LogSumExp(axis=1)
    total.update(x)
    return total


def merged_to(dtype, other):
    fr.LogSumExp(axis=1, dtype=dtype).merge(other)


HOST, DOUBLE = seen(X), seen(D(X.astype("d")))
REFUSED = {
    "host, then device": (TypeError, "'chunk'", "host", lambda t: t.update(D(X)), X),
    "device, then host": (TypeError, "'chunk'", "host.* device 0", lambda t: t.update(X), D(X)),
    "two devices": (ValueError, "device 1", "device 0", lambda t: t.update(D(X, 1)), D(X)),
    "two dtypes": (TypeError, "float64", "float32", lambda t: t.update(D(X.astype("d"))), D(X)),
    "another shape": (ValueError, r"\(2,\)", r"\(3,\)", lambda t: t.update(D(X[:2])), D(X)),
    "host weights": (TypeError, "'b'", "host", lambda t: t.update(D(X), X), D(X)),
    "their shape": (ValueError, "'b'", r"\(3, 4\)", lambda t: t.update(D(X), D(X[:, :2])), D(X)),
    "merged": (TypeError, "'other'", "host.*device", lambda t: t.merge(HOST), D(X)),
    "merged dtypes": (TypeError, "float64", "float32", lambda t: t.merge(DOUBLE), D(X)),
    "merged result": (TypeError, "float64", "float32", lambda t: merged_to("f", t), D(X.astype("d"))),
    "result": (TypeError, "float32", "float64", lambda t: fr.LogSumExp(dtype="d").update(D(X)), D(X)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_come_before_any_launch(case):
    kind, one, other, call, first = REFUSED[case]
    total = seen(first)
    before = len(launch.device(0).launched)
    with pytest.raises(kind) as caught:
        call(total)
    assert caught.match(one)
    assert caught.match(other)
    assert total.entries == 12
    assert len(launch.device(0).launched) == before
