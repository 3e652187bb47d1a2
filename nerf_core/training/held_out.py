"""PSNR on held-out pixels while training: cheap enough to be asked for now and then."""

import math
import time

import numpy as np

from ..data.color import over
from ..data.views import Views
from ..methods.base import Method
from ..rendering.rays import PixelSource

MAX_VIEWS = 8
MAX_PIXELS = 8192
CHUNK = 512
SHARE = 0.03  # of the training time
FIRST, SHORTEST_PAUSE = 1.0, 2.0  # training seconds
MOST_SECONDS = 1.0  # a round of rendering, on slow methods


class HeldOut:
    """The PSNR of a fixed, evenly spread choice of pixels of a few held-out views.

    Single pixels at full resolution, instead of pictures at a lower one: no filter stands between them and the
    truth, and there can be as few as a slow method affords.

    Parameters
    ----------
    views : Views or None
        The split; without any, there is no PSNR.
    background : (3,) floats
        Both sides are composited over it.
    seed : int
    """

    def __init__(self, views: Views | None, background: tuple[float, float, float], seed: int = 0) -> None:
        self.background = np.asarray(background, dtype=np.float32)
        self.value: float | None = None
        self.pixels = 0
        self._next = FIRST
        self._limit = MAX_PIXELS
        if views is None or len(views) == 0:
            return
        picked = np.unique(np.linspace(0, len(views) - 1, min(MAX_VIEWS, len(views))).astype(int))
        few = Views([views.views[i] for i in picked], views.color_space, views.has_alpha)
        source = PixelSource(few)
        total = int(source.ends[-1])
        chosen = np.linspace(0, total - 1, min(MAX_PIXELS, total)).astype(np.int64)
        # In random order, so that the first so many are spread over all views as well.
        batch = source.at(np.random.default_rng(seed).permutation(chosen))
        alpha = batch.rgba[:, 3:]
        self._origins, self._directions = batch.origins, batch.directions
        self._truth = batch.rgba[:, :3] * alpha + self.background * (1.0 - alpha)
        self.pixels = len(chosen)

    def due(self, seconds: float) -> bool:
        """Whether so many training seconds into the run another round is affordable."""
        return self.pixels > 0 and seconds >= self._next

    def measure(self, method: Method, seconds: float) -> float | None:
        """Render the pixels, remember and return their PSNR in dB; None without held-out views.

        Where a method is slow, fewer pixels are rendered, and always as many as the first time, so that a run's
        numbers compare.
        """
        if not self.pixels:
            return None
        started = time.perf_counter()
        total, count = 0.0, 0
        while count < min(self.pixels, self._limit):
            rows = slice(count, min(count + CHUNK, self.pixels, self._limit))
            colors = method.render_rays(self._origins[rows], self._directions[rows])
            error = np.clip(over(colors.rgba, self.background), 0.0, 1.0) - self._truth[rows]
            total += float(np.square(error, dtype=np.float64).sum())
            count = rows.stop
            if time.perf_counter() - started > MOST_SECONDS and self._limit == MAX_PIXELS:
                self._limit = count
        cost = time.perf_counter() - started
        self._next = seconds + max(cost / SHARE, SHORTEST_PAUSE)
        self.value = psnr(total / (3 * count))
        return self.value


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of colours from 0 to 1; 100 at most."""
    return -10.0 * math.log10(max(mse, 1e-10))
