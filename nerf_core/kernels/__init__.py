"""The fast method's backends: `reference` (plain torch) and `cpu` (fused numba kernels), one parameter layout."""
