"""What generated radiographs are measured by: FID and KID of many, PSNR, SSIM and a perceptual distance of views.

FID and KID through torchmetrics, with whatever feature network is here (`perceptual`); its label goes with the numbers.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contract.errors import Cancelled, NerfError
from ..evaluation.metrics import psnr, ssim
from .base import System
from .perceptual import INSTALL, FeatureNetwork, PerceptualDistance

AT_ONCE = 16  # pictures in the network
KID_SUBSETS = 50
KID_SUBSET = 1000  # published; smaller where there are fewer pictures


@dataclass(frozen=True)
class Distributions:
    """How far the distribution of generated pictures is from that of the real ones.

    Attributes
    ----------
    fid, kid, kid_deviation : float
        KID is the mean over subsets, with its deviation.
    real, fake : int
        How many pictures; FID falls as they grow, so that numbers of different counts cannot be compared.
    label : str
        Whose features.
    """

    fid: float
    kid: float
    kid_deviation: float
    real: int
    fake: int
    label: str

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def compare_distributions(real: Tensor, fake: Tensor, label: str, seed: int = 0) -> Distributions:
    """FID and KID between features, by torchmetrics.

    Parameters
    ----------
    real, fake : (N, F), (M, F) tensors
        Features (:func:`features_of`).
    label : str
        Of the network.
    seed : int
        Of KID's subsets.

    Raises
    ------
    NerfError
        When there are fewer than two of either, or torchmetrics is missing.
    """
    if min(len(real), len(fake)) < 2:
        raise NerfError(f"FID needs at least 2 real and 2 generated pictures, not {len(real)} and {len(fake)}.")
    fid_class, kid_class = _torchmetrics()
    given = _Given(real.shape[1])
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # KID says that it keeps the features
        torch.manual_seed(seed)
        fid = fid_class(feature=given, normalize=True)
        kid = kid_class(feature=given, subsets=KID_SUBSETS, subset_size=min(KID_SUBSET, len(real), len(fake)))
        for metric in (fid, kid):
            # In float64 throughout: torchmetrics advises it for FID, whose square root is of a huge matrix.
            metric.update(real.cpu().double(), real=True)
            metric.update(fake.cpu().double(), real=False)
        distance = float(fid.compute())
        mean, deviation = kid.compute()
    return Distributions(max(distance, 0.0), float(mean), float(deviation), len(real), len(fake), label)


class _Given(torch.nn.Module):
    """Features that were made before, once for both metrics."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def _torchmetrics() -> tuple[Any, Any]:
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance
    except ModuleNotFoundError as error:
        raise NerfError(
            f"The package torchmetrics, which measures FID and KID, is not installed: {INSTALL}."
        ) from error
    return FrechetInceptionDistance, KernelInceptionDistance


@torch.no_grad()
def features_of(
    pictures: np.ndarray | Tensor,
    network: FeatureNetwork,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Tensor:
    """Features (N, F), on the CPU, of pictures (N, S, S) or (N, 1, S, S) of 0 to 1.

    Rounded to bytes first, as pictures in files are: real and generated ones alike.

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """
    pictures = torch.as_tensor(pictures, dtype=torch.float32)
    parts = []
    device = next(network.parameters()).device
    for start in range(0, len(pictures), AT_ONCE):
        if should_stop is not None and should_stop():
            raise Cancelled
        part = pictures[start : start + AT_ONCE].to(device)
        parts.append(network(torch.round(part.clamp(0.0, 1.0) * 255.0) / 255.0).cpu())
        if progress is not None:
            progress(min(start + AT_ONCE, len(pictures)), len(pictures))
    return torch.cat(parts)


def generated(
    system: System, count: int, azimuths: np.ndarray, seed: int = 0, should_stop: Callable[[], bool] | None = None
) -> Iterator[Tensor]:
    """Batches (n, 1, S, S) of `count` pictures of fresh codes, seen from azimuths drawn among those given (degrees)."""
    rng = torch.Generator().manual_seed(seed)
    codes = system.sample_codes(count, rng)
    picked = torch.as_tensor(azimuths, dtype=torch.float32)[torch.randint(len(azimuths), (count,), generator=rng)]
    for start in range(0, count, AT_ONCE):
        if should_stop is not None and should_stop():
            raise Cancelled
        yield system.render(codes[start : start + AT_ONCE], system.poses(picked[start : start + AT_ONCE]))


def measure_system(
    system: System,
    real_features: Tensor,
    azimuths: np.ndarray,
    network: FeatureNetwork,
    count: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Distributions:
    """FID and KID of a system's samples.

    Parameters
    ----------
    system : System
    real_features : (N, F) tensor
        Of the real pictures at the system's image size (:func:`features_of`).
    azimuths : (N,) array
        Of the real pictures, degrees: samples are seen from the same.
    network : FeatureNetwork
    count : int
        Of samples; published 1,000.
    seed : int
        Of codes and angles, so that two systems are measured alike.
    progress, should_stop : callable, optional
        Called with (pictures done, in all); asked now and then.
    """
    parts, done = [], 0
    for pictures in generated(system, count, azimuths, seed, should_stop):
        parts.append(features_of(pictures.cpu(), network))
        done += len(pictures)
        if progress is not None:
            progress(done, count)
    return compare_distributions(real_features, torch.cat(parts), network.label, seed)


@dataclass(frozen=True)
class ViewScores:
    """The mean over views of what single views are measured by.

    Attributes
    ----------
    psnr : float
        dB.
    ssim : float or None
        None where pictures are smaller than its window.
    perceptual : float
        `PerceptualDistance`; its label says of which features.
    views : int
    """

    psnr: float
    ssim: float | None
    perceptual: float
    views: int

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


@torch.no_grad()
def score_views(pictures: np.ndarray, truth: np.ndarray, distance: PerceptualDistance) -> ViewScores:
    """PSNR, SSIM and the perceptual distance of views, each the mean over all of them.

    Parameters
    ----------
    pictures, truth : (V, S, S) arrays
        Grey, 0 to 1.
    distance : PerceptualDistance

    Raises
    ------
    NerfError
        When there is no view, or the numbers of pictures or their sizes differ.
    """
    if pictures.shape != truth.shape or not len(truth):
        raise NerfError(f"Views of shape {pictures.shape} cannot be measured against a truth of shape {truth.shape}.")
    pairs = list(zip(pictures, truth, strict=True))
    similarities = [ssim(picture[..., None], true[..., None]) for picture, true in pairs]
    distances = []
    for start in range(0, len(truth), AT_ONCE):
        part, true = (torch.as_tensor(side[start : start + AT_ONCE], dtype=torch.float32) for side in (pictures, truth))
        distances.append(distance(part.clamp(0.0, 1.0), true))
    return ViewScores(
        psnr=float(np.mean([psnr(picture, true) for picture, true in pairs])),
        ssim=None if similarities[0] is None else float(np.mean(similarities)),  # type: ignore[arg-type]
        perceptual=float(torch.cat(distances).mean()),
        views=len(truth),
    )


def mean_scores(scores: list[ViewScores]) -> ViewScores:
    """The mean over several instances, each counted by its views."""
    views = np.array([score.views for score in scores], dtype=np.float64)
    similarities = [score.ssim for score in scores]
    known = None not in similarities
    return ViewScores(
        psnr=float(np.average([score.psnr for score in scores], weights=views)),
        ssim=float(np.average(similarities, weights=views)) if known else None,  # type: ignore[arg-type]
        perceptual=float(np.average([score.perceptual for score in scores], weights=views)),
        views=int(views.sum()),
    )
