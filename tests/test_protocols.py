"""Other kinds of arrays, and copies of the objects."""

import copy
import pickle
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
from calls import agree, public
from cases import BY_NAME, parameter_sets, same_bits

import fastrelu as fr
from fastrelu.backends import cython

pytestmark = pytest.mark.every_backend

OBJECTS = {}
for _row, _ in BY_NAME.values():
    _f = fr.ACTIVATIONS[_row.family].variants[_row.option[1]] if _row.option else fr.ACTIVATIONS[_row.family]
    OBJECTS |= {_f.__qualname__: _f, _f.backward.__qualname__: _f.backward}
FORWARD = [name for name, (_, kernel) in BY_NAME.items() if kernel.pass_ == "forward"]
GRADIENTS = [name for name, (_, kernel) in BY_NAME.items() if kernel.inputs[0] == "dy"]
each_forward = pytest.mark.parametrize("name", FORWARD)


# __array_ufunc__


class Recorder:
    """Takes every ufunc call and gives back what it was."""

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        return ufunc, method, inputs, keywords


@each_forward
def test_only_the_given_keywords_reach_array_ufunc(name, kernels_only):
    row, kernel = BY_NAME[name]
    f, odd, x = public(row, kernel), Recorder(), np.ones(3)
    ufunc, parameters = OBJECTS[name].ufunc, parameter_sets(row)[0]
    assert isinstance(ufunc, np.ufunc)
    assert f(odd, *parameters) == (ufunc, "__call__", (odd, *parameters), {})
    for keywords in (
        {"dtype": np.float32},
        {"order": "K"},
        {"where": True},
        {"where": x > 0, "casting": "same_kind"},
        {"subok": True, "order": "C"},
    ):
        _, method, inputs, got = f(odd, *parameters, **keywords)
        assert (method, inputs, got) == ("__call__", (odd, *parameters), keywords)
    assert f(x, *parameters, out=odd) == (ufunc, "__call__", (x, *parameters), {"out": (odd,)})
    assert f(x, *parameters, out=(odd,)) == (ufunc, "__call__", (x, *parameters), {"out": (odd,)})
    assert f(odd, *parameters, out=None)[3] in ({}, {"out": (None,)})
    for j, p in enumerate(row.parameters):
        given = dict(zip((q.name for q in row.parameters), parameters, strict=True)) | {p.name: odd}
        assert OBJECTS[name](x, **given)[2] == (x, *parameters[:j], odd, *parameters[j + 1 :])


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_reach_array_ufunc(name, kernels_only):
    row, kernel = BY_NAME[name]
    odd, x = Recorder(), np.ones(3)
    parameters = parameter_sets(row)[0]
    rest = (*parameters, 0.5) if kernel.knots else parameters
    call = public(row, kernel)
    for dy, first in ((odd, odd), (x, odd), (odd, x)):
        ufunc, method, inputs, keywords = call(dy, first, *rest)
        assert ufunc is cython.UFUNCS[kernel]
        assert method == "__call__"
        assert inputs[0] is dy
        assert inputs[1] is first
        assert inputs[2:] == rest
        assert keywords == {}
    assert call(x, x, *rest, out=odd)[3] == {"out": (odd,)}


@each_forward
def test_a_type_may_decline(name):
    class Declines:
        def __array_ufunc__(self, *args, **keywords):
            return NotImplemented

    class Opaque:
        __array_ufunc__ = None

    call = public(*BY_NAME[name])
    for odd in (Declines(), Opaque()):
        with pytest.raises(TypeError):
            np.exp(odd)
        with pytest.raises(TypeError):
            call(odd, *parameter_sets(BY_NAME[name][0])[0])


# Subclasses, and objects that know how to become arrays


class Tagged(np.ndarray):
    tag = None

    def __array_finalize__(self, other):
        self.tag = getattr(other, "tag", None)


@pytest.mark.parametrize("name", BY_NAME)
def test_subclasses_stay(name):
    row, kernel = BY_NAME[name]
    call = public(row, kernel)
    x = np.linspace(0, 1, 6).view(Tagged)
    x.tag = "mine"
    for view in (x, x[::2], x.reshape(2, 3).T):
        full = [np.full(view.shape, p) for p in parameter_sets(row)[0]]
        rest = [*full, 0.5] if kernel.knots else full
        arrays = [view] if kernel.pass_ == "forward" else [view, view]
        got = call(*arrays, *rest)
        assert type(got) is Tagged
        assert got.tag == "mine"
        agree(np.asarray(got), call(*map(np.asarray, arrays), *rest))


