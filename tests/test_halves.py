"""float16 and bfloat16: every way to call has the same bits, next to those of float32's fast formulas.

`test_ulp.py` holds these to 1 ULP over all 65,536 inputs, `test_storages.py` looks at the conversions.
"""

import itertools

import numpy as np
import pytest
from calls import LAYOUTS, public, same_or_next
from cases import BY_NAME, in_domain, operands, parameter_sets, same_bits
from test_isa import output

import fastrelu as fr
from fastrelu.backends import cython

bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
pytestmark = [pytest.mark.every_isa, pytest.mark.usefixtures("kernels_only")]
cython.meet_bfloat16()
EVERY = np.arange(1 << 16, dtype=np.uint16)
each_dtype = pytest.mark.parametrize("dtype", [np.float16, bfloat16], ids=lambda d: np.dtype(d).name)


def by_float32(f, inputs, dtype):
    with fr.accuracy("fast"), np.errstate(all="ignore"):
        return f(*(np.asarray(a).astype(np.float32) for a in inputs)).astype(dtype)


def same_numbers(got, expected):
    """Bits, but for those of a NaN."""
    nan = np.isnan(expected.astype(np.float32))
    return got.dtype == expected.dtype and same_bits(
        np.where(nan, 0, got.view(np.uint16)), np.where(nan, 0, expected.view(np.uint16))
    )


@each_dtype
@pytest.mark.parametrize("name", [n for n, (_, k) in BY_NAME.items() if not k.summed])
def test_every_value_every_way(name, dtype):
    row, kernel = BY_NAME[name]
    x, parameters = EVERY.view(dtype), parameter_sets(row)[0]
    with np.errstate(all="ignore"):
        wide = x.astype(np.float32)
        some = wide[in_domain(row, kernel, wide, parameters)]
        inputs = [np.asarray(a).astype(dtype) for a in operands(row, kernel, some, parameters)]
    arrays = 1 + (kernel.inputs[0] == "dy")
    inputs = [np.broadcast_to(a, some.shape).copy() if i < arrays else a for i, a in enumerate(inputs)]
    expected = cython.UFUNCS[kernel](*inputs)
    assert same_or_next(expected, by_float32(cython.UFUNCS[kernel], inputs, dtype))
    numbers = [a if i < arrays else float(a) for i, a in enumerate(inputs)]
    call = public(row, kernel)
    assert same_numbers(call(*numbers), expected)
    out = np.zeros(some.shape, dtype)
    assert call(*numbers, out=out) is out
    assert same_numbers(out, expected)


@each_dtype
def test_layouts_pieces_threads_and_streaming(dtype, thresholds):
    x = EVERY.view(dtype).copy()
    for f in (fr.relu, fr.silu):
        expected = f(x)
        for name, arrange in LAYOUTS.items():
            got = f(arrange(x.reshape(256, 256))).ravel()
            assert same_numbers(got, expected), name
        for n, start in itertools.product((1, 7, 15, 16, 17, 31, 33, 511, 513), (0, 3, 0x3C00)):
            assert same_numbers(f(x[start : start + n]), expected[start : start + n])
        for threads, streaming in ((1, 1), (3, 1), (4, 1 << 40)):
            thresholds(threads, 1, streaming)
            assert same_numbers(f(x), expected)
            assert same_numbers(f(x[1:]), expected[1:])
            assert same_numbers(f(np.repeat(x, 2)[::2]), expected)


def test_bfloat16_is_numpys_to_cast():
    x = np.linspace(-3, 3, 50).astype(bfloat16)
    expected = fr.gelu(x)
    assert expected.dtype == fr.gelu.ufunc(x).dtype == bfloat16
    out = np.zeros(50, np.float32)
    assert same_bits(fr.gelu(x, out=out), expected.astype(np.float32))
    mask = np.arange(50) % 2 == 0
    out = np.full(50, 7, bfloat16)
    assert same_numbers(fr.gelu(x, where=mask, out=out), np.where(mask, expected, bfloat16(7)))
    dy = np.linspace(1, 2, 50)
    assert fr.gelu.backward(dy, x).dtype == bfloat16
    assert fr.gelu.backward(dy.astype(bfloat16), x.astype(np.float32)).dtype == np.float32
    assert fr.relu(x, dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("other", [0.1, 1, np.float16(0.1), np.float32(0.1), np.arange(3.0), np.arange(3)])
def test_a_ufunc_promotes_bfloat16_as_numpys_do(other):
    """To float32 beside a Python number, too; the call itself casts parameters to the dtype of x."""
    x = np.array([-1, 2, 3], bfloat16)
    assert fr.leaky_relu.ufunc(x, other).dtype == np.multiply(x, other).dtype
    assert fr.leaky_relu(x, other).dtype == bfloat16


@pytest.mark.parametrize("code", [
    "import ml_dtypes, fastrelu as fr, numpy as np",
    "import fastrelu as fr, ml_dtypes, numpy as np",
    "import fastrelu as fr, numpy as np; fr.gelu(np.ones(3)); import ml_dtypes",
])  # fmt: skip
def test_whichever_package_is_imported_first(code):
    calls = "gelu.ufunc(x)", "gelu(x)", "gelu(x[0])", "gelu(x, where=True)", "gelu.backward(x, x)"
    for call in calls:
        made = f"{code}; x = np.ones(3, ml_dtypes.bfloat16); print(fr.{call}.dtype, fr.gelu.ufunc(x).dtype)"
        assert output(made, ISA=cython.ISA) == "bfloat16 bfloat16"


def test_small_integers_are_not_what_out_once_was():
    made = "import ml_dtypes, fastrelu as fr, numpy as np; x = np.ones(3, bool)"
    made += "; fr.gelu(x, out=np.empty(3, ml_dtypes.bfloat16)); print(fr.gelu.ufunc(x).dtype)"
    assert output(made, ISA=cython.ISA) == "float16"


@pytest.mark.parametrize("beta", [1.0, 1e-4, 1e-8])
def test_a_small_beta_finds_a_small_power(beta):
    """beta x is far below 0 where f is no subnormal yet."""
    x = (np.linspace(-90, -70, 101) / beta).astype(bfloat16)
    beta = float(bfloat16(beta))
    wide = x.astype(np.longdouble)
    power = np.exp(beta * wide)
    for f, exact in ((fr.silu, wide * power / (1 + power)), (fr.softplus, np.log1p(power) / beta)):
        assert same_or_next(f(x, beta=beta), exact.astype(np.float32).astype(bfloat16))


def test_other_numbers_of_ml_dtypes_are_no_floats():
    import ml_dtypes

    x, out = np.ones(4, ml_dtypes.int4), np.full(4, 7, bfloat16)
    for call in (fr.gelu, fr.relu, fr.elu, fr.glu, fr.rrelu, fr.activity):
        with pytest.raises(TypeError, match="int4"):
            call(x)
    with pytest.raises(TypeError, match="int4"):
        fr.relu.backward(out, x, out=out)
    assert np.all(out == 7)


def test_a_slope_beyond_float32_leaves_its_product_alone():
    """2 x is no float32 there; dy * 2 x is a bfloat16."""
    x, dy = np.full(70, 2.5e38).astype(bfloat16), np.full(70, 0.125).astype(bfloat16)
    expected = (2 * x.astype(float) * dy.astype(float)).astype(bfloat16)
    assert same_bits(fr.relu_squared.backward(dy, x), expected)
    assert same_bits(fr.relu_squared.backward(dy[::-1], x), expected)
