"""What the explainer asks for beside traces and pictures: a view's own picture, and pictures bound into a video."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..contract.errors import NerfError
from ..contract.files import make_folder
from ..data.views import View
from ..export.ownership import check_writable
from ..export.video import VideoWriter
from ..training.snapshots import list_snapshots
from .geometry import Reply
from .params import ParamError, Params

if TYPE_CHECKING:
    from ..training.load import LoadedRun
    from .session import Session

MOST_SIDE = 4096
MOST_FRAMES = 100_000


def view_picture(loaded: "LoadedRun", view: View, params: Params) -> Reply:
    """Result and arrays of a `view` request: a picture of the run's data set, as it was trained on.

    Parameters
    ----------
    loaded : LoadedRun
    view : View
        Of its data set.
    params : Params
        `side`: the longer side that the picture is shrunk to, if it has more.

    Returns
    -------
    result, arrays
        `camera` (of the whole picture), `name`, `background`, `color_space`, `bounds`, `method`, `spent`, `snapshots`
        (of each `step` and `seconds`); `rgba` f4 (H, W, 4) premultiplied sRGB.
    """
    side = params.count("side", MOST_SIDE)
    snapshots = [{"step": kept.steps, "seconds": kept.seconds} for kept in list_snapshots(loaded.folder.root)]
    result = {
        "camera": view.camera.to_dict(),
        "name": view.name,
        "background": list(loaded.background),
        "color_space": loaded.color_space,
        "bounds": np.asarray(loaded.bounds).tolist(),
        "method": loaded.method.name,
        "spent": {"steps": loaded.spent.steps, "seconds": loaded.spent.seconds},
        "snapshots": snapshots,
    }
    return result, {"rgba": _shrunk(view.rgba, side)}


def _shrunk(rgba: np.ndarray, side: int) -> np.ndarray:
    """(H, W, 4) straight bytes as premultiplied floats, each pixel the mean of those that it stands for."""
    whole = rgba.astype(np.float32) / np.float32(255.0)
    whole[..., :3] *= whole[..., 3:]
    height, width = whole.shape[:2]
    factor = side / max(height, width)
    if factor >= 1.0:
        return whole
    size = max(1, round(width * factor)), max(1, round(height * factor))
    channels = [Image.fromarray(whole[..., i]).resize(size, Image.Resampling.BOX) for i in range(4)]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1).astype(np.float32)


class BindJob:
    """Pictures that lie on the disk, bound into a video, some a turn.

    Parameters
    ----------
    session : Session
    params : Params
        `pictures` (files, all of one size), `out` (an .mp4), `fps`.
    """

    A_TURN = 8

    def __init__(self, session: "Session", params: Params) -> None:
        self.session, self.tag = session, params.values.get("tag")
        self.pictures = _files(params.values.get("pictures"))
        self.out = Path(params.text("out"))
        self._done = 0
        check_writable(self.out)
        make_folder(self.out.parent)
        self._writer = VideoWriter(self.out, params.optional_number("fps") or 24.0)

    def step(self) -> dict[str, Any] | None:
        """Some pictures more; the request's result after the last one.

        Raises
        ------
        NerfError
            When a picture cannot be read; no video is left then.
        """
        try:
            for path in self.pictures[self._done : self._done + self.A_TURN]:
                self._writer.add(_read(path))
                self._done += 1
            total = len(self.pictures)
            self.session.tell("video", "", self._done, total, f"Frame {self._done} of {total}", tag=self.tag)
            if self._done < total:
                return None
            self._writer.finish()
        except BaseException:
            self.discard()
            raise
        return {"frames": self._done, "out": str(self.out)}

    def discard(self) -> None:
        """Leave no half of a video behind."""
        self._writer.discard()


def _files(value: Any) -> list[Path]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not 1 <= len(value) <= MOST_FRAMES:
        raise ParamError(f"'bind' wants 'pictures' as a list of 1 to {MOST_FRAMES} files.")
    if not all(isinstance(name, str) and name and "\0" not in name for name in value):
        raise ParamError("'bind' wants each of 'pictures' as the name of a file.")
    return [Path(name) for name in value]


def _read(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise NerfError(f"Cannot read the picture '{path}': {error}.") from error
