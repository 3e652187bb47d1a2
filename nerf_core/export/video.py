"""Videos out: H.264 in MP4 through the ffmpeg that imageio-ffmpeg brings, written beside and renamed."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..contract.errors import NerfError
from ..contract.files import write_beside
from .ownership import MARK, is_ours


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
    import imageio_ffmpeg

    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise NerfError(f"A video's name must end in .mp4, '{path.name}' does not.")
    if not 0.1 <= fps <= 240:
        raise NerfError(f"A video needs 0.1 to 240 pictures a second, not {fps:g}.")
    count = 0

    def write(temporary: Path) -> None:
        nonlocal count
        writer = None
        shape = None
        try:
            for picture in pictures:
                even = _even(picture)
                if writer is None:
                    shape = even.shape
                    writer = imageio_ffmpeg.write_frames(
                        str(temporary),
                        (shape[1], shape[0]),
                        fps=fps,
                        codec="libx264",
                        pix_fmt_out="yuv420p",
                        macro_block_size=2,
                        quality=None,
                        output_params=["-crf", "17", "-movflags", "+faststart", "-metadata", f"comment={MARK}"],
                        ffmpeg_log_level="error",
                    )
                    writer.send(None)
                if even.shape != shape:
                    raise NerfError(f"All pictures of the video '{path}' must have one size.")
                try:
                    writer.send(even)
                except OSError as error:  # imageio-ffmpeg puts the whole command line and log into it
                    raise NerfError(
                        f"ffmpeg stopped while it wrote the video '{path}'; free some disk space or choose another "
                        "folder, and see nerf doctor."
                    ) from error
                count += 1
        finally:
            if writer is not None:
                writer.close()
        if not count:
            raise NerfError(f"The video '{path}' has no pictures.")
        if not is_ours(temporary):  # the mark stands in the index, which ffmpeg moves to the front at the very end
            raise NerfError(f"ffmpeg did not finish the video '{path}'; free some disk space, and see nerf doctor.")

    try:
        write_beside(path, write)
    except NerfError:
        raise
    except RuntimeError as error:  # imageio-ffmpeg finds no executable
        raise NerfError(f"There is no ffmpeg to write the video '{path}' with; see nerf doctor.") from error
    return count


def _even(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(picture, dtype=np.uint8)
