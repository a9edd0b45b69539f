"""cross_entropy over rows, its gradient, or both in one pass.

With w the weights of C classes, e the smoothing and y the logarithm of a row's shares s = exp(x) /
sum(exp(x)):

    target    q = w ((1 - e) p + e / C), p being 1 at the row's label and 0 elsewhere, or probabilities
    loss      -sum(q y) = sum(q (m - x)) + sum(q) log(sum(exp(x - m)))
    gradient  s (sum(q) - q) - q (1 - s), times what flows in

in which no two large numbers meet: 1 - s is made of the sum of the other terms.  A row whose targets are all
0 costs nothing, whatever its logits are.  A label that is no class, a probability that is none and a negative
weight make their row NaN: nothing is read or written by them.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numba import cuda, types

from .access import access, number_at, of_array, wide_at
from .integers import integer_at
from .launch import THREADS, Kernel
from .primitives import SIMULATED, fma, inline, power_of_two, select
from .reals import REALS
from .rows import STATES, Operation, X, bundle, entries, forward_sums, log_of_sum
from .storage import STORAGES
from .team import cooperative, room_for

__all__ = [
    "CHUNK",
    "DIVIDES",
    "DIVIDES_BY_STORED",
    "STORES",
    "Loss",
    "operation",
    "total",
    "weights",
]

# Places besides those of row_kernels; DY has the probabilities.
WEIGHT, DIVISOR, LABELS, LOSSES, FLOW = range(4, 9)
OF_LABELS, OF_LOSSES, OF_FLOW = range(3, 6)  # the last three have strides
IGNORED, IGNORES = range(2)  # options that are integers
HARD, SPREAD, FACTOR = 0, 2, 4  # numbers, in two parts
DEAD, ONE_HOT, UNDEFINED = range(3)  # rows out of the ordinary


@dataclass(frozen=True)
class Loss:
    """Which of the functions, and of what.

    Attributes
    ----------
    labels : str
        The dtype of class indices, a key of ``integers.INTEGERS``; "p" for probabilities.
    weighted, spreads : bool
        There are class weights; there is label smoothing.
    gradient : bool
        It is wanted.
    loss : str
        "" where it is not wanted, "none" for one a row in the dtype, "sum" for a wide number a row.
    flows : bool
        The gradient is multiplied by a number of each row besides the factor.
    divides : bool
        By a number that lies on the device.
    """

    labels: str
    weighted: bool
    spreads: bool
    gradient: bool
    loss: str
    flows: bool
    divides: bool

    @property
    def by_entry(self):
        """Whether targets differ from class to class beside the label."""
        return self.spreads or self.labels == "p"

    @property
    def name(self):
        flags = (self.weighted, self.spreads, self.gradient, self.flows, self.divides)
        return f"cross_entropy.{self.labels}.{self.loss or '-'}.{''.join('01'[f] for f in flags)}"


def options(reals):
    number = types.float32 if reals.wide is np.float32 else types.float64
    return types.Tuple((types.UniTuple(types.int64, 2), types.UniTuple(number, 6)))


@functools.cache
def operation(loss):
    """The `Operation` for a `Loss`."""
    return Operation(
        loss.name,
        functools.partial(_loss, loss),
        reads_dy=loss.labels == "p",
        of_row=bool(loss.loss),
        of_entries=loss.gradient,
        keeps=loss.gradient,
        has_special=True,
        few=loss.by_entry,
        small="d" if loss.by_entry else "",
        sums=4 if loss.by_entry else 2,
        more_places=5,
        more_strides=3,
        options=options,
    )


def label_of_rows(loss, reals, storage, place_of_row):
    """A function of a row: its label or -1, the weight of its class, and whether the row counts."""
    w, value = reals.words, reals.value
    constant, widen = w.constant, w.widen
    has_labels, weighted = loss.labels != "p", loss.weighted
    load_label = integer_at(loss.labels) if has_labels else None
    load, _ = number_at(storage)
    size, ZERO, NAN = storage.size, value(0), value(math.nan)

    @inline
    def label_of_row(places, lengths, strides, options, row, n):
        label, own, counts = -1, constant(0.0, 0.0), True
        if has_labels and n:
            label = load_label(place_of_row(places[LABELS], row, lengths, of_array(strides, OF_LABELS)))
            ignored = options[0][IGNORES] != 0 and label == options[0][IGNORED]
            known = label >= 0 and label < n
            own = constant(0.0 if ignored else 1.0 if known else math.nan, 0.0)
            counts = not ignored
            if ignored or not known:
                label = -1
            elif weighted:
                weight = load(places[WEIGHT] + label * size)
                own = widen(select(weight >= ZERO, weight, NAN))
        return label, own, counts

    return label_of_row


def _loss(loss, reals, storage, count, across, pieces, access):
    w, value = reals.words, reals.value
    sums, merged = forward_sums(reals, count, across, False, loss.gradient and not pieces)
    _, _, wide_total = reals.folds(across)
    reference, term_of, to_units = entries(reals)
    label_of_row = label_of_rows(loss, reals, storage, access.place_of_row)
    log_of = log_of_sum(reals)
    load, store, index = access.load, access.store, access.index
    place_of_row, place_of_entry = access.place_of_row, access.place_of_entry
    load_wide, store_wide, _ = wide_at(reals)
    add, sub, mul, div, constant, widen, narrow = w.add, w.sub, w.mul, w.div, w.constant, w.widen, w.narrow
    where, rescaled, normalised, parts, is_one = w.where, w.rescaled, w.normalised, w.parts, w.is_one
    leading, plain, share_of, of_plain, binade = (
        w.leading_part,
        w.plain,
        w.share_of,
        w.of_plain,
        w.value_binade,
    )
    zero_plain, one_plain, limit = w.plain_type(0), w.plain_type(1), 100 if value is np.float32 else 1000
    has_labels, by_entry, weighted, divides = loss.labels != "p", loss.by_entry, loss.weighted, loss.divides
    flows, one_loss_a_row = loss.flows, loss.loss == "none"
    ZERO, ONE, INF, NAN, size = value(0), value(1), value(math.inf), value(math.nan), storage.size
    LOWEST, LEAST, LARGEST = -INF, value(2.0**-limit), value(2.0**limit)

    @inline
    def pair_of(options, at):
        return constant(options[1][at], options[1][at + 1])

    @inline
    def given(places, lengths, strides, options, row, n):
        label, own, counts = label_of_row(places, lengths, strides, options, row, n)
        steps = of_array(strides, X)
        x, flow = ZERO, ONE
        if label >= 0:
            x = load(place_of_entry(place_of_row(places[X], row, lengths, steps), label, lengths, steps))
        if flows and n:
            flow = load(place_of_row(places[FLOW], row, lengths, of_array(strides, OF_FLOW)))
        return label, own, x, flow, n if counts else 0

    @inline
    def target(p, i, n, places, options):
        """That of entry i of the n that count, but for what a label has alone."""
        q = pair_of(options, SPREAD)
        if not has_labels:
            p = select(p >= ZERO and p <= ONE, p, NAN)
            q = add(mul(widen(p), pair_of(options, HARD)), q)
        if weighted and i < n:
            weight = load(places[WEIGHT] + i * size)
            q = mul(q, widen(select(weight >= ZERO, weight, NAN)))
        return where(i < n, q, constant(0.0, 0.0))

    @cooperative
    def spread(e, d, given, places, options, first, member, team):
        """A member's largest entry m, its sums of q (m - x) and of q."""
        top, apart, mass = LOWEST, constant(0.0, 0.0), constant(0.0, 0.0)
        for j in range(count):
            top = select(e[j] > top, e[j], top)
        for j in range(count):
            x = e[j]
            p = ZERO if has_labels else d[j]
            q = target(p, first + index(j, member, team), given[4], places, options)
            below = mul(q, sub(widen(top), widen(x)))
            none = x == top or leading(q) == 0
            apart = add(apart, where(none, constant(0.0, 0.0), below))
            mass = add(mass, q)
        return top, apart, mass

    @inline
    def moved(apart, mass, below, top):
        """A sum of q (below - x) as one of q (top - x)."""
        further = mul(mass, sub(widen(top), widen(below)))
        return add(apart, where(below == top or leading(mass) == 0, constant(0.0, 0.0), further))

    @cooperative
    def state(e, d, given, places, options, first, member, team, room):
        if by_entry:
            own, apart, mass = spread(e, d, given, places, options, first, member, team)
            top, _, tops, rest = sums(e, first, member, team, room)
            apart = wide_total(moved(apart, mass, own, top), team, room)
            return top, given[2], tops, rest, apart, wide_total(mass, team, room)
        top, _, tops, rest = sums(e, first, member, team, room)
        return top, given[2], tops, rest

    @inline
    def merged_spread(a, b):
        top, x, tops, rest = merged(a, b)
        apart = add(moved(a[4], a[5], a[0], top), moved(b[4], b[5], b[0], top))
        return top, x, tops, rest, apart, add(a[5], b[5])

    @inline
    def hard_target(given, options):
        """What the label has alone."""
        return mul(given[1], pair_of(options, HARD)) if by_entry else given[1]

    @inline
    def put(state, given, places, lengths, strides, options, row):
        top, x = state[0], state[1]
        infinite = where(top == INF and is_one(state[2]), constant(0.0, 0.0), constant(math.nan, 0.0))
        log_sum = where(abs(top) < INF, log_of(state[2], state[3]), infinite)
        below = where(x == top, constant(0.0, 0.0), sub(widen(top), widen(x)))
        hard = hard_target(given, options)
        loss = where(leading(hard) == 0, constant(0.0, 0.0), mul(hard, add(below, log_sum)))
        if by_entry:
            others = add(state[4], mul(state[5], log_sum))
            loss = add(loss, where(leading(state[5]) == 0, constant(0.0, 0.0), others))
        to = place_of_row(places[LOSSES], row, lengths, of_array(strides, OF_LOSSES))
        if one_loss_a_row:
            store(to, narrow(loss))
        else:
            store_wide(to, loss)

    @inline
    def settled(state, given, places, options):
        """What is common to all rows, then what rows with one label alone take, or with many targets."""
        top, x, tops, rest = state[0], state[1], state[2], state[3]
        shift, exponent, excess = reference(top)
        total, unit = normalised(add(tops, rest)), to_units(top, shift, exponent, excess)
        factor = mul(pair_of(options, FACTOR), widen(given[3]))
        if divides:
            factor = div(factor, load_wide(places[DIVISOR]))
        at = where(x == top, constant(1.0, 0.0), rescaled(constant(1.0, 0.0), widen(x - top)))
        beside = add(sub(tops, at), rest)  # the other terms
        hard = hard_target(given, options)
        mass, at_label = hard, mul(hard, sub(constant(0.0, 0.0), beside))
        if by_entry:
            mass = add(hard, state[5])
            own = add(hard, mul(given[1], pair_of(options, SPREAD)))
            at_label = sub(mul(at, sub(mass, own)), mul(own, beside))
        at_label = narrow(div(mul(factor, at_label), total))
        dead, one_hot = leading(mass) == 0, top == INF and is_one(tops)
        kind = DEAD if dead else ONE_HOT if one_hot else UNDEFINED
        ordinary = abs(top) < INF and not dead
        common = kind, given[0], given[4], shift, exponent, at_label
        if by_entry:
            inverse = div(unit, total)
            others = add(sub(tops, constant(1.0, 0.0)), rest)
            top_term, beside_top = term_of(top, shift, exponent)[0], plain(div(others, total))
            high = plain(mass)
            low = plain(sub(mass, of_plain(high)))
            return ordinary, common, inverse, top_term, beside_top, high, low, plain(factor), plain(hard)
        # mantissa and exponent apart: a term times the one stays in range, whatever the other is
        factor = mul(factor, hard)
        scale = power_of_two(scale_of(narrow(factor)))
        high, low = parts(div(mul(mul(factor, widen(ONE / scale)), unit), total))
        return ordinary, common, high, low, scale, narrow(factor)

    @inline
    def scale_of(factor):
        size = abs(factor)
        k = binade(select(size < LARGEST, select(size > LEAST, size, LEAST), LARGEST))
        return k

    @inline
    def term(x, numbers):
        return term_of(x, numbers[1][3], numbers[1][4])[0]

    @inline
    def result_of_label(made, d, i, numbers, places, options):
        share = fma(made, numbers[2], made * numbers[3]) * numbers[4]
        return numbers[1][5] if i == numbers[1][1] else share

    @inline
    def result_of_targets(made, d, i, numbers, places, options):
        _, common, inverse, top_term, beside_top, high, low, factor, _ = numbers
        _, label, n, _, _, at_label = common
        share = share_of(made, inverse)
        q = plain(target(d, i, n, places, options))
        beside = beside_top if made == top_term else one_plain - share
        gradient = (share * ((high - q) + low) - q * beside) * factor
        return at_label if i == label else value(gradient)

    @inline
    def special_of_label(x, d, i, numbers, places, options):
        """Of a row whose entries are all infinite or NaN where they count, or that costs nothing."""
        kind, label, factor = numbers[1][0], numbers[1][1], numbers[5]
        gradient = (factor if x == INF else ZERO) - (factor if i == label else ZERO)
        return gradient if kind == ONE_HOT else ZERO if kind == DEAD else NAN

    @inline
    def special_of_targets(x, d, i, numbers, places, options):
        _, common, _, _, _, high, _, factor, hard = numbers
        kind, label, n, _, _, _ = common
        q = plain(target(d, i, n, places, options)) + (hard if i == label else zero_plain)
        gradient = value(((high if x == INF else zero_plain) - q) * factor)
        return gradient if kind == ONE_HOT else ZERO if kind == DEAD else NAN

    if by_entry:
        return bundle(state, merged_spread, given, put, settled, term, result_of_targets, special_of_targets)
    return bundle(state, merged, given, put, settled, term, result_of_label, special_of_label)


