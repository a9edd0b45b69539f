"""cross_entropy: the definition, every option, accuracy of losses and gradients, limits, errors."""

import copy
import itertools
import pickle

import mpmath as mp
import numpy as np
import pytest
from truth import DIGITS
from ulp import error, exact

import fastrelu as fr

INF, NAN = np.inf, np.nan
FUNCTIONS = [fr.cross_entropy, fr.cross_entropy.backward, fr.cross_entropy.value_and_grad]
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def defined(x, labels, weight=None, reduction="mean", label_smoothing=0.0, ignore_index=None):
    """Loss and gradient along the last axis as the definition has them, in long double."""
    x = np.asarray(x, np.longdouble)
    classes = x.shape[-1]
    w = np.ones(classes, np.longdouble) if weight is None else np.asarray(weight, np.longdouble)
    counts = np.ones(x.shape[:-1], bool)
    if np.asarray(labels).dtype.kind == "f":
        target, divisor = np.asarray(labels, np.longdouble), counts.sum()
    else:
        counts = labels != ignore_index
        known = np.where(counts, labels, 0)
        target, divisor = np.eye(classes, dtype=np.longdouble)[known], w[known][counts].sum()
    q = w * ((1 - label_smoothing) * target + np.longdouble(label_smoothing) / classes) * counts[..., None]
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    losses, gradient = -(q * np.log(p)).sum(axis=-1), p * q.sum(axis=-1, keepdims=True) - q
    if reduction == "none":
        return losses, gradient
    return (losses.sum() / divisor, gradient / divisor) if reduction == "mean" else (losses.sum(), gradient)


OPTIONS = [
    {"reduction": r, "label_smoothing": e, "weight": w, "ignore_index": i}
    for r, e, w, i in itertools.product(
        ("mean", "sum", "none"), (0.0, 0.1, 1.0), (None, [0.5, 2, 0, 1, 0.25]), (None, 3, -100)
    )
]

CASES = [("indices", o) for o in OPTIONS]
CASES += [("probabilities", o) for o in OPTIONS if o["ignore_index"] is None]  # else an error: below


