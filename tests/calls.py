"""How kernels are called: through the ufunc and the public object, on arrays laid out in every way."""

import contextlib
import functools

import numpy as np
import pytest
from cases import (
    AGAIN,
    ALL,
    AT_ZERO,
    BY_NAME,
    GATED,
    ON_KERNELS,
    REFERENCE_ULP,
    function,
    parameter_sets,
    same_bits,
    specials,
)
from ulp import distances

import fastrelu as fr


def _strided(a):
    return _within(a, tuple(2 * n for n in a.shape), (slice(None, None, 2),) * a.ndim)


def _within(a, shape, index):
    """A view of a larger array that holds the values of `a`."""
    larger = np.zeros(shape, a.dtype)
    larger[index] = a
    return larger[index]


def _unaligned(a):
    made = np.ndarray(a.shape, a.dtype, bytearray(a.nbytes + 1), offset=1)
    made[...] = a
    return made


def _packed(a):
    """Fields of packed records: unaligned, and their distance is no multiple of their size."""
    made = np.zeros(a.shape, [("before", "i1"), ("value", a.dtype)])
    made["value"] = a
    return made["value"]


def _read_only(a):
    made = a.copy()
    made.flags.writeable = False
    return made


LAYOUTS = {
    "contiguous": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "padded rows": lambda a: _within(a, (*a.shape[:-1], a.shape[-1] + 3), (..., slice(1, -2))),
    "strided": _strided,
    "strided columns": lambda a: _within(a, (*a.shape[:-1], 3 * a.shape[-1]), (..., slice(None, None, 3))),
    "negative": lambda a: np.ascontiguousarray(np.flip(a))[(slice(None, None, -1),) * a.ndim],
    "negative rows": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "unaligned": _unaligned,
    "packed": _packed,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": _read_only,
}


def public(row, kernel):
    """The public object's call that takes a kernel's inputs, in the kernel's order."""
    if kernel.name in GATED:
        unit, wrt = getattr(fr, row.name), kernel.pass_.removeprefix("backward_")
        return unit if kernel.pass_ == "forward" else functools.partial(unit.backward, wrt=wrt)
    family = fr.ACTIVATIONS[row.family]
    activation = family.variants[row.option[1]] if row.option else family
    names = [p.name for p in row.parameters]
    if kernel.pass_ == "forward":
        return lambda x, *parameters, **keywords: activation(x, *parameters, **keywords)

    def backward(dy, first, *rest, **keywords):
        keywords |= dict(zip(names, rest, strict=False))
        if kernel.knots:
            keywords["at_zero"] = rest[-1]
        if "_wrt_" in kernel.pass_:
            keywords["wrt"] = kernel.pass_.partition("_wrt_")[2]
        elif any(p.learned for p in row.parameters):
            keywords["wrt"] = "x"
        if kernel.pass_ == "backward_from_y":
            return activation.backward(dy, y=first, **keywords)
        return activation.backward(dy, first, **keywords)

    return backward


def plain(row, kernel):
    """The same with numbers for parameters, whatever arrays come for them: what takes the fast path."""
    call, numbers = public(row, kernel), parameter_sets(row)[0]
    numbers = (*numbers, AT_ZERO) if kernel.knots else numbers
    count = len(kernel.inputs) - len(numbers)
    if "_wrt_" in kernel.pass_:  # or the gradient of a number would be a number
        return call
    return lambda *inputs, **keywords: call(*inputs[:count], *numbers, **keywords)


def _gradient_of_a(dy, a, b, out=None):
    """`logaddexp.backward` as the public calls of kernels are: one gradient."""
    return fr.logaddexp.backward(dy, a, b, out=out if out is None else (out, None))[0]


def public_call(name):
    """The public call of an elementwise function, how many arrays it takes, and numbers for what follows."""
    if name not in ALL:
        return (fr.logaddexp, 2, ()) if name == "logaddexp" else (_gradient_of_a, 3, ())
    row, kernel = ALL[name]
    numbers = parameter_sets(row)[0]
    rest = (*numbers, 0.5) if kernel.knots else numbers
    return public(row, kernel), len(kernel.inputs) - len(rest), rest


CALLS = {"ufunc": lambda row, kernel: function(kernel), "public": public, "plain": plain}


def ways(names):
    """(name, way to call it): without those that are another one, or in another process, for this kernel."""
    for name in names:
        row, kernel = ALL[name]
        other = (row.parameters or kernel.knots) and "_wrt_" not in kernel.pass_
        yield name, "ufunc"
        if not other or not AGAIN:
            yield name, "public"
        if other:
            yield name, "plain"


