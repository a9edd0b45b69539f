"""cross_entropy of arrays of every kind: axes, strides, dtypes, threads, places; none changes a bit."""

import itertools

import mpmath as mp
import numpy as np
import pytest
from cases import same_bits
from loss_cases import OPTIONS, problem
from ulp import error, exact

import fastrelu as fr
from fastrelu import losses

NEVER = 2**62
each_dtype = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
SETS = [
    {},
    {"label_smoothing": 0.1},
    {"weight": np.linspace(0.5, 2, 5), "ignore_index": 3},
    {"weight": np.linspace(0.5, 2, 5), "ignore_index": 3, "label_smoothing": 0.1},
]
TARGETS = [("indices", options) for options in SETS]
TARGETS += [
    ("probabilities", {}),
    ("probabilities", {"label_smoothing": 0.1, "weight": np.linspace(0.5, 2, 5)}),
]
each_target = pytest.mark.parametrize(("kind", "options"), TARGETS, ids=str)


def everything(x, labels, **options):
    """All that can be asked: losses, mean, and gradients."""
    dy = np.linspace(0.5, 2, x.size // x.shape[options.get("axis", -1)]).astype(x.dtype)
    mean, of_mean = fr.cross_entropy.value_and_grad(x, labels, **options)
    options["reduction"] = "none"
    rows, gradient = fr.cross_entropy.value_and_grad(x, labels, **options)
    backward = fr.cross_entropy.backward(dy.reshape(rows.shape), x, labels, **options)
    return [mean, of_mean, rows, gradient, backward]


def layouts(a, axis):
    """The same values with the axis elsewhere in memory, backwards, with gaps, and not aligned."""
    yield np.ascontiguousarray(a)
    for order in itertools.permutations(range(a.ndim)):
        yield np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))
    yield np.flip(np.ascontiguousarray(np.flip(a, axis)), axis)
    yield np.flip(np.ascontiguousarray(np.flip(a)))
    yield np.repeat(a, 3, axis=axis)[(slice(None),) * axis + (slice(None, None, 3),)]
    odd = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    odd[...] = a
    yield odd
    yield a.astype(a.dtype.newbyteorder())


@pytest.mark.every_isa
@each_target
@each_dtype
def test_layouts(dtype, kind, options):
    """Each axis, wherever it lies, and labels laid out in another way, give the bits of contiguous rows."""
    x, labels = problem(dtype, kind, options, (3, 18, 5))
    expected = everything(x, labels, **options)
    for axis in range(3):
        moved, own = np.moveaxis(x, 2, axis), labels
        if kind == "probabilities":
            own = np.moveaxis(labels, 2, axis)
        others = [np.asfortranarray(own), own[::-1][::-1], np.flip(np.flip(own, 0).copy(), 0)]
        for layout, other in zip(layouts(moved, axis), itertools.cycle(others)):
            got = everything(layout, other, **options, axis=axis)
            assert same_bits(got[0], expected[0])
            assert same_bits(got[2], expected[2])
            for i in (1, 3, 4):
                assert same_bits(np.moveaxis(got[i], axis, 2), expected[i])


