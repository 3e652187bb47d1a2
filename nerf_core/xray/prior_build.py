"""Building a prior from sources: population, sides, registration, modes, tuning on held-out volumes; its pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import DataError
from .membership import IDENTITIES, identity_of
from .population import Member, Population, list_members, load_population
from .population_modes import UNIT, low_rank_prior, mean_prior
from .prior import Kind, Prior
from .prior_cases import make_case
from .prior_tuning import tune
from .registration import one_sided
from .single_view import MIRRORED_PRIOR

HELD_OUT, APPEARANCES = 4, 12
TUNING_VIEWS = 8  # all around, of which one and two are used
SHARES = 0.08, 0.28, 0.32  # of the time: reading, registering and held-out volumes' radiographs end; then choosing


@dataclass(frozen=True)
class BuildSettings:
    """What a prior is built with.

    Attributes
    ----------
    kind : {'mean', 'low_rank'}
    longest : int
        Voxels along the grid's longest side.
    modes : int or None
        Of shape, at most; None: as many as help on held-out volumes.
    augment : int
        Warped copies of each real volume.
    held_out : int
        Volumes, evenly spread over the population, that choose the settings and are no part of mean and modes; 0
        takes the settings as they are.
    rig : str or None
        Of the radiographs that settings are chosen on (`prior_cases.rig_of`).
    """

    kind: Kind = "low_rank"
    longest: int = 64
    modes: int | None = None
    augment: int = 0
    held_out: int = HELD_OUT
    rig: str | None = None


def build_prior(
    sources: Sequence[str],
    settings: BuildSettings | None = None,
    progress: Callable[[float, str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Prior:
    """Build a prior.

    Parameters
    ----------
    sources : sequence of str
        As `population.list_members` takes them.
    settings : BuildSettings, optional
    progress : callable, optional
        Told the fraction done, and what is being done.

    Raises
    ------
    DataError
        When a source cannot be read, or there are too few volumes.
    Cancelled
        When `should_stop` said so.
    """
    settings = BuildSettings() if settings is None else settings
    members = list_members(sources, settings.augment)
    kept, held = divided(members, settings.held_out)
    least = 2 if settings.kind == "low_rank" else 1
    if len(kept) < least:
        raise DataError(
            f"A {settings.kind} prior needs {least} volumes or more, and {len(kept)} of {len(kept) + len(held)} "
            f"{'is' if len(kept) == 1 else 'are'} not held out: name more, ask for warped copies (--augment), or hold "
            "none out."
        )

    def part(start: float, share: float, text: str) -> Callable[[float], None]:
        def told(done: float) -> None:
            if progress is not None:
                progress(start + share * done, text)

        return told

    reading, registering, casting = SHARES if held else (0.3, 1.0, 1.0)
    population = load_population(
        kept, settings.longest, progress=part(0, reading, "reading volumes"), should_stop=should_stop
    )
    prior = prior_of(population, settings, part(reading, registering - reading, "registering"), should_stop)
    if held:
        cases = []
        for index, member in enumerate(held):
            part(registering, casting - registering, "radiographs of held-out volumes")(index / len(held))
            cases.append(make_case(member, population.grid, settings.rig, TUNING_VIEWS, should_stop=should_stop))
        prior = tune(prior, cases, part(casting, 1.0 - casting, "choosing settings on held-out volumes"), should_stop)
    part(1.0, 0.0, "done")(1.0)
    return replace(prior, facts={**prior.facts, **_facts(settings, kept, held)})


def prior_of(
    population: Population,
    settings: BuildSettings,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Prior:
    """The prior of a population, with all modes and no settings chosen."""

    def part(start: float, share: float) -> Callable[[float], None] | None:
        return None if progress is None else lambda done: progress(start + share * done)

    volumes = population.volumes
    turned = np.zeros(len(volumes), dtype=bool)
    if len(volumes) > 2:
        turned = one_sided(volumes / UNIT, progress=part(0, 0.2), should_stop=should_stop)
        volumes = np.where(turned[:, None, None, None], volumes[:, ::-1], volumes)
    matrix = population.grid.world_from_index
    if settings.kind == "mean":
        prior = mean_prior(volumes, matrix)
    else:
        most = len(volumes) - 1
        shapes = most if settings.modes is None else min(settings.modes, most)
        prior = low_rank_prior(volumes, matrix, shapes, min(APPEARANCES, most), part(0.2, 0.8), should_stop)
    # One of many that fits better the other way round is an odd one, not a side.
    sides = min(turned.sum(), len(turned) - turned.sum())
    return replace(prior, facts={MIRRORED_PRIOR: bool(sides > 0), "turned": int(turned.sum())})


def divided(members: Sequence[Member], held_out: int) -> tuple[list[Member], list[Member]]:
    """Those a prior is made of, and those held out: whole sources, with all their warped copies, evenly spread."""
    sources = list(dict.fromkeys(member.source for member in members))
    count = min(held_out, max(0, len(sources) // 4))
    chosen = {sources[int((index + 0.5) * len(sources) / count)] for index in range(count)} if count else set()
    kept = [member for member in members if member.source not in chosen]
    held = [member for member in members if member.source in chosen and member.origin != "augmented"]
    return kept, held


def _facts(settings: BuildSettings, kept: Sequence[Member], held: Sequence[Member]) -> dict[str, Any]:
    names = [Path(member.name).name if member.origin != "synthetic" else member.name for member in kept]
    counts = {origin: sum(m.origin == origin for m in kept) for origin in ("synthetic", "real", "augmented")}
    return {
        "volumes": names,
        **counts,
        "held_out": [Path(m.name).name if m.origin != "synthetic" else m.name for m in held],
        IDENTITIES: {"volumes": _identities(kept), "held_out": _identities(held)},
        "longest": settings.longest,
    }


def _identities(members: Sequence[Member]) -> list[str]:
    """What the members are told by; warped copies are of the patient that they were warped from."""
    return [identity_of(source) for source in dict.fromkeys(member.source for member in members)]


def contact_sheet(prior: Prior, modes: int = 4) -> np.ndarray:
    """(H, W, 3) uint8: slices of the mean, the template and the leading modes of shape at -2 and +2 deviations."""
    from .prior_fit import Model
    from .prior_pictures import labelled, slices

    top = float(prior.template.max())
    rows = [("mean", slices(prior.mean, top)), ("template", slices(prior.template, top))]
    model = Model(prior)
    for mode in range(min(modes, len(prior.displacement))):
        for value in (-2.0, 2.0):
            theta = np.zeros(model.size)
            theta[mode] = value
            label = f"mode of shape {mode + 1}: {value:+.0f} standard deviations"
            rows.append((label, slices(model.volume(theta)[0], top)))
    return labelled(rows)
