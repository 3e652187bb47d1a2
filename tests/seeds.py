"""Random tests draw new numbers each time, and say how to draw the same again."""

import os

import numpy as np


def fresh_seed() -> int:
    """A seed that differs from run to run, printed so that a failure can be repeated (`NERF_TEST_SEED=...`)."""
    seed = int(os.environ.get("NERF_TEST_SEED") or np.random.SeedSequence().entropy % 2**31)
    print(f"NERF_TEST_SEED={seed}")
    return seed
