"""A run measured on a split of its data set: every view rendered whole and compared with the truth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.errors import Cancelled, DataError, NerfError
from ..contract.samplers import SamplerChoice
from ..data.color import over, premultiply
from ..data.dataset import load_dataset
from ..data.placement import Placement
from ..data.truth import Truth
from ..data.views import View, Views
from ..methods.base import Method
from ..methods.cost import RenderCost, added
from ..rendering.frame import Frame, render_frame
from ..rendering.heat import Heat, render_heat
from ..rendering.layers import Layer
from ..rendering.view import View as Look
from ..training.load import load_run
from .metrics import psnr, ssim

if TYPE_CHECKING:
    from .xray import XrayEvaluation

PICTURES_SHARE = 0.3  # of an attenuation field's evaluation, which goes on with volumes and solvers


@dataclass(frozen=True)
class ViewResult:
    """One view's numbers.

    `ssim` is None for pictures under 11 pixels, `seconds` is the time to render. `depth_error` and `depth_error_95` are
    the median and the 95th percentile of how far the rendered depth is from the known one, world units, over the pixels
    where one is known; None without any. `cost`: evaluations made, where the sampler counts them.
    """

    name: str
    psnr: float
    ssim: float | None
    seconds: float
    depth_error: float | None = None
    depth_error_95: float | None = None
    cost: RenderCost | None = None


@dataclass(frozen=True)
class Evaluation:
    """All views' numbers, and their means (the mean of PSNRs, not the PSNR of a mean error: the field's way).

    `xray` is there for an attenuation field: its volume and line integrals, beside FDK and SART.
    """

    split: str
    views: Sequence[ViewResult]
    xray: "XrayEvaluation | None" = None

    @property
    def psnr(self) -> float:
        """Mean PSNR in dB."""
        return float(np.mean([view.psnr for view in self.views]))

    @property
    def ssim(self) -> float | None:
        """Mean SSIM, over the views that have one."""
        return self._mean("ssim")

    @property
    def depth_error(self) -> float | None:
        """Mean of the views' median errors of depth, world units."""
        return self._mean("depth_error")

    @property
    def depth_error_95(self) -> float | None:
        """Mean of the views' 95th percentiles."""
        return self._mean("depth_error_95")

    def _mean(self, name: str) -> float | None:
        known = [value for view in self.views if (value := getattr(view, name)) is not None]
        return float(np.mean(known)) if known else None

    @property
    def cost(self) -> RenderCost | None:
        """Of all views together."""
        cost: RenderCost | None = None
        for view in self.views:
            cost = added(cost, view.cost)
        return cost

    @property
    def seconds(self) -> float:
        """Mean seconds to render a view."""
        return float(np.mean([view.seconds for view in self.views]))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON, the means last."""
        return {
            "split": self.split,
            "views": [{**vars(view), "cost": view.cost and view.cost.to_dict()} for view in self.views],
            "seconds": self.seconds,
            "cost": self.cost and self.cost.to_dict(),
            "depth_error": self.depth_error,
            "depth_error_95": self.depth_error_95,
            "psnr": self.psnr,
            "ssim": self.ssim,
            **({} if self.xray is None else {"xray": self.xray.to_dict()}),
        }


OnView = Callable[[View, np.ndarray, np.ndarray, ViewResult], None]
OnHeat = Callable[[View, Heat], None]


def truth_image(view: View, background: Sequence[float]) -> np.ndarray:
    """A view's image over a background: (H, W, 3) float32, display-referred, 0 to 1."""
    straight = view.rgba.astype(np.float32) / 255.0
    return over(premultiply(straight), np.asarray(background, dtype=np.float32))


def depth_errors(view: View, depth: np.ndarray) -> tuple[float | None, float | None]:
    """Median and 95th percentile of |rendered - known depth| where one is known; a ray that hits nothing counts as 0.

    Parameters
    ----------
    view : View
    depth : (H, W) array
        Rendered: distances along the unit rays, world units.
    """
    known = view.depth > 0 if view.depth is not None else np.zeros(0, bool)
    if view.depth is None or not known.any():
        return None, None
    median, most = np.quantile(np.abs(depth[known] - view.depth[known]), (0.5, 0.95))
    return float(median), float(most)


