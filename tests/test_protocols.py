"""Other kinds of arrays, and copies of the objects."""

import copy
import pickle
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
from calls import EVERY, EVERY_FORWARD, agree, public_call
from cases import ALL, BY_NAME, same_bits

import fastrelu as fr
from fastrelu.backends import cython
from fastrelu.binary import BACKWARD, FORWARD
from fastrelu.table import GATES

pytestmark = pytest.mark.every_backend

OBJECTS = {}
for _row, _ in BY_NAME.values():
    _f = fr.ACTIVATIONS[_row.family].variants[_row.option[1]] if _row.option else fr.ACTIVATIONS[_row.family]
    OBJECTS |= {_f.__qualname__: _f, _f.backward.__qualname__: _f.backward}
for _f in (getattr(fr, gate.name) for gate in GATES):
    OBJECTS |= {_f.__qualname__: _f, _f.backward.__qualname__: _f.backward}
OBJECTS["logaddexp"] = fr.logaddexp
TWO_RESULTS = {f"{gate.name}.backward" for gate in GATES}  # no ufunc gives both
WITH_UFUNC = OBJECTS.keys() - TWO_RESULTS if cython.ISA else ()
UFUNCS = {name: kernel for name, (_, kernel) in ALL.items()} | {
    "logaddexp": FORWARD,
    "logaddexp.backward": BACKWARD,
}
GRADIENTS = [name for name, kernel in UFUNCS.items() if kernel.inputs[0] == "dy"]
each = pytest.mark.parametrize("name", EVERY)
each_forward = pytest.mark.parametrize("name", EVERY_FORWARD)


# __array_ufunc__


class Recorder:
    """Takes every ufunc call and gives back what it was."""

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        return ufunc, method, inputs, keywords


@each_forward
def test_only_the_given_keywords_reach_array_ufunc(name, kernels_only):
    odd, x = Recorder(), np.ones(3)
    f, count, parameters = public_call(name)
    ufunc, rest = OBJECTS[name].ufunc, (*[x] * (count - 1), *parameters)
    assert isinstance(ufunc, np.ufunc)
    assert f(odd, *rest) == (ufunc, "__call__", (odd, *rest), {})
    for keywords in (
        {"dtype": np.float32},
        {"order": "K"},
        {"where": True},
        {"where": x > 0, "casting": "same_kind"},
        {"subok": True, "order": "C"},
    ):
        _, method, inputs, got = f(odd, *rest, **keywords)
        assert (method, inputs, got) == ("__call__", (odd, *rest), keywords)
    assert f(x, *rest, out=odd) == (ufunc, "__call__", (x, *rest), {"out": (odd,)})
    assert f(x, *rest, out=(odd,)) == (ufunc, "__call__", (x, *rest), {"out": (odd,)})
    assert f(odd, *rest, out=None)[3] in ({}, {"out": (None,)})
    for j in range(count - 1):
        assert f(x, *rest[:j], odd, *rest[j + 1 :])[2] == (x, *rest[:j], odd, *rest[j + 1 :])
    names = [p.name for p in BY_NAME[name][0].parameters] if name in BY_NAME else []
    for j, n in enumerate(names):
        given = dict(zip(names, parameters, strict=True)) | {n: odd}
        assert OBJECTS[name](x, **given)[2] == (x, *parameters[:j], odd, *parameters[j + 1 :])


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_reach_array_ufunc(name, kernels_only):
    odd, x = Recorder(), np.ones(3)
    call, count, rest = public_call(name)
    for arrays in ((odd,) * count, *((*[x] * j, odd, *[x] * (count - j - 1)) for j in range(count))):
        ufunc, method, inputs, keywords = call(*arrays, *rest)
        assert ufunc is cython.UFUNCS[UFUNCS[name]]
        assert method == "__call__"
        assert all(got is given for got, given in zip(inputs, arrays, strict=False))
        assert inputs[count:] == rest
        assert keywords == {}
    assert call(*[x] * count, *rest, out=odd)[3] == {"out": (odd,)}


@each_forward
def test_a_type_may_decline(name):
    class Declines:
        def __array_ufunc__(self, *args, **keywords):
            return NotImplemented

    class Opaque:
        __array_ufunc__ = None

    call, count, parameters = public_call(name)
    for odd in (Declines(), Opaque()):
        with pytest.raises(TypeError):
            np.exp(odd)
        with pytest.raises(TypeError):
            call(odd, *[np.ones(3)] * (count - 1), *parameters)


# Subclasses, and objects that know how to become arrays


class Tagged(np.ndarray):
    tag = None

    def __array_finalize__(self, other):
        self.tag = getattr(other, "tag", None)


@each
def test_subclasses_stay(name):
    call, count, rest = public_call(name)
    x = np.linspace(0, 1, 6).view(Tagged)
    x.tag = "mine"
    for view in (x, x[::2], x.reshape(2, 3).T):
        arrays, full = [view] * count, [np.full(view.shape, p) for p in rest]
        got = call(*arrays, *full)
        assert type(got) is Tagged
        assert got.tag == "mine"
        agree(np.asarray(got), call(*map(np.asarray, arrays), *full))


