"""Calls that are made again: what was found of one layout serves other arrays, and only where it may."""

import numpy as np
import pytest
from simulated import DeviceArray, check_refusal, shared

import fastrelu as fr
from fastrelu.device import repeated

RNG = np.random.default_rng(7)


def array(shape, dtype="f", before=0, step=1):
    """Numbers that begin so many after a multiple of 64 bytes, each `step` after the last."""
    dtype, count = np.dtype(dtype), int(np.prod(shape)) * step
    memory = np.empty((count + before) * dtype.itemsize + 64, np.uint8)
    begin = -memory.ctypes.data % 64 + before * dtype.itemsize
    made = memory[begin : begin + count * dtype.itemsize].view(dtype).reshape(*shape[:-1], -1)[..., ::step]
    made[...] = RNG.normal(size=shape) * 3
    return made


def agrees(call, *arrays, **more):
    """A call on arrays of the device with the same one on the host, to the last digits."""
    expected = call(*arrays, **more)
    there = {k: DeviceArray(v) if isinstance(v, np.ndarray) else v for k, v in more.items()}
    got = call(*map(DeviceArray, arrays), **there)
    np.testing.assert_allclose(got.host, expected, rtol=1e-3 if expected.dtype == "e" else 1e-6)


CALLS = {
    "strides": lambda before: agrees(fr.gelu, array((3, 8), before=before, step=2)),
    "broadcast": lambda before: agrees(fr.logaddexp, array((3, 8), before=before), array((8,))),
    "dtypes": lambda before: agrees(fr.logaddexp, array((3, 8), before=before), array((3, 8), "d")),
    "parameter": lambda before: agrees(
        fr.leaky_relu, array((3, 8), before=before), negative_slope=array((8,))
    ),
    "halves": lambda before: agrees(fr.swiglu, array((3, 8), before=before)),
    "dtype": lambda before: agrees(fr.relu, array((3, 8), before=before), dtype="d"),
    "softmax": lambda before: agrees(fr.softmax, array((3, 8), before=before)),
    "logsumexp": lambda before: agrees(fr.logsumexp, array((3, 8), before=before), axis=1),
    "weights": lambda before: agrees(fr.logsumexp, array((3, 8), before=before), axis=0, b=abs(array((8,)))),
    "gradient": lambda before: agrees(fr.gelu.backward, array((3, 8), before=before), array((3, 8), step=2)),
    "gradient of dtypes": lambda before: agrees(
        fr.gelu.backward, array((3, 8), "e"), array((3, 8), before=before)
    ),
    "loss": lambda before: agrees(fr.cross_entropy, array((3, 8), before=before), np.array([0, 7, 3])),
}


@pytest.mark.parametrize("name", CALLS)
def test_other_numbers_and_other_alignments(name):
    for before in (0, 0, 1, 2, 0, 1):
        CALLS[name](before)


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(repeated, "_KEPT", found := {})
    return found


def test_what_is_kept_is_used_again(kept, monkeypatch):
    x, y = (array((3, 8), step=2) for _ in range(2))
    fr.gelu(DeviceArray(x))
    assert len(kept) == 1
    with monkeypatch.context() as patched:
        patched.setattr("fastrelu.device.calls.Operands", None)  # which a call that is seen again needs
        result = fr.gelu(DeviceArray(y))
    np.testing.assert_allclose(result.host, fr.gelu(y), rtol=1e-6)
    fr.gelu(DeviceArray(array((3, 8), step=2, before=1)))
    fr.gelu(DeviceArray(array((3, 8), step=2)), dtype="d")
    with fr.accuracy("fast"):
        fr.gelu(DeviceArray(x))
    assert len(kept) == 4


def test_two_zeros_and_numbers_of_other_types(kept):
    x = DeviceArray(np.full((2, 4), -1.0, "f")[:, ::2])
    for slope in (0.0, -0.0, 0.0, -0.0):
        made = fr.leaky_relu(x, negative_slope=slope).host
        assert (np.signbit(made) == (not np.signbit(slope))).all()
    assert len(kept) == 2
    for slope in (0.5, 1, True, 1.0):
        agrees(fr.leaky_relu, array((3, 8), step=2), negative_slope=slope)
    assert len(kept) == 6


def test_memory_that_was_given(kept):
    whole = shared(array((48,)))
    x, masks = whole[:24].reshape(3, 8), [np.arange(24).reshape(3, 8) % k > 0 for k in (2, 3)]
    for mask in masks:
        out = DeviceArray(np.zeros((3, 8), "f"))
        fr.gelu(DeviceArray(x), out=out, where=DeviceArray(mask))
        np.testing.assert_allclose(out.host, np.where(mask, fr.gelu(x), 0), rtol=1e-6)
    found = len(kept)
    there, mask = DeviceArray(x), DeviceArray(masks[0])
    expected = np.where(masks[0], fr.gelu(x), x)
    fr.gelu(there, out=there, where=mask)
    np.testing.assert_allclose(there.host, expected, rtol=1e-6)
    over = DeviceArray(whole[4:28].reshape(3, 8))
    check_refusal(ValueError, "out", "over another part", lambda: fr.gelu(there, out=over, where=mask))
    read_only = DeviceArray(np.zeros((3, 8), "f"), read_only=True)
    check_refusal(ValueError, "out", "read-only", lambda: fr.gelu(there, out=read_only, where=mask))
    elsewhere = DeviceArray(np.zeros((3, 8), "f"), ordinal=1)
    check_refusal(ValueError, "out", "device 1", lambda: fr.gelu(there, out=elsewhere, where=mask))
    assert len(kept) == found
