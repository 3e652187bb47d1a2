"""The independent solvers: FDK, SART, SIRT and conjugate gradients of `itk-rtk`, on our views and grids.

Feldkamp, Davis and Kress, "Practical cone-beam algorithm" (1984); Andersen and Kak, "Simultaneous algebraic
reconstruction technique" (1984). RTK: Rit et al., "The Reconstruction Toolkit" (2014), https://www.openrtk.org.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract.errors import Cancelled, DataError
from .grid import Grid
from .rtk_geometry import Radiograph, RtkFrame, VolumeLayout, find_frame, load_rtk, projection_image, rtk_geometry

__all__ = ["Grid", "SOLVERS", "cg", "fdk", "sart"]

SOLVERS = ("fdk", "sart", "sirt", "cg")
TRUNCATED = 0.02  # of the largest line integral: more than that at the detector's edge, and it saw only a part
PADDING = 0.5  # of the detector's width, by which truncated rows are continued (Ohnesorge et al. 2000)
MARGIN = 1
"""Voxels around the grid that SART and CG compute with: RTK's rays begin and end at the centres of the outer voxels."""
SHORT_SCAN = np.radians(20.0)  # RTK's own: a gap of less is none

Progress = Callable[[float], None]
Stop = Callable[[], bool]


@dataclass(frozen=True)
class _Problem:
    """Everything in RTK's terms."""

    itk: Any
    rtk: Any
    frame: RtkFrame
    layout: VolumeLayout
    geometry: Any
    projections: Any
    image: Any  # the type
    grid: Grid

    def finished(self, image: Any) -> np.ndarray:
        """A volume per world unit."""
        # RTK's attenuation is per its unit, of which there are `scale` in one of the world's.
        return self.layout.values(self.itk, image) * np.float32(self.frame.scale)

    def start(self, initial: np.ndarray | None) -> Any:
        """The volume to begin with, by default nothing."""
        values = np.zeros(self.grid.shape, np.float32) if initial is None else initial / np.float32(self.frame.scale)
        return self.layout.image(self.itk, values)


def _problem(views: Sequence[Radiograph], grid: Grid) -> _Problem:
    cameras = [view.camera for view in views]
    frame = find_frame(cameras, grid)
    itk, rtk = load_rtk()
    return _Problem(
        itk,
        rtk,
        frame,
        VolumeLayout.of(grid, frame),
        rtk_geometry(rtk, itk, cameras, frame),
        projection_image(itk, views),
        itk.Image[itk.F, 3],
        grid,
    )


def is_truncated(views: Sequence[Radiograph]) -> bool:
    """Whether the subject reaches over the detector's left or right edge in any view."""
    values = [view.line_integral for view in views if view.line_integral is not None]
    highest = max((float(each.max()) for each in values), default=0.0)
    edge = max((float(np.quantile(each[:, [0, -1]], 0.9, axis=0).max()) for each in values), default=0.0)
    return highest > 0 and edge > TRUNCATED * highest


def is_short_scan(views: Sequence[Radiograph]) -> bool:
    """Whether the views are an arc with one large gap, not spread over the whole turn (or too few to say)."""
    if len(views) < 3:
        return False
    backs = np.array([view.camera.c2w[:3, 2] for view in views])
    up = views[0].camera.c2w[:3, 1]
    x = backs[0] - up * (up @ backs[0])
    y = np.cross(up, x)
    angles = np.sort(np.arctan2(backs @ y, backs @ x))
    gaps = np.sort(np.diff(angles, append=angles[0] + 2.0 * np.pi))
    return bool(gaps[-1] > SHORT_SCAN and gaps[-1] > 3.0 * np.median(gaps))


