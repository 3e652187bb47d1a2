"""Noise of radiographs: counted photons (Poisson) and the detector's readout (Gaussian), the same for the same seed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract.errors import NerfError
from ..contract.json_data import shown

FEWEST = 0.1  # counts that a pixel is taken to have at least: its logarithm must exist
KINDS = ("poisson", "r2-gaussian")


@dataclass(frozen=True)
class Noise:
    """How line integrals are made noisy.

    N = Poisson(I0 exp(-p)) + Normal(0, readout), at least 0.1, and p' = -ln(N / I0).

    Attributes
    ----------
    photons : float
        I0: photons a pixel where nothing is in the way.
    readout : float
        Standard deviation of the detector's own noise, in photons.
    seed : int
    normalised : bool
        Divide p by the set's largest before, and multiply after, as R2-Gaussian's protocol does (Zha et al. 2024, by
        TIGRE's noise): the darkest pixel then gets I0 / e photons, however dense the object is.
    """

    photons: float
    readout: float = 0.0
    seed: int = 0
    normalised: bool = False

    def __post_init__(self) -> None:
        if not 1.0 <= self.photons <= 1e15:
            raise NerfError(f"Noise needs 1 to 1e15 photons a pixel, not {self.photons:g}.")
        if not 0.0 <= self.readout <= 1e9:
            raise NerfError(f"The readout noise must be 0 to 1e9 photons, not {self.readout:g}.")
        if not 0 <= self.seed < 2**63:
            raise NerfError(f"A noise's seed must be 0 or more, not {self.seed}.")

    def applied(self, p: np.ndarray, view: int, top: float) -> np.ndarray:
        """Noisy line integrals.

        Parameters
        ----------
        p : (H, W) float array
        view : int
            Which view of the set: each has noise of its own.
        top : float
            The set's largest line integral.

        Returns
        -------
        (H, W) float32 array
            Below 0 where more photons came than were sent.
        """
        rng = np.random.default_rng([self.seed, view])
        scale = max(top, 1e-12) if self.normalised else 1.0
        counts = rng.poisson(self.photons * np.exp(-np.asarray(p, dtype=np.float64) / scale)).astype(np.float64)
        counts += rng.normal(0.0, self.readout, counts.shape)
        return (-scale * np.log(np.maximum(counts, FEWEST) / self.photons)).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "kind": "r2-gaussian" if self.normalised else "poisson",
            "photons": self.photons,
            "readout": self.readout,
            "seed": self.seed,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Noise":
        """Read what :meth:`to_dict` gave; NerfError where it is not usable."""
        kind = values.get("kind", "poisson")
        if kind not in KINDS:
            raise NerfError(f"The noise '{shown(str(kind))}' is not known; use one of {', '.join(KINDS)}.")
        numbers = [values.get("photons"), values.get("readout", 0.0), values.get("seed", 0)]
        if any(isinstance(n, bool) or not isinstance(n, int | float) or not abs(n) < 1e18 for n in numbers):
            raise NerfError("Noise needs numbers for 'photons', 'readout' and 'seed'.")
        return cls(float(numbers[0]), float(numbers[1]), int(numbers[2]), kind == "r2-gaussian")  # type: ignore[arg-type]

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> "Noise | None":
        """What the command line says: none, poisson:I0,SIGMA or r2-gaussian[:I0,SIGMA] (1e4 and 10).

        Raises
        ------
        NerfError
            When it says something else.
        """
        if text == "none":
            return None
        number = r"(\d+(?:\.\d*)?(?:[eE]\d+)?)"
        found = re.fullmatch(rf"(poisson|r2-gaussian)(?::{number}(?:,{number})?)?", text)
        if found is None or (found[1] == "poisson" and found[2] is None):
            raise NerfError(
                f"The noise '{shown(text)}' is not known; use none, poisson:I0,SIGMA (such as poisson:1e5,5) or "
                "r2-gaussian."
            )
        default = 10.0 if found[2] is None else 0.0
        readout = default if found[3] is None else float(found[3])
        return cls(float(found[2] or 1e4), readout, seed, found[1] == "r2-gaussian")
