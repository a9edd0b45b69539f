"""What the tests run on, read from the table: kernels, the points at which to look, and the exact answer."""

import functools
import itertools
import os

import numpy as np

from fastrelu import dispatch, reference
from fastrelu.backends import cython
from fastrelu.row import Parameter
from fastrelu.table import GATES, ROWS

ON_KERNELS = dispatch.control.BACKEND.get().name != "numpy"
# Whether this process repeats, on something else, tests that another one runs on what is chosen by itself
AGAIN = bool({"FASTRELU_ISA", "FASTRELU_BACKEND"} & os.environ.keys())
KERNELS = [(row, kernel) for row in ROWS for kernel in row.kernels().values()]
BY_NAME = {kernel.name: (row, kernel) for row, kernel in KERNELS}
GATED = {kernel.name: (gate, kernel) for gate in GATES for kernel in gate.kernels().values()}
ALL = BY_NAME | GATED  # for what is the same of any elementwise kernel


class GateAsRow:
    """A gated unit as a function of gate, with value as a parameter: for sweeps over all of one argument."""

    knots, from_y_needs = (), None
    parameters = (Parameter(name="value", doc="", typical=(1.0, -1.9375, 2.0**15, 2.0**-24)),)

    def __init__(self, gate):
        self.gate, self.name = gate, gate.name
        self.family = self.qualname = gate.name
        self.ulp, self.roots, self.points = gate.ulp, gate.roots, gate.points

    def kernels(self):
        return self.gate.kernels()


OF_GATE = {kernel.name: (GateAsRow(gate), kernel) for gate, kernel in GATED.values()}
SWEPT = BY_NAME | OF_GATE
NEIGHBOURS = 64  # ULP on either side of everything that is special
NEAR_ROOT = 0.5  # within it the error of a float64 derivative is promised absolutely:
ABSOLUTE = 2.0**-56
REFERENCE_ULP = 4.0  # in float64 and long double without wider arithmetic; beside a root of f' of 1/2
FAST_ULP = 4.0  # at accuracy "fast"; beside a root of f' of 1/2
AT_ZERO = 0.25
DERIVATIVES = "backward", "backward_at_zero", "backward_gate"

# Where sweeps have found the largest errors of past versions: samples keep looking there.
WORST = {
    "gelu": (0.021311719699248943, -0.054831132942581018, -0.0038541724096405753, -0.007716383767393212),
    "gelu.backward": (
        -0.54255083094008283,
        -1.010100865556542,
        -0.012018246498994467,
        -0.0003860896305727143,
    ),
    "gelu.tanh": (-21.163217546346218,),
    "elu": (-0.3532120413388823,),
    "elu.backward": (-705.9476107884692,),
    "silu": (-714.97151977066551, -2859.9063691493175),
    "softplus": (-708.39641855343166, -1416.792837022193),
}


def function(kernel):
    """The kernel as the current backend runs it, called as a ufunc is called."""
    return dispatch.elementwise(kernel)


def parameter_sets(row):
    """Every combination of the parameters' typical values."""
    return list(itertools.product(*(p.typical for p in row.parameters)))


def is_fast(kernel, dtype):
    """Whether the current accuracy is "fast", and there is a formula for it."""
    chosen = ON_KERNELS and dispatch.control.ACCURACY.get() == "fast" and np.dtype(dtype).char in "fd"
    return chosen and cython.ufuncs.has_faster_formula(cython.KERNEL_INDEX[kernel.name], dtype)


def budget(row, kernel, dtype):
    """How many ULP are promised: the table's, those of "fast", or of what the reference computes as it is."""
    if is_fast(kernel, dtype):
        return FAST_ULP
    if np.dtype(dtype).char == "g" or (np.dtype(dtype).char == "d" and not ON_KERNELS):
        return REFERENCE_ULP
    return row.ulp["forward" if kernel.pass_ == "forward" else "backward"]


def swept(kernel):
    """The argument of a kernel that takes all values: x or y, and of a gated unit the gate."""
    return "gate" if kernel.name in GATED else kernel.arguments[0]


def position(kernel, first, parameters):
    """Where the row's roots are to be looked for: a parameter may scale them, but for the value of a gate."""
    return first if kernel.name in GATED else first * np.prod(parameters)


# Points


def neighbours(values, dtype, reach=NEIGHBOURS):
    """Each value, rounded to dtype, and everything within `reach` ULP of it; through 0 to the other sign."""
    integer = np.dtype(f"i{np.dtype(dtype).itemsize}")
    bits = np.asarray(values, dtype).view(integer)
    lowest = np.iinfo(integer).min
    ordered = np.where(bits < 0, lowest - bits, bits)  # -0 and +0 both 0
    near = (ordered[:, None] + np.arange(-reach, reach + 1, dtype=integer)).ravel()
    return np.where(near < 0, lowest - near, near).astype(integer).view(dtype)


