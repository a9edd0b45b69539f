"""Keys of random draws: small immutable objects that stand for all draws of a call."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .draws import philox

__all__ = ["NoiseKey", "noise_key"]

FOLD = 2  # the counter's third word, which is 0 or 1 where draws are made


@dataclass(frozen=True)
class NoiseKey:
    """What random draws are made from; `noise_key` makes one.

    Immutable and hashable; it pickles. The same key gives the same draws on every machine.

    Attributes
    ----------
    bits : int
        64 bits, the key of the generator Philox4x32-10.
    """

    bits: int

    def __post_init__(self):
        if isinstance(self.bits, bool) or not isinstance(self.bits, int):
            raise TypeError(f"NoiseKey: argument 'bits' is a {type(self.bits).__name__}; expected an integer")
        if not 0 <= self.bits < 2**64:
            raise ValueError(f"NoiseKey: argument 'bits' is {self.bits}; expected 0 <= bits < 2**64")

    def __repr__(self):
        return f"NoiseKey(0x{self.bits:016x})"

    def fold(self, number):
        """Another key, independent of this one, for each number: of a layer, of a step.

        Parameters
        ----------
        number : int
            0 <= number < 2**64.

        Returns
        -------
        NoiseKey

        Raises
        ------
        TypeError
            If `number` is not an integer.
        ValueError
            If it is out of range.

        Examples
        --------
        >>> import fastrelu as fr
        >>> fr.noise_key(0).fold(1)
        NoiseKey(0x079c360380779d1e)
        """
        number = _integer("NoiseKey.fold", "number", number)
        if not 0 <= number < 2**64:
            raise ValueError(f"NoiseKey.fold: argument 'number' is {number}; expected 0 <= number < 2**64")
        low, high, *_ = philox((number & 0xFFFFFFFF, number >> 32, FOLD, 0), self.bits)
        return NoiseKey(int(low) | int(high) << 32)


def _integer(function, argument, value, or_else=""):
    if isinstance(value, (bool, np.bool)) or not hasattr(value, "__index__"):
        came = type(value).__name__
        raise TypeError(f"{function}: argument {argument!r} is a {came}; expected {or_else}an integer")
    return value.__index__()


def noise_key(rng):
    """A key for random draws, as `rrelu` and `noisy_relu` take it.

    Parameters
    ----------
    rng : numpy.random.Generator or int
        A generator gives 64 bits and moves on, so each call makes a new key; a non-negative integer always
        makes the same one, by way of `numpy.random.SeedSequence`.

    Returns
    -------
    NoiseKey

    Raises
    ------
    TypeError
        If `rng` is neither.
    ValueError
        If it is negative.

    Examples
    --------
    >>> import fastrelu as fr
    >>> fr.noise_key(0)
    NoiseKey(0xdb2cd7e7b0f478be)
    >>> fr.noise_key(np.random.default_rng(0)) == fr.noise_key(np.random.default_rng(0))
    True
    """
    if isinstance(rng, np.random.Generator):
        return NoiseKey(int(rng.integers(2**64, dtype=np.uint64)))
    seed = _integer("noise_key", "rng", rng, or_else="a numpy.random.Generator or ")
    if seed < 0:
        raise ValueError(f"noise_key: argument 'rng' is {seed}; expected a non-negative integer")
    return NoiseKey(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
