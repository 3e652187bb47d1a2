"""Laying out a capture for other programs: points on the main thread, view by view, then files in a thread."""

import os
import shutil
import tempfile
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np

from ...importers.decode import read_exr
from ...jobs import pump
from ...vendor.nerf_core.contract.errors import Cancelled, NerfError, error_sentence
from ...vendor.nerf_core.contract.files import make_folder
from ...vendor.nerf_core.contract.run_folder import RunFolder
from ...vendor.nerf_core.contract.transforms import FrameRecord
from .archive import files, zip_folder
from .captured import Captured, read_captured
from .cloud import Cloud, Gatherer, encoded
from .writers import LAYOUTS, check

FOLDER = "layouts"  # inside the run
_TRIES = 999


class LayoutJob:
    """One piece of work, driven by the pump; see :func:`start`.

    Attributes
    ----------
    phase : str
        'running', then 'done', 'failed' (its sentence is in `text`) or 'cancelled'.
    text : str
    fraction : float
    results : list of Path
        The folders and zip files that were made.
    """

    def __init__(self, captured: Captured, layouts: Sequence[str], use_zip: bool) -> None:
        self.phase, self.text, self.fraction = "running", "Laying out", 0.0
        self.results: list[Path] = []
        self._captured, self._layouts, self._zip = captured, tuple(layouts), use_zip
        self._gatherer = Gatherer(captured)
        wanted = any(LAYOUTS[key].uses_points for key in layouts) and captured.has_pass("depth")
        self._waiting = self._gatherer.views() if wanted else []
        self._with_points = wanted
        self._done, self._total = 0, len(self._waiting) + len(captured.frames) * max(1, len(layouts)) * (1 + use_zip)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.phase == "running"

    def cancel(self) -> None:
        """Have it end before the next file; what is half made goes."""
        self._stop.set()

    def wait(self) -> None:
        """Wait for the thread, after :meth:`cancel`."""
        if self._thread is not None:
            self._thread.join()

    def advance(self) -> None:
        """Do a little on the main thread, or look after the thread."""
        try:
            self._advance()
        except NerfError as error:
            self._end("failed", str(error))
        except Exception as error:  # a bug: told, and its traceback in the terminal
            traceback.print_exc()
            self._end("failed", f"Laying out failed: {type(error).__name__}: {error}")

    def _advance(self) -> None:
        if self._thread is None:
            if self._stop.is_set():
                self._end("cancelled", "Laying out: cancelled")
            elif self._waiting:
                frame = self._waiting.pop(0)
                self._gatherer.take(frame, read_srgb(self._captured, frame))
                self._told("Points")
            else:
                cloud = self._gatherer.cloud() if self._with_points else None
                self._thread = threading.Thread(target=self._work, args=(cloud,), name="NeRF Toolkit layouts")
                self._thread.start()
        elif not self._thread.is_alive():
            if isinstance(self._error, Cancelled):
                self._end("cancelled", "Laying out: cancelled")
            elif self._error is not None:
                raise self._error
            else:
                self.fraction = 1.0
                self._end("done", f"Laid out into {', '.join(str(path) for path in self.results)}")

    def _end(self, phase: str, text: str) -> None:
        self.phase, self.text = phase, text

    def _work(self, cloud: Cloud | None) -> None:
        try:
            home = make_folder(self._captured.run.root / FOLDER)
            for key in self._layouts:
                self._lay_out(key, cloud, home)
            if not self._layouts and self._zip:
                self._pack(self._captured.run.dataset, free_path(home, "dataset", (".zip",)).with_suffix(".zip"))
        except OSError as error:
            self._error = NerfError(error_sentence(error))
        except Exception as error:
            self._error = error

    def _lay_out(self, key: str, cloud: Cloud | None, home: Path) -> None:
        layout = LAYOUTS[key]
        # Whole or not there: it gets its name when its last file is written.
        part = Path(tempfile.mkdtemp(dir=home, prefix=f".{layout.name}-"))
        try:
            os.chmod(part, 0o755)
            for _ in layout.write(self._captured, cloud if layout.uses_points else None, part):
                self._told(layout.label)
                if self._stop.is_set():
                    raise Cancelled
            target = free_path(home, layout.name, ("", ".zip"))
            os.rename(part, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)  # ours alone: made above, and gone when it was renamed
        self.results.append(target)
        if self._zip:
            self._pack(target, target.with_name(target.name + ".zip"))

    def _pack(self, folder: Path, target: Path) -> None:
        self._total = max(self._total, self._done + sum(1 for _ in files(folder)))
        zip_folder(folder, target, lambda: self._told(f"Zip of {folder.name}"), self._stop.is_set)
        self.results.append(target)

    def _told(self, what: str) -> None:
        self._done += 1
        self._total = max(self._total, self._done)
        self.fraction = self._done / self._total
        self.text = f"{what}: {self.fraction:.0%}"


