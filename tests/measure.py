"""What one part of a kernel's sweep finds: the points, the oracle, and the errors in few passes.

float32.  The kernel itself in float64, at most 1 ULP of float64 from the truth by its own sweep and compiled
for another instruction set where the CPU has one, is the oracle for the bulk; `check_oracle` first holds it
against the reference in long double.  Blocks with a NaN, an infinity, an overflow or any difference of sign
take the careful way: the reference in float64, and `ulp.distances`.  Beside a root of f' that is long double.

float64.  Dense random points against the reference in long double, and structured ones against mpmath.

The worst spots are then measured again in mpmath (`exact_error`), so that what is reported is exact.
"""

import functools

import cases
import mpmath as mp
import numpy as np
from truth import DIGITS, TRUE, TRUE_GATED
from ulp import distances, error, exact

from fastrelu import control
from fastrelu.backends import cython

BLOCK = 1 << 14  # float32 patterns at a time: what they need stays in a second-level cache
REGION_BITS = 23  # a region is one sign and exponent
WINDOW = 4096  # neighbours on either side of everything special, where a stride would step over them
LEVELS = (0.75, 1.0)  # how many errors above these are counted, besides those above the budget
KEPT = 4  # spots a region, the worst of different blocks
NEAR_ROOT = 2.0**-10
FAR_FROM_EXACT = 2.0**-16  # float32 units that the oracle may be away from the reference in long double
SCREENS, SLICES = 8, 8  # parts of a float64 sweep: random points, then structured ones

# A double's exponent bits, those of the smallest normal float32 and of the first number beyond float32, and
# what they are subtracted from to give the bits of 1 / the float32 unit at the double.
EXPONENT = np.uint64(0x7FF << 52)
LEAST, BEYOND = np.uint64((1023 - 126) << 52), np.uint64((1023 + 128) << 52)
RECIPROCAL = np.uint64((2 * 1023 + 23) << 52)


def parts(dtype, stride):
    """How many parts a job has: float32's regions, and one for the windows unless a sweep sees all."""
    return SCREENS + SLICES if dtype == "float64" else 512 + (stride > 1)


class Found:
    """What a sweep has found so far; plain values, so that a state file can hold it."""

    def __init__(self, record=None):
        fresh = {"worst": {}, "points": 0, "exact points": 0, "above": {}}
        self.record = fresh if record is None else record

    def add(self, x, errors, limit, exact_points=False):
        record = self.record
        record["points"] += errors.size
        record["exact points"] += errors.size * exact_points
        for region, i in _extremes(x, errors):
            self.keep(region, [float(errors[i]), float(x[i]).hex()])
            if errors[i] > min(limit, *LEVELS):
                some = errors if _one_region(x) else errors[_regions(x) == int(region)]
                for name, level in (("budget", limit), *((f"{v:g}", v) for v in LEVELS)):
                    count = record["above"].get(name, 0) + int(np.count_nonzero(some > level))
                    record["above"][name] = count

    def keep(self, region, spot):
        spots = self.record["worst"].setdefault(region, [])
        if len(spots) < KEPT or spot[0] > spots[-1][0]:
            spots.append(spot)
            spots.sort(key=lambda s: -s[0])
            del spots[KEPT:]

    def merge(self, other):
        for name in ("points", "exact points"):
            self.record[name] += other[name]
        for name, count in other["above"].items():
            self.record["above"][name] = self.record["above"].get(name, 0) + count
        for region, spots in other["worst"].items():
            for spot in spots:
                self.keep(region, spot)


def _regions(x):
    return x.view(f"u{x.itemsize}") >> np.finfo(x.dtype).nmant


def _one_region(x):
    ends = _regions(x[[0, -1]])
    return x.size <= BLOCK and ends[0] == ends[1] and (_regions(x) == ends[0]).all()


def _extremes(x, errors):
    """(region, index of its largest error)."""
    regions = _regions(x)
    if (regions == regions[0]).all():
        return [(str(regions[0]), np.argmax(errors))]
    order = np.lexsort((errors, regions))
    return [(str(regions[i]), i) for i in order[np.append(np.diff(regions[order]) != 0, True)]]


# The oracle


@functools.cache
def other_instruction_set():
    """The best one that this CPU has besides the chosen one, or the chosen one itself."""
    supported = [isa for isa in cython.BUILT if cython.ufuncs.supports(cython.INSTRUCTION_SETS[isa])]
    return next((isa for isa in supported if isa != cython.ISA), cython.ISA)


@functools.cache
def oracle(kernel):
    """The kernel for float64 arrays: a ufunc of the other instruction set."""
    if not cases.ON_KERNELS:
        return functools.partial(_by_reference, kernel)
    cython._load(other_instruction_set())
    try:
        ufunc = cython.make_ufunc(kernel)
    finally:
        cython._load(cython.ISA)
    if control.ACCURACY.get() == "high":
        return ufunc

    def with_high_accuracy(*inputs, out):
        with control.accuracy("high"):
            ufunc(*inputs, out=out)

    return with_high_accuracy


