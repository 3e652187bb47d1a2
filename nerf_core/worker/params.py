"""Parameters of requests, checked: a wrong one is a sentence that names it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import NerfError
from ..contract.messages import MAX_ARRAY_BYTES
from ..contract.samplers import SamplerChoice

MAX_PIXELS = MAX_ARRAY_BYTES // 32  # rgba, depth and normal of a frame go into one message
MAX_TRACED = 65536
MAX_POINTS = 20_000_000


class ParamError(NerfError):
    """A request's parameter is missing or not usable."""


class Params:
    """A request's parameters.

    Parameters
    ----------
    method : str
        Of the request, for messages.
    values : mapping
    """

    def __init__(self, method: str, values: Mapping[str, Any]) -> None:
        self.method, self.values = method, values

    def _fail(self, key: str, wanted: str) -> ParamError:
        return ParamError(f"'{self.method}' wants '{key}' as {wanted}, and got {self.values.get(key)!r:.80}.")

    def text(self, key: str) -> str:
        """A word that must be there."""
        value = self.values.get(key)
        if not isinstance(value, str) or not value or "\0" in value:
            raise self._fail(key, "a text")
        return value

    def optional_text(self, key: str) -> str | None:
        """A word, or None."""
        return None if self.values.get(key) is None else self.text(key)

    def optional_number(self, key: str) -> float | None:
        """A finite number, or None."""
        value = self.values.get(key)
        if value is None:
            return None
        # Infinity and NaN fail the comparison, and so do integers too large for a float.
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1e300 < value < 1e300:
            raise self._fail(key, "a number")
        return float(value)

    def optional_integer(self, key: str) -> int | None:
        """A whole number, or None."""
        value = self.optional_number(key)
        if value is None:
            return None
        if value != int(value):
            raise self._fail(key, "a whole number")
        return int(value)

    def count(self, key: str, most: int) -> int:
        """A whole number from 1 to `most`."""
        value = self.optional_integer(key)
        if value is None or not 1 <= value <= most:
            raise self._fail(key, f"a whole number from 1 to {most}")
        return value

    def snapshot(self) -> int | None:
        """The step of a run's snapshot; None for the run itself."""
        value = self.optional_integer("snapshot")
        if value is not None and value < 0:
            raise self._fail("snapshot", "a step of the run")
        return value

    def number_above(self, key: str, least: float, or_equal: bool = False) -> float:
        """A finite number above `least`, or not below it."""
        value = self.optional_number(key)
        if value is None or not (value > least or (or_equal and value == least)):
            raise self._fail(key, f"a number {'not below' if or_equal else 'above'} {least:g}")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> Any:
        """One of some words; the first when it is not there."""
        value = self.values.get(key)
        if value is None:
            return choices[0]
        if value not in choices:
            raise self._fail(key, f"one of {', '.join(choices)}")
        return value

    def flag(self, key: str) -> bool:
        """True or false; false when it is not there."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self._fail(key, "true or false")
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        """An object; an empty one when it is not there."""
        value = self.values.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self._fail(key, "an object")
        return value

    def sampler(self, key: str = "sampler") -> SamplerChoice | None:
        """A sampler and its budget; None where the request leaves it to the run."""
        value = self.values.get(key)
        return None if value is None else SamplerChoice.from_dict(value)

    def camera(self, key: str = "camera") -> Camera:
        """A camera of a size that one message can carry."""
        value = self.values.get(key)
        if not isinstance(value, Mapping):
            raise self._fail(key, "a camera")
        camera = Camera.from_dict(value)
        if camera.width * camera.height > MAX_PIXELS:
            raise ParamError(
                f"A picture of {camera.width}x{camera.height} is too large to be sent; "
                f"render at most {MAX_PIXELS // 1_000_000} megapixels."
            )
        return camera

    def pixels(self) -> np.ndarray:
        """(R, 2) float64 pixel coordinates."""
        try:
            pixels = np.array(self.values.get("pixels"), dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._fail("pixels", "a list of [x, y]") from error
        if pixels.ndim != 2 or pixels.shape[1] != 2 or not np.isfinite(pixels).all():
            raise self._fail("pixels", "a list of [x, y]")
        if len(pixels) > MAX_TRACED:
            raise ParamError(f"{len(pixels)} pixels are too many to trace at once; ask for at most {MAX_TRACED}.")
        return pixels

    def depths(self, rays: int) -> np.ndarray | None:
        """(R,) float64 true depths, 0 where unknown; None where the request has none."""
        value = self.values.get("true_depth")
        if value is None:
            return None
        try:
            depths = np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._fail("true_depth", "a list of numbers") from error
        if depths.shape != (rays,) or not np.isfinite(depths).all() or (depths < 0).any():
            raise self._fail("true_depth", "a list of numbers, one a pixel, 0 where it is not known")
        return depths

    def view(self) -> tuple[str, int]:
        """Split and number of a view of the run's data set."""
        wanted = self.mapping("view")
        split, index = wanted.get("split"), wanted.get("index")
        if not isinstance(split, str) or type(index) is not int:
            raise self._fail("view", "{'split': ..., 'index': ...}")
        return split, index
