"""LogSumExp: whatever the chunks and the order, the result is that of the whole."""

import copy
import itertools
import pickle
import random

import mpmath as mp
import numpy as np
import pytest
from truth import DIGITS
from ulp import HAS_EXTENDED, error, exact

import fastrelu as fr

INF, NAN = np.inf, np.nan
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
needs_extended = pytest.mark.skipif(not HAS_EXTENDED, reason="the state needs long double to keep 1 ULP")


def of(chunks, **options):
    total = fr.LogSumExp(**options)
    for chunk in chunks:
        total.update(*chunk) if isinstance(chunk, tuple) else total.update(chunk)
    return total


# Ways to put the accumulators of all chunks together


def one_by_one(parts):
    total = fr.LogSumExp(axis=0)
    for part in parts:
        total.merge(part)
    return total


def into_the_next(parts):
    """Each takes in all before it, so that what came first is merged most often."""
    total = parts[0]
    for part in parts[1:]:
        part.merge(total)
        total = part
    return total


def as_a_tree(parts):
    while len(parts) > 1:
        for here, there in zip(parts[::2], parts[1::2], strict=False):
            here.merge(there)
        parts = parts[::2]
    return parts[0]


def shuffled(parts):
    random.Random(1).shuffle(parts)
    return one_by_one(parts)


ORDERS = [one_by_one, into_the_next, as_a_tree, shuffled]
CHUNKS = 10_000


def families(dtype):
    """Rows of which each entry is a chunk."""
    rng = np.random.default_rng(5)
    normal = rng.normal(size=CHUNKS)
    deep = {np.float32: 80.0, np.float64: 700.0}[dtype]
    made = {
        "normal": normal,
        "flat": np.full(CHUNKS, 0.3),
        "near 0": normal - np.log(np.exp(normal).sum()),
        "rising": np.linspace(-1.5 * deep, 1.5 * deep, CHUNKS),
        "creeping": np.linspace(-1, 0, CHUNKS) - np.log(6000),
        "falling": np.linspace(1.5 * deep, -1.5 * deep, CHUNKS),
        "dominated": np.where(np.arange(CHUNKS) == 7000, 0, rng.uniform(-deep, -30, CHUNKS)),
        "around a step": 256 + 0.01 * normal,
        "low": -1e4 + normal,
    }
    return {name: row.astype(dtype) for name, row in made.items()}


@needs_extended
@each_dtype
def test_any_order_of_ten_thousand_chunks(dtype):
    """All families side by side: a chunk has one entry of each."""
    made = families(dtype)
    floors = [0 if name == "dominated" else 0.5 for name in made]
    with mp.workdps(DIGITS):
        true = []
        for row in made.values():
            entries = [exact(v) for v in row]
            m = max(entries)
            del entries[entries.index(m)]
            true.append(m + mp.log1p(mp.fsum(mp.exp(v - m) for v in entries)))
        chunks = np.stack(list(made.values()), axis=1)[:, None, :]
        together = of(chunks, axis=0)
        parts = [of([chunk], axis=0) for chunk in chunks]
        for order in [None, *ORDERS]:
            total = order([copy.copy(p) for p in parts]) if order else together
            assert total.entries == chunks.size
            got = total.result()
            assert got.dtype == dtype
            for name, value, expected, floor in zip(made, got, true, floors, strict=True):
                assert error(value, expected, floor=floor) <= 1, (order, name)


@needs_extended
@each_dtype
def test_weights_of_both_signs(dtype):
    rng = np.random.default_rng(6)
    a = rng.normal(0, 5, 3000).astype(dtype)
    b = (rng.lognormal(0, 2, 3000) * rng.choice([-1, 1], 3000)).astype(dtype)
    with mp.workdps(DIGITS):
        terms = [exact(w) * mp.exp(exact(x)) for w, x in zip(b, a, strict=True)]
        true = mp.fsum(terms)
        condition = mp.fsum(map(abs, terms)) / abs(true)
        for n in (1, 7, 3000):
            pieces = [(a[i : i + n], b[i : i + n]) for i in range(0, 3000, n)]
            value, sign = of(pieces, return_sign=True).result()
            assert sign == mp.sign(true)
            assert error(value, mp.log(abs(true)), floor=0.5) <= max(1, condition)
            plain = of(pieces).result()
            assert np.isnan(plain) if true < 0 else plain == value


VALUES = [0.0, 1.0, -INF, INF, NAN, 600.0, -600.0]
WEIGHTS = [1.0, -1.0, 0.0, 2.0, INF]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_limits_are_those_of_logsumexp(dtype):
    tolerance = {"rtol": 8 * np.finfo(dtype).eps, "atol": np.finfo(dtype).eps}
    for row in itertools.product(VALUES, repeat=3):
        x = np.array(row, dtype)
        got = of([x[:1], x[1:]], return_sign=True).result()
        np.testing.assert_allclose(got, fr.logsumexp(x, return_sign=True), **tolerance, err_msg=str(row))
    for row, weights in itertools.product(
        itertools.product(VALUES[:5], repeat=2), itertools.product(WEIGHTS, repeat=2)
    ):
        x, b = np.array(row, dtype), np.array(weights, dtype)
        got = of([(x[:1], b[:1]), (x[1:], b[1:])], return_sign=True).result()
        expected = fr.logsumexp(x, b=b, return_sign=True)
        np.testing.assert_allclose(got, expected, **tolerance, err_msg=f"{row} {weights}")


