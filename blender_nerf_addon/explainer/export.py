"""The story as an MP4: Blender renders its frames one by one, and the core binds them into a video."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import bpy

from .. import compat
from ..capture import picture
from ..jobs import runs, tasks
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.files import make_folder
from . import stage

RUN_KEY = "nerf_run"  # on the story's scene: the run that it tells of


class Export:
    """The export of a story, a frame a call.

    Parameters
    ----------
    scene : Scene
        That the story was built in.
    out : Path
        The .mp4.
    scale : int
        Percent of 1280 x 720.
    frames : (first, last), optional
        Of the scene's; by default all.

    Raises
    ------
    NerfError
        When the name will not do, or something stands there.
    """

    def __init__(
        self, scene: bpy.types.Scene, out: Path, scale: int = 100, frames: tuple[int, int] | None = None
    ) -> None:
        if out.suffix.lower() != ".mp4":
            raise NerfError(f"A video's name must end in .mp4, '{out.name}' does not.")
        if out.exists():
            raise NerfError(f"'{out}' exists already and is not overwritten; choose another name.")
        make_folder(out.parent)
        self.uid, self.out, self.scale = scene.session_uid, out, scale
        first, last = frames or (scene.frame_start, scene.frame_end)
        if not scene.frame_start <= first <= last <= scene.frame_end:
            raise NerfError(
                f"The story has the frames {scene.frame_start} to {scene.frame_end}, not {first} to {last}."
            )
        self.numbers = list(range(first, last + 1))
        self.pictures: list[Path] = []
        self.folder = Path(tempfile.mkdtemp(prefix="nerf-story-"))
        self._began = time.monotonic()

    @property
    def seconds_left(self) -> float | None:
        """Of rendering, from the pace so far."""
        done = len(self.pictures)
        return (time.monotonic() - self._began) / done * (len(self.numbers) - done) if done else None

    def frames(self) -> Iterator[int]:
        """Render the frames; yields each one's number.

        Raises
        ------
        NerfError
            When a frame could not be rendered, or the scene is gone.
        """
        for number in self.numbers:
            scene = runs.scene_again(self.uid)
            self._render(scene, number)
            yield number

    def step(self) -> tasks.Step:
        """What the core shall make of the pictures."""
        params = {"pictures": [str(path) for path in self.pictures], "out": str(self.out), "fps": stage.FPS}
        return tasks.Step("bind", params, lambda result, _arrays: Path(result["out"]), "Writing the video")

    def discard(self) -> None:
        """Remove the pictures."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _render(self, scene: bpy.types.Scene, number: int) -> None:
        render, settings = scene.render, scene.render.image_settings
        compat.choose_png(settings)
        settings.color_mode, settings.color_depth, settings.compression = "RGB", "8", 15
        path = self.folder / f"{number:05d}.png"
        # Between two frames the person may look, play and work: the scene is as it was then, but for its frame.
        before, render.resolution_percentage = render.resolution_percentage, self.scale
        try:
            scene.frame_set(number)
            # Where the window shows another scene, Blender would render at that one's frame.
            with bpy.context.temp_override(scene=scene, view_layer=scene.view_layers[0]):
                picture.render(scene)
            width, height = (side * self.scale // 100 for side in (render.resolution_x, render.resolution_y))
            picture.save(scene, path, Camera(width, height, 1.0, 1.0, 0.0, 0.0))
        except OSError as error:
            raise NerfError(f"Cannot write '{path}': {error.strerror or error}; free some disk space.") from error
        finally:
            render.resolution_percentage = before
        self.pictures.append(path)


def free_place(scene: bpy.types.Scene) -> Path:
    """A name for the video in the run's folder `renders` at which nothing stands yet."""
    folder = Path(str(scene.get(RUN_KEY) or tempfile.gettempdir())) / "renders"
    path, number = folder / "story.mp4", 2
    while path.exists():
        path, number = folder / f"story-{number}.mp4", number + 1
    return path
