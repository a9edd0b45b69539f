"""Kernels: formulas, vector building blocks and loops, compiled once for each instruction set."""
