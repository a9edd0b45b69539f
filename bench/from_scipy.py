"""What changing the import from scipy.special to fastrelu changes in time and in accuracy.

    python bench/from_scipy.py --write docs/from-scipy.md [--state FILE]

With a state file the same command goes on where it was interrupted.
Time: one call on arrays of standard normal numbers, both libraries in turns, the best of the turns.
Accuracy: the largest error in ULP over rows that are dominated by one entry, spread over the exponent range,
flat, or near a sum of 1; against references of 60 digits, the unit floored at that of 1/2 for logsumexp and
log_softmax.  The machine should be idle.
"""

import argparse
import sys
import tempfile
import timeit
from pathlib import Path

import mpmath as mp
import numpy as np
from scipy import special
from speed import load, put_between, save, table

import fastrelu as fr
from fastrelu.cli.bench import duration
from fastrelu.peers.timing import interleaved

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from ulp import error, exact

CALLS = (
    "logsumexp(x)",
    "logsumexp(x, axis=-1)",
    "logsumexp(x, axis=0)",
    "logsumexp(x, axis=-1, b=b)",
    "softmax(x, axis=-1)",
    "log_softmax(x, axis=-1)",
)
SHAPES = (10,), (1000, 10), (1000, 1000)
MARKS = "<!-- measured -->", "<!-- end of measured -->"


class Call:
    """One library's way to run a call, for `interleaved`."""

    def __init__(self, library, call, x, b):
        self.timeit = timeit.Timer(f"f.{call}", globals={"f": library, "x": x, "b": b}).timeit


def times(call, dtype, shape, seconds):
    """Seconds a call takes: fastrelu, SciPy."""
    rng = np.random.default_rng(0)
    x, b = rng.normal(size=shape).astype(dtype), rng.uniform(0.5, 2, shape).astype(dtype)
    found = interleaved({"fr": Call(fr, call, x, b), "scipy": Call(special, call, x, b)}, seconds)
    return found["fr"].best, found["scipy"].best


def hard_rows(dtype):
    """Rows on which digits are lost, and weights for them."""
    rng = np.random.default_rng(1)
    deep = {np.float32: 80, np.float64: 700}[dtype]
    n = 64
    rows = [
        np.where(np.arange(n) == 3, 0, -rng.uniform(15, deep, (8, n))),
        np.sort(rng.uniform(-deep, 0, (8, n))),
        rng.normal(size=(8, n)) - np.log(n),
        np.full((2, n), 0.3),
    ]
    x = np.concatenate(rows).astype(dtype)
    return x, rng.uniform(-1, 1, x.shape).astype(dtype)


def worst(library, call, dtype):
    """The largest error in ULP; with weights, over the condition number."""
    x, b = hard_rows(dtype)
    name = call.partition("(")[0]
    keywords = {"axis": -1} | ({"b": b, "return_sign": True} if "b=b" in call else {})
    got, errors = getattr(library, name)(x, **keywords), []
    with mp.workdps(60):
        for i, row in enumerate(x):
            entries = [exact(v) for v in row]
            m = max(entries)
            if "b=b" in call:
                terms = [exact(w) * mp.exp(v) for v, w in zip(entries, b[i], strict=True)]
                total = mp.fsum(terms)
                condition = mp.fsum(map(abs, terms)) / abs(total)
                errors.append(error(got[0][i], mp.log(abs(total)), floor=0.5) / float(condition))
                continue
            lead = entries.index(m)
            rest = mp.fsum(mp.exp(v - m) for j, v in enumerate(entries) if j != lead)
            if name == "logsumexp":
                errors.append(error(got[i], m + mp.log1p(rest), floor=0.5))
            elif name == "softmax":
                errors += [error(g, mp.exp(v - m) / (1 + rest)) for g, v in zip(got[i], entries, strict=True)]
            else:
                true = [v - m - mp.log1p(rest) for v in entries]
                errors += [error(g, t, floor=0.5) for g, t in zip(got[i], true, strict=True)]
    return max(errors)


def measure_all(path, seconds):
    """The state with every cell: fastrelu and SciPy, in seconds of each shape and in ULP."""
    state = load(path)
    for call in CALLS:
        for dtype in (np.float32, np.float64):
            for what in (*SHAPES, "ulp"):
                cell = f"{call} {np.dtype(dtype)} {what}"
                if cell in state["cells"]:
                    continue
                if what == "ulp":
                    state["cells"][cell] = [worst(library, call, dtype) for library in (fr, special)]
                else:
                    state["cells"][cell] = list(times(call, dtype, what, seconds))
                save(path, state)
    return state


def page(state):
    """Markdown: for each call the times for each shape, and both errors."""
    about = state["configuration"]
    versions = ", ".join(f"{n} {about['versions'][n]}" for n in ("numpy", "scipy", "python"))
    head = f"{about['machine']['cpu']}, {about['settings']['threads']} threads, {state['date']}, {versions}. "
    head += "Time of a call of fastrelu, and how many times longer SciPy takes; largest errors in ULP, over "
    head += "the condition number where there are weights.\n\n"
    rows = []
    for call in CALLS:
        for dtype in ("float32", "float64"):
            row = [f"`{call}`", dtype]
            for shape in SHAPES:
                ours, theirs = state["cells"][f"{call} {dtype} {shape}"]
                row += [duration(ours), f"{theirs / ours:.2g}×"]
            rows.append(row + [f"{ulp:.3g}" for ulp in state["cells"][f"{call} {dtype} ulp"]])
    shapes = [part for shape in SHAPES for part in ("×".join(map(str, shape)), "")]
    return head + table(["", "dtype", *shapes, "ULP", "SciPy's"], rows) + "\n"


def slower(state):
    """The calls in which SciPy is faster."""
    timed = {cell: both for cell, both in state["cells"].items() if not cell.endswith("ulp")}
    return [f"{cell}: {theirs / ours:.2f}" for cell, (ours, theirs) in timed.items() if theirs < ours]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.3, help="for each call and shape (default: 0.3)")
    parser.add_argument("--write", type=Path, help="a page with the marks between which the table stands")
    parser.add_argument("--state", type=Path, help="a JSON file with everything measured so far")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        state = measure_all(options.state or Path(folder, "state.json"), options.seconds)
    made = page(state)
    print(*slower(state), f"SciPy is faster in {len(slower(state))} cells", sep="\n", file=sys.stderr)
    if options.write is None:
        print(made)
        return
    put_between(MARKS, made, options.write)


if __name__ == "__main__":
    main()
