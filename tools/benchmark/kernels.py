"""Times of the CUDA kernels beside their floors, of a whole training step, and of frames.

A process of its own, that prints one JSON line: `python -m benchmark.kernels DATA`, with `tools` on the path.
"""

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import floors

KERNELS = {
    "launch_choose_pixels": "K0",
    "launch_count": "K1",
    "launch_pack": "K1",
    "launch_encode_samples": "K2",
    "launch_field_forward": "K3",
    "launch_composite": "K4",
    "launch_colour_backward": "K5",
    "launch_density_backward": "K6",
    "launch_encode_backward": "K7",
    "launch_adam": "K8",
    "launch_refresh_positions": "K9",
    "launch_encode_positions": "K9",
    "launch_density_forward": "K9",
    "launch_merge_density": "K9",
    "launch_threshold": "K9",
}
TITLES = {
    "K0": "choose pixels",
    "K1": "march",
    "K2": "encode",
    "K3": "field forward",
    "K4": "composite",
    "K5": "colour backward",
    "K6": "density backward",
    "K7": "encode backward",
    "K8": "Adam",
    "K9": "occupancy",
    "K10": "render a frame",
    "other": "schedules",
}
SETTLE, TIMED, EAGER = 2000, 512, 64
"""Steps before anything is timed, of the timed whole steps, and of the steps whose kernels are timed one by one; the
last two are multiples of 16, so that the occupancy grid has its share."""
FRAMES = 20


class CudaClock:
    """Times on the GPU's own clock, by events; nothing waits before :meth:`seconds`."""

    def __init__(self) -> None:
        import torch

        self._torch = torch
        self._pairs: list[tuple[str, Any, Any]] = []

    def ahead(self) -> None:
        """Give the host a lead of some milliseconds, so that kernels follow each other as they do in a graph."""
        self._torch.cuda._sleep(20_000_000)

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """What is queued inside is timed."""
        first, last = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        yield
        last.record()
        self._pairs.append((name, first, last))

    def wait(self) -> None:
        """Until everything that is queued has been done."""
        self._torch.cuda.synchronize()

    def seconds(self) -> dict[str, float]:
        """Sums a name; waits."""
        self.wait()
        sums: dict[str, float] = {}
        for name, first, last in self._pairs:
            sums[name] = sums.get(name, 0.0) + first.elapsed_time(last) / 1000.0
        self._pairs.clear()
        return sums


class HostClock:
    """The same for kernels that have ended when their launch returns: those of Triton's interpreter."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}

    def ahead(self) -> None:
        """Nothing can be ahead."""

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """What runs inside is timed."""
        began = time.perf_counter()
        yield
        self._sums[name] = self._sums.get(name, 0.0) + time.perf_counter() - began

    def wait(self) -> None:
        """Nothing is queued."""

    def seconds(self) -> dict[str, float]:
        """Sums a name."""
        sums, self._sums = self._sums, {}
        return sums


Clock = CudaClock | HostClock


@contextlib.contextmanager
def timed_launches(clock: Clock, name: str | None = None) -> Iterator[None]:
    """Inside, every launch of a CUDA kernel is a span of `clock`: by `name`, or else by the kernel's own number."""
    package = "nerf_core.kernels.cuda."
    replaced: list[tuple[Any, str, Callable[..., Any]]] = []
    for module in [module for name, module in sys.modules.items() if name.startswith(package)]:
        for attribute, launcher in list(vars(module).items()):
            if attribute.startswith("launch_") and callable(launcher):
                replaced.append((module, attribute, launcher))
                setattr(module, attribute, _spanned(clock, name or KERNELS.get(attribute, "other"), launcher))
    try:
        yield
    finally:
        for module, attribute, launcher in replaced:
            setattr(module, attribute, launcher)


def _spanned(clock: Clock, name: str, launcher: Callable[..., Any]) -> Callable[..., Any]:
    def launch(*arguments: Any, **named: Any) -> Any:
        with clock.span(name):
            return launcher(*arguments, **named)

    return launch