@each_forward
def test_masked_arrays_keep_their_mask(name):
    row, kernel = BY_NAME[name]
    x = np.ma.masked_array([1.0, -2.0, 3.0], mask=[False, True, False])
    got, model = public(row, kernel)(x, *parameter_sets(row)[0]), np.positive(x)
    assert type(got) is type(model)
    np.testing.assert_array_equal(got.mask, model.mask)


@each_forward
def test_objects_with_an_array_inside(name):
    class Holder:
        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, -2.0], dtype)

    class Wrapper(Holder):
        def __array_wrap__(self, array, context=None, return_scalar=False):
            return "wrapped", array

    row, kernel = BY_NAME[name]
    call, parameters = public(row, kernel), parameter_sets(row)[0]
    expected = call(np.array([1.0, -2.0]), *parameters)
    assert same_bits(call(Holder(), *parameters), expected)
    assert np.exp(Wrapper())[0] == "wrapped"
    kind, array = call(Wrapper(), *parameters)
    assert kind == "wrapped"
    assert same_bits(array, expected)
    buffer = memoryview(np.array([1.0, -2.0]))
    assert same_bits(call(buffer, *parameters), expected)


# `where` without `out`


def warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [(w.category, str(w.message), w.filename) for w in caught]


@each_forward
def test_where_without_out_warns_as_numpy_does(name):
    row, kernel = BY_NAME[name]
    call, parameters = public(row, kernel), parameter_sets(row)[0]
    for x in (np.ones(3), np.ones(3, np.float32), np.ones((2, 3))[:, ::2], [1.0, 2.0, 3.0]):
        mask = np.broadcast_to(np.array([True, False, True])[: np.shape(x)[-1]], np.shape(x))
        for keywords in ({"where": mask}, {"where": mask, "out": None}, {"where": True}, {}):
            expected = [w[:2] for w in warned(lambda x=x, k=keywords: np.exp(x, **k))]
            assert [w[:2] for w in warned(lambda x=x, k=keywords: call(x, *parameters, **k))] == expected
    out = np.zeros(3)
    assert warned(lambda: call(np.ones(3), *parameters, where=[True, False, True], out=out)) == []


# Copies


@pytest.mark.parametrize("name", OBJECTS)
def test_copies_are_the_object_itself(name):
    one = OBJECTS[name]
    for thing in (one, one.ufunc) if cython.ISA else (one,):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(thing, protocol)) is thing
        assert copy.copy(thing) is thing
        assert copy.deepcopy([thing])[0] is thing
    assert eval(repr(one).strip("<>"), {"fastrelu": fr}) is one


def test_pickles_mean_the_same_in_another_process():
    things = [*OBJECTS.values(), *([f.ufunc for f in OBJECTS.values()] if cython.ISA else [])]
    code = (
        "import pickle, sys; things = pickle.load(sys.stdin.buffer)\n"
        "import fastrelu as fr\n"
        "assert things[0] is fr.relu and all(callable(t) for t in things)\n"
        "print(*(repr(t) for t in things), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(things),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().splitlines() == [repr(t) for t in things]
    assert not cython.ISA or pickle.loads(pickle.dumps(fr.tanh.ufunc)) is not np.tanh


# DLPack


class Foreign:
    """An array of another library, as far as its protocol shows."""

    device = (1, 0)

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)


class OnDevice(Foreign):
    device = (2, 0)


class Unwilling(Foreign):
    def __dlpack__(self, **keywords):
        raise BufferError("not mine to share")


@pytest.fixture
def library(monkeypatch):
    """Foreign as the array type of an importable library."""
    made = types.ModuleType("anotherlibrary")
    made.from_dlpack = lambda a: Foreign(np.from_dlpack(a))
    monkeypatch.setitem(sys.modules, "anotherlibrary", made)
    for kind in (Foreign, OnDevice, Unwilling):
        monkeypatch.setattr(kind, "__module__", "anotherlibrary.core")


