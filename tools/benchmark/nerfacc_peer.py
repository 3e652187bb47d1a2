"""The peer on GPUs: instant-ngp's recipe with nerfacc's occupancy grid, as its own example trains it.

A process of its own, that prints one JSON line: `python -m benchmark.nerfacc_peer DATA --seconds 60`, with `tools` on
the path. nerfacc (Li et al. 2023) marches and composites. The field is tiny-cuda-nn's where that is installed, as in
nerfacc's example; else the same hash grid in plain torch; the result's `backend` says which.

What is set here are the example's numbers. Three things differ: schedules follow the share of the budget that is spent,
where the example counts steps; the field lives in the same unit cube as ours; and pictures are judged by our own code.
"""

import argparse
import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nerf_core.contract.samplers import SamplerChoice
from nerf_core.data.dataset import load_dataset
from nerf_core.evaluation.evaluate import evaluate_views, spread
from nerf_core.fields.hash_grid import FastLayout, FastSettings
from nerf_core.kernels.reference import field as plain
from nerf_core.kernels.reference.pixels import Pixels
from nerf_core.kernels.views import view_arrays
from nerf_core.methods.base import Method, Normalisation, RayColors

FIRST_RAYS, SAMPLES = 1024, 1 << 18
LEARNING_RATE, WEIGHT_DECAY, EPSILON = 1e-2, 1e-6, 1e-15
WARM_UP_STEPS, MILESTONES, FALL = 100, (0.5, 0.75, 0.9), 0.33
LOSS_SCALE = 2.0**10
"""For fp16 gradients; Adam does not mind."""
GRID, OCCUPIED = 128, 1e-2
STEP = math.sqrt(3.0) / 1024
"""In lengths of the unit cube; the example's 5e-3 of a cube of side 3, nearly."""
LEVELS, FEATURES, LOG2_TABLE, COARSEST, FINEST = 16, 2, 19, 16, 4096
CHUNK = 1 << 15


class PlainField(nn.Module):
    """The hash grid and two small networks in plain torch."""

    name = "plain torch"

    def __init__(self, seed: int, log2_table: int = LOG2_TABLE) -> None:
        super().__init__()
        settings = FastSettings(
            scene="bounded",
            levels=LEVELS,
            features=FEATURES,
            base_resolution=COARSEST,
            max_resolution=FINEST,
            log2_table_size=log2_table,
        ).sized_for(800)
        self.layout = FastLayout.from_settings(settings)
        initial = self.layout.initial(seed)
        self.values = nn.ParameterDict({name: nn.Parameter(torch.from_numpy(array)) for name, array in initial.items()})

    def density(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Density (N,) and what the colour network is told (N, 16) at positions in the unit cube."""
        parameters = dict(self.values)
        encoded = plain.encode(self.layout, parameters["table"], positions.clamp(0.0, 1.0))
        told = plain.density_network(parameters, encoded)
        inside = ((positions > 0.0) & (positions < 1.0)).all(dim=-1)
        return plain.density_of(told[:, 0] - 1.0) * inside, told

    def color(self, told: Tensor, directions: Tensor) -> Tensor:
        """(N, 3)."""
        return plain.color_network(dict(self.values), told, plain.spherical_harmonics(directions))


class TinyCudaField(nn.Module):
    """The same in tiny-cuda-nn's fused fp16 kernels, with the example's two hidden layers for the colour."""

    name = "tiny-cuda-nn"

    def __init__(self, seed: int) -> None:
        super().__init__()
        import tinycudann

        grid = {
            "otype": "HashGrid",
            "n_levels": LEVELS,
            "n_features_per_level": FEATURES,
            "log2_hashmap_size": LOG2_TABLE,
            "base_resolution": COARSEST,
            "per_level_scale": (FINEST / COARSEST) ** (1.0 / (LEVELS - 1)),
        }
        network = {"otype": "FullyFusedMLP", "activation": "ReLU", "n_neurons": 64}
        self.base = tinycudann.NetworkWithInputEncoding(
            3, 16, grid, {**network, "output_activation": "None", "n_hidden_layers": 1}, seed=seed
        )
        self.harmonics = tinycudann.Encoding(3, {"otype": "SphericalHarmonics", "degree": 4})
        self.head = tinycudann.Network(
            self.harmonics.n_output_dims + 15,
            3,
            {**network, "output_activation": "Sigmoid", "n_hidden_layers": 2},
            seed=seed + 1,
        )

    def density(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """See `PlainField`."""
        told = self.base(positions)
        inside = ((positions > 0.0) & (positions < 1.0)).all(dim=-1)
        return plain.density_of(told[:, 0].float() - 1.0) * inside, told[:, 1:]

    def color(self, told: Tensor, directions: Tensor) -> Tensor:
        """See `PlainField`; this encoding takes directions in [0, 1]."""
        return self.head(torch.cat([self.harmonics((directions + 1.0) / 2.0), told], dim=-1)).float()


class Peer:
    """nerfacc's estimator with a field: trains, and renders rays as a `Method` does.

    Parameters
    ----------
    field : PlainField or TinyCudaField
    normalisation : Normalisation
    background : (3,) tensor
        What training pixels and pictures lie over; as in the example, the data set's own.
    """

    render_pixels = Method.render_pixels
    prepare = Method.prepare
    trained_sampler = SamplerChoice("occupancy")

    def __init__(self, field: Any, normalisation: Normalisation, background: Tensor) -> None:
        import nerfacc

        self._nerfacc = nerfacc
        self.device = background.device
        self.field = field.to(self.device)
        self.normalisation = normalisation
        self.background = background
        box = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], device=self.device)
        self.estimator = nerfacc.OccGridEstimator(roi_aabb=box, resolution=GRID, levels=1).to(self.device)
        self.optimiser = torch.optim.Adam(
            self.field.parameters(),
            lr=LEARNING_RATE,
            eps=EPSILON,
            weight_decay=WEIGHT_DECAY,
            fused=self.device.type == "cuda",
        )
        self.rays = FIRST_RAYS

    def rate(self, step: int, progress: float) -> float:
        """Adam's rate: a ramp of a hundred steps, and three falls."""
        ramp = 0.01 + 0.99 * min(step / WARM_UP_STEPS, 1.0)
        return LEARNING_RATE * ramp * FALL ** sum(progress >= milestone for milestone in MILESTONES)

    def render(self, origins: Tensor, directions: Tensor, stratified: bool) -> tuple[Tensor, Tensor, Tensor, int]:
        """Colour without background (R, 3), opacity (R, 1), distance (R, 1), and the samples that they took."""

        def places(starts: Tensor, ends: Tensor, ray: Tensor) -> Tensor:
            return origins[ray] + directions[ray] * ((starts + ends) / 2.0)[:, None]

        def density(starts: Tensor, ends: Tensor, ray: Tensor) -> Tensor:
            return self.field.density(places(starts, ends, ray))[0]

        def color_and_density(starts: Tensor, ends: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
            found, told = self.field.density(places(starts, ends, ray))
            return self.field.color(told, directions[ray]), found

        ray, starts, ends = self.estimator.sampling(
            origins, directions, sigma_fn=density, render_step_size=STEP, stratified=stratified
        )
        color, opacity, depth, _ = self._nerfacc.rendering(
            starts, ends, ray, n_rays=len(origins), rgb_sigma_fn=color_and_density
        )
        return color, opacity, depth, len(starts)

    def train_step(self, step: int, progress: float, pixels: Pixels, rgba: Tensor) -> None:
        """One optimisation step over random pixels."""
        self.field.train()
        self.estimator.train()
        self.estimator.update_every_n_steps(
            step=step, occ_eval_fn=lambda x: self.field.density(x)[0][:, None] * STEP, occ_thre=OCCUPIED
        )
        chosen = torch.randint(len(rgba), (self.rays,), device=self.device)
        origins, directions = pixels.rays(chosen)
        straight = rgba[chosen].float() / 255.0
        target = straight[:, :3] * straight[:, 3:] + self.background * (1.0 - straight[:, 3:])
        color, opacity, _, samples = self.render(origins, directions, stratified=True)
        if samples == 0:
            return
        self.rays = min(max(1, int(self.rays * SAMPLES / samples)), SAMPLES)
        loss = nn.functional.smooth_l1_loss(color + self.background * (1.0 - opacity), target)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(step, progress)
        self.optimiser.zero_grad()
        (loss * LOSS_SCALE).backward()
        self.optimiser.step()

    @torch.no_grad()
    def render_rays(self, origins: np.ndarray, directions: np.ndarray, *_: Any) -> RayColors:
        """World rays to premultiplied rgba and distance; see `Method`."""
        self.field.eval()
        self.estimator.eval()
        unit = torch.from_numpy(self.normalisation.to_unit(np.float64(origins)).astype(np.float32)).to(self.device)
        along = torch.from_numpy(np.float32(directions)).to(self.device)
        rgba, distance, total = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)], 0
        for o, d in zip(unit.split(CHUNK), along.split(CHUNK), strict=True):
            color, opacity, depth, samples = self.render(o, d, stratified=False)
            rgba.append(torch.cat([color, opacity], dim=1).cpu().numpy())
            distance.append(depth[:, 0].cpu().numpy() / np.float32(self.normalisation.scale))
            total += samples
        return RayColors(np.concatenate(rgba), np.concatenate(distance), total)