_current: LayoutJob | None = None


def current() -> LayoutJob | None:
    """What is under way, or the session's last."""
    return _current


def running() -> bool:
    """Whether one is under way."""
    return _current is not None and _current.running


def start(run: RunFolder, layouts: Sequence[str], use_zip: bool) -> LayoutJob:
    """Begin to lay out a finished capture; returns at once.

    Parameters
    ----------
    run : RunFolder
    layouts : sequence of str
        Keys of `writers.LAYOUTS`; none makes a zip of the data set as it is.
    use_zip : bool
        Whether to make a zip file of each beside it.

    Raises
    ------
    NerfError
        When one is under way, nothing was asked for, there is no finished capture, or it does not suit the layouts.
    """
    global _current
    if running():
        raise NerfError("A data set is being laid out; wait for it or cancel it.")
    if not layouts and not use_zip:
        raise NerfError("Nothing to lay out: choose a layout, or a zip file.")
    captured = read_captured(run)
    kinds = {str(frame.camera.kind) for frame in captured.frames}
    check(layouts, captured.is_linear, kinds, captured.has_pass("depth"))
    _current = LayoutJob(captured, layouts, use_zip)
    pump.before_leaving(_leave)
    pump.add_source(_advance)
    return _current


def read_srgb(captured: Captured, frame: FrameRecord) -> np.ndarray:
    """(H, W, 4) uint8 of a captured picture, sRGB with straight alpha."""
    path = captured.path(frame.file_path)
    size = (frame.camera.height, frame.camera.width)
    if path.suffix == ".exr":
        found = read_exr(path)
        planes = [found.get(key, np.ones(size, np.float32)) for key in "RGBA"]
        return encoded(np.stack(planes, axis=-1))
    try:
        image = bpy.data.images.load(str(path), check_existing=False)
    except RuntimeError as error:
        raise NerfError(f"The picture '{path}' of the capture cannot be read; capture again.") from error
    try:
        if tuple(image.size) != size[::-1]:
            raise NerfError(f"The picture '{path}' of the capture has another size than it had; capture again.")
        image.alpha_mode = "CHANNEL_PACKED"  # as stored
        values = np.empty(image.size[0] * image.size[1] * 4, dtype=np.float32)
        image.pixels.foreach_get(values)
    finally:
        bpy.data.images.remove(image)
    return (values.reshape(*size, 4)[::-1] * 255.0 + 0.5).astype(np.uint8)


def free_path(home: Path, name: str, suffixes: tuple[str, ...]) -> Path:
    """`name`, or NAME-002, NAME-003 ... in a folder: the first of which nothing is there, with none of the suffixes."""
    for number in range(1, _TRIES + 1):
        path = home / (name if number == 1 else f"{name}-{number:03d}")
        if not any(os.path.lexists(path.with_name(path.name + suffix)) for suffix in suffixes):
            return path
    raise NerfError(f"'{home / name}' and {_TRIES - 1} numbered ones beside it are taken; remove some.")


def _advance(_seconds: float) -> int:
    if not running():
        pump.remove_source(_advance)
        return 0
    before = (_current._thread, _current._done)
    _current.advance()
    pump.redraw()
    return int(before != (_current._thread, _current._done))


def _leave() -> None:
    if running():
        _current.cancel()
        _current.wait()
        _current.advance()


def unregister() -> None:
    """Forget the last one."""
    global _current
    _current = None
