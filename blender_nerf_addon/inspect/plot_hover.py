"""Where the pointer is on a plot: the plots read their values there, and the viewport marks that place on the ray."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Hover:
    """A place on a plot.

    Attributes
    ----------
    t : float
        Distance along the ray, world units.
    part : int
        Which of `state.State.slots`.
    region : int
        The region's address.
    x, y : float
        In the region's pixels.
    """

    t: float
    part: int
    region: int
    x: float
    y: float


_hover: Hover | None = None
_subscribers: list[Callable[[Hover | None], None]] = []


def current() -> Hover | None:
    """Where the pointer is on a plot; None where it is on none."""
    return _hover


def place(hover: Hover | None) -> None:
    """Say where it is; those who subscribed are told what changes."""
    global _hover
    if hover == _hover:
        return
    _hover = hover
    for callback in tuple(_subscribers):
        callback(hover)


def subscribe(callback: Callable[[Hover | None], None]) -> Callable[[], None]:
    """Have `callback(hover)` called after each change; what is returned ends that."""
    if callback not in _subscribers:
        _subscribers.append(callback)

    def unsubscribe() -> None:
        if callback in _subscribers:
            _subscribers.remove(callback)

    return unsubscribe
