"""The sizes and switches of the classic method, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..contract.errors import NerfError
from ..contract.samplers import SAMPLERS, SamplerChoice
from ..contract.setting_checks import check_choices, check_names, check_ranges, typed
from ..samplers.options import CDFS, MAX_ROUNDS, OPACITIES, options_as_settings

OWNER = "The classic method"


@dataclass(frozen=True)
class ClassicSettings:
    """Defaults are the published values, `preset` "paper"; the others are `PRESETS`.

    Attributes
    ----------
    depth, width : int
        Hidden layers of each network, and their width.
    skip : int
        The layer, counted from 1, whose output the encoded position is joined to again; 0 for none.
    positional_encoding, view_directions : bool
        Switches for ablation: without the first, coordinates go in as they are; without the second, colour does not
        depend on the viewing direction.
    position_frequencies, direction_frequencies : int
        Of the positional encodings.
    include_input : bool
        Pass the plain coordinates beside their encoding, as the authors' code does.
    density_activation : {'relu', 'softplus'}
    sampler : str
        What places samples, in training and, unless something else is asked for, in rendering; `samplers.options` has
        them all. 'hierarchical' trains a coarse network beside the fine one, the others a single one. May be given as
        an object, `{"name": "surface", "samples": 32}`.
    opacity : {'constant', 'linear'}
        How density goes on between samples, for 'uniform' and 'hierarchical'.
    cdf : {'constant', 'exponential'}
        What weights do between coarse samples, for 'hierarchical'.
    proposal_rounds : int
        Proposal networks, one after the other, for 'proposal'.
    coarse_samples, fine_samples : int
        A ray. Hierarchical: the coarse network's, and those added for the fine one (0: one network, sampled evenly).
        The others have no coarse stage and place as many as both together.
    rays_per_step : int
    learning_rate, final_learning_rate : float
        Adam's, at the beginning and at the end of the budget; exponential in between.
    depth_loss : float
        Weight of the depth loss at the beginning, where the images come with depth; 0 leaves depth unread.
    """

    depth: int = 8
    width: int = 256
    skip: int = 5
    positional_encoding: bool = True
    view_directions: bool = True
    position_frequencies: int = 10
    direction_frequencies: int = 4
    include_input: bool = True
    density_activation: str = "relu"
    sampler: str = "hierarchical"
    opacity: str = "constant"
    cdf: str = "constant"
    proposal_rounds: int = 1
    coarse_samples: int = 64
    fine_samples: int = 128
    rays_per_step: int = 1024
    learning_rate: float = 5e-4
    final_learning_rate: float = 5e-5
    depth_loss: float = 1.0

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], device: str) -> "ClassicSettings":
        """Settings from a preset and what differs from it.

        Parameters
        ----------
        given : mapping
            Names of attributes, and `preset`: "paper" or "small". Without it, "paper" on a GPU and "small" elsewhere,
            where the published sizes take ten seconds a step.
        device : str

        Raises
        ------
        NerfError
            When a name is unknown or a value is of the wrong type or out of range.
        """
        values = dict(given)
        preset = values.pop("preset", None) or ("paper" if device.startswith("cuda") else "small")
        if preset not in PRESETS:
            raise NerfError(f"The classic method's setting 'preset' is {preset!r}; use one of {', '.join(PRESETS)}.")
        values = _with_sampler(values)
        known = {entry.name: entry.type for entry in fields(cls)}
        check_names(OWNER, values, list(known), " and preset")
        values = {name: typed(OWNER, name, value, known[name]) for name, value in values.items()}
        if "depth" in values and "skip" not in values:
            values["skip"] = values["depth"] // 2 + 1
        if "learning_rate" in values and "final_learning_rate" not in values:
            values["final_learning_rate"] = values["learning_rate"] / 10.0
        settings = replace(PRESETS[preset], **values)
        if settings.sampler != "hierarchical" and ("coarse_samples" in values) != ("fine_samples" in values):
            # What is not named has no part in a single stage.
            settings = replace(settings, **{"coarse_samples": 0, "fine_samples": 0, **values})
        settings.check()
        return settings

    def check(self) -> None:
        """Raise a NerfError that names the first setting that is out of range."""
        check_ranges(OWNER, self, RANGES)
        if self.skip > self.depth:
            raise NerfError(f"The classic method's setting 'skip' is {self.skip}, beyond the {self.depth} layers.")
        if self.density_activation not in ("relu", "softplus"):
            raise NerfError(
                f"The classic method's setting 'density_activation' is {self.density_activation!r}; "
                "use 'relu' or 'softplus'."
            )
        check_choices(OWNER, self, {"sampler": list(SAMPLERS), "opacity": OPACITIES, "cdf": CDFS})
        if self.sampler == "hierarchical" and self.coarse_samples < 3:
            raise NerfError(
                f"The classic method's setting 'coarse_samples' is {self.coarse_samples}; the hierarchical sampler "
                "needs 3 at least. For samples without a coarse stage set 'sampler' to 'surface' or 'uniform'."
            )
        if self.last_samples < 1:
            raise NerfError("The classic method's settings 'coarse_samples' and 'fine_samples' are both 0.")

    @property
    def has_coarse(self) -> bool:
        """Whether a coarse network is trained beside the last one."""
        return self.sampler == "hierarchical" and self.fine_samples > 0

    @property
    def last_samples(self) -> int:
        """Samples that the last network is asked for, a ray."""
        return self.coarse_samples + self.fine_samples

    @property
    def budget(self) -> int:
        """What the sampler is asked for: the fine ones, where they join coarse ones."""
        return self.fine_samples if self.has_coarse else self.last_samples


RANGES: dict[str, tuple[float, float]] = {
    "depth": (1, 32),
    "width": (4, 4096),
    "skip": (0, 32),
    "position_frequencies": (1, 20),
    "direction_frequencies": (1, 20),
    "coarse_samples": (0, 4096),
    "fine_samples": (0, 4096),
    "proposal_rounds": (1, MAX_ROUNDS),
    "rays_per_step": (1, 1 << 20),
    "learning_rate": (1e-8, 1.0),
    "final_learning_rate": (1e-8, 1.0),
    "depth_loss": (0.0, 100.0),
}

PRESETS = {
    "paper": ClassicSettings(),
    # A narrow network takes a far higher rate: 600 steps on lego at 200x200 give 16.9 dB with 1e-3, 19.8 dB with 6e-3.
    # Its density can die as a whole with relu, which softplus does not.
    "small": ClassicSettings(
        depth=4,
        width=64,
        skip=3,
        density_activation="softplus",
        coarse_samples=32,
        fine_samples=32,
        rays_per_step=512,
        learning_rate=6e-3,
        final_learning_rate=6e-4,
    ),
}


#: A sampler's options, and the settings that say them.
SAMPLER_SETTINGS = {"opacity": "opacity", "cdf": "cdf", "coarse": "coarse_samples", "rounds": "proposal_rounds"}


def _with_sampler(values: dict[str, Any]) -> dict[str, Any]:
    """The same with a sampler that is given as an object spread over the settings that say it."""
    given = values.get("sampler")
    if not isinstance(given, Mapping):
        return values
    choice = SamplerChoice.from_dict(given)
    spread: dict[str, Any] = {"sampler": choice.name}
    if choice.samples is not None:
        spread["fine_samples"] = choice.samples
        if choice.name != "hierarchical":
            spread["coarse_samples"] = 0
    return {**values, **spread, **options_as_settings(OWNER, choice, SAMPLER_SETTINGS)}
