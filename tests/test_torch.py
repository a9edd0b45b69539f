"""fastrelu.torch against fastrelu, against PyTorch's own functions and modules, and by gradcheck."""

import copy
import functools
import pickle
import types

import numpy as np
import pytest
from bridge_cases import FUNCTIONS, arguments, by_name

import fastrelu as fr
from fastrelu import bridges
from fastrelu.bridges import slopes
from fastrelu.device import arrays

torch = pytest.importorskip("torch")

import fastrelu.torch as frt  # noqa: E402

func = torch.func
ELEMENTWISE = [name for name, function in FUNCTIONS.items() if function.elementwise]
SMOOTH = {f.name for f in FUNCTIONS.values() if f.piecewise_linear} | set().union(
    slopes.OF_X, slopes.OF_Y, slopes.ROWS_OF_X, slopes.ROWS_OF_Y
)
F = torch.nn.functional
MODULES = [name for name in frt.__all__ if isinstance(getattr(frt, name), type)]
THEIRS = [name for name in MODULES if hasattr(torch.nn, name)]


def tensors(name, dtype=torch.float64, grad=False):
    """Tensors, of which those that have a gradient may require it, and what else the function needs."""
    arrays, rest = arguments(name, np.dtype(str(dtype).removeprefix("torch.")))
    rest = [torch.from_numpy(r) if isinstance(r, np.ndarray) else r for r in rest]
    return [torch.from_numpy(a).requires_grad_(grad) for a in arrays], rest


def same(tensor, array):
    """Whether a tensor has the bits of an array."""
    array = np.asarray(array)
    return tensor.dtype == torch.from_numpy(array).dtype and np.array_equal(
        tensor.detach().numpy(), array, equal_nan=True
    )


def _with(f, parameter, x, value):
    return f(x, **{parameter: value})


