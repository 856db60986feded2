"""Kernels behind the plain modules of FLARE, each equal to a plain torch expression to rounding."""
