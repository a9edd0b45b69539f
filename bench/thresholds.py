"""Re-derive the constants that the dispatcher decides by, and say how far each is off on this machine.

    python bench/thresholds.py [--seconds S] [streaming] [arithmetic] [threads] [costs] [accuracy]

streaming   `control.STREAMING_BYTES`: from which size of the result do stores past the cache pay?
arithmetic  `control.STREAMING_COSTS`: up to which cost of an element do they pay at all?
threads     `control.WORK_PER_THREAD`: what does waking a thread cost, and from which work does it pay?
costs       `Row.cost` in the table: nanoseconds for 16 float32 elements in cache, on one thread.
accuracy    `TABLES_WIN` in tools/write_kernels.py: which formulas of accuracy "fast" are no faster?

Each answer comes from forcing both ways on the same arrays, in turns.  The machine should be idle.
"""

import argparse
import sys
import time
import timeit

import numpy as np

import fastrelu as fr
from fastrelu import config, control, machine, peers
from fastrelu.backends import cython
from fastrelu.peers.timing import interleaved
from fastrelu.table import ROWS

OWN = control.get_num_threads(), control.WORK_PER_THREAD, control.STREAMING_BYTES, control.STREAMING_COSTS
NEVER, ALWAYS = sys.maxsize, 0
TOLERATED = 2  # a constant within this factor of what was measured is left alone
IN_CACHE = 2048  # elements: three float32 arrays of them fit a first-level cache of 32 KiB
WINS = 1.02  # a smaller gain is noise
RESTS, REST = 15, 4e-3  # calls after so many seconds in which workers fall asleep
MOST_WORK = 1 << 23  # element * cost: a thread more pays long before


class Forced:
    """A call under settings of the dispatcher of its own, as something that `interleaved` can time."""

    def __init__(self, statement, names, threads, streaming_bytes):
        self.settings = threads, 1 if threads > 1 else NEVER, streaming_bytes
        self.timer = timeit.Timer(statement, globals={"fr": fr, **names})

    def timeit(self, calls):
        _decide_by(*self.settings)
        return self.timer.timeit(calls)


def _decide_by(threads, work_per_thread, streaming_bytes, streaming_costs=None):
    control._threads = threads
    control.WORK_PER_THREAD, control.STREAMING_BYTES = work_per_thread, streaming_bytes
    control.STREAMING_COSTS = streaming_costs
    control._configure_kernels()


def race(statement, names, first, second, seconds):
    """How many times faster the second settings (threads, streaming bytes) are, and both times."""
    jobs = {"first": Forced(statement, names, *first), "second": Forced(statement, names, *second)}
    timings = interleaved(jobs, seconds)
    times = timings["first"].best, timings["second"].best
    return times[0] / times[1], times


def arrays(size, dtype=np.float32):
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(size, dtype=dtype) for _ in range(2))
    return {"x": x, "dy": dy, "out": np.full_like(x, 0)}


def crossing(ratios):
    """The smallest key from which on every ratio says that the second way wins, or None."""
    found = None
    for key in sorted(ratios, reverse=True):
        if ratios[key] < WINS:
            break
        found = key
    return found


def verdict(name, constant, measured):
    """Say whether a constant lies where the measured ones do, give or take a factor."""
    never = f", but {measured.count(None)} of {len(measured)} never paid for sure" if None in measured else ""
    measured = [value for value in measured if value is not None]
    if not measured:
        print(f"  {name} = {constant:,}: it never paid at the sizes tried")
        return
    low, high = min(measured), max(measured)
    off = max(low / constant, constant / high, 1)
    judgement = "fits" if off <= TOLERATED else f"OFF by a factor of {off:.1f}"
    print(f"  {name} = {constant:,}, measured {low:,.0f} to {high:,.0f}: {judgement}{never}")