def problem(dtype, kind, options, shape=(4, 7, 5)):
    rng = np.random.default_rng(1)
    x = (2 * rng.normal(size=shape)).astype(dtype)
    if kind == "probabilities":
        return x, rng.dirichlet(np.ones(shape[-1]), size=shape[:-1]).astype(dtype)
    labels = rng.integers(0, shape[-1], shape[:-1]).astype(np.int16)
    if options.get("ignore_index") == -100:
        labels[0, ::2] = -100
    return x, labels


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
@each_dtype
def test_definition(dtype, options, kind, backend):
    x, labels = problem(dtype, kind, options)
    tolerance = {"rtol": 2e-6, "atol": 3e-7} if dtype == np.float32 else {"rtol": 1e-14, "atol": 1e-15}
    loss, gradient = defined(x, labels, **options)
    got = fr.cross_entropy(x, labels, **options)
    assert (got.shape, got.dtype) == (loss.shape, dtype)
    np.testing.assert_allclose(got, loss, **tolerance)
    value, grad = fr.cross_entropy.value_and_grad(x, labels, **options)
    np.testing.assert_array_equal(value, got)
    assert grad.dtype == dtype
    np.testing.assert_allclose(grad, gradient, **tolerance)
    dy = np.asarray(np.random.default_rng(2).normal(size=loss.shape), dtype)
    got = fr.cross_entropy.backward(dy, x, labels, **options)
    np.testing.assert_allclose(got, gradient * (dy[..., None] if dy.ndim else dy), **tolerance)
    own = x.copy()
    value, grad = fr.cross_entropy.value_and_grad(own, labels, **options, out=own)
    assert grad is own
    np.testing.assert_allclose(own, gradient, **tolerance)


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_as_torch(kind, options):
    torch = pytest.importorskip("torch")
    x, labels = problem(np.float64, kind, options, (6, 4, 5))
    given = {k: v for k, v in options.items() if v is not None}
    if "weight" in given:
        given["weight"] = torch.tensor(given["weight"], dtype=torch.float64)
    tensor = torch.tensor(x.swapaxes(1, 2), requires_grad=True)  # there the classes are axis 1
    theirs = torch.tensor(labels.swapaxes(1, 2) if kind == "probabilities" else labels.astype(np.int64))
    loss = torch.nn.functional.cross_entropy(tensor, theirs, **given)
    loss.sum().backward()
    value, grad = fr.cross_entropy.value_and_grad(x, labels, **options)
    np.testing.assert_allclose(value, loss.detach().numpy(), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(grad, tensor.grad.numpy().swapaxes(1, 2), rtol=1e-12, atol=1e-14)


# Accuracy


def families(dtype):
    rng = np.random.default_rng(3)
    deep = {np.float32: 80.0, np.float64: 700.0}[dtype]
    made = {
        "normal": 3 * rng.normal(size=(40, 11)),
        "confident": np.where(np.arange(6) == 2, 0, -rng.uniform(20, deep, (40, 6))),
        "wrong": np.where(np.arange(6) == 2, -rng.uniform(20, deep, (40, 6)), rng.normal(size=(40, 6))),
        "flat": np.full((5, 300), 0.3),
    }
    return {name: rows.astype(dtype) for name, rows in made.items()}


@pytest.mark.parametrize("family", families(np.float64))
@each_dtype
def test_accuracy(dtype, family, backend):
    """The loss 1 ULP, its unit floored at that of 1/2; strictly where it is confident; gradients 3 ULP."""
    x = families(dtype)[family]
    labels = np.full(len(x), 2)
    losses, gradient = fr.cross_entropy.value_and_grad(x, labels, reduction="none")
    with mp.workdps(DIGITS):
        for row, loss, slopes in zip(x, losses, gradient, strict=True):
            terms = [mp.exp(exact(v) - exact(row[2])) for v in row]
            rest = mp.fsum(t for j, t in enumerate(terms) if j != 2)
            assert error(loss, mp.log1p(rest), floor=0 if family == "confident" else 0.5) <= 1
            true = [(-rest if j == 2 else t) / (1 + rest) for j, t in enumerate(terms)]
            assert max(error(s, t) for s, t in zip(slopes, true, strict=True)) <= 3


@each_dtype
def test_the_mean_of_many(dtype, backend):
    """The sum over the rows is carried wider than its terms."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(20000, 3)).astype(dtype)
    labels = rng.integers(0, 3, len(x))
    losses = fr.cross_entropy(x, labels, reduction="none")
    mean = fr.cross_entropy(x, labels)
    with mp.workdps(DIGITS):
        true = mp.fsum(map(exact, losses)) / len(x)
        assert error(mean, true) <= 1


def test_confident_predictions_keep_their_digits(backend):
    small = float(mp.exp(-40))
    for dtype in (np.float32, np.float64):
        x = np.array([[0, -40], [40, 0]], dtype)
        loss, grad = fr.cross_entropy.value_and_grad(x, [0, 0])
        np.testing.assert_allclose(loss, small, rtol=np.finfo(dtype).eps)
        np.testing.assert_allclose(grad, [[-small / 2, small / 2]] * 2, rtol=3 * np.finfo(dtype).eps)
        smoothed = fr.cross_entropy(x, [[1.0, 0.0]] * 2)
        np.testing.assert_allclose(smoothed, small, rtol=np.finfo(dtype).eps)


# Limits


@pytest.mark.parametrize(
    ("row", "loss", "gradient"),
    [
        ([0, -INF], 0, [0, 0]),
        ([-INF, 0], INF, [-1, 1]),
        ([INF, 0], 0, [0, 0]),
        ([0, INF], INF, [-1, 1]),
        ([INF, INF], NAN, [NAN, NAN]),
        ([-INF, -INF], NAN, [NAN, NAN]),
        ([NAN, 0], NAN, [NAN, NAN]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_infinite_logits(row, loss, gradient, dtype, backend):
    x = np.array([row], dtype)
    for labels in ([0], np.array([[1, 0]], dtype)):
        value, grad = fr.cross_entropy.value_and_grad(x, labels)
        np.testing.assert_array_equal(value, loss)
        np.testing.assert_array_equal(grad, [gradient])


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_rows_that_do_not_count(bad, backend):
    x = np.array([[bad, bad, 1], [0, 0, 0], [bad, 1, bad]])
    for options in ({"ignore_index": -1}, {"ignore_index": -1, "label_smoothing": 0.5}):
        loss, grad = fr.cross_entropy.value_and_grad(x, [-1, 1, -1], **options)
        assert loss == pytest.approx(np.log(3), rel=1e-15)
        np.testing.assert_array_equal(grad[::2], np.zeros((2, 3)))
    loss, grad = fr.cross_entropy.value_and_grad(x, [0, 1, 2], weight=[0, 1, 0])
    assert loss == pytest.approx(np.log(3), rel=1e-15)
    np.testing.assert_array_equal(grad[::2], np.zeros((2, 3)))
    loss, grad = fr.cross_entropy.value_and_grad(x, [-1, -1, -1], ignore_index=-1)
    assert np.isnan(loss)
    np.testing.assert_array_equal(grad, np.zeros((3, 3)))
    assert fr.cross_entropy(x, [-1, -1, -1], ignore_index=-1, reduction="sum") == 0
    dead = fr.cross_entropy.backward([bad, 1.0, bad], x, [-1, 1, -1], ignore_index=-1, reduction="none")
    np.testing.assert_array_equal(dead[::2], np.zeros((2, 3)))


def test_empty(backend):
    assert np.isnan(fr.cross_entropy(np.zeros((0, 3)), []))
    loss, grad = fr.cross_entropy.value_and_grad(np.zeros((0, 3), np.float32), [], reduction="none")
    assert (loss.shape, grad.shape, grad.dtype) == ((0,), (0, 3), np.float32)
    assert fr.cross_entropy(np.zeros((0, 3)), np.zeros((0, 3)), reduction="sum") == 0


# Arrays of every kind


def test_axes_and_dtypes(backend):
    rng = np.random.default_rng(5)
    x, labels = rng.normal(size=(2, 3, 4)), rng.integers(0, 3, (2, 4))
    for axis in (1, -2):
        loss, grad = fr.cross_entropy.value_and_grad(x, labels, axis=axis, reduction="none")
        expected = fr.cross_entropy.value_and_grad(x.swapaxes(1, 2), labels, reduction="none")
        np.testing.assert_array_equal(loss, expected[0])
        np.testing.assert_array_equal(grad, expected[1].swapaxes(1, 2))
        assert grad.flags.c_contiguous
        own = x.copy()
        fr.cross_entropy.value_and_grad(own, labels, axis=axis, reduction="none", out=own)
        np.testing.assert_array_equal(own, grad)
    for layout in (np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2], x[::-1][::-1]):
        np.testing.assert_array_equal(
            fr.cross_entropy.backward(1.0, layout, labels, axis=1), grad_of_mean(x, labels)
        )
    half = fr.cross_entropy(x.astype(np.float16), labels, axis=1)
    assert half.dtype == np.float16
    np.testing.assert_allclose(
        half, fr.cross_entropy(x.astype(np.float16).astype(float), labels, axis=1), rtol=1e-3
    )
    assert fr.cross_entropy([[1, 2], [3, 4]], [0, 1]).dtype == np.float64
    wide = fr.cross_entropy(x.astype(np.longdouble), labels, axis=1)
    assert wide.dtype == np.longdouble
    np.testing.assert_allclose(wide, fr.cross_entropy(x, labels, axis=1), rtol=1e-14)
    scalar = fr.cross_entropy([1.0, 2.0, 3.0], 2)
    assert isinstance(scalar, np.float64)
    assert scalar == -fr.log_softmax([1.0, 2.0, 3.0])[2]


def grad_of_mean(x, labels):
    return fr.cross_entropy.value_and_grad(x, labels, axis=1)[1]


def test_bfloat16():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = np.array([[1, 2, 3], [0, -4, 1]], bfloat16)
    loss, grad = fr.cross_entropy.value_and_grad(x, [2, 0])
    assert loss.dtype == grad.dtype == bfloat16
    expected = fr.cross_entropy.value_and_grad(x.astype(np.float32), [2, 0])
    np.testing.assert_array_equal(loss, expected[0].astype(bfloat16))
    np.testing.assert_array_equal(grad, expected[1].astype(bfloat16))


def test_many_pieces_are_one_whole():
    rng = np.random.default_rng(6)
    x, labels = rng.normal(size=(3000, 100)).astype(np.float32), rng.integers(0, 100, 3000)
    losses, grad = fr.cross_entropy.value_and_grad(x, labels, reduction="none")
    for i in (0, 1, 654, 655, 656, 2999):
        loss, alone = fr.cross_entropy.value_and_grad(x[i], labels[i])
        assert loss == losses[i]
        np.testing.assert_array_equal(alone, grad[i])
    threads = fr.get_num_threads()
    fr.set_num_threads(1)
    try:
        again = fr.cross_entropy.value_and_grad(x, labels, reduction="none")
    finally:
        fr.set_num_threads(threads)
    np.testing.assert_array_equal(again[0], losses)
    np.testing.assert_array_equal(again[1], grad)


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
    wide = np.zeros((5, 4), np.longdouble)
    np.testing.assert_array_equal(
        fr.cross_entropy.backward(1.0, x, labels, out=wide), fr.cross_entropy.backward(1.0, x, labels)
    )


def test_other_libraries_may_take_over():
    class Foreign:
        def __array_function__(self, function, types, args, kwargs):
            return function, len(args), kwargs["reduction"]

    for function in FUNCTIONS:
        arguments = ([1.0],) if function is fr.cross_entropy.backward else ()
        got = function(*arguments, Foreign(), [0], reduction="sum")
        assert got == (function, 2 + len(arguments), "sum")


def test_names():
    for function in FUNCTIONS:
        assert pickle.loads(pickle.dumps(function)) is function
        assert copy.deepcopy(function) is function
    assert [f.__qualname__ for f in FUNCTIONS[1:]] == [
        "cross_entropy.backward",
        "cross_entropy.value_and_grad",
    ]


# Errors

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
    if function is not fr.cross_entropy:
        given["out"] = logits
    if function is fr.cross_entropy.backward:
        given["dy"] = 1.0
    with pytest.raises(kind, match=message) as caught:
        function(**given)
    assert str(caught.value).startswith(f"{function.__qualname__}: ")
    assert not np.any(logits)


def test_errors_of_dy_and_out():
    x, frozen = np.zeros((2, 3)), np.zeros((2, 3))
    frozen.flags.writeable = False
    with pytest.raises(
        ValueError, match=r"'dy' is of shape \(2,\); expected the shape of the forward result, \(\)"
    ):
        fr.cross_entropy.backward(np.ones(2), x, [0, 1])
    with pytest.raises(ValueError, match=r"'out' is of shape \(3,\); expected shape \(2, 3\)"):
        fr.cross_entropy.value_and_grad(x, [0, 1], out=np.zeros(3))
    with pytest.raises(TypeError, match="'out' is of dtype int64"):
        fr.cross_entropy.value_and_grad(x, [0, 1], out=np.zeros((2, 3), int))
    for logits in (x, frozen):
        with pytest.raises(ValueError, match="'out' is read-only"):
            fr.cross_entropy.value_and_grad(logits, [0, 1], out=frozen)