def evaluate_views(
    method: Method,
    views: Views,
    background: Sequence[float],
    split: str = "val",
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_view: OnView | None = None,
    sampler: SamplerChoice | None = None,
    heat: Sequence[str] = (),
    on_heat: OnHeat | None = None,
) -> Evaluation:
    """Render every view whole and compare it with the truth over one background.

    Parameters
    ----------
    method : Method
    views : Views
    background : (3,) floats
        In the images' encoded colour.
    split : str
        The name in the result.
    progress : callable, optional
        Called with the fraction that is done.
    should_stop : callable, optional
        Asked between chunks of rays.
    on_view : callable, optional
        Called with (view, truth, image, result) after each view: both (H, W, 3), over the background, 0 to 1.
    sampler : SamplerChoice, optional
        By default the one that the method was trained with.
    heat : sequence of str
        Heat maps to make as well, against these views.
    on_heat : callable, optional
        Called with (view, heat maps) after `on_view`.

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """
    results = []
    for index, view in enumerate(views.views):

        def partly(done: float, before: int = index) -> None:
            if progress is not None:
                progress((before + done) / len(views))

        frame, maps = _rendered(method, view, split, sampler, heat, background, should_stop, partly)
        truth = truth_image(view, background)
        image = over(frame.rgba, np.asarray(background, dtype=np.float32))
        off = depth_errors(view, frame.depth)
        result = ViewResult(view.name, psnr(image, truth), ssim(image, truth), frame.seconds, *off, frame.cost)
        results.append(result)
        if on_view is not None:
            on_view(view, truth, np.clip(image, 0.0, 1.0), result)
        if on_heat is not None:
            on_heat(view, maps)
        if should_stop is not None and should_stop():
            raise Cancelled
    return Evaluation(split, results)


def _rendered(
    method: Method,
    view: View,
    split: str,
    sampler: SamplerChoice | None,
    heat: Sequence[str],
    background: Sequence[float],
    should_stop: Callable[[], bool] | None,
    on_progress: Callable[[float], None],
) -> tuple[Frame, Heat]:
    """A view as a method sees it; the oracle alone is told the view's depth."""
    if (sampler or method.trained_sampler).name == "oracle":
        if heat:
            raise NerfError("Heat maps are made of samplers that can be used, not of the oracle; name another sampler.")
        known = view.depth
        frame = render_frame(method, view.camera, None, should_stop, on_progress, sampler=sampler, true_depth=known)
        return frame, Heat()
    looked = Look(view.camera, sampler=sampler)
    truth = Truth(view.name, split, view.rgba, view.depth)
    return render_heat([Layer(method)], looked, heat, background, truth, should_stop, on_progress)


def spread(views: Views, count: int | None) -> Views:
    """At most `count` views, evenly spread over all; all of them for None.

    Raises
    ------
    NerfError
        When `count` is less than 1.
    """
    if count is None:
        return views
    if count < 1:
        raise NerfError(f"The number of views to evaluate must be at least 1, not {count}.")
    count = min(count, len(views))
    chosen = [views.views[index * len(views) // count] for index in range(count)]
    return Views(chosen, views.color_space, views.has_alpha)


def evaluate_run(
    run_dir: str | Path,
    data: str | Path | None = None,
    split: str = "val",
    device: str = "auto",
    downscale: int | None = None,
    count: int | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_view: OnView | None = None,
    sampler: SamplerChoice | None = None,
    heat: Sequence[str] = (),
    on_heat: OnHeat | None = None,
    solvers: Sequence[str] | None = None,
) -> Evaluation:
    """Evaluate a run's checkpoint on a split.

    Parameters
    ----------
    run_dir : path
        The run folder.
    data : path, optional
        The data set; by default the one that the run was trained on.
    split : {'train', 'val', 'test'}
    device : {'auto', 'cpu', 'cuda', 'mps'}
    downscale : int, optional
        Of the images; by default the one that the run was trained with.
    count : int, optional
        Evaluate at most so many views, evenly spread; by default all.
    progress, should_stop, on_view, sampler, heat, on_heat
        See :func:`evaluate_views`.
    solvers : sequence of str, optional
        What an attenuation field is measured beside; see `evaluation.xray.evaluate_xray`.

    Raises
    ------
    NerfError
        When the run, its checkpoint, the data set or the split is not there or not usable.
    """
    run = load_run(run_dir, device)
    path = run.data if data is None else Path(data)
    if path is None or not path.exists():
        told = "does not say which data set it was trained on" if path is None else f"was trained on '{path}', now gone"
        raise DataError(f"The run '{run_dir}' {told}; name the data set (--data).")
    factor = int(run.settings.get("downscale", 1)) if downscale is None else downscale
    placement = Placement.from_dict(run.settings.get("placement"))
    load = partial(load_dataset, path, factor, splits=(split,), should_stop=should_stop, placement=placement)
    try:
        dataset = load(depth=(split,))
    except DataError:
        if run.method.takes_depth(run.settings.get("settings"), run.device):
            raise
        dataset = load()  # a run that was trained without depth is measured without, where it is not usable
    views = spread(dataset.splits[split], count)
    is_field = dataset.xray is not None and hasattr(run.method, "line_integrals")
    if solvers and not is_field:
        raise NerfError(f"'{run_dir}' is no attenuation field of radiographs, so that no solver stands beside it.")

    def pictures(done: float) -> None:
        if progress is not None:
            progress(done * (PICTURES_SHARE if is_field else 1.0))

    def volumes(done: float) -> None:
        if progress is not None:
            progress(PICTURES_SHARE + done * (1.0 - PICTURES_SHARE))

    found = evaluate_views(
        run.method, views, run.background, split, pictures, should_stop, on_view, sampler, heat, on_heat
    )
    if not is_field:
        return found
    from .xray import evaluate_xray

    asked = evaluate_xray(run, path, views.views, split, factor, solvers, progress=volumes, should_stop=should_stop)
    return replace(found, xray=asked)