def test_along_axes():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(30, 4, 5))
    for axis in (0, -3, (0,), (0, 2), [2, 0]):
        got = of([x[:1], x[1:17], x[17:17], x[17:]], axis=axis).result()
        expected = fr.logsumexp(x, axis=axis)
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-15)
    b = rng.normal(size=(5,))
    total = fr.LogSumExp(axis=1, return_sign=True)
    total.update(x, b)
    np.testing.assert_allclose(total.result(), fr.logsumexp(x, axis=1, b=b, return_sign=True), rtol=1e-13)
    np.testing.assert_allclose(of(x).result(), fr.logsumexp(x), rtol=1e-15)


def test_dtypes():
    for dtype in (np.float16, np.float32, np.float64, np.longdouble):
        x = np.array([1, 2, 3], dtype)
        assert of([x, x.astype(float)]).result().dtype == dtype
        np.testing.assert_allclose(of([x]).result(), fr.logsumexp(x), rtol=2 * np.finfo(dtype).eps)
        assert of([x], dtype=np.float32).result().dtype == np.float32
    assert of([[1, 2], True]).result().dtype == np.float64
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    assert of([np.ones(2, bfloat16)]).result().dtype == bfloat16


def test_nothing():
    assert fr.LogSumExp().result() == -INF
    assert fr.LogSumExp(dtype=np.float32, return_sign=True).result() == (-INF, 0)
    total = of([[], [2.0]])
    total.merge(fr.LogSumExp())
    assert total.result() == 2
    empty = fr.LogSumExp()
    empty.merge(total)
    assert empty.result() == 2
    masked = np.ma.array([1.0, 99.0], mask=[0, 1])
    assert of([masked]).result() == 1


def test_copies_are_independent():
    total = of([[0.0, 1.0]])
    before = total.result()
    for made in (pickle.loads(pickle.dumps(total)), copy.copy(total), copy.deepcopy(total)):
        assert made.result() == before
        made.update(5.0)
        assert made.result() > 5
        assert total.result() == before
    other = copy.copy(total)
    total.merge(other)
    assert total.result() == pytest.approx(before + np.log(2), rel=1e-15)
    assert other.result() == before


def test_merging_with_itself_doubles():
    total = of([[0.5, 1.0]])
    expected = fr.logsumexp([0.5, 1.0, 0.5, 1.0])
    total.merge(total)
    assert total.result() == pytest.approx(expected, rel=1e-15)


def test_it_shows_what_it_is():
    assert (
        repr(fr.LogSumExp(0, np.float32, True))
        == "LogSumExp(axis=0, dtype=float32, return_sign=True) over 0 entries"
    )
    assert repr(of([[1, 2], 3])) == "LogSumExp(axis=None, dtype=float64) over 3 entries"


ERRORS = [
    (
        lambda t: t.update(np.zeros((2, 3)) * 1j),
        TypeError,
        "'chunk' is of dtype complex128; expected a real dtype",
    ),
    (lambda t: t.update(["a"]), TypeError, "'chunk' is of dtype <U1"),
    (lambda t: t.update(np.zeros((2, 4))), ValueError, r"has the shape \(4,\); expected \(3,\), as before"),
    (
        lambda t: t.update(np.zeros((2, 3)), np.zeros(2)),
        ValueError,
        r"'b' is of shape \(2,\); expected .* \(2, 3\)",
    ),
    (lambda t: t.update(1.0), np.exceptions.AxisError, "axis 0 is out of bounds"),
    (lambda t: t.merge(3.0), TypeError, "'other' is a float; expected a LogSumExp"),
    (
        lambda t: t.merge(of([[1.0]], axis=-1)),
        ValueError,
        "'other' is along axis -1; expected one along axis 0",
    ),
    (lambda t: t.merge(of([np.ones((1, 2))], axis=0)), ValueError, r"the shape \(2,\); expected \(3,\)"),
]


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS)
def test_errors_leave_it_as_it_was(call, kind, message):
    total = of([np.zeros((2, 3))], axis=0)
    before, shown = total.result(), repr(total)
    with pytest.raises(kind, match=message):
        call(total)
    np.testing.assert_array_equal(total.result(), before)
    assert repr(total) == shown


def test_errors_of_the_constructor():
    with pytest.raises(TypeError, match="'dtype' is int64; expected a real floating dtype"):
        fr.LogSumExp(dtype=int)
    with pytest.raises(TypeError, match="'axis' is 'rows'"):
        fr.LogSumExp("rows")
