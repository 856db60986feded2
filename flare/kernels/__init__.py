"""Fused kernels behind the plain modules of FLARE; each equals a plain torch expression to rounding."""
