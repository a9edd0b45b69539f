"""Kernels for CUDA: the same formulas over a vocabulary of the GPU's own, compiled by Numba.

``primitives`` and ``plain`` are the vocabulary; the build adds copies of ``numba/scalar.py`` and
``numba/pair.py`` and writes ``formulas.py``.  ``storage`` reads and writes memory, ``elementwise`` and
``sums`` are the kernels, ``compiling`` makes machine code of them and ``launch`` runs it.
"""
