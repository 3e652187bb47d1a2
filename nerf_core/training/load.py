"""A trained run, ready to be looked at: its method on a device, without its data set."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import CheckpointError, DataError, NerfError
from ..contract.json_data import shown
from ..contract.run_folder import RunFolder
from ..contract.transforms import ColorSpace
from ..data.placement import Placement
from ..data.truth import Truths
from ..methods.base import Method, Normalisation
from ..methods.registry import METHODS, create, method_class, resolve_device
from ..rendering.frame import Frame, render_frame
from .budget import Spent
from .checkpoint import Checkpoint, Scene, load_checkpoint
from .snapshots import load_snapshot


@dataclass(frozen=True)
class LoadedRun:
    """A run for rendering.

    Attributes
    ----------
    folder : RunFolder
    method : Method
    settings : dict
        What `run.json` says.
    scene : Scene
        Bounds, colour space, background and the training cameras.
    spent : Spent
        What was trained when the checkpoint was written.
    device : str
    """

    folder: RunFolder
    method: Method
    settings: dict[str, Any]
    scene: Scene
    spent: Spent
    device: str

    @property
    def cameras(self) -> list[Camera]:
        """The training cameras."""
        return self.scene.cameras

    @property
    def background(self) -> tuple[float, float, float]:
        """What pictures are compared over, in the images' encoded colour."""
        return self.scene.background

    @property
    def color_space(self) -> ColorSpace:
        """Of what is rendered: 'srgb', or 'linear' for EXR data sets."""
        return self.scene.color_space

    @property
    def bounds(self) -> np.ndarray:
        """(2, 3) world box."""
        return self.scene.bounds

    def render(
        self,
        camera: Camera,
        should_stop: Callable[[], bool] | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> Frame:
        """A picture in the run's colour space; see `rendering.frame.render_frame`."""
        return render_frame(
            self.method, camera, should_stop=should_stop, on_progress=on_progress, color_space=self.color_space
        )

    @property
    def data(self) -> Path | None:
        """Where the data set was, when the run still says so."""
        data = self.settings.get("data")
        return self.folder.root / data if isinstance(data, str) else None

    def truths(self, should_stop: Callable[[], bool] | None = None) -> Truths | None:
        """The data set's views by their cameras; None where it is not there any more, or not usable."""
        if self.data is None or not self.data.exists():
            return None
        placement = Placement.from_dict(self.settings.get("placement"))
        try:
            return Truths(self.data, placement, 1.0 / self.method.normalisation.scale, should_stop)
        except DataError:
            return None


def load_run(run: str | Path, device: str = "auto", snapshot: int | None = None) -> LoadedRun:
    """Load a run's checkpoint, or the snapshot of one of its steps, onto a device.

    Raises
    ------
    CheckpointError
        When the folder is no run, or its checkpoint is missing or cannot be used.
    NerfError
        When the device is absent.
    """
    folder = RunFolder(Path(run))
    settings = folder.read()
    path = folder.checkpoint if snapshot is None else folder.snapshot(snapshot)
    checkpoint = load_checkpoint(path) if snapshot is None else load_snapshot(run, snapshot)
    device = resolve_device(device)
    method = restore_method(checkpoint, path, device)
    return LoadedRun(folder, method, settings, checkpoint.scene, checkpoint.spent, device)


def restore_method(checkpoint: Checkpoint, path: Path, device: str) -> Method:
    """The method that a checkpoint holds, on a device; `CheckpointError` names the file."""
    if checkpoint.method not in METHODS:
        raise CheckpointError(f"'{path}' holds the method '{shown(checkpoint.method)}', which is not known here.")
    full = checkpoint.state.settings.get("settings")
    settings = full if isinstance(full, dict) else checkpoint.settings
    if settings.get("backend") == "cuda":  # asked for where it was trained; any backend renders it
        settings = {**settings, "backend": "auto"}
    try:
        method_class(checkpoint.method).check_state(settings, device, checkpoint.state)
        method = create(checkpoint.method, Normalisation(checkpoint.scene.bounds), device, checkpoint.seed, settings)
        method.load_state(checkpoint.state)
    except NerfError as error:
        # What a broken file calls its arrays and settings is in the sentence, too.
        raise CheckpointError(f"'{path}' cannot be used: {shown(str(error), 1000)}") from error
    return method
