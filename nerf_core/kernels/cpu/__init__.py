"""Fused numba kernels of the fast method for the CPU."""