def _by_reference(kernel, *inputs, out):
    out[...] = cases.truth(kernel, inputs, np.float64)


def check_oracle(row, kernel, parameters, stride=65521):
    """Raise unless the oracle agrees with the reference in long double all over float32."""
    x = np.arange(0, 1 << 32, stride, dtype=np.uint32).view(np.float32)
    x = x[cases.in_domain(row, kernel, x, parameters)]
    if not x.size:
        return
    inputs = cases.operands(row, kernel, x, parameters)
    true = cases.truth(kernel, inputs)
    with np.errstate(all="ignore"):
        wide = [np.asarray(a).astype(np.float64) for a in inputs]
        got = np.empty(x.shape)
        oracle(kernel)(*wide, out=got)
        unit = np.ldexp(1.0, np.clip(np.frexp(true)[1] - 1, -126, 127) - 23)
        off = np.where(got == true, 0, abs(got - true) / unit)
    both_nan = np.isnan(got) & np.isnan(true)
    bad = ~(both_nan | (off <= FAR_FROM_EXACT) | _beside_a_root(row, kernel, x, parameters))
    if bad.any():
        i = int(np.argmax(bad))
        raise SystemExit(
            f"{kernel.name}{parameters}: the float64 kernel is no oracle for float32: at x = {x[i]!r} "
            f"it gives {got[i]!r}, the reference {true[i]!r}"
        )


def _beside_a_root(row, kernel, x, parameters):
    near = np.zeros(x.shape, bool)
    with np.errstate(all="ignore"):
        for root in row.roots:
            near |= abs(cases.position(kernel, x.astype(np.float64), parameters) - root) < NEAR_ROOT
    return near


# float32


class Ruler:
    """Errors of a block of float32 results against float64 ones, in scratch memory of its own."""

    def __init__(self):
        self.difference, self.unit = np.empty(BLOCK), np.empty(BLOCK)

    def __call__(self, got, true):
        """In float32 units; None where a sign differs or the truth leaves float32."""
        difference, unit = self.difference[: got.size], self.unit[: got.size]
        bits, work = true.view(np.uint64), unit.view(np.uint64)
        np.copyto(difference, got)
        np.bitwise_xor(difference.view(np.uint64), bits, out=work)
        if unit.view(np.int64).min() < 0:
            return None
        np.bitwise_and(bits, EXPONENT, out=work)
        if work.max() >= BEYOND:
            return None
        np.subtract(RECIPROCAL, np.maximum(work, LEAST, out=work), out=work)
        np.subtract(difference, true, out=difference)
        np.multiply(difference, unit, out=difference)
        return np.abs(difference, out=difference)


def careful_errors(row, kernel, x, parameters):
    """Against the reference, every special value looked at."""
    inputs = cases.operands(row, kernel, x, parameters)
    true = cases.truth(kernel, inputs, np.float64)
    near = _beside_a_root(row, kernel, x, parameters)
    if near.any():
        some = [a if a.ndim == 0 else a[near] for a in inputs]
        true[near] = cases.truth(kernel, some).astype(np.float64)
    floor = cases.unit_floor(row, kernel, x, parameters)
    return distances(cases.function(kernel)(*inputs), true, floor)