# Sums over rows, of which a block leaves one for each of its chunks: as many as its threads, EACH times.

EACH = 2 if SIMULATED else 16
CHUNK = EACH * THREADS
TO, FROM = 0, 1  # places of a total
STORES, DIVIDES, DIVIDES_BY_STORED = range(3)  # what becomes of it


@functools.cache
def weights(loss, char):
    """The kernel that sums the weights of all labels that count, chunk by chunk.

    ``kernel(places, lengths, strides, options, rows, classes)``, as the kernels of the rows; a label that is
    no class weighs nothing.
    """
    op = operation(loss)
    arguments = (
        types.UniTuple(types.int64, STATES + 1 + op.more_places),
        types.UniTuple(types.int64, 2),
        types.UniTuple(types.int64, 4 * (STATES + op.more_strides)),
        options(REALS[char]),
        *(types.int64, types.int64),
    )
    return Kernel(f"{loss.name}.{char}.weights", functools.partial(_weights, loss, char), arguments, THREADS)


def _weights(loss, char):
    reals, storage = REALS[char], STORAGES[char]
    label_of_row = label_of_rows(loss, reals, storage, access(storage, "single", 1).place_of_row)
    _, _, wide_total = reals.folds(False)
    _, store_wide, size = wide_at(reals)
    constant, add, where, first_of = (
        reals.words.constant,
        reals.words.add,
        reals.words.where,
        reals.words.leading_part,
    )
    ROOM, WIDE = room_for(False), reals.wide or np.float64

    def kernel(places, lengths, strides, options, rows, classes):
        room = cuda.shared.array(ROOM, WIDE)
        chunk = EACH * cuda.blockDim.x
        for begin in range(cuda.blockIdx.x * chunk, rows, cuda.gridDim.x * chunk):
            found = constant(0.0, 0.0)
            for i in range(EACH):
                row = begin + i * cuda.blockDim.x + cuda.threadIdx.x
                if row < rows:
                    _, own, _ = label_of_row(places, lengths, strides, options, row, classes)
                    found = add(found, where(first_of(own) >= 0, own, constant(0.0, 0.0)))
            found = wide_total(found, cuda.blockDim.x, room)
            if cuda.threadIdx.x == 0:
                store_wide(places[STATES] + begin // chunk * size, found)

    return kernel


@functools.cache
def total(char):
    """The kernel that sums wide numbers, chunk by chunk.

    ``kernel(places, n, what, divisor)``: the places of the results, of the numbers and of a divisor; `what`
    says whether sums are stored as they are, or the one there is comes out in the dtype, divided by a number
    in two parts or by the one in memory.
    """
    number = types.float32 if REALS[char].wide is np.float32 else types.float64
    arguments = (
        *(types.UniTuple(types.int64, 3), types.int64, types.int64),
        types.UniTuple(number, 2),
    )
    return Kernel(f"cross_entropy.{char}.total", functools.partial(_total, char), arguments, THREADS)


def _total(char):
    reals = REALS[char]
    _, _, wide_total = reals.folds(False)
    load_wide, store_wide, size = wide_at(reals)
    _, store = number_at(STORAGES[char])
    w = reals.words
    constant, add, div, narrow = w.constant, w.add, w.div, w.narrow
    ROOM, WIDE = room_for(False), reals.wide or np.float64

    def kernel(places, n, what, divisor):
        room = cuda.shared.array(ROOM, WIDE)
        chunk = EACH * cuda.blockDim.x
        for begin in range(cuda.blockIdx.x * chunk, max(n, 1), cuda.gridDim.x * chunk):
            found = constant(0.0, 0.0)
            for i in range(EACH):
                at = begin + i * cuda.blockDim.x + cuda.threadIdx.x
                if at < n:
                    found = add(found, load_wide(places[FROM] + at * size))
            found = wide_total(found, cuda.blockDim.x, room)
            if cuda.threadIdx.x == 0 and what == STORES:
                store_wide(places[TO] + begin // chunk * size, found)
            elif cuda.threadIdx.x == 0:
                by = constant(divisor[0], divisor[1])
                if what == DIVIDES_BY_STORED:
                    by = load_wide(places[2])
                store(places[TO], narrow(div(found, by)))

    return kernel
