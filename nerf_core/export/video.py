"""Videos out: H.264 in MP4 through the ffmpeg that imageio-ffmpeg brings, written beside and renamed."""

import contextlib
from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np

from ..contract.errors import NerfError
from ..contract.files import Beside
from .ownership import MARK, is_ours

# Players take a video without a mark for BT.601 when it is small and for BT.709 when it is large, and ffmpeg always
# encodes the former.
COLOR = (
    "-vf", "scale=out_color_matrix=bt709:out_range=tv", "-colorspace", "bt709", "-color_primaries", "bt709",
    "-color_trc", "bt709",
)  # fmt: skip


def write_video(path: str | Path, pictures: Iterable[np.ndarray], fps: float = 24.0) -> int:
    """Write pictures as an MP4 that plays everywhere (H.264, 4:2:0).

    Parameters
    ----------
    path : path
        Ends in .mp4.
    pictures : iterable of (H, W, 3) uint8 arrays
        All of one size; an odd side is made even by repeating its last row or column, as 4:2:0 needs. Taken one by
        one, so that a generator may render them.
    fps : float

    Returns
    -------
    int
        How many pictures.

    Raises
    ------
    NerfError
        When there are none, their sizes differ, or ffmpeg fails; no file is left then.
    """
    with VideoWriter(path, fps) as writer:
        for picture in pictures:
            writer.add(picture)
        return writer.finish()


class VideoWriter:
    """The same, picture by picture, for whoever makes them now and then.

    Leaving the context without :meth:`finish`, or :meth:`discard`, ends ffmpeg at once and leaves no file.

    Parameters
    ----------
    path : path
        Ends in .mp4; its folder exists.
    fps : float

    Raises
    ------
    NerfError
        When the name, the rate or the folder will not do.
    """

    def __init__(self, path: str | Path, fps: float = 24.0) -> None:
        path = Path(path)
        if path.suffix.lower() != ".mp4":
            raise NerfError(f"A video's name must end in .mp4, '{path.name}' does not.")
        if not 0.1 <= fps <= 240:
            raise NerfError(f"A video needs 0.1 to 240 pictures a second, not {fps:g}.")
        self.path, self.fps, self.count = path, fps, 0
        self._beside = Beside(path)
        self._shape: tuple[int, ...] | None = None
        self._ffmpeg: Generator[None, np.ndarray, None] | None = None

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def add(self, picture: np.ndarray) -> None:
        """Encode one (H, W, 3) uint8 picture more; all must have the first one's size."""
        even = _even(picture)
        if self._ffmpeg is None:
            self._shape, self._ffmpeg = even.shape, self._start(even.shape)
        if even.shape != self._shape:
            raise NerfError(f"All pictures of the video '{self.path}' must have one size.")
        try:
            self._ffmpeg.send(even)
        except OSError as error:  # imageio-ffmpeg puts the whole command line and log into it
            raise NerfError(
                f"ffmpeg stopped while it wrote the video '{self.path}'; free some disk space or choose another "
                "folder, and see nerf doctor."
            ) from error
        self.count += 1

    def finish(self) -> int:
        """Have the file whole at its place; returns how many pictures it has."""
        if self._ffmpeg is None:
            raise NerfError(f"The video '{self.path}' has no pictures.")
        self._ffmpeg.close()
        self._ffmpeg = None
        # The mark stands in the index, which ffmpeg moves to the front at the very end.
        if not is_ours(self._beside.temporary):
            raise NerfError(
                f"ffmpeg did not finish the video '{self.path}'; free some disk space, and see nerf doctor."
            )
        self._beside.keep()
        return self.count

    def discard(self) -> None:
        """Let go of everything that is not finished."""
        if self._ffmpeg is not None:
            with contextlib.suppress(KeyboardInterrupt):
                self._ffmpeg.throw(KeyboardInterrupt)  # by which imageio-ffmpeg kills it instead of waiting for it
            self._ffmpeg = None
        self._beside.discard()

    def _start(self, shape: tuple[int, ...]) -> Generator[None, np.ndarray, None]:
        import imageio_ffmpeg

        try:
            writer = imageio_ffmpeg.write_frames(
                str(self._beside.temporary),
                (shape[1], shape[0]),
                fps=self.fps,
                codec="libx264",
                pix_fmt_out="yuv420p",
                macro_block_size=2,
                quality=None,
                output_params=[*COLOR, "-crf", "17", "-movflags", "+faststart", "-metadata", f"comment={MARK}"],
                ffmpeg_log_level="error",
            )
            writer.send(None)
        except (RuntimeError, OSError) as error:  # there is no executable, or none that runs
            raise NerfError(f"There is no ffmpeg to write the video '{self.path}' with; see nerf doctor.") from error
        return writer


def _even(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(picture, dtype=np.uint8)
