"""The run folder: where one training keeps its data set, settings, checkpoint and log.

::

    RUN/run.json                 what was asked and with which versions; its "format" marks the folder as ours
    RUN/dataset/                 the captured views (or absent, when run.json points at a data set elsewhere)
    RUN/checkpoint.safetensors   parameters, optimiser state and metadata
    RUN/snapshots/STEP.safetensors   what the field was at a few moments of its training, to look back at
    RUN/metrics.jsonl            one JSON object a line
    RUN/core.log                 what each training of the run began with, saved, warned of and ended in
    RUN/renders/                 rendered views
    RUN/samples/STEP.png         of a generative system: what some codes show from some angles
"""

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CheckpointError, NerfError
from .files import make_folder, write_json

RUN_FORMAT = "nerf_toolkit.run"
RUN_VERSION = 1
CHECKPOINT_FORMAT = "nerf_toolkit.checkpoint"
CHECKPOINT_VERSION = 1  # in a checkpoint's metadata, which holds words only: "1"
FIELD, GAN = "field", "gan"
"""What a run trains; a run.json without "kind" is a field's."""
_TOLD = {FIELD: "a radiance field; use 'nerf render' and the like", GAN: "a generative system; use 'nerf gan'"}
# A log may be all that is left of a run; the others are left by file managers.
NOT_STRANGERS = ("core.log", ".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class RunFolder:
    """The paths inside a run folder, and which kind of run it is to hold."""

    root: Path
    kind: str = FIELD

    @property
    def settings(self) -> Path:
        """`run.json`."""
        return self.root / "run.json"

    @property
    def dataset(self) -> Path:
        """The captured views."""
        return self.root / "dataset"

    @property
    def checkpoint(self) -> Path:
        """`checkpoint.safetensors`."""
        return self.root / "checkpoint.safetensors"

    @property
    def snapshots(self) -> Path:
        """The fields of some earlier steps, a file each."""
        return self.root / "snapshots"

    def snapshot(self, step: int) -> Path:
        """The snapshot of a step, whether it is there or not."""
        return self.snapshots / f"{step}.safetensors"

    @property
    def metrics(self) -> Path:
        """`metrics.jsonl`."""
        return self.root / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        """Grids of a generative system's pictures, a file a step."""
        return self.root / "samples"

    @property
    def log(self) -> Path:
        """`core.log`."""
        return self.root / "core.log"

    @property
    def renders(self) -> Path:
        """Rendered views."""
        return self.root / "renders"

    def read(self) -> dict[str, Any]:
        """What `run.json` says.

        Raises
        ------
        CheckpointError
            When it is missing, broken, of another format or version, or another kind of run.
        """
        try:
            data = json.loads(self.settings.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise CheckpointError(f"'{self.root}' is not a run folder: it has no run.json.") from error
        except OSError as error:
            raise CheckpointError(f"Cannot read '{self.settings}': {error.strerror or error}.") from error
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"'{self.settings}' is not valid JSON: it is broken; train again.") from error
        if not isinstance(data, dict) or data.get("format") != RUN_FORMAT:
            raise CheckpointError(f"'{self.settings}' was not written by NeRF Toolkit; choose another folder.")
        if data.get("version") != RUN_VERSION:
            raise CheckpointError(
                f"'{self.settings}' has version {data.get('version')!r}, this NeRF Toolkit reads version "
                f"{RUN_VERSION}; use the version that made it, or train again."
            )
        kind = data.get("kind", FIELD)
        if kind != self.kind:
            told = _TOLD.get(str(kind), "a kind that this version does not know")
            raise CheckpointError(f"'{self.root}' is a run of {told}, or choose another run.")
        return data

    def identity(self) -> str:
        """The run's own id, 32 hex digits, which stays when the folder is moved or renamed.

        A run that was made before runs had one gets one now.

        Raises
        ------
        NerfError
            When `run.json` cannot be read or written.
        """
        data = self.read()
        known = data.pop("id", None)
        if isinstance(known, str) and known:
            return known
        made = uuid.uuid4().hex
        self.write({**{key: value for key, value in data.items() if key not in ("format", "version")}, "id": made})
        return made

    def write(self, settings: dict[str, Any]) -> None:
        """Write `run.json`, whole or not at all."""
        kind = {} if self.kind == FIELD else {"kind": self.kind}
        write_json(self.settings, {"format": RUN_FORMAT, "version": RUN_VERSION, **kind, **settings})


def claim_run_folder(path: str | Path, kind: str = FIELD) -> RunFolder:
    """Take a folder for a run: a new or empty one, or one that already is a run of ours.

    Parameters
    ----------
    path : path
        The folder; its parents are made.
    kind : str
        What is trained in it.

    Returns
    -------
    RunFolder
        Its `run.json` exists afterwards, so that the folder is known as ours from now on.

    Raises
    ------
    NerfError
        When the folder holds somebody's files and no `run.json` of ours, or another kind of run: nothing in it is
        touched.
    """
    folder = RunFolder(Path(path), kind)
    if folder.settings.exists():
        folder.read()
        return folder
    make_folder(folder.root)
    try:
        strangers = sorted(os.listdir(folder.root))
    except OSError as error:
        raise NerfError(f"Cannot read the folder '{folder.root}': {error.strerror or error}.") from error
    strangers = [name for name in strangers if name not in NOT_STRANGERS]
    if strangers:
        raise NerfError(
            f"The folder '{folder.root}' already holds other files (such as '{strangers[0]}') and is not a run of "
            "NeRF Toolkit; choose an empty or new folder."
        )
    folder.write({"id": uuid.uuid4().hex})
    return folder