@each_forward
def test_masked_arrays_keep_their_mask(name):
    call, count, parameters = public_call(name)
    x = np.ma.masked_array([1.0, -2.0, 3.0], mask=[False, True, False])
    got, model = call(*[x] * count, *parameters), np.positive(x)
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

    call, count, parameters = public_call(name)
    expected = call(*[np.array([1.0, -2.0])] * count, *parameters)
    assert same_bits(call(*[Holder()] * count, *parameters), expected)
    assert np.exp(Wrapper())[0] == "wrapped"
    kind, array = call(*[Wrapper()] * count, *parameters)
    assert kind == "wrapped"
    assert same_bits(array, expected)
    buffer = memoryview(np.array([1.0, -2.0]))
    assert same_bits(call(*[buffer] * count, *parameters), expected)


# `where` without `out`


def warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [(w.category, str(w.message), w.filename) for w in caught]


@each_forward
def test_where_without_out_warns_as_numpy_does(name):
    call, count, parameters = public_call(name)
    for x in (np.ones(3), np.ones(3, np.float32), np.ones((2, 3))[:, ::2], [1.0, 2.0, 3.0]):
        mask = np.broadcast_to(np.array([True, False, True])[: np.shape(x)[-1]], np.shape(x))
        for keywords in ({"where": mask}, {"where": mask, "out": None}, {"where": True}, {}):
            expected = [w[:2] for w in warned(lambda x=x, k=keywords: np.exp(x, **k))]
            assert [
                w[:2] for w in warned(lambda x=x, k=keywords: call(*[x] * count, *parameters, **k))
            ] == expected
    out = np.zeros(3)
    assert warned(lambda: call(*[np.ones(3)] * count, *parameters, where=[True, False, True], out=out)) == []


# Copies


@pytest.mark.parametrize("name", OBJECTS)
def test_copies_are_the_object_itself(name):
    one = OBJECTS[name]
    for thing in (one, one.ufunc) if name in WITH_UFUNC else (one,):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(thing, protocol)) is thing
        assert copy.copy(thing) is thing
        assert copy.deepcopy([thing])[0] is thing
    assert eval(repr(one).strip("<>"), {"fastrelu": fr}) is one


def test_pickles_mean_the_same_in_another_process():
    things = [*OBJECTS.values(), *(OBJECTS[name].ufunc for name in WITH_UFUNC)]
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


class Unwilling(Foreign):
    def __dlpack__(self, **keywords):
        raise BufferError("not mine to share")


class OnDevice(Unwilling):
    device = (2, 0)


@pytest.fixture
def library(monkeypatch):
    """Foreign as the array type of an importable library."""
    made = types.ModuleType("anotherlibrary")
    made.from_dlpack = lambda a: Foreign(np.from_dlpack(a))
    monkeypatch.setitem(sys.modules, "anotherlibrary", made)
    for kind in (Foreign, OnDevice, Unwilling):
        monkeypatch.setattr(kind, "__module__", "anotherlibrary.core")


@each
def test_foreign_arrays_come_back_as_their_kind(name, library):
    call, count, rest = public_call(name)
    for dtype in (np.float32, np.float64):
        x = np.linspace(0.1, 0.9, 5, dtype=dtype)
        before = x.tobytes()
        inputs = [*[x] * count, *rest]
        expected = call(*inputs)
        foreign = [Foreign(a) if a is x else a for a in inputs]
        got = call(*foreign)
        assert x.tobytes() == before
        if "_wrt_" in name:  # of a number, which belongs to no library
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


@each
def test_foreign_arrays_are_written_without_a_copy(name, library):
    call, count, rest = public_call(name)
    x, memory = np.linspace(0.1, 0.9, 5), np.zeros(5)
    inputs = [*[x] * count, *(np.full(5, p) for p in rest)]
    out = Foreign(memory)
    assert call(*inputs, out=out) is out
    assert same_bits(memory, call(*inputs))
    in_place = Foreign(x.copy())
    assert call(in_place, *inputs[1:], out=in_place) is in_place
    assert same_bits(in_place.array, memory)


SOME = ["gelu", "leaky_relu", "relu.backward", "elu.backward_from_y", "swiglu", "swiglu.backward_gate"]


@pytest.mark.parametrize("name", [*SOME, "logaddexp", "logaddexp.backward"])
def test_foreign_arrays_that_cannot_be_shared(name, library):
    (call, count, parameters), x = public_call(name), np.linspace(0.1, 0.9, 5)
    names = {"logaddexp": ("a", "b"), "logaddexp.backward": ("dy", "a", "b")}.get(name, UFUNCS[name].inputs)
    for odd, words in (
        (OnDevice(x), "device|not mine to share"),
        (Unwilling(x), "not mine to share"),
        (types.SimpleNamespace(__cuda_array_interface__={}, __len__=lambda: 5), "device"),
    ):
        for position in range(count):
            inputs = [x] * count
            inputs[position] = odd
            with pytest.raises(TypeError, match=words) as caught:
                call(*inputs, *parameters)
            assert f"'{names[position]}'" in str(caught.value)
            assert type(odd).__qualname__ in str(caught.value)
        with pytest.raises(TypeError, match="'out'"):
            call(*[x] * count, *parameters, out=odd)
        for parameter in names[count : count + len(parameters)] if name == "leaky_relu" else ():
            with pytest.raises(TypeError, match=f"'{parameter}'"):
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