def train(make: Callable[[], Peer], pixels: Pixels, rgba: Tensor, seconds: float) -> tuple[Peer, int, float]:
    """Train for so long; what is compiled at first use is compiled before, on a peer that is thrown away."""
    once = make()
    for step in range(3):
        once.train_step(step, 0.0, pixels, rgba)
    peer, step = make(), 0
    _wait(peer.device)
    began = time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        peer.train_step(step, spent / seconds, pixels, rgba)
        step += 1
    _wait(peer.device)
    return peer, step, time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> int:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--downscale", type=int, default=1)
    parser.add_argument("--split", default="val")
    parser.add_argument("--views", type=int)
    options = parser.parse_args()
    print(json.dumps(run(options)))
    return 0


def run(options: argparse.Namespace, log2_table: int = LOG2_TABLE) -> dict[str, Any]:
    """Everything that :func:`main` prints."""
    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    dataset = load_dataset(options.data, options.downscale, splits=("train", options.split))
    normalisation = Normalisation(dataset.bounds)
    arrays = view_arrays(dataset.splits["train"], normalisation)
    background = torch.tensor([float(channel) for channel in dataset.background], device=device)
    fast = device.type == "cuda" and importlib.util.find_spec("tinycudann") is not None

    def make() -> Peer:
        made = TinyCudaField(options.seed) if fast else PlainField(options.seed, log2_table)
        return Peer(made, normalisation, background)

    pixels, rgba = Pixels(arrays, False, device), torch.from_numpy(arrays.pixels).to(device)
    peer, steps, seconds = train(make, pixels, rgba, options.seconds)
    began = time.perf_counter()
    judged = evaluate_views(
        peer, spread(dataset.splits[options.split], options.views), dataset.background, options.split
    )
    return {
        "backend": f"nerfacc, {peer.field.name}",
        "step": steps,
        "seconds": seconds,
        "judged": judged.to_dict(),
        "judging_seconds": time.perf_counter() - began,
        "versions": {name: metadata.version(name) for name in ("nerfacc", "tinycudann") if _is_there(name)},
    }


def _is_there(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