# Functions


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_forward_and_backward_are_those_of_arrays(name, dtype):
    function, f = FUNCTIONS[name], getattr(frt, name)
    leaves, rest = tensors(name, dtype, grad=True)
    arrays = arguments(name, leaves[0].detach().numpy().dtype)
    y, expected = f(*leaves, *rest), function.function(*arrays[0], *arrays[1])
    assert same(y, expected)
    assert same(f(*(leaf.detach() for leaf in leaves), *rest), expected)
    dy = torch.full_like(y, 0.75)
    y.backward(dy)
    wanted = tuple(function.takes)[: len(leaves)]
    gradients = function.backward(dy.numpy(), by_name(name, *arrays), wanted)
    tolerance = {torch.float16: 2e-3, torch.float32: 1e-6, torch.float64: 1e-14}[dtype]  # from y, or from x
    for leaf, gradient in zip(leaves, gradients, strict=True):
        np.testing.assert_allclose(leaf.grad.numpy(), gradient, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradcheck(name):
    leaves, rest = tensors(name, grad=True)
    assert torch.autograd.gradcheck(getattr(frt, name), (*leaves, *rest))


@pytest.mark.parametrize("parameter", ["alpha", "beta", "negative_slope", "lambd", "b"])
def test_gradients_of_parameters(parameter):
    names = [n for n, f in FUNCTIONS.items() if f.by_name and parameter in f.arrays]
    assert names
    for name in names:
        (x,), _ = tensors(name, grad=True)
        value = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
        f = functools.partial(_with, getattr(frt, name), parameter)
        assert torch.autograd.gradcheck(f, (x, value))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives(name):
    (x, *others), rest = tensors(name)
    x.requires_grad_()
    if FUNCTIONS[name].name in SMOOTH:
        assert torch.autograd.gradgradcheck(getattr(frt, name), (x, *others, *rest))
        return
    y = getattr(frt, name)(x, *others, *rest)
    (dx,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match=f"{FUNCTIONS[name].name}: the second derivative"):
        dx.sum().backward()


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_piecewise_linear_functions_have_few_slopes(name):
    function, (_, rest) = FUNCTIONS[name], arguments(name)
    x = np.linspace(*((0.01, 0.99) if function.row.domain[0] == 0 else (-8, 8)), 1001)
    given = by_name(name, [x], [0.1] if name == "prelu" else rest)
    (slopes,) = function.backward(np.ones_like(x), given, ("x",))
    assert (len(np.unique(slopes)) <= 3) == function.piecewise_linear


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_in_place(name):
    f, ((x, *others), rest) = getattr(frt, name), tensors(name)
    rest = others + rest
    leaf, plain, expected = x.clone().requires_grad_(), x.clone(), f(x, *rest)
    version = plain._version
    assert f(plain, *rest, inplace=True) is plain
    assert plain._version > version
    assert torch.equal(plain, expected)
    z = leaf * 1
    assert f(z, *rest, inplace=True) is z
    z.sum().backward()
    f(x.requires_grad_(), *rest).sum().backward()
    torch.testing.assert_close(leaf.grad, x.grad)


def test_nothing_is_copied():
    x = torch.zeros(1000)
    watched, given = bridges.Differentiable(fr.relu), []

    def half(array):
        given.append(array.ctypes.data)
        return array[:500]

    watched.function = half
    y = frt._call(watched, (x,), False, {})
    assert given == [x.data_ptr()]
    assert y.data_ptr() == x.data_ptr()


def test_layouts_stay():
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert frt.gelu(x).stride() == x.stride()
    every_other = torch.randn(10)[::2].requires_grad_()
    frt.gelu(every_other).sum().backward()
    np.testing.assert_array_equal(
        every_other.grad, fr.gelu.backward(np.ones(5, "f"), every_other.detach().numpy())
    )


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = torch.linspace(-3, 3, 50).to(torch.bfloat16).requires_grad_()
    y = frt.gelu(x)
    y.sum().backward()
    array = x.detach().float().numpy().astype(ml_dtypes.bfloat16)
    assert y.dtype == x.grad.dtype == torch.bfloat16
    np.testing.assert_array_equal(y.detach().float().numpy(), fr.gelu(array).astype("f"))
    slopes = fr.gelu.backward(np.ones_like(array), array)
    np.testing.assert_array_equal(x.grad.float().numpy(), slopes.astype("f"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_on_a_device(name):
    f, ((x, *others), rest) = getattr(frt, name), tensors(name, torch.float32)
    made = []
    for device in ("cpu", "cuda"):
        leaves = [t.to(device).requires_grad_() for t in (x, *others)]
        y = f(*leaves, *rest)
        y.sum().backward()
        assert y.device.type == leaves[0].grad.device.type == device
        made.append([y.cpu(), *(leaf.grad.cpu() for leaf in leaves)])
    for here, there in zip(*made, strict=True):
        torch.testing.assert_close(there, here, rtol=1e-6, atol=1e-7)


# Modules


def module_arguments(name):
    return {"Threshold": (0.1, 0.2), "Softmax": (1,), "Softmin": (1,), "LogSoftmax": (1,), "PReLU": (4,)}.get(
        name, ()
    )


@pytest.mark.parametrize("name", THEIRS)
def test_modules_do_what_those_of_torch_do(name):
    theirs, ours = (getattr(home, name)(*module_arguments(name)).double() for home in (torch.nn, frt))
    assert isinstance(ours, type(theirs))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    (x,), rest = tensors("cross_entropy" if name == "CrossEntropyLoss" else "relu")
    x = x.reshape(3, 2, 2) if name == "Softmax2d" else x
    made = []
    for module in (theirs.eval(), ours.eval()):  # RReLU draws otherwise
        leaf = x.clone().requires_grad_()
        y = module(leaf, *rest)
        y.sum().backward()
        made.append((y, leaf.grad, *(p.grad for p in module.parameters())))
    for ours, theirs in zip(*made, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)  # Softplus: a line beyond 20


def test_modules_of_our_own():
    own = sorted(set(MODULES) - set(THEIRS))
    assert {"Reglu", "Squareplus", "Smelu", "ReluSquared", "NoisyRelu"} <= set(own)
    assert repr(frt.Squareplus(0.25)) == "Squareplus(b=0.25, inplace=False)"
    x = torch.linspace(-3, 3, 7)
    assert torch.equal(frt.Squareplus(b=0.25)(x), frt.squareplus(x, 0.25))
    with pytest.raises(TypeError, match="beta"):
        frt.Squareplus(beta=1)


def test_a_model_learns_and_pickles():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 3), frt.ReLU(), frt.PReLU(3), torch.nn.Linear(3, 2))
    x, labels = torch.randn(64, 5), torch.randint(2, (64,))
    loss_of = frt.CrossEntropyLoss(label_smoothing=0.1)
    losses = []
    for _ in range(30):
        losses.append(loss_of(model(x), labels))
        gradients = torch.autograd.grad(losses[-1], list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter -= 0.5 * gradient
    assert losses[-1] < losses[0]
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(x), model(x))


def test_activations_of_users():
    pytest.importorskip("numba")
    import own

    f = frt.function_of(own.squashed)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(f, (x,))
    module = frt.module_of(own.squashed)(a=2.0)
    assert torch.equal(module(x), f(x, 2.0))
    assert repr(module) == "Squashed(a=2.0, inplace=False)"


def test_classes_are_along_axis_1_and_minus_100_is_ignored():
    logits, labels = torch.randn(2, 5, 3, dtype=torch.float64), torch.tensor([[0, 4, -100], [1, 2, 3]])
    torch.testing.assert_close(
        frt.CrossEntropyLoss()(logits, labels), torch.nn.CrossEntropyLoss()(logits, labels)
    )
    one = torch.randn(5)
    torch.testing.assert_close(
        frt.CrossEntropyLoss()(one, labels[1, 0]), torch.nn.CrossEntropyLoss()(one, labels[1, 0])
    )


def test_draws_come_from_the_seed_of_torch():
    x, module = -torch.ones(100), frt.RReLU()
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(module(x))
    assert torch.equal(*made)
    assert not torch.equal(module(x), made[0])


def test_names_of_torch():
    x = torch.randn(3, 4)
    assert frt.hardsigmoid is frt.hard_sigmoid
    assert torch.equal(frt.softmax(x, dim=1), frt.softmax(x, 1))
    assert frt.logsumexp(x, dim=1, keepdim=True).shape == (3, 1)
    assert frt.log_softmax(input=x, dim=1, dtype=torch.float64).dtype == torch.float64
    torch.testing.assert_close(frt.softmin(x, 1), F.softmin(x, 1))
    for threshold in (20.0, 0.5):
        torch.testing.assert_close(frt.softplus(x, 2, threshold), F.softplus(x, 2, threshold))
    assert frt.leaky_relu(x, 0.1, True) is x
    assert frt.elu_(x, 0.5) is x
    in_place = [name for name in vars(F) if name.endswith("_") and hasattr(F, name[:-1])]
    assert set(in_place) <= set(frt.__all__)


def test_units_of_two_arrays_as_modules():
    x = torch.randn(3, 4)
    assert torch.equal(frt.Swiglu()(x), frt.swiglu(*x.chunk(2, -1)))
    assert torch.equal(frt.Geglu(dim=0)(x.T), frt.geglu(x.T, dim=0))
    assert torch.equal(frt.Maxout(2)(x), x.reshape(3, 2, 2).amax(-1))
    assert repr(frt.Maxout(2)) == "Maxout(pieces=2, dim=-1)"


# Cross entropy


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_gradient_of_cross_entropy_comes_with_the_loss(reduction, monkeypatch):
    shape = (5, 3, 2)  # classes are along axis 1
    x, labels = (
        torch.randn(shape, dtype=torch.float64),
        torch.tensor([[0, 2], [1, -100], [1, 1], [2, 0], [0, 1]]),
    )
    weight, made = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64), []
    monkeypatch.setattr(fr.cross_entropy, "backward", None)
    for home in (frt, F):
        leaf = x.clone().requires_grad_()
        loss = home.cross_entropy(leaf, labels, weight, reduction=reduction, label_smoothing=0.1)
        dy = 1 + torch.arange(float(loss.numel()), dtype=torch.float64).reshape(loss.shape)
        loss.backward(dy, retain_graph=True)
        once = leaf.grad.clone()
        loss.backward(dy)
        torch.testing.assert_close(leaf.grad, 2 * once)
        made.append((loss.detach(), once))
    torch.testing.assert_close(*made)