def specials(dtype):
    """NaN, zeros and infinities, the ends of the normal and subnormal ranges, ordinary values; both signs."""
    info = np.finfo(dtype)
    sub = info.smallest_subnormal
    sizes = [0.0, np.inf, sub, 3 * sub, info.tiny - sub, info.tiny, info.eps, 0.5, 1.0, 2.5, 1e4, info.max]
    positive = np.array([*sizes, np.nan], dtype)
    return np.concatenate([positive, -positive])


def special_places(row, parameters=None):
    """The row's knots, roots and points on either side of 0, where a scale among the parameters puts them."""
    worst = [x for kernel in row.kernels().values() for x in WORST.get(kernel.name, ())]
    named = [p.name for p in row.parameters]
    knots = [k.place(dict(zip(named, v, strict=True))) for k in row.knots for v in parameter_sets(row)]
    places = np.array([0.0, 1.0, *row.roots, *row.points, *worst])
    values = [v for p in row.parameters for v in p.typical] if parameters is None else parameters
    places = np.concatenate([places / v for v in {1.0, *values} if 0 < v < np.inf] + [knots])
    return np.unique(np.concatenate([places, -places]))


def sample(row, dtype, each_exponent=2, ordinary=500, parameters=None):
    """A fixed sample of the dtype: every special value and place, every binade of both signs, N(0, 3)."""
    dtype, info, rng = np.dtype(dtype), np.finfo(dtype), np.random.default_rng(3)
    exponents = np.arange(info.minexp - info.nmant, info.maxexp).repeat(each_exponent)
    mantissas = rng.uniform(1, 2, len(exponents)) * rng.choice([-1, 1], len(exponents))
    places = special_places(row, parameters)
    places = places[abs(places) < info.max]
    parts = [
        specials(dtype),
        neighbours(places, dtype),
        np.ldexp(mantissas.astype(dtype), exponents.astype(np.int32)),
        rng.normal(0, 3, ordinary).astype(dtype),
    ]
    return np.concatenate([np.asarray(part, dtype) for part in parts])


def in_domain(row, kernel, first, parameters):
    """Which of the first arguments mean something: of y only what the forward pass can give."""
    if kernel.arguments[0] != "y":
        return np.ones(first.shape, bool)
    needs = row.from_y_needs
    if needs and not all(needs.accepts(v) for v in parameters):
        return np.zeros(first.shape, bool)
    low, high, at_minus_0 = forward_limits(kernel.row, tuple(parameters), first.dtype)
    inside = (first >= low) & (first <= high)
    if not np.signbit(at_minus_0):
        inside &= (first != 0) | ~np.signbit(first)  # no x gives -0
    return np.isnan(first) | inside


@functools.cache
def forward_limits(name, parameters, dtype):
    """f at both infinities and at -0."""
    ends = np.array([-np.inf, np.inf, -0.0], dtype)
    return reference.evaluate(BY_NAME[name][1], ends, *np.asarray(parameters, dtype))


def operands(row, kernel, first, parameters, dy=1.0, at_zero=AT_ZERO):
    """The kernel's inputs in the dtype of `first`, its x or y; 0-d where one value serves for all."""
    given = {"dy": dy, "at_zero": at_zero, swept(kernel): first}
    given |= {p.name: value for p, value in zip(row.parameters, parameters, strict=True)}
    return [np.asarray(given[name], first.dtype) for name in kernel.inputs]


# The answer


def truth(kernel, inputs, work=np.longdouble):
    """The exact result, to the precision of `work`: the reference on inputs that are already that wide."""
    with np.errstate(invalid="ignore"):  # NumPy's cast of a signalling NaN
        wide = [np.asarray(a).astype(work) for a in inputs]
    return np.asarray(reference.evaluate(kernel, *wide))


def unit_floor(row, kernel, first, parameters):
    """The size below which a derivative's unit does not shrink beside an interior zero."""
    floor, least = np.zeros(first.shape), ABSOLUTE * 2**52
    fast = is_fast(kernel, first.dtype)
    if first.dtype.char == "g" or not ON_KERNELS or fast:
        least = 0.5
    if (first.dtype.char in "dg" or fast) and kernel.pass_ in DERIVATIVES:
        factor = abs(parameters[0]) if kernel.name in GATED else 1.0
        with np.errstate(all="ignore"):
            for root in row.roots:
                near = abs(position(kernel, first, parameters) - root) < NEAR_ROOT
                floor = np.where(near, least * factor, floor)
    return floor


def same_bits(a, b):
    """Whether two arrays agree in dtype, shape and every bit, those of NaN included."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.char == "g":  # its padding is nobody's business
        return np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a), np.signbit(b))
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
