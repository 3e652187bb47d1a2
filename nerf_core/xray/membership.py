"""Whether a volume is of the population that a prior was made of: told by voxels, and of phantoms by their names."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import DataError
from ..contract.xray_words import PHANTOM
from ..ct import Volume, read_ct
from ..ct.phantoms import parse_phantom

IDENTITIES = "identities"  # of a prior's facts: {"volumes": [...], "held_out": [...]}, as `identity_of` tells them
ROLES = {"volumes": "the prior was made of it", "held_out": "the prior's settings were chosen on it"}


def identity_of(source: str | Path) -> str:
    """What a volume is told by: a phantom's name, or a hash of a CT's voxels.

    A copy, a file of another name or format, and a volume that lies elsewhere in the scanner are the same; a resampled
    or mirrored one is another.

    Raises
    ------
    DataError
        When it cannot be read.
    """
    phantom = parse_phantom(str(source))
    return voxels_of(read_ct(source)) if phantom is None else phantom.name


def voxels_of(volume: Volume) -> str:
    """A hash of a volume's Hounsfield units, whatever order its file has them in."""
    values = volume.canonical().values
    told = hashlib.sha256(repr(values.shape).encode())
    for part in values:
        told.update(np.ascontiguousarray(part + np.float32(0.0)).tobytes())  # -0 as whole numbers have it
    return f"voxels:{told.hexdigest()[:32]}"


def role_of(facts: Mapping[str, Any], identities: Sequence[str], name: str | None = None) -> str | None:
    """As what a volume is of a prior's population: 'volumes', 'held_out', or None.

    Parameters
    ----------
    facts : mapping
        Of the prior.
    identities : sequence of str
        Of the volume, or of several that were X-rayed together.
    name : str, optional
        Of the volume's file, or of the phantom: all that older priors tell theirs by.
    """
    known = facts.get(IDENTITIES)
    for role in ROLES:
        if isinstance(known, Mapping):
            there = known.get(role, ())
            if any(identity in there for identity in identities):
                return role
        elif any(each in facts.get(role, ()) for each in (*identities, name) if each):
            return role
    return None


def is_told_by_names(facts: Mapping[str, Any]) -> bool:
    """Whether a prior is of an older version, whose real volumes are known by their files' names alone."""
    return IDENTITIES not in facts


def of_radiographs(data: str | Path, facts: Mapping[str, Any]) -> tuple[list[str], str | None]:
    """Identities of what a radiograph data set was taken of, and its name.

    Parameters
    ----------
    data : path
        Its folder, or the document in it.
    facts : mapping
        Of the prior: where that holds no real volumes, none is read.

    Returns
    -------
    identities : list of str
        Empty where they are not known.
    name : str or None
    """
    from ..data.documents import read_documents
    from .drr import patients_of, source_name
    from .truth import truth_path

    folder = Path(data) if Path(data).is_dir() else Path(data).parent
    found, name = patients_of(folder), source_name(folder)
    if found:
        return found, name
    if name is not None and name.startswith(PHANTOM):
        return [name], name
    if not facts.get("real") or is_told_by_names(facts):
        return [], name
    try:
        xray = read_documents(data).xray
        path = None if xray is None else truth_path(folder, xray)
        return ([] if path is None else [voxels_of(read_ct(path))]), name
    except DataError:  # what is wrong with it is told by whoever needs it
        return [], name


def population_words(data: str | Path, facts: Mapping[str, Any]) -> str | None:
    """A sentence where the patient of a radiograph data set is known to be of a prior's population, else None."""
    identities, name = of_radiographs(data, facts)
    role = role_of(facts, identities, name)
    if role is None:
        return None
    who = "The patient of these radiographs" if name is None else f"The patient of these radiographs ('{name}')"
    phantom = any(identity.startswith(PHANTOM) for identity in identities)
    surely = "" if phantom or not is_told_by_names(facts) else ", going by the file's name"
    return (
        f"{who} is in the prior's own population{surely} ({ROLES[role]}): the result does not say how well other "
        "patients are reconstructed."
    )