def test_cross_entropy_keeps_the_gradient_alone():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        frt.cross_entropy(torch.randn(5, 3, requires_grad=True), torch.tensor([0, 1, 2, 0, 1]))
    assert [t.shape for t in kept] == [(5, 3)]


def test_the_second_derivative_of_cross_entropy_is_refused():
    x = torch.randn(5, 3, requires_grad=True)
    (dx,) = torch.autograd.grad(frt.cross_entropy(x, torch.tensor([0, 1, 2, 0, 1])), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="cross_entropy: the second derivative"):
        dx.square().sum().backward()


# Transforms

ROWWISE = {
    "softmax": (lambda x: frt.softmax(x, -1), lambda x: F.softmax(x, -1)),
    "log_softmax": (lambda x: frt.log_softmax(x, -1), lambda x: F.log_softmax(x, -1)),
    "logsumexp": (lambda x: frt.logsumexp(x, -1), lambda x: torch.logsumexp(x, -1)),
}
MAPPED = {name: (getattr(frt, name), getattr(F, name)) for name in ("gelu", "sigmoid", "relu")} | ROWWISE


# Its forward mode uses what it deprecates.
of_torch_itself = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def total(f):
    return lambda x: f(x).sin().sum()


@of_torch_itself
@pytest.mark.parametrize("name", MAPPED)
@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x: func.vmap(f, in_dims=1, out_dims=-1)(x),
        lambda f, x: func.vmap(func.grad(total(f)))(x),
        lambda f, x: func.grad(total(func.vmap(f)))(x),
        lambda f, x: func.jvp(f, (x,), (x * x,)),
        lambda f, x: func.jacfwd(f)(x),
        lambda f, x: func.hessian(total(f))(x),
        lambda f, x: func.jacrev(func.jacrev(total(f)))(x),
    ],
)
def test_transforms(name, transform):
    ours, theirs = MAPPED[name]
    x = torch.linspace(-2, 2, 6, dtype=torch.float64).reshape(2, 3)
    torch.testing.assert_close(transform(ours, x), transform(theirs, x))