def one_of_each_kind(calls):
    """All of them; of the reference, to which memory is NumPy's business, one of each kind of call."""
    if ON_KERNELS:
        return calls
    kinds = {}
    for name, via in calls:
        _, kernel = ALL[name]
        kind = via, kernel.pass_.partition("_wrt_")[0], len(kernel.inputs), bool(kernel.knots)
        kinds.setdefault(kind, (name, via))
    return list(kinds.values())


# What tests are parametrised by

FLOATS = [np.float16, np.float32, np.float64, np.longdouble]
KERNEL_FLOATS = FLOATS[:3]
SHAPE = (7, 37)
FORWARD = [name for name, (_, kernel) in BY_NAME.items() if kernel.pass_ == "forward"]

each_kernel = pytest.mark.parametrize("name", BY_NAME)
each_elementwise = pytest.mark.parametrize("name", ALL)
each_forward = pytest.mark.parametrize("name", FORWARD)
EVERY = [*ALL, "logaddexp", "logaddexp.backward"]  # the functions of two arrays that are no rows included
EVERY_FORWARD = [name for name in EVERY if "backward" not in name]
each_elementwise_forward = pytest.mark.parametrize("name", [*FORWARD, *(n for n in GATED if "." not in n)])
each_dtype = pytest.mark.parametrize("dtype", KERNEL_FLOATS, ids=lambda d: np.dtype(d).name)
each_call = pytest.mark.parametrize(("name", "via"), list(ways(ALL)))
each_kernel_call = pytest.mark.parametrize(("name", "via"), list(ways(BY_NAME)))
each_kind_of_call = pytest.mark.parametrize(("name", "via"), one_of_each_kind(list(ways(ALL))))
each_kind_of_kernel_call = pytest.mark.parametrize(("name", "via"), one_of_each_kind(list(ways(BY_NAME))))
once = pytest.mark.skipif(AGAIN, reason="the same in the process that runs all the tests")


# Inputs, and what is asked of results and errors


def arrays(name, dtype, shape=SHAPE, seed=0):
    """The kernel's inputs as full arrays: special values and normal ones, parameters that differ by lane."""
    row, kernel = ALL[name]
    rng, made, size = np.random.default_rng(seed), [], int(np.prod(shape))
    typical = {p.name: p.typical for p in row.parameters}
    for position, argument in enumerate(kernel.inputs):
        if argument in typical:
            values = rng.choice(typical[argument], size)
        else:
            values = np.concatenate([specials(dtype), rng.normal(0, 3, size)])[:size]
            values = rng.permutation(values) if argument == "x" else np.roll(values, 5 * position)
        made.append(values.astype(dtype).reshape(shape))
    return made


def ordered(a):
    """The place of every number of 16 bits among them all."""
    bits = a.view(np.int16).astype(int)
    return np.where(bits < 0, -(bits & 0x7FFF), bits)


def same_or_next(got, expected):
    """Of 16 bits, the same numbers or their neighbours, of the same sign; NaN in the same places."""
    nan = np.isnan(expected.astype(np.float32))
    close = (abs(ordered(got) - ordered(expected)) <= 1) & (np.signbit(got) == np.signbit(expected))
    return np.array_equal(nan, np.isnan(got.astype(np.float32))) and np.all(close | nan)


def agree(got, expected, where=""):
    """The same dtype, shape and bits; of the reference, whose bits may vary, what it promises of each."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == expected.dtype, where
    if same_bits(got, expected):
        return
    if not ON_KERNELS and got.shape == expected.shape:
        floor = 0.5 if got.dtype.itemsize >= 8 else 0
        assert distances(got, expected.astype(np.longdouble), floor).max() <= 2 * REFERENCE_ULP, where
        return
    np.testing.assert_array_equal(got, expected, err_msg=where, strict=True)
    signs = np.testing.assert_array_equal
    signs(np.signbit(got), np.signbit(expected), err_msg=f"{where}: signs, those of NaN included")
    raise AssertionError(f"{where}: the payloads of NaN differ")


@contextlib.contextmanager
def refused(kind, *words, untouched=()):
    """The block raises `kind`, its message has all the words, and the arrays keep their bytes."""
    before = [a.tobytes() for a in untouched]
    with pytest.raises(kind) as caught:
        yield
    assert [a.tobytes() for a in untouched] == before, "something was written"
    for word in words:
        assert str(word) in str(caught.value), f"{word!r} is not in {str(caught.value)!r}"
