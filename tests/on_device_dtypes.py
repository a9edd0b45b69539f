"""Dtypes beside each other on device arrays, `where`, `dtype` and `casting`: the host's results and errors.

test_device.py runs this file on Numba's simulator.
"""

import itertools
import warnings

import ml_dtypes
import numpy as np
import pytest
from simulated import DeviceArray, shared

import fastrelu as fr
from fastrelu.kernels.cuda import launch

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATING = [np.dtype(char) for char in "efd"] + [BFLOAT16]
OTHERS = [np.dtype(char) for char in "?bBhHiIqQ"]
X = np.linspace(-3, 9, 19)  # whole vectors of no dtype
X[:2] = 1 + 2.0**-11 + 2.0**-40, 2049.0  # rounded twice this is not what it is rounded once


def both(call):
    """What the host and the device give the same call of ``call(place)``, or raise."""
    found = []
    for place in (np.copy, lambda a: DeviceArray(np.copy(a))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # overflow of casts, of which a device is silent
            try:
                results = call(place)
            except Exception as error:
                found.append((type(error), str(error)))
                continue
        results = results if isinstance(results, tuple) else (results,)
        found.append([np.asarray(getattr(one, "host", one)) for one in results])
    return found


def check(call, ulp=0):
    """The same on the device as on the host: errors and their words, dtypes, shapes and bits, or nearly."""
    host, device = both(call)
    if type(host) is tuple or type(device) is tuple:
        assert device == host
        return
    for one, other in zip(device, host, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        eps = ulp and float(ml_dtypes.finfo(one.dtype).eps)
        a, b = one.astype(float), other.astype(float)
        np.testing.assert_allclose(a, b, rtol=eps, atol=eps / 4)


@pytest.mark.parametrize("dtype", FLOATING + OTHERS, ids=str)
def test_forward(dtype):
    x = X.astype(dtype)
    for f in (fr.relu, fr.relu6, fr.hardshrink):
        check(lambda place, f=f: f(place(x)))
    for other in (*FLOATING, np.dtype("i1"), np.dtype("u4"), np.dtype("?")):
        weight, out = X.astype(other), np.zeros(x.shape, other)
        check(lambda place, weight=weight: fr.prelu(place(x), weight=place(weight)))
        check(lambda place, other=other: fr.relu(place(x), dtype=other))
        check(lambda place, out=out: fr.relu(place(x), out=place(out)))
        if (dtype.kind in "biu") >= (other.kind in "biu"):  # of numbers out of range NumPy promises nothing
            for casting in ("safe", "unsafe"):
                check(lambda place, out=out, c=casting: fr.hardshrink(place(x), out=place(out), casting=c))
                check(lambda place, d=other, c=casting: fr.relu(place(x), dtype=d, casting=c))


@pytest.mark.parametrize("other", [*FLOATING, *OTHERS[:2], *OTHERS[-2:]], ids=str)
def test_two_dtypes(other):
    a = X.astype(other)
    for dtype in FLOATING:
        b, out = (X[::-1] / 2).astype(dtype), np.zeros(X.shape, dtype)
        check(lambda place, b=b: fr.relu.backward(place(a), place(b)))
        check(lambda place, b=b: fr.relu.backward(place(b), place(a)))
        check(lambda place, out=out: fr.hardshrink.backward(place(a), place(a), out=place(out)))
        check(lambda place, b=b: fr.relu.backward(place(b), place(b), at_zero=place(a)))
        check(lambda place, b=b: fr.prelu.backward(place(a), place(b), weight=place(a)))
        check(lambda place, b=b: fr.prelu.backward(place(a), place(b), weight=0.25), 1)
        check(lambda place, b=b: fr.reglu(place(a), place(b)))
        check(lambda place, b=b: fr.reglu(place(b), place(b), dtype=other))
        check(lambda place, b=b: fr.reglu.backward(place(b), place(b), place(a)))
        check(lambda place, out=out: fr.reglu(place(a[:-1]), out=place(out[:9])))
        check(lambda place, b=b: fr.reglu.backward(place(b[:9]), place(a[:-1])))
        check(lambda place, b=b: fr.logaddexp(place(a), place(b)), 1)
        check(lambda place, b=b: fr.logaddexp(place(b), a.dtype.type(1)), 1)
        check(lambda place, b=b: fr.logaddexp.backward(place(b), place(b), place(a)), 1)


def test_what_the_host_refuses():
    x, n = X.astype("f"), X.astype("i4")
    for call in (
        lambda place: fr.gelu(place(x), dtype="i4"),
        lambda place: fr.gelu(place(x), dtype=BFLOAT16),
        lambda place: fr.gelu(place(x), dtype="e", casting="safe"),
        lambda place: fr.gelu(place(x), dtype="D"),
        lambda place: fr.gelu(place(x), casting="always"),
        lambda place: fr.gelu(place(x), out=place(n)),
        lambda place: fr.gelu(place(x), out=place(X), casting="equiv"),
        lambda place: fr.relu(place(n), dtype="u1"),
        lambda place: fr.gelu(place(x), where=place(n), out=place(x)),
        lambda place: fr.gelu.backward(place(x), place(x), out=place(n)),
        lambda place: fr.glu(place(x), place(x), dtype="i4"),
        lambda place: fr.glu(place(x), place(x), out=place(X), casting="no"),
        lambda place: fr.logaddexp(place(x), place(x), out=place(n)),
    ):
        before = len(launch.device(0).launched)
        host, device = both(call)
        assert type(host) is tuple
        assert device == host
        assert len(launch.device(0).launched) == before


WIDE = np.random.default_rng(1).normal(0, 3, (2, 3, 16))
LAYOUTS = {
    "contiguous": lambda a: a,
    "off a vector": lambda a: np.pad(a, ((0, 0), (0, 0), (1, 2)))[..., 1:-2],
    "padded rows": lambda a: np.pad(a, ((0, 0), (0, 1), (0, 0)))[:, :-1],
    "transposed": lambda a: np.ascontiguousarray(a.transpose(2, 0, 1)).transpose(1, 2, 0),
}


def laid(a, how):
    return DeviceArray(LAYOUTS[how](a))


@pytest.mark.parametrize("dtype", [np.dtype(char) for char in "ef?"], ids=str)
def test_where(dtype):
    x, mask = WIDE.astype(dtype), WIDE > -1
    for (how, other), out in zip(itertools.pairwise([*LAYOUTS, "contiguous"]), "fefe", strict=True):
        for wanted in (mask, mask[0], mask[:, :1], mask[..., :1]):
            expected = np.full(x.shape, 7, out)
            with np.errstate(over="ignore"):
                fr.relu(x, out=expected, where=wanted, casting="unsafe")
            got = laid(np.full(x.shape, 7, out), other)
            on_device = laid(wanted, how) if wanted.shape == x.shape else DeviceArray(wanted)
            fr.relu(laid(x, how), out=got, where=on_device, casting="unsafe")
            assert np.array_equal(got.host, expected)


def test_offsets_of_two_dtypes():
    """Nothing beside the result is touched, and vectors begin where all arrays allow it."""
    x, mask = X.astype("e"), X > 0
    for n, at, to, aside in itertools.product((1, 7, 13), (0, 1, 3), (0, 1, 3), (0, 1)):
        memory = shared(np.full(24, 7, "f"))
        expected = memory.copy()
        fr.relu(x[at : at + n], out=expected[to : to + n], where=mask[aside : aside + n])
        wanted = DeviceArray(mask[aside : aside + n])
        fr.relu(DeviceArray(x[at : at + n]), out=DeviceArray(memory[to : to + n]), where=wanted)
        assert np.array_equal(DeviceArray(memory).host, expected)


def test_memory_that_is_larger_than_the_result():
    x, larger = WIDE[0].astype("f"), np.zeros(WIDE.shape, "f")
    check(lambda place: fr.relu(place(x), out=place(larger)))
    check(lambda place: fr.reglu(place(x[0]), place(x), out=place(larger)))


def test_where_of_other_calls():
    x, mask = WIDE.astype("f"), WIDE > 0
    for call in (
        lambda place, **given: fr.leaky_relu(place(x), 0.25, **given),
        lambda place, **given: fr.prelu(place(x), place(x[0, :, 0]), axis=1, **given),
        lambda place, **given: fr.reglu(place(x), place(x[0]), **given),
    ):
        for wanted in (mask, True, False, np.True_):
            memory = shared(np.full(x.shape, 7, "f"))
            expected = np.copy(memory)
            call(np.copy, where=wanted, out=expected)
            on_device = DeviceArray(wanted) if np.ndim(wanted) else wanted
            before = len(launch.device(0).launched)
            call(lambda a: DeviceArray(np.copy(a)), where=on_device, out=DeviceArray(memory))
            got = DeviceArray(memory).host
            assert np.array_equal(got, expected)
            assert len(launch.device(0).launched) - before == (wanted is not False)
    halves = fr.reglu(DeviceArray(x), where=DeviceArray(mask[..., :8]), out=DeviceArray(memory[..., :8]))
    assert np.array_equal(halves.host[mask[..., :8]], fr.reglu(x)[mask[..., :8]])


def test_where_without_out():
    x, mask = X.astype("f"), X > 0
    with pytest.warns(UserWarning, match="'where' used without 'out'"):
        got = fr.relu(DeviceArray(x), where=DeviceArray(mask)).host
    assert np.array_equal(got[mask], x[mask])
    assert np.isnan(got[~mask]).all()  # as `simulated` makes memory
    with pytest.warns(UserWarning, match="'where' used without 'out'"):
        wide = fr.relu(DeviceArray(x), where=DeviceArray(np.ones((2, 19), bool)))
    assert np.array_equal(wide.host, np.stack([fr.relu(x)] * 2))


def test_kernels_of_two_dtypes_go_by_vectors():
    x = X.astype("e")
    assert fr.explain(fr.gelu, DeviceArray(x), out=DeviceArray(X)).path == "vectors"
    plan = fr.explain(fr.gelu.backward, DeviceArray(X), DeviceArray(x))
    assert (plan.path, plan.dtype) == ("vectors", "float16")
    assert fr.explain(fr.reglu, DeviceArray(X), DeviceArray(x)).dtype == "float64"