def sweep_region(row, kernel, region, parameters, stride, found):
    """Every pattern of one sign and exponent that is a multiple of the stride."""
    limit, ruler, f, f64 = (
        cases.budget(row, kernel, "float32"),
        Ruler(),
        cases.function(kernel),
        oracle(kernel),
    )
    lead = kernel.inputs.index(cases.swept(kernel))
    inputs = cases.operands(row, kernel, np.zeros(1, np.float32), parameters)
    wide = [np.asarray(a).astype(np.float64) for a in inputs]
    x, x64 = np.empty(BLOCK, np.float32), np.empty(BLOCK)
    y, y64 = np.empty(BLOCK, np.float32), np.empty(BLOCK)
    steps = np.arange(BLOCK, dtype=np.uint32) * np.uint32(stride)
    finite, from_y = region % 256 != 255, kernel.arguments[0] == "y"
    start, end = region << REGION_BITS, (region + 1) << REGION_BITS
    for low in range(-(-start // stride) * stride, end, BLOCK * stride):
        n = min(BLOCK, -(-(end - low) // stride))
        np.add(steps[:n], np.uint32(low), out=x.view(np.uint32)[:n])
        inputs[lead] = some = x[:n]
        if from_y:
            inside = cases.in_domain(row, kernel, some, parameters)
            if not inside.any():
                continue
            inputs[lead] = some = some[inside] if not inside.all() else some
        errors, n = None, some.size
        ends = some[[0, -1]]
        beside = _beside_a_root(row, kernel, ends, parameters) | (
            cases.unit_floor(row, kernel, ends, parameters) > 0
        )
        if finite and not beside.any():
            np.copyto(x64[:n], some)
            wide[lead] = x64[:n]
            f(*inputs, out=y[:n])
            f64(*wide, out=y64[:n])
            errors = ruler(y[:n], y64[:n])
        if errors is None or not errors.max() < np.inf:
            errors = careful_errors(row, kernel, some, parameters)
        found.add(some, errors, limit)


# float64


def screening_points(row, part, parameters):
    """Structured and random points, other random ones in each part."""
    rng = np.random.default_rng(part)
    yield cases.sample(row, np.float64, each_exponent=16, ordinary=20_000, parameters=parameters)
    for end in (1, 6, 40, 110, 760):
        yield rng.uniform(-end, end, 20_000)
    places = cases.special_places(row, parameters)
    scales = np.ldexp(rng.uniform(0.5, 1, (200, 1)), rng.integers(-52, 0, (200, 1)))
    yield np.concatenate([places * (1 + scales), places * (1 - scales)]).ravel()
    if part == 0:
        yield cases.neighbours(places, np.float64, 2048)


def structured_points(row, parameters):
    """Every exponent; neighbours of everything special, from 1 to 2^52 units away; tails; a plain grid."""
    rng, info = np.random.default_rng(11), np.finfo(np.float64)
    places = cases.special_places(row, parameters)
    places = places[(abs(places) < info.max) & (places != 0)]
    away = np.ldexp(1.0, -np.arange(1, 53))[:, None]
    grids = [np.linspace(-end, end, 201) for end in (1, 6, 40, 110, 760)]
    made = [
        cases.sample(row, np.float64, each_exponent=1, ordinary=500, parameters=()),
        cases.neighbours(places, np.float64, 16),
        (places * (1 + away)).ravel(),
        (places * (1 - away)).ravel(),
        *grids,
        rng.uniform(-800, 800, 400),
    ]
    return np.unique(np.concatenate(made))


def exact_error(row, kernel, x, parameters, dtype):
    """The error at one finite point of the dtype, against mpmath."""
    x = np.asarray([x], dtype)
    inputs = cases.operands(row, kernel, x, parameters)
    floor = cases.unit_floor(row, kernel, x, parameters)
    with np.errstate(over="ignore"):
        got = cases.function(kernel)(*inputs)
    return _exact_errors(kernel, x, inputs, got, floor)[0]


def _exact_errors(kernel, x, inputs, got, floor):
    formula, lead = TRUE | TRUE_GATED, cases.swept(kernel)
    scalars = {name: a for name, a in zip(kernel.inputs, inputs, strict=True) if a.ndim == 0}
    found = np.empty(x.shape)
    with mp.workdps(DIGITS):
        exact_parameters = {name: exact(a[()]) for name, a in scalars.items()}
        for i, value in enumerate(x):
            lane = [exact(value) if name == lead else exact_parameters[name] for name in kernel.arguments]
            at_knot = any(k.reached(exact(value), exact_parameters) for k in kernel.knots)
            true = exact(scalars["at_zero"][()]) if at_knot else formula[kernel.formula](*lane)
            found[i] = error(got[i], mp.mpf(true), floor=float(floor[i]))
    return found


def sweep_float64(row, kernel, part, parameters, found):
    limit, f = cases.budget(row, kernel, "float64"), cases.function(kernel)
    if part < SCREENS:
        blocks = screening_points(row, part, parameters)
    else:
        points = structured_points(row, parameters)
        blocks = [points[np.isfinite(points)][part - SCREENS :: SLICES]]
    for x in blocks:
        x = x[cases.in_domain(row, kernel, x, parameters)]
        if not x.size:
            continue
        inputs, floor = (
            cases.operands(row, kernel, x, parameters),
            cases.unit_floor(row, kernel, x, parameters),
        )
        got = f(*inputs)
        if part < SCREENS:
            errors = distances(got, cases.truth(kernel, inputs), floor)
        else:
            errors = _exact_errors(kernel, x, inputs, got, floor)
        found.add(x, errors, limit, exact_points=part >= SCREENS)


# One task: some parts of one job


def measure(task):
    """The task, and the record of what was found."""
    name, parameters, dtype, todo, stride = task
    row, kernel = cases.SWEPT[name]
    found = Found()
    with np.errstate(all="ignore"):
        for part in todo:
            if dtype == "float64":
                sweep_float64(row, kernel, part, parameters, found)
            elif part < 512:
                sweep_region(row, kernel, part, parameters, stride, found)
            else:
                x = cases.neighbours(cases.special_places(row, parameters), np.float32, WINDOW)
                x = x[cases.in_domain(row, kernel, x, parameters)]
                if x.size:
                    errors = careful_errors(row, kernel, x, parameters)
                    found.add(x, errors, cases.budget(row, kernel, "float32"))
    return task, found.record
