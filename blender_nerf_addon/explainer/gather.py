"""What a story is made of, asked of the core piece by piece: a view, its pixel's ray, and both at earlier steps."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..importers.cameras import checkpoint_cameras
from ..inspect import state as inspector
from ..jobs import tasks
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.run_folder import RunFolder
from . import pick
from .chapters.scenery import overview_shot
from .facts import Moment, Ray, Story, difference, over
from .look import GROUND
from .shots import HIGH, LENS, SENSOR, WIDE
from .stage import BAND_TOP

PAPER = (0.16, 0.18, 0.22)  # sRGB: what is behind transparent pictures on the stage
SIDE = 96  # cells along the longer side of a picture on the stage
FAN = 9  # rays across and down the picture
POINTS = 30_000
CANDIDATES = 72  # pixels that are looked into before one is chosen
MOST_SAMPLES = 160  # of a ray, as objects
NOVEL_WIDTH = 384  # cells across the picture of the end


@dataclass
class Gathering:
    """A story in the making.

    Attributes
    ----------
    folder : RunFolder
    done : callable
        Gets the story; may be a generator, see `jobs.tasks.Step`.
    wanted : tuple of (split, index, pixel) or None
        What to tell of; None chooses.
    """

    folder: RunFolder
    done: Callable[[Story], Any]
    wanted: tuple[str, int, np.ndarray | None] | None = None
    story: Story | None = None
    background: tuple[float, ...] = (0.0, 0.0, 0.0)
    linear: bool = False
    looked: dict[int | None, dict[str, np.ndarray]] = field(default_factory=dict)

    def steps(self) -> Iterator[Callable[[], tasks.Step]]:
        """The requests, one after another; what later ones ask for follows from the earlier ones' answers."""
        self.cameras = [camera for _, camera in checkpoint_cameras(self.folder.checkpoint)]
        if not self.cameras:
            raise NerfError(f"The run '{self.folder.root}' has no training cameras; train it again.")
        known = self.folder.read()
        bounds = np.array(known.get("bounds") or [[-1, -1, -1], [1, 1, 1]], dtype=np.float64)
        self.split, self.index, self.pixel = self.wanted or ("train", pick.choose_view(self.cameras, bounds), None)
        yield self._view
        if self.pixel is None:
            yield lambda: self._candidates(None)
            for snapshot in self.earlier:
                yield lambda snapshot=snapshot: self._candidates(snapshot)
        self._choose()
        yield self._fan
        yield self._points
        for snapshot in [*self.earlier, None]:
            yield lambda snapshot=snapshot: self._trace(snapshot)
            yield lambda snapshot=snapshot: self._picture(snapshot)
        yield self._novel

    @property
    def count(self) -> int:
        """About how many steps there are."""
        return 8 + 3 * len(list(self.folder.snapshots.glob("*.safetensors")))

    def _params(self, **more: Any) -> dict[str, Any]:
        return {"run": str(self.folder.root), **more}

    def _seen(self, **more: Any) -> dict[str, Any]:
        return self._params(view={"split": self.split, "index": self.index}, **more)

    def _view(self) -> tasks.Step:
        def handle(result: dict[str, Any], arrays: dict[str, Any]) -> None:
            rgba = arrays["rgba"]
            camera = Camera.from_dict(result["camera"])
            if self.pixel is None:
                height, width = rgba.shape[:2]
                found = (pick.choose_pixels(rgba, CANDIDATES) + 0.5) * (camera.width / width, camera.height / height)
                self.candidates = np.floor(found) + 0.5
            self.background = tuple(result["background"])
            self.linear = result["color_space"] == "linear"
            self.earlier = [item["step"] for item in result["snapshots"] if item["step"] < result["spent"]["steps"]]
            self.seconds = {item["step"]: item["seconds"] for item in result["snapshots"]}
            self.seconds[None] = result["spent"]["seconds"]
            self.last = result["spent"]["steps"]
            self.story = Story(
                run=self.folder.root.name,
                method=result["method"],
                sampler="",
                view=result["name"],
                camera=camera,
                pixel=np.zeros(2),
                truth=np.zeros(3),
                picture=over(rgba, PAPER),
                bounds=np.array(result["bounds"], dtype=np.float64),
                cameras=self.cameras,
            )

        return tasks.Step("view", self._seen(side=SIDE), handle, "Choosing a pixel")

    def _candidates(self, snapshot: int | None) -> tasks.Step:
        def handle(_result: dict[str, Any], arrays: dict[str, Any]) -> None:
            self.looked[snapshot] = arrays

        params = self._seen(pixels=self.candidates.tolist(), **_at(snapshot))
        return tasks.Step("trace", params, handle, "Choosing a pixel")

    def _choose(self) -> None:
        """Settle for a pixel, once what the candidates' rays meet is known."""
        if self.pixel is None:
            errors = {}
            for when, arrays in self.looked.items():
                true = arrays["truth"][:, :3] * arrays["truth"][:, 3:]
                true = over(np.concatenate([true, arrays["truth"][:, 3:]], axis=-1), self.background)
                errors[when] = np.sqrt(np.mean((over(arrays["rgba"], self.background) - true) ** 2, axis=-1))
            arrays, count = self.looked[None], len(self.candidates)
            samples = np.bincount(arrays["ray"], minlength=count)
            acting = np.bincount(arrays["ray"], weights=arrays["weight"] > 0.02, minlength=count)
            history = np.array([errors[when] for when in [*self.earlier, None]])
            spread = np.array([np.ptp(Ray.from_trace(arrays, ray).weighty()) for ray in range(count)]) / self.story.size
            color = arrays["truth"][:, :3]
            vivid = 0.6 * np.ptp(color, axis=-1) + 0.4 * color.max(axis=-1)
            self.pixel = self.candidates[pick.choose_ray(samples, acting, spread, vivid, history)]
        self.pixel = np.floor(self.pixel) + 0.5
        self.story.pixel = self.pixel

    def _fan(self) -> tasks.Step:
        camera = self.story.camera
        x, y = np.meshgrid(*((np.arange(FAN) + 0.5) / FAN * side for side in (camera.width, camera.height)))

        def handle(_result: dict[str, Any], arrays: dict[str, Any]) -> None:
            for origin, direction, depth, rgba in zip(
                *(arrays[name] for name in ("origin", "direction", "expected_depth", "rgba")), strict=True
            ):
                depth = min(float(depth), 1.5 * self.story.size)
                if rgba[3] > 0.5 and depth > 0:
                    color = np.clip(rgba[:3] / rgba[3], 0.0, 1.0)
                    self.story.fan.append((origin.astype(float), (origin + depth * direction).astype(float), color))

        pixels = np.stack([x.ravel(), y.ravel()], axis=-1).tolist()
        return tasks.Step("trace", self._params(camera=camera.to_dict(), pixels=pixels), handle, "Tracing rays")

    def _points(self) -> tasks.Step:
        def handle(_result: dict[str, Any], arrays: dict[str, Any]) -> None:
            self.story.cloud, self.story.cloud_color = arrays["position"], arrays["color"]

        return tasks.Step("points", self._params(count=POINTS), handle, "Finding the NeRF's points")

    def _trace(self, snapshot: int | None) -> tasks.Step:
        def handle(result: dict[str, Any], arrays: dict[str, Any]) -> None:
            self.traced = arrays
            self.story.sampler = (result.get("sampler") or {}).get("name", self.story.sampler)
            truth = np.asarray(arrays["truth"][0], dtype=np.float64)
            self.story.truth = over([*(truth[:3] * truth[3]), truth[3]], self.background)

        params = self._seen(pixels=[self.pixel.tolist()], **_at(snapshot))
        return tasks.Step("trace", params, handle, f"Taking the ray apart{_when(snapshot)}")

    def _picture(self, snapshot: int | None) -> tasks.Step:
        def handle(_result: dict[str, Any], arrays: dict[str, Any]) -> None:
            ray = Ray.from_trace(self.traced).thinned(MOST_SAMPLES).shortened(self.story.size)
            color = over(ray.rgba, self.background)
            step = self.last if snapshot is None else snapshot
            self.story.moments.append(
                Moment(
                    step=step,
                    seconds=self.seconds[snapshot],
                    ray=ray,
                    picture=self._shown(arrays["rgba"], PAPER),
                    color=color,
                    error=difference(color, self.story.truth),
                )
            )

        height, width = self.story.picture.shape[:2]
        camera = self.story.camera.resized(width, height)
        params = self._params(camera=camera.to_dict(), samples=4, **_at(snapshot))
        return tasks.Step("render", params, handle, f"Rendering the view{_when(snapshot)}")

    def _shown(self, rgba: np.ndarray, ground: tuple[float, ...]) -> np.ndarray:
        return over(_encoded(rgba) if self.linear else rgba, ground)

    def _novel(self) -> tasks.Step:
        """What the story's own camera sees at the end."""
        shot = overview_shot(self.story)
        c2w = np.eye(4)
        c2w[:3, :3], c2w[:3, 3] = shot.rotation, shot.position
        height = round(NOVEL_WIDTH * HIGH / WIDE)
        focal = NOVEL_WIDTH * LENS / SENSOR
        camera = Camera(NOVEL_WIDTH, height, focal, focal, NOVEL_WIDTH / 2, height / 2, c2w)

        def handle(_result: dict[str, Any], arrays: dict[str, Any]) -> Any:
            rows = round(height * (HIGH / 2 - BAND_TOP) / HIGH)
            self.story.novel = self._shown(arrays["rgba"], GROUND)[:rows]
            return self.done(self.story)

        return tasks.Step("render", self._params(camera=camera.to_dict(), samples=2), handle, "Rendering a new view")