def time_steps(backend: Any, clock: Clock, steps: int) -> dict[str, float]:
    """Whole training steps as they are trained: milliseconds a step, and what a step met on average."""
    clock.wait()
    began = time.perf_counter()
    met = [backend.train_step(0.5) for _ in range(steps)]
    clock.wait()
    took = time.perf_counter() - began
    # Reports lag by a few steps, and come several at a time: only their sum means something.
    averages = {name: sum(getattr(stats, name) for stats in met) / steps for name in ("rays", "samples", "trained")}
    return {"step_ms": 1000.0 * took / steps, "steps": steps, **averages}


def time_kernels(backend: Any, clock: Clock, steps: int) -> dict[str, float]:
    """Seconds a step of each kernel, launched one by one in the order of a step."""
    import torch

    from nerf_core.kernels.cuda.graphs import Graphs

    training = backend._training
    graphs, training.graphs = training.graphs, Graphs(torch.device("cpu"))  # which never records
    try:
        backend.train_step(0.5)
        clock.seconds()
        with timed_launches(clock):
            for _ in range(steps):
                clock.ahead()
                backend.train_step(0.5)
            sums = clock.seconds()
    finally:
        training.graphs = graphs
    return {name: seconds / steps for name, seconds in sums.items()}


def beside_floors(
    measured: dict[str, float], settings: Any, half: bool, sizes: floors.Sizes, device: floors.Device | None
) -> list[dict[str, Any]]:
    """A row a kernel: its time, what it moves and computes, and its floor where the GPU's numbers are known."""
    model = floors.Model(settings, half)
    costs = model.training(sizes)
    names = sorted(measured, key=lambda name: (name == "other", name))
    return [_row(name, measured[name], costs.get(name), model, device) for name in names]


def _row(
    name: str, seconds: float, cost: floors.Cost | None, model: floors.Model, device: floors.Device | None
) -> dict[str, Any]:
    row: dict[str, Any] = {"kernel": name, "title": TITLES[name], "ms": 1000.0 * seconds}
    if cost is not None:
        row |= {"megabytes": cost.bytes / 1e6, "gigaoperations": cost.operations / 1e9}
        if device is not None:
            floor, bound = cost.floor(device, model.table_bytes)
            row |= {"floor_ms": 1000.0 * floor, "bound": bound}
    return row


def time_rendering(
    render: Callable[[], Any],
    clock: Clock,
    pixels: int,
    samples: float,
    settings: Any,
    half: bool,
    device: floors.Device | None,
) -> dict[str, Any]:
    """K10's row: all kernels of one picture of so many pixels and samples together, without the host's share."""
    clock.seconds()
    with timed_launches(clock, "K10"):
        render()
    model = floors.Model(settings, half)
    return _row("K10", clock.seconds().get("K10", 0.0), model.frame(pixels, samples), model, device)


