"""What the bridges are tested with: arrays away from where f′ jumps, and whatever else a function needs."""

import numpy as np

import fastrelu as fr
from fastrelu import bridges

FUNCTIONS = bridges.functions()
LABELS = np.array([0, 3, 1])
CONSTANTS = {"labels": LABELS, "pieces": 2, "act": fr.gelu}


def arguments(name, dtype=np.float64, seed=0):
    """The arrays that have gradients, and other positional arguments."""
    rng, function = np.random.default_rng(seed), FUNCTIONS[name]
    x = (rng.uniform(0.1, 0.9, (3, 4)) * rng.choice((-1, 1), (3, 4))).astype(dtype)
    constants = [CONSTANTS[n] for n in function.positional if n not in function.arrays]
    if function.row is None:
        others = {"bias": x[0] / 3}
        return [
            x,
            *(others.get(n, x[::-1].copy()) for n in function.positional[1:] if n in function.arrays),
        ], constants
    if function.row.domain[0] == 0:
        x = abs(x)
    if name == "prelu":
        return [x, np.array([0.1, 0.2, 0.3, 0.4], dtype)], []
    return [x], [p.typical[0] for p in function.row.parameters if p.default is None]


def by_name(name, arrays, rest):
    """The same as one dictionary."""
    return FUNCTIONS[name].named((*arrays, *rest), {})
