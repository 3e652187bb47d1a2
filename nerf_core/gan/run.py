"""A generative system's run, loaded from its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from ..contract.run_folder import GAN, RunFolder
from ..methods.registry import resolve_device
from ..training.budget import Spent
from .base import System
from .checkpoint import load
from .dataset import Radiographs, load_radiographs


@dataclass(frozen=True)
class GanRun:
    """A run.

    Attributes
    ----------
    folder : RunFolder
    facts : dict
        What `run.json` says: `system`, `settings`, `data`, `instances` (names), `seed`, `versions` ...
    system : System
    spent : Spent
    """

    folder: RunFolder
    facts: dict[str, Any]
    system: System
    spent: Spent

    @property
    def data(self) -> Path | None:
        """Where the data set was; None where the run does not say."""
        stored = self.facts.get("data")
        return self.folder.root / stored if isinstance(stored, str) else None

    def load_data(self, splits: tuple[str, ...] = ("train",)) -> Radiographs:
        """The data set that it was trained on, at its size.

        Raises
        ------
        NerfError
            When the run does not say where it is, or it cannot be read.
        """
        if self.data is None:
            raise NerfError(f"The run '{self.folder.root}' does not say which data set it was trained on; name it.")
        return load_radiographs(self.data, self.system.settings.image_size, splits)


def load_gan_run(run: str | Path, device: str = "auto") -> GanRun:
    """Load a run's checkpoint onto a device.

    Raises
    ------
    CheckpointError
        When the folder is no run of a generative system, or its checkpoint is missing or cannot be used.
    NerfError
        When the device is absent.
    """
    folder = RunFolder(Path(run), GAN)
    facts = folder.read()
    device = resolve_device(device)
    checkpoint = load(folder.checkpoint)
    return GanRun(folder, facts, checkpoint.make(folder.checkpoint, device), checkpoint.spent)