def time_frames(method: Any, cameras: list[Any], side: int, frames: int) -> dict[str, Any]:
    """Median seconds of whole pictures of side x side, arrays in host memory included, over different cameras."""
    from nerf_core.rendering.frame import render_frame

    resized = [square(camera, side) for camera in cameras]
    chosen = [resized[index * len(resized) // frames] for index in range(frames)]
    render_frame(method, chosen[0])  # sizes of chunks and buffers settle
    made = [render_frame(method, camera) for camera in chosen]
    seconds = statistics.median(frame.seconds for frame in made)
    samples = statistics.mean(frame.samples for frame in made) / side**2
    return {"side": side, "frames": frames, "seconds": seconds, "per_second": 1.0 / seconds, "samples_a_pixel": samples}


def square(camera: Any, side: int) -> Any:
    """A pinhole camera of side x side that sees the whole width of another one."""
    from nerf_core.contract.camera import Camera

    scale = side / camera.width
    return Camera(side, side, camera.fl_x * scale, camera.fl_x * scale, side / 2, side / 2, camera.c2w)


def main() -> int:
    """Train a while on a data set, then time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--downscale", type=int, default=1)
    parser.add_argument("--samples", type=int, default=1 << 18, help="of a step (default 2^18)")
    parser.add_argument("--side", type=int, default=800, help="of the frames (default 800)")
    parser.add_argument("--settle", type=int, default=SETTLE, help=argparse.SUPPRESS)
    options = parser.parse_args()

    from nerf_core.data.dataset import load_dataset
    from nerf_core.methods.base import Normalisation
    from nerf_core.methods.registry import create, method_class

    dataset = load_dataset(options.data, options.downscale, splits=("train",))
    views = dataset.splits["train"]
    asked = {"samples_per_step": options.samples, "max_rays_per_step": max(options.samples // 2, 32)}
    goes_on = method_class("fast").is_unbounded(asked, dataset.has_alpha)
    bounds = dataset.subject if goes_on else dataset.bounds
    method = create("fast", Normalisation(bounds), options.device, 0, asked)
    method.load_views(views)
    method.warm_up()
    backend = method.field
    clock: Clock = CudaClock() if options.device == "cuda" else HostClock()
    for step in range(options.settle):
        backend.train_step(step / options.settle)
    result: dict[str, Any] = {"backend": backend.name, **time_steps(backend, clock, min(TIMED, options.settle))}
    cameras = [view.camera for view in views.views]
    result["frames"] = time_frames(method, cameras, options.side, FRAMES)
    if backend.name == "cuda":
        import torch

        from nerf_core.rendering.frame import render_frame

        sizes = floors.Sizes(*(round(result[name]) for name in ("rays", "samples", "trained")))
        device = floors.device_named(torch.cuda.get_device_name())
        half = backend.dtype == torch.float16
        rows = beside_floors(time_kernels(backend, clock, EAGER), backend.settings, half, sizes, device)
        camera, pixels = square(cameras[0], options.side), options.side**2
        samples = render_frame(method, camera).samples
        rows.insert(
            len(rows) - 1,
            time_rendering(
                lambda: render_frame(method, camera), clock, pixels, samples, backend.settings, half, device
            ),
        )
        result["kernels"] = rows
        if device is not None:
            model = floors.Model(backend.settings, half)
            result["floor_ms"] = 1000.0 * floors.step_floor(model.training(sizes), device, model.table_bytes)
    print(json.dumps(result))
    return 0


def lines(result: dict[str, Any]) -> list[str]:
    """What :func:`main` found, for a person: Markdown."""
    frames = result["frames"]
    text = [
        f"A training step of {result['samples']:.0f} samples ({result['rays']:.0f} rays, {result['trained']:.0f} "
        f"samples trained): {result['step_ms']:.3f} ms"
        + (f", floor {result['floor_ms']:.3f} ms" if "floor_ms" in result else "")
        + f". Frames of {frames['side']}x{frames['side']}: {frames['per_second']:.1f} a second"
        + f" ({frames['samples_a_pixel']:.1f} samples a pixel).",
    ]
    if "kernels" not in result:
        return [*text, f"The '{result['backend']}' backend has no kernels of its own to time."]
    text += ["", "| kernel | ms a step | floor ms | bound by | MB | G operations |", "|:---|---:|---:|:---|---:|---:|"]
    for row in result["kernels"]:
        floor = f"{row['floor_ms']:.4f}" if "floor_ms" in row else "-"
        moved = (f"{row['megabytes']:.1f}", f"{row['gigaoperations']:.2f}") if "megabytes" in row else ("-", "-")
        name = row["title"] if row["kernel"] == "other" else f"{row['kernel']} {row['title']}"
        text.append(f"| {name} | {row['ms']:.4f} | {floor} | {row.get('bound', '-')} | {moved[0]} | {moved[1]} |")
    return text


if __name__ == "__main__":
    sys.exit(main())