@of_torch_itself
@pytest.mark.parametrize("name", FUNCTIONS)
def test_forward_mode(name):
    """Along each argument, against the products that reverse mode makes; and mapped over a batch."""
    leaves, rest = tensors(name)
    for i, leaf in enumerate(leaves):

        def function(t, i=i):
            return getattr(frt, name)(*leaves[:i], t, *leaves[i + 1 :], *rest)

        t = torch.cos(torch.arange(float(leaf.numel()), dtype=leaf.dtype)).reshape(leaf.shape)
        _, pull = func.vjp(function, leaf)
        y, along = func.jvp(function, (leaf,), (t,))
        assert torch.equal(y, function(leaf))
        dy = torch.sin(1 + torch.arange(float(y.numel()), dtype=leaf.dtype)).reshape(y.shape)
        torch.testing.assert_close((along * dy).sum(), (t * pull(dy)[0]).sum())
        if not FUNCTIONS[name].draws:
            mapped = func.vmap(function)(torch.stack([leaf, leaf / 2]))
            torch.testing.assert_close(mapped, torch.stack([y, function(leaf / 2)]), rtol=0, atol=0)


def test_in_a_compiled_graph():
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), frt.GELU(), frt.PReLU(4), frt.Softmax(dim=-1))
    loss_of, b, slope = frt.CrossEntropyLoss(), torch.tensor(4.0), torch.tensor(-0.5)

    def step(x, labels):
        z = frt.leaky_relu(frt.squareplus(model(x), b), slope)
        return loss_of(frt.hardtanh(z, -9.0, float("inf")), labels)

    x, labels = torch.randn(3, 5), torch.tensor([0, 3, 1])
    losses = [f(x, labels) for f in (step, torch.compile(step, backend="aot_eager", fullgraph=True))]
    assert torch.equal(*losses)
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    torch.testing.assert_close(*gradients)


# Errors


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda x: frt.relu([1.0]), TypeError, "relu: argument 'x' is a list; expected a Tensor"),
        (lambda x: frt.relu(), TypeError, "argument 'x' is missing"),
        (lambda x: frt.relu(x, out=x), TypeError, "unexpected keyword argument 'out'; expected x"),
        (lambda x: frt.relu(x, False, 1), TypeError, "got 3 arguments; expected at most 1"),
        (lambda x: frt.elu(x, 1, alpha=1), TypeError, "multiple values for argument 'alpha'"),
        (lambda x: frt.elu(x, alpha=-1), ValueError, "argument 'alpha' is -1; expected alpha >= 0"),
        (lambda x: frt.Softmax()(x), ValueError, "argument 'dim' is None; expected an axis"),
        (lambda x: frt.logsumexp(x, b=x), TypeError, "argument 'b' is differentiated, but has no gradient"),
        (lambda x: frt.relu(x, inplace=True), RuntimeError, "in-place"),
    ],
)
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call(torch.ones(3, requires_grad=True))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_plain_functions_name_the_bridge(name):
    function, (leaves, rest) = FUNCTIONS[name], tensors(name, grad=True)
    given = by_name(name, leaves, rest)
    advice = rf"expected a detached one, or fastrelu\.torch\.{function.name}"
    for call in (function.forward, lambda given: function.backward(leaves[0], given, function.arrays[:1])):
        with pytest.raises(TypeError, match=advice):
            call(given)


def test_tensors_with_the_negative_bit_on_a_device():
    library = arrays.Torch("torch")
    x = torch._neg_view(torch.tensor([1.0, 2.0]))
    with pytest.raises(arrays.Unsuitable, match=r"the negative bit; expected .resolve_neg\(\) of it"):
        library.view(x)
    of_device = types.SimpleNamespace(is_cuda=True, is_contiguous=lambda: True, is_neg=lambda: True)
    assert library.plain(of_device) is None