def _at(snapshot: int | None) -> dict[str, int]:
    return {} if snapshot is None else {"snapshot": snapshot}


def _when(snapshot: int | None) -> str:
    return "" if snapshot is None else f" at step {snapshot}"


def _encoded(rgba: np.ndarray) -> np.ndarray:
    """Scene-linear premultiplied as sRGB premultiplied."""
    alpha = np.maximum(rgba[..., 3:], 1e-6)
    straight = np.clip(rgba[..., :3] / alpha, 0.0, 1.0)
    srgb = np.where(straight <= 0.0031308, 12.92 * straight, 1.055 * straight ** (1 / 2.4) - 0.055)
    return np.concatenate([srgb * rgba[..., 3:], rgba[..., 3:]], axis=-1)


def from_inspector(folder: RunFolder) -> tuple[str, int, np.ndarray] | None:
    """The training view and pixel that show what the inspector's pixel shows; None where it shows nothing of the run.

    The inspector's camera need be none of the data set's: the training view that sees the same place most alike tells
    its truth.
    """
    shown = inspector.current()
    if not shown.slots or shown.camera is None or shown.pixel is None or not shown.run:
        return None
    if Path(shown.run).resolve() != folder.root.resolve():
        return None
    own = shown.slots[0].of_ray(shown.chosen_ray)
    depth = float(own.get("expected_depth", 0.0))
    if not depth > 0.0:
        return None
    back = np.eye(4) if shown.matrix is None else np.linalg.inv(shown.matrix)
    point = np.asarray(own["origin"], dtype=np.float64) + depth * np.asarray(own["direction"], dtype=np.float64)
    eye = back[:3, :3] @ shown.camera.position + back[:3, 3]
    cameras = [camera for _, camera in checkpoint_cameras(folder.checkpoint)]
    found = pick.nearest_view(cameras, eye, back[:3, :3] @ point + back[:3, 3])
    return None if found is None else ("train", *found)
