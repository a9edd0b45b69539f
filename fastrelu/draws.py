"""Random draws in plain NumPy: what the kernels of ``kernels/loops/philox.h`` compute, by its definition.

Draw i of a key is a function of the two alone, so that a backward pass, another thread or another device
makes it again::

    group, place = divmod(i, 64)
    counter      = 16 * group + place % 16
    w            = philox((counter mod 2**32, counter // 2**32, 0, 0), key)[place // 16]
    v            = philox((counter mod 2**32, counter // 2**32, 1, 0), key)[place // 16]

A uniform draw is u - 1/2, which is exact, never 0, and as likely negative as positive::

    float32      u = (w // 2**8 + 1/2) / 2**24
    float64      u = (w * 2**21 + v // 2**11 + 1/2) / 2**53

Two uniform draws of a group, u and t at places p and p + 32, make its normal ones::

    sqrt(-2 log u) cos(2 pi (t - 1/2))    at p
    sqrt(-2 log u) sin(2 pi (t - 1/2))    at p + 32

References
----------
Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011;
Box & Muller, A note on the generation of random normal deviates, Annals of Mathematical Statistics 29, 1958.
"""

from __future__ import annotations

import numpy as np

__all__ = ["DISTRIBUTIONS", "draws", "philox"]

GROUP, COUNTERS, ROUNDS = 64, 16, 10
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
WORD, HIGH = np.uint64(0xFFFFFFFF), np.uint64(32)
DISTRIBUTIONS = ("uniform", "normal")


def philox(counter, key):
    """Philox4x32-10: four words of 32 bits, in uint64, of a counter of four and a key of 64 bits."""
    c0, c1, c2, c3 = (np.asarray(c, np.uint64) for c in counter)
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(ROUNDS):
        a, b = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = b >> HIGH ^ c1 ^ np.uint64(k0), b & WORD
        c2, c3 = a >> HIGH ^ c3 ^ np.uint64(k1), a & WORD
        k0, k1 = (k0 + KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + KEY_STEPS[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def _words(key, group, groups, digits):
    """The words of groups from `group` on, a row each, in the order of their draws."""
    counter = np.uint64(group * COUNTERS) + np.arange(groups * COUNTERS, dtype=np.uint64)
    counter = counter.reshape(groups, COUNTERS)
    words = philox((counter & WORD, counter >> HIGH, np.uint64(digits), np.uint64(0)), key)
    return np.stack(words, axis=1).reshape(groups, GROUP)


def _uniform(key, group, groups, dtype):
    words = _words(key, group, groups, 0)
    if dtype == np.float32:
        odd = (words >> np.uint64(7) | np.uint64(1)).astype(np.int64) - 2**24
        return np.ldexp(odd.astype(np.float64), -25)
    further = _words(key, group, groups, 1)
    odd = (words << np.uint64(22) | further >> np.uint64(10) | np.uint64(1)).astype(np.int64) - 2**53
    return np.ldexp(odd.astype(np.float64), -54)


def draws(distribution, key, first, count, dtype):
    """Draws of a key from number `first` on.

    Parameters
    ----------
    distribution : {"uniform", "normal"}
    key : int
        64 bits.
    first, count : int
    dtype : dtype
        float32 or float64.

    Returns
    -------
    ndarray
        One-dimensional.
    """
    from . import reference  # loads this module's users, too

    group, skipped = divmod(first, GROUP)
    made = _uniform(key, group, -(-(skipped + count) // GROUP), dtype)
    if distribution == "normal":
        radius, angle = made[:, : GROUP // 2], made[:, GROUP // 2 :]
        pair = reference.normal_cosine(radius, angle), reference.normal_sine(radius, angle)
        made = np.concatenate(pair, axis=1)
    return made.ravel()[skipped : skipped + count].astype(dtype)
