"""What the inspector shows at the moment: the traces of some pixels' rays, by one sampler or by two. No bpy here.

There is one state a session. It holds nothing of a file's: loading another one clears it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.traces import BIN_ARRAYS, SAMPLE_ARRAYS, SKIP_ARRAYS

MAX_RAYS = 256  # at once: a patch of 16 x 16 pixels

# Which arrays of a trace belong to what, by the array that says of which ray each row is: the rest has a row a ray.
_ROWS = {"ray": SAMPLE_ARRAYS, "bin_ray": BIN_ARRAYS, "skip_ray": SKIP_ARRAYS}


@dataclass(frozen=True)
class Slot:
    """One sampler's trace of the shown rays.

    Attributes
    ----------
    sampler : dict
        As it was asked for, `{"name", "samples", ...}`; empty: what the run was trained with.
    arrays : dict of str to numpy array
        What `trace` answers, in world units.
    result : dict
        What it answers beside them: `rays`, `sampler` (the one that was used, filled in), `seconds`.
    """

    sampler: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    result: Mapping[str, Any]

    @property
    def rays(self) -> int:
        """How many rays were traced."""
        return len(self.arrays["rgba"])

    @property
    def used(self) -> dict[str, Any]:
        """The sampler that the core says it used; what was asked for where it does not say."""
        return dict(self.result.get("sampler") or self.sampler)

    def of_ray(self, ray: int) -> dict[str, np.ndarray]:
        """One ray's own rows of all arrays: of its samples, its bins, its skipped stretches; a row's worth of the rest.

        Parameters
        ----------
        ray : int
            Which, 0 to `rays` - 1.

        Raises
        ------
        IndexError
            When there is no such ray.
        """
        if not 0 <= ray < self.rays:
            raise IndexError(f"there is no ray {ray} among {self.rays}")
        return one_ray(self.arrays, ray)


@dataclass
class State:
    """What is shown.

    Attributes
    ----------
    slots : list of Slot
        None, one, or two (the second sampler's rays are those of the first).
    chosen_ray : int
        The ray whose plots and labels are shown: the clicked pixel's own.
    camera : Camera or None
        The pixels' camera, Blender's world.
    pixels : (R, 2) float64 array
        Pixel coordinates in it, y down.
    run : str
        The run's folder.
    matrix : (4, 4) float64 array or None
        Training world to Blender's, as it was sent; None where they are the same.
    bounds : (2, 3) float64 array or None
        The run's box, training world.
    snapshot : int or None
        The step of a stored snapshot that was traced; None: the run as it is.
    view : str
        What the clicked picture is called, for a person.
    pinned : bool
        Whether a click fixed the pixel; otherwise it follows the pointer.
    error : str
        Why the newest request failed; what is shown is an older one's answer then.
    revision : int
        Grows with every change: what is drawn of an older one is made anew.
    """

    slots: list[Slot] = field(default_factory=list)
    chosen_ray: int = 0
    camera: Camera | None = None
    pixels: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    run: str = ""
    matrix: np.ndarray | None = None
    bounds: np.ndarray | None = None
    snapshot: int | None = None
    view: str = ""
    pinned: bool = False
    error: str = ""
    revision: int = 0

    @property
    def pixel(self) -> tuple[float, float] | None:
        """The chosen ray's pixel coordinates; None where nothing is shown."""
        if not self.slots or not 0 <= self.chosen_ray < len(self.pixels):
            return None
        x, y = self.pixels[self.chosen_ray]
        return float(x), float(y)

    def show(self, slots: list[Slot], **named: Any) -> None:
        """Replace what is shown; `named` are attributes, the rest stays. Tells the subscribers."""
        self.slots = list(slots)
        self.error = ""
        for name, value in named.items():
            if not hasattr(self, name):
                raise AttributeError(f"the inspector's state has no '{name}'")
            setattr(self, name, value)
        count = len(self.pixels)
        self.chosen_ray = min(max(self.chosen_ray, 0), max(count - 1, 0))
        self.changed()

    def choose(self, ray: int) -> None:
        """Have another of the shown rays be the one that labels and plots are of."""
        ray = min(max(int(ray), 0), max(len(self.pixels) - 1, 0))
        if ray != self.chosen_ray:
            self.chosen_ray = ray
            self.changed()

    def clear(self) -> None:
        """Show nothing."""
        for name, value in vars(State()).items():
            if name != "revision":
                setattr(self, name, value)
        self.changed()

    def changed(self) -> None:
        """Tell the subscribers that something is different."""
        self.revision += 1
        for callback in tuple(_subscribers):
            callback(self)


Callback = Callable[[State], None]

_state = State()
_subscribers: list[Callback] = []


def current() -> State:
    """The session's one state."""
    return _state


def subscribe(callback: Callback) -> Callable[[], None]:
    """Have `callback(state)` called on the main thread after each change; what is returned ends that."""
    if callback not in _subscribers:
        _subscribers.append(callback)

    def unsubscribe() -> None:
        if callback in _subscribers:
            _subscribers.remove(callback)

    return unsubscribe


def one_ray(arrays: Mapping[str, np.ndarray], ray: int) -> dict[str, np.ndarray]:
    """One ray's own rows of a trace's arrays.

    Those of the samples, bins and skipped stretches keep names and order; of what has a row a ray, that row is left.
    """
    chosen = {index: np.asarray(arrays[index]) == ray for index in _ROWS if index in arrays}
    owner = {name: index for index, names in _ROWS.items() for name in names}
    found: dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        index = owner.get(name)
        found[name] = np.asarray(values)[ray] if index is None else np.asarray(values)[chosen[index]]
    return found
