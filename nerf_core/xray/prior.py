"""A prior over volumes, and its files: the mean of a population, or a template with modes of shape and appearance.

A `low_rank` prior is an active appearance model (Cootes, Edwards and Taylor 2001) in three dimensions: a volume is
``(template + sum c_j appearance_j)`` at ``x + sum b_i displacement_i(x)``, with coefficients b, c ~ N(0, 1). What such
a volume lacks of real ones is a residual of known size a voxel (`deviation`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..contract.errors import DataError, NerfError
from ..contract.files import make_folder, write_bytes, write_json
from ..contract.json_data import parse_json, shown
from ..contract.xray import NOT_FOR_DIAGNOSIS
from ..data.arrays_file import checksum, read_arrays, short

FORMAT, VERSION = "nerf_toolkit.prior", 1
DOCUMENT, ARRAYS = "prior.json", "prior.safetensors"
NOT_WHOLE = "is not a whole safetensors file; build the prior again."
Kind = Literal["mean", "low_rank"]
KINDS: tuple[Kind, ...] = ("mean", "low_rank")
MOST_VOXELS = 512**3


@dataclass(frozen=True)
class Prior:
    """What is known before the first radiograph.

    Attributes
    ----------
    kind : {'mean', 'low_rank'}
    world_from_index : (4, 4) float64
        Voxel centres' indices to metres, RAS axes, the origin at the body's centre.
    mean : (X, Y, Z) float32
        Of the population as it lies, 1 / m.
    template : (X, Y, Z) float32
        Of the registered population, 1 / m; the mean again for that kind.
    displacement : (D, 3, x, y, z) float32
        Modes of shape, each times its standard deviation, in voxels, at control points spread from the first voxel's
        centre to the last one's.
    appearance : (M, X, Y, Z) float32
        Modes of attenuation in the template's places, each times its standard deviation, 1 / m.
    deviation : (X, Y, Z) float32
        Standard deviation in the template's places of what the model leaves of volumes that it was not made of, 1 / m.
    tuned : dict of str to float
        What was chosen on volumes that were held out (`prior_tuning`).
    facts : dict
        What the population was: names, what volumes are told by (`membership`; older priors have names alone), counts
        of real, synthetic and augmented volumes, how it was held out.
    """

    kind: Kind
    world_from_index: np.ndarray
    mean: np.ndarray
    template: np.ndarray
    displacement: np.ndarray
    appearance: np.ndarray
    deviation: np.ndarray
    tuned: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the axes."""
        x, y, z = self.mean.shape
        return x, y, z

    @property
    def spacing(self) -> np.ndarray:
        """(3,) metres."""
        return np.linalg.norm(self.world_from_index[:3, :3], axis=0)

    @property
    def modes(self) -> int:
        """Coefficients in all."""
        return len(self.displacement) + len(self.appearance)


def save_prior(folder: str | Path, prior: Prior) -> Path:
    """Write a prior as a folder of `prior.json` and `prior.safetensors`, each whole.

    Raises
    ------
    NerfError
        When the folder holds somebody's files and no prior, or cannot be written.
    """
    from safetensors.numpy import save

    folder = claim_prior_folder(folder)
    arrays = {name: np.ascontiguousarray(array) for name, array in _arrays(prior).items()}
    document = {
        "format": FORMAT,
        "version": VERSION,
        "kind": prior.kind,
        "world_from_index": np.asarray(prior.world_from_index, dtype=np.float64).tolist(),
        "tuned": {key: float(value) for key, value in prior.tuned.items()},
        "facts": prior.facts,
        "crc32": checksum(arrays),
        "not_for_diagnosis": NOT_FOR_DIAGNOSIS,
    }
    write_bytes(folder / ARRAYS, save(arrays))
    write_json(folder / DOCUMENT, document)
    return folder


