"""Loaded runs, a few of them kept: a person goes back and forth between views of the same one."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from ..contract.errors import NerfError
from ..contract.run_folder import RunFolder
from ..training.load import LoadedRun, load_run

KEPT = 3
Stamp = tuple[int, int, int]
Key = tuple[Path, int | None]  # of the run, and of one of its snapshots


class RunCache:
    """The runs that were looked at last; one whose checkpoint has changed since is loaded anew.

    Parameters
    ----------
    on_load : callable
        Told the run's path before it is read from disk.
    """

    def __init__(self, on_load: Callable[[str], None]) -> None:
        self._on_load = on_load
        self._kept: OrderedDict[Key, tuple[Stamp | None, LoadedRun]] = OrderedDict()
        self._room = KEPT

    def make_room(self, runs: int) -> None:
        """Keep at least so many from now on: a picture of many runs must not load them again for the next one."""
        self._room = max(KEPT, runs)

    def get(self, run: str, snapshot: int | None = None) -> LoadedRun:
        """The run at a path, as it is now or as it was at the step of a snapshot."""
        key, stamp = (_key(run), snapshot), _stamp(run, snapshot)
        kept = self._kept.get(key)
        if kept is not None and stamp is not None and kept[0] == stamp:
            self._kept.move_to_end(key)
            return kept[1]
        self._kept.pop(key, None)
        self._on_load(run)
        loaded = _load(run, snapshot)
        self._keep(key, stamp, loaded)
        return loaded

    def put(self, run: str, loaded: LoadedRun) -> None:
        """Keep a run whose method is that of its checkpoint on disk."""
        self._keep((_key(run), None), _stamp(run), loaded)

    def drop(self, run: str) -> None:
        """Forget a run and its snapshots."""
        for key in [key for key in self._kept if key[0] == _key(run)]:
            self._kept.pop(key)

    def _keep(self, key: Key, stamp: Stamp | None, loaded: LoadedRun) -> None:
        if key[1] is not None:  # they are gone through once, one after another: none must push a run out
            for other in [other for other in self._kept if other[1] is not None]:
                self._kept.pop(other)
        self._kept[key] = (stamp, loaded)
        self._kept.move_to_end(key)
        while len(self._kept) > self._room + (key[1] is not None):
            self._kept.popitem(last=False)


def same_run(first: str, second: str) -> bool:
    """Whether two paths lead to the same run folder."""
    return _key(first) == _key(second)


def _load(run: str, snapshot: int | None) -> LoadedRun:
    device = RunFolder(Path(run)).read().get("device")
    try:
        return load_run(run, device if isinstance(device, str) else "auto", snapshot)
    except NerfError:
        # Trained on a device that this machine does not have; whatever else is wrong is said once more.
        return load_run(run, snapshot=snapshot)


def _key(run: str) -> Path:
    return Path(run).resolve()


def _stamp(run: str, snapshot: int | None = None) -> Stamp | None:
    folder = RunFolder(Path(run))
    try:
        stat = (folder.checkpoint if snapshot is None else folder.snapshot(snapshot)).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
