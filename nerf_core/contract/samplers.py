"""Which sampler places a ray's samples, and how many: as the command line, messages and settings name it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import NerfError

SAMPLERS = ("uniform", "hierarchical", "occupancy", "proposal", "surface", "oracle")
"""Stratified; coarse then fine; occupied cells with early stop; proposal networks; on the surface; from true depth."""
MAX_SAMPLES = 4096


@dataclass(frozen=True)
class SamplerChoice:
    """A sampler and its budget.

    Attributes
    ----------
    name : str
        One of `SAMPLERS`.
    samples : int or None
        Full field evaluations (density and colour) that its last stage may make a ray; None: as many as it likes.
    options : dict
        The sampler's own, plain JSON; see `docs/samplers.md`.

    Raises
    ------
    NerfError
        When the name is unknown or the number is no number of samples.
    """

    name: str
    samples: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.name not in SAMPLERS:
            raise NerfError(f"The sampler {self.name!r:.80} is not known; use one of {', '.join(SAMPLERS)}.")
        number = self.samples
        if number is not None and (type(number) is not int or not 1 <= number <= MAX_SAMPLES):
            raise NerfError(f"A sampler takes 1 to {MAX_SAMPLES} samples a ray, not {number!r:.80}.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SamplerChoice":
        """Read ``{"name": "surface", "samples": 4, ...options}``."""
        if not isinstance(values, Mapping) or not isinstance(values.get("name"), str):
            raise NerfError('A sampler is an object with a \'name\', such as {"name": "surface", "samples": 4}.')
        options = {str(key): value for key, value in values.items() if key not in ("name", "samples")}
        return cls(values["name"], values.get("samples"), options)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"name": self.name, "samples": self.samples, **self.options}

    def __str__(self) -> str:
        return self.name if self.samples is None else f"{self.name}, {self.samples} samples"