def claim_prior_folder(folder: str | Path) -> Path:
    """A folder to write a prior into: new, empty, or one that holds a prior already.

    Raises
    ------
    NerfError
        When it holds other files: nothing in it is touched.
    """
    folder = Path(folder)
    make_folder(folder)
    names = sorted(path.name for path in folder.iterdir())
    if (folder / DOCUMENT).exists():
        _document(folder)
    elif names:
        raise NerfError(
            f"The folder '{folder}' already holds other files (such as '{names[0]}') and is not a prior of NeRF "
            "Toolkit; choose an empty or new folder."
        )
    return folder


def load_prior(folder: str | Path) -> Prior:
    """Read a prior.

    Raises
    ------
    DataError
        When it is missing, cut off, of another version, or holds what does not belong there; the message names the
        file.
    """
    folder = Path(folder)
    if folder.name == DOCUMENT:
        folder = folder.parent
    document = _document(folder)
    _, arrays = read_arrays(folder / ARRAYS, "numpy", error=DataError, broken=NOT_WHOLE)
    try:
        prior = _from_document(document, arrays)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"The prior '{folder}' is broken ({short(error)}); build it again.") from error
    if document.get("crc32") != checksum(arrays):
        raise DataError(f"'{folder / ARRAYS}' is damaged or of another prior; build the prior again.")
    return prior


def _arrays(prior: Prior) -> dict[str, np.ndarray]:
    names = ("mean", "template", "displacement", "appearance", "deviation")
    return {name: np.asarray(getattr(prior, name), dtype=np.float32) for name in names}


def _document(folder: Path) -> dict[str, Any]:
    path = folder / DOCUMENT
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"'{folder}' is not a prior: it has no {DOCUMENT}; make one with nerf prior build.") from error
    except OSError as error:
        raise DataError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except (ValueError, DataError) as error:
        raise DataError(f"'{path}' is not valid JSON; build the prior again.") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"'{path}' was not written by nerf prior build; choose another folder.")
    if document.get("version") != VERSION:
        raise DataError(
            f"'{path}' is a prior of version {shown(str(document.get('version')))}, this NeRF Toolkit reads version "
            f"{VERSION}; use the version that made it, or build it again."
        )
    return document


def _from_document(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Prior:
    _want(document["kind"] in KINDS, "its kind is unknown")
    matrix = np.array(document["world_from_index"], dtype=np.float64)
    _want(matrix.shape == (4, 4) and bool(np.isfinite(matrix).all()), "'world_from_index' is not a 4x4 matrix")
    _want(abs(np.linalg.det(matrix[:3, :3])) > 1e-12, "'world_from_index' is flat")
    _want(isinstance(document["tuned"], dict) and isinstance(document["facts"], dict), "'tuned' is not an object")
    told = document["facts"].get("identities", {})
    _want(isinstance(told, dict), "'identities' is not an object")
    for key in ("volumes", "held_out"):
        for names in (document["facts"].get(key, []), told.get(key, [])):
            listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
            _want(listed, f"'{key}' is no list of names")
    tuned = {str(key): float(value) for key, value in document["tuned"].items()}
    _want(all(np.isfinite(value) for value in tuned.values()), "'tuned' holds what is no number")
    shape = arrays["mean"].shape
    _want(len(shape) == 3 and min(shape) >= 2 and int(np.prod(shape)) <= MOST_VOXELS, "'mean' is no volume")
    for name, array in arrays.items():
        _want(array.dtype == np.float32 and bool(np.isfinite(array).all()), f"'{name}' is not finite float32")
    for name in ("template", "deviation"):
        _want(arrays[name].shape == shape, f"'{name}' has another shape than 'mean'")
    displacement, appearance = arrays["displacement"], arrays["appearance"]
    _want(displacement.ndim == 5 and displacement.shape[1] == 3, "'displacement' is no list of fields")
    _want(min(displacement.shape[2:]) >= 2, "'displacement' has too few control points")
    _want(appearance.ndim == 4 and appearance.shape[1:] == shape, "'appearance' has another shape than 'mean'")
    return Prior(
        kind=document["kind"],
        world_from_index=matrix,
        mean=arrays["mean"],
        template=arrays["template"],
        displacement=displacement,
        appearance=appearance,
        deviation=arrays["deviation"],
        tuned=tuned,
        facts=document["facts"],
    )


def _want(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