@pytest.mark.every_isa
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 7), (3, 1), (7, 2), (70, 3), (300, 10), (9, 65), (2, 2500), (130, 9)]
)
@each_dtype
def test_rows_are_on_their_own(dtype, shape, kernels_only):
    """A row has the bits that it has alone, whatever register or tile it falls into."""
    x, labels = problem(dtype, "indices", {}, shape)
    for options in ({}, {"label_smoothing": 0.2}):
        rows, gradient = fr.cross_entropy.value_and_grad(x, labels, reduction="none", **options)
        for i in {0, 1, shape[0] // 2, shape[0] - 1} & set(range(shape[0])):
            alone = fr.cross_entropy.value_and_grad(x[i], labels[i], **options)
            assert same_bits(alone[0], rows[i])
            assert same_bits(alone[1], gradient[i])
        assert same_bits(fr.cross_entropy(x, labels, reduction="none", **options), rows)
        across = fr.cross_entropy.value_and_grad(x.T.copy(), labels, axis=0, reduction="none", **options)
        assert same_bits(across[0], rows)
        assert same_bits(across[1].T, gradient)


@pytest.mark.parametrize("shape", [(700, 10), (33, 400), (2, 9000), (1, 50000)])
@each_target
def test_threads(kind, options, shape, thresholds):
    """Tiles are shared out, or the segments of a few long rows."""
    options = options | ({"weight": np.linspace(0.5, 2, shape[1])} if "weight" in options else {})
    x, labels = problem(np.float32, kind, options, shape)
    for axis in (1, 0):
        given = (x, labels) if axis else (x.T.copy(), labels if kind == "indices" else labels.T.copy())
        thresholds(1, NEVER, NEVER)
        expected = everything(*given, **options, axis=axis)
        for threads in (2, 3, 7):
            thresholds(threads, 500, NEVER)
            got = everything(*given, **options, axis=axis)
            assert all(map(same_bits, got, expected))


@pytest.mark.parametrize("code", "bBhHiIlLqQ")
def test_labels_of_every_integer_type(code, backend):
    rng = np.random.default_rng(6)
    x, labels = rng.normal(size=(40, 100)), rng.integers(0, 100, 40)
    expected = everything(x, labels, ignore_index=7)
    wide = np.repeat(labels.astype(code), 2)
    for own in (labels.astype(code), wide[::2], labels.astype(np.dtype(code).newbyteorder())):
        assert all(map(same_bits, everything(x, own, ignore_index=7), expected))
    if np.dtype(code).kind == "i":
        own = np.where(labels % 5, labels, -3).astype(code)
        assert all(
            map(
                same_bits,
                everything(x, own, ignore_index=-3),
                everything(x, own.astype(int), ignore_index=-3),
            )
        )
    else:  # -1 is none of these, though its bits are
        own = labels.astype(code)
        assert all(map(same_bits, everything(x, own, ignore_index=-1), everything(x, labels)))


def test_plain_arrays_go_straight_to_the_kernel(kernels_only, monkeypatch):
    """The general path would raise here."""
    monkeypatch.setattr(losses, "Rows", None)
    x, labels = problem(np.float32, "indices", {})
    for dtype, order in itertools.product((np.float16, np.float32, np.float64), "CF"):
        own = x.astype(dtype, order=order)
        for options in OPTIONS:
            weight = options["weight"] and np.array(options["weight"])
            everything(own, labels, **options | {"weight": weight, "ignore_index": 3})
        fr.cross_entropy.value_and_grad(own[:, ::-1], labels[:, ::-1], out=own[:, ::-1])
    everything(x, np.full_like(x, 0.2))
    everything(x, np.full(x.shape, 0.2), axis=1, label_smoothing=0.1)


# Where results go


@each_target
@each_dtype
def test_in_place(dtype, kind, options, backend):
    x, labels = problem(dtype, kind, options, (70, 5))
    rows, gradient = fr.cross_entropy.value_and_grad(x, labels, **options)
    for axis, own in ((1, x.copy()), (1, np.asfortranarray(x)), (0, x.T.copy())):
        turned = labels.T if kind == "probabilities" and axis == 0 else labels
        loss, made = fr.cross_entropy.value_and_grad(own, turned, **options, axis=axis, out=own)
        assert made is own
        assert same_bits(loss, rows)
        assert same_bits(own if axis else own.T, gradient)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@each_dtype
def test_out_of_the_loss(dtype, reduction, backend):
    x, labels = problem(dtype, "indices", {})
    expected = fr.cross_entropy(x, labels, reduction=reduction)
    for kind in (dtype, np.float64, np.longdouble):
        out = np.full(np.shape(expected), 7, kind)
        assert fr.cross_entropy(x, labels, reduction=reduction, out=out) is out
        np.testing.assert_array_equal(out, expected)
    memory = np.zeros((4, 14), dtype)
    assert fr.cross_entropy(x, labels, reduction="none", out=memory[:, ::2]).base is memory
    np.testing.assert_array_equal(memory[:, ::2], fr.cross_entropy(x, labels, reduction="none"))


def test_out_may_overlap(backend):
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 4, 5)
    buffer = np.zeros(21)
    for start, target in ((0, 1), (1, 0)):
        x, out = (buffer[i : i + 20].reshape(5, 4) for i in (start, target))
        x[...] = rng.normal(size=x.shape)
        expected = fr.cross_entropy.backward(1.0, x, labels)
        assert fr.cross_entropy.backward(1.0, x, labels, out=out) is out
        np.testing.assert_array_equal(out, expected)
    x, p = rng.normal(size=(5, 4)), rng.dirichlet(np.ones(4), 5)
    expected = fr.cross_entropy.backward(1.0, x, p)
    np.testing.assert_array_equal(fr.cross_entropy.backward(1.0, x, p, out=p), expected)
    expected, own = fr.cross_entropy(x, labels, reduction="none"), x.copy()
    np.testing.assert_array_equal(
        fr.cross_entropy(own, labels, reduction="none", out=own.ravel()[:5]), expected
    )
    memory = rng.integers(0, 4, 5).view(np.float64)  # the labels' own
    expected = fr.cross_entropy(x, memory.view(np.int64), reduction="none")
    np.testing.assert_array_equal(
        fr.cross_entropy(x, memory.view(np.int64), reduction="none", out=memory), expected
    )