def streaming(seconds):
    cache = machine.last_level_cache()
    found = []
    for threads in sorted({1, OWN[0]}):
        for statement in ("fr.relu(x, out=out)", "fr.relu.backward(dy, x, out=out)"):
            ratios = {}
            for bytes_ in (cache // 8, cache // 4, cache // 2, cache, 2 * cache, 4 * cache):
                ways = (threads, NEVER), (threads, ALWAYS)
                ratios[bytes_], _ = race(statement, arrays(bytes_ // 4), *ways, seconds)
            shown = "  ".join(f"{bytes_ >> 20}M {ratio:.2f}" for bytes_, ratio in ratios.items())
            print(f"  {statement}, {threads} thread(s): time of ordinary over streaming stores: {shown}")
            found.append(crossing(ratios))
    verdict("STREAMING_BYTES", OWN[2], found)


def arithmetic(seconds):
    """Do stores past the cache pay for what computes longer, too?  A cost is what costs() measures, here."""
    names = ("relu", "hard_swish", "softsign", "elu", "tanh", "gelu", "squareplus", "mish")
    for threads in sorted({1, OWN[0]}):
        for dtype, limit in zip((np.float32, np.float64), OWN[3], strict=True):
            ways, size = ((threads, NEVER), (threads, ALWAYS)), machine.last_level_cache() // 2
            names_of, pays, loses = arrays(size * 4 // np.dtype(dtype).itemsize, dtype), [], []
            for name in names:
                cost = cost_of(f"fr.{name}(x, out=out)", dtype, seconds) / threads
                ratio, _ = race(f"fr.{name}(x, out=out)", names_of, *ways, 10 * seconds)
                (pays if ratio > 1 else loses).append(cost)
                print(
                    f"  {name}, {np.dtype(dtype).name}, {threads} thread(s): cost {cost:.1f} for each, "
                    f"time of ordinary over streaming {ratio:.2f}"
                )
            found = f"pays up to {max(pays, default=0):.1f}, never from {max(loses, default=np.inf):.1f} on"
            least = f"not at {min(loses):.1f}" if loses else "always"
            print(f"  STREAMING_COSTS: {limit} for {np.dtype(dtype).name}; here it {found}, {least}")


def race_after_rest(statement, names, first, second):
    """As `race`, but every call finds the workers asleep."""
    jobs, times = [Forced(statement, names, *settings) for settings in (first, second)], ([], [])
    for _ in range(RESTS):
        for job, taken in zip(jobs, times, strict=True):
            time.sleep(REST)
            taken.append(job.timeit(1))
    one, other = map(np.median, times)
    return one / other, (one, other)


def threads(seconds):
    count = OWN[0]
    if count == 1:
        print("  one thread only: nothing to measure")
        return
    races = {
        "awake": lambda *arguments: race(*arguments, seconds),
        "asleep": race_after_rest,
    }
    found = []
    for state, compare in races.items():
        tiny = arrays(16)
        _, (alone, woken) = compare("fr.relu(x, out=out)", tiny, (1, NEVER), (count, NEVER))
        print(f"  workers {state}: calling {count - 1} of them costs {(woken - alone) * 1e6:.1f} µs")
        for name in ("relu", "sigmoid", "gelu"):
            cost = next(row.cost for row in ROWS if row.qualname == name)
            ratios = {}
            for size in (1 << k for k in range(10, 22)):
                if size * cost > MOST_WORK:
                    break
                ways = (1, NEVER), (count, NEVER)
                ratios[size], _ = compare(f"fr.{name}(x, out=out)", arrays(size), *ways)
            shown = "  ".join(f"{size >> 10}K {ratio:.2f}" for size, ratio in ratios.items())
            print(f"    {name}, time of 1 thread over {count}: {shown}")
            # the first further thread comes at twice the constant: then each of the two has that much to do
            pays = crossing(ratios)
            found.append(pays and pays * cost / 2)
    verdict("WORK_PER_THREAD", OWN[1], found)


def cost_of(statement, dtype, seconds):
    """Nanoseconds for 16 elements in cache, on one thread, without what a call costs."""
    whole = arrays(IN_CACHE, dtype)
    whole["y"] = np.abs(whole["x"])
    both = whole, {name: array[:16] for name, array in whole.items()}
    jobs = {len(names["x"]): Forced(statement, names, 1, NEVER) for names in both}
    times = {n: timing.best for n, timing in interleaved(jobs, seconds).items()}
    return (times[IN_CACHE] - times[16]) / (IN_CACHE - 16) * 16e9


def costs(seconds):
    print(f"  {'':12}{'table':>6}" + "".join(f"{pass_:>17}" for pass_ in peers.PASSES) + f"{'float64':>9}")
    for row in ROWS:
        passes = {o.pass_: o.statement for o in peers.operations([row.name])}
        measured = {
            (pass_, dtype): cost_of(statement, dtype, seconds)
            for dtype in (np.float32, np.float64)
            for pass_, statement in passes.items()
        }
        typical = np.median([measured[pass_, np.float32] for pass_ in passes])
        wide = np.median([measured[pass_, np.float64] for pass_ in passes]) / typical
        cells = "".join(f"{measured.get((pass_, np.float32), np.nan):17.2f}" for pass_ in peers.PASSES)
        factor = max(row.cost / typical, typical / row.cost)
        off = f"   OFF by a factor of {factor:.1f}" if factor > TOLERATED else ""
        print(f"  {row.qualname:12}{row.cost:6}{cells}{wide:8.1f}x{off}")


def accuracy(seconds):
    """Both settings on arrays in a second-level cache, one thread."""
    _decide_by(1, NEVER, NEVER)
    for row in ROWS:
        for operation in peers.operations([row.qualname]):
            kernel = row.kernels()[operation.pass_]
            times = {}
            for dtype in (np.float32, np.float64):
                if not cython.ufuncs.has_faster_formula(cython.KERNEL_INDEX[kernel.name], dtype):
                    continue
                names = arrays(8192, dtype)
                names["y"] = fr.softplus(names["x"])
                for level in control.ACCURACIES:
                    fr.set_accuracy(level)
                    timing = interleaved({level: Forced(operation.statement, names, 1, NEVER)}, seconds)
                    times[dtype, level] = timing[level].best / 8192 * 16e9
            for dtype in (np.float32, np.float64):
                if (dtype, "high") in times:
                    high, fast = (times[dtype, level] for level in control.ACCURACIES)
                    slower = "   NO FASTER" if high < WINS * fast else ""
                    print(f"  {kernel.formula:28}{np.dtype(dtype).name:8}{high:8.2f}{fast:8.2f}{slower}")


SECTIONS = {"streaming": streaming, "arithmetic": arithmetic, "threads": threads, "costs": costs}
SECTIONS["accuracy"] = accuracy


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--seconds", type=float, default=0.2, help="for each comparison (default: 0.2)")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"unknown section {', '.join(unknown)}; expected {', '.join(SECTIONS)}")
    if not cython.ISA:
        parser.exit(1, f"there is nothing to measure: {cython.BACKEND.detail}\n")
    here = config.configuration()
    print(f"{here['machine']['cpu']}, {cython.ISA}, {OWN[0]} thread(s)")
    try:
        for name in options.sections or SECTIONS:
            print(f"{name}:")
            SECTIONS[name](options.seconds)
    finally:
        _decide_by(*OWN)
        fr.set_accuracy("high")


if __name__ == "__main__":
    main()
