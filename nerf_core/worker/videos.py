"""The `video` request: many pictures, one a turn, so that a view or a trace may go between two; as MP4 and PNG."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.errors import NerfError
from ..contract.files import make_folder
from ..export.ownership import check_writable
from ..export.pictures import to_picture, write_png
from ..export.video import VideoWriter
from .params import ParamError, Params
from .render_params import wanted_picture

if TYPE_CHECKING:
    from .session import Session

MOST_FRAMES = 100_000
SHOWN_SECONDS = 1.0  # between two pictures that are sent to be looked at
SHOWN_SIDE = 640  # pixels of their longer side, at most


class VideoJob:
    """A video or a picture sequence that is being made.

    Parameters
    ----------
    session : Session
    params : Params
        ``frames``: list of what a `render` request takes (`layers` may be none; what is the same in all may stand in
        ``shared``). ``out``: an .mp4, or None. ``pictures``: a .png for each frame, or None. ``fps``. ``background``:
        encoded [r, g, b] behind the NeRF, or None: a video gets black then. ``transparent``: whether the pictures
        keep their alpha although there is a background.

    Raises
    ------
    NerfError
        When something is missing, or a file that is not ours is in the way.
    """

    def __init__(self, session: "Session", params: Params) -> None:
        self.session, self.tag = session, params.values.get("tag")
        self.frames = _frames(params)
        self.background = _background(params)
        self.behind_pictures = None if params.flag("transparent") else self.background
        self.index = 0
        cameras = [frame.camera() if _is_empty(frame) else wanted_picture(frame).view.camera for frame in self.frames]
        self.width, self.height = cameras[0].width, cameras[0].height
        out = params.optional_text("out")
        self.out = Path(out) if out else None
        self.pictures = _pictures(params, len(self.frames))
        if self.out is None and not self.pictures:
            raise ParamError("'video' wants 'out', 'pictures' or both.")
        if self.out is not None and any((c.width, c.height) != (self.width, self.height) for c in cameras):
            raise NerfError("All pictures of a video must have one size.")
        for path in [*([self.out] if self.out else []), *self.pictures]:
            check_writable(path)
        for folder in {path.parent for path in [*([self.out] if self.out else []), *self.pictures]}:
            make_folder(folder)
        self._writer = VideoWriter(self.out, params.optional_number("fps") or 24.0) if self.out else None
        self._began = time.perf_counter()
        self._shown, self._loaded = 0.0, False

    @property
    def run(self) -> str:
        """The run of the frame whose turn it is, for progress."""
        frame = self.frames[min(self.index, len(self.frames) - 1)]
        return "" if _is_empty(frame) else wanted_picture(frame).runs[0]

    def step(self) -> dict[str, Any] | None:
        """Render and write the next frame; the request's result after the last one.

        Raises
        ------
        Cancelled
            When somebody asked for that; pictures that are written stay, a video that is not whole does not.
        """
        try:
            self._render()
            self.index += 1
            if self.index < len(self.frames):
                return None
            if self._writer is not None:
                self._writer.finish()
        except BaseException:
            self.discard()
            raise
        return {
            "frames": self.index,
            "width": self.width,
            "height": self.height,
            "seconds": time.perf_counter() - self._began,
            "out": str(self.out) if self.out else None,
            "pictures": [str(path) for path in self.pictures],
        }

    def discard(self) -> None:
        """Leave no half of a video behind."""
        if self._writer is not None:
            self._writer.discard()

    def tell(self, part: float) -> None:
        """Say how far it is: whole frames and `part` of the one that is being rendered."""
        done, total = self.index + part, len(self.frames)
        spent = time.perf_counter() - self._began
        left = spent / done * (total - done) if done > 0 else None
        text = f"Frame {self.index + 1} of {total}"
        self.session.tell("video", self.run, done, total, text, tag=self.tag, seconds_left=left)

    def _render(self) -> None:
        frame, looking = self.frames[self.index], self.session.looking
        if _is_empty(frame):
            rgba = np.zeros((self.height, self.width, 4), dtype=np.float32)
        else:
            if not self._loaded:
                looking.load(frame)
                self._loaded, self._began = True, time.perf_counter()  # loading is no part of what a frame takes
            rgba = looking.picture(frame, self.tell).rgba
        if self.pictures:
            write_png(check_writable(self.pictures[self.index]), to_picture(rgba, self.behind_pictures))
        if self._writer is not None:
            self._writer.add(to_picture(rgba, self.background or (0.0, 0.0, 0.0)))
        self.tell(1.0)
        self._show(rgba)

    def _show(self, rgba: np.ndarray) -> None:
        """Send the picture, small, when the last one was sent a while ago or this is the end."""
        now = time.perf_counter()
        if now - self._shown < SHOWN_SECONDS and self.index + 1 < len(self.frames):
            return
        self._shown = now
        step = -(-max(rgba.shape[:2]) // SHOWN_SIDE)
        small = np.array(rgba[step // 2 :: step, step // 2 :: step], dtype=np.float32)
        if self.background is not None and self.out is not None:
            small[..., :3] += (1.0 - small[..., 3:]) * np.asarray(self.background, dtype=np.float32)
            small[..., 3] = 1.0
        height, width = small.shape[:2]
        self.session.notify("video.frame", {"rgba": small}, tag=self.tag, index=self.index, width=width, height=height)


def _frames(params: Params) -> list[Params]:
    shared, frames = params.mapping("shared"), params.values.get("frames")
    if not isinstance(frames, Sequence) or isinstance(frames, str) or not 1 <= len(frames) <= MOST_FRAMES:
        raise ParamError(f"'video' wants 'frames' as a list of 1 to {MOST_FRAMES} render parameters.")
    for frame in frames:
        if not isinstance(frame, Mapping):
            raise ParamError(f"'video' wants each of 'frames' as an object, and got {frame!r:.80}.")
    return [Params("video", {**shared, **frame}) for frame in frames]


def _is_empty(frame: Params) -> bool:
    """Whether everything is hidden at that time."""
    return frame.values.get("layers") == []


def _background(params: Params) -> tuple[float, float, float] | None:
    value = params.values.get("background")
    if value is None:
        return None
    try:
        red, green, blue = (float(channel) for channel in value)
    except (TypeError, ValueError, OverflowError):
        raise ParamError(f"'video' wants 'background' as [r, g, b] or null, and got {value!r:.80}.") from None
    if not all(0.0 <= channel <= 1.0 for channel in (red, green, blue)):
        raise ParamError(f"'video' wants a 'background' of 0 to 1, and got {value!r:.80}.")
    return red, green, blue


def _pictures(params: Params, count: int) -> list[Path]:
    value = params.values.get("pictures")
    if value is None:
        return []
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != count:
        raise ParamError(f"'video' wants 'pictures' as a list of {count} files, one a frame.")
    if not all(isinstance(name, str) and name.lower().endswith(".png") and "\0" not in name for name in value):
        raise ParamError("'video' wants each of 'pictures' as the name of a .png file.")
    return [Path(name) for name in value]