# Dtypes


def test_dtypes(backend):
    rng = np.random.default_rng(5)
    x, labels = rng.normal(size=(2, 3, 4)), rng.integers(0, 3, (2, 4))
    assert fr.cross_entropy([[1, 2], [3, 4]], [0, 1]).dtype == np.float64
    wide = fr.cross_entropy(x.astype(np.longdouble), labels, axis=1)
    assert wide.dtype == np.longdouble
    np.testing.assert_allclose(wide, fr.cross_entropy(x, labels, axis=1), rtol=1e-14)
    scalar = fr.cross_entropy([1.0, 2.0, 3.0], 2)
    assert isinstance(scalar, np.float64)
    assert scalar == -fr.log_softmax([1.0, 2.0, 3.0])[2]
    for dtype in (np.float16, np.float32):
        assert isinstance(fr.cross_entropy(x.astype(dtype), labels, axis=1), dtype)
    np.testing.assert_array_equal(
        fr.cross_entropy.backward(2, x, labels, axis=1), fr.cross_entropy.backward(2.0, x, labels, axis=1)
    )


def test_float16_is_computed_wider():
    """As good as its dtype allows: what is done in float32 shows in rare ties only."""
    x, labels = problem(np.float16, "indices", {}, (200, 6))
    losses, gradient = fr.cross_entropy.value_and_grad(x, labels, reduction="none")
    wide = fr.cross_entropy.value_and_grad(x.astype(np.float64), labels, reduction="none")
    with mp.workdps(30):
        assert max(error(a, exact(b)) for a, b in zip(losses, wide[0], strict=True)) < 0.501
        assert max(error(a, exact(b)) for a, b in zip(gradient.flat, wide[1].flat, strict=True)) < 0.502


def test_bfloat16():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = np.array([[1, 2, 3], [0, -4, 1]], bfloat16)
    for labels in ([2, 0], np.eye(3)[[2, 0]].astype(bfloat16)):
        loss, grad = fr.cross_entropy.value_and_grad(x, labels)
        assert loss.dtype == grad.dtype == bfloat16
        expected = fr.cross_entropy.value_and_grad(x.astype(np.float32), [2, 0])
        np.testing.assert_array_equal(loss, expected[0].astype(bfloat16))
        np.testing.assert_array_equal(grad, expected[1].astype(bfloat16))
