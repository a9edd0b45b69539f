"""fastrelu.jax against fastrelu, under jit, grad and vmap, and by ``jax.test_util.check_grads``."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from bridge_cases import FUNCTIONS, LABELS, arguments, by_name

import fastrelu as fr
from fastrelu.bridges import slopes

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

import fastrelu.jax as frj  # noqa: E402

SMOOTH = sorted(
    {f.name for f in FUNCTIONS.values() if f.piecewise_linear or f.name in slopes.OF_X | slopes.OF_Y}
    | {*slopes.ROWS_OF_X, *slopes.ROWS_OF_Y}
)


@pytest.fixture(autouse=True, scope="module")
def doubles():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function(name):
    """Values have the same bits, compiled and mapped too; gradients are right, of maps too."""
    arrays, rest = arguments(name)
    expected = FUNCTIONS[name].function(*arrays, *rest)

    def function(*arrays):
        return getattr(frj, name)(*arrays, *rest)

    arrays = [jnp.asarray(a) for a in arrays]
    np.testing.assert_array_equal(jax.jit(function)(*arrays), expected)
    assert getattr(frj, name)(*arrays, *rest).dtype == expected.dtype
    check_grads(function, arrays, 1, modes=["fwd", "rev"])
    mapped = jax.vmap(function)
    batch = [jnp.stack([a, a / 2]) for a in arrays]
    np.testing.assert_array_equal(mapped(*batch)[0], expected)
    check_grads(mapped, batch, 1, modes=["rev"])


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives(name):
    """Forward over reverse mode, against the difference of two backward passes of arrays."""
    (x, *others), rest = arguments(name)
    function, h = FUNCTIONS[name], 1e-6
    y = function.function(x, *others, *rest)
    dy, t = np.cos(np.arange(y.size)).reshape(y.shape), np.sin(1 + np.arange(x.size)).reshape(x.shape)

    def slopes(x):
        return function.backward(dy, by_name(name, [x, *others], rest), function.arrays[:1])[0]

    def gradient(x):
        return jax.vjp(lambda x: getattr(frj, name)(x, *others, *rest), x)[1](jnp.asarray(dy))[0]

    made = jax.jvp(gradient, (jnp.asarray(x),), (jnp.asarray(t),))[1]
    np.testing.assert_allclose(made, (slopes(x + h * t) - slopes(x - h * t)) / (2 * h), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", sorted({f.name for f in FUNCTIONS.values()} - set(SMOOTH)))
def test_second_derivatives_that_are_not_known(name):
    (x, *others), rest = arguments(name)
    with pytest.raises(NotImplementedError, match=f"{name}: the second derivative with respect to"):
        jax.hessian(lambda x: getattr(frj, name)(x, *others, *rest))(jnp.asarray(x))


def test_hessians():
    x = jnp.array([0.3, 1.0, -2.0])
    p = jax.nn.softmax(x)
    for twice in (jax.hessian, lambda f: jax.jacrev(jax.jacrev(f))):
        made = jax.jit(twice(frj.logsumexp))(x)
        np.testing.assert_allclose(made, jnp.diag(p) - jnp.outer(p, p), rtol=1e-14, atol=1e-16)
    assert abs(jax.grad(jax.grad(jax.grad(frj.tanh)))(0.0) + 2) < 1e-14


@pytest.mark.parametrize("name", [name for name, f in FUNCTIONS.items() if len(arguments(name)[0]) > 1])
def test_one_argument_of_several(name):
    arrays, rest = arguments(name)
    for i, array in enumerate(arrays):

        def function(x, i=i):
            return getattr(frj, name)(*arrays[:i], x, *arrays[i + 1 :], *rest)

        check_grads(function, (jnp.asarray(array),), 1, modes=["fwd"])
        assert jax.vjp(function, jnp.asarray(array))[1](function(array))[0].shape == array.shape


def test_a_linear_function_is_transposed_where_it_was_mapped():
    """`jax.linearize`, and forward over reverse mode inside `vmap`."""
    x, t = jnp.linspace(-2, 2, 6).reshape(2, 3), jnp.ones((2, 3))
    y, along = jax.linearize(frj.tanh, x)
    np.testing.assert_allclose(along(t), 1 - np.tanh(x) ** 2, rtol=1e-14)
    slopes = jax.vmap(lambda x, t: jax.jvp(jax.grad(lambda x: frj.tanh(x).sum()), (x,), (t,))[1])(x, t)
    np.testing.assert_allclose(slopes, -2 * y * (1 - y * y), rtol=1e-13)


def test_a_residual_and_a_learned_slope():
    x, residual = jnp.linspace(-2, 2, 6).reshape(2, 3), jnp.ones((2, 3))

    def layer(bias, weight, residual):
        return frj.bias_act(x, bias, fr.prelu, weight=weight, residual=residual)

    check_grads(layer, (jnp.ones(3), jnp.full(3, 0.25), residual), 1, modes=["fwd", "rev"])


@pytest.mark.parametrize(("name", "value"), [("squareplus", 4.0), ("celu", 0.5), ("leaky_relu", -0.5)])
def test_parameters_whose_values_are_not_known_beforehand(name, value):
    """They may not be 0, or be such that f' is no function of y."""
    x = jnp.linspace(-2, 2, 5)
    made = jax.grad(lambda x, a: getattr(frj, name)(x, a).sum())(x, jnp.asarray(value))
    given = by_name(name, [np.asarray(x), np.asarray(value)], [])
    expected = FUNCTIONS[name].backward(np.ones(5), given, ("x",))[0]
    np.testing.assert_allclose(made, expected, rtol=1e-14)  # from y or from x


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_dtypes(dtype):
    x = jnp.linspace(-3, 3, 50).astype(dtype)
    np.testing.assert_array_equal(frj.gelu(x), fr.gelu(np.asarray(x)))
    slopes = jax.grad(lambda x: frj.gelu(x).sum())(x)
    np.testing.assert_array_equal(slopes, fr.gelu.backward(np.ones_like(x), np.asarray(x)))


