"""What a step begins with, and what it leaves on the device for the next one and for the host.

State of 32-bit words; what the other kernels read and add to:

    state_i  0 step, 1 rays, 2 packed samples, 3 rays cut, 4 selected samples, 5 non-finite count, 6 skipped steps in
             all, 7 samples asked for; left by `end_step` for the host: 8 step, 9 rays, 10 samples asked for, 11 rays
             cut, 12 selected samples, 13 non-finite count, 14 skipped steps in a row
    state_f  written by the host for each step: 0 learning rate, 1 sum of squared errors (0), 2 spacing of samples,
             3 its growth, 4 weight of the depth loss, 5 sum of the depth loss (0); left for the host: 8 mean squared
             error, 9 mean depth loss
"""

from torch import Tensor

from .language import tl, triton
from .launch import launched


@launched
@triton.jit
def begin_step(state_i):
    """Counters at zero."""
    tl.store(state_i + 2, 0)
    tl.store(state_i + 3, 0)
    tl.store(state_i + 4, 0)
    tl.store(state_i + 5, 0)
    tl.store(state_i + 7, 0)


@launched
@triton.jit
def end_step(state_i, state_f, samples_per_step, min_rays, max_rays):
    """Leave a report for the host, choose the next step's rays (`FastBackend.adapt_rays`), and count the step."""
    step = tl.load(state_i)
    rays = tl.load(state_i + 1)
    asked = tl.load(state_i + 7)
    bad = tl.load(state_i + 5)
    skipped = (bad != 0).to(tl.int32)
    tl.store(state_i + 8, step)
    tl.store(state_i + 9, rays)
    tl.store(state_i + 10, asked)
    tl.store(state_i + 11, tl.load(state_i + 3))
    tl.store(state_i + 12, tl.load(state_i + 4))
    tl.store(state_i + 13, bad)
    tl.store(state_i + 6, tl.load(state_i + 6) + skipped)
    tl.store(state_i + 14, (tl.load(state_i + 14) + 1) * skipped)
    now = rays.to(tl.float32)
    tl.store(state_f + 8, tl.load(state_f + 1) / (3.0 * now))
    tl.store(state_f + 9, tl.load(state_f + 5) / now)
    wanted = now * samples_per_step / tl.maximum(asked, 1).to(tl.float32)
    wanted = tl.minimum(tl.maximum(wanted, 0.7 * now), 1.4 * now)
    wanted = tl.minimum(tl.maximum(wanted, min_rays), max_rays)
    tl.store(state_i + 1, wanted.to(tl.int32))
    tl.store(state_i, step + 1)


def launch_begin_step(state_i: Tensor) -> None:
    """Begin the step that ``state_i[0]`` counts, with ``state_i[1]`` rays."""
    begin_step[(1,)](state_i, num_warps=1)


def launch_end_step(state_i: Tensor, state_f: Tensor, samples_per_step: int, max_rays: int, min_rays: int = 32) -> None:
    """End a step: report, count, and choose `min_rays` to `max_rays` that will ask for `samples_per_step` samples."""
    end_step[(1,)](state_i, state_f, float(samples_per_step), float(min_rays), float(max_rays), num_warps=1)
