"""Which resolution to ask for next, so that a view that moves is followed and one that rests becomes sharp. No bpy."""

from dataclasses import dataclass, replace

from ..vendor.nerf_core.contract.camera import Camera

DIVISORS = (1, 2, 4, 8, 16, 32)
FIRST_SECONDS = 0.03  # what the first picture of a moved view may take, about
STEP_SECONDS = 0.25  # a finer picture that takes no longer is worth skipping those between
TRAINING_SECONDS = 0.4  # the finest picture while the core trains: training must get on
SMALLEST_SIDE = 8  # pixels
UNKNOWN_RATE = 100_000.0  # pixels a second, before anything was measured


@dataclass(frozen=True)
class Speed:
    """How fast the core is, as measured: pixels a second, a mean that forgets."""

    rate: float = UNKNOWN_RATE
    measured: bool = False

    def after(self, pixels: int, seconds: float) -> "Speed":
        """With another measurement; small pictures tell little, so they count for little."""
        rate = pixels / max(seconds, 1e-4)
        if not self.measured:
            return Speed(rate, True)
        weight = 0.5 if pixels >= 10_000 else 0.2
        return replace(self, rate=self.rate * (rate / self.rate) ** weight)

    def seconds(self, camera: Camera, divisor: int) -> float:
        """What a picture of a view, its sides divided by `divisor`, will take, about."""
        return camera.width * camera.height / divisor**2 / self.rate


def first_divisor(camera: Camera, speed: Speed) -> int:
    """What to divide a moved view's sides by: the finest that is there at once."""
    for divisor in DIVISORS:
        if speed.seconds(camera, divisor) <= FIRST_SECONDS:
            return divisor
    return DIVISORS[-1]


def next_divisor(camera: Camera, speed: Speed, shown: int, training: bool = False) -> int | None:
    """What to divide the sides of a resting view by after a picture at `shown`; None when it is as fine as it gets.

    Parameters
    ----------
    camera : Camera
        Of the whole view.
    speed : Speed
    shown : int
        The divisor of the picture that is there.
    training : bool
        Whether the core trains at the same time.
    """
    finer = [divisor for divisor in DIVISORS if divisor < shown]
    if training:
        finer = [divisor for divisor in finer if speed.seconds(camera, divisor) <= TRAINING_SECONDS]
    if not finer:
        return None
    for divisor in finer:
        if speed.seconds(camera, divisor) <= STEP_SECONDS:
            return divisor
    return finer[-1]


def refreshed_divisor(camera: Camera, speed: Speed, shown: int, training: bool) -> int:
    """What to divide by when what is shown has changed in itself: as fine as it is, but where training would suffer."""
    found = next_divisor(camera, speed, 2 * shown, training)
    if found is None:
        found = next_divisor(camera, speed, 2 * DIVISORS[-1], training)
    return found or first_divisor(camera, speed)


def smaller(camera: Camera, divisor: int) -> Camera:
    """The same view with its sides divided; never below a few pixels."""
    if divisor == 1:
        return camera
    width, height = (max(min(SMALLEST_SIDE, side), round(side / divisor)) for side in (camera.width, camera.height))
    return camera.resized(width, height)
