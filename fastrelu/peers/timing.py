"""Side-by-side timing: everybody takes turns, so that a slow spell of the machine hits all of them alike.

A turn is one call to warm up, unless a single one is long, and then as many calls as take about a fifth of a
millisecond; a long call is a turn as soon as calls are counted.  Whoever is far behind after his first turn
is not asked again.  The minimum over the turns is what the work costs when nothing disturbs it; the median
says how often that happened.  The garbage collector is off while the clock runs.
"""

from __future__ import annotations

import statistics
import threading
import time
import timeit
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Copy", "Timing", "interleaved"]

TURN = 200e-6  # seconds; the clock's own cost is a thousandth of it
SETTLE = 3e-3  # how long the workers of OpenMP, ONNX Runtime and XLA may spin after a call
MIN_ROUNDS, MAX_ROUNDS = 3, 500
LONG = 10e-3  # seconds: such a call needs no other to warm up
FAR_BEHIND = 4  # times the fastest contender


@dataclass
class Timing:
    """The seconds a call took, turn by turn."""

    turns: list[float] = field(default_factory=list, repr=False)
    calls: int = 0  # in one turn

    @property
    def best(self) -> float:
        return min(self.turns)

    @property
    def median(self) -> float:
        return statistics.median(self.turns)


def _calls_in_a_turn(timeit):
    calls = 1
    while (took := timeit(calls)) < TURN / 2:
        calls = max(2 * calls, min(10 * calls, int(calls * TURN / max(took, 1e-9))))
    return calls, took / calls


def interleaved(jobs: dict, seconds: float, contenders=()) -> dict:
    """Time `jobs` in turn for about `seconds` altogether.

    Parameters
    ----------
    jobs : dict
        By any key, objects with ``timeit(calls)`` that returns seconds and, if its threads go on spinning
        after a call, a true ``spins``.
    contenders : collection of keys
        Of these, who is far behind the fastest after one turn has it for his only one.

    Returns
    -------
    dict of Timing, by the same keys
    """
    keys = list(jobs)
    timings = {key: Timing() for key in keys}
    lengths = {}
    for key in keys:
        timings[key].calls, lengths[key] = _calls_in_a_turn(jobs[key].timeit)
        if lengths[key] >= LONG:
            timings[key].turns.append(lengths[key])
    out_of_race = _far_behind(timings, contenders)
    end = time.perf_counter() + seconds
    for round_ in range(MAX_ROUNDS):
        turns = min(len(timings[key].turns) for key in keys if key not in out_of_race)
        if turns >= MIN_ROUNDS and time.perf_counter() > end:
            break
        # another order each time, so that nobody always follows the same neighbour
        shift = round_ % len(keys)
        for key in keys[shift:] + keys[:shift]:
            if key in out_of_race:
                continue
            job, timing = jobs[key], timings[key]
            if lengths[key] < LONG:
                job.timeit(1)
            timing.turns.append(job.timeit(timing.calls) / timing.calls)
            if getattr(job, "spins", False):
                time.sleep(SETTLE)
        if round_ == 0:
            out_of_race = _far_behind(timings, contenders)
    return timings


def _far_behind(timings, contenders):
    """Who has had a turn and was far slower than the fastest of those who had one."""
    times = {key: timings[key].best for key in contenders if timings[key].turns}
    limit = FAR_BEHIND * min(times.values(), default=0.0)
    return {key for key, seconds in times.items() if seconds > limit}


class Copy:
    """Copying `source` in equal parts by several threads, as something to time: what the memory can do.

    In place there is nothing to copy; turning every sign reads and writes as much.  `copy` is np.copyto or
    something faster.  Each thread does its part again and again, so that starting and joining them is not
    part of it.  The copy goes to `target`, if it has the shape: one array more than the others use would be
    one less in the cache, for all who take turns.
    """

    def __init__(
        self,
        source: np.ndarray,
        threads: int,
        in_place: bool = False,
        copy=np.copyto,
        target: np.ndarray | None = None,
    ):
        if in_place:
            target = source.copy()
        elif target is None or target.shape != source.shape:
            target = np.full_like(source, 0)
        self.statement = "negative(target, out=target)" if in_place else "copy(target, source)"
        self.copy = copy
        self.parts = list(
            zip(np.array_split(target.ravel(), threads), np.array_split(source.ravel(), threads), strict=True)
        )

    def _timer(self, target, source):
        names = {"copy": self.copy, "negative": np.negative, "target": target, "source": source}
        return timeit.Timer(self.statement, globals=names)

    def timeit(self, calls: int) -> float:
        if len(self.parts) == 1:
            return self._timer(*self.parts[0]).timeit(calls)
        barrier = threading.Barrier(len(self.parts))
        spans = []

        def work(target, source):
            timer = self._timer(target, source)
            barrier.wait()
            start = time.perf_counter()
            timer.timeit(calls)
            spans.append((start, time.perf_counter()))

        workers = [threading.Thread(target=work, args=part) for part in self.parts]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return max(end for _, end in spans) - min(start for start, _ in spans)