def test_integers():
    assert frj.relu(jnp.array([-1, 2])).dtype == int
    np.testing.assert_array_equal(frj.gelu(jnp.array([-1, 2])), fr.gelu([-1, 2]))


def test_shapes():
    assert frj.gelu(jnp.ones((0, 3))).shape == (0, 3)
    assert frj.softmax(1.0) == 1
    assert frj.logsumexp(jnp.ones((2, 3, 4)), axis=(0, -1), keepdims=True).shape == (1, 3, 1)
    x, weight = -jnp.ones((2, 3, 4)), jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(frj.prelu(x, weight), fr.prelu(np.asarray(x), np.asarray(weight)))
    np.testing.assert_array_equal(frj.prelu(x[..., :3], weight, axis=2)[0, 0], [-1, -2, -3])


def test_mapped_over_some_arguments():
    x, weights = -jnp.ones((4, 3)), jnp.arange(6.0).reshape(2, 3)
    slopes = jax.vmap(jax.grad(lambda w, x: frj.prelu(x, w).sum()), in_axes=(0, None))(weights, x)
    np.testing.assert_array_equal(slopes, np.full((2, 3), -4.0))
    sums = jax.vmap(frj.logaddexp, in_axes=(0, None))(weights, x)
    np.testing.assert_array_equal(sums, np.logaddexp(weights[:, None], x))


def test_keys():
    x, key = -jnp.ones(50), jax.random.key(3)
    made = frj.rrelu(x, training=True, key=fr.NoiseKey(3))
    np.testing.assert_array_equal(made, fr.rrelu(np.asarray(x), training=True, key=fr.NoiseKey(3)))
    np.testing.assert_array_equal(made, jax.jit(lambda k: frj.rrelu(x, training=True, key=k))(key))
    np.testing.assert_array_equal(-made, jax.grad(lambda x: frj.rrelu(x, training=True, key=key).sum())(x))
    first, second = jax.vmap(lambda k: frj.rrelu(x, training=True, key=k))(jax.random.split(key, 2))
    assert not np.array_equal(first, second)


def test_inside_a_scan_and_from_threads():
    step = jax.jit(lambda x: jax.lax.scan(lambda c, _: (frj.tanh(c), None), x, None, length=3)[0])
    x = jnp.linspace(-2, 2, 1000)
    expected = step(x)
    np.testing.assert_array_equal(expected, fr.tanh(fr.tanh(fr.tanh(np.asarray(x)))))
    with ThreadPoolExecutor(4) as pool:
        for made in pool.map(step, [x] * 50):
            np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda x: frj.relu(), TypeError, "argument 'x' is missing"),
        (lambda x: frj.relu(x, out=x), TypeError, "unexpected keyword argument 'out'; expected x"),
        (lambda x: frj.elu(x, alpha=-1), ValueError, "argument 'alpha' is -1; expected alpha >= 0"),
        (lambda x: frj.prelu(x, jnp.ones(5)), ValueError, r"argument 'weight' is of shape \(5,\)"),
        (lambda x: frj.softmax(x, axis=5), np.exceptions.AxisError, "axis 5 is out of bounds"),
        (lambda x: jax.grad(lambda b: frj.logsumexp(x, b=b))(x), TypeError, "argument 'b' is differentiated"),
        (
            lambda x: jax.jit(fr.gelu)(x),
            TypeError,
            r"gelu: .*jax traces; expected an array, or fastrelu\.jax\.gelu",
        ),
        (lambda x: jax.grad(fr.logsumexp)(x), TypeError, r"fastrelu\.jax\.logsumexp, which can be traced"),
    ],
)
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call(jnp.ones(3))


def test_an_error_of_a_compiled_call():
    """A value can be wrong, which shows when the compiled code runs."""
    compiled = jax.jit(lambda x, labels: frj.cross_entropy(x, labels))
    x = jnp.zeros((3, 4))
    assert compiled(x, jnp.asarray(LABELS)) == fr.cross_entropy(np.asarray(x), LABELS)
    with pytest.raises(Exception, match=r"ValueError: cross_entropy: .*label"):
        compiled(x, jnp.array([0, 7, 1])).block_until_ready()