@pytest.mark.parametrize("name", BY_NAME)
def test_foreign_arrays_come_back_as_their_kind(name, library):
    row, kernel = BY_NAME[name]
    call, parameters = public(row, kernel), parameter_sets(row)[0]
    for dtype in (np.float32, np.float64):
        x = np.linspace(0.1, 0.9, 5, dtype=dtype)
        before = x.tobytes()
        inputs = [x, *parameters] if kernel.pass_ == "forward" else [x, x, *parameters]
        if kernel.knots:
            inputs.append(0.5)
        expected = call(*inputs)
        foreign = [Foreign(a) if a is x else a for a in inputs]
        got = call(*foreign)
        assert x.tobytes() == before
        if "_wrt_" in kernel.pass_:  # of a number, which belongs to no library
            assert float(got.array if type(got) is Foreign else got) == expected
            continue
        assert type(got) is Foreign
        assert same_bits(got.array, expected)


def test_foreign_arrays_of_draws_and_of_logaddexps_methods(library):
    x, drawn = np.array([-1.0, 2.0, 3.0]), {"training": True, "key": fr.noise_key(0)}
    for call in (
        lambda x: fr.rrelu(x, **drawn),
        lambda x: fr.rrelu.backward(x, x, **drawn),
        lambda x: fr.noisy_relu(x, **drawn),
        lambda x: fr.noisy_relu.backward(x, x, **drawn),
        fr.logaddexp.accumulate,
        lambda x: fr.logaddexp.reduce(x, dtype=np.float32),
        lambda x: fr.logaddexp.reduce(x, where=[True, False, True]),
    ):
        got = call(Foreign(x))
        assert type(got) is Foreign
        assert same_bits(got.array, call(x))
    out = Foreign(np.zeros(3))
    assert fr.logaddexp.accumulate(x, out=out) is out
    assert same_bits(out.array, fr.logaddexp.accumulate(x))


@pytest.mark.parametrize("name", BY_NAME)
def test_foreign_arrays_are_written_without_a_copy(name, library):
    row, kernel = BY_NAME[name]
    x = np.linspace(0.1, 0.9, 5)
    full = [np.full(5, p) for p in parameter_sets(row)[0]]
    inputs = [
        *([x] if kernel.pass_ == "forward" else [x, x]),
        *full,
        *([0.5] if kernel.knots else []),
    ]
    call, memory = public(row, kernel), np.zeros(5)
    out = Foreign(memory)
    assert call(*inputs, out=out) is out
    assert same_bits(memory, call(*inputs))
    in_place = Foreign(x.copy())
    assert call(in_place, *inputs[1:], out=in_place) is in_place
    assert same_bits(in_place.array, memory)


@pytest.mark.parametrize("name", ["gelu", "leaky_relu", "relu.backward", "elu.backward_from_y"])
def test_foreign_arrays_that_cannot_be_shared(name, library):
    row, kernel = BY_NAME[name]
    call, parameters, x = public(row, kernel), parameter_sets(row)[0], np.linspace(0.1, 0.9, 5)
    count = 1 if kernel.pass_ == "forward" else 2
    for odd, words in (
        (OnDevice(x), "device"),
        (Unwilling(x), "not mine to share"),
        (types.SimpleNamespace(__cuda_array_interface__={}, __len__=lambda: 5), "device"),
    ):
        for position in range(count):
            inputs = [x] * count
            inputs[position] = odd
            with pytest.raises(TypeError, match=words) as caught:
                call(*inputs, *parameters)
            argument = "x" if count == 1 else ("dy", kernel.arguments[0])[position]
            assert f"'{argument}'" in str(caught.value)
            assert type(odd).__qualname__ in str(caught.value)
        with pytest.raises(TypeError, match="'out'"):
            call(*[x] * count, *parameters, out=odd)
        for p in row.parameters:
            with pytest.raises(TypeError, match=f"'{p.name}'"):
                call(*[x] * count, odd)


def test_torch(kernels_only):
    torch = pytest.importorskip("torch")
    x = torch.linspace(-3, 3, 7)
    y = fr.gelu(x)
    assert type(y) is torch.Tensor
    assert same_bits(y.numpy(), fr.gelu(x.numpy()))
    assert fr.relu(x, out=x) is x
    assert x.min() == 0
    assert type(fr.gelu.backward(x, x)) is torch.Tensor