def fdk(
    views: Sequence[Radiograph],
    grid: Grid,
    hann: float = 0.0,
    truncation: float | None = None,
    positive: bool = True,
    progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> np.ndarray:
    """Filtered back-projection of cone-beam views about one axis.

    Views may be any in number and spacing: each is weighted by the angle up to its neighbours. An arc with one large
    gap is weighted as a short scan (Parker). RTK's weights for a displaced detector are off.

    Parameters
    ----------
    views : sequence of Radiograph
        Perspective cameras with a common up, line integrals (H, W) of one size.
    grid : Grid
    hann : float
        The cut-off of a Hann window on the ramp filter, in fractions of the highest frequency; 0: no window.
    truncation : float, optional
        By how much of the detector's width rows that the subject runs out of are continued; by default a half where
        it does, else 0.
    positive : bool
        Whether attenuation below 0 is set to 0.
    progress : callable, optional
        Called with the fraction that is done.
    should_stop : callable, optional
        Asked between groups of views.

    Returns
    -------
    (X, Y, Z) float32 array
        Attenuation per world unit.

    Raises
    ------
    NerfError
        When `itk-rtk` is not installed.
    DataError
        When the views are not what is needed.
    Cancelled
    """
    problem = _problem(views, grid)
    projections, rtk = problem.projections, problem.rtk
    if is_short_scan(views):
        parker = rtk.ParkerShortScanImageFilter[problem.image].New()
        parker.SetInput(projections)
        parker.SetGeometry(problem.geometry)
        parker.Update()
        projections = parker.GetOutput()
    solver = rtk.FDKConeBeamReconstructionFilter[problem.image].New()
    solver.SetInput(0, problem.start(None))
    solver.SetInput(1, projections)
    solver.SetGeometry(problem.geometry)
    pad = (PADDING if is_truncated(views) else 0.0) if truncation is None else truncation
    solver.GetRampFilter().SetTruncationCorrection(float(pad))
    solver.GetRampFilter().SetHannCutFrequency(float(hann))
    solver.GetRampFilter().SetHannCutFrequencyY(float(hann))
    _update(problem.itk, solver, progress, should_stop)
    found = problem.finished(solver.GetOutput())
    return np.maximum(found, 0.0, out=found) if positive else found


def sart(
    views: Sequence[Radiograph],
    grid: Grid,
    iterations: int = 10,
    relaxation: float = 0.3,
    subset: int = 1,
    initial: np.ndarray | None = None,
    positive: bool = True,
    progress: Progress | None = None,
    should_stop: Stop | None = None,
    on_iteration: Callable[[int, np.ndarray], None] | None = None,
) -> np.ndarray:
    """Simultaneous algebraic reconstruction; with all views in a subset it is SIRT.

    Parameters
    ----------
    views, grid, progress
        As :func:`fdk` takes them.
    iterations : int
        Passes over all views.
    relaxation : float
        How far each correction is followed, above 0 and below 2.
    subset : int
        Views a correction.
    initial : (X, Y, Z) array, optional
        Attenuation per world unit to begin with; by default 0.
    positive : bool
        Whether attenuation is kept at 0 or above.
    should_stop : callable, optional
        Asked between iterations.
    on_iteration : callable, optional
        Called with the number of iterations done and the volume as it is.

    Returns
    -------
    (X, Y, Z) float32 array
        Attenuation per world unit.

    Raises
    ------
    NerfError, DataError, Cancelled
        See :func:`fdk`.
    """
    if iterations < 1 or subset < 1:
        raise DataError(f"SART needs at least 1 iteration and 1 view a correction, not {iterations} and {subset}.")
    if not 0.0 < relaxation < 2.0:
        raise DataError(f"SART's relaxation is {relaxation:g}; it must be above 0 and below 2.")
    problem = _problem(views, grid.padded(MARGIN))
    kind = problem.rtk.SARTConeBeamReconstructionFilter[problem.image, problem.image]
    image = problem.start(None if initial is None else np.pad(initial, MARGIN))
    for done in range(iterations):
        solver = kind.New()
        solver.SetInput(0, image)
        solver.SetInput(1, problem.projections)
        solver.SetGeometry(problem.geometry)
        solver.SetForwardProjectionFilter(kind.ForwardProjectionType_FP_JOSEPH)
        solver.SetBackProjectionFilter(kind.BackProjectionType_BP_VOXELBASED)
        solver.SetNumberOfIterations(1)
        solver.SetNumberOfProjectionsPerSubset(min(subset, len(views)))
        solver.SetLambda(float(relaxation))
        solver.SetEnforcePositivity(positive)
        solver.SetDisableDisplacedDetectorFilter(True)
        solver.Update()
        image = solver.GetOutput()
        image.DisconnectPipeline()
        if on_iteration is not None:
            on_iteration(done + 1, _inner(problem.finished(image)))
        if progress is not None:
            progress((done + 1) / iterations)
        if should_stop is not None and should_stop():
            raise Cancelled
    return _inner(problem.finished(image))


def cg(
    views: Sequence[Radiograph],
    grid: Grid,
    iterations: int = 20,
    positive: bool = True,
    progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> np.ndarray:
    """Conjugate gradients of the least-squares problem; RTK does all iterations in one go.

    See :func:`fdk` for parameters and errors; `positive` sets what ends below 0 to 0.
    """
    problem = _problem(views, grid.padded(MARGIN))
    kind = problem.rtk.ConjugateGradientConeBeamReconstructionFilter[problem.image]
    ones = np.ones((len(views), *views[0].line_integral.shape), np.float32)  # type: ignore[union-attr] # checked above
    weights = problem.itk.image_from_array(ones)
    weights.CopyInformation(problem.projections)
    solver = kind.New()
    solver.SetInput(0, problem.start(None))
    solver.SetInput(1, problem.projections)
    solver.SetInput(2, weights)
    solver.SetGeometry(problem.geometry)
    solver.SetForwardProjectionFilter(kind.ForwardProjectionType_FP_JOSEPH)
    solver.SetBackProjectionFilter(kind.BackProjectionType_BP_JOSEPH)
    solver.SetNumberOfIterations(iterations)
    solver.SetDisableDisplacedDetectorFilter(True)
    _update(problem.itk, solver, progress, should_stop)
    found = _inner(problem.finished(solver.GetOutput()))
    return np.maximum(found, 0.0, out=found) if positive else found


def _inner(values: np.ndarray) -> np.ndarray:
    """Without the margin."""
    return np.ascontiguousarray(values[MARGIN:-MARGIN, MARGIN:-MARGIN, MARGIN:-MARGIN])


def _update(itk: Any, solver: Any, progress: Progress | None, should_stop: Stop | None) -> None:
    """Run a filter, with its progress told and Stop listened to as far as it does."""
    stopped = False

    def told() -> None:
        nonlocal stopped
        if progress is not None:
            progress(min(1.0, float(solver.GetProgress())))
        if should_stop is not None and should_stop():
            stopped = True
            solver.AbortGenerateDataOn()

    if progress is not None or should_stop is not None:
        for event in (itk.ProgressEvent(), itk.IterationEvent()):
            solver.AddObserver(event, told)
    try:
        solver.Update()
    except RuntimeError as error:
        if stopped or "abort" in str(error).lower():
            raise Cancelled from None
        raise
    if stopped:
        raise Cancelled
